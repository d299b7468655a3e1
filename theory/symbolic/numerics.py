"""Exact equations of motion as NumPy functions, and weights as the vector that those move."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from ...models.protocol import Weights
from ...runtime.arrays import FloatArray
from ...runtime.display import Displayed, Summary
from ...task import Task
from .derivation import Derivation
from .task import Expr, N, SymbolicTask, rational_task, symbols_in

NumericFunction = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False, repr=False)
class RightHandSide(Displayed):
    """dy/dt as a function of y (n,), in the order of `weights`: `rate(y)`, or f(t, y) as solve_ivp calls it."""

    weights: tuple[Expr, ...]
    rate: NumericFunction

    def __call__(self, _: float, y: FloatArray) -> FloatArray:
        """The rate at state y, whatever the flow time."""
        return self.rate(y)

    def summary(self) -> Summary:
        """The weights in their order."""
        rows = {f"y[{i}]": weight for i, weight in enumerate(self.weights)}
        return Summary(
            f"Right-hand side f(t, y) of {len(self.weights)} equations", rows
        )


def to_numpy(
    flow: Derivation | Mapping[Expr, Expr], parameters: Mapping[Expr, Any] | None = None
) -> RightHandSide:
    """The right-hand side of a derivation's flow, or of reduced equations {amplitude: rate}, in numbers.

    `parameters` gives a number for each symbol that does not move. ValueError names those without one.

    >>> from attndyn import Separate
    >>> from attndyn.theory.symbolic import N, symbolic_task
    >>> from attndyn.theory.symbolic.derivation import derive
    >>> derivation = derive(symbolic_task(1), Separate(heads=1), "restricted")
    >>> right = to_numpy(derivation, {N: 8, derivation.parameters[0]: 2.0})
    >>> right.weights, right.rate(np.array([1.0, 0.5, 0.5]))
    ((value_1_2, key_1_1_1, query_1_1_1), array([0.375, 0.75 , 0.75 ]))
    """
    equations = flow.flow if isinstance(flow, Derivation) else flow
    weights = tuple(equations)
    return RightHandSide(
        weights, numeric(tuple(equations.values()), weights, parameters or {})
    )


def numeric(
    expressions: Sequence[Expr],
    variables: Sequence[Expr],
    parameters: Mapping[Expr, Any],
) -> NumericFunction:
    """Expressions as a function of variables y (n, …), giving (m, …); ValueError names symbols without a number."""
    numbers = _numbers(parameters)
    values = [
        sp.sympify(expression, strict=True).xreplace(numbers)
        for expression in expressions
    ]
    used = symbols_in(values)
    missing = used - {*variables}
    if missing:
        raise ValueError(
            f"parameters must give a number for {', '.join(sorted(map(str, missing)))}"
        )
    # cse: common parts of the equations are computed once.
    function = sp.lambdify([list(variables)], values, modules="numpy", cse=True)

    def evaluate(y: FloatArray) -> FloatArray:
        results = function(y)
        shape = np.shape(y)[1:]
        if shape:  # a constant expression has no such shape by itself
            results = [np.broadcast_to(result, shape) for result in results]
        return np.array(results, dtype=float)

    return evaluate


def packed(derivation: Derivation, weights: Mapping[str, ArrayLike]) -> FloatArray:
    """The vector y (n,) of the weights that move, in the order of `derivation.weights`, from arrays by name.

    ValueError for missing or unknown names, wrong shapes and entries that are not finite.
    """
    if set(weights) != set(derivation.arrays):
        names = ", ".join(derivation.arrays)
        raise ValueError(
            f"weights must be {names}, not {', '.join(weights) or 'nothing'}"
        )
    values: dict[Expr, float] = {}
    for name, symbols in derivation.arrays.items():
        array = np.asarray(weights[name], dtype=float)
        if array.shape != symbols.shape or not np.all(np.isfinite(array)):
            raise ValueError(
                f"{name} must be finite numbers of shape {symbols.shape}, not {weights[name]!r}"
            )
        values |= zip(symbols.flat, array.flat, strict=True)
    return np.array([values[weight] for weight in derivation.weights])


def unpacked(
    derivation: Derivation, y: NDArray[Any], start: Mapping[str, ArrayLike]
) -> Weights:
    """Arrays by name from vectors y (…, n); weights that do not move are those of `start`. Shapes (…, *shape)."""
    index_of = {weight: index for index, weight in enumerate(derivation.weights)}
    arrays = {}
    for name, symbols in derivation.arrays.items():
        # Weights that do not stand in the output keep their initial values.
        initial = np.asarray(start[name], dtype=float)
        shape = (*y.shape[:-1], *symbols.shape)
        arrays[name] = np.array(np.broadcast_to(initial, shape))
        for index in np.ndindex(symbols.shape):
            symbol = symbols[index]
            if symbol in index_of:
                arrays[name][..., *index] = y[..., index_of[symbol]]
    return arrays


def parameter_values(symbolic: SymbolicTask, task: Task) -> dict[Expr, Expr]:
    """What the symbols of a symbolic task are in this task: exact numbers for its parameters and N.

    ValueError where the two are different problems, such as a diagonal Λ in symbols and another in numbers.

    >>> from attndyn.theory.symbolic import symbolic_task
    >>> parameter_values(symbolic_task(2), Task(eigenvalues=[2, 0.5], context_length=5))
    {N: 5, lambda_1: 2, lambda_2: 1/2}
    """
    exact = rational_task(task)
    values = _length_values(symbolic, exact, task.context_length)
    if symbolic.dimension != exact.dimension:
        raise ValueError(_different("dimension", symbolic.dimension, exact.dimension))
    if symbolic.outputs != exact.outputs:
        raise ValueError(_different("outputs", symbolic.outputs, exact.outputs))
    for name, entry, number in _entries(symbolic, exact):
        symbol, value = _symbol_value(entry, number)
        first_value = values.setdefault(symbol, value)
        is_constant = not symbol.is_Symbol
        if first_value != value or (is_constant and symbol != value):
            raise ValueError(_different(name, entry, number))
    return {symbol: value for symbol, value in values.items() if symbol.is_Symbol}


def _length_values(
    symbolic: SymbolicTask, exact: SymbolicTask, lengths: object
) -> dict[Expr, Expr]:
    """The number for N where it is a symbol; ValueError where the lengths are different."""
    if symbolic.share_of_length == exact.share_of_length:
        return {}
    if symbolic.context_lengths == (N,) and len(exact.context_lengths) == 1:
        return {N: exact.context_lengths[0]}
    raise ValueError(_different("context_lengths", symbolic.context_lengths, lengths))


def _symbol_value(entry: Expr, number: Expr) -> tuple[Expr, Expr]:
    """The symbol that an entry of a task determines, and its value: of a square such as σ² the positive root."""
    # A variance is written σ², so that σ can stand in formulas.
    base, exponent = entry.as_base_exp()
    if base.is_Symbol and exponent == 2:
        return base, sp.sqrt(number)
    return entry, number


class _Entry(NamedTuple):
    """One number of a task: what it belongs to, what it is in symbols, and what in numbers."""

    name: str
    symbolic: Expr
    number: Expr


def _entries(symbolic: SymbolicTask, exact: SymbolicTask) -> Iterator[_Entry]:
    """Every number that a task is made of, but the context lengths."""
    in_numbers = _matrices(exact)
    for name, matrix in _matrices(symbolic).items():
        for entry, number in zip(matrix, in_numbers[name], strict=True):
            yield _Entry(name, entry, number)


def _matrices(task: SymbolicTask) -> dict[str, Expr]:
    """Everything that a task is made of as matrices, scalars of shape (1, 1)."""
    no_teacher = sp.zeros(task.dimension, 1)
    fixed_teacher = no_teacher if task.fixed_teacher is None else task.fixed_teacher
    return {
        "covariance": task.covariance,
        "teacher_covariance": task.teacher_covariance,
        "noise_variance": sp.Matrix([task.noise_variance]),
        "fixed_teacher": fixed_teacher,
        "in_context_fraction": sp.Matrix([task.in_context_fraction]),
    }


def _different(name: str, symbolic: object, numeric: object) -> str:
    return f"{name} is {symbolic} in the derivation and {numeric} in the task: derive with rational_task(task) instead"


def _numbers(parameters: Mapping[Expr, Any]) -> dict[Expr, Expr]:
    numbers = {}
    for symbol, value in parameters.items():
        number = sp.sympify(value, strict=True)
        if not (number.is_number and number.is_real and number.is_finite):
            raise ValueError(f"{symbol} must be a finite real number, not {number}")
        numbers[symbol] = number
    return numbers
