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
from .score_moments import ScoreMoments

# Relative difference up to which two eigenvalues are one: what an eigensolver makes of them.
_SAME_EIGENVALUE = 1e-10


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

    def product(self, rule: QueryRule, node: int, moments: ScoreMoments) -> FloatArray:
        """ρ S + (tr ΩΛ − ρ + σ²) C (H, H), times the probability of the node."""
        label_variance = self.label_variance + self.noise_variance
        ρ = rule.along[node]
        across = label_variance * rule.probabilities[node] - ρ
        return np.asarray(ρ * moments.second + across * moments.overlap)


def softmax_task(
    task: Task, matrix: ArrayLike | None, query_token: bool
) -> SoftmaxTask:
    """The task with heads of this matrix A (D, D), None for the identity; ValueError where it has no exact loss."""
    refuse_other_inputs(task, "the exact loss of softmax heads")
    Ω = teacher_second_moments(task.teachers)[0, :, 0, :]
    Λ = task.covariance
    label_variance = float(np.sum(Ω * Λ))
    lengths = zip(task.context_lengths, task.context_weights.tolist(), strict=True)
    return SoftmaxTask(
        queries=_queries(Λ, Ω, _matrix(matrix, task.dimension), query_token),
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


def _matrix(matrix: ArrayLike | None, dimension: int) -> FloatArray:
    """A (D, D)."""
    if matrix is None:
        return np.eye(dimension)
    return finite_array(matrix, "matrix", "(D, D)", D=dimension)


def _queries(Λ: FloatArray, Ω: FloatArray, A: FloatArray, query_token: bool) -> Queries:
    """The law of τ, α, ρ and of the query's own score, in x_q = Λ^½ z."""
    root = symmetric_root(Λ)
    spread = root @ A.T @ Λ @ A @ root  # τ² = zᵀ spread z
    own_score = root @ (A + A.T) / 2 @ root
    signal = root @ Ω @ Λ @ A @ root  # ατ = zᵀ signal z
    along = root @ A.T @ Λ @ Ω @ Λ @ A @ root  # ρτ² = zᵀ along z

    p, directions = np.linalg.eigh(spread)
    is_positive = p > _SAME_EIGENVALUE * p[-1]
    if not np.any(is_positive):
        raise ValueError(
            "matrix must give tokens different scores: here every score is zero"
        )
    rank = int(np.sum(is_positive))
    p, directions = p[is_positive], directions[:, is_positive]
    variance = float(np.mean(p))
    k = float(np.trace(own_score)) / rank
    is_white = np.allclose(p, variance, rtol=_SAME_EIGENVALUE, atol=0)
    if query_token:
        own_score_alike = np.allclose(
            own_score, k / variance * spread, rtol=0, atol=_SAME_EIGENVALUE * abs(k)
        )
        if not (is_white and own_score_alike):
            raise ValueError(
                "with query_token the score of the query's own token must be a multiple of τ² = x_qᵀAᵀΛA x_q, whose "
                "parts must be equal, as for A = 1 on white inputs, or for A the inverse of Λ; this matrix is another: "
                "leave query_token out, or train on sampled prompts instead"
            )
    if is_white:
        # E[zᵀMz | χ²] = χ² tr(M)/rank for an M on these directions alone, as both are.
        signal_share = float(np.trace(signal)) / rank
        return WhiteQueries(
            rank, variance, k, signal_share, float(np.trace(along)) / rank
        )
    return GeneralQueries(
        p,
        np.einsum("di,de,ei->i", directions, signal, directions),
        np.einsum("di,de,ei->i", directions, along, directions),
    )
