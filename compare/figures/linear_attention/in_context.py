"""What is learned in context: predictions at the plateaus against principal component regression."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ....models.attention import Separate
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import flow, initial_weights, predict, sample
from ....task import Task
from ....theory import fixed_point, principal_component_regression
from ...claims.linear_attention.common.controls import with_context
from ...claims.linear_attention.common.experiments import FOUR, SEPARATE, separate
from ...evidence.claim import RunContext
from ...evidence.seeding import seeds
from ...exact_statistics import population_statistics
from ...metrics.plateaus import match_plateaus
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, letter, order, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


PROMPTS = 40_000
"""Fresh prompts at the published size: three and four components of the context differ by 3 % from each other."""

LENGTHS = (31, 125, 500, 2000)
LONG_PROMPTS = 1_000
"""Context lengths of the limit of long contexts, and fresh prompts of each."""

TRAINED = Separate(heads=4, rank=1)
"""What is trained at each length: with divisor N its flow takes as long at any."""

SPAN = 3_000.0
"""Flow time in which it is at rest."""

KINDS = ("of Λ", "of the context")
"""Whose principal components."""


@paper_figure("regression", paper="zhang2025")
def regression(context: RunContext) -> "Figure":
    """Mean squared difference for every plateau and number of components, and of equal ones as N grows."""
    figure, axes = panels(1, 3, (PAGE, 2.3), width_ratios=(1, 1, 1.1))
    left, middle, right = axes[0]
    for ax, matrix in zip((left, middle), _differences(context), strict=True):
        _table(ax, matrix)
    left.set_ylabel("plateau $m$")
    middle.set_ylabel("plateau $m$")
    _lengths(right, context)
    letter(
        axes[0],
        [
            "components of Λ",
            "components of the context",
            "as many components as learned",
        ],
    )
    return figure


def _differences(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """Mean (ŷ − PCR)²/c over fresh prompts, (plateaus, components): population components, and in-sample ones."""
    points = [
        fixed_point(FOUR, SEPARATE, range(1, m + 1)) for m in range(FOUR.dimension + 1)
    ]
    reached = match_plateaus(
        context.trajectory(separate(context.seed)[0]), SEPARATE, points, size=1.0
    )
    tokens = sample(FOUR, PROMPTS, seeds(context.seed)[0], split="test").tokens
    learned = np.array(
        [
            predict(SEPARATE, SEPARATE.heads(landing.weights), tokens)
            for landing in reached
        ]
    )
    known, found = (_regressions(FOUR, tokens, kind) for kind in KINDS)
    return _mean_square(learned[:, None] - known), _mean_square(
        learned[:, None] - found
    )


def _regressions(task: Task, tokens: FloatArray, kind: str) -> FloatArray:
    """Predictions (D+1, P) of principal component regression on 0 … D components."""
    covariance = task.covariance if kind == KINDS[0] else None
    prompts = (tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1])
    counts = range(task.dimension + 1)
    return np.array(
        [
            principal_component_regression(*prompts, range(1, k + 1), covariance)
            for k in counts
        ]
    )


def _mean_square(difference: FloatArray) -> FloatArray:
    return np.asarray(np.mean(difference**2, axis=-1) / FOUR.trace)


def _table(ax: "Axes", matrix: FloatArray) -> None:
    """The matrix in shades, its numbers in the cells, the smallest of each row in bold."""
    plateaus, components = (np.arange(size) for size in matrix.shape)
    ax.pcolormesh(
        components, plateaus, np.log10(matrix + 1e-4), cmap="Blues", vmin=-3, vmax=1
    )
    ax.invert_yaxis()
    for m, row in enumerate(matrix):
        for k, value in enumerate(row):
            style: dict[str, Any] = {"weight": "bold"} if k == np.argmin(row) else {}
            colour = "white" if value > 0.4 else "black"
            ax.text(
                k,
                m,
                f"{value:.3f}",
                ha="center",
                va="center",
                fontsize=7,
                color=colour,
                **style,
            )
    ax.set(xticks=components, yticks=plateaus, xlabel="number of components")


def _lengths(ax: "Axes", context: RunContext) -> None:
    """Root mean square difference against N; filled with the components of the context, open with Λ's."""
    differences = np.array([_at_length(context, length) for length in LENGTHS])
    for m, colour in enumerate(COLOURS[: FOUR.dimension]):
        style: dict[str, Any] = {
            "color": colour,
            "marker": "o",
            "linestyle": "-",
            "linewidth": 0.8,
        }
        ax.plot(LENGTHS, differences[:, 0, m], markerfacecolor="white", **style)
        ax.plot(LENGTHS, differences[:, 1, m], label=f"$m = {m + 1}$", **style)
    lengths = np.array(LENGTHS, dtype=float)
    place: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7}
    for kind, (power, name, at) in enumerate(
        ((-1.0, "$N^{-1}$", 1), (-0.5, "$N^{-1/2}$", 2))
    ):
        line = 0.6 * differences[0, kind].min() * (lengths / lengths[0]) ** power
        order(ax, lengths, line)
        ax.annotate(
            name, (lengths[at], line[at]), (-2, -1), ha="right", va="top", **place
        )
        ax.annotate(
            KINDS[kind], (lengths[1], differences[1, kind].max()), (5, 4), **place
        )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="context length $N$",
        ylabel="root mean square difference",
    )
    ax.legend(loc="lower left", ncols=2, columnspacing=0.8, borderaxespad=0.2)


def _at_length(context: RunContext, length: int) -> FloatArray:
    """Root mean square difference between attention trained on m directions and m components, (kinds, D)."""
    task = with_context(FOUR, length)
    tokens = sample(task, LONG_PROMPTS, seeds(context.seed)[0], split="test").tokens
    trained = [_trained(task, m) for m in range(1, FOUR.dimension + 1)]
    learned = np.array(
        [predict(TRAINED, TRAINED.heads(weights), tokens) for weights in trained]
    )
    squares = [
        _mean_square(learned - _regressions(task, tokens, kind)[1:]) for kind in KINDS
    ]
    return np.sqrt(squares)


def _trained(task: Task, count: int) -> Weights:
    """Weights in which gradient flow on unlimited data rests if the first `count` heads alone start."""
    amplitudes = 0.5 * (np.arange(task.dimension) < count)
    start = initial_weights(TRAINED, task, amplitudes, scheme="aligned")
    return flow(
        TRAINED, population_statistics(task, TRAINED), start, [0.0, SPAN], rtol=1e-9
    ).final
