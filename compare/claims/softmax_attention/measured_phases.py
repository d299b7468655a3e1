"""Phases as the theory measures them on a flow, against an integration of the definition that is searched for them.

The task has other variances of x and y than 1, noise of the query of its own, and a quarter of the contexts empty.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import HeadPhases, reduced_flow
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Evidence
from .setting import OTHER_UNITS

TASK = OTHER_UNITS
D, INPUT, ZERO_LOSS, METRIC = 3, 2.0, 2.4, 1 / 3
"""D, λ, the loss of no prediction (labels of variance 2.2), and ρ = 1/D."""
SIGNAL, NOISE = 0.75 * 2.2, 0.75 * (2.2 + 0.3) / 20
"""v and κ, times the three quarters of prompts that have a context."""

END = 1e3


class Start(NamedTuple):
    """ω and μ of heads of which the last `idle` ones are 0 and remain so."""

    omega: tuple[float, ...]
    mu: tuple[float, ...]
    idle: int = 0


STARTS = (
    Start((1e-4, 2e-4, 1.5e-4, -2e-4), (1e-4, 2e-4, 3e-4, -1e-4)),
    Start((0.02, 0.02, -0.02, -0.02), (0.02, 0.02, -0.02, -0.02), idle=1),
)

BOUNDS = {
    "zero_sum": 3e-4,
    "common": 3e-4,
    "drop_time": 3e-5,
    "overshoot_time": 2e-4,
    "overshoot": 1e-5,
    "valley_time": 6e-3,
    "valley_error": 2e-3,
    "tail_ratio": 1e-5,
    "positive": 0.0,
    "negative": 0.0,
}
"""Largest relative gap of each: rates are off by the cubes of what has grown to 1e-3, the valley begins at a point of a
path whose times grow by 0.5 %, and others are interpolated between such points."""

UNIT_VARIANCES = "x and y of variance 1"
FULL_CONTEXTS = "as if no context were empty"
OTHER_METRIC = "ρ = 1 for ρ = 1/D"


# The definition, written out for any number of starts at once


def gradient_flow(state: FloatArray) -> FloatArray:
    """Rates of (ω, μ) (…, 2H): ω' = ρ(vλμ(1 − η) − κDλ²(E∘μμᵀ)ω), μ' = vλω(1 − η) − κEμ, with η = λμᵀω."""
    ω, μ = np.split(state, 2, axis=-1)
    η = INPUT * np.sum(ω * μ, axis=-1, keepdims=True)
    E = np.exp(D * INPUT**2 * ω[..., :, None] * ω[..., None, :])
    noise_of_μ = np.einsum("...hk,...k->...h", E, μ)
    noise_of_ω = D * INPUT**2 * μ * np.einsum("...hk,...k->...h", E, μ * ω)
    missing = SIGNAL * INPUT * (1 - η)
    ω_rate = METRIC * (missing * μ - NOISE * noise_of_ω)
    μ_rate = missing * ω - NOISE * noise_of_μ
    return np.concatenate([ω_rate, μ_rate], axis=-1)


def loss_of_heads(state: FloatArray) -> FloatArray:
    """L(0) − v(2η − η²) + κμᵀEμ (…) at (ω, μ) (…, 2H)."""
    ω, μ = np.split(state, 2, axis=-1)
    η = INPUT * np.sum(ω * μ, axis=-1)
    E = np.exp(D * INPUT**2 * ω[..., :, None] * ω[..., None, :])
    noise = NOISE * np.einsum("...h,...hk,...k->...", μ, E, μ)
    return np.asarray(ZERO_LOSS - SIGNAL * (2 * η - η**2) + noise)


def linear_flow(heads: int) -> FloatArray:
    """The matrix (2H, 2H) of the flow at 0, by its rates at small heads."""
    small = 1e-6
    return np.asarray(gradient_flow(small * np.eye(2 * heads)).T / small)


def _sizes(state: FloatArray) -> FloatArray:
    """s = D(λω)² of every head (H,)."""
    return np.asarray(D * (INPUT * np.split(state, 2)[0]) ** 2)


def _off_valley(state: FloatArray) -> float:
    """η(1 + κD cosh(s)/v) − 1 of equal pairs."""
    ω, μ = np.split(state, 2)
    width = 1 + NOISE * D / SIGNAL * np.cosh(np.mean(_sizes(state)))
    return float(INPUT * μ @ ω * width - 1)


# Searched for phases


def _searched(context: RunContext) -> list[dict[str, float]]:
    """The phases of every start that are found on the integrated path, by name."""
    return [_phases_of_path(start) for start in STARTS]


def _phases_of_path(start: Start) -> dict[str, float]:
    """Phases of one start, by an integration of the definition and roots of what defines them."""
    from scipy.integrate import solve_ivp
    from scipy.optimize import brentq, minimize_scalar

    begin = np.array([*start.omega, *start.mu])
    path = solve_ivp(
        lambda _, state: gradient_flow(state),
        (0, END),
        begin,
        method="LSODA",
        rtol=1e-11,
        atol=1e-15,
        dense_output=True,
    ).sol
    half = ZERO_LOSS - SIGNAL / (1 + NOISE * D / SIGNAL) / 2
    drop = float(brentq(lambda t: loss_of_heads(path(t)) - half, 0, 50))
    peak = minimize_scalar(
        lambda t: -np.max(_sizes(path(t))), bounds=(drop, drop + 4), method="bounded"
    )
    phases = {
        "drop_time": drop,
        "overshoot_time": float(peak.x),
        "overshoot": -float(peak.fun),
        **_tail_at_end(start, float(np.mean(_sizes(path(END))))),
    }
    if start.idle:
        return phases | {
            "valley_time": _last_time_off(lambda t: _off_valley(path(t)), drop),
            "valley_error": _off_valley(path(END)),
        }
    return phases | _growth(len(start.omega))


def _tail_at_end(start: Start, size: float) -> dict[str, float]:
    """s at the end over the law of the tail, and how many heads of each sign it counts."""
    positive = int(np.sum(np.array(start.omega) > 0))
    negative = len(start.omega) - positive
    n_eff = 2 * positive * negative / (positive + negative)
    law = (4 * NOISE * n_eff * END) ** (-1 / 3)
    return {"tail_ratio": size / law, "positive": positive, "negative": negative}


def _last_time_off(off: Callable[[float], float], after: float) -> float:
    """When the size of a function last is above 1 %."""
    from scipy.optimize import brentq

    def excess(t: float) -> float:
        return abs(off(t)) - 1e-2

    grid = np.geomspace(after, END, 200)
    last = int(np.flatnonzero([excess(t) > 0 for t in grid])[-1])
    return float(brentq(excess, grid[last], grid[last + 1]))


def _growth(heads: int) -> dict[str, float]:
    """The rates of growth from 0: the largest eigenvalues of the linear flow."""
    rates = np.sort(np.linalg.eigvals(linear_flow(heads)).real)
    return {"zero_sum": float(rates[-1]), "common": float(rates[heads])}


# The theory's phases


@cache
def _stated_phases(start: Start, control: str) -> HeadPhases:
    """Phases of the reduced flow, or of that of another task or metric."""
    others: dict[str, dict[str, Any]] = {
        UNIT_VARIANCES: {
            "eigenvalues": np.ones(3),
            "teacher_covariance": np.diag([0.5, 0.2, 0.4]) / 1.1,
        },
        FULL_CONTEXTS: {"context_length": 20},
    }
    task = Task(**TASK.arguments() | others.get(control, {}))
    metric = "euclidean" if control == OTHER_METRIC else "matrix"
    idle = (0.0,) * start.idle
    flow = reduced_flow(
        task,
        start.omega + idle,
        start.mu + idle,
        [0.0, END],
        loss="approximate",
        metric=metric,
    )
    return flow.phases


def _stated(context: RunContext, control: str) -> list[dict[str, float]]:
    """The phases of every start, or in a control of the last one, by name; nan for what did not happen."""
    stated = []
    for start in STARTS[-1:] if control else STARTS:
        phases = _stated_phases(start, control)
        values = phases.to_dict()
        rates = values.pop("growth") or {}
        numbers = {name: np.nan if x is None else x for name, x in values.items()}
        stated.append(numbers | rates)
    return stated


def _same_phases(
    predicted: list[dict[str, float]], observed: list[dict[str, float]]
) -> Evidence:
    """Every phase that is found is the predicted one, up to its bound, for the last starts that are predicted."""
    gaps: dict[str, float] = {}
    for stated, found in zip(predicted, observed[-len(predicted) :], strict=True):
        for name, value in found.items():
            gap = abs(stated.get(name, np.nan) / value - 1)
            # A phase that is missing is as far off as can be.
            gaps[name] = max(gaps.get(name, 0.0), np.inf if np.isnan(gap) else gap)
    return Evidence(
        agrees=all(gap <= BOUNDS[name] for name, gap in gaps.items()),
        observed=", ".join(f"{name} {gap:.0e}" for name, gap in gaps.items()),
        expected=", ".join(f"{name} {bound:.0e}" for name, bound in BOUNDS.items()),
    )


CLAIMS = (
    Claim(
        id="softmax.measured_phases",
        title="Growth, drop, overshoot, valley and tail are where an integration of the definition has them",
        paper="he2025",
        beyond_paper=True,
        equation="training dynamics of the reduced model",
        origin="phases are defined here",
        statement=r"\tilde L = \tfrac12(L(0) + \inf\tilde L),\quad \max_t D(\lambda\omega)^2,\quad "
        r"|\eta(1 + \kappa D\cosh(s)/v) - 1| = 0.01",
        observable="times and sizes of each phase on the approximate loss, 3 + 1 heads and two equal pairs beside an "
        "idle head, D = 3, other variances of x and y than 1, a quarter of the contexts empty",
        limit="none: both integrate the same flow",
        measure=_searched,
        predict=_stated,
        judge=_same_phases,
        controls=(UNIT_VARIANCES, FULL_CONTEXTS, OTHER_METRIC),
        tier="fast",
    ),
)
