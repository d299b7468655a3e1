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
    refuse_wrong_order,
    true_or_false,
    whole_number,
)
from ...runtime.covariances import covariance_root, inverse_root
from ...runtime.display import Displayed, Summary
from ...runtime.machine import refuse_too_large
from ...task import Task
from ...teachers import Mixture, Pool
from .draws import add_noise, drawn_teachers, inputs_of

CHUNK = 4096
"""Sequences a chunk: part of the definition of the data, since every chunk has random streams of its own."""

_COPIES = 3
"""Copies of a chunk that are in memory while it is drawn: random numbers, x, and tokens."""

STREAMS = {"data": 0, "weights": 1, "test": 2, "batches": 3}
"""The independent children that one seed has; a pool of teachers is drawn by a fifth, 4."""

SPLITS = ("data", "test")

X_NUMBERS, TEACHER_NUMBERS, NOISE_NUMBERS, LABEL_NUMBERS, SUMMARY_NUMBERS = range(5)
"""The independent streams of a chunk: part of the definition of the data."""


class Sequences(NamedTuple):
    """Tokens (P, N+1, D+K), each (x, y), and the labels of each of their rows as a query.

    The query of a prompt of n tokens is row n: its y is masked, and the loss asks for `targets` of that row, which
    are another y than that of the tokens where a query has noise of its own.
    """

    tokens: FloatArray
    targets: FloatArray
    """(P, N+1, K)."""


class PromptSource(Protocol):
    """What data and batches have in common: the sizes of their prompts, and the lengths of the loss."""

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""

    @property
    def context_lengths(self) -> tuple[int, ...]:
        """The context lengths over which the loss averages."""

    @property
    def context_weights(self) -> FloatArray:
        """The weight of each of the context lengths, summing to 1, (L,)."""

    @property
    def digest(self) -> str:
        """A name of the contents."""


class Data(PromptSource, Protocol):
    """Sequences of tokens (x, y) with the true y in every row; a prompt masks the y of its last row."""

    @property
    def sequences(self) -> int:
        """P, the number of sequences."""

    @property
    def tokens(self) -> FloatArray:
        """All tokens at once, (P, N+1, D+K)."""

    @property
    def targets(self) -> FloatArray:
        """The labels of all rows as queries, (P, N+1, K)."""

    def chunks(self) -> Iterator[Sequences]:
        """The same sequences in pieces of at most CHUNK."""


def all_sequences(data: Data) -> Sequences:
    """The sequences of any data at once; sampled ones are drawn a single time for tokens and targets."""
    if isinstance(data, Prompts):
        return data.all_sequences()
    return Sequences(data.tokens, data.targets)


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
    balanced: bool = False,
) -> "Prompts":
    """Prompts of `sequences` sequences of a task, drawn chunk by chunk whenever they are read.

    `split` "test" gives prompts independent of "data" at the same seed. As in the runs of Zhang et al. 2025, `whiten`
    makes the sampled teachers' mean exactly zero and their covariance exactly Ω, and `centre` makes the mean of x
    zero at every position; both read the data twice. With a fixed teacher exactly ⌊p·P + ½⌋ sequences have a
    random one; `random_labels` draws the context labels of the others from N(0, 1), independently of x. A mixture
    of laws likewise has exactly its share of each, the sequences of the first law first. `balanced` takes the
    teachers of a pool in turn, so that each is there equally often, up to one sequence.
    ValueError if sequences < 1, or whitening is asked of a mixture or of fewer than D + 1 sequences, or random
    labels without a fixed teacher or over several context lengths.

    >>> from attndyn import Task
    >>> data = sample(Task(eigenvalues=[2, 1], context_length=5), sequences=10, seed=0)
    >>> data.tokens.shape
    (10, 6, 3)
    """
    refuse_wrong_order(
        "sample(task, sequences)", isinstance(task, Task), task, sequences
    )
    prompts = Prompts(
        task=task,
        whiten=true_or_false(whiten, "whiten"),
        centre=true_or_false(centre, "centre"),
        random_labels=true_or_false(random_labels, "random_labels"),
        balanced=true_or_false(balanced, "balanced"),
        sequences=whole_number(sequences, "sequences"),
        seed=seed,
        split=split,
    )
    if prompts.whiten:
        _refuse_whitening(task, prompts.sequences)
    if prompts.random_labels:
        _refuse_random_labels(task)
    if prompts.balanced:
        _refuse_balance(task)
    check_choice(split, "split", SPLITS)
    whole_number(seed, "seed", least=0)
    return prompts


