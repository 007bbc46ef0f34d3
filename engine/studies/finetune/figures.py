"""What removing singular values did before and after fine-tuning: a panel an order, and the trainings' curves."""

from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.spectral.student import mean_interval
from eigensweep.engine.studies.finetune.effects import Finetuning

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {"before": "remove, then fine-tune", "after": "fine-tune, then remove"}
LEVEL = 0.05  # of the title's test
UNITS = {"loss": "change of loss, nats", "accuracy": "change of accuracy"}


def title(rows: list[dict[str, Any]], num_seeds: int, unit: str = "nats") -> tuple[str, str]:
    """Whether the order matters for the smallest values: the largest such contrast, tested over all scopes."""
    smallest = max(row["decile"] for row in rows)
    order = "after - before" if any(r["order"] == "after - before" for r in rows) else rows[0]["order"]
    chosen = [r for r in rows if r["decile"] == smallest and r["order"] == order]
    row = max(chosen, key=lambda r: abs(r["change"]))
    what = {"before": "removed before", "after": "removed after"}.get(order, "after less before")
    _, low, high = mean_interval(row["seeds"], 1 - LEVEL / len(chosen))  # it was chosen among the scopes
    verdict = "more than noise between seeds" if low > 0 or high < 0 else "not told from noise between seeds"
    verdict = verdict if num_seeds > 1 else "one seed tells nothing of noise"
    seen = f"decile {smallest} of {style.shorten(row['scope'], 24)}, {what}: {row['change']:+.4f} {unit}, {verdict}"
    seeds = f"{num_seeds} seeds (noise: Student's t, {100 * LEVEL:g} % over all scopes)" if num_seeds > 1 else "1 seed"
    return seen, (
        f"changes against the same seed's model with nothing removed; dots: {seeds}; "
        "bars: 95 % bootstrap interval over rows"
    )


def draw(run: Finetuning, rows: dict[str, list[dict[str, Any]]]) -> "Figure":
    """Orders from left to right; loss above, accuracy below; a colour a scope.

    Args:
      run: of a study.
      rows: `effects` by measure.
    """
    figure = style.new_figure(height=4.4)
    num_seeds = len(set(run.members["seed"]))
    style.headline(figure, *title(rows["loss"], num_seeds))
    panels = figure.subplots(2, len(run.orders()), sharex=True, sharey="row", squeeze=False)
    figure.subplots_adjust(left=0.11, right=0.985, top=0.85, bottom=0.1, wspace=0.06, hspace=0.12)
    for line, (measure, unit) in zip(panels, UNITS.items(), strict=True):
        for axes, order in zip(line, run.orders(), strict=True):
            chosen = [row for row in rows[measure] if row["order"] == order]
            _panel(axes, chosen, run.scopes(), run.deciles())
        line[0].set_ylabel(unit)
    figure.align_ylabels(panels[:, 0])
    for axes, order in zip(panels[0], run.orders(), strict=True):
        axes.set_title(PANELS[order], pad=3)
    for axes in panels[1]:
        axes.set_xticks(range(1, 11))
        axes.set_xlim(0.4, 10.6)
        axes.set_xlabel("decile removed: 1 largest, 10 smallest values", labelpad=2)
    if len(run.scopes()) > 1:
        panels[0][-1].legend(fontsize=7, ncols=2)
    return figure


def _panel(axes: "Axes", rows: list[dict[str, Any]], scopes: list[str], deciles: list[int]) -> None:
    axes.axhline(0, color=style.CONTROL, lw=0.6)
    for i, scope in enumerate(scopes):
        color = style.CYCLE[i % len(style.CYCLE)]
        mine = sorted((row for row in rows if row["scope"] == scope), key=lambda row: row["decile"])
        shift = 0.5 * ((i + 0.5) / len(scopes) - 0.5)
        x = np.asarray(deciles) + shift
        change, low, high = (np.array([row[key] for row in mine]) for key in ("change", "low", "high"))
        axes.errorbar(
            x, change, np.maximum([change - low, high - change], 0), color=color, marker="o", ms=4,
            lw=0.9, elinewidth=0.9, capsize=2, label=scope,
        )  # fmt: skip
        for place, row in zip(x, mine, strict=True):
            axes.plot([place + 0.13] * len(row["seeds"]), row["seeds"], ".", color=color, ms=4, alpha=0.5)


def title_of_curves(run: Finetuning) -> tuple[str, str]:
    """What the curves show, in a sentence of numbers; and what is drawn."""
    best, majority = run.history["validation_loss"].min(), run.manifest["majority"]["loss"]
    return (
        f"lowest validation loss {best:.3f} nats; knowing only the shares of the labels gives {majority:.3f}",
        "thin: mean over the steps since the last look; bold: validation rows; dashed: shares of the labels, held out",
    )


def draw_curves(run: Finetuning) -> "Figure":
    """Loss over steps of every training: thin on the rows it learns from, bold on the validation rows."""
    history = run.history
    figure = style.new_figure(height=2.6)
    majority = run.manifest["majority"]["loss"]
    style.headline(figure, *title_of_curves(run))
    axes = figure.add_axes((0.09, 0.15, 0.6, 0.64))
    axes.axhline(majority, color=style.LAW, lw=0.8, ls=(0, (4, 3)))
    groups = list(history.groupby(["order", "scope", "decile"], sort=False))
    for i, ((order, scope, decile), part) in enumerate(groups):
        color = style.CYCLE[i % len(style.CYCLE)]
        label = "nothing removed" if order == "none" else f"without decile {decile}, {scope}"
        for number, (_, one) in enumerate(part.groupby("seed")):
            axes.plot(one["step"], one["train_loss"], color=color, lw=0.5, alpha=0.7)
            name = None if number else style.shorten(label, 30)
            bold: dict[str, Any] = {"lw": 1.3, "marker": "o", "ms": 2.5, "alpha": 0.85}
            axes.plot(one["step"], one["validation_loss"], color=color, label=name, **bold)
    axes.set_xlabel("steps", labelpad=1)
    axes.set_ylabel("cross-entropy, nats")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles[:10], names[:10], loc="upper left", bbox_to_anchor=(0.7, 0.83), fontsize=7)
    return figure
