"""Predictions of softmax heads: numbers and tables for the terminal, and files of their flow."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...compare.softmax_predictions import SoftmaxPrediction
from ...runtime.ascii_text import named
from .curve_files import csv_text, write_curve
from .tables import in_short, print_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 5.0
_HEIGHT = 6.4
"""Inches of the figure: one column and a half, three panels."""

_FAR = 10.0
"""How many times the middle time the last one is where the axis is logarithmic: evenly spaced ones have 2."""

_FEW = 8
"""Up to so many heads a legend names each."""


def print_prediction(prediction: SoftmaxPrediction, written: Path | None) -> None:
    """Print the setting and the losses, and the flow as one row a time, or the name of the file that has it."""
    print(prediction)
    if prediction.flow is None:
        return
    if written is not None:
        print(f"{named(written)}: {len(prediction.flow.flow_time)} times")
        return
    print()
    _print_flow(prediction)


def _print_flow(prediction: SoftmaxPrediction) -> None:
    """Print one row a time: loss, ω and μ."""
    flow = prediction.flow
    assert flow is not None
    print(f"{flow.source}, flow time = 2 * learning rate * steps")
    columns = {"flow time": True, "loss": True, "ω": False, "μ": False}
    rows = []
    for time, loss, ω, μ in zip(
        flow.flow_time, flow.loss, flow.omega, flow.mu, strict=True
    ):
        heads = [in_short([f"{value:.4g}" for value in values]) for values in (ω, μ)]
        rows.append([f"{time:g}", f"{loss:.8f}", *heads])
    print_rows(columns, rows)


def write_flow(prediction: SoftmaxPrediction, path: Path) -> None:
    """Write the flow in the format that the name asks for; OSError if it cannot be written."""
    flow = prediction.flow
    assert flow is not None
    write_curve(flow, path, lambda: _flow_csv(prediction), lambda: _figure(prediction))


def _flow_csv(prediction: SoftmaxPrediction) -> str:
    """One row a time: flow_time, loss, omega_1 to omega_H, mu_1 to mu_H, in all digits."""
    flow = prediction.flow
    assert flow is not None
    heads = range(1, prediction.heads + 1)
    names = [f"{name}_{head}" for name in ("omega", "mu") for head in heads]
    return csv_text(
        ["flow_time", "loss", *names], flow.flow_time, flow.loss, flow.omega, flow.mu
    )


def _figure(prediction: SoftmaxPrediction) -> "Figure":
    """The loss above ω and μ, against flow time; in its logarithm where the times span several decades."""
    from matplotlib.figure import Figure

    flow = prediction.flow
    assert flow is not None
    figure = Figure((_WIDTH, _HEIGHT), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    flow.plot(panels[0])
    order = flow.flow_time.argsort(kind="stable")
    for panel, name, values in zip(
        panels[1:], ("ω", "μ"), (flow.omega, flow.mu), strict=True
    ):
        for head, course in enumerate(values.T, start=1):
            panel.plot(flow.flow_time[order], course[order], label=f"head {head}")
        panel.set_ylabel(name)
    panels[-1].set_xlabel(panels[0].get_xlabel())
    panels[0].set_xlabel("")
    if prediction.heads <= _FEW:
        panels[1].legend(frameon=False)
    if _spans_decades(flow.flow_time.tolist()):
        panels[0].set_xscale("symlog", linthresh=1.0)
    return figure


def _spans_decades(times: list[float]) -> bool:
    """Whether the last time is far beyond the middle one, so that a linear axis would show only the end."""
    middle = sorted(times)[len(times) // 2]
    return max(times) > _FAR * max(middle, 1.0)
