"""What a descent records, when it writes a checkpoint and how it goes on from one."""

import hashlib
import json
import math
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...models.protocol import Weights
from ...runtime.checks import positive_number, whole_number
from ...runtime.files import AnyPath, as_path, make_folder, replaceable
from ...runtime.machine import refuse_too_large
from ...runtime.versions import versions
from ..trajectory import IntArray, Trajectory, load
from .steppers import StepBuffer

CHECKPOINT_SECONDS = 20.0
"""How often a run with a checkpoint file writes it."""

RECORDS = 500
"""About how many weights a run stores if `record` does not say."""


@dataclass(frozen=True)
class DescentOptions:
    """How to descend: the arguments of `train` that do not depend on the model; ValueError if out of range."""

    learning_rate: float
    steps: int
    record: int | Sequence[int] | None = None
    checkpoint: AnyPath | None = None

    def __post_init__(self) -> None:
        # Plain numbers, as JSON wants them.
        rate = positive_number(self.learning_rate, "learning_rate")
        object.__setattr__(self, "learning_rate", rate)
        object.__setattr__(self, "steps", whole_number(self.steps, "steps"))
        recorded_steps(self.steps, self.record)

    @property
    def recorded(self) -> IntArray:
        """The steps before which weights are stored, in order; the last is `steps`, after the last step."""
        return recorded_steps(self.steps, self.record)


