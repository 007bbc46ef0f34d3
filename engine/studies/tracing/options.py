"""The options of tracing."""

from dataclasses import dataclass
from typing import ClassVar

from eigensweep.engine.run.options import LARGEST, Options, option


@dataclass(frozen=True)
class TraceOptions(Options):
    """How a query becomes a vector, and what counts as a hit."""

    COMMAND: ClassVar[str] = "trace"

    fold: bool = option(True, "norms folded into circuits and unembedding")
    vector: str = option(
        "unembedding",
        "of a query: the mean of its tokens' columns of the unembedding's pseudo-inverse, of their rows of the "
        "embedding, or by side: columns of the pseudo-inverse of the table by which each side is read",
        choices=("unembedding", "embedding", "side"),
    )
    threshold: float = option(0.0, "a hit's |cosine| is larger; 0: 4.8/sqrt(d)", least=0, most=1)
    max_hits: int = option(40, "hits of a query that are kept", least=1, most=100_000)
    top_tokens: int = option(8, "tokens shown of a direction", least=1, most=1000)
    tokenizer: str = option("", "folder or hub id; the checkpoint's own by default", counts=False)
    closed_loop: int = option(0, "so many directions, drawn by the seed, are traced by their own top tokens", least=0)
    loop_tokens: int = option(10, "tokens in such a query", least=1, most=1000)
    seed: int = option(0, "of the draw, and of the random directions beside them", least=0, most=LARGEST)
