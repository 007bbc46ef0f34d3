"""Singular directions of a model's circuits, read as tokens.

    eigensweep-tokens --checkpoint=PATH --workdir=DIR [--config.KEY=VALUE ...]

Decomposes the OV and QK circuit of every head and the MLP's matrices, block by block and without forming a product,
and gives of the first and last directions the tokens that they write to the residual stream or read from it: DIR gets
circuits.parquet and directions.parquet, both described in the report. Whether the tokens of a direction hang together
is tested against random directions that went the same way, and so are neurons, directions of the embedding, and
Gaussian and sign-flipped weights as controls (units.parquet, sides.parquet, shares.parquet; --config.description=none
leaves the tests out). With --dry_run it says what it would take.
Interrupted and started again, it passes over the blocks that are finished.
"""

from absl import flags

from eigensweep.bin import runner
from eigensweep.engine.studies.tokens.coherence_summary import render_coherence
from eigensweep.engine.studies.tokens.options import TokensOptions
from eigensweep.engine.studies.tokens.study import Tokens, run_tokens
from eigensweep.engine.studies.tokens.summary import render_tokens

_DRY_RUN = flags.DEFINE_bool("dry_run", False, "print what there is to do, the memory and the time, and stop")


def main() -> None:
    """Settings -> study -> summary and report, or its plan."""
    if _DRY_RUN.value:
        from eigensweep.engine.studies.tokens.plan import describe_plan

        source, options, _ = runner.settings(TokensOptions)
        print(describe_plan(runner.opened(source), options))
        return
    runner.run_study(TokensOptions, run_tokens, _render)


def _render(found: Tokens) -> str:
    circuits, directions = len(found.circuits), found.tables["directions"].num_rows
    parts = [render_tokens(found), render_coherence(found), f"{circuits} circuits, {directions} rows of directions"]
    return "\n\n".join(part for part in parts if part)


run = runner.console(main, TokensOptions)

if __name__ == "__main__":
    run()
