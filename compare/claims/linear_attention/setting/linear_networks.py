"""Equivalences: attention on the restricted block is a linear network on cubic features."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .....models.attention import Merged, Separate
from .....runtime.arrays import FloatArray
from .....simulate import (
    Trajectory,
    convolutional_weights,
    initial_weights,
    network_features,
    network_weights,
    sample,
    statistics,
    train,
    train_convolutional,
    train_network,
)
from ....error_budget import budget
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import converges_on_average, curve, equal_within
from ....metrics.curves import sup_gap
from ..common.experiments import FOUR, MERGED, SEPARATE, merged_published

STEPS, FEW = 500, 400
SEQUENCES = (500, 2_000, 8_000, 32_000)
REPEATS = 10
RATES = {"merged": 2e-3, "separate": 0.005}
SCALES = {"merged": 0.05, "separate": 0.3}
EXACT = 1e-12
"""Relative gap that rounding may make over a run: a thousand times what is observed."""
UNIT, NO_QUERY, HALF = "one hidden unit less", "columns not weighed", "a ½ in the loss"
DIVIDED = "divided by N"
OTHER, FEWER = "another start", "one value row at zero"

Arrays = dict[str, NDArray[Any]]


# Loss and weights at every step


def _kind(model: Merged | Separate) -> str:
    return "merged" if isinstance(model, Merged) else "separate"


def _start(model: Merged | Separate, context: RunContext) -> Arrays:
    # Three factors need a larger start than two to drop within the steps.
    scale = SCALES[_kind(model)]
    return initial_weights(model, FOUR, scale, context.seeds(1)[0], "restricted")


def _curves(loss: FloatArray, weights: list[Arrays]) -> list[FloatArray]:
    """The loss (T,), and each weight at all recorded times in one array."""
    curves = [loss]
    for name in weights[0]:
        at_all_times = [of_time[name].ravel() for of_time in weights]
        curves.append(np.concatenate(at_all_times))
    return curves


def _every_tenth(run: Trajectory) -> list[Arrays]:
    """The weights of a run that records each step."""
    steps = range(0, STEPS, 10)
    return [{name: w[step] for name, w in run.weights.items()} for step in steps]


def _attention(
    model: Merged | Separate,
    context: RunContext,
    as_network: Callable[[Arrays], Arrays],
) -> list[FloatArray]:
    """Loss and weights of attention on the restricted block, as those of the network."""
    data = sample(FOUR, FEW, context.seeds(1)[0])
    # Statistics of the block leave every other weight where it is, at zero.
    source = statistics(data, model, block="restricted")
    run = train(
        model,
        source,
        _start(model, context),
        learning_rate=RATES[_kind(model)],
        steps=STEPS,
        record=1,
    )
    return _curves(run.loss, [as_network(weights) for weights in _every_tenth(run)])


def _merged_attention(context: RunContext) -> list[FloatArray]:
    return _attention(MERGED, context, network_weights)


def _separate_attention(context: RunContext) -> list[FloatArray]:
    return _attention(SEPARATE, context, convolutional_weights)


def _two_layers(context: RunContext, control: str) -> list[FloatArray]:
    """The two-layer network from the same start."""
    start = network_weights(_start(MERGED, context))
    if control == UNIT:
        # A unit of zeros stays zero: one unit less.
        start["output"][-1] = 0.0
        start["hidden"][-1] = 0.0
    return _network(train_network, start, MERGED, context, control)


def _convolutions(context: RunContext, control: str) -> list[FloatArray]:
    """The convolutional networks from the same start."""
    start = convolutional_weights(_start(SEPARATE, context))
    if control == NO_QUERY:
        # Without the query's weights every column counts alike.
        columns = start["columns"]
        start["columns"] = np.full_like(columns, np.mean(columns))
    return _network(train_convolutional, start, SEPARATE, context, control)


def _network(
    training: Callable[..., Trajectory],
    start: Arrays,
    model: Merged | Separate,
    context: RunContext,
    control: str,
) -> list[FloatArray]:
    """Loss and weights of a network on the features of the same prompts."""
    data = sample(FOUR, FEW, context.seeds(1)[0])
    z, y = network_features(data, _dividing(model, control))
    rate = RATES[_kind(model)]
    if control == HALF:
        rate /= 2
    run = training(z, y, start, learning_rate=rate, steps=STEPS, record=1)
    return _curves(run.loss, _every_tenth(run))


def _dividing(model: Merged | Separate, control: str) -> Merged | Separate:
    """The model whose divisor the features have: one that divides, where attention does not, is a control."""
    return Merged(model.head_count, divisor="context") if control == DIVIDED else model


# Attention on tokens


@dataclass(frozen=True)
class _BlockAttention:
    """Merged attention of which the restricted block alone is a weight, every other entry zero: for the tokens."""

    head_count: int = MERGED.head_count
    divisor: str = "none"

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        return {"hidden": (self.head_count, dimension**2), "output": (self.head_count,)}

    def heads(
        self, weights: Mapping[str, NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """a (H, D+1) with v_h in its last entry, B (H, D+1, D) with U_h above a row of zeros."""
        v, U = weights["output"], weights["hidden"]
        heads, D = len(v), round(np.sqrt(U.shape[1]))
        a = np.concatenate([np.zeros((heads, D)), v[:, None]], axis=1)
        matrices = U.reshape(heads, D, D)
        B = np.concatenate([matrices, np.zeros((heads, 1, D))], axis=1)
        return a, B


def _on_tokens(context: RunContext) -> list[FloatArray]:
    """Loss and weights of the attention layer itself, trained on the tokens of every prompt."""
    run = train(
        _BlockAttention(),
        sample(FOUR, FEW, context.seeds(1)[0]),
        network_weights(_start(MERGED, context)),
        learning_rate=RATES["merged"],
        steps=STEPS,
        record=1,
    )
    return _curves(run.loss, _every_tenth(run))


# The published size


class PublishedRun(NamedTuple):
    """Loss and weights of attention on the block, and the loss where all weights are trained."""

    on_block: list[FloatArray]
    loss: FloatArray


def _published(context: RunContext) -> PublishedRun:
    experiment = context.experiments[0]
    run = train(
        MERGED,
        statistics(experiment.data, MERGED, block="restricted"),
        experiment.start,
        learning_rate=experiment.learning_rate,
        steps=experiment.steps,
        record=experiment.record,
    )
    weights = network_weights(run.weights)  # with the recorded times first
    on_block = [run.loss, *(array.ravel() for array in weights.values())]
    return PublishedRun(on_block, context.trajectories[0].loss)


def _published_network(context: RunContext, control: str) -> list[FloatArray]:
    """Loss and weights of the network, zeros for a unit that is left out."""
    experiment = context.experiments[0]
    start = network_weights(experiment.start)
    units = len(start["output"])
    if control == UNIT:
        start = {name: array[:-1] for name, array in start.items()}
    rate = experiment.learning_rate
    if control == HALF:
        rate /= 2

    z, y = network_features(experiment.data, _dividing(MERGED, control))
    run = train_network(
        z,
        y,
        start,
        learning_rate=rate,
        steps=experiment.steps,
        record=experiment.record,
    )
    return [run.loss, *(_with_units(run.weights[name], units) for name in start)]


def _with_units(recorded: FloatArray, units: int) -> FloatArray:
    """Recorded weights (T, ·, …) with zeros for the units that the network has not, in one line."""
    whole = np.zeros((len(recorded), units, *recorded.shape[2:]))
    whole[:, : recorded.shape[1]] = recorded
    return whole.ravel()


def _equal_on_block(predicted: list[FloatArray], observed: PublishedRun) -> Evidence:
    """On the block, attention is the network; what training all weights changes is shown beside it."""
    comparison = equal_within(EXACT)(predicted, observed.on_block)
    network_loss, block_loss = predicted[0], observed.on_block[0]
    gap = sup_gap(observed.loss, network_loss)
    # What each of the two differences changes of the loss.
    sizes = budget(
        observed.loss,
        {"weights off the restricted block": block_loss, "rounding": network_loss},
    )
    return replace(
        comparison,
        observed=f"{comparison.observed}; all weights trained, the loss is within {gap:.2g}",
        residual=gap,
        budget=tuple(sizes.items()),
        curves=(curve("loss, all weights trained", network_loss, observed.loss),),
        axes=("step", "loss"),
    )


# How far attention with all weights is from the network


class Grid(NamedTuple):
    """Losses along the drop (P, seeds, T) and last weights (P, seeds, n)."""

    losses: FloatArray
    weights: FloatArray


def _full(context: RunContext) -> Grid:
    """Attention of which every weight is trained."""
    return _grid(context, "full", UNMODIFIED)


def _restricted(context: RunContext, control: str) -> Grid:
    """The same on the same data and from the same weights, on the restricted block: of the network."""
    return _grid(context, "restricted", control)


def _grid(context: RunContext, block: str, control: str) -> Grid:
    losses, weights = [], []
    for count in SEQUENCES:
        runs = [_run(count, seed, block, control) for seed in context.seeds(REPEATS)]
        losses.append([run.loss[::10] for run in runs])
        weights.append([_flattened(run.final) for run in runs])
    return Grid(np.array(losses), np.array(weights))


def _flattened(weights: Mapping[str, NDArray[Any]]) -> FloatArray:
    return np.concatenate([array.ravel() for array in weights.values()])


def _run(sequences: int, seed: int, block: str, control: str) -> Trajectory:
    start = initial_weights(MERGED, FOUR, 0.05, seed, "restricted")
    if control == OTHER:
        start["value"] *= 1.1
    if control == FEWER:
        start["value"][-1] = 0.0
    data = sample(FOUR, sequences, seed)
    source = statistics(data, MERGED, block=block)
    return train(MERGED, source, start, learning_rate=2e-3, steps=STEPS, record=STEPS)


def _weight_gap(predicted: Grid, observed: Grid) -> Evidence:
    """The gap of the weights falls as P^-1/2."""
    judge = converges_on_average(SEQUENCES, -0.5, "P")
    return judge(predicted.weights, observed.weights)


def _loss_gap(predicted: Grid, observed: Grid) -> Evidence:
    """The gap of the losses falls as 1/P: what drifts off the block enters squared."""
    judge = converges_on_average(SEQUENCES, -1, "P")
    return judge(predicted.losses, observed.losses)


AXES = ("step", "loss; weights, one after another")


CLAIMS = (
    Claim(
        id="network.merged",
        title="Merged attention trains as a two-layer linear network on cubic features, at every step",
        paper="zhang2025",
        equation="equivalence to linear networks",
        statement=r"\hat y_q = \sum_h v_h \langle U_h, z\rangle,\quad z = \mathrm{vec}(\beta x_q^\top)",
        observable="loss at each of 500 steps and all weights at every tenth, from the same random start",
        limit="none: exact on the restricted block",
        measure=_merged_attention,
        predict=_two_layers,
        judge=equal_within(EXACT, axes=AXES),
        controls=(UNIT, HALF, DIVIDED),
        hypotheses=("weights off the restricted block are frozen at zero",),
        tier="fast",
    ),
    Claim(
        id="network.separate",
        title="Rank-one attention trains as a sum of three-layer convolutional linear networks, at every step",
        paper="zhang2025",
        equation="equivalence to linear networks",
        statement=r"\hat y_q = \sum_h v_h \sum_j q_{hj} \sum_i k_{hi} (\beta x_q^\top)_{ij}",
        observable="loss at each of 500 steps and all weights at every tenth, from the same random start",
        limit="none: exact on the restricted block",
        measure=_separate_attention,
        predict=_convolutions,
        judge=equal_within(EXACT, axes=AXES),
        controls=(NO_QUERY, HALF, DIVIDED),
        hypotheses=("weights off the restricted block are frozen at zero", "rank one"),
        tier="fast",
    ),
    Claim(
        id="network.tokens",
        title="Attention on tokens equals the two-layer network while its other weights are frozen at zero",
        paper="zhang2025",
        equation="equivalence to linear networks",
        statement=r"\sum_h a_h^\top X X^\top B_h x_q = \sum_h v_h \langle U_h, z\rangle",
        observable="loss at each of 500 steps on 400 prompts and all weights at every tenth",
        limit="none: exact on the restricted block",
        measure=_on_tokens,
        predict=_two_layers,
        judge=equal_within(EXACT, axes=AXES),
        controls=(UNIT, HALF, DIVIDED),
        hypotheses=("weights off the restricted block are frozen at zero",),
        tier="fast",
    ),
    Claim(
        id="network.published_size",
        title="Attention and network agree in loss and weights for all 6,001 published steps",
        paper="zhang2025",
        equation="simulations of the equivalence",
        statement=r"L(\theta_{\mathrm{attention}}) = L(\theta_{\mathrm{network}}),\quad U_h, v_h \text{ equal}",
        observable="loss at each of 6,001 steps, all weights at every tenth; P = 5,000, scale 1e-6",
        limit="none on the restricted block; P → ∞ where all weights are trained",
        measure=_published,
        predict=_published_network,
        judge=_equal_on_block,
        controls=(UNIT, HALF, DIVIDED),
        experiments=lambda context: (merged_published(FOUR, context.seed),),
        hypotheses=(
            "weights off the restricted block are frozen at zero, except in the residual",
        ),
        figure="network",
    ),
    Claim(
        id="network.gap_of_weights",
        title="Weights of fully trained attention differ from those of the network by O(P^(-1/2))",
        paper="zhang2025",
        equation="how far the equivalence reaches",
        beyond_paper=True,
        statement=r"\theta_{\mathrm{all}} - \theta_{\mathrm{network}} = O(P^{-1/2})",
        observable="weights of merged attention after the drop, all trained and restricted to the "
        "block, on one sample",
        limit="P → ∞, error O(P^-1/2)",
        order=-0.5,
        measure=_full,
        predict=_restricted,
        judge=_weight_gap,
        controls=(OTHER, FEWER),
        hypotheses=("both start on the restricted block",),
        tier="long",
    ),
    Claim(
        id="network.gap_of_losses",
        title="Losses of fully trained attention and of the network differ by O(1/P) on one sample",
        paper="zhang2025",
        equation="how far the equivalence reaches",
        beyond_paper=True,
        statement=r"L_{\mathrm{all}} - L_{\mathrm{network}} = O(P^{-1})",
        observable="losses of merged attention along the drop, all weights trained and restricted, on one sample",
        limit="P → ∞, error O(1/P)",
        order=-1,
        measure=_full,
        predict=_restricted,
        judge=_loss_gap,
        controls=(OTHER, FEWER),
        hypotheses=("both start on the restricted block",),
        tier="long",
    ),
)
