"""The columns of a removal study."""

from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, Column

BOOTSTRAP = "Efron & Tibshirani 1993"

REMOVAL = {
    "scope": Column(TEXT, "", "role, matrix or group that loses something; stream: what norms read; empty: baseline"),
    "removal": Column(TEXT, "", "what goes, as `decile:10` (engine.spectral.removal); `baseline`: nothing"),
}
ABLATION = {
    **REMOVAL,
    "kind": Column(TEXT, "", "as the removal begins; of the stream covariance decile, covariance random; baseline"),
    "draw": Column(COUNT, "", "number of the draw of what is drawn at random, from 0"),
    "matrices": Column(COUNT, "", "matrices of the scope"),
    "values": Column(COUNT, "", "sum of b over them; stream: of d over norms"),
    "removed": Column(
        COUNT, "", "singular values, or directions (stream: of it), that go; the last of a matched control in part"
    ),
    "energy": Column(
        FLOAT,
        "",
        "sum |W - W'|_F^2 / sum |W|_F^2 over the scope; stream: mean |x - x'|^2/|x|^2 over norms, calibration tokens",
    ),
    "loss": Column(FLOAT, "nats", "sum row_weight row_loss / sum row_weight"),
    "perplexity": Column(FLOAT, "", "exp(loss)"),
    "accuracy": Column(FLOAT, "", "sum row_correct / sum row_count"),
    "seconds": Column(FLOAT, "s", "of the evaluation, its share of a pass; the baseline's where nothing is removed"),
    "change": Column(FLOAT, "nats", "loss less the baseline's"),
    "change_low": Column(
        FLOAT, "nats", "lower end of its bootstrap interval over rows, paired with the baseline", BOOTSTRAP
    ),
    "change_high": Column(FLOAT, "nats", "upper end", BOOTSTRAP),
    "accuracy_change": Column(FLOAT, "", "accuracy less the baseline's"),
    "accuracy_low": Column(FLOAT, "", "lower end of its interval, as change_low", BOOTSTRAP),
    "accuracy_high": Column(FLOAT, "", "upper end", BOOTSTRAP),
}
NEEDED = tuple(ABLATION)
"""What every version wrote."""
ABLATION |= {
    "control_of": Column(TEXT, "", "the removal that this one is a control of; empty for others"),
    "matched": Column(
        FLOAT,
        "",
        "energy: sum |W - W'|_F^2 over that of control_of; output: sum tr((W - W') F (W - W')^T) over that of "
        "control_of; NaN for others, and where control_of changes nothing",
    ),
    "unmatched": Column(
        COUNT, "", "matrices of the scope without a match, from which nothing is taken; null where nothing is matched"
    ),
    "output_energy": Column(
        FLOAT,
        "",
        "sum tr((W - W') F (W - W')^T) / sum tr(W F W^T) over the matrices that activations enter, F = mean x x^T of "
        "what enters them over the study's rows; null without a removal output:",
    ),
}
ROWS = {
    **REMOVAL,
    "row_loss": Column(LIST, "nats", "mean loss of every row of the data over its targets"),
    "row_weight": Column(LIST, "", "weight of the row in the mean loss: its targets"),
    "row_correct": Column(LIST, "", "targets of the row with the largest logit"),
    "row_count": Column(LIST, "", "targets of the row"),
}
OF_MATRIX = ("sigma", "nu_minus", "nu_plus", "num_right_outliers", "num_left_outliers", "status")
