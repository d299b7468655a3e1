"""The exact loss of a read-out on finitely many tasks, and the paper's conventions."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from ....runtime.arrays import FloatArray
from ....simulate import ContextSummaries, ridge_fit, sample_summaries
from ....task import Task
from ....teachers import Pool, Sphere
from ....theory.asymptotics import readout, readout_loss, readout_moments
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import equal_within

# -- The loss -----------------------------------------------------------------------------------------------------

D, N = 2, 2
NOISE, QUERY_NOISE = 0.3, 0.2
COVARIANCE = np.array([[1.0, 0.4], [0.4, 0.5]])
POINTS = 5
"""Of each random number of a prompt: rules of 5 points integrate its square losses, of degree 8, exactly."""

ROUNDING = 1e-12
"""Rounding of sums of 10^4 terms."""

WRONG_SQUARE = "1 + ρ² for (1 + ρ)²(1 + 2/N) in E s²"
NO_NOISE = "no noise in E ββᵀ"
NO_PAIRS = "1 for 1 + 2/N in E βs"


class _Case(NamedTuple):
    """A pool of tasks and the map (D+1, D) of a read-out."""

    task: Task
    M: FloatArray


def _cases(context: RunContext) -> list[_Case]:
    """One task and three, the latter with unequal weights."""
    generator = np.random.default_rng(context.seeds(1)[0])
    cases = []
    for weights in ([1.0], [1.0, 2.0, 3.0]):
        pool = Pool(generator.normal(size=(len(weights), D)), weights)
        task = Task(
            covariance=COVARIANCE,
            teachers=pool,
            context_length=N,
            noise_variance=NOISE,
            query_noise_variance=QUERY_NOISE,
        )
        cases.append(_Case(task, generator.normal(size=(D + 1, D))))
    return cases


def _normal_rule(numbers: int) -> tuple[FloatArray, FloatArray]:
    """Points (n, numbers) and weights (n,) of a Gauss–Hermite rule for independent N(0, 1)."""
    z, weight = hermegauss(POINTS)
    weight = weight / weight.sum()
    points = np.stack(np.meshgrid(*[z] * numbers, indexing="ij"), axis=-1)
    weights = np.stack(np.meshgrid(*[weight] * numbers, indexing="ij"))
    return points.reshape(-1, numbers), np.prod(weights, axis=0).ravel()


def _on_prompts(context: RunContext) -> list[FloatArray]:
    """The loss of every case at the points of a rule over all random numbers of the context and the query."""
    root = np.linalg.cholesky(COVARIANCE)
    z, weights = _normal_rule(N * D + N)
    x = z[:, : N * D].reshape(-1, N, D) @ root.T
    noise = np.sqrt(NOISE) * z[:, N * D :]
    query, query_weights = _normal_rule(D)
    x_q = query @ root.T
    losses = []
    for task, M in _cases(context):
        assert isinstance(task.teachers, Pool)
        loss = QUERY_NOISE
        for w, share in zip(
            task.teachers.members[:, 0], task.teachers.member_weights, strict=True
        ):
            y = x @ w + noise
            β = np.einsum("gn,gnd->gd", y, x) / N
            h = np.column_stack([β, np.mean(y**2, axis=1)])
            residuals = x_q @ w - h @ M @ x_q.T
            loss += share * float(weights @ residuals**2 @ query_weights)
        losses.append(np.array([loss]))
    return losses


def _stated_losses(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the moments, or wrong ones."""
    return [np.array([_stated_loss(case, control)]) for case in _cases(context)]


def _stated_loss(case: _Case, control: str) -> float:
    task, M = case
    if control == UNMODIFIED:
        return float(readout_loss(task, M))
    moments = readout_moments(task, label_row=True)
    A = moments.A.copy()
    if control == WRONG_SQUARE:
        # E v² without the factor and without the term 2σ² E wᵀΛw, as it stands in public code for |w|² = D.
        A[-1, -1] = A[-1, -1] / (1 + 2 / N) - 2 * NOISE * (moments.c - QUERY_NOISE)
    if control == NO_NOISE:
        A[:-1, :-1] -= NOISE / N * COVARIANCE
    if control == NO_PAIRS:
        A[-1, :-1] /= 1 + 2 / N
        A[:-1, -1] /= 1 + 2 / N
    return float(replace(moments, A=A).loss(M))


