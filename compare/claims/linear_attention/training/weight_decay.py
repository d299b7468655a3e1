"""L2 weight decay in descent: where it rests, what dies, and what no longer is conserved."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .....models.attention import Merged, Separate
from .....models.effective_map import effective_map
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import (
    GradientDescent,
    Trajectory,
    initial_weights,
    sample,
    statistics,
    train,
)
from .....task import Task
from .....theory import population, time_course
from .....theory.linear_attention import (
    conserved_quantities,
    head_roots,
    merged_map,
)
from .....theory.linear_attention.enumeration import FixedPoint, fixed_points
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import converges_at_order, equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ..common.controls import MOMENTS, changed_moments
from ..common.experiments import FOUR

SEPARATE = Separate(heads=4)
MERGED = Merged(heads=3)

DECAYS = (0.005, 0.01, 0.02, 0.04)
"""The third and fourth are more than the fourth and third direction bear."""

OBLIQUE = Task(
    eigenvalues=[1.0, 0.5],
    teacher_covariance=[[1.0, 0.4], [0.4, 0.7]],
    context_length=10,
)
"""Λ and Ω do not commute."""

TWICE = "wd for wd/2"
NO_DECAY = "no decay"
SMALLER_ROOT = "the smaller root"
WITHOUT_NORM = "wd/2 M for wd/2 M/|M|"
SATURATION_DROPPED = "b v = wd/2"


def _decayed_run(
    task: Task,
    model: Merged | Separate,
    start: Weights,
    optimizer: GradientDescent,
    steps: int,
) -> Trajectory:
    """Descent with decay on unlimited data, of which only the end is stored."""
    source = population_statistics(task, model)
    return train(model, source, start, optimizer=optimizer, steps=steps, record=steps)


def _stated_decay(decay: float, control: str) -> float:
    """The decay with which a variant of the theory is evaluated."""
    return {TWICE: 2 * decay, NO_DECAY: 0.0}.get(control, decay)


# Where separate heads rest


def _observed_levels(context: RunContext) -> list[FloatArray]:
    """e_dᵀ M e_d (4,) at the end of descent from four aligned heads, for each decay."""
    start = initial_weights(SEPARATE, FOUR, np.full(4, 1.4), scheme="aligned")
    e = population(FOUR, SEPARATE).directions
    levels = []
    for decay in DECAYS:
        optimizer = GradientDescent(0.4, weight_decay=decay)
        run = _decayed_run(FOUR, SEPARATE, start, optimizer, 6_000)
        levels.append(np.diag(e.T @ effective_map(SEPARATE, run.final) @ e))
    return levels


def _stated_levels(context: RunContext, control: str) -> list[FloatArray]:
    """v³ of the larger root v of b v − aλ v⁴ = wd/2, and 0 where there is none."""
    moments = changed_moments(FOUR, SEPARATE, control)
    levels = []
    for decay in DECAYS:
        wd = _stated_decay(decay, control)
        roots = head_roots(moments.b, 1 / moments.coefficients, wd)
        v = roots.threshold if control == SMALLER_ROOT else roots.stable
        levels.append(np.nan_to_num(v) ** 3)
    return levels


# Where merged heads rest


def _observed_maps(context: RunContext) -> list[FloatArray]:
    """M at the end of descent from random merged weights, for each task and decay; the last decay is too large."""
    maps = []
    for task, model, decay in _merged_cases():
        start = initial_weights(model, task, 0.3, context.seeds(1)[0], "restricted")
        optimizer = GradientDescent(0.2, weight_decay=decay)
        run = _decayed_run(task, model, start, optimizer, 4_000)
        maps.append(effective_map(model, run.final))
    return [np.concatenate([M.ravel() for M in maps])]


def _merged_cases() -> list[tuple[Task, Merged, float]]:
    cases = []
    for task in (FOUR, OBLIQUE):
        largest = 2 * float(np.linalg.norm(population(task, MERGED).B))
        cases += [(task, MERGED, share * largest) for share in (0.1, 0.5, 1.05)]
    return cases


def _stated_maps(context: RunContext, control: str) -> list[FloatArray]:
    """M* with A M Λ + (wd/2) M/|M| = B, and 0 from wd = 2|B| on."""
    maps = []
    for task, model, decay in _merged_cases():
        moments = changed_moments(task, model, control)
        if control == WITHOUT_NORM:
            size = task.dimension**2
            operator = np.kron(moments.A, moments.Lambda) + decay / 2 * np.eye(size)
            M = np.linalg.solve(operator, moments.B.ravel())
        else:
            M = merged_map(moments, _stated_decay(decay, control)).ravel()
        maps.append(M)
    return [np.concatenate(maps)]


# Which heads die

FIRST_SIZES = (0.05, 0.09, 0.16, 0.28, 0.5, 0.75, 0.9, 1.5)
"""Amplitudes at the start: below, between and above the thresholds of all four directions."""

DEADLY = 0.017


def _ends_of_heads(context: RunContext) -> list[FloatArray]:
    """Amplitudes (sizes, 4) of four aligned heads at the end of descent under decay."""
    ends = []
    for size in FIRST_SIZES:
        start = initial_weights(SEPARATE, FOUR, np.full(4, size), scheme="aligned")
        optimizer = GradientDescent(0.4, weight_decay=DEADLY)
        run = _decayed_run(FOUR, SEPARATE, start, optimizer, 8_000)
        ends.append(run.final["value"][:4, -1])
    return [np.array(ends)]


def _stated_ends(context: RunContext, control: str) -> list[FloatArray]:
    """The larger root for heads that start above the threshold, and 0 for the others."""
    moments = changed_moments(FOUR, SEPARATE, control)
    roots = head_roots(moments.b, 1 / moments.coefficients, DEADLY)
    threshold = roots.threshold
    if control == SATURATION_DROPPED:
        threshold = DEADLY / 2 / moments.b
    if control == TWICE:
        threshold = DEADLY / moments.b
    if control == NO_DECAY:
        threshold = np.zeros(4)
    size = np.array(FIRST_SIZES)[:, None]
    survives = size > np.nan_to_num(threshold, nan=np.inf)  # (sizes, 4)
    stable = np.nan_to_num(roots.stable, nan=0.0)
    return [np.where(survives, stable, 0.0)]


# Where random heads come to rest

TWO = Task(eigenvalues=[1.0, 0.4], context_length=20)
RANDOM_RUNS = 6


def _resting_maps(context: RunContext) -> list[FloatArray]:
    """M at the end of descent from random heads, three decays in turn."""
    model = Separate(heads=3)
    maps = []
    for number, seed in enumerate(context.seeds(RANDOM_RUNS)):
        start = initial_weights(model, TWO, 0.6, seed, "restricted")
        optimizer = GradientDescent(0.2, weight_decay=_random_decay(number))
        run = _decayed_run(TWO, model, start, optimizer, 16_000)
        maps.append(effective_map(model, run.final))
    return maps


def _random_decay(number: int) -> float:
    return (0.06, 0.1, 0.3)[number % 3]


def _listed_points(
    context: RunContext, control: str
) -> Callable[[int], Sequence[FixedPoint]]:
    """The points at which a run may end, by its number."""

    def listed(number: int) -> Sequence[FixedPoint]:
        decay = _stated_decay(_random_decay(number), control)
        points = fixed_points(TWO, Separate(heads=3), weight_decay=decay)
        is_saddle_stated = control == "saddles"
        return [
            point for point in points if (point.hessian_index > 0) == is_saddle_stated
        ]

    return listed


def _every_run_is_at_a_point(
    predicted: Callable[[int], Sequence[FixedPoint]], observed: Sequence[FloatArray]
) -> Evidence:
    """Each map is within 1e-4, relative to the largest entry that is learned, of one that is listed."""
    gaps = []
    for number, M in enumerate(observed):
        maps = [point.M for point in predicted(number)]
        gaps.append(min((np.max(np.abs(M - stated)) for stated in maps), default=1.0))
    learned = sum(bool(np.max(np.abs(M)) > 0.1) for M in observed)
    largest = float(max(gaps))
    return Evidence(
        agrees=bool(largest <= 1e-4 and learned > 0),
        observed=f"{len(gaps)} runs, {learned} with something learned, largest gap {largest:.1e}",
        expected="at most 1e-04 to a point of index 0",
        residual=largest,
    )


# Time courses

RATES = (0.2, 0.1, 0.05, 0.025)
FLOW_TIME = 200.0
COURSE_DECAY = 0.02
AMPLITUDES = np.array([0.12, 0.3, 0.4, 0.2])
SHARED = 0.1
"""Amplitude of the merged heads' unstable mode at the start."""


