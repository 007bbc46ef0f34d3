"""Convert a checkpoint into a Flax pytree in Orbax, every tensor bit for bit.

    eigensweep-convert --checkpoint=PATH_OR_HUB_ID --out=DIR

DIR must not exist, or be empty; it appears when it is complete. Orbax restores it as nested dicts
(`orbax.checkpoint.StandardCheckpointer().restore(DIR)`), and eigensweep sweeps it like the checkpoint it came from.
"""

from absl import flags

from eigensweep.bin.runner import console, opened

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "folder, .safetensors file or hub id", required=True)
_OUT = flags.DEFINE_string("out", None, "folder to write", required=True)


def main() -> None:
    """Opens, converts, says what was written."""
    from eigensweep import models

    checkpoint = opened(_CHECKPOINT.value)
    if absent := checkpoint.source.left_out:
        print(f"warning: {len(absent)} tensors are left out, the first is {absent[0].name}: {absent[0].reason}")
    done = models.convert(checkpoint, _OUT.value)
    print(f"{done.architecture}: {done.num_leaves} tensors, {done.num_bytes / 2**20:,.1f} MiB -> {done.directory}")


run = console(main)

if __name__ == "__main__":
    run()
