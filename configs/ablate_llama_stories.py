"""llama-stories260k without its singular values, on text that it has written itself."""

from ml_collections import ConfigDict

from eigensweep.configs import ablate


def get_config() -> ConfigDict:
    """Deciles, outliers and controls, role by role; 200 rows of 64 tokens drawn from the model."""
    config = ablate.get_config()
    config.checkpoint = "../shared/checkpoints/llama-stories260k"
    config.data = "sampled"
    config.length = 64
    config.max_rows = 200
    return config
