"""Proofs by exact substitution that a time course in closed form solves equations of motion."""

from collections.abc import Mapping

import sympy as sp

from ..algebra.zero_test import normal_form
from ..task import Expr


def ode_residuals(
    equations: Mapping[Expr, Expr], course: Mapping[Expr, Expr], time: Expr
) -> dict[Expr, Expr]:
    """d course/d time − rate of every amplitude where the course is put in: all 0 just where it is a solution.

    `equations` is a flow {amplitude: rate} and `course` {amplitude: expression in the symbol `time`}. Residuals are
    in the normal form of `exact.normal`, so that 0 is proved for all times and parameters, and anything else is not
    zero; a rate may hold `time`, too. ValueError if course and equations have different amplitudes, if a course
    still holds one, and from `exact.normal`, which names a function that it cannot decide.

    >>> v, v0, t = sp.symbols("v v_0 t", positive=True)
    >>> course = {v: v0 / (1 - v0 * t)}
    >>> ode_residuals({v: v**2}, course, t)
    {v: 0}
    >>> ode_residuals({v: v**2}, {v: v0 + v0**2 * t}, t)
    {v: -t*v_0**3*(t*v_0 + 2)}
    """
    _require_amplitudes("equations", equations, course)
    course = {
        amplitude: sp.sympify(value, strict=True) for amplitude, value in course.items()
    }
    for amplitude, value in course.items():
        if not value.free_symbols.isdisjoint(course):
            raise ValueError(
                f"the course of {amplitude} must be explicit in {time}, but it holds an amplitude: {value}"
            )
    return {
        amplitude: normal_form(
            course[amplitude].diff(time)
            - sp.sympify(rate, strict=True).xreplace(course)
        )
        for amplitude, rate in equations.items()
    }


def initial_residuals(
    course: Mapping[Expr, Expr], time: Expr, start: Mapping[Expr, Expr]
) -> dict[Expr, Expr]:
    """The course at time 0 − the start {amplitude: value}: all 0 just where the course starts there.

    ValueError as from `ode_residuals`.

    >>> v, v0, t = sp.symbols("v v_0 t", positive=True)
    >>> initial_residuals({v: v0 / (1 - v0 * t)}, t, {v: v0})
    {v: 0}
    """
    _require_amplitudes("start", start, course)
    return {
        amplitude: normal_form(
            sp.sympify(value, strict=True).xreplace({time: sp.Integer(0)})
            - start[amplitude]
        )
        for amplitude, value in course.items()
    }


def implicit_solution_residual(rate: Expr, clock: Expr, amplitude: Expr) -> Expr:
    """Φ′(v) f(v) − 1, which is 0 just where t = Φ(v) − Φ(v₀) solves dv/dt = f(v) from v(0) = v₀.

    `clock` is Φ and `rate` f, expressions in the symbol `amplitude`, v. The start holds by itself. Logarithms and
    arctangents are differentiated away. ValueError from `exact.normal`.

    >>> v, g = sp.symbols("v g", positive=True)
    >>> implicit_solution_residual(v * (1 - g * v), sp.log(v / (1 - g * v)), v)
    0
    """
    return normal_form(sp.sympify(clock, strict=True).diff(amplitude) * rate - 1)


def _require_amplitudes(
    name: str, given: Mapping[Expr, Expr], course: Mapping[Expr, Expr]
) -> None:
    if set(given) != set(course):
        odd = sorted(set(given) ^ set(course), key=sp.default_sort_key)
        raise ValueError(
            f"{name} and course must have the same amplitudes, but only one of them has {odd}"
        )
