"""Replays of recorded runs of the published code."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ....models.protocol import is_softmax
from ....runtime.arrays import FloatArray
from ....simulate import statistics, train, train_network
from ...evidence.claim import RunContext
from ...replays.recordings import Recording, read_recording, reference_files
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, line_legend, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


TITLES = {
    "merged_h8": "merged",
    "merged_icl06": "merged, 60 % in context",
    "merged_softmax": "merged, softmax",
    "merged_white": "merged, white inputs",
    "mlp_cubic": "network on cubic features",
    "separate_rank1": "separate, rank 1",
    "separate_rank2": "separate, rank 2",
    "separate_softmax": "separate, softmax",
    "separate_varylen": "separate, every context length",
}


@paper_figure("replay", paper="zhang2025")
def replay(context: RunContext) -> "Figure":
    """Our losses over the recorded ones, in float64 over float32, and the largest relative deviation."""
    figure, axes = panels(3, 3, (PAGE, 4.6), sharey=True)
    for ax, path in zip(axes.ravel(), reference_files("linear_attention"), strict=True):
        _draw_recording(ax, read_recording(path))
    for ax in axes[:, 0]:
        ax.set(ylabel="loss", ylim=(0, 1.1))
    line_legend(axes[0, 0], "ours", "recorded", loc="center right")
    return figure


def _draw_recording(ax: "Axes", recording: Recording) -> None:
    steps = np.arange(float(len(recording.loss)))
    loss = _repeated_loss(recording)
    simulated(
        ax,
        steps,
        loss,
        color=COLOURS[0],
        linewidth=1.8,
    )
    predicted(ax, steps, recording.loss)

    # Relative to the recorded loss, as the tolerance of a replay is.
    deviation = float(np.max(np.abs(loss / recording.loss - 1)))
    # The corner is empty in every panel, as losses fall.
    corner: dict[str, Any] = {
        "xycoords": "axes fraction",
        "ha": "right",
        "va": "top",
    }
    ax.annotate(f"deviation {_scientific(deviation)}", (0.97, 0.95), **corner)
    title = TITLES.get(recording.name, recording.name)
    ax.set(
        title=title,
        xlabel="steps",
        xlim=(0, len(steps)),
    )


def _repeated_loss(recording: Recording) -> FloatArray:
    """Losses (T,) from the recorded weights on the recorded data."""
    model, data, start = recording.model, recording.data, recording.start
    # Weights are needed at the end only: record = steps.
    steps = len(recording.loss)
    options: dict[str, Any] = {
        "learning_rate": recording.learning_rate,
        "steps": steps,
        "record": steps,
    }
    if model is None or data is None:
        features = recording.features
        assert features is not None
        return train_network(features, recording.labels[:, -1], start, **options).loss
    source = data if is_softmax(model) else statistics(data, model)
    return train(model, source, start, **options).loss


def _scientific(value: float) -> str:
    """1.2e-7 as a formula."""
    digits, exponent = f"{value:.0e}".split("e")
    return rf"${digits}\times 10^{{{int(exponent)}}}$"
