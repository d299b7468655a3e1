"""Two numbers for each head, read from weights: the loss that they tell, and how far heads are from having them."""

import math

import numpy as np

from ....models.attention import Merged
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import objective, sample
from ....task import Task
from ....theory.softmax_attention import (
    common_matrix,
    exact_loss,
    family_distance,
    head_scalars,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import equal_within
from ...evidence.seed_judges import within_standard_errors

TASK = Task(
    covariance=[[1.2, 0.5], [0.5, 0.6]],
    teacher_covariance=np.diag([0.4, 0.9]),
    noise_variance=0.3,
    context_length=5,
)
MODEL = Merged(2, softmax=True, query_token=False, score_divisor=2, divisor=3)
"""Scores are divided by 2, and the output by 3."""
MATRIX = np.array([[2.0, 0.8], [-0.6, -0.2]])
KEY_QUERY = np.multiply.outer([1.0, -0.6], np.pad(MATRIX, ((0, 1), (0, 1))))
VALUE = np.array([[0.0, 0.0, 2.4], [0.0, 0.0, -3.3]])
FAMILY = {"key_query": KEY_QUERY, "value": VALUE}
"""Heads (ω_h A; 0) and (0, μ_h)."""

SAMPLES, PROMPTS = 20, 1_000
NODES = 10
"""Of the quadrature over the query: off by 1e-3 of a standard error."""

OFF_SCORES = {
    "key_query": KEY_QUERY
    + np.array(
        [
            [[0.05, -0.1, 0.0], [0.2, 0.1, 0.0], [0.1, -0.05, 0.0]],
            [[-0.1, 0.0, 0.0], [0.1, 0.2, 0.0], [0.0, 0.2, 0.0]],
        ]
    ),
    "value": VALUE,
}
OFF_VALUES = {
    "key_query": KEY_QUERY,
    "value": VALUE + np.array([[0.3, -0.2, 0.0], [0.1, 0.4, 0.0]]),
}
NEARLY_SYMMETRIC = {
    "key_query": np.multiply.outer([1.0, -0.6], np.diag([1.0, 1.0, 0.0]))
    + np.array(
        [
            [[0.02, -0.1, 0.0], [0.1, 0.05, 0.0], [0.1, -0.05, 0.0]],
            [[-0.1, 0.0, 0.0], [0.0, 0.02, 0.0], [0.0, 0.1, 0.0]],
        ]
    ),
    "value": VALUE + np.array([[0.6, -0.9, 0.0], [0.8, 0.4, 0.0]]),
}
"""Near multiples of 1, with values further off than scores."""
OFF_FAMILY = (OFF_SCORES, OFF_VALUES, NEARLY_SYMMETRIC)
"""Heads that are a little off: no multiples of one matrix, and values that read x."""

NOT_DIVIDED = "scores as if they were not divided"
IDENTITY = "1 for A"
PLAIN_MEAN = "the mean of B_h/ω_h, whatever the size of the values"
SQUARED = "the square of the distance"
OF_COMMON_MATRIX = "the distance from multiples of A for that from multiples of 1"


def _losses_on_tokens(context: RunContext) -> list[FloatArray]:
    """The loss (samples, 1) of heads of the family, token by token."""
    seeds = context.seeds(SAMPLES)
    losses = [
        objective(MODEL, sample(TASK, PROMPTS, seed))(FAMILY)[0] for seed in seeds
    ]
    return [np.array(losses)[:, None]]


def _losses_read_out(context: RunContext, control: str) -> list[FloatArray]:
    """The exact loss (1,) of the ω, μ and A that are read from the weights."""
    ω, μ = head_scalars(MODEL, FAMILY)
    A = common_matrix(MODEL, FAMILY)
    if control == NOT_DIVIDED:
        ω = 2 * ω
    if control == IDENTITY:
        A = np.eye(2)
    return [np.array([float(exact_loss(TASK, ω, μ, matrix=A, nodes=NODES))])]


def _defined(context: RunContext) -> list[FloatArray]:
    """ω, μ, A and both distances (10,) of heads off the family, and of a run that stored them, by definition."""
    numbers = [_numbers_by_definition(weights) for weights in OFF_FAMILY]
    return [*numbers, _together(numbers)]


def _together(numbers: list[FloatArray]) -> FloatArray:
    """ω, μ, A and the second distance of several weights (9n,), in the order in which they are read from a run."""
    table = np.stack(numbers)
    columns = (table[:, :2], table[:, 2:4], table[:, 4:8], table[:, 9])
    return np.concatenate(columns, axis=None)


def _numbers_by_definition(weights: Weights) -> FloatArray:
    """ω and μ as they stand in the weights, A by least squares, and the share of both sums that lies outside."""
    a = weights["value"] / 3  # (H, D+1)
    B = weights["key_query"][..., :-1] / 2  # (H, D+1, D)
    ω = np.array([np.trace(each[:-1]) / 2 for each in B])
    size = np.linalg.norm(a, axis=1)
    # |a_h| ω_h A = |a_h| B_h for every entry of A.
    rows = (size[:, None, None] * B[:, :-1]).reshape(2, -1)
    A = np.linalg.lstsq((size * ω)[:, None], rows)[0].reshape(2, 2)

    of_values = float(np.linalg.norm(a[:, :-1]) / np.linalg.norm(a))
    of_scores = [
        _share_outside(B, size, np.multiply.outer(ω, C)) for C in (A, np.eye(2))
    ]
    distances = [max(math.sqrt(share), of_values) for share in of_scores]
    return np.concatenate([ω, a[:, -1], A.ravel(), distances])


def _share_outside(B: FloatArray, size: FloatArray, family: FloatArray) -> float:
    """The share of Σ |a_h|² |B_h|² of heads B (H, D+1, D) outside of blocks (H, D, D), with sizes |a_h| (H,)."""
    missed, whole = 0.0, 0.0
    for h, weight in enumerate(size**2):
        missed += weight * np.linalg.norm(B[h, :-1] - family[h]) ** 2
        missed += weight * np.linalg.norm(B[h, -1]) ** 2
        whole += weight * np.linalg.norm(B[h]) ** 2
    return float(missed / whole)


def _read(context: RunContext, control: str) -> list[FloatArray]:
    """What the theory reads, the least tolerance with which it does, and the distance from the symmetric family."""
    numbers = []
    for weights in OFF_FAMILY:
        ω, μ = head_scalars(MODEL, weights, tolerance=math.inf)
        A = common_matrix(MODEL, weights, tolerance=math.inf)
        if control == PLAIN_MEAN:
            B = weights["key_query"][:, :-1, :-1] / 2
            A = np.mean(B / ω[:, None, None], axis=0)
        if control == NOT_DIVIDED:
            ω = 2 * ω
        distance = _least_tolerance(weights)
        if control == SQUARED:
            distance = distance**2
        symmetric = float(family_distance(MODEL, weights))
        if control == OF_COMMON_MATRIX:
            symmetric = distance
        numbers.append(np.concatenate([ω, μ, A.ravel(), [distance, symmetric]]))
    stored = {
        name: np.stack([weights[name] for weights in OFF_FAMILY]) for name in FAMILY
    }
    A = common_matrix(MODEL, stored, tolerance=1.0)
    scalars = head_scalars(MODEL, stored, tolerance=1.0)
    read = (*scalars, A, family_distance(MODEL, stored))
    return [*numbers, np.concatenate(read, axis=None)]


def _least_tolerance(weights: Weights) -> float:
    """The distance of heads from the family, by bisection: heads that are further off than allowed are refused."""
    low, high = 0.0, 2.0
    for _ in range(40):
        middle = (low + high) / 2
        try:
            head_scalars(MODEL, weights, tolerance=middle)
            high = middle
        except ValueError:
            low = middle
    return high


CLAIMS = (
    Claim(
        id="softmax.read_out",
        title="ω, μ and A that are read from weights tell the loss of the heads on tokens",
        paper="he2025",
        beyond_paper=True,
        equation="symmetric family of heads",
        origin="the read-out of A is derived here",
        statement=r"B_h/s = (\omega_h A;\ 0),\quad a_h/c = (0,\ \mu_h)",
        observable=f"loss on {SAMPLES} × {PROMPTS} prompts of heads with a common A, scores divided by 2, output by 3",
        limit="none: the error is that of the sample",
        measure=_losses_on_tokens,
        predict=_losses_read_out,
        judge=within_standard_errors,
        controls=(NOT_DIVIDED, IDENTITY),
        tier="fast",
    ),
    Claim(
        id="softmax.read_out_distance",
        title="Heads off the family are read by least squares, and refused by the share that lies outside of it",
        paper="he2025",
        beyond_paper=True,
        equation="symmetric family of heads",
        origin="derived here",
        statement=r"\textstyle\min_A \sum_h |a_h|^2 |B_h - (\omega_h A;\ 0)|^2",
        observable="ω, μ, A, the least tolerance, and the distance from multiples of 1, of two heads with scores or "
        "values off the family",
        limit="none: exact",
        measure=_defined,
        predict=_read,
        judge=equal_within(1e-8),
        controls=(NOT_DIVIDED, PLAIN_MEAN, SQUARED, OF_COMMON_MATRIX),
        tier="fast",
    ),
)
