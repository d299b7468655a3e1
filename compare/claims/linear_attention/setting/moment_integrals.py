"""Formulas that no curve shows on its own, each against an independent computation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

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
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ..common.controls import (
    NO_FOURTH_MOMENT,
    TRACE_DROPPED,
    with_context,
    wrong_moments,
)
from ..common.fixtures import NON_COMMUTING, merged_head
from ..common.quadrature import WeightedPrompts, weighted_prompts

Λ, Ω = NON_COMMUTING.covariance, NON_COMMUTING.teacher_covariance


def _noisy(context_length: int) -> Task:
    """Λ and Ω that do not commute, and label noise."""
    return Task(
        covariance=Λ,
        teacher_covariance=Ω,
        noise_variance=0.3,
        context_length=context_length,
    )


FEW_TOKENS = (
    _noisy(1),
    _noisy(2),
    Task([0.8], noise_variance=0.3, context_length="1..3"),
)
"""So few variables that the quadrature over all prompts is small, one length and several."""

MIXTURES = (
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
PER_TOKEN = Merged(heads=2, divisor="tokens")
PER_TOKEN_AND_ROOT = Merged(heads=2, divisor="tokens", score_divisor="sqrt_key")
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


# Moments of the restricted block


class _BlockMoments(NamedTuple):
    """c, the loss and its slope at a map as `numbers` (3,); B and A (D, D)."""

    numbers: FloatArray
    B: FloatArray
    A: FloatArray


def _integrated_moments(context: RunContext) -> list[FloatArray]:
    """c, loss and slope at a map, B and A of each task, integrated over all prompts, averaged over its lengths.

    Scores are divided by nothing, and by the root of the size of a token.
    """
    curves = []
    for task, by_root in product(FEW_TOKENS, (False, True)):
        score_divisor = np.sqrt(task.dimension + 1) if by_root else 1.0
        of_lengths = [
            _block_moments(task, length, score_divisor)
            for length in task.context_lengths
        ]
        curves += [np.mean(parts, axis=0) for parts in zip(*of_lengths, strict=True)]
    return curves


def _block_moments(task: Task, length: int, score_divisor: float) -> _BlockMoments:
    """Integrals over all prompts of one length, the label's noise added by hand."""
    prompts = weighted_prompts(task, length, 3)
    tokens, target, weights = prompts
    query = tokens[:, -1, :-1]  # (P, D)
    β = _label_correlations(tokens, score_divisor)  # (P, D)

    c = weights @ target**2 + task.noise_variance
    loss, slope = _loss_and_slope(task, prompts, β)
    B: FloatArray = (weights * target * β.T) @ query
    A: FloatArray = (weights * β.T) @ β
    return _BlockMoments(np.array([c, loss, slope]), B, A)


def _loss_and_slope(
    task: Task, prompts: WeightedPrompts, β: FloatArray
) -> tuple[float, float]:
    """L(M) = E (y − βᵀ M x_q)² at the map of `_map_and_direction`, and its derivative along the direction."""
    tokens, target, weights = prompts
    query = tokens[:, -1, :-1]  # (P, D)

    # The loss is quadratic in M: central differences with any step are exact.
    M, along = _map_and_direction(task)
    losses = []
    for map_ in (M, M + along, M - along):
        errors = target - _outputs(β, map_, query)
        losses.append(weights @ errors**2 + task.noise_variance)
    loss, above, below = losses
    return float(loss), float((above - below) / 2)


def _outputs(β: FloatArray, M: FloatArray, query: FloatArray) -> FloatArray:
    """βᵀ M x_q of each prompt, (P,), from β (P, D) and x_q (P, D)."""
    outputs: FloatArray = np.einsum("pi,ij,pj->p", β, M, query, optimize=True)
    return outputs


def _label_correlations(tokens: FloatArray, score_divisor: float) -> FloatArray:
    """β = Σ_n y_n x_n / ((N + 1) · divisor) of each prompt, (P, D), from tokens (P, N + 1, D + 1), the query's last."""
    x = tokens[:, :-1, :-1]  # (P, N, D)
    y = tokens[:, :-1, -1]  # (P, N)
    β: FloatArray = np.einsum("pn,pnd->pd", y, x) / tokens.shape[1] / score_divisor
    return β


def _map_and_direction(task: Task) -> FloatArray:
    """A map and a direction from it (2, D, D): any that have no special structure."""
    return np.random.default_rng(5).standard_normal((2, task.dimension, task.dimension))


