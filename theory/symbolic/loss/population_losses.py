"""The population loss of any polynomial attention model, derived from its definition, and its gradient flow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.polys.orderings import lex
from sympy.polys.rings import PolyRing

from ....models.divisors import output_divisor, score_divisor_square
from ....models.protocol import (
    Parametrization,
    is_softmax,
    outputs_of,
    reads_query_token,
)
from ....runtime.decimals import exact_fraction, is_short
from ....runtime.display import Summary
from ..algebra.expression_size import size
from ..algebra.number_fields import roots_of
from ..algebra.polynomials import Element
from ..formulas.latex_printer import latex
from ..formulas.typeset_results import TypesetResult, short_text, typeset
from ..task import (
    Expr,
    N,
    Prompt,
    SymbolicTask,
    average,
    average_of,
    is_variable,
    require_symbolic_task,
    without_floats,
)
from .expectations import (
    coefficients,
    collected,
    monomial_expectation,
    over_lengths,
    product,
    require_context,
    require_few_lengths,
)

Block = Literal["full", "restricted"]
SymbolArray = NDArray[Any]

MAX_WEIGHTS = 1000
"""The most weights that a model may have here: each is a symbol."""

MAX_TERMS = 300
"""The most terms that an output may have, multiplied out: its loss has up to half their square, made in seconds."""

MAX_WORK = 250_000
"""The most that F² D may be for F random features in D dimensions: F²/2 moments with D symbols take seconds."""

# An entry of X Xᵀ has two terms, each with a divisor, so that `size` counts an output
# this many times too long.
_OVERCOUNT = 4

# Of a loss that is written out on one screen.
MAX_READABLE_TERMS = 60


@dataclass(frozen=True, eq=False, repr=False)
class PopulationLoss(TypesetResult):
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

    @property
    def is_long(self) -> bool:
        """Whether the loss has more terms than a person reads."""
        return len(self.polynomial) > MAX_READABLE_TERMS

    def text(self) -> str:
        """The loss as text, or how long it is where nobody would read it."""
        if not self.is_long:
            return short_text(self.expression)
        degree = max(sum(powers) for powers in self.polynomial)
        return f"a polynomial of degree {degree} with {len(self.polynomial)} terms"

    def summary(self) -> Summary:
        """The loss, and the weights that stand in it."""
        weights = ", ".join(map(str, self.weights)) or "none"
        return Summary("Population loss", {"loss": self.text(), "weights": weights})

    def formulas(self) -> dict[str, str]:
        """The loss in LaTeX, unless it is long."""
        if self.is_long:
            return {}
        return typeset({"loss": self.expression}, self.weights)

    def latex(self) -> str:
        """The loss in LaTeX."""
        return latex(self.expression, self.weights)

    def to_dict(self) -> dict[str, object]:
        """The loss and its weights as text."""
        weights = [str(weight) for weight in self.weights]
        return {"loss": str(self.expression), "weights": weights}


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
    arrays = weight_symbols(model, task.dimension)
    weights = [symbol for array in arrays.values() for symbol in array.flat]
    output = model_output(model, task.dimension, block)
    without_context = None
    if task.context_lengths[0] == 0:
        without_context = model_output(model, task.dimension, block, has_context=False)
    return output_loss(task, output, weights, without_context=without_context)


def output_loss(
    task: SymbolicTask,
    output: Expr,
    weights: Sequence[Expr],
    *,
    without_context: Expr | None = None,
) -> PopulationLoss:
    """The population loss of any output ŷ that is polynomial in weights and in the variables of a prompt.

    Symbols that are neither are constants. `without_context` is the output at context length 0, where averages have
    no value. ValueError names what is not polynomial, and for a task with that length where it is left out; TypeError
    where output and task are exchanged.

    >>> from attndyn.theory.symbolic import Prompt, average, output_loss, symbolic_task
    >>> prompt, m = Prompt(1), sp.Symbol("m")
    >>> cubic = m * average(prompt.y * prompt.x[0] ** 3) * prompt.query[0]
    >>> output_loss(symbolic_task(1), cubic, [m]).expression
    -6*lambda_1**3*m + lambda_1 + lambda_1**5*m**2*(9*N + 96)/N
    """
    require_symbolic_task(task, output, "output_loss(task, output, weights)")
    if without_context is None:
        require_context(task, "an output in averages")
        without_context = sp.Integer(0)
    output = without_floats(output, "the terms of an output")
    without_context = _query_alone(without_context)
    _require_terms(size(output).terms // _OVERCOUNT)
    require_few_lengths(task)
    _require_own_names(weights, task)

    ring = _weight_ring(task, sp.Tuple(output, without_context), weights)
    loss = _expected_square(ring, output, task)
    averaged = {powers: over_lengths(part, task) for powers, part in loss.terms()}
    polynomial = ring.from_dict(averaged)
    if task.context_lengths[0] == 0:
        share = ring.domain.from_sympy(task.share_of_length[sp.Integer(0)])
        polynomial += share * _expected_square(ring, without_context, task)
    return PopulationLoss(polynomial)


def _query_alone(output: Expr) -> Expr:
    """The output without context, exactly; ValueError where it holds an average over the context, or N."""
    output = without_floats(output, "the terms of an output")
    if output.has(average_of) or output.has(N):
        raise ValueError(
            f"without context there is no average and no N, and the output has them: {output}"
        )
    return output


def _weight_ring(task: SymbolicTask, outputs: Expr, weights: Iterable[Expr]) -> Element:
    """The polynomials in those weights that stand in outputs; all other symbols of them are constants."""
    symbols = outputs.free_symbols
    used = [weight for weight in weights if weight in symbols]
    constants = {symbol for symbol in symbols if not is_variable(symbol)} - {*used}
    return PolyRing(used, coefficients(task, constants, roots_of(outputs)), lex)


def _expected_square(ring: Element, output: Expr, task: SymbolicTask) -> Element:
    """E (y_q − Σ_i c_i f_i)² = E y_q² − Σ_i c_i (2 E[y_q f_i] − c_i E f_i² − 2 Σ_{j<i} c_j E[f_i f_j])."""
    # ŷ = Σ_i c_i f_i: random monomials f_i times polynomials c_i in the weights.
    features = list(collected(output, task.dimension, ring).items())
    _require_work(len(features), task.dimension)
    # y_q, a single monomial.
    (target,) = collected(Prompt(task.dimension).label, task.dimension, ring)
    moment = monomial_expectation(task, ring.domain)
    loss = ring.one * moment(product(target, target))
    for i, (feature, coefficient) in enumerate(features):
        bracket = ring.one * (2 * moment(product(target, feature)))
        bracket -= coefficient * moment(product(feature, feature))
        # Each pair once, with a factor 2.
        for other, factor in features[:i]:
            bracket -= factor * (2 * moment(product(feature, other)))
        loss -= coefficient * bracket
    return loss


def flow_equations(loss: PopulationLoss) -> dict[Expr, Expr]:
    """Gradient flow dθ/dt = −½ ∂L/∂θ, in flow time, for every weight θ that stands in the output.

    >>> from attndyn.theory.symbolic import Prompt, average, flow_equations, output_loss, symbolic_task
    >>> prompt, m = Prompt(1), sp.Symbol("m")
    >>> output = m**2 * average(prompt.y * prompt.x[0]) * prompt.query[0]
    >>> flow_equations(output_loss(symbolic_task(1), output, [m]))
    {m: 2*lambda_1**2*m + lambda_1**3*m**3*(-2*N - 4)/N}
    """
    # Flow time is 2η · step, so that the gradient has the factor ½.
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
    shapes = {
        name: tuple(map(int, shape)) for name, shape in model.shapes(dimension).items()
    }
    # Counted before any symbol is made: a million symbols take minutes.
    total = sum(map(prod, shapes.values()))
    if total > MAX_WEIGHTS:
        raise ValueError(
            f"the model has {total} weights at D = {dimension}, and symbols are for at most {MAX_WEIGHTS}: "
            f"take fewer heads or a smaller dimension"
        )
    arrays = {name: _symbol_array(name, shape) for name, shape in shapes.items()}

    taken = {N}
    for name, array in arrays.items():
        for symbol in array.flat:
            if is_variable(symbol) or symbol in taken:
                raise ValueError(
                    f"the weight {name!r} makes the symbol {symbol}, which is taken: rename the weight"
                )
            taken.add(symbol)
    return arrays


def _symbol_array(name: str, shape: tuple[int, ...]) -> SymbolArray:
    """An array of real symbols, name_1_1, name_1_2, …"""
    array = np.empty(shape, dtype=object)
    for index in np.ndindex(*shape):
        from_one = [str(i + 1) for i in index]
        array[index] = sp.Symbol("_".join([name, *from_one]), real=True)
    return array


def model_output(
    model: Parametrization,
    dimension: int,
    block: Block = "full",
    *,
    has_context: bool = True,
) -> Expr:
    """ŷ = Σ_h a_hᵀ (X Xᵀ / divisor) B_h x_q by the definition, with X Xᵀ in averages over the context, if there is one.

    The query's own token (x_q, 0) is a column of X, unless the model does not read it. ValueError for softmax,
    several outputs, unknown blocks and wrong shapes.
    """
    # Refuses models of another form before their heads are asked.
    divisor_of(model, dimension)
    a, B = effective_heads(model, dimension, block)  # (H, D+1), (H, D+1, D)

    # a_h,i (X Xᵀ)_ij B_h,jd has as many terms as a and B have together.
    term_counts = np.einsum("hi,hjd->hijd", _term_counts(a), _term_counts(B))
    _require_terms(int(term_counts.sum()))
    # Only now, since the products of a large D take long.
    products = token_products(model, dimension, has_context=has_context)  # (D+1, D+1)
    query = np.array(Prompt(dimension).query, dtype=object)  # (D,)
    return sp.Add(*(a[h] @ products @ B[h] @ query for h in range(len(a))))


def effective_heads(
    model: Parametrization, dimension: int, block: Block
) -> tuple[SymbolArray, SymbolArray]:
    """a (H, D+1) and B (H, D+1, D) of the model's symbols; those outside the restricted block are zero there."""
    require_block(block)
    heads = _heads_in_symbols(model, dimension)
    a, B = (np.array(part, dtype=object) for part in heads)
    head_count = len(a)
    expected = ((head_count, dimension + 1), (head_count, dimension + 1, dimension))
    if (a.shape, B.shape) != expected:
        raise ValueError(
            f"heads must give a (H, D+1) and B (H, D+1, D), not {a.shape} and {B.shape}"
        )
    a = _exactly(a)
    B = _exactly(B)
    # a_h = (0, v_h) and B_h = (U_h; 0).
    if block == "restricted":
        a[:, :-1] = sp.Integer(0)
        B[:, -1, :] = sp.Integer(0)
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


