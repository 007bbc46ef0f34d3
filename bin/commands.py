"""The commands: each is a module of this package with a `run`, and a console script `eigensweep-<name>`."""

COMMANDS = {
    "sweep": "decompose every weight matrix and hold each against random matrix theory",
    "overlap": "overlap of singular vectors with the activations that enter the matrices",
    "facts": "what weights, activations and gradients look like, and their outlier dimensions",
    "ablate": "remove bands of singular values and measure what it does to the loss",
    "finetune": "fine-tune an encoder, and remove singular values before or after",
    "tokens": "singular directions of circuits, read as the tokens they write or read",
    "label": "labels for the directions of eigensweep-tokens, by a language model or by hand",
    "trace": "the singular directions that a query of words points to",
    "edit": "remove or scale singular directions, and what that does to predictions and loss",
    "compare": "what differs between runs or checkpoints, how far each matrix moved, and in how many directions",
    "toy": "models of learning, small enough to be explained: a linear one (--model=linear), networks (--model=mlp)",
    "pretrain": "train a small language model from nothing, kept at chosen steps",
    "fleet": "sweep a list of checkpoints under one workdir, and hold them against scores",
    "series": "sweep the checkpoints of one training, and what changes from step to step",
    "report": "the page and the figures of a run directory; several sweeps compared",
    "convert": "a checkpoint as a Flax pytree in Orbax, bit for bit",
    "synth": "a checkpoint of noise with planted spikes, of any known architecture",
    "calibrate": "how often the tests fire on noise, and what they find of planted spikes",
    "null": "Monte Carlo nulls, and the tables that come with eigensweep",
    "benchmark": "eigensweep beside its peers, in one run",
}
