"""Llama-3.1-8B: the spectrum and the singular vectors of every weight matrix against random matrix theory.

eigensweep-sweep --config=staats_llama_spectra --workdir=runs/llama-spectra --dry_run   # what it would take

The edges follow from the entries' standard deviation, as in the source. The model is gated: accept its licence on the
hub, and log in with `hf auth login`.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("locating", "small"),
    "Llama-8B's spectra by role against Marchenko-Pastur, outliers by block, p-values of singular vectors",
    "meta-llama/Llama-3.1-8B (gated)",
    "stories260k, `eigensweep-sweep`: medians beyond random signs 7 (query), 4 (key), 0 (value, attention output)",
)


def get_config() -> ConfigDict:
    """All matrices, edges by the entries' standard deviation, one permuted control."""
    return ConfigDict(
        {
            "command": "sweep",
            "checkpoint": "meta-llama/Llama-3.1-8B",
            "sigma": "entries",
            "control": "permutation",
            "small": {"checkpoint": "llama"},
        }
    )
