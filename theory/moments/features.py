"""Exact moments of every feature of linear attention: the loss of all weights, for teachers of any mean."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.divisors import attention_divisor
from ...models.protocol import (
    Parametrization,
    is_softmax,
    reads_query_token,
    refuse_other_outputs,
)
from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.display import Displayed, Summary, array_summary
from ...runtime.machine import GIB, refuse_too_large
from ...task import Task
from ..call_order import require_task_first
from .laws import (
    gaussian_fourth_moments,
    input_moments,
    input_second_moments,
    pairings,
    teacher_fourth_moments,
    weighted_mean,
)
from .population_loss import refuse_negative_loss

# Arrays of the size of S that are needed at once, measured at D = 16 and D = 20.
_COPIES = 6


@dataclass(frozen=True, eq=False, repr=False)
class FeatureMoments(Displayed):
    """L(M) = c − 2 bᵀM + Mᵀ S M of the full effective map M (K,), in units of y²: the model predicts MᵀF.

    The K = D (D+1)(D+2)/2 features are F = G_ij x_q,d with G = X Xᵀ / divisor, for the rows (i, j, d) of `indices`
    (K, 3), from 0: i ≤ j, and index D is y. c = E y_q², b = E[y_q F] (K,), S = E[F Fᵀ] (K, K). With a fixed teacher
    gradient flow moves all of M. Source: Zhang et al. 2025 (arXiv 2501.16265), Section 2.2.

    Several outputs share S: b and M are (outputs, K) then, a token has more entries y behind x, and the loss is the
    sum over the outputs. There are as many features as pairs i ≤ j of entries of a token, times D.
    """

    indices: IndexArray
    c: float
    b: FloatArray
    S: FloatArray

    def loss(self, M: ArrayLike) -> FloatArray:
        """L(M) for M (..., K), or (..., outputs, K); shape (...), in units of y²."""
        M = np.asarray(M)
        slope = M @ self.S - 2 * self.b  # (..., K)
        axes = tuple(range(-self.b.ndim, 0))
        return np.asarray(self.c + np.sum(slope * M, axis=axes))

    def gradient(self, M: ArrayLike) -> FloatArray:
        """∂L/∂M in the shape of M."""
        return np.asarray(2 * (np.asarray(M) @ self.S - self.b))

    def effective_map(self, a: ArrayLike, B: ArrayLike) -> FloatArray:
        """M (K,) of heads a (H, D+1) and B (H, D+1, D): Σ_h a_i B_jd + a_j B_id, or Σ_h a_i B_id where i = j.

        Of several outputs, a (H, outputs, size) with B (H, size, D), it is (outputs, K).
        """
        i, j, d = self.indices.T
        if self.b.ndim == 2:
            products = np.einsum("hki,hjd->kijd", np.asarray(a), np.asarray(B))
            return np.asarray(products[:, i, j, d] + (i != j) * products[:, j, i, d])
        products = np.tensordot(np.asarray(a), np.asarray(B), (0, 0))
        return np.asarray(products[i, j, d] + (i != j) * products[j, i, d])

    def head_gradients(
        self, a: ArrayLike, B: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """∂L/∂a (H, D+1) and ∂L/∂B (H, D+1, D); gradient flow of merged heads is −½ of them per unit of flow time.

        The chain rule of `model.heads` goes on from here to the weights of any other model.
        """
        if self.b.ndim == 2:
            raise ValueError(
                "head_gradients are for one output: train on population_statistics of several outputs"
            )
        a = np.asarray(a)
        B = np.asarray(B)
        i, j, d = self.indices.T

        # ∂L/∂(a_i B_jd), the same for (i, j) and (j, i), which make one feature.
        dL_dM = self.gradient(self.effective_map(a, B))  # (K,)
        dL_dproduct = np.empty((a.shape[1], *B.shape[1:]))  # (D+1, D+1, D)
        dL_dproduct[i, j, d] = dL_dM
        dL_dproduct[j, i, d] = dL_dM

        dL_da = np.tensordot(B, dL_dproduct, ((1, 2), (1, 2)))
        dL_dB = np.tensordot(a, dL_dproduct, (1, 0))
        return dL_da, dL_dB

    @cached_property
    def minimum(self) -> FloatArray:
        """M (K,) of least loss; the smallest, with features in units of their own size, where S is singular."""
        size = np.sqrt(np.diag(self.S))  # root mean square of each feature, (K,)
        unit = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
        correlations = unit[:, None] * self.S * unit
        solution = np.linalg.lstsq(correlations, (unit * self.b).T, rcond=None)[0]
        return np.asarray(unit * solution.T)

    @property
    def minimum_loss(self) -> float:
        """L at the minimum, in units of y²: what no weights of linear attention can better."""
        M = np.abs(self.minimum)
        # The terms of E|ŷ|² = Σ Mᵀ S M, which cancel those of c and b.
        terms = float(np.sum((M @ np.sqrt(np.diag(self.S))) ** 2))
        rounding = len(self.S) * float(np.finfo(float).eps) * (self.c + terms)
        return refuse_negative_loss(float(self.loss(self.minimum)), rounding)

    def to_dict(self) -> dict[str, Any]:
        """The features' indices and the moments as plain numbers and lists."""
        return {
            "indices": self.indices.tolist(),
            "c": self.c,
            "b": self.b.tolist(),
            "S": self.S.tolist(),
        }

    def summary(self) -> Summary:
        """The number of features and the range of the moments on one screen."""
        rows = {
            "features": self.b.shape[-1],
            "loss at M = 0": f"{self.c:.8g}",
            "b": array_summary(self.b),
            "S": array_summary(self.S),
        }
        formulas = {
            "loss": r"L(M) = c - 2\, b^\top M + M^\top S M",
            "features": r"F_{(ij)d} = (X X^\top)_{ij}\, x_{q,d} / \mathrm{divisor}",
        }
        return Summary("Moments of all features of linear attention", rows, formulas)


