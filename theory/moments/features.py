"""Exact moments of every feature of linear attention: the loss of all weights, for teachers of any mean."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.divisors import attention_divisor
from ...models.protocol import Parametrization, is_softmax
from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.machine import GIB, refuse_too_large
from ...task import Task

_COPIES = (
    6  # arrays of the size of S that are needed at once, measured at D = 16 and D = 20
)


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """L(M) = c − 2 bᵀM + Mᵀ S M of the full effective map M (K,), in units of y²: the model predicts MᵀF.

    The K = D (D+1)(D+2)/2 features are F = G_ij x_q,d with G = X Xᵀ / divisor, for the rows (i, j, d) of `indices`
    (K, 3), from 0: i ≤ j, and index D is y. c = E y_q², b = E[y_q F] (K,), S = E[F Fᵀ] (K, K). With a fixed teacher
    gradient flow moves all of M. Source: Zhang et al. 2025 (arXiv 2501.16265), Section 2.2.
    """

    indices: IndexArray
    c: float
    b: FloatArray
    S: FloatArray

    def loss(self, M: ArrayLike) -> FloatArray:
        """L(M) for M (..., K), shape (...), in units of y²."""
        M = np.asarray(M)
        return np.asarray(self.c + np.sum((M @ self.S - 2 * self.b) * M, axis=-1))

    def gradient(self, M: ArrayLike) -> FloatArray:
        """∂L/∂M for M (..., K)."""
        return np.asarray(2 * (np.asarray(M) @ self.S - self.b))

    def effective_map(self, a: ArrayLike, B: ArrayLike) -> FloatArray:
        """M (K,) of heads a (H, D+1) and B (H, D+1, D): Σ_h a_i B_jd + a_j B_id, or Σ_h a_i B_id where i = j."""
        i, j, d = self.indices.T
        products = np.tensordot(np.asarray(a), np.asarray(B), (0, 0))
        return np.asarray(products[i, j, d] + (i != j) * products[j, i, d])

    def head_gradients(
        self, a: ArrayLike, B: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """∂L/∂a (H, D+1) and ∂L/∂B (H, D+1, D); gradient flow of merged heads is −½ of them per unit of flow time.

        The chain rule of `model.heads` goes on from here to the weights of any other model.
        """
        a, B = np.asarray(a), np.asarray(B)
        i, j, d = self.indices.T
        slope = np.empty((a.shape[1], *B.shape[1:]))
        slope[i, j, d] = slope[j, i, d] = self.gradient(self.effective_map(a, B))
        return np.tensordot(B, slope, ((1, 2), (1, 2))), np.tensordot(a, slope, (1, 0))

    @cached_property
    def minimum(self) -> FloatArray:
        """M (K,) of least loss; the smallest, with features in units of their own size, where S is singular."""
        size = np.sqrt(np.diag(self.S))
        unit = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
        return np.asarray(
            unit
            * np.linalg.lstsq(unit[:, None] * self.S * unit, unit * self.b, rcond=None)[
                0
            ]
        )

    @property
    def minimum_loss(self) -> float:
        """L at the minimum, in units of y²: what no weights of linear attention can better."""
        return float(self.loss(self.minimum))


class _Sequences(NamedTuple):
    """Sequences of one kind: share times E w⊗w⊗w⊗w, and K in the covariance C_ij = Σ_ab K_ijab w_a w_b of a token.

    Here and below w (D+1,) ends in a 1, so that its fourth moments hold the lower ones too.
    """

    powers: FloatArray
    token: FloatArray


class _Means(NamedTuple):
    """Means over teachers: w_a, w_a w_b, and with the covariance C of a token C_ij, C_ij w_a, C_ij C_kl."""

    w: FloatArray
    ww: FloatArray
    C: FloatArray
    Cw: FloatArray
    CC: FloatArray


class _Query(NamedTuple):
    """Moments of the query's own token (x_q, 0): second, fourth, and sixth as in S, (P, D, P, D)."""

    second: FloatArray
    fourth: FloatArray
    sixth: FloatArray


