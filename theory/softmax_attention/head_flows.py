"""Flows of softmax heads as results: arrays over flow time that are stored, read, drawn and summarised alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.display import array_summary
from ...runtime.predicted_curves import PredictedCurve
from ..ode import flow_times


@dataclass(frozen=True, eq=False, repr=False)
class HeadFlow(PredictedCurve):
    """ω and μ (T, H, …) of softmax heads along a flow at `flow_time` (T,), in the order asked for, and `loss` (T,)."""

    flow_time: FloatArray
    omega: FloatArray
    mu: FloatArray
    loss: FloatArray

    NAME: ClassVar[str] = "flow of softmax heads"
    """What it is, for errors."""
    SHAPES: ClassVar[Mapping[str, str]] = {
        "flow_time": "(T,)",
        "loss": "(T,)",
        "omega": "(T, H)",
        "mu": "(T, H)",
    }

    @property
    def source(self) -> str:
        """What the curve is, for legends and overlays."""
        return self.NAME

    def _rows(self) -> dict[str, str]:
        """Rows of a summary: the loss at the first and the last time, and the heads at the last."""
        by_time = np.argsort(self.flow_time, kind="stable")
        first, last = by_time[0], by_time[-1]
        return {
            "flow time": array_summary(self.flow_time),
            "loss": f"{self.loss[first]:.6g} → {self.loss[last]:.6g}",
            "ω at the end": array_summary(self.omega[last]),
            "μ at the end": array_summary(self.mu[last]),
        }


def times_of_flow(values: ArrayLike) -> FloatArray:
    """Flow times (T,), in any order and with repetitions; ValueError for negative ones, nan, and none at all."""
    times = flow_times(values)
    if len(times) == 0:
        raise ValueError("flow_time must have at least one time")
    return times
