"""What the exact loss of softmax heads needs to know of a task, and the tasks for which it is known."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array
from ...runtime.covariances import symmetric_root
from ...task import Task
from ..moments.laws import teacher_second_moments
from .query_rules import GeneralQueries, QueryRule, WhiteQueries
from .softmax_moments import ScoreMoments

# With μ up to 1e100 in a loss of 1e290, which is a number with room for what multiplies it.
_LARGEST_VARIANCE = 1e90
_LARGEST_UNIT = 1e290
# Relative difference up to which two eigenvalues are one: what an eigensolver makes of them.
_SAME_EIGENVALUE = 1e-10
# Scores of tokens and matrices in units of their largest entries that rounding makes of zero.
_SMALLEST_SCORE = 1e-14
# Singular values of scores that are zero, relative to the largest: rounding makes 1e-16 of those of projectors, and a
# direction this weak has its part in the loss by its own signal, which is as weak.
_NO_SCORE = 1e-12


class Queries(Protocol):
    """A law of the query that quadratures with any number of nodes are made for."""

    def rule(self, nodes: int) -> QueryRule:
        """The quadrature."""


class SoftmaxTask(NamedTuple):
    """A task as softmax heads with one matrix A see it.

    `lengths` are pairs of a context length N ≥ 1 and its weight; `zero_loss` is the loss of the zero predictor,
    `label_variance` tr ΩΛ and `noise_variance` σ² that of the labels in context.
    """

    queries: Queries
    lengths: tuple[tuple[int, float], ...]
    zero_loss: float
    label_variance: float
    noise_variance: float
    query_token: bool

    def query_scores(
        self, rule: QueryRule, node: int, ω: FloatArray
    ) -> FloatArray | None:
        """The scores (H,) of the query's own token; None where it is not among the keys."""
        if not self.query_token:
            return None
        return np.asarray(ω * rule.query_scores[node])

    @property
    def context_label_variance(self) -> float:
        """The variance of y in the context, with its noise."""
        return self.label_variance + self.noise_variance

    def product(self, rule: QueryRule, node: int, moments: ScoreMoments) -> FloatArray:
        """ρ S + (tr ΩΛ − ρ + σ²) C (H, H), times the probability of the node."""
        ρ = rule.along[node]
        across = self.context_label_variance * rule.probabilities[node] - ρ
        return np.asarray(ρ * moments.second + across * moments.overlap)


def softmax_task(
    task: Task, matrix: ArrayLike | None, query_token: bool
) -> SoftmaxTask:
    """The task with heads of this matrix A (D, D), None for the identity; ValueError where it has no exact loss."""
    refuse_other_inputs(task, "the exact loss of softmax heads")
    Ω = teacher_second_moments(task.teachers)[0, :, 0, :]
    Λ = task.covariance
    label_variance = _label_variance(Λ, Ω)
    lengths = zip(task.context_lengths, task.context_weights.tolist(), strict=True)
    return SoftmaxTask(
        queries=_queries(Λ, Ω, matrix, query_token),
        # Without a context the prediction is 0.
        lengths=tuple((N, weight) for N, weight in lengths if N > 0),
        zero_loss=label_variance + task.query_noise_variance,
        label_variance=label_variance,
        noise_variance=task.noise_variance,
        query_token=query_token,
    )


def refuse_other_inputs(task: Task, what: str) -> None:
    """ValueError unless x is Gaussian with mean zero and y is one number."""
    if task.outputs != 1:
        raise ValueError(
            f"{what} is known for one label, not for the {task.outputs} outputs of this task: "
            "ask for each output by a task of its own"
        )
    if task.inputs.name != "gaussian":
        raise ValueError(
            f"{what} is known for Gaussian x, not for the inputs {task.inputs.name or 'of a law of your own'!r}: "
            "their scores are not Gaussian; train on sampled prompts instead"
        )
    if np.any(task.input_mean != 0):
        raise ValueError(
            f"{what} is known for x of mean zero, not for input_mean = {task.input_mean.tolist()}: "
            "train on sampled prompts instead"
        )


def _label_variance(Λ: FloatArray, Ω: FloatArray) -> float:
    """tr ΩΛ; ValueError where squares of labels are no numbers."""
    with np.errstate(over="ignore"):
        label_variance = float(np.sum(Ω * Λ))
    if not label_variance < _LARGEST_VARIANCE:
        raise ValueError(
            f"covariance and teachers give labels of variance {label_variance:.3g}: measure them in other units, so "
            f"that it is below {_LARGEST_VARIANCE:g}"
        )
    return label_variance


