"""The balanced flow of heads that serve several tasks: warm-up, what heads end on, and how they forget other tasks."""

import math

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import (
    balanced_flow,
    balanced_limit,
    off_task_decay,
    warm_up,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import converges_at_order, equal_within
from .setting import noise_share, white_task

TASK = white_task(10, 80)
"""One of the tasks: ten coordinates, a label."""

DIVISORS = (1.0, 2.0)
"""Score divisors 1/c: c scales the rate of ω and not that of μ."""

SPARSE = Task(**TASK.arguments() | {"context_length": {0: 1.0, 80: 3.0}})
"""A quarter of the contexts are empty: the others are learned from at three quarters of the speed."""
CASES = ((TASK, 1.0), (TASK, 2.0), (SPARSE, 1.0))
"""Tasks and score divisors."""

SIZES = (3e-2, 1e-2, 3e-3, 1e-3)
"""μ at the start of the warm-up."""
GROWTH = 0.4
"""Part of the time of the warm-up that is followed: μ becomes 5/3 of what it was."""

START_OMEGA = np.array([[0.1, 0.01, 0.02], [0.02, 0.12, 0.01], [0.01, 0.02, 0.11]])
START_MU = np.array([[0.5, 0.05, 0.1], [0.1, 0.6, 0.05], [0.05, 0.1, 0.55]])
"""Three heads on three tasks, each ahead on one."""
END = 4_000.0

DECAY_TIMES = (2_000.0, 4_000.0, 8_000.0, 16_000.0)
RATE_TIMES = np.array([400.0, 600.0])

NOISES = (1e-1, 1e-2, 1e-3, 1e-4)
"""κp of tasks on which one head of one sign is compared with heads of both."""

SETTLED = 500.0
"""Flow time times κp after which a single head rests."""

SHARED = (2, 3)
"""Tasks that one head serves together."""

WITHOUT_E = "1/(1 + κp), without e"
EVERY_COORDINATE = "p times the number of tasks for p"
NO_NOISE = "κ = 1/N, without the noise of the labels"
NO_EMPTY = "no empty contexts"
UNSCALED = "1 for c"
HALF_TIME = "t/p for 2t/p"
ONE_RATE = "κμ for 2κμ"
EXPONENTIAL = "an exponential for 1/t"
ONE_TASK = "p for the coordinates of all tasks of a head"
NO_FACTOR, TWICE_E = "no factor", "e² for e"


def _warm_up_courses(context: RunContext) -> list[FloatArray]:
    """pω and μ over μ₀ (12,) in each case, from each size, at the start and when μ is about 5/3 of μ₀."""
    return [np.concatenate([_course(size, *case) for case in CASES]) for size in SIZES]


def _time(size: float, divisor: float) -> float:
    """A time before the end of the warm-up, p/(2cμ₀)."""
    return GROWTH * TASK.dimension * divisor / (2 * size)


def _course(size: float, task: Task, divisor: float) -> FloatArray:
    """pω and μ over μ₀ (4,) of one head, which starts on the line of the warm-up: at the start, and after a while."""
    p = task.dimension
    slope = 1 / divisor + noise_share(task) * p
    ω, μ = [[slope * size / p]], [[size]]
    times = ([0.0], [_time(size, divisor)])
    flows = [balanced_flow(task, ω, μ, t, score_divisor=divisor) for t in times]
    parts = [part for flow in flows for part in (p * flow.omega, flow.mu)]
    return np.concatenate(parts, axis=None) / size


def _predicted_courses(context: RunContext, control: str) -> list[FloatArray]:
    """The same by μ = 1/(1/μ₀ − 2ct/p) and pω = (c + κp)μ."""
    courses = []
    for size in SIZES:
        parts = []
        for task, divisor in CASES:
            t = _time(size, divisor) / (2 if control == HALF_TIME else 1)
            taken = 1.0 if control == UNSCALED else divisor
            stated = task if control != NO_NOISE else white_task(10, 80, 0.0)
            stated = TASK if control == NO_EMPTY else stated
            course = warm_up(stated, size, [0.0, t], score_divisor=taken)
            scaled = np.stack([task.dimension * course.omega, course.mu], axis=1) / size
            parts.append(scaled.ravel())
        courses.append(np.concatenate(parts))
    return courses


def _heads_at_end(context: RunContext) -> list[FloatArray]:
    """ω and μ of every head on its own task, and the loss (7,), in each case."""
    numbers = []
    for task, divisor in CASES:
        flow = balanced_flow(
            task, START_OMEGA, START_MU, [END * divisor], score_divisor=divisor
        )
        own_ω, own_μ = np.diag(flow.omega[0]), np.diag(flow.mu[0])
        numbers.append(np.concatenate([own_ω, own_μ, flow.loss]))
    return numbers


def _predicted_heads(context: RunContext, control: str) -> list[FloatArray]:
    """The limit of one head for each task, whatever the divisor."""
    numbers = []
    for task, _ in CASES:
        stated = white_task(10, 80, 0.0) if control == NO_NOISE else task
        stated = TASK if control == NO_EMPTY else stated
        ω, μ, loss = balanced_limit(stated, 3 if control == EVERY_COORDINATE else 1)
        if control == WITHOUT_E:
            gain = 1 / (1 + noise_share(TASK) * TASK.dimension)
            μ, loss = np.sqrt(TASK.dimension) * gain, 1 + TASK.noise_variance - gain
        numbers.append(np.array([ω] * 3 + [μ] * 3 + [loss]))
    return numbers


def _shared_heads(context: RunContext) -> list[FloatArray]:
    """ω and μ on each task and the loss late in the flow of one head that serves several tasks alike."""
    numbers = []
    for tasks in SHARED:
        flow = balanced_flow(TASK, [[0.1] * tasks], [[0.5] * tasks], [END])
        numbers.append(np.concatenate([flow.omega.ravel(), flow.mu.ravel(), flow.loss]))
    return numbers


def _predicted_shared(context: RunContext, control: str) -> list[FloatArray]:
    """The limit of one head for so many tasks: p times their number in place of p."""
    numbers = []
    for tasks in SHARED:
        ω, μ, loss = balanced_limit(TASK, 1 if control == ONE_TASK else tasks)
        if control == WITHOUT_E:
            gain = 1 / (1 + noise_share(TASK) * TASK.dimension * tasks)
            μ, loss = np.sqrt(TASK.dimension * tasks) * gain, 1.1 - gain
        numbers.append(np.array([ω] * tasks + [μ] * tasks + [loss]))
    return numbers


def _forgetting(context: RunContext) -> list[FloatArray]:
    """1/(ω t) of the weights of heads on other tasks (12,), for both divisors, at each time."""
    off = ~np.eye(3, dtype=bool)
    flows = [
        balanced_flow(TASK, START_OMEGA, START_MU, DECAY_TIMES, score_divisor=divisor)
        for divisor in DIVISORS
    ]
    return [
        np.concatenate([1 / (flow.omega[k][off] * t) for flow in flows])
        for k, t in enumerate(DECAY_TIMES)
    ]


def _predicted_forgetting(context: RunContext, control: str) -> list[FloatArray]:
    """2ceκμ*² at each time."""
    growths = [off_task_decay(TASK, score_divisor=each).growth for each in DIVISORS]
    if control == UNSCALED:
        growths = growths[:1] * len(DIVISORS)
    growth = np.repeat(growths, 6)
    if control == WITHOUT_E:
        growth = growth / math.e
    if control == EXPONENTIAL:
        return [np.exp(growth * t / 1e3) / t for t in DECAY_TIMES]
    return [growth] * len(DECAY_TIMES)


def _off_task_rates(context: RunContext) -> list[FloatArray]:
    """Rates at which μ of heads on other tasks decay (6,), where ω there is small already."""
    small = np.where(np.eye(3, dtype=bool), START_OMEGA, 1e-9)
    small_μ = np.where(np.eye(3, dtype=bool), START_MU, 1e-9)
    flow = balanced_flow(TASK, small, small_μ, RATE_TIMES)
    off = ~np.eye(3, dtype=bool)
    first, last = flow.mu[0][off], flow.mu[1][off]
    return [np.log(first / last) / (RATE_TIMES[1] - RATE_TIMES[0])]


def _predicted_off_task_rates(context: RunContext, control: str) -> list[FloatArray]:
    """2κμ*."""
    rate = off_task_decay(TASK).rate
    if control == ONE_RATE:
        rate /= 2
    if control == NO_NOISE:
        rate /= 1 + TASK.noise_variance
    return [np.full(6, rate)]


def _excess_ratios(context: RunContext) -> list[FloatArray]:
    """Excess over the noise of one balanced head over that of heads of both signs, for each κp, late in the flow."""
    return [np.array([_excess_ratio(noise)]) for noise in NOISES]


def _excess_ratio(noise: float) -> float:
    """The ratio at κp = `noise`: N is chosen for it, without noise in the labels."""
    p = 10
    task = white_task(p, round(p / noise), 0.0)
    # ω comes to rest at a rate of the order of κp.
    flow = balanced_flow(task, [[0.2]], [[1.0]], [SETTLED / noise])
    infimum = 1 - 1 / (1 + noise)
    return float(flow.loss[0] / infimum)


def _predicted_ratio(context: RunContext, control: str) -> list[FloatArray]:
    """e, in the limit."""
    factor = {UNMODIFIED: math.e, NO_FACTOR: 1.0, TWICE_E: math.e**2}[control]
    return [np.array([factor]) for _ in NOISES]


_INVERSE_DECAY = tuple(1 / t for t in DECAY_TIMES)

CLAIMS = (
    Claim(
        id="softmax_balanced.warm_up",
        title="A small balanced head grows as μ = 1/(1/μ₀ − 2ct/p) along pω = (c + κp)μ, up to O(μ₀²)",
        paper="chen2024",
        equation="warm-up",
        origin="the closed form is derived here",
        statement=r"\mu = \frac{1}{1/\mu_0 - 2ct/p},\quad p\omega = (c + \kappa p)\mu",
        observable="pω and μ over μ₀ when μ is 5/3 of μ₀, score divisors 1 and 2, a quarter of contexts empty",
        limit="μ₀ → 0, error O(μ₀²)",
        order=2,
        hypotheses=("one head and task", "a start on the line"),
        measure=_warm_up_courses,
        predict=_predicted_courses,
        judge=converges_at_order(SIZES, 2, name="μ₀"),
        controls=(HALF_TIME, UNSCALED, NO_NOISE, NO_EMPTY),
        tier="fast",
    ),
    Claim(
        id="softmax_balanced.limit",
        title="Each head ends on one task with ω = 1/√p, μ = √p/(1 + eκp) and the loss 1 + σ² − 1/(1 + eκp)",
        paper="chen2024",
        equation="convergence",
        statement=r"\omega = 1/\sqrt p,\quad \mu = \sqrt p/(1 + e\kappa p),\quad "
        r"L = 1 + \sigma^2 - 1/(1 + e\kappa p)",
        observable="three heads on three tasks late in the flow, score divisors 1 and 2, a quarter of contexts empty",
        limit="t → ∞, where weights on other tasks decay as 1/t",
        hypotheses=("as many heads as tasks, each ahead on one", "positive weights"),
        measure=_heads_at_end,
        predict=_predicted_heads,
        judge=equal_within(1e-4),
        controls=(WITHOUT_E, EVERY_COORDINATE, NO_NOISE, NO_EMPTY),
        tier="fast",
    ),
    Claim(
        id="softmax_balanced.one_head",
        title="One head for T tasks ends as for one task of Tp coordinates, which is strictly worse",
        paper="chen2024",
        equation="optimality of several heads",
        statement=r"L = 1 + \sigma^2 - 1/(1 + e\kappa pT)",
        observable="one head on two and on three tasks at flow time 4,000, p = 10, N = 80",
        limit="t → ∞",
        measure=_shared_heads,
        predict=_predicted_shared,
        judge=equal_within(1e-8),
        controls=(WITHOUT_E, ONE_TASK),
        tier="fast",
    ),
    Claim(
        id="softmax_balanced.off_task_scores",
        title="Heads forget the inputs of other tasks as slowly as ω = 1/(2ceκμ²t)",
        paper="chen2024",
        equation="emergence of one task for each head",
        origin="the law is derived here",
        statement=r"1/(\omega_{\mathrm{off}} t) \to 2ce\kappa\mu_*^2",
        observable="1/(ωt) of three heads on each other's tasks, t = 2,000 … 16,000, score divisors 1 and 2",
        limit="t → ∞, error O(1/t)",
        order=1,
        measure=_forgetting,
        predict=_predicted_forgetting,
        judge=converges_at_order(_INVERSE_DECAY, 1, name="1/t"),
        controls=(WITHOUT_E, UNSCALED, EXPONENTIAL),
        tier="fast",
    ),
    Claim(
        id="softmax_balanced.off_task_values",
        title="Heads forget the labels of other tasks exponentially, at the rate 2κμ",
        paper="chen2024",
        equation="emergence of one task for each head",
        origin="the rate is derived here",
        statement=r"\mu_{\mathrm{off}} \propto e^{-2\kappa\mu_* t}",
        observable="decay of μ of three heads on each other's tasks, where ω there is 1e-9",
        limit="ω on other tasks → 0",
        measure=_off_task_rates,
        predict=_predicted_off_task_rates,
        judge=equal_within(1e-5),
        controls=(ONE_RATE, NO_NOISE),
        tier="fast",
    ),
    Claim(
        id="softmax_balanced.constant",
        title="Balanced heads are optimal up to a constant: they lose at most e times what heads of both signs do",
        paper="chen2024",
        equation="optimality up to a constant",
        origin="the constant is derived here",
        statement=r"\frac{1 - 1/(1 + e\kappa p)}{1 - 1/(1 + \kappa p)} = e + O(\kappa p)",
        observable="loss without noise of a balanced head over the infimum of heads of both signs, κp = .1 … 1e-4",
        limit="κp → 0, error O(κp)",
        order=1,
        measure=_excess_ratios,
        predict=_predicted_ratio,
        judge=converges_at_order(NOISES, 1, name="κp"),
        controls=(NO_FACTOR, TWICE_E),
        tier="fast",
    ),
)
