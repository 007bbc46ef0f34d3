"""Singular value decomposition: one interface (auto.py holds the whole choice), the strategies beside it."""

from eigensweep.engine.spectral.svd.auto import STRATEGIES, Decomposition, choose, decompose

__all__ = ["STRATEGIES", "Decomposition", "choose", "decompose"]
