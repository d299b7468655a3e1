"""How predictions and observations are held against each other."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...theory import Population
from ..evidence import Evidence, Judge
from ..metrics import observed_order, sup_gap

FloatArray = NDArray[np.float64]

LEVEL = 1 - 1e-5
"""Probability of the slope intervals of stochastic checks: 1e-4 shared out over the claims that need one."""


def aligned_loss(moments: Population, coefficients: FloatArray) -> FloatArray:
    """Loss (T,) of M = Σ_d coefficients_d e_d e_dᵀ, (T, D) by decreasing gain."""
    return moments.minimum_loss + (coefficients - moments.coefficients) ** 2 @ (moments.a * moments.lam)


def student_quantile(freedom: int) -> float:
    """Standard errors that the mean of a sample stays within with probability LEVEL."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def same(bound: float) -> Judge:
    """Two lists of curves are equal: no gap, relative to the largest predicted value, is above the bound."""

    def judge(predicted: Sequence[FloatArray], observed: Sequence[FloatArray]) -> Evidence:
        gaps = [sup_gap(p, o) / float(np.max(np.abs(p))) for p, o in zip(predicted, observed, strict=True)]
        return Evidence(max(gaps) <= bound, f"largest relative gap {max(gaps):.1e}", f"at most {bound:.0e}")

    return judge


def converges(
    parameter: Sequence[float],
    order: float,
    scale: Callable[[FloatArray], FloatArray] | None = None,
    name: str = "h",
    floor: float = 0.0,
) -> Judge:
    """The sup gap of the k-th curves falls with the k-th parameter at this order: local slopes within ± 0.1."""

    def judge(predicted: Sequence[FloatArray], observed: Sequence[FloatArray]) -> Evidence:
        gaps = [sup_gap(p, o) for p, o in zip(predicted, observed, strict=True)]
        fit = observed_order(parameter, gaps, scale=scale, floor=floor)
        agrees = abs(fit.extrapolated - order) <= 0.1
        shown = f"order {fit.extrapolated:.3f} in {name}, gaps {gaps[0]:.1e} … {gaps[-1]:.1e}"
        return Evidence(agrees, shown, f"order {order:g} ± 0.1")

    return judge


def at_least_of_order(parameter: Sequence[float], order: float, within: float, name: str = "h") -> Judge:
    """The typical gap (geometric mean over entries) falls at least this fast at the end, − 0.1; none stays behind.

    For entries of which some reach their order late, each at a parameter of its own: at the last one every gap is
    `within` this share of what is predicted, which no typical gap would tell.
    """

    def judge(predicted: Sequence[FloatArray], observed: Sequence[FloatArray]) -> Evidence:
        gaps = [_typical_gap(p, o) for p, o in zip(predicted, observed, strict=True)]
        slope = observed_order(parameter, gaps).local_slopes[-1]
        left = float(np.max(np.abs(observed[-1] / predicted[-1] - 1)))
        shown = f"order {slope:.3f} in {name}, gaps {gaps[0]:.1e} … {gaps[-1]:.1e}, {100 * left:.1g} % at most left"
        agrees = slope >= order - 0.1 and left <= within
        return Evidence(agrees, shown, f"order {order:g} or more, {100 * within:g} %")

    return judge


def _typical_gap(predicted: FloatArray, observed: FloatArray) -> float:
    return float(np.exp(np.mean(np.log(np.abs(predicted - observed) + 1e-300))))


def converges_on_average(parameter: Sequence[float], order: float, name: str = "h") -> Judge:
    """Sampled errors (K, seeds) fall with the parameter at this order: inside the slope's interval, ± 0.2 at most.

    Here `predicted` and `observed` are (K, seeds, …): the error of each is the norm of their difference.
    """

    def judge(predicted: FloatArray, observed: FloatArray) -> Evidence:
        difference = np.asarray(observed) - np.asarray(predicted)
        errors = np.linalg.norm(difference.reshape(*difference.shape[:2], -1), axis=-1)
        grid = np.repeat(np.asarray(parameter, dtype=float), errors.shape[1])
        fit = observed_order(grid, errors.ravel(), level=LEVEL)
        low, high = fit.interval
        agrees = low <= order <= high and high - low <= 0.4
        return Evidence(agrees, f"order {fit.slope:.3f} in {name}, in [{low:.3f}, {high:.3f}]", f"order {order:g}")

    return judge
