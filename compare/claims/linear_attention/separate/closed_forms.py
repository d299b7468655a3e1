"""Solutions in closed form away from the starts that runs take, against flows integrated as they stand."""

import numpy as np

from .....models.attention import Separate
from .....runtime.arrays import FloatArray
from .....simulate import flow
from .....task import Task
from .....theory import population
from .....theory.linear_attention.rank_one import (
    amplitude_from_blow_up,
    blow_up_time,
    rank_one_amplitude,
    rank_one_gap,
    rank_one_time,
)
from .....theory.linear_attention.saddle_to_saddle.escapes import SeparateHeads, escape
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.judges import equal_within
from ....evidence.seeding import seeds
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ..common.fixtures import separate_head

ONE = Task([0.9], context_length=4)
STARTS = (-3.0, -0.3, 0.02, 0.7, 1.2, 6.0)
BELOW = (0.02, 0.7)
"""Starts between 0 and the end: only these have an onset."""
TIMES = np.array([0.0, 0.01, 0.3, 1.0, 3.0, 10.0, 40.0, 60.0, 70.0])
EXACT = Task([0.5], context_length=2)
"""One head ends at 1 here, in floating point too: λ(1 + 2/N) = 1."""
SIDES = (-0.6, 0.3, 1.7, 0.0, 1.0)
"""Starts below 0, between 0 and the end, and above it; last those two themselves, which do not move."""
PASSED = np.array([0.0, 0.5, 2.0, 7.0])
NEVER = 1e3
"""What stands for the time between two amplitudes that no solution joins."""
CEILING = 0.4
LARGE = 1e8
"""Size at which a head diverges within 1/(‖G‖ v): what its smaller singular directions hold is negligible."""


def _head_flows(context: RunContext) -> list[FloatArray]:
    """v of one head by gradient flow from each start, its distance to the end, and the times themselves."""
    model = Separate(heads=1)
    end, found = np.cbrt(_end(model)), []
    for start in STARTS:
        weights = separate_head(start, np.array([[abs(start)]]))
        v = np.asarray(
            flow(model, population_statistics(ONE, model), weights, TIMES).weights[
                "value"
            ]
        )[:, 0, -1]
        found += [v, 1 - v / end, *([v] if start in BELOW else []), TIMES[:5]]
    return found


def _end(model: Separate) -> float:
    """Where one head on the one direction ends: the map that makes the gradient vanish, from the moments alone."""
    source = population_statistics(ONE, model)
    return float(source.b.ravel()[0] / source.S.ravel()[0])


def _stated_heads(context: RunContext, control: str) -> list[FloatArray]:
    moments = population(ONE, Separate(heads=1))
    α, γ = float(moments.b[0]), float(1 / moments.coefficients[0])
    α, γ = {UNMODIFIED: (α, γ), "twice the rate": (2 * α, γ), "γ² for γ": (α, γ**2)}[
        control
    ]
    found = []
    for start in STARTS:
        v = rank_one_amplitude(TIMES, start, α, γ)
        found += [v, rank_one_gap(TIMES, start, α, γ)]
        if start in BELOW:
            found.append(amplitude_from_blow_up(TIMES, blow_up_time(start, α, γ), α, γ))
        found.append(
            rank_one_time(v[:5], start, α, γ) if control == UNMODIFIED else TIMES[:5]
        )
    return found


def _branches(context: RunContext) -> list[FloatArray]:
    """v and its distance to the end from each side, at 0 and at the end; and the times from one v to another.

    No time joins what flows from different sides.
    """
    model = Separate(heads=1)
    starts = [separate_head(start, np.array([[abs(start)]])) for start in SIDES]
    runs = [
        flow(model, population_statistics(EXACT, model), start, PASSED).weights["value"]
        for start in starts
    ]
    v = np.array([np.asarray(each)[:, 0, -1] for each in runs])
    moving = len(SIDES) - 2
    side, time = np.repeat(np.arange(moving), len(PASSED)), np.tile(PASSED, moving)
    passed = np.where(side[:, None] == side, time - time[:, None], NEVER)
    return [v, 1 - v, passed]


def _stated_branches(context: RunContext, control: str) -> list[FloatArray]:
    moments = population(EXACT, Separate(heads=1))
    α, γ = float(moments.b[0]), float(1 / moments.coefficients[0])
    if control == "twice the rate":
        α *= 2
    starts = np.array(SIDES)[:, None]
    v = rank_one_amplitude(PASSED, starts, α, γ)
    if control == "drawn to the end from below zero, too":
        v = rank_one_amplitude(PASSED, np.abs(starts), α, γ)
    moving = v[:-2].ravel()
    times = rank_one_time(moving, moving[:, None], α, γ)
    never = 0.0 if control == "one side" else NEVER
    return [
        v,
        rank_one_gap(PASSED, starts, α, γ),
        np.where(np.isnan(times), never, times),
    ]


