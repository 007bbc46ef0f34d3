"""The persistent compilation cache: a second start compiles nothing that the first one did."""

import os
from pathlib import Path

import jax

_THRESHOLDS = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": 0}


def use_compilation_cache() -> None:
    """Turn JAX's persistent cache on, in `$XDG_CACHE_HOME/eigensweep/jax` (`~/.cache/eigensweep/jax`).

    Whoever has configured a cache (`JAX_COMPILATION_CACHE_DIR`, or `jax.config`) keeps it as it is, thresholds
    included; a threshold that is set in the environment stays. `JAX_ENABLE_COMPILATION_CACHE=0` turns the cache off. A
    folder that cannot be written costs the cache, not the run: JAX warns and compiles.
    """
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(Path(home) / "eigensweep" / "jax"))
    for name, value in _THRESHOLDS.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
