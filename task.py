"""The problem: the distribution of prompts on which a model learns linear regression in context."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .machine import refuse_too_large
from .settings import Settings

FloatArray = NDArray[np.float64]

MOST_LENGTHS = 10**6
"""Most context lengths of an average: a second's work for the theory."""

LONGEST = 2**53
"""Longest context: the whole numbers up to here are exact in floating point."""

_COPIES = 10  # matrices like Λ that a task, its eigenvectors and its moments need at once

_FIELDS = (
    "eigenvalues",
    "covariance",
    "teacher_covariance",
    "fixed_teacher",
    "in_context_fraction",
    "noise_variance",
    "context_length",
    "trace",
)


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Task(Settings):
    """Prompts of N pairs (x, y) and one query: x ~ N(0, Λ), w ~ N(0, Ω), y = wᵀx + N(0, σ²).

    Parameters: `eigenvalues` (D,) of a diagonal Λ, or `covariance` (D, D); `teacher_covariance` Ω (D, D), the
    identity if left out; `noise_variance` σ²; `context_length` N, or "1..N" for the loss averaged over every
    length up to N; `trace` rescales Λ. With `fixed_teacher` w₀ (D,) and `in_context_fraction` p a sequence
    has a teacher from N(0, Ω) with probability p and w₀ otherwise. Attributes hold what results: `covariance`
    is Λ after rescaling and `eigenvalues` its spectrum in decreasing order. ValueError says what is wrong.

    Source: Zhang et al. 2025 (arXiv 2501.16265), Section 2.1.

    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> task.eigenvalues
    array([0.4, 0.3, 0.2, 0.1])
    """

    covariance: FloatArray
    teacher_covariance: FloatArray
    fixed_teacher: FloatArray | None
    in_context_fraction: float
    noise_variance: float
    context_length: int | str

    def __init__(
        self,
        eigenvalues: ArrayLike | None = None,
        *,
        context_length: int | str,
        covariance: ArrayLike | None = None,
        teacher_covariance: ArrayLike | None = None,
        fixed_teacher: ArrayLike | None = None,
        in_context_fraction: float | None = None,
        noise_variance: float = 0.0,
        trace: float | None = None,
    ) -> None:
        Λ = _rescaled(_input_covariance(eigenvalues, covariance), trace)
        dimension = len(Λ)
        object.__setattr__(self, "covariance", _frozen(Λ))
        object.__setattr__(self, "teacher_covariance", _frozen(_teacher_covariance(teacher_covariance, dimension)))
        w0, fraction = _mixture(fixed_teacher, in_context_fraction, dimension)
        object.__setattr__(self, "fixed_teacher", w0)
        object.__setattr__(self, "in_context_fraction", fraction)
        object.__setattr__(self, "noise_variance", _nonnegative("noise_variance", noise_variance))
        object.__setattr__(self, "context_length", _context_length(context_length))

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return len(self.covariance)

    @property
    def trace(self) -> float:
        """tr Λ, the mean of |x|²."""
        return float(np.trace(self.covariance))

    @property
    def context_lengths(self) -> tuple[int, ...]:
        """Every context length the loss averages over: (N,), or (1, …, N)."""
        if isinstance(self.context_length, int):
            return (self.context_length,)
        return tuple(range(1, int(self.context_length.removeprefix("1..")) + 1))

    @cached_property
    def eigenvalues(self) -> FloatArray:
        """λ in decreasing order, (D,)."""
        return self._eigensystem[0]

    @cached_property
    def eigenvectors(self) -> FloatArray:
        """Orthonormal eigenvectors of Λ as columns, in the order of `eigenvalues`, (D, D)."""
        return self._eigensystem[1]

    @cached_property
    def _eigensystem(self) -> tuple[FloatArray, FloatArray]:
        diagonal = np.diag(self.covariance)
        if is_diagonal(self.covariance):  # exact, where eigh would round
            order = np.argsort(-diagonal, kind="stable")
            return _frozen(diagonal[order]), _frozen(np.eye(self.dimension)[:, order])
        values, vectors = np.linalg.eigh(self.covariance)
        return _frozen(values[::-1]), _frozen(vectors[:, ::-1])

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that a task file may hold."""
        return _FIELDS

    def to_dict(self) -> dict[str, Any]:
        """The settings that differ from their defaults, as plain numbers and lists."""
        settings: dict[str, Any] = {}
        if is_diagonal(self.covariance):
            settings["eigenvalues"] = np.diag(self.covariance).tolist()
        else:
            settings["covariance"] = self.covariance.tolist()
        if not np.array_equal(self.teacher_covariance, np.eye(self.dimension)):
            settings["teacher_covariance"] = self.teacher_covariance.tolist()
        if self.fixed_teacher is not None:
            settings["fixed_teacher"] = self.fixed_teacher.tolist()
            settings["in_context_fraction"] = self.in_context_fraction
        if self.noise_variance:
            settings["noise_variance"] = self.noise_variance
        return settings | {"context_length": self.context_length}


def is_diagonal(matrix: FloatArray) -> bool:
    """Whether every entry off the diagonal is exactly zero."""
    return bool(np.count_nonzero(matrix) == np.count_nonzero(np.diag(matrix)))


def _frozen(array: FloatArray) -> FloatArray:
    array = np.array(array)
    array.flags.writeable = False
    return array


def _numbers(name: str, value: ArrayLike | None, shape: tuple[int | None, ...]) -> FloatArray:
    sizes = ["D" if size is None else str(size) for size in shape]
    wanted = f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"
    try:
        if np.asarray(value).dtype.kind == "c":
            raise TypeError
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers of shape {wanted}, not {value!r}") from None
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.size == 0:
        raise ValueError(f"{name} must have shape {wanted}, not {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite: it holds nan or inf")
    return array + 0.0  # -0.0 and 0.0 are equal, and so must their JSON be


def _symmetric(name: str, value: ArrayLike, dimension: int | None) -> FloatArray:
    array = _numbers(name, value, (dimension, dimension))
    if array.shape[0] != array.shape[1]:
        raise ValueError(f"{name} must be square, not {array.shape[0]} × {array.shape[1]}")
    if not np.allclose(array, array.T, rtol=1e-12, atol=1e-12 * float(np.max(np.abs(array)))):
        raise ValueError(f"{name} must be symmetric: pass (C + C.T) / 2 if the difference is rounding")
    return (array + array.T) / 2


def _input_covariance(eigenvalues: ArrayLike | None, covariance: ArrayLike | None) -> FloatArray:
    if (eigenvalues is None) == (covariance is None):
        given = "neither" if eigenvalues is None else "both"
        raise ValueError(f"pass eigenvalues or covariance, one of the two: {given} given")
    if covariance is None:
        spectrum = _numbers("eigenvalues", eigenvalues, (None,))
        if np.any(spectrum <= 0):
            raise ValueError(f"eigenvalues must be positive: the smallest is {spectrum.min():g}")
        size = _COPIES * float(spectrum.nbytes) * len(spectrum)
        refuse_too_large(f"a task of dimension {len(spectrum)}", size, "choose a smaller dimension")
        return np.diag(spectrum)
    return _positive_definite("covariance", covariance, None)


def _positive_definite(name: str, value: ArrayLike, dimension: int | None) -> FloatArray:
    matrix = _symmetric(name, value, dimension)
    values = np.diag(matrix) if is_diagonal(matrix) else np.linalg.eigvalsh(matrix)
    rounding = 0.0 if is_diagonal(matrix) else len(matrix) * float(np.finfo(float).eps * np.max(np.abs(values)))
    if values.min() <= rounding:
        raise ValueError(f"{name} must be positive definite: its smallest eigenvalue is {values.min():.3g}")
    return matrix


def _rescaled(matrix: FloatArray, trace: float | None) -> FloatArray:
    if trace is None:
        return matrix
    if not _is_number(trace) or not 0 < trace < np.inf:
        raise ValueError(f"trace must be positive and finite, not {trace!r}")
    with np.errstate(all="ignore"):
        scale: float = float(np.trace(matrix)) / trace
        rescaled: FloatArray = matrix / scale
    if not np.all(np.isfinite(rescaled)) or np.any(np.diag(rescaled) <= 0):
        raise ValueError(f"trace {trace!r} puts Λ outside the range of floating point: pass a moderate one")
    return rescaled


def _teacher_covariance(value: ArrayLike | None, dimension: int) -> FloatArray:
    if value is None:
        return np.eye(dimension)
    return _positive_definite("teacher_covariance", value, dimension)


def _mixture(
    fixed_teacher: ArrayLike | None, fraction: float | None, dimension: int
) -> tuple[FloatArray | None, float]:
    if fixed_teacher is None:
        if fraction is not None and fraction != 1:
            raise ValueError(f"in_context_fraction {fraction!r} needs a fixed_teacher for the other sequences")
        return None, 1.0
    if fraction is None or not _is_number(fraction) or not 0 <= fraction <= 1:
        raise ValueError(f"a fixed_teacher needs in_context_fraction between 0 and 1, not {fraction!r}")
    return _frozen(_numbers("fixed_teacher", fixed_teacher, (dimension,))), float(fraction) + 0.0


def _nonnegative(name: str, value: float) -> float:
    if not _is_number(value) or not 0 <= value < np.inf:
        raise ValueError(f"{name} must be zero or more and finite, not {value!r}")
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _context_length(value: int | str) -> int | str:
    if isinstance(value, str):
        match = re.fullmatch(r" *(?:1 *\.\. *)?([1-9][0-9]{0,4000}) *", value)
        if match:
            return _average_up_to(int(match[1])) if ".." in value else _one_length(int(match[1]))
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 1:
        return _one_length(int(value))
    raise ValueError(f'context_length must be a whole number N ≥ 1, or "1..N" for every length, not {value!r}')


def _one_length(length: int) -> int:
    if length > LONGEST:
        raise ValueError(f"context_length must be at most {LONGEST}, up to where numbers are exact")
    return length


def _average_up_to(longest: int) -> str:
    if longest > MOST_LENGTHS:
        raise ValueError(f"context_length 1..{longest} averages over more than {MOST_LENGTHS} lengths: pass one N")
    return f"1..{longest}"


def eigenvalue_list(text: str) -> Sequence[float]:
    """Eigenvalues from text such as "4,3,2,1"; ValueError names what is not a number."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"eigenvalues must be numbers separated by commas, such as 4,3,2,1, not {text!r}"
        ) from None