class _Sequences(NamedTuple):
    """Sequences of one kind: share times E w⊗w⊗w⊗w, and K in the covariance C_ij = Σ_ab K_ijab w_a w_b of a token.

    Here and below w (D+1,) ends in a 1, so that its fourth moments hold the lower ones too.
    """

    share_w4: FloatArray
    token: FloatArray


class _TeacherMeans(NamedTuple):
    """Means over teachers: w_a, w_a w_b, and with the covariance C of a token C_ij, C_ij w_a, C_ij C_kl."""

    w: FloatArray
    ww: FloatArray
    C: FloatArray
    Cw: FloatArray
    CC: FloatArray


class _QueryMoments(NamedTuple):
    """Moments of the query's own token (x_q, 0): second, fourth, and sixth as in S, (P, D, P, D)."""

    second: FloatArray
    fourth: FloatArray
    sixth: FloatArray


class _TokenCounts(NamedTuple):
    """Means over context lengths n of n², n and 1, each over a power of the divisor: pairs, tokens, the query.

    `one` and `n_with_query` are 0 for a model that does not read the query's own token.
    """

    n_squared: float
    n: float
    one: float
    n_with_query: float


def feature_moments(
    task: Task,
    model: Parametrization,
    *,
    random_labels: bool = False,
    limit_gib: float = 4.0,
) -> FeatureMoments:
    """Exact moments of all features of linear attention on the task.

    Of the model its divisor, its outputs and whether it reads the query's token matter. The moments hold for any law of
    teachers and inputs whose moments up to the fourth and sixth order are known, also for a mixture with a fixed
    teacher and for pools, whose loss no restricted map describes: in-weight learning.
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
    require_task_first("feature_moments(task, model)", task, model)
    if is_softmax(model):
        raise ValueError(
            "softmax attention has no finite moments, so no population loss here: simulate on tokens"
        )
    refuse_other_outputs(task.outputs, model)
    if random_labels:
        _refuse_random_labels(task)
    is_gaussian = task.inputs.is_gaussian and not np.any(task.input_mean)
    needs_tensors = not is_gaussian or task.outputs > 1
    _refuse_size(task.dimension, task.outputs, needs_tensors, limit_gib)
    _refuse_vanishing_moments(input_second_moments(task))
    if needs_tensors:
        if random_labels:
            raise ValueError(
                "random_labels are for Gaussian inputs of mean 0 in the theory: simulate on statistics"
            )
        return _moments_of_any_law(task, model)

    with np.errstate(over="ignore", invalid="ignore"):
        query = _query_moments(task.covariance)
        teachers = _teacher_means(_sequences(task, random_labels))
        c = float(np.sum(query.second * teachers.ww)) + task.query_noise_variance
        b = _first_moments(teachers, query, _token_counts(task, model, divisions=1))
        S = _second_moments(teachers, query, _token_counts(task, model, divisions=2))
    if not np.all(np.isfinite(S)):
        raise ValueError(
            "the moments of this task overflow: rescale Λ, for instance by trace=1, or Ω"
        )
    return FeatureMoments(_indices(task.dimension, 1), c, b, S)


def _refuse_vanishing_moments(Λ: FloatArray) -> None:
    """ValueError where S underflows: it holds third powers of the variances on the diagonal of Λ (D, D)."""
    variances = np.diag(Λ)
    if np.min(variances[variances > 0]) < np.cbrt(np.finfo(np.float64).tiny):
        raise ValueError(
            "the moments of this task vanish as numbers: rescale Λ, for instance by trace=1"
        )


def _indices(dimension: int, outputs: int) -> IndexArray:
    """Rows (i, j, d) of the features (K, 3), i ≤ j, by i, then j, then d."""
    i, j = np.triu_indices(dimension + outputs)
    d = np.arange(dimension)
    return np.column_stack(
        [np.repeat(i, dimension), np.repeat(j, dimension), np.tile(d, len(i))]
    )


def _refuse_size(
    dimension: int, outputs: int, needs_tensors: bool, limit_gib: float
) -> None:
    """MemoryError if S and what it is made of are too large."""
    if not limit_gib > 0:
        raise ValueError(
            f"limit_gib must be a positive number of GiB, not {limit_gib!r}"
        )
    size = dimension + outputs  # of a token
    features = dimension * size * (size + 1) // 2
    what = f"S of all {features} features of dimension {dimension}, with what it is made of,"
    way_out = (
        "choose a smaller D, raise limit_gib where there is room, "
        "or use population, the moments of D² features"
    )
    moments = _COPIES * 8.0 * features**2
    if needs_tensors:
        # Fourth moments of W, and a token's products as functions of x and W.
        entries = (outputs * dimension + 1) ** 2
        moments += 8.0 * (entries**2 + 4 * size**2 * dimension**2 * entries)
    refuse_too_large(what, moments, way_out, limit_gib * GIB)


def _refuse_random_labels(task: Task) -> None:
    if not task.has_normal_teachers or task.fixed_teacher is None:
        raise ValueError(
            "random_labels are for the sequences of a fixed_teacher, which this task lacks"
        )
    if len(task.context_lengths) > 1:
        raise ValueError(
            f"random_labels need one context length, not {task.context_length}: pass a whole number"
        )


def _token_counts(task: Task, model: Parametrization, divisions: int) -> _TokenCounts:
    """Weighted means of n², n and 1 over the divisor to the power `divisions`; 0 for 1 without the query's token."""
    own_token = 1 if reads_query_token(model) else 0
    squares = []
    firsts = []
    ones = []
    for n in task.context_lengths:
        divisor = attention_divisor(model, n, task.dimension) ** divisions
        squares.append(n**2 / divisor)
        firsts.append(n / divisor)
        ones.append(own_token / divisor)
    weights = task.context_weights
    return _TokenCounts(
        weighted_mean(squares, weights),
        weighted_mean(firsts, weights),
        weighted_mean(ones, weights),
        # The query's own token beside those of the context.
        weighted_mean(firsts, weights) if own_token else 0.0,
    )


