"""Steppers of gradient descent: one step at a time on any objective, or blocks of steps in machine code."""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization, Weights
from ...runtime.aligned_memory import LINE, cache_lines
from ...runtime.arrays import BoolArray, FloatArray, IndexArray
from ...runtime.checks import real_array
from ...runtime.nested import copied, refuse_unstorable
from ..attention.objectives import Objective, StepObjective
from ..sufficient_statistics.quadratic_loss import Statistics, refuse_mismatch
from .optimizers import GradientDescent, Optimizer, clip_factor, is_built_in, norm_of
from .packed_heads import heads_in_row, pack, starts_first, starts_last, unpack

DENSE = 16
"""Up to this D the Kronecker form of exact moments is worth writing out: D⁴ numbers in one product."""

WORK = 10**8
"""Multiplications of a few hundredths of a second, after which a run looks at the clock again."""

SMALL = 10**7
"""Multiplications of a step, some milliseconds, up to which threads wait for each other longer than they work."""

UNPACKED = 128
"""Steps between two copies of weights that fill the memory, each of which costs as much as some steps."""


class Position(NamedTuple):
    """Where a run stands: its weights, the number of steps taken, and the state of an optimizer that has one."""

    weights: Weights
    step: int = 0
    state: Any = None


class StepBuffer(NamedTuple):
    """Room for what T steps give: their losses and gradient norms (T,), and the weights before the recorded ones.

    `recorded` (k,) counts from the first of these steps, and `recorded_weights` is name → (k, …). `rates` (T,), if
    there are any, hold the scheduled learning rates, in whose place those come that are taken.
    """

    loss: FloatArray
    norm: FloatArray
    recorded: IndexArray
    recorded_weights: Weights
    rates: FloatArray | None = None

    def keep(self, step: int, weights: Weights) -> None:
        """Store these weights if this step is one of the recorded."""
        if step in self.recorded:
            index = int(np.searchsorted(self.recorded, step))
            for name, value in weights.items():
                self.recorded_weights[name][index] = value


class Stepper(NamedTuple):
    """`advance` fills a buffer from a position, and gives the position after it.

    Fewer than T steps are taken if the run diverged: the loss or the gradient before the next one is not finite.
    `step_count` is how many steps a run takes before it looks at the clock; `small` says that its products are not
    worth several threads. `look` gives the loss and the gradients at a position, without a step; where it is None,
    a step can be taken for that, since it leaves nothing behind. `repeat` gives the position after one more step, or
    None where it is not finite.
    """

    advance: Callable[[Position, StepBuffer], Position]
    step_count: int
    small: bool = False
    look: StepObjective | None = None
    repeat: Callable[[Position], Position | None] | None = None


class _WeightSteps(NamedTuple):
    """Steps of which nothing but the weights goes on: `take` gives these and the number of steps taken."""

    take: Callable[[Weights, StepBuffer], tuple[Weights, int]]

    def advance(self, position: Position, buffer: StepBuffer) -> Position:
        """See `Stepper`."""
        weights, taken = self.take(position.weights, buffer)
        return Position(weights, position.step + taken)


def plain_stepper(evaluate: Objective, rate: float) -> Stepper:
    """One step after another, on any objective."""

    def advance(weights: Weights, buffer: StepBuffer) -> tuple[Weights, int]:
        for step in range(len(buffer.loss)):
            buffer.keep(step, weights)
            loss, gradients = evaluate(weights)
            if not np.isfinite(loss):
                return weights, step
            buffer.loss[step] = loss
            buffer.norm[step] = norm_of(gradients)
            weights = {
                name: weight - rate * gradients[name]
                for name, weight in weights.items()
            }
        return weights, len(buffer.loss)

    def look(weights: Weights, step: int) -> tuple[float, Weights]:
        return evaluate(weights)

    return Stepper(_WeightSteps(advance).advance, 1, look=look)


