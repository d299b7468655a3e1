"""Sufficient statistics of linear attention: all that full-batch gradient descent needs to know of the data.

The query's output is linear in the effective map M = Σ_h a_h ⊗ B_h (D+1, D+1, D): ŷ = ⟨M, F⟩ with F = G ⊗ x_q and
G = X Xᵀ / divisor. Hence L(M) = c − 2⟨b, M⟩ + ⟨M, S M⟩ with c = mean y², b = mean y F, S = mean F ⊗ F. G is
symmetric, so one feature stands for both orders of its indices.

With K outputs tokens (x, y) have D + K entries, and each output k has a map M_k (D+K, D+K, D) of its own. All of them
share one S: L = c − 2 Σ_k ⟨b_k, M_k⟩ + Σ_k ⟨M_k, S M_k⟩ with c = mean |y|² and b_k = mean y_k F.
"""

import hashlib
import json
import math
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.divisors import attention_divisor, divisor_name
from ...models.protocol import (
    is_softmax,
    outputs_of,
    reads_query_token,
    refuse_other_outputs,
)
from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.checks import finite_array, refuse_wrong_order
from ...runtime.display import Displayed, Summary, array_summary
from ...runtime.files import AnyPath, as_path, read_arrays, write_atomically
from ...runtime.machine import GIB, refuse_too_large
from ..data.prompts import Data
from .accumulation import (
    ContextLength,
    Features,
    largest_memory,
    leading_block,
    product_sums,
)
from .kinds import Kind, feature_count, feature_pairs, unequal_weights

FORMAT = "attndyn statistics 2"

FORMER_FORMAT = "attndyn statistics 1"
"""Files of one output, of models that read the query's token, whose context lengths all weigh the same."""


@dataclass(frozen=True, eq=False)
class Kronecker:
    """The matrix A ⊗ Λ (KD², KD²) of symmetric A (KD, KD) and Λ (D, D), which is not formed to multiply by it.

    >>> Kronecker(np.array([[2.0]]), np.array([[3.0]])) @ np.array([5.0])
    array([30.])
    """

    A: FloatArray
    Lambda: FloatArray

    def __matmul__(self, m: FloatArray) -> FloatArray:
        """Its product with a vector m (KD²,), or with each row of m (…, KD²), in O(K²D³)."""
        # (A ⊗ Λ) vec(M) = vec(A M Λ) for symmetric Λ and rows that follow each other.
        M = m.reshape(*m.shape[:-1], len(self.A), len(self.Lambda))
        product: FloatArray = self.A @ M @ self.Lambda
        return product.reshape(m.shape)

    def dense(self) -> FloatArray:
        """All K²D⁴ numbers."""
        form = np.kron(self.A, self.Lambda)
        return np.asarray(form, dtype=np.float64)


