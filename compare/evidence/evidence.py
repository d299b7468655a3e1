"""What a check has to show: agreement in words, the measured order, the error budget, curves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...runtime.display import Displayed, Summary, array_summary
from ...runtime.line_charts import Line, LineChart


@dataclass(frozen=True, repr=False)
class Fit(Displayed):
    """Errors against the parameter of a limit, and the order that they were found to fall at.

    `parameter` is its name, `values` (K,) its grid, `errors` (K,) what is left at each, `expected` the order that
    the claim states; `interval` holds the slope of a stochastic limit, None where the errors have no scatter.
    """

    parameter: str
    values: tuple[float, ...]
    errors: tuple[float, ...]
    slope: float
    expected: float
    interval: tuple[float, float] | None = None

    def summary(self) -> Summary:
        """The fit on one screen."""
        rows: dict[str, object] = {
            "values": array_summary(self.values),
            "errors": array_summary(self.errors),
            "order": f"{self.slope:.3f}, expected {self.expected:g}",
        }
        if self.interval is not None:
            rows["interval"] = array_summary(self.interval)
        return Summary(f"Fit of an order in {self.parameter}", rows)

    def chart(self) -> LineChart:
        """The errors as points against the parameter."""
        line = Line(self.values, self.errors, style="points")
        caption = f"order {self.slope:.3f}, expected {self.expected:g}"
        return LineChart((line,), self.parameter, "error", caption)


@dataclass(frozen=True, repr=False)
class Curve(Displayed):
    """One quantity as predicted and as observed, both (K,), over x (K,): what the figure of a claim shows."""

    name: str
    x: tuple[float, ...]
    predicted: tuple[float, ...]
    observed: tuple[float, ...]

    def summary(self) -> Summary:
        """The curve on one screen."""
        sides = {"x": self.x, "predicted": self.predicted, "observed": self.observed}
        rows = {name: array_summary(values) for name, values in sides.items()}
        return Summary(f"Curve: {self.name}", rows)

    def chart(self) -> LineChart:
        """The observed values, solid, and the predicted ones, dashed."""
        lines = (
            Line(self.x, self.observed, "observed"),
            Line(self.x, self.predicted, "predicted", "dashed"),
        )
        return LineChart(lines, "x", "value")


@dataclass(frozen=True, repr=False)
class Evidence(Displayed):
    """Whether a prediction and an observation agree, both in words, and what a reader needs to judge it.

    `fit` is the measured order of a limit. `budget` names the sources of error and how large each is, in the unit
    of `residual`, the difference that they must explain. `curves` are what the claim's figure shows over `axes`.
    `width` is that of the widest enclosure, where what was observed is certain to lie in some.
    `undecided`: scatter or the width of an enclosure hides whether the two agree.
    """

    agrees: bool
    observed: str
    expected: str
    fit: Fit | None = None
    budget: tuple[tuple[str, float], ...] = ()
    residual: float | None = None
    curves: tuple[Curve, ...] = ()
    axes: tuple[str, str] = ("", "")
    undecided: bool = False
    width: float | None = None

    def summary(self) -> Summary:
        """The evidence on one screen."""
        rows: dict[str, object] = {"observed": self.observed, "expected": self.expected}
        if self.fit is not None:
            rows["order"] = f"{self.fit.slope:.3f}, expected {self.fit.expected:g}"
        if self.residual is not None:
            rows["residual"] = f"{self.residual:.3g}"
        for source, size in self.budget:
            rows[f"budget: {source}"] = f"{size:.3g}"
        if self.width is not None:
            rows["width"] = f"{self.width:.1e}"
        if self.curves:
            rows["curves"] = ", ".join(curve.name for curve in self.curves)
        outcome = "agreement" if self.agrees else "disagreement"
        return Summary("undecided" if self.undecided else outcome, rows)


Judge = Callable[[Any, Any], Evidence]
"""Holds what is predicted against what is observed."""
