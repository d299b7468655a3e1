"""Samples prompts from a task in chunks, so that memory does not grow with their number."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.decimals import refuse_mask
from ...runtime.machine import refuse_too_large
from ...task import Task

CHUNK = 4096
"""Sequences a chunk: part of the definition of the data, since every chunk has random streams of its own."""

_COPIES = (
    3  # of a chunk that are in memory while it is drawn: random numbers, x, and tokens
)

STREAMS = {"data": 0, "weights": 1, "test": 2}
"""The independent children that one seed has."""

SPLITS = ("data", "test")


class Data(Protocol):
    """Sequences of tokens (x, y) with the true y in every row; a prompt masks the y of its last row."""

    @property
    def sequences(self) -> int:
        """P, the number of sequences."""

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""

    @property
    def context_lengths(self) -> tuple[int, ...]:
        """The context lengths over which the loss averages."""

    @property
    def digest(self) -> str:
        """A name of the contents."""

    @property
    def tokens(self) -> FloatArray:
        """All tokens at once, (P, N+1, D+1)."""

    def chunks(self) -> Iterator[FloatArray]:
        """The same tokens in pieces, (≤ CHUNK, N+1, D+1) each."""


def stream(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """Random numbers that depend on the seed, the purpose ("data", "weights", "test") and the key only."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, not {seed!r}")
    return np.random.default_rng(
        np.random.SeedSequence(int(seed), spawn_key=(STREAMS[purpose], *key))
    )


def sample(
    task: Task,
    sequences: int,
    seed: int = 0,
    *,
    split: str = "data",
    whiten: bool = False,
    centre: bool = False,
    random_labels: bool = False,
) -> "Prompts":
    """Prompts of `sequences` sequences of a task, drawn chunk by chunk whenever they are read.

    `split` "test" gives prompts independent of "data" at the same seed. As in published training runs, `whiten`
    makes the sampled teachers' mean exactly zero and their covariance exactly Ω, and `centre` makes the mean of x
    zero at every position; both read the data twice. With a fixed teacher exactly ⌊p·P + ½⌋ sequences have a
    random one; `random_labels` draws the context labels of the others from N(0, 1), independently of x.
    ValueError if sequences < 1, or whitening is asked of a mixture or of fewer than D + 1 sequences, or random
    labels without a fixed teacher or over several context lengths.

    >>> from attndyn import Task
    >>> data = sample(Task(eigenvalues=[2, 1], context_length=5), sequences=10, seed=0)
    >>> data.tokens.shape
    (10, 6, 3)
    """
    for name, flag in (
        ("whiten", whiten),
        ("centre", centre),
        ("random_labels", random_labels),
    ):
        if not isinstance(flag, bool | np.bool):
            raise ValueError(f"{name} must be True or False, not {flag!r}")
    if (
        isinstance(sequences, bool)
        or not isinstance(sequences, (int, np.integer))
        or sequences < 1
    ):
        raise ValueError(
            f"sequences must be a whole number of at least 1, not {sequences!r}"
        )
    if whiten and task.in_context_fraction < 1:
        raise ValueError(
            "whiten needs every sequence to have a random teacher: in_context_fraction must be 1"
        )
    if whiten and sequences <= task.dimension:
        raise ValueError(
            f"whiten needs more than D = {task.dimension} sequences, not {sequences}"
        )
    if random_labels and task.fixed_teacher is None:
        raise ValueError(
            "random_labels are for the sequences of a fixed_teacher, which this task lacks"
        )
    if random_labels and len(task.context_lengths) > 1:
        raise ValueError(
            "random_labels need one context_length: shorter prompts would be asked for a random label"
        )
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    stream(seed, split)
    return Prompts(
        task,
        int(sequences),
        int(seed),
        split,
        bool(whiten),
        bool(centre),
        bool(random_labels),
    )


