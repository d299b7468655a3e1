"""Merged key and query: one abrupt drop, with a closed form for white inputs."""

from collections.abc import Callable
from functools import partial

import numpy as np

from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights, sample, statistics, train
from .....task import Task
from .....theory import population, time_course
from .....theory.linear_attention import conserved_quantities, unstable_mode_amplitude
from .....theory.linear_attention.merged import aligned_amplitudes
from .....theory.two_layer import two_layer_amplitudes
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import converges_at_order, equal_within
from ....evidence.seeding import seeds
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ..common.controls import (
    LONGER_CONTEXT,
    MOMENTS,
    changed_moments,
    with_context,
    wrong_moments,
)
from ..common.experiments import FOUR, MERGED, WHITE, merged
from .published_runs import HALF_DROPPED, size_claim

SCALES = (1e-2, 3e-3, 1e-3, 3e-4)
VALUE_ALONE = "value rows alone make w₀"
ALIGNED_TIMES = np.linspace(0, 8, 81)
ALIGNED_START = (0.2, np.array([0.1, 0.05, 0.15, 0.02]))
"""s and u of an aligned start that is neither balanced nor on the unstable mode."""
BALANCED, BALANCED_TIMES = (1e-4, 1e-2, 0.5), np.linspace(0, 6, 121)
ROOT, SLOWER = "w₀ for w₀²", "e^{αt} for e^{2αt}"
RATES = (8e-4, 4e-4, 2e-4, 1e-4)
VALUES, TWICE = "value rows alone", "2⟨B, B⟩ for ⟨B, B⟩"


# Aligned and balanced starts


def _shared_flow(
    task: Task, context: RunContext, s0: float, u0: FloatArray, times: FloatArray
) -> FloatArray:
    """Loss of the flow of all heads, each with its random share of one matrix diag(u₀) and of s₀."""
    shares = np.random.default_rng(context.seeds(1)[0]).standard_normal(
        MERGED.head_count
    )
    shares /= np.linalg.norm(shares)

    # The aligned start has one head of value |u₀| and matrix diag(u₀).
    one_head = initial_weights(MERGED, task, u0, scheme="aligned")
    value = one_head["value"][0] * s0 / np.linalg.norm(u0)
    matrix = one_head["key_query"][0]
    start = {
        "value": np.multiply.outer(shares, value),
        "key_query": np.multiply.outer(shares, matrix),
    }
    return flow(MERGED, population_statistics(task, MERGED), start, times).loss


def _aligned_flow(context: RunContext) -> list[FloatArray]:
    s0, u0 = ALIGNED_START
    return [_shared_flow(FOUR, context, s0, u0, ALIGNED_TIMES)]


def _aligned_course(context: RunContext, control: str) -> list[FloatArray]:
    """u̇_d = s g_d and ṡ = Σ u_d g_d."""
    moments = wrong_moments(FOUR, MERGED, control)
    s, u = aligned_amplitudes(moments, ALIGNED_TIMES, *ALIGNED_START)
    return [moments.aligned_loss(s[:, None] * u)]


def _balanced_flows(context: RunContext) -> list[FloatArray]:
    losses = []
    for w in BALANCED:
        # Four equal entries w/2 make a matrix of size w.
        u0 = np.full(4, w / 2)  # of size w
        losses.append(_shared_flow(WHITE, context, w, u0, BALANCED_TIMES))
    return losses


def _balanced_courses(context: RunContext, control: str) -> list[FloatArray]:
    """p = s u = α e^{2αt}/(κ(e^{2αt} − 1) + α/w₀²), with α = λ²√D and κ = λ³(1 + (1 + D)/N)."""
    moments = changed_moments(WHITE, MERGED, control)
    α = float(np.linalg.norm(moments.b))
    κ = float(moments.a[0] * moments.lam[0])
    times = BALANCED_TIMES / 2 if control == SLOWER else BALANCED_TIMES
    losses = []
    for w in BALANCED:
        w0 = float(np.sqrt(w)) if control == ROOT else w
        s, u = two_layer_amplitudes(times, w0, w0, α, κ)
        coefficient = s * u / 2  # the same on each of four directions
        losses.append(moments.aligned_loss(coefficient[:, None] * np.ones(4)))
    return losses


