"""gpt2-char-shakespeare without its singular values, on the last tenth of tinyshakespeare."""

from ml_collections import ConfigDict

from eigensweep.configs import ablate


def get_config() -> ConfigDict:
    """Deciles, outliers and controls, role by role; windows of 128 characters, one every 500."""
    config = ablate.get_config()
    config.checkpoint = "../shared/checkpoints/gpt2-char-shakespeare"
    config.data = "../shared/text/tinyshakespeare.txt"
    config.data_from = 0.9
    config.length = 128
    config.stride = 500
    return config
