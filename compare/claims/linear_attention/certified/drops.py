"""Certified integration: when merged attention, a head of rank three and separate heads leave their first plateau."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .....models.attention import Merged, Separate
from .....runtime.arrays import FloatArray
from .....simulate import flow
from .....task import Task
from .....theory import population, staircase
from .....theory.certified import (
    Enclosure,
    NoCertificate,
    ReducedFlow,
    drop_time,
    head_amplitude,
    head_flow,
    head_half_loss_time,
    heads_flow,
    loss_tube,
    losses_at,
    merged_flow,
    middle_of_drop,
)
from .....theory.certified.balls import with_precision
from .....theory.certified.taylor_steps import State, TaylorMethod
from .....theory.linear_attention.low_rank import low_rank_amplitudes
from .....theory.linear_attention.merged import aligned_amplitudes
from .....theory.moments.population_loss import Population
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.enclosed import enclosed_in
from ....evidence.evidence import Evidence
from ....evidence.seeding import seeds
from ....exact_statistics import population_statistics
from ..common.controls import LONGER_CONTEXT
from ..common.experiments import FOUR
from .stated_intervals import TENTH_DIGIT, stated, with_longer_context

MERGED = Merged(heads=8)
U0 = tuple(Fraction(share, 10**5) for share in (850, 478, 212, 53))
S0 = Fraction(1, 100)
"""Merged attention near its unstable mode, of which u is proportional to λ² and as large as s."""

THREE = Task(eigenvalues=["1/2", "3/10", "1/5"], context_length=20)
HEAD = Separate(heads=1, rank=3)
KAPPA0 = (Fraction(1, 50),) * 3

LOSS_TIMES = (20, 27, 35)
TUBE_TIMES = tuple(Fraction(3 * step, 5) for step in range(100))
LATER = "later by 3/5"
ALL_OF_MERGED = (1, 2, 3, 4)

DOUBLES = "1e-10"
"""What the integrators in doubles leave, of an error of 1e-11 in the weights and of the search for a root."""

TWO = Task(eigenvalues=["3/5", "2/5"], context_length=20)
HEADS = Separate(heads=2)
EXCHANGED = "keys and queries exchanged"
STAIRCASE_ACCURACY = 1e-5
"""The accuracy that a staircase promises of its exit times."""
ONE = Task(eigenvalues=["2/5"], context_length=31)
ONE_HEAD = Separate(heads=1)
START_OF_ONE = Fraction(1, 10)
LOW_ORDERS = (8, 16)
STEP = 4
"""Flow time of a step over which one head is held against its box, a fourteenth of its half-loss time."""

TIMES_OF_STEP = (1, 2, 4)
NO_REMAINDER = "without the remainder"
BOX_OF_THE_START = "remainder from the box of the start"


def certified_drop_times(context: RunContext) -> dict[str, Enclosure]:
    """Half-loss times, and losses of merged attention on the way."""
    merged = merged_flow(FOUR, MERGED, S0, U0)
    head = head_flow(THREE, HEAD, KAPPA0)
    whole_drop = middle_of_drop(FOUR, MERGED, (), ALL_OF_MERGED)
    enclosures = {
        "merged": drop_time(merged, whole_drop, bits=192, order=24).time,
        "rank 3": drop_time(head, middle_of_drop(THREE, HEAD)).time,
    }
    losses = losses_at(merged, LOSS_TIMES, bits=192, order=24)
    for time, loss in zip(LOSS_TIMES, losses, strict=True):
        enclosures[f"merged loss at {time}"] = loss
    return enclosures


def drop_times_in_doubles(context: RunContext, control: str) -> dict[str, Enclosure]:
    """The same from the reduced equations in doubles."""
    longer = control == LONGER_CONTEXT
    merged = population(with_longer_context(FOUR) if longer else FOUR, MERGED)
    head = population(with_longer_context(THREE) if longer else THREE, HEAD)
    u0 = np.array([float(start) for start in U0])  # (D,)
    κ0 = [float(start) for start in KAPPA0]

    def merged_loss(time: float) -> float:
        s, u = aligned_amplitudes(merged, [0, time], float(S0), u0)
        return float(merged.aligned_loss(s[1] * u[1]))

    def head_loss(time: float) -> float:
        v0 = float(np.linalg.norm(κ0))
        v, κ = low_rank_amplitudes([0, time], v0, κ0, head.b, head.a * head.lam)
        return float(head.aligned_loss(v[1] * κ[1] ** 2))

    numbers = {
        "merged": _crossing(merged_loss, _middle(merged, 4), 10, 60),
        "rank 3": _crossing(head_loss, _middle(head, 1), 100, 200),
    }
    for time in LOSS_TIMES:
        numbers[f"merged loss at {time}"] = merged_loss(time)
    return stated(numbers, DOUBLES, control)


def _middle(moments: Population, learned: int) -> float:
    """The loss with half of these gains learned, in doubles."""
    return float(moments.c - moments.gains[:learned].sum() / 2)


def _crossing(
    loss: Callable[[float], float], level: float, begin: float, end: float
) -> float:
    """When a loss passes a level between two times."""
    from scipy.optimize import brentq

    return float(brentq(lambda time: loss(time) - level, begin, end, xtol=1e-12))


class PieceAtTime(NamedTuple):
    """A time, and the enclosure of the loss over a piece of the tube that it lies in."""

    time: str
    loss: Enclosure


def certified_tube(context: RunContext) -> list[PieceAtTime]:
    """The loss of merged attention over its whole drop: every piece that each of a hundred times lies in."""
    merged = merged_flow(FOUR, MERGED, S0, U0)
    tube = loss_tube(merged, 60, pieces=4, longest="3/2", bits=128, order=16)
    return [
        PieceAtTime(str(time), piece.loss)
        for time in TUBE_TIMES
        for piece in tube.pieces
        if piece.begin <= time <= piece.end
    ]


def course_in_doubles(context: RunContext, control: str) -> dict[str, Enclosure]:
    """The losses of the time course at these times, without a width."""
    task = with_longer_context(FOUR) if control == LONGER_CONTEXT else FOUR
    moments = population(task, MERGED)
    delay = Fraction(3, 5) if control == LATER else Fraction(0)
    times = [float(time + delay) for time in TUBE_TIMES]
    u0 = np.array([float(start) for start in U0])  # (D,)
    s, u = aligned_amplitudes(moments, times, float(S0), u0)
    losses = moments.aligned_loss(s[:, None] * u)  # (T,)
    return {
        str(time): Enclosure.around(loss)
        for time, loss in zip(TUBE_TIMES, losses.tolist(), strict=True)
    }


def passes_through(course: dict[str, Enclosure], tube: list[PieceAtTime]) -> Evidence:
    """Every number of the course lies in its pieces of the tube, and each of its times in some."""
    inside = [piece.time for piece in tube if course[piece.time].is_inside(piece.loss)]
    widest = max(float(piece.loss.width) for piece in tube)
    return Evidence(
        agrees=len(inside) == len(tube) and set(inside) == set(course),
        observed=f"{len(inside)} of {len(tube)} losses in the tube, which is at most {widest:.1e} wide",
        expected="all of them",
        width=widest,
    )


def certified_exit(context: RunContext) -> dict[str, Enclosure]:
    """The first exit of two heads, as the staircase and a run are asked for it."""
    exit_flow = heads_flow(TWO, HEADS, _weights(context))
    time = drop_time(exit_flow, middle_of_drop(TWO, HEADS)).time
    return {"staircase": time, "run": time}


def exits_in_doubles(context: RunContext, control: str) -> dict[str, Enclosure]:
    """The first exit of the staircase, and that of a run of gradient flow on unlimited data."""
    task = with_longer_context(TWO) if control == LONGER_CONTEXT else TWO
    weights = {name: array.astype(float) for name, array in _weights(context).items()}
    if control == EXCHANGED:
        weights["key"], weights["query"] = weights["query"], weights["key"]
    exit_time = float(staircase(task, HEADS, weights, verify=False).exit_times[0])
    run_time = _exit_of_run(task, weights, exit_time)
    return {
        "staircase": Enclosure.around(exit_time, STAIRCASE_ACCURACY * exit_time),
    } | stated({"run": run_time}, DOUBLES, control)


def _weights(context: RunContext) -> dict[str, NDArray[Any]]:
    """Weights of up to a tenth, whole multiples of 1/200, drawn from the base seed."""
    generator = np.random.default_rng(seeds(context.seed, 1))
    weights = {}
    for name, shape in HEADS.shapes(TWO.dimension).items():
        numbers = generator.integers(-20, 21, shape)
        off_block = np.s_[..., :-1] if name == "value" else np.s_[..., -1]
        numbers[off_block] = 0
        weights[name] = numbers.astype(object) * Fraction(1, 200)
    return weights


def _exit_of_run(task: Task, weights: dict[str, FloatArray], guess: float) -> float:
    """When the loss of a run passes the middle of the first drop, near a guess: a spline through 400 points."""
    from scipy.interpolate import CubicSpline

    times = np.linspace(0.98 * guess, 1.02 * guess, 401)  # (T,)
    run = flow(HEADS, population_statistics(task, HEADS), weights, flow_time=times)
    level = _middle(population(task, HEADS), 1)
    roots = CubicSpline(times, run.loss - level).roots(extrapolate=False)
    return float(roots[0])


class WithoutRemainder(TaylorMethod):
    """A broken machine: the polynomial alone."""

    def remainder(self, box: State) -> State:
        """Nothing."""
        return [0 * ball for ball in super().remainder(box)]


class FromTheStart(TaylorMethod):
    """A broken machine: a remainder that holds at the start of a step and not over it."""

    def enclosing_box(self, start: State, length: float) -> State | None:
        """The box of the start."""
        return start


MACHINES = {
    UNMODIFIED: TaylorMethod,
    NO_REMAINDER: WithoutRemainder,
    BOX_OF_THE_START: FromTheStart,
}


def closed_half_loss_time(context: RunContext) -> dict[str, Enclosure]:
    """Half-loss time and amplitudes of one head by its closed form, which no step of an integrator enters."""
    half_loss_time = head_half_loss_time(ONE, ONE_HEAD, START_OF_ONE)
    amplitudes = {
        f"v({time})": head_amplitude(ONE, ONE_HEAD, time, START_OF_ONE)
        for time in TIMES_OF_STEP
    }
    return amplitudes | {f"order {order}": half_loss_time for order in LOW_ORDERS}


def integrated_half_loss_time(
    context: RunContext, control: str
) -> dict[str, Enclosure]:
    """The same by two low orders and by the box of a step, of the right machine or of a broken one."""
    one = head_flow(ONE, ONE_HEAD, [START_OF_ONE])
    level = middle_of_drop(ONE, ONE_HEAD)
    machine = MACHINES[control]
    box = _box_of_step(one, machine)
    return {f"v({time})": box for time in TIMES_OF_STEP} | {
        f"order {order}": drop_time(
            one, level, order=order, bits=128, method=machine
        ).time
        for order in LOW_ORDERS
    }


@with_precision
def _box_of_step(
    one: ReducedFlow, machine: type[TaylorMethod], *, bits: int = 128
) -> Enclosure:
    """Where the machine says that v of one head stays over a step."""
    box = machine(one.rate, LOW_ORDERS[0]).enclosing_box(one.initial_box(), STEP)
    if box is None:
        raise NoCertificate("no box was found that holds one head over a step")
    return Enclosure.of_ball(box[0])


_ENCLOSED = "none: the enclosures are of the stated equations themselves"

CLAIMS = (
    Claim(
        id="certified.drop_times",
        title="Half-loss times of merged attention and of a head of rank three lie in certain enclosures",
        paper="zhang2025",
        equation="the reduced equations of merged attention and of a head of low rank",
        beyond_paper=True,
        statement=r"\dot u_d = s (b_d - a_d \lambda_d s u_d), \quad "
        r"\dot \kappa_r = v \kappa_r (b_r - a_r \lambda_r v \kappa_r^2)",
        hypotheses=("weights along common eigenvectors of Λ and Ω",),
        observable="enclosures of times and losses by validated integration with 192 and 256 bits",
        limit=_ENCLOSED,
        measure=certified_drop_times,
        predict=drop_times_in_doubles,
        judge=enclosed_in,
        controls=(TENTH_DIGIT, LONGER_CONTEXT),
        expected_level="certified",
        evidence_level="certified",
    ),
    Claim(
        id="certified.loss_tube",
        title="The time course of merged attention stays in a certain tube of the loss over its whole drop",
        paper="zhang2025",
        equation="the reduced equations of merged attention",
        beyond_paper=True,
        statement=r"L(t) \in [L_k^-, L_k^+] \quad \text{for } t \in [t_k, t_{k+1}]",
        hypotheses=("weights along common eigenvectors of Λ and Ω",),
        observable="the tube by validated integration with 128 bits, order 16",
        limit=_ENCLOSED,
        measure=certified_tube,
        predict=course_in_doubles,
        judge=passes_through,
        controls=(LATER, LONGER_CONTEXT),
        expected_level="certified",
        evidence_level="certified",
    ),
    Claim(
        id="certified.first_exit",
        title="The first exit of two heads is where the staircase and gradient flow put it",
        paper="zhang2025",
        equation="separate attention from saddle to saddle",
        beyond_paper=True,
        statement=r"\dot v_h = k_h^\top G q_h, \quad \dot k_h = v_h G q_h, \quad "
        r"\dot q_h = v_h G^\top k_h, \quad G = B - A M \Lambda",
        hypotheses=("rational weights on the restricted block, drawn from the seed",),
        observable="an enclosure of the time by validated integration of all ten weights, with 256 bits",
        limit=_ENCLOSED,
        measure=certified_exit,
        predict=exits_in_doubles,
        judge=enclosed_in,
        controls=(TENTH_DIGIT, LONGER_CONTEXT, EXCHANGED),
        expected_level="certified",
        evidence_level="certified",
    ),
    Claim(
        id="certified.low_orders",
        title="Enclosures of low order hold the closed form, and those of a broken machine do not",
        paper="zhang2025",
        equation="rank-one heads",
        beyond_paper=True,
        statement=r"x(t) \in \sum_{k<p} x_k t^k + x_p(X) t^p \quad \text{for } 0 \le t \le h",
        hypotheses=("x₀ + [0, h] f(X) lies in X",),
        observable="half-loss time of one head, and its amplitude over a step, by its closed form, with 128 bits",
        limit="none: both sides are enclosures",
        measure=closed_half_loss_time,
        predict=integrated_half_loss_time,
        judge=enclosed_in,
        controls=(NO_REMAINDER, BOX_OF_THE_START),
        expected_level="certified",
        evidence_level="certified",
    ),
)
