"""The loss that gradient flow descends when data are unlimited: exact moments and what follows from them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...models.divisors import attention_divisor
from ...models.protocol import Parametrization, is_softmax
from ...runtime.arrays import FloatArray
from ...task import Task, is_diagonal

_ROUNDED_TIE = 1e-12  # what an eigensolver may make of equal gains
_COMMUTING = 1e-10
_SMALLEST_MOMENT = (
    1e-300  # what is smaller loses digits: doubles are exact to 1e-16 from 2e-308 on
)
_MIXTURES = (
    0.7548776662466927,
    0.5698402909980532,
    1.3247179572447460,
)  # any generic numbers


class Spectrum(NamedTuple):
    """Eigenvalues of Λ, A and B on common eigenvectors e_d, by decreasing gain b²/(aλ): dv/dt = b v² − a λ v⁵."""

    lam: FloatArray
    a: FloatArray
    b: FloatArray
    directions: FloatArray
    gains: FloatArray


@dataclass(frozen=True, eq=False)
class Population:
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
        gap = (
            coefficients - self.coefficients
        )  # times a and times λ, since aλ may be too small for a number
        return np.asarray(
            self.minimum_loss + np.sum((gap * self.a) * (gap * self.lam), axis=-1)
        )

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
        return self._oblique[0] if self.spectrum is None else self.spectrum.gains

    @cached_property
    def left(self) -> FloatArray:
        """Left singular vectors u_d of T as columns, (D, D), in the order of `gains`."""
        return self.directions if self.is_aligned else _root(self.A) @ self._oblique[1]

    @cached_property
    def right(self) -> FloatArray:
        """Right singular vectors t_d of T as columns, (D, D), in the order of `gains`."""
        return (
            self.directions
            if self.is_aligned
            else _root(self.Lambda) @ self._oblique[2]
        )

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
        return self._oblique[1] * np.sqrt(self.gains), self._oblique[2]

    def learned(self, subset: Iterable[int]) -> FloatArray:
        """M_S (D, D), in which the directions of `subset`, numbered from 1, are learned; ValueError on another."""
        chosen = direction_indices(subset, self.dimension)
        keys, queries = self.factors
        return np.asarray(keys[:, chosen] @ queries[:, chosen].T)

    @cached_property
    def minimum(self) -> FloatArray:
        """M* = A⁻¹ B Λ⁻¹, (D, D), the global minimum: one preconditioned gradient step."""
        if self.is_aligned:
            return self.learned(range(1, self.dimension + 1))
        return np.linalg.solve(self.A, np.linalg.solve(self.Lambda, self.B.T).T)

    @cached_property
    def greedy_losses(self) -> FloatArray:
        """L with the m largest gains learned, m = 0 … D, (D+1,), in units of y²; the last is `minimum_loss`."""
        return np.array(
            [math.fsum([self.c, *-self.gains[:m]]) for m in range(self.dimension + 1)]
        )

    @cached_property
    def minimum_loss(self) -> float:
        """L(M*), in units of y²."""
        return math.fsum([self.c, *-self.gains])

    @property
    def _aligned(self) -> Spectrum:
        if self.spectrum is None:
            raise ValueError(
                "Λ and Ω do not commute, so no direction has eigenvalues: use gains, left and right"
            )
        return self.spectrum

    @cached_property
    def _oblique(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Gains, A^{-1/2} u_d and Λ^{-1/2} t_d, by Cholesky factors, which small eigenvalues do not spoil."""
        inverses = [
            np.linalg.inv(np.linalg.cholesky(matrix))
            for matrix in (self.A, self.Lambda)
        ]
        left, values, right = np.linalg.svd(inverses[0] @ self.B @ inverses[1].T)
        gains = _levelled(values, _ROUNDED_TIE * values[:1]) ** 2
        return gains, inverses[0].T @ left, inverses[1].T @ right.T


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
    Λ, Ω = task.covariance, task.teacher_covariance
    flat = is_diagonal(Λ) and is_diagonal(Ω)
    s, cubic, noise = _factors(task, model)
    c = float(np.sum(Ω * Λ)) + task.noise_variance
    with np.errstate(over="ignore", invalid="ignore"):
        outer = (
            np.diag(np.diag(Λ) * np.diag(Ω) * np.diag(Λ))
            if flat
            else _symmetrised(Λ @ Ω @ Λ)
        )
        A = cubic * outer + noise * c * Λ
        representable = np.isfinite(
            np.max(A) * np.max(Λ)
        )  # the largest entries, both being positive definite
    if not representable:
        raise ValueError(
            "the moments of this task overflow: rescale Λ, for instance by trace=1, or Ω"
        )
    if min(np.min(np.diag(A)), np.min(np.diag(s * outer))) < _SMALLEST_MOMENT:
        raise ValueError(
            "the moments of this task underflow: rescale Λ, for instance by trace=1, or Ω"
        )
    basis = np.eye(len(Λ)) if flat else _common_eigenvectors(Λ, Ω)
    if basis is None:
        return Population(c, A, s * outer, Λ)
    lam, ω = (
        np.diag(matrix) if flat else _diagonal_on(basis, matrix) for matrix in (Λ, Ω)
    )
    a, b = cubic * lam**2 * ω + noise * c * lam, s * lam**2 * ω
    roots = np.sqrt(b / a * (b / lam))
    order, level = _exact_levels(task, roots) if flat else _rounded_levels(lam, roots)
    spectrum = Spectrum(lam[order], a[order], b[order], basis[:, order], level**2)
    return Population(c, A, s * outer, Λ, spectrum)