class OptimizerSteps:
    """Steps of any optimizer on any objective, which may change from step to step.

    Entries that are True in `frozen` (name → mask) stay as they are to the last bit, whatever the optimizer gives.
    """

    def __init__(
        self,
        evaluate: StepObjective,
        optimizer: Optimizer,
        frozen: dict[str, BoolArray],
    ) -> None:
        self.evaluate = evaluate
        self.optimizer = optimizer
        self.frozen = frozen
        self.built_in = is_built_in(optimizer)
        self._has_kept_state = False
        self.clip_norm: float | None = None
        # Of Adam, the rate that is taken does not depend on the length of the gradient.
        if isinstance(optimizer, GradientDescent):
            self.clip_norm = optimizer.clip_norm

    def stepper(self) -> Stepper:
        """The steps, one at a time."""
        return Stepper(self.advance, 1, look=self.look, repeat=self.repeat)

    def repeat(self, position: Position) -> Position | None:
        """The position after one more step; None if it is not finite."""
        _, gradients = self.look(position.weights, position.step)
        return self.step_from(position, gradients)

    def look(self, weights: Weights, step: int) -> tuple[float, Weights]:
        """Loss and gradients, those of frozen entries being zero."""
        loss, gradients = self.evaluate(weights, step)
        if not self.frozen:
            return loss, gradients
        free = dict(gradients)
        for name, mask in self.frozen.items():
            free[name] = np.where(mask, 0.0, gradients[name])
        return loss, free

    def advance(self, position: Position, buffer: StepBuffer) -> Position:
        """Fill the buffer; see `_WeightSteps`."""
        first = position.step
        for index in range(len(buffer.loss)):
            weights, step = position.weights, first + index
            buffer.keep(index, weights)
            loss, gradients = self.look(weights, step)
            norm = norm_of(gradients)
            # An infinite square of a gradient would make Adam and clipping stand still, with a finite loss.
            if not (np.isfinite(loss) and np.isfinite(norm)):
                return position
            following = self.step_from(position, gradients)
            if following is None:
                return position
            buffer.loss[index] = loss
            buffer.norm[index] = norm
            if buffer.rates is not None:
                buffer.rates[index] *= clip_factor(norm, self.clip_norm)
            position = following
        return position

    def step_from(self, position: Position, gradients: Weights) -> Position | None:
        """The position after a step with these gradients; None if its weights are not finite."""
        weights, step, state = position
        if self.built_in:
            updates, state = self.optimizer.update(gradients, state, weights)
        else:
            updates, state = self._update_of_the_users_own(gradients, state, position)
        after = {name: value + updates[name] for name, value in weights.items()}
        for name, mask in self.frozen.items():
            after[name] = np.where(mask, weights[name], after[name])
        if not all(np.isfinite(value).all() for value in after.values()):
            return None
        return Position(after, step + 1, state)

    def _update_of_the_users_own(
        self, gradients: Weights, state: Any, position: Position
    ) -> tuple[Weights, Any]:
        """Updates, checked, and the next state.

        An optimizer may write into all that it is given, and into what it gave before: everything is a copy.
        """
        given = self.optimizer.update(
            copied(gradients), copied(state), copied(position.weights)
        )
        if not isinstance(given, tuple) or len(given) != 2:
            raise ValueError(
                f"the optimizer must return the pair (updates, state), not {reprlib.repr(given)}"
            )
        updates, state = given
        if not self._has_kept_state:
            # Refused at once, rather than when a checkpoint is to hold it.
            refuse_unstorable(state, "the state of an optimizer")
            self._has_kept_state = True
        return checked_updates(updates, position), copied(state)


def checked_updates(updates: object, position: Position) -> Weights:
    """Updates of a user's own optimizer as doubles; ValueError unless they have the weights' names and shapes.

    >>> checked_updates({"w": np.ones(2)}, Position({"w": np.ones(3)}))
    Traceback (most recent call last):
    ValueError: the optimizer's update of 'w' at step 0 must have shape (3,), not (2,)
    """
    weights, step = position.weights, position.step
    if not isinstance(updates, Mapping) or set(updates) != set(weights):
        given = list(updates) if isinstance(updates, Mapping) else updates
        raise ValueError(
            f"the optimizer's updates at step {step} must be a dictionary with the weights {', '.join(weights)}, "
            f"not {reprlib.repr(given)}"
        )
    checked = {}
    for name, weight in weights.items():
        what = f"the optimizer's update of {name!r} at step {step}"
        checked[name] = _checked_update(updates[name], what, weight.shape)
    return checked


