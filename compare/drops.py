"""Counts the drops of a loss, with no theory of where they should be."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .metrics import _on_time

FloatArray = NDArray[np.float64]

PAUSE = 5.0
"""How many times slower than either drop a loss must fall between two of them."""

SHARE = 0.02
"""Part of the fastest fall that a drop must reach: slower ones are the creep of a loss at rest."""


def drops(time: ArrayLike, loss: ArrayLike, pause: float = PAUSE, share: float = SHARE) -> FloatArray:
    """Times (n,) at which the drops of a loss (T,) are fastest, in the unit of `time` (T,).

    The fall is measured per logarithm of time, −dL/d ln t, since saddles are left after ever longer waits. Two
    maxima of it are two drops if it is `pause` times smaller than both somewhere between them; a maximum below
    `share` of the largest is none. ValueError if `time` does not increase or begins below 0.

    >>> t = np.linspace(0, 100, 2001)
    >>> one, two = (1 / (1 + np.exp(t - middle)) for middle in (10, 60))
    >>> drops(t, one).round(), drops(t, one + two).round()
    (array([10.]), array([10., 60.]))
    """
    time, loss = _on_time(time, loss, axes=1)
    if time[0] < 0:
        raise ValueError(f"time must begin at 0 or later, not at {time[0]:g}")
    lowest = np.minimum.accumulate(loss)  # coming back from a rise, as of a step too large, is no drop
    fall = -np.gradient(lowest, time) * time
    peaks, top, bottom, rising = [], 0, 0, True
    for k, speed in enumerate(fall):
        if rising:
            top = k if speed > fall[top] else top
            if speed < fall[top] / pause:
                peaks.append(top)
                bottom, rising = k, False
        else:
            bottom = k if speed < fall[bottom] else bottom
            if speed > fall[bottom] * pause:
                top, rising = k, True
    found = [*peaks, top] if rising else peaks
    return np.asarray(time[[k for k in found if fall[k] >= share * fall.max() > 0]])