def _sequences(task: Task, random_labels: bool) -> list[_Sequences]:
    """Sequences with a teacher of the law, or with a random and a fixed one apart."""
    if not task.has_normal_teachers:
        fourth = teacher_fourth_moments(task.teachers)
        return [_Sequences(fourth, _labelled_token(task))]
    D = task.dimension
    Ω = np.pad(task.teacher_covariance, (0, 1))  # the last entry of w does not vary
    random_w4 = gaussian_fourth_moments(np.append(np.zeros(D), 1.0), Ω)
    if task.fixed_teacher is None:
        return [_Sequences(random_w4, _labelled_token(task))]

    p = task.in_context_fraction
    w0 = np.append(task.fixed_teacher, 1.0)
    fixed_w4 = gaussian_fourth_moments(w0, np.zeros((D + 1, D + 1)))
    token = _unrelated_token(task) if random_labels else _labelled_token(task)
    return [
        _Sequences(p * random_w4, _labelled_token(task)),
        _Sequences((1 - p) * fixed_w4, token),
    ]


def _labelled_token(task: Task) -> FloatArray:
    """K of a token (x, wᵀx + noise), whose covariance has the blocks Λ, Λw and wᵀΛw + σ²."""
    D = task.dimension
    Λ = task.covariance
    token = np.zeros((D + 1,) * 4)  # axes i, j, a, b of K_ijab w_a w_b
    token[:D, :D, D, D] = Λ
    token[:D, D, :D, D] = Λ
    token[D, :D, :D, D] = Λ
    token[D, D, :D, :D] = Λ
    token[D, D, D, D] = task.noise_variance
    return token


