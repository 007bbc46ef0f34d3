"""The tables of a facts study."""

from eigensweep.engine.spectral.distribution import LEVELS
from eigensweep.engine.spectral.shapes import LAWS, LEAST, LEAST_IN_TAIL
from eigensweep.engine.studies.facts import depth
from eigensweep.engine.tables.columns import COUNT, FLOAT, INDICES, LIST, TEXT, TRUTH, Column
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.matrices import MATRICES

NAME = "facts"
WHAT = ("weight", "norm", "bias", "stream", "update", "input", "gradient")
_PEBAY = "Chan, Golub & LeVeque 1979; Pébay 2008"
_BOOTSTRAP = "Efron & Tibshirani 1993"
_INT8 = "Dettmers et al. 2022 (LLM.int8)"
_UNIT = "[x]"
_SHAPES = {"student_t": "degrees of freedom", "generalised_normal": "beta of exp(-|z|^beta)"}


def _fit(law: str) -> dict[str, Column]:
    words = law.replace("_", " ")
    shape = {f"{law}_shape": Column(FLOAT, "", f"{_SHAPES[law]} of the fitted {words}")} if law in _SHAPES else {}
    return {
        f"{law}_aic": Column(
            FLOAT,
            "",
            f"(2 k - 2 log likelihood) / count of the {words} law of k parameters; null below {LEAST} numbers",
        ),
        f"{law}_loc": Column(FLOAT, _UNIT, f"its centre: fitted by maximum likelihood to the bins, law {words}"),
        f"{law}_scale": Column(FLOAT, _UNIT, f"scale of the fitted {words} law (engine.spectral.shapes)"),
        **shape,
    }


