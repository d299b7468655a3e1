"""The predictor along training, which comes nearer to regression on one component more at every drop."""

from typing import TYPE_CHECKING

import numpy as np

from ....models.protocol import Weights
from ....runtime.arrays import FloatArray, IndexArray
from ....simulate import Trajectory, predict, sample
from ....theory import population, principal_component_regression, staircase
from ...claims.linear_attention.common.experiments import FOUR, SEPARATE, separate
from ...evidence.claim import RunContext
from ...evidence.seeding import seeds
from ...metrics.curves import exit_times
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


PROMPTS = 8_000
"""Fresh prompts on which predictions are compared."""

POINTS = 250
"""Stored weights that are compared, evenly over the steps of the figure."""


@paper_figure("predictor", paper="zhang2025")
def predictor(context: RunContext) -> "Figure":
    """Mean squared difference of the outputs to regression on k components: those of Λ, and of the context."""
    figure, axes = panels(1, 2, (PAGE, 2.4), sharey=True)
    of_covariance, of_context = axes[0]
    run = context.trajectory(separate(context.seed)[0])
    records = _compared_records(run)
    steps = run.weight_time[records] / 1000
    tokens = sample(FOUR, PROMPTS, seeds(context.seed)[0], split="test").tokens
    learned = _outputs(run, records, tokens)  # (records, P)

    for ax, covariance in ((of_covariance, FOUR.covariance), (of_context, None)):
        _draw_differences(ax, steps, _differences(learned, tokens, covariance))
        _draw_exits(ax, run)

    _draw_predictions(of_covariance, run, records)
    line_legend(of_context, "gradient descent", "staircase", loc="lower right")
    panel_titles(axes[0], ["components of Λ", "components of the context"])
    _name_component_counts(figure, of_covariance)
    return figure


def _name_component_counts(figure: "Figure", ax: "Axes") -> None:
    """Legend of the numbers k of components below both panels, from the curves on one of them."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=FOUR.dimension + 1,
    )


def _draw_predictions(ax: "Axes", run: Trajectory, records: IndexArray) -> None:
    """The differences that the staircase from the weights of the run predicts."""
    steps = run.weight_time[records] / 1000
    curves = _predicted_differences(run.initial, run.weight_flow_time[records])
    for count, curve in enumerate(curves):
        predicted(ax, steps, curve, color="black" if count else "0.4")


def _draw_differences(
    ax: "Axes", steps: FloatArray, differences: list[FloatArray]
) -> None:
    """One line for each number of components, on a logarithmic axis."""
    for count, difference in enumerate(differences):
        label = f"$k = {count}$"
        simulated(
            ax,
            steps,
            difference,
            color=COLOURS[count],
            label=label,
        )
    ax.set(xlabel="steps (thousands)", ylabel="mean squared difference")
    ax.set(yscale="log", ylim=(3e-4, 2))


def _compared_records(run: Trajectory) -> IndexArray:
    """Indices of stored weights up to a third past the last exit."""
    exits = exit_times(run.time, run.loss, population(FOUR, SEPARATE).greedy_losses)
    last_exit = np.nan_to_num(exits, nan=run.time[-1])[-1]
    end = min(1.33 * last_exit, run.weight_time[-1])
    # Weights are recorded less often than losses.
    last = int(np.searchsorted(run.weight_time, end, side="right")) - 1
    # Equal distances on the axis of steps, up to rounding to records.
    evenly = np.linspace(0, last, min(POINTS, last + 1))
    return np.unique(evenly.astype(np.intp))


def _outputs(run: Trajectory, records: IndexArray, tokens: FloatArray) -> FloatArray:
    """Predictions (records, P) of the stored weights."""
    outputs = []
    for index in records.tolist():
        heads = SEPARATE.heads(run.stored_weights(index))
        outputs.append(predict(SEPARATE, heads, tokens))
    return np.array(outputs)


def _differences(
    learned: FloatArray, tokens: FloatArray, covariance: FloatArray | None
) -> list[FloatArray]:
    """Mean (ŷ − PCR_k)²/c of outputs (records, P), for k = 0 … D principal components: (records,) each."""
    context_x, context_y = tokens[:, :-1, :-1], tokens[:, :-1, -1]
    query_x = tokens[:, -1, :-1]
    differences = []
    for count in range(FOUR.dimension + 1):
        components = range(1, count + 1)
        regression = principal_component_regression(
            context_x, context_y, query_x, components, covariance
        )
        # Over fresh prompts, in units of the loss of predicting nothing.
        mean_square = np.mean((learned - regression) ** 2, axis=1)
        differences.append(mean_square / FOUR.trace)
    return differences


def _predicted_differences(start: Weights, flow_time: FloatArray) -> list[FloatArray]:
    """E (ŷ − PCR_k)²/c along the staircase for k = 0 … D, (T,) each.

    With coefficients x_d of the map it is Σ_d a_d λ_d (x_d − m_d)²/c, where regression on k components has
    m_d = 1/(λ_d N) for d ≤ k and 0 for d > k: the model's β is a sum over tokens, that of the regression a mean.
    """
    loss = population(FOUR, SEPARATE)
    x = staircase(FOUR, SEPARATE, start).coefficients(flow_time)  # (T, D)
    ideal = 1 / (loss.lam * FOUR.context_lengths[0])
    weight = loss.a * loss.lam / loss.c
    direction = np.arange(len(ideal))
    differences = []
    for k in range(len(ideal) + 1):
        m = np.where(direction < k, ideal, 0.0)
        differences.append((x - m) ** 2 @ weight)
    return differences


def _draw_exits(ax: "Axes", run: Trajectory) -> None:
    """Pale lines where the run leaves its plateaus."""
    losses = population(FOUR, SEPARATE).greedy_losses
    for time in exit_times(run.time, run.loss, losses):
        ax.axvline(
            time / 1000,
            color="0.85",
            linewidth=0.8,
            zorder=0,
        )
