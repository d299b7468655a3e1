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

ONE_DIRECTION = Task([0.9], context_length=4)
STARTS = (-3.0, -0.3, 0.02, 0.7, 1.2, 6.0)
BELOW_END = (0.02, 0.7)
"""Starts between 0 and the end: only these blow up where nothing saturates."""
TIMES = np.array([0.0, 0.01, 0.3, 1.0, 3.0, 10.0, 40.0, 60.0, 70.0])
EARLY = slice(5)
"""Times at which every start is still far enough from its end that the time can be told from the amplitude."""

EXACT_END = Task([0.5], context_length=2)
"""One head ends at 1 here, in floating point too: λ(1 + 2/N) = 1."""
BRANCH_STARTS = (-0.6, 0.3, 1.7, 0.0, 1.0)
"""Starts below 0, between 0 and the end, and above it; last those two themselves, which do not move."""
BRANCH_TIMES = np.array([0.0, 0.5, 2.0, 7.0])
NEVER = 1e3
"""What stands for the time between two amplitudes that no solution joins."""

CEILING = 0.4
LARGE = 1e8
"""Size at which a head diverges within 1/(‖G‖ v): what it has along smaller singular directions is negligible."""


# One head on one direction


def _value_of_head(task: Task, start: float, times: FloatArray) -> FloatArray:
    """v (T,) of one balanced head by the gradient flow."""
    model = Separate(heads=1)
    weights = separate_head(start, np.array([[abs(start)]]))
    run = flow(model, population_statistics(task, model), weights, times)
    v: FloatArray = run.weights["value"][:, 0, -1]
    return v


def _head_flows(context: RunContext) -> list[FloatArray]:
    """v of one head by gradient flow from each start, its distance to the end, and the times themselves."""
    # The map that makes the gradient vanish, from the moments alone, is v³.
    source = population_statistics(ONE_DIRECTION, Separate(heads=1))
    end = np.cbrt(float(source.b.ravel()[0] / source.S.ravel()[0]))

    curves = []
    for start in STARTS:
        v = _value_of_head(ONE_DIRECTION, start, TIMES)
        curves += [v, 1 - v / end]
        if start in BELOW_END:
            curves.append(v)
        curves.append(TIMES[EARLY])
    return curves


def _stated_heads(context: RunContext, control: str) -> list[FloatArray]:
    """v̇ = αv² − αγv⁵ from each start: v, 1 − v γ^{1/3}, v by its blow-up time, and the time at which it has v."""
    moments = population(ONE_DIRECTION, Separate(heads=1))
    α = float(moments.b[0])
    γ = float(1 / moments.coefficients[0])
    if control == "twice the rate":
        α = 2 * α
    if control == "γ² for γ":
        γ = γ**2

    curves = []
    for start in STARTS:
        v = rank_one_amplitude(TIMES, start, α, γ)
        curves += [v, rank_one_gap(TIMES, start, α, γ)]
        if start in BELOW_END:
            blow_up = blow_up_time(start, α, γ)
            curves.append(amplitude_from_blow_up(TIMES, blow_up, α, γ))
        # A wrong amplitude need not be one that the solution passes.
        times = TIMES[EARLY]
        if control == UNMODIFIED:
            times = rank_one_time(v[EARLY], start, α, γ)
        curves.append(times)
    return curves


def _branches(context: RunContext) -> list[FloatArray]:
    """v and its distance to the end from each side, at 0 and at the end; and the times from one v to another.

    No time joins what flows from different sides.
    """
    flows = [_value_of_head(EXACT_END, s, BRANCH_TIMES) for s in BRANCH_STARTS]
    v = np.array(flows)  # (starts, T)

    moving = len(BRANCH_STARTS) - 2
    side = np.repeat(np.arange(moving), len(BRANCH_TIMES))
    time = np.tile(BRANCH_TIMES, moving)
    joined = side[:, None] == side
    passed = np.where(joined, time - time[:, None], NEVER)
    return [v, 1 - v, passed]


def _stated_branches(context: RunContext, control: str) -> list[FloatArray]:
    moments = population(EXACT_END, Separate(heads=1))
    α = float(moments.b[0])
    γ = float(1 / moments.coefficients[0])
    if control == "twice the rate":
        α = 2 * α

    starts = np.array(BRANCH_STARTS)[:, None]
    v = rank_one_amplitude(BRANCH_TIMES, starts, α, γ)
    gap = rank_one_gap(BRANCH_TIMES, starts, α, γ)
    if control == "attracted to the end from below zero, too":
        v = rank_one_amplitude(BRANCH_TIMES, np.abs(starts), α, γ)

    moving = v[:-2].ravel()
    times = rank_one_time(moving, moving[:, None], α, γ)  # nan across a side
    never = 0.0 if control == "one side" else NEVER
    return [v, gap, np.where(np.isnan(times), never, times)]


# Small heads under a constant residual correlation


