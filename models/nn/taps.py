"""Which activations of a forward pass are returned: the kinds of taps, and their paths within a block."""

STREAM = ("stream/before", "stream/middle", "stream/after")
"""The residual stream that enters a block, between its attention and its MLP, and behind it.

Parallel blocks have no middle: there nothing reads the sum of stream and attention.
"""
UPDATES = ("update/attention", "update/mlp")
"""What attention and MLP add to the stream; where their output is normed first (sandwich, output), behind that norm."""
TAPPED = ("inputs", "stream", "updates")
"""The kinds of taps: inputs of linear layers, the residual stream, what is added to it."""
Tapped = bool | tuple[str, ...]
"""Which taps are wanted: some of TAPPED; True: the inputs; False: none."""


def kinds_of(tapped: Tapped) -> tuple[str, ...]:
    """The kinds of taps that are wanted.

    Raises:
      ValueError: there is no such kind.
    """
    kinds = (("inputs",) if tapped else ()) if isinstance(tapped, bool) else tuple(tapped)
    if unknown := sorted(set(kinds) - set(TAPPED)):
        raise ValueError(f"taps: expected some of {', '.join(TAPPED)}, got {', '.join(unknown)}")
    return kinds


def kind_of(path: str) -> str:
    """Which of TAPPED a tap is.

    >>> kind_of("blocks/3/update/mlp")
    'updates'
    """
    within = "/".join(path.split("/")[-2:])
    return "stream" if within in STREAM else "updates" if within in UPDATES else "inputs"
