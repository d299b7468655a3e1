"""Training of one, two and four softmax heads on tokens, with ω and μ over the reduced flow."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ....simulate import Experiment, Trajectory
from ....theory.softmax_attention import head_scalars, reduced_flow
from ...claims.softmax_attention.setting import PUBLISHED, softmax_model
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

HEADS = (1, 2, 4)
NAMES = {1: "one head", 2: "two heads", 4: "four heads"}

SCALE = 0.1
"""Standard deviation of every weight at the start."""

LEARNING_RATE = 0.05
BATCH = 1_000
STEPS = 400
"""To flow time 40: past the drop, which is half done at about √D ln(1/scale) = 5."""

STARTS = 50
"""Random starts among which one with both signs is sought: half of those of two heads have them."""

FLOW_TIMES = 161
"""Points of the reduced flow."""


@paper_figure("softmax_training", paper="he2025", tier="long")
def softmax_training(context: RunContext) -> "Figure":
    """Loss, ω and μ of heads trained on fresh prompts by gradient descent, over their reduced flow.

    The published task, D = 5 and N = 40, and not the published optimizer, which follows no flow: gradient descent at
    the rate 0.05 on B and a of each head, 400 steps of 1,000 prompts, where He et al. take 500,001 steps of Adam at
    1e-3 on 256 prompts and four matrices a head (`softmax_published_training`). Heads start from random weights on the
    restricted block. Solid: descent on all weights; the loss is that of the batch of each step. ω is the mean diagonal
    of the key-query matrix and μ the last entry of the value row. Dashed: gradient flow of the exact loss in ω and μ
    alone, from their values at the start.
    """
    figure, axes = panels(3, len(HEADS), (PAGE, 4.4), sharex=True, sharey="row")
    for column, heads in zip(axes.T, HEADS, strict=True):
        run = context.trajectory(experiment(heads, context.seed))
        _draw_run(column, run, heads)
    for ax in axes[-1]:
        ax.set_xlabel("flow time")
    labels = ("loss", r"score weight $\omega_h$", r"value weight $\mu_h$")
    for ax, label in zip(axes[:, 0], labels, strict=True):
        ax.set_ylabel(label)
    axes[0, 0].set_ylim(0, 1.5)
    line_legend(axes[0, 0], "descent on tokens", "reduced flow")
    panel_titles(axes[0], [NAMES[heads] for heads in HEADS])
    return figure


def experiment(heads: int, seed: int) -> Experiment:
    """Descent on fresh prompts from small random weights, of both signs if there are several heads."""
    first = Experiment(
        PUBLISHED,
        softmax_model(heads),
        batch=BATCH,
        scale=SCALE,
        learning_rate=LEARNING_RATE,
        steps=STEPS,
        record=1,
        scheme="restricted",
    )
    return with_both_signs(first, seed)


def with_both_signs(experiment: Experiment, seed: int) -> Experiment:
    """The experiment with the first seed of this base whose heads grow with both signs, any for one head."""
    # Heads that all start with one sign stop where one head does.
    repeated = (replace(experiment, seed=each) for each in seeds(seed, STARTS))
    return next(each for each in repeated if _has_both_signs(each))


def _has_both_signs(experiment: Experiment) -> bool:
    """Whether heads grow with both signs: that of the growing mode μ_h + √D ω_h; one head has one sign."""
    start = head_scalars(experiment.model, experiment.start, tolerance=np.inf)
    growing = start.mu + math.sqrt(PUBLISHED.dimension) * start.omega
    return len(growing) == 1 or bool(np.min(growing) < 0 < np.max(growing))


def _draw_run(column: Sequence["Axes"], run: Trajectory, heads: int) -> None:
    """Loss, ω and μ of a run in three axes, over the reduced flow from its start."""
    # Weights leave the family of ω and μ by gradient noise alone, so nothing is refused.
    ω, μ = head_scalars(softmax_model(heads), run, tolerance=np.inf)  # (T, H)
    times = np.linspace(0, run.weight_flow_time[-1], FLOW_TIMES)
    flow = reduced_flow(PUBLISHED, ω[0], μ[0], times)
    loss_ax, ω_ax, μ_ax = column
    simulated(loss_ax, run.flow_time, run.loss, color=COLOURS[0])
    predicted(loss_ax, flow.flow_time, flow.loss)
    for h, colour in zip(range(heads), COLOURS, strict=False):
        for ax, observed, expected in ((ω_ax, ω, flow.omega), (μ_ax, μ, flow.mu)):
            simulated(ax, run.weight_flow_time, observed[:, h], color=colour)
            predicted(ax, flow.flow_time, expected[:, h])
