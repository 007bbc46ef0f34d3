"""The commands: each is a module of this package with a `run`, and a console script `eigensweep-<name>`."""

COMMANDS = {
    "sweep": "decompose every weight matrix and hold each against random matrix theory",
    "overlap": "overlap of singular vectors with the activations that enter the matrices",
    "ablate": "remove bands of singular values and measure what it does to the loss",
    "finetune": "fine-tune an encoder, and remove singular values before or after",
    "tokens": "singular directions of circuits, read as the tokens they write or read",
    "label": "labels for the directions of eigensweep-tokens, by a language model or by hand",
    "report": "the page and the figures of a run directory; several sweeps compared",
    "convert": "a checkpoint as a Flax pytree in Orbax, bit for bit",
    "synth": "a checkpoint of noise with planted spikes, of any known architecture",
    "calibrate": "how often the tests fire on noise, and what they find of planted spikes",
    "null": "Monte Carlo nulls, and the tables that come with eigensweep",
    "benchmark": "eigensweep beside its peers, in one run",
}
