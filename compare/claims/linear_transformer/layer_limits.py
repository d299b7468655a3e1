"""What long contexts, many prompts and several heads make of one layer."""

import numpy as np

from ....models.attention import Merged
from ....runtime.arrays import FloatArray
from ....simulate import (
    flow,
    initial_weights,
    objective,
    sample,
    statistics,
)
from ....task import Task
from ....theory.linear_transformer import minimum
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import converges_at_order, converges_on_average, equal_within
from ...exact_statistics import population_statistics
from .setting import LOSS, head_weights, mode_task, one_head

INPUTS = (2.0, 1.0, 0.5)
LENGTHS = (1_000, 10_000, 100_000)
LAST_TIME = 100.0
"""Of the flow to the minimum, whose slowest mode has the rate 1/2: what is missing is e^{−50}."""

PROMPTS = (250, 2_000, 16_000)
SEEDS = 24
HELD = 0.5
"""p2 and q1 where the push on the other blocks is measured."""

HEADS_INPUTS, HEADS_LENGTH = (1.0, 0.5), 5
NOISES = (0.0, 0.3)
SEARCHES = 2
SEARCH_TIME = 200.0
SEARCH_BOUND = 1e-6

WHOLE = "s∞ for 1/s∞"
OF_ROOT = "1/√s for 1/s∞"
LIKE_P2 = "a push as on p2 and q1"
ONE_HEAD = "the least loss of one head, whatever their number"
LONGER = "N + 1 for N"


# The paper's minimum is the limit of long contexts


def _learned(context: RunContext) -> list[FloatArray]:
    """p q of the modes (D,) at the end of gradient flow of all weights, for each length."""
    start = np.full(len(INPUTS), 0.5)
    ends = []
    for N in LENGTHS:
        task = mode_task(INPUTS, N)
        model = one_head(task)
        weights = head_weights(task, start, start)
        run = flow(model, population_statistics(task, model), weights, [0.0, LAST_TIME])
        D = task.dimension
        p = np.diag(run.weights["value"][-1, 0, :, D:])
        q = np.diag(run.weights["key_query"][-1, 0, :D, :D])
        ends.append(p * q)
    return ends


def _limits(context: RunContext, control: str) -> list[FloatArray]:
    """1/s∞ with s∞ = ((N + 1) s + tr Λ)/N (D,), or a wrong limit."""
    s = np.array(INPUTS)
    limits = []
    for N in LENGTHS:
        mean = ((N + 1) * s + np.sum(s)) / N
        wrong = {WHOLE: mean, OF_ROOT: 1 / np.sqrt(mean)}
        limits.append(wrong.get(control, 1 / mean))
    return limits


# Null blocks on a sample


def _gradients_of_blocks(context: RunContext) -> FloatArray:
    """The gradient on p1 and q2 where they are 0, (lengths, seeds, entries), on P prompts of P teachers."""
    task = mode_task(HEADS_INPUTS, HEADS_LENGTH)
    model = one_head(task)
    D = task.dimension
    weights = head_weights(task, np.full(D, HELD), np.full(D, HELD))
    pushes = []
    for P in PROMPTS:
        of_seeds = []
        for seed in context.seeds(SEEDS):
            data = statistics(sample(task, P, seed=seed), model)
            _, gradient = objective(model, data)(weights)
            of_p1 = gradient["value"][0, :, :D]
            of_q2 = gradient["key_query"][0, D:, :D]
            of_seeds.append(np.concatenate([of_p1.ravel(), of_q2.ravel()]))
        pushes.append(of_seeds)
    return np.array(pushes)


def _no_push(context: RunContext, control: str) -> FloatArray:
    """None on unlimited prompts, or the gradient on p2 and q1 in its place, (1, 1, entries)."""
    task = mode_task(HEADS_INPUTS, HEADS_LENGTH)
    D = task.dimension
    if control == UNMODIFIED:
        return np.zeros((1, 1, 2 * D * D))
    model = one_head(task)
    weights = head_weights(task, np.full(D, HELD), np.full(D, HELD))
    _, gradient = objective(model, population_statistics(task, model))(weights)
    of_p2 = gradient["value"][0, :, D:]
    of_q1 = gradient["key_query"][0, :D, :D]
    return np.concatenate([of_p2.ravel(), of_q1.ravel()])[None, None]


