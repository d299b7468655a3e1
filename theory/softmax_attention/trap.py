"""The trap of softmax heads of one sign: what it is, and how often random starts end in it.

If all heads end with one sign of ω the flow stops at the loss of a single head, v + σ_q² − v/(1 + eκD). There ω_h is
1/√D for all of them and Σ_h μ_h is that of one head: how it is shared among heads of one sign is free, so the trap is
a connected set of minima. Source: derived here. He et al. 2025 (arXiv 2503.12734) observe that trained heads have both
signs; this is so for starts outside the trap.

The trap's probability is below the 2^{1−H} with which a start has one sign: modes of zero sum outgrow the common one,
by e^{κHt/2} until the drop, and then push weak heads across.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import BoolArray, FloatArray
from ...runtime.checks import (
    finite_array,
    nonnegative_number,
    positive_number,
    whole_number,
)
from ...task import Task
from ..call_order import require_task_first
from .approximate_losses import (
    WhiteTask,
    approximate_gradient,
    approximate_hessian,
    approximate_values,
    white_task,
)
from .metrics import checked_metric
from .phases import linear_rates

# Of RK4, in units of the time of growth: the outcome of a start changes by less than rounding decides.
_STEP = 0.1
# After this many times of growth beyond the drop, heads have settled on a side: those across have the valley's loss.
_AFTER_DROP = 40.0
_MOST_STEPS = 10**5
_STEPS_BETWEEN_CHECKS = 10
# A start is undecided until its loss is closer to one of both values than this share of what is between them.
_DECIDED = 0.3


class TrapProbability(NamedTuple):
    """The share of starts that end trapped, its standard error, and the same for what theory and starts say.

    `probability` ± `error` over `starts` starts. `one_sign`: the share that begins with one sign of all
    μ_h + ω_h/√ρ. `predicted`: the share for which these, carried linearly to the drop, have one sign there;
    `agreement`: the share of starts for which that is right.
    """

    probability: float
    error: float
    one_sign: float
    predicted: float
    agreement: float
    starts: int


class TrapMinimum(NamedTuple):
    """A point of the trap: ω, μ (H,), its loss and the eigenvalues (2H,) of the flow's Jacobian, growing."""

    omega: FloatArray
    mu: FloatArray
    loss: float
    eigenvalues: FloatArray


def trap_loss(task: Task) -> float:
    """v + σ_q² − v/(1 + eκD/v): where the approximate flow stops if all heads have one sign of ω.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(trap_loss(task), 6)
    0.372073
    """

    return _trap_loss(white_task(task, "the trap of softmax heads"))


# Long because it checks its arguments, and a point, its loss and its Jacobian are one result.
def trap_minimum(
    task: Task, shares: ArrayLike, *, metric: str | float = "matrix"
) -> TrapMinimum:
    """The point of the trap at which head h has the share of Σμ: `shares` (H,) are positive, and are scaled to sum 1.

    H − 1 eigenvalues are 0, those along the trap; all others are negative.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> trap_minimum(task, [0.5, 0.5], metric="euclidean").eigenvalues.round(3) + 0.0
    array([-3.189, -0.495, -0.171,  0.   ])
    """
    require_task_first("trap_minimum(task, shares)", task, shares)
    white = white_task(task, "the trap of softmax heads")
    each = finite_array(shares, "shares", "(H,)")
    if np.any(each <= 0):
        raise ValueError(
            f"shares must be positive, as heads of one sign share Σμ, not {each.tolist()}"
        )
    ρ = checked_metric(metric, task.dimension)
    H = len(each)
    ω = np.full(H, 1 / math.sqrt(white.dimension) / white.input_variance)
    μ = each / np.sum(each) * _value_of_one_head(white)
    rates = np.repeat([-ρ / 2, -0.5], H)
    jacobian = rates[:, None] * approximate_hessian(white, ω, μ)
    eigenvalues = np.sort(np.linalg.eigvals(jacobian).real)
    return TrapMinimum(ω, μ, float(approximate_values(white, ω, μ)), eigenvalues)


