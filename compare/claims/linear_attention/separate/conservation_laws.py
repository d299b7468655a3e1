"""What gradient flow conserves in heads of any rank, along gradient descent of ever smaller steps."""

from collections.abc import Callable

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import initial_weights, sample, statistics, train
from .....theory.linear_attention import conserved_quantities
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import converges_at_order
from ....evidence.seeding import seeds
from ..common.experiments import FOUR

Conserved = Callable[[Weights], FloatArray]

RATES = (0.002, 0.001, 0.0005, 0.00025)
NO_SIGN = "key alone, without the query"
TWICE = "2|a|² for |a|²"
TRANSPOSED = "KᵀK − QᵀQ for K Kᵀ − Q Qᵀ"
ONE_PAIR = "|a|² − |k₁|², the first pair alone"


def conservation(name: str, model: Separate) -> Claim:
    """The claim of this id for the heads of one model."""
    return Claim(
        id=name,
        title=f"Gradient descent conserves K Kᵀ − Q Qᵀ and |a|² − |K|² at rank {model.rank} up to O(η)",
        paper="zhang2025",
        equation="conservation laws",
        origin="Saxe et al. 2014",
        statement=r"K_h K_h^\top - Q_h Q_h^\top,\quad |a_h|^2 - |K_h|^2",
        observable="change along gradient descent to one flow time, all weights, sampled data",
        limit="η → 0, error O(η)",
        order=1,
        measure=lambda context: _descents(model, context),
        predict=lambda context, control: _quantities(model, control),
        judge=_drift_is_first_order,
        controls=(NO_SIGN, TWICE, *([TRANSPOSED, ONE_PAIR] if model.rank > 1 else [])),
        hypotheses=("all weights are trained",),
        tier="fast",
        figure="conservation",
    )


def _descents(model: Separate, context: RunContext) -> list[tuple[Weights, Weights]]:
    """Weights before and after descent to one flow time, for each learning rate; full weights, sampled data."""
    seed = seeds(context.seed)[0]
    source = statistics(sample(FOUR, 2_000, seed), model)
    start = initial_weights(model, FOUR, 0.2, seed, scheme="gaussian")
    pairs = []
    for rate in RATES:
        # All rates reach the same flow time 2η·step = 4.
        steps = round(2 / rate)
        run = train(model, source, start, learning_rate=rate, steps=steps)
        pairs.append((start, run.final))
    return pairs


def _quantities(model: Separate, control: str) -> Conserved:
    """What a variant of the theory says is conserved."""
    if control == TRANSPOSED:
        return _transposed_balance

    def conserved(weights: Weights) -> FloatArray:
        quantities = conserved_quantities(model, _changed(weights, control))
        return np.concatenate([quantity.ravel() for quantity in quantities.values()])

    return conserved


def _transposed_balance(weights: Weights) -> FloatArray:
    """KᵀK − QᵀQ of each head, which is conserved at rank one only."""
    K, Q = weights["key"][..., :-1], weights["query"][..., :-1]  # (H, R, D)
    difference: FloatArray = K.swapaxes(1, 2) @ K - Q.swapaxes(1, 2) @ Q
    return difference.ravel()


def _changed(weights: Weights, control: str) -> Weights:
    """Weights whose conserved quantities are those of a wrong variant."""
    changed = dict(weights)
    if control == NO_SIGN:
        changed["query"] = np.zeros_like(weights["query"])
    if control == TWICE:
        changed["value"] = np.sqrt(2) * weights["value"]
    if control == ONE_PAIR:
        changed["key"] = weights["key"][:, :1]
        changed["query"] = weights["query"][:, :1]
    return changed


def _drift_is_first_order(
    predicted: Conserved, observed: list[tuple[Weights, Weights]]
) -> Evidence:
    """What is conserved changes by O(η) along gradient descent."""
    before = [predicted(start) for start, _ in observed]
    after = [predicted(end) for _, end in observed]
    return converges_at_order(RATES, 1, name="η")(before, after)
