"""What a descent records, when it writes a checkpoint and how it goes on from one."""

import hashlib
import json
import math
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.protocol import Weights
from ...runtime.arrays import FloatArray
from ...runtime.files import as_path, make_folder, replaceable
from ...runtime.machine import refuse_too_large
from ...runtime.nested import copied, refuse_unstorable, with_classes_of
from ...runtime.versions import versions
from ...task import Task, stated_task
from ..data.batches import BatchesInOrder
from ..data.prompts import Data
from ..sufficient_statistics.quadratic_loss import Statistics
from ..trajectory import IntArray, Trajectory, load
from .earlier_parts import EarlierPart
from .optimizers import Optimizer, is_built_in, settings_of, without_rate
from .options import DescentOptions
from .steppers import Position, StepBuffer

CHECKPOINT_SECONDS = 20.0
"""How often a run with a checkpoint file writes it."""


class RunRecorder:
    """Losses and weights of a run in the making, from its beginning or from where an earlier part of it ended.

    `starts` is the shape of its losses at one step: (n,) if the weights are those of n starts. `keeps_state` says that
    steps are taken with the optimizer's state, rather than with a rate and weights alone. `earlier` is the part that
    exists; that of the checkpoint file goes before it if it is longer.
    """

    def __init__(
        self,
        start: Weights,
        options: DescentOptions,
        settings: dict[str, Any],
        starts: tuple[int, ...] = (),
        *,
        keeps_state: bool = False,
        earlier: Trajectory | None = None,
    ) -> None:
        self.options = options
        self.keeps_state = keeps_state
        self.settings = described(start, options, settings)
        self._refuse_size(start, starts, len(options.recorded))
        part = self._earlier_part(earlier)
        self.recorded = options.recorded
        if part is not None:
            self.recorded = recorded_with(part.run.weight_steps, options.recorded)
            self._refuse_size(start, starts, len(self.recorded))

        self.loss = np.empty((options.steps, *starts))
        self.norm = np.empty((options.steps, *starts))
        # In the place of a scheduled rate comes the one that is taken. Of a plain descent there is but one.
        self.rates = options.rates.copy() if self._has_rates() else None  # type: ignore[union-attr]
        self.stored = _empty_records(start, len(self.recorded))
        # A list, since bisect is faster than searchsorted on one number.
        self._ordered = self.recorded.tolist()
        first = Position({name: value.copy() for name, value in start.items()})
        if keeps_state:
            first = first._replace(state=first_state(options.rule, start))
        # One object, so that an interruption finds a position and the one before it together.
        self._positions: tuple[Position, Position | None] = (first, None)
        self._written = time.monotonic()
        self._written_steps = 0
        if part is not None:
            self._go_on_from(part.run)

    def _has_rates(self) -> bool:
        return self.keeps_state and self.options.rates is not None

    def _refuse_size(
        self, start: Weights, starts: tuple[int, ...], records: int
    ) -> None:
        """MemoryError if the losses and the stored weights of the whole run do not fit."""
        steps = self.options.steps
        series = 2.0 * steps * math.prod(starts)  # losses and gradient norms
        if self.keeps_state:
            series += 2.0 * steps  # learning rates, scheduled and taken
        weights = sum(value.size for value in start.values())
        numbers = series + float(records) * weights
        what = f"a run of {steps} steps that stores its weights {records} times"
        way_out = "take fewer steps, or record less: record=[] keeps two"
        refuse_too_large(what, 8 * numbers, way_out)

    def _earlier_part(self, given: Trajectory | None) -> EarlierPart | None:
        """The longer of the given part and that of the checkpoint file; ValueError if one is of another run."""
        parts = []
        if given is not None:
            parts.append(EarlierPart(given, None))
        path = self.checkpoint_file
        if path is not None:
            make_folder(replaceable(path).parent)
            if path.exists():
                parts.append(EarlierPart(load(path), path))
        for part in parts:
            part.refuse_other_run(self.settings, self.options, self.keeps_state)
        return max(parts, key=lambda part: len(part.run.loss), default=None)

    @property
    def checkpoint_file(self) -> Path | None:
        """The checkpoint file, if the run has one."""
        path = self.options.checkpoint
        return None if path is None else as_path(path)

    @property
    def position(self) -> Position:
        """Where the run stands."""
        return self._positions[0]

    @property
    def before_last(self) -> Position | None:
        """The position before the last step, of an optimizer of the user's own."""
        return self._positions[1]

    @property
    def done(self) -> int:
        """Steps taken."""
        return self._positions[0].step

    def witnesses(self) -> list[Position]:
        """First and last step whose weights the earlier part has stored, with these; none without such a part."""
        count = int(np.searchsorted(self.recorded, self.done))
        if count == 0:
            return []
        witnesses = []
        for place in sorted({0, count - 1}):
            weights = {name: value[place].copy() for name, value in self.stored.items()}
            witnesses.append(Position(weights, int(self.recorded[place])))
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
            None if self.rates is None else self.rates[first:last],
        )

    def advance(self, position: Position) -> None:
        """Take the position after some more steps, and write the checkpoint if it is time."""
        before = None
        if self.keeps_state and not is_built_in(self.options.rule):
            before = self.position
        self._positions = (position, before)
        if time.monotonic() - self._written > CHECKPOINT_SECONDS:
            self.checkpoint()

    def trajectory(self) -> Trajectory:
        """The run so far, with the weights before the next step if that one is recorded."""
        weights, done, _ = self.position
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
        weights, done, _ = self.position
        count = int(np.searchsorted(self.recorded, done))
        stored = {
            name: np.concatenate([self.stored[name][:count], value[None]])
            for name, value in weights.items()
        }
        run = self._trajectory(done, [*self.recorded[:count], done], stored)
        run.save(self.options.checkpoint)
        self._written_steps = done

    def last_checkpoint(self) -> None:
        """Write the whole run, from which one of more steps can go on, unless the file has it."""
        if self._written_steps < self.done:
            self.checkpoint()

    def _trajectory(
        self, done: int, recorded: Sequence[int] | NDArray[np.int64], stored: Weights
    ) -> Trajectory:
        """The run of the steps that are done, with weights that are stored at the recorded ones."""
        before = self.before_last
        taken = None if self.rates is None else self.rates[:done].copy()
        return Trajectory(
            time=np.arange(done, dtype=float),
            loss=self.loss[:done],
            gradient_norm=self.norm[:done],
            weight_time=np.asarray(recorded, dtype=float),
            weights=stored,
            learning_rate=self._one_rate(taken),
            settings=self.settings,
            learning_rates=taken,
            optimizer=settings_of(self.options.rule),
            state=self.position.state,
            before_last=before and {"weights": before.weights, "state": before.state},
            unit="steps",
        )

    def _one_rate(self, taken: FloatArray | None) -> float | None:
        """The learning rate, where all steps took the same."""
        if taken is None:
            return self.options.plain_rate
        same = len(taken) > 0 and taken[0] > 0 and np.all(taken == taken[0])
        return float(taken[0]) if same else None

    def _go_on_from(self, run: Trajectory) -> None:
        """Take over the steps and the stored weights of an earlier part of this run."""
        done = len(run.loss)
        self.loss[:done] = run.loss
        self.norm[:done] = run.gradient_norm
        if self.rates is not None:
            self.rates[:done] = run.learning_rates
        kept = np.flatnonzero(np.isin(run.weight_steps, self.recorded))
        places = np.searchsorted(self.recorded, run.weight_steps[kept])
        for name, value in run.weights.items():
            self.stored[name][places] = value[kept]
        self._positions = self._positions_after(run)
        self._written_steps = done

    def _positions_after(self, run: Trajectory) -> tuple[Position, Position | None]:
        """Where an earlier part of this run ended, and the step before, with the state of the optimizer."""
        done = len(run.loss)
        state, before = run.state, run.before_last
        if self.keeps_state:
            fresh = first_state(self.options.rule, run.initial)
            state = with_classes_of(fresh, state)
        # The last weights of a part are the present ones, whether or not they are to be recorded.
        position, last = Position(run.final, done, state), None
        if before is not None:
            state = with_classes_of(fresh, before["state"])
            last = Position(before["weights"], done - 1, state)
        return position, last


