"""Proofs by exact substitution that a time course in closed form solves equations of motion."""

from collections.abc import Mapping

import sympy as sp

from ..algebra.zero_test import normal_form
from ..task import Expr


def ode_residuals(
    equations: Mapping[Expr, Expr], solution: Mapping[Expr, Expr], time: Expr
) -> dict[Expr, Expr]:
    """d solution/d time − rate of every amplitude where the solution is put in: all 0 just where it is one.

    `equations` is a flow {amplitude: rate} and `solution` {amplitude: expression in the symbol `time`}. Residuals are
    in the form of `normal_form`, so that 0 is proved for all times and parameters, and anything else is not zero; a
    rate may hold `time`, too. ValueError if solution and equations have different amplitudes, if a solution still
    holds one, and from `normal_form`, which names a function that it cannot decide.

    >>> v, v0, t = sp.symbols("v v_0 t", positive=True)
    >>> solution = {v: v0 / (1 - v0 * t)}
    >>> ode_residuals({v: v**2}, solution, t)
    {v: 0}
    >>> ode_residuals({v: v**2}, {v: v0 + v0**2 * t}, t)
    {v: -t*v_0**3*(t*v_0 + 2)}
    """
    _require_amplitudes("equations", equations, solution)
    solution = {
        amplitude: sp.sympify(value, strict=True)
        for amplitude, value in solution.items()
    }
    for amplitude, value in solution.items():
        if not value.free_symbols.isdisjoint(solution):
            raise ValueError(
                f"the solution for {amplitude} must be explicit in {time}, but it holds an amplitude: {value}"
            )
    residuals = {}
    for amplitude, rate in equations.items():
        derivative = solution[amplitude].diff(time)
        # The rate at the weights of the solution, as a function of time.
        rate_on_solution = sp.sympify(rate, strict=True).xreplace(solution)
        residuals[amplitude] = normal_form(derivative - rate_on_solution)
    return residuals


def initial_residuals(
    solution: Mapping[Expr, Expr], time: Expr, start: Mapping[Expr, Expr]
) -> dict[Expr, Expr]:
    """The solution at time 0 − the start {amplitude: value}: all 0 just where the solution starts there.

    ValueError as from `ode_residuals`.

    >>> v, v0, t = sp.symbols("v v_0 t", positive=True)
    >>> initial_residuals({v: v0 / (1 - v0 * t)}, t, {v: v0})
    {v: 0}
    """
    _require_amplitudes("start", start, solution)
    residuals = {}
    for amplitude, value in solution.items():
        at_zero = sp.sympify(value, strict=True).xreplace({time: sp.Integer(0)})
        residuals[amplitude] = normal_form(at_zero - start[amplitude])
    return residuals


def implicit_solution_residual(
    rate: Expr, antiderivative: Expr, amplitude: Expr
) -> Expr:
    """Φ′(v) f(v) − 1, which is 0 just where t = Φ(v) − Φ(v₀) solves dv/dt = f(v) from v(0) = v₀.

    `antiderivative` is Φ and `rate` f, expressions in the symbol `amplitude`, v. The start holds by itself.
    Logarithms and arctangents are differentiated away. ValueError from `normal_form`.

    >>> v, g = sp.symbols("v g", positive=True)
    >>> implicit_solution_residual(v * (1 - g * v), sp.log(v / (1 - g * v)), v)
    0
    """
    # dt/dv = Φ′(v), which must be 1 / f(v).
    slope = sp.sympify(antiderivative, strict=True).diff(amplitude)
    return normal_form(slope * rate - 1)


def _require_amplitudes(
    name: str, values: Mapping[Expr, Expr], solution: Mapping[Expr, Expr]
) -> None:
    # Amplitudes that only one of them has.
    different = set(values) ^ set(solution)
    if different:
        amplitudes = sorted(different, key=sp.default_sort_key)
        raise ValueError(
            f"{name} and solution must have the same amplitudes, but only one of them has {amplitudes}"
        )