# Conservation


def _descents(context: RunContext) -> list[tuple[Weights, Weights]]:
    """Weights before and after descent to one flow time, for each learning rate; full weights, sampled data."""
    seed = context.seeds(1)[0]
    source = statistics(sample(FOUR, 2_000, seed), MERGED)
    start = initial_weights(MERGED, FOUR, 0.1, seed, scheme="gaussian")
    pairs = []
    for rate in RATES:
        steps = round(1 / rate)
        run = train(MERGED, source, start, learning_rate=rate, steps=steps)
        pairs.append((start, run.final))
    return pairs


def _quantities(context: RunContext, control: str) -> Callable[[Weights], FloatArray]:
    """What a variant of the theory says is conserved."""
    factor_of_matrices = {VALUES: 0.0, TWICE: np.sqrt(2.0)}.get(control, 1.0)

    def conserved(weights: Weights) -> FloatArray:
        changed = {
            "value": weights["value"],
            "key_query": factor_of_matrices * weights["key_query"],
        }
        return conserved_quantities(MERGED, changed)["value_key_query"]

    return conserved


def _drift_is_first_order(
    predicted: Callable[[Weights], FloatArray], observed: list[tuple[Weights, Weights]]
) -> Evidence:
    """What is conserved changes by O(η) along gradient descent."""
    before = [predicted(start) for start, _ in observed]
    after = [predicted(end) for _, end in observed]
    return converges_at_order(RATES, 1, name="η")(before, after)


# The unstable mode of random weights


def _random_flows(task: Task, context: RunContext) -> list[FloatArray]:
    """Losses from random weights of falling scale, over twice the time of the drop."""
    source = population_statistics(task, MERGED)
    losses = []
    for scale in SCALES:
        start = _start(task, context, scale)
        losses.append(flow(MERGED, source, start, _times(task, scale)).loss)
    return losses


def _start(task: Task, context: RunContext, scale: float) -> Weights:
    return initial_weights(MERGED, task, scale, seeds(context.seed)[0], "restricted")


def _times(task: Task, scale: float) -> FloatArray:
    rate = float(np.linalg.norm(population(task, MERGED).B))
    # The drop comes at about ln(1/scale)/‖B‖.
    return np.linspace(0, 2 * np.log(1 / scale) / rate, 400)


def _unstable_courses(
    task: Task, context: RunContext, control: str
) -> list[FloatArray]:
    """The time course from the amplitude of the unstable mode in each start."""
    stated_task = with_context(task, 32) if control == LONGER_CONTEXT else task
    courses = []
    for scale in SCALES:
        start = _start(task, context, scale)
        w0 = unstable_mode_amplitude(population(task, MERGED), start)
        if control == VALUE_ALONE:
            w0 = float(np.linalg.norm(start["value"]))
        if control == HALF_DROPPED:
            w0 *= 2
        course = time_course(stated_task, MERGED, _times(task, scale), w0)
        courses.append(course.loss)
    return courses


# One drop


def _drop_counts(context: RunContext) -> list[int]:
    """In how many intervals the loss falls faster than a tenth of its fastest fall, run by run."""
    return [_fast_intervals(run.loss) for run in context.trajectories]


def _fast_intervals(loss: FloatArray) -> int:
    speed = -np.gradient(loss)
    fast = speed > speed.max() / 10
    # An interval begins where the loss turns fast.
    begins = np.diff(fast.astype(int)) == 1
    return int(np.sum(begins)) + int(fast[0])


def _stated_count(context: RunContext, control: str) -> int:
    return 1 if control == UNMODIFIED else 2


def _one_drop(predicted: int, observed: list[int]) -> Evidence:
    return Evidence(
        agrees=all(count == predicted for count in observed),
        observed=f"{min(observed)} to {max(observed)} drops in {len(observed)} runs",
        expected=f"{predicted} drop",
    )


