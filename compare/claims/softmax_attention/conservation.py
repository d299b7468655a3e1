"""What gradient flow of softmax heads with four matrices conserves, on any data."""

from collections.abc import Callable

import numpy as np

from ....models.factorised import Factorised
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import initial_weights, sample, train
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import converges_at_order
from .setting import white_task

Conserved = Callable[[Weights], FloatArray]

TASK = white_task(2, 5)
MODEL = Factorised(
    2, rank=2, value_rank=2, softmax=True, query_token=False, score_divisor="sqrt_key"
)
PROMPTS, SCALE = 60, 0.5
RATES = (0.04, 0.02, 0.01)
HALF_FLOW_TIME = 2.0
"""η times the steps: flow time is twice that."""

SUMS = "K Kᵀ + Q Qᵀ and OᵀO + V Vᵀ"
TRANSPOSED = "KᵀK − QᵀQ"
TWICE = "K Kᵀ − 2 Q Qᵀ"
OUTPUTS = "V Vᵀ alone"


def _descents(context: RunContext) -> list[tuple[Weights, Weights]]:
    """Weights before and after descent to one flow time, for each learning rate; few prompts, a random start."""
    (seed,) = context.seeds(1)[:1]
    data = sample(TASK, PROMPTS, seed)
    start = initial_weights(MODEL, TASK, SCALE, seed, scheme="gaussian")
    pairs = []
    for rate in RATES:
        steps = round(HALF_FLOW_TIME / rate)
        run = train(MODEL, data, start, learning_rate=rate, steps=steps, record=steps)
        pairs.append((start, run.final))
    return pairs


def _quantities(context: RunContext, control: str) -> Conserved:
    """What a variant of the theory says is conserved, of all heads together."""

    def conserved(weights: Weights) -> FloatArray:
        K, Q = weights["key"], weights["query"]  # (H, R, D+1)
        O, V = weights["output"], weights["value"]  # (H, 1, E), (H, E, D+1)
        keys, queries = _squares(K), _squares(Q)
        outputs, values = _squares(O.swapaxes(1, 2)), _squares(V)
        variants = {
            UNMODIFIED: [keys - queries, outputs - values],
            SUMS: [keys + queries, outputs + values],
            TRANSPOSED: [_squares(K.swapaxes(1, 2)) - _squares(Q.swapaxes(1, 2))],
            TWICE: [keys - 2 * queries],
            OUTPUTS: [values],
        }
        return np.concatenate([quantity.ravel() for quantity in variants[control]])

    return conserved


def _squares(matrices: FloatArray) -> FloatArray:
    """M Mᵀ of each matrix M (H, R, C): (H, R, R)."""
    return np.asarray(matrices @ matrices.swapaxes(1, 2))


def _drift_is_first_order(
    predicted: Conserved, observed: list[tuple[Weights, Weights]]
) -> Evidence:
    """What is conserved changes by O(η) along gradient descent."""
    before = [predicted(start) for start, _ in observed]
    after = [predicted(end) for _, end in observed]
    return converges_at_order(RATES, 1, name="η")(before, after)


CLAIMS = (
    Claim(
        id="softmax.conservation",
        title="Gradient descent of softmax heads conserves K Kᵀ − Q Qᵀ and OᵀO − V Vᵀ up to O(η)",
        paper="chen2024",
        beyond_paper=True,
        equation="query, key, value and output matrices",
        origin="as for linear networks, Saxe et al. 2014",
        statement=r"K_h K_h^\top - Q_h Q_h^\top,\quad O_h^\top O_h - V_h V_h^\top",
        observable="change along gradient descent to one flow time, all four matrices, sampled tokens",
        limit="η → 0, error O(η)",
        order=1,
        measure=_descents,
        predict=_quantities,
        judge=_drift_is_first_order,
        controls=(SUMS, TRANSPOSED, TWICE, OUTPUTS),
        hypotheses=("all four matrices are trained at one rate", "any data"),
        tier="fast",
    ),
)
