"""The problem: the distribution of prompts on which a model learns linear regression in context."""

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .inputs import Inputs
from .runtime.arrays import FloatArray, read_only
from .runtime.checks import is_whole_number, refuse_unsendable
from .runtime.covariances import (
    eigenvalue_rounding,
    is_diagonal,
    smallest_eigenvalue,
)
from .runtime.decimals import (
    Number,
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
from .teachers import (
    Gaussian,
    Mixture,
    Pool,
    TeacherLaw,
    checked_law,
    law_identity,
    law_settings,
)

ContextLength = int | str | Sequence[int] | Mapping[int, float]
"""N, "n0..N", a list of lengths, or {length: weight}."""

MOST_LENGTHS = 10**6
"""Most context lengths of an average: a second's work for the theory."""

LARGEST_WEIGHT = 1e300
"""Largest weight of a context length: the sum of as many as there may be is finite."""

LONGEST = 2**53
"""Longest context: the whole numbers up to here are exact in floating point."""

# Matrices like Λ that a task, its eigenvectors and its moments need at once.
_COPIES = 10

_FIELDS = (
    "eigenvalues",
    "covariance",
    "input_mean",
    "inputs",
    "teachers",
    "teacher_covariance",
    "fixed_teacher",
    "in_context_fraction",
    "noise_variance",
    "query_noise_variance",
    "context_length",
    "trace",
)


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Task(Settings):
    """Prompts of N pairs (x, y) and one query: x = mean + Λ^½ z, W (K, D) of a law, y = W x + N(0, σ²).

    Parameters: `eigenvalues` (D,) of a diagonal Λ, or `covariance` (D, D), zero or more and not all zero; `trace`
    rescales Λ. `input_mean` (D,) is E x, 0 if left out; `inputs` the law of z: "gaussian" (if left out), "uniform",
    "rademacher", "sphere" or an `Inputs`. `teachers` is a law of W: `Gaussian`, `Sphere`, `Pool`, `Mixture` or one
    of your own. Without it w ~ N(0, Ω) with `teacher_covariance` Ω (D, D), the identity if left out; and with
    `fixed_teacher` w₀ (D,) and `in_context_fraction` p a sequence has a teacher from N(0, Ω) with probability p and
    w₀ otherwise. `noise_variance` σ² is that of the labels; `query_noise_variance` that of the query's label, the
    same if left out. `context_length` is N, "n0..N" for the mean loss over these lengths, a list of lengths, or
    {length: weight}.

    Attributes hold what results: `covariance` is Λ after rescaling and `eigenvalues` its spectrum in decreasing
    order. Any number may be text such as "2/5", and the attributes `exact_…` hold numbers as they are written.
    ValueError says what is wrong.

    Source: Zhang et al. 2025 (arXiv 2501.16265), Section 2.1.

    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> task.eigenvalues
    array([0.4, 0.3, 0.2, 0.1])
    """

    covariance: FloatArray
    input_mean: FloatArray
    inputs: Inputs
    teachers: TeacherLaw
    noise_variance: float
    query_noise_variance: float
    context_length: int | str | tuple[int, ...] | dict[int, float]
    _normal_teachers: "_NormalTeachers | None"
    _inputs: dict[str, Any]

    # Long because it names each number of the task twice: as it was written, and as a double.
    def __init__(
        self,
        eigenvalues: Numbers | None = None,
        *,
        context_length: ContextLength,
        covariance: Numbers | None = None,
        input_mean: Numbers | None = None,
        inputs: str | Inputs = "gaussian",
        teachers: TeacherLaw | None = None,
        teacher_covariance: Numbers | None = None,
        fixed_teacher: Numbers | None = None,
        in_context_fraction: Number | None = None,
        noise_variance: Number = 0.0,
        query_noise_variance: Number | None = None,
        trace: Number | None = None,
    ) -> None:
        covariance_name, written_Λ = _input_covariance(eigenvalues, covariance)
        exact_trace = None if trace is None else _checked_trace(trace)
        Λ = _rescaled(written_Λ, exact_trace)
        mean = np.zeros(len(Λ))
        if input_mean is not None:
            mean = number_array("input_mean", input_mean, (len(Λ),)).doubles
        law_of_z = inputs if isinstance(inputs, Inputs) else Inputs.named(inputs)
        law_of_z.check(len(Λ))
        if teachers is not None:
            _refuse_second_law(teacher_covariance, fixed_teacher, in_context_fraction)
            law = checked_law(teachers)
            _refuse_other_dimension(law, len(Λ))
            normal = _as_normal_teachers(law)
        else:
            normal = _normal_teachers(
                teacher_covariance, fixed_teacher, in_context_fraction, len(Λ)
            )
        noise = nonnegative("noise_variance", noise_variance)
        query_noise = noise
        if query_noise_variance is not None:
            query_noise = nonnegative("query_noise_variance", query_noise_variance)
        length = _context_length(context_length)

        # Numbers as they were written, of which `exact_…` are made.
        written: dict[str, Any] = {covariance_name: frozen_numbers(written_Λ)}
        if exact_trace is not None:
            written["trace"] = exact_trace
        if np.any(mean):
            written["input_mean"] = mean
        if not law_of_z.is_gaussian:
            written["inputs"] = law_of_z
        if normal is None:
            written["teachers"] = law
        else:
            written |= normal.written
        written["noise_variance"] = noise
        if float(query_noise) != float(noise):
            written["query_noise_variance"] = query_noise
        written["context_length"] = length

        self._set(
            covariance=read_only(Λ),
            input_mean=read_only(mean),
            inputs=law_of_z,
            teachers=law if normal is None else normal.law,
            noise_variance=float(noise),
            query_noise_variance=float(query_noise),
            context_length=length,
            _normal_teachers=normal,
            _inputs=written,
        )

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def teacher_covariance(self) -> FloatArray:
        """Ω (D, D); ValueError unless the teachers are N(0, Ω), alone or beside a fixed one."""
        return self._normal("teacher_covariance").covariance

    @property
    def fixed_teacher(self) -> FloatArray | None:
        """w₀ (D,), or None without a fixed teacher; ValueError where the law of teachers is another."""
        return self._normal("fixed_teacher").fixed

    @property
    def in_context_fraction(self) -> float:
        """p, 1 without a fixed teacher; ValueError where the law of teachers is another."""
        return float(self._normal("in_context_fraction").fraction)

    def _normal(self, name: str) -> "_NormalTeachers":
        """What describes teachers N(0, Ω) beside a fixed one; ValueError where the law is another."""
        if self._normal_teachers is None:
            kind = type(self.teachers).__name__
            raise ValueError(
                f"a task with teachers of the law {kind} has no {name}: use task.teachers"
            )
        return self._normal_teachers

    @property
    def has_normal_teachers(self) -> bool:
        """Whether teachers are N(0, Ω) with one output, alone or beside one fixed teacher."""
        return self._normal_teachers is not None

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""
        return self.teachers.outputs

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
        """Every context length the loss averages over, in increasing order: (N,), or (1, …, N)."""
        if isinstance(self.context_length, int):
            return (self.context_length,)
        if isinstance(self.context_length, str):
            first, last = self.context_length.split("..")
            return tuple(range(int(first), int(last) + 1))
        return tuple(self.context_length)

    @cached_property
    def context_weights(self) -> FloatArray:
        """The weight of each of `context_lengths` in the loss, summing to 1, (L,)."""
        count = len(self.context_lengths)
        if not isinstance(self.context_length, dict):
            return read_only(np.full(count, 1 / count))
        weights = list(self.context_length.values())
        return read_only(np.array(weights) / math.fsum(weights))

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
        return fractions(np.diag(self._written_teacher_covariance))

    @cached_property
    def exact_teacher_covariance(self) -> NDArray[Any]:
        """Ω in fractions, (D, D)."""
        return exactly_symmetric(fractions(self._written_teacher_covariance))

    @property
    def _written_teacher_covariance(self) -> NDArray[Any]:
        return np.asarray(
            self._normal("teacher_covariance").written["teacher_covariance"]
        )

    @property
    def exact_fixed_teacher(self) -> NDArray[Any] | None:
        """w₀ in fractions, (D,)."""
        self._normal("fixed_teacher")
        written = self._inputs.get("fixed_teacher")
        return None if written is None else fractions(written)

    @property
    def exact_noise_variance(self) -> Fraction:
        """σ² as a fraction."""
        return exact_fraction(self._inputs["noise_variance"])

    @property
    def exact_in_context_fraction(self) -> Fraction:
        """p as a fraction."""
        self._normal("in_context_fraction")
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
            return read_only(diagonal[order]), read_only(
                np.eye(self.dimension)[:, order]
            )
        values, vectors = np.linalg.eigh(self.covariance)
        rounding = eigenvalue_rounding(values)
        values = np.where(values > rounding, values, 0.0)
        return read_only(values[::-1]), read_only(vectors[:, ::-1])

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
        not kept: its Λ is stored in doubles. ValueError for a law of inputs or of teachers of your own, which no
        file can hold.
        """
        if self.inputs.name is None:
            raise ValueError(
                "these inputs are a law of your own, which a file cannot hold: keep the task in your script"
            )
        return self._settings(law_settings)

    @property
    def digest(self) -> str:
        """SHA-256 of the settings; laws of your own are told apart by some of their draws."""
        text = json.dumps(self._settings(law_identity), sort_keys=True)
        return hashlib.sha256(f"{type(self).__name__}{text}".encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._settings(law_identity) == other._settings(law_identity)

    def __hash__(self) -> int:
        return hash(self.digest)

    # Long because it names every setting, in the order of the arguments.
    def _settings(self, law: "_LawSettings") -> dict[str, Any]:
        """The settings that differ from their defaults, the law of teachers as `law` has it."""
        settings = self._covariance_settings()
        if np.any(self.input_mean):
            settings["input_mean"] = self.input_mean.tolist()
        if not self.inputs.is_gaussian:
            settings["inputs"] = self.inputs.identity(self.dimension)
        if self._normal_teachers is None:
            settings["teachers"] = law(self.teachers)
        elif not np.array_equal(self.teacher_covariance, np.eye(self.dimension)):
            settings["teacher_covariance"] = self._as_lists("teacher_covariance")
        if self._normal_teachers is not None and self.fixed_teacher is not None:
            settings["fixed_teacher"] = self._as_lists("fixed_teacher")
            settings["in_context_fraction"] = as_stored(
                self.in_context_fraction, self.exact_in_context_fraction
            )
        if self.noise_variance:
            settings["noise_variance"] = as_stored(
                self.noise_variance, self.exact_noise_variance
            )
        if self.query_noise_variance != self.noise_variance:
            settings["query_noise_variance"] = as_stored(
                self.query_noise_variance, self.exact_query_noise_variance
            )
        return settings | {"context_length": self._stored_context_length()}

    def _stored_context_length(self) -> Any:
        """The context length as JSON and TOML have it: lists, and tables with text for their keys."""
        if isinstance(self.context_length, dict):
            return {str(n): weight for n, weight in self.context_length.items()}
        if isinstance(self.context_length, tuple):
            return list(self.context_length)
        return self.context_length

    @property
    def exact_query_noise_variance(self) -> Fraction:
        """σ² of the query's label as a fraction."""
        written = self._inputs.get(
            "query_noise_variance", self._inputs["noise_variance"]
        )
        return exact_fraction(written)

    def arguments(self) -> dict[str, Any]:
        """The settings that differ from their defaults, with the laws themselves."""
        settings = self._settings(lambda law: {})
        if "inputs" in settings and self.inputs.name is None:
            settings["inputs"] = self.inputs
        if "teachers" in settings:
            settings["teachers"] = self.teachers
        settings["context_length"] = self.context_length
        return settings

    def _covariance_settings(self) -> dict[str, Any]:
        """Λ as eigenvalues where it is diagonal, else as a matrix; rescaled, so that no trace is needed."""
        if is_diagonal(self.covariance):
            exact = self.exact_variances if self._is_text else None
            return {"eigenvalues": nested_lists(np.diag(self.covariance), exact)}
        exact = self.exact_covariance if self._is_text else None
        return {"covariance": nested_lists(self.covariance, exact)}

    def _as_lists(self, name: str) -> list[Any]:
        """An input as nested lists: fractions as text where no double prints as them."""
        written = self._normal(name).written[name]
        exact = written if written.dtype == object else None
        return nested_lists(getattr(self, name), exact)

    def formulas(self) -> dict[str, str]:
        """The law of the prompts."""
        if self._normal_teachers is None or not self.inputs.is_gaussian:
            law = r"x = \mu + \Lambda^{1/2} z, \quad y = W x + N(0, \sigma^2)"
            return {"prompts": law}
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

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # nothing of a task changes

    def __reduce__(self) -> tuple[Any, ...]:
        for name in ("inputs", "teachers"):
            refuse_unsendable(name, self._inputs.get(name))
        # Exact numbers travel, too.
        return type(self).from_dict, (self._inputs,)


_LawSettings = Callable[[TeacherLaw], dict[str, Any]]
"""A law of teachers → its settings as plain numbers."""


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
        return "covariance", positive_semidefinite("covariance", covariance, None)
    spectrum = number_array("eigenvalues", eigenvalues, (None,))
    if np.any(spectrum.doubles < 0):
        raise ValueError(
            f"eigenvalues must be zero or more: the smallest is {spectrum.doubles.min():g}"
        )
    if not np.any(spectrum.doubles):
        raise ValueError("eigenvalues are all 0: x would be constant")
    dimension = len(spectrum.doubles)
    size = _COPIES * float(spectrum.doubles.nbytes) * dimension
    name = f"a task of dimension {dimension}"
    refuse_too_large(name, size, "choose a smaller dimension")
    return "eigenvalues", spectrum


def positive_semidefinite(name: str, value: Numbers, dimension: int | None) -> Written:
    """A covariance (D, D) as it is written; ValueError names it unless it is symmetric, semidefinite and not 0."""
    written = symmetric(name, value, dimension)
    matrix = written.doubles
    smallest_eigenvalue(name, matrix)
    if not np.any(matrix):
        raise ValueError(f"{name} is 0 everywhere: pass variances that are not all 0")
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
    variances = np.diag(_as_matrix(written.doubles))
    vanished = (np.diag(rescaled) <= 0) & (variances > 0)
    if not np.all(np.isfinite(rescaled)) or np.any(vanished):
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


@dataclass(frozen=True)
class _NormalTeachers:
    """Teachers N(0, Ω), with probability p beside a fixed one w₀: as doubles, as a law, and as they were written."""

    law: TeacherLaw
    covariance: FloatArray
    fixed: FloatArray | None
    fraction: float | Fraction
    written: dict[str, Any]


def _normal_teachers(
    covariance: Numbers | None,
    fixed_teacher: Numbers | None,
    fraction: object,
    dimension: int,
) -> _NormalTeachers:
    """Teachers as `teacher_covariance`, `fixed_teacher` and `in_context_fraction` describe them."""
    Ω = _teacher_covariance(covariance, dimension)
    w0, p = _mixture(fixed_teacher, fraction, dimension)
    # As it was written, so that the law holds the exact numbers as well.
    normal = Gaussian(Ω.doubles if Ω.exact is None else Ω.exact)
    written: dict[str, Any] = {"teacher_covariance": frozen_numbers(Ω)}
    if w0 is None:
        return _NormalTeachers(normal, read_only(Ω.doubles), None, p, written)
    written["fixed_teacher"] = frozen_numbers(w0)
    written["in_context_fraction"] = p
    exact_p = exact_fraction(p)
    law = Mixture((exact_p, normal), (1 - exact_p, Pool(w0.doubles[None])))
    return _NormalTeachers(law, read_only(Ω.doubles), read_only(w0.doubles), p, written)


def _as_normal_teachers(law: TeacherLaw) -> _NormalTeachers | None:
    """The same of a law that is N(0, Ω) with one output, alone or beside one fixed teacher; None of another."""
    if isinstance(law, Mixture):
        if len(law.laws) != 2:
            return None
        normal, fixed = law.laws
        is_fixed = isinstance(fixed, Pool) and len(fixed.teachers) == 1
        if not _is_centred(normal) or not isinstance(fixed, Pool) or not is_fixed:
            return None
        if fixed.signs or fixed.recipe is not None:
            return None
        return _normal_teachers(
            _covariance_of(normal),
            fixed.teachers[0, 0],
            law.exact_shares[0],
            law.dimension,
        )
    if not _is_centred(law):
        return None
    return _normal_teachers(_covariance_of(law), None, None, law.dimension)


def _is_centred(law: TeacherLaw) -> bool:
    """Whether a law is N(0, Ω) with one output."""
    return isinstance(law, Gaussian) and law.symmetric and law.outputs == 1


def _covariance_of(law: TeacherLaw) -> Numbers:
    """Ω of N(0, Ω), as it was written."""
    assert isinstance(law, Gaussian)
    return law.written.doubles if law.written.exact is None else law.written.exact


def _refuse_second_law(*arguments: object) -> None:
    """ValueError where Ω, w₀ or p, in this order, come beside a law of teachers."""
    names = ("teacher_covariance", "fixed_teacher", "in_context_fraction")
    stated = [
        name for name, value in zip(names, arguments, strict=True) if value is not None
    ]
    if stated:
        raise ValueError(
            f"teachers= says everything about the teacher: leave {' and '.join(stated)} out"
        )


def _refuse_other_dimension(law: TeacherLaw, dimension: int) -> None:
    if law.dimension != dimension:
        raise ValueError(
            f"teachers are for x of dimension {law.dimension}, and Λ is {dimension} × {dimension}"
        )


def _teacher_covariance(value: Numbers | None, dimension: int) -> Written:
    if value is None:
        return Written(np.eye(dimension), None)
    return positive_semidefinite("teacher_covariance", value, dimension)


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


def _context_length(value: object) -> int | str | tuple[int, ...] | dict[int, float]:
    """N, "n0..N", lengths, or {length: weight}; ValueError for anything else, and for more than can be computed."""
    if isinstance(value, str):
        # At most 4001 digits, which Python turns into a number at once.
        digits = r"(0|[1-9][0-9]{0,4000})"
        match = re.fullmatch(rf" *(?:{digits} *\.\. *)?{digits} *", value)
        if match and match[1] is not None:
            return _range_of_lengths(int(match[1]), int(match[2]), value)
        if match and int(match[2]) >= 1:
            return _one_length(int(match[2]))
    elif is_whole_number(value, least=1):
        return _one_length(int(value))
    elif isinstance(value, Mapping) and value:
        _refuse_many_lengths(len(value))
        return _weighted_lengths(value)
    elif _is_sequence(value) and len(value):
        _refuse_many_lengths(len(value))
        return _listed_lengths(list(value))
    raise ValueError(
        'context_length must be N ≥ 1, "n0..N" with n0 ≤ N, a list or {n: weight}, '
        f"not {in_message(value)}"
    )


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a value lists lengths: not text, nor an array of no axis."""
    is_array = isinstance(value, np.ndarray) and value.ndim > 0
    return is_array or isinstance(value, (list, tuple, range))


def _refuse_many_lengths(count: int) -> None:
    if count > MOST_LENGTHS:
        raise ValueError(
            f"context_length averages over more than {MOST_LENGTHS} lengths: pass one N, or fewer"
        )


def _one_length(length: int) -> int:
    if length > LONGEST:
        raise ValueError(
            f"context_length must be at most {LONGEST}, up to where numbers are exact"
        )
    return length


def _range_of_lengths(first: int, last: int, given: str) -> str:
    if first > last or last < 1:
        raise ValueError(
            'context_length must be N ≥ 1, "n0..N" with n0 ≤ N, a list or {n: weight}, '
            f"not {given!r}"
        )
    if last - first >= MOST_LENGTHS:
        raise ValueError(
            f"context_length {first}..{last} averages over more than {MOST_LENGTHS} lengths: pass one N"
        )
    _one_length(last)
    return f"{first}..{last}"


def _listed_lengths(lengths: list[Any]) -> int | tuple[int, ...]:
    """The lengths of a list in increasing order, or the only one."""
    for length in lengths:
        if not is_whole_number(length, least=0):
            raise ValueError(
                f"context_length must list whole numbers of at least 0, not {in_message(length)}"
            )
        _one_length(int(length))
    ordered = sorted(int(length) for length in lengths)
    if len(set(ordered)) < len(ordered):
        raise ValueError(
            "context_length lists a length twice: write {length: weight} to weigh them"
        )
    if ordered[-1] < 1:
        raise ValueError("context_length must hold a length of at least 1")
    return ordered[0] if len(ordered) == 1 else tuple(ordered)


def _weighted_lengths(weights: Mapping[Any, Any]) -> int | dict[int, float]:
    """Length → weight in increasing order, or the only length; keys may be text, as files have them."""
    by_length: dict[int, float] = {}
    for key, value in weights.items():
        is_text = isinstance(key, str) and re.fullmatch("[0-9]{1,16}", key)
        length = int(key) if is_text else key
        weight = number(value)
        # As a double: a fraction such as 10⁻⁴⁰⁰ would weigh nothing.
        if weight is None or not 0 < float(weight) <= LARGEST_WEIGHT:
            raise ValueError(
                f"the weight of context_length {key} must be a positive number, not {in_message(value)}"
            )
        if length in by_length:
            raise ValueError(f"context_length {length} is stated twice")
        by_length[length] = float(weight)
    lengths = _listed_lengths(list(by_length))
    if isinstance(lengths, int):
        return lengths
    return {length: by_length[length] for length in lengths}


def eigenvalue_list(text: str) -> Sequence[float | Fraction]:
    """Eigenvalues from text such as "4,3,2,1" or "2/5,3/10"; ValueError names what is not a number."""
    try:
        return [number_of_text(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"eigenvalues must be numbers separated by commas, such as 4,3,2,1 or 2/5,3/10, not {text!r}"
        ) from None
