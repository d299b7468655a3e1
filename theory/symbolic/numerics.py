"""Exact equations of motion as NumPy functions, and weights as the vector that those move."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from ...models.protocol import Weights
from ...runtime.arrays import FloatArray
from ...task import Task
from .derivation import Derivation
from .task import Expr, N, SymbolicTask, rational_task

NumericFunction = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class RightHandSide:
    """dy/dt as a function of y (n,), in the order of `weights`: `rate(y)`, or f(t, y) as solve_ivp calls it."""

    weights: tuple[Expr, ...]
    rate: NumericFunction

    def __call__(self, _: float, y: FloatArray) -> FloatArray:
        """The rate at state y, whatever the flow time."""
        return self.rate(y)


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
    values = [
        sp.sympify(each, strict=True).xreplace(_numbers(parameters))
        for each in expressions
    ]
    missing = set().union(*(value.free_symbols for value in values)) - {*variables}
    if missing:
        raise ValueError(
            f"parameters must give a number for {', '.join(sorted(map(str, missing)))}"
        )
    function = sp.lambdify([list(variables)], values, modules="numpy", cse=True)

    def evaluate(y: FloatArray) -> FloatArray:
        shape = np.shape(y)[1:]
        if not shape:
            return np.array(function(y), dtype=float)
        return np.array(
            [np.broadcast_to(value, shape) for value in function(y)], dtype=float
        )

    return evaluate


def packed(derivation: Derivation, weights: Mapping[str, ArrayLike]) -> FloatArray:
    """The vector y (n,) of the weights that move, in the order of `derivation.weights`, from arrays by name.

    ValueError for missing or unknown names, wrong shapes and entries that are not finite.
    """
    if set(weights) != set(derivation.arrays):
        raise ValueError(
            f"weights must be {', '.join(derivation.arrays)}, not {', '.join(weights) or 'nothing'}"
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
    places = {weight: place for place, weight in enumerate(derivation.weights)}
    arrays = {}
    for name, symbols in derivation.arrays.items():
        still = np.broadcast_to(
            np.asarray(start[name], dtype=float), (*y.shape[:-1], *symbols.shape)
        )
        arrays[name] = np.array(still)
        for index in np.ndindex(symbols.shape):
            if symbols[index] in places:
                arrays[name][..., *index] = y[..., places[symbols[index]]]
    return arrays


def parameter_values(symbolic: SymbolicTask, task: Task) -> dict[Expr, Expr]:
    """What the symbols of a symbolic task are in this task: exact numbers for its parameters and N.

    ValueError where the two are different problems, such as a diagonal Λ in symbols and another in numbers.

    >>> from attndyn.theory.symbolic import symbolic_task
    >>> parameter_values(symbolic_task(2), Task(eigenvalues=[2, 0.5], context_length=5))
    {N: 5, lambda_1: 2, lambda_2: 1/2}
    """
    exact = rational_task(task)
    found = {N: exact.context_lengths[0]} if symbolic.context_lengths == (N,) else {}
    if symbolic.context_lengths not in ((N,), exact.context_lengths) or (
        found and len(exact.context_lengths) > 1
    ):
        raise ValueError(
            _different("context_lengths", symbolic.context_lengths, task.context_length)
        )
    if symbolic.dimension != exact.dimension:
        raise ValueError(_different("dimension", symbolic.dimension, exact.dimension))
    for name, entry, value in _entries(symbolic, exact):
        root = (
            sp.Pow(value, sp.Rational(1, 2))
            if entry.is_Pow and entry.exp == 2
            else value
        )
        symbol = entry.base if entry.is_Pow and entry.exp == 2 else entry
        if found.setdefault(symbol, root) != root or (
            symbol != root and not symbol.is_Symbol
        ):
            raise ValueError(_different(name, entry, value))
    return {symbol: value for symbol, value in found.items() if symbol.is_Symbol}


def _entries(
    symbolic: SymbolicTask, exact: SymbolicTask
) -> list[tuple[str, Expr, Expr]]:
    """The name, the symbolic entry and the number of everything that a task is made of."""
    nothing = sp.zeros(exact.dimension, 1)
    sides = [
        {
            "covariance": task.covariance,
            "teacher_covariance": task.teacher_covariance,
            "noise_variance": sp.Matrix([task.noise_variance]),
            "fixed_teacher": nothing
            if task.fixed_teacher is None
            else task.fixed_teacher,
            "in_context_fraction": sp.Matrix([task.in_context_fraction]),
        }
        for task in (symbolic, exact)
    ]
    return [
        (name, entry, value)
        for name in sides[0]
        for entry, value in zip(sides[0][name], sides[1][name], strict=True)
    ]


def _different(name: str, symbolic: object, given: object) -> str:
    return f"{name} is {symbolic} in the derivation and {given} in the task: derive with rational_task(task) instead"


def _numbers(parameters: Mapping[Expr, Any]) -> dict[Expr, Expr]:
    numbers = {
        symbol: sp.sympify(value, strict=True) for symbol, value in parameters.items()
    }
    for symbol, value in numbers.items():
        if not (value.is_number and value.is_real and value.is_finite):
            raise ValueError(f"{symbol} must be a finite real number, not {value}")
    return numbers
