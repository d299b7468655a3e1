"""Samples prompts from a task in chunks, so that memory does not grow with their number."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...runtime.arrays import BoolArray, FloatArray
from ...runtime.checks import (
    check_choice,
    true_or_false,
    whole_number,
)
from ...runtime.display import Displayed, Summary
from ...runtime.machine import refuse_too_large
from ...task import Task

CHUNK = 4096
"""Sequences a chunk: part of the definition of the data, since every chunk has random streams of its own."""

_COPIES = 3
"""Copies of a chunk that are in memory while it is drawn: random numbers, x, and tokens."""

STREAMS = {"data": 0, "weights": 1, "test": 2}
"""The independent children that one seed has."""

SPLITS = ("data", "test")

X_NUMBERS, TEACHER_NUMBERS, NOISE_NUMBERS, LABEL_NUMBERS = range(4)
"""The independent streams of a chunk: part of the definition of the data."""


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
    entropy = whole_number(seed, "seed", least=0)
    child = np.random.SeedSequence(entropy, spawn_key=(STREAMS[purpose], *key))
    return np.random.default_rng(child)


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

    `split` "test" gives prompts independent of "data" at the same seed. As in the runs of Zhang et al. 2025, `whiten`
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
    prompts = Prompts(
        task=task,
        whiten=true_or_false(whiten, "whiten"),
        centre=true_or_false(centre, "centre"),
        random_labels=true_or_false(random_labels, "random_labels"),
        sequences=whole_number(sequences, "sequences"),
        seed=seed,
        split=split,
    )
    if prompts.whiten:
        _refuse_whitening(task, prompts.sequences)
    if prompts.random_labels:
        _refuse_random_labels(task)
    check_choice(split, "split", SPLITS)
    whole_number(seed, "seed", least=0)
    return prompts


def _refuse_whitening(task: Task, sequences: int) -> None:
    """ValueError where the sampled teachers cannot have mean zero and covariance Ω."""
    if task.in_context_fraction < 1:
        raise ValueError(
            "whiten needs every sequence to have a random teacher: in_context_fraction must be 1"
        )
    if sequences <= task.dimension:
        raise ValueError(
            f"whiten needs more than D = {task.dimension} sequences, not {sequences}"
        )


def _refuse_random_labels(task: Task) -> None:
    """ValueError where no sequence has a fixed teacher, or a label would be asked for that is random."""
    if task.fixed_teacher is None:
        raise ValueError(
            "random_labels are for the sequences of a fixed_teacher, which this task lacks"
        )
    if len(task.context_lengths) > 1:
        raise ValueError(
            "random_labels need one context_length: shorter prompts would be asked for a random label"
        )


class ChunkSums(NamedTuple):
    """Sums over sequences: Σ w (D,), Σ w wᵀ (D, D) and Σ x (N+1, D), zero where nobody asks for them."""

    teachers: FloatArray
    teacher_products: FloatArray
    x: FloatArray

    def plus(self, other: "ChunkSums") -> "ChunkSums":
        """The sums over the sequences of both."""
        return ChunkSums(
            self.teachers + other.teachers,
            self.teacher_products + other.teacher_products,
            self.x + other.x,
        )


class SampleMoments(NamedTuple):
    """What whitening and centring subtract, and divide by: moments of the whole sample."""

    teacher_mean: FloatArray
    teacher_unmixing: FloatArray
    """Inverse root of the sampled teachers' covariance (D, D)."""
    x_mean: FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class Prompts(Displayed):
    """Sequences of a task that are drawn when they are read; made by `sample`."""

    task: Task
    sequences: int
    seed: int
    split: str
    whiten: bool
    centre: bool
    random_labels: bool
    moments: SampleMoments | None = None
    """The moments of the sample where they are known already, as in prompts that a worker is sent."""

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
        share = self.task.in_context_fraction * self.sequences
        return int(share + 0.5)

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
            self.random_labels,
            CHUNK,
        )
        return hashlib.sha256(repr(settings).encode()).hexdigest()

    @property
    def tokens(self) -> FloatArray:
        """All tokens at once, (P, N+1, D+1); MemoryError if there is no room for every chunk together."""
        # The whole, and the chunk that is drawn last.
        together = self.sequences + min(CHUNK, self.sequences)
        self._refuse_size(together, "statistics need one chunk at a time")
        return np.concatenate(list(self.chunks()))

    def chunks(self) -> Iterator[FloatArray]:
        """The tokens in pieces of at most CHUNK sequences, (≤ CHUNK, N+1, D+1) each."""
        return map(self.chunk, self._indices)

    def spans(self, count: int, executor: Executor | None = None) -> Iterator["Span"]:
        """The same chunks, `count` at a time, to be drawn by whoever reads them, in another process as well.

        The moments that whitening and centring need are found first, by the `executor` if there is one.
        """
        indices = self._indices
        prompts = self
        # Sent with the prompts: a worker that lacked them would read all the data.
        if executor is not None and (self.whiten or self.centre):
            sums = executor.map(self._chunk_sums, indices, chunksize=count)
            prompts = replace(self, moments=self._moments_from(sums))
        for first in indices[::count]:
            yield Span(prompts, indices[first : first + count])

    def chunk(self, index: int) -> FloatArray:
        """One of the chunks, counted from 0; MemoryError if there is no room for it."""
        size = self._size(index)
        self._refuse_size(_COPIES * size, "choose a shorter context or fewer sequences")

        x = self._inputs(index, size)
        if self.centre:
            x = x - self._sample_moments.x_mean
        random_teacher = self._with_random_teacher(index, size)
        w = self._task_vectors(index, size, random_teacher)
        y = np.matmul(x, w[:, :, None])[..., 0]  # (P, N+1)
        self._disturb(y, index, random_teacher)
        return np.concatenate([x, y[..., None]], axis=-1)

    def _disturb(self, y: FloatArray, index: int, random_teacher: BoolArray) -> None:
        """Add the noise to the labels (P, N+1) of a chunk, and put random ones in the place of others."""
        if self.task.noise_variance:
            noise = self._normal(index, NOISE_NUMBERS, y.shape)
            y += np.sqrt(self.task.noise_variance) * noise
        if self.random_labels:
            # The query's label stays true: it is what the model is asked for.
            labels = self._normal(index, LABEL_NUMBERS, y.shape)
            y[~random_teacher, :-1] = labels[~random_teacher, :-1]

    def _with_random_teacher(self, index: int, size: int) -> BoolArray:
        """Which sequences of a chunk (P,) have a random teacher: the first ones of the sample."""
        first = index * CHUNK
        return np.arange(first, first + size) < self.in_context_sequences

    def _task_vectors(
        self, index: int, size: int, random_teacher: BoolArray
    ) -> FloatArray:
        """Task vectors w (P, D) of a chunk: of covariance Ω, or the fixed one."""
        w = self._teachers(index, size)
        if self.whiten:
            centred = w - self._sample_moments.teacher_mean
            w = centred @ self._sample_moments.teacher_unmixing
        w = w @ np.linalg.cholesky(self.task.teacher_covariance).T
        if self.task.fixed_teacher is not None:
            w[~random_teacher] = self.task.fixed_teacher
        return w

    def summary(self) -> Summary:
        """What the prompts are of, and how they are drawn."""
        rows: dict[str, object] = {
            "task": self.task,
            "sequences": f"{self.sequences:,}",
            "seed": self.seed,
        }
        for name in ("split", "whiten", "centre", "random_labels"):
            if getattr(self, name) not in (False, "data"):
                rows[name] = getattr(self, name)
        return Summary("Prompts", rows)

    def to_dict(self) -> dict[str, Any]:
        """The arguments of `sample`, the task as its own dictionary."""
        names = ("sequences", "seed", "split", "whiten", "centre", "random_labels")
        settings = {name: getattr(self, name) for name in names}
        return {"task": self.task.to_dict(), **settings}

    def _refuse_size(self, sequences: int, way_out: str) -> None:
        """MemoryError if the tokens of so many sequences do not fit."""
        tokens = max(self.context_lengths) + 1
        size = 8.0 * sequences * tokens * (self.dimension + 1)
        what = f"drawing sequences of {tokens} tokens of dimension {self.dimension}"
        refuse_too_large(what, size, way_out)

    def _normal(self, index: int, kind: int, shape: tuple[int, ...]) -> FloatArray:
        """Standard normal numbers of one kind for one chunk."""
        draws = stream(self.seed, self.split, index, kind)
        return draws.standard_normal(shape)

    def _inputs(self, index: int, size: int) -> FloatArray:
        """x (P, N+1, D) of a chunk, with covariance Λ."""
        D = self.dimension
        tokens = max(self.context_lengths) + 1
        shape = (size, tokens, D)
        root = np.linalg.cholesky(self.task.covariance)
        z = self._normal(index, X_NUMBERS, shape)
        # One product of matrices over all tokens: many small ones are slower.
        x = z.reshape(-1, D) @ root.T
        return x.reshape(shape)

    def _teachers(self, index: int, size: int) -> FloatArray:
        """Teachers (P, D) of a chunk, of covariance I."""
        shape = (size, self.dimension)
        return self._normal(index, TEACHER_NUMBERS, shape)

    @property
    def _indices(self) -> range:
        """The chunks, of which the last may be shorter."""
        count = -(-self.sequences // CHUNK)  # rounded up
        return range(count)

    def _size(self, index: int) -> int:
        """Sequences of a chunk."""
        left = self.sequences - index * CHUNK
        return min(CHUNK, left)

    @cached_property
    def _sample_moments(self) -> SampleMoments:
        """The moments of the sample, which are found once."""
        if self.moments is not None:
            return self.moments
        return self._moments_from(map(self._chunk_sums, self._indices))

    def _chunk_sums(self, index: int) -> ChunkSums:
        """What one chunk adds to the sums over the sample."""
        sums = self._no_sums()
        size = self._size(index)
        if self.whiten:
            w = self._teachers(index, size)
            sums = sums._replace(teachers=w.sum(0), teacher_products=w.T @ w)
        if self.centre:
            sums = sums._replace(x=self._inputs(index, size).sum(0))
        return sums

    def _no_sums(self) -> ChunkSums:
        """The sums over no sequence."""
        D = self.dimension
        tokens = max(self.context_lengths) + 1
        return ChunkSums(
            teachers=np.zeros(D),
            teacher_products=np.zeros((D, D)),
            x=np.zeros((tokens, D)),
        )

    def _moments_from(self, chunk_sums: Iterable[ChunkSums]) -> SampleMoments:
        """The moments of the sample from the sums over its chunks, which are added in their order."""
        total = self._no_sums()
        for sums in chunk_sums:
            total = total.plus(sums)
        mean = total.teachers / self.sequences
        unmixing = np.eye(self.dimension)
        if self.whiten:
            second_moment = total.teacher_products / self.sequences
            unmixing = _inverse_root(second_moment - np.outer(mean, mean))
        return SampleMoments(mean, unmixing, total.x / self.sequences)


@dataclass(frozen=True, eq=False)
class Span:
    """Consecutive chunks of sampled prompts, drawn as they are iterated over."""

    prompts: Prompts
    indices: range

    def __iter__(self) -> Iterator[FloatArray]:
        """Chunks (≤ CHUNK, N+1, D+1)."""
        return map(self.prompts.chunk, self.indices)


def _inverse_root(matrix: FloatArray) -> FloatArray:
    """The inverse of the positive root of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    scaled = vectors / np.sqrt(values)
    root: FloatArray = scaled @ vectors.T
    return root
