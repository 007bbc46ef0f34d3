"""A removal as text: the forms that removal.py describes, read, spelt out and refused."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from eigensweep.engine.spectral import deciles

SIDES = ("right", "left", "both")
MATCHED = ("energy", "output")  # kinds that change as much as another removal
DRAWN = ("bulk", "random", *MATCHED)  # kinds that need a key
_TENTH = r"[1-9]|10"
_BAND = r"(?P<low>\d+)-(?P<high>\d+)|(?P<from>\d+(\.\d+)?)%-(?P<to>\d+(\.\d+)?)%"
_SIDE = "|".join(SIDES)
_OTHER = re.compile(rf"{_SIDE}|(decile|equalised):({_TENTH})|band:({_BAND})")
FORMS = {
    "decile": re.compile(_TENTH),
    "band": re.compile(_BAND),
    "outliers": re.compile(_SIDE),
    "equalised": re.compile(_TENTH),
    "bulk": re.compile(f"{_SIDE}|decile"),
    "random": re.compile(f"{_SIDE}|decile"),
    "energy": _OTHER,
    "output": _OTHER,
}
_TENTHS = re.compile(rf"(?P<control>({'|'.join(MATCHED)}):)?(?P<kind>deciles|equalised)")


@dataclass(frozen=True)
class Removal:
    """A removal as the module's docstring writes it: `kind`:`which`, and the number of the draw for random ones."""

    kind: str
    which: str
    draw: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.which}" + (f":{self.draw}" if self.draw else "")

    @property
    def controlled(self) -> "Removal | None":
        """The removal that this one is a control of, none for a tenth of the values or directions."""
        if self.kind in DRAWN and self.which in SIDES:
            return Removal("outliers", self.which)
        return parse(self.which) if self.kind in MATCHED else None


def parse(text: str) -> Removal:
    """A removal from its text.

    Raises:
      ValueError: the text is none of the forms.

    >>> str(parse("bulk:left:3"))
    'bulk:left:3'
    >>> str(parse("energy:decile:10:3").controlled)
    'decile:10'
    """
    kind, which, draw = _split(text)
    form = FORMS.get(kind)
    match = form.fullmatch(which) if form else None
    if match is None or (draw and (kind not in DRAWN or not draw.isdecimal())):
        raise ValueError(
            f"removal {text!r}: expected decile:1 to decile:10, band:1-16, band:0%-5%, outliers:right, left or both, "
            "equalised:1 to equalised:10, bulk: or random: with right, left, both or decile, energy: or output: with "
            "right, left, both, or a decile, band or equalised tenth such as decile:10"
        )
    if "-" in which:
        _check_band(text, match)
    return Removal(kind, which, int(draw or 0))


def expand(texts: Iterable[str], num_draws: int = 1) -> tuple[Removal, ...]:
    """Removals from texts, each once.

    "deciles" and "equalised" stand for all ten, "energy:deciles" and the like for the controls of all ten; what is
    drawn and has no number, for `num_draws` draws.

    Raises:
      ValueError: see `parse`.
    """
    removals: list[Removal] = []
    for text in texts:
        for word in _tenths(text.strip()):
            removal = parse(word)
            drawn = removal.kind in DRAWN and not _split(word)[2]
            draws = range(num_draws) if drawn else (removal.draw,)
            removals += [Removal(removal.kind, removal.which, draw) for draw in draws]
    return tuple(dict.fromkeys(removals))


def _split(text: str) -> tuple[str, str, str]:
    """Kind, which and the number of the draw, "" if absent."""
    kind, _, rest = text.strip().partition(":")
    form = FORMS.get(kind)
    if form and form.fullmatch(rest):
        return kind, rest, ""
    which, _, draw = rest.rpartition(":")
    return kind, which, draw


def _tenths(text: str) -> list[str]:
    """Ten words for one that stands for all of them."""
    if not (found := _TENTHS.fullmatch(text)):
        return [text]
    kind = f"{found['control'] or ''}{found['kind'].removesuffix('s')}"
    return [f"{kind}:{k}" for k in range(1, deciles.NUM_DECILES + 1)]


def _check_band(text: str, match: re.Match[str]) -> None:
    if match["low"]:
        low, high, allowed = int(match["low"]), int(match["high"]), "1 <= first <= last"
        good = 1 <= low <= high
    else:
        share, to, allowed = float(match["from"]), float(match["to"]), "0 <= from < to <= 100"
        good = 0 <= share < to <= 100
    if not good:
        raise ValueError(f"removal {text!r}: expected {allowed}")