def first_state(optimizer: Optimizer, start: Weights) -> Any:
    """The state of an optimizer before the first step; ValueError for one that no file can hold."""
    state = optimizer.init(copied(start))
    refuse_unstorable(state, "the state of an optimizer")
    return copied(state)


def recorded_with(stored: IntArray, wanted: IntArray) -> IntArray:
    """The steps whose weights a run stores that goes on from where weights are stored at these steps.

    Those that are wanted, so that it is one run without a break; but where a wanted one of the past was not stored,
    all that was stored is kept besides those wanted in the future.

    >>> recorded_with(np.array([0, 2, 4, 5]), np.array([0, 4, 8]))
    array([0, 4, 8])
    >>> recorded_with(np.array([0, 2, 4, 5]), np.array([0, 3, 6]))
    array([0, 2, 4, 5, 6])
    """
    done = stored[-1]
    past = wanted[wanted < done]
    if np.all(np.isin(past, stored)):
        return wanted
    return np.union1d(stored, wanted[wanted >= done])


def _empty_records(start: Weights, count: int) -> Weights:
    """Memory for so many records of weights, (count, …) each."""
    records = {}
    for name, value in start.items():
        records[name] = np.empty((count, *value.shape))
    return records


def described_source(
    source: Data | Statistics | Task | BatchesInOrder,
) -> dict[str, Any]:
    """The digest of what a run trains on, and the task where it is known and a file can hold it.

    >>> described_source(Task([2, 1], context_length=9))["task"]
    {'eigenvalues': [2.0, 1.0], 'context_length': 9}
    """
    task = source if isinstance(source, Task) else getattr(source, "task", None)
    stated = stated_task(task) if isinstance(task, Task) else None
    known = {} if stated is None else {"task": stated}
    return {"source": source.digest, **known}


def described(
    start: Weights, options: DescentOptions, settings: dict[str, Any]
) -> dict[str, Any]:
    """The settings of a run, with a digest of what makes it this run: model, source, optimizer, batches and start.

    Neither the number of steps nor what is stored of them belongs to that, so that a run can go on; learning rates are
    compared one by one.

    >>> described({"w": np.ones(2)}, DescentOptions(0.1, 5), {"model": "bowl"})["steps"]
    5
    """
    # A task is part of its source.
    determining = {name: each for name, each in settings.items() if name != "task"}
    determining |= {"optimizer": without_rate(settings_of(options.rule))}
    digest = hashlib.sha256(json.dumps(determining, sort_keys=True).encode())
    for name in sorted(start):
        digest.update(start[name].tobytes())
    stated = settings | {"steps": options.steps}
    if options.plain_rate is not None:
        stated["learning_rate"] = options.plain_rate
    return stated | {"versions": versions(), "digest": digest.hexdigest()}