class _Start(NamedTuple):
    """A model, its weights, and what the theory starts from."""

    model: Merged | Separate
    weights: Weights
    stated: FloatArray | float


def _starts() -> list[_Start]:
    separate = initial_weights(SEPARATE, FOUR, AMPLITUDES, scheme="aligned")
    B = population(FOUR, MERGED).B
    merged = {name: np.zeros(shape) for name, shape in MERGED.shapes(4).items()}
    merged["value"][0, -1] = SHARED
    merged["key_query"][0, :-1, :-1] = SHARED * B / np.linalg.norm(B)
    return [
        _Start(SEPARATE, separate, AMPLITUDES),
        _Start(MERGED, merged, SHARED),
    ]


def _steps(rate: float) -> int:
    """Steps of this rate to the same flow time 2η·step."""
    return round(FLOW_TIME / (2 * rate))


def _decayed_losses(context: RunContext) -> list[FloatArray]:
    """Losses of descent under decay for each rate, separate and then merged."""
    losses = []
    for rate in RATES:
        optimizer = GradientDescent(rate, weight_decay=COURSE_DECAY)
        runs = [
            train(
                start.model,
                population_statistics(FOUR, start.model),
                start.weights,
                optimizer=optimizer,
                steps=_steps(rate),
            )
            for start in _starts()
        ]
        losses.append(np.concatenate([run.loss for run in runs]))
    return losses


