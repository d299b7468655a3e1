"""Second moments of a task as exact rationals, from the definition of the prompts."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from ...context_lengths import averaged_lengths
from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization
from ...runtime.decimals import exact_fraction
from ...task import Task
from .balls import RationalMatrix, fmpq, rational_matrix


@dataclass(frozen=True, eq=False)
class RationalMoments:
    """L(M) = c − 2 tr(BᵀM) + tr(Λ Mᵀ A M) in exact rationals: A, B and Λ are (D, D).

    With β = Σ_n y_n x_n / δ and y = w·x + noise: c = E y_q², A = E[β βᵀ], B = E[y_q β x_qᵀ], Λ = E[x xᵀ].
    """

    c: Fraction
    A: RationalMatrix
    B: RationalMatrix
    Lambda: RationalMatrix

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return int(self.Lambda.nrows())


class AlignedDirection(NamedTuple):
    """A common eigenvector of Λ and Ω along an axis: the rates of a head on it, dv/dt = b v² − curvature v⁵.

    `axis` counts the entries of x from 0, `curvature` is aλ, and `gain` is b²/(aλ).
    """

    axis: int
    b: Fraction
    curvature: Fraction
    gain: Fraction


def exact_moments(task: Task, model: Parametrization) -> RationalMoments:
    """The moments of a task as it is written: floats are the decimals that they print as.

    From E[y² x xᵀ | w] = 2 Λ w wᵀ Λ + (wᵀΛw + σ²) Λ for Gaussian x, and independence of the pairs:
    A = E[N(N+1)/δ²] ΛΩΛ + E[N/δ²] (tr ΩΛ + σ²) Λ and B = E[N/δ] ΛΩΛ. ValueError for a law or a model that is
    another one.
    """
    model = _linear_model(model)
    _refuse_other_laws(task)
    covariance = rational_matrix(task.exact_covariance.tolist())
    teachers = rational_matrix(task.exact_teacher_covariance.tolist())
    if not _is_positive_definite(covariance):
        raise ValueError(
            "Λ must be positive definite: leave out the directions on which x does not vary"
        )

    signal = _trace(teachers * covariance)  # E (w·x)²
    context_square = signal + task.exact_noise_variance
    means = _length_means(task, model)
    correlation = covariance * teachers * covariance  # E[y β x_qᵀ] of one pair

    own_noise = covariance * fmpq(means.single * context_square)
    return RationalMoments(
        c=signal + task.exact_query_noise_variance,
        A=correlation * fmpq(means.pairs) + own_noise,
        B=correlation * fmpq(means.first),
        Lambda=covariance,
    )


def aligned_directions(
    task: Task, model: Parametrization
) -> tuple[Fraction, list[AlignedDirection]]:
    """c, and the axes by decreasing gain, of a task whose Λ and Ω are diagonal as written; ValueError otherwise."""
    moments = exact_moments(task, model)
    A, B, Lambda = moments.A, moments.B, moments.Lambda
    D = moments.dimension
    off_axis = [(i, j) for i in range(D) for j in range(D) if i != j]
    if any(Lambda[i, j] != 0 or B[i, j] != 0 for i, j in off_axis):
        raise ValueError(
            "this form is that of diagonal Λ and Ω: write the task in the basis of their common eigenvectors"
        )
    directions = []
    for axis in range(D):
        b = _fraction(B[axis, axis])
        curvature = _fraction(A[axis, axis] * Lambda[axis, axis])
        directions.append(AlignedDirection(axis, b, curvature, b * b / curvature))
    ordered = sorted(directions, key=lambda direction: -direction.gain)
    return moments.c, ordered


def middle_of_drop(
    task: Task,
    model: Parametrization,
    before: Iterable[int] = (),
    after: Iterable[int] = (1,),
) -> Fraction:
    """The loss halfway between those of the fixed points M_S of two sets of directions, exactly, for a diagonal task.

    Directions are numbered from 1 by decreasing gain. ValueError for a task that is not diagonal, or a direction that
    it has not.

    >>> from attndyn import Separate, Task
    >>> middle_of_drop(Task(eigenvalues=["3/5", "2/5"], context_length=20), Separate(heads=2))
    Fraction(25, 34)
    """
    c, directions = aligned_directions(task, model)
    losses = []
    for subset in (before, after):
        chosen = checked_subset(subset, len(directions))
        gains = [directions[d - 1].gain for d in chosen]
        losses.append(c - sum(gains, Fraction(0)))
    return (losses[0] + losses[1]) / 2


def checked_subset(subset: Iterable[int], dimension: int) -> tuple[int, ...]:
    """The directions in increasing order; ValueError for one that does not exist, or stands twice."""
    chosen = tuple(subset)
    known = range(1, dimension + 1)
    if len(set(chosen)) != len(chosen) or any(d not in known for d in chosen):
        raise ValueError(
            f"directions are different numbers from 1 to {dimension}, not {chosen}"
        )
    return tuple(sorted(chosen))


class _LengthMeans(NamedTuple):
    """Means over the context lengths N: E[N(N+1)/δ²], E[N/δ²] and E[N/δ]."""

    pairs: Fraction
    single: Fraction
    first: Fraction


def _length_means(task: Task, model: Merged | Separate) -> _LengthMeans:
    means = [Fraction(0), Fraction(0), Fraction(0)]
    for length, weight in _weighted_lengths(task):
        divisor = _divisor(model, length)
        count = Fraction(length)
        means[0] += weight * count * (count + 1) / divisor**2
        means[1] += weight * count / divisor**2
        means[2] += weight * count / divisor
    return _LengthMeans(*means)


def _weighted_lengths(task: Task) -> list[tuple[int, Fraction]]:
    """Each context length with its share, exactly."""
    lengths = averaged_lengths(task.context_length)
    if isinstance(task.context_length, dict):
        weights = [exact_fraction(weight) for weight in task.context_length.values()]
    else:
        weights = [Fraction(1) for _ in lengths]
    whole = sum(weights, Fraction(0))
    shares = [weight / whole for weight in weights]
    return list(zip(lengths, shares, strict=True))


def _divisor(model: Merged | Separate, length: int) -> Fraction:
    """δ of a context of this length: "context" is N, or 1 where N = 0; "tokens" counts the query's where it is read."""
    if model.divisor == "context":
        return Fraction(max(length, 1))
    if model.divisor == "tokens":
        return Fraction(length + int(model.query_token))
    if model.divisor == "none":
        return Fraction(1)
    return exact_fraction(model.divisor)


