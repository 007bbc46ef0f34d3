"""What compiling costs: the first start of the MiniLM demo against the second, whose programs are in the cache."""

import os
import tempfile

from eigensweep.bin.suites.measure import Comparison, last_line

# JAX reports how long it traced, lowered, and compiled or fetched from the cache
_CODE = """
import sys
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
    print(seconds)
"""


def comparison(repeats: int) -> Comparison:
    """Seconds in JAX's tracing, lowering and compiling, of the whole command with its report."""
    note = "tracing and lowering included; ours: the second start, whose programs are in the cache"
    found = Comparison("sweep", "MiniLM demo, compiling", "its first start", note=note)
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"XDG_CACHE_HOME": cache}
            for seconds in (found.theirs, found.ours):
                with tempfile.TemporaryDirectory() as folder:
                    seconds.append(float(last_line(_CODE, cwd=folder, env=environment)))
    return found
