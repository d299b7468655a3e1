"""Merged key and query: one abrupt drop, with a closed form for white inputs."""

from collections.abc import Callable

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
from ..common.controls import LONGER_CONTEXT, MOMENTS, with_context, wrong_moments
from ..common.experiments import FOUR, MERGED, WHITE, merged
from .published_runs import HALF_DROPPED, size_claim

SCALES = (1e-2, 3e-3, 1e-3, 3e-4)
VALUE_ALONE = "value rows alone make w₀"
ALIGNED_TIMES = np.linspace(0, 8, 81)
BALANCED, BALANCED_TIMES = (1e-4, 1e-2, 0.5), np.linspace(0, 6, 121)
ROOT, SLOWER = "w₀ for w₀²", "e^{αt} for e^{2αt}"
RATES = (8e-4, 4e-4, 2e-4, 1e-4)
VALUES, TWICE = "value rows alone", "2⟨B, B⟩ for ⟨B, B⟩"


def _aligned_start() -> tuple[float, FloatArray]:
    """s and u of an aligned start that is neither balanced nor on the growing mode."""
    return 0.2, np.array([0.1, 0.05, 0.15, 0.02])


def _aligned_flow(context: RunContext) -> list[FloatArray]:
    return [_shared_flow(FOUR, context, *_aligned_start(), ALIGNED_TIMES)]


def _shared_flow(
    task: Task, context: RunContext, s0: float, u0: FloatArray, times: FloatArray
) -> FloatArray:
    """Loss of the flow of all heads, each with its random share of one matrix diag(u₀) and of s₀."""
    one = initial_weights(MERGED, task, u0, scheme="aligned")
    share = np.random.default_rng(context.seeds(1)[0]).standard_normal(
        MERGED.head_count
    )
    share /= np.linalg.norm(share)
    value, matrix = one["value"][0] * s0 / np.linalg.norm(u0), one["key_query"][0]
    start = {
        "value": share[:, None] * value,
        "key_query": share[:, None, None] * matrix,
    }
    return flow(MERGED, population_statistics(task, MERGED), start, times).loss


def _aligned_ode(context: RunContext, control: str) -> list[FloatArray]:
    moments = wrong_moments(FOUR, MERGED, control)
    s, u = aligned_amplitudes(moments, ALIGNED_TIMES, *_aligned_start())
    return [moments.aligned_loss(s[:, None] * u)]


def _balanced_flows(context: RunContext) -> list[FloatArray]:
    return [
        _shared_flow(WHITE, context, w, np.full(4, w / 2), BALANCED_TIMES)
        for w in BALANCED
    ]


def _balanced_courses(context: RunContext, control: str) -> list[FloatArray]:
    moments = wrong_moments(
        WHITE, MERGED, control if control in MOMENTS else UNMODIFIED
    )
    alpha, kappa = (
        float(np.linalg.norm(moments.b)),
        float(moments.a[0] * moments.lam[0]),
    )
    times = BALANCED_TIMES / (2 if control == SLOWER else 1)
    losses = []
    for w in BALANCED:
        begin = float(np.sqrt(w)) if control == ROOT else w
        s, u = two_layer_amplitudes(times, begin, begin, alpha, kappa)
        losses.append(moments.aligned_loss(np.repeat(s * u / 2, 4).reshape(-1, 4)))
    return losses


def _descents(context: RunContext) -> list[tuple[Weights, Weights]]:
    """Weights before and after descent to one flow time, for each learning rate; full weights, sampled data."""
    seed = context.seeds(1)[0]
    source, start = (
        statistics(sample(FOUR, 2_000, seed), MERGED),
        initial_weights(MERGED, FOUR, 0.1, seed, scheme="gaussian"),
    )
    return [
        (
            start,
            train(
                MERGED, source, start, learning_rate=rate, steps=round(1 / rate)
            ).final,
        )
        for rate in RATES
    ]


def _quantities(context: RunContext, control: str) -> Callable[[Weights], FloatArray]:
    """What a variant of the theory says is conserved."""
    factors = {VALUES: (1.0, 0.0), TWICE: (1.0, np.sqrt(2.0))}
    value, matrices = factors.get(control, (1.0, 1.0))

    def conserved(weights: Weights) -> FloatArray:
        changed = {
            "value": value * weights["value"],
            "key_query": matrices * weights["key_query"],
        }
        return conserved_quantities(MERGED, changed)["value_key_query"]

    return conserved


def _drift_is_first_order(
    predicted: Callable[[Weights], FloatArray], observed: list[tuple[Weights, Weights]]
) -> Evidence:
    before, after = ([predicted(pair[side]) for pair in observed] for side in (0, 1))
    return converges_at_order(RATES, 1, name="η")(before, after)


