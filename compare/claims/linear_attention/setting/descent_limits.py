"""The two limits behind every overlay: small steps and many sequences."""

import numpy as np

from .....models.effective_map import effective_map
from .....runtime.arrays import FloatArray
from .....simulate import initial_weights, sample, statistics, train
from .....theory import population
from .....theory.linear_attention import rank_one_amplitude
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.judges import converges_at_order, converges_on_average
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ..common.controls import NO_FOURTH_MOMENT, TRACE_DROPPED, wrong_moments
from ..common.experiments import FOUR, MERGED, SEPARATE, WHITE

RATES = (0.02, 0.01, 0.005, 0.0025)
FLOW_TIME = 20.0
"""Flow time of each descent: all four heads have learned their directions by then."""
AMPLITUDES = np.array([0.12, 0.1, 0.15, 0.2])
SEQUENCES = (2_000, 8_000, 32_000, 128_000)
REPEATS = 8


def _steps(rate: float) -> int:
    """Steps of this rate to the same flow time 2η·step."""
    return round(FLOW_TIME / (2 * rate))


def _descents(context: RunContext) -> list[FloatArray]:
    """Losses (steps,) of gradient descent from aligned heads, for each rate."""
    source = population_statistics(FOUR, SEPARATE)
    start = initial_weights(SEPARATE, FOUR, AMPLITUDES, scheme="aligned")
    losses = []
    for rate in RATES:
        steps = _steps(rate)
        run = train(SEPARATE, source, start, learning_rate=rate, steps=steps)
        losses.append(run.loss)
    return losses


def _flows(context: RunContext, control: str) -> list[FloatArray]:
    """Losses by the closed form at the flow times of the steps."""
    # θ̇ = −½ ∂L/∂θ, so that a step of rate η takes 2η of flow time.
    factor = {UNMODIFIED: 2, "t = η·step": 1, "t = 4η·step": 4}[control]
    moments = population(FOUR, SEPARATE)
    losses = []
    for rate in RATES:
        t = factor * rate * np.arange(_steps(rate))
        # v̇ = α(v² − γ v⁵) with α = b_d, direction by direction.
        γ = 1 / moments.coefficients
        v = rank_one_amplitude(t[:, None], AMPLITUDES, moments.b, γ)
        losses.append(moments.aligned_loss(v**3))
    return losses


def _learned_maps(context: RunContext) -> FloatArray:
    """M after training all weights on P sequences, (P, seeds, D, D)."""
    every_seed = context.seeds(REPEATS)
    return np.array([[_learned_map(P, seed) for seed in every_seed] for P in SEQUENCES])


def _learned_map(sequences: int, seed: int) -> FloatArray:
    """M of merged attention well after its drop."""
    source = statistics(sample(WHITE, sequences, seed), MERGED)
    start = initial_weights(MERGED, WHITE, 1e-3, seed, "restricted")
    run = train(MERGED, source, start, learning_rate=1e-3, steps=3_000, record=3_000)
    return effective_map(MERGED, run.final)


def _population_maps(context: RunContext, control: str) -> FloatArray:
    """M* for each number of sequences and seed."""
    minimum = wrong_moments(WHITE, MERGED, control).minimum
    count = REPEATS * context.repeat_factor
    return np.broadcast_to(minimum, (len(SEQUENCES), count, *minimum.shape))


CLAIMS = (
    Claim(
        id="limits.learning_rate",
        title="Gradient descent follows gradient flow at flow time 2η·step up to O(η)",
        origin="convention: dθ/dt = −½ ∂L/∂θ with L the mean squared error",
        statement=r"\theta_{\mathrm{step}} = \theta(2\eta\cdot\mathrm{step}) + O(\eta)",
        observable="loss of four aligned heads compared with the closed form, through all drops",
        limit="η → 0, error O(η)",
        measure=_descents,
        assumes=POPULATION_MOMENTS,
        predict=_flows,
        judge=converges_at_order(RATES, 1, name="η"),
        controls=("t = η·step", "t = 4η·step"),
        tier="fast",
    ),
    Claim(
        id="limits.sequences",
        title="Training all weights on P sequences reaches the minimum of the restricted block up to O(P^(-1/2))",
        paper="zhang2025",
        equation="global minimum and reduction to the restricted block",
        statement=r"M_P - (\Lambda + (\Lambda + \mathrm{tr}(\Lambda) I)/N)^{-1} = O(P^{-1/2})",
        observable="effective map of merged attention after its drop, with all weights trained",
        limit="P → ∞, error O(P^-1/2)",
        measure=_learned_maps,
        predict=_population_maps,
        judge=converges_on_average(SEQUENCES, -0.5, "P"),
        controls=(TRACE_DROPPED, NO_FOURTH_MOMENT),
    ),
)
