"""Losses of softmax heads, linear attention, gradient steps and ridge regression against the context length."""

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ....models.attention import Merged
from ....models.protocol import Weights
from ....simulate import predict, sample
from ....task import Task
from ....theory.predictors import (
    best_debiased_step,
    best_plain_step,
    plain_step_loss,
    ridge_loss,
)
from ....theory.softmax_attention import HeadOptimum, exact_loss, exact_optimum
from ...claims.softmax_attention.setting import (
    PUBLISHED,
    family_weights,
    softmax_model,
    white_task,
)
from ...evidence.claim import RunContext
from ...evidence.seeding import seeds
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, predicted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LENGTHS = (10, 14, 20, 28, 40, 57, 80, 113, 160)
"""Context lengths of the lines: the published ones are 10 … 100."""

EVERY_OTHER = tuple(range(10, 161, 2))
"""Context lengths of a line with a minimum."""

MEASURED = (10, 20, 40, 80, 160)
"""Context lengths at which losses are measured on prompts."""

SINGLE_HEAD = (20, 40, 80, 160)
"""Context lengths at which the best single head is sought: in shorter ones its scores are large, and dear."""

PROMPTS = 4_000
"""Prompts of each length: the standard error of a loss is 2 %, less than a mark is high."""

TRAINED_LENGTH = max(PUBLISHED.context_lengths)

LOSSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Losses that the axes name."""

RIDGE, PLAIN, DEBIASED = "ridge regression", "gradient step", "debiased step"
ONE_HEAD, TWO_HEADS = "one softmax head", "two softmax heads"
DIVIDED, UNDIVIDED = "linear, divisor $N$", "linear, no divisor"

STYLES = {
    RIDGE: ("black", "D"),
    PLAIN: (COLOURS[0], "s"),
    DEBIASED: (COLOURS[2], "v"),
    ONE_HEAD: (COLOURS[4], "^"),
    TWO_HEADS: (COLOURS[1], "o"),
    DIVIDED: (COLOURS[0], "s"),
    UNDIVIDED: (COLOURS[3], "x"),
}
"""Colour and mark of each predictor; a linear head with divisor N is a gradient step."""


class Curve(NamedTuple):
    """Losses of a predictor at context lengths."""

    lengths: tuple[int, ...]
    losses: list[float]


class Trained(NamedTuple):
    """A model with weights that do not know the context length."""

    model: Merged
    weights: Weights


@paper_figure("softmax_lengths", paper="he2025", tier="long")
def softmax_lengths(context: RunContext) -> "Figure":
    """Losses against the context length: (a) of the best predictors of each length, (b) of heads for N = 40.

    Dashed: exact losses. Marks in (b): losses on fresh prompts; marks in (a) only tell the lines apart. The heads of
    (b) are those of least loss at N = 40, where the vertical line is. Without a divisor the output of linear attention
    grows with N; with divisor N it does not, as the output of softmax heads does not.
    """
    figure, axes = panels(1, 2, (PAGE, 2.9))
    best_ax, trained_ax = axes[0]
    _draw(best_ax, _best_losses())
    for name, curve in _losses_of_trained().items():
        x, y = np.array(curve.lengths), np.array(curve.losses)
        predicted(trained_ax, x, y, color=STYLES[name][0])
    for name, curve in _measured_losses(context).items():
        colour, mark = STYLES[name]
        trained_ax.plot(*curve, mark, color=colour, fillstyle="none", label=name)
    trained_ax.axvline(TRAINED_LENGTH, color="0.7", linewidth=0.6, zorder=1)
    for ax in axes[0]:
        ax.set(xscale="log", yscale="log", xlabel="context length $N$", ylabel="loss")
        ax.set_xticks(MEASURED, labels=[str(length) for length in MEASURED])
        ax.set_yticks(LOSSES, labels=[f"{loss:g}" for loss in LOSSES])
        ax.minorticks_off()
        ax.legend()
    best_ax.set_ylim(0.09, 1.2)
    trained_ax.set_ylim(0.11, 9)
    panel_titles(axes[0], ["best of each length", "best of $N = 40$, at other lengths"])
    return figure


def _task(length: int) -> Task:
    """The published task at another context length."""
    return white_task(PUBLISHED.dimension, length)


@cache
def _best_heads(length: int, heads: int) -> HeadOptimum:
    """The heads of least exact loss at a context length, which several curves are about."""
    return exact_optimum(_task(length), heads)


def _best_losses() -> dict[str, Curve]:
    """Predictor → context lengths and the least loss at each."""
    tasks = [_task(length) for length in LENGTHS]
    single = [_best_heads(length, 1).loss for length in SINGLE_HEAD]
    pairs = [_best_heads(length, 2).loss for length in LENGTHS]
    return {
        ONE_HEAD: Curve(SINGLE_HEAD, single),
        TWO_HEADS: Curve(LENGTHS, pairs),
        DEBIASED: Curve(LENGTHS, [best_debiased_step(task).loss for task in tasks]),
        PLAIN: Curve(LENGTHS, [best_plain_step(task).loss for task in tasks]),
        RIDGE: Curve(LENGTHS, [ridge_loss(task).loss for task in tasks]),
    }


def _losses_of_trained() -> dict[str, Curve]:
    """Predictor → its loss at every context length, with the weights that are best at the published one."""
    η = best_plain_step(PUBLISHED).step
    tasks = [_task(length) for length in LENGTHS]
    # A sum over N tokens without a divisor takes a step that grows with N.
    undivided = [
        float(plain_step_loss(_task(length), η * length / TRAINED_LENGTH))
        for length in EVERY_OTHER
    ]
    curves = {UNDIVIDED: Curve(EVERY_OTHER, undivided)}
    for name, heads in ((ONE_HEAD, 1), (TWO_HEADS, 2)):
        best = _best_heads(TRAINED_LENGTH, heads)
        losses = [float(exact_loss(task, best.omega, best.mu)) for task in tasks]
        curves[name] = Curve(LENGTHS, losses)
    divided = [float(plain_step_loss(task, η)) for task in tasks]
    return curves | {DIVIDED: Curve(LENGTHS, divided)}


def _trained() -> dict[str, Trained]:
    """The same predictors as models."""
    D = PUBLISHED.dimension
    step = family_weights([1.0], [best_plain_step(PUBLISHED).step], D)
    by_length = Merged(1, query_token=False, divisor="context")
    by_trained_length = Merged(1, query_token=False, divisor=TRAINED_LENGTH)
    trained = {
        UNDIVIDED: Trained(by_trained_length, step),
        DIVIDED: Trained(by_length, step),
    }
    for name, heads in ((ONE_HEAD, 1), (TWO_HEADS, 2)):
        best = _best_heads(TRAINED_LENGTH, heads)
        weights = family_weights(best.omega, best.mu, D)
        trained[name] = Trained(softmax_model(heads), weights)
    return trained


def _measured_losses(context: RunContext) -> dict[str, Curve]:
    """Predictor → its mean loss over fresh prompts of some context lengths."""
    trained = _trained()
    measured = {name: Curve(MEASURED, []) for name in trained}
    for length in MEASURED:
        prompts = sample(_task(length), PROMPTS, seeds(context.seed)[0], split="test")
        labels = prompts.targets[:, -1, 0]
        for name, (model, weights) in trained.items():
            outputs = predict(model, weights, prompts)
            measured[name].losses.append(float(np.mean((outputs - labels) ** 2)))
    return measured


def _draw(ax: "Axes", curves: dict[str, Curve]) -> None:
    """Dashed lines, one for each predictor, with open marks that tell lines apart that lie on each other."""
    for place, (name, curve) in enumerate(curves.items()):
        colour, mark = STYLES[name]
        x, y = np.array(curve.lengths), np.array(curve.losses)
        # Every other length of a line is marked, and of the next line the lengths between.
        marks = (place % 2, 2) if len(x) == len(LENGTHS) else 1
        style: dict[str, Any] = {
            "marker": mark,
            "markevery": marks,
            "fillstyle": "none",
        }
        predicted(ax, x, y, color=colour, label=name, **style)
