"""What compiling costs: the first start of the MiniLM demo against the second, whose programs are in the cache."""

import json
import os
import subprocess
import sys
import tempfile

from eigensweep.bin.suites.measure import Comparison

# JAX reports how long it traced, lowered, and compiled or fetched from the cache
_CODE = """
import json, sys
import jax
seconds = 0.0
def listen(event, duration, **_):
    global seconds
    seconds += duration if event.startswith("/jax/core/compile/") else 0.0
jax.monitoring.register_event_duration_secs_listener(listen)
sys.argv = ["eigensweep-sweep", "--config=minilm", "--workdir=run"]
from eigensweep.bin import sweep
try:
    sweep.run()
finally:
    print(json.dumps(seconds))
"""


def comparison(repeats: int) -> Comparison:
    """Seconds in JAX's tracing, lowering and compiling, of the whole command with its report."""
    found = Comparison(
        "sweep",
        "MiniLM demo, compiling",
        "its first start",
        note="tracing and lowering included; ours: the second start, whose programs are in the cache",
    )
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            found.theirs.append(_seconds(cache))
            found.ours.append(_seconds(cache))
    return found


def _seconds(cache: str) -> float:
    environment = os.environ | {"XDG_CACHE_HOME": cache}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", _CODE], check=True, capture_output=True, text=True, cwd=folder, env=environment
        )
    return float(json.loads(done.stdout.splitlines()[-1]))
