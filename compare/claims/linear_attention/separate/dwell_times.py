"""Dwell times of separate heads on plateaus, as the initial scale vanishes: three laws.

While heads are small nothing but their scale sets the time: plateaus that a small head ends last ∝ 1/scale. In
τ = ∫ v dt a direction of growth rate b_d grows as exp(b_d τ) and is learned at τ = ln(1/scale)/b_d: a head which is
active already passes from one direction to the next in a time ∝ ln(1/scale), with a slope that follows from the
moments. Where the singular vectors of B are not those of any M_S, a head has a share of order one along its unstable
direction from the beginning, and it leaves after a time of its own that no scale changes.
"""

from typing import NamedTuple

import numpy as np

from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....theory import Population, population
from .....theory.linear_attention.saddle_to_saddle.escapes import escape, separate_block
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Curve, Evidence, Fit, Judge
from ....evidence.judges import curve
from ....exact_statistics import POPULATION_MOMENTS
from ....metrics.curves import crossing_times, observed_order
from ..common.controls import MOMENTS, changed_moments
from .dwell_time_runs import (
    BEFORE,
    RANK_ONE,
    RANK_THREE,
    RANK_TWO,
    REVERSED_GAINS,
    STARTS,
    THREE_GAINS,
    crossings,
    dwell_times,
    rotated,
    start_at,
)

SCALES = (1e-4, 1e-5, 1e-6)
COARSE_SCALES = (3e-3, 1e-3, 3e-4)
WIDE_SCALES = (1e-2, 1e-3, 1e-4, 1e-5)
TOLERANCE = 1e-3
"""Largest relative gap of the growth of a dwell time, from one scale to one ten times smaller, at the smallest."""

POWER = "∝ 1/scale"
LOGARITHM = "∝ ln(1/scale)"
NO_LEAD = "no growth while the head is small"
ONE_VALUE = "the value weight of the first direction throughout"
RATE_ALONE = "growth v b, without what the learned direction takes back"
AT_START = "small heads as they started"
SAME_RESIDUAL = "the residual correlation at M = 0 on every plateau"
EIGENVECTORS = "the head starts on the eigenvectors of Λ"
FIRST_ORDER = "error O(scale)"


SLIGHTLY_ROTATED = rotated(0.1)
FAR_ROTATED = rotated(0.6)


# From direction to direction within a head


def _within(context: RunContext) -> FloatArray:
    """Dwell times of a head of rank three, and of one of rank two where Λ and Ω do not commute, (K, starts, 3)."""
    of_cases = []
    for task, model in ((THREE_GAINS, RANK_THREE), (FAR_ROTATED, RANK_TWO)):
        levels = population(task, model).greedy_losses
        of_cases.append(dwell_times(task, model, levels, context, SCALES))
    return np.concatenate(of_cases, axis=2)


def _within_growth(context: RunContext, control: str) -> FloatArray:
    """By how much each dwell time grows from one scale to the next, (K − 1, 3)."""
    moments = changed_moments(THREE_GAINS, RANK_THREE, control)
    b = moments.b

    # d(t_{m+1} − t_m)/d ln(1/w) = (1/b_{m+1} − 1/b_m) / v_m, with v_m³ = Σ_{d ≤ m} m_d
    lead = np.zeros(2) if control == NO_LEAD else 1 / b[:-1]
    v_cubed = np.cumsum(moments.coefficients)[:-1]
    if control == ONE_VALUE:
        v_cubed = v_cubed[[0, 0]]
    slopes = (1 / b[1:] - lead) / np.cbrt(v_cubed)
    return _growth(np.append(slopes, _non_commuting_slope(control)), control)


def _non_commuting_slope(control: str) -> float:
    """The same slope where Λ and Ω do not commute, in singular values of B and of the residual at M_{1}."""
    moments = changed_moments(FAR_ROTATED, RANK_TWO, control)
    first, second = np.linalg.svd(moments.B, compute_uv=False)
    lead = 0 if control == NO_LEAD else second / first

    M = moments.learned((1,))
    v = np.cbrt(np.linalg.norm(M, 2))
    rate = v * np.linalg.norm(moments.residual_correlation(M), 2)
    return float((1 - lead) / rate)


