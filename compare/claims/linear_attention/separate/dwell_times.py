"""How long separate heads stay at what they have learned, as the initial scale vanishes: three laws.

While heads are idle nothing but their scale sets the time: plateaus that an idle head ends last ∝ 1/scale. In
τ = ∫ v dt a direction of drive b_d grows as exp(b_d τ) and is learned at τ = ln(1/scale)/b_d: a head which is
active already passes from one direction to the next in a time ∝ ln(1/scale), with a slope that follows from the
moments. Where the singular vectors of B are not those of any M_S, a head has a part of order one along its way out
from the beginning, and what it visits has a duration of its own that no scale changes.
"""

import numpy as np

from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....theory import Population, population
from .....theory.linear_attention.saddle_to_saddle.escapes import escape, separate_block
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence, Fit, Judge
from ....evidence.judges import curve
from ....exact_statistics import POPULATION_MOMENTS
from ....metrics.curves import crossing_times, observed_order
from ..common.controls import MOMENTS, wrong_moments
from .dwell_time_runs import (
    BEFORE,
    RANK_ONE,
    RANK_THREE,
    RANK_TWO,
    STARTS,
    THREE,
    TURNED,
    crossings,
    rotated,
    start_at,
    stays,
)

SCALES = (1e-4, 1e-5, 1e-6)
COARSE = (3e-3, 1e-3, 3e-4)
LARGE = (1e-2, 1e-3, 1e-4, 1e-5)
TOLERANCE = 1e-3
"""Largest relative gap of the growth of a duration, from one scale to one ten times smaller, at the smallest."""

POWER = "∝ 1/scale"
LOGARITHM = "∝ ln(1/scale)"
NO_LEAD = "no growth while the head is idle"
ONE_VALUE = "the value weight of the first direction throughout"
DRIVE_ALONE = "growth v b, without what the learned direction takes back"
AT_START = "idle heads as they started"
SAME_FORCE = "the force of M = 0 on every plateau"
EIGENVECTORS = "the head starts on the eigenvectors of Λ"
FIRST_ORDER = "error O(scale)"


OBLIQUE, FAR = rotated(0.1), rotated(0.6)


# From direction to direction within a head


def _within(context: RunContext) -> FloatArray:
    """Stays of a head of rank three, and of one of rank two where Λ and Ω do not commute."""
    cases = ((THREE, RANK_THREE), (FAR, RANK_TWO))
    return np.concatenate(
        [
            stays(*case, population(*case).greedy_losses, context, SCALES)
            for case in cases
        ],
        axis=2,
    )


def _within_growth(context: RunContext, control: str) -> FloatArray:
    """By how much each stay grows from one scale to the next, (K − 1, 3)."""
    moments = wrong_moments(
        THREE, RANK_THREE, control if control in MOMENTS else UNMODIFIED
    )
    lead = 0 if control == NO_LEAD else 1 / moments.b[:-1]
    learned = np.cumsum(moments.coefficients)[:-1]
    values = np.cbrt(learned[0] if control == ONE_VALUE else learned)
    slopes = np.append((1 / moments.b[1:] - lead) / values, _oblique_slope(control))
    return _growth(slopes, control)


def _oblique_slope(control: str) -> float:
    moments = wrong_moments(
        FAR, RANK_TWO, control if control in MOMENTS else UNMODIFIED
    )
    first, second = np.linalg.svd(moments.B, compute_uv=False)
    lead = 0 if control == NO_LEAD else second / first
    learned = moments.learned((1,))
    rate = np.cbrt(np.linalg.norm(learned, 2)) * np.linalg.norm(
        moments.force(learned), 2
    )
    return float((1 - lead) / rate)


def _growth(slopes: FloatArray, control: str) -> FloatArray:
    """What slopes per ln(1/scale) make of the steps between scales; `POWER` is another law altogether."""
    law = 1 / np.array(SCALES) if control == POWER else -np.log(SCALES)
    return np.asarray(np.multiply.outer(np.diff(law), slopes))


