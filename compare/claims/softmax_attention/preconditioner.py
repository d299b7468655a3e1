"""Anisotropic inputs: two small heads with a common matrix A are a preconditioned step, and which A is best."""

import math
from functools import cache

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.predictors import best_debiased_step, debiased_step_loss
from ....theory.softmax_attention import exact_loss
from ....theory.softmax_attention.preconditioners import (
    best_preconditioner,
    two_head_preconditioner,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import converges_at_order, equal_within
from .setting import EXACT_LOSSES

PRECONDITIONED = "anisotropic covariates"

DECAYING = Task(
    covariance=0.7 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5))),
    teacher_covariance=np.eye(5) / 5,
    noise_variance=0.1,
    context_length=40,
)
"""Λ_ij = 0.7^|i − j|."""

STRETCHED = Task(
    [2.0, 1.0],
    teacher_covariance=np.eye(2) / 2,
    noise_variance=0.1,
    context_length=20,
)

COSINE, SINE = math.cos(0.5), math.sin(0.5)
ROTATION = np.array([[COSINE, -SINE], [SINE, COSINE]])
"""By half a radian."""

UNEQUAL_TEACHERS = Task(
    [1.5, 1.5],
    teacher_covariance=np.diag([0.6, 0.3]),
    noise_variance=0.1,
    context_length=20,
)
"""White x: only Ω tells directions apart, as only Λ does in STRETCHED."""

TURNED = Task(
    covariance=[[2.0, 0.5], [0.5, 1.0]],
    teacher_covariance=[[0.6, -0.2], [-0.2, 0.3]],
    noise_variance=0.4,
    query_noise_variance=0.2,
    context_length={0: 1.0, 1: 1.0, 3: 2.0, 8: 1.0},
)
"""Λ and Ω that do not commute, and several lengths, of which the first two tell nothing."""

SMALL_γ = (0.03, 0.06, 0.12)
LARGEST_γ = SMALL_γ[-1]
SMALLER_γ = (0.005, 0.01, 0.02)
"""For losses, whose change with γ turns its sign beyond the optimum, γ = 0.1."""
NODES = 13
"""Enough for scores of a standard deviation below 0.5."""

INVERSE = "A = Λ⁻¹"
IDENTITY = "A ∝ 1"
TRACE_DROPPED = "tr Λ left out"
MEAN_LENGTH = "1/N of the mean length"


def _inverse(task: Task) -> FloatArray:
    """Λ⁻¹."""
    return np.asarray(np.linalg.inv(task.covariance))


def _pair_loss(task: Task, γ: float, matrix: FloatArray) -> float:
    """Exact loss of the heads ω = ±γ, μ = ±m with this matrix at the best m, by two losses of its parabola."""
    ω = np.array([γ, -γ])
    scale = 1 / (2 * γ)
    μ = scale * np.array([[1.0, -1.0], [2.0, -2.0]])
    once, twice = exact_loss(
        task, np.broadcast_to(ω, μ.shape), μ, matrix=matrix, nodes=NODES
    ).loss
    zero = float(np.trace(task.teacher_covariance @ task.covariance))
    zero += task.query_noise_variance
    # L = L(0) − 2 a m + b m² at m = 1 and 2, in units of the scale.
    b = (twice - 2 * once + zero) / 2
    a = (zero + b - once) / 2
    return float(zero - a**2 / b)


def _losses_of_matrices(context: RunContext) -> list[FloatArray]:
    """Exact loss (3,) of small heads with A*, with the identity and with Λ⁻¹, each at its best length, for each γ."""
    star = best_preconditioner(DECAYING).matrix
    matrices = (star, np.eye(5), _inverse(DECAYING))
    return [
        np.array([_pair_loss(DECAYING, γ, matrix) for matrix in matrices])
        for γ in SMALLER_γ
    ]


def _stated_matrices(context: RunContext, control: str) -> list[FloatArray]:
    """The losses of the debiased steps with these matrices, the same for every γ."""
    star = best_preconditioner(DECAYING).loss
    identity = best_debiased_step(DECAYING).loss
    inverse = best_debiased_step(DECAYING, preconditioner=_inverse(DECAYING)).loss
    if control == INVERSE:
        star = inverse
    if control == IDENTITY:
        star = identity
    if control == TRACE_DROPPED:
        # (Λ + σ²D/N)⁻¹: only the noise of labels shrinks it.
        D, N = 5, 40
        matrix = np.linalg.inv(
            DECAYING.covariance + D * DECAYING.noise_variance / N * np.eye(D)
        )
        star = best_debiased_step(DECAYING, preconditioner=matrix).loss
    return [np.array([star, identity, inverse])] * len(SMALLER_γ)


