"""Pythia-410m: the spectrum and the singular vectors of every weight matrix against random matrix theory.

eigensweep-sweep --config=staats_pythia_spectra --workdir=runs/pythia-spectra --figures
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("small",),
    "Pythia's spectra by role against Marchenko-Pastur, outliers at both ends, p-values of singular vectors",
    "EleutherAI/pythia-410m-deduped",
    "gpt2-char, `eigensweep-sweep`: medians beyond random signs 23.5 (query), 17 (key), 5.5 (value, attention output); "
    "one left outlier in `mlp_up`",
)


def get_config() -> ConfigDict:
    """All matrices, edges by the entries' standard deviation, one permuted control."""
    return ConfigDict(
        {
            "command": "sweep",
            "checkpoint": "EleutherAI/pythia-410m-deduped",
            "sigma": "entries",
            "control": "permutation",
            "small": {"checkpoint": "pythia"},
        }
    )
