"""What an edit did, as text of at most 100 columns."""

import numpy as np

from eigensweep.engine.report.style import shorten
from eigensweep.engine.studies.editing.study import Edited, specificity

_ROWS = 40  # of prompts and next tokens


def render(edited: Edited) -> str:
    """The changed tensors, the predictions, how specific they are, and the losses."""
    manifest = edited.manifest
    scale = manifest["scale"]
    what = "removed" if scale == 0 else f"scaled by {scale:g}"
    parts = [f"{what}: {', '.join(manifest['directions'])}", _changed(edited)]
    if edited.effects is not None:
        parts += [_predictions(edited), _specificity(edited)]
    if edited.losses is not None:
        parts.append(_losses(edited))
    return "\n\n".join(parts)


def _changed(edited: Edited) -> str:
    lines = [f"{'changed, and no other tensor':<60} {'shape':>12} {'|dW|/|W|':>10}"]
    for row in edited.changed.to_pylist():
        shape = " x ".join(map(str, row["shape"]))
        relative = row["relative_change"]
        said = "from 0" if relative is None else f"{relative:.2e}"
        lines.append(f"{shorten(row['tensor'], 60):<60} {shape:>12} {said:>10}")
    return "\n".join(lines)


def _predictions(edited: Edited) -> str:
    assert edited.effects is not None
    whole = "all" if len(edited.manifest["directions"]) > 1 else edited.manifest["directions"][0]
    rows = [r for r in edited.effects.to_pylist() if r["kind"] == "edit" and r["direction"] == whole]
    lines = [f"{'prompt':<40} {'next':<16} {'ln p before':>12} {'after':>9} {'change':>9}"]
    for row in rows[:_ROWS]:
        before, change = row["log_probability"], row["change"]
        prompt, word = shorten(row["prompt"].replace("\n", " "), 40), shorten(row["next"], 16)
        lines.append(f"{prompt:<40} {word:<16} {before:>12.3f} {before + change:>9.3f} {change:>+9.3f}")
    if len(rows) > _ROWS:
        lines.append(f"and {len(rows) - _ROWS} more, in edit_effects.parquet")
    logits = edited.manifest["logits"][whole]
    lines.append(
        f"logits: of the named tokens {logits['named_mean']:+.3f} on average, of all others "
        f"{logits['others_mean_size']:.3f} in size, at most {logits['others_largest']:.3f}"
    )
    return "\n".join(lines)


def _specificity(edited: Edited) -> str:
    assert edited.effects is not None
    lines = [
        "specificity: rank of the edit by |mean change of ln p| of the named tokens",
        f"{'direction':<26} {'rank':>12} {'change':>9}   {'others: largest |change|':>24} {'random: largest':>16}",
    ]
    for direction in edited.manifest["directions"]:
        found = specificity(edited.effects, direction)
        most = [f"{np.abs(found[kind]).max():.3f}" if len(found[kind]) else "-" for kind in ("other", "random")]
        rank = f"{found['rank']} of {found['compared']}"
        lines.append(f"{direction:<26} {rank:>12} {found['change']:>+9.3f}   {most[0]:>24} {most[1]:>16}")
    return "\n".join(lines)


def _losses(edited: Edited) -> str:
    assert edited.losses is not None
    before = edited.manifest["loss"]
    lines = [
        f"loss as it is: {before['loss']:.4f} nats over {before['targets']} tokens of {shorten(before['data'], 40)}",
        f"{'scaled':<12} {'circuit':<22} {'directions':>10} {'of sum s^2':>11} {'loss':>8}  change (95 %)",
    ]
    for row in edited.losses.to_pylist():
        interval = f"{row['change']:+.4f} ({row['change_low']:+.4f}, {row['change_high']:+.4f})"
        lines.append(
            f"{row['removed']:<12} {row['circuit'] or '':<22} {row['directions']:>10} {row['share']:>11.2%} "
            f"{row['loss']:>8.4f}  {interval}"
        )
    return "\n".join(lines)