def _checked_update(update: Any, what: str, shape: tuple[int, ...]) -> FloatArray:
    """The update of one weight; ValueError, which says what it is of, unless it is real and of the weight's shape."""
    array = real_array(update, what)
    # Text and truth values would pass for numbers.
    if np.asarray(update).dtype.kind in "bSU":
        raise ValueError(
            f"{what} must be an array of real numbers, not {reprlib.repr(update)}"
        )
    if array.shape != shape:
        raise ValueError(f"{what} must have shape {shape}, not {array.shape}")
    return array


def compiled_stepper(
    model: Parametrization, source: object, rate: float
) -> Stepper | None:
    """The same in machine code, if there is any: `Merged` and `Separate` on statistics; ValueError as `objective`.

    The exact moments of many dimensions are matrix products, which separate key and query need nothing besides, and
    several outputs have no kernel.
    """
    if not isinstance(model, (Merged, Separate)) or not isinstance(source, Statistics):
        return None
    refuse_mismatch(model, source)
    if source.outputs > 1:
        return None
    if isinstance(source.form, np.ndarray) or source.dimension <= DENSE:
        dense = _DenseSteps(half_form(source), source, rate)
        steps = _WeightSteps(dense.take)
        return Stepper(steps.advance, max(1, WORK // _work(model, source)))
    if isinstance(model, Merged):
        small = 2 * source.dimension**3 < SMALL
        steps = _WeightSteps(_MergedSteps(source, rate).take)
        return Stepper(steps.advance, UNPACKED, small)
    return None


def compiled_batch_stepper(
    model: Parametrization, source: object, rate: float, count: int
) -> Stepper | None:
    """As `compiled_stepper`, for so many starts at once, whose axis leads; one that diverges holds up no other."""
    if not isinstance(model, (Merged, Separate)) or not isinstance(source, Statistics):
        return None
    refuse_mismatch(model, source)
    if source.outputs > 1:
        return None
    if not isinstance(source.form, np.ndarray) and source.dimension > DENSE:
        return None
    work = count * _work(model, source)
    steps = _WeightSteps(_BatchSteps(bordered(source), source, rate, count).take)
    return Stepper(steps.advance, max(1, WORK // work), small=work < SMALL)


class _DenseSteps(NamedTuple):
    """Steps on S̃ as it is written out, with all arithmetic in one compiled loop."""

    half: FloatArray
    stats: Statistics
    rate: float

    def take(self, weights: Weights, buffer: StepBuffer) -> tuple[Weights, int]:
        """Fill the buffer; see `_WeightSteps`."""
        from .kernels import Form, Records, Traces, take_steps, workspace

        size = len(self.half)
        packed = pack(weights, self.stats.block == "restricted")
        row = np.concatenate([array.ravel() for array in packed])
        heads = heads_in_row(row, packed)
        stored = np.empty((len(buffer.recorded), len(row)))
        taken = take_steps(
            Form(self.half, cache_lines(size), cache_lines(size)),
            heads,
            feature_rows(self.stats),
            self.rate,
            Traces(buffer.loss, buffer.norm),
            Records(row, buffer.recorded, stored),
            workspace(heads),
        )
        unpack(heads_in_row(stored, heads), weights, buffer.recorded_weights)
        return unpack(heads, weights), taken


class _BatchSteps(NamedTuple):
    """Steps of so many `starts` on S̃, which NumPy multiplies by all their features at once."""

    S: FloatArray
    stats: Statistics
    rate: float
    starts: int

    # Long because the arrays that are made once, before the loop, are all used again in every step of it.
    def take(self, weights: Weights, buffer: StepBuffer) -> tuple[Weights, int]:
        """Fill the buffer; see `_WeightSteps`."""
        from .batched_kernels import slopes, take_steps

        heads = starts_last(pack(weights, self.stats.block == "restricted"))
        first, features = first_features(self.stats), len(self.stats.b)
        m = cache_lines(len(self.S), self.starts)
        y = cache_lines(len(self.S), self.starts)
        # Plain tuples, as the kernel wants them.
        arrays, slope_arrays = tuple(heads), tuple(slopes(heads))
        # A step of size 0 writes the features of the start; its losses are of no use.
        unused = np.empty(self.starts), np.empty(self.starts)
        take_steps(arrays, first, features, 0.0, (m, y), unused, slope_arrays)
        m[features] = 1.0

        recorded = set(buffer.recorded.tolist())
        for step in range(len(buffer.loss)):
            if step in recorded:
                buffer.keep(step, unpack(starts_first(heads), weights))
            np.dot(self.S, m, out=y)
            traces = buffer.loss[step], buffer.norm[step]
            take_steps(arrays, first, features, self.rate, (m, y), traces, slope_arrays)
        return unpack(starts_first(heads), weights), len(buffer.loss)


class _MergedSteps(NamedTuple):
    """Steps on exact moments of many dimensions: S m is two matrix products, which NumPy does best."""

    stats: Statistics
    rate: float

    # Long because the loop of steps is in Python here, where each call would cost time in every step.
    def take(self, weights: Weights, buffer: StepBuffer) -> tuple[Weights, int]:
        """Fill the buffer; see `_WeightSteps`."""
        from .kernels import update_merged_heads

        c, b, S = self.stats.c, self.stats.b, self.stats.form
        heads = pack(weights, restricted=True)
        v, U = heads.a[:, 0], heads.B
        M = cache_lines(len(b))
        slope = cache_lines(len(b))
        np.dot(v, U, out=M)
        for step in range(len(buffer.loss)):
            if step in buffer.recorded:
                buffer.keep(step, unpack(heads, weights))
            SM = S @ M
            buffer.loss[step] = c + M @ (SM - 2.0 * b)
            if not np.isfinite(buffer.loss[step]):
                return unpack(heads, weights), step
            slope[:] = 2.0 * (SM - b)  # ∂L/∂M
            square = update_merged_heads(v, U, self.rate, slope, M)
            buffer.norm[step] = np.sqrt(square)
        return unpack(heads, weights), len(buffer.loss)


def _work(model: Merged | Separate, stats: Statistics) -> int:
    """About the multiplications of a step."""
    of_features = len(stats.b) ** 2
    of_heads = 4 * model.head_count * stats.dimension * (stats.dimension + 1) ** 2
    return of_features + of_heads


def half_form(stats: Statistics) -> FloatArray:
    """S̃ as `kernels.product` reads it: blocks on the diagonal, whose numbers it reads twice, hold half of them."""
    from .kernels import ROWS

    half = bordered(stats)
    for i in range(0, len(half), ROWS):
        half[i : i + ROWS, i : i + ROWS] *= 0.5
    return half


def bordered(stats: Statistics) -> FloatArray:
    """S̃ = [[S, −b], [−bᵀ, c]], whose form at (m, 1) is the loss, filled with zeros to whole cache lines."""
    K = len(stats.b)
    lines = -(-(K + 1) // LINE)  # rounded up
    S = cache_lines(LINE * lines, LINE * lines)
    S[:K, :K] = stats.S
    S[K, :K] = -stats.b
    S[:K, K] = -stats.b
    S[K, K] = stats.c
    return S


def feature_rows(stats: Statistics) -> IndexArray:
    """Which two entries (i, j) and (j, i) of M, counted along its rows, every feature adds up, (2, F)."""
    if stats.block == "restricted":  # the one value row has no transposed entries
        return np.tile(np.arange(stats.dimension), (2, 1))
    i, j = stats.pairs
    size = stats.dimension + 1
    return np.array([i * size + j, j * size + i])


def first_features(stats: Statistics) -> IndexArray:
    """The first of the D features to which row (i, j) of M adds, (V, J)."""
    size = stats.dimension if stats.block == "restricted" else stats.dimension + 1
    table = np.zeros((size, size), dtype=np.intp)
    upper, lower = feature_rows(stats)
    table.flat[upper] = table.flat[lower] = stats.dimension * np.arange(len(upper))
    return table[:1] if stats.block == "restricted" else table