def _decayed_courses(context: RunContext, control: str) -> list[FloatArray]:
    """Losses by the equations with decay at the flow times of the steps."""
    wd = _stated_decay(COURSE_DECAY, control)
    losses = []
    for rate in RATES:
        t = 2 * rate * np.arange(_steps(rate))
        courses = [
            time_course(FOUR, start.model, t, start.stated, weight_decay=wd)
            for start in _starts()
        ]
        losses.append(np.concatenate([course.loss for course in courses]))
    return losses


# Quantities that the flow conserves without decay

CONSERVATION_RATES = (0.002, 0.001, 0.0005, 0.00025)
CONSERVATION_DECAY = 0.3
CONSERVATION_TIME = 4.0
TWICE_THE_RATE = "e^(−2wd·t) for e^(−wd·t)"


class _Balances(NamedTuple):
    """What the flow conserves without decay, all of it in one row, at the start and at the end of descent."""

    start: FloatArray
    end: FloatArray


def _decayed_balances(context: RunContext) -> list[_Balances]:
    """For each rate, of both models; all weights are trained, on sampled data."""
    balances = []
    for rate in CONSERVATION_RATES:
        starts: list[FloatArray] = []
        ends: list[FloatArray] = []
        for model in (Merged(heads=2), Separate(heads=2, rank=2)):
            seed = context.seeds(1)[0]
            source = statistics(sample(FOUR, 500, seed), model)
            start = initial_weights(model, FOUR, 0.2, seed, scheme="gaussian")
            optimizer = GradientDescent(rate, weight_decay=CONSERVATION_DECAY)
            steps = round(CONSERVATION_TIME / (2 * rate))
            run = train(
                model, source, start, optimizer=optimizer, steps=steps, record=steps
            )
            starts += conserved_quantities(model, start).values()
            ends += conserved_quantities(model, run.final).values()
        balances.append(_Balances(_one_row(starts), _one_row(ends)))
    return balances


