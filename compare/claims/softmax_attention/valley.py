"""The late flow of softmax heads on the approximate loss: valley, tail, equal heads, values that add up to zero."""

from functools import cache

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.softmax_attention import (
    ReducedFlow,
    approximate_loss,
    effective_heads,
    reduced_flow,
    tail_law,
    valley_step,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import converges_at_order, equal_within
from .setting import PUBLISHED, noise_share, white_task

VALLEY_TASK = white_task(50, 400)
VALLEY_TIMES = (1e3, 1e4, 1e5, 1e6)
VALLEY_METRIC = "euclidean"
"""ρ = 1, where the drop is over sooner; the laws of the valley know no ρ."""

STARTS = {
    "1 + 1": [0.01, -0.02],
    "2 + 2": [0.01, 0.02, -0.015, -0.02],
    "3 + 1": [0.01, 0.02, 0.015, -0.02],
}
"""Small ω of heads of either sign, and as many μ."""

TAIL_TIMES = (1e4, 1e5, 1e6, 1e7, 1e8)
SPREAD_TIMES = (1e5, 1e6, 1e7, 1e8)

SUM_HEADS = (2, 4, 8)
SUM_SHIFT = 1e-3
"""What is added to every μ in the valley."""

NO_NOISE = "κ = 1/N, without the noise of the labels"
HALF_OF_ALL = "H/2 for n_eff"
QUARTER = "exponent 1/4 for 1/3"
NO_COSH = "cosh s replaced by 1"
NO_SINH = "sinh s/s left out"
ONE_HEAD_RATE = "κ for Hκ"
TWICE_EXCESS = "κDη²/3 for κDη²/6"


def _flow(
    start: tuple[float, ...], times: tuple[float, ...], metric: str
) -> ReducedFlow:
    """Heads from a small start on the approximate loss, at the published size."""
    ω = np.array(start)
    return reduced_flow(PUBLISHED, ω, 1.1 * ω, times, loss="approximate", metric=metric)


@cache
def _tail(name: str, metric: str) -> ReducedFlow:
    """The flow from one of the starts to late times."""
    return _flow(tuple(STARTS[name]), TAIL_TIMES, metric)


@cache
def _valley() -> ReducedFlow:
    """Two heads of either sign in the valley, D = 50."""
    return reduced_flow(
        VALLEY_TASK,
        [1e-3, -1e-3],
        [1e-3, -1e-3],
        VALLEY_TIMES,
        loss="approximate",
        metric=VALLEY_METRIC,
    )


def _size(flow: ReducedFlow, dimension: int) -> FloatArray:
    """s = Dω² (T,), of the mean |ω| over the heads."""
    return np.asarray(dimension * np.mean(np.abs(flow.omega), axis=1) ** 2)


def _kappa(control: str) -> float:
    """κ of the published task."""
    N = max(PUBLISHED.context_lengths)
    return 1 / N if control == NO_NOISE else noise_share(PUBLISHED)


def _valley_products(context: RunContext) -> list[FloatArray]:
    """η = μᵀω at each time."""
    flow = _valley()
    return [np.array([η]) for η in np.sum(flow.mu * flow.omega, axis=1)]


def _predicted_products(context: RunContext, control: str) -> list[FloatArray]:
    """η = 1/(1 + κD cosh s) for the s at each time."""
    s = _size(_valley(), VALLEY_TASK.dimension)
    noiseless = white_task(50, 400, 0.0)
    variants = {
        UNMODIFIED: (VALLEY_TASK, s),
        NO_COSH: (VALLEY_TASK, np.zeros_like(s)),
        NO_NOISE: (noiseless, s),
    }
    return [np.array([η]) for η in valley_step(*variants[control], loss="approximate")]


def _valley_speeds(context: RunContext) -> list[FloatArray]:
    """m'/(γ s²) at each time, m' the speed of the first μ, which is positive: it tends to a constant."""
    flow = _valley()
    gradient = approximate_loss(
        VALLEY_TASK, flow.omega, flow.mu, gradient=True
    ).gradient
    assert gradient is not None
    speed = -gradient.mu[:, 0] / 2
    s = _size(flow, VALLEY_TASK.dimension)
    return [np.array([value]) for value in speed / (flow.omega[:, 0] * s**2)]


def _predicted_speeds(context: RunContext, control: str) -> list[FloatArray]:
    """The same ratio of m' = γ η κD (cosh s − sinh s/s)."""
    flow = _valley()
    κ, D = noise_share(VALLEY_TASK), VALLEY_TASK.dimension
    if control == NO_NOISE:
        κ = 1 / max(VALLEY_TASK.context_lengths)
    η = np.sum(flow.mu * flow.omega, axis=1)
    s = _size(flow, D)
    shape = np.cosh(s) - 1 if control == NO_SINH else np.cosh(s) - np.sinh(s) / s
    return [np.array([value]) for value in η * κ * D * shape / s**2]


def _effective_number(name: str, control: str) -> float:
    """n_eff = 2 n₊ n₋/(n₊ + n₋) of a start."""
    signs = np.sign(STARTS[name])
    positive, negative = int(np.sum(signs > 0)), int(np.sum(signs < 0))
    if control == HALF_OF_ALL:
        return len(signs) / 2
    return effective_heads(positive, negative)


def _cases() -> list[tuple[str, str]]:
    """Every start in both metrics."""
    return [(name, metric) for name in STARTS for metric in ("matrix", "euclidean")]


def _tail_sizes(context: RunContext) -> list[FloatArray]:
    """s t^(1/3) of every start in both metrics (cases,), at each time."""
    cases = [_size(_tail(*case), PUBLISHED.dimension) for case in _cases()]
    return list(np.array(cases).T * np.array(TAIL_TIMES)[:, None] ** (1 / 3))


def _predicted_sizes(context: RunContext, control: str) -> list[FloatArray]:
    """s t^(1/3) of the same cases at each time by the law of the tail, or by a wrong one."""
    return [
        np.array([_tail_size(name, t, control) for name, _ in _cases()]) * t ** (1 / 3)
        for t in TAIL_TIMES
    ]


def _tail_size(name: str, t: float, control: str) -> float:
    """s at one time."""
    signs = np.sign(STARTS[name])
    positive, negative = int(np.sum(signs > 0)), int(np.sum(signs < 0))
    if control == UNMODIFIED:
        law = tail_law(
            PUBLISHED, t, positive=positive, negative=negative, loss="approximate"
        )
        return float(law)
    product = 4 * _kappa(control) * _effective_number(name, control) * t
    return float(product ** (-1 / 4 if control == QUARTER else -1 / 3))


def _excesses(context: RunContext) -> list[FloatArray]:
    """(L̃ − inf L̃) t^(2/3) of every start in both metrics, at each time."""
    κD = noise_share(PUBLISHED) * PUBLISHED.dimension
    least = 1 + PUBLISHED.noise_variance - 1 / (1 + κD)
    cases = np.array([_tail(*case).loss - least for case in _cases()])
    return list(cases.T * np.array(TAIL_TIMES)[:, None] ** (2 / 3))


def _predicted_excesses(context: RunContext, control: str) -> list[FloatArray]:
    """(κDη*²/6) (4κ n_eff)^(−2/3) of the same cases at each time."""
    κ, D = _kappa(control), PUBLISHED.dimension
    η = 1 / (1 + κ * D)
    curvature = κ * D * η**2 / (3 if control == TWICE_EXCESS else 6)
    excesses = []
    for name, _ in _cases():
        n = _effective_number(name, control)
        excesses.append(curvature * (4 * κ * n) ** (-2 / 3))
    return [np.array(excesses) for _ in TAIL_TIMES]


def _spreads(context: RunContext) -> list[FloatArray]:
    """max |ω| over min |ω| for the starts with more than two heads, at each time."""
    ratios = []
    for name in ("2 + 2", "3 + 1"):
        size = np.abs(_tail(name, "matrix").omega)[1:]
        ratios.append(size.max(axis=1) / size.min(axis=1))
    return list(np.array(ratios).T)


def _no_spread(context: RunContext, control: str) -> list[FloatArray]:
    """One, or heads whose |ω| differ as their values do at the end of the drop."""
    equal = [np.ones(2) for _ in SPREAD_TIMES]
    if control == UNMODIFIED:
        return equal
    size = np.abs(_tail("2 + 2", "matrix").omega)[0]
    return [ones * size.max() / size.min() for ones in equal]


def _sum_rates(context: RunContext) -> list[FloatArray]:
    """Rates at which a sum of μ decays that is put on heads in the valley, for each number of heads."""
    rates = []
    for H in SUM_HEADS:
        signs = np.tile([1.0, -1.0], H // 2)
        start = _flow(tuple(0.02 * signs), (1e8,), "matrix")
        κ = noise_share(PUBLISHED)
        # Between a half and two of the predicted times: later the valley's own motion counts.
        times = np.array([0.5, 2.0]) / (κ * H)
        flow = reduced_flow(
            PUBLISHED,
            start.omega[0],
            start.mu[0] + SUM_SHIFT,
            times,
            loss="approximate",
        )
        sums = np.sum(flow.mu, axis=1)
        rates.append(np.log(sums[0] / sums[1]) / (times[1] - times[0]))
    return [np.array(rates)]


def _predicted_sum_rates(context: RunContext, control: str) -> list[FloatArray]:
    """Hκ."""
    heads = np.ones(len(SUM_HEADS)) if control == ONE_HEAD_RATE else np.array(SUM_HEADS)
    return [_kappa(control) * heads]


_INVERSE_VALLEY = tuple(1 / t for t in VALLEY_TIMES)
_INVERSE_TAIL = tuple(1 / t for t in TAIL_TIMES)
_INVERSE_SPREAD = tuple(1 / t for t in SPREAD_TIMES)

CLAIMS = (
    Claim(
        id="softmax.valley",
        title="After the drop two heads follow the valley η(1 + κD cosh s) = 1, s = Dω², up to O(t^(−4/3))",
        paper="he2025",
        equation="training dynamics of the reduced model",
        origin="the law and its order are derived here",
        statement=r"\eta(1 + \kappa D \cosh s) = 1 + O(t^{-4/3}),\quad s = D\omega^2",
        observable="η = μᵀω of two heads on the approximate loss, D = 50, N = 400, t = 10³ … 10⁶",
        limit="t → ∞ on the approximate loss, error O(t^(−4/3))",
        order=4 / 3,
        hypotheses=("one head of either sign",),
        measure=_valley_products,
        predict=_predicted_products,
        judge=converges_at_order(_INVERSE_VALLEY, 4 / 3, name="1/t"),
        controls=(NO_COSH, NO_NOISE),
        tier="fast",
    ),
    Claim(
        id="softmax.valley_speed",
        title="Along the valley m' = γηκD (cosh s − sinh s/s) up to a relative O(t^(−2/3))",
        paper="he2025",
        equation="training dynamics of the reduced model",
        origin="the law and its order are derived here",
        statement=r"\dot m = \gamma\eta\kappa D\,(\cosh s - \sinh s/s)\,(1 + O(t^{-2/3}))",
        observable="m' over γs² of two heads on the approximate loss, D = 50, N = 400, t = 10³ … 10⁶",
        limit="t → ∞ on the approximate loss, relative error O(t^(−2/3))",
        order=2 / 3,
        hypotheses=("one head of either sign",),
        measure=_valley_speeds,
        predict=_predicted_speeds,
        judge=converges_at_order(_INVERSE_VALLEY, 2 / 3, name="1/t"),
        controls=(NO_SINH, NO_NOISE),
        tier="fast",
    ),
    Claim(
        id="softmax.tail",
        title="Heads of both signs approach ω = 0 as Dω² = (4κ n_eff t)^(−1/3), n_eff = 2n₊n₋/(n₊ + n₋), in any metric",
        paper="he2025",
        equation="training dynamics of the reduced model",
        origin="the law and its order are derived here",
        statement=r"D\omega^2 = (4\kappa n_{\mathrm{eff}} t)^{-1/3}\,(1 + O(t^{-2/3}))",
        observable="mean |ω| of 1 + 1, 2 + 2 and 3 + 1 heads on the approximate loss, ρ = 1/D and 1, t = 10⁴ … 10⁸",
        limit="t → ∞ on the approximate loss, relative error O(t^(−2/3))",
        order=2 / 3,
        hypotheses=("heads of both signs",),
        measure=_tail_sizes,
        predict=_predicted_sizes,
        judge=converges_at_order(_INVERSE_TAIL, 2 / 3, name="1/t"),
        controls=(HALF_OF_ALL, QUARTER, NO_NOISE),
        tier="fast",
    ),
    Claim(
        id="softmax.tail_excess",
        title="The loss of heads of both signs falls to its infimum as (κDη²/6) (4κ n_eff t)^(−2/3)",
        paper="he2025",
        equation="training dynamics of the reduced model",
        origin="the law and its order are derived here",
        statement=r"\tilde L - \inf\tilde L = \tfrac16 \kappa D \eta_*^2 (4\kappa n_{\mathrm{eff}} t)^{-2/3},\quad "
        r"\eta_* = 1/(1 + \kappa D)",
        observable="excess of the approximate loss of 1 + 1, 2 + 2 and 3 + 1 heads, ρ = 1/D and 1, t = 10⁴ … 10⁸",
        limit="t → ∞ on the approximate loss, relative error O(t^(−2/3))",
        order=2 / 3,
        hypotheses=("heads of both signs",),
        measure=_excesses,
        predict=_predicted_excesses,
        judge=converges_at_order(_INVERSE_TAIL, 2 / 3, name="1/t"),
        controls=(TWICE_EXCESS, HALF_OF_ALL, NO_NOISE),
        tier="fast",
    ),
    Claim(
        id="softmax.homogeneity",
        title="All active heads end with one |ω|: their ratio tends to 1 as t^(−5/6)",
        paper="he2025",
        equation="homogeneous key-query matrices",
        origin="the order is found here",
        statement=r"\max_h|\omega_h| / \min_h|\omega_h| = 1 + O(t^{-5/6})",
        observable="largest over smallest |ω| of 2 + 2 and 3 + 1 heads on the approximate loss, t = 10⁵ … 10⁸",
        limit="t → ∞ on the approximate loss, error O(t^(−5/6))",
        order=5 / 6,
        hypotheses=("heads of both signs, all of them past the drop",),
        measure=_spreads,
        predict=_no_spread,
        judge=converges_at_order(_INVERSE_SPREAD, 5 / 6, name="1/t"),
        controls=("the ratio that is left at t = 10⁴",),
        tier="fast",
    ),
    Claim(
        id="softmax.zero_sum",
        title="In the valley the sum of all μ decays at the rate Hκ",
        paper="he2025",
        equation="zero-sum output-value rows",
        origin="the rate is derived here",
        statement=r"\textstyle\sum_h \mu_h \propto e^{-H\kappa t}",
        observable="decay of Σμ that is put on 2, 4 and 8 heads late in the valley of the approximate loss",
        limit="ω → 0: at t = 10⁸ ω changes the rate by less than 1e-5",
        hypotheses=("as many heads of either sign",),
        measure=_sum_rates,
        predict=_predicted_sum_rates,
        judge=equal_within(1e-5),
        controls=(ONE_HEAD_RATE, NO_NOISE),
        tier="fast",
    ),
)
