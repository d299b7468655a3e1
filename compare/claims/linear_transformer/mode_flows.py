"""Modes along gradient flow and descent: staged learning, its limit of long contexts, conservation, one drop."""

from functools import cache

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import Trajectory, flow, sample, train
from ....task import Task
from ....teachers import Gaussian
from ....theory import time_course
from ....theory.linear_transformer import (
    half_times,
    merged_equivalent,
    mode_flow,
    modified_flow,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import converges_at_order, equal_within
from ...exact_statistics import population_statistics
from .setting import LOSS, STAIRCASE, head_weights, mode_task, one_head

SMALL = 1e-3
"""Of balanced weights from which modes are learned one after another."""

TIMES = np.linspace(0.0, 180.0, 181)
"""Flow times: the slowest mode, of rate 1/16, is learned at 125."""

LENGTHS = (1_000, 10_000, 100_000)
INVERSE = tuple(1 / N for N in LENGTHS)

RATES = (0.1, 0.05, 0.025)
"""Flow times of one step."""
DESCENT_TIME = 10.0
DESCENT_START = 0.3

SIZES = (1e-1, 1e-2, 1e-3)
"""Of random starts, whose half-times are exact for small ones."""

UNSTRUCTURED_SIZES = (1e-2, 1e-3, 1e-4)
"""Of random starts on Kronecker teachers, which follow one mode for small ones."""
OUTPUTS, UNSTRUCTURED = 4, (1.3, 1.0, 0.7, 0.4)

BY_INPUT = "rates s for s²"
HALF_RATE = "e^(s²t) for e^(2s²t)"
FLOW = "the flow itself"
HALF_TERM = "h for h/2"
NO_ONE = "half-times without χ²"
TIMES_K = "time × K"
TIMES_ONE = "time × 1"
ONE_OUTPUT = "loss of one output"
SUM_OF_SQUARES = "|p|² + |q|² for |p|² − |q|²"
ALL_MODES = "all modes added"
IN_THE_LIMIT = "in the limit N → ∞"

CONSERVED = 1e-9
"""Of squares along an integrated flow."""


def _run_on_moments(
    task: Task, p: FloatArray, q: FloatArray, times: FloatArray
) -> Trajectory:
    """Gradient flow of all weights on unlimited prompts from diagonal p and q."""
    model = one_head(task)
    return flow(
        model, population_statistics(task, model), head_weights(task, p, q), times
    )


# The decoupled law


@cache
def _losses_of_staircase(context_length: int) -> FloatArray:
    """The loss (T,) of the staircase from small balanced weights."""
    start = np.full(len(STAIRCASE), SMALL)
    task = mode_task(STAIRCASE, context_length)
    return _run_on_moments(task, start, start, TIMES).loss


def _staircases(context: RunContext) -> list[FloatArray]:
    return [_losses_of_staircase(N) for N in LENGTHS]


def _decoupled(context: RunContext, control: str) -> list[FloatArray]:
    """The loss by the closed form of each mode alone, or by a wrong one."""
    return [_decoupled_losses(N, control) for N in LENGTHS]


def _decoupled_losses(context_length: int, control: str) -> FloatArray:
    task = mode_task(STAIRCASE, context_length)
    start = np.full(len(STAIRCASE), SMALL)
    if control == UNMODIFIED:
        return mode_flow(task, start, start, TIMES, law="decoupled").loss
    s, N = np.array(STAIRCASE), context_length
    last = N / ((N + 1) * s + np.sum(s))
    rate = {BY_INPUT: s, HALF_RATE: s**2 / 2}[control]
    growth = np.exp(np.minimum(2 * rate * TIMES[:, None], 700.0))
    a0 = SMALL**2
    a = last * a0 * growth / (last + a0 * (growth - 1))
    T = np.sum(s * a, axis=1)
    square = (1 + 1 / N) * np.sum(s**3 * a**2, axis=1)
    # Balanced: Σ s p² = Σ s a and Σ s² q² = Σ s² a.
    coupling = T * np.sum(s**2 * a, axis=1) / N
    return np.asarray(np.sum(s) - 2 * np.sum(s**2 * a, axis=1) + square + coupling)


def _short_context(context: RunContext) -> float:
    """How far the closed form is from the flow at N = 20, over the loss at the start."""
    gap = np.abs(_decoupled_losses(20, UNMODIFIED) - _losses_of_staircase(20))
    return float(np.max(gap) / np.sum(STAIRCASE))


def _long_context_gap(context: RunContext, control: str) -> float:
    """What the statement leaves of that gap: nothing, or what order 1/N leaves of the gap at N = 1,000."""
    if control == IN_THE_LIMIT:
        N = LENGTHS[0]
        gap = np.abs(_decoupled_losses(N, UNMODIFIED) - _losses_of_staircase(N))
        return float(np.max(gap) / np.sum(STAIRCASE)) * N / 20
    return 0.0


def _same_size(predicted: float, observed: float) -> Evidence:
    """Whether a gap is of the stated size, up to a factor of four for what 1/N does not tell; or none at all."""
    near = observed < 1e-6 if predicted == 0 else 0.25 < predicted / observed < 4
    return Evidence(
        agrees=near,
        observed=f"largest gap {observed:.1e} of the loss at the start",
        expected=f"{predicted:.1e}",
    )


# Descent and its modified flow


def _descended(context: RunContext) -> list[FloatArray]:
    """The loss (T,) of descent at the same flow times, for each rate."""
    task = mode_task(STAIRCASE, 20)
    model = one_head(task)
    start = np.full(len(STAIRCASE), DESCENT_START)
    moments = population_statistics(task, model)
    losses = []
    for h in RATES:
        steps = round(DESCENT_TIME / h)
        run = train(
            model,
            moments,
            head_weights(task, start, start),
            learning_rate=h / 2,
            steps=steps + 1,
        )
        losses.append(run.loss[:: round(RATES[0] / h)])
    return losses


def _modified(context: RunContext, control: str) -> list[FloatArray]:
    """The loss of the modified flow, or of a wrong one."""
    task = mode_task(STAIRCASE, 20)
    start = np.full(len(STAIRCASE), DESCENT_START)
    times = RATES[0] * np.arange(round(DESCENT_TIME / RATES[0]) + 1)
    if control == FLOW:
        return [mode_flow(task, start, start, times).loss for _ in RATES]
    factor = 2 if control == HALF_TERM else 1
    return [
        modified_flow(task, start, start, times, learning_rate=factor * h / 2).loss
        for h in RATES
    ]


# Random starts


def _half_time_task() -> Task:
    """Contexts so long that modes do not couple."""
    return mode_task([1.0, 0.7], 10**9)


def _normals(context: RunContext) -> FloatArray:
    """p and q (2, 2) of a start of size 1."""
    generator = np.random.default_rng(context.seeds(1)[0])
    return generator.normal(size=(2, 2))


def _measured_half_times(context: RunContext) -> list[FloatArray]:
    """When each mode (2,) reaches half of what it learns, times 2α, for each size of the start."""
    task = _half_time_task()
    found = []
    for size in SIZES:
        law = half_times(task, size)
        # From before the mode grows to long after.
        spans = zip(0.05 * law.mean, law.mean + 12 * law.spread, strict=True)
        start = size * _normals(context)
        times = [_half_time(start, mode, *span) for mode, span in enumerate(spans)]
        found.append(2 * law.rates * np.array(times))
    return found


def _half_time(start: FloatArray, mode: int, first: float, last: float) -> float:
    """The flow time at which a mode is half learned, from p and q (2, 2)."""
    from scipy.optimize import brentq

    task = _half_time_task()
    half = 0.5 / task.eigenvalues[mode]

    def gap(time: float) -> float:
        p0, q0 = start
        run = _run_on_moments(task, p0, q0, np.array([0.0, time]))
        p = run.weights["value"][-1][0, mode, 2 + mode]
        q = run.weights["key_query"][-1][0, mode, mode]
        return float(p * q - half)

    return float(brentq(gap, first, last, xtol=1e-10))


def _stated_half_times(context: RunContext, control: str) -> list[FloatArray]:
    """ln(2a∞/w²) − ln χ² of the start, or without χ²."""
    task = _half_time_task()
    stated = []
    for size in SIZES:
        law = half_times(task, size)
        # Of the grown sum p + q, in units in which it is normal.
        χ = np.sum(_normals(context), axis=0) / np.sqrt(2)
        stated.append(law.constants - (0 if control == NO_ONE else np.log(χ**2)))
    return stated


# Unstructured teachers


def _unstructured() -> Task:
    """Γ = 1 and Ω = 1: no basis is shared."""
    D = len(UNSTRUCTURED)
    return Task(
        list(UNSTRUCTURED),
        teachers=Gaussian.kronecker(np.eye(OUTPUTS), np.eye(D)),
        context_length=20,
    )


def _random_layer(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """p (K, K) and q (D, D) of size 1."""
    generator = np.random.default_rng(context.seeds(1)[0])
    p = generator.normal(size=(OUTPUTS, OUTPUTS))
    return p, generator.normal(size=(len(UNSTRUCTURED),) * 2)


def _drop_times(size: float) -> FloatArray:
    """Flow times through the drop from starts of this size."""
    rate = np.sqrt(OUTPUTS) * np.linalg.norm(np.array(UNSTRUCTURED) ** 2)
    return np.linspace(0, (np.log(1 / size) + 8) / rate, 120)


def _layer_losses(context: RunContext) -> list[FloatArray]:
    """Losses (T,) of the layer from random starts of each size."""
    task = _unstructured()
    model = one_head(task)
    moments = population_statistics(task, model)
    p, q = _random_layer(context)
    return [
        flow(
            model, moments, head_weights(task, size * p, size * q), _drop_times(size)
        ).loss
        for size in UNSTRUCTURED_SIZES
    ]


def _merged_losses(context: RunContext, control: str) -> list[FloatArray]:
    """K L_Z(√K t) of merged attention of one output from the same part in its mode, or a wrong multiple."""
    equivalent = merged_equivalent(_unstructured())
    faster = {TIMES_K: float(OUTPUTS), TIMES_ONE: 1.0}.get(control, equivalent.time)
    larger = 1.0 if control == ONE_OUTPUT else equivalent.loss
    p, q = _random_layer(context)
    growth = np.diag(np.array(UNSTRUCTURED) ** 2)
    growth = growth / np.linalg.norm(growth)
    # p/|p| tends to 1/√K, and only the sum of both parts grows.
    part = (np.trace(p) / np.sqrt(OUTPUTS) + np.sum(q * growth)) / 2
    losses = []
    for size in UNSTRUCTURED_SIZES:
        start = abs(size * part) / equivalent.weights
        model = one_head(equivalent.task)
        course = time_course(equivalent.task, model, faster * _drop_times(size), start)
        losses.append(larger * course.loss)
    return losses


# Conservation


def _squares(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """‖value‖² and ‖key_query‖² (T,) of all blocks along gradient flow on 200 drawn prompts."""
    task = mode_task([1.0, 0.5], 6, noise=0.2)
    model = one_head(task)
    generator = np.random.default_rng(context.seeds(1)[0])
    shapes = model.shapes(task.dimension)
    start = {name: 0.3 * generator.normal(size=shape) for name, shape in shapes.items()}
    data = sample(task, 200, seed=context.seeds(1)[0])
    run = flow(model, data, start, np.linspace(0, 5, 6))
    value = np.sum(run.weights["value"] ** 2, axis=(1, 2, 3))
    key_query = np.sum(run.weights["key_query"] ** 2, axis=(1, 2, 3))
    return value, key_query


def _balance(context: RunContext) -> list[FloatArray]:
    """The change of ‖value‖² − ‖key_query‖², over the first squares."""
    value, key_query = _squares(context)
    return [1 + (value - key_query - value[0] + key_query[0]) / (value + key_query)[0]]


def _conserved(context: RunContext, control: str) -> list[FloatArray]:
    """No change, or that of the sum of the squares."""
    value, key_query = _squares(context)
    if control == SUM_OF_SQUARES:
        return [(value + key_query) / (value + key_query)[0]]
    return [np.ones_like(value)]


def _changes_of_balance(context: RunContext) -> dict[str, float]:
    """The largest change of p² − q² of a mode, and of all added, along the staircase at N = 20, over |p|² + |q|²."""
    start = np.full(len(STAIRCASE), SMALL)
    run = _run_on_moments(mode_task(STAIRCASE, 20), start, start, TIMES)
    p = np.einsum("tii->ti", run.weights["value"][:, 0, :, 4:])
    q = np.einsum("tii->ti", run.weights["key_query"][:, 0, :4, :4])
    size = float(np.max(np.sum(p**2 + q**2, axis=1)))
    balance = p**2 - q**2
    return {
        UNMODIFIED: float(np.max(np.abs(balance))) / size,
        ALL_MODES: float(np.max(np.abs(np.sum(balance, axis=1)))) / size,
    }


def _none_changes(variant: str, changes: dict[str, float]) -> Evidence:
    """Whether what a variant calls conserved does not change."""
    return Evidence(
        agrees=changes[variant] <= CONSERVED,
        observed=f"changes by {changes[variant]:.1e}",
        expected=f"at most {CONSERVED:.0e}",
    )


CLAIMS = (
    Claim(
        id="modes.logistic",
        title="In long contexts each mode follows a logistic curve of its own, at the rate s²",
        paper="mainali2025",
        equation="mode-wise dynamics",
        statement=r"a_\alpha(t) = \frac{a_\infty a_0}{a_0 + (a_\infty - a_0) e^{-2 s_\alpha^2 t}},\quad a_\infty = "
        r"\frac{1}{s_\infty}",
        observable="loss along gradient flow of all weights on the exact moments, through the drops of four modes",
        limit="N → ∞, error O(1/N)",
        order=1,
        hypotheses=("shared basis", "balanced start", "null blocks 0"),
        measure=_staircases,
        predict=_decoupled,
        judge=converges_at_order(INVERSE, 1, name="1/N"),
        controls=(BY_INPUT, HALF_RATE),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.logistic_at_finite_length",
        title="The logistic curve of a mode is not exact at finite N: T_p T_q/N couples the modes",
        paper="mainali2025",
        equation="mode-wise dynamics",
        origin="refuted here as it stands",
        statement=r"L(t) = L\text{ of the logistic curves, at every } N",
        observable="largest gap of the loss at N = 20, over the loss at the start",
        limit="the gap is O(1/N)",
        hypotheses=("shared basis", "balanced start"),
        measure=_short_context,
        predict=_long_context_gap,
        judge=_same_size,
        corrected=(IN_THE_LIMIT,),
        expected_level="refuted",
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.modified_flow",
        title="Gradient descent on the modes follows a modified flow up to the square of the step",
        paper="mainali2025",
        beyond_paper=True,
        equation="discrete steps",
        origin="derived here",
        statement=r"\dot\theta = -\tfrac12\nabla L - \tfrac h2 H \tfrac12\nabla L,\quad h = 2\eta",
        observable="loss of gradient descent on the exact moments at N = 20",
        limit="h → 0, error O(h²)",
        order=2,
        hypotheses=("shared basis",),
        measure=_descended,
        predict=_modified,
        judge=converges_at_order(RATES, 2),
        controls=(FLOW, HALF_TERM),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.half_times",
        title="From a random start a mode is half learned at a time that one normal number of the start decides",
        paper="mainali2025",
        beyond_paper=True,
        equation="staged learning",
        origin="derived here",
        statement=r"t = \frac{\ln(2 a_\infty/w^2) - \ln \chi^2}{2 s^2},\quad p, q \sim N(0, w^2)",
        observable="half-times of two modes by gradient flow on the exact moments, from one start in three sizes",
        limit="w → 0, error O(w²), at N → ∞",
        order=2,
        hypotheses=("shared basis", "N so large that modes do not couple"),
        measure=_measured_half_times,
        predict=_stated_half_times,
        judge=converges_at_order(SIZES, 2, name="w"),
        controls=(NO_ONE,),
        assumes=LOSS,
    ),
    Claim(
        id="modes.one_drop",
        title="Without a shared basis the layer drops once, as merged attention of one output does, √K times as fast",
        paper="mainali2025",
        beyond_paper=True,
        equation="mode-wise dynamics",
        origin="derived here, with merged attention of Zhang et al. 2025",
        statement=r"L(t) = K\, L_1(\sqrt K t)",
        observable="loss along gradient flow on exact moments from random weights, K = D = 4",
        limit="size of the start → 0, error O(w)",
        hypotheses=("Γ = 1", "null blocks 0"),
        measure=_layer_losses,
        predict=_merged_losses,
        judge=converges_at_order(UNSTRUCTURED_SIZES, 1, name="w"),
        controls=(TIMES_K, TIMES_ONE, ONE_OUTPUT),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.conservation",
        title="Gradient flow conserves |value|² − |key_query|² of one layer, on any data",
        paper="mainali2025",
        equation="conserved quantity",
        statement=r"\frac{d}{dt}\left(\|[p_1\,p_2]\|^2 - \|[q_1; q_2]\|^2\right) = 0",
        observable="squares of all blocks along gradient flow on 200 drawn prompts, from random weights",
        limit="none",
        measure=_balance,
        predict=_conserved,
        judge=equal_within(CONSERVED),
        controls=(SUM_OF_SQUARES,),
        tier="fast",
    ),
    Claim(
        id="modes.conservation_mode_by_mode",
        title="No mode conserves its own p² − q² at finite N: only all modes together do",
        paper="mainali2025",
        equation="conserved quantity",
        origin="refuted here as it stands; it holds in the limit N → ∞",
        statement=r"\frac{d}{dt}(p_\alpha^2 - q_\alpha^2) = 0",
        observable="change along gradient flow on the exact moments at N = 20",
        limit="N → ∞",
        hypotheses=("shared basis",),
        measure=_changes_of_balance,
        predict=lambda context, control: control,
        judge=_none_changes,
        corrected=(ALL_MODES,),
        expected_level="refuted",
        assumes=LOSS,
        tier="fast",
    ),
)
