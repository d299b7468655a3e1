"""The time axis of a figure: it counts steps or flow time, and every curve on it counts the same."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNITS = {"steps": "steps", "flow_time": "flow time"}
"""What `x` of every `plot` may be, and what the axis says."""

_MARK = "_attndyn_time_unit"
"""Where a drawn line keeps its unit: with the line, so that a line that is removed, or pickled, takes it along."""


def draw_losses(
    ax: "Axes | None",
    times: Mapping[str, ArrayLike],
    losses: Mapping[str, tuple[ArrayLike, dict[str, Any]]],
    x: str | None,
    without: str,
) -> "Axes":
    """Draw losses (T,) against time in one unit, on `ax` or on new axes if that is None; returns the axes.

    `times` holds the units that these curves know, each with the times (T,), the curves' own unit first; `losses`
    holds the label of each curve, its losses and the style of its line. The unit is `x`, or if that is None the one
    that the axes have from a curve drawn here before, or the curves' own. ValueError for an `x` that is no unit or
    not that of the axes, and if the curves do not know the unit, for which `without` says the way out.
    """
    unit = _unit(ax, times, x, without)
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots()
    for label, (loss, style) in losses.items():
        properties = {"label": label} | style if label else style
        (line,) = ax.plot(times[unit], loss, **properties)
        setattr(line, _MARK, unit)
    ax.set_xlabel(UNITS[unit])
    ax.set_ylabel("loss")
    return ax


def draw_prediction(
    ax: "Axes | None",
    flow_time: FloatArray,
    loss: FloatArray,
    *,
    label: str,
    style: Mapping[str, Any],
    x: str | None,
    without: str,
) -> "Axes":
    """Draw a predicted loss (T,), dashed, against flow time (T,), which need not be sorted; returns the axes.

    `x` and `without` are as in `draw_losses`: the curve knows no steps.
    """
    order = np.argsort(flow_time, kind="stable")
    line = line_style(style, linestyle="--")
    times = {"flow_time": flow_time[order]}
    return draw_losses(ax, times, {label: (loss[order], line)}, x, without)


def line_style(style: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """The style of a line: what is asked for, under the full names of its properties, over the defaults.

    >>> line_style({"ls": ":", "c": "red"}, linestyle="--")
    {'linestyle': ':', 'color': 'red'}
    """
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return defaults | normalize_kwargs(dict(style), Line2D)


def _unit(
    ax: "Axes | None", times: Mapping[str, ArrayLike], x: str | None, without: str
) -> str:
    """The unit to draw in; ValueError as `draw_losses`."""
    if x is not None and x not in tuple(UNITS):
        raise ValueError(f"x must be one of {', '.join(map(repr, UNITS))}, not {x!r}")
    present = None if ax is None else unit_of(ax)
    unit = x or present or next(iter(times))
    if present not in (None, unit):
        raise ValueError(
            f"these axes count {UNITS[str(present)]}: draw with x={present!r}, or on other axes"
        )
    if unit not in times:
        reason = f"these axes count {UNITS[unit]}: " if present else ""
        raise ValueError(f"{reason}{without}")
    return unit


def unit_of(ax: "Axes") -> str | None:
    """The unit that the curves drawn by `draw_losses` count on these axes, or on others with the same time axis."""
    for axes in [ax, *ax.get_shared_x_axes().get_siblings(ax)]:
        for line in axes.get_lines():
            unit = getattr(line, _MARK, None)
            if unit is not None:
                return str(unit)
    return None