def _refuse_whitening(task: Task, sequences: int) -> None:
    """ValueError where the sampled teachers cannot have mean zero and covariance Ω."""
    if not task.has_normal_teachers:
        raise ValueError(
            "whiten makes teachers' covariance exactly Ω: it is for teachers N(0, Ω) with one output, not for "
            f"{type(task.teachers).__name__}"
        )
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
    if not task.has_normal_teachers or task.fixed_teacher is None:
        raise ValueError(
            "random_labels are for the sequences of a fixed_teacher, which this task lacks"
        )
    if len(task.context_lengths) > 1:
        raise ValueError(
            "random_labels need one context_length: shorter prompts would be asked for a random label"
        )


def _refuse_balance(task: Task) -> None:
    """ValueError unless the teachers are a pool of equal weights."""
    law = task.teachers
    if not isinstance(law, Pool) or np.ptp(law.weights) > 0:
        raise ValueError(
            "balanced takes the teachers of a pool in turn: it is for teachers=Pool(…) of equal weights, not for "
            f"{law!r}"
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


class ChunkDraws(NamedTuple):
    """The random numbers of a chunk: those of x, of the noise of labels, and of labels that are random."""

    x: np.random.Generator
    noise: np.random.Generator
    labels: np.random.Generator


class SampleMoments(NamedTuple):
    """What whitening and centring subtract, and divide by: moments of the whole sample."""

    teacher_mean: FloatArray
    teacher_unmixing: FloatArray
    """Inverse root of the sampled teachers' covariance (D, D)."""
    x_mean: FloatArray


class PromptsOfTask:
    """What a `PromptSource` takes from its task."""

    task: Task

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return self.task.dimension

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""
        return self.task.outputs

    @property
    def context_lengths(self) -> tuple[int, ...]:
        """The context lengths over which the loss averages."""
        return self.task.context_lengths

    @property
    def context_weights(self) -> FloatArray:
        """The weight of each of the context lengths, summing to 1, (L,)."""
        return self.task.context_weights


@dataclass(frozen=True, eq=False, repr=False)
class Prompts(PromptsOfTask, Displayed):
    """Sequences of a task that are drawn when they are read; made by `sample`."""

    task: Task
    sequences: int
    seed: int
    split: str
    whiten: bool
    centre: bool
    random_labels: bool
    balanced: bool = False
    moments: SampleMoments | None = None
    """The moments of the sample where they are known already, as in prompts that a worker is sent."""

    @property
    def in_context_sequences(self) -> int:
        """How many sequences have a random teacher: the first ⌊p·P + ½⌋ ones."""
        share = self.task.in_context_fraction * self.sequences
        return int(share + 0.5)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that determines the sequences."""
        settings: tuple[object, ...] = (
            self.task.digest,
            self.sequences,
            self.seed,
            self.split,
            self.whiten,
            self.centre,
            self.random_labels,
            CHUNK,
        )
        if self.balanced:
            settings += ("balanced",)
        return hashlib.sha256(repr(settings).encode()).hexdigest()

    @property
    def tokens(self) -> FloatArray:
        """All tokens at once, (P, N+1, D+K); MemoryError if there is no room for every chunk together."""
        return self.all_sequences().tokens

    @property
    def targets(self) -> FloatArray:
        """The labels of all rows as queries, (P, N+1, K)."""
        return self.all_sequences().targets

    @property
    def x(self) -> FloatArray:
        """The inputs of all tokens, the query last, (P, N+1, D)."""
        return self.tokens[..., : self.dimension]

    @property
    def y(self) -> FloatArray:
        """The labels of all tokens, the query's last, (P, N+1), or (P, N+1, K) of K > 1 outputs."""
        return without_single_output(self.tokens[..., self.dimension :])

    @property
    def labels(self) -> FloatArray:
        """The labels of the queries of the longest prompts, (P,), or (P, K) of K > 1 outputs."""
        return without_single_output(self.targets[:, -1])

    @property
    def context(self) -> "Context":
        """x and y of the longest context and the query's x, as the predictors of the theory take them."""
        return context_of(self.tokens, self.dimension)

    def all_sequences(self) -> Sequences:
        """All sequences at once; MemoryError if there is no room for every chunk together."""
        # The whole, and the chunk that is drawn last.
        together = self.sequences + min(CHUNK, self.sequences)
        self._refuse_size(together, "statistics need one chunk at a time")
        return joined(list(self.chunks()), self.dimension)

    def chunks(self) -> Iterator[Sequences]:
        """The sequences in pieces of at most CHUNK."""
        return map(self.chunk, self.indices)

    def spans(self, count: int, executor: Executor | None = None) -> Iterator["Span"]:
        """The same chunks, `count` at a time, to be drawn by whoever reads them, in another process as well.

        The moments that whitening and centring need are found first, by the `executor` if there is one.
        """
        indices = self.indices
        prompts = self
        # Sent with the prompts: a worker that lacked them would read all the data.
        if executor is not None and (self.whiten or self.centre):
            sums = executor.map(self._chunk_sums, indices, chunksize=count)
            prompts = replace(self, moments=self._moments_from(sums))
        for first in indices[::count]:
            yield Span(prompts, indices[first : first + count])

    def chunk(self, index: int) -> Sequences:
        """One of the chunks, counted from 0; MemoryError if there is no room for it."""
        (whole,) = self.pieces(index, CHUNK)
        return whole

    def teachers(self, index: int) -> FloatArray:
        """The teachers W (P, K, D) of one of the chunks, counted from 0."""
        size = self._size(index)
        random_teacher = self._with_random_teacher(index, size)
        return self._task_matrices(index, size, random_teacher)

    def pieces(self, index: int, most: int) -> Iterator[Sequences]:
        """The sequences of a chunk, at most so many at a time, which take less memory than the whole chunk.

        They are drawn one after another from the streams of the chunk. Inputs of a law of the user's own come all
        at once: nobody knows whether parts of a draw would be the same numbers.
        """
        size = self._size(index)
        if self.task.inputs.name is None:
            most = size
        together = _COPIES * min(most, size)
        self._refuse_size(together, "choose a shorter context or fewer sequences")

        random_teacher = self._with_random_teacher(index, size)
        W = self._task_matrices(index, size, random_teacher)  # (P, K, D)
        draws = ChunkDraws(
            x=stream(self.seed, self.split, index, X_NUMBERS),
            noise=stream(self.seed, self.split, index, NOISE_NUMBERS),
            labels=stream(self.seed, self.split, index, LABEL_NUMBERS),
        )
        for first in range(0, size, most):
            piece = slice(first, first + most)
            yield self._piece(draws, W[piece], random_teacher[piece])

    def _piece(
        self, draws: "ChunkDraws", W: FloatArray, random_teacher: BoolArray
    ) -> Sequences:
        """The next sequences of a chunk, with teachers W (P, K, D)."""
        x = self._inputs(draws.x, len(W))
        if self.centre:
            x = x - self._sample_moments.x_mean + self.task.input_mean
        y = np.matmul(x, W.swapaxes(1, 2))  # (P, N+1, K)
        targets = add_noise(self.task, y, draws.noise)
        if self.random_labels:
            # Labels that have nothing to do with x; the query's stays true: it is what the model is asked for.
            random_labels = draws.labels.standard_normal(y.shape[:2])
            y[~random_teacher, :-1, 0] = random_labels[~random_teacher, :-1]
        return labelled(x, y, targets)

    def _with_random_teacher(self, index: int, size: int) -> BoolArray:
        """Which sequences of a chunk (P,) have a random teacher, beside a fixed one: the first of the sample."""
        if not self.task.has_normal_teachers:
            return np.ones(size, dtype=bool)
        first = index * CHUNK
        return np.arange(first, first + size) < self.in_context_sequences

    def _task_matrices(
        self, index: int, size: int, random_teacher: BoolArray
    ) -> FloatArray:
        """Teachers W (P, K, D) of a chunk."""
        if not self.task.has_normal_teachers:
            return self._teachers_of_law(index, size)

        # N(0, Ω), and a fixed one.
        w = self._teachers(index, size)
        if self.whiten:
            centred = w - self._sample_moments.teacher_mean
            w = centred @ self._sample_moments.teacher_unmixing
        w = w @ covariance_root(self.task.teacher_covariance).T
        if self.task.fixed_teacher is not None:
            w[~random_teacher] = self.task.fixed_teacher
        return w[:, None, :]

    def _teachers_of_law(self, index: int, size: int) -> FloatArray:
        """Teachers W (P, K, D) of a chunk of any law; those of a mixture stand in the order of its parts."""
        law = self.task.teachers
        first = index * CHUNK
        if self.balanced and isinstance(law, Pool):
            members = np.arange(first, first + size) % len(law.members)
            return np.asarray(law.members[members])
        draws = stream(self.seed, self.split, index, TEACHER_NUMBERS)
        if not isinstance(law, Mixture):
            return drawn_teachers(law, draws, size)
        return self._teachers_of_mixture(law, draws, index, size)

    def _teachers_of_mixture(
        self, law: Mixture, draws: np.random.Generator, index: int, size: int
    ) -> FloatArray:
        """Teachers W (P, K, D) of a chunk, those of the first law of the sample first."""
        first = index * CHUNK
        parts = []
        end = 0
        for part, count in zip(law.laws, law.counts(self.sequences), strict=True):
            start, end = end, end + count
            # What this chunk has of the sequences start … end of the sample.
            overlap = min(end, first + size) - max(start, first)
            parts.append(drawn_teachers(part, draws, max(overlap, 0)))
        return np.concatenate(parts)

    def summary(self) -> Summary:
        """What the prompts are of, and how they are drawn."""
        rows: dict[str, object] = {
            "task": self.task,
            "sequences": f"{self.sequences:,}",
            "seed": self.seed,
        }
        for name in ("split", "whiten", "centre", "random_labels", "balanced"):
            if getattr(self, name) not in (False, "data"):
                rows[name] = getattr(self, name)
        return Summary("Prompts", rows)

    def to_dict(self) -> dict[str, Any]:
        """The arguments of `sample`, the task as its own dictionary."""
        names = ("sequences", "seed", "split", "whiten", "centre", "random_labels")
        settings = {name: getattr(self, name) for name in names}
        if self.balanced:
            settings["balanced"] = True
        return {"task": self.task.to_dict(), **settings}

    def _refuse_size(self, sequences: int, way_out: str) -> None:
        """MemoryError if the tokens of so many sequences do not fit."""
        tokens = max(self.context_lengths) + 1
        size = 8.0 * sequences * tokens * (self.dimension + self.outputs)
        what = f"drawing sequences of {tokens} tokens of dimension {self.dimension}"
        refuse_too_large(what, size, way_out)

    def _inputs(self, draws: np.random.Generator, size: int) -> FloatArray:
        """x (P, N+1, D) of so many sequences, with mean and covariance Λ."""
        tokens = max(self.context_lengths) + 1
        z = self.task.inputs.draw(draws, (size, tokens, self.dimension))
        return inputs_of(self.task, z)

    def _teachers(self, index: int, size: int) -> FloatArray:
        """Teachers (P, D) of a chunk, of covariance I."""
        draws = stream(self.seed, self.split, index, TEACHER_NUMBERS)
        return draws.standard_normal((size, self.dimension))

    @property
    def indices(self) -> range:
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
        return self._moments_from(map(self._chunk_sums, self.indices))

    def _chunk_sums(self, index: int) -> ChunkSums:
        """What one chunk adds to the sums over the sample."""
        sums = self._no_sums()
        size = self._size(index)
        if self.whiten:
            w = self._teachers(index, size)
            sums = sums._replace(teachers=w.sum(0), teacher_products=w.T @ w)
        if self.centre:
            draws = stream(self.seed, self.split, index, X_NUMBERS)
            sums = sums._replace(x=self._inputs(draws, size).sum(0))
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
            unmixing = inverse_root(second_moment - np.outer(mean, mean))
        return SampleMoments(mean, unmixing, total.x / self.sequences)


@dataclass(frozen=True, eq=False)
class Span:
    """Consecutive chunks of sampled prompts, drawn as they are iterated over."""

    prompts: Prompts
    indices: range

    def __iter__(self) -> Iterator[Sequences]:
        """Chunks of at most CHUNK sequences."""
        return map(self.prompts.chunk, self.indices)

    def pieces(self, most: int) -> Iterator[Sequences]:
        """The same sequences, at most so many at a time."""
        for index in self.indices:
            yield from self.prompts.pieces(index, most)


class Context(NamedTuple):
    """x (P, N, D) and y (P, N) of contexts and the queries' x (P, D); with K > 1 outputs y is (P, N, K)."""

    x: FloatArray
    y: FloatArray
    query: FloatArray


def context_of(tokens: FloatArray, dimension: int) -> Context:
    """The contexts of all rows but the last, and the last row's x as query.

    >>> context_of(np.ones((2, 4, 3)), 2).y.shape
    (2, 3)
    """
    return Context(
        x=tokens[:, :-1, :dimension],
        y=without_single_output(tokens[:, :-1, dimension:]),
        query=tokens[:, -1, :dimension],
    )


def without_single_output(labels: FloatArray) -> FloatArray:
    """Labels (…, K) without their last axis where K = 1."""
    return labels[..., 0] if labels.shape[-1] == 1 else labels


def labelled(x: FloatArray, labels: FloatArray, targets: FloatArray) -> Sequences:
    """Sequences of x (P, N+1, D) with these labels in the tokens; the last row, a query always, shows its target."""
    dimension = x.shape[2]
    tokens = np.concatenate([x, labels], axis=-1)
    if targets is labels:
        return Sequences(tokens, tokens[..., dimension:])
    tokens[:, -1, dimension:] = targets[:, -1]
    return Sequences(tokens, targets)


def joined(pieces: list[Sequences], dimension: int) -> Sequences:
    """The sequences of all pieces as one array."""
    tokens = np.concatenate([piece.tokens for piece in pieces])
    labels_of_tokens = all(piece.targets.base is piece.tokens for piece in pieces)
    if labels_of_tokens:
        return Sequences(tokens, tokens[..., dimension:])
    return Sequences(tokens, np.concatenate([piece.targets for piece in pieces]))