def _unrelated_token(task: Task) -> FloatArray:
    """K of a token whose y is N(0, 1), independent of x."""
    D = task.dimension
    token = np.zeros((D + 1,) * 4)
    token[:D, :D, D, D] = task.covariance
    token[D, D, D, D] = 1.0
    return token


def _teacher_means(sequences: list[_Sequences]) -> _TeacherMeans:
    """Sums over the kinds of sequences, whose moments hold their shares."""
    kinds = []
    for w4, token in sequences:
        Cww = np.tensordot(token, w4, 2)  # C_ij w_a w_b
        means = _TeacherMeans(
            w=w4[..., -1, -1, -1],
            ww=w4[..., -1, -1],
            C=Cww[..., -1, -1],
            Cw=Cww[..., -1],
            CC=np.tensordot(Cww, token, ((2, 3), (2, 3))),
        )
        kinds.append(means)
    sums = [np.sum(terms, axis=0) for terms in zip(*kinds, strict=True)]
    return _TeacherMeans(*sums)


# Long because five pairings of six coordinates, each an einsum with its indices, are one formula.
def _query_moments(Λ: FloatArray) -> _QueryMoments:
    """Isserlis' theorem; the sixth moments E[x_i x_j x_d x_k x_l x_e] pair x_d with each of the others in turn."""
    second = np.pad(Λ, (0, 1))
    fourth = pairings(second)
    i, j = np.triu_indices(len(second))  # p stands for (i, j), q for (k, l) below

    second_x = second[:, :-1]  # E z_i x_d
    fourth_ij = fourth[i, j]  # E z_i z_j z_k z_l, (P, D+1, D+1)
    fourth_i = fourth[i][:, i, j, :-1]  # E z_i z_k z_l x_e, (P, P, D)
    fourth_j = fourth[j][:, i, j, :-1]
    sixth = np.einsum("pq,de->pdqe", fourth_ij[:, i, j], Λ)  # x_d with x_e
    sixth += np.einsum("pd,pqe->pdqe", second_x[i], fourth_j)  # x_d with z_i
    sixth += np.einsum("pd,pqe->pdqe", second_x[j], fourth_i)  # x_d with z_j
    # x_d with z_k, then with z_l
    sixth += np.einsum("qd,pqe->pdqe", second_x[i], fourth_ij[:, j, :-1])
    sixth += np.einsum("qd,pqe->pdqe", second_x[j], fourth_ij[:, i, :-1])
    return _QueryMoments(second, fourth, sixth)


def _first_moments(
    teachers: _TeacherMeans, query: _QueryMoments, counts: _TokenCounts
) -> FloatArray:
    """b (K,), E[wᵀx_q (X Xᵀ)_ij x_qd]: n context tokens of covariance C beside the query's own."""
    context = counts.n * (teachers.Cw @ query.second)  # (D+1, D+1, D+1)
    own = counts.one * (query.fourth @ teachers.w)
    pairs = np.triu_indices(len(query.second))
    return np.asarray((context + own)[pairs][:, :-1].ravel())


