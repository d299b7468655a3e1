"""What the tab computes: the plane with the heads on it, a run, the flow with its phases, and the best heads."""

import math
from functools import lru_cache

import numpy as np

from ....simulate import Diverged, Trajectory, symmetric_weights, train
from ....task import Task
from ....theory.predictors import best_debiased_step, best_plain_step, ridge_loss
from ....theory.softmax_attention import (
    HeadOptimum,
    exact_optimum,
    growth_rates,
    head_scalars,
    tail_end,
)
from ...answers import Answer
from ...controls import Settings
from .planes import plane
from .quick_flows import AT_REST, MOVING, approximate_flow, full_flow, quick_flow
from .settings_of_heads import Heads, model_of, steps_of

RECORDS = 60
"""Weights of a run that are drawn."""

_UNSTABLE = 10.0
"""A run whose loss is so many times that of its start has left the bounds, even if it is still a number."""


def quick_picture(settings: Settings, moving: bool) -> Answer:
    """The plane with the flow on it, and its loss, to the accuracy of a picture."""
    heads = Heads.of(settings)
    flow = quick_flow(heads, heads.times, MOVING if moving else AT_REST)
    path = flow.path
    return {
        "flow_time": heads.times,
        "omega": path.omega.T,
        "mu": path.mu.T,
        "loss": path.loss,
        "plane": plane(flow),
        "predicted_drop": heads.predicted_drop(),
    }


def run(settings: Settings, moving: bool) -> Answer:
    """Gradient descent on fresh prompts from the same heads; nothing while a slider moves."""
    if moving:
        return {}
    heads, model = Heads.of(settings), model_of(settings)
    steps = steps_of(settings)
    start = symmetric_weights(model, heads.task, heads.omega, heads.mu)
    diverged = False
    try:
        trajectory = train(
            model,
            heads.task,
            start,
            learning_rate=settings["rate"],
            batch=settings["batch"],
            steps=steps,
            record=max(1, steps // RECORDS),
        )
    except Diverged as error:
        trajectory, diverged = error.trajectory, True
    # Noise of the prompts takes weights off the family: what is drawn of them is ω and μ.
    ω, μ = head_scalars(model, trajectory, tolerance=math.inf)
    table = quick_flow(heads, heads.times, AT_REST).table
    return {
        "run_time": trajectory.flow_time,
        "loss_of_prompts": trajectory.loss,
        "weight_time": trajectory.weight_flow_time,
        "run_omega": ω.T,
        "run_mu": μ.T,
        "run_loss": table.loss(ω, μ),
        "steps": steps,
        "diverged": diverged or has_left(trajectory),
    }


def has_left(trajectory: Trajectory) -> bool:
    """Whether the loss has left the bounds of training."""
    return bool(np.max(trajectory.loss) > _UNSTABLE * trajectory.loss[0])


def flow_in_full(settings: Settings, moving: bool) -> Answer:
    """The flow on the exact loss to six digits with its phases, and that on the approximate loss."""
    if moving:
        return {}
    heads = Heads.of(settings)
    path, phases = full_flow(heads)
    rates = growth_rates(heads.task, settings["heads"], heads.metric)
    return {
        "exact_loss": path.loss,
        "exact_omega": path.omega.T,
        "exact_mu": path.mu.T,
        "approximate_loss": approximate_flow(heads).loss,
        "phases": phases.to_dict(),
        "rates": rates._asdict(),
    }


def limits(settings: Settings, moving: bool) -> Answer:
    """The best heads on the exact loss, other predictors, and where the tail ends."""
    if moving:
        return {}
    return _limits(Heads.of(settings).task)


@lru_cache(maxsize=32)
def _limits(task: Task) -> Answer:
    """Those of a task, whatever the start."""
    return {
        "one_head": _optimum(task, 1),
        "two_heads": _optimum(task, 2),
        "plain_step": best_plain_step(task).loss,
        "debiased_step": best_debiased_step(task).loss,
        "bayes": ridge_loss(task).loss,
        "tail": _tail(task),
    }


def _optimum(task: Task, heads: int) -> Answer:
    """The best heads, or why they are not found."""
    try:
        best: HeadOptimum = exact_optimum(task, heads)
    except ArithmeticError as error:
        return {"refused": str(error)}
    order = np.argsort(-best.omega)
    return {"omega": best.omega[order], "mu": best.mu[order], "loss": best.loss}


def _tail(task: Task) -> Answer:
    """The size s* and the time at which the tail of two heads ends, or why there is none."""
    try:
        return tail_end(task)._asdict()
    except (ValueError, ArithmeticError) as error:
        return {"refused": str(error)}
