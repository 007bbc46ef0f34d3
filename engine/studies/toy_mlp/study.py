"""Lazy against feature learning: small networks trained alike but for a few settings, and their singular values.

Units of work are the first weights of every law and seed, which are swept, and the networks, which are trained, swept,
and measured without their smallest singular values. `workdir`/networks keeps the weights of every network.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from scipy import stats

from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.run.stream import batches, decomposed
from eigensweep.engine.spectral.smallest import KINDS, num_smallest, without_smallest
from eigensweep.engine.studies.sweep.readings import rows_of
from eigensweep.engine.studies.toy_mlp.options import Network, ToyMlpOptions, networks
from eigensweep.engine.studies.toy_mlp.tables import LAYOUT
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import write_bytes
from eigensweep.engine.tables.parts import Work
from eigensweep.engine.tables.result import MatrixResult, frame_of
from eigensweep.models.data.images import Images, read_images
from eigensweep.models.nn import perceptron
from eigensweep.models.nn.parameters import Params
from eigensweep.models.nn.perceptron import DivergedError, Rows

LEAST_ENTRIES = 20  # below which the kurtosis is not tested


class ToyMlp(MatrixResult):
    """A finished study of small networks; `matrices` and `spectra` are its layers', as a sweep reads them."""

    layout: ClassVar = LAYOUT
    options: ClassVar[type[ToyMlpOptions]] = ToyMlpOptions

    networks = frame_of("toy_mlp", "One row a trained network.")
    history = frame_of("toy_mlp_history", "One row a look at the test rows, an epoch each.")
    removals = frame_of("toy_mlp_removals", "One row a network and share removed, by number and by sum of the values.")


open_toy_mlp = ToyMlp.read


@dataclass(frozen=True)
class Weight:
    """A layer's matrix as a sweep takes it: W (out, in)."""

    name: str
    role: str
    tower: str
    w: np.ndarray
    block: None = None
    expert: None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.w.shape  # type: ignore[return-value]

    @property
    def dtype(self) -> str:
        return self.w.dtype.name

    def read(self) -> np.ndarray:
        return self.w


def run_toy_mlp(options: ToyMlpOptions, workdir: str | Path, on_progress: OnProgress = silent) -> ToyMlp:
    """Train, sweep and measure every network that is not done yet, and read the tables back.

    Raises:
      RunError: the options or the data do not serve; a training diverges; `workdir` holds another study, is in use, or
        cannot be written.
      DataError: the data cannot be read.
    """
    images = read_images(options.data, options.test_share, options.split_seed)
    if options.max_train:
        first = slice(options.max_train)
        images = images._replace(train_x=images.train_x[first], train_y=images.train_y[first])
    for network in networks(options):
        network.recipe(options, len(images.train_y))
    sizes = {"train": len(images.train_y), "test": len(images.test_y)}
    identity = {"options": options.to_json(), "data": {"sha256": images.sha256(), **sizes}}
    record = {"images": options.data, "classes": list(images.classes), "majority": _majority(images)}
    with claimed(workdir, LAYOUT, identity, record) as work:
        if not work.done:
            _Worker(options, images, work, on_progress).run()
    return open_toy_mlp(workdir)


def _majority(images: Images) -> dict[str, float]:
    """What answering with the most frequent class, or with the classes' shares, achieves on the test rows."""
    share = np.bincount(images.test_y, minlength=len(images.classes)) / len(images.test_y)
    return {"loss": float(stats.entropy(share)), "accuracy": float(share.max())}


