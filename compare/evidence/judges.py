"""How predictions and observations are held against each other."""

from collections.abc import Callable, Sequence

import numpy as np

from ...runtime.arrays import FloatArray
from ..metrics.curves import observed_order, sup_gap
from .evidence import Curve, Evidence, Fit, Judge

FAMILYWISE_ERROR = 1e-4
"""Probability that any of the stochastic checks of one run of the ledger rejects what is true."""

BONFERRONI_COUNT = 150
"""How many stochastic checks share it out."""

CONFIDENCE = 1 - FAMILYWISE_ERROR / BONFERRONI_COUNT
"""Probability of the interval of each stochastic check."""

ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Share of the largest predicted value below which an error is rounding."""

SHOWN = 200
"""Most points of a curve that a verdict keeps."""


def student_quantile(freedom: int) -> float:
    """Standard errors that the mean of a sample stays within with probability CONFIDENCE."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def equal_within(
    bound: float,
    x: FloatArray | None = None,
    axes: tuple[str, str] = ("point", "value"),
) -> Judge:
    """Two lists of curves are equal: no gap, relative to the largest predicted value, is above the bound.

    `x` (K,) and `axes` are what their figure is drawn against, the number of the point if left out.
    """

    def judge(
        predicted: Sequence[FloatArray], observed: Sequence[FloatArray]
    ) -> Evidence:
        pairs = _pairs(predicted, observed)
        gaps = [_relative_gap(p, o) for p, o in pairs]
        shown = f"largest relative gap {max(gaps):.1e}"
        drawn = tuple(curve(f"case {k}", *pair, x) for k, pair in enumerate(pairs, 1))
        agrees = max(gaps) <= bound
        return Evidence(
            agrees,
            shown,
            f"at most {bound:.0e}",
            residual=max(gaps),
            curves=drawn,
            axes=axes,
        )

    return judge


def curve(
    name: str, predicted: FloatArray, observed: FloatArray, x: FloatArray | None = None
) -> Curve:
    """The two sides of a comparison as a figure shows them, at most 200 points; `x` is their number if left out.

    >>> curve("loss", np.ones(3), np.zeros(3)).x
    (0.0, 1.0, 2.0)
    """
    flat = [np.asarray(side, dtype=float).ravel() for side in (predicted, observed)]
    place = (
        np.arange(len(flat[0]), dtype=float)
        if x is None
        else np.asarray(x, dtype=float)
    )
    chosen = np.unique(
        np.linspace(0, len(place) - 1, min(SHOWN, len(place))).astype(int)
    )
    return Curve(name, *(tuple(side[chosen].tolist()) for side in (place, *flat)))


def converges_at_order(
    parameter: Sequence[float],
    order: float,
    scale: Callable[[FloatArray], FloatArray] | None = None,
    name: str = "h",
    floor: float = 0.0,
) -> Judge:
    """The sup gap of the k-th curves falls with the k-th parameter at this order: local slopes within ± 0.1.

    Gaps at or below `floor` (a solver's error), or below rounding, are left out; a stall above it does not agree.
    """

    def judge(
        predicted: Sequence[FloatArray], observed: Sequence[FloatArray]
    ) -> Evidence:
        gaps = [sup_gap(p, o) for p, o in _pairs(predicted, observed)]
        least = max(floor, ROUNDING * max(float(np.max(np.abs(p))) for p in predicted))
        found = observed_order(parameter, gaps, scale=scale, floor=least)
        slope = found.extrapolated
        left_out = (
            f", {len(gaps) - found.used} below the floor {least:.0e}"
            if found.used < len(gaps)
            else ""
        )
        shown = f"order {slope:.3f} in {name}, gaps {gaps[0]:.1e} … {gaps[-1]:.1e}{left_out}"
        fit = Fit(name, _scaled(parameter, scale), tuple(gaps), slope, order)
        return Evidence(
            abs(slope - order) <= 0.1,
            shown,
            f"order {order:g} ± 0.1",
            fit,
            residual=min(gaps),
        )

    return judge