def direction_indices(subset: Iterable[int], dimension: int) -> list[int]:
    """Directions numbered from 1 as indices from 0; ValueError unless they are distinct and within D."""
    given = list(subset)
    whole = all(
        isinstance(d, (int, np.integer)) and not isinstance(d, bool) for d in given
    )
    if (
        not whole
        or len(set(given)) < len(given)
        or not all(1 <= d <= dimension for d in given)
    ):
        raise ValueError(
            f"a subset holds distinct directions from 1 to {dimension}, not {given!r}"
        )
    return [int(d) - 1 for d in given]


def _factors(task: Task, model: Parametrization) -> tuple[float, float, float]:
    """Means over n of s, s² (1 + 1/n) and s²/n with s = n/divisor."""
    ratios = [
        (n, n / attention_divisor(model, n, task.dimension))
        for n in task.context_lengths
    ]
    count = len(ratios)
    return (
        math.fsum(s for _, s in ratios) / count,
        math.fsum(s * s * (n + 1) / n for n, s in ratios) / count,
        math.fsum(s * s / n for n, s in ratios) / count,
    )


def _common_eigenvectors(Λ: FloatArray, Ω: FloatArray) -> FloatArray | None:
    """Orthonormal columns on which Λ and Ω are both diagonal, or None.

    A generic mixture of the two has no other eigenvectors, however degenerate each of them is on its own.
    """
    for mixture in _MIXTURES:
        basis = np.linalg.eigh(Λ / np.max(np.abs(Λ)) + mixture * Ω / np.max(np.abs(Ω)))[
            1
        ]
        if all(_is_diagonal_on(basis, matrix) for matrix in (Λ, Ω)):
            return np.asarray(basis)
    return None


def _is_diagonal_on(basis: FloatArray, matrix: FloatArray) -> bool:
    inside = basis.T @ matrix @ basis
    return bool(
        np.max(np.abs(inside - np.diag(np.diag(inside))))
        <= _COMMUTING * np.max(np.abs(matrix))
    )


def _diagonal_on(basis: FloatArray, matrix: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("id,ij,jd->d", basis, matrix, basis, optimize=True))


def _exact_levels(task: Task, roots: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """The order of the directions by decreasing gain, then λ, and the roots of their gains, equal where they tie.

    The gain s² (λω)²/(s² (1 + 1/N) λω + s² (tr(ΩΛ) + σ²)/N) of a diagonal task increases with λω, so the numbers λω
    as they are written decide. Roots that differ by less than their rounding are set one double apart.
    """
    λ, ω = task.exact_variances, task.exact_teacher_variances
    products = λ * ω
    order = sorted(range(len(λ)), key=lambda d: (-products[d], -λ[d]))
    level = roots[order]
    for place, (before, here) in enumerate(pairwise(order), start=1):
        if products[here] == products[before]:
            level[place] = level[place - 1]
        else:
            level[place] = min(level[place], np.nextafter(level[place - 1], 0))
    return np.array(order), level


def _rounded_levels(
    lam: FloatArray, roots: FloatArray
) -> tuple[NDArray[np.intp], FloatArray]:
    """The same where eigenvectors come from a solver: roots that differ by its rounding are made equal."""
    first = np.argsort(-roots, kind="stable")
    level = np.empty_like(roots)
    level[first] = _levelled(roots[first], _ROUNDED_TIE * roots[first[:1]])
    order = np.lexsort((-lam, -level))
    return order, level[order]


def _levelled(values: FloatArray, tie: FloatArray) -> FloatArray:
    """Decreasing values in which those that differ by no more than `tie` from their neighbour are made equal."""
    starts = np.append(True, -np.diff(values) > np.broadcast_to(tie, values.shape)[1:])
    return np.asarray(
        values[np.maximum.accumulate(np.where(starts, np.arange(len(values)), 0))]
    )


def _root(matrix: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(values) @ vectors.T)


def _symmetrised(matrix: FloatArray) -> FloatArray:
    return (matrix + matrix.T) / 2
