"""The tables of a tokens study: a row a circuit, and a row a direction, side and sign."""

from eigensweep.engine.studies.tokens.tested_tables import COHERENCE, DECAY, sides, units
from eigensweep.engine.tables.columns import COUNT, FLOAT, INDICES, LIST, TEXT, TEXTS, Column
from eigensweep.engine.tables.layout import Layout

NAME = "tokens"
_SOURCE = "Millidge & Black 2022"
_SIGNS = "Hong, Sheng & Dobriban 2020"

_CIRCUIT = Column(TEXT, "", "address of the circuit, block.3.head.2.ov: blocks and heads from 0")
_OF_CIRCUIT = {
    "block": Column(COUNT, "", "transformer block, from 0"),
    "head": Column(COUNT, "", "query head, from 0 (of kind k: key head); null for the MLP's"),
    "kind": Column(
        TEXT,
        "",
        "ov: W_O[:, h] W_V[h]; qk: W_Q[h]^T W_K[h]; q, k: W_Q[h], W_K[h] where query and key are normed behind them; "
        "mlp_in, mlp_gate, mlp_out: the MLP's matrices",
    ),
}
CIRCUITS = {
    "circuit": _CIRCUIT,
    **_OF_CIRCUIT,
    "kv_head": Column(COUNT, "", "key and value head that the head uses; null for the MLP's"),
    "m": Column(COUNT, "", "rows of W: the output dimension"),
    "n": Column(COUNT, "", "columns of W: the input dimension"),
    "rank": Column(COUNT, "", "#{s_i > s_1 max(m, n) eps}, eps of float32 (of float64 for weights stored so)"),
    "singular_values": Column(LIST, "[W]", "all that the factors leave room for, descending; norms folded in"),
    "stable_rank": Column(FLOAT, "", "sum s_i^2 / s_1^2"),
    **DECAY,
    "sigma": Column(
        FLOAT,
        "[w]",
        "noise of the entries: sigma_bulk of the matrix; of a product the left factor's, fitted to the head's slice",
    ),
    "sigma_right": Column(FLOAT, "[w]", "of a product the right factor's; null for a matrix"),
    "num_groups": Column(COUNT, "", "groups of directions within the rank, see `group`"),
    "signs_s1": Column(
        FLOAT,
        "[W]",
        "geometric mean of s_1 over num_flips draws of random signs for the entries of W, of a product for those of "
        "both factors, before norms are folded; null without flips, and for matrices with more than 1024 on both sides",
        _SIGNS,
    ),
    "signs_last": Column(FLOAT, "[W]", "geometric mean of the flips' smallest value within the rank", _SIGNS),
    "num_right_beyond_signs": Column(
        COUNT,
        "",
        "#{s_i} beyond the 1 - level quantile of what the next flip's s_1 would be, by the flips' mean and spread and "
        "the shape of a soft edge. Nothing is taken out before the flips: a lower bound",
        _SIGNS,
    ),
    "num_left_beyond_signs": Column(
        COUNT, "", "the same of the smallest value; null where factors are square or nearly so", _SIGNS
    ),
    "p_right_signs": Column(FLOAT, "", "of s_1 against the flips; at least 5e-6", _SIGNS),
    "p_left_signs": Column(FLOAT, "", "of the smallest value within the rank against the flips; at least 5e-6", _SIGNS),
}
DIRECTIONS = {
    "circuit": _CIRCUIT,
    "index": Column(COUNT, "", "i of s_i, from 1: circuit:index is the direction's address"),
    "side": Column(
        TEXT,
        "",
        "written: u_i, what the circuit adds to the stream; read: v_i, what it answers to; query, key: u_i and v_i of "
        "qk, what the query's and the key's token are asked for",
    ),
    "sign": Column(
        COUNT,
        "",
        "1 or -1: which end of the direction. Of a direction in the stream on both sides the same sign belongs "
        "together: what reads +v writes +u",
    ),
    **_OF_CIRCUIT,
    "end": Column(TEXT, "", "first: among the largest singular values; last: among the smallest within the rank"),
    "projection": Column(TEXT, "", "embedding or unembedding: whose rows are multiplied with the direction"),
    "s": Column(FLOAT, "[W]", "s_i"),
    "gap": Column(FLOAT, "[W]", "distance of s_i to its nearest neighbour; NaN where the rank is 1"),
    "least_gap": Column(
        FLOAT,
        "[W]",
        "sqrt(2) sigma: the gap at which noise of the entries turns both vectors by about half a radian. Of a product "
        "L R sigma^2 is sigma^2 |R v|^2 + sigma_right^2 |L^T u|^2, the mean of both neighbours",
    ),
    "group": Column(
        COUNT, "", "index of the first direction of the maximal run whose gaps are all below: of a group only the span"
    ),
    "group_size": Column(COUNT, "", "directions of that run; 1: the direction stands alone"),
    "token_ids": Column(INDICES, "", "the tokens with the largest scores, largest first", _SOURCE),
    "tokens": Column(TEXTS, "", "their text; null where no tokenizer was asked for"),
    "scores": Column(
        LIST,
        "",
        "sign * t . x, x the unit direction and t the token's row of the projection. The sign 1 of a direction is the "
        "one whose largest |score| is positive, on the left side where both sides are in the stream",
    ),
    **COHERENCE,
}
UNITS = units({"circuit": _CIRCUIT, **_OF_CIRCUIT})
SIDES = sides({"circuit": _CIRCUIT, **_OF_CIRCUIT})
LAYOUT = Layout(
    NAME,
    {"circuits": CIRCUITS, "directions": DIRECTIONS, "units": UNITS, "sides": SIDES},
    "tokens.json",
    keys={"circuits": ("circuit",), "directions": ("circuit", "index", "side", "sign")},
    needed={
        "circuits": ("block", "kind", "m", "n", "rank", "singular_values", "stable_rank"),
        "directions": ("block", "kind", "end", "projection", "s", "group", "group_size", "token_ids", "scores"),
    },
    record=("projections", "vocab_size"),
)
