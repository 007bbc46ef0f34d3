"""Reading a checkpoint of known architecture by its family's rules, and holding it against its config."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from eigensweep.models.errors import CheckpointError, listed, printable, shown
from eigensweep.models.families.rules import Dims, Family, Part, Rule, depth_of
from eigensweep.models.generic import read_generically, reason_to_skip, unreadable
from eigensweep.models.matrix import FLOATING, Cut, Tensor, same_content
from eigensweep.models.plan import Draft, Leaf, Plan

_NAMED = 20  # names that one warning lists
_COUNTS = ("layer", "layers", "experts")  # how the keys that count something end
_MOST = 10_000  # of each; a config must not keep us counting for ever
_MOST_LEAVES = 200_000  # blocks times experts


def complete_config(family: Family, config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The (text) model's config with the family's defaults for what it leaves out.

    Raises:
      CheckpointError: a size is no positive integer.
    """
    inner = config.get(family.text_config) if family.text_config else None
    given = dict(config)
    if isinstance(inner, Mapping):
        whole = config.get("tie_word_embeddings")  # what the wrapper says of its head, its text model cannot know
        given.update((key, value) for key, value in inner.items() if value is not None)
        given["tie_word_embeddings"] = given.get("tie_word_embeddings") if whole is None else whole
    complete = {**family.defaults, **{key: value for key, value in given.items() if value is not None}}
    for key, default in family.defaults.items():
        value = complete[key]
        if type(default) is int and (type(value) is not int or value < 1):
            raise CheckpointError(f"{where}: {key} is {shown(value)}, a positive integer was expected")
    for key, value in complete.items():
        if key.endswith(_COUNTS) and type(value) is int and value > _MOST:
            raise CheckpointError(f"{where}: {printable(key)} is {shown(value)}, at most {_MOST} are read")
    return complete


def model_dims(family: Family, config: Mapping[str, Any], where: str) -> Dims:
    """The sizes and flags that a family's rules speak of, from a config; CheckpointError where they make no sense."""
    complete = complete_config(family, config, where)
    try:
        dims = family.dims(complete)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as e:
        raise CheckpointError(f"{where}: no usable config of a {family.name} model: {shown(e)}") from e
    for name, size in dims.items():
        if not isinstance(size, bool | None | frozenset) and (type(size) is not int or size < 0):
            raise CheckpointError(f"{where}: no usable config of a {family.name} model: {name} would be {shown(size)}")
    depth = sum(dims[key] for key in dims if key.endswith("blocks"))
    if depth * max(dims.get("experts") or 1, 1) > _MOST_LEAVES:
        raise CheckpointError(
            f"{where}: {depth} blocks of {dims.get('experts')} experts are more than the {_MOST_LEAVES} that are read"
        )
    for rule in family.rules:
        if rule.groups and (not dims[rule.groups] or any(dims[part.size] % dims[rule.groups] for part in rule.parts)):
            raise CheckpointError(
                f"{where}: no usable config of a {family.name} model: the outputs of {rule.pattern} do not fall into "
                f"{dims[rule.groups]} equal groups"
            )
    return dims


def rule_state(dims: Dims, when: str, block: int | None) -> bool | None:
    """Whether a tensor must (True), must not (False) or may (None) be there."""
    flag = dims[when]
    return block in flag if isinstance(flag, frozenset) else flag


def required_rules(family: Family, dims: Dims) -> Iterator[tuple[Rule, int | None]]:
    """The rules, with their blocks, for tensors that a checkpoint must have; a tied head it need not."""
    for block in (None, *range(max(depth_of(dims, rule.tower) for rule in family.rules))):
        for rule in family.rules:
            if ("{b}" in rule.pattern) != (block is not None) or (rule.tied_to and dims["tied"]):
                continue
            if block is not None and block >= depth_of(dims, rule.tower):
                continue
            if rule_state(dims, rule.when, block) is True:
                yield rule, block


def _number(match: re.Match, group: str) -> int | None:
    text = match.groupdict().get(group)
    return None if text is None else int(text)


