"""The roles a matrix can play, and guessing them from names where the architecture is unknown."""

import functools
import re

ROLES = (
    "query", "key", "value", "attention_output", "mlp_up", "mlp_gate", "mlp_down", "embedding", "position_embedding",
    "unembedding", "pooler", "classifier", "expert", "convolution", "other",
    # of relative positions, where they have projections of their own
    "position_query", "position_key",
    # experts that every token passes through
    "shared_mlp_up", "shared_mlp_gate", "shared_mlp_down",
    # latent attention: down to what queries, keys and values are made of, and the one rotary key of all heads
    "query_latent", "key_value_latent", "rotary_key",
    # a gate on what attention puts out
    "attention_gate",
    # linear attention, whose states are no sums over tokens by a softmax
    "linear_query", "linear_key", "linear_value", "linear_gate", "linear_beta", "linear_decay",
    "linear_output",
    # state spaces: into the state and out of it, the gate beside it, and what the token decides: step, B and C
    "ssm_input", "ssm_gate", "ssm_step_latent", "ssm_step", "ssm_b", "ssm_c", "ssm_output",
)  # fmt: skip

TOWERS = ("vision", "audio", "text", "encoder", "decoder")
"""The stacks of models that have several, in the order in which they are listed."""

# Tried in order against the name with "/" as "."; the first that is found decides. What comes early must not be
# caught by what comes late: positions before embeddings, heads and attention outputs before plain "dense". Upper or
# lower case is all the same.
_NAMES = (
    ("other", "norm|layernorm|ln|ln_[0-9f]|router|token_type_embeddings?|type_embedding|lora_[AB]"
     "|relative_attention_bias|relative_position_bias_table|embedding_hidden_mapping_in|embeddings_project"),
    ("position_embedding",
     "wpe|position_embeddings?|embed_positions|pos_emb(?:ed(?:ding)?)?|positional_embedding|W_pos|rel_embeddings"),
    ("unembedding", "lm_head|embed_out|unembed|unembedding|generator_lm_head|vocab_projector|decoder[.]weight|W_U"),
    ("embedding", "wte|token_embd|embed_tokens|word_embeddings?|tok(?:en)?_emb(?:ed(?:dings?)?)?|(?<!_)embed|embed_in"
     "|embeddings?|shared[.]weight|W_E"),
    ("pooler", "pooler"),
    ("classifier", "classifier|pre_classifier|score|qa_outputs|seq_relationship|summary|classification_head"),
    ("query", "query|query_proj|q_proj|q_lin|q_attn|to_q|wq|W_Q|q|[a-z]*attn[.]q|q_b_proj|q_a_proj"),
    ("key", "key|key_proj|k_proj|k_lin|to_k|wk|W_K|k"),
    ("value", "value|value_proj|v_proj|v_lin|to_v|wv|W_V|v"),
    ("attention_output",
     "attention[.]output[.]dense|(?:self_)?attn[.](?:out_proj|c_proj|proj|dense|o|wo)|o_proj|out_lin|to_out"
     "|attn_output|attention[.](?:dense|wo|out_proj|o|output|proj)|(?:Self|EncDec)Attention[.]o|out_proj|W_O"),
    ("mlp_gate", "gate_proj|wi_0|mlp[.]gate[.]kernel|ffn_gate|W_gate"),
    ("mlp_up", "up_proj|c_fc|fc1|lin1|fc_in|wi|wi_1|w3|intermediate[.]dense|dense_h_to_4h|mlp[.]up|ffn_up|linear1"
     "|ffn[.]weight|W_in"),
    ("mlp_down", "down_proj|c_proj|fc2|lin2|fc_out|wo|w2|output[.]dense|dense_4h_to_h|mlp[.]down|ffn_down|linear2"
     "|ffn_output|W_out"),
    ("mlp_gate", "w1"),
    ("unembedding", "^output[.]weight|^head[.]weight"),
)  # fmt: skip


def _named(names: str) -> re.Pattern:
    return re.compile(rf"(?:^|[._])(?:{names})(?:[._]|$)", re.IGNORECASE)


_GUESSES = tuple((role, _named(names)) for role, names in _NAMES)
_FUSED = _named(
    "c_attn|w?qkv(?:_proj|_lin)?|to_qkv|query_key_value|in_proj|in_proj_weight|(?:to_|w)?kv(?:_proj)?|key_value"
    "|gate_up(?:_proj)?|up_gate(?:_proj)?|gate_and_up_proj|w12|w13|w1_?w3|w3_?w1"
)
_TOWERS = (
    ("vision", _named("vision_(?:tower|model|encoder|backbone)|visual|image_encoder|img_encoder|vit")),
    ("audio", _named("audio_(?:tower|model|encoder)|speech_encoder")),
    ("text", _named("text_(?:tower|model|encoder|decoder)|language_model|llm|qformer")),
    ("encoder", _named("encoder")),
    ("decoder", _named("decoder")),
)
_CROSS = _named("encoder_attn|encdecattention|cross_?attn|cross_?attention|encoder_decoder_attention|multihead_attn")
_BLOCK = re.compile(r"(?:^|[._])(?:layers?|h|blocks?|blk|block_|resblocks|layer_)[._]?([0-9]{1,9})(?:[._]|$)")
_EXPERT = re.compile(r"(?:^|[._])experts?[._]([0-9]{1,9})(?:[._]|$)")
_INDEX = re.compile(r"(?<=[.])[0-9]+(?=[.])")  # tells no role: the same name in all blocks is looked up once
_NUMBER = re.compile(r"(?:^|[._])([0-9]{1,9})(?:[._]|$)")


@functools.lru_cache(10_000)
def _role(name: str) -> str:
    if looks_fused(name):
        return "other"
    return next((role for role, pattern in _GUESSES if pattern.search(name)), "other")


def looks_fused(name: str) -> bool:
    """Whether a name says that a tensor holds several weights: query, key and value, or gate and up."""
    return _FUSED.search(name.replace("/", ".")) is not None


@functools.lru_cache(10_000)
def _tower(name: str) -> str:
    found = [(match.start(), tower) for tower, pattern in _TOWERS if (match := pattern.search(name))]
    return ".".join(word for word in (min(found)[1] if found else "", "cross" * bool(_CROSS.search(name))) if word)


def guess_tower(name: str) -> str:
    """The stack that a tensor's name suggests, the outermost; "" where it says nothing.

    >>> guess_tower("model.decoder.layers.3.encoder_attn.q_proj.weight")
    'decoder.cross'
    """
    return _tower(_INDEX.sub("0", name.replace("/", ".")))


def guess_role(name: str) -> tuple[str, int | None, int | None]:
    """The role, block and expert that a tensor's name suggests.

    Args:
      name: as in the checkpoint, parts set off by "." or "/".

    Returns:
      (role, block, expert); ("other", None, None) where the name says nothing.

    >>> guess_role("model.layers.7.self_attn.q_proj.weight")
    ('query', 7, None)
    """
    name = name.replace("/", ".")
    role = _role(_INDEX.sub("0", name))
    expert = _EXPERT.search(name)
    block = _BLOCK.search(name) or next(
        (m for m in _NUMBER.finditer(name) if expert is None or m.start(1) != expert.start(1)), None
    )
    return role, int(block[1]) if block else None, int(expert[1]) if expert else None