# From a direction of large drive to one of larger gain


def _rotations(context: RunContext) -> FloatArray:
    moments = population(TURNED, RANK_ONE)
    return stays(TURNED, RANK_ONE, _visited(moments), context, SCALES)


def _visited(moments: Population) -> FloatArray:
    """Losses of 0, the non-greedy M_{2} and the greedy M_{1}."""
    return np.asarray(moments.c - np.array([0.0, moments.gains[1], moments.gains[0]]))


def _rotation_growth(context: RunContext, control: str) -> FloatArray:
    """The rate is the larger eigenvalue of the flow of (k_1, q_1) about a head that holds direction 2."""
    moments = wrong_moments(
        TURNED, RANK_ONE, control if control in MOMENTS else UNMODIFIED
    )
    (strong, weak), held = moments.b[[1, 0]], np.cbrt(moments.coefficients[1])
    back = moments.a[[0, 1]] * moments.lam[[1, 0]] * held**4
    if control == DRIVE_ALONE:
        back = np.zeros(2)
    rate = np.linalg.eigvalsh(
        np.array([[-back[0], held * weak], [held * weak, -back[1]]])
    )[-1]
    lead = 0 if control == NO_LEAD else weak / strong
    return _growth(np.array([(1 - lead) / rate]), control)


def _grows(names: tuple[str, ...]) -> Judge:
    """At the smallest scales every stay grows as predicted: the median over the starts within TOLERANCE."""

    def judge(predicted: FloatArray, observed: FloatArray) -> Evidence:
        found = np.median(np.diff(observed, axis=0), axis=1)
        gaps = np.abs(found[-1] / predicted[-1] - 1)
        last = np.median(observed, axis=1)
        lines = last[-1] - np.append(
            np.cumsum(predicted[::-1], axis=0)[::-1], np.zeros((1, len(names))), axis=0
        )
        x = -np.log(SCALES)
        per = np.log(SCALES[-2] / SCALES[-1])
        return Evidence(
            bool(np.all(gaps <= TOLERANCE)),
            f"{', '.join(f'{each:.4f}' for each in found[-1] / per)} per ln(1/scale), off by {np.max(gaps):.1e}",
            f"{', '.join(f'{each:.4f}' for each in predicted[-1] / per)}, within {TOLERANCE:g}",
            residual=float(np.max(gaps)),
            curves=tuple(
                curve(name, lines[:, i], last[:, i], x) for i, name in enumerate(names)
            ),
            axes=("ln(1/scale)", "flow time"),
        )

    return judge


# Where the way out is oblique


def _visits(context: RunContext) -> FloatArray:
    """Stays near M_{2} of one head, (K, starts)."""
    return stays(
        OBLIQUE, RANK_ONE, _visited(population(OBLIQUE, RANK_ONE)), context, LARGE
    )[:, :, 0]


def _limit(context: RunContext, control: str) -> tuple[FloatArray, float]:
    """The stay in the limit of small scales, (K,), and the order at which it is reached."""
    moments = wrong_moments(
        OBLIQUE, RANK_ONE, control if control in MOMENTS else UNMODIFIED
    )
    left, drives, right = np.linalg.svd(moments.B)
    order = 1 - drives[1] / drives[0]
    if control == EIGENVECTORS:
        left, right = np.eye(2)[::-1], np.eye(2)[::-1]
    stay = _escaping_stay(moments, left[:, 0], right[0])
    steps = (
        order * np.log(LARGE[0] / np.array(LARGE))
        if control == LOGARITHM
        else np.zeros(len(LARGE))
    )
    return stay + steps, float(1.0 if control == FIRST_ORDER else order)