@dataclass(frozen=True, eq=False, repr=False)
class Statistics(Displayed):
    """c, b and the form S (F, F) of a data set of `sequences` sequences, mergeable by `+`.

    F counts the features G_ij x_q,d: `block` "full" has every pair i ≤ j, F = D (D+K)(D+K+1)/2; "restricted" has
    the pairs (y_k, x_j) only, F = K D², which is all there is while value rows stay off x and keys off y. b is (F,)
    for one output and (K, F) for several, which share S. `divisor` names the model's; `query_token` says whether
    the model reads the query's own token; `context_weights` are those of the context lengths in the loss, None if
    all weigh the same. `sequences` is inf for statistics that are exact expectations, whose form may be a Kronecker
    product.
    """

    c: float
    b: FloatArray
    form: FloatArray | Kronecker
    sequences: float
    dimension: int
    context_lengths: tuple[int, ...]
    divisor: str
    block: str
    query_token: bool = True
    context_weights: tuple[float, ...] | None = None

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""
        return 1 if self.b.ndim == 1 else len(self.b)

    @property
    def features(self) -> int:
        """F, the number of features."""
        return int(self.b.shape[-1])

    def __add__(self, other: "Statistics") -> "Statistics":
        """Statistics of the two data sets together; ValueError if they are of different kinds."""
        if not isinstance(other, Statistics):
            return NotImplemented
        if self.kind != other.kind:
            raise ValueError(
                "statistics of different kinds cannot be merged: "
                f"{self.kind.differences(other.kind)}"
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

    @cached_property
    def kind(self) -> Kind:
        """What must be the same in statistics that are merged."""
        return Kind(
            dimension=self.dimension,
            context_lengths=self.context_lengths,
            divisor=self.divisor,
            block=self.block,
            outputs=self.outputs,
            query_token=self.query_token,
            context_weights=self.context_weights,
        )

    @cached_property
    def S(self) -> FloatArray:
        """The form as a matrix (F, F)."""
        if isinstance(self.form, Kronecker):
            return self.form.dense()
        return self.form

    def loss_of_features(self, m: FloatArray) -> tuple[float, FloatArray]:
        """c − 2⟨b, m⟩ + ⟨m, S m⟩ of coefficients m of the shape of b, and half its slope, S m − b."""
        Sm = self._times(m)
        loss = self.c + float(m.ravel() @ (Sm - 2.0 * self.b).ravel())
        return loss, Sm - self.b

    def _times(self, m: FloatArray) -> FloatArray:
        """S m (F,), or S m_k in each row of (K, F)."""
        if isinstance(self.form, Kronecker) or m.ndim == 1:
            return self.form @ m
        # S is symmetric, and read once for all rows.
        product: FloatArray = m @ self.form
        return product

    @cached_property
    def pairs(self) -> tuple[IndexArray, IndexArray]:
        """Indices i ≤ j of G, in the order of the features."""
        return feature_pairs(self.dimension, self.block, self.outputs)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the numbers and of what they are."""
        digest = hashlib.sha256(np.array([self.c, self.sequences]).tobytes())
        # One after another: together they would fill memory twice.
        for array in (self.b, *self._form_arrays().values()):
            digest.update(np.ascontiguousarray(array).data)
        digest.update(self.kind.text.encode())
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
            "outputs": self.outputs,
            "context lengths": lengths,
            "divisor": self.divisor,
            "query token": "read" if self.query_token else "not read",
            "block": f"{self.block}, {self.features} features",
            "c": f"{self.c:.5g}",
            "b": array_summary(self.b),
        }
        for name, array in self._form_arrays().items():
            rows[name] = array_summary(array)
        if self.context_weights is not None:
            rows["context weights"] = array_summary(np.array(self.context_weights))
        loss = r"L(M) = c - 2 \langle b, M \rangle + \langle M, S M \rangle"
        if self.outputs > 1:
            loss = (
                r"L(M) = c - 2 \sum_k \langle b_k, M_k \rangle "
                r"+ \sum_k \langle M_k, S M_k \rangle"
            )
        return Summary("Sufficient statistics", rows, {"loss": loss})

    def to_dict(self) -> dict[str, Any]:
        """The contents as plain numbers, strings and lists; `sequences` is None for exact expectations."""
        finite = np.isfinite(self.sequences)
        contents: dict[str, Any] = {
            "sequences": self.sequences if finite else None,
            **self.kind._asdict(),
            "context_lengths": list(self.context_lengths),
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
            "kind": self.kind._asdict(),
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
            return cls._of_file(head, arrays)
        except (KeyError, RecursionError, TypeError, ValueError):
            raise ValueError(
                f"{as_path(path)} is not a whole file of statistics: pass one that Statistics.save wrote"
            ) from None

    @classmethod
    def _of_file(cls, head: dict[str, Any], arrays: dict[str, Any]) -> "Statistics":
        """The statistics of a file; KeyError, TypeError or ValueError if something is missing or does not fit."""
        kind = _kind_of_file(head)
        _refuse_other_shapes(kind, arrays)
        is_product = "A" in arrays
        form: FloatArray | Kronecker = (
            Kronecker(arrays["A"], arrays["Lambda"]) if is_product else arrays["S"]
        )
        return cls(
            c=float(head["c"]),
            b=arrays["b"],
            form=form,
            sequences=head["sequences"],
            dimension=kind.dimension,
            context_lengths=kind.context_lengths,
            divisor=kind.divisor,
            block=kind.block,
            query_token=kind.query_token,
            context_weights=kind.context_weights,
        )


def _refuse_other_shapes(kind: Kind, arrays: dict[str, Any]) -> None:
    """ValueError unless the arrays have the features of this kind; KeyError if one is missing."""
    count = feature_count(kind.dimension, kind.block, kind.outputs)
    shapes = {"b": (count,) if kind.outputs == 1 else (kind.outputs, count)}
    if "A" not in arrays:
        shapes["S"] = (count, count)
    else:
        D, size = kind.dimension, kind.outputs * kind.dimension
        shapes |= {"A": (size, size), "Lambda": (D, D)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} must have shape {shape}")


def _kind_of_file(head: dict[str, Any]) -> Kind:
    """The kind that a file states; KeyError, TypeError or ValueError if it states none."""
    if head["format"] == FORMER_FORMAT:
        dimension, context_lengths, divisor, block = head["kind"]
        return Kind(dimension, tuple(context_lengths), divisor, block)
    if head["format"] != FORMAT:
        raise KeyError(head["format"])
    kind = Kind(**head["kind"])
    weights = kind.context_weights
    return kind._replace(
        context_lengths=tuple(kind.context_lengths),
        context_weights=None if weights is None else tuple(weights),
    )


def _product_means(
    data: Data, features: Features, executor: Executor | None
) -> FloatArray:
    """Mean of F̃ F̃ᵀ (F+K, F+K) over prompts, the features and the labels: S, b and c in one matrix."""
    with np.errstate(over="ignore", invalid="ignore"):
        moments = product_sums(data, features, executor)
    if not np.all(np.isfinite(np.diagonal(moments))):
        raise OverflowError(
            "the means of products of the tokens are larger than any number: divide x and y by a constant"
        )
    moments /= data.sequences * math.fsum(length.weight for length in features.lengths)
    return moments


def statistics(
    data: Data,
    model: object,
    block: str = "full",
    executor: Executor | None = None,
    *,
    limit_gib: float = 4.0,
) -> Statistics:
    """Statistics of all of `data` for a linear model, in one pass over its chunks and constant memory.

    The model matters by its divisors, its outputs and whether it reads the query's token. `block` "restricted" has
    the F = K D² features that matter while value rows stay off x and keys off y: 20 MB instead of 9 GB at D = 40.
    The workers of an `executor`, if there is one, share the chunks: processes, threads, a cluster. The result is
    the same without them, to the last bit. MemoryError, before anything is drawn, if the work needs more than
    `limit_gib` GiB or than this machine has left. ValueError for softmax, whose loss is no function of finitely
    many statistics: train it on the data; for data of another number of outputs than the model's. OverflowError for
    data so large that a mean of products is not finite. TypeError for arguments in another order.
    Source: Zhang et al. 2025, Section 2.2.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import sample
    >>> data = sample(Task(eigenvalues=[2, 1], context_length=5), sequences=100)
    >>> statistics(data, Merged(heads=1)).S.shape
    (12, 12)
    """
    in_order = hasattr(data, "chunks") and not hasattr(model, "chunks")
    refuse_wrong_order("statistics(data, model)", in_order, data, model)
    _refuse_softmax(model)
    outputs = data.outputs
    refuse_other_outputs(outputs, model, "the data have")
    _refuse_size(data, block, executor, _limit_in_bytes(limit_gib))
    features = Features(
        dimension=data.dimension,
        lengths=_weighted_lengths(data, model),
        pairs=feature_pairs(data.dimension, block, outputs),
        query_token=reads_query_token(model),
    )

    moments = _product_means(data, features, executor)
    count = features.feature_count
    c = float(np.trace(moments[count:, count:]))
    b = moments[count:, :count].copy()  # (K, F)
    return Statistics(
        c=c,
        b=b[0] if outputs == 1 else b,
        form=leading_block(moments, count),  # in place: it may be large
        sequences=data.sequences,
        dimension=data.dimension,
        context_lengths=data.context_lengths,
        divisor=divisor_name(model, data.dimension),
        block=block,
        query_token=features.query_token,
        context_weights=unequal_weights(data.context_weights),
    )


def _weighted_lengths(data: Data, model: object) -> list[ContextLength]:
    """The context lengths n ≤ n′ ≤ … with their divisors; all of weight 1 if they weigh the same."""
    weights = unequal_weights(data.context_weights)
    if weights is None:
        weights = (1.0,) * len(data.context_lengths)
    lengths = []
    for length, weight in sorted(zip(data.context_lengths, weights, strict=True)):
        divisor = attention_divisor(model, length, data.dimension)
        lengths.append(ContextLength(length, divisor, weight))
    return lengths


def from_moments(
    c: float,
    A: ArrayLike,
    B: ArrayLike,
    Lambda: ArrayLike,
    model: object,
    context_lengths: tuple[int, ...],
    *,
    context_weights: ArrayLike | None = None,
) -> Statistics:
    """Restricted statistics from exact moments A = E ββᵀ, B = E y_q β x_qᵀ, Λ = E x_q x_qᵀ, (D, D) each.

    With K outputs β = (β_1, …, β_K): A is (KD, KD), B (K, K, D, D) with B_ij = E y_i β_j x_qᵀ, and c = E |y|². The
    moments must hold the divisor of `model` and the weights of the context lengths, all the same if left out. This
    is how a comparison hands population moments over; the K²D⁴ numbers of their form A ⊗ Λ are never formed in
    training, so that D can be large.
    ValueError for other shapes, what is not finite, an A or Λ that is not symmetric, or softmax.

    >>> from attndyn import Merged
    >>> from_moments(1.0, [[2.0]], [[1.0]], [[1.0]], Merged(heads=1), (5,)).S
    array([[2.]])
    """
    _refuse_softmax(model)
    outputs = outputs_of(model)
    constant = finite_array([c], "c")
    moments = BlockMoments(
        finite_array(A, "A"), finite_array(B, "B"), finite_array(Lambda, "Lambda")
    )
    moments.check(outputs)
    _refuse_other_weights(context_weights, context_lengths)
    if constant[0] < 0:
        raise ValueError(_NOT_SQUARES)
    dimension = len(moments.Lambda)
    b = moments.B.reshape(outputs, -1)
    return Statistics(
        c=float(c),
        b=b[0] if outputs == 1 else b,
        form=Kronecker(moments.A, moments.Lambda),
        sequences=np.inf,
        dimension=dimension,
        context_lengths=tuple(context_lengths),
        divisor=divisor_name(model, dimension),
        block="restricted",
        query_token=reads_query_token(model),
        context_weights=unequal_weights(context_weights),
    )


def from_feature_moments(
    c: float,
    b: ArrayLike,
    S: ArrayLike,
    model: object,
    context_lengths: tuple[int, ...],
    *,
    context_weights: ArrayLike | None = None,
) -> Statistics:
    """Statistics of the full block from exact moments of its F features: c, b (F,), or (K, F), and S (F, F).

    The moments must hold the divisor of `model`, whether it reads the query's token, and the weights of the context
    lengths, all the same if left out. ValueError for other shapes, what is not finite, or softmax.

    >>> from attndyn import Merged
    >>> from_feature_moments(1.0, np.ones(3), np.eye(3), Merged(heads=1), (5,)).dimension
    1
    """
    _refuse_softmax(model)
    outputs = outputs_of(model)
    constant = finite_array([c], "c")
    form = finite_array(S, "S", "(F, F)")
    coefficients = finite_array(b, "b")
    count = len(form)
    dimension = _dimension_of(count, outputs)
    _refuse_other_weights(context_weights, context_lengths)
    if coefficients.shape != ((count,) if outputs == 1 else (outputs, count)):
        raise ValueError(
            f"b must hold {count} features of each of the model's {outputs} outputs, not have shape "
            f"{coefficients.shape}"
        )
    return Statistics(
        c=float(constant[0]),
        b=coefficients,
        form=form,
        sequences=np.inf,
        dimension=dimension,
        context_lengths=tuple(context_lengths),
        divisor=divisor_name(model, dimension),
        block="full",
        query_token=reads_query_token(model),
        context_weights=unequal_weights(context_weights),
    )


def _dimension_of(features: int, outputs: int) -> int:
    """D of a full block with so many features; ValueError if there is none."""
    dimension = 1
    while feature_count(dimension, "full", outputs) < features:
        dimension += 1
    if feature_count(dimension, "full", outputs) != features:
        raise ValueError(
            f"no dimension D has {features} features with K = {outputs} outputs: S must be (F, F) with "
            "F = D (D+K)(D+K+1)/2"
        )
    return dimension


def _refuse_other_weights(
    context_weights: ArrayLike | None, context_lengths: tuple[int, ...]
) -> None:
    """ValueError unless each context length has a positive weight, or none has any."""
    if context_weights is None:
        return
    weights = finite_array(context_weights, "context_weights")
    if weights.shape != (len(context_lengths),) or np.any(weights <= 0):
        raise ValueError(
            f"context_weights must be {len(context_lengths)} positive numbers, one a context length, not {weights}"
        )


_NOT_SQUARES = "c, and the diagonals of A and Lambda, are means of squares: they must be zero or more"

_ASYMMETRY = 1e-9
"""Relative difference of a symmetric matrix and its transpose that rounding accounts for."""


class BlockMoments(NamedTuple):
    """A = E ββᵀ, B = E y_q β x_qᵀ and Λ = E x_q x_qᵀ."""

    A: FloatArray
    B: FloatArray
    Lambda: FloatArray

    def check(self, outputs: int) -> None:
        """ValueError for shapes of another number of outputs, and for an A or Λ that is no matrix of mean squares."""
        A, B, Λ = self
        D = Λ.shape[0] if Λ.ndim else 0
        size = outputs * D
        B_shape = (D, D) if outputs == 1 else (outputs, outputs, D, D)
        shapes = (A.shape, B.shape, Λ.shape)
        if not D or shapes != ((size, size), B_shape, (D, D)):
            wanted = "A, B and Lambda must be (D, D) each"
            if outputs > 1:
                wanted = (
                    "A must be (KD, KD), B (K, K, D, D) and Lambda (D, D) with the model's "
                    f"K = {outputs} outputs"
                )
            raise ValueError(f"{wanted}, not {A.shape}, {B.shape} and {Λ.shape}")
        for second_moment in (A, Λ):
            if not np.allclose(second_moment, second_moment.T, rtol=_ASYMMETRY):
                raise ValueError("A = E ββᵀ and Lambda = E xxᵀ must be symmetric")
        if np.any(np.diag(A) < 0) or np.any(np.diag(Λ) < 0):
            raise ValueError(_NOT_SQUARES)


def _refuse_size(
    data: Data, block: str, executor: Executor | None, limit: float
) -> None:
    """MemoryError if sums of products of this many features are too large for `limit` bytes or for the machine."""
    outputs = data.outputs
    features = feature_count(data.dimension, block, outputs)
    # The workers of a cluster have memory of their own, and do not say how many they are.
    workers = int(getattr(executor, "_max_workers", 1))
    of_what = f"D = {data.dimension}"
    if data.outputs > 1:
        of_what += f" and K = {getattr(data, 'outputs', 1)}"
    what = f"summing the statistics of {of_what}, {features} features, in {workers} process(es)"
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


def _refuse_softmax(model: object) -> None:
    if is_softmax(model):
        raise ValueError(
            "softmax attention has no finite statistics: pass the data itself to train"
        )


def refuse_mismatch(model: object, stats: Statistics) -> None:
    """ValueError if these statistics say nothing of the model: it is softmax, or of another kind."""
    _refuse_softmax(model)
    refuse_other_outputs(stats.outputs, model, "these statistics have")
    way_out = "make them with statistics(data, model)"
    reads_it = reads_query_token(model)
    if reads_it != stats.query_token:
        made = "with" if stats.query_token else "without"
        of_model = "the model reads it" if reads_it else "the model reads none"
        raise ValueError(
            f"these statistics were made {made} the query's token, {of_model}: {way_out}"
        )
    divisor = divisor_name(model, stats.dimension)
    if divisor != stats.divisor:
        raise ValueError(
            f"these statistics were made with divisor {stats.divisor!r}, the model has {divisor!r}: {way_out}"
        )
