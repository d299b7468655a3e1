"""The notebook of a descent: what it records, when it writes a checkpoint and how it goes on from one."""

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
from numpy.typing import NDArray

from ...models.protocol import Weights
from ...runtime.files import AnyPath, as_path, make_folder, replaceable
from ...runtime.machine import refuse_too_large
from ...runtime.versions import versions
from ..attention.initialisation import positive
from ..trajectory import Trajectory, load
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
        rate = positive("learning_rate", self.learning_rate)
        if (
            isinstance(self.steps, bool)
            or not isinstance(self.steps, (int, np.integer))
            or self.steps < 1
        ):
            raise ValueError(
                f"steps must be a whole number of at least 1, not {self.steps!r}"
            )
        object.__setattr__(
            self, "learning_rate", rate
        )  # plain numbers, as JSON wants them
        object.__setattr__(self, "steps", int(self.steps))

    @property
    def recorded(self) -> NDArray[np.int64]:
        """The steps before which weights are stored, in order; the last is `steps`, after the last step."""
        every = max(1, self.steps // RECORDS) if self.record is None else self.record
        record = np.asarray(every)
        if (
            record.ndim > 1
            or (record.size and record.dtype.kind not in "iu")
            or (record.ndim == 0 and record < 1)
        ):
            raise ValueError(
                f"record must be a number of steps of at least 1, or a list of steps, not {self.record!r}"
            )
        if record.ndim == 0:
            record = np.arange(0, self.steps, int(record))
        chosen = np.unique([0, *record.tolist(), self.steps]).astype(np.int64)
        if chosen[0] < 0 or chosen[-1] > self.steps:
            raise ValueError(
                f"record must name steps from 0 to {self.steps}, not {chosen[0]} … {chosen[-1]}"
            )
        return chosen


class RunRecorder:
    """Losses and weights of a run in the making, from its beginning or from its checkpoint.

    `starts` is the shape of its losses at one step: (n,) if the weights are those of n starts.
    """

    def __init__(
        self,
        start: Weights,
        rule: DescentOptions,
        settings: dict[str, Any],
        starts: tuple[int, ...] = (),
    ) -> None:
        self.rule, self.recorded = rule, rule.recorded
        self.settings = described(start, rule, settings)
        self._refuse_size(start, starts)
        self.loss, self.norm = (
            np.empty((rule.steps, *starts)),
            np.empty((rule.steps, *starts)),
        )
        self._ordered = (
            self.recorded.tolist()
        )  # bisect is faster than searchsorted on one number
        self.kept = {
            name: np.empty((len(self.recorded), *value.shape))
            for name, value in start.items()
        }
        # One object, so that an interruption finds weights and their step together.
        self._state = ({name: value.copy() for name, value in start.items()}, 0)
        self._written = time.monotonic()
        if rule.checkpoint is not None:
            make_folder(replaceable(rule.checkpoint).parent)
        if rule.checkpoint is not None and as_path(rule.checkpoint).exists():
            self._resume(load(rule.checkpoint), rule.checkpoint)

    def _refuse_size(self, start: Weights, starts: tuple[int, ...]) -> None:
        """MemoryError if the lines and the stored weights of the whole run do not fit."""
        lines = 2.0 * self.rule.steps * math.prod(starts)
        stored = float(len(self.recorded)) * sum(value.size for value in start.values())
        what = f"a run of {self.rule.steps} steps that stores its weights {len(self.recorded)} times"
        refuse_too_large(
            what,
            8 * (lines + stored),
            "take fewer steps, or record less: record=[] keeps two",
        )

    @property
    def checkpoint_file(self) -> Path | None:
        """The checkpoint file, if the run has one."""
        return None if self.rule.checkpoint is None else as_path(self.rule.checkpoint)

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
        stored = int(np.searchsorted(self.recorded, self.done))
        places = sorted({0, stored - 1}) if stored else []
        return [
            (
                int(self.recorded[place]),
                {name: value[place].copy() for name, value in self.kept.items()},
            )
            for place in places
        ]

    def stretch(self, steps: int) -> StepBuffer:
        """Room for the next steps: no more than that many, nor than there are left."""
        first, last = self.done, min(self.done + steps, self.rule.steps)
        low, high = (bisect_left(self._ordered, step) for step in (first, last))
        kept = {name: value[low:high] for name, value in self.kept.items()}
        return StepBuffer(
            self.loss[first:last],
            self.norm[first:last],
            self.recorded[low:high] - first,
            kept,
        )

    def advance(self, weights: Weights, steps: int) -> None:
        """Take the weights after so many more steps, and write the checkpoint if it is time."""
        self._state = (weights, self.done + steps)
        if time.monotonic() - self._written > CHECKPOINT_SECONDS:
            self.checkpoint()

    def trajectory(self) -> Trajectory:
        """The run so far, with the weights before the next step if that one is recorded."""
        weights, done = self._state
        count = int(np.searchsorted(self.recorded, done, side="right"))
        if self.recorded[count - 1] == done:
            for name, value in weights.items():
                self.kept[name][count - 1] = value
        kept = {name: value[:count] for name, value in self.kept.items()}
        return self._trajectory(done, self.recorded[:count], kept)

    def checkpoint(self) -> None:
        """Write the run so far and the present weights, if the run has a checkpoint file."""
        self._written = time.monotonic()
        if self.rule.checkpoint is None:
            return
        weights, done = self._state
        count = int(np.searchsorted(self.recorded, done))
        kept = {
            name: np.concatenate([self.kept[name][:count], value[None]])
            for name, value in weights.items()
        }
        self._trajectory(done, [*self.recorded[:count], done], kept).save(
            self.rule.checkpoint
        )

    def _trajectory(
        self, done: int, recorded: Sequence[int] | NDArray[np.int64], kept: Weights
    ) -> Trajectory:
        time, weight_time = (
            np.arange(done, dtype=float),
            np.asarray(recorded, dtype=float),
        )
        lines = (time, self.loss[:done], self.norm[:done], weight_time)
        return Trajectory(*lines, kept, self.rule.learning_rate, self.settings)

    def _resume(self, run: Trajectory, path: AnyPath) -> None:
        if run.settings.get("digest") != self.settings["digest"]:
            raise ValueError(
                f"{as_path(path)} is a checkpoint of another run: choose another file or delete it"
            )
        done = len(run.loss)
        self.loss[:done], self.norm[:done] = run.loss, run.gradient_norm
        for name, value in run.weights.items():
            self.kept[name][: len(value) - 1] = value[:-1]
        self._state = (run.final, done)


def described(
    start: Weights, rule: DescentOptions, settings: dict[str, Any]
) -> dict[str, Any]:
    """The settings of a run, with a digest of its model, source, rule and start: what a checkpoint must agree with.

    >>> described({"w": np.ones(2)}, DescentOptions(0.1, 5), {"model": "bowl"})["steps"]
    5
    """
    known = settings | {
        "rate": rule.learning_rate,
        "steps": rule.steps,
        "recorded": rule.recorded.tolist(),
    }
    text = json.dumps(known, sort_keys=True).encode()
    digest = hashlib.sha256(
        text + b"".join(start[name].tobytes() for name in sorted(start))
    ).hexdigest()
    own = {
        "steps": rule.steps,
        "learning_rate": rule.learning_rate,
        "versions": versions(),
        "digest": digest,
    }
    return settings | own
