"""What a family's mapping is made of: rules from stored tensors to leaves of the Flax pytree, as data.

A rule's pattern is a tensor's name, matched in full, in which `{b}` stands for the block and `{e}` for the expert.
Sizes are named by keys of `Dims`, so the same table serves every size of model.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Layout = Literal["linear", "conv1d", "embedding", "convolution", "head_outputs", "head_inputs", "vector"]
"""How a weight is stored: (out, in), (in, out), (entries, d), (out, in, taps, ...), (heads, in, head), (heads, head,
out), or as a leaf that is no linear map, kept as it is. A convolution is read as the map (out, in * taps) from the
patch under its kernel, a stack of heads as the one map (heads * head, in) into them or (out, heads * head) out of them.
"""

Dims = Mapping[str, Any]
"""Sizes by name, and flags for `Rule.when`: True, False, None (either), or a set of blocks. `blocks` is the depth,
`encoder_blocks` that of a tower with a depth of its own; `extra_blocks` more may follow, which need not be stored
(heads that predict further tokens).
"""


@dataclass(frozen=True)
class Part:
    """What a tensor, or one share of a fused one, becomes.

    Attributes:
      path: of the leaf, with `{b}` and `{e}`.
      role: in the sweep; empty for vectors.
      label: what tells the share apart in the matrix's name.
      size: outputs of the share, a key of Dims; needed where the tensor holds several.
    """

    path: str
    role: str = ""
    label: str = ""
    size: str = ""


@dataclass(frozen=True)
class Rule:
    """One kind of stored tensor.

    Several rules may have the same pattern, where a weight is stored in two ways or stands for two things: the first
    whose shape and `when` fit is taken.

    Attributes:
      pattern: full name, after the family's renames.
      shape: of the stored tensor, keys of Dims.
      parts: one, or several where the tensor is fused along its outputs.
      layout: how the weight is stored.
      groups: a key of Dims, for outputs that come in so many equal groups, each with its part of every share; empty
        where the shares lie end to end.
      stacked: the first axis counts experts, each holding a weight in `layout`.
      when: a key of Dims: must the tensor be there (True), must it not (False), or may it (None)?
      tied_to: path of the leaf whose weights these are when they are shared or absent.
      reason: why the sweep leaves the tensor out, where its shape does not tell.
      tower: the stack that it belongs to, see `matrix.Matrix`.
    """

    pattern: str
    shape: tuple[str, ...]
    parts: tuple[Part, ...]
    layout: Layout
    groups: str = ""
    stacked: bool = False
    when: str = "always"
    tied_to: str = ""
    reason: str = ""
    tower: str = ""

    @functools.cached_property
    def regex(self) -> re.Pattern:
        """The pattern, compiled for `fullmatch`."""
        escaped = re.escape(self.pattern)
        number = "0|[1-9][0-9]{0,8}"  # more is no block, and no column of a table takes it
        return re.compile(escaped.replace(r"\{b\}", f"(?P<b>{number})").replace(r"\{e\}", f"(?P<e>{number})"))


_DIGITS = re.compile("[0-9]+")


@dataclass(frozen=True)
class Family:
    """An architecture.

    Attributes:
      name: goes into the manifest.
      model_types: config.json's `model_type`s that it serves.
      defaults: config entries where config.json leaves them out, as transformers' config class has them.
      dims: sizes and flags from a complete config.
      rules: the mapping.
      renames: (pattern, replacement), full match, applied in turn before the rules: prefixes and older names.
      skips: (pattern, reason) for names that are no parameters of the model, full match after the renames.
      text_config: the config's entry that holds the text model's config, in multimodal models.
      towers: (pattern, tower) for names of other stacks, read generically, full match after the renames.
    """

    name: str
    model_types: tuple[str, ...]
    defaults: Mapping[str, Any]
    dims: Callable[[Mapping[str, Any]], Dims]
    rules: tuple[Rule, ...]
    renames: tuple[tuple[str, str], ...] = ()
    skips: tuple[tuple[str, str], ...] = ()
    text_config: str = ""
    towers: tuple[tuple[str, str], ...] = ()

    def rename(self, name: str) -> str:
        """A tensor's name without the base model's prefix, in the family's current spelling."""
        for pattern, replacement in self._compiled_renames:
            name = pattern.sub(replacement, name)
        return name

    def tower_of(self, name: str) -> str | None:
        """The stack of another kind that a tensor (renamed) stands in; None where it is the family's own."""
        return next((tower for pattern, tower in self.towers if re.fullmatch(pattern, name)), None)

    def matching(self, name: str) -> list[tuple[Rule, re.Match]]:
        """The rules whose pattern a name (renamed) is; there should be one."""
        candidates = self._by_outline.get(_DIGITS.sub("0", name), ())
        return [(rule, match) for rule in candidates if (match := rule.regex.fullmatch(name))]

    def skip_reason(self, name: str) -> str | None:
        """Why a tensor (renamed) is no parameter; None where it is one."""
        return next((why for pattern, why in self._compiled_skips if pattern.fullmatch(name)), None)

    # A hundred thousand names meet every family's patterns: compiled once, rules found by the name without its numbers.
    @functools.cached_property
    def _compiled_renames(self) -> list[tuple[re.Pattern, str]]:
        return [(re.compile(rf"\A(?:{pattern})\Z"), replacement) for pattern, replacement in self.renames]

    @functools.cached_property
    def _compiled_skips(self) -> list[tuple[re.Pattern, str]]:
        return [(re.compile(pattern), why) for pattern, why in (*self.skips, *NO_PARAMETERS)]

    @functools.cached_property
    def _by_outline(self) -> dict[str, list[Rule]]:
        rules: dict[str, list[Rule]] = {}
        for rule in self.rules:
            outline = _DIGITS.sub("0", rule.pattern.format(b=0, e=0))
            rules.setdefault(outline, []).append(rule)
        return rules


