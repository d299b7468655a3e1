"""The exact loss of a read-out on finitely many tasks, and the paper's conventions."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ....context_lengths import ContextLength
from ....runtime.arrays import FloatArray
from ....simulate import ContextSummaries, ridge_fit, sample_summaries
from ....task import Task
from ....teachers import Gaussian, Mixture, Pool, Sphere, TeacherLaw
from ....theory.asymptotics import Readout, readout, readout_loss, readout_moments
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import equal_within
from .whole_prompts import prompts_of

# -- The loss -----------------------------------------------------------------------------------------------------

D, N = 2, 2
NOISE, QUERY_NOISE = 0.3, 0.2
COVARIANCE = np.array([[1.0, 0.4], [0.4, 0.5]])
LENGTHS = {0: 1.0, 1: 2.0, 2: 1.0}
GAUSSIAN = Gaussian([[0.8, 0.3], [0.3, 0.4]], mean=[0.5, -1.0])
CIRCLE = Sphere(2, radius=1.5)
"""Laws of tasks, and weights of context lengths."""

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
    """One task, three with unequal weights, and laws of every kind on contexts that may be empty."""
    generator = np.random.default_rng(context.seeds(1)[0])
    laws: list[tuple[TeacherLaw, ContextLength]] = []
    for weights in ([1.0], [1.0, 2.0, 3.0]):
        laws.append((Pool(generator.normal(size=(len(weights), D)), weights), N))
    for law in (GAUSSIAN, CIRCLE, Mixture((0.25, GAUSSIAN), (0.75, CIRCLE))):
        laws.append((law, LENGTHS))
    return [
        _Case(_task(law, length), generator.normal(size=(D + 1, D)))
        for law, length in laws
    ]


def _task(law: TeacherLaw, length: ContextLength) -> Task:
    """Correlated inputs with tasks of a law."""
    return Task(
        covariance=COVARIANCE,
        teachers=law,
        context_length=length,
        noise_variance=NOISE,
        query_noise_variance=QUERY_NOISE,
    )


def _on_prompts(context: RunContext) -> list[FloatArray]:
    """The loss of every case at the points of a rule over all random numbers of the context and the query."""
    losses = []
    for task, M in _cases(context):
        squares = [each.mean(each.residuals(M) ** 2) for each in prompts_of(task)]
        losses.append(np.array([QUERY_NOISE + sum(squares)]))
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
    Γ = np.linalg.solve(normal, features.T @ data.labels).reshape(data.dimension, -1)
    predictions = np.einsum("pi,ij,pj->p", data.query, Γ, h)
    paper_penalty = PAPER_RIDGE / data.dimension * np.sum(Γ**2)
    return [Γ, predictions, np.full(2, paper_penalty)]


def _converted_solution(context: RunContext, control: str) -> list[FloatArray]:
    """Γ of the fit in the package's conventions, or of wrong ones."""
    d = FIT_DIMENSION
    conventions = readout(gamma=np.zeros((d, d + 1)), ridge=PAPER_RIDGE)
    data = _summaries(context)
    M = ridge_fit(
        data,
        ridge=PAPER_RIDGE / d if control == WRONG_RIDGE else conventions.ridge,
        label_row=True,
        label_weight=1.0 if control == UNWEIGHTED else conventions.label_weight,
    )
    if control == TRANSPOSED:
        M[:d] = M[:d].T
    there = readout(map=M, ridge=conventions.ridge)
    back = readout(gamma=there.gamma, ridge=PAPER_RIDGE)
    return [there.gamma, _predictions(data, back.map), _penalties(there, back)]


def _predictions(data: ContextSummaries, M: FloatArray) -> FloatArray:
    """βᵀ M x_q + s m·x_q of every prompt, (P,)."""
    h = np.column_stack([data.beta, data.mean_squares])
    return np.asarray(np.einsum("pj,ji,pi->p", h, M, data.query))


def _penalties(there: Readout, back: Readout) -> FloatArray:
    """The penalty in the paper's convention of a map, and in the package's of a Γ, (2,)."""
    D = FIT_DIMENSION
    paper = there.paper_ridge / D * np.sum(there.gamma**2)
    squares = np.sum(back.map[:D] ** 2) + back.label_weight * np.sum(back.map[D] ** 2)
    return np.array([paper, back.ridge * squares])


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
        observable="the paper's normal equations on a data set, their predictions and their penalty",
        limit="none",
        measure=_paper_solution,
        predict=_converted_solution,
        judge=equal_within(FIT_BOUND),
        controls=(WRONG_RIDGE, UNWEIGHTED, TRANSPOSED),
        tier="fast",
    ),
)
