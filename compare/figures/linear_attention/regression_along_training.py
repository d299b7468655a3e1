"""The predictor along training: nearer to regression on one component more after every drop."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import Trajectory, predict, sample
from ....theory import population, principal_component_regression, staircase
from ...claims.linear_attention.common.experiments import FOUR, SEPARATE, separate
from ...evidence.claim import RunContext
from ...evidence.seeding import seeds
from ...metrics.curves import exit_times
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, key, letter, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


PROMPTS = 8_000
"""Fresh prompts on which predictions are compared."""

POINTS = 250
"""Stored weights that are compared, evenly over the steps shown."""


@paper_figure("predictor", paper="zhang2025")
def predictor(context: RunContext) -> "Figure":
    """Mean squared difference of the outputs to regression on k components: those of Λ, and of the context."""
    figure, axes = panels(1, 2, (PAGE, 2.4), sharey=True)
    run = context.trajectory(separate(context.seed)[0])
    shown = _shown(run)
    tokens = sample(FOUR, PROMPTS, seeds(context.seed)[0], split="test").tokens
    learned = np.array([_outputs(_at(run.weights, k), tokens) for k in shown])
    steps = run.weight_time[shown] / 1000
    for ax, covariance in zip(axes[0], (FOUR.covariance, None), strict=True):
        for count, colour in zip(range(FOUR.dimension + 1), COLOURS, strict=False):
            regression = _regression(tokens, count, covariance)
            gap = np.mean((learned - regression) ** 2, axis=1) / FOUR.trace
            simulated(ax, steps, gap, color=colour, label=f"$k = {count}$")
        _exits(ax, run)
        ax.set(
            xlabel="steps (thousands)",
            ylabel="mean squared difference",
            yscale="log",
            ylim=(3e-4, 2),
        )
    start = _at(run.weights, 0)
    for count, line in enumerate(_theory(start, run.weight_flow_time[shown])):
        predicted(axes[0, 0], steps, line, color="black" if count else "0.4")
    key(axes[0, 1], "gradient descent", "staircase", loc="lower right")
    letter(axes[0], ["components of Λ", "components of the context"])
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=FOUR.dimension + 1)
    return figure


def _shown(run: Trajectory) -> NDArray[np.intp]:
    """Indices of stored weights up to a third past the last exit."""
    exits = exit_times(run.time, run.loss, population(FOUR, SEPARATE).greedy_losses)
    end = min(1.33 * np.nan_to_num(exits, nan=run.time[-1])[-1], run.weight_time[-1])
    last = int(np.searchsorted(run.weight_time, end, side="right")) - 1
    return np.unique(np.linspace(0, last, min(POINTS, last + 1)).astype(np.intp))


def _at(weights: Weights, index: int) -> Weights:
    return {name: value[index] for name, value in weights.items()}


def _outputs(weights: Weights, tokens: FloatArray) -> FloatArray:
    return np.asarray(predict(SEPARATE, SEPARATE.heads(weights), tokens))


def _regression(
    tokens: FloatArray, count: int, covariance: FloatArray | None
) -> FloatArray:
    """Predictions (P,) of principal component regression on the first components."""
    prompts = (tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1])
    return principal_component_regression(*prompts, range(1, count + 1), covariance)


def _theory(start: Weights, flow_time: FloatArray) -> list[FloatArray]:
    """E (ŷ − PCR_k)²/c for the coefficients of the staircase: Σ_d a_d λ_d (x_d − 1/λ_d N)², or x_d² for d > k."""
    moments = population(FOUR, SEPARATE)
    x = staircase(FOUR, SEPARATE, start).coefficients(flow_time)
    ideal = 1 / (
        moments.lam * int(FOUR.context_length)
    )  # the model's β is a sum, that of the regression a mean
    weight = moments.a * moments.lam / moments.c
    return [
        (x - ideal * (np.arange(len(ideal)) < k)) ** 2 @ weight
        for k in range(len(ideal) + 1)
    ]


def _exits(ax: "Axes", run: Trajectory) -> None:
    """Where the run leaves its plateaus."""
    for time in exit_times(
        run.time, run.loss, population(FOUR, SEPARATE).greedy_losses
    ):
        ax.axvline(time / 1000, color="0.85", linewidth=0.8, zorder=0)
