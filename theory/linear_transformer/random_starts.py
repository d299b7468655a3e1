"""When each mode is learned from a random start: the law of half-times, and how often two modes swap their order.

From p, q ~ N(0, w²) only (p + q)/2 grows: its square is w² χ²/2, with χ² of one degree of freedom. So a mode of rate
α = ℓωs² that learns a∞ reaches half of it at t = (C − ln χ²)/(2α), C = ln(2a∞/w²), up to O(w²). Derived here, for the
decoupled law: the coupling of modes moves half-times by O(1/N).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import positive_number
from ...runtime.display import Displayed, Summary, array_summary
from ...task import Task
from .mode_flows import decoupled_rates
from .mode_tasks import mode_task

_MEAN_LOG = -(np.euler_gamma + math.log(2))
"""E ln χ² of one degree of freedom, −1.27036."""
_SPREAD_LOG = math.pi / math.sqrt(2)
"""The standard deviation of ln χ²."""

# ln|z| of the trapezoidal rule: the density of a normal z, in ln|z|, is below 1e-17 outside.
_LOGARITHMS = np.arange(-40.0, 2.5, 0.02)


@dataclass(frozen=True, eq=False, repr=False)
class HalfTimes(Displayed):
    """The law of the flow times at which modes reach half of what they learn, from p, q ~ N(0, `size`²).

    `mean` and `spread`, the standard deviation, (D,), in flow time and in the order of the modes, ∞ where nothing can
    be learned. `rates` α (D,) and `constants` C = ln(2a∞/w²) (D,) make a half-time (C − ln χ²)/(2α).
    """

    size: float
    mean: FloatArray
    spread: FloatArray
    rates: FloatArray
    constants: FloatArray

    @cached_property
    def swap_probability(self) -> FloatArray:
        """P[mode j is learned before mode i] (D, D), at (i, j), ½ on the diagonal; nan where one cannot be learned."""
        α, C = self.rates, self.constants
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = α[None, :] / α[:, None]  # of j to i
            # j is before i where ln χ_j² > C_j − (α_j/α_i)(C_i − ln χ_i²).
            offset = C[None, :] - ratio * C[:, None]
        return _probability(ratio, offset)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain lists."""
        return {
            "size": self.size,
            "mean": self.mean.tolist(),
            "spread": self.spread.tolist(),
            "swap_probability": self.swap_probability.tolist(),
        }

    def summary(self) -> Summary:
        """The means and spreads on one screen."""
        rows = {
            "size of the start": f"{self.size:g}",
            "mean flow time": array_summary(self.mean),
            "standard deviation": array_summary(self.spread),
        }
        formulas = {"half-time": r"t = (\ln(2 a_\infty / w^2) - \ln\chi^2) / (2\alpha)"}
        return Summary("Half-times of modes from random starts", rows, formulas)


def half_times(
    task: Task, size: float, model: Parametrization | None = None
) -> HalfTimes:
    """The law of half-times of the modes from independent p, q ~ N(0, `size`²), for small sizes, in flow time.

    It is that of the decoupled law; its error is O(size²). ValueError where the outputs share no basis with the inputs,
    for a size that is not positive, or that is no less than what a mode learns. Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1, 0.8], teachers=Gaussian.shared_basis([1, 1]), context_length=10**9)
    >>> times = half_times(task, 0.01)
    >>> times.mean.round(3), times.spread.round(4), times.swap_probability[0, 1].round(4)
    (array([5.587, 8.904]), array([1.1107, 1.7355]), np.float64(0.036))
    """
    modes = mode_task(task, model, "half_times")
    w = positive_number(size, "size")
    rates = decoupled_rates(modes)
    learned, α = rates.coefficients, rates.growth
    with np.errstate(divide="ignore"):
        constants = np.log(2 * learned) - 2 * math.log(w)
        mean = np.where(α > 0, (constants - _MEAN_LOG) / (2 * α), np.inf)
        spread = np.where(α > 0, _SPREAD_LOG / (2 * α), np.inf)
    if np.any(constants[learned > 0] <= 0):
        raise ValueError(
            f"size must be small beside what is learned, |p q| = {np.min(learned[learned > 0]):.3g} of one mode, "
            f"not {w:g}"
        )
    return HalfTimes(w, mean, spread, α, constants)


def _probability(ratio: FloatArray, offset: FloatArray) -> FloatArray:
    """P[ln χ′² > offset + ratio ln χ²] for two independent χ² of one degree of freedom, in the shape of both.

    It is nan where the offset is infinite or nan, as that of a mode that cannot be learned.
    """
    from scipy.special import erfc

    u = _LOGARITHMS
    density = 2 / math.sqrt(2 * math.pi) * np.exp(u - np.exp(2 * u) / 2)  # of ln|z|
    with np.errstate(over="ignore", invalid="ignore"):
        bound = np.exp(np.multiply.outer(ratio, u) + offset[..., None] / 2)
        values = erfc(bound / math.sqrt(2)) @ density * (u[1] - u[0])
    return np.asarray(np.where(np.isfinite(offset), values, np.nan))
