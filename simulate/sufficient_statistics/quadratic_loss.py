"""Sufficient statistics of linear attention: all that full-batch gradient descent needs to know of the data.

The query's output is linear in the effective map M = Σ_h a_h ⊗ B_h (D+1, D+1, D): ŷ = ⟨M, F⟩ with F = G ⊗ x_q and
G = X Xᵀ / divisor. Hence L(M) = c − 2⟨b, M⟩ + ⟨M, S M⟩ with c = mean y², b = mean y F, S = mean F ⊗ F. G is
symmetric, so one feature stands for both orders of its indices.
"""

import hashlib
import json
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.divisors import attention_divisor, divisor_name
from ...models.protocol import is_softmax
from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.checks import check_choice, finite_array
from ...runtime.display import Displayed, Summary, array_summary
from ...runtime.files import AnyPath, as_path, read_arrays, write_atomically
from ...runtime.machine import GIB, refuse_too_large
from ..data.prompts import Data
from .accumulation import largest_memory, product_sums

FORMAT = "attndyn statistics 1"

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
        # (A ⊗ Λ) vec(M) = vec(A M Λ) for symmetric Λ and rows that follow each other.
        M = m.reshape(self.A.shape)
        product: FloatArray = self.A @ M @ self.Lambda
        return product.ravel()

    def dense(self) -> FloatArray:
        """All D⁴ numbers."""
        form = np.kron(self.A, self.Lambda)
        return np.asarray(form, dtype=np.float64)