def token_products(
    model: object, dimension: int, *, has_context: bool = True
) -> SymbolArray:
    """X Xᵀ / divisor, (D+1, D+1), in averages and the query, whose own token is (x_q, 0)."""
    prompt = Prompt(dimension)
    token = (*prompt.x, prompt.y)
    own = (*prompt.query, sp.Integer(0))
    reads_own = int(reads_query_token(model))
    divisor = divisor_of(model, dimension)
    if not has_context:
        # Without context one divides by 1 where it would be by N, or by no tokens.
        divisor = divisor.subs(N, 0 if divisor.subs(N, 0) else 1)
    gram = np.empty((dimension + 1, dimension + 1), dtype=object)
    for i, j in np.ndindex(gram.shape):
        over_context = N * average(token[i] * token[j]) if has_context else 0
        gram[i, j] = (over_context + reads_own * own[i] * own[j]) / divisor
    return gram


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


def _term_counts(array: SymbolArray) -> NDArray[np.int64]:
    """How many terms each entry has, multiplied out."""
    counts = np.zeros(array.shape, dtype=np.int64)
    for index in np.ndindex(array.shape):
        if array[index] != 0:
            counts[index] = size(sp.sympify(array[index], strict=True)).terms
    return counts


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
    """What X Xᵀ is divided by: the divisor of the output, times that of the scores.

    "context" is N, "tokens" the number of columns of X, "none" 1. ValueError for softmax, for several outputs, and
    for divisors that are no exact numbers.
    """
    if is_softmax(model):
        raise ValueError(
            "softmax attention is not polynomial in its weights: it has no exact population loss"
        )
    if outputs_of(model) != 1:
        raise ValueError(
            f"symbols are for models of one output, and this one has {outputs_of(model)}: "
            "theory.population has its moments in numbers"
        )
    square = score_divisor_square(model, dimension)
    score_divisor = sp.sqrt(sp.Rational(square.numerator, square.denominator))
    return _output_divisor(model) * score_divisor


def _output_divisor(model: object) -> Expr:
    """N, the number of columns of X, 1, or the number that a model has as its divisor."""
    output_divisor(model, context_length=1)  # refuses what is no divisor
    divisor = getattr(model, "divisor", None)
    columns = N + int(reads_query_token(model))
    named = {None: N, "context": N, "tokens": columns, "none": sp.Integer(1)}
    if divisor is None or (isinstance(divisor, str) and divisor in named):
        return named[divisor]
    exact = exact_fraction(divisor)
    # A double of many digits was computed, and nobody knows from what.
    if not isinstance(divisor, str) and not is_short(float(exact)):
        raise ValueError(
            f"the divisor {divisor!r} rounds a number that exact work cannot know: "
            'write it as text, such as "1/3"'
        )
    return sp.Rational(exact.numerator, exact.denominator)
