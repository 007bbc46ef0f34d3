"""The settings of a transformer, as one flat, hashable record.

Every family that runs here is the same network with other settings: where the norms stand, how positions enter, which
linear layers carry a bias, which blocks have experts. `configs` reads it from config.json.
"""

from dataclasses import dataclass

from eigensweep.models.nn.rope import Rope

FULL_ATTENTION = 2**30  # a window wider than any text


@dataclass(frozen=True)
class Architecture:
    """The settings of one transformer. Sizes count entries; `width` is the residual stream's."""

    family: str
    causal: bool
    vocab_size: int
    width: int
    num_blocks: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    mlp_dim: int
    max_positions: int
    norm_eps: float
    activation: str
    windows: tuple[int, ...]  # a block's attention reaches this many tokens back, itself included
    attention_scales: tuple[float, ...]  # one a block, multiplies q . k
    tied: bool  # the unembedding is the embedding
    norm: str = "layer"  # layer, rms, rms_plus_one (Gemma: the scale is stored less one), rms_shift: see layers.Norm
    residual: str = "pre"  # pre, parallel, post, sandwich, output: see modules.Block
    gated: bool = False
    qkv_bias: bool = True
    output_bias: bool = True
    mlp_bias: bool = True
    qk_norm: str = ""  # head: query and key are normed head by head; whole: over all heads at once
    ropes: tuple[Rope, ...] = ()
    block_ropes: tuple[int, ...] = ()  # which of them each block takes
    position_rows: int = 0  # rows of the learned position table, 0 without one
    position_offset: int = 0  # the first token's row in it
    type_rows: int = 0
    embedding_width: int = 0  # of the tables, where a projection brings them to `width`; 0: the same
    embedding_scale: float = 1.0
    attention_cap: float = 0.0  # scores s become cap tanh(s/cap); 0: not
    logit_cap: float = 0.0  # the language model's logits likewise
    num_experts: int = 0
    experts_per_token: int = 0
    expert_dim: int = 0  # an expert's mlp_dim
    shared_dim: int = 0  # of the expert that sees every token, 0 without one
    norm_routes: bool = False  # the chosen experts' shares are scaled to sum to 1
    expert_blocks: tuple[bool, ...] = ()  # which blocks have experts in place of an MLP
    num_labels: int = 2
    pooler: bool = False  # the family's base model has one
    classifier_dense: bool = False  # a two-layer classifier that reads the first token, in place of pooler and output
    classifier_activation: str = "tanh"
    mlm_activation: str = "gelu"
    decoder_bias: bool = False  # the masked-language head's decoder has a bias of its own, in place of the head's
    dropout: float = 0.0
    attention_dropout: float = 0.0
    classifier_dropout: float = 0.0

    def has_experts(self, block: int) -> bool:
        """Whether a block's MLP is a mixture of experts."""
        return bool(self.expert_blocks) and self.expert_blocks[block]
