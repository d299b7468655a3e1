"""Spectral measures of trained networks along their training, each beside a network that has not learned the same."""

from typing import TYPE_CHECKING

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.linear_transformer import mode_flow
from ...claims.linear_transformer.measures import CONCENTRATED
from ...claims.linear_transformer.rank_of_modes import rank_in_the_limit
from ...claims.linear_transformer.setting import mode_task
from ...claims.linear_transformer.stored_networks import (
    ADDITION,
    ATTENTION,
    accuracy_on_left_out_pairs,
    measures_of,
    stored,
)
from ...evidence.claim import RunContext
from ...metrics.spectra import distances_along, effective_rank, spectrum
from ..catalogue import paper_figure
from ..style import (
    COLOURS,
    DASHES,
    PAGE,
    panel_titles,
    panels,
    predicted,
    shaded,
    simulated,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {
    "grokking": "generalises",
    "control": "does not generalise",
    "attention_only_2": "two layers",
    "attention_only_1": "one layer",
}

LABELS = (
    "accuracy, pairs left out",
    "effective rank of QK",
    "effective rank of OV",
    "subspace distance of OV",
    "Fourier share",
    "loss, repeated part",
    "rank of QK",
    "effective rank",
    "subspace distance",
)
"""What the panels show."""

INPUTS: FloatArray = np.power(0.5, np.arange(6), dtype=np.float64)
"""Variances of x of the theory's layer, halved from mode to mode."""

START = 1e-3
"""a = p q of every mode at the start."""

FLOW_TIMES = np.concatenate([[0.0], np.geomspace(0.3, 2e4, 400)])
"""Modes are half learned at 3.5 to 5,300."""

LENGTHS = (20, 2_000)
SUBSPACE = 3
"""Dimension of the subspaces of the theory's layer: half of its modes."""


@paper_figure("spectral_measures", paper="mainali2025", tier="fast")
def spectral_measures(context: RunContext) -> "Figure":
    """Effective ranks, subspace distance and Fourier share of the stored networks over their steps, and of the theory.

    (a) to (e): two networks of one layer that learn addition modulo 31, which differ in the pairs left out of training:
    accuracy on those; mean effective rank of QK and, pale, marginalised; of OV; subspace distance of OV to the end, of
    rank 6, beside that of attention alone; share of the embedding's power in its five strongest frequencies, and the
    threshold of the claim. (f), (g): attention alone on periodic sequences: loss on their repeated part; effective
    ranks of QK in each head of the last layer and, pale, of the first of two. (h), (i): the coefficients p q of one
    linear layer along gradient flow, for six variances of x from 1 to 1/32: effective rank at N = 20 and 2,000 and
    (dashed) in the limit N → ∞, which dips as the first mode is learned, and subspace distance of rank 3, which falls
    as a mode enters the leading three. The two networks that add cannot be told apart by ranks and distances; the rise
    after the dip is in the second layer alone.
    """
    figure, grid = panels(3, 3, (PAGE, 5.2))
    axes: list[Axes] = grid.ravel().tolist()
    for network, colour in zip(ADDITION, COLOURS, strict=False):
        _draw_addition(axes[:5], network, colour)
    for network, colour in zip(ATTENTION, COLOURS[2:], strict=False):
        _draw_attention([axes[3], *axes[5:7]], network, colour)
    _draw_theory(axes[7:])
    titles = ["addition"] * 5 + ["attention"] * 2 + ["theory"] * 2
    titles[3] = "both"
    panel_titles(axes, titles)
    for ax, label in zip(axes, LABELS, strict=True):
        ax.set_xlabel("steps")
        ax.set_ylabel(label)
    for ax in axes[:5]:
        ax.set_ylim(bottom=0)
    axes[4].axhline(CONCENTRATED, color="0.4", linestyle=DASHES, linewidth=0.6)
    for ax in axes[7:]:
        ax.set_xlabel("flow time")
        ax.set_xscale("log")
    for ax in (axes[0], axes[5], axes[7]):
        ax.legend()
    return figure


def _draw_addition(axes: "list[Axes]", network: str, colour: str) -> None:
    """Accuracy, ranks, distance and Fourier share of a network that adds, in five axes."""
    found = measures_of(network)
    query_key, output_value = found.query_key, found.output_value
    assert query_key is not None
    assert output_value is not None
    assert found.fourier_share is not None
    accuracy_ax, qk_ax, ov_ax, distance_ax, share_ax = axes
    label, steps = NAMES[network], found.steps
    simulated(
        accuracy_ax,
        steps,
        accuracy_on_left_out_pairs(network),
        color=colour,
        label=label,
    )
    simulated(qk_ax, steps, _mean(query_key.effective_rank), color=colour)
    rest = _mean(query_key.marginalised_rank)
    simulated(qk_ax, steps, rest, color=shaded(colour, 0.5))
    simulated(ov_ax, steps, _mean(output_value.effective_rank), color=colour)
    distances = _mean(output_value.subspace_distance)
    simulated(distance_ax, steps, distances, color=colour)
    simulated(share_ax, steps, found.fourier_share, color=colour)


def _draw_attention(axes: "list[Axes]", network: str, colour: str) -> None:
    """Distance of OV, loss and ranks of a network of attention alone, in three axes."""
    found = measures_of(network)
    assert found.query_key is not None
    assert found.output_value is not None
    distance_ax, loss_ax, rank_ax = axes
    distances = _mean(found.output_value.subspace_distance)
    simulated(distance_ax, found.steps, distances, color=colour)
    log = stored(network)["log"].astype(np.float64)
    simulated(loss_ax, log[:, 0], log[:, 2], color=colour, label=NAMES[network])
    ranks = found.query_key.effective_rank  # (T, layers · 2)
    for values in ranks[:, :-2].T:
        simulated(rank_ax, found.steps, values, color=shaded(colour, 0.6))
    for values in ranks[:, -2:].T:
        simulated(rank_ax, found.steps, values, color=colour)


def _draw_theory(axes: "list[Axes]") -> None:
    """Effective rank and subspace distance along the exact flow of modes, in two axes."""
    rank_ax, distance_ax = axes
    root = np.full(len(INPUTS), np.sqrt(START))
    for N, colour in zip(LENGTHS, COLOURS[4:], strict=False):
        flow = mode_flow(mode_task(INPUTS, N), root, root, FLOW_TIMES)
        found = spectrum(flow.coefficients[..., None] * np.eye(len(INPUTS)))
        style = {"color": colour, "label": f"$N$ = {N:,}"}
        simulated(rank_ax, FLOW_TIMES[1:], effective_rank(found.values)[1:], **style)
        distance = distances_along(found, SUBSPACE)
        simulated(distance_ax, FLOW_TIMES[1:], distance[1:], **style)
    limit = rank_in_the_limit(INPUTS, START, FLOW_TIMES)
    predicted(rank_ax, FLOW_TIMES[1:], limit[1:])


def _mean(values: FloatArray) -> FloatArray:
    """The mean over heads, (T,) of (T, H)."""
    return np.asarray(values.mean(axis=1))