def _growth(slopes: FloatArray, control: str) -> FloatArray:
    """What slopes per ln(1/scale) make of the steps between scales; `POWER` is another law altogether."""
    law = 1 / np.array(SCALES) if control == POWER else -np.log(SCALES)
    growth: FloatArray = np.multiply.outer(np.diff(law), slopes)
    return growth


# From a direction of large growth rate to one of larger gain


def _rotations(context: RunContext) -> FloatArray:
    """Dwell times near the non-greedy M_{2}, (K, starts, 1)."""
    levels = _passed_levels(population(REVERSED_GAINS, RANK_ONE))
    return dwell_times(REVERSED_GAINS, RANK_ONE, levels, context, SCALES)


def _passed_levels(moments: Population) -> FloatArray:
    """Losses of 0, the non-greedy M_{2} and the greedy M_{1}."""
    first, second = moments.gains
    levels: FloatArray = moments.c - np.array([0.0, second, first])
    return levels


def _rotation_growth(context: RunContext, control: str) -> FloatArray:
    """The rate is the larger eigenvalue of the flow of (k_1, q_1) about a head that has learned direction 2."""
    moments = changed_moments(REVERSED_GAINS, RANK_ONE, control)
    weak, strong = moments.b  # directions are numbered by gain
    v = np.cbrt(moments.coefficients[1])

    # What the learned direction takes back from k_1 and from q_1.
    of_key = moments.a[0] * moments.lam[1] * v**4
    of_query = moments.a[1] * moments.lam[0] * v**4
    if control == RATE_ALONE:
        of_key = of_query = 0.0
    about_M2 = np.array([[-of_key, v * weak], [v * weak, -of_query]])
    rate = np.linalg.eigvalsh(about_M2)[-1]

    lead = 0 if control == NO_LEAD else weak / strong
    return _growth(np.array([(1 - lead) / rate]), control)


def _grows(names: tuple[str, ...]) -> Judge:
    """At the smallest scales every dwell time grows as predicted: the median over the starts within TOLERANCE."""

    def judge(predicted: FloatArray, observed: FloatArray) -> Evidence:
        growth = np.median(np.diff(observed, axis=0), axis=1)[-1]  # (n,)
        largest = float(np.max(np.abs(growth / predicted[-1] - 1)))
        return Evidence(
            agrees=largest <= TOLERANCE,
            observed=f"{_slopes(growth)} per ln(1/scale), off by {largest:.1e}",
            expected=f"{_slopes(predicted[-1])}, within {TOLERANCE:g}",
            residual=largest,
            curves=_growth_curves(names, predicted, observed),
            axes=("ln(1/scale)", "flow time"),
        )

    return judge


def _slopes(growth: FloatArray) -> str:
    """Growth between the smallest scales, per ln(1/scale)."""
    per_logarithm = growth / np.log(SCALES[-2] / SCALES[-1])
    return ", ".join(f"{slope:.4f}" for slope in per_logarithm)


def _growth_curves(
    names: tuple[str, ...], predicted: FloatArray, observed: FloatArray
) -> tuple[Curve, ...]:
    """Dwell times against ln(1/scale), and lines of the predicted slope through the last of them."""
    dwell = np.median(observed, axis=1)  # (K, n)
    to_last = np.cumsum(predicted[::-1], axis=0)[::-1]
    growth_to_last = np.append(to_last, np.zeros((1, len(names))), axis=0)
    lines = dwell[-1] - growth_to_last
    x = -np.log(SCALES)
    return tuple(
        curve(name, lines[:, i], dwell[:, i], x) for i, name in enumerate(names)
    )


# Where the unstable direction is not that of any fixed point


