"""What the tab computes: a run, the flow on the exact loss and that of decoupled modes, and the floor of SGD."""

from functools import lru_cache

import numpy as np

from ....compare.exact_statistics import population_statistics
from ....runtime.arrays import FloatArray
from ....simulate import Diverged, Statistics, sample, sgd_chains, statistics, train
from ....task import Task
from ....theory import linear_transformer
from ....theory.linear_transformer import Minimum, layer_flow, layer_loss, mode_flow
from ....theory.linear_transformer.mode_flows import decoupled_rates
from ...answers import Answer
from ...controls import Settings
from .settings_of_layers import (
    POINTS,
    Horizon,
    Layer,
    Weights,
    horizon,
    model_of,
    on_modes,
)

MOVING_SEQUENCES = 2000
"""Of the data while a slider moves: drawing prompts takes the longest."""

_UNSTABLE = 10.0
"""A run whose loss is so many times that of its start has left the bounds, even if it is still a number."""

_LARGEST_WEIGHT = 1e6
"""Beyond it a run has diverged; no number, as weights are where they have overflowed, is not below it either."""

_SHARES = np.linspace(0.0, 1.15, 116)
"""Points of the soft threshold, in units of the largest variance."""


def run(settings: Settings, moving: bool) -> Answer:
    """A run from small weights, and what theory says without integrating: fixed points, minimum, soft threshold."""
    layer = Layer.of(settings)
    least = linear_transformer.minimum(layer.task, layer.model)
    end = horizon(layer, settings, moving=moving)
    trained = _sgd if settings["training"] == "sgd" else _full_batch
    return {
        **trained(layer, settings, end, moving),
        "steps": end.steps,
        "is_short": end.is_short,
        "minimum": least.loss,
        "learned": least.active.tolist(),
        "coefficients": least.coefficients,
        "variances": least.modes.inputs,
        "zero_loss": least.modes.zero_loss,
        "points": _points(layer),
        "threshold": _threshold(least),
        "half_times": _half_times(layer),
    }


def theory(settings: Settings, moving: bool) -> Answer:
    """The flow of all of p and q on the exact loss, and the closed form of decoupled modes, from the run's weights."""
    layer = Layer.of(settings)
    end = horizon(layer, settings, moving=moving)
    p, q = layer.blocks(layer.start)
    times = np.linspace(0, 2 * settings["rate"] * end.steps, POINTS)
    flow = layer_flow(layer.task, p, q, times, layer.model)
    least = linear_transformer.minimum(layer.task, layer.model)
    basis = least.modes.basis
    a = on_modes(basis, Weights(flow.p, flow.q))  # (T, D)
    p_modes = np.einsum("ij,ia,ja->a", p, basis, basis)
    q_modes = np.einsum("ij,ia,ja->a", q, basis, basis)
    alone = mode_flow(layer.task, p_modes, q_modes, times, layer.model, law="decoupled")
    return {
        "theory_time": times,
        "theory_loss": flow.loss,
        "theory_modes": a.T,
        "decoupled_loss": alone.loss,
        "decoupled_modes": alone.coefficients.T,
        "theory_half": half_learned(times, a, least.coefficients),
    }


def floor(settings: Settings, moving: bool) -> Answer:
    """The excess over the minimum that SGD keeps; none for full batches, and why where theory has none."""
    if moving or settings["training"] != "sgd":
        return {}
    task = Layer.of(settings).task
    return _floor(task, settings["rate"], settings["batch"])


@lru_cache(maxsize=64)
def _floor(task: Task, rate: float, batch: int) -> Answer:
    try:
        found = linear_transformer.sgd_floor(task, rate, batch)
    except (ValueError, ArithmeticError) as error:
        return {"no_floor": str(error)}
    return {"excess": found.excess, "leading": found.leading}


def _full_batch(layer: Layer, settings: Settings, end: Horizon, moving: bool) -> Answer:
    """Gradient descent on all prompts at once."""
    sequences = settings["sequences"]
    if moving and np.isfinite(sequences):
        sequences = min(sequences, MOVING_SEQUENCES)
    data = data_of(layer.task, sequences)
    diverged = False
    try:
        trajectory = train(
            layer.model,
            data,
            layer.start,
            learning_rate=settings["rate"],
            steps=end.steps,
            record=record_of(end.steps),
        )
    except Diverged as error:
        trajectory, diverged = error.trajectory, True
    # What has left the bounds is not drawn.
    steps = trajectory.weight_steps[trajectory.weight_steps < len(trajectory.loss)]
    weights = layer.blocks(trajectory.weights)
    stored = Weights(weights.p[: len(steps)], weights.q[: len(steps)])
    times = 2 * settings["rate"] * steps
    drawn = _drawn(layer, times, stored, trajectory.loss[steps])
    return drawn | {
        "diverged": diverged or drawn["diverged"],
        "used_sequences": sequences,
    }