def _escaping_stay(moments: Population, k: FloatArray, q: FloatArray) -> float:
    """Time between the exits of one head that starts balanced along these directions."""
    from scipy.integrate import solve_ivp

    def velocity(_: float, x: FloatArray) -> FloatArray:
        v, k, q = x[0], x[1:3], x[3:]
        force = moments.force(v * np.outer(k, q))
        return np.concatenate(([k @ force @ q], v * (force @ q), v * (k @ force)))

    begin, times = 0.02 * np.concatenate(([1.0], k, q)), np.linspace(0, 100, 20_001)
    x = solve_ivp(
        velocity, (0, 100), begin, method="LSODA", t_eval=times, rtol=1e-10, atol=1e-12
    ).y
    loss = moments.loss(np.einsum("t,it,jt->tij", x[0], x[1:3], x[3:]))
    levels = _visited(moments)
    return float(
        np.diff(crossing_times(times, loss, (levels[1:] + levels[:-1]) / 2))[0]
    )


def _settles(predicted: tuple[FloatArray, float], observed: FloatArray) -> Evidence:
    """From every start one limit is reached, at the predicted order ± 0.05 and to 1 % at the end."""
    limit, order = predicted
    gaps = np.mean(np.abs(observed / limit[:, None] - 1), axis=1)
    slope = observed_order(LARGE, gaps).local_slopes[-1]
    stays = f"{observed[-1].min():.3f} to {observed[-1].max():.3f}"
    return Evidence(
        bool(abs(slope - order) <= 0.05 and gaps[-1] <= 0.01),
        f"{stays} from {observed.shape[1]} starts, order {slope:.3f}, {100 * gaps[-1]:.2g} % left",
        f"{limit[-1]:.3f} from every start, order {order:.3f} ± 0.05",
        Fit("scale", LARGE, tuple(gaps.tolist()), slope, order),
        residual=float(gaps[-1]),
    )


# From head to head


def _waits(context: RunContext) -> FloatArray:
    """How long rank-two heads wait at 0 and at the first full head, for each scale and start, (K, starts, 2)."""
    levels = population(THREE, RANK_TWO).greedy_losses

    def one(scale: float, seed: int) -> FloatArray:
        start = start_at(THREE, RANK_TWO, scale, seed)
        first, second = _escapes(start, UNMODIFIED)
        near, far = (
            BEFORE * np.linspace(-1, 2, 400),
            0.9 * np.linspace(-1, 1, 1001) ** 3,
        )
        times = np.concatenate(
            [first + near * first / (first + BEFORE), first + second * (1 + far)]
        )
        exits = crossings(THREE, RANK_TWO, start, np.unique(times[times > 0]), levels)
        return np.array([exits[0], exits[2] - exits[1]])

    return np.array(
        [[one(scale, seed) for seed in context.seeds(STARTS)] for scale in COARSE]
    )


def _escapes(start: Weights, control: str) -> tuple[float, float]:
    """Durations of the idle phases that end at the first and at the second escape."""
    moments = population(THREE, RANK_TWO)
    heads = separate_block(start, RANK_TWO, THREE.dimension)
    first = escape(heads, moments.B)
    idle = (heads if control == AT_START else first.heads).chosen(
        np.arange(2) != first.head
    )
    force = (
        moments.B if control == SAME_FORCE else moments.force(moments.learned((1, 2)))
    )
    return first.duration, escape(idle, force).duration


def _idle_phases(context: RunContext, control: str) -> FloatArray:
    found = np.array(
        [
            [
                _escapes(start_at(THREE, RANK_TWO, w, seed), control)
                for seed in context.seeds(STARTS)
            ]
            for w in COARSE
        ]
    )
    if control == LOGARITHM:
        return np.asarray(
            np.multiply.outer(np.log(COARSE) / np.log(COARSE[0]), found[0])
        )
    return found


