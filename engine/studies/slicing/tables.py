"""The columns of a slicing study."""

from eigensweep.engine.studies.ablation.columns import BOOTSTRAP
from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, Column
from eigensweep.engine.tables.layout import Layout

NAME = "slicing"
MEMBER = {
    "method": Column(TEXT, "", "covariance, random or singular values (engine.studies.slicing.study); baseline"),
    "width": Column(COUNT, "", "d', what is left of the stream's d; singular values: that of equal parameters"),
    "draw": Column(COUNT, "", "number of the draw of random directions, from 0"),
}
SLICING = {
    **MEMBER,
    "share": Column(FLOAT, "", "d'/d"),
    "parameters": Column(
        COUNT, "", "numbers in the matrices and norms; singular values: two thin factors a matrix; a tied table twice"
    ),
    "energy": Column(
        FLOAT, "", "kept: mean |Q^T x|^2/|x|^2 over norms and calibration tokens; singular values: sum |W'|^2/sum |W|^2"
    ),
    "loss": Column(FLOAT, "nats", "sum row_weight row_loss / sum row_weight"),
    "perplexity": Column(FLOAT, "", "exp(loss)"),
    "accuracy": Column(FLOAT, "", "sum row_correct / sum row_count"),
    "seconds": Column(FLOAT, "s", "of the evaluation"),
    "change": Column(FLOAT, "nats", "loss less the baseline's"),
    "change_low": Column(FLOAT, "nats", "lower end of its paired bootstrap interval over rows", BOOTSTRAP),
    "change_high": Column(FLOAT, "nats", "upper end", BOOTSTRAP),
    "accuracy_change": Column(FLOAT, "", "accuracy less the baseline's"),
    "accuracy_low": Column(FLOAT, "", "lower end of its interval, as change_low", BOOTSTRAP),
    "accuracy_high": Column(FLOAT, "", "upper end", BOOTSTRAP),
}
ROWS = {
    **MEMBER,
    "row_loss": Column(LIST, "nats", "mean loss of every row of the data over its targets"),
    "row_weight": Column(LIST, "", "weight of the row in the mean loss: its targets"),
    "row_correct": Column(LIST, "", "targets of the row with the largest logit"),
    "row_count": Column(LIST, "", "targets of the row"),
}
AXES = {
    "index": Column(COUNT, "", "of the eigenvector, from 0"),
    "eval": Column(FLOAT, "", "eigenvalue of the mean of F over norms, descending; they sum to d"),
}
LAYOUT = Layout(
    NAME,
    {"slicing": SLICING, "slicing_rows": ROWS, "slicing_axes": AXES},
    "slicing.json",
    keys={"slicing": tuple(MEMBER), "slicing_rows": tuple(MEMBER), "slicing_axes": ("index",)},
    needed={"slicing": tuple(SLICING), "slicing_rows": tuple(ROWS), "slicing_axes": tuple(AXES)},
    record=("evaluation", "options"),
)
