"""Online SGD of one layer on modes, on chains of fresh prompts: its floor, the balance of p and q, and its moments.

The chains draw prompts of their own; the loss of their weights is the exact one of the layer.
"""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import SgdChains, flow, objective, sample, sgd_chains, statistics
from ....theory.linear_transformer import (
    SgdBalance,
    SgdFloor,
    layer_loss,
    minimum,
    mode_descent,
    sgd_balance,
    sgd_floor,
    sgd_means,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import converges_at_order, equal_within
from ...evidence.seed_judges import within_standard_errors
from .setting import LOSS, head_weights, mode_task, one_head

TASK = mode_task([1.3, 0.4], 2)

NO_HALF = "without the factor ½"
OTHER_STEP = "h for 2h"
LEADING = "(h/2B) tr C alone"
DIAGONAL = "the noise of the diagonals of p and q alone"
NO_LIMIT = "c* = 1"
BATCH_ONCE = "h for h²"
WITHOUT_NOISE = "descent without noise"
MOVED = "moves as under SGD"
SUM = "the sum in place of the difference"
OTHER_DIRECTION = "p → cp, q → cq"


class Setting(NamedTuple):
    """Flow time h of a step, prompts B of a step, chains, and steps of each."""

    h: float
    batch: int
    chains: int
    steps: int

    def run(
        self, context: RunContext, p: FloatArray, q: FloatArray, record: FloatArray
    ) -> SgdChains:
        """Chains from diagonal p and q (D,), recorded before these steps; the few that diverge are left out.

        A mean over all chains does not exist: gradients are of degree 8 in Gaussian numbers.
        """
        runs = sgd_chains(
            TASK,
            np.diag(p),
            np.diag(q),
            record,
            learning_rate=self.h / 2,
            batch=self.batch,
            chains=context.repeat_factor * self.chains,
            seed=context.seeds(1)[0],
        )
        remaining = ~runs.diverged
        return replace(runs, p=runs.p[remaining], q=runs.q[remaining])

    def floor(self) -> SgdFloor:
        """What the theory says of it, at the stable scale."""
        return sgd_floor(TASK, self.h / 2, self.batch)


# h/B is a few 1e-4: at 1e-3 prompts of rare size make single chains diverge, and others make the mean.
FLOORS = (Setting(0.02, 128, 48, 2_400), Setting(0.01, 64, 48, 4_000))
LONG_FLOORS = (
    Setting(0.04, 128, 96, 10_000),
    Setting(0.02, 64, 96, 10_000),
    Setting(0.02, 128, 96, 10_000),
)
WARM_UP = 400
"""Steps from the minimum until the curved directions are stationary: the slowest decays by e⁻⁴ in 200 of them."""

EVERY = 20
"""Steps between two records: neighbours are nearly the same."""

BALANCE = Setting(0.04, 64, 64, 4_000)
START_SCALE = 1.6
BALANCE_STEPS = np.array([1000.0, 2000.0, 4000.0])

CLOSURE = Setting(0.02, 64, 900, 300)
CLOSURE_START = np.array([0.4, 0.4])

LIMIT_STEPS = (0.02, 0.01, 0.005, 0.0025)
"""Flow times h of a step with LIMIT_BATCH prompts each."""
LIMIT_BATCH = 64


def _excess(context: RunContext, settings: tuple[Setting, ...]) -> list[FloatArray]:
    """The mean excess of L of each chain above the minimum, (chains, 1) of every setting."""
    least = minimum(TASK).loss
    means = []
    for setting in settings:
        floor = setting.floor()
        record = np.arange(float(WARM_UP), setting.steps + 1, EVERY)
        runs = setting.run(context, floor.p, floor.q, record)
        losses = layer_loss(TASK, runs.p, runs.q)  # (chains, T)
        means.append(losses.mean(axis=1, keepdims=True) - least)
    return means


def _floors(settings: tuple[Setting, ...], control: str) -> list[FloatArray]:
    """The stationary excess of L (1,) of every setting, or a wrong one."""
    return [np.array([_floor(setting, control)]) for setting in settings]


def _floor(setting: Setting, control: str) -> float:
    """The excess of L, or what a mistake makes of it."""
    floor = setting.floor()
    if control == NO_HALF:
        return 2 * floor.excess
    if control == OTHER_STEP:
        return floor.excess / 2
    if control == LEADING:
        return floor.leading
    if control == DIAGONAL:
        D = TASK.dimension
        diagonal = np.arange(D) * (D + 1)
        share = floor.noise.diagonal()[np.append(diagonal, D**2 + diagonal)].sum()
        return float(floor.excess * share / np.trace(floor.noise))
    return floor.excess


@cache
def _limit_floors() -> tuple[SgdFloor, ...]:
    return tuple(sgd_floor(TASK, h / 2, LIMIT_BATCH) for h in LIMIT_STEPS)


def _excess_of_equation(context: RunContext) -> list[FloatArray]:
    """The excess of L of the whole equation of the covariance in units of h/2B, (1,) at every step."""
    return [
        np.array([2 * LIMIT_BATCH / h * floor.excess])
        for h, floor in zip(LIMIT_STEPS, _limit_floors(), strict=True)
    ]


def _trace(context: RunContext, control: str) -> list[FloatArray]:
    """tr C (1,) at every step, or what a mistake makes of it."""
    factor = {NO_HALF: 2.0, OTHER_STEP: 0.5}.get(control, 1.0)
    return [np.array([factor * np.trace(floor.noise)]) for floor in _limit_floors()]


def _balance(context: RunContext) -> list[FloatArray]:
    """|p|² − |q|² of each chain at some steps (chains, T)."""
    floor = sgd_floor(TASK, BALANCE.h / 2, BALANCE.batch, scale=START_SCALE)
    return [BALANCE.run(context, floor.p, floor.q, BALANCE_STEPS).difference]


def balance_law(steps: FloatArray, rate: float = BALANCE.h / 2) -> SgdBalance:
    """The law of balance of the chains, or at another rate."""
    return sgd_balance(TASK, rate, BALANCE.batch, steps, scale=START_SCALE)


def _balanced(context: RunContext, control: str) -> list[FloatArray]:
    """The predicted course (T,), or a wrong one."""
    course = balance_law(BALANCE_STEPS)
    if control == NO_LIMIT:
        # A course that ends where |p|² − |q|² is that of c = 1.
        first, last = balance_law(np.array([0.0])).difference[0], course.limit
        at_one = sgd_floor(TASK, 0.001, 1_000, scale=1.0)
        other = float(np.sum(at_one.p**2) - np.sum(at_one.q**2))
        share = (course.difference - last) / (first - last)
        return [other + share * (first - other)]
    if control == OTHER_STEP:
        return [balance_law(BALANCE_STEPS, BALANCE.h).difference]
    return [course.difference]


def _moments(context: RunContext) -> list[FloatArray]:
    """a₁ and L of each chain at the last step, (chains, 2)."""
    runs = CLOSURE.run(
        context, CLOSURE_START, CLOSURE_START, np.array([float(CLOSURE.steps)])
    )
    p, q = runs.p[:, 0], runs.q[:, 0]
    return [np.stack([p[:, 0, 0] * q[:, 0, 0], layer_loss(TASK, p, q)], axis=1)]


def _closed(context: RunContext, control: str) -> list[FloatArray]:
    """The means of a₁ and L (2,) by the moments, or without noise."""
    rate = CLOSURE.h / 2
    if control == WITHOUT_NOISE:
        path = mode_descent(
            TASK, CLOSURE_START, CLOSURE_START, [CLOSURE.steps], learning_rate=rate
        )
        return [np.array([path.coefficients[0, 0], path.loss[0]])]
    means = sgd_means(
        TASK,
        CLOSURE_START,
        CLOSURE_START,
        [CLOSURE.steps],
        learning_rate=rate,
        batch=CLOSURE.batch,
    )
    return [np.array([means.coefficients[0, 0], means.loss[0]])]


FLOW_TIMES = (0.0, 2.0, 5.0, 10.0)


def _norms_along_flow(context: RunContext) -> list[FloatArray]:
    """|value|² − |key_query|² (T,) of a gradient flow of all blocks on a few prompts."""
    seed = context.seeds(1)[0]
    layer = one_head(TASK)
    prompts = statistics(sample(TASK, 40, seed), layer)
    run = flow(layer, prompts, _random_start(seed), flow_time=FLOW_TIMES)
    value, key_query = run.weights["value"], run.weights["key_query"]
    return [np.sum(value**2, axis=(1, 2, 3)) - np.sum(key_query**2, axis=(1, 2, 3))]


def _random_start(seed: int) -> dict[str, FloatArray]:
    """Random weights of all blocks that the prediction depends on."""
    generator = np.random.default_rng(seed)
    D = TASK.dimension
    start = head_weights(TASK, np.eye(D), np.eye(D))
    start["value"] = generator.normal(0, 0.4, start["value"].shape)
    start["key_query"][..., :D] = generator.normal(
        0, 0.3, start["key_query"][..., :D].shape
    )
    return start


def _conserved(context: RunContext, control: str) -> list[FloatArray]:
    """What it is at the start at all times (T,), or something else."""
    start = _random_start(context.seeds(1)[0])
    of_value, of_key = (
        float(np.sum(start[name] ** 2)) for name in ("value", "key_query")
    )
    times = np.array(FLOW_TIMES)
    if control == SUM:
        return [np.full_like(times, of_value + of_key)]
    if control == MOVED:
        steps = times / BALANCE.h
        law = balance_law(steps)
        return [of_value - of_key + law.difference - law.difference[0]]
    return [np.full_like(times, of_value - of_key)]


SINGLE_PROMPTS = 20


def _cosines(context: RunContext, sign: int) -> FloatArray:
    """The cosine of the gradient of single prompts and of (p, ± q), (prompts,), at random p and q."""
    seed = context.seeds(1)[0]
    generator = np.random.default_rng(seed)
    D = TASK.dimension
    cosines = []
    for number in range(SINGLE_PROMPTS):
        p, q = generator.normal(size=(2, D, D))
        prompt = sample(TASK, 1, seed + number)
        _, slopes = objective(one_head(TASK), prompt)(head_weights(TASK, p, q))
        by_p, by_q = slopes["value"][0, :, D:], slopes["key_query"][0, :D, :D]
        product = np.sum(by_p * p) + sign * np.sum(by_q * q)
        of_slopes, of_weights = np.sum(by_p**2 + by_q**2), np.sum(p**2 + q**2)
        cosines.append(product / np.sqrt(of_slopes * of_weights))
    return np.array(cosines)


def _along_scale(context: RunContext) -> list[FloatArray]:
    """1 + the cosine with (p, −q), (prompts,): a prediction of 0 would have no relative gap."""
    return [1 + _cosines(context, -1)]


def _no_noise(context: RunContext, control: str) -> list[FloatArray]:
    """1 + 0 (prompts,), or that of another direction."""
    if control == OTHER_DIRECTION:
        return [1 + _cosines(context, +1)]
    return [np.ones(SINGLE_PROMPTS)]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="sgd.floor",
        title="Online SGD keeps the excess loss of the stationary covariance, noise of the Hessian included",
        paper="mainali2025",
        equation="online SGD",
        beyond_paper=True,
        statement=r"\Sigma = (1 - hH)\Sigma(1 - hH) + \frac{h^2}{B}(C + E[\Delta H \Sigma \Delta H])",
        observable="mean excess of L over stationary chains",
        limit="h/B → 0",
        measure=lambda context: _excess(context, FLOORS),
        predict=lambda context, control: _floors(FLOORS, control),
        judge=within_standard_errors,
        controls=(NO_HALF, OTHER_STEP),
        assumes=LOSS,
        figure="sgd_floor",
    ),
    Claim(
        id="sgd.floor_leading",
        title="The floor of online SGD is (h/2B) tr C + O(h²)",
        paper="mainali2025",
        equation="online SGD",
        beyond_paper=True,
        statement=r"L - L_{\min} = \frac{h}{2B} \operatorname{tr} C + O(h^2)",
        observable="stationary excess of L by the whole equation of the covariance",
        limit="h/B → 0",
        measure=_excess_of_equation,
        predict=_trace,
        judge=converges_at_order(LIMIT_STEPS, 1.0),
        controls=(NO_HALF, OTHER_STEP),
        order=1.0,
        tier="fast",
    ),
    Claim(
        id="sgd.floor_larger",
        title="The noise of the Hessian raises the floor of SGD above (h/2B) tr C",
        paper="mainali2025",
        equation="online SGD",
        beyond_paper=True,
        statement=r"L - L_{\min} = \operatorname{tr} H\Sigma > \frac{h}{2B} \operatorname{tr} C",
        observable="mean excess of L over stationary chains",
        limit="h/B → 0",
        measure=lambda context: _excess(context, LONG_FLOORS),
        predict=lambda context, control: _floors(LONG_FLOORS, control),
        judge=within_standard_errors,
        controls=(LEADING, NO_HALF, OTHER_STEP, DIAGONAL),
        assumes=LOSS,
        tier="long",
        figure="sgd_floor",
    ),
    Claim(
        id="sgd.balance",
        title="Online SGD balances p and q along the line of minima, at the scale with the lowest floor",
        paper="mainali2025",
        equation="online SGD",
        beyond_paper=True,
        statement=r"\frac{d(|p|^2 - |q|^2)}{dn} = \frac{h^2}{B}\left(\frac{C_p}{c^2} - C_q c^2\right)",
        observable="|p|² − |q|² of chains along their steps",
        limit="h/B → 0",
        measure=_balance,
        predict=_balanced,
        judge=within_standard_errors,
        controls=(NO_LIMIT, OTHER_STEP),
        figure="sgd_floor",
    ),
    Claim(
        id="sgd.balance_conserved_under_flow",
        title="Gradient flow on any data conserves what online SGD balances",
        paper="mainali2025",
        equation="conservation",
        statement=r"\frac{d}{dt}\left(\lVert[p_1\ p_2]\rVert^2 - \lVert[q_1; q_2]\rVert^2\right) = 0",
        observable="difference of the squared norms of the blocks along a flow",
        limit="exact",
        measure=_norms_along_flow,
        predict=_conserved,
        judge=equal_within(1e-9),
        controls=(MOVED, SUM),
        tier="fast",
    ),
    Claim(
        id="sgd.closure",
        title="Mean and covariance together predict the mean loss of SGD that descent without noise misses",
        paper="mainali2025",
        equation="online SGD",
        beyond_paper=True,
        statement=(
            r"m \to m - h[\nabla + \tfrac12 \nabla^3 : \Sigma], \quad "
            r"\Sigma \to (1-hH)\Sigma(1-hH) + \tfrac{h^2}{B}(C - \nabla\nabla^\top)"
        ),
        observable="means over chains of p₁₁q₁₁ and of L",
        limit="h/B → 0",
        measure=_moments,
        predict=_closed,
        judge=within_standard_errors,
        controls=(WITHOUT_NOISE,),
        assumes=LOSS,
    ),
    Claim(
        id="sgd.no_noise_along_scale",
        title="No prompt has a gradient along the scale p → cp, q → q/c",
        paper="mainali2025",
        equation="online SGD",
        beyond_paper=True,
        statement=r"\langle g_p, p\rangle - \langle g_q, q\rangle = 0",
        observable="cosine between gradients of single prompts and the direction of the scale",
        limit="exact",
        measure=_along_scale,
        predict=_no_noise,
        judge=equal_within(1e-12),
        controls=(OTHER_DIRECTION,),
        tier="fast",
    ),
)
