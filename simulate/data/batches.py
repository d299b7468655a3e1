"""Batches of a descent: what a run reads before each step, as a function of a seed and the step."""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np

from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.checks import refuse_wrong_order, whole_number
from ...runtime.machine import refuse_too_large
from ...task import Task
from ...teachers import Mixture
from .draws import add_noise, drawn_teachers, input_root
from .prompts import (
    Data,
    PromptsOfTask,
    PromptSource,
    Sequences,
    all_sequences,
    stream,
)

_COPIES = 3
"""Arrays of the size of a batch's tokens at once: random numbers, tokens, and labels."""


class Batches(PromptSource, Protocol):
    """Prompts for every step of a descent: the same step has the same ones, whatever was read before."""

    def at(self, step: int) -> Sequences:
        """The prompts of a step, counted from 0."""


@dataclass(frozen=True, eq=False)
class FreshPrompts(PromptsOfTask):
    """`batch` prompts of a task for each step, drawn by the seed and the step.

    Each prompt draws which law of a mixture its teacher has, so that every batch has the right mean; a sample that
    is stored has exact shares instead.

    >>> batches = FreshPrompts(Task([2, 1], context_length=5), batch=8, seed=0)
    >>> batches.at(3).tokens.shape, bool((batches.at(3).tokens == batches.at(3).tokens).all())
    ((8, 6, 3), True)
    """

    task: Task
    batch: int
    seed: int

    def __post_init__(self) -> None:
        whole_number(self.batch, "batch")
        whole_number(self.seed, "seed", least=0)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that determines the prompts."""
        settings = ("fresh", self.task.digest, self.batch, self.seed)
        return hashlib.sha256(repr(settings).encode()).hexdigest()

    @cached_property
    def _root(self) -> FloatArray:
        """Λ^½, which is found once."""
        return input_root(self.task)

    @cached_property
    def _rows(self) -> int:
        """N+1, the tokens of a prompt; MemoryError if there is no room for a batch of them."""
        rows = max(self.task.context_lengths) + 1
        numbers = float(self.batch) * rows * (self.dimension + self.outputs)
        refuse_too_large(
            f"a batch of {self.batch} prompts of {rows} tokens",
            _COPIES * 8.0 * numbers,
            "choose a smaller batch or a shorter context",
        )
        return rows

    @cached_property
    def _has_mean(self) -> bool:
        """Whether E x is not 0."""
        return bool(np.any(self.task.input_mean))

    def at(self, step: int) -> Sequences:
        """The prompts of a step: tokens (b, N+1, D+K) and targets (b, N+1, K)."""
        D = self.dimension
        draws = stream(self.seed, "batches", whole_number(step, "step", least=0))
        # Written in place: a copy of every token costs a fifth of their draws.
        tokens = np.empty((self.batch, self._rows, D + self.outputs))
        self._write_inputs(tokens, draws)
        x, y = tokens[..., :D], tokens[..., D:]
        W = self._teachers(draws)  # (b, K, D)
        np.matmul(x, W.swapaxes(1, 2), out=y)
        targets = add_noise(self.task, y, draws)
        return Sequences(tokens, targets)

    def _write_inputs(self, tokens: FloatArray, draws: np.random.Generator) -> None:
        """x = mean + Λ^½ z, the first D entries of every token (b, N+1, D+K)."""
        D = self.dimension
        z = self.task.inputs.draw(draws, (*tokens.shape[:2], D))
        x = tokens.reshape(-1, tokens.shape[2])[:, :D]  # (b(N+1), D)
        np.matmul(z.reshape(-1, D), self._root.T, out=x)
        if self._has_mean:
            x += self.task.input_mean

    def _teachers(self, draws: np.random.Generator) -> FloatArray:
        """The teachers of a batch (b, K, D); their order does not matter to a mean."""
        law = self.task.teachers
        if not isinstance(law, Mixture):
            return drawn_teachers(law, draws, self.batch)
        shares = law.shares
        counts = draws.multinomial(self.batch, shares / shares.sum())
        parts = [
            drawn_teachers(part, draws, int(count))
            for part, count in zip(law.laws, counts, strict=True)
        ]
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class _BatchesOfData:
    """`batch` prompts of a data set for each step: what they share with the data."""

    data: Data
    batch: int

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return self.data.dimension

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""
        return self.data.outputs

    @property
    def context_lengths(self) -> tuple[int, ...]:
        """The context lengths over which the loss averages."""
        return self.data.context_lengths

    @property
    def context_weights(self) -> FloatArray:
        """The weight of each of the context lengths, summing to 1, (L,)."""
        return self.data.context_weights


@dataclass(frozen=True, eq=False)
class Minibatches(_BatchesOfData):
    """`batch` prompts of a data set for each step, reshuffled every epoch by the seed, the remainder dropped.

    ValueError for a batch that is larger than the data.
    """

    seed: int

    def __post_init__(self) -> None:
        whole_number(self.seed, "seed", least=0)
        if whole_number(self.batch, "batch") > self.data.sequences:
            raise ValueError(
                f"batch must be at most {self.data.sequences}, the number of sequences, not {self.batch}"
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the data, the batch and the seed."""
        settings = ("minibatches", self.data.digest, self.batch, self.seed)
        return hashlib.sha256(repr(settings).encode()).hexdigest()

    @cached_property
    def _sequences(self) -> Sequences:
        """All sequences, which are read once."""
        return all_sequences(self.data)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return self.data.sequences // self.batch

    def at(self, step: int) -> Sequences:
        """The prompts of a step: tokens (b, N+1, D+K) and targets (b, N+1, K)."""
        whole_number(step, "step", least=0)
        epoch, place = divmod(int(step), self.steps_per_epoch)
        order = _shuffled(self.data.sequences, self.seed, epoch)
        chosen = order[place * self.batch : (place + 1) * self.batch]
        tokens = self._sequences.tokens[chosen]
        return Sequences(tokens, self._sequences.targets[chosen])