class _Limit(NamedTuple):
    """Dwell time (K,) at each scale as that vanishes, and the order at which it is reached."""

    dwell: FloatArray
    order: float


def _dwell_near_second(context: RunContext) -> FloatArray:
    """Dwell times near M_{2} of one head, (K, starts)."""
    levels = _passed_levels(population(SLIGHTLY_ROTATED, RANK_ONE))
    dwell = dwell_times(SLIGHTLY_ROTATED, RANK_ONE, levels, context, WIDE_SCALES)
    return dwell[:, :, 0]


def _limit(context: RunContext, control: str) -> _Limit:
    """The dwell time in the limit of small scales, and the order 1 − σ₂/σ₁ at which it is reached."""
    moments = changed_moments(SLIGHTLY_ROTATED, RANK_ONE, control)
    left, σ, right = np.linalg.svd(moments.B)
    order = 1 - σ[1] / σ[0]
    key, query = left[:, 0], right[0]
    if control == EIGENVECTORS:
        key = query = np.array([0.0, 1.0])

    dwell = np.full(len(WIDE_SCALES), _dwell_from_escape(moments, key, query))
    if control == LOGARITHM:
        dwell += order * np.log(WIDE_SCALES[0] / np.array(WIDE_SCALES))
    return _Limit(dwell, 1.0 if control == FIRST_ORDER else float(order))


def _dwell_from_escape(moments: Population, k: FloatArray, q: FloatArray) -> float:
    """Time between the exits of one head that starts balanced along these directions."""
    times = np.linspace(0, 100, 20_001)
    start = 0.02 * np.concatenate(([1.0], k, q))
    v, keys, queries = _one_head_path(moments, start, times)
    loss = moments.loss(np.einsum("t,it,jt->tij", v, keys, queries))
    levels = _passed_levels(moments)
    first, second = crossing_times(times, loss, (levels[1:] + levels[:-1]) / 2)
    return float(second - first)


