"""The problem: the distribution of prompts on which a model learns linear regression in context."""

import hashlib
import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .context_lengths import (
    CheckedLength,
    ContextLength,
    averaged_lengths,
    checked_context_length,
    length_weights,
    stored_length,
    written_length,
)
from .inputs import Inputs
from .runtime.arrays import FloatArray, read_only
from .runtime.checks import refuse_unsendable
from .runtime.covariances import (
    eigenvalue_rounding,
    is_diagonal,
    positive_semidefinite,
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
)
from .runtime.machine import refuse_too_large
from .runtime.serialisation import BYTE_ORDER_MARK, Settings
from .teachers import TeacherLaw, checked_law, law_identity, law_settings
from .teachers.normal import (
    NormalTeachers,
    as_normal_teachers,
    normal_teachers,
    refuse_other_dimension,
    refuse_second_law,
)

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

    Λ is given by `eigenvalues` (D,), if it is diagonal, or by `covariance` (D, D), with eigenvalues of zero or more
    that are not all zero; `trace` rescales it. `input_mean` (D,) is E x, 0 by default. `inputs` is the law of z:
    "gaussian" (the default), "uniform", "rademacher", "sphere" or an `Inputs`. `teachers` is the law of W: `Gaussian`,
    `Sphere`, `Pool`, `Mixture` or one of your own. By default w ~ N(0, Ω) with `teacher_covariance` Ω (D, D), by
    default the identity; with `fixed_teacher` w₀ (D,) and `in_context_fraction` p, the teacher of a sequence is drawn
    from N(0, Ω) with probability p and is w₀ otherwise. `noise_variance` σ² is the variance of the noise of the
    labels, and `query_noise_variance` that of the query's label, σ² by default. `context_length` is N, "n0..N" for
    the mean loss over these lengths, a list of lengths, or {length: weight}.

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
    context_length: CheckedLength
    _normal_teachers: NormalTeachers | None
    _inputs: dict[str, Any]
    """The arguments as they were written, of which the attributes `exact_…` are made."""

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
        D = len(Λ)
        mean = np.zeros(D)
        if input_mean is not None:
            mean = number_array("input_mean", input_mean, (D,)).doubles
        law_of_z = inputs if isinstance(inputs, Inputs) else Inputs.named(inputs)
        law_of_z.check(D)

        normal_arguments = (teacher_covariance, fixed_teacher, in_context_fraction)
        normal: NormalTeachers | None
        if teachers is None:
            normal = normal_teachers(*normal_arguments, D)
            law = normal.law
        else:
            refuse_second_law(*normal_arguments)
            law = checked_law(teachers)
            refuse_other_dimension(law, D)
            normal = as_normal_teachers(law)

        noise = nonnegative("noise_variance", noise_variance)
        query_noise = noise
        if query_noise_variance is not None:
            query_noise = nonnegative("query_noise_variance", query_noise_variance)

        self._set(
            covariance=read_only(Λ),
            input_mean=read_only(mean),
            inputs=law_of_z,
            teachers=law if normal is None else normal.law,
            noise_variance=float(noise),
            query_noise_variance=float(query_noise),
            context_length=checked_context_length(context_length),
            _normal_teachers=normal,
        )
        numbers = {covariance_name: frozen_numbers(written_Λ), "noise_variance": noise}
        if exact_trace is not None:
            numbers["trace"] = exact_trace
        if float(query_noise) != float(noise):
            numbers["query_noise_variance"] = query_noise
        self._set(_inputs=numbers | self._laws_and_lengths())

    def _laws_and_lengths(self) -> dict[str, Any]:
        """The arguments other than numbers of Λ and of the noise, where they differ from their defaults."""
        arguments: dict[str, Any] = {"context_length": self.context_length}
        if np.any(self.input_mean):
            arguments["input_mean"] = self.input_mean
        if not self.inputs.is_gaussian:
            arguments["inputs"] = self.inputs
        if self._normal_teachers is None:
            arguments["teachers"] = self.teachers
        else:
            arguments |= self._normal_teachers.written
        return arguments

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

    def _normal(self, name: str) -> NormalTeachers:
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
        return averaged_lengths(self.context_length)

    @cached_property
    def context_weights(self) -> FloatArray:
        """The weight of each of `context_lengths` in the loss, summing to 1, (L,)."""
        return length_weights(self.context_length)

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
        return settings | {"context_length": stored_length(self.context_length)}

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
        settings["context_length"] = written_length(self.context_length)
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


def stated_task(task: Task) -> dict[str, Any] | None:
    """The settings of a task; None for one with a law of the user's own, which nothing that is written can hold.

    >>> stated_task(Task([2, 1], context_length=9))
    {'eigenvalues': [2.0, 1.0], 'context_length': 9}
    """
    try:
        return task.to_dict()
    except ValueError:
        return None


def eigenvalue_list(text: str) -> Sequence[float | Fraction]:
    """Eigenvalues from text such as "4,3,2,1" or "2/5,3/10"; ValueError names what is not a number."""
    try:
        return [number_of_text(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"eigenvalues must be numbers separated by commas, such as 4,3,2,1 or 2/5,3/10, not {text!r}"
        ) from None
