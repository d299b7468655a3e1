"""Losses of fixed weights on contexts of other lengths than they were trained on: softmax heads, and linear attention.

Softmax divides by the number of tokens on its own, so that a longer context only helps: as N → ∞ the prediction is
wᵀΛMx_q with M = Σ_h μ_h ω_h A. Linear attention does so if its divisor is the length of each context. Without a divisor
the step grows as N, and the loss with its square. Source: derived here.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import (
    check_choice,
    check_shape,
    finite_array,
    is_whole_number,
    positive_number,
    true_or_false,
)
from ...task import Task
from ..call_order import require_task_first
from ..moments.laws import input_second_moments, teacher_second_moments
from ..predictors.step_losses import plain_step_loss
from .exact_losses import exact_loss
from .head_scalars import checked_head_scalars
from .softmax_tasks import refuse_other_inputs

DIVISORS = ("context", "none")


# Long because infinite lengths stand beside finite ones in one loop.
def losses_at_lengths(
    task: Task,
    omega: ArrayLike,
    mu: ArrayLike,
    lengths: Iterable[float],
    *,
    query_token: bool = False,
    matrix: ArrayLike | None = None,
) -> FloatArray:
    """Exact losses of softmax heads `omega`, `mu` (H,) at these context lengths, (lengths,), in units of y².

    A length is a whole number of at least 1, or infinity for the limit. The `task` says all but the length.
    Arguments and refusals are those of `exact_loss`. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> losses_at_lengths(task, [0.13, -0.13], [3.391, -3.391], [10, 40, np.inf]).round(6)
    array([0.587843, 0.242988, 0.114004])
    """
    require_task_first("losses_at_lengths(task, omega, mu, lengths)", task, omega)
    ω, μ = checked_head_scalars(omega, mu)
    check_shape(ω, "omega", "(H,)")
    refuse_other_inputs(task, "the exact loss of softmax heads")
    true_or_false(query_token, "query_token")
    D = task.dimension
    A = np.eye(D) if matrix is None else finite_array(matrix, "matrix", "(D, D)", D=D)
    losses = []
    for N in checked_lengths(lengths):
        if np.isinf(N):
            losses.append(_limit(task, float(ω @ μ) * A))
        else:
            at_length = _at_length(task, int(N))
            loss = exact_loss(at_length, ω, μ, query_token=query_token, matrix=A)
            losses.append(float(loss))
    return np.array(losses)


def linear_losses_at_lengths(
    task: Task,
    step: float,
    lengths: Iterable[float],
    *,
    divisor: str,
    preconditioner: ArrayLike | None = None,
) -> FloatArray:
    """Exact losses of linear attention that takes this `step` at the length of the `task`, at other lengths.

    `divisor` "context" divides by the length of each context: the step stays. With "none" the weights are fixed
    without one, and the step is step·N/N₀: infinite as N → ∞. Other arguments and refusals are those of
    `plain_step_loss`; the task must have one context length N₀ ≥ 1 with "none". Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> linear_losses_at_lengths(task, 40 / 45.5, [10, 40, 160], divisor="none").round(4)
    array([0.7401, 0.2402, 6.935 ])
    """
    require_task_first("linear_losses_at_lengths(task, step, lengths)", task, step)
    η = float(finite_array(step, "step", "()"))
    check_choice(divisor, "divisor", DIVISORS)
    losses = []
    for N in checked_lengths(lengths):
        growth = 1.0 if divisor == "context" else N / _trained_length(task)
        if np.isinf(N):
            losses.append(_linear_limit(task, η * growth, preconditioner))
        else:
            loss = plain_step_loss(
                _at_length(task, int(N)), η * growth, preconditioner=preconditioner
            )
            losses.append(float(loss))
    return np.array(losses)


def checked_lengths(lengths: Iterable[float]) -> list[float]:
    """Context lengths, whole numbers of at least 1 or infinity; ValueError for others.

    >>> checked_lengths([10, np.inf])
    [10.0, inf]
    """
    given: list[Any] = list(lengths)
    for N in given:
        is_infinite = isinstance(N, float) and bool(np.isposinf(N))
        if not is_infinite and not is_whole_number(N, 1):
            raise ValueError(
                f"lengths must be whole numbers of at least 1, or infinity, not {N!r}"
            )
    return [float(N) for N in given]


def _at_length(task: Task, length: int) -> Task:
    """The same task with this context length."""
    return Task(**task.arguments() | {"context_length": length})


def _trained_length(task: Task) -> float:
    """N₀; ValueError for several lengths."""
    if len(task.context_lengths) != 1:
        raise ValueError(
            f"without a divisor the step is that of one context length, not of {task.context_length!r}"
        )
    return positive_number(task.context_lengths[0], "context_length")


def _limit(task: Task, M: FloatArray) -> float:
    """The loss of wᵀΛMx_q."""
    Ω = teacher_second_moments(task.teachers)[0, :, 0, :]
    Λ = task.covariance
    missed = np.eye(task.dimension) - Λ @ M
    return task.query_noise_variance + float(np.sum(Ω * (missed @ Λ @ missed.T)))


def _linear_limit(task: Task, η: float, preconditioner: ArrayLike | None) -> float:
    """The loss of a step as N → ∞, the mean of an infinite step being infinite."""
    if np.isinf(η):
        return np.inf
    Ω = np.einsum("kakb->ab", teacher_second_moments(task.teachers))
    M2 = input_second_moments(task)
    D = task.dimension
    Γ = np.eye(D)
    if preconditioner is not None:
        Γ = finite_array(preconditioner, "preconditioner", "(D, D)", D=D)
    missed = np.eye(D) - η * M2 @ Γ
    noise = task.outputs * task.query_noise_variance
    return noise + float(np.sum(Ω * (missed @ M2 @ missed.T)))
