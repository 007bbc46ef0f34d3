"""A fine-tuning study as text: a line a model, then a line an effect."""

from eigensweep.engine.studies.finetune.effects import MEASURES, Finetuning, effects

HEADINGS = ("seed", "order", "scope", "decile", "loss", "accuracy")
ONE_SEED = "–"  # which has no interval
EFFECT_HEADINGS = ("measure", "scope", "decile", "order", "change", "interval over rows", "interval over seeds")


def render(run: Finetuning) -> str:
    """The study's results as plain text. Changes of the mean loss are in nats."""
    lines = [majority(run)]
    for seed, order, scope, decile, loss, accuracy in models(run):
        what = f"{scope} decile {decile}" if scope else ""
        lines.append(f"seed {seed}  {order:6s} {what:24s} loss {loss}  accuracy {accuracy}")
    for measure, scope, decile, order, change, rows, seeds in changes(run):
        lines.append(
            f"{measure} change, {scope} decile {decile}, {order}: {change} {rows} over rows"
            + (f", {seeds} over seeds" if seeds != ONE_SEED else "")
        )
    return "\n".join(lines)


def majority(run: Finetuning) -> str:
    """What knowing only the shares of the labels gives."""
    of = run.manifest["majority"]
    return f"majority of the labels: loss {of['loss']:.4f}, accuracy {of['accuracy']:.3f}"


def models(run: Finetuning) -> list[tuple[str, ...]]:
    """A row of text a model, a cell a heading."""
    return [
        (str(m.seed), m.order, m.scope, str(m.decile or ""), f"{m.loss:.4f}", f"{m.accuracy:.3f}")
        for m in run.members.itertuples()
    ]


def changes(run: Finetuning) -> list[tuple[str, ...]]:
    """A row of text a measure and effect, a cell a heading."""
    return [
        (
            measure,
            row["scope"],
            str(row["decile"]),
            row["order"],
            f"{row['change']:+.4f}",
            f"[{row['low']:+.4f}, {row['high']:+.4f}]",
            f"[{row['seed_low']:+.4f}, {row['seed_high']:+.4f}]" if len(row["seeds"]) > 1 else ONE_SEED,
        )
        for measure in MEASURES
        for row in effects(run, measure)
    ]
