"""Several tasks on the approximate loss: how many heads reach the infimum, and what fewer heads lose.

Losses are minimised here over the diagonals w_h of the heads, with the values m_t of each task eliminated:
L̃_t = 1 + σ² − aᵀ(W_S W_Sᵀ/p + κE)⁻¹a with a = Σ_S w/p and E_hk = exp(w_h·w_k).
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....teachers import Gaussian
from ....theory.softmax_attention.several_tasks import (
    SeveralTasksOptimum,
    best_maps,
    disjoint_infimum,
    head_loads,
    heads_needed,
    infimum,
    least_several_tasks_loss,
    one_head_per_task_loss,
    several_tasks_loss,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import equal_within
from .setting import NOISE

MULTITASK = "several tasks"

STARTS = 2
"""Descents from random starts: each of them ended at the same loss wherever they were compared."""

REACHED = 1e-4
"""Above the infimum by this share counts as at it: descents end within 1e-5, as they go ever slower; fewer heads miss
it by 5e-2 or more."""


class _Family(NamedTuple):
    """Supports of tasks among D coordinates, and the context length."""

    dimension: int
    supports: tuple[tuple[int, ...], ...]
    context_length: int

    @property
    def masks(self) -> FloatArray:
        """(T, D), 1 on the support of each task."""
        masks = np.zeros((len(self.supports), self.dimension))
        for mask, support in zip(masks, self.supports, strict=True):
            mask[list(support)] = 1.0
        return masks

    @property
    def task(self) -> Task:
        """The task with an output for each of them."""
        teachers = Gaussian.on_supports(self.dimension, self.supports)
        return Task(
            [1.0] * self.dimension,
            teachers=teachers,
            noise_variance=NOISE,
            context_length=self.context_length,
        )


TWO = _Family(4, ((0, 1), (2, 3)), 16)
THREE = _Family(6, ((0, 1), (2, 3), (4, 5)), 24)
OVERLAPPING = _Family(6, ((0, 1, 2, 3), (2, 3, 4, 5)), 48)
DEPENDENT = _Family(4, ((0, 1), (2, 3), (0, 1, 2, 3)), 16)
"""The third support is the sum of the others: T = 3 tasks of rank 2."""

DISJOINT, FAMILIES = (TWO, THREE), (TWO, THREE, OVERLAPPING, DEPENDENT)
MOST_HEADS = 4

RANK_PLUS_ONE = "rank of the supports + 1"
AS_MANY, TWICE = "H = T", "H = 2T + 1"
PER_HEAD = "T/H for T/(H − 1)"
WITHOUT_E = "e missing for one head"
ONE_SIGN = "one head per task"
CLEAN_CONTEXT = "κ without σ²"


@cache  # the claims look at the same minima
def _least_loss(family: _Family, heads: int, seed: int) -> float:
    """The least mean L̃ at which descents from random starts end."""
    from scipy.optimize import minimize

    generator = np.random.default_rng([seed, heads])
    D = family.dimension
    losses = []
    for _ in range(STARTS):
        start = 0.5 * generator.standard_normal(heads * D)
        found = minimize(
            _mean_loss,
            start,
            args=(family, heads),
            jac=True,
            method="L-BFGS-B",
            # e^{w·w} stays a number during a line search.
            bounds=[(-3.0, 3.0)] * (heads * D),
            options={"gtol": 1e-8, "ftol": 1e-13, "maxfun": 400},
        )
        losses.append(float(found.fun))
    return min(losses)


def _mean_loss(
    flat: FloatArray, family: _Family, heads: int
) -> tuple[float, FloatArray]:
    """Mean L̃ at the best values, and its gradient by w, in which these may be kept fixed."""
    w = flat.reshape(heads, family.dimension)
    E = np.exp(w @ w.T)
    κ = (1 + NOISE) / family.context_length
    losses, gradient = [], np.zeros_like(w)
    for mask in family.masks:
        p = np.sum(mask)
        signal = w @ mask / p
        form = (w * mask) @ w.T / p + κ * E
        m = np.linalg.lstsq(form, signal, rcond=None)[0]
        losses.append(1 + NOISE - 2 * float(m @ signal) + float(m @ form @ m))
        missed = mask * (m @ w - 1)
        gradient += 2 * np.outer(m, missed) / p + 2 * κ * (np.outer(m, m) * E) @ w
    return float(np.mean(losses)), gradient.ravel() / len(losses)


# Disjoint tasks


def _least_disjoint(context: RunContext) -> list[FloatArray]:
    """Least mean L̃ (4,) with one to four heads, for two and three disjoint tasks."""
    seed = context.seeds(1)[0]
    return [
        np.array([_least_loss(family, heads, seed) for heads in _head_counts()])
        for family in DISJOINT
    ]


def _head_counts() -> range:
    return range(1, MOST_HEADS + 1)


def _stated_disjoint(context: RunContext, control: str) -> list[FloatArray]:
    """1 + σ² − 1/(1 + f κp) with f = eT, then T/(H − 1) down to 1, for each family."""
    curves = []
    for family in DISJOINT:
        task, T = family.task, len(family.supports)
        losses = [disjoint_infimum(task, heads) for heads in _head_counts()]
        noise = 1 / (1 + NOISE - infimum(task)) - 1  # κp
        if control == PER_HEAD:
            factors = [max(1.0, T / heads) for heads in _head_counts()]
            losses[1:] = [1 + NOISE - 1 / (1 + f * noise) for f in factors[1:]]
        if control == WITHOUT_E:
            losses[0] = 1 + NOISE - 1 / (1 + T * noise)
        if control == ONE_SIGN:
            losses[T - 1] = one_head_per_task_loss(task)
        curves.append(np.array(losses))
    return curves


# How many heads are needed


def _measured_thresholds(context: RunContext) -> list[int]:
    """The least number of heads whose least loss is the infimum over all numbers, for each family."""
    seed = context.seeds(1)[0]
    thresholds = []
    for family in FAMILIES:
        losses = [_least_loss(family, heads, seed) for heads in _head_counts()]
        floor = losses[-1]
        reached = [loss <= floor * (1 + REACHED) for loss in losses]
        thresholds.append(1 + reached.index(True))
    return thresholds


def _stated_thresholds(context: RunContext, control: str) -> list[int]:
    """One more than there are tasks; one more than the rank of their supports; as many as tasks."""
    thresholds = []
    for family in FAMILIES:
        T = len(family.supports)
        stated = {UNMODIFIED: T + 1, AS_MANY: T, TWICE: 2 * T + 1}
        # Supports are told by what is not 0, of any size.
        sizes = 10.0 ** -(8 * np.arange(T))
        rank_plus_one = heads_needed(family.masks * sizes[:, None])
        thresholds.append(stated.get(control, rank_plus_one))
    return thresholds


def _equal_numbers(predicted: list[int], observed: list[int]) -> Evidence:
    """Every family needs the predicted number of heads."""
    return Evidence(
        predicted == observed,
        f"{', '.join(map(str, observed))} heads for two, three, overlapping and dependent tasks",
        ", ".join(map(str, predicted)),
    )


def _infima(context: RunContext) -> list[FloatArray]:
    """Least mean L̃ (1,) with enough heads, for each family."""
    seed = context.seeds(1)[0]
    return [np.array([_least_loss(family, 4, seed)]) for family in FAMILIES]


def _stated_infima(context: RunContext, control: str) -> list[FloatArray]:
    """The mean of 1 + σ² − 1/(1 + κp_t) over tasks."""
    infima = []
    for family in FAMILIES:
        loss = infimum(family.task)
        if control == "κD for κp":
            κ = (1 + NOISE) / family.context_length
            loss = 1 + NOISE - 1 / (1 + κ * family.dimension)
        infima.append(np.array([loss]))
    return infima


# The loss itself, and what its minimiser looks like

UNEQUAL = Task(
    [2.0, 1.0, 0.5],
    teachers=Gaussian.on_supports(3, ((0, 1), (1, 2)), variance=0.4),
    noise_variance=0.3,
    context_length=12,
)
"""Coordinates of different variances, and two tasks that share one of them."""


def _written_out(context: RunContext) -> list[FloatArray]:
    """Losses (2,) and loads (4,) of random heads as the definition says, and the maps (2·3,) of least loss."""
    generator = np.random.default_rng(context.seeds(1)[0])
    w, m = _random_heads(generator)
    λ = np.diag(UNEQUAL.covariance)
    E = np.exp((w * λ**2) @ w.T)
    losses, loads, maps = [], [], []
    for t, support in enumerate(((0, 1), (1, 2))):
        Ω = np.zeros(3)
        Ω[list(support)] = 0.4
        variance = float(Ω @ λ)
        κ = (variance + UNEQUAL.noise_variance) / 12
        M = m[:, t] @ w
        missed = float(Ω * λ @ (1 - λ * M) ** 2)
        noise = κ * float(m[:, t] @ E @ m[:, t])
        losses.append(UNEQUAL.noise_variance + missed + noise)
        loads += list(m[:, t] * (w @ (Ω * λ**2)) / variance)
        # The least of Ωλ(1 − λM)² + κ(λM)² in every direction.
        maps += list(Ω * λ / (Ω * λ + κ) / λ)
    return [np.array(losses), np.array(loads), np.array(maps)]


def _random_heads(generator: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Diagonals w (2, 3) and values m (2, 2)."""
    w = 0.5 * generator.standard_normal((2, 3))
    return w, generator.standard_normal((2, 2))


