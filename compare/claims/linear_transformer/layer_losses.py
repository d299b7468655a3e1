"""The exact loss of one layer with several outputs, against the layer itself at the nodes of a quadrature."""

from functools import cache

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....teachers import Gaussian
from ....theory.linear_transformer import layer_loss
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import equal_within
from .setting import gaussian_prompts, head_weights, mode_task

NODES = 4
"""Of each number of a token: the loss has degree 6 in it."""

BOUND = 1e-12
"""Rounding of sums of 10^5 terms."""

NO_TRACE = "without tr(QΛ) Λ/N"
WRONG_LENGTH = "N + 1 for N"
WRONG_NOISE = "noise σ² tr Λ for (σ²/N) |p|² tr(QΛ)"
HALF = "with the factor ½"

# Γ and Ω that are not diagonal, so that every index of T counts.
GAMMA = np.array([[1.0, 0.6], [0.6, 2.0]])
OMEGA = np.array([[0.7, -0.3], [-0.3, 1.1]])


@cache
def _cases() -> tuple[tuple[Task, FloatArray], ...]:
    """Tasks, each with the root (KD, R) of its teachers: modes without and with noise, and Γ ⊗ Ω."""
    shared = np.zeros((4, 2))
    shared[0, 0], shared[3, 1] = 1.0, np.sqrt(0.5)
    kronecker = np.linalg.cholesky(np.kron(GAMMA, OMEGA))
    return (
        (mode_task([1.3, 0.4], 2, [1.0, 0.5]), shared),
        (mode_task([1.3, 0.4], 1, [1.0, 0.5], noise=0.3), shared),
        (
            Task(
                [1.3, 0.4],
                teachers=Gaussian.kronecker(GAMMA, OMEGA),
                context_length=1,
                noise_variance=0.3,
            ),
            kronecker,
        ),
    )


def _maps(context: RunContext) -> FloatArray:
    """p and q (2, 3, 2, 2) of every case: full matrices."""
    generator = np.random.default_rng(context.seeds(1)[0])
    return generator.normal(size=(2, len(_cases()), 2, 2))


def _on_tokens(context: RunContext) -> list[FloatArray]:
    """The loss of every case by quadrature of the layer."""
    losses = []
    for (task, root), p, q in zip(_cases(), *_maps(context), strict=True):
        prompts = gaussian_prompts(task, root, NODES)
        # The noise of the query's own label adds its variance.
        query_noise = task.outputs * task.query_noise_variance
        losses.append(prompts.loss(task, head_weights(task, p, q)) + query_noise)
    return [np.array(losses)]


def _stated(context: RunContext, control: str) -> list[FloatArray]:
    """The loss of every case by the formula, or a wrong one."""
    losses = [
        _changed(task, p, q, control)
        for (task, _), p, q in zip(_cases(), *_maps(context), strict=True)
    ]
    return [np.array(losses)]


def _changed(task: Task, p: FloatArray, q: FloatArray, control: str) -> float:
    """The loss, or what a mistake makes of it."""
    Λ, N, σ2 = task.covariance, max(task.context_lengths), task.noise_variance
    if control == WRONG_LENGTH:
        settings = task.to_dict() | {"context_length": N + 1}
        return float(layer_loss(Task.from_dict(settings), p, q))
    loss = float(layer_loss(task, p, q))
    if control == HALF:
        return loss / 2
    size = float(np.trace(q @ Λ @ q.T @ Λ))
    if control == NO_TRACE:
        assert isinstance(task.teachers, Gaussian)
        labels = np.einsum("icjd,cd->ij", task.teachers.second, Λ)
        return loss - float(np.sum(p.T @ p * labels)) * size / N
    if control == WRONG_NOISE:
        stated = σ2 / N * float(np.sum(p**2)) * size
        return loss - stated + σ2 * float(np.trace(Λ))
    assert control == UNMODIFIED
    return loss


CLAIMS = (
    Claim(
        id="modes.loss",
        title="The loss of one layer with several outputs is known exactly, for any p and q and any law of teachers",
        paper="mainali2025",
        beyond_paper=True,
        equation="loss of one layer",
        origin="the exact loss is derived here",
        statement=r"L = c - 2\langle p \otimes q, \mathcal B \rangle + \langle (p^\top p) \otimes (q \Lambda q^\top), "
        r"\mathcal A \rangle,\quad \mathcal A = E[\beta \otimes \beta]",
        observable="squared error of the layer at the nodes of Gauss–Hermite rules, exact for this polynomial",
        limit="none",
        hypotheses=("x Gaussian with mean 0", "−W has the law of W", "null blocks 0"),
        measure=_on_tokens,
        predict=_stated,
        judge=equal_within(BOUND),
        controls=(NO_TRACE, WRONG_LENGTH, WRONG_NOISE, HALF),
        tier="fast",
    ),
)
