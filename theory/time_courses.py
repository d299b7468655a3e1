"""Time courses: the predicted loss and coefficients of a run against flow time, of whatever model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..models.attention import Merged, Separate
from ..runtime.arrays import FloatArray
from ..runtime.display import Summary, array_summary
from ..runtime.files import AnyPath, settings_of_file
from ..runtime.predicted_curves import PredictedCurve
from ..task import Task, stated_task

UNSTABLE_MODE = "unstable mode"
"""The source of a course from small merged weights."""

HEADS = "all heads"
"""The source of a course of separate weights under weight decay, or where no direction has a gain."""

MODES = "modes"
"""The source of a course of several outputs from amplitudes of their modes."""

LAYER = "whole layer"
"""The source of a course of several outputs from weights."""

_EQUATIONS = {
    "closed form": r"L(t) = L(M^*) + \sum_d a_d \lambda_d (M_{dd}(t) - m_d)^2",
    "reduced ODE": r"\dot\kappa_r = v\, \kappa_r (b_r - a_r \lambda_r v \kappa_r^2)",
    UNSTABLE_MODE: r"\dot s = \langle G, U \rangle, \quad \dot U = s\, G",
    HEADS: r"\dot v = k^\top G q - \tfrac{wd}{2} v, \quad \dot k = v\, G q - \tfrac{wd}{2} k",
    "staircase": r"\dot v = k^\top G q, \quad \dot k = v\, G q, \quad \dot q = v\, G^\top k",
    MODES: r"\dot p = \ell\omega s^2 q - g\omega s^3 p q^2 - k(\omega s + \sigma^2) p\, T_q",
    LAYER: r"\dot p_{ij} = \langle G_{ij}, q \rangle, \quad \dot q = \textstyle\sum_{ij} p_{ij} G_{ij}",
}
"""What each source of a course solves."""


@dataclass(frozen=True, eq=False, repr=False)
class TimeCourse(PredictedCurve):
    """Predicted loss and coefficients at given flow times.

    `flow_time` (T,) is 2·learning rate·steps. `loss` (T,), in units of y². `amplitudes` (T, ·): for separate heads
    v_d (from amplitudes, rank one) or κ_d of each direction, (T, D) by decreasing gain; for merged ones s and then
    u_d, (T, 1 + D). `coefficients` (T, D): e_dᵀ M e_d in the same order; where Λ and Ω do not commute the e_d are
    the eigenvectors of E x xᵀ, which is Λ for x of mean 0, by decreasing eigenvalue. Where Λ or Ω is singular only
    the directions that have a gain are given, or those on which x varies where Λ and Ω do not commute.

    With K > 1 `outputs` amplitudes are p and then q of the modes (T, 2D), or their entries (T, K² + D²) from weights;
    coefficients are p q of the modes (T, D), or p_ii q_dd (T, KD) where the outputs share no basis with the inputs.

    `source` says what the curve is: "closed form", "reduced ODE", "unstable mode" (exact as the initial weights
    shrink), "staircase" (the flow of all heads, to about 1e-5 in its exit times) or "all heads" (that flow
    integrated, under weight decay or without any gain); of several outputs "modes" or "whole layer". `loss` is that
    without the decay's |θ|². `settings` hold the "task", as far as a file can, the "model" and the "weight_decay", so
    that a run of other ones is told apart.

    >>> import tempfile
    >>> from attndyn import Separate
    >>> from attndyn.theory import time_course
    >>> course = time_course(Task([2, 1], context_length=9), Separate(2), [0.0, 1.0], start=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     TimeCourse.load(course.save(f"{folder}/course.npz")).source
    'closed form'
    """

    flow_time: FloatArray
    loss: FloatArray
    amplitudes: FloatArray
    coefficients: FloatArray
    source: str
    settings: dict[str, Any] = field(default_factory=dict)

    NAME: ClassVar[str] = "time course"
    SHAPES: ClassVar[Mapping[str, str]] = {
        "flow_time": "(T,)",
        "loss": "(T,)",
        "amplitudes": "(T, K)",
        "coefficients": "(T, D)",
    }
    SETTINGS: ClassVar[tuple[str, ...]] = ("source",)

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists, and the source."""
        return super().to_dict() | {"source": self.source}

    def _stored_settings(self) -> dict[str, Any]:
        settings = json.dumps(self.settings)
        return {"source": np.array(self.source), "settings": np.array(settings)}

    @classmethod
    def _read_settings(
        cls, path: AnyPath, arrays: Mapping[str, NDArray[Any]]
    ) -> dict[str, Any]:
        source = str(arrays["source"])
        return {"source": source, "settings": settings_of_file(path, arrays)}

    def summary(self) -> Summary:
        """What the curve is and where it goes, on one screen."""
        by_time = np.argsort(self.flow_time, kind="stable")
        first = self.loss[by_time[0]]
        last = self.loss[by_time[-1]]
        rows = {
            "flow time": array_summary(self.flow_time),
            "loss": f"{first:.6g} → {last:.6g}",
            "coefficients at the end": array_summary(self.coefficients[by_time[-1]]),
            "amplitudes": array_summary(self.amplitudes),
        }
        formulas = (
            {"equation": _EQUATIONS[self.source]} if self.source in _EQUATIONS else {}
        )
        return Summary(f"Time course ({self.source})", rows, formulas)


def stated_settings(
    task: Task, model: Merged | Separate, weight_decay: float
) -> dict[str, Any]:
    """The settings of a course: task, model and decay as plain numbers and names."""
    stated = {"model": type(model).__name__.lower(), **model.to_dict()}
    return {"task": stated_task(task), "model": stated, "weight_decay": weight_decay}
