"""The tables of a comparison: pairs of matrices, the differences of their measures, how far they moved, spreads."""

from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, TRUTH, Column
from eigensweep.engine.tables.equalised import EQUALISED
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.matrices import MATRICES, SPECTRA, with_controls

_BG = "Björck & Golub 1973"
_EDGES = "Efron & Tibshirani 1993"

KEY: dict[str, Column] = {
    "run": Column(TEXT, "", "the run that is held against another; see `other` for which is which"),
    "other": Column(TEXT, "", "the run that is compared with it: differences are other minus run"),
    "pair": Column(TEXT, "", "the matrix in `run`, or the group and block that medians are of"),
    "role": Column(TEXT, "", "what both matrices do, with tower and expert where they have one"),
    "block": Column(COUNT, "", "transformer block in `run`, from 0; null outside the blocks"),
    "block_other": Column(COUNT, "", "transformer block in `other`"),
    "expert": MATRICES["expert"],
}
"""What tells pairs apart: (run, other, pair)."""

PAIRS: dict[str, Column] = {
    **KEY,
    "name": Column(TEXT, "", "the matrix in `run`; null where a pair is one of medians"),
    "name_other": Column(TEXT, "", "the matrix in `other`"),
    "depth": Column(FLOAT, "", "(block + 1/2) / number of blocks, in `run`; NaN outside the blocks"),
    "depth_other": Column(FLOAT, "", "the same in `other`"),
    "matched_by": Column(
        TEXT,
        "",
        "name (one architecture, as many blocks), block (role and block, as many blocks), depth (role and nearest "
        "relative depth), role (outside the blocks) or group (medians over roles in a block)",
    ),
    "m": MATRICES["m"],
    "n": MATRICES["n"],
    "m_other": MATRICES["m"],
    "n_other": MATRICES["n"],
    "phase": Column(TEXT, "", "column phase in `run`"),
    "phase_other": Column(TEXT, "", "the same in `other`"),
    "sigma": MATRICES["sigma"],
    "sigma_other": MATRICES["sigma"],
    "singular_values": SPECTRA["singular_values"],
    "singular_values_other": SPECTRA["singular_values"],
}

COMPARISON: dict[str, Column] = {
    **KEY,
    "measure": Column(TEXT, "", "the column of `matrices`"),
    "per_value": Column(
        TRUTH,
        "",
        "counts and ranks are divided by b = min(m, n), because the two matrices (or those of a group) have different "
        "b: value, value_other and difference are shares then",
    ),
    "value": Column(FLOAT, "", "in `run`; of a group the median over its matrices in the block"),
    "value_other": Column(FLOAT, "", "in `other`"),
    "difference": Column(FLOAT, "", "value_other - value, NaN where one is not finite; of counts no error is assumed"),
    "scale": Column(
        FLOAT,
        "",
        "sqrt((v + w)/2), v and w the measure's variances over the matrices of the role in `run` and in `other`; of "
        "fewer than three matrices, or where both variances are 0, over all matrices that are compared",
    ),
    "scale_of": Column(TEXT, "", "role or run: what the scale is of; null without a scale"),
    "size": Column(FLOAT, "", "difference / scale: how far apart, in spreads of the measure. No test"),
}

_DELTA = (
    "sigma_bulk", "nu_plus", "mp_ks", "mp_gof_p", "mp_verdict", "num_right_outliers", "energy_right", "hard_rank",
    "stable_rank", "effective_rank", "entries_kurtosis", "p_largest", "phase", f"{EQUALISED}num_right_outliers",
    f"{EQUALISED}mp_gof_p", f"{EQUALISED}p_largest", "num_right_outliers_beyond_signs", "signs_p_right",
    "signs_z_right", "profile_rows", "profile_columns",
)  # fmt: skip
DELTA = "delta_"
"""What the columns of the readings of a difference begin with."""
_READ = with_controls(equalised=True, signs=True)["matrices"]


