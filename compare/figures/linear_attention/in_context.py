"""In-context learning: predictions at the plateaus against principal component regression."""

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
from ..style import COLOURS, PAGE, panel_titles, panels, reference_slope

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


PROMPTS = 40_000
"""Fresh prompts at the published size: three and four components of the context differ by 3 % from each other."""

LENGTHS = (31, 125, 500, 2000)
LONG_PROMPTS = 1_000
"""Context lengths of the limit of long contexts, and fresh prompts of each."""

TRAINED = Separate(heads=4, rank=1)
"""The model that is trained at each length: with divisor N its flow takes as long at any."""

SPAN = 3_000.0
"""Flow time after which its loss no longer changes."""

KINDS = ("of Λ", "of the context")
"""The two covariances whose principal components are taken."""


@paper_figure("regression", paper="zhang2025")
def regression(context: RunContext) -> "Figure":
    """Mean squared difference for every plateau and number of components, and of equal ones as N grows."""
    figure, axes = panels(1, 3, (PAGE, 2.3), width_ratios=(1, 1, 1.1))
    population_table, context_table, long_contexts = axes[0]
    tables = _differences(context)
    for ax, table in zip((population_table, context_table), tables, strict=True):
        _draw_table(ax, table)
        ax.set_ylabel("plateau $m$")
    _draw_lengths(long_contexts, context)
    titles = [
        "components of Λ",
        "components of the context",
        "as many components as learned",
    ]
    panel_titles(axes[0], titles)
    return figure


def _differences(context: RunContext) -> list[FloatArray]:
    """Mean (ŷ − PCR)²/c over fresh prompts, (plateaus, components), for components of each of KINDS."""
    counts = range(FOUR.dimension + 1)
    points = [fixed_point(FOUR, SEPARATE, range(1, m + 1)) for m in counts]
    run = context.trajectory(separate(context.seed)[0])
    matches = match_plateaus(points, run)

    tokens = sample(FOUR, PROMPTS, seeds(context.seed)[0], split="test").tokens
    # Predictions (plateaus, P) of the run, and (components, P) of the regression.
    learned = np.array(
        [predict(SEPARATE, SEPARATE.heads(match.weights), tokens) for match in matches]
    )
    return [
        _mean_square(learned[:, None] - _regressions(FOUR, tokens, kind))
        for kind in KINDS
    ]


def _regressions(task: Task, tokens: FloatArray, kind: str) -> FloatArray:
    """Predictions (D+1, P) of principal component regression on 0 … D components."""
    covariance = task.covariance if kind == KINDS[0] else None
    context_x, context_y = tokens[:, :-1, :-1], tokens[:, :-1, -1]
    query_x = tokens[:, -1, :-1]
    predictions = [
        principal_component_regression(
            context_x, context_y, query_x, range(1, count + 1), covariance
        )
        for count in range(task.dimension + 1)
    ]
    return np.array(predictions)


def _mean_square(difference: FloatArray) -> FloatArray:
    """Mean over prompts (…, P), in parts of the mean square c of y: the trace of Λ for white teachers."""
    return np.asarray(np.mean(difference**2, axis=-1) / FOUR.trace)


def _draw_table(ax: "Axes", table: FloatArray) -> None:
    """The table in shades, its numbers in the cells, the smallest of each row in bold."""
    plateaus = np.arange(table.shape[0])
    components = np.arange(table.shape[1])
    # Shades of log₁₀, from a difference of 1e-3 to one of 10.
    shades = np.log10(table + 1e-4)
    ax.pcolormesh(
        components,
        plateaus,
        shades,
        cmap="Blues",
        vmin=-3,
        vmax=1,
    )
    ax.invert_yaxis()
    centred: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "fontsize": 7,
    }
    for (m, k), value in np.ndenumerate(table):
        # The nearest regression of each plateau.
        weight = "bold" if k == np.argmin(table[m]) else "normal"
        colour = "white" if value > 0.4 else "black"
        ax.text(
            k,
            m,
            f"{value:.3f}",
            color=colour,
            weight=weight,
            **centred,
        )
    ax.set(
        xticks=components,
        yticks=plateaus,
        xlabel="number of components",
    )


def _draw_lengths(ax: "Axes", context: RunContext) -> None:
    """Root mean square difference against N; filled with the components of the context, open with Λ's."""
    # (lengths, kinds, D)
    differences = np.array([_at_length(context, length) for length in LENGTHS])
    _draw_directions(ax, differences)

    # Known components leave a difference of order 1/N; those of a context are off by its N^{-1/2} fluctuations.
    _draw_power(
        ax,
        differences[:, 0],
        power=-1.0,
        name="$N^{-1}$",
        at=1,
    )
    _draw_power(
        ax,
        differences[:, 1],
        power=-0.5,
        name="$N^{-1/2}$",
        at=2,
    )
    for kind, difference in zip(KINDS, differences[1].max(axis=1), strict=True):
        place: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7}
        ax.annotate(kind, (LENGTHS[1], difference), (5, 4), **place)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="context length $N$",
        ylabel="root mean square difference",
    )
    ax.legend(
        loc="lower left",
        ncols=2,
        columnspacing=0.8,
        borderaxespad=0.2,
    )


def _draw_directions(ax: "Axes", differences: FloatArray) -> None:
    """One colour for each number of directions learned, open marks for the components of Λ."""
    for m, colour in enumerate(COLOURS[: FOUR.dimension]):
        style: dict[str, Any] = {
            "color": colour,
            "marker": "o",
            "linestyle": "-",
            "linewidth": 0.8,
        }
        ax.plot(
            LENGTHS,
            differences[:, 0, m],
            markerfacecolor="white",
            **style,
        )
        ax.plot(
            LENGTHS,
            differences[:, 1, m],
            label=f"$m = {m + 1}$",
            **style,
        )


def _draw_power(
    ax: "Axes", differences: FloatArray, *, power: float, name: str, at: int
) -> None:
    """A dashed power of N below the differences (lengths, D), named at one of the lengths."""
    lengths = np.array(LENGTHS, dtype=float)
    line = 0.6 * differences[0].min() * (lengths / lengths[0]) ** power
    reference_slope(ax, lengths, line)
    place: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7}
    ax.annotate(
        name,
        (lengths[at], line[at]),
        (-2, -1),
        ha="right",
        va="top",
        **place,
    )


def _at_length(context: RunContext, length: int) -> FloatArray:
    """Root mean square difference between attention trained on m directions and m components, (kinds, D)."""
    task = with_context(FOUR, length)
    tokens = sample(task, LONG_PROMPTS, seeds(context.seed)[0], split="test").tokens
    learned = []
    for m in range(1, FOUR.dimension + 1):
        weights = _trained(task, m)
        learned.append(predict(TRAINED, TRAINED.heads(weights), tokens))
    mean_squares = [
        _mean_square(np.array(learned) - _regressions(task, tokens, kind)[1:])
        for kind in KINDS
    ]
    return np.sqrt(mean_squares)


def _trained(task: Task, count: int) -> Weights:
    """Weights at which gradient flow on unlimited data ends if the first `count` heads alone start."""
    # A head at zero never grows, so that its direction is not learned.
    amplitudes = 0.5 * (np.arange(task.dimension) < count)
    start = initial_weights(TRAINED, task, amplitudes, scheme="aligned")
    exact = population_statistics(task, TRAINED)
    return flow(TRAINED, exact, start, [0.0, SPAN], rtol=1e-9).final
