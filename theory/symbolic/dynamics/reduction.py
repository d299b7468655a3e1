"""Exact reduction of a flow to few amplitudes: a proof that a manifold of weights is invariant, or what fails."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from ..algebra.rational_arithmetic import (
    Flow,
    derivative,
    expression,
    flow_parameters,
    rational,
    rational_functions,
    roots_in,
    written,
)
from ..loss.expectations import Element
from ..task import Expr

Row = dict[int, Element]

_ZERO = sp.Integer(0)


@dataclass(frozen=True, eq=False)
class Reduction:
    """What a flow does on the manifold of an ansatz; `reduce` makes it.

    `ansatz` gives every weight of the flow as an expression in the amplitudes. Where the manifold is invariant,
    `equations` is the flow of the amplitudes {amplitude: its rate in flow time} and `residual` is empty. Elsewhere
    no equations hold, and `residual` {weight: expression} has what the flow does to weights beyond what the motion
    of the amplitudes explains, none of it zero; that motion is the one which the earliest weights determine.
    """

    ansatz: dict[Expr, Expr]
    equations: dict[Expr, Expr]
    residual: dict[Expr, Expr]

    @property
    def invariant(self) -> bool:
        """Whether the flow stays on the manifold, proved either way."""
        return not self.residual


def reduce(
    flow: Flow, ansatz: Mapping[Expr, Expr], amplitudes: Sequence[Expr] | None = None
) -> Reduction:
    """The flow of the amplitudes z on the manifold θ = φ(z), by solving (∂φ/∂z) dz/dt = F(φ(z)) exactly.

    `ansatz` maps weights of the flow to rational expressions φ; weights left out are zero. `amplitudes` are the
    symbols that move: by default all in the ansatz but the flow's parameters, so that those which turn out to rest
    have rate 0. An amplitude may be one of the weights. Without any, the residual is the flow at a point, empty
    where it rests. Rates are by powers of the amplitudes, coefficients factored. ValueError for weights that the
    flow lacks, for what is not rational, and for amplitudes that rest by definition or move nothing of their own.

    >>> v, k, z, a = sp.symbols("v k z a")
    >>> flow = {v: a * k * (1 - v * k), k: a * v * (1 - v * k)}
    >>> reduce(flow, {v: z, k: z}).equations
    {z: -a*z**3 + a*z}
    >>> reduce(flow, {v: z, k: 2 * z}).residual
    {k: 6*a*z**3 - 3*a*z}
    """
    place = _placed(flow, ansatz)
    moving = _in_order(flow, place) if amplitudes is None else [*amplitudes]
    _require_amplitudes(moving, flow, ansatz, place)
    pivots, left = _solved(_rows(flow, place, moving), len(moving))
    for j, symbol in reversed([*enumerate(moving)]):
        if j not in pivots:
            raise ValueError(
                f"moving {symbol} adds nothing to the ansatz: take it out, or list other amplitudes"
            )
    if left:
        return Reduction(
            place, {}, {weight: written(rest, moving) for weight, rest in left.items()}
        )
    rates = {symbol: pivots[j].get(len(moving)) for j, symbol in enumerate(moving)}
    return Reduction(
        place,
        {z: written(rate, moving) if rate else _ZERO for z, rate in rates.items()},
        {},
    )


def _placed(flow: Flow, ansatz: Mapping[Expr, Expr]) -> dict[Expr, Expr]:
    """What the ansatz makes of every weight."""
    for weight in ansatz:
        if weight not in flow:
            some = ", ".join(map(str, [*flow][:6]))
            raise ValueError(
                f"the flow has no weight {weight}: take its own symbols, such as {some}"
            )
    return {weight: expression(ansatz.get(weight, _ZERO)) for weight in flow}


def _require_amplitudes(
    moving: Sequence[Expr], flow: Flow, ansatz: Collection[Expr], place: Flow
) -> None:
    """ValueError unless these are symbols that may move, all weights on the right-hand side among them."""
    for symbol in moving:
        if not isinstance(symbol, sp.Symbol):
            raise ValueError(
                f"amplitudes are symbols, not {symbol!r}: call it by a new symbol in the ansatz"
            )
        if symbol in flow_parameters(flow):
            raise ValueError(
                f"{symbol} is a parameter of the flow, which does not move: leave it out of amplitudes"
            )
        if symbol in flow and symbol not in ansatz:
            raise ValueError(
                f"the weight {symbol} is left out, hence zero, and an amplitude: map it to itself"
            )
    for symbol in sorted(_symbols(place) & {*flow} - {*moving}, key=str):
        raise ValueError(
            f"the weight {symbol} stands in the ansatz and moves: add it to the amplitudes"
        )


def _in_order(flow: Flow, place: Flow) -> list[Expr]:
    """The symbols of an ansatz but the flow's parameters, in the order in which they appear."""
    each = (
        symbol
        for value in place.values()
        for symbol in sorted(value.free_symbols, key=str)
    )
    return [
        symbol for symbol in dict.fromkeys(each) if symbol not in flow_parameters(flow)
    ]


def _symbols(place: Flow) -> set[Expr]:
    return set().union(*(value.free_symbols for value in place.values()))


def _rows(flow: Flow, place: Flow, moving: Sequence[Expr]) -> dict[Expr, Row]:
    """Each weight's equation in the rates of the amplitudes: slopes by their number, and last the weight's rate."""
    rates = {
        weight: expression(rate).xreplace(dict(place)) for weight, rate in flow.items()
    }
    roots = roots_in([*place.values(), *rates.values()])
    field = rational_functions(_symbols(place) | _symbols(rates) | {*moving}, roots)
    rows = {}
    for weight, value in place.items():
        position = rational(value, field)
        slopes = [derivative(position, symbol) for symbol in moving]
        entries = [*slopes, rational(rates[weight], field)]
        rows[weight] = {j: entry for j, entry in enumerate(entries) if entry}
    return rows


def _solved(
    rows: Mapping[Expr, Row], unknowns: int
) -> tuple[dict[int, Row], dict[Expr, Element]]:
    """The rows that determine unknowns, one in each, and what is left of others once those are put in."""
    pivots: dict[int, Row] = {}
    left = {}
    for weight, row in rows.items():
        rest = _eliminated(row, pivots)
        lead = min(rest, default=None)
        if lead == unknowns:
            left[weight] = rest[lead]
        elif lead is not None:
            pivots = _with_pivot(pivots, lead, rest)
    return pivots, left


def _eliminated(row: Row, pivots: Mapping[int, Row]) -> Row:
    """The row less multiples of the pivot rows, with no entry in their columns."""
    for j in row.keys() & pivots:
        row = _less(row, row[j], pivots[j])
    return row


def _with_pivot(pivots: Mapping[int, Row], lead: int, row: Row) -> dict[int, Row]:
    """The pivot rows with one more, each reduced by the others."""
    row = {j: entry / row[lead] for j, entry in row.items()}
    others = {
        j: _less(other, other[lead], row) if lead in other else other
        for j, other in pivots.items()
    }
    return {**others, lead: row}


def _less(row: Row, factor: Element, other: Row) -> Row:
    zero = 0 * factor
    entries = {
        j: row.get(j, zero) - factor * other.get(j, zero) for j in {**row, **other}
    }
    return {j: entry for j, entry in entries.items() if entry}
