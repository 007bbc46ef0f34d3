"""A preset for every experiment behind the figures of the five sources, and the table of them.

    python -m eigensweep.configs.figures    # the table, as Markdown

Every module here has `FIGURE`, which says what it reproduces, and `get_config()`, whose key `small` names tiny
stand-ins for model and data: `--config=NAME --config.small=True` runs it in seconds and without a network.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

SOURCES = {
    "locating": "Staats, Thamm & Rosenow, Locating Information in Large Language Models (arXiv 2410.17770v1)",
    "small": "Staats, Thamm & Rosenow, Small Singular Values Matter (arXiv 2410.17770v3)",
    "eigenspectra": "Hoogland, Wehner, Arike & Marshall, Top-Down Interpretability Through Eigenspectra",
    "directions": "Millidge & Black, The Singular Value Decompositions of Transformer Weight Matrices",
    "internals": "Millidge & Winsor, Basic Facts about Language Model Internals",
    "training": "Basic Facts about Language Models During Training",
}
NUMBERED = {"locating": range(1, 15), "small": range(1, 6), "eigenspectra": range(3, 9)}
"""The figures that have numbers. Of those that no preset names, what they show is not known by number here."""
WIKITEXT = {"format": "hub", "data": "Salesforce/wikitext:wikitext-2-raw-v1:test"}
BOOLQ = {
    "format": "labelled",
    "data": "hub:google/boolq:train",
    "field": "question",
    "pair_field": "passage",
    "label_field": "answer",
    "labels": "false,true",
}


@dataclass(frozen=True)
class Figure:
    """What a preset reproduces.

    Attributes:
      sources: keys of SOURCES, where the experiment is shown, the first one first.
      shows: what is seen there.
      needs: models and data of the hub.
      here: on which stand-in it ran where this was written, with which command or preset, and what came out.
      numbers: of the figures in the first of the sources, where they are known here.
    """

    sources: tuple[str, ...]
    shows: str
    needs: str
    here: str
    numbers: tuple[int, ...] = ()


def names() -> list[str]:
    """The presets of figures."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("__"))


def module(name: str) -> ModuleType:
    """A preset's module, with FIGURE and get_config."""
    return importlib.import_module(f"{__name__}.{name}")


def table() -> str:
    """Every preset under the source that shows it first, and which numbers have no row of their own: Markdown."""
    found = {name: module(name) for name in names()}
    lines = []
    for source, title in SOURCES.items():
        own = {name: preset for name, preset in found.items() if preset.FIGURE.sources[0] == source}
        lines += [f"**{title}**", "", "| shows | command | needs | ran here |", "|---|---|---|---|"]
        lines += [_row(name, preset) for name, preset in own.items()]
        lines.append("")
        if also := [f"`{name}`" for name in found if source in found[name].FIGURE.sources[1:]]:
            lines += [f"Also here: {', '.join(also)}.", ""]
        known = {number for preset in own.values() for number in preset.FIGURE.numbers}
        if unknown := [str(number) for number in NUMBERED.get(source, ()) if number not in known]:
            lines += [f"Which rows are figures {', '.join(unknown)} is not known here.", ""]
    return "\n".join(lines).rstrip()


def _row(name: str, preset: ModuleType) -> str:
    figure, command = preset.FIGURE, preset.get_config().command
    return f"| {figure.shows} | `eigensweep-{command} --config={name}` | {figure.needs} | {figure.here} |"