class _Reader:
    """Applies a family's rules to one tensor after the other."""

    def __init__(self, family: Family, dims: Dims):
        self.family, self.dims, self.draft = family, dims, Draft()
        self.unmatched: list[str] = []
        self.misfits: list[str] = []
        self.rule_of: dict[str, Rule] = {}  # by leaf
        self.position = {rule.pattern: i for i, rule in enumerate(family.rules)}
        self.first_block_rule: dict[str, int] = {}  # by tower
        for i, rule in enumerate(family.rules):
            if "{b}" in rule.pattern:
                self.first_block_rule.setdefault(rule.tower, i)

    def read(self, tensor: Tensor) -> None:
        name = self.family.rename(tensor.name)
        if reason := self.family.skip_reason(name):
            self.draft.skip(tensor, reason)
            return
        hits = self.family.matching(name)
        if not hits and (tower := self.family.tower_of(name)):
            read_generically(self.draft, tensor, tower)
            return
        if not hits:
            self.unmatched.append(tensor.name)
            self.draft.mismatches.append(f"unexpected {tensor.name} {list(tensor.shape)}: no rule knows it")
            read_generically(self.draft, tensor)
            return
        rule, match = next((hit for hit in hits if self.serves(*hit, tensor)), hits[0])
        self.apply(rule, tensor, _number(match, "b"), _number(match, "e"))

    def serves(self, rule: Rule, match: re.Match, tensor: Tensor) -> bool:
        wanted = rule_state(self.dims, rule.when, _number(match, "b"))
        return wanted is not False and self.has_shape(rule, tensor)

    def has_shape(self, rule: Rule, tensor: Tensor) -> bool:
        expected = tuple(self.dims[size] for size in rule.shape)
        return len(expected) == len(tensor.shape) and all(
            size is None or size == got for size, got in zip(expected, tensor.shape, strict=True)
        )

    def fits(self, rule: Rule, tensor: Tensor, block: int | None, expert: int | None) -> bool:
        """Notes every mismatch with the config; False if the tensor cannot be cut as the rule says."""
        notes = []
        depth = depth_of(self.dims, rule.tower)
        if block is not None and block >= depth + self.dims.get("extra_blocks", 0):
            notes.append(f"unexpected {tensor.name}: the config has {depth} blocks")
        elif rule_state(self.dims, rule.when, block) is False:
            notes.append(f"unexpected {tensor.name}: by its config the model has none")
        if expert is not None and expert >= self.dims["experts"]:
            notes.append(f"unexpected {tensor.name}: the config has {self.dims['experts']} experts")
        fits = self.has_shape(rule, tensor)
        if not fits:
            wanted = ["any" if self.dims[size] is None else self.dims[size] for size in rule.shape]
            notes.append(f"{tensor.name}: shape {wanted} expected from the config, got {list(tensor.shape)}")
        if tensor.dtype not in FLOATING:
            notes.append(f"{tensor.name}: a floating dtype was expected, got {tensor.dtype}")
        self.draft.mismatches += notes
        self.misfits += notes
        simple = len(rule.parts) == 1 and (len(rule.shape) <= 2 or rule.layout == "convolution")
        return fits or (simple and len(tensor.shape) == len(rule.shape))

    def apply(self, rule: Rule, tensor: Tensor, block: int | None, expert: int | None) -> None:
        """Makes leaves of a tensor's weights, and matrices of those that have a role."""
        if not self.fits(rule, tensor, block, expert):
            read_generically(self.draft, tensor)
            return
        if reason := rule.reason or (reason_to_skip if rule.layout == "vector" else unreadable)(tensor):
            self.draft.skip(tensor, reason)
        position = self.position[rule.pattern]
        first = self.first_block_rule.get(rule.tower, min(self.first_block_rule.values(), default=0))
        stage = 1 if block is not None else 0 if position < first else 2
        for share, part, cut in self.cuts(rule, tensor):
            number = expert if cut.expert is None else cut.expert
            path = part.path.format(b=block, e=number)
            if path in self.draft.leaves:
                other = self.draft.leaves[path].tensor.name
                self.draft.mismatches.append(f"{tensor.name} and {other} are both the leaf {path}")
            else:
                self.draft.leaves[path] = Leaf(path, cut.leaf_shape, tensor, cut)
                self.rule_of[path] = rule
            if not part.role or reason:
                continue
            name = f"{tensor.name}[{number}]" if rule.stacked else tensor.name
            name += f":{part.label}" if part.label else ""
            what = (part.role, block, number)
            matrix = cut.as_matrix(name, what, guessed=False, path=path, transposed=True, tower=rule.tower)
            self.draft.add_matrix((stage, block or 0, position, ((number or 0, share),), 0), matrix, cut)

    def cuts(self, rule: Rule, tensor: Tensor) -> Iterator[tuple[int, Part, Cut]]:
        """The weights in a tensor: of each expert that is stacked in it, each share that is fused."""
        groups = self.dims[rule.groups] if rule.groups else 1
        for expert in range(tensor.shape[0]) if rule.stacked else (None,):
            begin = 0
            for share, part in enumerate(rule.parts):
                end = begin + self.dims[part.size] // groups if part.size else 0
                rows = (begin, end) if part.size else None
                begin = end
                yield share, part, Cut(tensor, rule.layout, expert, rows, groups)

    def tie(self) -> None:
        """Drops leaves that hold another leaf's weights; moves those that stand in for another."""
        for path in [path for path, rule in self.rule_of.items() if rule.tied_to]:
            rule, leaf = self.rule_of[path], self.draft.leaves[path]
            kept, bias = self.draft.leaves.get(rule.tied_to), rule.layout == "vector"
            if kept is None:
                if bias or self.dims["tied"]:
                    self.move(path, rule.tied_to)
            elif same_content(leaf.tensor, kept.tensor):
                if bias or self.dims["tied"]:  # an untied model keeps its head, though it repeats
                    del self.draft.leaves[path]
                self.draft.tied[leaf.tensor.name] = kept.tensor.name
            elif bias:
                self.move(path, rule.tied_to)
                self.draft.warnings.append(
                    f"{leaf.tensor.name} and {kept.tensor.name} differ: transformers adds the first and never uses "
                    f"the second, which is left out of the pytree"
                )
            elif self.dims["tied"]:
                self.draft.warnings.append(
                    f"the config ties {leaf.tensor.name} to {kept.tensor.name}, but they differ: both are analysed"
                )

    def move(self, path: str, to: str) -> None:
        """Reads the tensor behind a leaf as the rule for the leaf `to` says."""
        tensor = self.draft.leaves.pop(path).tensor
        self.draft.matrices = [
            item for item in self.draft.matrices if self.draft.cuts[item[1].name].tensor.name != tensor.name
        ]
        rule = next(rule for rule in self.family.rules if any(part.path == to for part in rule.parts))
        if rule.layout == "vector":
            self.draft.leaves[to] = Leaf(to, tensor.shape, tensor, Cut(tensor, "vector"))
        else:
            self.apply(rule, tensor, None, None)

    def find_missing(self) -> None:
        """Notes every leaf that the config asks for and no tensor fills."""
        missing: dict[str, str] = {}
        for rule, block in required_rules(self.family, self.dims):
            for part in rule.parts:
                for expert in range(self.dims["experts"]) if "{e}" in part.path else (None,):
                    path = part.path.format(b=block, e=expert)
                    if path not in self.draft.leaves:
                        name = rule.pattern.format(b=block, e=expert)
                        missing.setdefault(path, f"missing {name} (leaf {path})")
        self.draft.mismatches += missing.values()


