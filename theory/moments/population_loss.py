"""The loss that gradient flow descends when data are unlimited: exact moments and what follows from them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...models.divisors import attention_divisor
from ...models.protocol import Parametrization, is_softmax
from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.display import Displayed, Summary, array_summary
from ...task import Task, is_diagonal

# What an eigensolver may make of equal gains, relative to the largest.
_ROUNDED_TIE = 1e-12
# Entries off the diagonal that still count as rounding, relative to the largest entry.
_COMMUTING = 1e-10
# Smaller moments lose digits: doubles are exact to 1e-16 from 2e-308 on, and the moments are multiplied.
_SMALLEST_MOMENT = 1e-300
# By which Λ and Ω are mixed: any generic numbers, several in case that one of them is not for a task.
_MIXTURES = (0.7548776662466927, 0.5698402909980532, 1.3247179572447460)


class Spectrum(NamedTuple):
    """Eigenvalues of Λ, A and B on common eigenvectors e_d, by decreasing gain b²/(aλ): dv/dt = b v² − a λ v⁵."""

    lam: FloatArray
    a: FloatArray
    b: FloatArray
    directions: FloatArray
    gains: FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class Population(Displayed):
    """L(M) = c − 2 tr(BᵀM) + tr(Λ Mᵀ A M) of the restricted map M (D, D), in units of y².

    The model predicts βᵀ M x_q with β = Σ_n y_n x_n / divisor: c = E y_q², B = E[y_q β x_qᵀ], A = E[β βᵀ], `Lambda`
    is Λ. `spectrum` holds the common eigenvectors of Λ, A and B where there are any. Directions are numbered from
    1 by decreasing gain: the gain is how much learning that direction lowers the loss.

    Source: Zhang et al. 2025 (arXiv 2501.16265), for Ω = 1 and no noise.
    """

    c: float
    A: FloatArray
    B: FloatArray
    Lambda: FloatArray
    spectrum: Spectrum | None = None

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return len(self.Lambda)

    def loss(self, M: FloatArray) -> FloatArray:
        """L(M) for M (..., D, D), shape (...), in units of y²."""
        quadratic: FloatArray = self.A @ M @ self.Lambda - 2 * self.B
        return np.asarray(self.c + np.sum(quadratic * M, axis=(-2, -1)))

    def excess(self, M: FloatArray) -> FloatArray:
        """L(M) − L(M*) = tr[Λ (M − M*)ᵀ A (M − M*)] for M (..., D, D), without cancellation."""
        gap = M - self.minimum
        return np.asarray(np.sum((self.A @ gap @ self.Lambda) * gap, axis=(-2, -1)))

    def aligned_loss(self, coefficients: FloatArray) -> FloatArray:
        """L of the maps Σ_d x_d e_d e_dᵀ, for x (..., D), shape (...); ValueError where not `is_aligned`."""
        gap = coefficients - self.coefficients
        # Σ_d a_d λ_d gap_d², where the product aλ alone may be too small for a number.
        excess = np.sum((gap * self.a) * (gap * self.lam), axis=-1)
        return np.asarray(self.minimum_loss + excess)

    def residual_correlation(self, M: FloatArray) -> FloatArray:
        """G = B − A M Λ = −½ ∂L/∂M, by which gradient flow moves the weights, for M (..., D, D)."""
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
        return (
            self._singular_system.gains
            if self.spectrum is None
            else self.spectrum.gains
        )

    @cached_property
    def left(self) -> FloatArray:
        """Left singular vectors u_d of T as columns, (D, D), in the order of `gains`."""
        if self.is_aligned:
            return self.directions
        return _square_root(self.A) @ self._singular_system.keys

    @cached_property
    def right(self) -> FloatArray:
        """Right singular vectors t_d of T as columns, (D, D), in the order of `gains`."""
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
        learned = direction_indices(subset, self.dimension)
        p, r = self.factors
        return np.asarray(p[:, learned] @ r[:, learned].T)

    @cached_property
    def minimum(self) -> FloatArray:
        """M* = A⁻¹ B Λ⁻¹, (D, D), the global minimum: one preconditioned gradient step."""
        if self.is_aligned:
            return self.learned(range(1, self.dimension + 1))
        return np.linalg.solve(self.A, np.linalg.solve(self.Lambda, self.B.T).T)

    @cached_property
    def greedy_losses(self) -> FloatArray:
        """L with the m largest gains learned, m = 0 … D, (D+1,), in units of y²; the last is `minimum_loss`."""
        # Each sum is exact, so that the last entry is `minimum_loss` to the last bit.
        losses = [
            math.fsum([self.c, *-self.gains[:m]]) for m in range(self.dimension + 1)
        ]
        return np.array(losses)

    @cached_property
    def minimum_loss(self) -> float:
        """L(M*), in units of y²."""
        return math.fsum([self.c, *-self.gains])

    def to_dict(self) -> dict[str, Any]:
        """The moments, gains and losses as plain numbers and lists."""
        return {
            "c": self.c,
            "A": self.A.tolist(),
            "B": self.B.tolist(),
            "Lambda": self.Lambda.tolist(),
            "gains": self.gains.tolist(),
            "minimum_loss": self.minimum_loss,
        }

    def summary(self) -> Summary:
        """The losses and gains on one screen."""
        rows: dict[str, object] = {
            "dimension": self.dimension,
            "loss at M = 0": f"{self.c:.8g}",
            "minimum loss": f"{self.minimum_loss:.8g}",
            "gains": array_summary(self.gains),
        }
        if self.is_aligned:
            rows["coefficients"] = array_summary(self.coefficients)
        else:
            rows["eigenvectors"] = "Λ and Ω do not commute"
        formulas = {
            "loss": r"L(M) = c - 2\,\mathrm{tr}(B^\top M) + \mathrm{tr}(\Lambda M^\top A M)",
            "minimum": r"M^* = A^{-1} B \Lambda^{-1}",
        }
        return Summary("Population loss of linear attention", rows, formulas)

    @property
    def _aligned(self) -> Spectrum:
        if self.spectrum is None:
            raise ValueError(
                "Λ and Ω do not commute, so no direction has eigenvalues: use gains, left and right"
            )
        return self.spectrum

    @cached_property
    def _singular_system(self) -> "_SingularSystem":
        """That of T, by Cholesky factors A = F_A F_Aᵀ and Λ = F_Λ F_Λᵀ, which small eigenvalues do not spoil."""
        inverse_A = np.linalg.inv(np.linalg.cholesky(self.A))
        inverse_Λ = np.linalg.inv(np.linalg.cholesky(self.Lambda))
        # F_A⁻¹ B F_Λ⁻ᵀ is T between rotations, so that its singular values are those of T.
        left, values, right = np.linalg.svd(inverse_A @ self.B @ inverse_Λ.T)
        gains = _ties_made_equal(values, _ROUNDED_TIE * values[:1]) ** 2
        return _SingularSystem(gains, inverse_A.T @ left, inverse_Λ.T @ right.T)


class _SingularSystem(NamedTuple):
    """Gains (D,), A^{-1/2} u_d and Λ^{-1/2} t_d as columns, both (D, D), of T where Λ and Ω do not commute."""

    gains: FloatArray
    keys: FloatArray
    queries: FloatArray


def population(task: Task, model: Parametrization) -> Population:
    """Exact population loss of a linear-attention model on the task; only the model's divisor matters.

    With s = N/divisor: c = tr(ΩΛ) + σ², B = s ΛΩΛ, A = s² [(1 + 1/N) ΛΩΛ + (tr(ΩΛ) + σ²) Λ/N], and for a range of
    context lengths N the means of B and A over it. ValueError for softmax, or for a mixture with a fixed teacher,
    which has `feature_moments`.

    >>> from attndyn import Merged, Task
    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> population(task, Merged(heads=8)).minimum_loss.__round__(8)
    0.13599507
    """
    if is_softmax(model):
        raise ValueError(
            "softmax attention has no finite moments, so no population loss here: simulate on tokens"
        )
    if task.in_context_fraction < 1:
        raise ValueError(
            "a fixed teacher moves weights off the restricted block: use feature_moments, or simulate on statistics"
        )
    Λ = task.covariance
    Ω = task.teacher_covariance
    # As they are written: eigenvectors are then coordinates, and ties exact.
    are_diagonal = is_diagonal(Λ) and is_diagonal(Ω)
    means = _length_means(task, model)
    c = float(np.sum(Ω * Λ)) + task.noise_variance

    with np.errstate(over="ignore", invalid="ignore"):
        ΛΩΛ = _cubic_covariance(Λ, Ω, are_diagonal)
        A = means.pairs * ΛΩΛ + means.single * c * Λ
        B = means.linear * ΛΩΛ
        _refuse_unrepresentable(A, B, Λ)
    return Population(c, A, B, Λ, _spectrum(task, means, c, are_diagonal))


def _refuse_unrepresentable(A: FloatArray, B: FloatArray, Λ: FloatArray) -> None:
    """ValueError where A, B or the products of A and Λ, (D, D) each, are too large or too small for numbers."""
    # The largest entries of positive definite matrices stand on their diagonals.
    is_representable = np.isfinite(np.max(A) * np.max(Λ))
    if (
        not is_representable
        or min(A.diagonal().min(), B.diagonal().min()) < _SMALLEST_MOMENT
    ):
        limit = "underflow" if is_representable else "overflow"
        raise ValueError(
            f"the moments of this task {limit}: rescale Λ, for instance by trace=1, or Ω"
        )


def direction_indices(subset: Iterable[int], dimension: int) -> list[int]:
    """Directions numbered from 1 as indices from 0; ValueError unless they are distinct and within D."""
    numbers = list(subset)
    are_whole = all(
        isinstance(d, (int, np.integer)) and not isinstance(d, bool) for d in numbers
    )
    are_distinct = are_whole and len(set(numbers)) == len(numbers)
    if not are_distinct or not all(1 <= d <= dimension for d in numbers):
        raise ValueError(
            f"a subset holds distinct directions from 1 to {dimension}, not {numbers!r}"
        )
    return [int(d) - 1 for d in numbers]


class _LengthMeans(NamedTuple):
    """Means over the context lengths n, with s = n/divisor: of s, of s² (1 + 1/n), and of s²/n.

    E[β x_qᵀ y_q] is `linear` ΛΩΛ. Of E[β βᵀ] the n² pairs of tokens give `pairs` ΛΩΛ, and each token with itself
    `single` (tr(ΩΛ) + σ²) Λ.
    """

    linear: float
    pairs: float
    single: float


def _length_means(task: Task, model: Parametrization) -> _LengthMeans:
    count = len(task.context_lengths)
    linear = []
    pairs = []
    single = []
    for n in task.context_lengths:
        s = n / attention_divisor(model, n, task.dimension)
        linear.append(s)
        pairs.append(s * s * (n + 1) / n)
        single.append(s * s / n)
    return _LengthMeans(
        math.fsum(linear) / count, math.fsum(pairs) / count, math.fsum(single) / count
    )


def _cubic_covariance(Λ: FloatArray, Ω: FloatArray, are_diagonal: bool) -> FloatArray:
    """ΛΩΛ (D, D), symmetric to the last bit."""
    if are_diagonal:
        return np.diag(np.diag(Λ) * np.diag(Ω) * np.diag(Λ))
    product = Λ @ Ω @ Λ
    return (product + product.T) / 2


def _spectrum(
    task: Task, means: _LengthMeans, c: float, are_diagonal: bool
) -> Spectrum | None:
    """Eigenvalues and gains on the common eigenvectors of Λ and Ω; None where these do not commute."""
    Λ = task.covariance
    Ω = task.teacher_covariance
    basis = np.eye(task.dimension) if are_diagonal else _common_eigenvectors(Λ, Ω)
    if basis is None:
        return None
    λ = np.diag(Λ) if are_diagonal else _diagonal_on(basis, Λ)
    ω = np.diag(Ω) if are_diagonal else _diagonal_on(basis, Ω)

    a, b = _direction_moments(means, c, λ, ω)
    roots = np.sqrt(b / a * (b / λ))  # of the gains b²/(aλ)
    if are_diagonal:
        order, levels = _exact_order(task, roots)
    else:
        order, levels = _rounded_order(λ, roots)
    return Spectrum(λ[order], a[order], b[order], basis[:, order], levels**2)


def _direction_moments(
    means: _LengthMeans, c: float, λ: FloatArray, ω: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """a and b (D,), what A and B of `population` are on eigenvectors with the eigenvalues λ of Λ and ω of Ω."""
    a = means.pairs * λ**2 * ω + means.single * c * λ
    b = means.linear * λ**2 * ω
    return a, b


def _common_eigenvectors(Λ: FloatArray, Ω: FloatArray) -> FloatArray | None:
    """Orthonormal columns on which Λ and Ω are both diagonal, or None.

    A generic mixture of the two has no other eigenvectors, however degenerate each of them is on its own.
    """
    for mixture in _MIXTURES:
        mixed = Λ / np.max(np.abs(Λ)) + mixture * Ω / np.max(np.abs(Ω))
        basis = np.linalg.eigh(mixed).eigenvectors
        if _is_diagonal_on(basis, Λ) and _is_diagonal_on(basis, Ω):
            return np.asarray(basis)
    return None


def _is_diagonal_on(basis: FloatArray, matrix: FloatArray) -> bool:
    rotated = basis.T @ matrix @ basis
    off_diagonal = np.max(np.abs(rotated - np.diag(np.diag(rotated))))
    return bool(off_diagonal <= _COMMUTING * np.max(np.abs(matrix)))


def _diagonal_on(basis: FloatArray, matrix: FloatArray) -> FloatArray:
    """e_dᵀ C e_d (D,) for the columns e_d of the basis."""
    return np.asarray(np.einsum("id,ij,jd->d", basis, matrix, basis, optimize=True))


def _exact_order(task: Task, roots: FloatArray) -> tuple[IndexArray, FloatArray]:
    """The order of the directions by decreasing gain, then λ, and the roots of their gains, equal where they tie.

    The gain s² (λω)²/(s² (1 + 1/N) λω + s² (tr(ΩΛ) + σ²)/N) of a diagonal task increases with λω, so the numbers λω
    as they are written decide. Roots that differ by less than their rounding are set one double apart.
    """
    λ = task.exact_variances
    products = λ * task.exact_teacher_variances
    order = sorted(range(len(λ)), key=lambda d: (-products[d], -λ[d]))
    levels = roots[order]
    for k in range(1, len(order)):
        if products[order[k]] == products[order[k - 1]]:
            levels[k] = levels[k - 1]
        else:
            levels[k] = min(levels[k], np.nextafter(levels[k - 1], 0))
    return np.array(order), levels


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


def _square_root(matrix: FloatArray) -> FloatArray:
    """The symmetric root of a positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(values) @ vectors.T)