@dataclass(frozen=True, eq=False)
class BatchesInOrder(_BatchesOfData):
    """`batch` prompts of a data set for each step, in the order in which they stand: a recorded run on fresh prompts.

    ValueError unless the data are whole batches, and for a step that has none.

    >>> from attndyn.simulate import prompts_from_tokens
    >>> batches = BatchesInOrder(prompts_from_tokens(np.ones((6, 4, 3))), batch=2)
    >>> batches.steps, batches.at(2).tokens.shape
    (3, (2, 4, 3))
    """

    def __post_init__(self) -> None:
        has_prompts = hasattr(self.data, "sequences") and hasattr(self.data, "tokens")
        refuse_wrong_order(
            "BatchesInOrder(data, batch)", has_prompts, self.data, self.batch
        )
        count = self.data.sequences
        if count % whole_number(self.batch, "batch"):
            raise ValueError(
                f"batch must divide the number of sequences, {count}, not {self.batch}"
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the data and the batch."""
        settings = ("in order", self.data.digest, self.batch)
        return hashlib.sha256(repr(settings).encode()).hexdigest()

    @property
    def steps(self) -> int:
        """How many batches there are."""
        return self.data.sequences // self.batch

    @cached_property
    def _sequences(self) -> Sequences:
        """All sequences, which are read once."""
        return all_sequences(self.data)

    def at(self, step: int) -> Sequences:
        """The prompts of a step: tokens (b, N+1, D+K) and targets (b, N+1, K)."""
        if whole_number(step, "step", least=0) >= self.steps:
            raise ValueError(
                f"there are batches for {self.steps} steps, and none for step {step}"
            )
        chosen = slice(step * self.batch, (step + 1) * self.batch)
        tokens = self._sequences.tokens[chosen]
        return Sequences(tokens, self._sequences.targets[chosen])


@lru_cache(maxsize=2)
def _shuffled(sequences: int, seed: int, epoch: int) -> IndexArray:
    """The order of the sequences in an epoch."""
    return np.asarray(stream(seed, "batches", epoch).permutation(sequences))