def _falls_as_root(predicted: FloatArray, observed: FloatArray) -> Evidence:
    judge = converges_on_average(PROMPTS, -0.5, "P")
    return judge(np.broadcast_to(predicted, observed.shape), observed)


# Several heads


def _least_of_heads(context: RunContext) -> list[FloatArray]:
    """The least loss that flows of one and of two heads end at, from two starts each, for each noise."""
    least = []
    for noise in NOISES:
        task = mode_task(HEADS_INPUTS, HEADS_LENGTH, noise=noise)
        for heads in (1, 2):
            model = Merged(heads=heads, outputs=2)
            moments = population_statistics(task, model)
            ends = []
            for seed in context.seeds(SEARCHES):
                start = initial_weights(model, task, 0.3, seed, "restricted")
                run = flow(model, moments, start, [0.0, SEARCH_TIME])
                ends.append(float(run.loss[-1]))
            least.append(np.array([min(ends)]))
    return least


def _stated_least(context: RunContext, control: str) -> list[FloatArray]:
    """The minimum of one head, and the sum of those of every mode alone, or what a mistake makes of it."""
    least = []
    for noise in NOISES:
        length = HEADS_LENGTH + 1 if control == LONGER else HEADS_LENGTH
        one = minimum(mode_task(HEADS_INPUTS, length, noise=noise)).loss
        alone = [minimum(_alone(s, length, noise)).loss for s in HEADS_INPUTS]
        two = one if control == ONE_HEAD else sum(alone)
        least += [np.array([one]), np.array([two])]
    return least


def _alone(s: float, length: int, noise: float) -> Task:
    """A mode without the others."""
    return mode_task([s], length, noise=noise)


CLAIMS = (
    Claim(
        id="modes.limit_of_minimum",
        title="The minimum of the decoupled equations, 1/s∞, is that of the layer in long contexts, up to O(1/N)",
        paper="mainali2025",
        equation="fixed point",
        statement=r"a_\alpha \to \frac{1}{s_\infty},\quad s_\infty = \frac{(N + 1)s_\alpha + \mathrm{tr}\Lambda}{N}",
        observable="p q of three modes at the end of gradient flow of all weights on the exact moments",
        limit="N → ∞, error O(1/N)",
        order=1,
        hypotheses=("shared basis", "null blocks 0"),
        measure=_learned,
        predict=_limits,
        judge=converges_at_order([1 / N for N in LENGTHS], 1, name="1/N", floor=1e-8),
        controls=(WHOLE, OF_ROOT),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.pushed_blocks",
        title="On P prompts null blocks are pushed off zero by O(P^(-1/2)), on unlimited ones they stay",
        paper="mainali2025",
        beyond_paper=True,
        equation="null blocks",
        origin="derived here",
        statement=r"\partial L/\partial p_1,\ \partial L/\partial q_2 = O(P^{-1/2}) \text{ at } p_1 = q_2 = 0",
        observable="gradient on p1 and q2 where they are 0, on P prompts with a teacher each",
        limit="P → ∞, error O(P^-1/2)",
        order=-0.5,
        hypotheses=("−W is as likely as W",),
        measure=_gradients_of_blocks,
        predict=_no_push,
        judge=_falls_as_root,
        controls=(LIKE_P2,),
        tier="fast",
    ),
    Claim(
        id="modes.several_heads",
        title="Two heads are no single one: with a head a mode each mode is learned as if it were alone",
        paper="mainali2025",
        beyond_paper=True,
        equation="several heads",
        origin="derived here",
        statement=r"\min_{H \ge D} L = \sum_\alpha \min L_\alpha,\quad \sigma = 0:\ \sum_\alpha "
        r"\frac{2 s_\alpha}{N + 2}",
        observable="least loss at the end of gradient flow of one and of two heads, from two random starts each",
        limit="none",
        hypotheses=("shared basis", "null blocks 0"),
        measure=_least_of_heads,
        predict=_stated_least,
        judge=equal_within(SEARCH_BOUND),
        controls=(ONE_HEAD, LONGER),
        assumes=LOSS,
        tier="fast",
    ),
)