# Long because its three terms are one formula, which stands in the docstring.
def _second_moments(
    teachers: _TeacherMeans, query: _QueryMoments, counts: _TokenCounts
) -> FloatArray:
    """S (K, K), from the means of n², n and 1 over divisor².

    Features are F_(ij)d = (X Xᵀ)_ij x_qd, one for each pair i ≤ j. Split X Xᵀ = T + z zᵀ: T sums over the context's
    n tokens, z is the query's own. Given the teacher, T is independent of z and, by Isserlis' theorem,

        E[T_ij T_kl] = n² C_ij C_kl + n (C_ik C_jl + C_il C_jk)
    """
    pairs = np.triu_indices(len(query.second))  # p stands for (i, j), q for (k, l)
    i, j = pairs
    Λ = query.second[:-1, :-1]

    # Context alone: E[T_ij T_kl] Λ_de.
    C_ij_C_kl = teachers.CC[pairs][:, i, j]  # (P, P)
    C_ik_C_jl = teachers.CC[i[:, None], i, j[:, None], j]
    C_il_C_jk = teachers.CC[i[:, None], j, j[:, None], i]
    T_ij_T_kl = counts.n_squared * C_ij_C_kl + counts.n * (C_ik_C_jl + C_il_C_jk)
    S = np.einsum("pq,de->pdqe", T_ij_T_kl, Λ)

    # Context times query: E[T_ij] E[z_k z_l x_d x_e], and the same with the pairs exchanged.
    fourth = query.fourth[pairs][:, :-1, :-1]  # (P, D, D)
    T_ij_zz_kl = counts.n_with_query * np.einsum(
        "p,qde->pdqe", teachers.C[pairs], fourth
    )
    S += T_ij_zz_kl + T_ij_zz_kl.swapaxes(0, 2)

    # The query's token alone: its sixth moments.
    S += counts.one * query.sixth

    features = len(i) * len(Λ)
    S = S.reshape(features, features)
    return np.asarray((S + S.T) / 2)


# -- Any law of inputs, several outputs ---------------------------------------------------------------------------


def _refuse_overflow(S: FloatArray) -> None:
    """ValueError where moments leave the range of floating point."""
    if not np.all(np.isfinite(S)):
        raise ValueError(
            "the moments of this task overflow: rescale Λ, for instance by trace=1, or the teachers"
        )


def _moments_of_any_law(task: Task, model: Parametrization) -> FeatureMoments:
    """The moments from dense tensors of x to the sixth order and of W to the fourth.

    With ω = (W, 1) in one row, a token is t = Γ x + noise, and Γ is linear in ω. Given W the n tokens of the context
    are independent, so that

        E[T_ij T_kl] = n (n − 1) E[C_ij C_kl] + n E[t_i t_j t_k t_l],   C_ij = E[t_i t_j | W].
    """
    D, K = task.dimension, task.outputs
    with np.errstate(over="ignore", invalid="ignore"):
        teachers, token_fourth = _token_moments(task)
        query = _padded_query_moments(task)
        of_b = _token_counts(task, model, divisions=1)
        b = _first_moments_of_outputs(teachers, query, of_b, K)
        of_S = _token_counts(task, model, divisions=2)
        S = _second_moments_of_tokens(teachers, token_fourth, query, of_S)
    _refuse_overflow(S)
    of_W = teachers.ww[:-1, :-1].reshape(K, D, K, D)
    signal = float(np.einsum("kakb,ab->", of_W, query.second[:D, :D]))
    c = signal + K * task.query_noise_variance
    return FeatureMoments(_indices(D, K), c, b[0] if K == 1 else b, S)


def _token_moments(task: Task) -> tuple[_TeacherMeans, FloatArray]:
    """Means over teachers, and E t_i t_j t_k t_l of a token of the context (D+K)⁴."""
    D, K = task.dimension, task.outputs
    w4 = teacher_fourth_moments(task.teachers)  # (KD+1)⁴
    products = _token_products(D, K)
    token = np.einsum(
        "ijabpq,ab->ijpq", products, input_second_moments(task), optimize=True
    )
    clean = np.einsum("ijpq,pq->ij", token, w4[..., -1, -1])
    noise = np.diag(np.append(np.zeros(D), np.full(K, task.noise_variance)))
    token[..., -1, -1] += noise
    token_fourth = _token_fourth_moments(products, input_moments(task, 4), w4)
    token_fourth += _noise_terms(noise, clean)
    return _teacher_means([_Sequences(w4, token)]), token_fourth


