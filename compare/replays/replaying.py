"""Replays of recorded runs: training from the same start on the same data for as many steps."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...models.attention import Merged
from ...models.protocol import Parametrization, Weights, is_softmax
from ...runtime.arrays import FloatArray
from ...runtime.display import Displayed, Summary
from ...simulate import (
    BatchesInOrder,
    Diverged,
    RecordedPrompts,
    Statistics,
    Trajectory,
    objective,
    statistics,
    train,
    train_network,
)
from .other_conventions import fitting_conventions
from .recordings import SINGLE_PRECISION, Recording, TestSet
from .vector_recordings import RecordedWeights

ENGINES = ("tokens", "statistics")
TOLERANCE = SINGLE_PRECISION


@dataclass(frozen=True, repr=False)
class Replay(Displayed):
    """Deviations of our losses from the recorded ones, relative to these; test sets included.

    Where weights are recorded too, theirs are relative to the largest number of each array. Of a reduced flow they are
    those of ω, μ and half the loss, relative to the same. `not_used` names the fields, arrays and test sets of the file
    that the replay made no use of, and `tolerance` is the deviation that the precision of the recording makes at most.
    Past it, `hint` says which other conventions the first losses fit.
    """

    file: str
    engine: str
    steps: int
    max_relative_deviation: float
    median_relative_deviation: float
    seconds: float
    not_used: tuple[str, ...] = ()
    tolerance: float = TOLERANCE
    hint: str = ""

    def summary(self) -> Summary:
        """The file, the engine, and the largest and the median deviation."""
        rows = {
            "file": self.file,
            "engine": self.engine,
            "steps": self.steps,
            "largest relative deviation": f"{self.max_relative_deviation:.2e}",
            "median relative deviation": f"{self.median_relative_deviation:.2e}",
            "seconds": f"{self.seconds:.2f}",
            "not used": ", ".join(self.not_used) or "–",
        }
        if self.hint:
            rows["hint"] = self.hint
        return Summary("Replay of a recorded run", rows)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, of the numbers alone; None for a deviation beyond the largest number."""
        values = asdict(self)
        del values["not_used"], values["tolerance"], values["hint"]
        return {
            name: None if value in (np.inf, -np.inf) else value
            for name, value in values.items()
        }


def replay_recording(recording: Recording, engine: str, file: str = "") -> Replay:
    """`replay` of a recording that is already read; ValueError as there."""
    refuse_other_engines(engine)
    if engine == "statistics":
        _refuse_without_statistics(recording)
    begin = time.perf_counter()
    run = _trained(recording, engine, owner=file or recording.name)
    in_training = _deviation(run.loss / recording.loss_divisor, recording.loss)
    parts = [in_training, *_test_deviations(recording, run)]
    if recording.weights is not None:
        parts.append(_weight_deviations(recording.weights, run))
    deviations = np.concatenate(parts)
    seconds = time.perf_counter() - begin
    (past,) = np.nonzero(in_training > recording.tolerance)
    hint = ""
    if len(past):
        hint = fitting_conventions(recording, int(past[0]) + 1, _fits)
    return Replay(
        file=file,
        engine=engine,
        steps=len(recording.loss),
        max_relative_deviation=float(deviations.max()),
        median_relative_deviation=float(np.median(deviations)),
        seconds=round(seconds, 3),
        not_used=recording.not_used,
        tolerance=recording.tolerance,
        hint=hint,
    )


def _fits(recording: Recording) -> bool:
    """Whether our losses are those of a recording of attention."""
    try:
        run = _run_attention(recording, "tokens")
    except Diverged:
        return False
    deviations = _deviation(run.loss / recording.loss_divisor, recording.loss)
    return bool(np.max(deviations) <= recording.tolerance)


def refuse_other_engines(engine: str) -> None:
    """ValueError for an engine that there is not."""
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")


def _refuse_without_statistics(recording: Recording) -> None:
    """ValueError for a recording that has no statistics for all of its steps."""
    if is_softmax(recording.model):
        raise ValueError(
            'softmax attention has no finite statistics: choose engine "tokens"'
        )
    if recording.batch is not None:
        raise ValueError(
            'every step of fresh batches has other statistics: choose engine "tokens"'
        )


def _trained(recording: Recording, engine: str, owner: str) -> Trajectory:
    """Our run from the recorded start; ArithmeticError, naming the owner, if it diverges."""
    try:
        if recording.model is None:
            return _run_network(recording, engine)
        return _run_attention(recording, engine)
    except Diverged as error:
        where = f"at step {error.step}, where the recorded run does not"
        hint = fitting_conventions(recording, 1, _fits)
        reason = f"a setting differs; {hint}" if hint else "a setting differs"
        raise ArithmeticError(
            f"{owner}: the replay diverges {where}: {reason}"
        ) from None


