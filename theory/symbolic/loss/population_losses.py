"""The population loss of any polynomial attention model, derived from its definition, and its gradient flow."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.polys.orderings import lex
from sympy.polys.rings import PolyRing

from ....models.divisors import score_divisor_square
from ....models.protocol import Parametrization, is_softmax
from ..formulas.size_limits import size
from ..task import (
    Expr,
    N,
    Prompt,
    SymbolicTask,
    average,
    is_variable,
    require_symbolic_task,
    without_floats,
)
from .expectations import (
    Element,
    coefficients,
    collected,
    monomial_expectation,
    over_lengths,
    product,
    require_few_lengths,
    roots_of,
)

Block = Literal["full", "restricted"]
SymbolArray = NDArray[Any]

MAX_WEIGHTS = 1000
"""The most weights that a model may have here: each is a symbol."""

MAX_TERMS = 300
"""The most terms that an output may have, multiplied out: its loss has up to half their square, made in seconds."""

MAX_WORK = 250_000
"""The most that F² D may be for F random features in D dimensions: F²/2 moments with D symbols take seconds."""

_PRODUCTS = 4  # an entry of X Xᵀ has two terms, with a divisor: an output is counted a few times too long

_DIVISORS = {"context": N, "tokens": N + 1, "none": sp.Integer(1)}


@dataclass(frozen=True, eq=False)
class PopulationLoss:
    """E (y_q − ŷ)² as a polynomial in `weights`, in units of y².

    `polynomial` is an element of a SymPy ring over the weights, whose coefficients are polynomials in the task's
    parameters with rational functions of N: losses are equal just where their polynomials are identical.
    """

    polynomial: Element

    @property
    def weights(self) -> tuple[Expr, ...]:
        """The weights that stand in the output, as symbols."""
        return tuple(self.polynomial.ring.symbols)

    @cached_property
    def expression(self) -> Expr:
        """The loss as a SymPy expression."""
        return self.polynomial.as_expr()


def population_loss(
    task: SymbolicTask, model: Parametrization, block: Block = "full"
) -> PopulationLoss:
    """The population loss of a linear-attention model, derived from its `heads`, over its weights.

    `block` "restricted" keeps the value rows off x and the keys off y: a_h = (0, v_h), B_h = (U_h; 0). ValueError
    for softmax and for heads that are not polynomial in the weights; TypeError where model and task are exchanged.
    Source: Zhang et al. 2025, Section 2.2.

    >>> from attndyn import Merged
    >>> from attndyn.theory.symbolic import N, population_loss, symbolic_task
    >>> loss = population_loss(symbolic_task(1), Merged(heads=1), "restricted").expression
    >>> sp.factor(loss.subs(N, 2))
    lambda_1*(2*key_query_1_1_1**2*lambda_1**2*value_1_2**2 - 2*key_query_1_1_1*lambda_1*value_1_2 + 1)
    """
    require_symbolic_task(task, model, "population_loss(task, model, block)")
    weights = weight_symbols(model, task.dimension)
    symbols = [symbol for array in weights.values() for symbol in array.flat]
    return output_loss(task, model_output(model, task.dimension, block), symbols)


def output_loss(
    task: SymbolicTask, output: Expr, weights: Sequence[Expr]
) -> PopulationLoss:
    """The population loss of any output ŷ that is polynomial in weights and in the variables of a prompt.

    Symbols that are neither are constants. ValueError names what is not polynomial; TypeError where output and task
    are exchanged.

    >>> from attndyn.theory.symbolic import Prompt, average, output_loss, symbolic_task
    >>> prompt, m = Prompt(1), sp.Symbol("m")
    >>> cubic = m * average(prompt.y * prompt.x[0] ** 3) * prompt.query[0]
    >>> output_loss(symbolic_task(1), cubic, [m]).expression
    -6*lambda_1**3*m + lambda_1 + lambda_1**5*m**2*(9*N + 96)/N
    """
    require_symbolic_task(task, output, "output_loss(task, output, weights)")
    output = without_floats(output, "the terms of an output")
    _require_terms(size(output).terms // _PRODUCTS)
    require_few_lengths(task)
    _require_own_names(weights, task)
    here = [weight for weight in weights if weight in output.free_symbols]
    constants = {
        symbol for symbol in output.free_symbols if not is_variable(symbol)
    } - {*here}
    ring = PolyRing(here, coefficients(task, constants, roots_of(output)), lex)
    features = list(collected(output, task.dimension, ring).items())
    _require_work(len(features), task.dimension)
    (target,) = collected(Prompt(task.dimension).label, task.dimension, ring)
    moment = monomial_expectation(task, ring.domain)
    loss = ring.one * moment(product(target, target))
    for i, (feature, weight) in enumerate(features):
        force = ring.one * (2 * moment(product(target, feature))) - weight * moment(
            product(feature, feature)
        )
        for other, factor in features[:i]:
            force -= factor * (2 * moment(product(feature, other)))
        loss -= weight * force
    return PopulationLoss(
        ring.from_dict(
            {powers: over_lengths(part, task) for powers, part in loss.terms()}
        )
    )


def flow_equations(loss: PopulationLoss) -> dict[Expr, Expr]:
    """Gradient flow dθ/dt = −½ ∂L/∂θ, in flow time, for every weight θ that stands in the output.

    >>> from attndyn.theory.symbolic import Prompt, average, flow_equations, output_loss, symbolic_task
    >>> prompt, m = Prompt(1), sp.Symbol("m")
    >>> output = m**2 * average(prompt.y * prompt.x[0]) * prompt.query[0]
    >>> flow_equations(output_loss(symbolic_task(1), output, [m]))
    {m: 2*lambda_1**2*m + lambda_1**3*m**3*(-2*N - 4)/N}
    """
    half = sp.QQ(-1, 2)
    gens = loss.polynomial.ring.gens
    return {
        weight: (loss.polynomial.diff(gen) * half).as_expr()
        for weight, gen in zip(loss.weights, gens, strict=True)
    }


def weight_symbols(model: Parametrization, dimension: int) -> dict[str, SymbolArray]:
    """The weights of a model as arrays of symbols of its shapes, indices from 1: value_1_2, key_1_1_2, …

    ValueError where a name is that of a variable of the prompt, or two weights share one.

    >>> from attndyn import Separate
    >>> weight_symbols(Separate(heads=1), 1)["key"].tolist()
    [[[key_1_1_1, key_1_1_2]]]
    """
    weights, seen = {}, set()
    shapes = {
        name: tuple(map(int, shape)) for name, shape in model.shapes(dimension).items()
    }
    total = sum(map(prod, shapes.values()))
    if total > MAX_WEIGHTS:
        raise ValueError(
            f"the model has {total} weights at D = {dimension}, and symbols are for at most {MAX_WEIGHTS}: "
            f"take fewer heads or a smaller dimension"
        )
    for name, shape in shapes.items():
        weights[name] = np.empty(shape, dtype=object)
        for index in np.ndindex(*shape):
            symbol = sp.Symbol(
                "_".join([name, *(str(i + 1) for i in index)]), real=True
            )
            if is_variable(symbol) or symbol == N or symbol in seen:
                raise ValueError(
                    f"the weight {name!r} makes the symbol {symbol}, which is taken: rename the weight"
                )
            weights[name][index] = symbol
            seen.add(symbol)
    return weights


def model_output(model: Parametrization, dimension: int, block: Block = "full") -> Expr:
    """ŷ = Σ_h a_hᵀ (X Xᵀ / divisor) B_h x_q by the definition, with X Xᵀ in averages over the context.

    The query's own token (x_q, 0) is a column of X. ValueError for softmax, unknown blocks and wrong shapes.
    """
    a, B = effective_heads(model, dimension, block)
    _require_terms(int(np.sum(_terms(a)[:, :, None, None] * _terms(B)[:, None, :, :])))
    products = token_products(divisor_of(model, dimension), dimension)
    query = np.array(Prompt(dimension).query, dtype=object)
    return sp.Add(*(a[h] @ products @ B[h] @ query for h in range(len(a))))


def effective_heads(
    model: Parametrization, dimension: int, block: Block
) -> tuple[SymbolArray, SymbolArray]:
    """a (H, D+1) and B (H, D+1, D) of the model's symbols; those outside the restricted block are zero there."""
    require_block(block)
    a, B = (
        np.array(part, dtype=object) for part in _heads_in_symbols(model, dimension)
    )
    if a.shape != (len(a), dimension + 1) or B.shape != (
        len(a),
        dimension + 1,
        dimension,
    ):
        raise ValueError(
            f"heads must give a (H, D+1) and B (H, D+1, D), not {a.shape} and {B.shape}"
        )
    a, B = (_exactly(part) for part in (a, B))
    if block == "restricted":
        a[:, :-1] = B[:, -1, :] = sp.Integer(0)
    return a, B


