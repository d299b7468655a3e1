"""A recorded run against ours: the same data, the same start, the same steps."""

import os
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...models.attention import Merged
from ...models.protocol import Weights, is_softmax
from ...runtime.arrays import FloatArray
from ...runtime.files import AnyPath
from ...simulate import (
    Diverged,
    Statistics,
    Trajectory,
    objective,
    statistics,
    train,
    train_network,
)
from .recordings import Recording, read_recording

ENGINES = ("tokens", "statistics")
TOLERANCE = 2e-6
"""Largest relative deviation from a float32 recording that a right convention shows (2e-7 to 6e-7 are usual)."""


@dataclass(frozen=True)
class Replay:
    """How far our losses are from the recorded ones, relative to these; test sets included.

    `not_used` names the fields, arrays and test sets of the file that the replay made no use of.
    """

    file: str
    engine: str
    steps: int
    max_relative_deviation: float
    median_relative_deviation: float
    seconds: float
    not_used: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, without what was not used; None for a deviation beyond the largest number."""
        values = {
            name: value for name, value in asdict(self).items() if name != "not_used"
        }
        return {
            name: None if value in (np.inf, -np.inf) else value
            for name, value in values.items()
        }


def replay(path: AnyPath, engine: str = "tokens") -> Replay:
    """Train from a recorded file and compare every loss, in float64.

    `engine` is "tokens" (the full data at every step) or "statistics" (of the same data, full block; ValueError for
    softmax, which has none). ValueError if the file is no recording that can be replayed, OSError if it is absent
    or no regular file, ArithmeticError if our run diverges where the recorded one did not.

    >>> from attndyn.compare import reference_files
    >>> replay(reference_files()[0], engine="statistics").max_relative_deviation < 2e-6
    True
    """
    return replay_recording(read_recording(path), engine, os.fsdecode(path))


def replay_recording(recording: Recording, engine: str, file: str = "") -> Replay:
    """`replay` of a recording that is already read; ValueError as there."""
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    if engine == "statistics" and is_softmax(recording.model):
        raise ValueError(
            'softmax attention has no finite statistics: choose engine "tokens"'
        )
    begin = time.perf_counter()
    try:
        run = (
            _run_network(recording, engine)
            if recording.model is None
            else _run(recording, engine)
        )
    except Diverged as error:
        where = f"at step {error.step}, where the recorded run does not"
        raise ArithmeticError(
            f"{file or recording.name}: the replay diverges {where}: a setting differs"
        ) from None
    deviation = np.concatenate(
        [_deviation(run.loss, recording.loss), *_test_deviations(recording, run)]
    )
    steps, seconds = len(recording.loss), time.perf_counter() - begin
    largest, median = float(deviation.max()), float(np.median(deviation))
    return Replay(
        file, engine, steps, largest, median, round(seconds, 3), recording.not_used
    )


def _run(recording: Recording, engine: str) -> Trajectory:
    model, data = recording.model, recording.data
    assert model is not None
    assert data is not None
    source = statistics(data, model) if engine == "statistics" else data
    record = 1 if recording.tests else None
    return train(model, source, recording.start, record=record, **_rule(recording))


def _run_network(recording: Recording, engine: str) -> Trajectory:
    z, labels = recording.features, recording.labels[:, -1]
    assert z is not None
    if engine == "tokens":
        return train_network(z, labels, recording.start, **_rule(recording))
    # On statistics the network is merged attention on the restricted block: its equivalence, used.
    dimension = round(np.sqrt(z.shape[1]))
    count = len(labels)
    moments = (float(labels @ labels) / count, labels @ z / count, z.T @ z / count)
    stats = Statistics(*moments, count, dimension, (1,), "none", "restricted")
    hidden, output = recording.start["hidden"], recording.start["output"]
    start = {
        name: np.zeros((len(output), *shape))
        for name, shape in _merged_shapes(dimension).items()
    }
    start["value"][:, -1] = output
    start["key_query"][:, :-1, :-1] = hidden.reshape(-1, dimension, dimension)
    return train(Merged(len(output), divisor="none"), stats, start, **_rule(recording))


def _merged_shapes(dimension: int) -> dict[str, tuple[int, ...]]:
    return {name: shape[1:] for name, shape in Merged(1).shapes(dimension).items()}


def _rule(recording: Recording) -> dict[str, Any]:
    return {"learning_rate": recording.learning_rate, "steps": len(recording.loss)}


def _test_deviations(recording: Recording, run: Trajectory) -> list[FloatArray]:
    if recording.model is None:
        return []
    deviations = []
    for test in recording.tests:
        with np.errstate(over="ignore", invalid="ignore"):
            source = (
                test.data
                if is_softmax(recording.model)
                else statistics(test.data, recording.model)
            )
        evaluate = objective(recording.model, source)
        with np.errstate(over="ignore", invalid="ignore"):
            losses = np.array(
                [evaluate(_at(run.weights, step))[0] for step in range(len(test.loss))]
            )
        (lost,) = np.nonzero(~np.isfinite(losses))
        if len(lost):
            raise ArithmeticError(
                f"the loss on {test.name} is not finite at step {lost[0]}, where the recorded one is: "
                "a setting differs"
            )
        deviations.append(_deviation(losses, test.loss))
    return deviations


def _at(weights: Weights, index: int) -> Weights:
    return {name: value[index] for name, value in weights.items()}


def _deviation(loss: FloatArray, recorded: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):  # an infinite deviation is past every tolerance
        return np.asarray(np.abs(loss - recorded) / np.abs(recorded))
