"""The problem in symbols: a task whose numbers may be SymPy expressions, and the random variables of one prompt."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import sympy as sp
from numpy.typing import NDArray

from ...runtime.decimals import exact_fraction, is_short
from ...task import Task

Expr = Any
"""A SymPy expression: SymPy announces no types."""

MAX_DIMENSION = 100
"""The largest dimension in symbols: matrices of more entries are slow to make, and nothing is derived from them."""

N = sp.Symbol("N", integer=True, positive=True)
"""The context length. Expectations are rational functions of it."""

average_of = sp.Function("average")
"""Mean of a monomial over the context, as it stands in expressions; `average` makes it."""

_VARIABLE = re.compile(r"x_\d+|y|x_q\d+|y_q|w_\d+")


@dataclass(frozen=True, eq=False)
class SymbolicTask:
    """Prompts of N pairs (x, y) and one query, x ~ N(0, Λ), w ~ N(0, Ω), y = wᵀx + N(0, σ²), with exact numbers.

    `covariance` Λ and `teacher_covariance` Ω (D, D) are symmetric SymPy matrices, `noise_variance` σ² an
    expression. With `fixed_teacher` w₀ (D, 1) a sequence has a teacher from N(0, Ω) with probability
    `in_context_fraction` and w₀ otherwise. Entries are polynomials in symbols, with rational coefficients.
    `context_lengths` is (N,) with the symbol `N`, or whole numbers over which the loss is averaged. ValueError for
    shapes that do not fit, and matrices that are not symmetric.
    """

    covariance: Expr
    teacher_covariance: Expr
    noise_variance: Expr
    context_lengths: tuple[Expr, ...]
    fixed_teacher: Expr | None = None
    in_context_fraction: Expr = 1

    def __post_init__(self) -> None:
        D = self.dimension
        for name in ("covariance", "teacher_covariance"):
            if (
                getattr(self, name).shape != (D, D)
                or not getattr(self, name).is_symmetric()
            ):
                raise ValueError(
                    f"{name} must be a symmetric {D} × {D} matrix, not {getattr(self, name)}"
                )
        if self.fixed_teacher is not None and self.fixed_teacher.shape != (D, 1):
            raise ValueError(
                f"fixed_teacher must be a {D} × 1 matrix, not {self.fixed_teacher}"
            )
        if self.context_lengths != (N,) and not all(
            sp.sympify(n, strict=True).is_Integer and n >= 1
            for n in self.context_lengths
        ):
            raise ValueError(
                f"context_lengths must be (N,) or whole numbers from 1, not {self.context_lengths}"
            )

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return int(self.covariance.rows)

    @property
    def parameters(self) -> tuple[Expr, ...]:
        """Every symbol of the task but N, by name."""
        parts = [
            self.covariance,
            self.teacher_covariance,
            self.noise_variance,
            self.in_context_fraction,
        ]
        if self.fixed_teacher is not None:
            parts.append(self.fixed_teacher)
        found = set().union(
            *(sp.sympify(part, strict=True).free_symbols for part in parts)
        )
        return tuple(sorted(found, key=lambda symbol: str(symbol.name)))


def symbolic_task(
    dimension: int,
    *,
    teachers: Literal["white", "diagonal", "general"] = "white",
    noise: bool = False,
    mixture: bool = False,
) -> SymbolicTask:
    """The task of this dimension in symbols: Λ = diag(λ_d), which is every Λ in its own basis, and length N.

    `teachers`: Ω is the identity ("white"), diag(ω_d) ("diagonal", where Ω and Λ commute) or any symmetric matrix
    ("general"). `noise` adds σ², `mixture` a fixed teacher (w0_d) and the fraction p of sequences without it.

    >>> symbolic_task(2, teachers="diagonal", noise=True).parameters
    (lambda_1, lambda_2, omega_1, omega_2, sigma)
    """
    if teachers not in ("white", "diagonal", "general"):
        raise ValueError(
            f"teachers must be white, diagonal or general, not {teachers!r}"
        )
    if (
        isinstance(dimension, bool)
        or not isinstance(dimension, int)
        or not 1 <= dimension <= MAX_DIMENSION
    ):
        raise ValueError(
            f"dimension must be a whole number from 1 to {MAX_DIMENSION} in symbols, not {dimension!r}"
        )
    for name, given in (("noise", noise), ("mixture", mixture)):
        if not isinstance(given, bool):
            raise ValueError(f"{name} must be true or false, not {given!r}")
    numbers = range(1, dimension + 1)
    Λ = sp.diag(*(_positive(f"lambda_{d}") for d in numbers))
    Ω = sp.eye(dimension)
    if teachers == "diagonal":
        Ω = sp.diag(*(_positive(f"omega_{d}") for d in numbers))
    elif teachers == "general":
        Ω = sp.Matrix(
            [[_real(f"Omega_{min(i, j)}{max(i, j)}") for j in numbers] for i in numbers]
        )
    fixed = sp.Matrix([_real(f"w0_{d}") for d in numbers]) if mixture else None
    fraction = _real("p") if mixture else sp.Integer(1)
    σ2 = _positive("sigma") ** 2 if noise else sp.Integer(0)
    return SymbolicTask(Λ, Ω, σ2, (N,), fixed, fraction)


def rational_task(task: Task) -> SymbolicTask:
    """The same task in exact rational numbers, each the decimal or fraction that was written: 0.1 is 1/10.

    >>> rational_task(Task(eigenvalues=[0.4, "1/3"], context_length=3)).covariance
    Matrix([
    [2/5,   0],
    [  0, 1/3]])
    """
    fixed = task.exact_fixed_teacher
    return SymbolicTask(
        _rational(task.exact_covariance),
        _rational(task.exact_teacher_covariance),
        _rational_number(task.exact_noise_variance),
        tuple(sp.Integer(n) for n in task.context_lengths),
        None if fixed is None else _rational(fixed[:, None]),
        _rational_number(task.exact_in_context_fraction),
    )


def require_symbolic_task(task: object, subject: object, call: str) -> None:
    """TypeError, with the right `call`, unless the first argument is a task in symbols."""
    if not isinstance(task, SymbolicTask):
        raise TypeError(
            f"{call}: got {type(task).__name__}, then {type(subject).__name__}"
        )


@dataclass(frozen=True)
class Prompt:
    """The random variables of a prompt of this dimension, as SymPy symbols.

    A token of the context is (`x`, `y`), which stand inside `average` only; the query is (`query`, `label`);
    the task vector is `teacher`.

    >>> prompt = Prompt(2)
    >>> prompt.x, prompt.y, prompt.query, prompt.label, prompt.teacher
    ((x_1, x_2), y, (x_q1, x_q2), y_q, (w_1, w_2))
    """

    dimension: int

    @property
    def x(self) -> tuple[Expr, ...]:
        """x_1 … x_D of a token of the context."""
        return self._symbols("x_")

    @property
    def y(self) -> Expr:
        """y of a token of the context."""
        return _real("y")

    @property
    def query(self) -> tuple[Expr, ...]:
        """x_q1 … x_qD of the query."""
        return self._symbols("x_q")

    @property
    def label(self) -> Expr:
        """y_q, which the model is to predict."""
        return _real("y_q")

    @property
    def teacher(self) -> tuple[Expr, ...]:
        """w_1 … w_D."""
        return self._symbols("w_")

    def _symbols(self, prefix: str) -> tuple[Expr, ...]:
        return tuple(_real(f"{prefix}{d}") for d in range(1, self.dimension + 1))


def average(expression: Expr) -> Expr:
    """The mean over the context of a polynomial in x_1, x_2, … and y, by linearity in its monomials.

    Other symbols are constants. ValueError if it is no polynomial in them, or holds the query or the teacher.

    >>> prompt = Prompt(2)
    >>> k = sp.Symbol("k")
    >>> average(prompt.y * (prompt.x[0] + k * prompt.x[1]) + 3)
    k*average(x_2*y) + average(x_1*y) + 3
    """
    expression = sp.sympify(expression, strict=True)
    found = [symbol for symbol in expression.free_symbols if is_variable(symbol)]
    outside = [
        symbol.name for symbol in found if symbol.name[0] == "w" or "_q" in symbol.name
    ]
    if outside:
        raise ValueError(
            f"{outside[0]} is no variable of a token of the context: take it out of the average"
        )
    if not found:
        return expression
    if not expression.is_polynomial(*found) or expression.has(average_of):
        raise ValueError(
            f"only a polynomial in x_d and y can be averaged, not {expression}"
        )
    terms = sp.Poly(expression, *found).terms()
    return sp.Add(
        *(
            c * _monomial_average(sp.Mul(*map(sp.Pow, found, powers)))
            for powers, c in terms
        )
    )


def without_floats(value: object, owner: str) -> Expr:
    """An expression in which every float is the decimal that it prints as.

    ValueError, naming the owner, for a float that is no short decimal: it rounds a number that nobody knows.

    >>> without_floats(0.25 * sp.Symbol("a"), "the output")
    a/4
    """
    expression = sp.sympify(value, strict=True)
    decimals = {}
    for number in expression.atoms(sp.Float):
        if not is_short(float(number)):
            raise ValueError(
                f"{owner} hold the float {float(number)!r}, which rounds a number that exact work cannot know: "
                "write it with SymPy, as sympy.sqrt(2)/2 or sympy.Rational(1, 3), or give the model a "
                'score_divisor, such as "sqrt_key" or "sqrt(2)"'
            )
        decimals[number] = _rational_number(exact_fraction(float(number)))
    return expression.xreplace(decimals)


def is_variable(symbol: Expr) -> bool:
    """Whether a symbol is a random variable of some prompt."""
    return bool(_VARIABLE.fullmatch(symbol.name)) and bool(symbol == _real(symbol.name))


def _monomial_average(monomial: Expr) -> Expr:
    return monomial if monomial == 1 else average_of(monomial)


def _positive(name: str) -> Expr:
    return sp.Symbol(name, positive=True)


def _real(name: str) -> Expr:
    return sp.Symbol(name, real=True)


def _rational(matrix: NDArray[Any]) -> Expr:
    return sp.Matrix([[_rational_number(entry) for entry in row] for row in matrix])


def _rational_number(number: Fraction) -> Expr:
    return sp.Rational(number.numerator, number.denominator)
