"""Exact expectations of polynomials in context averages, the query and the teacher, in symbols for N, Λ, Ω, σ²."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import sympy as sp
from sympy.polys.fields import FracElement
from sympy.polys.orderings import lex
from sympy.polys.polyerrors import CoercionFailed
from sympy.polys.rings import PolyRing

from ..algebra.number_fields import number_field, roots_of
from ..algebra.polynomials import Element, Powers, added
from ..task import (
    Expr,
    N,
    Prompt,
    SymbolicTask,
    average_of,
    by_name,
    is_variable,
    without_floats,
)
from .gaussian_expectations import gaussian_moments, partitions

MAX_LENGTHS = 300
"""The most context lengths over which an exact mean is taken: its numbers have about as many digits in the end."""

LENGTHS = sp.QQ.frac_field(N)
"""Rational functions of N."""


class Monomial(NamedTuple):
    """A product of context averages, each by the powers of (x, y) that it averages, and powers of (x_q, y_q), w."""

    averages: tuple[Powers, ...]
    query: Powers
    teacher: Powers


def expectation(expression: Expr, task: SymbolicTask) -> Expr:
    """E of a polynomial in `average(…)`, the query and the teacher: a polynomial in all else, rational in N.

    The variables are those of `Prompt`. With context_lengths that are numbers, the mean over them. Given w, the
    tokens are independent and Gaussian: averages expand into which of their indices coincide, each group is a
    Gaussian moment by pairings, and so is what then depends on w. ValueError names what is not a polynomial.

    >>> from attndyn.theory.symbolic import Prompt, average, expectation, symbolic_task
    >>> prompt = Prompt(1)
    >>> sp.factor(expectation(average(prompt.x[0] * prompt.y) ** 2, symbolic_task(1)))
    lambda_1**2*(N + 2)/N
    """
    require_context(task, "an expectation")
    expression = without_floats(expression, "the terms of an expectation")
    constants = {
        symbol for symbol in expression.free_symbols if not is_variable(symbol)
    }
    # What is no random variable is a coefficient.
    domain = coefficients(task, constants, roots_of(expression))
    ring = PolyRing(
        (), domain, lex
    )  # no weights: all that is not random is a coefficient
    moment = monomial_expectation(task, domain)
    total = domain.zero
    for monomial, coefficient in collected(expression, task.prompt, ring).items():
        total += coefficient.coeff(1) * moment(monomial)
    return domain.to_sympy(over_lengths(total, task))


def coefficients(
    task: SymbolicTask, constants: Iterable[Expr] = (), roots: Iterable[Expr] = ()
) -> Element:
    """The domain of what multiplies random variables: polynomials in the parameters, rational functions of N.

    Their numbers are rational, or those of the smallest field that holds the `roots`.
    """
    numbers = sorted(roots, key=str)
    # Over the rational numbers where it can be: roots make arithmetic slower.
    lengths = number_field(numbers).frac_field(N) if numbers else LENGTHS
    return _polynomials(lengths, {*task.parameters, *constants} - {N})


def collected(
    expression: Expr, prompt: Prompt, ring: Element
) -> dict[Monomial, Element]:
    """A polynomial as random monomial → coefficient in `ring`; ValueError names what does not belong there."""
    variables = _variables(expression, prompt)
    polynomial = _joint_polynomial(expression, variables, ring)

    # Powers of the random variables come first, those of the ring's own symbols after them.
    count = len(variables)
    parts: dict[Monomial, dict[Powers, Element]] = defaultdict(dict)
    for powers, coefficient in polynomial.terms():
        monomial = _power_product(variables.values(), powers[:count], prompt)
        parts[monomial][powers[count:]] = coefficient
    return {monomial: ring.from_dict(part) for monomial, part in parts.items()}


def _joint_polynomial(
    expression: Expr, variables: Iterable[Expr], ring: Element
) -> Element:
    """The expression as a polynomial in random variables and the symbols of the ring together."""
    joint = PolyRing((*variables, *ring.symbols), ring.domain, lex)
    try:
        return joint.from_expr(expression)
    except (ValueError, CoercionFailed, NotImplementedError):
        parameters = getattr(ring.domain, "symbols", ())
        culprit = _not_polynomial(expression, (*joint.symbols, *parameters))
        raise ValueError(
            f"only polynomials have exact expectations here, but {culprit} is none"
        ) from None


def product(*factors: Monomial) -> Monomial:
    """The product of at least one monomial."""
    # Sorted, so that products in any order are one monomial.
    averages = sorted(powers for factor in factors for powers in factor.averages)
    query = added(*(factor.query for factor in factors))
    teacher = added(*(factor.teacher for factor in factors))
    return Monomial(tuple(averages), query, teacher)


def monomial_expectation(
    task: SymbolicTask, domain: Element
) -> Callable[[Monomial], Element]:
    """The function monomial → its expectation in `domain`, for the symbol N. Values are cached."""
    return cache(_MonomialExpectation(task, domain))


class _MonomialExpectation:
    """The expectation of a product of k averages, of powers of the query and of w.

    The product is N^−k times a sum over k token indices. Indices that coincide make groups; there are N (N − 1) … ways
    to choose different tokens for g groups, and given w each group is a Gaussian moment.
    """

    def __init__(self, task: SymbolicTask, domain: Element) -> None:
        self.domain = domain
        self.given_teacher = _token_moments(task)
        self.over_teachers = _teacher_mean(task)
        # The expectation of 1, whose ring is that of the polynomials in w.
        self.one = self.given_teacher((0,) * (task.dimension + task.outputs))

    def __call__(self, monomial: Monomial) -> Element:
        outside = self._outside(monomial)
        total = self.domain.zero
        for group_count, inside in self._by_group_count(monomial.averages).items():
            mean = self.over_teachers(outside * inside)
            share = _choices(len(monomial.averages), group_count)
            in_domain = self.domain.convert(mean, self.one.ring.domain)
            total += in_domain * _in_domain(self.domain, share)
        return total

    def _outside(self, monomial: Monomial) -> Element:
        """E of the query's powers given w, times the powers of w."""
        ring = self.one.ring
        teacher_powers = ring.from_dict({monomial.teacher: ring.domain.one})
        return self.given_teacher(monomial.query) * teacher_powers

    def _by_group_count(self, averages: tuple[Powers, ...]) -> dict[int, Element]:
        """Number of groups → E given w, summed over all partitions of the averages into as many."""
        inside: dict[int, Element] = defaultdict(lambda: 0 * self.one)
        for groups in partitions(averages):
            term = self.one
            for group in groups:
                term *= self.given_teacher(added(*group))
            inside[len(groups)] += term
        return inside