def _stated_moments(context: RunContext, control: str) -> list[FloatArray]:
    curves = []
    for task, model in product(FEW_TOKENS, (PER_TOKEN, PER_TOKEN_AND_ROOT)):
        moments = wrong_moments(task, model, control)
        M, along = _map_and_direction(task)
        slope = np.sum(moments.gradient(M) * along)
        numbers = np.array([moments.c, float(moments.loss(M)), slope])
        curves += [numbers, moments.B, moments.A]
    return curves


# Moments of all features


class Heads(NamedTuple):
    """Two heads of merged attention, or a direction in which they change: a (2, D+1) and B (2, D+1, D)."""

    a: FloatArray
    B: FloatArray


@dataclass(frozen=True, eq=False)
class MixtureIntegrals:
    """Moments of all K features of a mixture, its minimum, and the loss of two heads with its slopes.

    `b` (K,), `S` (K, K), `minimum` (K,); `slope_a` and `slope_B` are along the directions of `two_heads(task, 4)`.
    """

    b: FloatArray
    S: FloatArray
    minimum: FloatArray
    c: float
    loss: float
    slope_a: float
    slope_B: float
    least_loss: float

    def curves(self) -> list[FloatArray]:
        """Each quantity as an array of its own, so that a judge compares it in its own unit."""
        numbers = (self.c, self.loss, self.slope_a, self.slope_B, self.least_loss)
        return [self.b, self.S, self.minimum, *(np.array([n]) for n in numbers)]


def _integrated_features(context: RunContext) -> list[FloatArray]:
    """The integrals of each mixture."""
    curves = []
    for task in MIXTURES:
        curves += integrated_mixture(task).curves()
    return curves


def integrated_mixture(task: Task) -> MixtureIntegrals:
    """Moments, minimum, loss and slopes of a mixture as sums over all its prompts.

    >>> integrals = integrated_mixture(Task([1.0], context_length=1))
    >>> round(integrals.c, 12)  # E y² = tr Λ
    1.0
    """
    groups = _mixture(task)
    c, b, S = _sums_over(groups, task.noise_variance)
    minimum = np.asarray(np.linalg.solve(S, b), dtype=np.float64)

    # The loss of heads is quadratic in a and in B: central differences with step 1 are exact.
    heads, along = two_heads(task, 3), two_heads(task, 4)

    def loss_at(steps_a: int, steps_B: int) -> float:
        a = heads.a + steps_a * along.a
        B = heads.B + steps_B * along.B
        return _loss_of_heads(groups, task, a, B)

    return MixtureIntegrals(
        b=b,
        S=S,
        minimum=minimum,
        c=c,
        loss=loss_at(0, 0),
        slope_a=(loss_at(1, 0) - loss_at(-1, 0)) / 2,
        slope_B=(loss_at(0, 1) - loss_at(0, -1)) / 2,
        least_loss=float(c - b @ minimum),
    )


def _sums_over(
    groups: Sequence[WeightedPrompts], noise: float
) -> tuple[float, FloatArray, FloatArray]:
    """c = E y², b = E y F and S = E F Fᵀ over groups of prompts, whose weights together sum to 1."""
    c = noise
    K = _features(groups[0].tokens).shape[1]
    b = np.zeros(K)
    S = np.zeros((K, K))
    for tokens, target, weights in groups:
        F = _features(tokens)  # (P, K)
        c += float(weights @ target**2)
        b += (weights * target) @ F
        S += (F.T * weights) @ F
    return c, b, S


def _mixture(task: Task) -> list[WeightedPrompts]:
    """Prompts of all lengths with random teachers and with the fixed one; all weights together sum to 1."""
    p = task.in_context_fraction
    teachers: list[tuple[float, FloatArray | None]] = [(p, None)]
    if p < 1:
        teachers.append((1 - p, task.fixed_teacher))

    groups = []
    for length, (share, teacher) in product(task.context_lengths, teachers):
        # Four nodes a variable: S is of degree 6 in x.
        prompts = weighted_prompts(task, length, 4, teacher)
        share_of_length = share / len(task.context_lengths)
        groups.append(prompts._replace(weights=prompts.weights * share_of_length))
    return groups


