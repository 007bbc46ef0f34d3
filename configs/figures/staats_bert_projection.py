"""BERT-base with a tenth of its residual stream's covariance taken out before every norm, decile by decile.

eigensweep-ablate --config=staats_bert_projection --workdir=runs/bert-projection --figures

As SliceGPT does: LayerNorms are written as RMSNorms, and each reads all but a tenth of the eigenvectors of its input's
covariance. The covariance comes from the first half of WikiText-2's test set, the masked loss from the second.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import WIKITEXT, Figure

FIGURE = Figure(
    ("locating",),
    "loss without percentile groups of the eigenvectors of the stream's covariance",
    "google-bert/bert-base-uncased, WikiText-2",
    "gpt2-char and stories260k, `eigensweep-ablate --config.removals=covariance:decile`; before and after fine-tuning "
    "MiniLM, preset `finetune_minilm_stream` (its docstring)",
)


def get_config() -> ConfigDict:
    """All ten deciles, three draws of random directions."""
    small = {"checkpoint": "bert", "data": "words", "format": "text", "length": 16, "max_rows": 4}
    fewer = {"calibration_rows": 8, "num_resamples": 50, "removals": "covariance:decile:1,covariance:random:0"}
    return ConfigDict(
        {
            "command": "ablate",
            "checkpoint": "google-bert/bert-base-uncased",
            **WIKITEXT,
            "data_from": 0.5,
            "length": 128,
            "max_rows": 256,
            "removals": "covariance:decile,covariance:random",
            "small": {**small, **fewer},
        }
    )
