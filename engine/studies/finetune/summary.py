"""A fine-tuning study as text: a line a model, then a line an effect."""

from eigensweep.engine.studies.finetune.effects import MEASURES, Finetuning, effects


def render(run: Finetuning) -> str:
    """The study's results as plain text. Changes of the mean loss are in nats."""
    majority = run.manifest["majority"]
    lines = [f"majority of the labels: loss {majority['loss']:.4f}, accuracy {majority['accuracy']:.3f}"]
    for row in run.members.to_dict("records"):
        what = f"{row['scope']} decile {row['decile']}" if row["decile"] else ""
        lines.append(
            f"seed {row['seed']}  {row['order']:6s} {what:24s} loss {row['loss']:.4f}  accuracy {row['accuracy']:.3f}"
        )
    for measure in MEASURES:
        for row in effects(run, measure):
            lines.append(
                f"{measure} change, {row['scope']} decile {row['decile']}, {row['order']}: {row['change']:+.4f} "
                f"[{row['low']:+.4f}, {row['high']:+.4f}] over rows, "
                f"[{row['seed_low']:+.4f}, {row['seed_high']:+.4f}] over seeds"
            )
    return "\n".join(lines)
