"""Gradient descent on tokens follows descent on the exact loss; and descent follows the flow."""

from functools import cache
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import sample, train
from ....task import Task
from ....theory.softmax_attention import (
    HeadLoss,
    approximate_loss,
    exact_loss,
    reduced_flow,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import converges_at_order, converges_on_average
from ...evidence.seed_judges import within_standard_errors
from .setting import (
    CONVENTIONS,
    PUBLISHED,
    family_weights,
    mean_diagonals,
    softmax_model,
    white_task,
)

START = (np.array([0.1, -0.12]), np.array([0.1, -0.08]))
RATE = 0.1
NODES_OF_QUERY = 8
"""Nodes of the quadrature over the query: off by 1e-5, less than the runs scatter."""

APPROXIMATE = "descent on the approximate loss"
OTHER_CONVENTION = "the other convention of the query's token"
OTHER_METRIC = "ρ = 1 for ρ = 1/D"

SAMPLED_PROMPTS = (250, 1_000, 4_000, 16_000)
SAMPLES, SAMPLED_STEPS = 24, 30

RATES = (0.4, 0.2, 0.1, 0.05)
FLOW_TIME = 40.0
FLOW_START = (np.array([0.1, -0.12, 0.1]), np.array([0.1, -0.08, 0.1]))
"""Two of which are alike."""


class Size(NamedTuple):
    """Runs on fresh prompts: the task, prompts a step, how many runs, and the steps at which weights are compared."""

    task: Task
    prompts: int
    runs: int
    at: tuple[int, ...]


SMALL = Size(white_task(3, 6), prompts=800, runs=16, at=(15, 25, 40))
LARGE = Size(white_task(3, 12), prompts=4_000, runs=16, at=(20, 30, 40, 60, 100, 149))


def _heads_of_runs(size: Size, context: RunContext) -> list[FloatArray]:
    """ω and μ (runs, times · 2H) of runs on fresh prompts in every step, in each convention."""
    return [
        np.array(
            [_trained(size, seed, query_token) for seed in context.seeds(size.runs)]
        )
        for query_token in CONVENTIONS
    ]


def _trained(size: Size, seed: int, query_token: bool) -> FloatArray:
    """ω and μ (times · 2H,) of one run, all entries of B and a trained."""
    start = family_weights(*START, size.task.dimension)
    run = train(
        softmax_model(2, query_token),
        size.task,
        start,
        learning_rate=RATE,
        steps=size.at[-1],
        batch=size.prompts,
        seed=seed,
        record=size.at,
    )
    heads = [_heads(run.weights_at(step)) for step in size.at]
    return np.concatenate(heads)


def _heads(weights: dict[str, FloatArray]) -> FloatArray:
    """ω and μ (2H,) of weights: mean diagonals of B, last entries of a."""
    return np.concatenate(
        [mean_diagonals(weights["key_query"]), weights["value"][:, -1]]
    )


def _predicted_heads(size: Size, control: str) -> list[FloatArray]:
    """ω and μ (times · 2H,) of the same steps on the loss itself, in each convention."""
    return [_descent_of(size, query_token, control) for query_token in CONVENTIONS]


def _descent_of(size: Size, query_token: bool, control: str) -> FloatArray:
    """ω and μ (times · 2H,) of descent on the exact loss, or on a wrong one."""
    convention = not query_token if control == OTHER_CONVENTION else query_token
    loss = "approximate" if control == APPROXIMATE else "exact"
    ρ = 1.0 if control == OTHER_METRIC else 1 / size.task.dimension
    path = _path(size.task, size.at[-1], loss, convention, ρ)
    return np.concatenate([path[step] for step in size.at])


@cache
def _path(
    task: Task, steps: int, loss: str, query_token: bool, ρ: float
) -> list[FloatArray]:
    """ω and μ (2H,) before each step of descent and after the last."""
    ω, μ = START
    path = [np.concatenate([ω, μ])]
    for _ in range(steps):
        if loss == "approximate":
            result: HeadLoss = approximate_loss(task, ω, μ, gradient=True)
        else:
            result = exact_loss(
                task,
                ω,
                μ,
                query_token=query_token,
                nodes=NODES_OF_QUERY,
                gradient=True,
            )
        assert result.gradient is not None
        ω = ω - RATE * ρ * result.gradient.omega
        μ = μ - RATE * result.gradient.mu
        path.append(np.concatenate([ω, μ]))
    return path


def _heads_on_samples(context: RunContext) -> FloatArray:
    """ω and μ (P, samples, 2H) after some steps on one sample of P prompts."""
    seeds = context.seeds(SAMPLES)
    return np.array(
        [[_trained_on_sample(P, seed) for seed in seeds] for P in SAMPLED_PROMPTS]
    )


def _trained_on_sample(prompts: int, seed: int) -> FloatArray:
    """ω and μ (2H,) of a run on one sample."""
    task = SMALL.task
    run = train(
        softmax_model(2),
        sample(task, prompts, seed),
        family_weights(*START, task.dimension),
        learning_rate=RATE,
        steps=SAMPLED_STEPS,
        record=SAMPLED_STEPS,
    )
    return _heads(run.final)


def _predicted_on_samples(context: RunContext, control: str) -> FloatArray:
    """The same on the loss itself, for each number of prompts and sample."""
    size = SMALL._replace(at=(SAMPLED_STEPS,))
    heads = _descent_of(size, False, control)
    count = SAMPLES * context.repeat_factor
    return np.broadcast_to(heads, (len(SAMPLED_PROMPTS), count, len(heads)))


def _descents_of_rates(context: RunContext) -> list[FloatArray]:
    """Approximate losses (steps,) of descent on it and the first μ, for each learning rate, through the drop."""
    losses = []
    for rate in RATES:
        ω, μ = FLOW_START
        values = []
        for _ in range(round(FLOW_TIME / (2 * rate))):
            result = approximate_loss(PUBLISHED, ω, μ, gradient=True)
            assert result.gradient is not None
            values.append([float(result), μ[0]])
            ω = ω - rate / PUBLISHED.dimension * result.gradient.omega
            μ = μ - rate * result.gradient.mu
        losses.append(np.array(values).T)
    return losses


def _flows_of_rates(context: RunContext, control: str) -> list[FloatArray]:
    """The same of the reduced flow at the flow times 2η·step."""
    factor = {UNMODIFIED: 2, "t = η·step": 1, OTHER_METRIC: 2}[control]
    metric = "euclidean" if control == OTHER_METRIC else "matrix"
    losses = []
    for rate in RATES:
        times = factor * rate * np.arange(round(FLOW_TIME / (2 * rate)))
        flow = reduced_flow(
            PUBLISHED, *FLOW_START, times, loss="approximate", metric=metric
        )
        losses.append(np.array([flow.loss, flow.mu[:, 0]]))
    return losses


def _fresh_claim(name: str, size: Size, tier: str) -> Claim:
    """The claim on runs with fresh prompts, of one size."""
    return Claim(
        id=f"softmax.{name}",
        title="Gradient descent on fresh prompts follows descent on the exact loss, step for step, all weights trained"
        f"{' (larger runs)' if tier == 'long' else ''}",
        paper="he2025",
        beyond_paper=True,
        equation="training of two heads",
        origin="the comparison is made here",
        statement=r"\omega_h \to \omega_h - \tfrac{\eta}{D}\,\partial L/\partial\omega_h,\quad "
        r"\mu_h \to \mu_h - \eta\,\partial L/\partial\mu_h",
        observable=f"ω and μ of two heads, means over {size.runs} runs of {size.at[-1]} steps on {size.prompts} fresh "
        "prompts, without and with the query's own token",
        limit="P → ∞: fresh prompts shift the mean by O(η/P)",
        hypotheses=(
            f"D = {size.task.dimension}, N = {max(size.task.context_lengths)}",
        ),
        measure=lambda context: _heads_of_runs(size, context),
        predict=lambda context, control: _predicted_heads(size, control),
        judge=within_standard_errors,
        controls=(APPROXIMATE, OTHER_CONVENTION, OTHER_METRIC),
        tier=tier,
    )


CLAIMS = (
    _fresh_claim("descent", SMALL, "standard"),
    _fresh_claim("descent_larger", LARGE, "long"),
    Claim(
        id="softmax.descent_samples",
        title="Descent on one sample of P prompts follows descent on the exact loss up to O(P^(−1/2))",
        paper="he2025",
        beyond_paper=True,
        equation="training of two heads",
        origin="the comparison is made here",
        statement=r"(\omega, \mu)_P - (\omega, \mu)_\infty = O(P^{-1/2})",
        observable=f"ω and μ of two heads after {SAMPLED_STEPS} steps on samples of 250 to 16,000 prompts",
        limit="P → ∞, error O(P^-1/2)",
        order=-0.5,
        measure=_heads_on_samples,
        predict=_predicted_on_samples,
        judge=converges_on_average(SAMPLED_PROMPTS, -0.5, "P"),
        controls=(OTHER_CONVENTION, OTHER_METRIC),
        tier="long",
    ),
    Claim(
        id="softmax.descent_flow",
        title="Gradient descent of softmax heads follows the reduced flow at flow time 2η·step up to O(η)",
        paper="he2025",
        equation="reduced flow",
        origin="convention: dθ/dt = −½ ∂L/∂θ with L the mean squared error",
        statement=r"(\omega, \mu)_{\mathrm{step}} = (\omega, \mu)(2\eta\cdot\mathrm{step}) + O(\eta)",
        observable="approximate loss and first μ of three heads through the drop, two of them alike, D = 5, N = 40",
        limit="η → 0, error O(η)",
        order=1,
        measure=_descents_of_rates,
        predict=_flows_of_rates,
        judge=converges_at_order(RATES, 1, name="η"),
        controls=("t = η·step", OTHER_METRIC),
        tier="fast",
    ),
)
