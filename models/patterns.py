"""Keys of an adapter's rank_pattern and alpha_pattern, matched as PEFT matches them, in bounded time.

PEFT gives a module the entry of the first key with re.match(rf"(.*\\.)?({key})$", module): the key is a regular
expression that must fit the module's name from its beginning, or from behind a dot, to its end. Backtracking over a
stranger's expression may take for ever, so none is given to `re`: a plain name is compared as it stands, and an
expression becomes a nondeterministic automaton (Thompson 1968) that reads each character once. What only backtracking
can do (look-around, back references) is refused.
"""

import re
from collections.abc import Iterable

from eigensweep.models.errors import CheckpointError

_MOST_CHARACTERS = 2_000  # of a key or a name
_MOST_STATES = 5_000  # of one key's automaton: {m,n} writes its operand out
_MOST_DEPTH = 50
_MOST_STEPS = 5_000_000  # of one adapter: a few seconds
_PLAIN = re.compile(r"\^?[\w.\-/]*\Z")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_COUNT = re.compile(r"\{(?P<least>\d{0,5})(?P<comma>,?)(?P<most>\d{0,5})\}")

_Node = tuple  # ("one", of a character), ("all" or "any", nodes), ("repeat", node, least, most), ("start",), ("end",)


class _Unreadable(ValueError):
    """A key that is no regular expression, or one that is not supported."""


class Patterns:
    """The keys of one object of an adapter's config.

    Args:
      keys: in the order of the config.
      where: the file and the object, for messages.

    Raises:
      CheckpointError: a key that is no regular expression, or one that only backtracking matches, or too large.
    """

    def __init__(self, keys: Iterable[str], where: str):
        self._where, self._steps = where, 0
        self._plain: dict[str, tuple[int, str]] = {}  # what a name ends in -> the key's place, the key
        self._automata: list[tuple[int, str, _Automaton]] = []
        for place, key in enumerate(keys):
            if _PLAIN.match(key):  # an unescaped dot stands for itself: no module is told from another by it
                self._plain.setdefault(key, (place, key))
                continue
            try:
                automaton = _Automaton(key)
            except _Unreadable as e:
                raise CheckpointError(f"{where}: {key[:80]!r} {e}") from e
            self._automata.append((place, key, automaton))
            self._count(10 * automaton.size, key)

    def first(self, name: str) -> str | None:
        """The first key that fits the end of a module's name; None where none does.

        Raises:
          CheckpointError: the name is too long, or the adapter's names and keys have taken too many steps.
        """
        if len(name) > _MOST_CHARACTERS:
            raise CheckpointError(f"{self._where}: {name[:80]!r}... has more than {_MOST_CHARACTERS} characters")
        begins = [0, *(i + 1 for i, character in enumerate(name) if character == ".")]
        suffixes = [f"^{name}", *(name[i:] for i in begins)]
        place, key = min((self._plain[suffix] for suffix in suffixes if suffix in self._plain), default=(None, None))
        for later, other, automaton in self._automata:
            if place is not None and later > place:
                break
            fits, steps = automaton.fits(name, begins)
            self._count(steps, other)
            if fits:
                return other
        return key

    def _count(self, steps: int, key: str) -> None:
        self._steps += steps
        if self._steps > _MOST_STEPS:
            raise CheckpointError(f"{self._where}: with {key[:80]!r}, matching all modules takes too long")


class _Automaton:
    """One expression; states are numbers, the first is where a match ends."""

    def __init__(self, pattern: str):
        if len(pattern) > _MOST_CHARACTERS:
            raise _Unreadable(f"is longer than {_MOST_CHARACTERS} characters")
        self._reads: list[re.Pattern | None] = [None]
        self._next: list[list[int]] = [[]]
        self._test = [""]
        self._begin = self._build(_Parser(pattern).parse(), 0)

    @property
    def size(self) -> int:
        """How many states there are."""
        return len(self._next)

    def fits(self, name: str, begins: list[int]) -> tuple[bool, int]:
        """Whether the expression fits the name from one of these places to its end; how many steps that took."""
        places, states, steps = set(begins), set[int](), 0
        for i in range(len(name) + 1):
            ends = i == len(name)
            states = self._closed(states | ({self._begin} if i in places else set()), i == 0, ends)
            steps += 1 + len(states)
            if not ends:
                read = (state for state in states if (one := self._reads[state]) and one.match(name[i]))
                states = {self._next[state][0] for state in read}
        return 0 in states, steps

    def _closed(self, states: set[int], begins: bool, ends: bool) -> set[int]:
        """With all states that are reached without reading."""
        found, todo = set(states), list(states)
        while todo:
            state = todo.pop()
            test = self._test[state]
            if self._reads[state] or (test == "start" and not begins) or (test == "end" and not ends):
                continue
            fresh = [other for other in self._next[state] if other not in found]
            found.update(fresh)
            todo += fresh
        return found

    def _state(self, following: list[int], reads: re.Pattern | None = None, test: str = "") -> int:
        if len(self._next) >= _MOST_STATES:
            raise _Unreadable(f"repeats too much: more than {_MOST_STATES} states")
        self._reads.append(reads)
        self._next.append(following)
        self._test.append(test)
        return len(self._next) - 1

    def _build(self, node: _Node, after: int) -> int:
        """The state where a node begins that goes on to `after`; at least one is made, so that the limit counts."""
        kind, *rest = node
        if kind == "one":
            return self._state([after], reads=rest[0])
        if kind in ("start", "end"):
            return self._state([after], test=kind)
        if kind == "any":
            return self._state([self._build(child, after) for child in rest[0]])
        if kind == "all":
            for child in reversed(rest[0]):
                after = self._build(child, after)
            return self._state([after])
        child, least, most = rest
        if most is None:
            loop = self._state([after])
            self._next[loop].append(self._build(child, loop))
            after = loop
        for _ in range((most or least) - least):
            after = self._state([after, self._build(child, after)])
        for _ in range(least):
            after = self._build(child, after)
        return self._state([after])