@dataclass
class _Worker:
    options: ToyMlpOptions
    images: Images
    work: Work
    on_progress: OnProgress
    _train: Rows = field(init=False)
    _test: Rows = field(init=False)
    _said: Progress = field(init=False)

    def __post_init__(self) -> None:
        self._train, self._test = perceptron.rows_of(self.images)

    def run(self) -> None:
        """Do what is still to do, and merge."""
        members = networks(self.options)
        units: dict[str, Any] = {network.start: (self._start, network) for network in members}
        units |= {network.name: (self._network, network) for network in members}
        todo = set(self.work.todo([*units]))
        for done, (unit, (do, network)) in enumerate(units.items()):
            if unit in todo:
                doing = "sweeping" if do == self._start else "training"
                self._said = Progress(done, len(units), done, len(units), unit, doing)
                self.on_progress(self._said)
                began = time.perf_counter()
                rows = do(network)
                self.work.write({unit: rows}, {"total": time.perf_counter() - began})
        self.on_progress(Progress(len(units), len(units), len(units), len(units), "", "training"))
        self.work.finish([*units])

    def _start(self, network: Network) -> dict[str, list[dict[str, Any]]]:
        """The rows of first weights.

        Raises:
          RunError: a matrix of sparse weights is all zero, so that it has no singular vectors.
        """
        weights = _matrices(self._first(network), self.options.studied)
        if empty := [k for k, w in weights.items() if not w.any()]:
            raise RunError(
                f"{network.start}: layer {empty[0]} has no weight but 0 at a density of {self.options.density:g}; take "
                "a larger one and a new workdir"
            )
        about = {"network": network.start, "regime": f"start, {network.init}", "seed": network.seed, "at": "start"}
        return self._swept(weights, weights, about, frozen=len(self.options.widths) + 1)

    def _network(self, network: Network) -> dict[str, list[dict[str, Any]]]:
        """A network's rows of every table."""
        first, recipe = self._first(network), network.recipe(self.options, len(self.images.train_y))
        try:
            found, history = perceptron.train(first, self._train, self._test, recipe, self._key(network), self._on_look)
        except DivergedError as error:
            kept = self._write("diverged", network, error.params)
            raise RunError(
                f"{network.name}: {error} of {recipe.steps} with learning_rate {recipe.learning_rate:g}; the weights "
                f"after step {max(0, error.step - 1)} are in {kept}. Take a smaller rate and a new workdir"
            ) from error
        self._write("networks", network, found)
        about = {"network": network.name, "regime": network.regime(self.options), "seed": network.seed}
        scored = {"scale": network.alpha} | {name: getattr(network, name) for name in ("frozen", "init", "batch_size")}
        for part, rows in (("train", self._train), ("test", self._test)):
            loss, accuracy = perceptron.evaluate(found, rows, network.alpha)
            scored |= {f"{part}_loss": loss, f"{part}_accuracy": accuracy}
        weights = _matrices(found, self.options.studied)
        return {
            "toy_mlp": [about | scored | {"steps": recipe.steps}],
            "toy_mlp_history": [about | look for look in history],
            "toy_mlp_removals": [about | row for row in self._removals(found, weights, network.alpha)],
            **self._swept(weights, _matrices(first, self.options.studied), about | {"at": "end"}, network.frozen),
        }

    def _on_look(self, step: int, steps: int) -> None:
        done, what = self._said.done, f"{self._said.what}: step {step} of {steps}"
        self.on_progress(replace(self._said, work_done=done + step / steps, what=what))

    def _swept(
        self, weights: Mapping[int, np.ndarray], first: Mapping[int, np.ndarray], about: dict[str, Any], frozen: int
    ) -> dict[str, list[dict[str, Any]]]:
        """The matrices' rows as a sweep makes them, and what it does not know of them."""
        tower = about["regime"].replace(".", ",")  # a point would separate a tower from its part
        layers = {f"{about['network']}.layers.{k}.weight": k for k in weights}
        sources = [Weight(name, f"layer_{k}", tower, weights[k]) for name, k in layers.items()]
        rows = []
        for batch in batches(sources):
            rows += rows_of(batch.sources, [source.read() for source in batch.sources], self.options.sweep_options())
        for row in rows:
            k = layers[row["name"]]
            row |= about | {"layer": k, "trained": k > frozen} | _of_entries(weights[k], first[k])
        rows.sort(key=lambda row: row["layer"])
        return {"matrices": rows, "spectra": rows}

    def _removals(self, params: Params, weights: Mapping[int, np.ndarray], alpha: float) -> list[dict[str, Any]]:
        """The test rows without the smallest singular values of the matrices, all of them at once."""
        sources = [Weight(str(k), f"layer_{k}", "", w) for k, w in weights.items()]
        factors = {source.name: (f.u[0], f.s[0], f.vt[0]) for source, f in decomposed(sources)}
        total = np.sum([[np.sum(s**power) for power in (0, 1, 2)] for _, s, _ in factors.values()], axis=0)
        rows = []
        for by in KINDS:
            for percent in self.options.removed:
                edited, gone = dict(params), []
                for name, (u, s, vt) in factors.items():
                    num = num_smallest(s, percent / 100, by)
                    gone.append([num, *(np.sum(s[s.size - num :] ** p) for p in (1, 2))])
                    if num:
                        kernel = jnp.asarray(without_smallest(u, s, vt, num).T, jnp.float32)
                        edited[f"layer_{name}"] = {**params[f"layer_{name}"], "kernel": kernel}
                num, mass, energy = np.sum(gone, axis=0)
                loss, accuracy = perceptron.evaluate(edited, self._test, alpha)
                rows.append(
                    {
                        "by": by,
                        "share": percent / 100,
                        "values_removed": int(num),
                        "values_share": float(num / total[0]),
                        "mass_share": float(mass / total[1]),
                        "energy_share": float(energy / total[2]),
                        "test_loss": loss,
                        "test_accuracy": accuracy,
                    }
                )
        return rows

    def _key(self, network: Network) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.options.seed), network.seed)

    def _first(self, network: Network) -> Params:
        widths = (self.images.train_x.shape[1], *self.options.widths, len(self.images.classes))
        return perceptron.initial(widths, network.init, self.options.gain, self.options.density, self._key(network))

    def _write(self, folder: str, network: Network, params: Params) -> Path:
        """The weights in a file of their own, which a sweep opens, too."""
        tensors = {f"layers.{k}.weight": w for k, w in _matrices(params, range(1, len(params) + 1)).items()}
        tensors |= {f"layers.{k}.bias": np.asarray(params[f"layer_{k}"]["bias"]) for k in range(1, len(params) + 1)}
        path = self.work.directory / folder / f"{network.name}.safetensors"
        write_bytes(path, safetensors.numpy.save(tensors))
        return path


def _of_entries(w: np.ndarray, first: np.ndarray) -> dict[str, float]:
    """How far a matrix moved, and whether its entries' kurtosis is a Gaussian's."""
    w, first = w.astype(np.float64), first.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = float(np.linalg.norm(w - first) / np.linalg.norm(first))
    known = w.size >= LEAST_ENTRIES and w.std() > 0
    return {"moved": moved, "kurtosis_p": float(stats.kurtosistest(w.ravel()).pvalue) if known else np.nan}


def _matrices(params: Params, layers: Sequence[int]) -> dict[int, np.ndarray]:
    """W (out, in) by layer."""
    return {k: np.ascontiguousarray(np.asarray(params[f"layer_{k}"]["kernel"]).T) for k in layers}
