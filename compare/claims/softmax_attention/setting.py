"""What the claims of this wing share: tasks, heads of the symmetric family, runs on tokens, and how they are judged.

Heads of the symmetric family are B_h = (ω_h 1; 0), a_h = (0, μ_h), after He et al. 2025 (arXiv 2503.12734). Scores
are not divided here, so that ω is in units of the score.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations, product

import numpy as np
from numpy.typing import ArrayLike

from ....models.attention import Merged
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import RecordedPrompts, objective, prompts_from_tokens, sample
from ....task import Task
from ....theory.softmax_attention import ReducedFlow, reduced_flow

EXACT_LOSSES = ("softmax.exact_loss", "softmax.exact_loss_query_token")
"""The claims that hold the exact loss and its gradient against tokens: what is measured on that loss assumes these."""

NOISE = 0.1
"""σ² of the runs of He et al."""

CONVENTIONS = (False, True)
"""Whether the query's own token is among the keys: not in He et al. and Chen et al., but in Zhang et al."""


def white_task(dimension: int, context_length: int, noise: float = NOISE) -> Task:
    """White inputs x ~ N(0, 1) and teachers w ~ N(0, 1/D): labels of variance 1, noise in every label."""
    return Task(
        eigenvalues=[1] * dimension,
        teacher_covariance=np.eye(dimension) / dimension,
        noise_variance=noise,
        context_length=context_length,
    )


PUBLISHED = white_task(5, 40)
"""The task of the runs of He et al."""

OTHER_UNITS = Task(
    [2.0] * 3,
    teacher_covariance=np.diag([0.5, 0.2, 0.4]),
    noise_variance=0.3,
    query_noise_variance=0.2,
    context_length={0: 1.0, 20: 3.0},
)
"""Inputs of variance 2, labels of variance 2.2, noise of the query of its own, and a quarter of the contexts empty."""


def noise_share(task: Task) -> float:
    """κ = (1 + σ²)/N."""
    return (1 + task.noise_variance) / max(task.context_lengths)


def softmax_model(heads: int, query_token: bool = False) -> Merged:
    """Heads that are trained as they are, B and a, with scores that are not divided."""
    return Merged(heads, softmax=True, query_token=query_token)


def family_weights(omega: ArrayLike, mu: ArrayLike, dimension: int) -> Weights:
    """The weights of merged heads B_h = (ω_h 1; 0), a_h = (0, μ_h), for ω, μ (H,)."""
    ω, μ = np.asarray(omega, dtype=float), np.asarray(mu, dtype=float)
    value = np.zeros((len(μ), dimension + 1))
    key_query = np.zeros((len(ω), dimension + 1, dimension + 1))
    value[:, -1] = μ
    key_query[:, :dimension, :dimension] = ω[:, None, None] * np.eye(dimension)
    return {"value": value, "key_query": key_query}


def mean_diagonals(key_query: FloatArray) -> FloatArray:
    """Mean diagonal entries (…, H) of the blocks of B (…, H, D+1, D+1) that join x to x_q."""
    block = key_query[..., :-1, :-1]  # (…, H, D, D)
    return np.asarray(np.einsum("...hii->...h", block) / block.shape[-1])


def sampled_losses(
    task: Task,
    heads: tuple[FloatArray, FloatArray],
    prompts: int,
    seeds: Sequence[int],
    query_token: bool,
) -> FloatArray:
    """Loss, ∂L/∂ω and ∂L/∂μ (seeds, 1+2H) of heads (ω, μ), each over so many prompts of a seed, token by token."""
    ω, μ = heads
    D = task.dimension
    model = softmax_model(len(ω), query_token)
    weights = family_weights(ω, μ, D)
    rows = []
    for seed in seeds:
        loss, gradients = objective(model, sample(task, prompts, seed))(weights)
        # ω_h stands in D entries of B_h.
        by_ω = D * mean_diagonals(gradients["key_query"])
        rows.append(np.concatenate([[loss], by_ω, gradients["value"][:, -1]]))
    return np.array(rows)


def exact_flow(
    task: Task,
    start: tuple[FloatArray, FloatArray],
    flow_time: ArrayLike,
    *,
    query_token: bool = False,
    metric: str | float = "matrix",
) -> ReducedFlow:
    """Gradient flow on the exact loss from (ω, μ), as on unlimited data: who uses it assumes EXACT_LOSSES."""
    return reduced_flow(
        task, *start, flow_time, loss="exact", query_token=query_token, metric=metric
    )


def closed_orbit(tokens: FloatArray) -> RecordedPrompts:
    """Prompts (P, N+1, D+1) together with all their images under the symmetries of the task, 2^D·D! times as many.

    These are the permutations of the coordinates of x and their sign changes. An average over them has the symmetries
    of the population exactly, whatever the prompts are. The sign of all labels need not be among them: together with
    the sign of x it changes nothing but the sign of the teacher.
    """
    images = [
        np.concatenate([tokens[..., :-1] @ rotation, tokens[..., -1:]], axis=-1)
        for rotation in _signed_permutations(tokens.shape[-1] - 1)
    ]
    return prompts_from_tokens(np.concatenate(images))


def _signed_permutations(dimension: int) -> Iterator[FloatArray]:
    """All 2^D·D! matrices (D, D) with one entry ±1 in each row and column."""
    identity = np.eye(dimension)
    for order in permutations(range(dimension)):
        for signs in product((1.0, -1.0), repeat=dimension):
            yield identity[list(order)] * np.array(signs)
