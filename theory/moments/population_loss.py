"""The loss that gradient flow descends when data are unlimited: exact moments and what follows from them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...models.protocol import Parametrization, is_softmax, refuse_other_outputs
from ...runtime.arrays import BoolArray, FloatArray, IndexArray
from ...runtime.covariances import eigenvalue_rounding, is_diagonal
from ...runtime.display import Displayed, Summary, array_summary
from ...task import Task
from ..call_order import require_task_first
from .context_lengths import LengthMeans, length_means
from .laws import (
    contracted_fourth_moments,
    input_second_moments,
    teacher_second_moments,
)

# What an eigensolver may make of equal gains, relative to the largest.
_ROUNDED_TIE = 1e-12
# Entries off the diagonal that still count as rounding, relative to the largest entry.
_COMMUTING = 1e-10
# Smaller moments lose digits: doubles are exact to 1e-16 from 2e-308 on, and the moments are multiplied.
_SMALLEST_MOMENT = 1e-300
# By which Λ and Ω are mixed: any generic numbers, several in case that one of them is not for a task.
_MIXTURES = (0.7548776662466927, 0.5698402909980532, 1.3247179572447460)


class Spectrum(NamedTuple):
    """Eigenvalues of Λ, A and B on common eigenvectors e_d, by decreasing gain b²/(aλ): dv/dt = b v² − a λ v⁵.

    Directions of no gain, on which x or the teacher does not vary, are left out.
    """

    lam: FloatArray
    a: FloatArray
    b: FloatArray
    directions: FloatArray
    gains: FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class Population(Displayed):
    """L(M) = c − 2 tr(BᵀM) + tr(Λ Mᵀ A M) of the restricted map M (D, D), in units of y².

    The model predicts βᵀ M x_q with β = Σ_n y_n x_n / divisor: c = E y_q², B = E[y_q β x_qᵀ], A = E[β βᵀ], `Lambda`
    is E x xᵀ, which is Λ where x has mean 0. `spectrum` holds the common eigenvectors of Λ, A and B where there are
    any. Directions are numbered from 1 by decreasing gain: the gain is how much learning that direction lowers the
    loss; those of no gain are left out. `invariant` says whether gradient flow stays on the restricted block, as it
    does where −W has the law of W. `rank` is that of B, which Λ and Ω decide better than B itself, if it is given.

    With K > 1 `outputs` M is (K, K, D, D), its blocks M_ij joining β_j to output i; A = E[β βᵀ] is (KD, KD), B
    (K, K, D, D) with B_ij = E[y_i β_j x_qᵀ], and L = c + Σ_i [tr(Λ M_iᵀ A M_i) − 2 tr(B_iᵀ M_i)] with M_i (KD, D).

    Source: Zhang et al. 2025 (arXiv 2501.16265), for Ω = 1 and no noise.
    """

    c: float
    A: FloatArray
    B: FloatArray
    Lambda: FloatArray
    spectrum: Spectrum | None = None
    outputs: int = 1
    invariant: bool = True
    rank: int | None = None
    A_size: FloatArray | None = None

    @property
    def direction_count(self) -> int:
        """How many directions have a gain, D where Λ and Ω are positive definite."""
        return len(self.gains)

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return len(self.Lambda)

    def loss(self, M: FloatArray) -> FloatArray:
        """L(M) for M (..., D, D), or (..., K, K, D, D) of K > 1 outputs; shape (...), in units of y²."""
        if self.outputs > 1:
            M = self._stacked(M)
            B = self._stacked(self.B)
            terms = (self.A @ M @ self.Lambda - 2 * B) * M  # (..., K, KD, D)
            return np.asarray(self.c + np.sum(terms, axis=(-3, -2, -1)))
        quadratic: FloatArray = self.A @ M @ self.Lambda - 2 * self.B
        return np.asarray(self.c + np.sum(quadratic * M, axis=(-2, -1)))

    def _stacked(self, M: FloatArray) -> FloatArray:
        """Blocks (..., K, K, D, D) of K outputs with those of all β_j below each other, (..., K, KD, D)."""
        K, D = self.outputs, self.dimension
        array = np.asarray(M)
        if array.shape[-4:] != (K, K, D, D):
            raise ValueError(
                f"M must have shape (..., {K}, {K}, {D}, {D}), as effective_map gives it, not {array.shape}"
            )
        return array.reshape(*array.shape[:-4], K, K * D, D)

    def excess(self, M: FloatArray) -> FloatArray:
        """L(M) − L(M*) = tr[Λ (M − M*)ᵀ A (M − M*)] for M (..., D, D), without cancellation."""
        gap = M - self.minimum
        if self.outputs > 1:
            gap = self._stacked(gap)
            return np.asarray(
                np.sum((self.A @ gap @ self.Lambda) * gap, axis=(-3, -2, -1))
            )
        return np.asarray(np.sum((self.A @ gap @ self.Lambda) * gap, axis=(-2, -1)))

    def aligned_loss(self, coefficients: FloatArray) -> FloatArray:
        """L of the maps Σ_d x_d e_d e_dᵀ, for x (..., D), shape (...); ValueError where not `is_aligned`."""
        gap = coefficients - self.coefficients
        # Σ_d a_d λ_d gap_d², where the product aλ alone may be too small for a number.
        excess = np.sum((gap * self.a) * (gap * self.lam), axis=-1)
        return np.asarray(self.minimum_loss + excess)

    def residual_correlation(self, M: FloatArray) -> FloatArray:
        """G = B − A M Λ = −½ ∂L/∂M, by which gradient flow moves the weights, in the shape of M."""
        if self.outputs > 1:
            moved = self.A @ self._stacked(M) @ self.Lambda
            return np.asarray(self.B - moved.reshape(np.shape(M)))
        return np.asarray(self.B - self.A @ M @ self.Lambda)

    def gradient(self, M: FloatArray) -> FloatArray:
        """∂L/∂M for M (..., D, D)."""
        return -2 * self.residual_correlation(M)

    @property
    def is_aligned(self) -> bool:
        """Whether Λ, A and B share their eigenvectors: T is then diagonal in the basis of Λ."""
        return self.spectrum is not None

    @cached_property
    def gains(self) -> FloatArray:
        """Squared singular values of T = A^{-1/2} B Λ^{-1/2}, (D,), decreasing.

        Gains are equal where they tie: for diagonal Λ and Ω just where λ_d ω_d are the same number as they are
        written, else up to the rounding of an eigensolver.
        """
        self._refuse_outputs("gains")
        return (
            self._singular_system.gains
            if self.spectrum is None
            else self.spectrum.gains
        )

    def _refuse_outputs(self, what: str) -> None:
        """ValueError where there are several outputs."""
        if self.outputs > 1:
            raise ValueError(
                f"{what} are of one output, and this loss has {self.outputs}: it has minimum and minimum_loss, and "
                "train follows its descent"
            )

    @cached_property
    def left(self) -> FloatArray:
        """Left singular vectors u_d of T as columns, in the order of `gains`: (D, D) where all have a gain."""
        if self.is_aligned:
            return self.directions
        return _square_root(self.A) @ self._singular_system.keys

    @cached_property
    def right(self) -> FloatArray:
        """Right singular vectors t_d of T as columns, in the order of `gains`: (D, D) where all have a gain."""
        if self.is_aligned:
            return self.directions
        return _square_root(self.Lambda) @ self._singular_system.queries

    @property
    def directions(self) -> FloatArray:
        """Common eigenvectors e_d as columns, (D, D), by decreasing gain; ValueError where not `is_aligned`."""
        return self._aligned.directions

    @property
    def lam(self) -> FloatArray:
        """Eigenvalue of Λ on each direction, (D,); ValueError where not `is_aligned`."""
        return self._aligned.lam

    @property
    def a(self) -> FloatArray:
        """Eigenvalue of A on each direction, (D,); ValueError where not `is_aligned`."""
        return self._aligned.a

    @property
    def b(self) -> FloatArray:
        """Eigenvalue of B on each direction, (D,); ValueError where not `is_aligned`."""
        return self._aligned.b

    @cached_property
    def coefficients(self) -> FloatArray:
        """m_d = b_d / (a_d λ_d), what M learns on each direction, (D,); ValueError where not `is_aligned`."""
        return self.b / self.a / self.lam

    @cached_property
    def factors(self) -> tuple[FloatArray, FloatArray]:
        """Columns p_d and r_d, both (D, D), of the rank-one maps p_d r_dᵀ that are learned one by one."""
        if self.is_aligned:
            return self.directions * self.coefficients, self.directions
        system = self._singular_system
        return system.keys * np.sqrt(self.gains), system.queries

    def learned(self, subset: Iterable[int]) -> FloatArray:
        """M_S (D, D), in which the directions of `subset`, numbered from 1, are learned; ValueError on another."""
        learned = direction_indices(subset, self.direction_count)
        p, r = self.factors
        return np.asarray(p[:, learned] @ r[:, learned].T)

    @cached_property
    def minimum(self) -> FloatArray:
        """M* = A⁻¹ B Λ⁻¹, (D, D), the global minimum: one preconditioned gradient step.

        The smallest where A or Λ is singular; (K, K, D, D) of K > 1 outputs.
        """
        if self.outputs > 1:
            inverse_Λ = _pseudo_inverse(self.Lambda)
            M = _pseudo_inverse(self.A, self.A_size) @ self._stacked(self.B) @ inverse_Λ
            return np.asarray(M.reshape(self.B.shape))
        if self.is_aligned or self.direction_count < self.dimension:
            return self.learned(range(1, self.direction_count + 1))
        return np.linalg.solve(self.A, np.linalg.solve(self.Lambda, self.B.T).T)

    @cached_property
    def greedy_losses(self) -> FloatArray:
        """L with the m largest gains learned, m = 0 … D, (D+1,), in units of y²; the last is `minimum_loss`."""
        # Each sum is exact, so that the last entry is `minimum_loss` to the last bit.
        losses = [
            math.fsum([self.c, *-self.gains[:m]])
            for m in range(self.direction_count + 1)
        ]
        return np.maximum(losses, self.minimum_loss)

    @cached_property
    def minimum_loss(self) -> float:
        """L(M*), in units of y², 0 where it is less than the rounding of its terms."""
        # Sums of gains are exact, so that losses of subsets compare to the last bit.
        loss = (
            float(self.loss(self.minimum))
            if self.outputs > 1
            else math.fsum([self.c, *-self.gains])
        )
        return refuse_negative_loss(loss, self._rounding_of_loss)

    @property
    def _rounding_of_loss(self) -> float:
        """What rounding may make of L(M*), whose terms cancel: that of E|ŷ|² = Σ_i tr(Λ M_iᵀ A M_i), term by term."""
        M = self.minimum
        M = np.abs(self._stacked(M) if self.outputs > 1 else M)  # (…, KD, D)
        size = np.diag(self.A) if self.A_size is None else self.A_size
        terms = np.einsum(
            "a,...ab,b->...", np.sqrt(size), M, np.sqrt(np.diag(self.Lambda))
        )
        count = len(self.A) + self.dimension
        return count * float(np.finfo(float).eps) * (self.c + float(np.sum(terms**2)))

    def to_dict(self) -> dict[str, Any]:
        """The moments, gains and losses as plain numbers and lists."""
        return {
            "c": self.c,
            "A": self.A.tolist(),
            "B": self.B.tolist(),
            "Lambda": self.Lambda.tolist(),
            "gains": self.gains.tolist() if self.outputs == 1 else None,
            "minimum_loss": self.minimum_loss,
        }

    def summary(self) -> Summary:
        """The losses and gains on one screen."""
        rows: dict[str, object] = {
            "dimension": self.dimension,
            "loss at M = 0": f"{self.c:.8g}",
            "minimum loss": f"{self.minimum_loss:.8g}",
        }
        if self.outputs > 1:
            rows["outputs"] = self.outputs
        else:
            rows["gains"] = array_summary(self.gains)
            rows["coefficients"] = "none: Λ and Ω do not commute"
        if self.is_aligned:
            rows["coefficients"] = array_summary(self.coefficients)
        if not self.invariant:
            rows["restricted block"] = (
                "left by gradient flow: the law of W has odd moments"
            )
        formulas = {
            "loss": r"L(M) = c - 2\,\mathrm{tr}(B^\top M) + \mathrm{tr}(\Lambda M^\top A M)",
            "minimum": r"M^* = A^{-1} B \Lambda^{-1}",
        }
        return Summary("Population loss of linear attention", rows, formulas)

    @property
    def _aligned(self) -> Spectrum:
        self._refuse_outputs("directions")
        if self.spectrum is None:
            raise ValueError(
                "Λ and Ω do not commute, so no direction has eigenvalues: use gains, left and right"
            )
        return self.spectrum

    @cached_property
    def _singular_system(self) -> "_SingularSystem":
        """That of T, by Cholesky factors A = F_A F_Aᵀ and Λ = F_Λ F_Λᵀ, which small eigenvalues do not spoil."""
        inverse_A = _inverse_factor(self.A, self.A_size)
        inverse_Λ = _inverse_factor(self.Lambda)
        # F_A⁻¹ B F_Λ⁻ᵀ is T between rotations, so that its singular values are those of T.
        left, values, right = np.linalg.svd(
            inverse_A @ self.B @ inverse_Λ.T, full_matrices=False
        )
        # Singular values beyond the rank are rounding.
        count = _numerical_rank(self.B) if self.rank is None else self.rank
        left, values, right = left[:, :count], values[:count], right[:count]
        gains = _ties_made_equal(values, _ROUNDED_TIE * values[:1]) ** 2
        return _SingularSystem(gains, inverse_A.T @ left, inverse_Λ.T @ right.T)


def refuse_negative_loss(loss: float, rounding: float) -> float:
    """The loss, or 0 for a negative one that rounding explains; ArithmeticError for any other.

    >>> refuse_negative_loss(-1e-17, rounding=1e-15)
    0.0
    """
    if loss >= 0:
        return loss
    if loss < -rounding:
        raise ArithmeticError(
            f"the least loss came out as {loss:.3g}, below 0 by more than rounding, {rounding:.1g}: the moments are "
            "too badly scaled for doubles; give x and the teachers entries of like size"
        )
    return 0.0


class _SingularSystem(NamedTuple):
    """Gains (D,), A^{-1/2} u_d and Λ^{-1/2} t_d as columns, both (D, D), of T where Λ and Ω do not commute."""

    gains: FloatArray
    keys: FloatArray
    queries: FloatArray


def population(task: Task, model: Parametrization) -> Population:
    """Exact population loss of a linear-attention model on the task; only the model's outputs and divisor matter.

    With Ω = E w wᵀ, M₂ = E x xᵀ and s = N/divisor: c = tr(ΩM₂) + σ² with the query's σ², B = s M₂ΩM₂ and
    A = s² [(1 − 1/N) M₂ΩM₂ + (E[(xᵀΩx) x xᵀ] + σ² M₂)/N]. For Gaussian x of mean 0, where M₂ = Λ, that is
    A = s² [(1 + 1/N) ΛΩΛ + (tr(ΩΛ) + σ²) Λ/N]. For several context lengths they are weighted means. ValueError for
    softmax, for x whose fourth moment is not known, for a mixture with a fixed teacher, which has `feature_moments`,
    and for a task and a model of different outputs.

    >>> from attndyn import Merged, Task
    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> population(task, Merged(heads=8)).minimum_loss.__round__(8)
    0.13599507
    >>> uniform = Task([1 / 12] * 10, inputs="uniform", context_length=10)
    >>> population(uniform, Merged(heads=1)).minimum_loss.__round__(5)
    0.41246
    """
    require_task_first("population(task, model)", task, model)
    if is_softmax(model):
        raise ValueError(
            "softmax attention has no finite moments, so no population loss here: simulate on tokens"
        )
    refuse_other_outputs(task.outputs, model)
    if task.has_normal_teachers and task.in_context_fraction < 1:
        raise ValueError(
            "a fixed teacher moves weights off the restricted block: use feature_moments, or simulate on statistics"
        )
    # What overflows is refused by name.
    with np.errstate(over="ignore", invalid="ignore"):
        if task.outputs > 1:
            return _population_of_outputs(task, model)
        if task.inputs.is_gaussian and not np.any(task.input_mean):
            return _gaussian_population(task, model)
        return _general_population(task, model)


def invariant_population(task: Task, model: Parametrization) -> Population:
    """The population loss where gradient flow stays on the restricted block; ValueError elsewhere.

    ValueError, too, for several outputs, whose gradient flow is known for some laws of teachers alone, and where no
    direction has a gain.
    """
    loss = population_of_heads(task, model)
    require_gain(loss)
    return loss


def require_gain(loss: Population) -> None:
    """ValueError where no direction has a gain."""
    if loss.direction_count == 0:
        raise ValueError(
            "no direction of this task has a gain, since the teachers are 0 wherever x varies: nothing can be learned"
        )


def population_of_heads(task: Task, model: Parametrization) -> Population:
    """`invariant_population`, also where no direction has a gain, so that heads only decay."""
    loss = population(task, model)
    if not loss.invariant:
        raise ValueError(
            "the law of these teachers has odd moments, so gradient flow leaves the restricted block: "
            "Pool(…, signs=True) has the same second moments; or use feature_moments, or train on data"
        )
    loss._refuse_outputs("fixed points and time courses")
    return loss


def _gaussian_population(task: Task, model: Parametrization) -> Population:
    """That of Gaussian x of mean 0 and one output, whose fourth moments are products of Λ."""
    Λ = task.covariance
    Ω = _teacher_moments(task)
    # As they are written: eigenvectors are then coordinates, and ties exact.
    are_diagonal = is_diagonal(Λ) and is_diagonal(Ω)
    means = length_means(task, model)
    signal = float(np.sum(Ω * Λ))
    context_label = signal + task.noise_variance  # E y² in the context

    ΛΩΛ = _cubic_covariance(Λ, Ω, are_diagonal)
    A = means.pairs * ΛΩΛ + means.single * context_label * Λ
    B = means.linear * ΛΩΛ
    _refuse_unrepresentable(A, B, Λ, Ω)
    return Population(
        c=signal + task.query_noise_variance,
        A=A,
        B=B,
        Lambda=Λ,
        spectrum=_spectrum(task, means, context_label, are_diagonal),
        invariant=task.teachers.symmetric,
        rank=_rank_of_signal(Λ, Ω),
        A_size=_size_of_terms(A, Λ, Ω, means),
    )


def _general_population(task: Task, model: Parametrization) -> Population:
    """That of one output and x of any law with known fourth moments."""
    Ω = _teacher_moments(task)
    means = length_means(task, model)
    M2 = input_second_moments(task)
    M2ΩM2 = _cubic_covariance(M2, Ω, are_diagonal=False)
    token = contracted_fourth_moments(task, Ω) + task.noise_variance * M2
    A = means.distinct * M2ΩM2 + means.single * (token + token.T) / 2
    B = means.linear * M2ΩM2
    _refuse_unrepresentable(A, B, M2, Ω)
    return Population(
        c=float(np.sum(Ω * M2)) + task.query_noise_variance,
        A=A,
        B=B,
        Lambda=M2,
        spectrum=_common_spectrum(A, M2, Ω, means),
        invariant=task.teachers.symmetric,
        rank=_rank_of_signal(M2, Ω),
        A_size=_size_of_terms(A, M2, Ω, means),
    )


def _population_of_outputs(task: Task, model: Parametrization) -> Population:
    """That of K > 1 outputs: A_jl = (1 − 1/N) M₂T_jl M₂ + (E[(xᵀT_jl x) x xᵀ] + δ_jl σ² M₂)/N, T_jl = E W_j W_lᵀ."""
    K, D = task.outputs, task.dimension
    T = teacher_second_moments(task.teachers)  # (K, D, K, D)
    means = length_means(task, model)
    M2 = input_second_moments(task)
    A = np.empty((K, D, K, D))
    B = np.empty((K, K, D, D))
    for j, l in np.ndindex(K, K):
        T_jl = T[j, :, l, :]
        token = contracted_fourth_moments(task, T_jl)
        if j == l:
            token = token + task.noise_variance * M2
        distinct = M2 @ T_jl @ M2
        A[j, :, l, :] = means.distinct * distinct + means.single * token
        # B_lj = E[y_l β_j x_qᵀ].
        B[l, j] = means.linear * distinct
    stacked = A.reshape(K * D, K * D)
    _refuse_unrepresentable_outputs(A, B, M2, T)
    signal = float(np.einsum("iaib,ab->", T, M2))
    return Population(
        c=signal + K * task.query_noise_variance,
        A=(stacked + stacked.T) / 2,
        B=B,
        Lambda=M2,
        outputs=K,
        invariant=task.teachers.symmetric,
        A_size=np.concatenate(
            [_size_of_terms(A[k, :, k], M2, T[k, :, k], means) for k in range(K)]
        ),
    )


def _size_of_terms(
    A: FloatArray, Λ: FloatArray, Ω: FloatArray, means: LengthMeans
) -> FloatArray:
    """The size of the terms of the diagonal of A (D,), which cancel where the teachers vary more than x shows."""
    cubic = np.diag(np.abs(Λ) @ np.abs(Ω) @ np.abs(Λ))
    token = 2 * cubic + np.sum(np.abs(Ω) * np.abs(Λ)) * np.diag(Λ)
    terms = means.distinct * cubic + means.single * token
    return np.asarray(np.maximum(terms, np.diag(A)))


def _teacher_moments(task: Task) -> FloatArray:
    """Ω = E w wᵀ (D, D) of one output, as it is written where the teachers are N(0, Ω)."""
    if task.has_normal_teachers:
        return task.teacher_covariance
    return teacher_second_moments(task.teachers)[0, :, 0, :]


def _refuse_unrepresentable(
    A: FloatArray, B: FloatArray, Λ: FloatArray, Ω: FloatArray
) -> None:
    """ValueError where A, B or the products of A and Λ, (D, D) each, are too large or too small for numbers."""
    # The largest entries of positive semidefinite matrices stand on their diagonals.
    if not np.isfinite(np.max(A) * np.max(Λ)):
        raise ValueError(
            "the moments of this task overflow: rescale Λ, for instance by trace=1, or Ω"
        )
    # Moments of directions on which nothing varies are exactly zero, or rounding; others must not be.
    varies = np.diag(Λ) > 0
    has_signal = _columns_with_signal(Λ, Ω) & ~_columns_of_rounding(Λ, Ω)
    moments = np.concatenate([np.diag(A)[varies & has_signal], np.diag(B)[has_signal]])
    if np.any(moments < _SMALLEST_MOMENT):
        raise ValueError(
            "the moments of this task underflow: rescale Λ, for instance by trace=1, or Ω"
        )


def _columns_with_signal(Λ: FloatArray, Ω: FloatArray) -> BoolArray:
    """Whether (ΛΩΛ)_dd = |Ω^½ Λ e_d|² is positive, (D,): whether ΩΛ e_d is more than rounding."""
    # Each in units of its own size, so that nothing underflows.
    Λ = Λ / np.max(np.abs(Λ))
    Ω = Ω / max(np.max(np.abs(Ω)), np.finfo(float).tiny)
    rounding = 4 * len(Λ) * np.finfo(float).eps
    return np.asarray(
        np.any(np.abs(Ω @ Λ) > rounding * (np.abs(Ω) @ np.abs(Λ)), axis=0)
    )


def _columns_of_rounding(Λ: FloatArray, Ω: FloatArray) -> BoolArray:
    """Whether (ΛΩΛ)_dd is a sum whose terms cancel to rounding, (D,): far below terms that do not underflow."""
    terms = np.sum(np.abs(Λ) * (np.abs(Ω) @ np.abs(Λ)), axis=0)
    value = np.sum(Λ * (Ω @ Λ), axis=0)
    rounding = len(Λ) * np.finfo(float).eps * terms
    return np.asarray((rounding > _SMALLEST_MOMENT) & (value < rounding))


def _refuse_unrepresentable_outputs(
    A: FloatArray, B: FloatArray, Λ: FloatArray, T: FloatArray
) -> None:
    """The same of several outputs, from A (K, D, K, D), B (K, K, D, D) and T_jl = E W_j W_lᵀ (K, D, K, D)."""
    for k in range(len(A)):
        _refuse_unrepresentable(A[k, :, k], B[k, k], Λ, T[k, :, k])


def subset_numbers(subset: object) -> list[Any]:
    """What a subset holds; ValueError for one number or a text in its place.

    >>> subset_numbers(1)
    Traceback (most recent call last):
    ValueError: a subset is a sequence of directions, such as (1,) or (1, 3), and not 1
    """
    if isinstance(subset, str) or not isinstance(subset, Iterable):
        raise ValueError(
            f"a subset is a sequence of directions, such as (1,) or (1, 3), and not {subset!r}"
        )
    return list(subset)


def direction_indices(subset: Iterable[int], dimension: int) -> list[int]:
    """Directions numbered from 1 as indices from 0; ValueError unless they are distinct and within D."""
    numbers = subset_numbers(subset)
    are_whole = all(
        isinstance(d, (int, np.integer)) and not isinstance(d, bool) for d in numbers
    )
    are_distinct = are_whole and len(set(numbers)) == len(numbers)
    if not are_distinct or not all(1 <= d <= dimension for d in numbers):
        raise ValueError(
            f"a subset holds distinct directions from 1 to {dimension}, not {numbers!r}"
        )
    return [int(d) - 1 for d in numbers]


def _cubic_covariance(Λ: FloatArray, Ω: FloatArray, are_diagonal: bool) -> FloatArray:
    """ΛΩΛ (D, D), symmetric to the last bit."""
    if are_diagonal:
        return np.diag(np.diag(Λ) * np.diag(Ω) * np.diag(Λ))
    product = Λ @ Ω @ Λ
    return (product + product.T) / 2


def _spectrum(
    task: Task, means: LengthMeans, c: float, are_diagonal: bool
) -> Spectrum | None:
    """Eigenvalues and gains on the common eigenvectors of Λ and Ω; None where these do not commute."""
    Λ = task.covariance
    Ω = _teacher_moments(task)
    basis = np.eye(task.dimension) if are_diagonal else common_eigenvectors(Λ, Ω)
    if basis is None:
        return None
    λ = np.diag(Λ) if are_diagonal else _diagonal_on(basis, Λ)
    ω = np.diag(Ω) if are_diagonal else _diagonal_on(basis, Ω)

    has_gain = _directions_with_gain(λ, ω, are_diagonal)
    λ, ω, basis = λ[has_gain], ω[has_gain], basis[:, has_gain]
    a, b = _direction_moments(means, c, λ, ω)
    roots = np.sqrt(b / a * (b / λ))  # of the gains b²/(aλ)
    if are_diagonal and task.has_normal_teachers:
        order, levels = _exact_order(task, roots, has_gain)
    else:
        order, levels = _rounded_order(λ, roots)
    return Spectrum(λ[order], a[order], b[order], basis[:, order], levels**2)


def _directions_with_gain(λ: FloatArray, ω: FloatArray, are_exact: bool) -> IndexArray:
    """The directions on which both x and the teacher vary: λω > 0, up to the rounding of an eigensolver."""
    rounding = 0.0 if are_exact else len(λ) * float(np.finfo(float).eps)
    varies = (λ > rounding * np.max(λ)) & (ω > rounding * np.max(ω))
    return np.flatnonzero(varies)


def _common_spectrum(
    A: FloatArray, Λ: FloatArray, Ω: FloatArray, means: LengthMeans
) -> Spectrum | None:
    """Eigenvalues and gains on the common eigenvectors of A, Λ and ΛΩΛ (D, D); None where there are none."""
    are_diagonal = all(is_diagonal(matrix) for matrix in (A, Λ, Ω))
    ΛΩΛ = _cubic_covariance(Λ, Ω, are_diagonal)
    basis = np.eye(len(Λ)) if are_diagonal else common_eigenvectors(Λ, A, ΛΩΛ)
    if basis is None:
        return None
    λ, a, ω = (_diagonal_on(basis, matrix) for matrix in (Λ, A, Ω))
    has_gain = _directions_with_gain(λ, ω, are_diagonal)
    λ, a, ω, basis = λ[has_gain], a[has_gain], ω[has_gain], basis[:, has_gain]
    b = _cubic(λ, ω, means.linear)
    order, levels = _rounded_order(λ, np.sqrt(b / a * (b / λ)))
    return Spectrum(λ[order], a[order], b[order], basis[:, order], levels**2)


def _direction_moments(
    means: LengthMeans, c: float, λ: FloatArray, ω: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """a and b (D,), what A and B of `population` are on eigenvectors with the eigenvalues λ of Λ and ω of Ω."""
    a = _cubic(λ, ω, means.pairs) + means.single * c * λ
    return a, _cubic(λ, ω, means.linear)


def _cubic(λ: FloatArray, ω: FloatArray, factor: float) -> FloatArray:
    """factor · λ²ω (D,), also where λ² alone is no number of all digits."""
    is_normal = (λ > 1e-150) & (λ < 1e150)
    return np.where(is_normal, factor * λ**2 * ω, factor * (λ * (λ * ω)))


def common_eigenvectors(*matrices: FloatArray) -> FloatArray | None:
    """Orthonormal columns on which all of these symmetric matrices (D, D) are diagonal, or None.

    A generic mixture of them has no other eigenvectors, however degenerate each of them is on its own.
    """
    for mixture in _MIXTURES:
        mixed = np.zeros_like(matrices[0])
        for power, matrix in enumerate(matrices):
            size = np.max(np.abs(matrix)) or 1.0
            mixed += mixture**power * matrix / size
        basis = np.linalg.eigh(mixed).eigenvectors
        if all(_is_diagonal_on(basis, matrix) for matrix in matrices):
            return np.asarray(basis)
    return None


def _is_diagonal_on(basis: FloatArray, matrix: FloatArray) -> bool:
    rotated = basis.T @ matrix @ basis
    off_diagonal = np.max(np.abs(rotated - np.diag(np.diag(rotated))))
    return bool(off_diagonal <= _COMMUTING * np.max(np.abs(matrix)))


def _diagonal_on(basis: FloatArray, matrix: FloatArray) -> FloatArray:
    """e_dᵀ C e_d (D,) for the columns e_d of the basis."""
    return np.asarray(np.einsum("id,ij,jd->d", basis, matrix, basis, optimize=True))


def _exact_order(
    task: Task, roots: FloatArray, has_gain: IndexArray
) -> tuple[IndexArray, FloatArray]:
    """The order of the directions by decreasing gain, then λ, and the roots of their gains, equal where they tie.

    The gain s² (λω)²/(s² (1 + 1/N) λω + s² (tr(ΩΛ) + σ²)/N) of a diagonal task increases with λω, so the numbers λω
    as they are written decide. Roots that differ by less than their rounding are set one double apart.
    """
    λ = task.exact_variances[has_gain]
    products = λ * task.exact_teacher_variances[has_gain]
    order = sorted(range(len(λ)), key=lambda d: (-products[d], -λ[d]))
    levels = roots[order]
    for k in range(1, len(order)):
        if products[order[k]] == products[order[k - 1]]:
            levels[k] = levels[k - 1]
        else:
            levels[k] = min(levels[k], np.nextafter(levels[k - 1], 0))
    return np.array(order, dtype=np.intp), levels


def _rounded_order(λ: FloatArray, roots: FloatArray) -> tuple[IndexArray, FloatArray]:
    """The same where eigenvectors come from a solver: roots that differ by its rounding are made equal."""
    by_root = np.argsort(-roots, kind="stable")
    levels = np.empty_like(roots)
    largest = roots[by_root[:1]]
    levels[by_root] = _ties_made_equal(roots[by_root], _ROUNDED_TIE * largest)
    order = np.lexsort((-λ, -levels))  # the last key is the first to decide
    return order, levels[order]


def _ties_made_equal(values: FloatArray, tie: FloatArray) -> FloatArray:
    """Decreasing values (n,) in which those within `tie` (1,) of their neighbour equal the first of such a row."""
    begins_level = np.append(True, -np.diff(values) > tie)
    indices = np.where(begins_level, np.arange(len(values)), 0)
    first_of_level = np.maximum.accumulate(indices)
    return np.asarray(values[first_of_level])


def _inverse_factor(matrix: FloatArray, size: FloatArray | None = None) -> FloatArray:
    """F⁻¹ with F Fᵀ the matrix (D, D), by Cholesky; of a singular one (r, D), on the r eigenvectors that count.

    `size` is as in `_numerical_rank`. Where rounding of the large eigenvalues hides small ones that count, the
    eigenvectors are those in these units.
    """
    rank = _numerical_rank(matrix, size)
    if rank == len(matrix):
        return np.asarray(np.linalg.inv(np.linalg.cholesky(matrix)))
    kept = slice(len(matrix) - rank, None)  # eigenvalues increase
    values, vectors = np.linalg.eigh(matrix)
    if rank == 0 or values[kept][0] > eigenvalue_rounding(values):
        return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T)
    unit = _units(matrix, size)
    values, vectors = np.linalg.eigh(unit[:, None] * matrix * unit)
    return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T * unit)


def _units(matrix: FloatArray, size: FloatArray | None) -> FloatArray:
    """By what rows and columns are multiplied to be in units of their own size, (D,), 0 where that is 0."""
    scale = np.sqrt(np.abs(np.diag(matrix) if size is None else size))
    return np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)


def _numerical_rank(matrix: FloatArray, size: FloatArray | None = None) -> int:
    """How many singular values are more than rounding in units of `size` (D,), of the diagonal if left out."""
    unit = _units(matrix, size)
    values = np.linalg.svd(unit[:, None] * matrix * unit, compute_uv=False)
    rounding = len(values) * float(np.finfo(float).eps) * np.max(values, initial=0.0)
    return int(np.sum(values > rounding))


def _rank_of_signal(Λ: FloatArray, Ω: FloatArray) -> int:
    """The rank of ΛΩΛ: that of Ω on the eigenvectors of Λ (D, D) that count."""
    if _numerical_rank(Λ) == len(Λ):
        return _numerical_rank(Ω)
    # F Λ Fᵀ = 1 on those eigenvectors.
    F = _inverse_factor(Λ)
    return _numerical_rank(F @ Ω @ F.T)


def _pseudo_inverse(matrix: FloatArray, size: FloatArray | None = None) -> FloatArray:
    """The inverse of a positive semidefinite matrix on the eigenvectors that count, as in `_inverse_factor`."""
    factor = _inverse_factor(matrix, size)
    return np.asarray(factor.T @ factor)


def _square_root(matrix: FloatArray) -> FloatArray:
    """The symmetric root of a positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(values) @ vectors.T)