NO_PARAMETERS = (
    (
        r"(?i:(?:.*[./])?(?:position_ids|token_type_ids|relative_position_index|relative_coords_table))",
        "a buffer of indices, no parameter",
    ),
    (
        r"(?i:(?:.*[./])?(?:(?:rope|rotary)(?:_emb)?_)?(?:inv_freq|freqs?(?:_cis|_cos|_sin)?|cos|sin)(?:_cache|_cached)?)",
        "a buffer of rotary frequencies, no parameter",
    ),
    (r".*\.attn\.(?:masked_)?bias|.*\.attention\.(?:masked_)?bias", "a buffer with the causal mask, no parameter"),
    (
        r"(?i:(?:.*[./])?(?:(?:causal|attn|attention|src|tgt)_)?(?:mask|tril|triu))",
        "a buffer with a mask, no parameter",
    ),
    (r"(?i:(?:.*[./])?(?:running_(?:mean|var|std)|num_batches_tracked))", "running statistics, no parameter"),
    (r"(?i:(?:.*[./])?alibi(?:_slopes|_biases)?)", "a buffer of biases by distance, no parameter"),
)
"""Buffers that lie among the weights, by their names."""


def depth_of(dims: Dims, tower: str) -> int:
    """The depth of a tower."""
    return dims.get(f"{tower.split('.')[0]}_blocks", dims["blocks"])


def in_tower(tower: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Rules of a stack; those that have a tower already keep it."""
    return tuple(replace(rule, tower=rule.tower or tower) for rule in rules)


def linear(source: str, path: str, role: str, out: str, inp: str, bias: str | None = None, when: str = "always"):
    """Rules for a linear layer stored (out, in), and for its bias if it can have one (`bias` is the flag)."""
    weight = Rule(f"{source}.weight", (out, inp), (Part(f"{path}/kernel", role),), "linear", when=when)
    return (weight,) if bias is None else (weight, vector(f"{source}.bias", f"{path}/bias", out, bias))


def convolution(source: str, path: str, shape: tuple[str, ...], bias: str | None = None, when: str = "always"):
    """Rules for a convolution's kernel, stored (out, in, taps, ...), and for its bias if it can have one.

    Of a depthwise one, (channels, 1, taps), the rows are the channels' own filters.
    """
    weight = Rule(f"{source}.weight", shape, (Part(f"{path}/kernel", "convolution"),), "convolution", when=when)
    return (weight,) if bias is None else (weight, vector(f"{source}.bias", f"{path}/bias", shape[0], bias))


def embedding(source: str, path: str, role: str, entries: str, dim: str, when: str = "always") -> tuple[Rule, ...]:
    """A rule for a table with one row an entry."""
    return (Rule(f"{source}.weight", (entries, dim), (Part(f"{path}/embedding", role),), "embedding", when=when),)


def vector(source: str, path: str, size: str, when: str = "always", tied_to: str = "") -> Rule:
    """A rule for a bias or a norm's scale."""
    return Rule(source, (size,), (Part(path),), "vector", when=when, tied_to=tied_to)


def norm(source: str, path: str, size: str, bias: bool = False, when: str = "always") -> tuple[Rule, ...]:
    """Rules for an RMS norm (scale), or a layer norm (scale and bias)."""
    scale = vector(f"{source}.weight", f"{path}/scale", size, when)
    return (scale, vector(f"{source}.bias", f"{path}/bias", size, when)) if bias else (scale,)


def unembedding(source: str = "lm_head", when: str = "unembedding", dim: str = "d") -> tuple[Rule, ...]:
    """The language model's head, which may be the embedding itself."""
    part = Part("unembedding/kernel", "unembedding")
    return (Rule(f"{source}.weight", ("vocab", dim), (part,), "linear", when=when, tied_to="embedding/embedding"),)


def heads(*sources: str, dim: str = "d") -> tuple[Rule, ...]:
    """Optional task heads of one linear layer; the number of labels is whatever is stored."""
    return tuple(
        rule
        for source in sources
        for rule in linear(source, "classifier/output", "classifier", "any", dim, "optional", when="optional")
    )


def sizes(vocab: int, d: int, mlp: int, blocks: int, heads: int, **more: Any) -> dict[str, Any]:
    """A config's sizes under transformers' names; a family's defaults."""
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return dict(zip(names, (vocab, d, mlp, blocks, heads), strict=True)) | more


def flags(config: Mapping[str, Any]) -> dict[str, Any]:
    """The Dims that every family has: `always`, `optional`, `any`, and what config and class say of the head."""
    names = [str(name) for name in config.get("architectures") or ()]
    causal = any(name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for name in names)
    masked = any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names)
    tied = bool(config.get("tie_word_embeddings", True))
    return {
        "always": True,
        "optional": None,
        "any": None,
        "language_model": causal or masked if names else None,
        "tied": tied,
        "unembedding": True if causal and not tied else None,
    }
