"""What two softmax heads learn where the covariance of x is not white: the best preconditioner of a debiased step."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import Adam, Experiment, Schedule
from ....task import Task
from ....theory.softmax_attention import best_preconditioner
from ...claims.softmax_attention.setting import NOISE, PUBLISHED, softmax_model
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import COLOURS, DASHES, PAGE, panel_titles, panels
from .training import with_both_signs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CORRELATION = 0.7
"""Λ_ij = 0.7^|i − j|: neighbouring coordinates of x are correlated."""

BATCH = 250
STEPS = 1_500
RATES = Schedule({0: 0.02, 600: 0.02, STEPS: 0.001}, "cosine")
"""Learning rates that end small: the last steps would else shake the heads."""

LIMIT = 4.0
"""Largest entry that the shades tell apart."""


@paper_figure("softmax_preconditioner", paper="he2025", tier="long")
def softmax_preconditioner(context: RunContext) -> "Figure":
    """The map Σ_h μ_h B_h of two heads trained on correlated inputs, beside the best preconditioner and Λ⁻¹.

    (a) Trained on fresh prompts with Adam, Λ_ij = 0.7^|i − j|, D = 5, N = 40. (b) A* of the best debiased step, which
    is regularised: (Λ + (tr Λ + Dσ²)/N)⁻¹. (c) The inverse Λ⁻¹, which it would be for long contexts. (d) Entries of
    the trained map against those of A* (full marks) and of Λ⁻¹ (open); dashed: equal ones.
    """
    figure, axes = panels(1, 4, (PAGE, 1.9), width_ratios=(1, 1, 1, 1.15))
    trained = _trained_map(context)
    best = best_preconditioner(task()).matrix
    inverse = np.asarray(np.linalg.inv(task().covariance), dtype=float)
    for ax, matrix in zip(axes[0], (trained, best, inverse), strict=False):
        _draw_matrix(ax, matrix)
    _draw_entries(axes[0, 3], trained, (best, inverse))
    titles = ["trained", r"$A^\ast$", r"$\Lambda^{-1}$", "entries"]
    panel_titles(axes[0], titles)
    return figure


def task() -> Task:
    """The published task with correlated inputs."""
    D = PUBLISHED.dimension
    distance = np.abs(np.subtract.outer(np.arange(D), np.arange(D)))
    return Task(
        covariance=CORRELATION**distance,
        teacher_covariance=np.eye(D) / D,
        noise_variance=NOISE,
        context_length=PUBLISHED.context_length,
    )


def experiment(seed: int) -> Experiment:
    """Adam on fresh prompts, from small random heads of both signs."""
    first = Experiment(
        task(),
        softmax_model(2),
        batch=BATCH,
        scale=0.1,
        optimizer=Adam(RATES),
        steps=STEPS,
        scheme="restricted",
    )
    return with_both_signs(first, seed)


def _trained_map(context: RunContext) -> FloatArray:
    """Σ_h μ_h B_h (D, D) of the trained heads."""
    run = context.trajectory(experiment(context.seed))
    a, B = softmax_model(2).heads(run.final)
    D = PUBLISHED.dimension
    return np.asarray(np.einsum("h,hij->ij", a[:, -1], B[:, :D]))


def _draw_matrix(ax: "Axes", matrix: FloatArray) -> None:
    """Entries as shades, and as numbers in the cells, which grey print keeps."""
    directions = np.arange(1, len(matrix) + 1)
    ax.pcolormesh(
        directions, directions, matrix, cmap="PuOr_r", vmin=-LIMIT, vmax=LIMIT
    )
    for (i, j), entry in np.ndenumerate(matrix):
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 4.5}
        colour = "white" if abs(entry) > LIMIT / 2 else "black"
        # Rounded first: an entry of −0.01 is 0.0.
        number = round(float(entry), 1) + 0.0
        ax.text(j + 1, i + 1, f"{number:.1f}", color=colour, **style)
    ax.invert_yaxis()
    ax.set(aspect="equal", xticks=directions, yticks=directions)
    ax.set(xlabel="direction of $x_q$", ylabel="direction of $x_n$")


def _draw_entries(
    ax: "Axes", trained: FloatArray, expected: tuple[FloatArray, FloatArray]
) -> None:
    """Trained entries against those of A* and of Λ⁻¹."""
    best, inverse = expected
    ax.plot(
        inverse.ravel(),
        trained.ravel(),
        "s",
        color=COLOURS[1],
        fillstyle="none",
        label=r"$\Lambda^{-1}$",
    )
    ax.plot(best.ravel(), trained.ravel(), "o", color=COLOURS[0], label=r"$A^\ast$")
    ends = [-2.0, 3.2]
    ax.plot(ends, ends, color="black", linestyle=DASHES, linewidth=0.7)
    ax.set(xlabel="predicted entry", ylabel="trained entry")
    ax.legend()