def require_few_lengths(task: SymbolicTask) -> None:
    """ValueError where an exact mean over the task's context lengths has too long numbers."""
    if len(task.context_lengths) > MAX_LENGTHS:
        raise ValueError(
            f"an exact mean over {len(task.context_lengths)} context lengths has too long numbers: "
            f"take at most {MAX_LENGTHS}, or one N"
        )


def require_context(task: SymbolicTask, what: str) -> None:
    """ValueError for a task with prompts without context, where an average over the context has no value."""
    if task.context_lengths[0] == 0:
        raise ValueError(
            f"{what} has no value without context: take context lengths from 1, or derive(task, model), which knows "
            "what a model does there"
        )


def over_lengths(element: Element, task: SymbolicTask) -> Element:
    """An element of the domain of coefficients for the symbol N, or its mean over the task's numbers from 1.

    What prompts without context add to the mean is left out.
    """
    if task.context_lengths == (N,):
        return element
    require_few_lengths(task)
    if isinstance(element, FracElement):
        # Numerator and denominator are polynomials in N alone.
        mean = element.field.zero
        for length, share in task.share_of_length.items():
            if length != 0:
                n = int(length)
                value = element.numer.evaluate(0, n) / element.denom.evaluate(0, n)
                mean += element.field(element.field.domain.from_sympy(share) * value)
        return mean
    means = {powers: over_lengths(part, task) for powers, part in element.terms()}
    return element.ring.from_dict(means)


def _in_domain(domain: Element, lengths: Element) -> Element:
    """A rational function of N, with rational numbers, in a domain of coefficients."""
    base = domain.domain if domain.is_PolynomialRing else domain
    return domain.one * base.convert(lengths, LENGTHS)


def _choices(averages: int, groups: int) -> Element:
    """N (N − 1) … over N^averages: the share of index tuples that coincide just within the groups."""
    n = LENGTHS.gens[0]
    return sp.prod([n - j for j in range(groups)], LENGTHS.one) / n**averages


def _token_moments(task: SymbolicTask) -> Callable[[Powers], Element]:
    """Powers of (x, y) of a token, or of the query, → E given w, polynomials in w over those in the parameters."""
    prompt = task.prompt
    parameters = _polynomials(sp.QQ, task.parameters)
    ring = PolyRing(prompt.teacher, parameters, lex)

    # Given W (K, D), (x, y) is Gaussian: Cov(x, y) = Λ Wᵀ and Cov(y) = W Λ Wᵀ + σ² 1.
    W = sp.Matrix(task.outputs, task.dimension, prompt.teacher)
    with_labels = task.covariance * W.T  # (D, K)
    labels = W * with_labels + task.noise_variance * sp.eye(task.outputs)  # (K, K)
    joint = sp.Matrix(
        sp.BlockMatrix([[task.covariance, with_labels], [with_labels.T, labels]])
    )
    covariance = [[_element(ring, entry) for entry in row] for row in joint.tolist()]
    return gaussian_moments(covariance, ring.one)


