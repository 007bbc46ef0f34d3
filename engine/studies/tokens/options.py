"""The options of a tokens study."""

from dataclasses import dataclass
from typing import ClassVar

from eigensweep.engine.run.options import LARGEST, Options, option
from eigensweep.models.circuits import KINDS, PROJECTIONS

AUTO, NONE = "auto", "none"
DESCRIPTIONS = ("embedding", "encoder", "text")
CONTROLS = ("gaussian", "signs")


@dataclass(frozen=True)
class TokensOptions(Options):
    """What is read of a checkpoint's circuits, and how."""

    COMMAND: ClassVar[str] = "tokens"

    first: int = option(50, "directions of each circuit from the largest singular value on", least=0, most=100_000)
    last: int = option(50, "directions from the smallest singular value within the rank on", least=0, most=100_000)
    tokens: int = option(20, "tokens of each direction and sign", least=1, most=1000)
    kinds: tuple[str, ...] = option((), f"kinds of circuits ({', '.join(KINDS)}); all by default")
    blocks: tuple[int, ...] = option((), "blocks, as 0-3,7; all by default")
    fold: bool = option(True, "fold norms into the circuits, and the final norm into the unembedding")
    projection: str = option(
        AUTO,
        "what turns directions into tokens: auto is the unembedding for what is written by a language model, else "
        "the embedding",
        choices=(AUTO, *PROJECTIONS),
    )
    num_flips: int = option(7, "draws of random signs; 0: none, else at least 3", least=0, most=1000)
    level: float = option(0.01, "of the counts beyond random signs", inside=(0, 0.5))
    seed: int = option(0, "of the random signs", least=0, most=LARGEST)
    description: str = option(
        "embedding", "what describes the tokens whose coherence is tested; none: no test", choices=(*DESCRIPTIONS, NONE)
    )
    encoder: str = option("", "for description = encoder: folder or hub id of a sentence encoder", counts=False)
    data: str = option("", "file with text for the frequency of tokens, and description = text", counts=False)
    field: str = option("text", "of JSON lines: the field with the text")
    num_draws: int = option(20_000, "random directions of each null", least=100, most=10_000_000)
    coherence_level: float = option(0.05, "of Benjamini-Hochberg over the tests of coherence", inside=(0, 0.5))
    controls: tuple[str, ...] = option(("gaussian", "signs"), "weights that go the same way: gaussian, signs")
    varimax: bool = option(
        False, "turn directions of which only the span is determined, up to 16 together, by varimax; untested then"
    )
    neurons: int = option(256, "of each MLP matrix, tested beside its directions", least=0, most=1_000_000)
    tokenizer: str = option("", "folder or hub id; the checkpoint's own by default", counts=False)
    any_tokenizer: bool = option(
        False, "also one with far fewer tokens than the model embeds, another model's", counts=False
    )
    ids_only: bool = option(False, "numbers of tokens alone, no text: for checkpoints without a tokenizer")

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise ValueError(f"kinds: {', '.join(unknown)} not among {', '.join(KINDS)}")
        if self.num_flips in (1, 2):
            raise ValueError(f"num_flips is {self.num_flips}; expected 0 (no reading) or at least 3")
        if unknown := [word for word in self.controls if word not in CONTROLS]:
            raise ValueError(f"controls: {', '.join(unknown)} not among {', '.join(CONTROLS)}")
        needs = {"encoder": ("encoder", self.encoder), "text": ("data", self.data)}
        key, value = needs.get(self.description, ("", "given"))
        if not value:
            raise ValueError(f"description is {self.description}, which needs --config.{key}")
        if self.description == "encoder" and self.ids_only:
            raise ValueError("description is encoder, which needs the tokens' text, and ids_only leaves that out")
        if self.description != NONE and self.tokens < 2:
            raise ValueError("tokens is 1; the coherence of a direction takes at least 2 (or description = none)")
        if not self.first + self.last:
            raise ValueError("first and last are both 0; expected directions to read")
