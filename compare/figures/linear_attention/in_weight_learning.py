"""In-context and in-weight learning: training loss and both test losses of six mixtures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray
from ....simulate import Statistics, Trajectory, initial_weights, train
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
from ..style import (
    COLOURS,
    PAGE,
    line_legend,
    panel_titles,
    panels,
    predicted,
    simulated,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


KINDS = ("training loss", "in-context test loss", "in-weight test loss")

SETS = ("training set", "in context", "in weight")

LONG_RATE, LONG_STEPS = 1.5e-3, 30_000
"""Learning rate and steps after which the loss no longer changes."""

LONG_SCALE = 0.005
"""Scale of the initial weights of these runs: larger than the published one, so that they leave the saddle early."""

SHARES = np.concatenate([np.geomspace(1e-4, 0.1, 40), np.linspace(0.1, 1, 40)])
"""Fractions of the theory's curves; they are not continuous at 0, where training labels are random."""


@paper_figure("in_weight", paper="zhang2025")
def in_weight(context: RunContext) -> "Figure":
    """Above, losses along training at the published size; below, after it, over the fraction of random teachers."""
    figure, axes = panels(2, 3, (PAGE, 3.9))
    along_training, after_training = axes
    seed = seeds(context.seed)[0]
    # One in-context and one in-weight test set, the same for all mixtures.
    tests = sampled_tests(SEQUENCES, seed)
    for fraction, colour in zip(FRACTIONS, COLOURS, strict=False):
        mix = Mixture(fraction, colour, seed, tests)
        _draw_training(along_training, mix)
        _draw_final_losses(after_training, mix)
    _draw_minimum_losses(after_training)

    _label_axes(axes)
    line_legend(axes[1, 0], "gradient descent", "theory", loc="lower right")
    titles = [f"{name}, along training" for name in SETS]
    titles += [f"{name}, after training" for name in SETS]
    panel_titles(list(axes.ravel()), titles)
    _name_mixtures(figure, axes[0, 0])
    return figure


def _name_mixtures(figure: "Figure", ax: "Axes") -> None:
    """Legend of the fractions below all panels, from the curves on one of them."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(FRACTIONS),
    )


def _label_axes(axes: NDArray[Any]) -> None:
    """Labels and ranges: steps above, fractions below."""
    along_training, after_training = axes
    for ax, kind in zip(along_training, KINDS, strict=True):
        ax.set(
            xlabel="steps",
            ylabel=kind,
            xlim=(0, STEPS),
        )
    for ax, kind in zip(after_training, KINDS, strict=True):
        ax.set(xlabel="fraction $p$ of random teachers", ylabel=kind)
        ax.set(xlim=(-0.05, 1.05))
    # The loss of predicting nothing, which the in-weight test set has where nothing is learned in weight.
    for ax in axes[:, 2]:
        ax.axhline(
            1.0,
            color="0.7",
            linewidth=0.8,
            zorder=1,
        )
    axes[0, 1].set_ylim(0, 3)


class Mixture(NamedTuple):
    """One fraction of random teachers: its colour, the seed of its run, and the two test sets."""

    fraction: float
    colour: str
    seed: int
    tests: tuple[Statistics, ...]


def _draw_training(axes: NDArray[Any], mix: Mixture) -> None:
    """The published steps on sampled sequences over the flow of all weights on exact moments."""
    fraction = mix.fraction
    start = initial_weights(MODEL, mixture(fraction), SCALE, mix.seed, "zhang2025")
    data = sampled(fraction, SEQUENCES, mix.seed)
    run = train(
        MODEL,
        data,
        start,
        learning_rate=RATE,
        steps=STEPS,
        record=20,
    )

    simulated(
        axes[0], run.time, run.loss, color=mix.colour, label=f"$p = {fraction:g}$"
    )
    for ax, loss in zip(axes[1:], _test_losses(run, mix.tests), strict=True):
        simulated(ax, run.weight_time, loss, color=mix.colour)
    exact_maps = flow_of_all_weights(fraction, start, run.weight_flow_time)
    for ax, loss in zip(axes, losses(fraction, exact_maps), strict=True):
        predicted(ax, run.weight_time, loss)


def _draw_final_losses(axes: NDArray[Any], mix: Mixture) -> None:
    """Losses after a long training, and those of the exact minimum at 0, where the training labels change."""
    fraction = mix.fraction
    start = initial_weights(MODEL, mixture(fraction), LONG_SCALE, mix.seed, "zhang2025")
    data = sampled(fraction, SEQUENCES, mix.seed)
    options: dict[str, Any] = {
        "learning_rate": LONG_RATE,
        "steps": LONG_STEPS,
        "record": LONG_STEPS,
    }
    run = train(MODEL, data, start, **options)

    # (K,), as the exact minimum is.
    M = learned_map(run.final)
    test_losses = [float(_test_loss(test, M)) for test in mix.tests]
    for ax, loss in zip(axes, [run.loss[-1], *test_losses], strict=True):
        ax.plot(
            [fraction],
            [loss],
            "o",
            color=mix.colour,
            zorder=2,
        )
    if fraction == 0:
        _mark_minimum_at_zero(axes)


def _mark_minimum_at_zero(axes: NDArray[Any]) -> None:
    """Losses of the exact minimum without random teachers, where the curves of the theory are not continuous."""
    minimum = losses(0.0, exact(0.0).minimum)
    for ax, loss in zip(axes, minimum, strict=True):
        ax.plot(
            [0.0],
            [loss],
            "_",
            color="black",
            markersize=9,
            zorder=3,
        )


def _draw_minimum_losses(axes: NDArray[Any]) -> None:
    """The theory's losses at the minimum over the fraction."""
    # (fractions, 3): the training loss and both test losses.
    curves = np.array([losses(share, exact(share).minimum) for share in SHARES])
    for ax, curve in zip(axes, curves.T, strict=True):
        predicted(ax, SHARES, curve)


def _test_losses(run: Trajectory, tests: Sequence[Statistics]) -> list[FloatArray]:
    """Loss (T,) on each test set at the recorded weights of a run."""
    records = range(len(run.weight_time))
    maps = np.array([learned_map(run.stored_weights(k)) for k in records])  # (T, K)
    return [_test_loss(test, maps) for test in tests]


def _test_loss(test: Statistics, M: FloatArray) -> FloatArray:
    """Loss of effective maps M (…, K) on a test set: c − 2⟨b, M⟩ + ⟨M, S M⟩."""
    return np.asarray(test.c + np.sum((M @ test.S - 2 * test.b) * M, axis=-1))