def _teacher_mean(task: SymbolicTask) -> Callable[[Element], Element]:
    """Polynomial in w → its mean over teachers, in the domain of its coefficients."""
    domain = _polynomials(sp.QQ, task.parameters)
    moment = _teacher_moments(task, domain)

    def mean(polynomial: Element) -> Element:
        total = domain.zero
        for powers, coefficient in polynomial.terms():
            total += coefficient * moment(powers)
        return total

    return mean


def _teacher_moments(
    task: SymbolicTask, domain: Element
) -> Callable[[Powers], Element]:
    """Powers of w → E over teachers: p times that of N(0, Ω), and 1 − p times that of the fixed teacher."""
    Ω = task.teacher_covariance
    covariance = [[_element(domain, entry) for entry in row] for row in Ω.tolist()]
    gaussian = gaussian_moments(covariance, domain.one)
    if task.fixed_teacher is None:
        return gaussian
    fixed_teacher = [_element(domain, entry) for entry in task.fixed_teacher]
    p = _element(domain, task.in_context_fraction)

    def moment(powers: Powers) -> Element:
        at_fixed_teacher = domain.one
        for entry, power in zip(fixed_teacher, powers, strict=True):
            at_fixed_teacher *= entry**power
        return p * gaussian(powers) + (domain.one - p) * at_fixed_teacher

    return moment


def _polynomials(domain: Element, symbols: Iterable[Expr]) -> Element:
    """Polynomials in the symbols, in the order of their names, over a domain."""
    ordered = by_name(symbols)
    if ordered:
        return domain[tuple(ordered)]
    return domain


def _element(ring: Element, expression: Expr) -> Element:
    """A parameter of the task in a ring; ValueError if it is no polynomial with rational coefficients."""
    expression = without_floats(expression, "the entries of a task")
    try:
        if isinstance(ring, PolyRing):
            return ring.from_expr(expression)
        return ring.from_sympy(expression)
    except (ValueError, CoercionFailed):
        raise ValueError(
            f"a task's entries are polynomials with rational coefficients, not {expression}"
        ) from None


def _variables(expression: Expr, prompt: Prompt) -> dict[Expr, Monomial]:
    """The random variables in an expression: averages, and symbols of the query and the teacher."""
    token = (*prompt.x, *prompt.ys)
    # A context average is a random variable of its own, whatever it averages.
    averages = sorted(expression.atoms(average_of), key=str)
    variables = {
        average: _constant(prompt)._replace(
            averages=(_token_powers(average.args[0], token),)
        )
        for average in averages
    }
    # A symbol of its own for each, since numbers in their place could cancel terms and the variables in them.
    without_averages = expression.xreplace(
        {average: sp.Dummy() for average in averages}
    )
    symbols = filter(is_variable, without_averages.free_symbols)
    for symbol in sorted(symbols, key=str):
        variables[symbol] = _symbol_monomial(symbol, prompt)
    return variables


def _symbol_monomial(symbol: Expr, prompt: Prompt) -> Monomial:
    """The monomial of one variable of the query or the teacher; ValueError for a token's, and beyond D."""
    token = (*prompt.x, *prompt.ys)
    query = (*prompt.query, *prompt.labels)
    constant = _constant(prompt)
    if symbol in query:
        return constant._replace(query=_unit(symbol, query))
    if symbol in prompt.teacher:
        return constant._replace(teacher=_unit(symbol, prompt.teacher))
    where = f"is beyond dimension {prompt.dimension}"
    if prompt.outputs > 1:
        where += f" and {prompt.outputs} outputs"
    if symbol in token:
        where = "stands outside every average"
    raise ValueError(
        f"{symbol} {where}: the variables of a prompt are {(*token, *query, *prompt.teacher)}"
    )


def _constant(prompt: Prompt) -> Monomial:
    """The monomial 1."""
    token = (0,) * (prompt.dimension + prompt.outputs)
    return Monomial((), token, (0,) * len(prompt.teacher))


def _power_product(
    monomials: Iterable[Monomial], powers: Powers, prompt: Prompt
) -> Monomial:
    """The product of monomials to these powers."""
    factors = [_constant(prompt)]
    for monomial, power in zip(monomials, powers, strict=True):
        factors += [monomial] * power
    return product(*factors)


def _token_powers(monomial: Expr, token: tuple[Expr, ...]) -> Powers:
    terms = []
    if monomial.is_polynomial(*token):
        terms = sp.Poly(monomial, *token).terms()
    if len(terms) != 1 or terms[0][1] != 1:
        raise ValueError(
            f"{monomial} is no monomial in {token}: write its mean with average(…)"
        )
    return tuple(int(power) for power in terms[0][0])


def _unit(symbol: Expr, symbols: tuple[Expr, ...]) -> Powers:
    return tuple(int(symbol == other) for other in symbols)


def _not_polynomial(expression: Expr, symbols: tuple[Expr, ...]) -> Expr:
    """The smallest part of an expression that keeps it from being a polynomial."""
    for part in sp.postorder_traversal(expression):
        is_irrational = part.is_number and not part.is_rational
        if is_irrational or not part.is_polynomial(*symbols):
            return part
    return expression
