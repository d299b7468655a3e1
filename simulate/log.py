"""The notebook of a descent: what it records, when it writes a checkpoint and how it goes on from one."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import Weights
from .files import make_folder, replaceable
from .initial import positive
from .trajectory import Trajectory, load, versions

CHECKPOINT_SECONDS = 20.0
"""How often a run with a checkpoint file writes it."""

RECORDS = 500
"""About how many weights a run stores if `record` does not say."""


@dataclass(frozen=True)
class Descent:
    """How to descend: the arguments of `train` that do not depend on the model; ValueError if out of range."""

    learning_rate: float
    steps: int
    record: int | Sequence[int] | None = None
    checkpoint: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        rate = positive("learning_rate", self.learning_rate)
        if isinstance(self.steps, bool) or not isinstance(self.steps, (int, np.integer)) or self.steps < 1:
            raise ValueError(f"steps must be a whole number of at least 1, not {self.steps!r}")
        object.__setattr__(self, "learning_rate", rate)  # plain numbers, as JSON wants them
        object.__setattr__(self, "steps", int(self.steps))

    @property
    def recorded(self) -> NDArray[np.int64]:
        """The steps before which weights are stored, in order; the last is `steps`, after the last step."""
        every = max(1, self.steps // RECORDS) if self.record is None else self.record
        record = np.asarray(every)
        if record.ndim > 1 or (record.size and record.dtype.kind not in "iu") or (record.ndim == 0 and record < 1):
            raise ValueError(
                f"record must be a number of steps of at least 1, or a list of steps, not {self.record!r}"
            )
        if record.ndim == 0:
            record = np.arange(0, self.steps, int(record))
        chosen = np.unique([0, *record.tolist(), self.steps]).astype(np.int64)
        if chosen[0] < 0 or chosen[-1] > self.steps:
            raise ValueError(f"record must name steps from 0 to {self.steps}, not {chosen[0]} … {chosen[-1]}")
        return chosen


class Log:
    """Losses and weights of a run in the making, from its beginning or from its checkpoint."""

    def __init__(self, start: Weights, rule: Descent, settings: dict[str, Any]) -> None:
        self.rule, self.recorded = rule, rule.recorded
        self.settings = settings | {
            "steps": rule.steps,
            "learning_rate": rule.learning_rate,
            "versions": versions(),
            "digest": _digest(settings, start, rule, self.recorded),
        }
        self.loss, self.norm = np.empty(rule.steps), np.empty(rule.steps)
        self.kept = {name: np.empty((len(self.recorded), *value.shape)) for name, value in start.items()}
        self.count = 0
        # One object, so that an interruption finds weights and their step together.
        self._state = ({name: value.copy() for name, value in start.items()}, 0)
        self._written = time.monotonic()
        if rule.checkpoint is not None:
            make_folder(replaceable(rule.checkpoint).parent)
        if rule.checkpoint is not None and Path(rule.checkpoint).exists():
            self._resume(load(rule.checkpoint), rule.checkpoint)

    @property
    def weights(self) -> Weights:
        """The weights as they stand."""
        return self._state[0]

    @property
    def done(self) -> int:
        """Steps taken."""
        return self._state[1]

    def keep(self, step: int, weights: Weights) -> None:
        """Store the weights if this step is one of the recorded."""
        if step == self.recorded[self.count]:
            for name, value in weights.items():
                self.kept[name][self.count] = value
            self.count += 1

    def advance(self, weights: Weights) -> None:
        """Take the weights after one more step, and write the checkpoint if it is time."""
        self._state = (weights, self.done + 1)
        if time.monotonic() - self._written > CHECKPOINT_SECONDS:
            self.checkpoint()

    def trajectory(self) -> Trajectory:
        """The run so far."""
        kept = {name: value[: self.count] for name, value in self.kept.items()}
        return self._trajectory(self.done, self.recorded[: self.count], kept)

    def checkpoint(self) -> None:
        """Write the run so far and the present weights, if the run has a checkpoint file."""
        self._written = time.monotonic()
        if self.rule.checkpoint is None:
            return
        weights, done = self._state
        count = int(np.searchsorted(self.recorded, done))
        kept = {name: np.concatenate([self.kept[name][:count], value[None]]) for name, value in weights.items()}
        self._trajectory(done, [*self.recorded[:count], done], kept).save(self.rule.checkpoint)

    def _trajectory(self, done: int, recorded: Sequence[int] | NDArray[np.int64], kept: Weights) -> Trajectory:
        time, weight_time = np.arange(done, dtype=float), np.asarray(recorded, dtype=float)
        lines = (time, self.loss[:done], self.norm[:done], weight_time)
        return Trajectory(*lines, kept, self.rule.learning_rate, self.settings)

    def _resume(self, run: Trajectory, path: str | os.PathLike[str]) -> None:
        if run.settings.get("digest") != self.settings["digest"]:
            raise ValueError(f"{path} is a checkpoint of another run: choose another file or delete it")
        done = len(run.loss)
        self.loss[:done], self.norm[:done] = run.loss, run.gradient_norm
        self.count = len(run.weight_time) - 1
        for name, value in run.weights.items():
            self.kept[name][: self.count] = value[:-1]
        self._state = (run.final, done)


def _digest(settings: dict[str, Any], start: Weights, rule: Descent, recorded: NDArray[np.int64]) -> str:
    """Names a run by its model, source, rule and start: what a checkpoint must agree with."""
    known = settings | {"rate": rule.learning_rate, "steps": rule.steps, "recorded": recorded.tolist()}
    text = json.dumps(known, sort_keys=True).encode()
    return hashlib.sha256(text + b"".join(start[name].tobytes() for name in sorted(start))).hexdigest()