def _features(tokens: FloatArray) -> FloatArray:
    """F_(ij)d = G_ij x_q,d for i ≤ j, flattened to (P, K), with G = X Xᵀ over the number of tokens."""
    G = tokens.swapaxes(1, 2) @ tokens / tokens.shape[1]  # (P, D+1, D+1)
    i, j = np.triu_indices(tokens.shape[2])
    query = tokens[:, -1, :-1]  # (P, D)
    features: FloatArray = np.einsum("pk,pd->pkd", G[:, i, j], query)
    return features.reshape(len(tokens), -1)


def two_heads(task: Task, seed: int) -> Heads:
    """Two heads, or a direction in which they change, drawn from this seed."""
    generator, D = np.random.default_rng(seed), task.dimension
    a = generator.standard_normal((2, D + 1))
    B = generator.standard_normal((2, D + 1, D))
    return Heads(a, B)


def _loss_of_heads(
    groups: Sequence[WeightedPrompts], task: Task, a: FloatArray, B: FloatArray
) -> float:
    """E (y − Σ_h a_hᵀ G B_h x_q)² over the prompts of the groups."""
    total = task.noise_variance
    for tokens, target, weights in groups:
        G = tokens.swapaxes(1, 2) @ tokens / tokens.shape[1]
        query = tokens[:, -1, :-1]
        output = np.einsum("hi,pij,hjd,pd->p", a, G, B, query, optimize=True)
        total += float(weights @ (target - output) ** 2)
    return total


def _stated_features(context: RunContext, control: str) -> list[FloatArray]:
    curves = []
    for task in MIXTURES:
        curves += _stated_mixture(changed_mixture(task, control), task).curves()
    return curves


def _stated_mixture(assumed: Task, task: Task) -> MixtureIntegrals:
    """The theory's moments of the assumed mixture, with the heads that are drawn for the true one."""
    full = feature_moments(assumed, PER_TOKEN)
    heads, along = two_heads(task, 3), two_heads(task, 4)
    gradient_a, gradient_B = full.head_gradients(*heads)
    return MixtureIntegrals(
        b=full.b,
        S=full.S,
        minimum=full.minimum,
        c=full.c,
        loss=float(full.loss(full.effective_map(*heads))),
        slope_a=float(np.sum(gradient_a * along.a)),
        slope_B=float(np.sum(gradient_B * along.B)),
        least_loss=full.minimum_loss,
    )


def changed_mixture(task: Task, control: str) -> Task:
    """The mixture that a control takes for this one."""
    if control == NO_FIXED_TEACHER:
        negligible = [1e-9] * task.dimension  # zero is refused
        return Task.from_dict({**task.to_dict(), "fixed_teacher": negligible})
    if control == LONGER:
        return with_context(task, max(task.context_lengths) + 1)
    return task


# Predictors


class _Contexts(NamedTuple):
    """Contexts x (P, N, D), y (P, N) and queries (P, D)."""

    x: FloatArray
    y: FloatArray
    query: FloatArray

    def tokens(self) -> FloatArray:
        """The tokens (P, N + 1, D + 1) with 0 for the query's label."""
        context = np.concatenate((self.x, self.y[..., None]), axis=2)
        query = np.pad(self.query, ((0, 0), (0, 1)))[:, None]
        return np.concatenate((context, query), axis=1)


def _contexts(context: RunContext, length: int) -> _Contexts:
    tokens = sample(_noisy(length), 40, context.seed, split="test").tokens
    return _Contexts(tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1])


def _least_squares(context: RunContext) -> list[FloatArray]:
    return [
        penalised_squares(*_contexts(context, length), noise, Ω)
        for length, noise in product(LENGTHS, NOISES)
    ]


def penalised_squares(
    x: FloatArray, y: FloatArray, query: FloatArray, noise: float, teachers: FloatArray
) -> FloatArray:
    """Predictions (P,) by teachers of least penalised squares: pseudo-inverses of the penalised equations.

    Contexts x (P, N, D), y (P, N), queries (P, D), and the covariance of the teachers (D, D).
    """
    D = len(teachers)
    root = np.linalg.cholesky(teachers)  # w = root u with u ~ N(0, 1)
    penalty = np.broadcast_to(np.sqrt(noise) * np.eye(D), (len(x), D, D))

    # |y − x root u|² + σ² |u|² as one system of N + D equations, (P, N + D, D).
    equations = np.concatenate((x @ root, penalty), axis=1)
    labels = np.concatenate((y, np.zeros((len(y), D))), axis=1)
    u = np.einsum("pdn,pn->pd", np.linalg.pinv(equations), labels)
    predictions: FloatArray = np.einsum("pd,pd->p", u, query @ root)
    return predictions


