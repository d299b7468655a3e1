"""Equivalences: attention on the restricted block is a linear network on cubic features."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

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
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence, Judge
from ....evidence.judges import converges_on_average, curve, equal_within
from ....metrics.curves import sup_gap
from ..common.experiments import FOUR, MERGED, SEPARATE, merged_published

STEPS, FEW = 500, 400
SEQUENCES = (500, 2_000, 8_000, 32_000)
REPEATS = 10
RATES = {"merged": 2e-3, "separate": 0.005}
SCALES = {"merged": 0.05, "separate": 0.3}
EXACT = 1e-12
"""Relative gap that rounding may make over a run: a thousand times what is seen."""
UNIT, NO_QUERY, HALF = "one hidden unit less", "columns not weighed", "a ½ in the loss"
DIVIDED = "divided by N"
OTHER, FEWER = "another start", "one value row at zero"


def _attention(model: Merged | Separate, context: RunContext) -> list[FloatArray]:
    """Loss and weights at every step of attention, held to the restricted block."""
    kind = "merged" if isinstance(model, Merged) else "separate"
    data, start = sample(FOUR, FEW, context.seeds(1)[0]), _start(model, context)
    source = statistics(data, model, block="restricted")
    run = train(model, source, start, learning_rate=RATES[kind], steps=STEPS, record=1)
    named = network_weights if kind == "merged" else convolutional_weights
    return _curves(
        run, run.loss, [named(_at(run, step)) for step in range(0, STEPS, 10)]
    )


def _start(model: Merged | Separate, context: RunContext) -> dict[str, FloatArray]:
    scale = SCALES["merged" if isinstance(model, Merged) else "separate"]
    return initial_weights(model, FOUR, scale, context.seeds(1)[0], "restricted")


def _at(run: Trajectory, step: int) -> dict[str, FloatArray]:
    return {name: value[step] for name, value in run.weights.items()}


def _curves(
    run: Trajectory, loss: FloatArray, weights: list[dict[str, FloatArray]]
) -> list[FloatArray]:
    return [
        loss,
        *(
            np.concatenate([each[name].ravel() for each in weights])
            for name in weights[0]
        ),
    ]


def _two_layers(context: RunContext, control: str) -> list[FloatArray]:
    start = network_weights(_start(MERGED, context))
    if control == UNIT:
        start["output"][-1] = 0.0
        start["hidden"][-1] = 0.0
    return _network(train_network, start, MERGED, "merged", context, control)


def _convolutions(context: RunContext, control: str) -> list[FloatArray]:
    start = convolutional_weights(_start(SEPARATE, context))
    if control == NO_QUERY:
        start["columns"] = np.ones_like(start["columns"]) * np.mean(start["columns"])
    return _network(train_convolutional, start, SEPARATE, "separate", context, control)


def _network(
    training: Callable[..., Trajectory],
    start: dict[str, FloatArray],
    model: Merged | Separate,
    kind: str,
    context: RunContext,
    control: str,
) -> list[FloatArray]:
    z, y = network_features(
        sample(FOUR, FEW, context.seeds(1)[0]), _dividing(model, control)
    )
    rate = RATES[kind] / 2 if control == HALF else RATES[kind]
    run = training(z, y, start, learning_rate=rate, steps=STEPS, record=1)
    return _curves(run, run.loss, [_at(run, step) for step in range(0, STEPS, 10)])


@dataclass(frozen=True)
class _Held:
    """Merged attention of which the restricted block alone is a weight, every other entry zero: for the tokens."""

    head_count: int = MERGED.head_count
    divisor: str = "none"

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        return {"hidden": (self.head_count, dimension**2), "output": (self.head_count,)}

    def heads(
        self, weights: Mapping[str, NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        U, v = weights["hidden"], weights["output"]
        heads, size = len(v), round(np.sqrt(U.shape[1]))
        value = np.concatenate([np.zeros((heads, size)), v[:, None]], axis=1)
        return value, np.concatenate(
            [U.reshape(heads, size, size), np.zeros((heads, 1, size))], axis=1
        )


def _on_tokens(context: RunContext) -> list[FloatArray]:
    """Loss and weights of the attention layer itself, trained on the tokens of every prompt."""
    start = network_weights(_start(MERGED, context))
    data = sample(FOUR, FEW, context.seeds(1)[0])
    run = train(
        _Held(), data, start, learning_rate=RATES["merged"], steps=STEPS, record=1
    )
    return _curves(run, run.loss, [_at(run, step) for step in range(0, STEPS, 10)])


Sized = tuple[list[FloatArray], FloatArray]


def _published(context: RunContext) -> Sized:
    """Loss and weights of attention held to the block, at the published size, and the loss with all weights."""
    each = context.experiments[0]
    source = statistics(each.data, MERGED, block="restricted")
    run = train(
        MERGED,
        source,
        each.start,
        learning_rate=each.learning_rate,
        steps=each.steps,
        record=each.record,
    )
    return [
        run.loss,
        *(value.ravel() for value in network_weights(run.weights).values()),
    ], context.trajectories[0].loss


def _published_network(context: RunContext, control: str) -> list[FloatArray]:
    each = context.experiments[0]
    start = network_weights(each.start)
    if control == UNIT:
        start = {name: value[:-1] for name, value in start.items()}
    z, y = network_features(each.data, _dividing(MERGED, control))
    rate = each.learning_rate / (2 if control == HALF else 1)
    run = train_network(
        z, y, start, learning_rate=rate, steps=each.steps, record=each.record
    )
    unit = np.zeros(
        (len(run.weight_steps), len(each.start["value"]) - len(start["output"]))
    )
    ends = {
        "hidden": np.repeat(unit[..., None], z.shape[1], axis=2),
        "output": unit,
    }  # weights of a unit left out
    return [
        run.loss,
        *(
            np.concatenate([run.weights[name], ends[name]], axis=1).ravel()
            for name in start
        ),
    ]


def _equal_if_held(predicted: list[FloatArray], observed: Sized) -> Evidence:
    """Held to the block, attention is the network; what training all weights changes is shown beside it."""
    held, loss = observed
    evidence = equal_within(EXACT)(predicted, held)
    sizes = budget(
        loss, {"weights off the restricted block": held[0], "rounding": predicted[0]}
    )
    return replace(
        evidence,
        observed=f"{evidence.observed}; all weights trained, the loss is within {sup_gap(loss, predicted[0]):.2g}",
        residual=sup_gap(loss, predicted[0]),
        budget=tuple(sizes.items()),
        curves=(curve("loss, all weights trained", predicted[0], loss),),
        axes=("step", "loss"),
    )


def _dividing(model: Merged | Separate, control: str) -> Merged | Separate:
    """The model whose divisor the features have: one that divides, where attention does not, is a control."""
    return Merged(model.head_count, divisor="context") if control == DIVIDED else model


def _full(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """Losses along the drop, and last weights, of attention whose every weight is trained, (P, seeds, …)."""
    return _grid(context, "full", "")


def _held(context: RunContext, control: str) -> tuple[FloatArray, FloatArray]:
    """The same on the same data and from the same weights, held to the block: of the network."""
    return _grid(context, "restricted", control)


def _grid(
    context: RunContext, block: str, control: str
) -> tuple[FloatArray, FloatArray]:
    runs = [
        [_run(count, seed, block, control) for seed in context.seeds(REPEATS)]
        for count in SEQUENCES
    ]
    losses, weights = (
        np.array([[run[side] for run in row] for row in runs]) for side in (0, 1)
    )
    return losses, weights


def _run(
    sequences: int, seed: int, block: str, control: str
) -> tuple[FloatArray, FloatArray]:
    start = initial_weights(MERGED, FOUR, 0.05, seed, "restricted")
    start["value"] *= 1.1 if control == OTHER else 1.0
    start["value"][-1] *= 0.0 if control == FEWER else 1.0
    source = statistics(sample(FOUR, sequences, seed), MERGED, block=block)
    run = train(MERGED, source, start, learning_rate=2e-3, steps=STEPS, record=STEPS)
    return run.loss[::10], np.concatenate(
        [value.ravel() for value in run.final.values()]
    )


def _gap(side: int, order: float) -> Judge:
    """The gap of the losses (side 0) or of the weights (side 1) falls at this order."""

    def judge(
        predicted: tuple[FloatArray, FloatArray],
        observed: tuple[FloatArray, FloatArray],
    ) -> Evidence:
        return converges_on_average(SEQUENCES, order, "P")(
            predicted[side], observed[side]
        )

    return judge


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
        measure=lambda context: _attention(MERGED, context),
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
        measure=lambda context: _attention(SEPARATE, context),
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
        judge=_equal_if_held,
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
        predict=_held,
        judge=_gap(1, -0.5),
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
        predict=_held,
        judge=_gap(0, -1),
        controls=(OTHER, FEWER),
        hypotheses=("both start on the restricted block",),
        tier="long",
    ),
)
