"""How predictions are compared with observations that are the same in every run, or approach a limit."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

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
"""Share of the largest predicted value below which an error is rounding: a few dozen operations make no more."""

MAX_POINTS = 200
"""Most points of a curve that a verdict stores: a figure of a claim is hardly wider in dots."""

ORDER_TOLERANCE = 0.1
"""How far an order may be from the stated one: the next half-integer order is five times as far."""

WIDEST_INTERVAL = 0.4
"""Width of a slope's interval above which it tells orders half an integer apart too badly: more seeds are asked for."""


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
        largest_gap = max(_relative_gap(*pair) for pair in pairs)
        curves = [curve(f"case {k}", *pair, x) for k, pair in enumerate(pairs, 1)]
        return Evidence(
            agrees=largest_gap <= bound,
            observed=f"largest relative gap {largest_gap:.1e}",
            expected=f"at most {bound:.0e}",
            residual=largest_gap,
            curves=tuple(curves),
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
    prediction = np.asarray(predicted, dtype=float).ravel()  # (K,)
    observation = np.asarray(observed, dtype=float).ravel()  # (K,)
    points = np.arange(len(prediction)) if x is None else x
    places = np.asarray(points, dtype=float)  # (K,)

    # Evenly over the points, first and last among them; short curves as they are.
    count = min(MAX_POINTS, len(places))
    spread = np.linspace(0, len(places) - 1, count)
    chosen = np.unique(spread.astype(int))
    return Curve(
        name,
        x=tuple(places[chosen].tolist()),
        predicted=tuple(prediction[chosen].tolist()),
        observed=tuple(observation[chosen].tolist()),
    )


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
        gaps = [sup_gap(*pair) for pair in _pairs(predicted, observed)]
        least_gap = max(floor, _rounding_of(predicted))
        fitted = observed_order(parameter, gaps, scale=scale, floor=least_gap)

        # Without scatter the last slopes say more than all: they are extrapolated to h = 0.
        slope = fitted.extrapolated
        words = f"order {slope:.3f} in {name}, {_gaps_in_words(gaps)}"
        left_out = len(gaps) - fitted.used
        if left_out:
            words += f", {left_out} below the floor {least_gap:.0e}"
        return Evidence(
            agrees=abs(slope - order) <= ORDER_TOLERANCE,
            observed=words,
            expected=f"order {order:g} ± {ORDER_TOLERANCE:g}",
            fit=Fit(name, _scaled(parameter, scale), tuple(gaps), slope, order),
            residual=min(gaps),
        )

    return judge


def _rounding_of(predicted: Sequence[FloatArray]) -> float:
    """The gap that rounding alone may make between curves of this size."""
    sizes = [float(np.max(np.abs(values))) for values in predicted]
    return ROUNDING * max(sizes)


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
        gaps = [_typical_gap(*pair) for pair in _pairs(predicted, observed)]
        # The slope at the smallest h: entries that reach their order late spoil those before it.
        slope = observed_order(parameter, gaps).local_slopes[-1]
        last_ratio = observed[-1] / predicted[-1]
        last_gap = float(np.max(np.abs(last_ratio - 1)))
        words = (
            f"order {slope:.3f} in {name}, {_gaps_in_words(gaps)}, "
            f"{100 * last_gap:.1g} % at most left"
        )
        return Evidence(
            agrees=slope >= order - ORDER_TOLERANCE and last_gap <= within,
            observed=words,
            expected=f"order {order:g} or more, {100 * within:g} %",
            fit=Fit(name, _scaled(parameter), tuple(gaps), slope, order),
            residual=last_gap,
        )

    return judge


def converges_on_average(
    parameter: Sequence[float], order: float, name: str = "h"
) -> Judge:
    """Sampled errors (K, seeds) fall with the parameter at this order: inside the slope's interval, ± 0.2 at most.

    Here `predicted` and `observed` are (K, seeds, …): the error of each is the norm of their difference. A wider
    interval asks for more seeds.
    """

    def judge(predicted: FloatArray, observed: FloatArray) -> Evidence:
        sampled = _sampled_order(parameter, predicted, observed)
        low, high = sampled.interval
        holds = low <= order <= high
        is_wide = high - low > WIDEST_INTERVAL
        words = (
            f"order {sampled.slope:.3f} in {name}, in [{low:.3f}, {high:.3f}] "
            f"over {sampled.seed_count} seeds"
        )
        return Evidence(
            agrees=holds and not is_wide,
            observed=words,
            expected=f"order {order:g}, interval of {CONFIDENCE:g} within ± {WIDEST_INTERVAL / 2:g}",
            fit=Fit(
                name,
                _scaled(parameter),
                sampled.typical_errors,
                sampled.slope,
                order,
                sampled.interval,
            ),
            residual=sampled.typical_errors[-1],
            undecided=holds and is_wide,
        )

    return judge


class _SampledOrder(NamedTuple):
    """Slope of log error against log h with its interval, and the geometric mean over the seeds at each h (K,)."""

    slope: float
    interval: tuple[float, float]
    typical_errors: tuple[float, ...]
    seed_count: int


def _sampled_order(
    parameter: Sequence[float], predicted: FloatArray, observed: FloatArray
) -> _SampledOrder:
    difference = np.asarray(observed) - np.asarray(predicted)  # (K, seeds, …)
    flat = difference.reshape(*difference.shape[:2], -1)  # (K, seeds, entries)
    errors = np.linalg.norm(flat, axis=-1)  # (K, seeds)
    seed_count = errors.shape[1]

    # Every seed is a point of its own at its h, so that the interval of the slope knows how they scatter.
    grid = np.repeat(np.asarray(parameter, dtype=float), seed_count)  # (K · seeds,)
    fitted = observed_order(grid, errors.ravel(), level=CONFIDENCE)
    typical = np.exp(_log(errors).mean(axis=1))  # (K,)
    return _SampledOrder(
        slope=fitted.slope,
        interval=fitted.interval,
        typical_errors=tuple(typical.tolist()),
        seed_count=seed_count,
    )


def _gaps_in_words(gaps: Sequence[float]) -> str:
    return f"gaps {gaps[0]:.1e} … {gaps[-1]:.1e}"


def _scaled(
    parameter: Sequence[float], scale: Callable[[FloatArray], FloatArray] | None = None
) -> tuple[float, ...]:
    """The parameter, or `scale` of it, in plain numbers."""
    grid = np.asarray(parameter, dtype=float)
    if scale is not None:
        grid = scale(grid)
    return tuple(grid.tolist())


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
    gap = sup_gap(predicted, observed)
    largest = float(np.max(np.abs(predicted)))
    if largest == 0:
        raise ValueError(
            "a prediction that is 0 everywhere has no relative gap: predict one plus it"
        )
    return gap / largest


def _typical_gap(predicted: FloatArray, observed: FloatArray) -> float:
    """The geometric mean of the gaps of all entries; ValueError if the shapes differ."""
    if np.shape(predicted) != np.shape(observed):
        raise ValueError(
            f"curves must have one shape, not {np.shape(predicted)} and {np.shape(observed)}"
        )
    gaps = np.abs(predicted - observed)
    return float(np.exp(np.mean(_log(gaps))))


def _log(errors: FloatArray) -> FloatArray:
    """Logarithms of errors, of which some may be 0: the smallest normal number in their place is small enough."""
    return np.log(errors + 1e-300)