def _run_attention(recording: Recording, engine: str) -> Trajectory:
    model, data = recording.model, recording.data
    assert model is not None
    assert data is not None
    source: RecordedPrompts | Statistics | BatchesInOrder = data
    if recording.batch is not None:
        source = BatchesInOrder(data, recording.batch)
    elif engine == "statistics":
        source = statistics(data, model)
    return train(
        model,
        source,
        recording.start,
        record=_recorded_steps(recording),
        frozen=recording.frozen,
        **_descent_settings(recording),
    )


def _recorded_steps(recording: Recording) -> int | tuple[int, ...] | None:
    """Before which steps a run stores its weights: every step, the named ones, or about 500."""
    # The losses on test sets are those of the weights before every step.
    if recording.tests:
        return 1
    return None if recording.weights is None else recording.weights.steps


def _run_network(recording: Recording, engine: str) -> Trajectory:
    """The run of the linear network on cubic features, from these or from their statistics."""
    features = recording.features  # (P, D²)
    labels = recording.labels[:, -1]  # (P,)
    assert features is not None
    settings = _descent_settings(recording)
    if engine == "tokens":
        return train_network(features, labels, recording.start, **settings)
    # On statistics the network is run as what it is equivalent to: merged attention on the restricted block.
    stats = _network_statistics(features, labels)
    model = Merged(len(recording.start["output"]), divisor="none")
    start = _merged_weights(recording, model, stats.dimension)
    return train(model, stats, start, **settings)


def _network_statistics(features: FloatArray, labels: FloatArray) -> Statistics:
    """c, b and S of the features (P, D²) and labels (P,) as those of attention on the restricted block."""
    count = len(labels)
    dimension = round(np.sqrt(features.shape[1]))
    c = float(labels @ labels) / count
    b = labels @ features / count  # (D²,)
    S = features.T @ features / count  # (D², D²)
    return Statistics(
        c,
        b,
        S,
        sequences=count,
        dimension=dimension,
        context_lengths=(1,),
        divisor="none",
        block="restricted",
    )


def _merged_weights(recording: Recording, model: Merged, dimension: int) -> Weights:
    """The weights of merged attention that equal those of the network; all others are zero."""
    hidden = recording.start["hidden"]  # (H, D²)
    output = recording.start["output"]  # (H,)
    start = {name: np.zeros(shape) for name, shape in model.shapes(dimension).items()}
    start["value"][:, -1] = output
    start["key_query"][:, :-1, :-1] = hidden.reshape(-1, dimension, dimension)
    return start


def _descent_settings(recording: Recording) -> dict[str, Any]:
    # Our loss is the sum over outputs: that of the recording, and with it the rate, is so many times smaller.
    rate = recording.learning_rate / recording.loss_divisor
    # As many steps as there are losses: each loss is the one before its step.
    return {"learning_rate": rate, "steps": len(recording.loss)}


def _test_deviations(recording: Recording, run: Trajectory) -> list[FloatArray]:
    """Relative deviations (steps,) of the loss on each test set; ArithmeticError where ours is not finite."""
    if recording.model is None:
        return []
    deviations = []
    for test in recording.tests:
        losses = _losses_on(test, recording.model, run)
        (not_finite,) = np.nonzero(~np.isfinite(losses))
        if len(not_finite):
            raise ArithmeticError(
                f"the loss on {test.name} is not finite at step {not_finite[0]}, where the recorded one is: "
                "a setting differs"
            )
        deviations.append(_deviation(losses / recording.loss_divisor, test.loss))
    return deviations


def _weight_deviations(recorded: RecordedWeights, run: Trajectory) -> FloatArray:
    """Deviations of the weights, the largest of each array at each of the recorded steps."""
    deviations = []
    for name, values in recorded.values.items():
        # An array that stays 0 has no size to be relative to.
        size = float(np.max(np.abs(values))) or 1.0
        for step, value in zip(recorded.steps, values, strict=True):
            own = run.weights_at(step)[name]
            deviations.append(np.max(np.abs(own - value)) / size)
    return np.array(deviations)


def _losses_on(test: TestSet, model: Parametrization, run: Trajectory) -> FloatArray:
    """Our losses (steps,) on a test set; one that overflows is inf or nan."""
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            source = test.data if is_softmax(model) else statistics(test.data, model)
        except OverflowError:
            return np.full(len(test.loss), np.inf)
        evaluate = objective(model, source)
        losses = []
        for step in range(len(test.loss)):
            loss, _ = evaluate(run.stored_weights(step))
            losses.append(loss)
    return np.array(losses)


def _deviation(loss: FloatArray, recorded: FloatArray) -> FloatArray:
    # An infinite deviation is past every tolerance.
    with np.errstate(over="ignore"):
        return np.asarray(np.abs(loss - recorded) / np.abs(recorded))