class _Parser:
    """Reads an expression: literals, classes, groups, alternatives, counts, ^ and $."""

    def __init__(self, pattern: str):
        self.pattern, self.at = pattern, 0

    def parse(self) -> _Node:
        """The whole expression."""
        node = self._alternatives(0)
        if self.at < len(self.pattern):
            raise _Unreadable("is no regular expression: unbalanced parenthesis")
        return node

    def _take(self, text: str) -> bool:
        taken = self.pattern.startswith(text, self.at)
        self.at += len(text) * taken
        return taken

    def _alternatives(self, depth: int) -> _Node:
        if depth > _MOST_DEPTH:
            raise _Unreadable(f"nests more than {_MOST_DEPTH} groups")
        nodes = [self._sequence(depth)]
        while self._take("|"):
            nodes.append(self._sequence(depth))
        return ("any", nodes)

    def _sequence(self, depth: int) -> _Node:
        nodes: list[_Node] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            nodes.append(self._counted(self._atom(depth)))
        return ("all", nodes)

    def _atom(self, depth: int) -> _Node:
        if self._take("("):
            if not self._take("?:") and self._take("?"):
                raise _Unreadable("is not supported: of groups with (?, only (?:...)")
            node = self._alternatives(depth + 1)
            if not self._take(")"):
                raise _Unreadable("is no regular expression: missing )")
            return node
        character = self.pattern[self.at]
        if character == "[":
            return self._class()
        self.at += 1
        if character in "*+?":
            raise _Unreadable(f"is no regular expression: nothing to repeat before {character}")
        if character in "^$":
            return ("start",) if character == "^" else ("end",)
        if character == "\\":
            return self._escape()
        return ("one", re.compile("." if character == "." else re.escape(character)))

    def _escape(self) -> _Node:
        escaped = self.pattern[self.at : self.at + 1]
        self.at += 1
        if escaped in ("A", "Z"):
            return ("start",) if escaped == "A" else ("end",)
        if not escaped or (escaped.isalnum() and escaped not in "dDwWsS"):
            raise _Unreadable(f"is not supported: the escape \\{escaped}")
        return ("one", re.compile(f"\\{escaped}"))

    def _class(self) -> _Node:
        match = _CLASS.match(self.pattern, self.at)
        if not match or any(odd in match[0][1:] for odd in ("[", "--", "&&", "~~", "||")):
            raise _Unreadable("is no regular expression, or has a set of characters that is not supported")
        self.at = match.end()
        try:
            return ("one", re.compile(match[0]))
        except re.error as e:
            raise _Unreadable(f"is no regular expression: {e}") from e

    def _counted(self, node: _Node) -> _Node:
        least: int = 1
        most: int | None = 1
        if self._take("*"):
            least, most = 0, None
        elif self._take("+"):
            most = None
        elif self._take("?"):
            least = 0
        elif match := _COUNT.match(self.pattern, self.at):
            if not (match["least"] or match["most"]):
                raise _Unreadable("is not supported: braces without a number")
            self.at = match.end()
            least = int(match["least"] or 0)
            most = least if not match["comma"] else int(match["most"]) if match["most"] else None
        elif self.pattern.startswith("{", self.at):
            raise _Unreadable("is not supported: braces that are no small count")
        else:
            return node
        if most is not None and most < least:
            raise _Unreadable("is no regular expression: a count from more to less")
        self._take("?")  # a lazy count: what fits is the same
        if self.pattern[self.at : self.at + 1] in ("*", "+", "{"):
            raise _Unreadable("is not supported: a count of a count")
        return ("repeat", node, least, most)