def _small_start(seed: int) -> tuple[SeparateHeads, FloatArray]:
    """Three heads of rank two in three dimensions, and a residual correlation G (3, 3)."""
    generator = np.random.default_rng(seed)
    v = 0.1 * generator.standard_normal(3)
    k = 0.1 * generator.standard_normal((3, 2, 3))
    q = 0.1 * generator.standard_normal((3, 2, 3))
    return SeparateHeads(v, k, q), generator.standard_normal((3, 3))


def _escape_flows(context: RunContext) -> list[FloatArray]:
    """Small heads under a constant G, integrated as they are: when one reaches the ceiling, all, divergence."""
    curves = []
    for seed in seeds(context.seed, 3):
        heads, G = _small_start(seed)
        time, end = _until(heads, G, CEILING)
        late, large = _until(heads, G, LARGE)

        # A head of size v with constant rate ‖G‖ diverges 1/(‖G‖ v) later.
        rate = np.linalg.norm(G, 2)
        blow_up = time + 1 / (rate * np.max(np.abs(end.v)))
        divergence = late + 1 / (rate * np.max(np.abs(large.v)))
        head = 1.0 + np.argmax(np.abs(end.v))
        curves += [np.array([time, blow_up, divergence]), np.array([head]), *end]
    return curves


def _until(
    heads: SeparateHeads, G: FloatArray, ceiling: float
) -> tuple[float, SeparateHeads]:
    """When a value first reaches the ceiling, and all heads then, by v̇ = Σ kᵀGq, k̇ = v G q, q̇ = v Gᵀk."""
    from scipy.integrate import solve_ivp

    def velocity(_: float, state: FloatArray) -> FloatArray:
        return _state(_velocity(_heads(state, heads), G))

    def reached(_: float, state: FloatArray) -> float:
        return float(np.max(np.abs(_heads(state, heads).v))) - ceiling

    vars(reached)["terminal"] = True  # scipy reads it as an attribute of the function
    path = solve_ivp(
        velocity,
        (0.0, 1e4),
        _state(heads),
        method="DOP853",
        rtol=1e-12,
        atol=1e-14,
        events=reached,
    )
    return float(path.t_events[0][0]), _heads(path.y_events[0][0], heads)


def _state(heads: SeparateHeads) -> FloatArray:
    """All entries of v, k and q, one after the other, as a vector for the integrator."""
    return np.concatenate([array.ravel() for array in heads])


def _heads(state: FloatArray, like: SeparateHeads) -> SeparateHeads:
    """The inverse of `_state`: v, k and q of the shapes that the heads `like` have."""
    H, pairs = len(like.v), like.k.shape
    v, k, q = np.split(state, [H, H + like.k.size])
    return SeparateHeads(v, k.reshape(pairs), q.reshape(pairs))


def _velocity(heads: SeparateHeads, G: FloatArray) -> SeparateHeads:
    """v̇_h = Σ_r k_hrᵀ G q_hr, k̇_hr = v_h G q_hr and q̇_hr = v_h Gᵀ k_hr."""
    v, k, q = heads
    Gq = np.einsum("ij,hrj->hri", G, q)
    Gk = np.einsum("ij,hri->hrj", G, k)
    v_dot = np.einsum("hri,hri->h", k, Gq)
    k_dot = np.einsum("h,hri->hri", v, Gq)
    q_dot = np.einsum("h,hri->hri", v, Gk)
    return SeparateHeads(v_dot, k_dot, q_dot)


def _stated_escapes(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the exact solution."""
    curves = []
    for seed in seeds(context.seed, 3):
        heads, G = _small_start(seed)
        if control == "the residual correlation transposed":
            G = G.T
        if control == "twice the residual correlation":
            G = 2 * G
        end = escape(heads, G, CEILING)
        divergence = escape(heads, G).duration
        times = np.array([end.duration, end.blow_up_time, divergence])
        curves += [times, np.array([1.0 + end.head]), *end.heads]
    return curves


CLAIMS = (
    Claim(
        id="solutions.one_head",
        title="One head follows the implicit solution from any start, of either sign, below and above its end",
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
        title="A head never crosses 0 or its end, and no time joins amplitudes on different sides",
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
            "attracted to the end from below zero, too",
            "one side",
        ),
        tier="fast",
    ),
    Claim(
        id="solutions.idle",
        title="The exact solution gives the times at which small heads reach a size and diverge at constant G",
        paper="zhang2025",
        equation="balanced heads",
        origin="here from any weights",
        statement=r"\dot v = \textstyle\sum_r k_r^\top G q_r,\ \dot k_r = v G q_r,\ \dot q_r = v G^\top k_r",
        observable="the equations integrated as they stand: times, the head, all weights then; three seeds",
        limit="none: exact",
        measure=_escape_flows,
        predict=_stated_escapes,
        judge=equal_within(1e-8, axes=("entry", "time or weight")),
        controls=(
            "the residual correlation transposed",
            "twice the residual correlation",
        ),
        tier="fast",
    ),
)
