"""Recorded reduced flows of softmax heads: ω and μ of each head, in steps of Euler's method, without any prompts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.checks import is_whole_number
from ...runtime.display import Displayed, Summary, array_summary
from ...task import Task
from .recording_arrays import LARGEST_STEPS, Headers, read_numbers, shape_of
from .recording_fields import (
    positive_number,
    readable,
    shortened,
    tells_of_training,
)

LOSS = "half of the approximate loss"
"""What a recording says of its loss: that of He et al. 2025 (arXiv 2503.12734)."""

METRICS = ("rho = 1", "rho = 1/D")
"""What a recording may say of its metric: ω' = −ρ ∂(L̃/2)/∂ω, beside μ' = −∂(L̃/2)/∂μ."""

LARGEST_DIMENSION = 1000
"""Largest D, of which a task has a matrix: twenty times that of the published runs."""

MOST_HEADS = 1000
"""Most heads of all cases together: every step takes H² numbers."""

SERIES = ("omega", "mu", "half_loss")
"""The arrays of a case."""

NUMBERS = ("dimension", "context_length", "steps", "every")
"""Fields that are whole numbers."""


class Case(NamedTuple):
    """One start: ω and μ (K, H), and half of the loss (K,), every so many steps."""

    omega: FloatArray
    mu: FloatArray
    half_loss: FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class ReducedFlowRecording(Displayed):
    """Euler steps of size `step` on half of the approximate loss, recorded every so many, from several starts."""

    task: Task
    step: float
    steps: int
    every: int
    metric: float
    cases: tuple[Case, ...]
    not_used: tuple[str, ...] = ()

    def summary(self) -> Summary:
        """The task, the steps and the starts."""
        rows: dict[str, object] = {
            "D": self.task.dimension,
            "context lengths": array_summary(self.task.context_lengths),
            "steps": f"{self.steps} of {self.step:g}",
            "metric ρ": f"{self.metric:g}",
            "heads": ", ".join(str(case.mu.shape[1]) for case in self.cases),
        }
        return Summary("Recorded reduced flow of softmax heads", rows)


def reduced_flow_recording(
    path: str, headers: Headers, meta: Mapping[str, Any]
) -> ReducedFlowRecording:
    """The recording of a file of these headers and fields; KeyError for what is missing, ValueError for the unfit."""
    _refuse_other_fields(meta)
    sizes = {name: _whole_number(meta, name) for name in NUMBERS}
    if sizes["steps"] % sizes["every"] or sizes["steps"] > LARGEST_STEPS:
        raise ValueError(
            f"its meta has steps = {shortened(sizes['steps'])}, which must be a multiple of every = "
            f"{shortened(sizes['every'])} and at most {LARGEST_STEPS}"
        )
    D = sizes["dimension"]
    if D > LARGEST_DIMENSION:
        raise ValueError(
            f"its meta has dimension = {shortened(D)}, and a replay takes at most {LARGEST_DIMENSION}"
        )
    # Labels of variance 1, as in the reduced model.
    task = Task(
        [1] * D,
        teacher_covariance=np.eye(D) / D,
        noise_variance=_noise_variance(meta),
        context_length=sizes["context_length"],
    )
    count = sizes["steps"] // sizes["every"] + 1
    return ReducedFlowRecording(
        task=task,
        step=positive_number(meta, "step"),
        steps=sizes["steps"],
        every=sizes["every"],
        metric=1.0 if meta["metric"] == METRICS[0] else 1 / D,
        cases=_cases(path, headers, meta, count),
        not_used=_not_used(meta, headers),
    )


USED = ("model", "loss", "metric", "cases", "step", "noise_variance", *NUMBERS)
"""The fields of `meta`, all of them required."""


def _refuse_other_fields(meta: Mapping[str, Any]) -> None:
    """KeyError for a field that is missing, ValueError for one that says what the reduced flow is not."""
    for name in USED:
        meta[name]
    for name, values in {"loss": (LOSS,), "metric": METRICS}.items():
        if meta[name] not in values:
            known = ", ".join(map(repr, values))
            raise ValueError(
                f"its meta has {name} = {shortened(meta[name])}, and a reduced flow knows only {known}"
            )
    for name, value in meta.items():
        if name not in USED and tells_of_training(name) and value:
            raise ValueError(
                f"its meta has {readable(name)} = {shortened(value)}, which a reduced flow does not know how to follow"
            )


def _whole_number(meta: Mapping[str, Any], name: str) -> int:
    value = meta[name]
    if not is_whole_number(value, 1):
        raise ValueError(
            f"its meta has {name} = {shortened(value)}, which must be a whole number of at least 1"
        )
    return value


def _noise_variance(meta: Mapping[str, Any]) -> float:
    """σ², which may be 0."""
    if meta["noise_variance"] in (0, 0.0) and meta["noise_variance"] is not False:
        return 0.0
    return positive_number(meta, "noise_variance")


def _cases(
    path: str, headers: Headers, meta: Mapping[str, Any], count: int
) -> tuple[Case, ...]:
    """The starts with `count` records each; ValueError for arrays that do not fit."""
    stated = meta["cases"]
    if not isinstance(stated, list) or not 1 <= len(stated) <= MOST_HEADS:
        raise ValueError(
            f"its meta has cases = {shortened(stated)}, which must be a list with an object for each start"
        )
    total = 0
    for index, case in enumerate(stated):
        _, heads = shape_of(headers, f"omega_{index}", "K", "H")
        total += heads
        shapes = {"omega": (count, heads), "mu": (count, heads), "half_loss": (count,)}
        for name, shape in shapes.items():
            found = headers[f"{name}_{index}"].shape
            if found != shape:
                raise ValueError(
                    f"its array {name}_{index} must have shape {shape}, steps / every + 1 records, not {found}"
                )
        heads_stated = case.get("heads", heads) if isinstance(case, dict) else None
        if heads_stated != heads:
            raise ValueError(
                f"its meta has case {index} = {shortened(case)}, but its arrays have {heads} heads"
            )
    if total > MOST_HEADS:
        raise ValueError(
            f"its cases have {total} heads together, and a replay takes at most {MOST_HEADS}"
        )
    names = [f"{name}_{index}" for index in range(len(stated)) for name in SERIES]
    arrays = read_numbers(path, headers, names)
    return tuple(
        Case(*(arrays[f"{name}_{index}"] for name in SERIES))
        for index in range(len(stated))
    )


def _not_used(meta: Mapping[str, Any], headers: Headers) -> tuple[str, ...]:
    """Names of the fields and arrays that a replay makes no use of."""
    used = {f"{name}_{k}" for k in range(len(meta["cases"])) for name in SERIES}
    fields = [name for name in meta if name not in USED]
    arrays = [name for name in headers if name not in used | {"meta"}]
    return tuple(map(readable, fields + arrays))