def _heads_in_symbols(model: Parametrization, dimension: int) -> Any:
    """What the model's `heads` makes of symbols; ValueError where it cannot compute with them."""
    try:
        return model.heads(weight_symbols(model, dimension))
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"heads of {type(model).__name__} cannot compute with symbols, in arrays of dtype object: use sums, "
            f"products and whole powers, and make arrays by np.zeros(shape, dtype=object) ({error})"
        ) from error


def _exactly(heads: SymbolArray) -> SymbolArray:
    """Heads whose numbers are exact."""
    exact = np.empty(heads.shape, dtype=object)
    for index in np.ndindex(heads.shape):
        exact[index] = without_floats(heads[index], "the heads of the model")
    return exact


def token_products(divisor: Expr, dimension: int) -> SymbolArray:
    """X Xᵀ / divisor, (D+1, D+1), in averages and the query."""
    prompt = Prompt(dimension)
    token, last = (*prompt.x, prompt.y), (*prompt.query, sp.Integer(0))
    pairs = [
        [
            (N * average(p * q) + s * t) / divisor
            for q, t in zip(token, last, strict=True)
        ]
        for p, s in zip(token, last, strict=True)
    ]
    return np.array(pairs, dtype=object)


def _require_own_names(weights: Sequence[Expr], task: SymbolicTask) -> None:
    """ValueError for a weight that has the name of a parameter of the task, of N or of a variable of the prompt."""
    taken = {str(symbol) for symbol in (*task.parameters, N)}
    for weight in weights:
        if str(weight) in taken or is_variable(weight):
            raise ValueError(
                f"the weight {weight} has the name of a number or a variable of the task: rename it"
            )


