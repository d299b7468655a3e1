"""The late flow of softmax heads on the exact loss, where the tail of the approximate loss has an end."""

from collections.abc import Callable
from functools import cache

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.softmax_attention import (
    HeadLoss,
    approximate_loss,
    best_exact_values,
    exact_loss,
    exact_optimum,
    leading_optimum,
    leading_tail_end,
    single_head_optimum,
    tail_law,
    valley_step,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import converges_at_order, equal_within
from .setting import EXACT_LOSSES, OTHER_UNITS, PUBLISHED, exact_flow, white_task

START = (np.array([0.1, -0.12]), np.array([0.1, -0.08]))
END = 1e8
"""Flow time: more than a hundred times that at which the tail ends."""

VALLEY_TASK = white_task(3, 40)
VALLEY_START = (np.array([0.5, -0.5]), np.array([0.95, -0.95]))
"""Two heads near the valley: those of a small start would overshoot by more the larger ρ is."""
VALLEY_TIME = 20.0
METRICS = (1.0, 4.0, 16.0)
"""ρ: how much faster ω moves than μ."""

REST_SIZES = (0.3, 0.8)
"""s of heads in the valley."""
REST_STEP = 1e-3
"""Of ω_1, as a share: its square is what the difference is off by."""
LENGTHS = (80, 160, 320)
SMALL_START = (np.array([0.1, -0.1]), np.array([0.1, -0.1]))
LONG_AFTER = 60.0
"""In units of the time at which the tail ends: after it heads are at rest."""

NO_END = "the tail of the approximate loss goes on"
LEADING = "the optimum to leading order in 1/N"
SINGLE = "|ω| of a single head"
APPROXIMATE_VALLEY = "the valley of the approximate loss"
BEST_VALUES = "μ at rest for its ω, instead of ω for its μ"
ONE_OF_PAIR = "λγm, the step of one head"
MANY_DIMENSIONS = "κ of the tail on the approximate loss, which is that for D → ∞"
CROSSING = "1/(4κ s*³), when the tail without an end passes s*"


def _late_scores(context: RunContext) -> list[FloatArray]:
    """ω (2,) of two heads late in the flow on the exact loss."""
    return [exact_flow(PUBLISHED, START, [END]).omega[0]]


def _predicted_scores(context: RunContext, control: str) -> list[FloatArray]:
    """±γ of the best pair, or what a wrong statement has."""
    if control == NO_END:
        γ = float(
            np.sqrt(tail_law(PUBLISHED, END, loss="approximate") / PUBLISHED.dimension)
        )
    elif control == LEADING:
        γ = float(leading_optimum(PUBLISHED).gamma)
    elif control == SINGLE:
        γ = abs(float(single_head_optimum(PUBLISHED).omega[0]))
    else:
        γ = abs(float(exact_optimum(PUBLISHED, 2).omega[0]))
    return [γ * np.sign(START[0])]


def _steps_in_valley(context: RunContext) -> list[FloatArray]:
    """η = μᵀω of two heads on the exact loss, for each ρ."""
    return [np.array([η]) for _, η in _valley_points()]


@cache
def _valley_points() -> tuple[tuple[FloatArray, float], ...]:
    """ω (2,) and η of the flow with each ρ."""
    points = []
    for ρ in METRICS:
        flow = exact_flow(VALLEY_TASK, VALLEY_START, [VALLEY_TIME], metric=ρ)
        points.append((flow.omega[0], float(flow.omega[0] @ flow.mu[0])))
    return tuple(points)


def _predicted_steps(context: RunContext, control: str) -> list[FloatArray]:
    """The η at which ω is at rest for the s of the flow, or what a wrong statement has."""
    return [np.array([_valley_step(ω, control)]) for ω, _ in _valley_points()]


def _valley_step(ω: FloatArray, control: str) -> float:
    """η for one ω (2,)."""
    if control == BEST_VALUES:
        return float(ω @ best_exact_values(VALLEY_TASK, ω).mu)
    s = VALLEY_TASK.dimension * ω[0] ** 2
    loss = "approximate" if control == APPROXIMATE_VALLEY else "exact"
    return float(valley_step(VALLEY_TASK, s, loss=loss))


def _steps_at_rest(context: RunContext) -> list[FloatArray]:
    """η (S,) at which the loss of heads ±(γ, m) does not change with ω_1, for either loss."""
    return [
        np.array([_step_at_rest(loss, s) for s in REST_SIZES])
        for loss in (exact_loss, approximate_loss)
    ]


def _step_at_rest(loss: Callable[..., HeadLoss], s: float) -> float:
    """η where a central difference of the loss by ω_1 changes sign, which it does once above η = 0."""
    from scipy.optimize import brentq

    λ = float(np.mean(OTHER_UNITS.eigenvalues))
    γ = np.sqrt(s / OTHER_UNITS.dimension) / λ
    ω = γ * np.array([[1 + REST_STEP, -1.0], [1 - REST_STEP, -1.0]])  # (2, H)

    def difference(η: float) -> float:
        m = η / (2 * λ * γ)
        μ = m * np.array([[1.0, -1.0], [1.0, -1.0]])
        above, below = loss(OTHER_UNITS, ω, μ).loss
        return float(above - below)

    return float(brentq(difference, 0.4, 1.2, xtol=1e-8))


def _predicted_steps_at_rest(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the theory's valley, or by a wrong one."""
    of_exact = valley_step(OTHER_UNITS, REST_SIZES)
    of_approximate = valley_step(OTHER_UNITS, REST_SIZES, loss="approximate")
    if control == APPROXIMATE_VALLEY:
        return [of_approximate, of_approximate]
    if control == ONE_OF_PAIR:
        return [of_exact / 2, of_approximate / 2]
    return [of_exact, of_approximate]


def _end_times(context: RunContext) -> list[FloatArray]:
    """When s is last off its end by a tenth of itself, over N⁴, for each context length."""
    times = []
    for N in LENGTHS:
        task = white_task(3, N)
        late = LONG_AFTER * leading_tail_end(task).time
        end_time = exact_flow(task, SMALL_START, [late]).phases.end_time
        assert end_time is not None
        times.append(np.array([end_time / N**4]))
    return times


def _predicted_end_times(context: RunContext, control: str) -> list[FloatArray]:
    """f(10/9)/Γ over N⁴ with Γ = (4κ/3) s*³ to leading order in 1/N, or a wrong one."""
    times = []
    for N in LENGTHS:
        task = white_task(3, N)
        time = leading_tail_end(task).time
        D, σ2 = task.dimension, task.noise_variance
        of_dimension = (D + 2) * (D + 4) * (D * (1 + σ2) + 3) / (D**3 * (1 + σ2))
        factor = {
            UNMODIFIED: 1.0,
            MANY_DIMENSIONS: of_dimension,
            CROSSING: 1 / 3,
        }[control]
        times.append(np.array([factor * time / N**4]))
    return times


CLAIMS = (
    Claim(
        id="softmax.exact_valley",
        title="On the exact loss, too, the valley is where ω is at rest for its μ, up to O(1/ρ)",
        paper="he2025",
        beyond_paper=True,
        equation="training dynamics of two heads",
        origin="the law is derived here; on the approximate loss it is η(1 + κD cosh s) = 1",
        statement=r"\partial L/\partial\omega_h = O(1/\rho)\ \text{at}\ \pm(\gamma, m)",
        observable="η = μᵀω of two heads at flow time 20 on the exact loss, D = 3, N = 40, ρ = 1, 4, 16",
        limit="ρ → ∞, where ω follows μ at once",
        order=1.0,
        hypotheses=("one head of either sign", "the query's own token is no key"),
        measure=_steps_in_valley,
        predict=_predicted_steps,
        judge=converges_at_order([1 / ρ for ρ in METRICS], 1.0, name="1/ρ"),
        controls=(APPROXIMATE_VALLEY, BEST_VALUES),
        assumes=EXACT_LOSSES,
        tier="standard",
    ),
    Claim(
        id="softmax.valley_rest",
        title="In the valley the loss does not change with one ω alone, in any units of x and y",
        paper="he2025",
        beyond_paper=True,
        equation="training dynamics of two heads",
        origin="η of the valley is derived here",
        statement=r"\partial L/\partial\omega_1 = 0\ \text{at}\ \pm(\gamma, m),\quad \eta = 2\lambda\gamma m,\quad "
        r"\tilde\eta = 1/(1 + \kappa D\cosh s)",
        observable="root of a difference of the exact and of the approximate loss, s = 0.3 and 0.8, D = 3, N = 20, "
        "with other variances of x and y than 1, a quarter of the contexts empty",
        limit="none: at each s",
        hypotheses=("one head of either sign", "the query's own token is no key"),
        measure=_steps_at_rest,
        predict=_predicted_steps_at_rest,
        judge=equal_within(1e-5),
        controls=(APPROXIMATE_VALLEY, ONE_OF_PAIR),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    Claim(
        id="softmax.tail_end_time",
        title="The tail of two heads on the exact loss ends after 1/Γ, Γ = (4κ/3) s*³, with a κ of its own at finite D",
        paper="he2025",
        beyond_paper=True,
        equation="training dynamics of two heads",
        origin="derived here, from s' = −(4κ/3) s³(s − s*)",
        statement=r"t_{\mathrm{end}} = \tfrac{3f(10/9)}{4\kappa s_*^3},\quad "
        r"\kappa = \tfrac{1+\sigma^2}{N}\,\tfrac{(D+2)(D+4)(D(1+\sigma^2)+3)}{D^3(1+\sigma^2)},\quad "
        r"f(x) = -\ln(1 - 1/x) - 1/x - 1/(2x^2)",
        observable="time at which s = Dω² is last off its end by a tenth of itself, D = 3, N = 80, 160, 320, over N⁴",
        limit="N → ∞ at fixed D",
        order=1.0,
        hypotheses=("one head of either sign",),
        measure=_end_times,
        predict=_predicted_end_times,
        judge=converges_at_order([1 / N for N in LENGTHS], 1.0, name="1/N"),
        controls=(MANY_DIMENSIONS, CROSSING),
        assumes=EXACT_LOSSES,
        tier="long",
    ),
    Claim(
        id="softmax.tail_end",
        title="On the exact loss the tail of two heads ends: they come to rest at the finite optimum ±γ",
        paper="he2025",
        beyond_paper=True,
        equation="training dynamics of two heads",
        origin="that the optimum is finite is found here: the approximate loss has none",
        statement=r"\omega_h(t) \to \pm\gamma_*,\quad t \gg 1/\Gamma",
        observable="ω of two heads at flow time 10⁸ on the exact loss, D = 5, N = 40",
        limit="t → ∞",
        hypotheses=("one head of either sign",),
        measure=_late_scores,
        predict=_predicted_scores,
        judge=equal_within(1e-5),
        controls=(NO_END, LEADING, SINGLE),
        assumes=EXACT_LOSSES,
        tier="standard",
    ),
)
