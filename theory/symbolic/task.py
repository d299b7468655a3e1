"""The problem in symbols: a task whose numbers may be SymPy expressions, and the random variables of one prompt."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from ...runtime.decimals import exact_fraction, is_short
from ...runtime.display import Displayed, Summary
from ...task import Task
from ...teachers import Gaussian

Expr = Any
"""A SymPy expression: SymPy announces no types."""

MAX_DIMENSION = 100
"""The largest dimension in symbols: matrices of more entries are slow to make, and nothing is derived from them."""

N = sp.Symbol("N", integer=True, positive=True)
"""The context length. Expectations are rational functions of it."""

_MAX_TYPESET_DIMENSION = 6  # matrices of more entries fill a notebook

average_of = sp.Function("average")
"""Mean of a monomial over the context, as it stands in expressions; `average` makes it."""

_VARIABLE = re.compile(r"x_\d+|y|y_\d+|x_q\d+|y_q\d*|w_\d+|w_\d+_\d+")


@dataclass(frozen=True, eq=False, repr=False)
class SymbolicTask(Displayed):
    """Prompts of N pairs (x, y) and one query, x ~ N(0, Λ), w ~ N(0, Ω), y = wᵀx + N(0, σ²), with exact numbers.

    `covariance` Λ and `teacher_covariance` Ω (D, D) are symmetric SymPy matrices, `noise_variance` σ² an
    expression. With `fixed_teacher` w₀ (D, 1) a sequence has a teacher from N(0, Ω) with probability
    `in_context_fraction` and w₀ otherwise. Entries are polynomials in symbols, with rational coefficients.
    `context_lengths` is (N,) with the symbol `N`, or whole numbers over which the loss is averaged with the shares
    `length_shares`, which are equal if left out. With K `outputs`, y = W x + N(0, σ² 1) and `teacher_covariance` is
    that of the entries of W row by row, (KD, KD). ValueError for shapes that do not fit, matrices that are not
    symmetric, shares that do not add up to 1, and a fixed teacher of several outputs.
    """

    covariance: Expr
    teacher_covariance: Expr
    noise_variance: Expr
    context_lengths: tuple[Expr, ...]
    fixed_teacher: Expr | None = None
    in_context_fraction: Expr = 1
    length_shares: tuple[Expr, ...] | None = None
    outputs: int = 1

    def __post_init__(self) -> None:
        D = self.dimension
        _require_outputs(self.outputs, D)
        sizes = {"covariance": D, "teacher_covariance": self.outputs * D}
        for name, size in sizes.items():
            matrix = getattr(self, name)
            if matrix.shape != (size, size) or not matrix.is_symmetric():
                raise ValueError(
                    f"{name} must be a symmetric {size} × {size} matrix, not {matrix}"
                )
        if self.outputs > 1 and self.fixed_teacher is not None:
            raise ValueError("a fixed teacher is for one output, not for several")
        if self.fixed_teacher is not None and self.fixed_teacher.shape != (D, 1):
            raise ValueError(
                f"fixed_teacher must be a {D} × 1 matrix, not {self.fixed_teacher}"
            )
        self._require_lengths()

    def _require_lengths(self) -> None:
        """ValueError unless the lengths are (N,) or whole numbers, with a share for each."""
        if self.context_lengths != (N,):
            are_lengths = all(map(_is_length, self.context_lengths))
            if not are_lengths or not any(self.context_lengths):
                raise ValueError(
                    "context_lengths must be (N,) or whole numbers from 0, not all of them 0, "
                    f"not {self.context_lengths}"
                )
        shares = self.share_of_length.values()
        fits = len(shares) == len(self.context_lengths)
        if not fits or sp.Add(*shares) != 1 or not all(s.is_positive for s in shares):
            raise ValueError(
                f"length_shares must hold a positive number for each of {self.context_lengths} and add up to 1, "
                f"not {self.length_shares}"
            )

    @property
    def share_of_length(self) -> dict[Expr, Expr]:
        """Context length → its share of the loss, adding up to 1.

        >>> symbolic_task(1).share_of_length
        {N: 1}
        """
        count = len(self.context_lengths)
        shares = self.length_shares or (sp.Rational(1, count),) * count
        if len(shares) != count:
            return {}
        return dict(zip(self.context_lengths, map(sp.sympify, shares), strict=True))

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return int(self.covariance.rows)

    @property
    def prompt(self) -> "Prompt":
        """The random variables of one prompt of this task."""
        return Prompt(self.dimension, self.outputs)

    @property
    def shared_basis_variances(self) -> tuple[Expr, ...] | None:
        """ω_d (D,) where W = diag(l_d) with independent l_d of these variances and Λ is diagonal, None elsewhere.

        >>> symbolic_task(2, teachers="diagonal", shared_basis=True).shared_basis_variances
        (omega_1, omega_2)
        """
        D = self.dimension
        if self.outputs != D or not self.covariance.is_diagonal():
            return None
        # W_dd is entry d (D + 1) of W row by row.
        variances = tuple(self.teacher_covariance.diagonal()[:: D + 1])
        alone = _shared_basis_covariance(variances)
        return variances if self.teacher_covariance == alone else None

    @property
    def parameters(self) -> tuple[Expr, ...]:
        """Every symbol of the task but N, by name."""
        return tuple(by_name(symbols_in(self._parts().values())))

    def summary(self) -> Summary:
        """What Λ, Ω, σ², N, p and w₀ are."""
        rows = {name: _short(part) for name, part in self._parts().items()}
        rows["N"] = ", ".join(map(str, self.context_lengths))
        if self.length_shares is not None:
            rows["shares"] = ", ".join(map(str, self.length_shares))
        formulas = {}
        if self.dimension <= _MAX_TYPESET_DIMENSION:
            formulas = {name: sp.latex(part) for name, part in self._parts().items()}
        title = f"Task in symbols, x and w in {self.dimension} dimensions"
        if self.outputs > 1:
            title = f"{title}, {self.outputs} outputs"
        return Summary(title, rows, formulas)

    def to_dict(self) -> dict[str, object]:
        """The fields with numbers and expressions as text, matrices as lists of rows."""
        fixed_teacher = None
        if self.fixed_teacher is not None:
            fixed_teacher = [str(entry) for entry in self.fixed_teacher]
        shares = None
        if self.length_shares is not None:
            shares = [str(share) for share in self.length_shares]
        # Left out for one output, as before there were several.
        outputs = {"outputs": self.outputs} if self.outputs > 1 else {}
        return {
            **outputs,
            "covariance": _rows(self.covariance),
            "teacher_covariance": _rows(self.teacher_covariance),
            "noise_variance": str(self.noise_variance),
            "context_lengths": [str(length) for length in self.context_lengths],
            "fixed_teacher": fixed_teacher,
            "in_context_fraction": str(self.in_context_fraction),
            "length_shares": shares,
        }

    def _parts(self) -> dict[str, Expr]:
        """Everything but the context lengths, by its letter."""
        # Λ and Ω are matrices (D, D), w₀ is (D, 1).
        parts = {
            "Λ": self.covariance,
            "Ω": self.teacher_covariance,
            "σ²": sp.sympify(self.noise_variance, strict=True),
            "p": sp.sympify(self.in_context_fraction, strict=True),
        }
        if self.fixed_teacher is not None:
            parts["w₀"] = self.fixed_teacher
        return parts


# Long because each kind of task is one argument.
def symbolic_task(
    dimension: int,
    *,
    teachers: Literal["white", "diagonal", "general"] = "white",
    noise: bool = False,
    mixture: bool = False,
    outputs: int | None = None,
    shared_basis: bool = False,
) -> SymbolicTask:
    """The task of this dimension in symbols: Λ = diag(λ_d), which is every Λ in its own basis, and length N.

    `teachers`: Ω is the identity ("white"), diag(ω_d) ("diagonal", where Ω and Λ commute) or any symmetric matrix
    ("general"). `noise` adds σ², `mixture` a fixed teacher (w0_d) and the fraction p of sequences without it.
    K `outputs` have teachers of covariance Γ ⊗ Ω with Γ = diag(γ_k), or 1 for white ones; with `shared_basis` W is
    diag(l_d) with independent l_d ~ N(0, ω_d), or N(0, 1), and K = D. ValueError for what does not go together.

    >>> symbolic_task(2, teachers="diagonal", noise=True).parameters
    (lambda_1, lambda_2, omega_1, omega_2, sigma)
    >>> symbolic_task(2, shared_basis=True).outputs, symbolic_task(1, teachers="diagonal", outputs=2).parameters
    (2, (gamma_1, gamma_2, lambda_1, omega_1))
    """
    flags = {"noise": noise, "mixture": mixture, "shared_basis": shared_basis}
    _require_options(dimension, teachers, flags)
    K = _output_count(dimension, outputs, shared_basis)
    if K > 1 and mixture:
        raise ValueError("a mixture with a fixed teacher is for one output")
    if shared_basis and teachers == "general":
        raise ValueError(
            "teachers on a shared basis are white or diagonal: one variance a direction"
        )
    directions = range(1, dimension + 1)
    fixed_teacher = None
    if mixture:
        fixed_teacher = sp.Matrix([_real(f"w0_{d}") for d in directions])
    return SymbolicTask(
        covariance=sp.diag(*(_positive(f"lambda_{d}") for d in directions)),
        teacher_covariance=_covariance_of_outputs(
            _teacher_covariance(dimension, teachers), K, shared_basis, teachers
        ),
        noise_variance=_positive("sigma") ** 2 if noise else sp.Integer(0),
        context_lengths=(N,),
        fixed_teacher=fixed_teacher,
        in_context_fraction=_real("p") if mixture else sp.Integer(1),
        outputs=K,
    )


def _output_count(dimension: int, outputs: int | None, shared_basis: bool) -> int:
    """K; ValueError for what is no number of outputs, and for one that is not D on a shared basis."""
    if outputs is None:
        outputs = dimension if shared_basis else 1
    _require_outputs(outputs, dimension)
    if shared_basis and outputs != dimension:
        raise ValueError(
            f"teachers on a shared basis have as many outputs as inputs, {dimension}, not {outputs}"
        )
    return outputs


def _require_outputs(outputs: Any, dimension: int) -> None:
    """ValueError for what is no number of outputs, and where W has more entries than a covariance is made of."""
    is_whole = isinstance(outputs, int) and not isinstance(outputs, bool)
    if not is_whole or outputs < 1:
        raise ValueError(
            f"outputs must be a whole number of at least 1, not {outputs!r}"
        )
    if outputs > 1 and outputs * dimension > MAX_DIMENSION:
        raise ValueError(
            f"W may have at most {MAX_DIMENSION} entries in symbols, not {outputs} × {dimension}: "
            "theory.linear_transformer has such tasks in numbers"
        )


def _covariance_of_outputs(
    Ω: Expr, outputs: int, shared_basis: bool, teachers: str
) -> Expr:
    """The covariance (KD, KD) of W row by row: that of diag(l_d), or Γ ⊗ Ω."""
    if outputs == 1:
        return Ω
    if shared_basis:
        return _shared_basis_covariance(tuple(Ω.diagonal()))
    Γ = sp.eye(outputs)
    if teachers != "white":
        Γ = sp.diag(*(_positive(f"gamma_{k}") for k in range(1, outputs + 1)))
    return sp.Matrix(sp.kronecker_product(Γ, Ω))


def _shared_basis_covariance(variances: tuple[Expr, ...]) -> Expr:
    """The covariance (D², D²) of diag(l_d), row by row, with independent l_d of these variances."""
    D = len(variances)
    covariance = sp.zeros(D * D, D * D)
    for d, variance in enumerate(variances):
        entry = d * (D + 1)
        covariance[entry, entry] = variance
    return covariance


def _teacher_covariance(dimension: int, teachers: str) -> Expr:
    """Ω (D, D) of one of the kinds of `symbolic_task`."""
    directions = range(1, dimension + 1)
    if teachers == "white":
        return sp.eye(dimension)
    if teachers == "diagonal":
        return sp.diag(*(_positive(f"omega_{d}") for d in directions))
    Ω = sp.zeros(dimension, dimension)
    for i in directions:
        for j in directions:
            Ω[i - 1, j - 1] = _real(f"Omega_{min(i, j)}{max(i, j)}")
    return Ω


def _require_options(dimension: object, teachers: str, flags: dict[str, bool]) -> None:
    """ValueError for options that `symbolic_task` does not have."""
    if teachers not in ("white", "diagonal", "general"):
        raise ValueError(
            f"teachers must be white, diagonal or general, not {teachers!r}"
        )
    is_whole = isinstance(dimension, int) and not isinstance(dimension, bool)
    if not is_whole or dimension not in range(1, MAX_DIMENSION + 1):
        raise ValueError(
            f"dimension must be a whole number from 1 to {MAX_DIMENSION} in symbols, not {dimension!r}"
        )
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, not {value!r}")


def rational_task(task: Task) -> SymbolicTask:
    """The same task in exact rational numbers, each the decimal or fraction that was written: 0.1 is 1/10.

    ValueError for a task that symbols have no word for, as `refuse_beyond_symbols` says.

    >>> rational_task(Task(eigenvalues=[0.4, "1/3"], context_length=3)).covariance
    Matrix([
    [2/5,   0],
    [  0, 1/3]])
    """
    refuse_beyond_symbols(task)
    # Several outputs have no fixed teacher beside their Gaussian law.
    of_one = task.outputs == 1
    fixed_teacher = task.exact_fixed_teacher if of_one else None  # (D,)
    if fixed_teacher is not None:
        fixed_teacher = _rational(fixed_teacher[:, None])
    return SymbolicTask(
        covariance=_rational(task.exact_covariance),
        teacher_covariance=_rational(_exact_teacher_covariance(task)),
        noise_variance=_rational_number(task.exact_noise_variance),
        context_lengths=tuple(sp.Integer(n) for n in task.context_lengths),
        fixed_teacher=fixed_teacher,
        in_context_fraction=(
            _rational_number(task.exact_in_context_fraction)
            if of_one
            else sp.Integer(1)
        ),
        length_shares=length_shares(task),
        outputs=task.outputs,
    )


def _exact_teacher_covariance(task: Task) -> NDArray[Any]:
    """Ω (D, D) of one output, or the covariance (KD, KD) of W row by row, in fractions."""
    if task.outputs == 1:
        return task.exact_teacher_covariance
    _require_outputs(task.outputs, task.dimension)
    law: Any = task.teachers  # Gaussian, as `refuse_beyond_symbols` has seen to
    size = task.outputs * task.dimension
    for variance in law.covariance.flat:
        # A rotated basis is made of numbers that were computed.
        if not is_short(float(variance)):
            raise ValueError(
                f"the covariance of W has the entry {float(variance)!r}, which rounds a number that exact work "
                "cannot know: state the task in the basis of its modes"
            )
    return np.asarray(law.exact_covariance.reshape(size, size))


def length_shares(task: Task) -> tuple[Expr, ...] | None:
    """The share of each context length as an exact fraction, None where they are equal.

    ValueError for a weight that is no short decimal: it rounds a number that nobody knows.

    >>> length_shares(Task([1], context_length={3: 1, 5: 2}))
    (1/3, 2/3)
    """
    if not isinstance(task.context_length, dict):
        return None
    weights = list(task.context_length.values())
    for weight in weights:
        if isinstance(weight, float) and not is_short(weight):
            raise ValueError(
                f"the weight {weight!r} of a context length rounds a number that exact work cannot know: "
                "write the weights as whole numbers, such as {3: 1, 5: 2}"
            )
    exact = [_rational_number(exact_fraction(weight)) for weight in weights]
    return tuple(weight / sp.Add(*exact) for weight in exact)


def refuse_beyond_symbols(task: Task) -> None:
    """ValueError unless x is N(0, Λ), teachers are N(0, Ω) or a fixed one, and labels have one noise.

    >>> refuse_beyond_symbols(Task([1], inputs="uniform", context_length=3))
    Traceback (most recent call last):
    ValueError: symbols are for Gaussian x and teachers of mean 0, and one noise variance: this task has uniform inputs
    """
    law = type(task.teachers).__name__
    gaussian = isinstance(task.teachers, Gaussian) and task.outputs > 1
    beyond = {
        f"{task.inputs.name or 'your own'} inputs": not task.inputs.is_gaussian,
        "an input_mean": bool(np.any(task.input_mean)),
        "a mean of W": gaussian and not task.teachers.symmetric,
        f"teachers of the law {law}": not (task.has_normal_teachers or gaussian),
        "a query_noise_variance of its own": (
            task.query_noise_variance != task.noise_variance
        ),
    }
    found = [what for what, is_so in beyond.items() if is_so]
    if found:
        raise ValueError(
            "symbols are for Gaussian x and teachers of mean 0, and one noise variance: "
            f"this task has {found[0]}"
        )


def symbols_in(expressions: Iterable[Expr]) -> set[Expr]:
    """The symbols of all these expressions."""
    symbols: set[Expr] = set()
    for expression in expressions:
        symbols |= expression.free_symbols
    return symbols


def by_name(symbols: Iterable[Expr]) -> list[Expr]:
    """Symbols in the order of their names."""
    return sorted(symbols, key=lambda symbol: str(symbol.name))


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
    the task vector is `teacher`. With K `outputs` a token is (`x`, `ys`), the query (`query`, `labels`), and
    `teacher` holds W row by row.

    >>> prompt = Prompt(2)
    >>> prompt.x, prompt.y, prompt.query, prompt.label, prompt.teacher
    ((x_1, x_2), y, (x_q1, x_q2), y_q, (w_1, w_2))
    >>> prompt = Prompt(1, outputs=2)
    >>> prompt.ys, prompt.labels, prompt.teacher
    ((y_1, y_2), (y_q1, y_q2), (w_1_1, w_2_1))
    """

    dimension: int
    outputs: int = 1

    @property
    def x(self) -> tuple[Expr, ...]:
        """x_1 … x_D of a token of the context."""
        return self._symbols("x_")

    @property
    def y(self) -> Expr:
        """y of a token of the context, where there is one output."""
        (y,) = self._of_one_output(self.ys)
        return y

    @property
    def ys(self) -> tuple[Expr, ...]:
        """y_1 … y_K of a token of the context, or y alone."""
        return self._symbols_of_outputs("y", "y_")

    @property
    def labels(self) -> tuple[Expr, ...]:
        """y_q1 … y_qK of the query, or y_q alone."""
        return self._symbols_of_outputs("y_q", "y_q")

    @property
    def query(self) -> tuple[Expr, ...]:
        """x_q1 … x_qD of the query."""
        return self._symbols("x_q")

    @property
    def label(self) -> Expr:
        """y_q, which the model is to predict, where there is one output."""
        (label,) = self._of_one_output(self.labels)
        return label

    @property
    def teacher(self) -> tuple[Expr, ...]:
        """w_1 … w_D, or w_1_1 … w_K_D, row by row."""
        if self.outputs == 1:
            return self._symbols("w_")
        rows = range(1, self.outputs + 1)
        return tuple(symbol for k in rows for symbol in self._symbols(f"w_{k}_"))

    def _symbols_of_outputs(self, alone: str, prefix: str) -> tuple[Expr, ...]:
        if self.outputs == 1:
            return (_real(alone),)
        return tuple(_real(f"{prefix}{k}") for k in range(1, self.outputs + 1))

    def _of_one_output(self, labels: tuple[Expr, ...]) -> tuple[Expr, ...]:
        if len(labels) > 1:
            raise ValueError(
                f"a prompt of {len(labels)} outputs has the labels {labels}: take ys or labels"
            )
        return labels

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
    variables = [symbol for symbol in expression.free_symbols if is_variable(symbol)]
    for variable in variables:
        if variable.name.startswith("w") or "_q" in variable.name:
            raise ValueError(
                f"{variable.name} is no variable of a token of the context: take it out of the average"
            )
    if not variables:
        return expression
    if not expression.is_polynomial(*variables) or expression.has(average_of):
        raise ValueError(
            f"only a polynomial in x_d and y can be averaged, not {expression}"
        )
    terms = []
    for powers, coefficient in sp.Poly(expression, *variables).terms():
        # The mean of a sum is the sum of the means, and constants come out.
        monomial = sp.Mul(*map(sp.Pow, variables, powers))
        mean = monomial if monomial == 1 else average_of(monomial)
        terms.append(coefficient * mean)
    return sp.Add(*terms)


