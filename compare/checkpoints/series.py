"""Checkpoints in order: which step each has, and a tensor at all of them."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.files import AnyPath
from .name_patterns import listed_names
from .tensor_files import TensorFile, open_tensors

_STEP_NAMES = ("steps", "step")
"""What a field of steps is called, if nobody says otherwise."""

_GROUPED = re.compile(r"(\d+)/(.+)", re.DOTALL)
"""Names of a file that holds the tensors of several steps, as "100/W_Q"."""

_SAY_STEPS = "say where the step stands with --steps, a field of the file or a part of its name such as step_{step}"


class Checkpoint(NamedTuple):
    """The tensors of one step: those of a file whose names begin with `prefix`, or a `row` of all of its tensors."""

    step: float
    file: TensorFile
    prefix: str = ""
    row: int | None = None
    rows: int | None = None
    """The number of checkpoints in the rows of the file."""

    @property
    def names(self) -> list[str]:
        """What its tensors are called."""
        return [
            name.removeprefix(self.prefix)
            for name in self.file.shapes
            if name.startswith(self.prefix)
        ]


def checkpoints_of(
    paths: Iterable[AnyPath], steps: str | None = None
) -> tuple[Checkpoint, ...]:
    """The checkpoints of npz and safetensors files by increasing step.

    A file is one checkpoint, or has one in each row of its tensors and their steps in a field, or names its tensors
    STEP/NAME. `steps` names the field, or shows where the step stands in the names of the files, as "step_{step}"; if
    left out, it is a field "steps" or "step", else the last number in the file's name or in its folder's. ValueError
    for steps that cannot be told or are there twice, and what `open_tensors` refuses.
    """
    files = [open_tensors(path) for path in paths]
    if not files:
        raise ValueError("measures need a file of checkpoints or more")
    found = [checkpoint for file in files for checkpoint in _in_file(file, steps)]
    if len(files) == len(found) == 1 and np.isnan(found[0].step):
        # Of a single checkpoint the step does not matter.
        return (found[0]._replace(step=0.0),)
    for checkpoint in found:
        if np.isnan(checkpoint.step):
            raise ValueError(
                f"no number in the name of {checkpoint.file.path} tells its step: {_SAY_STEPS}"
            )
    found.sort(key=lambda checkpoint: checkpoint.step)
    for before, after in pairwise(found):
        if before.step == after.step:
            places = dict.fromkeys(str(one.file.path) for one in (before, after))
            raise ValueError(
                f"step {after.step:g} is there twice, in {' and in '.join(places)}: leave one out, or {_SAY_STEPS}"
            )
    return tuple(found)


def tensor_along(checkpoints: Sequence[Checkpoint], name: str) -> FloatArray:
    """The tensor of a name at all checkpoints, (T, …) in doubles.

    ValueError where it is missing, has other shapes, or numbers that are not finite.
    """
    arrays: list[FloatArray] = []
    last_read: tuple[object, FloatArray] | None = None
    for checkpoint in checkpoints:
        full_name = checkpoint.prefix + name
        _refuse_missing(checkpoint, name, full_name)
        place = (checkpoint.file.path, full_name)
        # The rows of one file come one after another: it is read once.
        if last_read is None or last_read[0] != place:
            last_read = (place, checkpoint.file.read(full_name))
        array = last_read[1]
        arrays.append(array if checkpoint.row is None else array[checkpoint.row])
        if arrays[-1].shape != arrays[0].shape:
            raise ValueError(
                f"{name} has shape {arrays[-1].shape} in {checkpoint.file.path}, and {arrays[0].shape} in "
                f"{checkpoints[0].file.path}: pass checkpoints of one network"
            )
    return np.stack(arrays)


def _refuse_missing(checkpoint: Checkpoint, name: str, full_name: str) -> None:
    """ValueError where a checkpoint lacks a tensor, or its axis of steps is not that of the file."""
    file = checkpoint.file
    if full_name not in file.shapes:
        raise ValueError(
            f"{file.path} has no tensor {name!r} at step {checkpoint.step:g}: there "
            f"{listed_names(checkpoint.names, name)}"
        )
    shape = file.shapes[full_name]
    if checkpoint.rows is not None and shape[:1] != (checkpoint.rows,):
        raise ValueError(
            f"{name} in {file.path} must begin with an axis of {checkpoint.rows} checkpoints, as its steps do, not "
            f"have shape {shape}"
        )


def _in_file(file: TensorFile, steps: str | None) -> list[Checkpoint]:
    """The checkpoints of one file; the step of a single one is nan where nothing tells it."""
    if steps is not None and "{step}" in steps:
        return [Checkpoint(_step_in_name(file.path, steps), file)]
    grouped = [_GROUPED.fullmatch(name) for name in file.shapes]
    if steps is None and all(grouped):
        prefixes = dict.fromkeys(match[1] for match in grouped if match)
        return [
            Checkpoint(float(prefix), file, f"{prefix}/")
            for prefix in sorted(prefixes, key=int)
        ]
    for name in _STEP_NAMES if steps is None else (steps,):
        if name in file.shapes:
            return _by_field(file, name)
        if name in file.metadata:
            return [Checkpoint(_step_of_text(file, name), file)]
    if steps is not None:
        there = listed_names([*file.shapes, *file.metadata], steps)
        raise ValueError(f"{file.path} has no field {steps!r} of steps: there {there}")
    return [Checkpoint(_last_number(file.path), file)]


def _by_field(file: TensorFile, name: str) -> list[Checkpoint]:
    """One checkpoint of a step, or one for each of several (T,); ValueError for what are no steps."""
    values = file.read(name)
    if values.ndim > 1 or not values.size or np.any(values < 0):
        raise ValueError(
            f"{name} in {file.path} must be a step or steps (T,), from 0 on, not of shape {values.shape}"
            + (" with numbers below 0" if np.any(values < 0) else "")
        )
    if values.ndim == 0:
        return [Checkpoint(float(values), file)]
    return [
        Checkpoint(float(step), file, row=k, rows=len(values))
        for k, step in enumerate(values)
    ]


def _step_of_text(file: TensorFile, name: str) -> float:
    """The step that the metadata of a file state; ValueError for what is no number of 0 or more."""
    text = file.metadata[name]
    try:
        step = float(text)
    except ValueError:
        step = np.nan
    if not 0 <= step < np.inf:
        raise ValueError(f"{name} in the metadata of {file.path} is no step: {text!r}")
    return step


def _step_in_name(path: Path, pattern: str) -> float:
    """The number that stands where a pattern has {step}; ValueError where a path does not fit it."""
    before, _, after = pattern.partition("{step}")
    match = re.search(rf"{re.escape(before)}(\d+){re.escape(after)}", str(path))
    if not match:
        raise ValueError(f"{path} does not have {pattern!r} in its name")
    return float(match[1])


def _last_number(path: Path) -> float:
    """The last whole number in the name of a file without its ending, or in that of its folder; nan without one."""
    for name in (path.stem, path.absolute().parent.name):
        numbers = re.findall(r"\d+", name)
        if numbers:
            return float(numbers[-1])
    return float("nan")