def _task_heads(draft: Draft, family: Family, config: Mapping[str, Any]) -> list[str]:
    """A warning where a decoder's blocks carry another task's head: it is no language model any more."""
    # An encoder-decoder that classifies is as much itself as one that writes.
    decoders = (rule for rule in family.rules if rule.tower in ("", "text"))
    causal = any(part.path == "unembedding/kernel" for rule in decoders for part in rule.parts)
    heads = {leaf.tensor.name: None for path, leaf in draft.leaves.items() if path.startswith("classifier/")}
    if not causal or not heads:
        return []
    names = [str(name) for name in config.get("architectures") or ["no class named"]]
    return [
        f"{listed(list(heads))}: the head of another task ({listed(names)}), swept in the role classifier; scored as "
        f"a language model, this {family.name} is not what it was trained to be"
    ]


def plan_known(
    family: Family, config: Mapping[str, Any], where: str, tensors: Iterable[Tensor], aliases: dict[str, str]
) -> Plan:
    """The plan of a checkpoint whose architecture is known.

    Args:
      family: its rules.
      config: config.json.
      where: the config's file, for messages.
      tensors: of the source, aliases included.
      aliases: {second name: name} of tensors known to be the same.

    Raises:
      CheckpointError: the config's sizes make no sense.
    """
    dims = model_dims(family, config, where)
    reader = _Reader(family, dims)
    for tensor in tensors:
        reader.read(tensor)
    draft = reader.draft
    if reader.unmatched:
        draft.warnings.append(
            f"{len(reader.unmatched)} tensors match no rule of {family.name} and are read generically, their roles "
            f"guessed: {listed(reader.unmatched, _NAMED)}"
        )
    if reader.misfits:
        draft.warnings.append(f"tensors that do not fit config.json: {listed(reader.misfits, _NAMED)}")
    reader.tie()
    draft.tied.update((second, kept) for second, kept in aliases.items() if second not in draft.tied)
    reader.find_missing()
    language_model = dims["language_model"]
    if language_model is None:  # no class is named: its head tells
        language_model = any(path.startswith(("mlm/", "unembedding/")) for path in draft.leaves)
    if not language_model:
        draft.warnings += _task_heads(draft, family, config)
    plan = draft.finish()
    return _name_absent_heads(plan, family) if dims["tied"] and language_model else plan


def _name_absent_heads(plan: Plan, family: Family) -> Plan:
    """Says at the embedding that it serves as the head, where the checkpoint does not store the head again."""
    stored = {family.rename(name) for matrix in plan.matrices for name in (matrix.name, *matrix.tied)}
    tied = [rule.pattern for rule in family.rules if rule.tied_to == "embedding/embedding"]
    heads = [name for name in tied if name not in stored and "{b}" not in name]
    matrices = (m.with_tied(heads) if m.path == "embedding/embedding" else m for m in plan.matrices)
    return replace(plan, matrices=tuple(matrices))
