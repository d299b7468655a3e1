"""What a check has to show: agreement in words, the measured order, the error budget, curves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fit:
    """Errors against the parameter of a limit, and the order that they were found to fall at.

    `parameter` is its name, `values` (K,) its grid, `errors` (K,) what is left at each, `expected` the order that
    the claim states; `interval` holds the slope of a stochastic limit, None where the errors have no scatter.
    """

    parameter: str
    values: tuple[float, ...]
    errors: tuple[float, ...]
    slope: float
    expected: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Curve:
    """One quantity as predicted and as observed, both (K,), over x (K,): what the figure of a claim shows."""

    name: str
    x: tuple[float, ...]
    predicted: tuple[float, ...]
    observed: tuple[float, ...]


@dataclass(frozen=True)
class Evidence:
    """Whether a prediction and an observation agree, both in words, and what a reader needs to judge it.

    `fit` is the measured order of a limit. `budget` names the sources of error and how large each is, in the unit
    of `residual`, the difference that they must explain. `curves` are what the claim's figure shows over `axes`.
    `undecided`: scatter hides whether the two agree, and more seeds would tell.
    """

    agrees: bool
    observed: str
    expected: str
    fit: Fit | None = None
    budget: tuple[tuple[str, float], ...] = ()
    residual: float | None = None
    curves: tuple[Curve, ...] = ()
    axes: tuple[str, str] = ("", "")
    undecided: bool = False


Judge = Callable[[Any, Any], Evidence]
"""Holds what is predicted against what is observed."""