def _one_row(arrays: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate([array.ravel() for array in arrays])


def _stated_shrinkage(context: RunContext, control: str) -> float:
    """The factor by which they shrink in the flow time 2η·step of the descent."""
    rate = {UNMODIFIED: 1.0, NO_DECAY: 0.0, TWICE_THE_RATE: 2.0}[control]
    return float(np.exp(-rate * CONSERVATION_DECAY * CONSERVATION_TIME))


def _shrinks_to_first_order(
    predicted: float, observed: Sequence[_Balances]
) -> Evidence:
    """What is left differs from the shrunk start by O(η)."""
    stated = [predicted * balances.start for balances in observed]
    found = [balances.end for balances in observed]
    return converges_at_order(CONSERVATION_RATES, 1, name="η")(stated, found)


def _claim(
    name: str, title: str, statement: str, observable: str, **fields: Any
) -> Claim:
    """A fast claim beyond the paper; `fields` are further ones or replace those set here."""
    common: dict[str, Any] = {
        "paper": "zhang2025",
        "equation": "descent with weight decay",
        "beyond_paper": True,
        "limit": "none: exact at rest",
        "tier": "fast",
    }
    return Claim(
        id=f"decay.{name}",
        title=title,
        statement=statement,
        observable=observable,
        **common | fields,
    )


CLAIMS = (
    _claim(
        "levels",
        "Under weight decay a head rests at the larger root of b v − aλ v⁴ = wd/2, or dies where there is none",
        r"b_d v - a_d \lambda_d v^4 = \mathrm{wd}/2,\quad m_d = v^3",
        "coefficients of four aligned heads after long descent, four decays",
        measure=_observed_levels,
        assumes=POPULATION_MOMENTS,
        predict=_stated_levels,
        judge=equal_within(1e-6, axes=("direction", "coefficient")),
        controls=(*MOMENTS, TWICE, NO_DECAY, SMALLER_ROOT),
        figure="weight_decay",
    ),
    _claim(
        "merged",
        "Under weight decay merged heads rest at A M Λ + (wd/2) M/|M| = B, and at 0 from wd = 2|B| on",
        r"A M \Lambda + \frac{\mathrm{wd}}{2} \frac{M}{|M|} = B",
        "map of three random heads after long descent, three decays, also where Λ and Ω do not commute",
        measure=_observed_maps,
        assumes=POPULATION_MOMENTS,
        predict=_stated_maps,
        judge=equal_within(1e-6, axes=("entry of M", "value")),
        controls=(*MOMENTS, TWICE, NO_DECAY, WITHOUT_NORM),
        figure="weight_decay",
    ),
    _claim(
        "threshold",
        "A head dies under weight decay unless it starts above the smaller root, which is wd/(2b) for small wd",
        r"b_d v_0 - a_d \lambda_d v_0^4 > \mathrm{wd}/2",
        "amplitudes of four aligned heads after long descent, from eight sizes",
        measure=_ends_of_heads,
        assumes=POPULATION_MOMENTS,
        predict=_stated_ends,
        judge=equal_within(1e-4, axes=("start and direction", "amplitude at the end")),
        controls=(*MOMENTS, TWICE, NO_DECAY, SATURATION_DROPPED),
        figure="weight_decay",
    ),
    _claim(
        "rest",
        "From random weights descent under weight decay comes to rest at a listed fixed point of index 0",
        r"\theta_\infty \in \lbrace M_S : \mathrm{ind} = 0 \rbrace",
        "maps of three heads after long descent from six random starts, three decays",
        limit="none: a search",
        measure=_resting_maps,
        assumes=POPULATION_MOMENTS,
        predict=_listed_points,
        judge=_every_run_is_at_a_point,
        controls=("saddles", TWICE, NO_DECAY),
    ),
    _claim(
        "courses",
        "Descent under weight decay follows the equations with −(wd/2) v up to O(η)",
        r"\dot v = b_d v^2 - a_d \lambda_d v^5 - \tfrac{\mathrm{wd}}{2} v",
        "loss of four aligned separate heads, and of a merged one on the unstable mode",
        limit="η → 0, error O(η)",
        order=1,
        measure=_decayed_losses,
        assumes=POPULATION_MOMENTS,
        predict=_decayed_courses,
        judge=converges_at_order(RATES, 1, name="η"),
        controls=(TWICE, NO_DECAY),
    ),
    _claim(
        "balance",
        "Weight decay makes what the flow conserves shrink as e^(−wd·t) in flow time t = 2η·step, up to O(η)",
        r"Q(t) = Q(0)\, e^{-\mathrm{wd}\, t}",
        "all conserved quantities of merged heads and of heads of rank 2 after descent of all weights on sampled data",
        limit="η → 0, error O(η)",
        order=1,
        measure=_decayed_balances,
        predict=_stated_shrinkage,
        judge=_shrinks_to_first_order,
        controls=(TWICE_THE_RATE, NO_DECAY),
    ),
)