def require_block(block: str) -> None:
    """ValueError unless this is the name of a block."""
    if block not in get_args(Block):
        raise ValueError(f"block must be full or restricted, not {block!r}")


def _terms(array: SymbolArray) -> NDArray[np.int64]:
    """How many terms each entry has, multiplied out."""
    counts = [
        size(sp.sympify(entry, strict=True)).terms if entry != 0 else 0
        for entry in array.flat
    ]
    return np.array(counts, dtype=np.int64).reshape(array.shape)


def _require_terms(count: int) -> None:
    if count > MAX_TERMS:
        raise ValueError(
            f"the output has about {count} terms, and its exact loss is derived for at most {MAX_TERMS}: "
            f'take a smaller dimension, fewer heads, a lower rank or block = "restricted"'
        )


def _require_work(features: int, dimension: int) -> None:
    if features**2 * dimension > MAX_WORK:
        raise ValueError(
            f"the output has {features} random features in {dimension} dimensions, too many for an exact loss in "
            f"seconds: take a dimension of at most 12"
        )


def divisor_of(model: object, dimension: int) -> Expr:
    """What X Xᵀ is divided by: N ("context"), N + 1 ("tokens") or 1 ("none"), times the score divisor.

    ValueError for softmax, and for a score divisor that is no exact number.
    """
    if is_softmax(model):
        raise ValueError(
            "softmax attention is not polynomial in its weights: it has no exact population loss"
        )
    name = getattr(model, "divisor", "context")
    if name not in _DIVISORS:
        raise ValueError(f"divisor must be one of {', '.join(_DIVISORS)}, not {name!r}")
    square = score_divisor_square(model, dimension)
    return _DIVISORS[name] * sp.sqrt(sp.Rational(square.numerator, square.denominator))
