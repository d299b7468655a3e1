"""What a user may state about a derivation, and the identities that a statement is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import get_args

import sympy as sp

from ..derivation import Derivation
from ..task import Expr, N, symbols_in

TIME = sp.Symbol("t", nonnegative=True)
"""Flow time from the start on, in which a stated solution is written."""


@dataclass(frozen=True)
class StatedLoss:
    """The loss is `value`; with an `ansatz` {weight: expression in amplitudes}, there, other weights being zero."""

    value: Expr
    ansatz: Mapping[Expr, Expr] | None = None


@dataclass(frozen=True)
class StatedRate:
    """dθ/dt of one `weight` is `rate`, in flow time."""

    weight: Expr
    rate: Expr


@dataclass(frozen=True)
class StatedInvariant:
    """The flow conserves `quantity`, an expression in the weights."""

    quantity: Expr


@dataclass(frozen=True)
class StatedReduction:
    """Weights of the form `ansatz` keep it, other weights staying zero, and amplitudes obey `equations`.

    `equations` {amplitude: rate} has every symbol of the ansatz that is no parameter; a constant has rate 0.
    """

    ansatz: Mapping[Expr, Expr]
    equations: Mapping[Expr, Expr]


@dataclass(frozen=True)
class StatedFixedPoint:
    """The flow has an equilibrium at `values` {weight: expression}, other weights zero, with this `loss` if given.

    Values are real wherever the parameters are what their symbols say; weights in them are free real numbers.
    """

    values: Mapping[Expr, Expr]
    loss: Expr | None = None


@dataclass(frozen=True)
class StatedSolution:
    """`solution` {weight: expression in TIME} solves the flow, other weights being zero.

    With an `ansatz` {weight: expression in amplitudes} the solution is that of the amplitudes. `start` has the values
    at time 0 of what the solution gives, where they are stated.
    """

    solution: Mapping[Expr, Expr]
    ansatz: Mapping[Expr, Expr] | None = None
    start: Mapping[Expr, Expr] | None = None


_ZERO = sp.Integer(0)

Statement = (
    StatedLoss
    | StatedRate
    | StatedInvariant
    | StatedReduction
    | StatedFixedPoint
    | StatedSolution
)


@dataclass(frozen=True, eq=False)
class Identity:
    """`what` was `derived` is stated to equal what is `claimed`, identically."""

    what: str
    derived: Expr
    claimed: Expr


def identities(statement: Statement, derivation: Derivation) -> tuple[Identity, ...]:
    """All that a statement says, each to be decided by itself.

    ValueError names a symbol that the derivation does not have and those of nearly its name, and numbers that are
    not exact. A statement of text is read by `read_text` and `read_latex` first.
    """
    return tuple(_parts(statement, derivation))


def formulas(statement: Statement) -> tuple[Expr, ...]:
    """Every expression that a statement holds, in the order of its fields."""
    values: list[object] = []
    for field in fields(statement):
        value = getattr(statement, field.name)
        values += value.values() if isinstance(value, Mapping) else [value]
    return tuple(
        sp.sympify(value, strict=True) for value in values if value is not None
    )


def _parts(statement: object, derivation: Derivation) -> Iterator[Identity]:
    match statement:
        case StatedLoss():
            return _loss(statement, derivation)
        case StatedRate():
            return _rate(statement, derivation)
        case StatedInvariant():
            return _invariant(statement, derivation)
        case StatedReduction():
            return _reduction(statement, derivation)
        case StatedFixedPoint():
            return _fixed_point(statement, derivation)
        case StatedSolution():
            return _solution(statement, derivation)
    kinds = ", ".join(kind.__name__ for kind in get_args(Statement))
    raise ValueError(f"a statement is one of {kinds}, not {statement!r}")


def _loss(statement: StatedLoss, derivation: Derivation) -> Iterator[Identity]:
    constants = _constants(derivation)
    derived = derivation.loss.expression
    if statement.ansatz is None:
        allowed = constants | _weights(derivation)
        yield Identity(
            "the loss", derived, _exact("the loss", statement.value, allowed)
        )
        return
    ansatz = _ansatz(statement.ansatz, derivation)
    allowed = constants | _amplitudes(ansatz, derivation)
    claimed = _exact("the loss", statement.value, allowed)
    yield Identity("the loss on the ansatz", _at(derived, ansatz, derivation), claimed)


def _rate(statement: StatedRate, derivation: Derivation) -> Iterator[Identity]:
    allowed = _constants(derivation) | _weights(derivation)
    weight = _weight(statement.weight, derivation)
    rate = _exact(f"the rate of {weight}", statement.rate, allowed)
    yield Identity(f"d {weight}/dt", derivation.flow.get(weight, _ZERO), rate)


def _invariant(
    statement: StatedInvariant, derivation: Derivation
) -> Iterator[Identity]:
    weights = _weights(derivation)
    allowed = _constants(derivation) | weights
    quantity = _exact("the quantity", statement.quantity, allowed)
    if not quantity.free_symbols & weights:
        raise ValueError(
            f"{quantity} has no weight in it: a constant is conserved by every flow"
        )
    # dI/dt = Σ ∂I/∂θ dθ/dt.
    terms = [
        sp.diff(quantity, weight) * rate
        for weight, rate in derivation.flow.items()
        if weight in quantity.free_symbols
    ]
    yield Identity(f"d({quantity})/dt", sp.Add(*terms), _ZERO)


def _reduction(
    statement: StatedReduction, derivation: Derivation
) -> Iterator[Identity]:
    ansatz = _ansatz(statement.ansatz, derivation)
    amplitudes = _amplitudes(ansatz, derivation)
    equations = _amplitude_equations(statement.equations, amplitudes, derivation)
    for weight, derived in _rates(ansatz, derivation).items():
        # By the chain rule, the rate of θ = φ(z) is Σ ∂φ/∂z dz/dt.
        form = ansatz.get(weight, _ZERO)
        terms = [sp.diff(form, z) * rate for z, rate in equations.items()]
        on_ansatz = _at(derived, ansatz, derivation)
        yield Identity(f"d {weight}/dt on the ansatz", on_ansatz, sp.Add(*terms))


def _amplitude_equations(
    stated: Mapping[Expr, Expr], amplitudes: set[Expr], derivation: Derivation
) -> dict[Expr, Expr]:
    """The stated rates of the amplitudes; ValueError where one has none."""
    allowed = _constants(derivation) | amplitudes
    equations = {}
    for amplitude, rate in stated.items():
        symbol = _require_known("the equations", amplitude, amplitudes)
        equations[symbol] = _exact(f"the rate of {amplitude}", rate, allowed)
    for symbol in sorted(amplitudes - set(equations), key=str):
        raise ValueError(
            f"{symbol} of the ansatz is no parameter{_suggestion(symbol, _constants(derivation))} "
            f"and has no equation: state its rate, 0 for a constant"
        )
    return equations


def _fixed_point(
    statement: StatedFixedPoint, derivation: Derivation
) -> Iterator[Identity]:
    allowed = _constants(derivation) | _weights(derivation)
    values = {}
    for weight, value in statement.values.items():
        symbol = _weight(weight, derivation)
        values[symbol] = _exact(f"the value of {weight}", value, allowed)
    _require_block(values, derivation)
    for weight, derived in derivation.flow.items():
        at_point = _at(derived, values, derivation)
        yield Identity(f"d {weight}/dt at the point", at_point, _ZERO)
    if statement.loss is not None:
        loss_at_point = _at(derivation.loss.expression, values, derivation)
        claimed = _exact("the loss", statement.loss, allowed)
        yield Identity("the loss at the point", loss_at_point, claimed)


def _solution(statement: StatedSolution, derivation: Derivation) -> Iterator[Identity]:
    if statement.ansatz is None:
        moving = _weights(derivation)
        solution = _solution_in_time(statement.solution, moving, derivation)
        weights = solution
    else:
        ansatz = _ansatz(statement.ansatz, derivation)
        moving = _amplitudes(ansatz, derivation)
        solution = _solution_in_time(statement.solution, moving, derivation)
        _require_all(moving, solution)
        weights = {weight: form.xreplace(solution) for weight, form in ansatz.items()}

    # Weights that are left out stay at zero, which has to solve their equations, too.
    _require_block(weights, derivation)
    yield from _rates_along_solution(weights, derivation)

    for symbol, value in (statement.start or {}).items():
        at_zero = solution[_require_known("the start", symbol, set(solution))]
        claimed = _in_time(f"the start of {symbol}", value, moving, derivation)
        yield Identity(f"{symbol} at time 0", at_zero.subs(TIME, 0), claimed)


def _rates_along_solution(
    weights: Mapping[Expr, Expr], derivation: Derivation
) -> Iterator[Identity]:
    """The flow of every weight at these functions of time, which has to be their derivative."""
    for weight, derived in _rates(weights, derivation).items():
        on_solution = _at(derived, weights, derivation)
        claimed = sp.diff(weights.get(weight, _ZERO), TIME)
        yield Identity(f"d {weight}/dt along the solution", on_solution, claimed)


def _require_all(amplitudes: set[Expr], solution: Mapping[Expr, Expr]) -> None:
    """ValueError for the first amplitude that has no solution."""
    for symbol in sorted(amplitudes - set(solution), key=str):
        raise ValueError(
            f"{symbol} of the ansatz has no solution: state one, or its value if it is constant"
        )


def _solution_in_time(
    stated: Mapping[Expr, Expr], moving: set[Expr], derivation: Derivation
) -> dict[Expr, Expr]:
    """What is stated for symbols that may move, as expressions in time."""
    solution = {}
    for symbol, form in stated.items():
        own_symbol = _require_known("the solution", symbol, moving)
        solution[own_symbol] = _in_time(
            f"the solution for {symbol}", form, moving, derivation
        )
    return solution


def _in_time(what: str, form: Expr, moving: set[Expr], derivation: Derivation) -> Expr:
    """An expression in time, parameters and constants of its own, but not in what moves."""
    # Constants of the solution's own, such as v₀, are welcome.
    exact = _exact(what, form, None)
    allowed = {*_constants(derivation), TIME}
    for symbol in sorted(exact.free_symbols, key=str):
        if symbol in moving:
            raise ValueError(
                f"{what} must be explicit in {TIME}, but it has {symbol}, which moves"
            )
        if str(symbol) in map(str, allowed):
            _require_known(what, symbol, allowed)
    return exact


def _at(expression: Expr, values: Mapping[Expr, Expr], derivation: Derivation) -> Expr:
    """The expression where weights have these values, and are zero without one."""
    return expression.xreplace(
        {weight: values.get(weight, _ZERO) for weight in derivation.weights}
    )


def _rates(values: Mapping[Expr, Expr], derivation: Derivation) -> dict[Expr, Expr]:
    """The rates of the weights of the flow, and of others that a statement gives values: these never move."""
    # Weights outside of the output have no gradient.
    rates = dict.fromkeys(values, _ZERO)
    return {**derivation.flow, **rates, **derivation.flow}


def _require_block(values: Mapping[Expr, Expr], derivation: Derivation) -> None:
    """ValueError for a value other than zero where the restricted block has none."""
    if derivation.block != "restricted":
        return
    for weight, value in values.items():
        if weight not in derivation.flow and value != 0:
            raise ValueError(
                f'{weight} is zero in the restricted block, not {value}: leave it out, or take block = "full"'
            )


def _ansatz(ansatz: Mapping[Expr, Expr], derivation: Derivation) -> dict[Expr, Expr]:
    exact = {
        _weight(weight, derivation): _exact(f"the ansatz for {weight}", form, None)
        for weight, form in ansatz.items()
    }
    _require_block(exact, derivation)
    return exact


def _amplitudes(ansatz: Mapping[Expr, Expr], derivation: Derivation) -> set[Expr]:
    """The symbols of an ansatz that are no parameters; ValueError for a parameter's name on another symbol."""
    constants = _constants(derivation)
    symbols = symbols_in(ansatz.values())
    # Every symbol that is no parameter is an amplitude.
    amplitudes = symbols - constants
    for symbol in amplitudes:
        if str(symbol) in map(str, constants):
            _require_known("the ansatz", symbol, constants)
    return amplitudes