def _least_steps(context: RunContext) -> list[FloatArray]:
    """The A (4,) of least loss of a debiased step, and that loss: the parabola in its entries is solved."""
    units = np.eye(4)
    at_zero = _step_loss(np.zeros(4))
    once = np.array([_step_loss(unit) for unit in units])
    twice = np.array([[_step_loss(one + other) for other in units] for one in units])
    # L(a) = L(0) + bᵀa + ½ aᵀQa.
    Q = twice - once[:, None] - once + at_zero
    b = once - at_zero - np.diag(Q) / 2
    a = -np.linalg.solve(Q, b)
    return [a, np.array([_step_loss(a)])]


def _step_loss(entries: FloatArray) -> float:
    """The loss of a debiased step with this matrix (4,)."""
    matrix = entries.reshape(2, 2)
    return float(debiased_step_loss(TURNED, 1.0, preconditioner=matrix))


def _stated_steps(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's A* and its loss, or those of other lengths, or Λ⁻¹."""
    task = TURNED
    if control == MEAN_LENGTH:
        task = Task(**task.arguments() | {"context_length": 3})
    best = best_preconditioner(task)
    A = _inverse(task) if control == INVERSE else best.matrix
    return [A.ravel(), np.array([best.loss])]


def _learned_matrices(context: RunContext) -> list[FloatArray]:
    """Eigenvalues (2,) of the A of least exact loss of heads ω = ±γ, μ = ±1/(2γ), for each γ."""
    return [_best_eigenvalues(STRETCHED, γ) for γ in SMALL_γ]


@cache
def _best_eigenvalues(task: Task, γ: float) -> FloatArray:
    """By Newton steps, with derivatives that are differences of the exact loss; Λ and Ω are diagonal."""
    a = np.array([0.5, 0.8])
    step = 0.005
    for _ in range(3):
        slopes, curvatures = np.zeros(2), np.zeros((2, 2))
        shifts = step * np.eye(2)
        centre = _diagonal_loss(task, γ, a)
        for i in range(2):
            up, down = (
                _diagonal_loss(task, γ, a + shifts[i]),
                _diagonal_loss(task, γ, a - shifts[i]),
            )
            slopes[i] = (up - down) / (2 * step)
            curvatures[i, i] = (up - 2 * centre + down) / step**2
        both = _diagonal_loss(task, γ, a + shifts[0] + shifts[1])
        one, other = (_diagonal_loss(task, γ, a + shift) for shift in shifts)
        curvatures[0, 1] = curvatures[1, 0] = (both - one - other + centre) / step**2
        a = a - np.linalg.solve(curvatures, slopes)
    return np.asarray(a)


def _diagonal_loss(task: Task, γ: float, a: FloatArray) -> float:
    ω = np.array([γ, -γ])
    loss = exact_loss(task, ω, ω / (2 * γ**2), matrix=np.diag(a), nodes=NODES)
    return float(loss)


def _limit_matrices(context: RunContext, control: str) -> list[FloatArray]:
    """Eigenvalues (2,) of A* = (Λ + (tr Λ + Dσ²)/N)⁻¹, or of another matrix, the same for every γ."""
    λ = STRETCHED.eigenvalues
    diagonal = np.diag(best_preconditioner(STRETCHED).matrix)
    if control == INVERSE:
        diagonal = 1 / λ
    if control == TRACE_DROPPED:
        diagonal = 1 / (λ + 2 * STRETCHED.noise_variance / 20)
    return [diagonal] * len(SMALL_γ)


LIMIT, NOT_TURNED = "the limit γ → 0", "A of the axes before they are turned"


def _searched_matrices(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's best A and its loss (5,) for each task, as it is and with turned axes, or those of the limit."""
    found = []
    for task in (STRETCHED, UNEQUAL_TEACHERS):
        for turned in (task, task if control == NOT_TURNED else _turned(task)):
            best = two_head_preconditioner(turned, LARGEST_γ)
            if control == LIMIT:
                best = best_preconditioner(turned)
            found.append(np.append(best.matrix, best.loss))
    return found


def _turned(task: Task) -> Task:
    """The task with x and w turned by half a radian."""
    Λ, Ω = (
        ROTATION @ matrix @ ROTATION.T
        for matrix in (task.covariance, task.teacher_covariance)
    )
    return Task(
        covariance=Λ,
        teacher_covariance=Ω,
        noise_variance=task.noise_variance,
        context_length=task.context_length,
    )


def _learned_matrices_and_losses(context: RunContext) -> list[FloatArray]:
    """The A of least exact loss and that loss (5,), for each task as it is and turned: A turns with it."""
    learned = []
    for task in (STRETCHED, UNEQUAL_TEACHERS):
        a = _best_eigenvalues(task, LARGEST_γ)
        loss = _diagonal_loss(task, LARGEST_γ, a)
        for axes in (np.eye(2), ROTATION):
            learned.append(np.append(axes @ np.diag(a) @ axes.T, loss))
    return learned


CLAIMS = (
    Claim(
        id="softmax.preconditioned_losses",
        title="Small heads with a common matrix have the loss of its debiased step, and A* beats 1 and Λ⁻¹",
        paper="he2025",
        equation=PRECONDITIONED,
        statement=r"A^* = \big(\Lambda + \tfrac{\mathrm{tr}\Lambda + D\sigma^2}{N}\big)^{-1}",
        observable="exact loss at the best μ with A*, 1 and Λ⁻¹, γ = 0.005, 0.01, 0.02; Λ_ij = 0.7^|i − j|, D = 5",
        limit="γ → 0, error O(γ²)",
        order=2.0,
        measure=_losses_of_matrices,
        predict=_stated_matrices,
        judge=converges_at_order(SMALLER_γ, 2, name="γ"),
        controls=(INVERSE, IDENTITY, TRACE_DROPPED),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    Claim(
        id="softmax.best_matrix",
        title="The matrix of least exact loss of two small heads approaches A*, and not Λ⁻¹",
        paper="he2025",
        equation=PRECONDITIONED,
        statement=r"\mathrm{argmin}_A L = A^* + O(\gamma^2)",
        observable="eigenvalues of the best A that commutes with Λ = diag(2, 1), by Newton steps on the exact loss",
        limit="γ → 0, error O(γ²)",
        order=2.0,
        measure=_learned_matrices,
        predict=_limit_matrices,
        judge=converges_at_order(SMALL_γ, 2, name="γ"),
        controls=(INVERSE, TRACE_DROPPED),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    Claim(
        id="softmax.searched_matrix",
        title="The best matrix at finite γ is where the theory's search ends, whatever the axes of Λ and Ω",
        paper="he2025",
        equation=PRECONDITIONED,
        beyond_paper=True,
        statement=r"\partial L/\partial A = 0",
        observable="the best A that commutes with Λ, and its loss, by Newton steps; x or w of unequal variances, each "
        "along the axes and turned, γ = 0.12",
        limit="none: exact",
        measure=_learned_matrices_and_losses,
        predict=_searched_matrices,
        judge=equal_within(1e-5),
        controls=(LIMIT, NOT_TURNED),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    Claim(
        id="softmax.step_matrix",
        title="A* is the matrix of least loss of a debiased step, for any Λ, Ω and lengths of context",
        paper="he2025",
        equation=PRECONDITIONED,
        beyond_paper=True,
        statement=r"A^* = \big(\Omega\Lambda + r\,(\mathrm{tr}\,\Omega\Lambda + \sigma^2)\big)^{-1}\Omega,\quad "
        r"r = E\tfrac{N-1}{N^2} \big/ E\tfrac{N-1}{N}",
        observable="minimum of the loss of debiased steps, a parabola in the entries of A; Λ and Ω do not commute, "
        "N = 0, 1, 3, 8",
        limit="none: exact",
        measure=_least_steps,
        predict=_stated_steps,
        judge=equal_within(1e-10),
        controls=(INVERSE, MEAN_LENGTH),
        assumes=("softmax.steps",),
        tier="fast",
    ),
)
