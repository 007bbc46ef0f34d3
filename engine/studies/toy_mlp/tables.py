"""The tables of the lazy-against-feature study; those of its matrices are a sweep's, with a few columns in front."""

from eigensweep.engine.tables.check import KEYS, NEEDED
from eigensweep.engine.tables.columns import COUNT, FLOAT, TEXT, TRUTH, Column
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.matrices import with_controls

NAME = "toy_mlp"
_NETWORK = Column(TEXT, "", "one trained network: alpha, frozen layers, init, batch size and seed")
_REGIME = Column(TEXT, "", "what networks of different seeds have in common, as far as the study varies it")
_SEED = Column(COUNT, "", "of the first weights and of the order of the rows")
_CE = "mean cross-entropy of softmax(alpha z), not divided by alpha^2"
_RIGHT = "share of the test rows whose largest logit is their label's"

NETWORKS = {
    "network": _NETWORK,
    "regime": _REGIME,
    "scale": Column(FLOAT, "", "alpha of the options: the factor of the logits z; the training loss is CE / alpha^2"),
    "frozen": Column(COUNT, "", "how many of the first layers were not trained"),
    "init": Column(TEXT, "", "law of the first weights"),
    "batch_size": Column(COUNT, "", "rows per step"),
    "seed": _SEED,
    "steps": Column(COUNT, "", "of gradient descent"),
    "train_loss": Column(FLOAT, "nats", f"{_CE}, of all rows to learn from, at the end"),
    "train_accuracy": Column(FLOAT, "", "the same rows' share whose largest logit is their label's"),
    "test_loss": Column(FLOAT, "nats", f"{_CE}, of the test rows, at the end"),
    "test_accuracy": Column(FLOAT, "", _RIGHT),
}
HISTORY = {
    "network": _NETWORK,
    "regime": _REGIME,
    "seed": _SEED,
    "step": Column(COUNT, "", "of gradient descent; a look after every epoch"),
    "train_loss": Column(FLOAT, "nats", f"{_CE}: mean of the batches since the last look"),
    "test_loss": NETWORKS["test_loss"]._replace(formula=f"{_CE}, of the test rows"),
    "test_accuracy": NETWORKS["test_accuracy"],
}
REMOVALS = {
    "network": _NETWORK,
    "regime": _REGIME,
    "seed": _SEED,
    "by": Column(
        TEXT, "", "`values`: of each matrix the smallest p b of b singular values go, `mass`: as many of the smallest "
        "as have a sum of at most p of all",
    ),
    "share": Column(FLOAT, "", "p: the share asked for"),
    "values_removed": Column(COUNT, "", "singular values that went, in all matrices together"),
    "values_share": Column(FLOAT, "", "the same over all there are"),
    "mass_share": Column(FLOAT, "", "sum of the s that went / sum of all s, over all matrices"),
    "energy_share": Column(FLOAT, "", "sum of the s^2 that went / sum of all s^2, over all matrices"),
    "test_loss": Column(FLOAT, "nats", f"{_CE}, of the test rows, without them"),
    "test_accuracy": Column(FLOAT, "", f"{_RIGHT}, without them"),
}  # fmt: skip
_SWEPT = with_controls((), equalised=True, signs=True)
OF_MATRIX = {
    "network": _NETWORK._replace(formula="of a trained matrix: its network; of a first one: its init and seed"),
    "regime": _REGIME._replace(formula="of the network; `start` and the init of first weights"),
    "seed": _SEED,
    "at": Column(TEXT, "", "`start`: the first weights, `end`: after the training"),
    "layer": Column(COUNT, "", "1 for the first layer"),
    "trained": Column(TRUTH, "", "whether the layer was trained; false at the start"),
    "moved": Column(FLOAT, "", "|W - W0| / |W0|, Frobenius norms, W0 the first weights"),
    "kurtosis_p": Column(
        FLOAT, "", "chance that independent Gaussian entries have an excess kurtosis as far from 0",
        "Anscombe & Glynn 1983",
    ),
}  # fmt: skip
LAYOUT = Layout(
    NAME,
    {
        "toy_mlp": NETWORKS,
        "toy_mlp_history": HISTORY,
        "toy_mlp_removals": REMOVALS,
        "matrices": OF_MATRIX | _SWEPT["matrices"],
        "spectra": _SWEPT["spectra"],
    },
    "toy_mlp.json",
    keys={
        "toy_mlp": ("network",),
        "toy_mlp_history": ("network", "step"),
        "toy_mlp_removals": ("network", "by", "share"),
        **KEYS,
    },
    needed={
        "toy_mlp": ("regime", "scale", "frozen", "init", "batch_size", "seed", "test_accuracy"),
        "toy_mlp_history": ("regime", "seed", "train_loss", "test_accuracy"),
        "toy_mlp_removals": ("regime", "seed", "values_removed", "test_accuracy"),
        "matrices": (*NEEDED["matrices"], "regime", "seed", "at", "layer"),
    },
)
