"""Singular value decomposition: `auto` is the interface and holds the whole choice; the strategies are beside it.

lapack, device and streamed are the strategies, accuracy how good a decomposition is.
"""

from eigensweep.engine.spectral.svd.auto import STRATEGIES, Decomposition, choose, decompose, is_streamed, on_cores

__all__ = ["STRATEGIES", "Decomposition", "choose", "decompose", "is_streamed", "on_cores"]
