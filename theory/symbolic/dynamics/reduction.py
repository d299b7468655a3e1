"""Exact reduction of a flow to few amplitudes: a proof that a manifold of weights is invariant, or what fails."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from ....runtime.display import Summary
from ..algebra.polynomials import Element
from ..algebra.rational_arithmetic import (
    Flow,
    collected_by,
    derivative,
    expression,
    flow_parameters,
    rational,
    rational_functions,
    roots_in,
)
from ..formulas.latex_printer import latex_equations
from ..formulas.typeset_results import (
    TypesetResult,
    as_text,
    short_text,
    typeset,
)
from ..task import Expr, symbols_in

Row = dict[int, Element]
"""An equation Σ_j a_j dz_j/dt = f: column → entry that is not zero, f in the last column."""

_ZERO = sp.Integer(0)


@dataclass(frozen=True, eq=False, repr=False)
class Reduction(TypesetResult):
    """What a flow does on the manifold of an ansatz; `reduce` makes it.

    `ansatz` gives every weight of the flow as an expression in the amplitudes. Where the manifold is invariant,
    `equations` is the flow of the amplitudes {amplitude: its rate in flow time} and `residual` is empty. Elsewhere
    no equations hold, and `residual` {weight: expression} has what the flow does to weights beyond what the rates
    of the amplitudes explain, none of it zero; these rates are those which the earliest weights determine.
    """

    ansatz: dict[Expr, Expr]
    equations: dict[Expr, Expr]
    residual: dict[Expr, Expr]

    @property
    def invariant(self) -> bool:
        """Whether the flow stays on the manifold, proved either way."""
        return not self.residual

    def summary(self) -> Summary:
        """The ansatz, and the equations of its amplitudes or the residual."""
        title = "Reduction: the ansatz is not invariant"
        if self.invariant:
            amplitudes = ", ".join(map(str, self.equations)) or "no amplitude"
            title = f"Reduction to {amplitudes}: the ansatz is invariant"
        rows = {label: short_text(value) for label, value in self._rates().items()}
        rows |= {str(weight): short_text(form) for weight, form in self._nonzero()}
        return Summary(title, rows)

    def formulas(self) -> dict[str, str]:
        """The equations or the residual, and the ansatz, in LaTeX."""
        symbols = [*self.ansatz, *self.equations]
        forms = {str(weight): form for weight, form in self._nonzero()}
        return typeset(self._rates() | forms, symbols)

    def latex(self) -> str:
        """The equations of the amplitudes, or the residual, as an aligned block (amsmath)."""
        return latex_equations(self.equations or self.residual, self.ansatz)

    def to_dict(self) -> dict[str, object]:
        """The fields and `invariant`, symbols and expressions as text."""
        return {
            "invariant": self.invariant,
            "ansatz": as_text(self.ansatz),
            "equations": as_text(self.equations),
            "residual": as_text(self.residual),
        }

    def _rates(self) -> dict[str, Expr]:
        if self.invariant:
            return {f"d {z}/dt": rate for z, rate in self.equations.items()}
        return {f"residual of {weight}": r for weight, r in self.residual.items()}

    def _nonzero(self) -> list[tuple[Expr, Expr]]:
        return [(weight, form) for weight, form in self.ansatz.items() if form != 0]


def reduce(
    flow: Flow, ansatz: Mapping[Expr, Expr], amplitudes: Sequence[Expr] | None = None
) -> Reduction:
    """The flow of the amplitudes z on the manifold θ = φ(z), by solving (∂φ/∂z) dz/dt = F(φ(z)) exactly.

    `ansatz` maps weights of the flow to rational expressions φ; weights left out are zero. `amplitudes` are the
    symbols that move: by default all in the ansatz but the flow's parameters, so that those which turn out to be
    constant have rate 0. An amplitude may be a weight. Without any, the residual is the flow at a point, empty at an
    equilibrium. Rates are by powers of the amplitudes, coefficients factored. ValueError for weights that the flow
    lacks, for what is not rational, and for amplitudes that are constant by definition or change no weight.

    >>> v, k, z, a = sp.symbols("v k z a")
    >>> flow = {v: a * k * (1 - v * k), k: a * v * (1 - v * k)}
    >>> reduce(flow, {v: z, k: z}).equations
    {z: -a*z**3 + a*z}
    >>> reduce(flow, {v: z, k: 2 * z}).residual
    {k: 6*a*z**3 - 3*a*z}
    """
    embedding = _embedding(flow, ansatz)
    # By default every symbol that is no parameter moves.
    moving = _in_order(flow, embedding) if amplitudes is None else [*amplitudes]
    _require_amplitudes(moving, flow, ansatz, embedding)
    pivots, remainders = _solved(_rows(flow, embedding, moving), len(moving))
    _require_determined(moving, pivots)
    if remainders:
        residual = {
            weight: collected_by(remainder, moving)
            for weight, remainder in remainders.items()
        }
        return Reduction(embedding, {}, residual)

    equations = {}
    for j, symbol in enumerate(moving):
        rate = pivots[j].get(len(moving))
        equations[symbol] = collected_by(rate, moving) if rate else _ZERO
    return Reduction(embedding, equations, {})


def _require_determined(moving: Sequence[Expr], pivots: Mapping[int, Row]) -> None:
    """ValueError for the last amplitude whose rate no equation determines."""
    for j, symbol in reversed([*enumerate(moving)]):
        if j not in pivots:
            raise ValueError(
                f"moving {symbol} adds nothing to the ansatz: take it out, or list other amplitudes"
            )


def _embedding(flow: Flow, ansatz: Mapping[Expr, Expr]) -> dict[Expr, Expr]:
    """What the ansatz makes of every weight."""
    for weight in ansatz:
        if weight not in flow:
            examples = ", ".join(map(str, [*flow][:6]))
            raise ValueError(
                f"the flow has no weight {weight}: take its own symbols, such as {examples}"
            )
    return {weight: expression(ansatz.get(weight, _ZERO)) for weight in flow}


def _require_amplitudes(
    moving: Sequence[Expr], flow: Flow, ansatz: Collection[Expr], embedding: Flow
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
    for symbol in sorted(symbols_in(embedding.values()) & {*flow} - {*moving}, key=str):
        raise ValueError(
            f"the weight {symbol} stands in the ansatz and moves: add it to the amplitudes"
        )


def _in_order(flow: Flow, embedding: Flow) -> list[Expr]:
    """The symbols of an ansatz but the flow's parameters, in the order in which they appear."""
    parameters = flow_parameters(flow)
    symbols: dict[Expr, None] = {}  # an ordered set
    for value in embedding.values():
        symbols |= dict.fromkeys(sorted(value.free_symbols, key=str))
    return [symbol for symbol in symbols if symbol not in parameters]


