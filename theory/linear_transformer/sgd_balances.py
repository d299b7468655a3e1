"""The law of balance of online SGD: where it goes along the line of minima p → cp, q → q/c.

The gradient of each prompt is 0 along the line. A step with the mean g over B prompts and flow time h = 2η changes
|p|² − |q|² by h²(|g_p|² − |g_q|²), so that on average, with C_p = E|g_p|² and C_q = E|g_q|² of one prompt at c = 1,

    d(|p|² − |q|²)/dstep = (h²/B) (C_p/c² − C_q c²)

The stable limit c* = (C_p/C_q)^{1/4} is where tr C = C_p/c² + C_q c², and with it the floor of the loss, is least.
Derived here.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array, positive_number
from ...runtime.display import Displayed, Summary
from ...task import Task
from .noisy_minima import NoisyMinimum, noisy_minimum
from .sgd_floors import point_of_line, refuse_without_floor
from .step_counts import prompts_of_a_step

_HALVINGS = 60
"""Halvings of an interval: as many as a double has digits, and some more."""


@dataclass(frozen=True, eq=False, repr=False)
class SgdBalance(Displayed):
    """The mean scale c and `difference` |p|² − |q|² of SGD along the line of minima, (T,) each, at `steps` (T,).

    `stable_scale` c* and `limit` are those of infinitely many steps; `noise_p` E|g_p|² and `noise_q` E|g_q|² of one
    prompt's gradient of ½|y − ŷ|² at c = 1, where (ωs + σ²) p² = s² q².
    """

    steps: FloatArray
    scale: FloatArray
    difference: FloatArray
    stable_scale: float
    limit: float
    noise_p: float
    noise_q: float

    def to_dict(self) -> dict[str, Any]:
        """The course of the scale as plain numbers and lists."""
        return {
            "steps": self.steps.tolist(),
            "scale": self.scale.tolist(),
            "difference": self.difference.tolist(),
            "stable_scale": self.stable_scale,
            "limit": self.limit,
        }

    def summary(self) -> Summary:
        """The stable scale and the course on one screen."""
        rows = {
            "stable scale": f"{self.stable_scale:.6g}",
            "|p|² − |q|²": f"{self.difference[0]:.6g} → {self.difference[-1]:.6g}",
            "in the limit": f"{self.limit:.6g}",
        }
        formulas = {"stable scale": r"c^* = (C_p/C_q)^{1/4}"}
        return Summary("Balance of online SGD on modes", rows, formulas)


def sgd_balance(
    task: Task,
    learning_rate: float,
    batch: int,
    steps: ArrayLike,
    model: Parametrization | None = None,
    *,
    scale: float,
) -> SgdBalance:
    """The scale of SGD after `steps` (T,) from the minimum at `scale` c: dK/dstep = (h²/B)(C_p/c² − C_q c²).

    K = |p|² − |q|², and h = 2·rate; the law is of h/B → 0, where the weights stay near the line of minima. ValueError
    for negative steps, where SGD leaves that line as `sgd_floor` says, and as `sgd_noise`. Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)
    >>> course = sgd_balance(task, 0.02, 32, [0, 1000, 4000], scale=1.6)
    >>> course.difference.round(3), round(course.limit, 3)
    (array([ 1.644,  0.126, -0.857]), -0.962)
    """
    h = 2 * positive_number(learning_rate, "learning_rate")
    B = prompts_of_a_step(batch)
    start = positive_number(scale, "scale")
    times = np.atleast_1d(finite_array(steps, "steps", "()", "(T,)"))
    if np.any(times < 0):
        raise ValueError(f"steps must be zero or more, not {np.min(times):g}")
    noisy = noisy_minimum(task, model, "sgd_balance")
    # At both ends of the way SGD has to stay near the line.
    for end in (start, noisy.stable_scale):
        refuse_without_floor(point_of_line(noisy, end).curved(), h, B)
    c = _scales_after(noisy, start, h**2 / B * times)
    stable = noisy.stable_scale
    return SgdBalance(
        steps=times,
        scale=c,
        difference=noisy.differences(c),
        stable_scale=stable,
        limit=float(noisy.differences(np.array(stable))),
        noise_p=noisy.noise_p,
        noise_q=noisy.noise_q,
    )


def _scales_after(noisy: NoisyMinimum, start: float, times: FloatArray) -> FloatArray:
    """c (T,) at times (h²/B)·steps (T,), from the time at which v = c⁴ is passed, in closed form.

    (P v + Q) dv / (2v (C_p − C_q v)) = dτ, of P = |p|² and Q = |q|², so that with v* = C_p/C_q

        τ = (Q/2C_p) ln(v/v₀) + ((P v* + Q)/2C_p) ln[(v* − v₀)/(v* − v)]

    grows with the share x of the way from ln v₀ to ln v*. Logarithms keep all digits of v ≪ v* and of v ≫ v*.
    """
    P, Q = float(np.sum(noisy.p**2)), float(np.sum(noisy.q**2))
    stable = noisy.noise_p / noisy.noise_q
    way = math.log(stable) - 4 * math.log(start)  # ln(v*/v₀)

    def times_at(x: FloatArray) -> FloatArray:
        approach = _log_change(-way) - _log_change(-(1 - x) * way)
        growth = Q * way * x + (P * stable + Q) * approach
        return np.asarray(growth / (2 * noisy.noise_p))

    low, high = np.zeros_like(times), np.ones_like(times)
    # At v* the time is infinite; from there nothing moves.
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            is_late = times_at(middle) > times
            high = np.where(is_late, middle, high)
            low = np.where(is_late, low, middle)
    return np.asarray(start * np.exp((low + high) / 2 * way / 4))


def _log_change(x: ArrayLike) -> FloatArray:
    """ln|eˣ − 1| (…), also where eˣ overflows."""
    exponents = np.asarray(x, dtype=float)
    return np.asarray(np.maximum(exponents, 0) + np.log(-np.expm1(-np.abs(exponents))))
