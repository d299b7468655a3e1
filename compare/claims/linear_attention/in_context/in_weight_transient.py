"""In-weight learning along training: what it measures, predicts and judges."""

import numpy as np

from .....runtime.arrays import FloatArray
from .....simulate import initial_weights, train
from ....evidence.claim import RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import curve
from ....evidence.seeding import seeds
from ....metrics.curves import sup_gap
from .in_weight_measurements import MINIMUM, MIXED, PURE
from .mixtures import (
    MODEL,
    RATE,
    SCALE,
    STEPS,
    exact,
    exact_source,
    flow_of_all_weights,
    learned_map,
    mixture,
)

EVERY = 20
"""Steps between the weights whose test loss is taken."""


def transient_losses(context: RunContext) -> list[FloatArray]:
    """In-weight test loss along the published steps on exact moments, (points,) for each fraction between."""
    return [exact(0.0).loss(_published_maps(p, context)) for p in MIXED]


def _published_maps(fraction: float, context: RunContext) -> FloatArray:
    start = initial_weights(
        MODEL, mixture(fraction), SCALE, seeds(context.seed)[0], "zhang2025"
    )
    run = train(
        MODEL,
        exact_source(fraction),
        start,
        learning_rate=RATE,
        steps=STEPS,
        record=EVERY,
    )
    count = len(run.weight_time)
    return np.array(
        [
            learned_map({name: w[k] for name, w in run.weights.items()})
            for k in range(count)
        ]
    )


def predicted_transients(context: RunContext, control: str) -> list[FloatArray]:
    """The same along the flow of all weights; or at the minimum from the start; or without fixed teachers."""
    return [_predicted_transient(p, context, control) for p in MIXED]


def _predicted_transient(
    fraction: float, context: RunContext, control: str
) -> FloatArray:
    steps = np.append(np.arange(0, STEPS, EVERY), STEPS)
    if control == MINIMUM:
        return np.full(len(steps), float(exact(0.0).loss(exact(fraction).minimum)))
    start = initial_weights(
        MODEL, mixture(fraction), SCALE, seeds(context.seed)[0], "zhang2025"
    )
    maps = flow_of_all_weights(
        1.0 if control == PURE else fraction, start, 2 * RATE * np.unique(steps)
    )
    return exact(0.0).loss(maps)


def transient(predicted: list[FloatArray], observed: list[FloatArray]) -> Evidence:
    """Curves as predicted; each dips below where it ends, the deeper the fewer the random teachers."""
    gaps = [sup_gap(p, o) for p, o in zip(predicted, observed, strict=True)]
    lowest, last = [float(o.min()) for o in observed], [float(o[-1]) for o in observed]
    dips = all(
        end - low >= 0.3 for low, end in zip(lowest, last, strict=True)
    ) and lowest == sorted(lowest)
    steps = np.unique(np.append(np.arange(0, STEPS, EVERY), STEPS)).astype(float)
    said = [f"{low:.2f} then {end:.2f}" for low, end in zip(lowest, last, strict=True)]
    return Evidence(
        dips and max(gaps) <= 0.05,
        f"{', '.join(said)} at p = 0.2 … 0.8; largest gap to the flow {max(gaps):.3f}",
        "a dip by 0.3 or more, deeper for smaller p; gap at most 0.05 (rate 5e-4 on a drop of 1)",
        residual=max(gaps),
        curves=tuple(
            curve(f"p = {p:g}", a, b, steps)
            for p, a, b in zip(MIXED, predicted, observed, strict=True)
        ),
        axes=("steps", "in-weight test loss"),
    )
