"""Balanced flow of softmax heads that serve several tasks: positive ω and μ with K_h = Q_h, O_h = V_hᵀ.

T tasks, each of p coordinates of its own, labels of variance 1 without noise; head h has ω_ht on the coordinates of
task t and μ_ht on its label. With keys and queries that are equal and diagonal, ω = c k², and values and outputs that
are transposed, μ = o², gradient flow dθ/dt = −½ ∂L/∂θ is

    dω_ht/dt = 2c ω_ht F_ht/p,    dμ_ht/dt = 2 μ_ht G_ht
    F_ht = μ_ht (1 − η_t) − κp Σ_k E_hk ω_kt Σ_s μ_hs μ_ks,    G_ht = ω_ht (1 − η_t) − κ Σ_k E_hk μ_kt

with η_t = Σ_h μ_ht ω_ht and E_hk = exp(p Σ_t ω_ht ω_kt): −½ of the derivatives of the approximate loss summed over
tasks. c is one over the score divisor. It is integrated in ln ω and ln μ. Source: the reduced flow of Chen et al. 2024
(arXiv 2402.19442); the closed forms are derived here.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import check_shape, finite_array, positive_number, whole_number
from ...runtime.display import Summary
from ...task import Task
from ..call_order import require_task_first
from ..ode import flow_times
from .approximate_losses import WhiteTask, white_task
from .head_flows import HeadFlow, times_of_flow

_TOLERANCE = 1e-10  # of ln ω and ln μ
_MOST_STEPS = 2 * 10**4
_LARGEST_EXPONENT = 700.0  # e^700 is about the largest number


@dataclass(frozen=True, eq=False, repr=False)
class BalancedFlow(HeadFlow):
    """ω, μ (T, H, tasks) of heads along balanced flow at `flow_time` (T,), and the `loss` (T,) averaged over tasks.

    >>> import tempfile
    >>> task = Task([1] * 10, teacher_covariance=np.eye(10) / 10, noise_variance=0.1, context_length=80)
    >>> flow = balanced_flow(task, [[0.1]], [[0.5]], [0, 400])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     BalancedFlow.load(flow.save(f"{folder}/flow.npz")).omega.shape
    (2, 1, 1)
    """

    NAME: ClassVar[str] = "balanced flow"
    SHAPES: ClassVar[Mapping[str, str]] = {
        "flow_time": "(T,)",
        "loss": "(T,)",
        "omega": "(T, H, tasks)",
        "mu": "(T, H, tasks)",
    }

    @property
    def source(self) -> str:
        """What the curve is, for legends."""
        return "balanced flow, approximate loss"

    def summary(self) -> Summary:
        """The loss at the first and the last time and the heads at the last, on one screen."""
        return Summary("Balanced flow of softmax heads", self._rows())


class BalancedLimit(NamedTuple):
    """What one head for each task, or one for several, ends on: ω, μ and the loss of a task."""

    omega: float
    mu: float
    loss: float


class WarmUp(NamedTuple):
    """ω and μ (T,) of one head for one task while both are small."""

    omega: FloatArray
    mu: FloatArray


class OffTaskDecay(NamedTuple):
    """How a head of one task forgets another: μ falls as e^{−`rate` t}, ω as 1/(`growth` t)."""

    rate: float
    growth: float


# Long because it checks every argument, and names what to do instead.
def balanced_flow(
    task: Task,
    omega: ArrayLike,
    mu: ArrayLike,
    flow_time: ArrayLike,
    *,
    score_divisor: float = 1.0,
) -> BalancedFlow:
    """Balanced flow of heads from positive `omega`, `mu` (H, tasks), at flow times (T,), on the approximate loss.

    `task` is one of the tasks: p coordinates of variance 1, a label, and the context that it shares with the others.
    `score_divisor` is 1/c. The loss is averaged over tasks. ValueError for other inputs and for weights that are not
    positive: heads whose keys and queries differ are not balanced. ArithmeticError if it cannot be integrated.
    Source: Chen et al. 2024 (arXiv 2402.19442).

    >>> task = Task([1] * 10, teacher_covariance=np.eye(10) / 10, noise_variance=0.1, context_length=80)
    >>> flow = balanced_flow(task, [[0.1]], [[0.5]], [0, 400])
    >>> flow.omega.ravel().round(4), flow.loss.round(4)
    (array([0.1   , 0.3162]), array([1.0063, 0.3721]))
    """
    require_task_first("balanced_flow(task, omega, mu, flow_time)", task, omega)
    white = _unit_task(task, "balanced flow")
    ω = finite_array(omega, "omega", "(H, tasks)")
    μ = finite_array(mu, "mu", "(H, tasks)")
    check_shape(μ, "mu", "(H, tasks)", H=ω.shape[0], tasks=ω.shape[1])
    if np.any(ω <= 0) or np.any(μ <= 0):
        raise ValueError(
            "omega and mu must be positive, as keys are queries and outputs are values here: "
            "follow heads of other signs by reduced_flow"
        )
    if white.dimension * float(np.max(np.sum(ω**2, axis=1))) > _LARGEST_EXPONENT:
        raise ValueError("omega is so large that e^(p ω²) is no number: start smaller")
    times = times_of_flow(flow_time)
    c = 1 / positive_number(score_divisor, "score_divisor")
    states = _states(white, np.log(np.stack([ω, μ])), times, c)
    ω_at, μ_at = np.exp(states[:, 0]), np.exp(states[:, 1])
    return BalancedFlow(times, ω_at, μ_at, _losses(white, ω_at, μ_at))


def balanced_limit(task: Task, tasks_of_head: int = 1) -> BalancedLimit:
    """ω = 1/√P, μ = √P/(1 + eκP), loss 1 + σ² − 1/(1 + eκP) with P = p times the number of tasks that a head serves.

    >>> task = Task([1] * 10, teacher_covariance=np.eye(10) / 10, noise_variance=0.1, context_length=80)
    >>> [round(value, 6) for value in balanced_limit(task)]
    [0.316228, 2.301908, 0.372073]
    """
    require_task_first("balanced_limit(task, tasks_of_head)", task, tasks_of_head)
    white = _unit_task(task, "the limit of balanced flow")
    P = white.dimension * whole_number(tasks_of_head, "tasks_of_head")
    gain = white.share_with_context / (
        white.share_with_context + math.e * white.noise * P
    )
    loss = white.zero_loss - white.share_with_context * gain
    return BalancedLimit(1 / math.sqrt(P), math.sqrt(P) * gain, loss)


def off_task_decay(task: Task, *, score_divisor: float = 1.0) -> OffTaskDecay:
    """How weights of a head on other heads' tasks decay at late times: μ at the rate 2κμ*, ω as 1/(2ceκμ*² t).

    μ* is that of `balanced_limit`. Source: derived here.

    >>> task = Task([1] * 10, teacher_covariance=np.eye(10) / 10, noise_variance=0.1, context_length=80)
    >>> [round(value, 4) for value in off_task_decay(task)]
    [0.0633, 0.3961]
    """
    white = _unit_task(task, "the decay of balanced flow")
    c = 1 / positive_number(score_divisor, "score_divisor")
    μ = balanced_limit(task).mu
    return OffTaskDecay(2 * white.noise * μ, 2 * c * math.e * white.noise * μ**2)


def warm_up(
    task: Task, mu: float, flow_time: ArrayLike, *, score_divisor: float = 1.0
) -> WarmUp:
    """μ = 1/(1/μ₀ − 2ct/p) and pω = (c + κp) μ at flow times (T,): one head and task while both are small.

    Exact as weights vanish, from a start on the line, which other starts approach only as fast as μ grows. ValueError
    for times at which the formula has no value. Source: derived here.

    >>> task = Task([1] * 10, teacher_covariance=np.eye(10) / 10, noise_variance=0.1, context_length=80)
    >>> course = warm_up(task, 0.001, [0, 1000])
    >>> course.mu, (10 * course.omega / course.mu).round(4)
    (array([0.001  , 0.00125]), array([1.1375, 1.1375]))
    """
    require_task_first("warm_up(task, mu, flow_time)", task, mu)
    white = _unit_task(task, "the warm-up")
    μ0 = positive_number(mu, "mu")
    times = flow_times(flow_time)
    c = 1 / positive_number(score_divisor, "score_divisor")
    p, v = white.dimension, white.share_with_context
    inverse = 1 / μ0 - 2 * c * v * times / p
    if np.any(inverse <= 0):
        raise ValueError(
            f"the warm-up ends before flow time {1 / μ0 * p / (2 * c * v):.6g}: ask for earlier ones"
        )
    μ = 1 / inverse
    return WarmUp((c + white.noise * p / v) / p * μ, μ)


def _unit_task(task: Task, what: str) -> WhiteTask:
    """Its numbers; ValueError unless x has variance 1 and labels without noise have it, too."""
    white = white_task(task, what)
    if not np.allclose([white.input_variance, white.label_variance], 1):
        raise ValueError(
            f"{what} is known for x ~ N(0, 1) and labels of variance 1 without noise, not for variances "
            f"{white.input_variance:g} and {white.label_variance:g}: divide teachers by the number of coordinates"
        )
    return white


class _Terms(NamedTuple):
    """η (…, tasks), E (…, H, H) and Σ_k E_hk μ_kt (…, H, tasks)."""

    η: FloatArray
    E: FloatArray
    noise: FloatArray


def _terms(white: WhiteTask, ω: FloatArray, μ: FloatArray) -> _Terms:
    E = np.exp(white.dimension * ω @ np.swapaxes(ω, -1, -2))
    return _Terms(np.sum(μ * ω, axis=-2), E, E @ μ)


def _losses(white: WhiteTask, ω: FloatArray, μ: FloatArray) -> FloatArray:
    """The loss (T,) averaged over tasks at ω, μ (T, H, tasks)."""
    terms = _terms(white, ω, μ)
    v = white.share_with_context
    noise = white.noise * np.sum(μ * terms.noise, axis=-2)
    each = white.zero_loss - 2 * v * terms.η + v * terms.η**2 + noise
    return np.asarray(np.mean(each, axis=-1))


# Long because the rate stands as in the equations, beside the one solver that calls it and its errors.
def _states(
    white: WhiteTask, start: FloatArray, times: FloatArray, c: float
) -> FloatArray:
    """ln ω and ln μ (T, 2, H, tasks) from the start (2, H, tasks)."""
    from scipy.integrate import ODEintWarning, odeint

    p, κ, v = white.dimension, white.noise, white.share_with_context

    def rate(_: float, state: FloatArray) -> FloatArray:
        ω, μ = np.exp(state.reshape(start.shape))
        terms = _terms(white, ω, μ)
        left = v * (1 - terms.η)
        F = μ * left - κ * p * (terms.E * (μ @ μ.T)) @ ω
        G = ω * left - κ * terms.noise
        return np.concatenate([(2 * c / p * F).ravel(), (2 * G).ravel()])

    increasing, places = np.unique(np.append(0.0, times), return_inverse=True)
    if len(increasing) == 1:
        return np.tile(start, (len(times), 1, 1, 1))
    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
        warnings.simplefilter("error", ODEintWarning)
        try:
            solution = odeint(
                rate,
                start.ravel(),
                increasing,
                tfirst=True,
                rtol=_TOLERANCE,
                atol=_TOLERANCE,
                mxstep=_MOST_STEPS,
            )
        except ODEintWarning:
            raise ArithmeticError(
                f"the balanced flow could not be integrated to flow time {increasing[-1]:g}: it needs more than "
                f"{_MOST_STEPS} steps between two times; start with smaller omega and mu, or ask for more times"
            ) from None
    if not np.all(np.isfinite(solution)):
        raise ArithmeticError(
            f"the balanced flow could not be integrated to flow time {increasing[-1]:g}: the weights have overflowed"
        )
    return np.asarray(solution[places[1:]]).reshape(-1, *start.shape)