# -- Conventions --------------------------------------------------------------------------------------------------

FIT_DIMENSION, FIT_TASKS, FIT_SEQUENCES = 4, 3, 30
PAPER_RIDGE = 0.3
FIT_BOUND = 1e-10
"""Both solvers lose a few digits to the condition of their equations."""

WRONG_RIDGE = "λ_M = λ/D"
UNWEIGHTED = "the label row weighs 1"
TRANSPOSED = "M = DΓ without the transpose"


def _summaries(context: RunContext) -> ContextSummaries:
    """A data set in the paper's setting."""
    d = FIT_DIMENSION
    pool = Sphere(d).pool(FIT_TASKS, seed=context.seeds(1)[0])
    task = Task([1 / d] * d, teachers=pool, context_length=2 * d, noise_variance=0.1)
    return sample_summaries(task, FIT_SEQUENCES, seed=context.seeds(1)[0])


def _paper_solution(context: RunContext) -> list[FloatArray]:
    """Γ (D, D+1) that minimises Σ (y − x_qᵀ Γ h)² + (P λ/D) |Γ|² with h = (Dβ, s), by its normal equations."""
    data = _summaries(context)
    h = np.column_stack([data.dimension * data.beta, data.mean_squares])
    # "i" of x_q, "j" of h.
    features = np.einsum("pi,pj->pij", data.query, h).reshape(data.sequences, -1)
    penalty = data.sequences * PAPER_RIDGE / data.dimension
    normal = features.T @ features + penalty * np.eye(features.shape[1])
    Γ = np.linalg.solve(normal, features.T @ data.labels)
    return [Γ.reshape(data.dimension, -1)]


def _converted_solution(context: RunContext, control: str) -> list[FloatArray]:
    """Γ of the fit in the package's conventions, or of wrong ones."""
    d = FIT_DIMENSION
    conventions = readout(gamma=np.zeros((d, d + 1)), ridge=PAPER_RIDGE)
    M = ridge_fit(
        _summaries(context),
        ridge=PAPER_RIDGE / d if control == WRONG_RIDGE else conventions.ridge,
        label_row=True,
        label_weight=1.0 if control == UNWEIGHTED else conventions.label_weight,
    )
    if control == TRANSPOSED:
        M[:d] = M[:d].T
    return [readout(map=M).gamma]


CLAIMS = (
    Claim(
        id="asymptotics.readout_loss",
        title="The loss of any read-out on finitely many tasks is known exactly, for any covariance of the inputs",
        paper="lu2025",
        beyond_paper=True,
        equation="test error of a read-out",
        origin="the paper has white inputs and tasks on the sphere",
        statement=r"L(M) = c - 2\operatorname{tr}(B^\top M) + \operatorname{tr}(\Lambda M^\top A M),\quad "
        r"E s^2 = (1 + \tfrac2N) E v^2",
        observable="squared error at the points of Gauss–Hermite rules over whole prompts, exact for this polynomial",
        limit="none",
        hypotheses=("x Gaussian with mean 0",),
        measure=_on_prompts,
        predict=_stated_losses,
        judge=equal_within(ROUNDING),
        controls=(WRONG_SQUARE, NO_NOISE, NO_PAIRS),
        tier="fast",
    ),
    Claim(
        id="asymptotics.conventions",
        title="The paper's ridge solution is the package's with M = DΓᵀ and the ridge λ/D³",
        paper="lu2025",
        equation="ridge solution",
        origin="the conversion is derived here",
        statement=r"M = D\,\Gamma_{:, :D}^\top,\quad m = \Gamma_{:, D},\quad \lambda_M = \lambda/D^3",
        observable="the paper's normal equations on a data set",
        limit="none",
        measure=_paper_solution,
        predict=_converted_solution,
        judge=equal_within(FIT_BOUND),
        controls=(WRONG_RIDGE, UNWEIGHTED, TRANSPOSED),
        tier="fast",
    ),
)