def _side(side: str, space: str) -> dict[str, Column]:
    angles = "principal angles between the spans of the first k"
    return {
        f"angles_{side}": Column(
            LIST,
            "deg",
            f"{angles} {side} singular vectors ({space}) of W and W', ascending; empty where not taken",
            _BG,
        ),
        f"overlap_{side}": Column(FLOAT, "", f"mean of cos^2 of angles_{side}: 1 for the same span"),
        f"overlap_null_{side}": Column(FLOAT, "", "its mean for random subspaces of that space: k over its dimension"),
        f"overlap_null_99_{side}": Column(FLOAT, "", "its 99 % quantile for random subspaces, simulated"),
        f"overlap_p_{side}": Column(
            FLOAT, "", "chance that random subspaces overlap as much, from 1e4 draws (for k > 20 4e6/k^2)"
        ),
    }


MOVED: dict[str, Column] = {
    **KEY,
    "name": PAIRS["name"],
    "name_other": PAIRS["name_other"],
    "m": MATRICES["m"],
    "n": MATRICES["n"],
    "relative": Column(FLOAT, "", "|W' - W|_F / |W|_F, W of `run`, W' of `other`; inf where W = 0"),
    "cosine": Column(FLOAT, "", "sum of W'_ij W_ij / (|W'|_F |W|_F)"),
    "norm_ratio": Column(FLOAT, "", "|W'|_F / |W|_F"),
    "share_changed": Column(FLOAT, "", "share of the entries that differ"),
    "num_directions": Column(
        COUNT,
        "",
        "directions of W' - W beyond noise: delta_equalised_num_right_outliers; where that is null "
        "delta_num_right_outliers_beyond_signs; where the difference has no bulk, hard_rank < b/2, delta_hard_rank",
    ),
    "directions_by": Column(TEXT, "", "equalised, signs, or rank: where num_directions is from; null without it"),
    "status": Column(TEXT, "", "`ok`, or why W' - W has no statistics: `all zero` where nothing moved"),
    **{DELTA + name: _READ[name]._replace(formula=f"{_READ[name].formula}; of W' - W") for name in _DELTA},
    f"{DELTA}singular_values": Column(LIST, "[w]", "of W' - W, descending"),
    "k": Column(COUNT, "", "option top, at most b/2; null where no angles were taken"),
    "gap": Column(FLOAT, "", "(s_k - s_{k+1})/s_1 of W: where it is small the span of the first k is ill determined"),
    **_side("right", "input space"),
    **_side("left", "output space"),
}

SPREAD: dict[str, Column] = {
    "run": Column(TEXT, "", "the run"),
    "role": Column(TEXT, "", "the role, with tower and expert where they have one"),
    "measure": Column(TEXT, "", "the column of `matrices`"),
    "num_blocks": Column(COUNT, "", "blocks with a value; of several matrices in a block their median"),
    "median": Column(FLOAT, "", "over the blocks"),
    "iqr": Column(FLOAT, "", "75 % minus 25 % point over the blocks (linear interpolation)"),
    "sd": Column(FLOAT, "", "standard deviation over the blocks"),
    "spread": Column(FLOAT, "", "iqr / median, where every value is positive; else NaN"),
    "spread_low": Column(FLOAT, "", "2.5 % point of the spread over samples of the blocks with replacement", _EDGES),
    "spread_high": Column(FLOAT, "", "97.5 % point of the same; both NaN with fewer than 6 blocks"),
}

LAYOUT = Layout(
    "compare",
    {"comparison": COMPARISON, "pairs": PAIRS, "moved": MOVED, "spread": SPREAD},
    "compare.json",
    keys={
        "comparison": ("run", "other", "pair", "measure"),
        "pairs": ("run", "other", "pair"),
        "moved": ("run", "other", "pair"),
        "spread": ("run", "role", "measure"),
    },
    needed={"comparison": ("role", "per_value"), "pairs": ("role", "matched_by"), "moved": ("status",)},
    record=("runs", "options"),
    empty=("moved", "spread"),
)