def without_floats(value: object, owner: str) -> Expr:
    """An expression in which every float is the decimal that it prints as.

    ValueError, naming the owner, for a float that is no short decimal: it rounds a number that nobody knows.

    >>> without_floats(0.25 * sp.Symbol("a"), "the output")
    a/4
    """
    expression = sp.sympify(value, strict=True)
    decimals = {}
    # A float such as 0.1 is the decimal that was meant, if it is short.
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


def _is_length(value: object) -> bool:
    length = sp.sympify(value, strict=True)
    return bool(length.is_Integer and length >= 0)


def _short(part: Expr) -> str:
    """A part of a task on one line: of a diagonal matrix its diagonal."""
    if not isinstance(part, sp.MatrixBase):
        return str(part)
    if part.shape[0] > 1 and part.is_diagonal():
        return f"diag({', '.join(map(str, part.diagonal()))})"
    return str(part.tolist())


def _rows(matrix: Expr) -> list[list[str]]:
    return [[str(entry) for entry in row] for row in matrix.tolist()]


def _positive(name: str) -> Expr:
    return sp.Symbol(name, positive=True)


def _real(name: str) -> Expr:
    return sp.Symbol(name, real=True)


def _rational(matrix: NDArray[Any]) -> Expr:
    return sp.Matrix([[_rational_number(entry) for entry in row] for row in matrix])


def _rational_number(number: Fraction) -> Expr:
    return sp.Rational(number.numerator, number.denominator)
