"""Formulas that no curve shows on its own, each against an independent computation."""

from itertools import product
from typing import Any

import numpy as np

from .....models.attention import Merged, Separate
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights, predict, sample
from .....task import Task
from .....theory import (
    feature_moments,
    learned_prediction,
    preconditioned_step,
    principal_component_regression,
    ridge,
)
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.judges import equal_within
from ....exact_statistics import population_statistics
from ..common.controls import (
    NO_FOURTH_MOMENT,
    TRACE_DROPPED,
    with_context,
    wrong_moments,
)
from ..common.quadrature import WeightedPrompts, weighted_prompts
from .time_courses import merged_weights

SOURCE = "Zhang et al. 2025"
OBLIQUE: dict[str, Any] = {
    "covariance": [[1.0, 0.4], [0.4, 0.7]],
    "teacher_covariance": [[0.6, -0.3], [-0.3, 1.2]],
}
SHORT = (
    Task(**OBLIQUE, noise_variance=0.3, context_length=1),
    Task(**OBLIQUE, noise_variance=0.3, context_length=2),
    Task([0.8], noise_variance=0.3, context_length="1..3"),
)
MIXED = (
    Task(
        [1.3, 0.5],
        noise_variance=0.2,
        context_length=1,
        fixed_teacher=[0.7, -0.4],
        in_context_fraction=0.6,
    ),
    Task(
        [0.9],
        noise_variance=0.3,
        context_length="1..3",
        fixed_teacher=[0.8],
        in_context_fraction=0.4,
    ),
)
TOKENS = Merged(heads=2, divisor="tokens")
ROOT = Merged(heads=2, divisor="tokens", score_divisor="sqrt_key")
NO_FIXED_TEACHER = "the fixed teacher left out"
LONGER = "one context token more"
TRANSPOSED = "the preconditioner transposed"
LENGTHS = (1, 6)
NOISES = (0.0, 0.3)
COMPONENTS = ((1,), (2,), (1, 2))
TRAINED = Task([1.0, 0.5], context_length=6)
SHARED = Separate(heads=1, divisor="tokens")
SKEW = np.array([[1.0, 0.4], [-0.3, 0.7]])
"""A preconditioner that is not symmetric."""


def _integrated_moments(context: RunContext) -> list[FloatArray]:
    """c, B, A, loss and slope at a map, of each task: integrated over all prompts, averaged over its lengths.

    Scores are divided by nothing, and by the root of the size of a token.
    """
    found = []
    for task, root in product(SHORT, (False, True)):
        score = np.sqrt(task.dimension + 1) if root else 1.0
        sums = [_moments_at(task, length, score) for length in task.context_lengths]
        found += [np.mean(parts, axis=0) for parts in zip(*sums, strict=True)]
    return found


