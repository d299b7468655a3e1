"""Ways of taking steps of gradient descent: one at a time, or whole stretches of them in machine code."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization, Weights
from ...runtime.aligned_memory import LINE, cache_lines
from ...runtime.arrays import FloatArray, IndexArray
from ..attention.objectives import Objective
from ..sufficient_statistics.quadratic_loss import Statistics, refuse_mismatch

Heads = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
DENSE = 16
"""Up to this D the Kronecker form of exact moments is worth writing out: D⁴ numbers in one product."""

WORK = 10**8
"""Multiplications of a few hundredths of a second, after which a run looks at the clock again."""

SMALL = 10**7
"""Multiplications of a step, some milliseconds, up to which threads wait for each other longer than they work."""

UNPACKED = 128
"""Steps between two copies of weights that fill the memory, each of which costs as much as some steps."""


class StepBuffer(NamedTuple):
    """Room for what T steps give: their losses and gradient norms (T,), and the weights before the recorded ones.

    `recorded` (k,) counts from the first of these steps, and `kept` is name → (k, …).
    """

    loss: FloatArray
    norm: FloatArray
    recorded: IndexArray
    kept: Weights

    def keep(self, step: int, weights: Weights) -> None:
        """Store these weights if this step is one of the recorded."""
        if step in self.recorded:
            place = int(np.searchsorted(self.recorded, step))
            for name, value in weights.items():
                self.kept[name][place] = value


class Stepper(NamedTuple):
    """`advance` fills a stretch from given weights; it gives the weights after it and the number of steps taken.

    These are fewer than T if the run diverged: the loss before the next one is not finite. `stretch` is the number
    of steps after which a run looks at the clock; `small` says that its products are not worth several threads.
    """

    advance: Callable[[Weights, StepBuffer], tuple[Weights, int]]
    stretch: int
    small: bool = False


def plain(evaluate: Objective, rate: float) -> Stepper:
    """One step after another, on any objective."""

    def advance(weights: Weights, stretch: StepBuffer) -> tuple[Weights, int]:
        for step in range(len(stretch.loss)):
            stretch.keep(step, weights)
            loss, gradients = evaluate(weights)
            if not np.isfinite(loss):
                return weights, step
            stretch.loss[step], stretch.norm[step] = loss, _norm(gradients)
            weights = {
                name: weight - rate * gradients[name]
                for name, weight in weights.items()
            }
        return weights, len(stretch.loss)

    return Stepper(advance, 1)


def compiled_stepper(
    model: Parametrization, source: object, rate: float
) -> Stepper | None:
    """The same in machine code, if there is any: `Merged` and `Separate` on statistics; ValueError as `objective`.

    The exact moments of many dimensions are matrix products, which separate key and query need nothing besides.
    """
    if not isinstance(model, (Merged, Separate)) or not isinstance(source, Statistics):
        return None
    refuse_mismatch(model, source)
    if isinstance(source.form, np.ndarray) or source.dimension <= DENSE:
        return _on_form(model, source, rate)
    return _merged_on_moments(source, rate) if isinstance(model, Merged) else None


def _on_form(model: Merged | Separate, stats: Statistics, rate: float) -> Stepper:
    from .kernels import ROWS, descend, room

    half = bordered(stats)
    for i in range(0, len(half), ROWS):
        half[i : i + ROWS, i : i + ROWS] *= 0.5
    inside, places = stats.block == "restricted", entries(stats)

    def advance(weights: Weights, stretch: StepBuffer) -> tuple[Weights, int]:
        heads = pack(weights, inside)
        row = np.concatenate([array.ravel() for array in heads])
        kept = np.empty((len(stretch.recorded), len(row)))
        form = half, cache_lines(len(half)), cache_lines(len(half))
        lines, records = (stretch.loss, stretch.norm), (row, stretch.recorded, kept)
        trained = in_row(row, heads)
        taken = descend(form, trained, places, rate, lines, records, room(heads))
        unpack(in_row(kept, heads), weights, stretch.kept)
        return unpack(trained, weights), taken

    return Stepper(advance, max(1, WORK // _work(model, stats)))


def compiled_many(
    model: Parametrization, source: object, rate: float, count: int
) -> Stepper | None:
    """As `compiled_stepper`, for so many starts at once, whose axis leads; one that diverges holds up no other."""
    if not isinstance(model, (Merged, Separate)) or not isinstance(source, Statistics):
        return None
    refuse_mismatch(model, source)
    if not isinstance(source.form, np.ndarray) and source.dimension > DENSE:
        return None
    from .batched_kernels import slopes, turn_many

    S, inside, table, K = (
        bordered(source),
        source.block == "restricted",
        rows(source),
        len(source.b),
    )

    def advance(weights: Weights, stretch: StepBuffer) -> tuple[Weights, int]:
        heads = starts_last(pack(weights, inside))
        room = slopes(heads)
        vectors = m, y = cache_lines(len(S), count), cache_lines(len(S), count)
        turn_many(
            heads, table, K, 0.0, vectors, (np.empty(count), np.empty(count)), room
        )  # no step: the first m
        m[K] = 1.0
        recorded = set(stretch.recorded.tolist())
        for step in range(len(stretch.loss)):
            if step in recorded:
                stretch.keep(step, unpack(starts_first(heads), weights))
            np.dot(S, m, out=y)
            turn_many(
                heads,
                table,
                K,
                rate,
                vectors,
                (stretch.loss[step], stretch.norm[step]),
                room,
            )
        return unpack(starts_first(heads), weights), len(stretch.loss)

    work = count * _work(model, source)
    return Stepper(advance, max(1, WORK // work), small=work < SMALL)


def _merged_on_moments(stats: Statistics, rate: float) -> Stepper:
    from .kernels import move_inside

    def advance(weights: Weights, stretch: StepBuffer) -> tuple[Weights, int]:
        heads = pack(weights, inside=True)
        v, U = heads[0][:, 0], heads[1]
        M, slope = cache_lines(len(stats.b)), cache_lines(len(stats.b))
        np.dot(v, U, out=M)
        for step in range(len(stretch.loss)):
            if step in stretch.recorded:
                stretch.keep(step, unpack(heads, weights))
            Sm = stats.form @ M
            stretch.loss[step] = stats.c + M @ (Sm - 2.0 * stats.b)
            if not np.isfinite(stretch.loss[step]):
                return unpack(heads, weights), step
            slope[:] = 2.0 * (Sm - stats.b)
            stretch.norm[step] = np.sqrt(move_inside(v, U, rate, slope, M))
        return unpack(heads, weights), len(stretch.loss)

    return Stepper(advance, UNPACKED, small=2 * stats.dimension**3 < SMALL)


def _work(model: Merged | Separate, stats: Statistics) -> int:
    """About the multiplications of a step."""
    return (
        len(stats.b) ** 2
        + 4 * model.head_count * stats.dimension * (stats.dimension + 1) ** 2
    )


def bordered(stats: Statistics) -> FloatArray:
    """S̃ = [[S, −b], [−bᵀ, c]], whose form at (m, 1) is the loss, filled with zeros to whole cache lines."""
    K = len(stats.b)
    size = LINE * -(-(K + 1) // LINE)
    S = cache_lines(size, size)
    S[:K, :K], S[K, :K], S[:K, K], S[K, K] = stats.S, -stats.b, -stats.b, stats.c
    return S


def entries(stats: Statistics) -> IndexArray:
    """Which two entries (i, j) and (j, i) of M, counted along its rows, every feature adds up, (2, F)."""
    if stats.block == "restricted":  # the one value row has no transposed entries
        return np.tile(np.arange(stats.dimension), (2, 1))
    i, j = stats.pairs
    size = stats.dimension + 1
    return np.array([i * size + j, j * size + i])


def rows(stats: Statistics) -> IndexArray:
    """The first of the D features to which row (i, j) of M adds, (V, J)."""
    size = stats.dimension if stats.block == "restricted" else stats.dimension + 1
    table = np.zeros((size, size), dtype=np.intp)
    upper, lower = entries(stats)
    table.flat[upper] = table.flat[lower] = stats.dimension * np.arange(len(upper))
    return table[:1] if stats.block == "restricted" else table


def pack(weights: Weights, inside: bool) -> Heads:
    """The trained entries as the contiguous heads (a, B, key, query) of the kernels; axes before H may lead."""
    value = weights["value"]
    size = value.shape[-1]
    D, rows = size - 1, size - 1 if inside else size
    a = (value[..., -1:] if inside else value).copy()
    B = cache_lines(*value.shape[:-1], rows * D)
    if "key" in weights:
        return a, B, weights["key"][..., :rows].copy(), weights["query"][..., :D].copy()
    B.reshape(*value.shape[:-1], rows, D)[...] = weights["key_query"][..., :rows, :D]
    return (
        a,
        B,
        np.zeros((*value.shape[:-1], 0, rows)),
        np.zeros((*value.shape[:-1], 0, D)),
    )


def unpack(heads: Heads, weights: Weights, into: Weights | None = None) -> Weights:
    """The weights with their trained entries replaced by those of the heads, which may have leading axes."""
    a, B, key, query = heads
    rows, D = key.shape[-1], query.shape[-1]
    lead = a.shape[: a.ndim - weights["value"].ndim]
    new = (
        {name: np.empty((*lead, *value.shape)) for name, value in weights.items()}
        if into is None
        else into
    )
    for name, value in weights.items():
        new[name][...] = value
    new["value"][..., -a.shape[-1] :] = a
    if "key" in new:
        new["key"][..., :rows], new["query"][..., :D] = key, query
    else:
        new["key_query"][..., :rows, :D] = B.reshape(*B.shape[:-1], rows, D)
    return new


def in_row(row: FloatArray, like: Heads) -> Heads:
    """Views of the last axis of `row` as heads of the shapes of `like`."""
    ends = np.cumsum([array.size for array in like])[:-1]
    pieces = np.split(row, ends, axis=-1)
    a, B, key, query = (
        piece.reshape(*row.shape[:-1], *array.shape)
        for piece, array in zip(pieces, like, strict=True)
    )
    return a, B, key, query


def starts_last(heads: Heads) -> Heads:
    """Heads of many starts with their axis as the last, and aligned."""
    a, B, key, query = (cache_lines(*array.shape[1:], len(array)) for array in heads)
    for new, array in zip((a, B, key, query), heads, strict=True):
        new[...] = np.moveaxis(array, 0, -1)
    return a, B, key, query


def starts_first(heads: Heads) -> Heads:
    """The same heads with that axis as the first again."""
    a, B, key, query = (np.moveaxis(array, -1, 0) for array in heads)
    return a, B, key, query


def _norm(gradients: Weights) -> float:
    square = 0.0
    for gradient in gradients.values():
        flat = gradient.ravel()
        square += float(flat @ flat)
    return float(np.sqrt(square))