def _waits_agree(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Both waits are the idle phases' but for O(scale · ln(1/scale)): the median over the starts within 2 %."""
    gaps = np.max(np.median(np.abs(observed / predicted - 1), axis=1), axis=1)
    exponents = np.median(np.diff(np.log(observed), axis=0)[-1], axis=0) / np.log(
        COARSE[-1] / COARSE[-2]
    )
    order = observed_order(
        COARSE, gaps, scale=lambda w: w * np.log(1 / w)
    ).local_slopes[-1]
    shown = " and ".join(f"scale^{each:.3f}" for each in exponents)
    return Evidence(
        bool(
            order >= 0.7 and gaps[-1] <= 0.02 and np.all(np.abs(exponents + 1) <= 0.05)
        ),
        f"∝ {shown}; gap {gaps[0]:.1e} … {gaps[-1]:.1e}, order {order:.2f} in scale · ln(1/scale)",
        "scale^-1 twice, within 2 % of the idle phases at the smallest scale, falling",
        Fit("scale", COARSE, tuple(gaps.tolist()), order, 1.0),
        residual=float(gaps[-1]),
    )


CLAIMS = (
    Claim(
        id="durations.between_heads",
        title="Plateaus that an idle head ends last ∝ 1/scale, as long as its idle phase does",
        paper="zhang2025",
        equation="long plateaus of low-rank attention",
        origin="the time goes beyond",
        statement=r"t_{m+1} - t_m = C_m/w\,\bigl(1 + O(w\ln\tfrac1w)\bigr),\ m = 0, R,\quad w = \text{scale}",
        observable="waits at 0 and at the first full head of two heads of rank two, D = 3, three starts",
        limit="initial scale → 0, error O(scale · ln(1/scale))",
        order=1,
        measure=_waits,
        assumes=POPULATION_MOMENTS,
        predict=_idle_phases,
        judge=_waits_agree,
        controls=(LOGARITHM, AT_START, SAME_FORCE),
        tier="long",
        hypotheses=("P → ∞, taken exactly",),
    ),
    Claim(
        id="durations.within_head",
        title="An active head passes to its next direction in a time ∝ ln(1/scale), with a slope from the moments",
        paper="zhang2025",
        equation="short plateaus of low-rank attention",
        beyond_paper=True,
        statement=r"\frac{d(t_{m+1} - t_m)}{d\ln(1/w)} \to \frac{1/b_{m+1} - 1/b_m}{(\sum_{d\le m} m_d)^{1/3}}",
        observable="time between exits of a head of rank three, and of rank two where Λ and Ω do not commute",
        limit="initial scale → 0; slopes between 1e-5 and 1e-6 within 0.1 %",
        measure=_within,
        assumes=POPULATION_MOMENTS,
        predict=_within_growth,
        judge=_grows(("m = 1", "m = 2", "m = 1, oblique")),
        controls=(NO_LEAD, ONE_VALUE, POWER, *MOMENTS),
        hypotheses=("P → ∞, taken exactly",),
    ),
    Claim(
        id="durations.rotation",
        title="Where Ω reverses the order of drives and gains, a head stays at a non-greedy point ∝ ln(1/scale)",
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
        controls=(NO_LEAD, DRIVE_ALONE, POWER, *MOMENTS),
        hypotheses=("Λ and Ω commute", "P → ∞, taken exactly"),
    ),
    Claim(
        id="durations.oblique",
        title="Where Λ and Ω do not commute, a visit to a non-greedy point has a length that no scale changes",
        paper="zhang2025",
        equation="general teacher covariance",
        beyond_paper=True,
        statement=r"t(w) - t_0 = O(w^{1 - \sigma_2/\sigma_1}),\quad \sigma = \text{singular values of } B",
        observable="time between the exits towards M_{2} and from there to M_{1}, rank one, three starts",
        limit="initial scale → 0, error O(scale^(1 − σ₂/σ₁))",
        measure=_visits,
        assumes=POPULATION_MOMENTS,
        predict=_limit,
        judge=_settles,
        controls=(LOGARITHM, EIGENVECTORS, FIRST_ORDER, *MOMENTS),
        hypotheses=("Λ and Ω do not commute", "P → ∞, taken exactly"),
    ),
)
