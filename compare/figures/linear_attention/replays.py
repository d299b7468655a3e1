"""Recorded runs of the published code, repeated."""

from typing import TYPE_CHECKING

import numpy as np

from ....models.protocol import is_softmax
from ....runtime.arrays import FloatArray
from ....simulate import statistics, train, train_network
from ...evidence.claim import RunContext
from ...replays.recordings import Recording, read_recording, reference_files
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, key, panels, predicted, simulated

if TYPE_CHECKING:
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
    for ax, path in zip(axes.ravel(), reference_files(), strict=True):
        recording = read_recording(path)
        steps, loss = np.arange(float(len(recording.loss))), _repeated(recording)
        simulated(ax, steps, loss, color=COLOURS[0], linewidth=1.8)
        predicted(ax, steps, recording.loss)
        deviation = np.max(np.abs(loss / recording.loss - 1))
        ax.annotate(
            _scientific(deviation),
            (0.97, 0.95),
            xycoords="axes fraction",
            ha="right",
            va="top",
        )
        ax.set(
            title=TITLES.get(recording.name, recording.name),
            xlabel="steps",
            xlim=(0, len(steps)),
        )
    for ax in axes[:, 0]:
        ax.set(ylabel="loss", ylim=(0, 1.1))
    key(axes[0, 0], "ours", "recorded", loc="center right")
    return figure


def _repeated(recording: Recording) -> FloatArray:
    """Losses (T,) from the recorded weights on the recorded data."""
    rate, steps = recording.learning_rate, len(recording.loss)
    model, data = recording.model, recording.data
    if model is None or data is None:
        assert recording.features is not None
        z, labels = recording.features, recording.labels[:, -1]
        return train_network(
            z, labels, recording.start, learning_rate=rate, steps=steps, record=steps
        ).loss
    source = data if is_softmax(model) else statistics(data, model)
    return train(
        model, source, recording.start, learning_rate=rate, steps=steps, record=steps
    ).loss


def _scientific(value: float) -> str:
    """1.2e-7 as a formula."""
    digits, exponent = f"{value:.0e}".split("e")
    return rf"deviation ${digits}\times 10^{{{int(exponent)}}}$"
