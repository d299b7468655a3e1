"""Time courses of one layer from any weights, where its modes are no axes of x."""

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import flow
from ....task import Task
from ....teachers import Gaussian
from ....theory import time_course
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import equal_within
from ...exact_statistics import population_statistics
from .setting import LOSS, head_weights, one_head

ANGLE = 0.6
"""Of the modes to the axes of x."""
BASIS = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
INPUTS, TEACHERS = np.array([1.2, 0.7]), np.array([1.0, 0.8])
"""Of the modes, in the order of their thresholds."""
TASK = Task(
    covariance=BASIS @ np.diag(INPUTS) @ BASIS.T,
    teachers=Gaussian.shared_basis(TEACHERS.tolist(), BASIS.tolist()),
    context_length=5,
    noise_variance=0.2,
)
TIMES = np.linspace(0.0, 6.0, 13)
P, Q = np.array([0.3, 0.1]), np.array([0.2, 0.4])
"""Of the modes of a start by amplitudes."""
BOUND = 1e-9
"""Of integrated flows."""

AXES = "products on the axes of x"
EXCHANGED = "p and q of the start exchanged"


def _matrices(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """p and q (D, D) with every entry random."""
    generator = np.random.default_rng(context.seeds(1)[0])
    p, q = 0.5 * generator.normal(size=(2, 2, 2))
    return p, q


def _run(p: FloatArray, q: FloatArray) -> list[FloatArray]:
    """Losses, p and q, and their products on the modes along gradient flow of all weights."""
    model = one_head(TASK)
    moments = population_statistics(TASK, model)
    run = flow(model, moments, head_weights(TASK, p, q), TIMES)
    p_t = run.weights["value"][:, 0, :, 2:]
    q_t = run.weights["key_query"][:, 0, :2, :2]
    on_modes = [np.einsum("ia,tij,ja->ta", BASIS, each, BASIS) for each in (p_t, q_t)]
    return [run.loss, p_t, q_t, on_modes[0] * on_modes[1]]


def _measured(context: RunContext) -> list[FloatArray]:
    """From random weights, and from weights that are diagonal on the modes."""
    from_weights = _run(*_matrices(context))
    on_modes = _run(BASIS @ np.diag(P) @ BASIS.T, BASIS @ np.diag(Q) @ BASIS.T)
    return [*from_weights, on_modes[0], on_modes[3]]


def _stated(context: RunContext, control: str) -> list[FloatArray]:
    """The time courses of both starts, or wrong ones."""
    model, starts = one_head(TASK), [_matrices(context), (P, Q)]
    if control == EXCHANGED:
        starts = [(q, p) for p, q in starts]
    weights = head_weights(TASK, *starts[0])
    course = time_course(TASK, model, TIMES, weights)
    other = time_course(TASK, model, TIMES, starts[1])
    p, q = np.moveaxis(course.amplitudes.reshape(len(TIMES), 2, 2, 2), 1, 0)
    products = course.coefficients
    if control == AXES:
        products = np.einsum("tii->ti", p) * np.einsum("tii->ti", q)
    return [course.loss, p, q, products, other.loss, other.coefficients]


CLAIMS = (
    Claim(
        id="modes.courses",
        title="The time course of one layer is its gradient flow from any weights, with products of p and q on modes",
        paper="mainali2025",
        beyond_paper=True,
        equation="mode-wise dynamics",
        origin="the paper starts with diagonal p and q; derived here",
        statement=r"a_\alpha(t) = u_\alpha^\top p(t)\, u_\alpha\; u_\alpha^\top q(t)\, u_\alpha",
        observable="loss, p, q and their products on modes along gradient flow on the exact moments, from two starts",
        limit="none",
        hypotheses=("shared basis", "null blocks 0"),
        measure=_measured,
        predict=_stated,
        judge=equal_within(BOUND),
        controls=(AXES, EXCHANGED),
        assumes=LOSS,
        tier="fast",
    ),
)
