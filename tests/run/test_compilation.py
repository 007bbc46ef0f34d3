"""The compilation cache: turned on where nobody has configured one, and else left alone."""

import json
import os
import subprocess
import sys

import jax

CODE = """
import json, jax
names = ["jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs",
         "jax_persistent_cache_min_entry_size_bytes"]
before = [jax.config.values[name] for name in names]
{first}
import eigensweep.engine
print(json.dumps([before, [jax.config.values[name] for name in names]]))
"""


def settings(first="", **environment):
    """Folder and thresholds of the cache before and after the import, in a process of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(first=first)],
        capture_output=True, text=True, timeout=120, check=True, env=kept | environment,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_it_is_turned_on_for_programs_of_any_size(tmp_path):
    _, after = settings(XDG_CACHE_HOME=str(tmp_path))
    assert after == [str(tmp_path / "eigensweep" / "jax"), 0.0, 0]


def test_a_configured_cache_keeps_its_thresholds(tmp_path):
    before, after = settings(JAX_COMPILATION_CACHE_DIR=str(tmp_path))
    assert before[0] == str(tmp_path)
    assert before == after
    assert before[1] > 0  # JAX's own: not what eigensweep would set


def test_a_cache_configured_in_code_stays(tmp_path):
    _, after = settings(f"jax.config.update('jax_compilation_cache_dir', {str(tmp_path)!r})")
    assert after[0] == str(tmp_path)
    assert after[1] > 0


def test_a_threshold_of_the_environment_stays(tmp_path):
    environment = {"XDG_CACHE_HOME": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "3.5"}
    _, after = settings(**environment)
    assert after == [str(tmp_path / "eigensweep" / "jax"), 3.5, 0]


def test_importing_turns_float64_on():
    import eigensweep.engine  # noqa: F401

    assert jax.config.values["jax_enable_x64"]