def _stated_loss(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's losses, loads and maps; κ without σ², values exchanged, or every variance 1."""
    generator = np.random.default_rng(context.seeds(1)[0])
    w, m = _random_heads(generator)
    task = UNEQUAL
    if control == "values of the tasks exchanged":
        m = m[:, ::-1]
    if control == "every coordinate of variance 1":
        task = Task(**task.arguments() | {"eigenvalues": [1.0, 1.0, 1.0]})
    losses = several_tasks_loss(task, w, m).by_task
    if control == "κ without σ²":
        clean = Task(**task.arguments() | {"noise_variance": 0.0})
        losses = several_tasks_loss(clean, w, m).by_task + task.noise_variance
    return [losses, head_loads(task, w, m).ravel(), best_maps(task).ravel()]


# Closed forms in other units

SCALED = Task(
    [2.0] * 4,
    teachers=Gaussian.on_supports(4, ((0, 1), (2, 3)), variance=0.4),
    noise_variance=0.3,
    query_noise_variance=0.1,
    context_length=12,
)
"""Coordinates of variance λ = 2, labels of variance v = 1.6 of p = 2 coordinates each, T = 2 tasks."""
LABELS, SCALED_NOISE, SCALED_ZERO = 1.6, 1.9 / 12, 1.7
"""v, κ and the loss of no prediction."""


def _minimised_in_units(context: RunContext) -> list[FloatArray]:
    """Least losses (1,) of a task for one head on all coordinates, for one on its own, and for two and three heads."""
    pair_of_small, enough = _small_heads_loss(4), _small_heads_loss(2)
    losses = (_one_head_loss(4), _one_head_loss(2), pair_of_small, enough, enough)
    return [np.array([loss]) for loss in losses]


def _one_head_loss(coordinates: int) -> float:
    """The least of L(0) − 2vη + vη² + κm²e^{d(λω)²} with η = λmω, for a head ω on d coordinates: m is eliminated."""
    from scipy.optimize import minimize_scalar

    def loss(ω: float) -> float:
        noise = SCALED_NOISE * np.exp(coordinates * (2 * ω) ** 2)
        signal = 2 * ω
        gain = (LABELS * signal) ** 2 / (LABELS * signal**2 + noise)
        return float(SCALED_ZERO - gain)

    found = minimize_scalar(loss, bounds=(0.05, 1.0), options={"xatol": 1e-9})
    return float(found.fun)


def _small_heads_loss(coordinates: int) -> float:
    """The least of L(0) − 2vη + vη² + κd η²: the noise of maps η on d coordinates by small heads of zero sum."""
    return SCALED_ZERO - LABELS**2 / (LABELS + SCALED_NOISE * coordinates)


def _stated_in_units(context: RunContext, control: str) -> list[FloatArray]:
    """The closed forms, or those of another noise or other heads."""
    task = SCALED
    if control == CLEAN_CONTEXT:
        changed = {"noise_variance": 0.0, "query_noise_variance": 0.1}
        task = Task(**task.arguments() | changed)
    losses = [
        disjoint_infimum(task, 1),
        one_head_per_task_loss(task),
        disjoint_infimum(task, 2),
        disjoint_infimum(task, 3),
        infimum(task),
    ]
    if control == ONE_SIGN:
        losses[2] = losses[1]
    return [np.array([loss]) for loss in losses]


def _least_overlapping(context: RunContext) -> list[FloatArray]:
    """Least mean L̃ (2,) of the overlapping tasks with one and with two heads."""
    seed = context.seeds(1)[0]
    return [np.array([_least_loss(OVERLAPPING, heads, seed) for heads in (1, 2)])]


def _searched_overlapping(context: RunContext, control: str) -> list[FloatArray]:
    """Where the theory's search ends."""
    losses = [_searched_loss(heads) for heads in (1, 2)]
    return [np.array(losses[::-1] if control else losses)]


@cache
def _searched_loss(heads: int) -> float:
    return least_several_tasks_loss(OVERLAPPING.task, heads, restarts=1).loss


def _heads_that_lose_least(context: RunContext) -> list[FloatArray]:
    """Sum (3,), Gram matrix (4, 4), that of a simplex, and loss of four heads, and the sum of two; one more than zeros.

    In units of x: |w_h|² = ε²(H − 1)/H and w_h·w_k = −ε²/H, where differences of heads span R = H − 1 directions. The
    loss is that of heads so small, where e^{w·w} counts, for the maps of the infimum.
    """
    H, λ = 4, np.diag(UNEQUAL.covariance)
    gram = (np.eye(H) - 1 / H).ravel()
    losses = []
    for support in ((0, 1), (1, 2)):
        Ω = np.zeros(3)
        Ω[list(support)] = 0.4
        variance = float(Ω @ λ)
        κ = (variance + UNEQUAL.noise_variance) / 12
        M = Ω * λ / (Ω * λ + κ)
        losses.append(UNEQUAL.query_noise_variance + float(Ω * λ @ (1 - M)))
    return [np.ones(3), 1 + gram, np.array([np.mean(losses)]), np.ones(3)]


def _heads_of_the_search(context: RunContext, control: str) -> list[FloatArray]:
    """The same numbers of the heads that the theory's search returns, and the loss that they have."""
    found = _searched_heads(4)
    w = found.omega if control == "in units of ω" else found.omega * [2.0, 1.0, 0.5]
    mu = found.mu[:, ::-1] if control == EXCHANGED else found.mu
    total = np.sum(w, axis=0) / SMALL_SIZE
    loss = several_tasks_loss(UNEQUAL, found.omega, mu).loss
    gram = (w @ w.T).ravel() / SMALL_SIZE**2
    pair = np.sum(_searched_heads(2).omega, axis=0) / SMALL_SIZE
    return [1 + total, 1 + gram, np.array([loss]), 1 + pair]


@cache
def _searched_heads(heads: int) -> SeveralTasksOptimum:
    return least_several_tasks_loss(UNEQUAL, heads, restarts=1)


SMALL_SIZE = 3e-4
"""Of the heads that the search returns, as its description says."""
EXCHANGED = "values of the tasks exchanged"


# Superposition

SUPERPOSITION_HEADS = (3, 4, 5, 6)
UP_TO_TWICE, BEYOND_TWICE = "falling up to H = 2T", "falling up to H = 2T + 1"


def _losses_around_twice(context: RunContext) -> list[FloatArray]:
    """Least mean L̃ (4,) of two disjoint tasks with 3, 4, 5 and 6 heads: below, at and above 2T."""
    seed = context.seeds(1)[0]
    return [np.array([_least_loss(TWO, heads, seed) for heads in SUPERPOSITION_HEADS])]


def _stated_around_twice(context: RunContext, control: str) -> list[FloatArray]:
    """The same from T + 1 heads on; or a loss that falls up to 2T, or 2T + 1, as if heads could not be shared."""
    κp = 2 * (1 + NOISE) / TWO.context_length
    enough = {UP_TO_TWICE: 4, BEYOND_TWICE: 5}.get(control, 3)
    losses = []
    for heads in SUPERPOSITION_HEADS:
        loss = disjoint_infimum(TWO.task, heads)
        if control:
            loss = 1 + NOISE - 1 / (1 + max(1.0, enough / heads) * κp)
        losses.append(loss)
    return [np.array(losses)]


CLAIMS = (
    Claim(
        id="softmax.tasks_heads",
        title="Small heads of zero sum whose differences span all directions reach the infimum of several tasks",
        paper="he2025",
        equation=MULTITASK,
        beyond_paper=True,
        statement=r"\textstyle\sum_h w_h = 0,\quad w_h \cdot w_k = \epsilon^2(\delta_{hk} - 1/H)",
        observable="sum, Gram matrix and loss of four heads, and the sum of two, in three directions of unequal "
        "variances, two tasks; the infimum from its maps",
        limit="w → 0",
        measure=_heads_that_lose_least,
        predict=_heads_of_the_search,
        judge=equal_within(1e-6),
        controls=("in units of ω", EXCHANGED),
        tier="fast",
    ),
    Claim(
        id="softmax.tasks_disjoint",
        title="On T disjoint tasks 2 ≤ H ≤ T + 1 heads lose what T/(H − 1) times the noise loses",
        paper="he2025",
        equation=MULTITASK,
        beyond_paper=True,
        statement=r"\inf \tilde L = 1 + \sigma^2 - \frac{1}{1 + \kappa p\,T/(H - 1)}",
        observable="least of two descents on L̃ over all diagonals, T = 2, 3, p = 2, H = 1 … 4",
        limit="w → 0",
        measure=_least_disjoint,
        predict=_stated_disjoint,
        judge=equal_within(REACHED),
        controls=(PER_HEAD, WITHOUT_E, ONE_SIGN),
    ),
    Claim(
        id="softmax.tasks_infimum",
        title="With enough heads every task has the loss that it would have alone",
        paper="he2025",
        equation=MULTITASK,
        statement=r"\inf \tilde L = \frac1T \sum_t \Big(1 + \sigma^2 - \frac{1}{1 + \kappa p_t}\Big)",
        observable="least of two descents on L̃ over all diagonals, four heads; four families of supports",
        limit="w → 0",
        measure=_infima,
        predict=_stated_infima,
        judge=equal_within(REACHED),
        controls=("κD for κp",),
    ),
    Claim(
        id="softmax.tasks_threshold",
        title="T tasks do not always need T + 1 heads, but the rank of their supports plus one",
        paper="he2025",
        equation=MULTITASK,
        statement=r"H_{\min} = \mathrm{rank}(\mathrm{supports}) + 1",
        observable="fewest heads that reach the least loss: supports {1,2}, {3,4}, {1,2,3,4} need three, not four",
        limit="w → 0",
        measure=_measured_thresholds,
        predict=_stated_thresholds,
        judge=_equal_numbers,
        expected_level="refuted",
        controls=(AS_MANY, TWICE),
        corrected=(RANK_PLUS_ONE,),
    ),
    Claim(
        id="softmax.superposition",
        title="From H = T + 1 on heads that share tasks lose nothing: the least loss does not change at H = 2T",
        paper="he2025",
        equation="superposition",
        statement=r"\inf \tilde L(H) = \inf \tilde L(T + 1)\quad (H \ge T + 1)",
        observable="least of two descents on L̃ over all diagonals, T = 2, H = 3 … 6",
        limit="w → 0",
        measure=_losses_around_twice,
        predict=_stated_around_twice,
        judge=equal_within(REACHED),
        controls=(UP_TO_TWICE, BEYOND_TWICE),
        tier="fast",
    ),
    Claim(
        id="softmax.tasks_loss",
        title="Losses and loads of several tasks follow from the definition for any variances of x and w",
        paper="he2025",
        equation=MULTITASK,
        statement=r"\tilde L_t = \sigma^2 + \sum_d \Omega_{td}\lambda_d(1 - \lambda_d M_{td})^2 "
        r"+ \kappa_t m_t^\top E m_t",
        observable="the definition written out for two random heads, three unequal coordinates and two tasks",
        limit="none: exact",
        measure=_written_out,
        predict=_stated_loss,
        judge=equal_within(1e-12),
        controls=(
            "κ without σ²",
            "values of the tasks exchanged",
            "every coordinate of variance 1",
        ),
        tier="fast",
    ),
    Claim(
        id="softmax.tasks_units",
        title="The closed forms for disjoint tasks hold for any variances of x and y, and noise of the query",
        paper="he2025",
        equation=MULTITASK,
        beyond_paper=True,
        statement=r"L(0) - \frac{v}{1 + f\kappa p/v},\quad f = eT,\ e,\ T/(H - 1),\ 1",
        observable="losses of one head on all coordinates and on those of a task, minimised over ω, and of small heads "
        "of zero sum; λ = 2, v = 1.6, T = 2",
        limit="ω → 0 for two heads and more",
        measure=_minimised_in_units,
        predict=_stated_in_units,
        judge=equal_within(1e-9),
        controls=(CLEAN_CONTEXT, ONE_SIGN),
        tier="fast",
    ),
    Claim(
        id="softmax.tasks_search",
        title="With too few heads for overlapping tasks every search ends at the same loss",
        paper="he2025",
        equation=MULTITASK,
        beyond_paper=True,
        statement=r"\min \tilde L(H),\quad H \le \mathrm{rank}",
        observable="least of two descents on L̃ over all diagonals, supports {1–4} and {3–6}, H = 1, 2",
        limit="none: exact",
        measure=_least_overlapping,
        predict=_searched_overlapping,
        judge=equal_within(REACHED),
        controls=("numbers of heads exchanged",),
        tier="fast",
    ),
)
