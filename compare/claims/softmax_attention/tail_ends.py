"""How fast two heads come to rest on the exact loss, against its Hessian by differences and the law's integral."""

from functools import cache
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import (
    TailEnd,
    exact_loss,
    exact_optimum,
    leading_tail_end,
    tail_end,
    tail_law,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import equal_within
from .setting import EXACT_LOSSES, white_task

TASKS = (
    white_task(3, 20),
    Task(
        eigenvalues=[2.0] * 3,
        teacher_covariance=np.diag([0.5, 0.2, 0.4]),
        noise_variance=0.3,
        context_length=24,
    ),
)
"""Of which the other one has inputs of variance 2 and labels of variance 2.2; their tails end early."""

SCALED_TIMES = (0.1, 0.5, 2.0)
"""Γt: in the tail, where it bends, and near its end."""
DIFFERENCE = 1e-2
"""Between weights whose gradients are compared, of each weight: two of them leave its fourth power."""
TAIL_TIME = 1e6
POSITIVE, NEGATIVE = 3, 2

NO_END = "the tail goes on: 1/(3x³) for f(x)"
VALUES_ALONE = "ω stays where it is, so that μ alone comes to rest"
MANY_DIMENSIONS = "κ of the tail on the approximate loss, which is that for D → ∞"


def _units(task: Task) -> tuple[float, float]:
    """λ and the variance v of the labels."""
    λ = float(np.mean(task.eigenvalues))
    return λ, λ * float(np.trace(task.teacher_covariance))


@cache
def _hessian(case: int) -> FloatArray:
    """∂²L (4, 4) by (ω, μ) at the best pair, by differences of the gradient at two distances."""
    at = _best_pair(case)
    far, near = (_differences(case, at, share) for share in (1.0, 0.5))
    return np.asarray((4 * near - far) / 3)


@cache
def _best_pair(case: int) -> FloatArray:
    optimum = exact_optimum(TASKS[case], 2)
    return np.concatenate([optimum.omega, optimum.mu])


def _differences(case: int, at: FloatArray, share: float) -> FloatArray:
    """∂²L (4, 4) by central differences, symmetrised."""
    steps = share * DIFFERENCE * np.abs(at)
    points = at + np.concatenate([np.diag(steps), -np.diag(steps)])  # (8, 4)
    ω, μ = np.split(points, 2, axis=1)
    gradient = exact_loss(TASKS[case], ω, μ, gradient=True).gradient
    assert gradient is not None
    slopes = np.concatenate(gradient, axis=1)  # (8, 4)
    hessian = (slopes[:4] - slopes[4:]) / (2 * steps[:, None])
    return np.asarray((hessian + hessian.T) / 2)


def _slowest_rate(case: int, control: str = UNMODIFIED) -> float:
    """Half of the least eigenvalue of ∂²L by μ where ω follows at once, or where it stays."""
    by_ω, mixed, by_μ = (
        _hessian(case)[rows, columns]
        for rows, columns in (
            (slice(2), slice(2)),
            (slice(2), slice(2, 4)),
            (slice(2, 4), slice(2, 4)),
        )
    )
    if control != VALUES_ALONE:
        by_μ = by_μ - mixed.T @ np.linalg.solve(by_ω, mixed)
    return float(np.linalg.eigvalsh(by_μ)[0] / 2)


def _scaled_time(x: float) -> float:
    """Γt at which s has fallen from ∞ to x s*, of x' = −Γ x³ (x − 1), in the variable 1/x."""
    from scipy.integrate import quad

    return float(quad(lambda u: u**2 / (1 - u), 0, 1 / x, epsabs=1e-14)[0])


def _size_over_end(scaled_time: float) -> float:
    """x at this Γt."""
    from scipy.optimize import brentq

    return float(brentq(lambda x: _scaled_time(x) - scaled_time, 1.0001, 4, xtol=1e-12))


def _found(context: RunContext) -> list[FloatArray]:
    """s*, Γ, the time of s* = 0.9 s, s along the tail; the first three to leading order; s without an end."""
    numbers = []
    end_time = _scaled_time(10 / 9)
    over_end = np.array([_size_over_end(time) for time in SCALED_TIMES])
    for case, task in enumerate(TASKS):
        λ, _ = _units(task)
        size = task.dimension * (λ * _best_pair(case)[0]) ** 2
        rate = _slowest_rate(case)
        leading_size, leading_rate = _leading_order(task)
        numbers += [[size], [rate], [end_time / rate], size * over_end]
        numbers += [[leading_size], [leading_rate], [end_time / leading_rate]]
        numbers += [[_without_end(task)]]
    return [np.array(each) for each in numbers]


def _leading_order(task: Task) -> tuple[float, float]:
    """s* and Γ = (4κ/3) s*³ to leading order in 1/N."""
    D, N = task.dimension, max(task.context_lengths)
    _, v = _units(task)
    labels = D * (1 + task.noise_variance / v)
    size = 12 * D / (N * (D + 4) * (labels + 3))
    κ = v / N * (D + 2) * (D + 4) * (labels + 3) / D**3
    return size, 4 / 3 * κ * size**3


def _without_end(task: Task) -> float:
    """(4κ n_eff t)^{−1/3}."""
    _, v = _units(task)
    κ = (v + task.noise_variance) / max(task.context_lengths)
    n_eff = 2 / (1 / POSITIVE + 1 / NEGATIVE)
    return float((4 * κ * n_eff * TAIL_TIME) ** (-1 / 3))


class _Law(NamedTuple):
    """The theory's end of a tail, to leading order, s along the tail and s where it has no end."""

    end: TailEnd
    leading: TailEnd
    sizes: FloatArray
    without_end: float


@cache
def _law(case: int) -> _Law:
    task = TASKS[case]
    # Times are those of the rate that is found: the law's own rate is compared beside it.
    times = np.array(SCALED_TIMES) / _slowest_rate(case)
    without_end = tail_law(
        task, TAIL_TIME, positive=POSITIVE, negative=NEGATIVE, loss="approximate"
    )
    return _Law(
        tail_end(task),
        leading_tail_end(task),
        tail_law(task, times),
        float(without_end),
    )


def _stated(context: RunContext, control: str) -> list[FloatArray]:
    """What the theory says of each of them, or a wrong law."""
    numbers = []
    for case, task in enumerate(TASKS):
        end, leading, sizes, without_end = _law(case)
        rate, end_time, leading_rate = end.rate, end.time, leading.rate
        if control == NO_END:
            sizes = end.size * (3 * np.array(SCALED_TIMES)) ** (-1 / 3)
            end_time = 0.9**3 / 3 / rate
        if control == VALUES_ALONE:
            rate = _slowest_rate(case, control)
        if control == MANY_DIMENSIONS:
            leading_rate /= _of_dimension(task)
        numbers += [[end.size], [rate], [end_time], sizes]
        numbers += [[leading.size], [leading_rate], [leading.time], [without_end]]
    return [np.array(each) for each in numbers]


def _of_dimension(task: Task) -> float:
    """κ of the exact loss over that of the approximate one, to leading order in 1/N."""
    D = task.dimension
    labels = D * (1 + task.noise_variance / _units(task)[1])
    return (D + 2) * (D + 4) * (labels + 3) / (D**2 * labels)


CLAIMS = (
    Claim(
        id="softmax.tail_rate",
        title="Two heads come to rest at the slowest rate of the flow about their best pair, in which ω follows μ",
        paper="he2025",
        beyond_paper=True,
        equation="training dynamics of two heads",
        origin="derived here, from s' = −(4κ/3) s³(s − s*)",
        statement=r"\Gamma = \tfrac12\min\mathrm{spec}(L_{\mu\mu} - L_{\mu\omega}L_{\omega\omega}^{-1}L_{\omega\mu}),"
        r"\quad \Gamma t = \int_0^{s_*/s} \frac{u^2}{1 - u}\,du",
        observable="s*, Γ, s along the tail and when it ends, and s* and Γ to leading order in 1/N; D = 3, two tasks, "
        "one of them with other variances of x and y than 1",
        limit="ρ → ∞, where ω follows μ at once",
        hypotheses=("one head of either sign", "the query's own token is no key"),
        measure=_found,
        predict=_stated,
        judge=equal_within(2e-5),
        controls=(NO_END, VALUES_ALONE, MANY_DIMENSIONS),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
)