def _moments_at(
    task: Task, length: int, score: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    tokens, target, weights = weighted_prompts(task, length, 3)
    x, query = tokens[:, :-1, :-1], tokens[:, -1, :-1]
    β = np.einsum("pn,pnd->pd", tokens[:, :-1, -1], x) / (length + 1) / score
    c, (M, along) = weights @ target**2 + task.noise_variance, _map_and_direction(task)
    # The loss is quadratic in M: central differences are exact.
    maps = M + np.array([0.0, 1.0, -1.0])[:, None, None] * along
    errors = target - np.einsum("pi,mij,pj->mp", β, maps, query, optimize=True)
    loss, above, below = errors**2 @ weights + task.noise_variance
    numbers = np.array([c, loss, (above - below) / 2])
    return (
        numbers,
        np.asarray((weights * target * β.T) @ query),
        np.asarray((weights * β.T) @ β),
    )


def _map_and_direction(task: Task) -> FloatArray:
    return np.random.default_rng(5).standard_normal((2, task.dimension, task.dimension))


def _stated_moments(context: RunContext, control: str) -> list[FloatArray]:
    found = []
    for task, model in product(SHORT, (TOKENS, ROOT)):
        moments, (M, along) = (
            wrong_moments(task, model, control),
            _map_and_direction(task),
        )
        slope = np.sum(moments.gradient(M) * along)
        found += [
            np.array([moments.c, float(moments.loss(M)), slope]),
            moments.B,
            moments.A,
        ]
    return found


def _integrated_features(context: RunContext) -> list[FloatArray]:
    """c, b, S, the least loss, loss and slopes at given heads, of each mixture: sums over all its prompts."""
    return [part for task in MIXED for part in integrated_mixture(task)]


def integrated_mixture(task: Task) -> list[FloatArray]:
    """b, S, the minimum, c, the loss of two heads, its slopes and the least loss."""
    sums = [
        (weights, target, _features(tokens))
        for tokens, target, weights in _mixture(task)
    ]
    c = task.noise_variance + sum(
        float(weights @ target**2) for weights, target, _ in sums
    )
    b = np.sum([(weights * target) @ F for weights, target, F in sums], axis=0)
    S = np.sum([(F.T * weights) @ F for weights, _, F in sums], axis=0)
    (a, B), (along_a, along_B) = two_heads(task, 3), two_heads(task, 4)
    # The loss of heads is quadratic in a and in B: central differences are exact.
    in_a = [_loss_of_heads(task, a + h * along_a, B) for h in (-1.0, 1.0)]
    in_B = [_loss_of_heads(task, a, B + h * along_B) for h in (-1.0, 1.0)]
    M = np.asarray(np.linalg.solve(S, b), dtype=np.float64)
    numbers = (
        c,
        _loss_of_heads(task, a, B),
        np.diff(in_a)[0] / 2,
        np.diff(in_B)[0] / 2,
        c - b @ M,
    )
    return [b, S, M, *(np.array([each]) for each in numbers)]


def _mixture(task: Task) -> list[WeightedPrompts]:
    """Prompts of all lengths with random teachers and with the fixed one; all weights together sum to 1."""
    lengths, p, found = task.context_lengths, task.in_context_fraction, []
    for length, (share, teacher) in product(
        lengths, ((p, None), (1 - p, task.fixed_teacher))
    ):
        prompts = weighted_prompts(task, length, 4, teacher)
        found.append(prompts._replace(weights=prompts.weights * share / len(lengths)))
    return found


def _features(tokens: FloatArray) -> FloatArray:
    """F = G_ij x_q,d for i ≤ j, (P, K), G = X Xᵀ over the number of tokens."""
    G = tokens.swapaxes(1, 2) @ tokens / tokens.shape[1]
    i, j = np.triu_indices(tokens.shape[2])
    return np.asarray(
        (G[:, i, j][:, :, None] * tokens[:, -1, None, :-1]).reshape(len(tokens), -1)
    )


def two_heads(task: Task, seed: int) -> tuple[FloatArray, FloatArray]:
    """a (2, D+1) and B (2, D+1, D) of two heads, or a direction of theirs."""
    generator, D = np.random.default_rng(seed), task.dimension
    return generator.standard_normal((2, D + 1)), generator.standard_normal(
        (2, D + 1, D)
    )


def _loss_of_heads(task: Task, a: FloatArray, B: FloatArray) -> float:
    total = task.noise_variance
    for tokens, target, weights in _mixture(task):
        G = tokens.swapaxes(1, 2) @ tokens / tokens.shape[1]
        output = np.einsum(
            "hi,pij,hjd,pd->p", a, G, B, tokens[:, -1, :-1], optimize=True
        )
        total += float(weights @ (target - output) ** 2)
    return total


def _stated_features(context: RunContext, control: str) -> list[FloatArray]:
    return [part for task in MIXED for part in _stated_mixture(task, control)]


def _stated_mixture(task: Task, control: str) -> list[FloatArray]:
    full = feature_moments(changed_mixture(task, control), TOKENS)
    heads = two_heads(task, 3)
    slopes = [
        float(np.sum(g * along))
        for g, along in zip(
            full.head_gradients(*heads), two_heads(task, 4), strict=True
        )
    ]
    numbers = (
        full.c,
        float(full.loss(full.effective_map(*heads))),
        *slopes,
        full.minimum_loss,
    )
    return [full.b, full.S, full.minimum, *(np.array([each]) for each in numbers)]


def changed_mixture(task: Task, control: str) -> Task:
    """The mixture that a control takes for this one."""
    if control == NO_FIXED_TEACHER:
        return Task.from_dict(
            {**task.to_dict(), "fixed_teacher": [1e-9] * task.dimension}
        )
    return (
        with_context(task, max(task.context_lengths) + 1) if control == LONGER else task
    )


def _context(
    context: RunContext, length: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    tokens = sample(
        Task(**OBLIQUE, noise_variance=0.3, context_length=length),
        40,
        context.seed,
        split="test",
    ).tokens
    return tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1]


def _least_squares(context: RunContext) -> list[FloatArray]:
    Ω = np.array(OBLIQUE["teacher_covariance"])
    return [
        penalised_squares(*_context(context, length), noise, Ω)
        for length, noise in product(LENGTHS, NOISES)
    ]


def penalised_squares(
    x: FloatArray, y: FloatArray, query: FloatArray, noise: float, teachers: FloatArray
) -> FloatArray:
    """Predictions (P,) by teachers of least penalised squares: pseudo-inverses of the penalised equations.

    Contexts x (P, N, D), y (P, N), queries (P, D), and the covariance of the teachers (D, D).
    """
    root, D = np.linalg.cholesky(teachers), len(teachers)
    penalty = np.broadcast_to(np.sqrt(noise) * np.eye(D), (len(x), D, D))
    rows = np.concatenate((x @ root, penalty), axis=1)
    labels = np.concatenate((y, np.zeros((len(y), D))), axis=1)
    return np.asarray(
        np.einsum("pdn,pn,pd->p", np.linalg.pinv(rows), labels, query @ root)
    )


def _posterior_means(context: RunContext, control: str) -> list[FloatArray]:
    Ω = {
        UNMODIFIED: OBLIQUE["teacher_covariance"],
        "Ω left out": None,
        "σ² for σ²/N": OBLIQUE["teacher_covariance"],
    }
    found = []
    for length, noise in product(LENGTHS, NOISES):
        x, y, query = _context(context, length)
        used = noise * length if control == "σ² for σ²/N" else noise
        found.append(ridge(x, y, query, used, Ω[control]))
    return found


def _decomposed(context: RunContext) -> list[FloatArray]:
    """Regressions on singular vectors of each context, attention with given maps, and a trained model's output."""
    x, y, query = _context(context, 6)
    left, sizes, right = np.linalg.svd(x, full_matrices=False)
    shares = np.einsum("pnd,pn,pdi,pi->pd", left, y, right, query) / sizes
    found = [np.sum(shares[:, [d - 1 for d in each]], axis=1) for each in COMPONENTS]
    values, vectors = np.linalg.eigh(np.array(OBLIQUE["covariance"]))
    M = np.outer(vectors[:, -1], vectors[:, -1]) / values[-1]
    found += [_attention(x, y, query, M), _attention(x, y, query, SKEW)]
    return [*found, *(_trained_output(context, length) for length in LENGTHS)]


def _attention(
    x: FloatArray, y: FloatArray, query: FloatArray, M: FloatArray
) -> FloatArray:
    model = Merged(heads=1)
    return np.asarray(
        predict(model, model.heads(merged_weights(1.0, M)), _tokens(x, y, query))
    )


def _tokens(x: FloatArray, y: FloatArray, query: FloatArray) -> FloatArray:
    context = np.concatenate((x, y[..., None]), axis=2)
    return np.concatenate((context, np.pad(query, ((0, 0), (0, 1)))[:, None]), axis=1)


def _trained_output(context: RunContext, length: int) -> FloatArray:
    """What one head trained on contexts of six tokens computes from contexts of another length."""
    start = initial_weights(SHARED, TRAINED, np.array([0.5, 0.0]), scheme="aligned")
    run = flow(SHARED, population_statistics(TRAINED, SHARED), start, [0.0, 400.0])
    return np.asarray(
        predict(SHARED, SHARED.heads(run.final), _tokens(*_context(context, length)))
    )


def _algorithms(context: RunContext, control: str) -> list[FloatArray]:
    x, y, query = _context(context, 6)
    sets = {
        UNMODIFIED: COMPONENTS,
        "components from the smallest": ((2,), (1,), (1, 2)),
    }.get(control, COMPONENTS)
    found = [principal_component_regression(x, y, query, each) for each in sets]
    found.append(
        principal_component_regression(
            x, y, query, (1,), np.array(OBLIQUE["covariance"])
        )
    )
    steps = {"twice the step": 2 * SKEW, TRANSPOSED: SKEW.T}
    found.append(preconditioned_step(x, y, query, steps.get(control, SKEW)))
    learned = (2,) if control == "the other direction learned" else (1,)
    return [
        *found,
        *(
            learned_prediction(TRAINED, SHARED, learned, *_context(context, length))
            for length in LENGTHS
        ),
    ]


CLAIMS = (
    Claim(
        id="formulas.moments",
        title="The moments are the integrals over all prompts, for any Λ, Ω and noise",
        source=f"{SOURCE}, population loss; here with Ω, noise and several lengths",
        statement=r"A = \mathbb E[\beta\beta^\top],\quad B = \mathbb E[y_q\beta x_q^\top]",
        observable="c, B, A, loss and slope at a map, by quadrature that is exact here; D ≤ 2, N ≤ 3; scores "
        "over 1 and over √(D + 1)",
        limit="none: exact",
        measure=_integrated_moments,
        predict=_stated_moments,
        judge=equal_within(1e-11, axes=("entry", "moment")),
        controls=(TRACE_DROPPED, NO_FOURTH_MOMENT),
        tier="fast",
    ),
    Claim(
        id="formulas.features",
        title="Moments of all features, losses and gradients are integrals over all prompts of a mixture",
        source=f"{SOURCE}, attention on cubic features",
        statement=r"L = c - 2 b^\top M + M^\top S M,\quad S = \mathbb E[F F^\top]",
        observable="c, b, S, the minimum, loss and slopes at two heads, by quadrature; D = 2 with N = 1, D = 1",
        limit="none: exact",
        measure=_integrated_features,
        predict=_stated_features,
        judge=equal_within(1e-9, axes=("entry", "moment")),
        controls=(NO_FIXED_TEACHER, LONGER),
        tier="fast",
    ),
    Claim(
        id="formulas.ridge",
        title="The posterior mean is that of least penalised squares",
        source="Hoerl and Kennard 1970, ridge regression",
        statement=r"\bar w = (\hat\Lambda + \tfrac{\sigma^2}{N}\Omega^{-1})^{-1}\beta",
        observable="pseudo-inverse of the penalised equations; N = 1 and 6, with and without noise",
        limit="none: exact",
        measure=_least_squares,
        predict=_posterior_means,
        judge=equal_within(1e-9, axes=("prompt", "prediction")),
        controls=("Ω left out", "σ² for σ²/N"),
        tier="fast",
    ),
    Claim(
        id="formulas.algorithms",
        title="The algorithms beside attention compute what their names say",
        source=f"Jolliffe 1982, Ahn et al. 2023, {SOURCE}",
        statement=r"\hat y_q = \textstyle\sum_{d}(e_d^\top\beta)(e_d^\top x_q)/\lambda_d = \beta^\top M x_q",
        observable="regression on singular vectors, attention with given weights, and a model after training",
        limit="none: exact",
        measure=_decomposed,
        predict=_algorithms,
        judge=equal_within(1e-8, axes=("prompt", "prediction")),
        controls=(
            "components from the smallest",
            "twice the step",
            TRANSPOSED,
            "the other direction learned",
        ),
        tier="fast",
    ),
)