def _idle_start(seed: int) -> tuple[SeparateHeads, FloatArray]:
    generator = np.random.default_rng(seed)
    v, k, q = (
        0.1 * generator.standard_normal(shape) for shape in ((3,), (3, 2, 3), (3, 2, 3))
    )
    return SeparateHeads(v, k, q), generator.standard_normal((3, 3))


def _idle_flows(context: RunContext) -> list[FloatArray]:
    """Idle heads under a constant force, integrated as they are: when one reaches the ceiling, all, divergence."""
    found = []
    for seed in seeds(context.seed, 3):
        heads, force = _idle_start(seed)
        time, (v, k, q) = _until(heads, force, CEILING)
        late, (fast, _, _) = _until(heads, force, LARGE)
        rate = np.linalg.norm(force, 2)
        onset, divergence = (
            t + 1 / (rate * np.max(np.abs(x))) for t, x in ((time, v), (late, fast))
        )
        found += [
            np.array([time, onset, divergence]),
            np.array([1.0 + np.argmax(np.abs(v))]),
            v,
            k,
            q,
        ]
    return found


def _until(
    heads: SeparateHeads, force: FloatArray, ceiling: float
) -> tuple[float, tuple[FloatArray, ...]]:
    from scipy.integrate import solve_ivp

    sizes = np.cumsum([part.size for part in heads])[:-1]
    shape = heads.k.shape

    def parts(x: FloatArray) -> tuple[FloatArray, ...]:
        v, k, q = np.split(x, sizes)
        return v, k.reshape(shape), q.reshape(shape)

    def rate(_: float, x: FloatArray) -> FloatArray:
        v, k, q = parts(x)
        towards = np.einsum("ij,hrj->hri", force, q), np.einsum("ij,hri->hrj", force, k)
        moves = (
            np.einsum("hri,hri->h", k, towards[0]),
            *(v[:, None, None] * each for each in towards),
        )
        return np.concatenate([each.ravel() for each in moves])

    def reached(_: float, x: FloatArray) -> float:
        return float(np.max(np.abs(x[: sizes[0]]))) - ceiling

    vars(reached)["terminal"] = True
    begin = np.concatenate([part.ravel() for part in heads])
    path = solve_ivp(
        rate, (0.0, 1e4), begin, "DOP853", rtol=1e-12, atol=1e-14, events=reached
    )
    return float(path.t_events[0][0]), parts(path.y_events[0][0])


def _stated_escapes(context: RunContext, control: str) -> list[FloatArray]:
    found = []
    for seed in seeds(context.seed, 3):
        heads, force = _idle_start(seed)
        force = {
            UNMODIFIED: force,
            "the force transposed": force.T,
            "twice the force": 2 * force,
        }[control]
        end, last = escape(heads, force, CEILING), escape(heads, force)
        found += [
            np.array([end.duration, end.onset, last.duration]),
            np.array([1.0 + end.head]),
            *end.heads,
        ]
    return found


CLAIMS = (
    Claim(
        id="solutions.one_head",
        title="One head follows the implicit solution from any start, of either sign and on both sides of its end",
        paper="zhang2025",
        equation="rank-one heads",
        statement=r"\dot v = \alpha v^2 - \alpha\gamma v^5",
        observable="v, its distance to the end, and the time to reach it, along the full gradient flow; six starts",
        limit="none: exact",
        measure=_head_flows,
        assumes=POPULATION_MOMENTS,
        predict=_stated_heads,
        judge=equal_within(1e-8, axes=("time", "amplitude")),
        controls=("twice the rate", "γ² for γ"),
        tier="fast",
    ),
    Claim(
        id="solutions.branches",
        title="A head stays on its side of 0 and of its end, and only there a time leads from one size to another",
        paper="zhang2025",
        equation="rank-one heads",
        statement=r"t = (P(w) - P(w_0))\,\gamma^{1/3}/\alpha\ \text{if}\ w w_0 > 0,\ (w - 1)(w_0 - 1) > 0",
        observable="v and its distance to the end by the full gradient flow, from all sides, 0 and the end; times",
        limit="none: exact",
        measure=_branches,
        assumes=POPULATION_MOMENTS,
        predict=_stated_branches,
        judge=equal_within(1e-8, axes=("start and time", "amplitude or time")),
        controls=(
            "twice the rate",
            "drawn to the end from below zero, too",
            "one side",
        ),
        tier="fast",
    ),
    Claim(
        id="solutions.idle",
        title="Idle heads under a constant force reach a size, and diverge, when and as the exact solution says",
        paper="zhang2025",
        equation="balanced heads",
        origin="here from any weights",
        statement=r"\dot v = \textstyle\sum_r k_r^\top G q_r,\ \dot k_r = v G q_r,\ \dot q_r = v G^\top k_r",
        observable="the equations integrated as they stand: times, the head, all weights then; three seeds",
        limit="none: exact",
        measure=_idle_flows,
        predict=_stated_escapes,
        judge=equal_within(1e-8, axes=("entry", "time or weight")),
        controls=("the force transposed", "twice the force"),
        tier="fast",
    ),
)