def _token_products(D: int, K: int) -> FloatArray:
    """Tensor of Γ_ia Γ_jb = Σ_pq products_ijabpq ω_p ω_q, (D+K, D+K, D, D, KD+1, KD+1)."""
    last = K * D  # the 1 of ω
    Γ = np.zeros((D + K, D, last + 1))
    a = np.arange(D)
    Γ[a, a, last] = 1.0
    for k in range(K):
        Γ[D + k, a, k * D + a] = 1.0
    return np.asarray(np.einsum("iap,jbq->ijabpq", Γ, Γ))


def _token_fourth_moments(
    products: FloatArray, fourth: FloatArray, w4: FloatArray
) -> FloatArray:
    """E t_i t_j t_k t_l without noise, (D+K)⁴."""
    size, _, D, _, m, _ = products.shape
    P = products.reshape(size**2, D**2, m**2)
    of_x = fourth.reshape(D**2, D**2)
    of_W = w4.reshape(m**2, m**2)
    # One pair of factors is contracted with x, then with W, then with the other pair.
    contracted = np.matmul(of_x, P) @ of_W  # (size², D², m²)
    flat = P.reshape(size**2, -1)
    moments = contracted.reshape(size**2, -1) @ flat.T
    return np.asarray(moments.reshape((size,) * 4))


def _noise_terms(noise: FloatArray, clean: FloatArray) -> FloatArray:
    """What noise of covariance `noise` adds to E t_i t_j t_k t_l, where E t_i t_j without it is `clean`."""
    with_noise = pairings(noise + clean)
    return np.asarray(with_noise - pairings(clean))


def _padded_query_moments(task: Task) -> _QueryMoments:
    """Moments of the query's token (x_q, 0) about the origin, with the sixth as in S."""
    D, K = task.dimension, task.outputs
    second = input_second_moments(task)
    fourth = input_moments(task, 4)
    sixth = np.pad(input_moments(task, 6), [(0, K), (0, K), (0, 0)] * 2)
    i, j = np.triu_indices(D + K)
    by_pair = sixth[i, j]  # (P, D, D+K, D+K, D)
    by_pairs = by_pair[:, :, i, j]  # (P, D, P, D)
    return _QueryMoments(np.pad(second, (0, K)), np.pad(fourth, (0, K)), by_pairs)


def _first_moments_of_outputs(
    teachers: _TeacherMeans, query: _QueryMoments, counts: _TokenCounts, outputs: int
) -> FloatArray:
    """b (K, F), E[y_k (X Xᵀ)_ij x_qd] with y_k = Σ_a W_ka x_qa."""
    size = len(query.second)
    D = size - outputs
    pairs = np.triu_indices(size)
    Cw = teachers.Cw[..., :-1].reshape(size, size, outputs, D)
    context = np.einsum("ijka,ad->kijd", Cw, query.second[:D, :D])
    W = teachers.w[:-1].reshape(outputs, D)
    own = np.einsum("ka,aijd->kijd", W, query.fourth[:D, :, :, :D])
    b = counts.n * context + counts.one * own
    return np.asarray(b[:, pairs[0], pairs[1]].reshape(outputs, -1))


# Long because the formula has three terms.
def _second_moments_of_tokens(
    teachers: _TeacherMeans,
    token_fourth: FloatArray,
    query: _QueryMoments,
    counts: _TokenCounts,
) -> FloatArray:
    """S (F, F) as `_second_moments`, from the fourth moments of a token of any law."""
    size = len(query.second)
    D = query.sixth.shape[1]
    i, j = np.triu_indices(size)
    x = slice(0, D)
    TT = counts.n_squared * teachers.CC + counts.n * (token_fourth - teachers.CC)
    S = np.einsum("pq,de->pdqe", TT[i, j][:, i, j], query.second[x, x])

    fourth = query.fourth[i, j][:, x, x]  # (P, D, D)
    T_ij_zz_kl = counts.n_with_query * np.einsum(
        "p,qde->pdqe", teachers.C[i, j], fourth
    )
    S += T_ij_zz_kl + T_ij_zz_kl.swapaxes(0, 2)
    S += counts.one * query.sixth

    features = len(i) * D
    S = S.reshape(features, features)
    return np.asarray((S + S.T) / 2)
