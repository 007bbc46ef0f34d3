"""Monte Carlo nulls of the KS statistic in files: begun, continued after an interruption, added to."""

import time
from importlib.metadata import version
from pathlib import Path

import jax

from eigensweep.engine.spectral.null import histogram, sampling
from eigensweep.engine.spectral.null.histogram import NullHistogram
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import write_atomically

SAVE_EVERY_S = 10.0


def draw(n: int, num_draws: int, seed: int, path: Path, batch_size: int | None = None) -> tuple[NullHistogram, float]:
    """The histogram in `path`, begun, continued or as it is there, with `num_draws` draws; and vectors a second.

    Raises:
      RunError: `path` holds something else, or cannot be written.
    """
    current = histogram.empty(n, seed)
    if path.exists():
        current = _existing(path, n, seed, num_draws)
    key = jax.random.fold_in(jax.random.key(seed), n)
    begun = current.num_draws
    start = saved = time.monotonic()
    if begun < num_draws:
        for d in sampling.draws(key, n, num_draws, batch_size, first_draw=begun):
            current = histogram.add(current, d)
            if time.monotonic() - saved > SAVE_EVERY_S:
                _save(current, path)
                saved = time.monotonic()
        _save(current, path)
    return current, (current.num_draws - begun) / (time.monotonic() - start)


def _existing(path: Path, n: int, seed: int, num_draws: int) -> NullHistogram:
    try:
        found = histogram.load(path)
    except (OSError, ValueError) as error:
        raise RunError(str(error)) from error
    if (found.n, found.seed) != (n, seed):
        raise RunError(f"{path} holds n = {found.n}, seed {found.seed}; asked for n = {n}, seed {seed}")
    if found.num_draws > num_draws:
        raise RunError(f"{path} holds {found.num_draws} draws already, more than --num_draws={num_draws}")
    return found


def _save(null: NullHistogram, path: Path) -> None:
    recipe = {"eigensweep": version("eigensweep"), "jax": jax.__version__, "backend": jax.default_backend()}
    write_atomically(path, lambda file: histogram.save(null, file, recipe))