def _random_flows(task: Task, context: RunContext) -> list[FloatArray]:
    """Losses from random weights of falling scale, over twice the time of the drop."""
    return [
        flow(
            MERGED,
            population_statistics(task, MERGED),
            _start(task, context, w),
            _times(task, w),
        ).loss
        for w in SCALES
    ]


def _start(task: Task, context: RunContext, scale: float) -> dict[str, FloatArray]:
    return initial_weights(MERGED, task, scale, seeds(context.seed)[0], "restricted")


def _times(task: Task, scale: float) -> FloatArray:
    rate = float(np.linalg.norm(population(task, MERGED).B))
    return np.linspace(0, 2 * np.log(1 / scale) / rate, 400)


def _growing_courses(task: Task, context: RunContext, control: str) -> list[FloatArray]:
    courses = []
    for scale in SCALES:
        start = _start(task, context, scale)
        w0 = unstable_mode_amplitude(population(task, MERGED), start)
        if control == VALUE_ALONE:
            w0 = float(np.linalg.norm(start["value"]))
        if control == HALF_DROPPED:
            w0 *= 2
        wrong = with_context(task, 32) if control == LONGER_CONTEXT else task
        courses.append(time_course(wrong, MERGED, _times(task, scale), w0).loss)
    return courses


def _steps_down(context: RunContext) -> list[int]:
    """In how many places the loss falls fastest: maxima of −dL/d(time) above a tenth of the largest."""
    return [_fast_places(run.loss) for run in context.trajectories]


def _fast_places(loss: FloatArray) -> int:
    speed = -np.gradient(loss)
    fast = speed > speed.max() / 10
    return int(np.sum(np.diff(fast.astype(int)) == 1)) + int(fast[0])


def _one_drop(predicted: int, observed: list[int]) -> Evidence:
    agrees = all(count == predicted for count in observed)
    return Evidence(
        agrees,
        f"{min(observed)} to {max(observed)} drops in {len(observed)} runs",
        f"{predicted} drop",
    )


def _growing_claim(
    name: str, task: Task, order: str, scale: Callable[[FloatArray], FloatArray] | None
) -> Claim:
    return Claim(
        id=f"merged.growing_mode_{name}",
        title=f"From small random weights the loss follows the growing mode ({name} Λ)",
        paper="zhang2025",
        equation="time course of merged attention",
        origin="its amplitude from random weights goes beyond",
        statement=r"w_0^2 = \sum_h \tfrac14\,(v_h + \langle U_h, B\rangle/\|B\|_F)^2",
        observable="sup gap of the loss to the flow of all heads, over twice the time of the drop",
        limit=f"initial scale → 0, error O({order})",
        measure=lambda context: _random_flows(task, context),
        assumes=POPULATION_MOMENTS,
        predict=lambda context, control: _growing_courses(task, context, control),
        judge=converges_at_order(SCALES, 1, scale, order),
        controls=(VALUE_ALONE, HALF_DROPPED, LONGER_CONTEXT),
        order=1,
        hypotheses=("restricted block, unlimited data",),
        figure="growing_mode_order",
    )


CLAIMS = (
    Claim(
        id="merged.aligned",
        title="Aligned weights obey D + 1 scalar equations exactly",
        paper="zhang2025",
        equation="reduced dynamics of merged attention",
        statement=r"\dot u_d = s\,(\lambda_d^2 - a_d\lambda_d s u_d),\quad \dot s = \sum_d u_d(\cdots)",
        observable="loss of the full gradient flow",
        limit="none: exact",
        measure=_aligned_flow,
        assumes=POPULATION_MOMENTS,
        predict=_aligned_ode,
        judge=equal_within(1e-9, ALIGNED_TIMES, ("flow time", "loss")),
        controls=MOMENTS,
        hypotheses=("restricted block, unlimited data", "Λ and Ω in one basis"),
        tier="fast",
    ),
    Claim(
        id="merged.balanced",
        title="On white inputs a balanced start follows the closed form exactly",
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
        title="a_h·a_g − ⟨B_h, B_g⟩ is conserved for each pair of heads, up to the step size",
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
        hypotheses=("any data, no weight held",),
        figure="conservation",
        tier="fast",
    ),
    _growing_claim("white", WHITE, "w² ln 1/w", lambda w: w**2 * np.log(1 / w)),
    _growing_claim("general", FOUR, "w", None),
    size_claim("white", WHITE),
    size_claim("general", FOUR),
    Claim(
        id="merged.one_drop",
        title="The loss of merged attention drops once",
        paper="zhang2025",
        equation="abrupt acquisition in merged attention",
        statement=r"\text{one abrupt drop, from } M = 0 \text{ to } M^*",
        observable="places where the loss falls faster than a tenth of its fastest fall",
        limit="initial scale → 0",
        measure=_steps_down,
        predict=lambda context, control: 1 if control == UNMODIFIED else 2,
        judge=_one_drop,
        controls=("two drops",),
        experiments=lambda context: merged(FOUR, context.seed),
        figure="merged_general",
    ),
)