def _linear_model(model: Parametrization) -> Merged | Separate:
    """The model; ValueError unless it is linear attention with one output."""
    if not isinstance(model, Merged | Separate) or model.softmax or model.outputs > 1:
        raise ValueError(
            "enclosures are of linear attention with one output: pass Merged(heads) or Separate(heads, rank)"
        )
    if model.score_divisor != 1:
        raise ValueError(
            "enclosures are of score_divisor 1: another one only rescales the keys"
        )
    return model


def _refuse_other_laws(task: Task) -> None:
    """ValueError unless x is Gaussian with mean 0 and every sequence has its own Gaussian teacher."""
    if task.inputs.name != "gaussian" or any(task.input_mean):
        raise ValueError(
            "enclosures are of Gaussian inputs with mean 0: the task has other inputs"
        )
    if not task.has_normal_teachers or task.outputs > 1:
        raise ValueError(
            "enclosures are of Gaussian teachers with one output: the task has another law"
        )
    if task.exact_in_context_fraction != 1:
        raise ValueError(
            "enclosures are of teachers that are drawn anew for every sequence: leave the fixed teacher out"
        )


def _is_positive_definite(matrix: RationalMatrix) -> bool:
    """Whether a symmetric matrix is, by the signs of its characteristic polynomial: all roots are real."""
    # The roots of det(x − C) are positive just where its coefficients alternate in sign, none of them zero.
    coefficients = matrix.charpoly().coeffs()
    degree = matrix.nrows()
    return all(
        coefficient * (-1) ** (degree - power) > 0
        for power, coefficient in enumerate(coefficients)
    )


def _trace(matrix: RationalMatrix) -> Fraction:
    entries = [_fraction(matrix[i, i]) for i in range(matrix.nrows())]
    return sum(entries, Fraction(0))


def _fraction(number: object) -> Fraction:
    """An exact rational of the library as a fraction."""
    return Fraction(int(number.p), int(number.q))  # type: ignore[attr-defined]