def _sgd(layer: Layer, settings: Settings, end: Horizon, moving: bool) -> Answer:
    """Online SGD on fresh prompts of every step, with the exact loss of its weights."""
    steps = np.unique(np.linspace(0, end.steps, POINTS).astype(int))
    p, q = layer.blocks(layer.start)
    chains = sgd_chains(
        layer.task,
        p,
        q,
        steps,
        layer.model,
        learning_rate=settings["rate"],
        batch=settings["batch"],
        seed=settings["seed"],
    )
    is_small = np.max(np.abs(chains.p[0]), axis=(1, 2)) < _LARGEST_WEIGHT  # (T,)
    is_small &= np.max(np.abs(chains.q[0]), axis=(1, 2)) < _LARGEST_WEIGHT
    weights = Weights(chains.p[0][is_small], chains.q[0][is_small])
    loss = np.asarray(layer_loss(layer.task, weights.p, weights.q, layer.model))
    drawn = _drawn(layer, 2 * settings["rate"] * steps[is_small], weights, loss)
    return drawn | {"diverged": drawn["diverged"] or not np.all(is_small)}


def _drawn(
    layer: Layer, times: FloatArray, weights: Weights, loss: FloatArray
) -> Answer:
    """A run at times (T,) as far as its loss (T,) is within bounds: the loss, the modes and their half-times."""
    is_wrong = ~(loss <= _UNSTABLE * loss[0])
    within = int(np.argmax(is_wrong)) if np.any(is_wrong) else len(loss)
    least = linear_transformer.minimum(layer.task, layer.model)
    inside = Weights(weights.p[:within], weights.q[:within])
    a = on_modes(least.modes.basis, inside)  # (T, D)
    return {
        "run_time": times[:within],
        "run_loss": loss[:within],
        "run_modes": a.T,
        "run_half": half_learned(times[:within], a, least.coefficients),
        "diverged": within < len(loss),
    }


def record_of(steps: int) -> int:
    """Every so many steps of a run have their weights stored."""
    return max(1, steps // (POINTS - 1))


@lru_cache(maxsize=32)
def data_of(task: Task, sequences: float) -> Statistics:
    """Statistics of so many prompts, of infinitely many from the theory's moments."""
    model = model_of(task)
    if not np.isfinite(sequences):
        return population_statistics(task, model)
    # p₁ and q₂ stay zero, as on infinitely many prompts: see the page of the layer.
    return statistics(sample(task, int(sequences)), model, block="restricted")


def half_learned(times: FloatArray, a: FloatArray, least: FloatArray) -> list[float]:
    """When a (T, D) of each mode first has half of what the minimum learns (D,), by straight lines; nan if never."""
    found = []
    for mode, half in zip(a.T, least / 2, strict=True):
        above = np.flatnonzero(mode >= half)
        first = int(above[0]) if half > 0 and len(above) else 0
        if first == 0:
            found.append(np.nan)
            continue
        rise = mode[first] - mode[first - 1]
        share = (half - mode[first - 1]) / rise
        found.append(
            float(times[first - 1] + share * (times[first] - times[first - 1]))
        )
    return found


def _points(layer: Layer) -> list[Answer]:
    """The fixed points by increasing loss."""
    points = linear_transformer.mode_fixed_points(layer.task, layer.model)
    return [
        {
            "subset": list(point.subset),
            "loss": point.loss,
            "index": point.hessian_index,
        }
        for point in points
    ]


def _threshold(least: Minimum) -> Answer:
    """What is learned of a mode, s·a, as a function of its variance s, beside the other modes at the minimum."""
    modes = least.modes
    s = float(np.max(modes.inputs)) * _SHARES
    # s a = [ℓ − k r Z/s]₊/g with r = √(s + σ²), for teachers of variance 1.
    r = np.sqrt(s + modes.noise)
    positive = np.where(s > 0, s, np.nan)
    bracket = modes.linear - modes.single * r * least.coupling / positive
    learned = np.maximum(np.nan_to_num(bracket), 0) / modes.pairs
    return {
        "variance": s,
        "share": learned,
        "alone": modes.inputs * decoupled_rates(modes).coefficients,
    }


def _half_times(layer: Layer) -> Answer:
    """Mean and standard deviation of the half-times of the modes over random starts."""
    law = linear_transformer.half_times(layer.task, layer.scale, layer.model)
    return {"mean": law.mean, "spread": law.spread}
