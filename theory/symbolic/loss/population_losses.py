"""The population loss of any polynomial attention model, derived from its definition, and its gradient flow."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isqrt, prod
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
    refuse_other_outputs,
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
    Monomial,
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

CONVENTION = "L = E |y_q − ŷ|², twice a loss that is defined with ½; dθ/dt = −½ ∂L/∂θ in flow time"
"""What is said beside the loss of several outputs, which papers define with and without the factor ½."""

LATEX_CONVENTION = (
    "L = E |y_q - \\hat y|^2, twice a loss that is defined with 1/2; "
    "d\\theta/dt = -1/2 dL/d\\theta in flow time"
)
"""The same for a comment in LaTeX."""

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
    """E |y_q − ŷ|² as a polynomial in `weights`, in units of y², without the factor ½ of some papers.

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

    def coefficient(self, monomial: Expr) -> Expr:
        """What stands before a product of powers of weights, 0 where it does not occur.

        >>> from attndyn import Merged
        >>> from attndyn.theory.symbolic import population_loss, symbolic_task
        >>> loss = population_loss(symbolic_task(1), Merged(heads=1), "restricted")
        >>> v, u = loss.weights
        >>> loss.coefficient(v * u)
        -2*lambda_1**2
        """
        ring = self.polynomial.ring
        (powers,) = ring.from_expr(monomial)
        return ring.domain.to_sympy(self.polynomial.get(powers, ring.domain.zero))

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
    for softmax, for another number of outputs than the task has, and for heads that are not polynomial in the weights;
    TypeError where model and task are exchanged. Source: Zhang et al. 2025, Section 2.2.

    >>> from attndyn import Merged
    >>> from attndyn.theory.symbolic import N, population_loss, symbolic_task
    >>> loss = population_loss(symbolic_task(1), Merged(heads=1), "restricted").expression
    >>> sp.factor(loss.subs(N, 2))
    lambda_1*(2*key_query_1_1_1**2*lambda_1**2*value_1_2**2 - 2*key_query_1_1_1*lambda_1*value_1_2 + 1)
    """
    require_symbolic_task(task, model, "population_loss(task, model, block)")
    arrays = weight_symbols(model, task.dimension)
    weights = [symbol for array in arrays.values() for symbol in array.flat]
    refuse_other_outputs(task.outputs, model)
    outputs = model_outputs(model, task.dimension, block)
    without_context = None
    if task.context_lengths[0] == 0:
        without_context = model_outputs(model, task.dimension, block, has_context=False)
    return output_loss(task, outputs, weights, without_context=without_context)


# Long because every refusal comes before the expectations, which take long.
def output_loss(
    task: SymbolicTask,
    output: Expr | Sequence[Expr],
    weights: Sequence[Expr],
    *,
    without_context: Expr | Sequence[Expr] | None = None,
) -> PopulationLoss:
    """The population loss of any output ŷ that is polynomial in weights and in the variables of a prompt.

    With K outputs `output` is a sequence of them. Symbols that are neither are constants. `without_context` is the
    output at context length 0, where averages have no value. ValueError names what is not polynomial, and for a task
    with that length where it is left out; TypeError where output and task are exchanged.

    >>> from attndyn.theory.symbolic import Prompt, average, output_loss, symbolic_task
    >>> prompt, m = Prompt(1), sp.Symbol("m")
    >>> cubic = m * average(prompt.y * prompt.x[0] ** 3) * prompt.query[0]
    >>> output_loss(symbolic_task(1), cubic, [m]).expression
    -6*lambda_1**3*m + lambda_1 + lambda_1**5*m**2*(9*N + 96)/N
    """
    require_symbolic_task(task, output, "output_loss(task, output, weights)")
    if without_context is None:
        require_context(task, "an output in averages")
        without_context = (sp.Integer(0),) * task.outputs
    outputs = [
        without_floats(part, "the terms of an output")
        for part in _one_a_label(output, task)
    ]
    alone = [_query_alone(part) for part in _one_a_label(without_context, task)]
    _require_terms([size(part).terms // _OVERCOUNT for part in outputs])
    require_few_lengths(task)
    _require_own_names(weights, task)

    ring = _weight_ring(task, sp.Tuple(*outputs, *alone), weights)
    loss = _expected_square(ring, outputs, task)
    averaged = {powers: over_lengths(part, task) for powers, part in loss.terms()}
    polynomial = ring.from_dict(averaged)
    if task.context_lengths[0] == 0:
        share = ring.domain.from_sympy(task.share_of_length[sp.Integer(0)])
        polynomial += share * _expected_square(ring, alone, task)
    return PopulationLoss(polynomial)


def _one_a_label(output: Expr | Sequence[Expr], task: SymbolicTask) -> tuple[Expr, ...]:
    """The outputs (K,); ValueError unless there is one for each label of the task."""
    outputs = tuple(output) if isinstance(output, (list, tuple)) else (output,)
    if len(outputs) != task.outputs:
        raise ValueError(
            f"the task has {task.outputs} labels and there are {len(outputs)} outputs: give one for each label"
        )
    return outputs


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


def _expected_square(
    ring: Element, outputs: Sequence[Expr], task: SymbolicTask
) -> Element:
    """Σ_k E (y_qk − ŷ_k)² over the labels of the query."""
    features = [list(collected(part, task.prompt, ring).items()) for part in outputs]
    _require_work(list(map(len, features)), task.dimension)
    # The same moments for all outputs.
    moment = monomial_expectation(task, ring.domain)
    squares = ring.zero
    for label, of_output in zip(task.prompt.labels, features, strict=True):
        # y_qk, a single monomial.
        (target,) = collected(label, task.prompt, ring)
        squares += _square_of_one(ring, of_output, target, moment)
    return squares


def _square_of_one(
    ring: Element,
    features: Sequence[tuple[Monomial, Element]],
    target: Monomial,
    moment: Callable[[Monomial], Element],
) -> Element:
    """E (y_q − Σ_i c_i f_i)² = E y_q² − Σ_i c_i (2 E[y_q f_i] − c_i E f_i² − 2 Σ_{j<i} c_j E[f_i f_j]).

    ŷ = Σ_i c_i f_i with random monomials f_i and polynomials c_i in the weights.
    """
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
    several outputs, which `model_outputs` has, unknown blocks and wrong shapes.
    """
    if outputs_of(model) != 1:
        raise ValueError(
            f"model_output is for models of one output, and this one has {outputs_of(model)}: "
            "model_outputs has them all"
        )
    (output,) = model_outputs(model, dimension, block, has_context=has_context)
    return output