def recorded_steps(steps: int, record: ArrayLike | None) -> IntArray:
    """The steps before which a run of so many steps stores its weights, the first and last always.

    `record`: every so many steps, or the steps themselves; about 500 of them if None. ValueError if it is neither.

    >>> recorded_steps(10, 4), recorded_steps(10, [3])
    (array([ 0,  4,  8, 10]), array([ 0,  3, 10]))
    """
    chosen = np.asarray(max(1, steps // RECORDS) if record is None else record)
    whole = chosen.dtype.kind in "iu" or chosen.size == 0
    if chosen.ndim > 1 or not whole or (chosen.ndim == 0 and chosen < 1):
        raise ValueError(
            f"record must be a number of steps of at least 1, or a list of steps, not {record!r}"
        )
    if chosen.ndim == 0:
        chosen = np.arange(0, steps, int(chosen))
    recorded = np.unique([0, *chosen.tolist(), steps]).astype(np.int64)
    if recorded[0] < 0 or recorded[-1] > steps:
        raise ValueError(
            f"record must name steps from 0 to {steps}, not {recorded[0]} … {recorded[-1]}"
        )
    return recorded


class RunRecorder:
    """Losses and weights of a run in the making, from its beginning or from its checkpoint.

    `starts` is the shape of its losses at one step: (n,) if the weights are those of n starts.
    """

    def __init__(
        self,
        start: Weights,
        options: DescentOptions,
        settings: dict[str, Any],
        starts: tuple[int, ...] = (),
    ) -> None:
        self.options = options
        self.recorded = options.recorded
        self.settings = described(start, options, settings)
        self._refuse_size(start, starts)
        self.loss = np.empty((options.steps, *starts))
        self.norm = np.empty((options.steps, *starts))
        self.stored = _empty_records(start, len(self.recorded))
        # A list, since bisect is faster than searchsorted on one number.
        self._ordered = self.recorded.tolist()
        # One object, so that an interruption finds weights and their step together.
        self._state = ({name: value.copy() for name, value in start.items()}, 0)
        self._written = time.monotonic()
        if options.checkpoint is not None:
            make_folder(replaceable(options.checkpoint).parent)
            if as_path(options.checkpoint).exists():
                self._resume(load(options.checkpoint), options.checkpoint)

    def _refuse_size(self, start: Weights, starts: tuple[int, ...]) -> None:
        """MemoryError if the losses and the stored weights of the whole run do not fit."""
        steps = self.options.steps
        records = len(self.recorded)
        series = 2.0 * steps * math.prod(starts)  # losses and gradient norms
        weights = sum(value.size for value in start.values())
        numbers = series + float(records) * weights
        what = f"a run of {steps} steps that stores its weights {records} times"
        way_out = "take fewer steps, or record less: record=[] keeps two"
        refuse_too_large(what, 8 * numbers, way_out)

    @property
    def checkpoint_file(self) -> Path | None:
        """The checkpoint file, if the run has one."""
        path = self.options.checkpoint
        return None if path is None else as_path(path)

    @property
    def weights(self) -> Weights:
        """The weights as they stand."""
        return self._state[0]

    @property
    def done(self) -> int:
        """Steps taken."""
        return self._state[1]

    def witnesses(self) -> list[tuple[int, Weights]]:
        """First and last step whose weights the checkpoint has stored, with these; none without a checkpoint."""
        count = int(np.searchsorted(self.recorded, self.done))
        if count == 0:
            return []
        witnesses = []
        for place in sorted({0, count - 1}):
            weights = {name: value[place].copy() for name, value in self.stored.items()}
            witnesses.append((int(self.recorded[place]), weights))
        return witnesses

    def buffer(self, steps: int) -> StepBuffer:
        """Where the next steps write: no more than that many, nor than there are left."""
        first = self.done
        last = min(first + steps, self.options.steps)
        low = bisect_left(self._ordered, first)
        high = bisect_left(self._ordered, last)
        return StepBuffer(
            self.loss[first:last],
            self.norm[first:last],
            self.recorded[low:high] - first,
            {name: value[low:high] for name, value in self.stored.items()},
        )

    def advance(self, weights: Weights, steps: int) -> None:
        """Take the weights after so many more steps, and write the checkpoint if it is time."""
        self._state = (weights, self.done + steps)
        if time.monotonic() - self._written > CHECKPOINT_SECONDS:
            self.checkpoint()

    def trajectory(self) -> Trajectory:
        """The run so far, with the weights before the next step if that one is recorded."""
        weights, done = self._state
        # Weights are recorded before a step: those that stand now have not been written yet.
        count = int(np.searchsorted(self.recorded, done, side="right"))
        if self.recorded[count - 1] == done:
            for name, value in weights.items():
                self.stored[name][count - 1] = value
        stored = {name: value[:count] for name, value in self.stored.items()}
        recorded = self.recorded[:count]
        return self._trajectory(done, recorded, stored)

    def checkpoint(self) -> None:
        """Write the run so far and the present weights, if the run has a checkpoint file."""
        self._written = time.monotonic()
        if self.options.checkpoint is None:
            return
        weights, done = self._state
        count = int(np.searchsorted(self.recorded, done))
        stored = {
            name: np.concatenate([self.stored[name][:count], value[None]])
            for name, value in weights.items()
        }
        run = self._trajectory(done, [*self.recorded[:count], done], stored)
        run.save(self.options.checkpoint)

    def _trajectory(
        self, done: int, recorded: Sequence[int] | NDArray[np.int64], stored: Weights
    ) -> Trajectory:
        """The run of the steps that are done, with weights that are stored at the recorded ones."""
        return Trajectory(
            time=np.arange(done, dtype=float),
            loss=self.loss[:done],
            gradient_norm=self.norm[:done],
            weight_time=np.asarray(recorded, dtype=float),
            weights=stored,
            learning_rate=self.options.learning_rate,
            settings=self.settings,
        )

    def _resume(self, run: Trajectory, path: AnyPath) -> None:
        """Go on from a checkpoint; ValueError if it is one of another run."""
        if run.settings.get("digest") != self.settings["digest"]:
            raise ValueError(
                f"{as_path(path)} is a checkpoint of another run: choose another file or delete it"
            )
        done = len(run.loss)
        self.loss[:done] = run.loss
        self.norm[:done] = run.gradient_norm
        # The last weights of a checkpoint are the present ones, whether or not they are to be recorded.
        for name, value in run.weights.items():
            self.stored[name][: len(value) - 1] = value[:-1]
        self._state = (run.final, done)


def _empty_records(start: Weights, count: int) -> Weights:
    """Memory for so many records of weights, (count, …) each."""
    records = {}
    for name, value in start.items():
        records[name] = np.empty((count, *value.shape))
    return records


def described(
    start: Weights, options: DescentOptions, settings: dict[str, Any]
) -> dict[str, Any]:
    """The settings of a run, with a digest of its model, source, options and start, which its checkpoint must have.

    >>> described({"w": np.ones(2)}, DescentOptions(0.1, 5), {"model": "bowl"})["steps"]
    5
    """
    determining = settings | {
        "rate": options.learning_rate,
        "steps": options.steps,
        "recorded": options.recorded.tolist(),
    }
    digest = hashlib.sha256(json.dumps(determining, sort_keys=True).encode())
    for name in sorted(start):
        digest.update(start[name].tobytes())
    return settings | {
        "steps": options.steps,
        "learning_rate": options.learning_rate,
        "versions": versions(),
        "digest": digest.hexdigest(),
    }