def _scaled(
    parameter: Sequence[float], scale: Callable[[FloatArray], FloatArray] | None = None
) -> tuple[float, ...]:
    grid = np.asarray(parameter, dtype=float)
    return tuple((grid if scale is None else scale(grid)).tolist())


def at_least_order(
    parameter: Sequence[float], order: float, within: float, name: str = "h"
) -> Judge:
    """The typical gap (geometric mean over entries) falls at least this fast at the end, − 0.1; none stays behind.

    For entries of which some reach their order late, each at a parameter of its own: at the last one every gap is
    `within` this share of what is predicted, which no typical gap would tell.
    """

    def judge(
        predicted: Sequence[FloatArray], observed: Sequence[FloatArray]
    ) -> Evidence:
        gaps = [_typical_gap(p, o) for p, o in _pairs(predicted, observed)]
        slope = observed_order(parameter, gaps).local_slopes[-1]
        left = float(np.max(np.abs(observed[-1] / predicted[-1] - 1)))
        shown = f"order {slope:.3f} in {name}, gaps {gaps[0]:.1e} … {gaps[-1]:.1e}, {100 * left:.1g} % at most left"
        agrees = slope >= order - 0.1 and left <= within
        fit = Fit(name, _scaled(parameter), tuple(gaps), slope, order)
        return Evidence(
            agrees,
            shown,
            f"order {order:g} or more, {100 * within:g} %",
            fit,
            residual=left,
        )

    return judge


def _pairs(
    predicted: Sequence[FloatArray], observed: Sequence[FloatArray]
) -> list[tuple[FloatArray, FloatArray]]:
    """Each prediction with its observation; ValueError if there is none, or not as many of one as of the other."""
    if len(predicted) == 0 or len(predicted) != len(observed):
        raise ValueError(
            f"{len(predicted)} predictions cannot be held against {len(observed)} observations"
        )
    return list(zip(predicted, observed, strict=True))


def _relative_gap(predicted: FloatArray, observed: FloatArray) -> float:
    """The sup gap in parts of the largest predicted value; ValueError where that is 0."""
    gap, largest = sup_gap(predicted, observed), float(np.max(np.abs(predicted)))
    if largest == 0:
        raise ValueError(
            "a prediction that is 0 everywhere has no relative gap: predict one plus it"
        )
    return gap / largest


def _typical_gap(predicted: FloatArray, observed: FloatArray) -> float:
    if np.shape(predicted) != np.shape(observed):
        raise ValueError(
            f"curves must have one shape, not {np.shape(predicted)} and {np.shape(observed)}"
        )
    return float(np.exp(np.mean(np.log(np.abs(predicted - observed) + 1e-300))))


def converges_on_average(
    parameter: Sequence[float], order: float, name: str = "h"
) -> Judge:
    """Sampled errors (K, seeds) fall with the parameter at this order: inside the slope's interval, ± 0.2 at most.

    Here `predicted` and `observed` are (K, seeds, …): the error of each is the norm of their difference. A wider
    interval asks for more seeds.
    """

    def judge(predicted: FloatArray, observed: FloatArray) -> Evidence:
        difference = np.asarray(observed) - np.asarray(predicted)
        errors = np.linalg.norm(difference.reshape(*difference.shape[:2], -1), axis=-1)
        grid = np.repeat(np.asarray(parameter, dtype=float), errors.shape[1])
        found = observed_order(grid, errors.ravel(), level=CONFIDENCE)
        low, high = found.interval
        holds, wide = low <= order <= high, high - low > 0.4
        shown = f"order {found.slope:.3f} in {name}, in [{low:.3f}, {high:.3f}] over {errors.shape[1]} seeds"
        typical = tuple(np.exp(np.log(errors + 1e-300).mean(axis=1)).tolist())
        fit = Fit(name, _scaled(parameter), typical, found.slope, order, found.interval)
        expected = f"order {order:g}, interval of {CONFIDENCE:g} within ± 0.2"
        return Evidence(
            holds and not wide,
            shown,
            expected,
            fit,
            residual=typical[-1],
            undecided=holds and wide,
        )

    return judge
