"""Options of the lazy-against-feature study, and the networks that they ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from eigensweep.engine.run.options import LARGEST, numbers, option, words
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.studies.toy import ToyOptions
from eigensweep.engine.tables.errors import RunError
from eigensweep.models.data.images import DIGITS
from eigensweep.models.nn.perceptron import INITS, Recipe

WIDEST = 16384  # a layer of 1 GB; more is a slip
_LISTS = ("alphas", "frozen", "inits", "batch_sizes", "seeds", "removed", "layers")


@dataclass(frozen=True)
class ToyMlpOptions(ToyOptions):
    """Options of a study of small networks; equal options and data give equal tables.

    Every combination of alphas, frozen, inits, batch_sizes and seeds is a network.
    """

    data: str = option(
        DIGITS, "digits (scikit-learn's, extra demo), or the folder cifar-10-batches-bin of CIFAR-10", counts=False
    )
    test_share: float = option(0.3, "of the digits, which have no test rows of their own", inside=(0, 1))
    split_seed: int = option(0, "which digits are to test with", least=0, most=LARGEST)
    max_train: int = option(0, "rows to learn from, the first ones; 0 for all", least=0)
    widths: tuple[int, ...] = option((512, 512, 512), "of the hidden layers")
    alphas: tuple[float, ...] = option((1.0, 15.0), "factors of the logits: softmax of alpha z, loss over alpha^2")
    frozen: tuple[int, ...] = option((0,), "how many of the first layers are not trained")
    inits: tuple[str, ...] = option(("gaussian",), f"laws of the first weights: {', '.join(INITS)}")
    batch_sizes: tuple[int, ...] = option((32,), "rows per step")
    seeds: tuple[int, ...] = option((0, 1, 2, 3, 4), "of first weights and order of rows; as 0-4")
    epochs: int = option(30, "passes over the rows to learn from", least=1)
    steps: int = option(0, "of the optimizer, in place of epochs; 0: as many as the epochs take", least=0)
    learning_rate: float = option(0.2, "of gradient descent, constant", inside=(0, 1e6))
    momentum: float = option(0.0, "of gradient descent", least=0, most=0.999)
    gain: float = option(
        1 / 3, "mean square of a layer's first weights times its inputs; torch.nn.Linear has 1/3", inside=(0, 1e6)
    )
    density: float = option(0.1, "share of sparse first weights that are not 0", inside=(0, 1))
    layers: tuple[int, ...] = option((), "layers to sweep and to remove values from, 1 the first; none: the widest")
    removed: tuple[int, ...] = option(tuple(range(0, 100, 10)), "per cent of the values, and of their sum, to remove")
    level: float = option(0.01, "of the outlier tests, and of Benjamini-Hochberg", inside=(0, 0.5))

    def __post_init__(self) -> None:
        if isinstance(self.widths, str):  # of other lists of numbers a text names each once
            found = [numbers("widths", word) for word in words(self.widths)]
            object.__setattr__(self, "widths", tuple(width for each in found for width in each))
        super().__post_init__()
        for name in _LISTS:
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
            if name != "layers" and not getattr(self, name):
                raise ValueError(f"{name} is empty; expected at least one")
        if not self.widths:
            raise ValueError("widths is empty; expected at least one")
        object.__setattr__(self, "removed", tuple(sorted({0, *self.removed})))
        self._check("alphas", [a for a in self.alphas if not 0 < a <= 1e6], "positive numbers up to 1e6")
        self._check("widths", [w for w in self.widths if not 2 <= w <= WIDEST], f"numbers from 2 to {WIDEST}")
        self._check("frozen", [f for f in self.frozen if f > len(self.widths)], f"0 to {len(self.widths)}, the hidden")
        self._check("inits", [i for i in self.inits if i not in INITS], f"some of {', '.join(INITS)}")
        self._check("batch_sizes", [b for b in self.batch_sizes if b < 1], "numbers from 1 on")
        self._check("seeds", [s for s in self.seeds if s >= 2**31], "numbers below 2^31")
        self._check("removed", [p for p in self.removed if p > 99], "0 to 99")
        if self.data != DIGITS:  # has test rows of its own
            for name in ("test_share", "split_seed"):
                if getattr(self, name) != self.by_name()[name].default:
                    raise ValueError(f"{name} is of data={DIGITS} alone; CIFAR-10 has test rows of its own")
        depth = len(self.widths) + 1
        self._check("layers", [k for k in self.layers if not 1 <= k <= depth], f"some of the layers 1 to {depth}")

    def _check(self, name: str, wrong: Sequence[object], expected: str) -> None:
        if wrong:
            raise ValueError(f"{name} has {wrong[0]}; expected {expected}")

    @property
    def studied(self) -> tuple[int, ...]:
        """The layers to remove from and to sweep: those asked for, else those with as many outputs as any has."""
        widest = max(self.widths)
        return self.layers or tuple(k for k, width in enumerate(self.widths, 1) if width == widest)

    def sweep_options(self) -> SweepOptions:
        """Which readings of a sweep the matrices get."""
        return SweepOptions(seed=self.seed, level=self.level, control="none")


@dataclass(frozen=True)
class Network:
    """One network of a study."""

    alpha: float
    frozen: int
    init: str
    batch_size: int
    seed: int

    @property
    def name(self) -> str:
        """Of its unit of work, its rows and its file."""
        return f"alpha-{self.alpha:.12g}-frozen-{self.frozen}-{self.init}-batch-{self.batch_size}-seed-{self.seed}"

    @property
    def start(self) -> str:
        """The name of its first weights, which networks of one init and seed share."""
        return f"start-{self.init}-seed-{self.seed}"

    def regime(self, options: ToyMlpOptions) -> str:
        """What it has in common with the networks of other seeds, as far as the study's networks differ in it."""
        parts = {
            "alphas": f"alpha {self.alpha:.12g}", "frozen": f"{self.frozen} frozen" if self.frozen else "none frozen",
            "inits": self.init, "batch_sizes": f"batch {self.batch_size}",
        }  # fmt: skip
        varied = [text for name, text in parts.items() if len(getattr(options, name)) > 1]
        return ", ".join(varied or [parts["alphas"]])

    def recipe(self, options: ToyMlpOptions, num_rows: int) -> Recipe:
        """How it is trained on so many rows.

        Raises:
          RunError: the rows do not fill one batch.
        """
        if self.batch_size > num_rows:
            raise RunError(f"batch_sizes has {self.batch_size}; there are {num_rows} rows to learn from")
        steps = options.steps or options.epochs * (num_rows // self.batch_size)
        return Recipe(self.alpha, self.frozen, self.batch_size, steps, options.learning_rate, options.momentum)


def networks(options: ToyMlpOptions) -> list[Network]:
    """In the order of the work: all seeds of a regime, then the next."""
    lists = (options.alphas, options.frozen, options.inits, options.batch_sizes, options.seeds)
    return [Network(*each) for each in product(*lists)]
