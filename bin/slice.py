"""Cut the residual stream of a Llama-like model to fewer dimensions, write the smaller model, and see what it costs.

    eigensweep-slice --checkpoint=PATH_OR_HUB_ID --data=TEXT --config.data_from=0.9 --workdir=DIR
        [--config.KEY=VALUE ...]
    eigensweep-slice --config=slice_stories --workdir=runs/slice
    ... --write_checkpoint=SMALLER --width=48

The stream is rotated onto the eigenvectors of its covariance, which comes from the part of the text that nothing is
measured on, and its last dimensions are cut off, for every share of config.keep. Beside it stand random directions and
the removal of singular values at equal parameters, on the same rows. Writes DIR/slicing.parquet (a row a model),
slicing_rows.parquet, slicing_axes.parquet (the eigenvalues), slicing.json, figures/ and report.html; started again with
the same workdir it continues. --write_checkpoint is a folder in Hugging Face layout, with hidden_size = WIDTH, that
transformers loads. For Llama, Mistral, Qwen 2 and Qwen 3.
"""

from pathlib import Path
from typing import Any

from absl import flags

from eigensweep import models
from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.studies.slicing import SliceOptions, Slicing
from eigensweep.engine.studies.slicing.slicer import Slicer, open_slicer
from eigensweep.engine.studies.slicing.study import measure_slices
from eigensweep.engine.studies.slicing.summary import render
from eigensweep.models import nn, slicing
from eigensweep.models.staging import check_writable

_WRITE = flags.DEFINE_string(
    "write_checkpoint", None, "write the model sliced to --width here, for transformers to load"
)
_WIDTH = flags.DEFINE_integer("width", None, "of the residual stream of --write_checkpoint")


def main() -> None:
    """Settings -> study -> summary, report, smaller checkpoint."""

    slicers: list[Slicer] = []

    def study(checkpoint: models.Checkpoint, options: SliceOptions, workdir: str, on_progress: Any) -> Slicing:
        _check(checkpoint, options, workdir)  # before hours of work
        slicers.append(open_slicer(checkpoint, options))
        return measure_slices(slicers[0], workdir, on_progress)

    runner.run_study(SliceOptions, study, render)
    if _WRITE.value:
        print(f"checkpoint: {slicers[0].write(_WIDTH.value or 0, _WRITE.value)}")


def _check(checkpoint: models.Checkpoint, options: SliceOptions, workdir: str) -> None:
    """Can the smaller checkpoint be written?

    Raises:
      UserError: a width without a folder, or a folder without a width; the folder holds the workdir.
      CheckpointError: the folder is not empty or cannot be written; a width that no model can have.
    """
    if (_WRITE.value is None) != (_WIDTH.value is None):
        raise UserError("--write_checkpoint=FOLDER and --width=WIDTH go together")
    if _WRITE.value is None or _WIDTH.value is None:
        return
    arch = nn.model_of(checkpoint, options.dtype).architecture
    slicing.check_width(arch, _WIDTH.value)
    run, out = Path(workdir).resolve(), Path(_WRITE.value).resolve()
    if out in (run, *run.parents):
        raise UserError(f"--write_checkpoint={_WRITE.value}: holds the workdir; name a folder of its own")
    check_writable(out)


run = runner.console(main, SliceOptions)

if __name__ == "__main__":
    run()
