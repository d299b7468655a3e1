"""Training of one, two and four softmax heads as He et al. train: Adam on all four matrices, from random weights."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....models.factorised import Factorised
from ....runtime.arrays import FloatArray
from ....simulate import Experiment, Trajectory
from ....simulate.descent.optimizers import Adam
from ....theory.softmax_attention import exact_optimum, head_scalars
from ...claims.softmax_attention.setting import PUBLISHED
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, plateau_lines, simulated
from .training import HEADS, NAMES, with_both_signs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEARNING_RATE, BATCH = 1e-3, 256
"""As published."""

STEPS = 8_000
"""Published: 500,001. The loss has dropped after 2,000; |ω| falls on, as slowly as t^(−1/6)."""

SCALE = 0.236
"""Standard deviation of every entry at the start, as published: that of uniform entries within ±1/√(D + 1)."""

RECORD = 20
AVERAGED = 50
"""Steps whose batches the loss is averaged over: single ones scatter by a tenth."""


@paper_figure("softmax_published_training", paper="he2025", tier="long")
def softmax_published_training(context: RunContext) -> "Figure":
    """Loss, ω and μ of one, two and four heads trained as He et al. train them, for a sixtieth of their steps.

    D = 5, N = 40, noise 0.1, all entries of the four matrices random and trained by Adam at the rate 1e-3 on 256 fresh
    prompts a step: the published setting, for 8,000 steps in place of 500,001, and normal weights at the start in place
    of uniform ones of the same variance; of several seeds the first whose heads grow with both signs. Losses are means
    over 50 batches. Dashed: the least exact losses of one head and of two. ω is the mean diagonal of the key-query
    matrix in units of the score, μ the last entry of the output-value row.
    """
    figure, axes = panels(3, len(HEADS), (PAGE, 4.4), sharex=True, sharey="row")
    least = [exact_optimum(PUBLISHED, heads).loss for heads in (1, 2)]
    for column, heads in zip(axes.T, HEADS, strict=True):
        run = context.trajectory(experiment(heads, context.seed))
        _draw_run(column, run, heads)
        plateau_lines(column[0], least, ["one head", "two heads"], side="right")
    for ax in axes[-1]:
        ax.set_xlabel("steps")
    labels = ("loss", r"score weight $\omega_h$", r"value weight $\mu_h$")
    for ax, label in zip(axes[:, 0], labels, strict=True):
        ax.set_ylabel(label)
    axes[0, 0].set_ylim(0, 1.3)
    panel_titles(axes[0], [NAMES[heads] for heads in HEADS])
    return figure


def experiment(heads: int, seed: int) -> Experiment:
    """Adam on fresh prompts from random matrices, of both signs if there are several heads."""
    first = Experiment(
        PUBLISHED,
        model(heads),
        batch=BATCH,
        scale=SCALE,
        scheme="gaussian",
        optimizer=Adam(LEARNING_RATE),
        steps=STEPS,
        record=RECORD,
    )
    return with_both_signs(first, seed)


def model(heads: int) -> Factorised:
    """Heads of four matrices whose scores are divided by √(D + 1)."""
    return Factorised(heads, softmax=True, query_token=False, score_divisor="sqrt_key")


def _draw_run(column: Sequence["Axes"], run: Trajectory, heads: int) -> None:
    """Loss, ω and μ of a run over its steps in three axes."""
    # Random weights are far off the family of ω and μ, so nothing is refused.
    ω, μ = head_scalars(model(heads), run, tolerance=np.inf)  # (T, H)
    loss_ax, ω_ax, μ_ax = column
    simulated(loss_ax, *_averaged(run.loss), color=COLOURS[0])
    for h, colour in zip(range(heads), COLOURS, strict=False):
        simulated(ω_ax, run.weight_time, ω[:, h], color=colour)
        simulated(μ_ax, run.weight_time, μ[:, h], color=colour)


def _averaged(losses: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Steps in the middle of each average, and the averages."""
    count = max(1, len(losses) // AVERAGED)
    parts = np.array_split(losses, count)
    ends = np.cumsum([len(part) for part in parts])
    middles = [end - len(part) / 2 for end, part in zip(ends, parts, strict=True)]
    return np.array(middles), np.array([np.mean(part) for part in parts])