class _ScaledQueries(NamedTuple):
    """Queries whose scores are so many times those of others."""

    queries: Queries
    unit: float

    def rule(self, nodes: int) -> QueryRule:
        """The quadrature."""
        rule = self.queries.rule(nodes)
        return rule._replace(
            deviations=self.unit * rule.deviations,
            query_scores=self.unit * rule.query_scores,
        )


def _queries(
    Λ: FloatArray, Ω: FloatArray, matrix: ArrayLike | None, query_token: bool
) -> Queries:
    """The law of τ, α, ρ and of the query's own score.

    With x in units of √s and A in units of a, scores have the unit s·a, and α and ρ stay as they are with the
    teachers' Ω in units of 1/s: products of three Λ then are numbers whatever the units are.
    """
    D = len(Λ)
    s = float(np.max(np.abs(Λ)))
    if matrix is None:
        if np.array_equal(Λ, s * np.eye(D)):
            # What the lines below come to, without products of matrices.
            label_variance = s * float(np.trace(Ω)) / D
            return _ScaledQueries(
                WhiteQueries(D, 1.0, 1.0, label_variance, label_variance), s
            )
        return _ScaledQueries(_law(_forms(Λ / s, s * Ω, np.eye(D)), query_token), s)
    A = finite_array(matrix, "matrix", "(D, D)", D=D)
    a = float(np.max(np.abs(A)))
    if a == 0:
        raise ValueError(_NO_SCORES)
    if not s * a < _LARGEST_UNIT:
        raise ValueError(
            f"matrix holds {a:.3g} and the covariance {s:.3g}, which gives scores beyond {_LARGEST_UNIT:g}: "
            "divide the matrix by a number and multiply omega by it"
        )
    return _ScaledQueries(_law(_forms(Λ / s, s * Ω, A / a), query_token), s * a)


_NO_SCORES = "matrix must give tokens different scores: here every score is zero"


class _Forms(NamedTuple):
    """Matrices (D, D) with which scores and signals are forms in x_q = Λ^½ z.

    τ² = |score z|², ατ = zᵀ signal z, ρτ² = zᵀ along z, and the query's own score is zᵀ own_score z.
    """

    score: FloatArray
    own_score: FloatArray
    signal: FloatArray
    along: FloatArray


def _forms(Λ: FloatArray, Ω: FloatArray, A: FloatArray) -> _Forms:
    """The forms of a task with heads of the matrix A."""
    root = symmetric_root(Λ)
    part_along = Λ @ A @ root  # ΛA x_q
    return _Forms(
        score=root @ A @ root,
        own_score=root @ (A + A.T) / 2 @ root,
        signal=root @ Ω @ part_along,
        along=part_along.T @ Ω @ part_along,
    )


def _law(forms: _Forms, query_token: bool) -> Queries:
    """The law of τ, α, ρ and of the query's own score."""
    # Singular values, since their squares p would lose the directions of small ones.
    _, spreads, directions = np.linalg.svd(forms.score)
    is_positive = spreads > _NO_SCORE * spreads[0]
    if spreads[0] <= _SMALLEST_SCORE:
        raise ValueError(_NO_SCORES)
    rank = int(np.sum(is_positive))
    p = spreads[is_positive] ** 2
    variance = float(np.mean(p))
    is_white = np.allclose(p, variance, rtol=_SAME_EIGENVALUE, atol=0)
    k = float(np.trace(forms.own_score)) / rank
    if query_token:
        τ_squared = forms.score.T @ forms.score
        own_score_alike = np.allclose(
            forms.own_score,
            k / variance * τ_squared,
            rtol=0,
            atol=_SAME_EIGENVALUE * abs(k),
        )
        if not (is_white and own_score_alike):
            raise ValueError(
                "with query_token the score of the query's own token must be a multiple of τ² = x_qᵀAᵀΛA x_q, whose "
                "parts must be equal, as for A = 1 on white inputs, or for A the inverse of Λ; this matrix is another: "
                "leave query_token out, or train on sampled prompts instead"
            )
    if is_white:
        # E[zᵀMz | χ²] = χ² tr(M)/rank for an M on these directions alone, as both are.
        signal = float(np.trace(forms.signal)) / rank
        along = float(np.trace(forms.along)) / rank
        return WhiteQueries(rank, variance, k, signal, along)
    basis = directions[is_positive].T  # (D, rank)
    return GeneralQueries(
        p,
        np.sum(basis * (forms.signal @ basis), axis=0),
        np.sum(basis * (forms.along @ basis), axis=0),
    )