def _weights(derivation: Derivation) -> set[Expr]:
    return {symbol for array in derivation.arrays.values() for symbol in array.flat}


def _constants(derivation: Derivation) -> set[Expr]:
    length = {N} if derivation.task.context_lengths == (N,) else set()
    return {*derivation.parameters, *length}


def _weight(symbol: Expr, derivation: Derivation) -> Expr:
    return _require_known("the statement", symbol, _weights(derivation))


def _exact(what: str, expression: Expr, allowed: set[Expr] | None) -> Expr:
    """The expression if it is exact and of known symbols (any if None)."""
    try:
        exact = sp.sympify(expression, strict=True)
    except sp.SympifyError:
        raise ValueError(
            f"{what} must be a SymPy expression, not {expression!r}: read text by read_text"
        ) from None
    is_expression = isinstance(exact, sp.Expr) and not exact.is_Matrix
    if not is_expression or exact.has(sp.oo, -sp.oo, sp.zoo, sp.nan):
        raise ValueError(f"{what} must be a finite expression, not {expression}")
    if exact.has(sp.Float):
        raise ValueError(
            f"{what} has the inexact number {min(exact.atoms(sp.Float))}: write sympy.Rational(1, 3)"
        )
    if allowed is not None:
        for symbol in sorted(exact.free_symbols, key=str):
            _require_known(what, symbol, allowed)
    return exact


def _require_known(what: str, symbol: Expr, allowed: set[Expr]) -> Expr:
    """The symbol if it is known; ValueError, with the nearest names, if not."""
    if symbol in allowed:
        return symbol
    if not isinstance(symbol, sp.Symbol):
        raise ValueError(
            f"{what} must name symbols, not {symbol!r}: take them from the derivation"
        )
    if str(symbol) in map(str, allowed):
        raise ValueError(
            f"{symbol} of {what} has other assumptions than the derivation's: take it from there"
        )
    names = ", ".join(sorted(map(str, allowed))[:12])
    raise ValueError(
        f"{what} has {symbol}, which does not stand there{_suggestion(symbol, allowed) or f': {names} do'}"
    )


def _suggestion(symbol: Expr, allowed: set[Expr]) -> str:
    matches = get_close_matches(str(symbol), list(map(str, allowed)), n=3)
    if matches:
        return f" (did you mean {' or '.join(matches)}?)"
    return ""