def _rows(flow: Flow, embedding: Flow, moving: Sequence[Expr]) -> dict[Expr, Row]:
    """Each weight's equation in the rates of the amplitudes: ∂φ/∂z_j by their number, and last F(φ(z))."""
    # F(φ(z)): the flow where the weights are those of the manifold.
    rates = {
        weight: expression(rate).xreplace(dict(embedding))
        for weight, rate in flow.items()
    }
    roots = roots_in([*embedding.values(), *rates.values()])
    field = rational_functions(
        symbols_in(embedding.values()) | symbols_in(rates.values()) | {*moving}, roots
    )
    rows = {}
    for weight, value in embedding.items():
        φ = rational(value, field)
        slopes = [derivative(φ, symbol) for symbol in moving]
        entries = [*slopes, rational(rates[weight], field)]
        rows[weight] = {j: entry for j, entry in enumerate(entries) if entry}
    return rows


def _solved(
    rows: Mapping[Expr, Row], unknowns: int
) -> tuple[dict[int, Row], dict[Expr, Element]]:
    """The rows that determine unknowns, one in each, and what remains of others once those are put in."""
    pivots: dict[int, Row] = {}
    remainders = {}
    for weight, row in rows.items():
        reduced = _eliminated(row, pivots)
        column = min(reduced, default=None)
        # Columns before the last are all eliminated: 0 = f, which has to hold by itself.
        if column == unknowns:  # no rate of an amplitude is left to explain this
            remainders[weight] = reduced[column]
        elif column is not None:
            pivots = _with_pivot(pivots, column, reduced)
    return pivots, remainders


def _eliminated(row: Row, pivots: Mapping[int, Row]) -> Row:
    """The row less multiples of the pivot rows, with no entry in their columns."""
    for j in row.keys() & pivots:
        row = _less(row, row[j], pivots[j])
    return row


def _with_pivot(pivots: Mapping[int, Row], column: int, row: Row) -> dict[int, Row]:
    """The pivot rows with one more, each reduced by the others."""
    new = {j: entry / row[column] for j, entry in row.items()}
    reduced = {
        j: _less(pivot, pivot[column], new) if column in pivot else pivot
        for j, pivot in pivots.items()
    }
    return {**reduced, column: new}


def _less(row: Row, factor: Element, pivot: Row) -> Row:
    """row − factor · pivot."""
    zero = 0 * factor
    entries = {
        j: row.get(j, zero) - factor * pivot.get(j, zero) for j in {**row, **pivot}
    }
    return {j: entry for j, entry in entries.items() if entry}