def prompts_from_tokens(
    tokens: ArrayLike,
    context_lengths: tuple[int, ...] | None = None,
    *,
    labels: ArrayLike | None = None,
) -> "RecordedPrompts":
    """Prompts from recorded tokens (P, N+1, D+1) with the true y in every row, the query's included.

    Where the query's y is masked, by 0 or nan, `labels` (P,) are the true ones. `context_lengths` are the lengths
    the loss averages over, (N,) if left out. ValueError on other shapes, numbers that are not finite, lengths that
    are not whole numbers from 1 to N, labels that contradict the tokens, or a y that is masked in every query and
    has no labels: a model would be trained on zeros.

    >>> prompts_from_tokens(np.ones((3, 6, 3))).context_lengths
    (5,)
    >>> prompts_from_tokens([[[2.0, 3.0], [5.0, 0.0]]], labels=[7.0]).tokens[0, -1]
    array([5., 7.])
    """
    array = real_array("tokens", tokens)
    if (
        array.ndim != 3
        or array.shape[0] < 1
        or array.shape[1] < 2
        or array.shape[2] < 2
    ):
        raise ValueError(
            f"tokens must have shape (P, N+1, D+1) with P, N, D ≥ 1, not {array.shape}"
        )
    _label(array, labels)
    if not np.all(np.isfinite(array)):
        raise ValueError("tokens must be finite: they hold nan or inf")
    longest = array.shape[1] - 1
    if context_lengths is not None and not isinstance(context_lengths, Iterable):
        raise ValueError(
            f"context_lengths must be several, such as ({longest},), not {context_lengths!r}"
        )
    lengths = (longest,) if context_lengths is None else tuple(context_lengths)
    whole = all(
        isinstance(n, (int, np.integer))
        and not isinstance(n, bool)
        and 1 <= n <= longest
        for n in lengths
    )
    if not lengths or not whole:
        raise ValueError(
            f"context_lengths must be whole numbers from 1 to {longest}, not {lengths}"
        )
    array.flags.writeable = False
    return RecordedPrompts(array, tuple(int(n) for n in lengths))


