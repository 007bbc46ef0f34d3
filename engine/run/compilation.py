"""The persistent compilation cache: a second start compiles nothing that the first one did."""

import os
from pathlib import Path

import jax


def use_compilation_cache() -> None:
    """Turn JAX's persistent cache on, in `$XDG_CACHE_HOME/eigensweep/jax` (`~/.cache/eigensweep/jax`).

    A folder that is already configured (`JAX_COMPILATION_CACHE_DIR`) stays; `JAX_ENABLE_COMPILATION_CACHE=0` turns
    the cache off. A folder that cannot be written costs the cache, not the run: JAX warns and compiles.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(Path(home) / "eigensweep" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