def _unstable_mode_claim(
    name: str, task: Task, order: str, scale: Callable[[FloatArray], FloatArray] | None
) -> Claim:
    """The claim for one task, of which the error falls at this order in the scale w."""
    return Claim(
        id=f"merged.growing_mode_{name}",
        title=f"The unstable mode of small random weights gives the time course of the loss ({name} Λ)",
        paper="zhang2025",
        equation="time course of merged attention",
        origin="its amplitude from random weights goes beyond",
        statement=r"w_0^2 = \sum_h \tfrac14\,(v_h + \langle U_h, B\rangle/\|B\|_F)^2",
        observable="sup gap of the loss to the flow of all heads, over twice the time of the drop",
        limit=f"initial scale → 0, error O({order})",
        measure=partial(_random_flows, task),
        assumes=POPULATION_MOMENTS,
        predict=partial(_unstable_courses, task),
        judge=converges_at_order(SCALES, 1, scale, order),
        controls=(VALUE_ALONE, HALF_DROPPED, LONGER_CONTEXT),
        order=1,
        hypotheses=("restricted block, unlimited data",),
        figure="growing_mode_order",
    )


CLAIMS = (
    Claim(
        id="merged.aligned",
        title="Aligned weights of merged attention obey D + 1 scalar equations exactly",
        paper="zhang2025",
        equation="reduced dynamics of merged attention",
        statement=r"\dot u_d = s\,(\lambda_d^2 - a_d\lambda_d s u_d),\quad \dot s = \sum_d u_d(\cdots)",
        observable="loss of the full gradient flow",
        limit="none: exact",
        measure=_aligned_flow,
        assumes=POPULATION_MOMENTS,
        predict=_aligned_course,
        judge=equal_within(1e-9, ALIGNED_TIMES, ("flow time", "loss")),
        controls=MOMENTS,
        hypotheses=("restricted block, unlimited data", "Λ and Ω in one basis"),
        tier="fast",
    ),
    Claim(
        id="merged.balanced",
        title="Merged attention on white inputs follows the closed form exactly from a balanced start",
        paper="zhang2025",
        equation="time course of merged attention for white covariance",
        statement=(
            r"v u = \frac{\alpha e^{2\alpha t}}{\kappa(e^{2\alpha t}-1) + \alpha/w_0^2},"
            r"\quad \alpha = \lambda^2\sqrt D,\ \kappa = \lambda^3(1 + (1 + D)/N)"
        ),
        observable="loss of the full gradient flow of eight heads, starts of size 1e-4, 1e-2 and 0.5",
        limit="none: exact",
        measure=_balanced_flows,
        assumes=POPULATION_MOMENTS,
        predict=_balanced_courses,
        judge=equal_within(1e-9, BALANCED_TIMES, ("flow time", "loss")),
        controls=(*MOMENTS, ROOT, SLOWER),
        hypotheses=(
            "restricted block, unlimited data",
            "Λ = λI",
            "U_h = v̂_h u I/√D with u = |v| = w₀",
        ),
        figure="merged_white",
        tier="fast",
    ),
    Claim(
        id="merged.conservation",
        title="Gradient descent conserves a_h·a_g − ⟨B_h, B_g⟩ for each pair of heads up to O(η)",
        paper="zhang2025",
        equation="conservation laws",
        origin="Saxe et al. 2014",
        statement=r"a_h^\top a_g - \langle B_h, B_g\rangle",
        observable="change along gradient descent to flow time 2, all weights, 2,000 sequences",
        limit="η → 0, error O(η)",
        order=1,
        measure=_descents,
        predict=_quantities,
        judge=_drift_is_first_order,
        controls=(VALUES, TWICE),
        hypotheses=(
            "any data",
            "all weights are trained",
        ),
        figure="conservation",
        tier="fast",
    ),
    _unstable_mode_claim("white", WHITE, "w² ln 1/w", lambda w: w**2 * np.log(1 / w)),
    _unstable_mode_claim("general", FOUR, "w", None),
    size_claim("white", WHITE),
    size_claim("general", FOUR),
    Claim(
        id="merged.one_drop",
        title="The loss of merged attention drops once",
        paper="zhang2025",
        equation="abrupt acquisition in merged attention",
        statement=r"\text{one abrupt drop, from } M = 0 \text{ to } M^*",
        observable="intervals in which the loss falls faster than a tenth of its fastest fall",
        limit="initial scale → 0",
        measure=_drop_counts,
        predict=_stated_count,
        judge=_one_drop,
        controls=("two drops",),
        experiments=lambda context: merged(FOUR, context.seed),
        figure="merged_general",
    ),
)
