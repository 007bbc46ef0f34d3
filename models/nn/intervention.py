"""Changes of the residual stream while a model runs: ablations of dimensions, projections, offsets; what norms read."""

from typing import Any, NamedTuple

from jax import Array


class Intervention(NamedTuple):
    """A change of the residual stream while a model runs: x -> mask * x - basis basis^T x + offset, in x's dtype.

    Each part may be None. The leading axis counts the positions of the stream, of a model of L blocks 2 L + 1:
    2 i before block i, 2 i + 1 between its attention and its MLP (without effect in parallel blocks), 2 L behind the
    last block, before the final norm. All is traced: another mask of the same shape compiles nothing anew.

    Attributes:
      mask: (2 L + 1, d) or what broadcasts with x (B, T, d) behind the leading axis; 0 takes a dimension away.
      basis: (2 L + 1, d, k), orthonormal columns, the directions that are projected out.
      offset: as `mask`, added: for mean-ablation the mean of what was taken away. The loss's derivative in an offset
        (2 L + 1, B, T, d) of zeros is that in the stream.
      norms: as `basis`, but projected out of what a norm reads, and the stream keeps them: at 2 i and 2 i + 1 the norms
        of block i before (post-norm models: behind) attention and MLP, at 2 L the final one. Norms of what attention or
        MLP write (sandwich, output) are left alone. In post-norm models what they read is the stream.
    """

    mask: Array | None = None
    basis: Array | None = None
    offset: Array | None = None
    norms: Array | None = None

    def at(self, position: Any) -> "Intervention":
        """The one or several positions of an index or a slice."""
        return Intervention(*(None if part is None else part[position] for part in self))

    def __call__(self, x: Array) -> Array:
        """The stream (B, T, d) behind the intervention, of one position alone."""
        y = x if self.mask is None else x * self.mask.astype(x.dtype)
        if self.basis is not None:
            y = y - _within(x, self.basis)
        return y if self.offset is None else y + self.offset.astype(x.dtype)

    def check(self, num_blocks: int, width: int) -> None:
        """Hold the shapes against a model's.

        Raises:
          ValueError: the number of positions, or the width, is another.
        """
        num_positions = 2 * num_blocks + 1
        for name, part in self._asdict().items():
            shape: tuple[int, ...] = () if part is None else part.shape
            widths = shape[1:-1] if name in ("basis", "norms") else shape[1:]
            if part is not None and (shape[0] != num_positions or widths[-1:] != (width,)):
                raise ValueError(
                    f"intervention: expected a {name} of {num_positions} positions and width {width}, got {shape}"
                )


def changed(x: Array, intervention: Intervention | None, position: Any) -> Array:
    """The stream behind an intervention at one position; as it is without one."""
    return x if intervention is None else intervention.at(position)(x)


def read_by_norm(x: Array, intervention: Intervention | None, position: Any) -> Array:
    """What a norm is given in place of x (B, T, d): x without the directions of `Intervention.norms`."""
    if intervention is None or intervention.norms is None:
        return x
    return x - _within(x, intervention.norms[position])


def _within(x: Array, basis: Array) -> Array:
    """The part of x in the span of the basis's orthonormal columns."""
    basis = basis.astype(x.dtype)
    return (x @ basis) @ basis.T


def of_block(intervention: Intervention | None, index: int) -> Intervention | None:
    """The two positions of a block."""
    return None if intervention is None else intervention.at(slice(2 * index, 2 * index + 2))