def feature_moments(
    task: Task,
    model: Parametrization,
    *,
    random_labels: bool = False,
    limit_gib: float = 4.0,
) -> FeatureMoments:
    """Exact moments of all features of linear attention on the task; only the model's divisor matters.

    They hold for a mixture with a fixed teacher too, whose loss no restricted map describes: in-weight learning.
    Every label is wᵀx + noise, at any fraction, unless `random_labels` draws the context labels of the fixed
    teacher's sequences from N(0, 1), independently of x, as published in-weight tests do. Over a range of context
    lengths moments are averaged. ValueError for softmax; for random labels without a fixed teacher, or with several
    context lengths (the queries of the shorter ones would have such labels themselves); for moments that overflow.
    MemoryError, before any work, if it needs more than `limit_gib` GiB or than this machine has left.

    >>> from attndyn import Merged, Task
    >>> model = Merged(heads=2)
    >>> mixture = Task([2, 1], context_length=9, fixed_teacher=[1, -1], in_context_fraction=0.5)
    >>> learned = feature_moments(mixture, model).minimum
    >>> in_weight = Task([2, 1], context_length=9, fixed_teacher=[1, -1], in_context_fraction=0)
    >>> test = feature_moments(in_weight, model, random_labels=True)
    >>> test.c.__round__(3), test.loss(learned).round(3)
    (3.0, np.float64(2.588))
    """
    if is_softmax(model):
        raise ValueError(
            "softmax attention has no finite moments, so no population loss here: simulate on tokens"
        )
    if random_labels:
        _refuse_random_labels(task)
    D = task.dimension
    _refuse_size(D, limit_gib)
    if np.min(np.diag(task.covariance)) < np.cbrt(np.finfo(np.float64).tiny):
        raise ValueError(
            "the moments of this task vanish as numbers: rescale Λ, for instance by trace=1"
        )
    i, j = np.triu_indices(D + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        query, means = _query(task.covariance), _means(_sequences(task, random_labels))
        c = float(np.sum(query.second * means.ww)) + task.noise_variance
        tokens, own = (_ratio(task, model, power, 1) for power in (1, 0))
        b = (tokens * (means.Cw @ query.second) + own * (query.fourth @ means.w))[
            i, j, :D
        ]
        S = _second_moments(
            means, query, [_ratio(task, model, power, 2) for power in (2, 1, 0)]
        )
    if not np.all(np.isfinite(S)):
        raise ValueError(
            "the moments of this task overflow: rescale Λ, for instance by trace=1, or Ω"
        )
    indices = np.column_stack(
        [np.repeat(i, D), np.repeat(j, D), np.tile(np.arange(D), len(i))]
    )
    return FeatureMoments(indices, c, b.ravel(), S)


def _refuse_size(dimension: int, limit_gib: float) -> None:
    """MemoryError if S and what it is made of are too large."""
    if not limit_gib > 0:
        raise ValueError(
            f"limit_gib must be a positive number of GiB, not {limit_gib!r}"
        )
    features = dimension * (dimension + 1) * (dimension + 2) // 2
    what = f"S of all {features} features of dimension {dimension}, with what it is made of,"
    way_out = (
        "choose a smaller D, raise limit_gib where there is room, "
        "or use population, the moments of D² features"
    )
    refuse_too_large(what, _COPIES * 8.0 * features**2, way_out, limit_gib * GIB)


def _refuse_random_labels(task: Task) -> None:
    if task.fixed_teacher is None:
        raise ValueError(
            "random_labels are for the sequences of a fixed_teacher, which this task lacks"
        )
    if len(task.context_lengths) > 1:
        raise ValueError(
            f"random_labels need one context length, not {task.context_length}: pass a whole number"
        )


def _ratio(task: Task, model: Parametrization, power: int, divisions: int) -> float:
    """Mean of n^power / divisor^divisions over the context lengths n."""
    ratios = [
        n**power / attention_divisor(model, n, task.dimension) ** divisions
        for n in task.context_lengths
    ]
    return math.fsum(ratios) / len(ratios)


def _pairings(C: FloatArray) -> FloatArray:
    """Σ over the three pairings of four indices of C C: the fourth moments of N(0, C)."""
    pair = np.multiply.outer(C, C)
    return np.asarray(pair + pair.transpose(0, 2, 1, 3) + pair.transpose(0, 2, 3, 1))


def _sequences(task: Task, random_labels: bool) -> list[_Sequences]:
    D, p, w0 = task.dimension, task.in_context_fraction, task.fixed_teacher
    labelled = _token(task)
    random = _fourth_moments(
        np.append(np.zeros(D), 1.0), np.pad(task.teacher_covariance, (0, 1))
    )
    if w0 is None:
        return [_Sequences(random, labelled)]
    fixed = _fourth_moments(np.append(w0, 1.0), np.zeros((D + 1, D + 1)))
    return [
        _Sequences(p * random, labelled),
        _Sequences(
            (1 - p) * fixed, _unrelated_token(task) if random_labels else labelled
        ),
    ]


def _fourth_moments(mean: FloatArray, covariance: FloatArray) -> FloatArray:
    """E w⊗w⊗w⊗w of N(mean, covariance): the pairings of E w⊗w count the mean alone three times instead of once."""
    outer = np.multiply.outer(mean, mean)
    return np.asarray(
        _pairings(covariance + outer) - 2 * np.multiply.outer(outer, outer)
    )


def _token(task: Task) -> FloatArray:
    """K of a token (x, wᵀx + noise), whose covariance has the blocks Λ, Λw and wᵀΛw + σ²."""
    D, Λ = task.dimension, task.covariance
    token = np.zeros((D + 1,) * 4)
    token[:D, :D, D, D] = token[:D, D, :D, D] = token[D, :D, :D, D] = token[
        D, D, :D, :D
    ] = Λ
    token[D, D, D, D] = task.noise_variance
    return token


def _unrelated_token(task: Task) -> FloatArray:
    """K of a token whose y is N(0, 1), independent of x."""
    D = task.dimension
    token = np.zeros((D + 1,) * 4)
    token[:D, :D, D, D], token[D, D, D, D] = task.covariance, 1.0
    return token


def _means(sequences: list[_Sequences]) -> _Means:
    parts = []
    for powers, token in sequences:
        joint = np.tensordot(token, powers, 2)
        both = np.tensordot(joint, token, ((2, 3), (2, 3)))
        parts.append(
            _Means(
                powers[..., -1, -1, -1],
                powers[..., -1, -1],
                joint[..., -1, -1],
                joint[..., -1],
                both,
            )
        )
    return _Means(*(np.sum(part, axis=0) for part in zip(*parts, strict=True)))


def _query(Λ: FloatArray) -> _Query:
    """Isserlis' theorem; the sixth moments E[x_i x_j x_d x_k x_l x_e] pair x_d with each of the others in turn."""
    second = np.pad(Λ, (0, 1))
    fourth = _pairings(second)
    i, j = np.triu_indices(len(second))
    x, rest = second[:, :-1], fourth[i, j]
    sixth = (
        np.einsum("pq,de->pdqe", rest[:, i, j], Λ)
        + np.einsum("pd,pqe->pdqe", x[i], fourth[j][:, i, j, :-1])
        + np.einsum("pd,pqe->pdqe", x[j], fourth[i][:, i, j, :-1])
        + np.einsum("qd,pqe->pdqe", x[i], rest[:, j, :-1])
        + np.einsum("qd,pqe->pdqe", x[j], rest[:, i, :-1])
    )
    return _Query(second, fourth, sixth)


def _second_moments(means: _Means, query: _Query, ratios: list[float]) -> FloatArray:
    """S (K, K), from the means of n², n and 1 over divisor².

    Given w and x_q, X Xᵀ is the square of the query's own token and a sum over n independent tokens, which has the
    mean n C and the covariance n (C_ik C_jl + C_il C_jk).
    """
    i, j = np.triu_indices(len(query.second))
    Λ = query.second[:-1, :-1]
    two_tokens, one_token, own = ratios
    same = (
        means.CC[i[:, None], i, j[:, None], j] + means.CC[i[:, None], j, j[:, None], i]
    )
    S = np.einsum(
        "pq,de->pdqe", two_tokens * means.CC[i, j][:, i, j] + one_token * same, Λ
    )
    beside = one_token * np.einsum(
        "p,qde->pdqe", means.C[i, j], query.fourth[i, j, :-1, :-1]
    )
    S += beside + beside.swapaxes(0, 2) + own * query.sixth
    S = S.reshape(len(i) * len(Λ), -1)
    return np.asarray((S + S.T) / 2)
