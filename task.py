"""The problem: the distribution of prompts on which a model learns linear regression in context."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .runtime.arrays import FloatArray
from .runtime.checks import is_whole_number
from .runtime.decimals import (
    Numbers,
    Written,
    as_stored,
    as_written,
    exact_fraction,
    exactly_symmetric,
    fractions,
    fractions_of,
    frozen_numbers,
    in_message,
    nested_lists,
    nonnegative,
    number,
    number_array,
    number_of_text,
    symmetric,
)
from .runtime.machine import refuse_too_large
from .runtime.serialisation import BYTE_ORDER_MARK, Settings

Number = float | str | Decimal | Fraction
"""What one number may be given as: text such as "2/5" is exact, a float is the decimal that Python prints."""

MOST_LENGTHS = 10**6
"""Most context lengths of an average: a second's work for the theory."""

LONGEST = 2**53
"""Longest context: the whole numbers up to here are exact in floating point."""

# Matrices like Λ that a task, its eigenvectors and its moments need at once.
_COPIES = 10

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
    is Λ after rescaling and `eigenvalues` its spectrum in decreasing order. Any number may be text such as "2/5",
    and the attributes `exact_…` hold every number as it is written. ValueError says what is wrong.

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
    _inputs: dict[str, Any]

    # Long because it names each number of the task twice: as it was written, and as a double.
    def __init__(
        self,
        eigenvalues: Numbers | None = None,
        *,
        context_length: int | str,
        covariance: Numbers | None = None,
        teacher_covariance: Numbers | None = None,
        fixed_teacher: Numbers | None = None,
        in_context_fraction: Number | None = None,
        noise_variance: Number = 0.0,
        trace: Number | None = None,
    ) -> None:
        covariance_name, written_Λ = _input_covariance(eigenvalues, covariance)
        exact_trace = None if trace is None else _checked_trace(trace)
        Λ = _rescaled(written_Λ, exact_trace)
        Ω = _teacher_covariance(teacher_covariance, len(Λ))
        w0, fraction = _mixture(fixed_teacher, in_context_fraction, len(Λ))
        noise = nonnegative("noise_variance", noise_variance)
        length = _context_length(context_length)

        # Numbers as they were written, of which `exact_…` are made.
        inputs: dict[str, Any] = {covariance_name: frozen_numbers(written_Λ)}
        if exact_trace is not None:
            inputs["trace"] = exact_trace
        inputs["teacher_covariance"] = frozen_numbers(Ω)
        inputs["noise_variance"] = noise
        inputs["context_length"] = length
        if w0 is not None:
            inputs["fixed_teacher"] = frozen_numbers(w0)
            inputs["in_context_fraction"] = fraction

        self._set(
            covariance=_frozen(Λ),
            teacher_covariance=_frozen(Ω.doubles),
            fixed_teacher=None if w0 is None else _frozen(w0.doubles),
            in_context_fraction=float(fraction),
            noise_variance=float(noise),
            context_length=length,
            _inputs=inputs,
        )

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

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
    def exact_variances(self) -> NDArray[Any]:
        """The diagonal of Λ in fractions, (D,): decimals as they are written, rescaled exactly to the trace."""
        written = self._written_covariance
        diagonal = fractions(written if written.ndim == 1 else np.diag(written))
        return np.asarray(diagonal * self._exact_scale(diagonal))

    @property
    def exact_covariance(self) -> NDArray[Any]:
        """Λ in fractions, (D, D)."""
        if self._written_covariance.ndim == 1:
            size = self.dimension
            matrix = np.full((size, size), Fraction(0), dtype=object)
            np.fill_diagonal(matrix, self.exact_variances)
            return matrix
        written = exactly_symmetric(fractions(self._written_covariance))
        return np.asarray(written * self._exact_scale(np.diag(written)))

    @cached_property
    def exact_teacher_variances(self) -> NDArray[Any]:
        """The diagonal of Ω in fractions, (D,)."""
        return fractions(np.diag(self._inputs["teacher_covariance"]))

    @cached_property
    def exact_teacher_covariance(self) -> NDArray[Any]:
        """Ω in fractions, (D, D)."""
        return exactly_symmetric(fractions(self._inputs["teacher_covariance"]))

    @property
    def exact_fixed_teacher(self) -> NDArray[Any] | None:
        """w₀ in fractions, (D,)."""
        written = self._inputs.get("fixed_teacher")
        return None if written is None else fractions(written)

    @property
    def exact_noise_variance(self) -> Fraction:
        """σ² as a fraction."""
        return exact_fraction(self._inputs["noise_variance"])

    @property
    def exact_in_context_fraction(self) -> Fraction:
        """p as a fraction."""
        return exact_fraction(self._inputs.get("in_context_fraction", 1))

    def _exact_scale(self, diagonal: NDArray[Any]) -> Fraction:
        """What the numbers of Λ are multiplied by to have the trace."""
        if "trace" not in self._inputs:
            return Fraction(1)
        return exact_fraction(self._inputs["trace"]) / sum(diagonal, Fraction(0))

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

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """The task of a TOML text, its decimals as they are written; ValueError as `from_dict`."""
        return cls.from_dict(
            tomllib.loads(text.removeprefix(BYTE_ORDER_MARK), parse_float=Decimal)
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings that differ from their defaults, as plain numbers and lists.

        Text such as "1/3" stands for what was given exactly and no double prints as. A trace given in doubles is
        not kept: its Λ is stored in doubles.
        """
        settings = self._covariance_settings()
        if not np.array_equal(self.teacher_covariance, np.eye(self.dimension)):
            settings["teacher_covariance"] = self._as_lists("teacher_covariance")
        if self.fixed_teacher is not None:
            settings["fixed_teacher"] = self._as_lists("fixed_teacher")
            settings["in_context_fraction"] = as_stored(
                self.in_context_fraction, self.exact_in_context_fraction
            )
        if self.noise_variance:
            settings["noise_variance"] = as_stored(
                self.noise_variance, self.exact_noise_variance
            )
        return settings | {"context_length": self.context_length}

    def _covariance_settings(self) -> dict[str, Any]:
        """Λ as eigenvalues where it is diagonal, else as a matrix; rescaled, so that no trace is needed."""
        if is_diagonal(self.covariance):
            exact = self.exact_variances if self._is_text else None
            return {"eigenvalues": nested_lists(np.diag(self.covariance), exact)}
        exact = self.exact_covariance if self._is_text else None
        return {"covariance": nested_lists(self.covariance, exact)}

    def _as_lists(self, name: str) -> list[Any]:
        """An input as nested lists: fractions as text where no double prints as them."""
        written = self._inputs[name]
        exact = written if written.dtype == object else None
        return nested_lists(getattr(self, name), exact)

    def formulas(self) -> dict[str, str]:
        """The law of the prompts."""
        law = r"x \sim N(0, \Lambda), \quad w \sim N(0, \Omega), \quad y = w^\top x + N(0, \sigma^2)"
        formulas = {"prompts": law}
        if self.fixed_teacher is not None:
            formulas["mixture"] = r"w = w_0 \text{ with probability } 1 - p"
        return formulas

    @property
    def _written_covariance(self) -> NDArray[Any]:
        """What Λ was made of, as it was written: eigenvalues (D,) or a matrix (D, D)."""
        name = "eigenvalues" if "eigenvalues" in self._inputs else "covariance"
        return np.asarray(self._inputs[name])

    @property
    def _is_text(self) -> bool:
        """Whether Λ was given by numbers that no double prints as."""
        has_fractions = self._written_covariance.dtype == object
        return has_fractions or isinstance(self._inputs.get("trace"), Fraction)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exact numbers travel, too.
        return type(self).from_dict, (self._inputs,)


def is_diagonal(matrix: FloatArray) -> bool:
    """Whether every entry off the diagonal is exactly zero."""
    return bool(np.count_nonzero(matrix) == np.count_nonzero(np.diag(matrix)))


def _frozen(array: FloatArray) -> FloatArray:
    array = np.array(array)
    array.flags.writeable = False
    return array


def _input_covariance(
    eigenvalues: Numbers | None, covariance: Numbers | None
) -> tuple[str, Written]:
    """The name of what Λ was given by, and its numbers, (D,) or (D, D)."""
    if (eigenvalues is None) == (covariance is None):
        number_given = "neither" if eigenvalues is None else "both"
        raise ValueError(
            f"pass eigenvalues or covariance, one of the two: {number_given} given"
        )
    if covariance is not None:
        return "covariance", positive_definite("covariance", covariance, None)
    spectrum = number_array("eigenvalues", eigenvalues, (None,))
    if np.any(spectrum.doubles <= 0):
        raise ValueError(
            f"eigenvalues must be positive: the smallest is {spectrum.doubles.min():g}"
        )
    dimension = len(spectrum.doubles)
    size = _COPIES * float(spectrum.doubles.nbytes) * dimension
    name = f"a task of dimension {dimension}"
    refuse_too_large(name, size, "choose a smaller dimension")
    return "eigenvalues", spectrum


def positive_definite(name: str, value: Numbers, dimension: int | None) -> Written:
    """A covariance (D, D) as it is written; ValueError names it unless it is symmetric and positive definite."""
    written = symmetric(name, value, dimension)
    matrix = written.doubles
    if is_diagonal(matrix):
        values: NDArray[Any] = np.diag(matrix)
        rounding = 0.0
    else:
        values = np.linalg.eigvalsh(matrix)
        rounding = len(matrix) * float(np.finfo(float).eps * np.max(np.abs(values)))
    if values.min() <= rounding:
        raise ValueError(
            f"{name} must be positive definite: its smallest eigenvalue is {values.min():.3g}"
        )
    return written


def _checked_trace(trace: object) -> float | Fraction:
    """The trace, as a fraction where no double prints as it."""
    value = number(trace)
    if value is None or not 0 < float(value) < np.inf:
        raise ValueError(f"trace must be positive and finite, not {in_message(trace)}")
    return value


def _rescaled(written: Written, trace: float | Fraction | None) -> FloatArray:
    """Λ (D, D) in doubles, of this trace if there is one: the nearest doubles where numbers are given exactly."""
    if trace is None:
        return _as_matrix(written.doubles)
    if written.exact is not None or isinstance(trace, Fraction):
        rescaled = _exactly_rescaled(fractions_of(written), trace)
    else:
        matrix = _as_matrix(written.doubles)
        with np.errstate(all="ignore"):  # what leaves the range is refused below
            scale: float = float(np.trace(matrix)) / trace
            rescaled = matrix / scale
    if not np.all(np.isfinite(rescaled)) or np.any(np.diag(rescaled) <= 0):
        raise ValueError(
            f"trace {in_message(trace)} puts Λ outside the range of floating point: pass a moderate one"
        )
    return rescaled


def _exactly_rescaled(exact: NDArray[Any], trace: float | Fraction) -> FloatArray:
    """Eigenvalues (D,) or Λ (D, D) in fractions, rescaled to the trace and then rounded once, (D, D)."""
    diagonal = exact if exact.ndim == 1 else np.diag(exact)
    scaled = exact * (exact_fraction(trace) / sum(diagonal))
    return _as_matrix(as_written(scaled).doubles)


def _as_matrix(array: FloatArray) -> FloatArray:
    """Λ (D, D) from eigenvalues (D,) or itself."""
    return np.diag(array) if array.ndim == 1 else array


def _teacher_covariance(value: Numbers | None, dimension: int) -> Written:
    if value is None:
        return Written(np.eye(dimension), None)
    return positive_definite("teacher_covariance", value, dimension)


def _mixture(
    fixed_teacher: Numbers | None, fraction: object, dimension: int
) -> tuple[Written | None, float | Fraction]:
    value = number(fraction)
    if fixed_teacher is None:
        if fraction is not None and value != 1:
            raise ValueError(
                f"in_context_fraction {in_message(fraction)} needs a fixed_teacher for the other sequences"
            )
        return None, 1.0
    if value is None or not 0 <= value <= 1:
        raise ValueError(
            f"a fixed_teacher needs in_context_fraction between 0 and 1, not {in_message(fraction)}"
        )
    return number_array("fixed_teacher", fixed_teacher, (dimension,)), value


def _context_length(value: int | str) -> int | str:
    """N, or "1..N" for every length; ValueError for anything else, and for more than can be computed with."""
    if isinstance(value, str):
        # At most 4001 digits, which Python turns into a number at once.
        match = re.fullmatch(r" *(1 *\.\. *)?([1-9][0-9]{0,4000}) *", value)
        if match:
            longest = int(match[2])
            return _average_up_to(longest) if match[1] else _one_length(longest)
    elif is_whole_number(value, least=1):
        return _one_length(int(value))
    raise ValueError(
        f'context_length must be a whole number N ≥ 1, or "1..N" for every length, not {in_message(value)}'
    )


def _one_length(length: int) -> int:
    if length > LONGEST:
        raise ValueError(
            f"context_length must be at most {LONGEST}, up to where numbers are exact"
        )
    return length


def _average_up_to(longest: int) -> str:
    if longest > MOST_LENGTHS:
        raise ValueError(
            f"context_length 1..{longest} averages over more than {MOST_LENGTHS} lengths: pass one N"
        )
    return f"1..{longest}"


def eigenvalue_list(text: str) -> Sequence[float | Fraction]:
    """Eigenvalues from text such as "4,3,2,1" or "2/5,3/10"; ValueError names what is not a number."""
    try:
        return [number_of_text(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"eigenvalues must be numbers separated by commas, such as 4,3,2,1 or 2/5,3/10, not {text!r}"
        ) from None