# Long because it checks its arguments, and each number of the result is one line.
def trap_probability(
    task: Task,
    heads: int,
    size: float,
    *,
    metric: str | float = "matrix",
    starts: int = 1500,
    seed: int = 0,
) -> TrapProbability:
    """How often heads that start at ω ~ α√ρ N(0, 1), μ ~ α N(0, 1), α = `size`, end trapped on the approximate loss.

    All starts are integrated together, until each has the loss of the trap or one that no heads of one sign have. The
    linear prediction is that of the signs of μ_h + ω_h/√ρ. ValueError for one head, which is always trapped.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> found = trap_probability(task, 4, 0.01, starts=50)
    >>> found.probability < found.one_sign + 0.1
    True
    """
    require_task_first("trap_probability(task, heads, size)", task, heads)
    whole_number(heads, "heads", least=2)
    α = positive_number(size, "size")
    whole_number(starts, "starts", least=2)
    whole_number(seed, "seed", least=0)
    white = white_task(task, "the trap of softmax heads")
    ρ = checked_metric(metric, task.dimension)
    # (2, starts, H)
    normal = np.random.default_rng(seed).standard_normal((2, starts, heads))
    ω, μ = α * math.sqrt(ρ) * normal[0], α * normal[1]

    is_trapped_at_end = _outcomes(white, ω, μ, ρ)
    share = float(np.mean(is_trapped_at_end))
    predicted = _predicted(task, ω, μ, ρ)
    relative = μ + ω / math.sqrt(ρ)
    return TrapProbability(
        probability=share,
        error=math.sqrt(max(share * (1 - share), 1 / starts) / starts),
        one_sign=float(np.mean(_one_sign(relative))),
        predicted=float(np.mean(predicted)),
        agreement=float(np.mean(predicted == is_trapped_at_end)),
        starts=starts,
    )


def is_trapped(task: Task, loss: float) -> bool:
    """Whether a flow on the approximate loss that has settled at this loss is in the trap, and not beside it.

    No heads of one sign have less than `trap_loss`; heads of both signs come to v + σ_q² − v/(1 + κD/v).

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> is_trapped(task, 0.3721), is_trapped(task, 0.23)
    (True, False)
    """
    require_task_first("is_trapped(task, loss)", task, loss)
    white = white_task(task, "the trap of softmax heads")
    given = nonnegative_number(loss, "loss")
    trap, infimum = _trap_loss(white), _infimum(white)
    return given > trap - _DECIDED * (trap - infimum)


def _share_of_labels(white: WhiteTask) -> float:
    """v, times the share of prompts that have a context."""
    return white.share_with_context * white.label_variance


def _gain(white: WhiteTask, factor: float) -> float:
    """v/(1 + factor κD/v)."""
    v = _share_of_labels(white)
    return v / (1 + factor * white.noise * white.dimension / v)


def _trap_loss(white: WhiteTask) -> float:
    return white.zero_loss - _gain(white, math.e)


def _infimum(white: WhiteTask) -> float:
    return white.zero_loss - _gain(white, 1.0)


def _value_of_one_head(white: WhiteTask) -> float:
    """Σμ = √D/(1 + eκD/v)."""
    v = _share_of_labels(white)
    return math.sqrt(white.dimension) * _gain(white, math.e) / v


def _one_sign(values: FloatArray) -> BoolArray:
    """Whether all heads of (starts, H) have one sign."""
    return np.asarray(np.all(values > 0, axis=1) | np.all(values < 0, axis=1))


