"""All that the theory predicts of the linear read-out in high dimension, in one result for the command line."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..runtime.arrays import FloatArray
from ..runtime.display import Displayed, Summary, array_summary
from ..runtime.line_charts import Line, LineChart
from ..theory.asymptotics import bayes_error, errors, learning_curve


@dataclass(frozen=True, eq=False, repr=False)
class ReadoutPrediction(Displayed):
    """Errors of the linear read-out as D → ∞, all (points,): one point for each set of parameters.

    `parameters` name → (points,): "tau", "alpha", "kappa", "noise", "test_alpha", and "ridge" of a ridge solution or
    "theta" of gradient flow. `icl`, `idg` and `gap` are its errors on new and on training tasks and their difference,
    `bayes` the least error of any predictor on new tasks. `xi` is the effective ridge, None of a flow, and
    `quadrature_error` the accuracy of a flow's errors, None of a ridge solution.
    """

    parameters: dict[str, FloatArray]
    icl: FloatArray
    idg: FloatArray
    gap: FloatArray
    bayes: FloatArray
    xi: FloatArray | None = None
    quadrature_error: FloatArray | None = None

    @property
    def columns(self) -> dict[str, FloatArray]:
        """Name → (points,) of all numbers, the parameters first."""
        values = {"icl": self.icl, "idg": self.idg, "gap": self.gap}
        values["bayes"] = self.bayes
        if self.xi is not None:
            values["xi"] = self.xi
        if self.quadrature_error is not None:
            values["quadrature_error"] = self.quadrature_error
        return self.parameters | values

    def to_dict(self) -> dict[str, Any]:
        """The columns as lists; an infinite parameter is the text "inf", since JSON has no number for it."""
        return {
            name: [
                value if math.isfinite(value) else "inf" for value in values.tolist()
            ]
            for name, values in self.columns.items()
        }

    def summary(self) -> Summary:
        """The ranges of all columns on one screen."""
        kind = "gradient flow" if "theta" in self.parameters else "ridge solution"
        rows = {name: array_summary(values) for name, values in self.columns.items()}
        return Summary(f"Errors of the linear read-out as D → ∞, {kind}", rows)

    def chart(self) -> LineChart | None:
        """Both errors against the one parameter that varies; None where none or several do."""
        varied = [
            name
            for name, values in self.parameters.items()
            if np.unique(values).size > 1
        ]
        if len(varied) != 1:
            return None
        values = self.parameters[varied[0]]
        lines = (
            Line(values, self.icl, "new tasks", "dashed"),
            Line(values, self.idg, "training tasks", "dotted"),
        )
        return LineChart(lines, varied[0], "error")


def readout_prediction(
    *,
    tau: ArrayLike,
    alpha: ArrayLike,
    kappa: ArrayLike,
    noise: ArrayLike = 0.0,
    ridge: ArrayLike | None = None,
    theta: ArrayLike | None = None,
    test_alpha: ArrayLike | None = None,
) -> ReadoutPrediction:
    """Errors of the ridge solution, or after gradient flow for the time `theta`, at all sets of parameters.

    Arguments are those of `theory.asymptotics.errors` and `learning_curve`, whose refusals it shares; they broadcast.
    ValueError, too, for a ridge together with `theta`: gradient flow is that of the least squares alone.

    >>> prediction = readout_prediction(tau=2, alpha=2, kappa=0.5, noise=0.1)
    >>> prediction.icl.round(4), prediction.bayes.round(4)
    (array([1.3385]), array([0.1844]))
    """
    if ridge is not None and theta is not None:
        raise ValueError(
            "a ridge and theta exclude each other: gradient flow is that of least squares without a ridge"
        )
    tested = alpha if test_alpha is None else test_alpha
    given: dict[str, Any] = {"tau": tau, "alpha": alpha, "kappa": kappa, "noise": noise}
    found: dict[str, Any]
    bayes = bayes_error(alpha=tested, noise=noise)
    if theta is not None:
        curve = learning_curve(theta, test_alpha=test_alpha, **given)
        found = {"icl": curve.icl, "idg": curve.idg, "quadrature_error": curve.error}
        found["gap"] = curve.icl - curve.idg
        given["theta"] = theta
    else:
        given["ridge"] = 0.0 if ridge is None else ridge
        result = errors(test_alpha=test_alpha, **given)
        found = {name: getattr(result, name) for name in ("icl", "idg", "gap", "xi")}
    given["test_alpha"] = tested
    named = {**given, **found, "bayes": bayes}
    arrays = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in named.values())
    )
    flat = dict(zip(named, (np.ravel(array) for array in arrays), strict=True))
    parameters = {name: flat.pop(name) for name in given}
    return ReadoutPrediction(parameters, **flat)