DISTRIBUTIONS = {
    "what": Column(TEXT, "", "weight, norm (gains), bias; stream, update, input (activations); gradient"),
    "name": Column(TEXT, "", "path in the tree of parameters or of activations, as blocks/0/stream/before"),
    "block": MATRICES["block"],
    "tap": Column(TEXT, "", "the name within its block"),
    "count": Column(COUNT, "", "numbers, without those that are not finite"),
    "non_finite": Column(COUNT, "", "infinite ones and NaN, left out of all others"),
    "mean": Column(FLOAT, _UNIT, "mean", _PEBAY),
    "sd": Column(FLOAT, _UNIT, "sqrt(mean (x - mean)^2)", _PEBAY),
    "skewness": Column(FLOAT, "", "mean (x - mean)^3 / sd^3", _PEBAY),
    "kurtosis": Column(FLOAT, "", "mean (x - mean)^4 / sd^4 - 3, the excess over a normal distribution", _PEBAY),
    "min": Column(FLOAT, _UNIT, "smallest"),
    "max": Column(FLOAT, _UNIT, "largest"),
    "quantiles": Column(LIST, _UNIT, f"at {', '.join(map(str, LEVELS))}, each to 1/128 of its size"),
    "edges": Column(
        LIST, _UNIT, "of the histogram's bins: 0.1 robust sd about the median, wider by 5 % each from 4 on"
    ),
    "counts": Column(INDICES, "", "numbers in each bin"),
    **{name: column for law in LAWS for name, column in _fit(law).items()},
    "best": Column(TEXT, "", "the law with the lowest AIC; null where none was fitted"),
    "tail_shape": Column(
        FLOAT,
        "",
        "beta of exp(-(|x - median| / scale)^beta), fitted beyond the 90 % quantile of |x - median|: 1 exponential, 2 "
        f"Gaussian; null with fewer than {LEAST_IN_TAIL} numbers there",
    ),
    "tail_straight": Column(
        FLOAT, "", "AIC a number of a Gaussian tail there less that of an exponential one: above 0 where it is straight"
    ),
}
DIMENSIONS = {
    "tap": Column(TEXT, "", "the residual stream's, as blocks/0/stream/before"),
    "block": MATRICES["block"],
    "dim": Column(COUNT, "", "dimension of the residual stream, from 0"),
    "count": Column(COUNT, "", "tokens"),
    "mean": Column(FLOAT, _UNIT, "over tokens"),
    "sd": Column(FLOAT, _UNIT, "over tokens"),
    "kurtosis": Column(FLOAT, "", "excess, over tokens"),
    "robust_z": Column(
        FLOAT,
        "",
        "the larger of |mean - median mean| and sd - median sd in robust standard deviations (1.4826 median absolute "
        "deviation) of the dimensions' means and sds",
    ),
    "large": Column(FLOAT, "", "share of tokens with |x| >= 6", _INT8),
    "outlier": Column(TRUTH, "", "robust_z > 6"),
    "outlier_first": Column(TRUTH, "", "the same in the first half of the rows"),
    "outlier_second": Column(TRUTH, "", "the same in the second half"),
    "outlier_int8": Column(TRUTH, "", "large >= 0.06: the rule's half that one tap can tell", _INT8),
}
OUTLIERS = {
    "dim": Column(COUNT, "", "dimension of the residual stream that is an outlier at one tap or by LLM.int8's rule"),
    "num_taps": Column(COUNT, "", "taps of the stream at which robust_z > 6"),
    "share_taps": Column(FLOAT, "", "their share of all"),
    "robust_z": Column(FLOAT, "", "its largest at any tap"),
    "share_int8": Column(FLOAT, "", "share of blocks before which |x| >= 6 for at least 6 % of the tokens", _INT8),
    "outlier_int8": Column(TRUTH, "", "share_int8 >= 0.25", _INT8),
    "num_gains": Column(
        COUNT, "", "norms of the stream whose gain is an outlier there: beyond 6 robust sd of the gains"
    ),
}
OVERLAPS = {
    "what": Column(
        TEXT, "", "blocks (two taps of one kind), halves (of the text, at one tap), gains (a tap and a norm)"
    ),
    "a": Column(TEXT, "", "tap whose outlier dimensions are one set"),
    "b": Column(TEXT, "", "tap, half or norm whose outlier dimensions are the other"),
    "num_a": Column(COUNT, "", "size of the one"),
    "num_b": Column(COUNT, "", "size of the other"),
    "num_both": Column(COUNT, "", "dimensions in both"),
    "jaccard": Column(FLOAT, "", "num_both over the size of the union; null where both are empty"),
    "jaccard_chance": Column(FLOAT, "", "its expectation for random sets of the same sizes (hypergeometric)"),
    "p": Column(FLOAT, "", "P(as many in both, or more) for random sets: hypergeometric"),
}
ABLATIONS = {
    "name": Column(TEXT, "", "baseline, dim:17, random:17, outliers, random_set:0"),
    "kind": Column(TEXT, "", "baseline, outlier, random, outliers, random_set"),
    "dims": Column(INDICES, "", "dimensions that are taken from the stream, wherever it is read"),
    "loss": Column(FLOAT, "nats", "mean over the targets"),
    "change": Column(FLOAT, "nats", "loss less the baseline's"),
    "change_low": Column(FLOAT, "nats", "lower end of its 95 % bootstrap interval over rows, paired", _BOOTSTRAP),
    "change_high": Column(FLOAT, "nats", "upper end", _BOOTSTRAP),
    "row_loss": Column(LIST, "nats", "mean over the targets of each row of the data"),
    "row_weight": Column(LIST, "", "its number of targets"),
}
LAYOUT = Layout(
    NAME,
    {
        "distributions": DISTRIBUTIONS,
        "dimensions": DIMENSIONS,
        "outlier_dimensions": OUTLIERS,
        "dimension_overlaps": OVERLAPS,
        "dimension_ablations": ABLATIONS,
        **depth.TABLES,
    },
    "facts.json",
    keys={"distributions": ("what", "name")},  # of the others there may be no row
    needed={
        "distributions": ("tap", "count", "edges", "counts", "quantiles"),
        "dimensions": ("tap", "dim", "count", "mean", "sd", "robust_z", "outlier"),
        "outlier_dimensions": ("dim", "num_taps", "robust_z"),
        "dimension_overlaps": ("what", "a", "b", "num_a", "num_b", "num_both"),
        "dimension_ablations": ("name", "kind", "dims", "loss", "change"),
        **depth.NEEDED,
    },
)
