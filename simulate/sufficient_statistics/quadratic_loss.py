"""Sufficient statistics of linear attention: all that full-batch gradient descent needs to know of the data.

The query's output is linear in the effective map M = Σ_h a_h ⊗ B_h (D+1, D+1, D): ŷ = ⟨M, F⟩ with F = G ⊗ x_q and
G = X Xᵀ / divisor. Hence L(M) = c − 2⟨b, M⟩ + ⟨M, S M⟩ with c = mean y², b = mean y F, S = mean F ⊗ F. G is
symmetric, so one feature stands for both orders of its indices.
"""

import hashlib
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from ...models.divisors import attention_divisor, divisor_name
from ...models.protocol import is_softmax
from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.machine import GIB, refuse_too_large
from ..data.prompts import Data, real_array
from .accumulation import largest_memory, product_sums

BLOCKS = ("full", "restricted")


@dataclass(frozen=True, eq=False)
class Kronecker:
    """The matrix A ⊗ Λ (D², D²) of two symmetric ones (D, D), which it never forms to multiply a vector by it.

    >>> Kronecker(np.array([[2.0]]), np.array([[3.0]])) @ np.array([5.0])
    array([30.])
    """

    A: FloatArray
    Lambda: FloatArray

    def __matmul__(self, m: FloatArray) -> FloatArray:
        """Its product with m (D²,), in O(D³)."""
        return np.asarray(self.A @ m.reshape(self.A.shape) @ self.Lambda).ravel()

    def dense(self) -> FloatArray:
        """All D⁴ numbers."""
        return np.asarray(np.kron(self.A, self.Lambda), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Statistics:
    """c, b (K,) and the form S (K, K) of a data set of `sequences` sequences, mergeable by `+`.

    K counts the features G_ij x_q,d: `block` "full" has every pair i ≤ j, K = D (D+1)(D+2)/2; "restricted" has the
    pairs (y, x_j) only, K = D², which is all there is while value rows stay off x and keys off y. `divisor` names
    the model's; `sequences` is inf for statistics that are exact expectations, whose form is a Kronecker product.
    """

    c: float
    b: FloatArray
    form: FloatArray | Kronecker
    sequences: float
    dimension: int
    context_lengths: tuple[int, ...]
    divisor: str
    block: str

    def __add__(self, other: "Statistics") -> "Statistics":
        """Statistics of the two data sets together; ValueError if they are of different kinds."""
        if not isinstance(other, Statistics):
            return NotImplemented
        mine, theirs = self._kind(), other._kind()
        if mine != theirs:
            raise ValueError(
                f"statistics of different kinds cannot be merged: {mine} and {theirs}"
            )
        if not np.isfinite(self.sequences + other.sequences):
            raise ValueError(
                "exact statistics cannot be merged: they stand for infinitely many sequences"
            )
        total = self.sequences + other.sequences
        p, q = self.sequences / total, other.sequences / total
        b, S = p * self.b + q * other.b, p * self.S + q * other.S
        return replace(self, c=p * self.c + q * other.c, b=b, form=S, sequences=total)

    def __radd__(self, other: object) -> "Statistics":
        """Themselves, added to the 0 with which `sum` begins."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def _kind(self) -> tuple[int, tuple[int, ...], str, str]:
        return self.dimension, self.context_lengths, self.divisor, self.block

    @cached_property
    def S(self) -> FloatArray:
        """The form as a matrix (K, K)."""
        return self.form.dense() if isinstance(self.form, Kronecker) else self.form

    @cached_property
    def pairs(self) -> tuple[IndexArray, IndexArray]:
        """Indices i ≤ j of G, in the order of the features."""
        return pairs(self.dimension, self.block)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the numbers and of what they are."""
        form = (
            (self.form.A, self.form.Lambda)
            if isinstance(self.form, Kronecker)
            else (self.form,)
        )
        numbers = np.concatenate(
            [[self.c, self.sequences], self.b, *map(np.ravel, form)]
        ).tobytes()
        return hashlib.sha256(numbers + repr(self._kind()).encode()).hexdigest()


def statistics(
    data: Data,
    model: object,
    block: str = "full",
    executor: Executor | None = None,
    *,
    limit_gib: float = 4.0,
) -> Statistics:
    """Statistics of all of `data` for a linear model, in one pass over its chunks and constant memory.

    The model matters by its divisors only. `block` "restricted" keeps the K = D² features that matter while value
    rows stay off x and keys off y: 20 MB instead of 9 GB at D = 40. The workers of an `executor`, if there is one,
    share the chunks: processes, threads, a cluster. The result is the same without them, to the last bit.
    MemoryError, before anything is drawn, if the work needs more than `limit_gib` GiB or than this machine has
    left. ValueError for softmax, whose loss is no function of finitely many statistics: train it on the data.
    Source: Zhang et al. 2025, Section 2.2.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import sample
    >>> data = sample(Task(eigenvalues=[2, 1], context_length=5), sequences=100)
    >>> statistics(data, Merged(heads=1)).S.shape
    (12, 12)
    """
    _refuse_softmax(model)
    _refuse_size(data, block, executor, _limit(limit_gib))
    divisors = [
        (length, attention_divisor(model, length, data.dimension))
        for length in sorted(data.context_lengths)
    ]
    sums = product_sums(data, divisors, pairs(data.dimension, block), executor)
    sums /= data.sequences * len(
        data.context_lengths
    )  # in place: there may be no room for another
    kind = (
        data.dimension,
        data.context_lengths,
        divisor_name(model, data.dimension),
        block,
    )
    return Statistics(
        float(sums[-1, -1]),
        sums[-1, :-1].copy(),
        sums[:-1, :-1].copy(),
        data.sequences,
        *kind,
    )


def from_moments(
    c: float,
    A: ArrayLike,
    B: ArrayLike,
    Lambda: ArrayLike,
    model: object,
    context_lengths: tuple[int, ...],
) -> Statistics:
    """Restricted statistics from exact moments A = E ββᵀ, B = E y_q β x_qᵀ, Λ = E x_q x_qᵀ, (D, D) each.

    The moments must hold the divisor of `model`. This is how a comparison hands population moments over; the D⁴
    numbers of their form A ⊗ Λ are never formed in training, so that D can be large.
    ValueError for other shapes, what is not finite, an A or Λ that is not symmetric, or softmax.

    >>> from attndyn import Merged
    >>> from_moments(1.0, [[2.0]], [[1.0]], [[1.0]], Merged(heads=1), (5,)).S
    array([[2.]])
    """
    _refuse_softmax(model)
    named = {"c": [c], "A": A, "B": B, "Lambda": Lambda}
    size, a, b, Λ = (real_array(name, moment) for name, moment in named.items())
    if not all(np.all(np.isfinite(moment)) for moment in (size, a, b, Λ)):
        raise ValueError("c, A, B and Lambda must be finite: they hold nan or inf")
    if b.ndim != 2 or b.shape[0] != b.shape[1] or not a.shape == b.shape == Λ.shape:
        raise ValueError(
            f"A, B and Lambda must be (D, D) each, not {a.shape}, {b.shape} and {Λ.shape}"
        )
    if not (np.allclose(a, a.T, rtol=1e-9) and np.allclose(Λ, Λ.T, rtol=1e-9)):
        raise ValueError("A = E ββᵀ and Lambda = E xxᵀ must be symmetric")
    if c < 0 or np.any(np.diag(a) < 0) or np.any(np.diag(Λ) < 0):
        raise ValueError(
            "c, and the diagonals of A and Lambda, are means of squares: they must be zero or more"
        )
    kind = (len(b), tuple(context_lengths), divisor_name(model, len(b)), "restricted")
    return Statistics(float(c), b.ravel(), Kronecker(a, Λ), np.inf, *kind)


def pairs(dimension: int, block: str) -> tuple[IndexArray, IndexArray]:
    """The index pairs of G that a block keeps."""
    if block == "full":
        return np.triu_indices(dimension + 1)
    return np.arange(dimension), np.full(dimension, dimension)


def _refuse_size(
    data: Data, block: str, executor: Executor | None, limit: float
) -> None:
    """MemoryError if sums of products of this many features are too large for `limit` bytes or for the machine."""
    features = feature_count(data.dimension, block)
    workers = int(
        getattr(executor, "_max_workers", 1)
    )  # those of a cluster have memory of their own
    what = f"summing the statistics of D = {data.dimension}, {features} features, in {workers} process(es)"
    way_out = "choose a smaller D, a shorter context or fewer sequences, or raise limit_gib where there is room"
    if block == "full":
        way_out = f'pass block="restricted" if value rows stay off x and keys off y, {way_out}'
    refuse_too_large(what, largest_memory(data, features, workers), way_out, limit)


def _limit(limit_gib: object) -> float:
    """The limit in bytes; ValueError if it is not positive."""
    if (
        isinstance(limit_gib, bool)
        or not isinstance(limit_gib, Real)
        or not float(limit_gib) > 0
    ):
        raise ValueError(
            f"limit_gib must be a positive number of GiB, not {limit_gib!r}"
        )
    return float(limit_gib) * GIB


def feature_count(dimension: int, block: str) -> int:
    """K, the number of features of a block, without listing them; ValueError names the blocks that exist.

    >>> feature_count(40, "full"), feature_count(40, "restricted")
    (34440, 1600)
    """
    if block not in BLOCKS:
        raise ValueError(f"block must be one of {', '.join(BLOCKS)}, not {block!r}")
    if block == "full":
        return dimension * (dimension + 1) * (dimension + 2) // 2
    return dimension**2


def _refuse_softmax(model: object) -> None:
    if is_softmax(model):
        raise ValueError(
            "softmax attention has no finite statistics: pass the data itself to train"
        )


def refuse_mismatch(model: object, stats: Statistics) -> None:
    """ValueError if these statistics say nothing of the model: it is softmax, or has another divisor."""
    _refuse_softmax(model)
    divisor = divisor_name(model, stats.dimension)
    if divisor != stats.divisor:
        raise ValueError(
            f"these statistics were made with divisor {stats.divisor!r}, the model has {divisor!r}: "
            "make them with statistics(data, model)"
        )
