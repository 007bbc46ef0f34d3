r"""GPT-2 medium: a singular direction is removed; what does that do to the next tokens it stands for, and to others?

eigensweep-edit --config=millidge_gpt2_edit --workdir=runs/gpt2-edit --direction=block.22.head.10.ov:1 \
    --prompt="The burning house was on" --next="fire, flames"

Which direction, prompt and words is for flags to say: take a direction that eigensweep-trace finds.
"""

from ml_collections import ConfigDict

from eigensweep.configs.figures import Figure

FIGURE = Figure(
    ("directions",),
    "log-probabilities of next tokens without one direction, against all other directions of its circuit",
    "openai-community/gpt2-medium, and the flags --direction, --prompt, --next",
    "planted model, `eigensweep-edit`: the planted direction ranks first; no semantic direction is known in the models "
    "at hand",
)


def get_config() -> ConfigDict:
    """All other directions of the circuit, 64 random ones."""
    return ConfigDict(
        {
            "command": "edit",
            "checkpoint": "openai-community/gpt2-medium",
            "small": {"checkpoint": "gpt2", "others": 4, "random": 4, "num_resamples": 50},
        }
    )
