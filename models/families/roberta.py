"""RoBERTa (Liu et al. 2019) and XLM-RoBERTa: BERT's encoder with heads of its own."""

from eigensweep.models.families.bert import DEFAULTS, ENCODER, encoder_dims, mlm_head
from eigensweep.models.families.rules import Family, heads, linear

ROBERTA = Family(
    name="roberta",
    model_types=("roberta", "xlm-roberta", "camembert"),
    defaults={**DEFAULTS, "vocab_size": 50265},
    dims=encoder_dims,
    rules=(
        *ENCODER,
        *mlm_head("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias"),
        *linear("classifier.dense", "classifier/dense", "classifier", "d", "d", "optional", when="optional"),
        *heads("classifier.out_proj", "classifier", "qa_outputs"),
    ),
    renames=((r"roberta\.(.*)", r"\1"),),
)
