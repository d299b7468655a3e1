"""When a falling curve passes given levels: all at once, since a call costs more than a time does."""

from collections.abc import Callable

import numpy as np

from ..runtime.arrays import FloatArray

_ROUNDING = 4 * float(np.finfo(np.float64).eps)


def first_crossings(
    value: Callable[[FloatArray], FloatArray], levels: FloatArray, end: float
) -> FloatArray:
    """When `value`, which falls over (0, `end`), passes each of `levels` (n,), to rounding; 0 if it starts below.

    `value` maps times (n,) to values (n,) and must be below every level at `end`. Chandrupatla's method: inverse
    quadratic interpolation where it is safe and bisection where it is not, for all levels in step (Chandrupatla
    1997, Advances in Engineering Software 28).

    >>> first_crossings(lambda t: np.exp(-t), np.array([0.5, 0.1, 2.0]), 10.0)
    array([0.69314718, 2.30258509, 0.        ])
    """
    new, far = np.zeros(levels.shape), np.full(levels.shape, end)
    at_new, at_far = value(new) - levels, value(far) - levels
    outside = at_new <= 0
    fraction = np.full(levels.shape, 0.5)
    while True:
        old, at_old = new, at_new
        new = old + fraction * (far - old)
        at_new = value(new) - levels
        same = (at_new > 0) == (at_old > 0)
        third, at_third = np.where(same, old, far), np.where(same, at_old, at_far)
        far, at_far = np.where(same, far, old), np.where(same, at_far, at_old)
        best = np.where(np.abs(at_new) < np.abs(at_far), new, far)
        least = _ROUNDING * best / np.abs(far - new)
        done = (
            outside | (least >= 0.5) | (np.minimum(np.abs(at_new), np.abs(at_far)) == 0)
        )
        if np.all(done):
            return np.where(outside, 0.0, best)
        fraction = _fraction((new, far, third), (at_new, at_far, at_third))
        fraction = np.where(done, 0.0, np.clip(fraction, least, 1 - least))


def _fraction(
    times: tuple[FloatArray, ...], values: tuple[FloatArray, ...]
) -> FloatArray:
    """Where between new (0) and far (1) the quadratic t(value) through three points vanishes, ½ if it is unsafe."""
    (new, far, third), (at_new, at_far, at_third) = times, values
    with np.errstate(divide="ignore", invalid="ignore"):
        ξ, φ = (new - far) / (third - far), (at_new - at_far) / (at_third - at_far)
        first = at_new / (at_far - at_new) * at_third / (at_far - at_third)
        second = (
            (third - new)
            / (far - new)
            * at_new
            / (at_third - at_new)
            * at_far
            / (at_third - at_far)
        )
        safe = (φ * φ < ξ) & ((1 - φ) ** 2 < 1 - ξ)
    return np.where(safe, first + second, 0.5)
