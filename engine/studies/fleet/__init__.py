"""Many checkpoints: which they are, each swept into its own run directory, and all their tables as one frame."""