def real_array(name: str, values: ArrayLike) -> FloatArray:
    """A copy as float64; ValueError unless the values are real numbers in an array without a mask.

    >>> real_array("x", [1, 2])
    array([1., 2.])
    """
    refuse_mask(name, values)
    try:
        array = np.asarray(values)
        if array.dtype.kind in "cmM":
            raise TypeError
        return np.array(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of real numbers") from None


def _label(tokens: FloatArray, labels: ArrayLike | None) -> None:
    """Put the true labels (P,) into the queries; ValueError if they are missing or contradict the tokens."""
    known = tokens[:, -1, -1]
    if labels is None:
        if not np.any(known):
            raise ValueError(
                "the y of every query is 0, as where it is masked: pass labels=, the true ones (P,)"
            )
        return
    true = real_array("labels", labels)
    if true.shape != known.shape or not np.all(np.isfinite(true)):
        raise ValueError(
            f"labels must be {len(known)} finite numbers, one a sequence, not of shape {true.shape}"
        )
    masked = (known == 0) | np.isnan(known)
    if not np.array_equal(known[~masked], true[~masked]):
        raise ValueError(
            "labels contradict the tokens, whose queries have another y: pass one of the two"
        )
    tokens[:, -1, -1] = true


@dataclass(frozen=True, eq=False)
class RecordedPrompts:
    """Recorded sequences; made by `prompts_from_tokens`."""

    tokens: FloatArray
    context_lengths: tuple[int, ...]

    @property
    def sequences(self) -> int:
        """P, the number of sequences."""
        return len(self.tokens)

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return int(self.tokens.shape[2]) - 1

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the tokens and the context lengths."""
        shape = repr((self.tokens.shape, self.context_lengths)).encode()
        return hashlib.sha256(self.tokens.tobytes() + shape).hexdigest()

    def chunks(self) -> Iterator[FloatArray]:
        """The tokens in pieces of at most CHUNK sequences."""
        for first in range(0, self.sequences, CHUNK):
            yield self.tokens[first : first + CHUNK]


class _Shift(NamedTuple):
    """What whitening and centring need to know of the whole data set."""

    teacher_mean: FloatArray
    teacher_unmixing: FloatArray
    x_mean: FloatArray


@dataclass(frozen=True, eq=False)
class Prompts:
    """Sequences of a task that are drawn when they are read; made by `sample`."""

    task: Task
    sequences: int
    seed: int
    split: str
    whiten: bool
    centre: bool
    random_labels: bool

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return self.task.dimension

    @property
    def context_lengths(self) -> tuple[int, ...]:
        """The context lengths over which the loss averages."""
        return self.task.context_lengths

    @property
    def in_context_sequences(self) -> int:
        """How many sequences have a random teacher: the first ⌊p·P + ½⌋ ones."""
        return int(self.task.in_context_fraction * self.sequences + 0.5)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that determines the sequences."""
        settings = (
            self.task.digest,
            self.sequences,
            self.seed,
            self.split,
            self.whiten,
            self.centre,
        )
        return hashlib.sha256(
            repr((*settings, self.random_labels, CHUNK)).encode()
        ).hexdigest()

    @property
    def tokens(self) -> FloatArray:
        """All tokens at once, (P, N+1, D+1); MemoryError if there is no room for every chunk together."""
        self._refuse_size(
            self.sequences + min(CHUNK, self.sequences),
            "statistics need one chunk at a time",
        )
        return np.concatenate(list(self.chunks()))

    def chunks(self) -> Iterator[FloatArray]:
        """The tokens in pieces of at most CHUNK sequences, (≤ CHUNK, N+1, D+1) each."""
        return map(self.chunk, self._indices)

    def spans(self, count: int, executor: Executor | None = None) -> Iterator["Span"]:
        """The same chunks, `count` at a time, to be drawn by whoever reads them, in another process as well.

        What whitening and centring need to know of all chunks is found first, by the `executor` if there is one.
        """
        indices = self._indices
        known = (
            "_shift" in self.__dict__
        )  # where cached properties are kept, also when they are sent
        if executor is not None and (self.whiten or self.centre) and not known:
            self.__dict__["_shift"] = self._shift_from(
                executor.map(self._sums, indices, chunksize=count)
            )
        return (
            Span(self, indices[first : first + count]) for first in indices[::count]
        )

    def chunk(self, index: int) -> FloatArray:
        """One of the chunks, counted from 0; MemoryError if there is no room for it."""
        self._refuse_size(
            _COPIES * self._size(index), "choose a shorter context or fewer sequences"
        )
        first, size = index * CHUNK, self._size(index)
        x, w = self._inputs(index, size), self._teachers(index, size)
        if self.centre:
            x = x - self._shift.x_mean
        if self.whiten:
            w = (w - self._shift.teacher_mean) @ self._shift.teacher_unmixing
        w = w @ np.linalg.cholesky(self.task.teacher_covariance).T
        fixed = np.arange(first, first + size) >= self.in_context_sequences
        if self.task.fixed_teacher is not None:
            w[fixed] = self.task.fixed_teacher
        y = np.matmul(x, w[:, :, None])[..., 0]
        if self.task.noise_variance:
            y += np.sqrt(self.task.noise_variance) * self._normal(index, 2, y.shape)
        if self.random_labels:
            y[fixed, :-1] = self._normal(index, 3, y.shape)[fixed, :-1]
        return np.concatenate([x, y[..., None]], axis=-1)

    def _refuse_size(self, sequences: int, way_out: str) -> None:
        """MemoryError if the tokens of so many sequences do not fit."""
        longest = max(self.context_lengths)
        size = 8.0 * sequences * (longest + 1) * (self.dimension + 1)
        what = (
            f"drawing sequences of {longest + 1} tokens of dimension {self.dimension}"
        )
        refuse_too_large(what, size, way_out)

    def _normal(self, index: int, kind: int, shape: tuple[int, ...]) -> FloatArray:
        return stream(self.seed, self.split, index, kind).standard_normal(shape)

    def _inputs(self, index: int, size: int) -> FloatArray:
        shape = (size, max(self.context_lengths) + 1, self.dimension)
        root = np.linalg.cholesky(self.task.covariance)
        return (
            self._normal(index, 0, shape).reshape(-1, self.dimension) @ root.T
        ).reshape(shape)

    def _teachers(self, index: int, size: int) -> FloatArray:
        return self._normal(index, 1, (size, self.dimension))

    @property
    def _indices(self) -> range:
        return range(-(-self.sequences // CHUNK))

    def _size(self, index: int) -> int:
        return min(CHUNK, self.sequences - index * CHUNK)

    @cached_property
    def _shift(self) -> _Shift:
        return self._shift_from(map(self._sums, self._indices))

    def _sums(self, index: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Σ w, Σ w wᵀ and Σ x of a chunk, zero where nobody asks for them."""
        D, size = self.dimension, self._size(index)
        total, square, x_total = (
            np.zeros(D),
            np.zeros((D, D)),
            np.zeros((max(self.context_lengths) + 1, D)),
        )
        if self.whiten:
            w = self._teachers(index, size)
            total, square = w.sum(0), w.T @ w
        if self.centre:
            x_total = self._inputs(index, size).sum(0)
        return total, square, x_total

    def _shift_from(
        self, sums: Iterable[tuple[FloatArray, FloatArray, FloatArray]]
    ) -> _Shift:
        total, square = (
            np.zeros(self.dimension),
            np.zeros((self.dimension, self.dimension)),
        )
        x_total = np.zeros((max(self.context_lengths) + 1, self.dimension))
        for of_w, of_wwT, of_x in sums:
            total, square, x_total = total + of_w, square + of_wwT, x_total + of_x
        mean = total / self.sequences
        unmixing = np.eye(self.dimension)
        if self.whiten:
            unmixing = _inverse_root(square / self.sequences - np.outer(mean, mean))
        return _Shift(mean, unmixing, x_total / self.sequences)


@dataclass(frozen=True, eq=False)
class Span:
    """Consecutive chunks of sampled prompts, drawn as they are iterated over."""

    prompts: Prompts
    indices: range

    def __iter__(self) -> Iterator[FloatArray]:
        """Chunks (≤ CHUNK, N+1, D+1)."""
        return map(self.prompts.chunk, self.indices)


def _inverse_root(matrix: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
