"""Exact losses of linear read-outs on a task, without test data.

The read-out ŷ = hᵀ M x_q sees h = β = Σ y x / N, or h = (β, s) with the label row, where s = Σ y² / N. For one task w
with v = wᵀΛw + σ² and Gaussian x of mean zero

    E β = Λw,  E ββᵀ = (v Λ + (N + 1) Λw wᵀΛ)/N,  E s = v,  E βs = (1 + 2/N) v Λw,  E s² = (1 + 2/N) v²,

and the query is independent of h given w. The paper has the means over the sphere for Λ = I/D; any Λ and any law of
tasks are derived here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array, true_or_false
from ...runtime.display import Displayed, Summary, array_summary
from ...task import Task
from ..call_order import require_task_first
from ..moments.laws import (
    contracted_fourth_moments,
    input_second_moments,
    teacher_second_moments,
)
from .laws_as_points import points_of_law

_SMALLEST_MOMENT = 1e-290
"""Smaller numbers lose digits when they are multiplied."""


@dataclass(frozen=True, eq=False, repr=False)
class ReadoutMoments(Displayed):
    """L(M) = c − 2 tr(BᵀM) + tr(Λ Mᵀ A M) of read-outs ŷ = hᵀ M x_q, M (E, D), in units of y².

    c = E y_q², B = E[y_q h x_qᵀ] (E, D), A = E[h hᵀ] (E, E), and `Lambda` = E[x xᵀ]. E is D, or D + 1 with the label
    row, which is the last of M. The features h_i x_j have the covariance A ⊗ Λ.
    """

    c: float
    B: FloatArray
    A: FloatArray
    Lambda: FloatArray

    def loss(self, M: FloatArray) -> FloatArray:
        """L(M) for M (..., E, D), shape (...)."""
        quadratic: FloatArray = self.A @ M @ self.Lambda - 2 * self.B
        return np.asarray(self.c + np.sum(quadratic * M, axis=(-2, -1)))

    def to_dict(self) -> dict[str, Any]:
        """The moments as plain numbers and lists."""
        return {
            "c": self.c,
            "B": self.B.tolist(),
            "A": self.A.tolist(),
            "Lambda": self.Lambda.tolist(),
        }

    def summary(self) -> Summary:
        """The range of the moments on one screen."""
        rows = {
            "loss at M = 0": f"{self.c:.8g}",
            "B": array_summary(self.B),
            "A": array_summary(self.A),
        }
        loss = r"L(M) = c - 2 \operatorname{tr}(B^\top M) + \operatorname{tr}(\Lambda M^\top A M)"
        return Summary("Moments of linear read-outs", rows, {"loss": loss})


def readout_moments(task: Task, *, label_row: bool = False) -> ReadoutMoments:
    """The moments of read-outs on a task, exactly; with `label_row` those of h = (β, s).

    The law of the teachers is taken as it is: a `Pool` stands for its tasks alone, also where they are fewer than D.
    Of several context lengths the moments are weighted means. Without the label row inputs of any law are known whose
    fourth moments are. ValueError for several outputs, and with the label row for inputs that are not Gaussian of mean
    zero and for a law of your own.
    Source: Lu et al. 2025 (arXiv 2405.11751) for white inputs and the sphere; otherwise derived here.

    >>> from attndyn.teachers import Pool
    >>> task = Task([1, 1], teachers=Pool([[1, 0]]), context_length=4, noise_variance=0.5)
    >>> readout_moments(task, label_row=True).A
    array([[1.625, 0.   , 2.25 ],
           [0.   , 0.375, 0.   ],
           [2.25 , 0.   , 3.375]])
    """
    require_task_first("readout_moments(task)", task, None)
    has_row = true_or_false(label_row, "label_row")
    _refuse_outputs(task)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        moments = _moments_of_beta(task)
        if has_row:
            moments = _with_label_row(task, moments)
    _refuse_unrepresentable(task, moments)
    return moments


def _moments_of_beta(task: Task) -> ReadoutMoments:
    """The moments of h = β."""
    Λ = input_second_moments(task)
    Ω = teacher_second_moments(task.teachers)[0, :, 0, :]
    signal = float(np.sum(Ω * Λ))
    ΛΩΛ = Λ @ Ω @ Λ
    token = contracted_fourth_moments(task, Ω) + task.noise_variance * Λ
    # An empty context has no β.
    present = inverse_length_mean(task, 0)
    single = inverse_length_mean(task, 1)
    A = (present - single) * ΛΩΛ + single * token
    return ReadoutMoments(
        c=signal + task.query_noise_variance,
        B=present * ΛΩΛ,
        A=(A + A.T) / 2,
        Lambda=Λ,
    )


def _refuse_unrepresentable(task: Task, moments: ReadoutMoments) -> None:
    """ValueError for moments that overflow, and for those of labels that vary but vanish as numbers."""
    finite = all(
        np.all(np.isfinite(part)) for part in (moments.A, moments.B, moments.c)
    )
    has_labels = moments.c - task.query_noise_variance + task.noise_variance > 0
    has_contexts = inverse_length_mean(task, 1) > 0
    vanishes = has_labels and has_contexts and np.max(moments.A) < _SMALLEST_MOMENT
    if not finite or vanishes:
        raise ValueError(
            "the moments of this task are too large or too small for doubles: rescale Λ, for instance by trace=1, or "
            "the teachers"
        )


def readout_loss(task: Task, M: ArrayLike) -> FloatArray:
    """E (y_q − ŷ)² of ŷ = hᵀ M x_q on fresh prompts of a task, M (…, D, D), or (…, D+1, D) with the label row; (…).

    On a task whose teachers are the `Pool` of the training tasks it is the in-distribution error, on the law that the
    pool was drawn from the in-context error. The noise of the query's label is included.
    ValueError as `readout_moments`, and for M of another shape or not finite; OverflowError for a loss beyond doubles.
    Source: Lu et al. 2025 (arXiv 2405.11751); any Λ and any law of tasks derived here.

    >>> task = Task([2, 1], context_length=5, noise_variance=0.5)
    >>> readout_loss(task, np.zeros((2, 2)))
    np.float64(3.5)
    """
    require_task_first("readout_loss(task, M)", task, M)
    D = task.dimension
    maps = finite_array(M, "M", "(..., D, D)", "(..., E, D)", D=D, E=D + 1)
    moments = readout_moments(task, label_row=maps.shape[-2] == D + 1)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        losses = moments.loss(maps)
    if not np.all(np.isfinite(losses)):
        raise OverflowError(
            "the loss is too large for doubles: give x and y in other units"
        )
    return losses[()]


def inverse_length_mean(task: Task, power: int) -> float:
    """The weighted mean of N^−power over the context lengths N ≥ 1 of a task; empty contexts count as 0.

    >>> inverse_length_mean(Task([1], context_length=[2, 4]), 1)
    0.375
    """
    lengths = np.array(task.context_lengths, dtype=float)
    nonempty = lengths > 0
    inverses = lengths[nonempty] ** -power
    return float(task.context_weights[nonempty] @ inverses)


def _with_label_row(task: Task, moments: ReadoutMoments) -> ReadoutMoments:
    """The moments of h = (β, s) from those of β."""
    refuse_other_inputs(task, "the label row")
    Λ = moments.Lambda
    w, weights = points_of_law(task.teachers)
    v = np.einsum("ka,ab,kb->k", w, Λ, w, optimize=True) + task.noise_variance
    vw = (weights * v) @ w
    vv = float(weights @ v**2)
    present = inverse_length_mean(task, 0)
    pairs = present + 2 * inverse_length_mean(task, 1)
    D = task.dimension
    A = np.empty((D + 1, D + 1))
    A[:D, :D] = moments.A
    A[D, :D] = A[:D, D] = pairs * Λ @ vw
    A[D, D] = pairs * vv
    B = np.vstack([moments.B, present * Λ @ vw])
    return ReadoutMoments(moments.c, B, A, Λ)


def refuse_other_inputs(task: Task, what: str) -> None:
    """ValueError unless x is Gaussian with mean zero."""
    if not task.inputs.is_gaussian or np.any(task.input_mean):
        raise ValueError(f"{what} is known for Gaussian inputs of mean zero alone")


def _refuse_outputs(task: Task) -> None:
    """ValueError for several outputs."""
    if task.outputs > 1:
        raise ValueError(
            f"read-outs are for one label of x, and the task has {task.outputs} outputs: take each output as a task of "
            "its own"
        )
