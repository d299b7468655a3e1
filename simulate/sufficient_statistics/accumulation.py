"""Sums of products of features over prompts: one symmetric rank-k update a chunk, in processes if asked.

The F features of one prompt and its K labels are F̃ = (F, y), and Σ F̃ F̃ᵀ holds c, b and S of statistics in one
matrix. They stand in the rows of an array (F+K, P), so that every operation runs along the prompts.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial, reduce
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from ...runtime.machine import one_thread
from ..data.prompts import CHUNK, Data, Prompts, Sequences, Span

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]

SPAN = 16
"""Chunks that are summed by one worker: part of the definition of a sum, so that workers do not change it."""

WIDE = 1500
"""Features from which on the matrix of sums is updated in place, a few prompts at a time, to save memory."""

FEW = 128
"""Prompts at a time where there are many features: part of the definition of a sum, as the chunk is elsewhere."""

# Copies of each array that a worker holds at once.
_SUMS = 2  # the sum so far and the product that is added to it
_SUMS_IN_PLACE = 1
_FEATURES = 2  # the features of a chunk, and what they are made of
_PRODUCTS = 2  # products of all entries of tokens, and those of a context
_TEACHERS = 3  # random numbers, and teachers of their covariance
_TOKENS = 3  # the random numbers of a chunk, its x, and its tokens


class ContextLength(NamedTuple):
    """A context length n of the loss: what X Xᵀ is divided by there, and its weight beside the other lengths."""

    length: int
    divisor: float
    weight: float = 1.0


class Features(NamedTuple):
    """Which features a sum is over: G_ij x_q,d with the (i, j) of `pairs`, at each of the lengths n ≤ n′ ≤ ….

    `query_token` says whether the query's own token, its y masked, belongs to G.
    """

    dimension: int
    lengths: Sequence[ContextLength]
    pairs: Pairs
    query_token: bool = True

    @property
    def feature_count(self) -> int:
        """F, the number of features."""
        return len(self.pairs[0]) * self.dimension


class Term(NamedTuple):
    """F̃ (F+K, P) at one context length, and the weight of its products."""

    F: FloatArray
    weight: float


def product_sums(
    data: Data, features: Features, executor: Executor | None = None
) -> FloatArray:
    """Σ F̃ F̃ᵀ (F+K, F+K) over all prompts and, with their weights, over the context lengths.

    The workers of an `executor` sum spans of the data: the result is the same to the last bit, whoever sums which,
    since linear algebra has one thread everywhere: with another number of them it adds up in another order.
    """
    work = partial(span_sums, features=features)
    spans = _spans(data, executor)
    with one_thread():
        sums = map(work, spans) if executor is None else executor.map(work, spans)
        return tree_sum(sums)


def span_sums(span: Iterable[Sequences], features: Features) -> FloatArray:
    """Σ F̃ F̃ᵀ over the chunks of a span, one after another."""
    with one_thread():  # in a worker's process as well
        if features.feature_count >= WIDE:
            return _sum_in_place(_terms(_few_at_a_time(span), features))
        products = (_product(term) for term in _terms(span, features))
        return reduce(_add_to, products)


def _product(term: Term) -> FloatArray:
    """Its weight times F̃ F̃ᵀ."""
    product: FloatArray = term.F @ term.F.T
    if term.weight != 1:
        product *= term.weight
    return product


def _sum_in_place(terms: Iterable[Term]) -> FloatArray:
    """The sum of all products, each added to one triangle in its memory."""
    from scipy.linalg.blas import dsyrk

    sums = None
    for F, weight in terms:
        if sums is None:
            sums = np.zeros((len(F), len(F)), order="F")
        # F̃ in rows is F̃ᵀ in columns, as BLAS has matrices.
        sums = dsyrk(weight, F.T, 1.0, sums, trans=1, lower=1, overwrite_c=1)
    assert sums is not None, "a span has prompts"
    by_rows: FloatArray = sums.T
    for i in range(len(by_rows)):
        by_rows[i + 1 :, i] = by_rows[i, i + 1 :]
    return by_rows


def _few_at_a_time(span: Iterable[Sequences]) -> Iterator[Sequences]:
    """The prompts of a span in the same few, whether they are drawn so or recorded."""
    pieces = span.pieces(FEW) if isinstance(span, Span) else span
    for tokens, targets in pieces:
        for first in range(0, len(tokens), FEW):
            few = slice(first, first + FEW)
            yield Sequences(tokens[few], targets[few])


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


def leading_block(matrix: FloatArray, size: int) -> FloatArray:
    """The first rows and columns of a matrix (n, n) as one array (size, size) without gaps, in the same memory.

    >>> leading_block(np.arange(9.0).reshape(3, 3), 2)
    array([[0., 1.],
           [3., 4.]])
    """
    numbers = matrix.reshape(-1)
    for row in range(1, size):
        first = row * len(matrix)
        numbers[row * size : (row + 1) * size] = numbers[first : first + size]
    return numbers[: size * size].reshape(size, size)


def largest_memory(data: Data, features: int, workers: int = 1) -> float:
    """Bytes that `product_sums` of so many features needs at most, with so many workers of this machine.

    >>> from attndyn import Task
    >>> from attndyn.simulate import sample
    >>> data = sample(Task(np.ones(40), context_length=80), sequences=20_000)
    >>> f"{largest_memory(data, 34440) / 2**20:,.0f} MiB, or {largest_memory(data, 1600) / 2**20:,.0f} MiB"
    '9,134 MiB, or 39 MiB'
    """
    number = 8.0  # bytes
    is_wide = features >= WIDE
    prompts = min(FEW if is_wide else CHUNK, data.sequences)
    row = max(data.context_lengths) + 1
    token = data.dimension + data.outputs
    matrix = number * (features + data.outputs) ** 2
    chunk_features = number * prompts * (features + data.outputs)
    chunk_products = number * prompts * token**2
    chunk_tokens = number * _drawn_together(data, prompts) * row * token
    # Those of a chunk are drawn at once, however many prompts are summed at once.
    chunk_teachers = number * min(CHUNK, data.sequences) * data.outputs * data.dimension
    worker = (
        (_SUMS_IN_PLACE if is_wide else _SUMS) * matrix
        + _FEATURES * chunk_features
        + _PRODUCTS * chunk_products
        + _TOKENS * chunk_tokens
        + _TEACHERS * chunk_teachers
    )

    # One partial sum of each height of the tree waits for its partner.
    spans = -(-data.sequences // (CHUNK * SPAN))
    waiting = spans.bit_length() - 1
    return workers * worker + waiting * matrix


def _drawn_together(data: Data, prompts: int) -> int:
    """How many prompts are drawn at once where so many are summed at once."""
    if isinstance(data, Prompts) and (data.centre or data.task.inputs.name is None):
        return min(CHUNK, data.sequences)
    return prompts


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


def _terms(chunks: Iterable[Sequences], features: Features) -> Iterator[Term]:
    """F̃ of each chunk at each context length, where the next one overwrites it."""
    for chunk in chunks:
        yield from _chunk_terms(chunk, features)


# Long because one loop writes the features of all lengths in place.
def _chunk_terms(chunk: Sequences, features: Features) -> Iterator[Term]:
    """F̃ (F+K, P) of a chunk at each context length.

    A context grows by the tokens between two lengths; the query's token, its y masked, belongs to G as well unless
    the model does not read it.
    """
    tokens, targets = chunk
    pairs = features.pairs
    count, D = len(pairs[0]), features.dimension
    F = np.empty((features.feature_count + targets.shape[2], len(tokens)))
    by_pair = F[: features.feature_count].reshape(count, D, len(tokens))

    context = np.zeros((count, len(tokens)))  # Σ_n t_i t_j over the context so far
    first = 0
    for length, divisor, weight in features.lengths:
        context += _gram(tokens[:, first:length], pairs)
        first = length
        x_q = tokens[:, length, :D].T.copy()  # (D, P)
        products = context
        if features.query_token:
            products = context + _masked_products(x_q, targets.shape[2], pairs)
        G = products / divisor
        np.multiply(G[:, None], x_q, out=by_pair)
        F[features.feature_count :] = targets[:, length].T
        yield Term(F, weight)


def _masked_products(x_q: FloatArray, outputs: int, pairs: Pairs) -> FloatArray:
    """t_i t_j (pairs, P) of the query's token t = (x_q, 0), its y masked."""
    i, j = pairs
    y = np.zeros((outputs, x_q.shape[1]))
    t = np.append(x_q, y, axis=0)
    products: FloatArray = t[i] * t[j]
    return products


def _gram(tokens: FloatArray, pairs: Pairs) -> FloatArray:
    """Σ_n t_i t_j over the tokens (P, n, D+K), (pairs, P)."""
    i, j = pairs
    if tokens.shape[1] == 1:  # no sum, as where context lengths follow each other
        token = tokens[:, 0].T
        return np.asarray(token[i] * token[j])
    products = np.matmul(tokens.swapaxes(1, 2), tokens)  # (P, D+K, D+K)
    return np.asarray(products[:, i, j].T)
