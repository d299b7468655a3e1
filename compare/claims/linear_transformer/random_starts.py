"""Random starts: entries off the modes, and the order in which modes are learned."""

from functools import cache

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import flow
from ....task import Task
from ....teachers import Pool
from ....theory.linear_transformer import (
    half_times,
    layer_loss,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import equal_within
from ...evidence.seed_judges import sign_counts_agree
from ...exact_statistics import population_statistics
from .setting import LOSS, head_weights, mode_task, one_head

INPUTS, LENGTH = (1.0, 0.7, 0.4), 20

ALIGNMENT_SIZE = 0.1
"""Of random entries of p and q."""
ALIGNMENT_TIMES = np.linspace(0.0, 100.0, 21)
"""Flow times through all three drops."""
ROUNDING = 1e-9
"""Of weights along an integrated flow."""

LISTED = 6
"""Teachers of a list, few enough that their sample moments are far from those of the law."""
TINY = 1e-6
"""Of p and q that still grow as from zero."""
GROWTH_TIMES = np.array([0.0, 2.0])
RATE_BOUND = 1e-6
"""The weights end below 1e-4, and the nonlinear part is of the order of their square."""

SWAP_INPUTS = (1.0, 0.8)
SWAP_SIZE = 0.01
SWAP_STARTS = 6_000
SWAP_STEP = 0.4
"""Flow time of a step of Runge and Kutta's method: half-times are off by .01, which swaps 3 starts of 6,000."""
SWAP_TIME = 12.0
"""Until one mode of every start but 1 of 20,000 is half learned."""

A_LIST = "a finite list of teachers"
OWN_RATES = "s² for s_i s_j"
NO_SIGN = "each teacher as likely as W with all signs"
TWO_NUMBERS = "χ² of two numbers, p + q and p − q"
BY_INPUT = "rates s for s²"
MEAN_OF_ONE = "the logarithm of the mean for the mean of ln χ²"
OTHER_ORDER = "the order exchanged"


def _random_layer(context: RunContext) -> FloatArray:
    """p and q (2, D, D) of size 1."""
    generator = np.random.default_rng(context.seeds(1)[0])
    return generator.normal(size=(2, len(INPUTS), len(INPUTS)))


def _list_of_teachers(context: RunContext) -> Task:
    """A few diagonal teachers, each with its negative."""
    generator = np.random.default_rng(context.seeds(2)[1])
    diagonals = generator.normal(size=(LISTED, len(INPUTS)))
    teachers = [np.diag(diagonal) for diagonal in diagonals]
    return Task(
        list(INPUTS), teachers=Pool(teachers, signs=True), context_length=LENGTH
    )


def _blocks(
    task: Task, p: FloatArray, q: FloatArray, times: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """p and q (T, D, D) along gradient flow of all weights on unlimited prompts."""
    model, D = one_head(task), task.dimension
    moments = population_statistics(task, model)
    run = flow(model, moments, head_weights(task, p, q), times)
    return run.weights["value"][:, 0, :, D:], run.weights["key_query"][:, 0, :D, :D]


# Entries off the modes


def _growth_off_modes(context: RunContext) -> dict[str, float]:
    """By what factor an entry off the modes grows at most between two times, on unlimited and on few teachers."""
    p, q = ALIGNMENT_SIZE * _random_layer(context)
    tasks = {
        UNMODIFIED: mode_task(INPUTS, LENGTH),
        A_LIST: _list_of_teachers(context),
    }
    return {
        name: _largest_growth(*_blocks(task, p, q, ALIGNMENT_TIMES))
        for name, task in tasks.items()
    }


def _largest_growth(p: FloatArray, q: FloatArray) -> float:
    off = ~np.eye(len(INPUTS), dtype=bool)
    entries = np.abs(np.concatenate([p[:, off], q[:, off]], axis=1))  # (T, entries)
    # Entries that have shrunk to rounding of the others tell nothing.
    floor = ROUNDING * ALIGNMENT_SIZE
    return float(np.max((entries[1:] + floor) / (entries[:-1] + floor)))


def _only_shrink(variant: str, growth: dict[str, float]) -> Evidence:
    largest = growth[variant]
    return Evidence(
        agrees=largest <= 1 + ROUNDING,
        observed=f"the largest factor between two times is {largest:.3g}",
        expected="at most 1",
    )


def _measured_rates(context: RunContext) -> list[FloatArray]:
    """At which rate p_ij ± q_ji (D, D) grows from small weights on a list of teachers, the sign as it grows."""
    task = _list_of_teachers(context)
    p0, q0 = TINY * _random_layer(context)
    p, q = _blocks(task, p0, q0, GROWTH_TIMES)
    sign = np.sign(_sample_moments(task))
    grown = p + sign * np.swapaxes(q, 1, 2)
    return [np.log(grown[1] / grown[0]) / GROWTH_TIMES[1]]


def _sample_moments(task: Task) -> FloatArray:
    """The mean of l_i l_j (D, D) over the listed teachers W = diag(l)."""
    assert isinstance(task.teachers, Pool)
    diagonals = np.einsum("kii->ki", task.teachers.teachers)
    return np.asarray(diagonals.T @ diagonals / len(diagonals))


def _stated_rates(context: RunContext, control: str) -> list[FloatArray]:
    """|mean l_i l_j| s_i s_j, or a wrong one."""
    moments = np.abs(_sample_moments(_list_of_teachers(context)))
    s = np.array(INPUTS)
    if control == OWN_RATES:
        return [moments * s**2]
    if control == NO_SIGN:
        moments = np.diag(np.diag(moments))
    return [moments * np.outer(s, s)]


# The order of two modes


def _swaps(context: RunContext) -> FloatArray:
    """1 for each random start (S,) from which the slower mode is half learned first, −1 for others."""
    generator = np.random.default_rng(context.seeds(1)[0])
    count = context.repeat_factor * SWAP_STARTS
    x = SWAP_SIZE * generator.normal(size=(2, count, len(SWAP_INPUTS)))
    half = 0.5 / np.array(SWAP_INPUTS)
    times = np.full((count, len(SWAP_INPUTS)), np.inf)
    before = x[0] * x[1]
    for step in range(round(SWAP_TIME / SWAP_STEP)):
        x = _runge_kutta(x)
        after = x[0] * x[1]
        crosses = (before < half) & (after >= half)
        # Half is reached between two steps, at an even speed.
        part = (half - before) / np.where(crosses, after - before, 1.0)
        times = np.where(crosses, SWAP_STEP * (step + part), times)
        before = after
    return np.where(times[:, 1] < times[:, 0], 1.0, -1.0)


def _runge_kutta(x: FloatArray) -> FloatArray:
    """The diagonals p and q (2, S, D) one step later."""
    first = _velocity(x)
    second = _velocity(x + SWAP_STEP / 2 * first)
    third = _velocity(x + SWAP_STEP / 2 * second)
    fourth = _velocity(x + SWAP_STEP * third)
    return x + SWAP_STEP / 6 * (first + 2 * second + 2 * third + fourth)


def _velocity(x: FloatArray) -> FloatArray:
    """−½ the gradient of the exact loss (2, S, D) at diagonal p and q."""
    D = x.shape[2]
    p, q = x[..., None] * np.eye(D)
    slopes = layer_loss(_swap_task(), p, q, gradient=True)
    diagonals = [np.einsum("sii->si", each) for each in (slopes.by_p, slopes.by_q)]
    return -0.5 * np.stack(diagonals)


@cache
def _swap_task() -> Task:
    """Two modes of like rates, in contexts so long that they do not couple."""
    return mode_task(SWAP_INPUTS, 10**9)


def _stated_probability(context: RunContext, control: str) -> float:
    """P[the slower mode is first], or a wrong one."""
    if control == BY_INPUT:
        # A task with s² for its variances would have these rates.
        roots = np.sqrt(SWAP_INPUTS)
        law = half_times(mode_task(roots, 10**9), SWAP_SIZE)
    else:
        law = half_times(_swap_task(), SWAP_SIZE)
    if control == TWO_NUMBERS:
        return _probability_of_two(law.rates, law.constants)
    return float(law.swap_probability[0, 1])


def _probability_of_two(rates: FloatArray, constants: FloatArray) -> float:
    """P[the slower mode is first] if χ² were twice an exponential number."""
    from scipy.integrate import quad

    ratio = rates[1] / rates[0]
    C = constants - np.log(2)
    factor = np.exp(C[1] - ratio * C[0])
    # The slower mode is first where its number is above factor · E^ratio.
    value, _ = quad(lambda E: np.exp(-factor * E**ratio - E), 0, np.inf)
    return float(value)


# The law of half-times

LAW_INPUTS, LAW_TEACHERS = (1.3, 0.7), (0.5, 1.6)
LAW_LENGTH, LAW_NOISE = 20, 0.2
LAW_SIZE = 1e-4
"""Of random starts, whose square is what the law leaves out."""
LAW_BOUND = 1e-6
LOGARITHMS = np.linspace(-36.0, 2.5, 7_701)
"""ln|z|: a normal z is outside with probability 1e-15. The sums over swaps converge with the square of the step."""


def _law_task() -> Task:
    return mode_task(LAW_INPUTS, LAW_LENGTH, LAW_TEACHERS, noise=LAW_NOISE)


def _in_order_of_modes() -> list[int]:
    """The inputs by decreasing ωs."""
    return list(np.argsort(-np.array(LAW_INPUTS) * LAW_TEACHERS))


def _logistic_half_times(z: FloatArray) -> FloatArray:
    """When the logistic curve of each mode is at half its end (Z, 2), where p = q = w z/√2 at the start."""
    order, N = _in_order_of_modes(), LAW_LENGTH
    s, ω = np.array(LAW_INPUTS)[order], np.array(LAW_TEACHERS)[order]
    last = N / ((N + 1) * s + np.sum(ω * s + LAW_NOISE) / ω)
    first = LAW_SIZE**2 * z[:, None] ** 2 / 2
    return np.asarray(np.log(last / first - 1) / (2 * ω * s**2))


def _averaged(context: RunContext) -> list[FloatArray]:
    """Mean, spread and order of logistic half-times over the normal numbers z, by sums over ln|z|."""
    from scipy.special import erfc

    z = np.exp(LOGARITHMS)
    density = np.sqrt(2 / np.pi) * z * np.exp(-(z**2) / 2)
    weights = density * (LOGARITHMS[1] - LOGARITHMS[0])  # (Z,)
    times = _logistic_half_times(z)
    mean = weights @ times
    spread = np.sqrt(weights @ (times - mean) ** 2)
    swaps = np.empty((2, 2))
    for i, j in np.ndindex(2, 2):
        # Larger |z| are earlier: mode j is before mode i where its |z| is above that of the same time.
        same = np.interp(-times[:, i], -times[:, j], LOGARITHMS)
        swaps[i, j] = weights @ erfc(np.exp(same) / np.sqrt(2))
    return [mean, spread, swaps]


def _stated_law(context: RunContext, control: str) -> list[FloatArray]:
    """The law of half-times, or a wrong one."""
    law = half_times(_law_task(), LAW_SIZE)
    if control == TWO_NUMBERS:
        mean = (law.constants + np.euler_gamma - np.log(2)) / (2 * law.rates)
        return [mean, np.pi / np.sqrt(6) / (2 * law.rates), law.swap_probability]
    if control == MEAN_OF_ONE:
        return [law.constants / (2 * law.rates), law.spread, law.swap_probability]
    if control == OTHER_ORDER:
        return [law.mean, law.spread, law.swap_probability.T]
    return [law.mean, law.spread, law.swap_probability]


CLAIMS = (
    Claim(
        id="modes.alignment",
        title="Entries of p and q off the modes only shrink in the population flow",
        paper="mainali2025",
        beyond_paper=True,
        equation="alignment",
        origin="the paper starts with diagonal p and q; derived here",
        statement=r"\dot p_{ij} = -\omega_j (E_Q)_{jj}\, p_{ij},\quad \dot q_{ij} = -s_j (E_P)_{ii}\, q_{ij},\quad "
        r"i \ne j",
        observable="largest growth of an entry off the modes along gradient flow from random p and q",
        limit="none",
        hypotheses=("shared basis", "unlimited teachers", "null blocks 0"),
        measure=_growth_off_modes,
        predict=lambda context, control: control,
        judge=_only_shrink,
        controls=(A_LIST,),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.alignment_of_lists",
        title="With a finite list of teachers a pair (p_ij, q_ji) off the modes grows, by what their eigenvalues share",
        paper="mainali2025",
        beyond_paper=True,
        equation="alignment",
        origin="derived here",
        statement=r"p_{ij} \pm q_{ji} \propto e^{|\hat\Lambda_{ij}| s_i s_j t},\quad \hat\Lambda_{ij} = \frac1P "
        r"\sum_\mu \lambda^\mu_i \lambda^\mu_j",
        observable="growth rates of all pairs along gradient flow from small random p and q, six teachers",
        limit="small weights",
        hypotheses=("diagonal teachers, each with its negative", "null blocks 0"),
        measure=_measured_rates,
        predict=_stated_rates,
        judge=equal_within(RATE_BOUND),
        controls=(OWN_RATES, NO_SIGN),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.swap",
        title="From random starts two modes of like rates are learned in the other order with a known probability",
        paper="mainali2025",
        beyond_paper=True,
        equation="staged learning",
        origin="derived here",
        statement=r"P\left[\frac{C_2 - \ln\chi^2}{s_2^2} < \frac{C_1 - \ln\chi'^2}{s_1^2}\right],\quad C = "
        r"\ln\frac{2a_\infty}{w^2}",
        observable=f"how many of {SWAP_STARTS:,} random starts half learn the slower of two modes first",
        limit="w → 0, at N → ∞",
        hypotheses=("shared basis", "N so large that modes do not couple"),
        measure=_swaps,
        predict=_stated_probability,
        judge=sign_counts_agree,
        controls=(TWO_NUMBERS, BY_INPUT),
        assumes=LOSS,
    ),
    Claim(
        id="modes.half_time_law",
        title="Half-times from random starts have a known mean and spread, and two modes a known order",
        paper="mainali2025",
        beyond_paper=True,
        equation="staged learning",
        origin="derived here",
        statement=r"E\,t = \frac{C + \gamma + \ln 2}{2\alpha},\quad \sqrt{\mathrm{Var}\,t} = "
        r"\frac{\pi}{\sqrt 8\, \alpha},\quad C = \ln\frac{2a_\infty}{w^2},\ \alpha = \omega s^2",
        observable="half-times of logistic curves averaged over a normal start, two noisy modes",
        limit="size of the start → 0, error O(w²)",
        hypotheses=("shared basis", "each mode alone"),
        measure=_averaged,
        predict=_stated_law,
        judge=equal_within(LAW_BOUND),
        controls=(TWO_NUMBERS, MEAN_OF_ONE, OTHER_ORDER),
        tier="fast",
    ),
)
