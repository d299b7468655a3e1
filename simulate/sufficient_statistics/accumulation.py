"""Sums of products of features over prompts: one symmetric rank-k update a chunk, in processes if asked.

The features of one prompt and its label are F̃ = (F, y), and Σ F̃ F̃ᵀ holds c, b and S of statistics in one matrix.
They stand in the rows of an array (K+1, P), so that every operation runs along the prompts.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial, reduce
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from ...runtime.machine import one_thread
from ..data.prompts import CHUNK, Data, Prompts, Sequences

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]
Divisors = Sequence[tuple[int, float]]

SPAN = 16
"""Chunks that are summed by one worker: part of the definition of a sum, so that workers do not change it."""

# Copies of each array that a worker holds at once.
_SUMS = 2  # the sum so far and the product that is added to it
_FEATURES = 2  # the features of a chunk, and what they are made of
_TOKENS = 3  # the random numbers of a chunk, its x, and its tokens


def product_sums(
    data: Data, divisors: Divisors, pairs: Pairs, executor: Executor | None = None
) -> FloatArray:
    """Σ F̃ F̃ᵀ (K+1, K+1) over all prompts and over the context lengths n ≤ n′ ≤ … of `divisors`.

    The K features are G_ij x_q,d with the (i, j) of `pairs`. The workers of an `executor` sum spans of the data:
    the result is the same to the last bit, whoever sums which, since linear algebra has one thread everywhere: with
    another number of them it adds up in another order.
    """
    work = partial(span_sums, divisors=divisors, pairs=pairs)
    spans = _spans(data, executor)
    with one_thread():
        sums = map(work, spans) if executor is None else executor.map(work, spans)
        return tree_sum(sums)


def span_sums(
    span: Iterable[Sequences], divisors: Divisors, pairs: Pairs
) -> FloatArray:
    """Σ F̃ F̃ᵀ over the chunks of a span, one after another."""
    with one_thread():  # in a worker's process as well
        chunks = (F for chunk in span for F in _features(chunk, divisors, pairs))
        return reduce(_add_to, (F @ F.T for F in chunks))


def tree_sum(parts: Iterable[FloatArray]) -> FloatArray:
    """Their sum in the order of a binary tree, with no more than one partial sum of each height in memory.

    The parts are used up: sums are made in their place.

    >>> tree_sum(np.full(2, i) for i in range(5))
    array([10, 10])
    """
    # Partial sums with the height of their trees, which decreases along the list.
    waiting: list[tuple[int, FloatArray]] = []
    for tree in parts:
        height = 0
        while waiting and waiting[-1][0] == height:
            _, left_tree = waiting.pop()
            tree = _add_to(left_tree, tree)
            height += 1
        waiting.append((height, tree))
    return reduce(_add_to, (total for _, total in reversed(waiting)))


def largest_memory(data: Data, features: int, workers: int = 1) -> float:
    """Bytes that `product_sums` of so many features needs at most, with so many workers of this machine.

    >>> from attndyn import Task
    >>> from attndyn.simulate import sample
    >>> data = sample(Task(np.ones(40), context_length=80), sequences=20_000)
    >>> f"{largest_memory(data, 34440) / 2**30:.1f} GiB, or {largest_memory(data, 1600) / 2**30:.1f} GiB"
    '20.1 GiB, or 0.4 GiB'
    """
    number = 8.0  # bytes
    prompts = min(CHUNK, data.sequences)
    row = max(data.context_lengths) + 1
    matrix = number * (features + 1) ** 2
    chunk_features = number * prompts * (features + 1)
    chunk_tokens = number * prompts * row * (data.dimension + 1)
    worker = _SUMS * matrix + _FEATURES * chunk_features + _TOKENS * chunk_tokens

    # One partial sum of each height of the tree waits for its partner.
    spans = -(-data.sequences // (CHUNK * SPAN))
    waiting = spans.bit_length() - 1
    return workers * worker + waiting * matrix


def _add_to(total: FloatArray, term: FloatArray) -> FloatArray:
    """The sum, in the memory of the first if that may be written to: a buffer that came from elsewhere may not."""
    memory = total if total.flags.writeable else None
    return np.add(total, term, out=memory)


def _spans(data: Data, executor: Executor | None) -> Iterator[Iterable[Sequences]]:
    """The chunks in runs of SPAN, each fit to be sent: sampled prompts are drawn where they are used."""
    if isinstance(data, Prompts):
        yield from data.spans(SPAN, executor)
        return
    chunks = data.chunks()
    while span := list(islice(chunks, SPAN)):
        yield span


def _features(
    chunk: Sequences, divisors: Divisors, pairs: Pairs
) -> Iterator[FloatArray]:
    """F̃ (K+1, P) at each context length, where the next one overwrites it.

    A context grows by the tokens between two lengths; the query, its y masked, belongs to G as well.
    """
    tokens, targets = chunk
    count = len(pairs[0])
    prompts = len(tokens)
    dimension = tokens.shape[2] - 1
    F, products = _empty_features(count, dimension, prompts)

    context = np.zeros((count, prompts))  # Σ_n t_i t_j over the context so far
    first = 0
    for length, divisor in divisors:
        context += _gram(tokens[:, first:length], pairs)
        first = length
        x_q = tokens[:, length, :-1].T.copy()  # (D, P)
        G = (context + _masked_products(x_q, pairs)) / divisor
        np.multiply(G[:, None], x_q, out=products)
        F[-1] = targets[:, length, 0]
        yield F


def _empty_features(
    count: int, dimension: int, prompts: int
) -> tuple[FloatArray, FloatArray]:
    """Memory for F̃ (K+1, P), and a view of all its rows but the last by pair and by d, (pairs, D, P)."""
    F = np.empty((count * dimension + 1, prompts))
    return F, F[:-1].reshape(count, dimension, prompts)


def _masked_products(x_q: FloatArray, pairs: Pairs) -> FloatArray:
    """t_i t_j (pairs, P) of the query's token t = (x_q, 0), its y masked."""
    i, j = pairs
    y = np.zeros((1, x_q.shape[1]))
    t = np.append(x_q, y, axis=0)
    products: FloatArray = t[i] * t[j]
    return products


def _gram(tokens: FloatArray, pairs: Pairs) -> FloatArray:
    """Σ_n t_i t_j over the tokens (P, n, D+1), (pairs, P)."""
    i, j = pairs
    if tokens.shape[1] == 1:  # no sum, as where context lengths follow each other
        token = tokens[:, 0].T
        return np.asarray(token[i] * token[j])
    products = np.matmul(tokens.swapaxes(1, 2), tokens)  # (P, D+1, D+1)
    return np.asarray(products[:, i, j].T)
