"""Losses against flow time that a theory predicts, of any wing: what an overlay takes beside a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..runtime.arrays import FloatArray
from ..runtime.files import AnyPath, array_headers, as_path
from ..theory import TimeCourse
from ..theory.softmax_attention import BalancedFlow, ReducedFlow
from .error_curves import ErrorCurve


@runtime_checkable
class LossCurve(Protocol):
    """A predicted loss against flow time, such as `TimeCourse`, `ReducedFlow` and `ErrorCurve`."""

    @property
    def flow_time(self) -> FloatArray:
        """The times (T,): 2·learning rate·steps."""

    @property
    def loss(self) -> FloatArray:
        """The loss (T,) at these times, in units of y²."""

    @property
    def source(self) -> str:
        """What the curve solves, in a few words."""

    def save(self, path: AnyPath) -> Path:
        """Write the curve to an npz file."""


# An array that the files of one kind of curve have, and those before it have not, and what reads them.
_KINDS: dict[str, Callable[[AnyPath], LossCurve]] = {
    "amplitudes": TimeCourse.load,
    "kind": ReducedFlow.load,
    "omega": BalancedFlow.load,
    "tested_on": ErrorCurve.load,
}


def load_curve(path: AnyPath) -> LossCurve:
    """The `TimeCourse`, `ReducedFlow`, `BalancedFlow` or `ErrorCurve` of a file.

    ValueError for other files, and OSError where there is none.

    >>> from tempfile import TemporaryDirectory
    >>> from attndyn import Merged, Task
    >>> from attndyn.theory import time_course
    >>> curve = time_course(Task([2, 1], context_length=9), Merged(2), [0, 1], 0.1)
    >>> with TemporaryDirectory() as folder:
    ...     load_curve(curve.save(f"{folder}/curve.npz")).source
    'reduced ODE'
    """
    names = array_headers(path)
    for array, load in _KINDS.items():
        if array in names:
            return load(path)
    raise ValueError(
        f"{as_path(path)} is no predicted curve: pass a file that save of TimeCourse, ReducedFlow, BalancedFlow or "
        "ErrorCurve wrote"
    )
