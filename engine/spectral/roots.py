"""A root of a monotone function, without the 0.2 s that importing scipy.optimize takes at every start of a sweep."""

from collections.abc import Callable


def root(f: Callable[[float], float], low: float, high: float, xtol: float = 1e-13, rtol: float = 1e-14) -> float:
    """The x in [low, high] where f changes its sign, to within xtol + rtol |x|.

    Inverse quadratic interpolation where it is trusted, else bisection: Chandrupatla (1997), Advances in Engineering
    Software 28, 145.

    Raises:
      ValueError: f has the same sign at both ends.
    """
    a, b = high, low
    fa, fb = f(a), f(b)
    if fa == 0 or fb == 0:
        return a if fa == 0 else b
    if (fa > 0) == (fb > 0):
        raise ValueError(f"f has the same sign at {low} and {high}")
    t = 0.5
    while True:
        x = a + t * (b - a)
        fx = f(x)
        # a is the newest point, b on the other side of the root, c the point before on a's side
        if (fx > 0) == (fa > 0):
            c, fc = a, fa
        else:
            c, fc, b, fb = b, fb, a, fa
        a, fa = x, fx
        best, least = (a, fa) if abs(fa) < abs(fb) else (b, fb)
        step = (xtol + rtol * abs(best)) / abs(b - a)
        if least == 0 or step >= 0.5:
            return best
        xi, phi, t = (a - b) / (c - b), (fa - fb) / (fc - fb), 0.5
        if phi**2 < xi and (1 - phi) ** 2 < 1 - xi:
            t = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        t = min(max(t, step), 1 - step)
