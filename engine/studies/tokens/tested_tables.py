"""The columns of what is tested: coherence of directions, their controls and other units, and how circuits hang
together."""

from collections.abc import Mapping

from eigensweep.engine.tables.columns import COUNT, FLOAT, INDICES, TEXT, TEXTS, TRUTH, Column

_DECAY = "least squares of ln s_i on i up to the rank, s_i about scale exp(-i/c)"
_NULL = "Gaussian circuits that went through the same folding and projection"

COHERENCE = {
    "coherence": Column(
        FLOAT,
        "",
        "mean pairwise cosine of the descriptions of the tokens (option description: rows of the embedding about their "
        "mean, or a sentence encoder's vectors); of description = text their mean pairwise NPMI",
    ),
    "p_coherence": Column(
        FLOAT, "", f"(1 + #{{draws at least as coherent}})/(1 + draws), draws of {_NULL}, by windows of the index"
    ),
    "rejected": Column(
        TRUTH,
        "",
        "whether Benjamini-Hochberg at coherence_level rejects that p, over all rows of the run with a p (of `units`: "
        "over the rows of the same weights and unit)",
    ),
    "r_frequency": Column(
        FLOAT,
        "",
        "Spearman's correlation of the scores with how often tokens occur in the option data; without one with minus "
        "their number, since tokenizers count frequent tokens first",
    ),
    "p_frequency": Column(FLOAT, "", f"two-sided, against {_NULL}"),
    "centroid_signs": Column(FLOAT, "", "cosine of the mean descriptions of the direction's two signs"),
    "p_centroid_signs": Column(FLOAT, "", f"one-sided, above those of {_NULL}"),
}
DECAY = {
    "decay_length": Column(FLOAT, "", f"c: {_DECAY}"),
    "decay_r_squared": Column(FLOAT, "", "share of the variance of ln s that the line explains"),
    "decay_deviation": Column(FLOAT, "", "root mean square of ln s about the line"),
    "gaussian_decay_length": Column(FLOAT, "", "c of Gaussian weights down the same path; null without that control"),
    "gaussian_decay_r_squared": Column(FLOAT, "", "of those Gaussian weights"),
    "gaussian_decay_deviation": Column(FLOAT, "", "of those Gaussian weights"),
}
_WEIGHTS = Column(
    TEXT,
    "",
    "model; gaussian: entries of the same standard deviation, signs: the model's entries with random signs, both down "
    "the same path",
)


def units(circuit: Mapping[str, Column]) -> dict[str, Column]:
    """Columns of the table `units`; `circuit`: those that say which circuit."""
    return {
        "weights": _WEIGHTS,
        "unit": Column(
            TEXT, "", "direction: of a circuit, of controls alone; neuron: a row or column of an MLP's matrix, some of "
            "each, with its own sign; embedding: an eigenvector of the embedding's covariance over tokens"
        ),
        **circuit,
        "index": Column(COUNT, "", "of the direction or neuron, from 1"),
        "side": Column(TEXT, "", "as in `directions`"),
        "sign": Column(COUNT, "", "as in `directions`"),
        **COHERENCE,
        "token_ids": Column(INDICES, "", "the tokens with the largest scores; of the model's own units alone"),
        "tokens": Column(TEXTS, "", "their text"),
    }  # fmt: skip


def sides(circuit: Mapping[str, Column]) -> dict[str, Column]:
    """Columns of the table `sides`; `circuit`: those that say which circuit."""
    return {
        **circuit,
        "side": Column(TEXT, "", "as in `directions`"),
        "weights": _WEIGHTS,
        "num_tests": Column(COUNT, "", "directions read, twice: one a sign"),
        "num_at_level": Column(COUNT, "", "#{p_coherence <= coherence_level}: of noise that share, no more"),
        "centroid_within": Column(
            FLOAT, "", "mean cosine between the mean descriptions of the circuit's directions, sign 1"
        ),
        "centroid_within_null": Column(FLOAT, "", f"its mean over {_NULL}"),
        "p_centroid_within": Column(FLOAT, "", f"one-sided, above those of {_NULL}"),
        "centroid_across": Column(
            FLOAT, "", "mean cosine between those of this circuit and those of the block's other heads; NaN without any"
        ),
        "centroid_across_null": Column(FLOAT, "", f"between different ones of {_NULL}"),
    }