# Long because this is the loop of an integrator whose undecided starts become fewer.
def _outcomes(white: WhiteTask, ω: FloatArray, μ: FloatArray, ρ: float) -> BoolArray:
    """Whether each start (starts, H) ends trapped, by RK4 of all that are undecided."""
    unit = 1 / (math.sqrt(ρ) * white.input_variance * _share_of_labels(white))
    step = min(_STEP * unit, _stable_step(white, ρ))
    outcome = np.zeros(len(ω), dtype=bool)
    undecided = np.arange(len(ω))
    dropped_for = np.zeros(len(ω))
    for _ in range(_MOST_STEPS // _STEPS_BETWEEN_CHECKS):
        for _ in range(_STEPS_BETWEEN_CHECKS):
            ω, μ = _rk4(white, (ω, μ), ρ, step)
        side = _sides(white, ω, μ)
        dropped_for += _STEPS_BETWEEN_CHECKS * step
        dropped_for[~side.dropped] = 0
        # Heads that have dropped settle, or go on to the other side.
        trapped = (dropped_for > _AFTER_DROP * unit) & side.one_sign & ~side.escaped
        outcome[undecided[trapped]] = True
        goes_on = ~(side.escaped | trapped)
        undecided, dropped_for = undecided[goes_on], dropped_for[goes_on]
        ω, μ = ω[goes_on], μ[goes_on]
        if len(undecided) == 0:
            return outcome
    raise ArithmeticError(
        f"{len(undecided)} of {len(outcome)} starts had not settled after {_MOST_STEPS} steps: "
        "choose a larger size or fewer heads"
    )


class _Sides(NamedTuple):
    """Of each start (starts,): no heads of one sign have its loss; it has dropped; its heads have one sign."""

    escaped: BoolArray
    dropped: BoolArray
    one_sign: BoolArray


def _sides(white: WhiteTask, ω: FloatArray, μ: FloatArray) -> _Sides:
    """Where starts (starts, H) stand; ArithmeticError if some have overflowed."""
    trap, infimum = _trap_loss(white), _infimum(white)
    loss = approximate_values(white, ω, μ)
    if not np.all(np.isfinite(loss)):
        raise ArithmeticError(
            "some starts overflow in steps of this length: choose a smaller size"
        )
    escaped = loss < trap - _DECIDED * (trap - infimum)
    # Half of what one head gains is there.
    dropped = loss < (white.zero_loss + trap) / 2
    return _Sides(escaped, dropped, has_one_sign(ω, μ))


def has_one_sign(ω: FloatArray, μ: FloatArray) -> BoolArray:
    """Whether all heads (starts, H) have one sign of ω and that of μ: none is on its way to the other side."""
    alike = np.sign(ω[:, 0]) == np.sign(μ[:, 0])
    return np.asarray(_one_sign(ω) & _one_sign(μ) & alike)


def _stable_step(white: WhiteTask, ρ: float) -> float:
    """A step of flow time at which RK4 is stable at the trap, whose fastest rate is about μ² ρ v there."""
    v = _share_of_labels(white)
    μ = _value_of_one_head(white)
    λ = white.input_variance
    fastest = ρ * λ**2 * v * μ**2 + v / white.dimension
    # RK4 is stable up to 2.8; heads overshoot to twice the value before they settle.
    return 1.0 / (2 * fastest)


# Long because the four stages stand as in the method.
def _rk4(
    white: WhiteTask, state: tuple[FloatArray, FloatArray], ρ: float, step: float
) -> tuple[FloatArray, FloatArray]:
    """ω and μ (starts, H) one step later."""

    def rate(ω: FloatArray, μ: FloatArray) -> tuple[FloatArray, FloatArray]:
        by_ω, by_μ = approximate_gradient(white, ω, μ)
        return -ρ / 2 * by_ω, -by_μ / 2

    ω, μ = state
    first = rate(ω, μ)
    second = rate(ω + step / 2 * first[0], μ + step / 2 * first[1])
    third = rate(ω + step / 2 * second[0], μ + step / 2 * second[1])
    fourth = rate(ω + step * third[0], μ + step * third[1])
    stages = zip(first, second, third, fourth, strict=True)
    changes = [step / 6 * (a + 2 * b + 2 * c + d) for a, b, c, d in stages]
    return ω + changes[0], μ + changes[1]


# Long because both modes are carried to one time, with the eigenvectors written out.
def _predicted(task: Task, ω: FloatArray, μ: FloatArray, ρ: float) -> BoolArray:
    """Whether all heads have one sign where the linear flow has grown to the drop, at which |μ| is of order √D."""
    rates = linear_rates(task, ω.shape[1], ρ, query_token=None)
    fast, r = rates.zero_sum, rates.common
    amplitude = μ + ω / math.sqrt(ρ)
    zero_sum = amplitude - np.mean(amplitude, axis=1, keepdims=True)
    # The common mode is (ω, μ) = (√ρ fast, r), with the left eigenvector (fast/√ρ, r).
    overlap = fast * np.mean(ω, axis=1) / math.sqrt(ρ) + r * np.mean(μ, axis=1)
    common = overlap / (fast**2 + r**2) * (fast + r)
    # Both at the time at which the larger of them is as large as what is learned.
    size = np.maximum(np.max(np.abs(zero_sum), axis=1), np.abs(common))
    elapsed = np.log(2 * math.sqrt(task.dimension) / size) / fast
    lag = np.exp((r - fast) * np.maximum(elapsed, 0))
    return _one_sign(zero_sum + (common * lag)[:, None])
