"""The blocks that the paper leaves at zero: saddle before learning, stable after it, and as good as the others."""

from typing import NamedTuple

import numpy as np

from ....models.attention import Merged
from ....models.protocol import Weights
from ....runtime.arrays import BoolArray, FloatArray
from ....simulate import Statistics, Trajectory, flow, objective
from ....task import Task
from ....theory.linear_transformer import (
    four_block_minima,
    held_by_p2,
    minimum,
    mode_flow,
    null_ratio,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import converges_at_order, equal_within
from ...exact_statistics import FEATURE_MOMENTS, population_statistics
from .setting import mode_task

INPUTS, LENGTH = (1.0, 0.6), 50
"""Two modes, of which the second is learned when the first has ended."""

START = 1e-3
"""Of balanced p2 and q1, beside which p1 and q2 are smaller."""

RATIOS = (1e-1, 1e-2, 1e-3)
"""Of p1 and q2 to p2 and q1 at the start."""

TIMES = np.arange(41.0)
"""Flow times through both drops."""

STEP = 1e-4
"""Of differences of the gradient, a cubic, whose error is then 1e-8."""
NEGATIVE = -1e-5
"""Eigenvalues below are negative: the smallest in size that is not zero is above 0.1."""

STARTS = 10
"""Random starts of all four blocks: |p2| > |p1| alone tells three of five of their modes."""
ENDS = np.array([0.0, 200.0])
"""Late: what the other pair still holds when a mode is learned decays at a rate of the order 1/N."""
RTOL = 1e-9
"""Of these flows, of which the ends alone matter."""
CLOSE = 1e-6
"""Of the least loss, within which every run ends."""

ALWAYS = "a saddle after learning, too"
NEVER = "stable before learning, too"
PART_OF_HELD = "p1 and q2 as parts of p2 and q1"
DECOUPLED = "the decoupled law"
REVERSED = "the smaller sum"
OF_VALUES = "|p1|/|p2|"
OF_KEYS = "|q2|/|q1|"
BY_P2 = "|p2| against |p1| alone"
LIFTED = "mixtures above the minimum, as with the query's own token"


class Diagonals(NamedTuple):
    """Diagonals (D,) of the four blocks: [p1 p2] of the value, [q1; q2] of key and query."""

    p1: FloatArray
    p2: FloatArray
    q1: FloatArray
    q2: FloatArray


def _task() -> Task:
    return mode_task(INPUTS, LENGTH)


def _layer() -> Merged:
    """One head that does not read the query's own token, as in the paper."""
    return Merged(heads=1, outputs=len(INPUTS), query_token=False)


def _statistics() -> Statistics:
    return population_statistics(_task(), _layer(), block="full")


def _weights(blocks: Diagonals) -> Weights:
    """The weights of the layer with these diagonal blocks."""
    D = len(INPUTS)
    p1, p2, q1, q2 = (np.diag(block) for block in blocks)
    shapes = _layer().shapes(D)
    weights = {name: np.zeros(shape) for name, shape in shapes.items()}
    weights["value"][0] = np.hstack([p1, p2])
    weights["key_query"][0, :, :D] = np.vstack([q1, q2])
    return weights


def _diagonals(weights: Weights) -> Diagonals:
    """The diagonals of the four blocks of weights."""
    D = len(INPUTS)
    value, key_query = weights["value"][0], weights["key_query"][0, :, :D]
    blocks = value[:, :D], value[:, D:], key_query[:D], key_query[D:]
    return Diagonals(*(np.diag(block) for block in blocks))


# Their stability


def _falling_directions(context: RunContext) -> list[int]:
    """In how many directions of p1 and q2 the loss falls: at zero weights, and where a run with p1 = q2 = 0 ends."""
    nothing = np.zeros(len(INPUTS))
    small = np.full(len(INPUTS), START)
    run = flow(
        _layer(),
        _statistics(),
        _weights(Diagonals(nothing, small, small, nothing)),
        ENDS,
    )
    learned = {name: values[-1] for name, values in run.weights.items()}
    zero = {name: np.zeros_like(values) for name, values in learned.items()}
    return [_negative_eigenvalues(weights) for weights in (zero, learned)]


def _negative_eigenvalues(weights: Weights) -> int:
    """How many eigenvalues of the Hessian over all entries of p1 and q2 are negative."""
    evaluate = objective(_layer(), _statistics())
    D = len(INPUTS)

    def gradient(null: FloatArray) -> FloatArray:
        p1, q2 = null.reshape(2, D, D)
        moved = {name: values.copy() for name, values in weights.items()}
        moved["value"][0, :, :D] += p1
        moved["key_query"][0, D:, :D] += q2
        _, slopes = evaluate(moved)
        by_p1, by_q2 = slopes["value"][0, :, :D], slopes["key_query"][0, D:, :D]
        return np.concatenate([by_p1.ravel(), by_q2.ravel()])

    steps = STEP * np.eye(2 * D * D)
    hessian = [(gradient(step) - gradient(-step)) / (2 * STEP) for step in steps]
    return int(np.sum(np.linalg.eigvalsh(hessian) < NEGATIVE))


def _stated_directions(context: RunContext, control: str) -> list[int]:
    """One a mode before and none after, or a wrong statement."""
    D = len(INPUTS)
    return {UNMODIFIED: [D, 0], ALWAYS: [D, D], NEVER: [0, 0]}[control]


def _same_directions(predicted: list[int], observed: list[int]) -> Evidence:
    before, after = observed
    return Evidence(
        agrees=predicted == observed,
        observed=f"{before} falling directions before learning, {after} after",
        expected=f"{predicted[0]} and {predicted[1]}",
    )


# Starts with small p1 and q2


def _small_null_blocks(ratio: float) -> Diagonals:
    """A start whose p1 and q2 are this part of p2 and q1."""
    held = np.full(len(INPUTS), START)
    return Diagonals(ratio * held, held, held, ratio * held)


def _losses_with_null_blocks(context: RunContext) -> list[FloatArray]:
    """The loss (T,) of all four blocks from each ratio."""
    statistics = _statistics()
    return [
        flow(_layer(), statistics, _weights(_small_null_blocks(r)), TIMES).loss
        for r in RATIOS
    ]


def _losses_without(context: RunContext, control: str) -> list[FloatArray]:
    """The loss of p2 and q1 alone, or a wrong one."""
    losses = []
    for r in RATIOS:
        larger = 1 + r if control == PART_OF_HELD else 1
        start = np.full(len(INPUTS), larger * START)
        law = "decoupled" if control == DECOUPLED else "exact"
        losses.append(mode_flow(_task(), start, start, TIMES, _layer(), law=law).loss)
    return losses


# The ratio of the null blocks

SMALL_START = 1e-5
"""Of random blocks, which grow at a constant rate for a while."""
RATIO_TIMES = (0.0, 0.5, 1.0, 2.0)
RATIO_BOUND = 1e-6
"""The blocks end below 1e-4, and what is not linear is of the order of their square."""


def _random_blocks(context: RunContext) -> FloatArray:
    """p1, p2, q1 and q2 (4, D)."""
    generator = np.random.default_rng(context.seeds(1)[0])
    return SMALL_START * generator.normal(size=(4, len(INPUTS)))


def _ratios(context: RunContext) -> list[FloatArray]:
    """|p1 + q2|/|p2 + q1| (T, D) along gradient flow of all weights."""
    start = _weights(Diagonals(*_random_blocks(context)))
    run = flow(_layer(), _statistics(), start, RATIO_TIMES)
    ratios = []
    for value, key_query in zip(
        run.weights["value"], run.weights["key_query"], strict=True
    ):
        p1, p2, q1, q2 = _diagonals({"value": value, "key_query": key_query})
        ratios.append(np.abs(p1 + q2) / np.abs(p2 + q1))
    return ratios


def _kept_ratios(context: RunContext, control: str) -> list[FloatArray]:
    """That of the start at every time, or that of other blocks."""
    blocks = _random_blocks(context)
    if control == OF_VALUES:
        ratio = np.abs(blocks[0] / blocks[1])
    elif control == OF_KEYS:
        ratio = np.abs(blocks[3] / blocks[2])
    else:
        ratio = null_ratio(blocks)
    return [ratio for _ in RATIO_TIMES]


# Which blocks hold a mode


class Ends(NamedTuple):
    """Which modes (S, D) are held by (p2, q1) where runs end, and the losses there (S,)."""

    by_p2: BoolArray
    losses: FloatArray


def _starts(context: RunContext) -> FloatArray:
    """Blocks (4, S, D) of random starts, of which the last is the first with the pairs of one mode exchanged."""
    generator = np.random.default_rng(context.seeds(1)[0])
    blocks = START * generator.normal(size=(4, STARTS, len(INPUTS)))
    p1, p2, q1, q2 = blocks[:, 0]
    exchanged = np.stack([p2, p1, q2, q1])
    # So that one of the two ends with modes in different pairs.
    blocks[:, -1, 0], blocks[:, -1, 1] = exchanged[:, 0], blocks[:, 0, 1]
    return blocks


def _ends(context: RunContext) -> Ends:
    statistics = _statistics()
    runs = [
        flow(_layer(), statistics, _weights(Diagonals(*blocks)), ENDS, rtol=RTOL)
        for blocks in np.swapaxes(_starts(context), 0, 1)
    ]
    losses = np.array([run.loss[-1] for run in runs])
    return Ends(np.array([_is_held_by_p2(run) for run in runs]), losses)


def _is_held_by_p2(run: Trajectory) -> BoolArray:
    """Whether (p2, q1) is the larger pair of each mode (D,) at the end."""
    p1, p2, q1, q2 = _diagonals(
        {name: values[-1] for name, values in run.weights.items()}
    )
    return np.asarray(np.abs(p2 * q1) > np.abs(p1 * q2))


def _stated_ends(context: RunContext, control: str) -> Ends:
    """The pair of the larger sum and the least loss of p2 and q1 alone, or what a mistake makes of it."""
    starts = _starts(context)
    p1, p2, _, _ = starts
    held = {
        REVERSED: ~held_by_p2(starts),
        BY_P2: np.abs(p2) > np.abs(p1),
    }.get(control, held_by_p2(starts))
    least = minimum(_task(), _layer()).loss
    losses = np.full(STARTS, least)
    if control == LIFTED:
        losses = losses + _lift() * (held[:, 0] != held[:, 1])
    return Ends(held, losses)


def _lift() -> float:
    """What the query's own token adds to the loss of a minimum whose modes are held by different pairs."""
    reads = Merged(heads=1, outputs=len(INPUTS))
    statistics = population_statistics(_task(), reads, block="full")
    mixed, pure = (
        four_block_minima(_task()).weights(mask)
        for mask in ([True, False], [True, True])
    )
    evaluate = objective(reads, statistics)
    return evaluate(mixed)[0] - evaluate(pure)[0]


def _same_ends(predicted: Ends, observed: Ends) -> Evidence:
    right = int(np.sum(predicted.by_p2 == observed.by_p2))
    gap = float(np.max(np.abs(observed.losses / predicted.losses - 1)))
    return Evidence(
        agrees=right == observed.by_p2.size and gap <= CLOSE,
        observed=f"{right} of {observed.by_p2.size} modes in the stated pair, losses within {gap:.1e}",
        expected=f"all, within {CLOSE:.0e}",
        residual=gap,
    )


CLAIMS = (
    Claim(
        id="modes.null_blocks",
        title="p1 = q2 = 0 is a saddle before learning and stable after it",
        paper="mainali2025",
        beyond_paper=True,
        equation="null blocks",
        origin="the paper sets them to zero; derived here",
        statement=r"\partial^2 L / \partial (p_1, q_2)^2 \text{ has } D \text{ negative eigenvalues at } 0 \text{ and "
        r"none at the minimum}",
        observable="Hessian over all entries of p1 and q2, at zero and where gradient flow without them ends",
        limit="none",
        hypotheses=("shared basis", "the query's own token is not read"),
        measure=_falling_directions,
        predict=_stated_directions,
        judge=_same_directions,
        controls=(ALWAYS, NEVER),
        assumes=FEATURE_MOMENTS,
        tier="fast",
    ),
    Claim(
        id="modes.frozen_blocks",
        title="Small p1 and q2 change the loss by the square of their ratio to p2 and q1 at the start",
        paper="mainali2025",
        beyond_paper=True,
        equation="null blocks",
        origin="derived here",
        statement=r"L(t) = L(t; p_1 = q_2 = 0) + O(r^2)",
        observable="loss along gradient flow of all four blocks on the exact moments, through two drops",
        limit="r → 0, error O(r²)",
        order=2,
        hypotheses=("shared basis", "the query's own token is not read"),
        measure=_losses_with_null_blocks,
        predict=_losses_without,
        judge=converges_at_order(RATIOS, 2, name="r"),
        controls=(PART_OF_HELD, DECOUPLED),
        assumes=FEATURE_MOMENTS,
        tier="fast",
    ),
    Claim(
        id="modes.null_ratio",
        title="Small blocks keep the ratio of p1 + q2 to p2 + q1 while they grow",
        paper="mainali2025",
        beyond_paper=True,
        equation="null blocks",
        origin="derived here",
        statement=r"\frac{|p_1 + q_2|}{|p_2 + q_1|}(t) = \frac{|p_1 + q_2|}{|p_2 + q_1|}(0)",
        observable="all four blocks along gradient flow on the exact moments, from a small random start",
        limit="small weights",
        hypotheses=("shared basis", "the query's own token is not read"),
        measure=_ratios,
        predict=_kept_ratios,
        judge=equal_within(RATIO_BOUND),
        controls=(OF_VALUES, OF_KEYS),
        assumes=FEATURE_MOMENTS,
        tier="fast",
    ),
    Claim(
        id="modes.block_choice",
        title="A mode ends in (p2, q1) where |p2 + q1| > |p1 + q2| at the start, in (p1, q2) elsewhere, at one loss",
        paper="mainali2025",
        beyond_paper=True,
        equation="null blocks",
        origin="derived here",
        statement=r"|p_2 + q_1|_\alpha > |p_1 + q_2|_\alpha \Leftrightarrow a_\alpha \to p_2 q_1,\quad L_\infty "
        r"\text{ is the same for all } 2^m \text{ choices}",
        observable="ends of gradient flow of all four blocks on the exact moments, from random starts",
        limit="small starts",
        hypotheses=("shared basis", "the query's own token is not read"),
        measure=_ends,
        predict=_stated_ends,
        judge=_same_ends,
        controls=(REVERSED, BY_P2, LIFTED),
        assumes=FEATURE_MOMENTS,
        tier="fast",
    ),
)