def _posterior_means(context: RunContext, control: str) -> list[FloatArray]:
    teachers = None if control == "Ω left out" else Ω
    predictions = []
    for length, noise in product(LENGTHS, NOISES):
        x, y, query = _contexts(context, length)
        penalty = noise * length if control == "σ² for σ²/N" else noise
        predictions.append(ridge(x, y, query, penalty, teachers))
    return predictions


def _independent_predictors(context: RunContext) -> list[FloatArray]:
    """Regressions on singular vectors of each context, attention with given maps, and a trained model's output."""
    contexts = _contexts(context, 6)
    u, σ, v = np.linalg.svd(contexts.x, full_matrices=False)

    # Least squares is a sum over singular vectors: (u_dᵀ y)(v_dᵀ x_q)/σ_d.
    terms = np.einsum("pnd,pn,pdi,pi->pd", u, contexts.y, v, contexts.query) / σ
    outputs = [
        np.sum(terms[:, [d - 1 for d in components]], axis=1)
        for components in COMPONENTS
    ]

    # Regression on the first population component, as attention: M = e₁ e₁ᵀ/λ₁.
    values, vectors = np.linalg.eigh(Λ)
    M = np.outer(vectors[:, -1], vectors[:, -1]) / values[-1]
    outputs += [_attention(contexts, M), _attention(contexts, SKEW)]
    return [*outputs, *(_trained_output(context, length) for length in LENGTHS)]


def _attention(contexts: _Contexts, M: FloatArray) -> FloatArray:
    """The output (P,) of one merged head of value 1 and key-query block M."""
    model = Merged(heads=1)
    output: FloatArray = predict(
        model, model.heads(merged_head(1.0, M)), contexts.tokens()
    )
    return output


def _trained_output(context: RunContext, length: int) -> FloatArray:
    """What one head trained on contexts of six tokens computes from contexts of another length."""
    start = initial_weights(SHARED, TRAINED, np.array([0.5, 0.0]), scheme="aligned")
    run = flow(SHARED, population_statistics(TRAINED, SHARED), start, [0.0, 400.0])
    tokens = _contexts(context, length).tokens()
    output: FloatArray = predict(SHARED, SHARED.heads(run.final), tokens)
    return output


def _stated_predictors(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the algorithms of the theory, or a wrong variant of one of them."""
    x, y, query = _contexts(context, 6)
    sets = COMPONENTS
    if control == "components from the smallest":
        sets = ((2,), (1,), (1, 2))
    outputs = [
        principal_component_regression(x, y, query, components) for components in sets
    ]
    outputs.append(principal_component_regression(x, y, query, (1,), Λ))

    preconditioner = SKEW
    if control == "twice the step":
        preconditioner = 2 * SKEW
    if control == TRANSPOSED:
        preconditioner = SKEW.T
    outputs.append(preconditioned_step(x, y, query, preconditioner))

    learned = (2,) if control == "the other direction learned" else (1,)
    for length in LENGTHS:
        contexts = _contexts(context, length)
        outputs.append(learned_prediction(*contexts, TRAINED, SHARED, learned))
    return outputs


CLAIMS = (
    Claim(
        id="formulas.moments",
        title="The moments c, B and A are integrals over all prompts, for any Λ, Ω and noise",
        paper="zhang2025",
        equation="population loss",
        origin="here with Ω, noise and several lengths",
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
        paper="zhang2025",
        equation="attention on cubic features",
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
        title="The posterior mean of the teacher minimises the penalised squared error",
        origin="Hoerl and Kennard 1970, ridge regression",
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
        title="Principal component regression and preconditioned gradient steps equal independent computations",
        paper="zhang2025",
        origin="Jolliffe 1982, Ahn et al. 2023",
        statement=r"\hat y_q = \textstyle\sum_{d}(e_d^\top\beta)(e_d^\top x_q)/\lambda_d = \beta^\top M x_q",
        observable="regression on singular vectors, attention with given weights, and a model after training",
        limit="none: exact",
        measure=_independent_predictors,
        assumes=POPULATION_MOMENTS,
        predict=_stated_predictors,
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