def _one_head_path(
    moments: Population, start: FloatArray, times: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """v (T,), k and q (D, T) of v̇ = kᵀGq, k̇ = v G q, q̇ = v Gᵀk from a state (v, k, q), D = 2."""
    from scipy.integrate import solve_ivp

    def velocity(_: float, state: FloatArray) -> FloatArray:
        v, k, q = state[0], state[1:3], state[3:]
        G = moments.residual_correlation(v * np.outer(k, q))
        return np.concatenate(([k @ G @ q], v * (G @ q), v * (k @ G)))

    path = solve_ivp(
        velocity,
        (0, times[-1]),
        start,
        method="LSODA",
        t_eval=times,
        rtol=1e-10,
        atol=1e-12,
    )
    return path.y[0], path.y[1:3], path.y[3:]


def _settles(predicted: _Limit, observed: FloatArray) -> Evidence:
    """From every start one limit is reached, at the predicted order ± 0.05 and to 1 % at the end."""
    limit, order = predicted
    gaps = np.mean(np.abs(observed / limit[:, None] - 1), axis=1)
    slope = observed_order(WIDE_SCALES, gaps).local_slopes[-1]
    last = observed[-1]
    return Evidence(
        agrees=bool(abs(slope - order) <= 0.05 and gaps[-1] <= 0.01),
        observed=f"{last.min():.3f} to {last.max():.3f} from {len(last)} starts, "
        f"order {slope:.3f}, {100 * gaps[-1]:.2g} % left",
        expected=f"{limit[-1]:.3f} from every start, order {order:.3f} ± 0.05",
        fit=Fit("scale", WIDE_SCALES, tuple(gaps.tolist()), slope, order),
        residual=float(gaps[-1]),
    )


# From head to head


def _escape_plateaus(context: RunContext) -> FloatArray:
    """Dwell times of rank-two heads at 0 and at the first full head, for each scale and start, (K, starts, 2)."""
    seeds = context.seeds(STARTS)
    return np.array(
        [[_two_dwell_times(scale, seed) for seed in seeds] for scale in COARSE_SCALES]
    )


def _two_dwell_times(scale: float, seed: int) -> FloatArray:
    """Times (2,) at 0 and at the first full head, with records dense where the escapes are expected."""
    start = start_at(THREE_GAINS, RANK_TWO, scale, seed)
    first, second = _escapes(start, UNMODIFIED)
    near_first = first + _squeezed(BEFORE * np.linspace(-1, 2, 400), first)
    near_second = first + second * (1 + 0.9 * np.linspace(-1, 1, 1001) ** 3)
    times = np.concatenate([near_first, near_second])

    levels = population(THREE_GAINS, RANK_TWO).greedy_losses
    times = np.unique(times[times > 0])
    exits = crossings(THREE_GAINS, RANK_TWO, start, times, levels)
    return np.array([exits[0], exits[2] - exits[1]])


def _squeezed(distances: FloatArray, first: float) -> FloatArray:
    """Distances from the first escape, shorter where it comes early, so that none begins before 0."""
    return distances * first / (first + BEFORE)


class _Durations(NamedTuple):
    """Of the phases that end at the first and at the second escape of a small head."""

    first: float
    second: float


def _escapes(start: Weights, control: str) -> _Durations:
    """How long the small heads take to escape from M = 0, and those that are left from M_{1, 2}."""
    moments = population(THREE_GAINS, RANK_TWO)
    heads = separate_block(start, RANK_TWO, THREE_GAINS.dimension)
    first = escape(heads, moments.B)

    # The other head has grown meanwhile, and meets what the first one has left of the correlation.
    before = heads if control == AT_START else first.heads
    small = before.chosen(np.arange(2) != first.head)
    G = moments.residual_correlation(moments.learned((1, 2)))
    if control == SAME_RESIDUAL:
        G = moments.B
    return _Durations(first.duration, escape(small, G).duration)


def _escape_phases(context: RunContext, control: str) -> FloatArray:
    """Durations of both phases for each scale and start, (K, starts, 2)."""
    phases = []
    for scale in COARSE_SCALES:
        starts = [
            start_at(THREE_GAINS, RANK_TWO, scale, seed)
            for seed in context.seeds(STARTS)
        ]
        phases.append([_escapes(start, control) for start in starts])
    durations = np.array(phases)
    if control == LOGARITHM:
        growth = np.log(COARSE_SCALES) / np.log(COARSE_SCALES[0])
        durations = np.multiply.outer(growth, durations[0])
    return durations


def _last_exponents(dwell: FloatArray) -> FloatArray:
    """Exponents (2,) of the scale in dwell times (K, starts, 2) between the smallest scales: median of the starts."""
    growth = np.median(np.diff(np.log(dwell), axis=0)[-1], axis=0)
    exponents: FloatArray = growth / np.log(COARSE_SCALES[-1] / COARSE_SCALES[-2])
    return exponents


def _order_of_phases(gaps: FloatArray) -> float:
    """The order of the gaps (K,) in scale · ln(1/scale), between the two smallest scales."""
    orders = observed_order(COARSE_SCALES, gaps, scale=lambda w: w * np.log(1 / w))
    return orders.local_slopes[-1]


def _phases_agree(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Both dwell times are the phases' but for O(scale · ln(1/scale)): the median over the starts within 2 %."""
    errors = np.abs(observed / predicted - 1)  # (K, starts, 2)
    gaps = np.max(np.median(errors, axis=1), axis=1)  # (K,)
    order = _order_of_phases(gaps)

    exponents = _last_exponents(observed)
    powers = bool(np.all(np.abs(exponents + 1) <= 0.05))
    shown = " and ".join(f"scale^{exponent:.3f}" for exponent in exponents)
    return Evidence(
        agrees=bool(order >= 0.7 and gaps[-1] <= 0.02 and powers),
        observed=f"∝ {shown}; gap {gaps[0]:.1e} … {gaps[-1]:.1e}, "
        f"order {order:.2f} in scale · ln(1/scale)",
        expected="scale^-1 twice, within 2 % of the escape times at the smallest scale, falling",
        fit=Fit("scale", COARSE_SCALES, tuple(gaps.tolist()), order, 1.0),
        residual=float(gaps[-1]),
    )


CLAIMS = (
    Claim(
        id="durations.between_heads",
        title="A plateau that a small head ends lasts as long as that head's escape, ∝ 1/scale",
        paper="zhang2025",
        equation="long plateaus of low-rank attention",
        origin="the time goes beyond",
        statement=r"t_{m+1} - t_m = C_m/w\,\bigl(1 + O(w\ln\tfrac1w)\bigr),\ m = 0, R,\quad w = \text{scale}",
        observable="dwell times at 0 and at the first full head of two heads of rank two, D = 3, three starts",
        limit="initial scale → 0, error O(scale · ln(1/scale))",
        order=1,
        measure=_escape_plateaus,
        assumes=POPULATION_MOMENTS,
        predict=_escape_phases,
        judge=_phases_agree,
        controls=(LOGARITHM, AT_START, SAME_RESIDUAL),
        tier="long",
        hypotheses=("P → ∞, taken exactly",),
    ),
    Claim(
        id="durations.within_head",
        title="An active head learns its next direction after a time ∝ ln(1/scale) with a predicted slope",
        paper="zhang2025",
        equation="short plateaus of low-rank attention",
        beyond_paper=True,
        statement=r"\frac{d(t_{m+1} - t_m)}{d\ln(1/w)} \to \frac{1/b_{m+1} - 1/b_m}{(\sum_{d\le m} m_d)^{1/3}}",
        observable="time between exits of a head of rank three, and of rank two where Λ and Ω do not commute",
        limit="initial scale → 0; slopes between 1e-5 and 1e-6 within 0.1 %",
        measure=_within,
        assumes=POPULATION_MOMENTS,
        predict=_within_growth,
        judge=_grows(("m = 1", "m = 2", "m = 1, non-commuting")),
        controls=(NO_LEAD, ONE_VALUE, POWER, *MOMENTS),
        hypotheses=("P → ∞, taken exactly",),
    ),
    Claim(
        id="durations.rotation",
        title="Where growth rates and gains differ in order, a head stays near a non-greedy saddle ∝ ln(1/scale)",
        paper="zhang2025",
        equation="general teacher covariance",
        beyond_paper=True,
        statement=r"\frac{dt}{d\ln(1/w)} \to \frac{1 - b_1/b_2}{\rho}",
        observable="time between the exits towards M_{2} and from there to M_{1}, rank one, three starts",
        limit="initial scale → 0; slope between 1e-5 and 1e-6 within 0.1 %",
        measure=_rotations,
        assumes=POPULATION_MOMENTS,
        predict=_rotation_growth,
        judge=_grows(("at M_{2}",)),
        controls=(NO_LEAD, RATE_ALONE, POWER, *MOMENTS),
        hypotheses=("Λ and Ω commute", "P → ∞, taken exactly"),
    ),
    Claim(
        id="durations.oblique",
        title="Where Λ and Ω do not commute, the dwell time near a non-greedy saddle has a finite limit",
        paper="zhang2025",
        equation="general teacher covariance",
        beyond_paper=True,
        statement=r"t(w) - t_0 = O(w^{1 - \sigma_2/\sigma_1}),\quad \sigma = \text{singular values of } B",
        observable="time between the exits towards M_{2} and from there to M_{1}, rank one, three starts",
        limit="initial scale → 0, error O(scale^(1 − σ₂/σ₁))",
        measure=_dwell_near_second,
        assumes=POPULATION_MOMENTS,
        predict=_limit,
        judge=_settles,
        controls=(LOGARITHM, EIGENVECTORS, FIRST_ORDER, *MOMENTS),
        hypotheses=("Λ and Ω do not commute", "P → ∞, taken exactly"),
    ),
)
