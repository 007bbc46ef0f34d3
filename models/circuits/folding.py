"""What stands between the residual stream and a circuit: norms, of which the linear part goes into the weights.

A norm is a division by a scalar of the token, then diag(g), then a shift b; LayerNorm takes the mean away first. All
but the scalar is linear: W norm(x) = W diag(g) (I - 1 1^T/d) x / scalar + W b. The scalar stretches a direction and
turns none, so W diag(g) (I - 1 1^T/d) is what W does to the stream.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fold:
    """The linear part of a norm: diag(gain) (I - 1 1^T/d) where it is centred, else diag(gain); the identity without.

    Attributes:
      gain: (d,) float64, Gemma's with its 1 added; None: ones.
      centred: whether the mean is taken away, as LayerNorm does.
      shift: (d,) what the norm adds; None: nothing.
    """

    gain: np.ndarray | None = None
    centred: bool = False
    shift: np.ndarray | None = None

    def before(self, w: np.ndarray) -> np.ndarray:
        """W diag(g) (I - 1 1^T/d): W (..., m, d) reads the stream through the norm."""
        if self.gain is not None:
            w = w * self.gain
        return w - w.mean(axis=-1, keepdims=True) if self.centred else w

    def behind(self, w: np.ndarray) -> np.ndarray:
        """diag(g) (I - 1 1^T/d) W: what W (..., d, n) writes goes through the norm before it joins the stream."""
        if self.centred:
            w = w - w.mean(axis=-2, keepdims=True)
        return w if self.gain is None else w * self.gain[:, None]

    def constant(self, w: np.ndarray) -> np.ndarray | None:
        """W b: what the norm's shift adds behind W (..., m, d); None without a shift."""
        return None if self.shift is None else w @ self.shift