def model_outputs(
    model: Parametrization,
    dimension: int,
    block: Block = "full",
    *,
    has_context: bool = True,
) -> tuple[Expr, ...]:
    """ŷ_k = Σ_h a_hkᵀ (X Xᵀ / divisor) B_h x_q by the definition, one for each of K outputs, as `model_output`.

    >>> from attndyn import Merged
    >>> model_outputs(Merged(heads=1, outputs=2), 1, "restricted")[0]
    key_query_1_1_1*x_q1*(value_1_1_2*average(x_1*y_1) + value_1_1_3*average(x_1*y_2))
    """
    # Refuses models of another form before their heads are asked.
    divisor_of(model, dimension)
    a, B = effective_heads(model, dimension, block)  # (H, K, D+K), (H, D+K, D)

    # a_h,ki (X Xᵀ)_ij B_h,jd has as many terms as a and B have together.
    term_counts = np.einsum("hki,hjd->k", _term_counts(a), _term_counts(B))
    _require_terms([int(count) for count in term_counts])
    # Only now, since the products of a large D take long.
    products = token_products(model, dimension, has_context=has_context)  # (D+K, D+K)
    query = np.array(Prompt(dimension).query, dtype=object)  # (D,)
    return tuple(
        sp.Add(*(a[h, k] @ products @ B[h] @ query for h in range(len(a))))
        for k in range(a.shape[1])
    )


def effective_heads(
    model: Parametrization, dimension: int, block: Block
) -> tuple[SymbolArray, SymbolArray]:
    """a (H, K, D+K) and B (H, D+K, D) of the model's symbols; those outside the restricted block are zero there."""
    require_block(block)
    heads = _heads_in_symbols(model, dimension)
    a, B = (np.array(part, dtype=object) for part in heads)
    K = outputs_of(model)
    size = dimension + K
    labels = () if K == 1 else (K,)
    expected = ((len(a), *labels, size), (len(a), size, dimension))
    if (a.shape, B.shape) != expected:
        shapes = "a (H, D+1) and B (H, D+1, D)"
        if K > 1:
            shapes = f"a (H, K, D+K) and B (H, D+K, D) with K = {K}"
        raise ValueError(f"heads must give {shapes}, not {a.shape} and {B.shape}")
    a = _exactly(a).reshape(len(a), K, size)
    B = _exactly(B)
    # a_h = (0, v_h) and B_h = (U_h; 0).
    if block == "restricted":
        a[:, :, :dimension] = sp.Integer(0)
        B[:, dimension:, :] = sp.Integer(0)
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
    """X Xᵀ / divisor, (D+K, D+K), in averages and the query, whose own token is (x_q, 0)."""
    prompt = Prompt(dimension, outputs_of(model))
    token = (*prompt.x, *prompt.ys)
    own = (*prompt.query, *[sp.Integer(0)] * prompt.outputs)
    reads_own = int(reads_query_token(model))
    divisor = divisor_of(model, dimension)
    if not has_context:
        # Without context one divides by 1 where it would be by N, or by no tokens.
        divisor = divisor.subs(N, 0 if divisor.subs(N, 0) else 1)
    gram = np.empty((len(token), len(token)), dtype=object)
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


def refuse_several_outputs(task: SymbolicTask, model: object, what: str) -> None:
    """ValueError, which names `what`, unless task and model, where there is one, have one output."""
    outputs = {task.outputs, 1 if model is None else outputs_of(model)}
    if outputs != {1}:
        raise ValueError(
            f"{what} is known for one output, not for {max(outputs)}: population_loss has their loss"
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


def _require_terms(counts: Sequence[int]) -> None:
    """ValueError where outputs of so many terms each have a loss of more terms than one of `MAX_TERMS` has."""
    count = isqrt(sum(count**2 for count in counts))
    if count > MAX_TERMS:
        raise ValueError(
            f"the output has about {count} terms, and its exact loss is derived for at most {MAX_TERMS}: "
            f'take a smaller dimension, fewer heads, a lower rank or block = "restricted"'
        )


def _require_work(features: Sequence[int], dimension: int) -> None:
    if sum(count**2 for count in features) * dimension > MAX_WORK:
        raise ValueError(
            f"the output has {sum(features)} random features in {dimension} dimensions, too many for an exact loss in "
            f"seconds: take a dimension of at most 12"
        )


def divisor_of(model: object, dimension: int) -> Expr:
    """What X Xᵀ is divided by: the divisor of the output, times that of the scores.

    "context" is N, "tokens" the number of columns of X, "none" 1. ValueError for softmax, and for divisors that are
    no exact numbers.
    """
    if is_softmax(model):
        raise ValueError(
            "softmax attention is not polynomial in its weights: it has no exact population loss"
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
