"""In-context and in-weight learning: six mixtures, training loss and both test losses."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray
from ....simulate import Statistics, initial_weights, train
from ...claims.linear_attention.in_context.mixtures import (
    FRACTIONS,
    MODEL,
    RATE,
    SCALE,
    SEQUENCES,
    STEPS,
    exact,
    flow_of_all_weights,
    learned_map,
    losses,
    mixture,
    sampled,
    sampled_tests,
)
from ...evidence.claim import RunContext
from ...evidence.seeding import seeds
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, key, letter, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


KINDS = ("training loss", "in-context test loss", "in-weight test loss")

LONG_RATE, LONG_STEPS = 1.5e-3, 30_000
"""Learning rate and steps after which the loss is at rest."""

SHARES = np.concatenate([np.geomspace(1e-4, 0.1, 40), np.linspace(0.1, 1, 40)])
"""Fractions of the theory's curves; they are not continuous at 0, where training labels are random."""


@paper_figure("in_weight", paper="zhang2025")
def in_weight(context: RunContext) -> "Figure":
    """Above, losses along training at the published size; below, at rest, over the fraction of random teachers."""
    figure, axes = panels(2, 3, (PAGE, 3.9))
    first = seeds(context.seed)[0]
    tests = sampled_tests(SEQUENCES, first)
    for fraction, colour in zip(FRACTIONS, COLOURS, strict=False):
        _course(axes[0], fraction, colour, first, tests)
        _rest(axes[1], fraction, colour, first, tests)
    for ax, kind in zip(axes[0], KINDS, strict=True):
        ax.set(xlabel="steps", ylabel=kind, xlim=(0, STEPS))
    for number, (ax, kind) in enumerate(zip(axes[1], KINDS, strict=True)):
        curve = np.array(
            [losses(share, exact(share).minimum)[number] for share in SHARES]
        )
        predicted(ax, SHARES, curve)
        ax.set(
            xlabel="fraction $p$ of random teachers", ylabel=kind, xlim=(-0.05, 1.05)
        )
    for ax in axes[:, 2]:
        ax.axhline(1.0, color="0.7", linewidth=0.8, zorder=1)
    axes[0, 1].set_ylim(0, 3)
    key(axes[1, 0], "gradient descent", "theory", loc="lower right")
    titles = [
        f"{kind}, {when}" for when in ("along training", "at rest") for kind in _SETS
    ]
    letter(list(axes.ravel()), titles)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(FRACTIONS),
    )
    return figure


_SETS = ("training set", "in context", "in weight")


def _course(
    axes: NDArray[Any],
    fraction: float,
    colour: str,
    seed: int,
    tests: tuple[Statistics, ...],
) -> None:
    """The published steps on sampled sequences over the flow of all weights on exact moments."""
    start = initial_weights(MODEL, mixture(fraction), SCALE, seed, "zhang2025")
    run = train(
        MODEL,
        sampled(fraction, SEQUENCES, seed),
        start,
        learning_rate=RATE,
        steps=STEPS,
        record=20,
    )
    maps = np.array(
        [
            learned_map({name: w[k] for name, w in run.weights.items()})
            for k in range(len(run.weight_time))
        ]
    )
    theory = losses(
        fraction, flow_of_all_weights(fraction, start, run.weight_flow_time)
    )
    simulated(axes[0], run.time, run.loss, color=colour, label=f"$p = {fraction:g}$")
    for ax, test in zip(axes[1:], tests, strict=True):
        simulated(ax, run.weight_time, _test_loss(test, maps), color=colour)
    for ax, line in zip(axes, theory, strict=True):
        predicted(ax, run.weight_time, line)


def _rest(
    axes: NDArray[Any],
    fraction: float,
    colour: str,
    seed: int,
    tests: tuple[Statistics, ...],
) -> None:
    """Losses when training is at rest, and those of the exact minimum where the published labels jump, at 0."""
    start = initial_weights(MODEL, mixture(fraction), 0.005, seed, "zhang2025")
    source = sampled(fraction, SEQUENCES, seed)
    run = train(
        MODEL,
        source,
        start,
        learning_rate=LONG_RATE,
        steps=LONG_STEPS,
        record=LONG_STEPS,
    )
    M = learned_map(run.final)
    found = [run.loss[-1], *(float(_test_loss(test, M)) for test in tests)]
    for ax, loss, least in zip(
        axes, found, losses(fraction, exact(fraction).minimum), strict=True
    ):
        _point(ax, fraction, loss, colour)
        if fraction == 0:
            ax.plot([fraction], [least], "_", color="black", markersize=9, zorder=3)


def _point(ax: "Axes", fraction: float, loss: float, colour: str) -> None:
    ax.plot([fraction], [loss], "o", color=colour, zorder=2)


def _test_loss(test: Statistics, M: FloatArray) -> FloatArray:
    """Loss of effective maps M (..., K) on a test set."""
    return np.asarray(test.c + np.sum((M @ test.S - 2 * test.b) * M, axis=-1))