@dataclass(frozen=True, eq=False, repr=False)
class Statistics(Displayed):
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
        if self._kind() != other._kind():
            raise ValueError(
                "statistics of different kinds cannot be merged: "
                f"{self._kind()} and {other._kind()}"
            )
        total = self.sequences + other.sequences
        if not np.isfinite(total):
            raise ValueError(
                "exact statistics cannot be merged: they stand for infinitely many sequences"
            )
        # Means over each data set, weighted by its share of the sequences.
        p, q = self.sequences / total, other.sequences / total
        return replace(
            self,
            c=p * self.c + q * other.c,
            b=p * self.b + q * other.b,
            form=p * self.S + q * other.S,
            sequences=total,
        )

    def __radd__(self, other: object) -> "Statistics":
        """Themselves, added to the 0 with which `sum` begins."""
        if isinstance(other, int) and other == 0:
            return self
        return NotImplemented

    def _kind(self) -> tuple[int, tuple[int, ...], str, str]:
        return (
            self.dimension,
            self.context_lengths,
            self.divisor,
            self.block,
        )

    @cached_property
    def S(self) -> FloatArray:
        """The form as a matrix (K, K)."""
        if isinstance(self.form, Kronecker):
            return self.form.dense()
        return self.form

    @cached_property
    def pairs(self) -> tuple[IndexArray, IndexArray]:
        """Indices i ≤ j of G, in the order of the features."""
        return feature_pairs(self.dimension, self.block)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the numbers and of what they are."""
        arrays = [np.array([self.c, self.sequences]), self.b]
        for array in self._form_arrays().values():
            arrays.append(array.ravel())
        digest = hashlib.sha256(np.concatenate(arrays).tobytes())
        digest.update(repr(self._kind()).encode())
        return digest.hexdigest()

    def _form_arrays(self) -> dict[str, FloatArray]:
        """The arrays that the form is made of, by name."""
        if isinstance(self.form, Kronecker):
            return {"A": self.form.A, "Lambda": self.form.Lambda}
        return {"S": self.form}

    def summary(self) -> Summary:
        """What the statistics are of, and the range of their numbers."""
        lengths = ", ".join(map(str, self.context_lengths))
        rows = {
            "sequences": f"{self.sequences:,.0f}",
            "dimension": self.dimension,
            "context lengths": lengths,
            "divisor": self.divisor,
            "block": f"{self.block}, {len(self.b)} features",
            "c": f"{self.c:.5g}",
            "b": array_summary(self.b),
        }
        for name, array in self._form_arrays().items():
            rows[name] = array_summary(array)
        loss = r"L(M) = c - 2 \langle b, M \rangle + \langle M, S M \rangle"
        return Summary("Sufficient statistics", rows, {"loss": loss})

    def to_dict(self) -> dict[str, Any]:
        """The contents as plain numbers, strings and lists; `sequences` is None for exact expectations."""
        finite = np.isfinite(self.sequences)
        contents: dict[str, Any] = {
            "sequences": self.sequences if finite else None,
            "dimension": self.dimension,
            "context_lengths": list(self.context_lengths),
            "divisor": self.divisor,
            "block": self.block,
            "c": self.c,
            "b": self.b.tolist(),
        }
        for name, array in self._form_arrays().items():
            contents[name] = array.tolist()
        return contents

    def save(self, path: AnyPath) -> Path:
        """Write the statistics to an npz file, atomically; `load` reads it. OSError if it cannot be written."""
        head = {
            "format": FORMAT,
            "c": self.c,
            "sequences": self.sequences,
            "kind": self._kind(),
        }
        arrays: dict[str, Any] = {"b": self.b, **self._form_arrays()}
        text = np.array(json.dumps(head))
        return write_atomically(path, lambda file: np.savez(file, head=text, **arrays))

    @classmethod
    def load(cls, path: AnyPath) -> "Statistics":
        """The statistics that `save` wrote; ValueError if the file is truncated or something else, OSError if absent.

        >>> import tempfile
        >>> from attndyn import Merged
        >>> exact = from_moments(1.0, [[2.0]], [[1.0]], [[1.0]], Merged(1), (5,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Statistics.load(exact.save(Path(folder) / "exact.npz")).digest == exact.digest
        True
        """
        try:
            arrays = read_arrays(path)
            head = json.loads(str(arrays["head"]))
            if head["format"] != FORMAT:
                raise KeyError(head["format"])
            dimension, context_lengths, divisor, block = head["kind"]
            form = (
                arrays["S"]
                if "S" in arrays
                else Kronecker(arrays["A"], arrays["Lambda"])
            )
            return cls(
                c=head["c"],
                b=arrays["b"],
                form=form,
                sequences=head["sequences"],
                dimension=dimension,
                context_lengths=tuple(context_lengths),
                divisor=divisor,
                block=block,
            )
        except (KeyError, RecursionError, TypeError, ValueError):
            raise ValueError(
                f"{as_path(path)} is not a whole file of statistics: pass one that Statistics.save wrote"
            ) from None


def statistics(
    data: Data,
    model: object,
    block: str = "full",
    executor: Executor | None = None,
    *,
    limit_gib: float = 4.0,
) -> Statistics:
    """Statistics of all of `data` for a linear model, in one pass over its chunks and constant memory.

    The model matters by its divisors only. `block` "restricted" has the K = D² features that matter while value
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
    _refuse_size(data, block, executor, _limit_in_bytes(limit_gib))
    divisors = [
        (length, attention_divisor(model, length, data.dimension))
        for length in sorted(data.context_lengths)
    ]

    # Mean of F̃ F̃ᵀ (K+1, K+1), the features and the label: S, b and c in one matrix.
    pairs = feature_pairs(data.dimension, block)
    moments = product_sums(data, divisors, pairs, executor)
    moments /= data.sequences * len(data.context_lengths)  # in place: it may be large
    return Statistics(
        c=float(moments[-1, -1]),
        b=moments[-1, :-1].copy(),
        form=moments[:-1, :-1].copy(),
        sequences=data.sequences,
        dimension=data.dimension,
        context_lengths=data.context_lengths,
        divisor=divisor_name(model, data.dimension),
        block=block,
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
    constant = finite_array([c], "c")
    moments = BlockMoments(
        finite_array(A, "A"), finite_array(B, "B"), finite_array(Lambda, "Lambda")
    )
    moments.check()
    if constant[0] < 0:
        raise ValueError(_NOT_SQUARES)
    dimension = len(moments.B)
    return Statistics(
        c=float(c),
        b=moments.B.ravel(),
        form=Kronecker(moments.A, moments.Lambda),
        sequences=np.inf,
        dimension=dimension,
        context_lengths=tuple(context_lengths),
        divisor=divisor_name(model, dimension),
        block="restricted",
    )


_NOT_SQUARES = "c, and the diagonals of A and Lambda, are means of squares: they must be zero or more"

_ASYMMETRY = 1e-9
"""Relative difference of a symmetric matrix and its transpose that rounding accounts for."""


class BlockMoments(NamedTuple):
    """A = E ββᵀ, B = E y_q β x_qᵀ and Λ = E x_q x_qᵀ."""

    A: FloatArray
    B: FloatArray
    Lambda: FloatArray

    def check(self) -> None:
        """ValueError for other shapes than (D, D), and for an A or Λ that is no matrix of means of squares."""
        A, B, Λ = self
        square = B.ndim == 2 and B.shape[0] == B.shape[1]
        if not square or not A.shape == B.shape == Λ.shape:
            raise ValueError(
                f"A, B and Lambda must be (D, D) each, not {A.shape}, {B.shape} and {Λ.shape}"
            )
        for second_moment in (A, Λ):
            if not np.allclose(second_moment, second_moment.T, rtol=_ASYMMETRY):
                raise ValueError("A = E ββᵀ and Lambda = E xxᵀ must be symmetric")
        if np.any(np.diag(A) < 0) or np.any(np.diag(Λ) < 0):
            raise ValueError(_NOT_SQUARES)


def feature_pairs(dimension: int, block: str) -> tuple[IndexArray, IndexArray]:
    """The index pairs (i, j) of G that a block has."""
    if block == "full":
        return np.triu_indices(dimension + 1)
    y = np.full(dimension, dimension)  # the label is the last entry of a token
    return np.arange(dimension), y


def _refuse_size(
    data: Data, block: str, executor: Executor | None, limit: float
) -> None:
    """MemoryError if sums of products of this many features are too large for `limit` bytes or for the machine."""
    features = feature_count(data.dimension, block)
    # The workers of a cluster have memory of their own, and do not say how many they are.
    workers = int(getattr(executor, "_max_workers", 1))
    what = f"summing the statistics of D = {data.dimension}, {features} features, in {workers} process(es)"
    way_out = "choose a smaller D, a shorter context or fewer sequences, or raise limit_gib where there is room"
    if block == "full":
        way_out = f'pass block="restricted" if value rows stay off x and keys off y, {way_out}'
    refuse_too_large(what, largest_memory(data, features, workers), way_out, limit)


def _limit_in_bytes(limit_gib: object) -> float:
    """The limit in bytes; ValueError if it is not positive."""
    # A truth value is a number to Python, and none to us.
    if not isinstance(limit_gib, bool) and isinstance(limit_gib, Real):
        limit = float(limit_gib)
        if limit > 0:  # infinity too: no limit but that of the machine
            return limit * GIB
    raise ValueError(f"limit_gib must be a positive number of GiB, not {limit_gib!r}")


def feature_count(dimension: int, block: str) -> int:
    """K, the number of features of a block, without listing them; ValueError names the blocks that exist.

    >>> feature_count(40, "full"), feature_count(40, "restricted")
    (34440, 1600)
    """
    check_choice(block, "block", BLOCKS)
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
