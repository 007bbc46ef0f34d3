"""BERT-base: the spectrum and the singular vectors of every weight matrix against random matrix theory.

eigensweep-sweep --config=staats_bert_spectra --workdir=runs/bert-spectra --figures

The edges are those of the start, sigma = 1/sqrt(m), as in the source; --config.sigma=bulk fits them instead. Figures:
spectra by role with the Marchenko-Pastur law, counts of outliers by block, p-values of the singular vectors over
their index. One vector's entries against the Gaussian are on the page, in the view of a matrix.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("locating", "small"),
    "BERT's spectra by role against Marchenko-Pastur, outliers by block, Kolmogorov-Smirnov p-values of singular "
    "vectors, the entries of one vector (figure 3)",
    "google-bert/bert-base-uncased",
    "MiniLM, preset `minilm`: medians beyond random signs 49 (query), 39.5 (key), 48 (value), 20 (attention output)",
    numbers=(3,),
)


def get_config() -> ConfigDict:
    """All matrices, edges of the start, one permuted control."""
    return ConfigDict(
        {
            "command": "sweep",
            "checkpoint": "google-bert/bert-base-uncased",
            "sigma": "init",
            "control": "permutation",
            "small": {"checkpoint": "bert"},
        }
    )
