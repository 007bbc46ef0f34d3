"""Scale or remove singular directions of a model's circuits, and see what that does.

    eigensweep-edit --checkpoint=PATH_OR_HUB_ID --direction=block.3.head.2.ov:1 [--direction=...] [--scale=0]
        --prompt="The capital of France is" --next="Paris, London"   # ln p of next tokens, and how specific
        --data=TEXT [--tokens_run=DIR]                               # loss before and after
        --workdir=DIR --output=EDITED                                # tables and figure; a checkpoint

Of a head's OV only its columns of the output projection change, of QK its rows of the query projection, of the MLP the
one matrix; the bias behind it takes up what does not depend on the token. The effect on the named next tokens stands
beside that of every other direction of the same circuit and of random ones of the same norm. With --tokens_run, the
run directory of eigensweep-tokens, the loss is also measured without all coherent and without all incoherent directions
of the circuits. WORKDIR gets edit_changed.parquet, edit_effects.parquet, edit_losses.parquet, edit.json and figures/;
--output is a folder in Hugging Face layout that transformers loads.
"""

import textwrap
import time
from pathlib import Path

from absl import flags

from eigensweep import models
from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.studies.editing import Edited, EditOptions, EditRequest, run_edit
from eigensweep.engine.studies.editing.edits import differing
from eigensweep.engine.studies.editing.figures import write_figure
from eigensweep.engine.studies.editing.summary import render

_DIRECTION = flags.DEFINE_multi_string("direction", [], "address of a direction; several are edited together")
_SCALE = flags.DEFINE_float("scale", 0.0, "of their singular values; 0 removes, -1 turns round")
_PROMPT = flags.DEFINE_multi_string("prompt", [], "a text; several are looked at together")
_NEXT = flags.DEFINE_multi_string("next", [], "words between commas that may come next; one list for all, or one each")
_TOKENS = flags.DEFINE_string("tokens_run", None, "run directory of eigensweep-tokens, for coherent directions at once")
_OUTPUT = flags.DEFINE_string("output", None, "write the edited checkpoint here; must not exist, or be empty")


def main() -> None:
    """Settings -> edit -> summary, tables, checkpoint."""
    source, options, workdir = runner.settings(EditOptions)
    asked = EditRequest(
        tuple(_DIRECTION.value), _SCALE.value, tuple(_PROMPT.value), tuple(_NEXT.value), _TOKENS.value or ""
    )
    if asked.tokens_run and not options.data:
        raise UserError("--tokens_run says whose loss is measured, and there is no text: give --data=FILE")
    from eigensweep.progress import reporter

    checkpoint, start = runner.opened(source), time.monotonic()
    _check_output(checkpoint)  # before minutes of work
    with reporter() as on_progress:
        edited = run_edit(checkpoint, asked, options, on_progress)
    notes = [textwrap.fill(f"note: {note}", 100) for note in edited.manifest["notes"]]
    print("\n".join([render(edited), "", *notes, f"{time.monotonic() - start:.1f} s"]))
    if workdir:
        print(f"tables: {workdir}/" + ", ".join(f"{name}.parquet" for name in edited.write(Path(workdir))))
        if edited.effects is not None:
            print(f"figure: {write_figure(edited, Path(workdir))}")
    if _OUTPUT.value:
        _write(checkpoint, edited, _OUTPUT.value)


def _check_output(checkpoint: models.Checkpoint) -> None:
    """Can the edited checkpoint be written?

    Raises:
      UserError: the folder is there, or the checkpoint is no folder with safetensors.
    """
    out = _OUTPUT.value
    if not out:
        return
    if Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
        raise UserError(f"--output={out}: is there already, and not an empty folder")
    if checkpoint.source.kind != "huggingface":
        raise UserError(
            f"--output: {checkpoint.source.name} is of kind {checkpoint.source.kind}; only folders with safetensors "
            "are written back"
        )


def _write(checkpoint: models.Checkpoint, edited: Edited, out: str) -> None:
    """Write the checkpoint, and hold it against the original."""
    try:
        folder = models.write_huggingface(checkpoint, out, edited.edit.matrices, edited.edit.vectors)
    except OSError as error:
        raise UserError(f"--output={out}: {error.strerror or error}") from error
    differ, total = differing(checkpoint, models.open_checkpoint(folder))
    print(f"checkpoint: {folder}")
    print(f"{len(differ)} of its {total} stored tensors differ from the original: {', '.join(differ)}")


run = runner.console(main, EditOptions, report=False)

if __name__ == "__main__":
    run()
