"""In-weight learning along training: what it measures, predicts and judges."""

import numpy as np

from .....runtime.arrays import FloatArray
from .....simulate import train
from ....evidence.claim import RunContext
from ....evidence.evidence import Curve, Evidence
from ....evidence.judges import curve
from ....metrics.curves import sup_gap
from .in_weight_measurements import MINIMUM, MIXED, PURE, published_start
from .mixtures import (
    MODEL,
    RATE,
    STEPS,
    exact,
    exact_source,
    flow_of_all_weights,
    learned_map,
)

RECORD_EVERY = 20
"""Steps between the weights whose test loss is taken."""

RECORDED_STEPS = np.append(np.arange(0, STEPS, RECORD_EVERY), STEPS)


def transient_losses(context: RunContext) -> list[FloatArray]:
    """In-weight test loss along the published steps on exact moments, (points,) for each fraction between."""
    in_weight = exact(0.0)
    return [in_weight.loss(_published_maps(p, context)) for p in MIXED]


def _published_maps(fraction: float, context: RunContext) -> FloatArray:
    """M (points, K) at the recorded weights of the published run."""
    run = train(
        MODEL,
        exact_source(fraction),
        published_start(fraction, context),
        learning_rate=RATE,
        steps=STEPS,
        record=RECORD_EVERY,
    )
    maps = []
    for k in range(len(run.weight_time)):
        weights = {name: w[k] for name, w in run.weights.items()}
        maps.append(learned_map(weights))
    return np.array(maps)


def predicted_transients(context: RunContext, control: str) -> list[FloatArray]:
    """The same along the flow of all weights; or at the minimum from the start; or without fixed teachers."""
    return [_predicted_transient(p, context, control) for p in MIXED]


def _predicted_transient(
    fraction: float, context: RunContext, control: str
) -> FloatArray:
    in_weight = exact(0.0)
    if control == MINIMUM:
        loss = float(in_weight.loss(exact(fraction).minimum))
        return np.full(len(RECORDED_STEPS), loss)
    start = published_start(fraction, context)
    # θ̇ = −½ ∂L/∂θ and steps of η: t = 2η·step.
    flow_time = 2 * RATE * np.unique(RECORDED_STEPS)
    # Without fixed teachers nothing is learned in the weights.
    trained_on = 1.0 if control == PURE else fraction
    return in_weight.loss(flow_of_all_weights(trained_on, start, flow_time))


def transient(predicted: list[FloatArray], observed: list[FloatArray]) -> Evidence:
    """Curves as predicted; each dips below where it ends, the deeper the fewer the random teachers."""
    gap = max(sup_gap(p, o) for p, o in zip(predicted, observed, strict=True))
    lowest = [float(loss.min()) for loss in observed]
    last = [float(loss[-1]) for loss in observed]
    # How far the loss rises again after its lowest point.
    depths = np.array(last) - np.array(lowest)
    dips = bool(np.all(depths >= 0.3)) and lowest == sorted(lowest)

    turns = [f"{low:.2f} then {end:.2f}" for low, end in zip(lowest, last, strict=True)]
    return Evidence(
        agrees=dips and gap <= 0.05,
        observed=f"{', '.join(turns)} at p = 0.2 … 0.8; largest gap to the flow {gap:.3f}",
        expected="a dip by 0.3 or more, deeper for smaller p; "
        "gap at most 0.05 (rate 5e-4 on a drop of 1)",
        residual=gap,
        curves=_by_fraction(predicted, observed),
        axes=("steps", "in-weight test loss"),
    )


def _by_fraction(
    predicted: list[FloatArray], observed: list[FloatArray]
) -> tuple[Curve, ...]:
    """The test loss against the steps at each fraction."""
    steps = np.unique(RECORDED_STEPS).astype(float)
    drawn = []
    for p, stated, measured in zip(MIXED, predicted, observed, strict=True):
        drawn.append(curve(f"p = {p:g}", stated, measured, steps))
    return tuple(drawn)
