"""The figure of an edit: its effect beside those of other directions and of random ones."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.studies.editing.study import Edited, specificity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEAD, _ROW, _FOOT = 0.5, 0.8, 0.45  # inches
_MOST = 12  # directions drawn


def specificity_figure(edited: Edited) -> "Figure":
    """A row a direction: mean changes of the named tokens' log-probabilities as dots, the edit's own marked."""
    assert edited.effects is not None
    directions = edited.manifest["directions"][:_MOST]
    height = _HEAD + _ROW * len(directions) + _FOOT
    figure = style.new_figure(height=height)
    found = {direction: specificity(edited.effects, direction) for direction in directions}
    first = found[directions[0]]
    style.headline(
        figure,
        f"{directions[0]}: rank {first['rank']} of {first['compared']} by the size of its effect",
        "mean change of ln p of the named next tokens, against other directions of the circuit and random ones",
    )
    axes = figure.add_axes((0.2, _FOOT / height, 0.77, 1 - (_HEAD + _FOOT) / height))
    rng = np.random.default_rng(0)  # heights of dots mean nothing
    for row, one in enumerate(found.values()):
        named = row == 0
        for kind, color, at, label in (
            ("other", style.CONTROL, 0.18, "other directions of the circuit"),
            ("random", style.EQUALISED, -0.18, "random directions of the same norm"),
        ):
            values = one[kind]
            heights = row + at + rng.uniform(-0.1, 0.1, len(values))
            axes.plot(values, heights, "o", ms=2.5, alpha=0.6, color=color, mew=0, label=label if named else None)
        axes.plot([one["change"]], [row], "D", ms=6, color=style.LAW, label="the edit" if named else None, zorder=3)
    axes.set_yticks(range(len(directions)), directions)
    axes.set_ylim(len(directions) - 0.5, -0.5)
    axes.axvline(0, color=style.FAINT, lw=0.8, zorder=0)
    axes.set_xlabel("mean change of ln p [nats]")
    axes.legend(loc="best")
    return figure


def write_figure(edited: Edited, workdir: Path) -> Path:
    """Draw it into WORKDIR/figures, PNG and PDF."""
    stem = workdir / "figures" / "edit_specificity"
    with style.context():
        style.save(specificity_figure(edited), stem)
    return stem.with_suffix(".png")
