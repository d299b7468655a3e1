"""Exact expectations of polynomials in context averages, the query and the teacher, in symbols for N, Λ, Ω, σ²."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import sympy as sp
from sympy.polys.fields import FracElement
from sympy.polys.orderings import lex
from sympy.polys.polyerrors import CoercionFailed
from sympy.polys.rings import PolyRing

from ..task import (
    Expr,
    N,
    Prompt,
    SymbolicTask,
    average_of,
    is_variable,
    without_floats,
)
from .gaussian_expectations import Powers, added, gaussian_moments, partitions

Element = Any
"""An element of a SymPy ring of polynomials, or of their domain of coefficients."""

_MOST_ROOTS = 8  # the degree of three square roots: a second's work

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
    expression = without_floats(expression, "the terms of an expectation")
    constants = {
        symbol for symbol in expression.free_symbols if not is_variable(symbol)
    }
    ring = PolyRing((), coefficients(task, constants, roots_of(expression)), lex)
    moment = monomial_expectation(task, ring.domain)
    total = ring.domain.zero
    for monomial, coefficient in collected(expression, task.dimension, ring).items():
        total += coefficient.coeff(1) * moment(monomial)
    return ring.domain.to_sympy(over_lengths(total, task))


def coefficients(
    task: SymbolicTask, constants: Iterable[Expr] = (), roots: Iterable[Expr] = ()
) -> Any:
    """The domain of what multiplies random variables: polynomials in the parameters, rational functions of N.

    Their numbers are rational, or those of the smallest field that holds the `roots`.
    """
    numbers = sorted(roots, key=str)
    lengths = number_field(numbers).frac_field(N) if numbers else LENGTHS
    return _polynomials(lengths, {*task.parameters, *constants} - {N})


def number_field(roots: Sequence[Expr]) -> Any:
    """The smallest field of numbers that holds these roots; ValueError where they are too many to compute with."""
    degree = sp.prod([root.exp.q for root in roots])
    if degree > _MOST_ROOTS:
        some = ", ".join(map(str, roots[:4]))
        raise ValueError(
            f"the roots {some} make a field of numbers of degree up to {degree}: use {_MOST_ROOTS} at most"
        )
    return sp.QQ.algebraic_field(*roots)


def roots_of(expression: Expr) -> set[Expr]:
    """The roots of rational numbers that stand in an expression, such as √2."""
    return {
        power
        for power in expression.atoms(sp.Pow)
        if power.base.is_Rational and power.exp.is_Rational
    }


def collected(expression: Expr, dimension: int, ring: Any) -> dict[Monomial, Element]:
    """A polynomial as random monomial → coefficient in `ring`; ValueError names what does not belong there."""
    found = _variables(expression, dimension)
    joint = PolyRing((*found, *ring.symbols), ring.domain, lex)
    try:
        polynomial = joint.from_expr(expression)
    except (ValueError, CoercionFailed, NotImplementedError):
        culprit = _not_polynomial(
            expression, (*found, *ring.symbols, *getattr(ring.domain, "symbols", ()))
        )
        raise ValueError(
            f"only polynomials have exact expectations here, but {culprit} is none"
        ) from None
    parts: dict[Monomial, dict[Powers, Element]] = defaultdict(dict)
    for powers, coefficient in polynomial.terms():
        factors = [
            m
            for m, power in zip(found.values(), powers, strict=False)
            for _ in range(power)
        ]
        key = product(*factors) if factors else _monomial(dimension)
        parts[key][powers[len(found) :]] = coefficient
    return {key: ring.from_dict(part) for key, part in parts.items()}


def product(*factors: Monomial) -> Monomial:
    """The product of at least one monomial."""
    averages = sorted(powers for factor in factors for powers in factor.averages)
    query, teacher = zip(
        *((factor.query, factor.teacher) for factor in factors), strict=True
    )
    return Monomial(tuple(averages), added(*query), added(*teacher))


def monomial_expectation(
    task: SymbolicTask, domain: Any
) -> Callable[[Monomial], Element]:
    """The function monomial → its expectation in `domain`, for the symbol N. Values are cached."""
    given_teacher = _token_moments(task)
    over_teachers = _teacher_mean(task)
    one = given_teacher((0,) * (task.dimension + 1))

    @cache
    def moment(monomial: Monomial) -> Element:
        count = len(monomial.averages)
        by_groups: dict[int, Element] = defaultdict(lambda: 0 * one)
        for groups in partitions(monomial.averages):
            term = one
            for group in groups:
                term *= given_teacher(added(*group))
            by_groups[len(groups)] += term
        outside = given_teacher(monomial.query) * one.ring.from_dict(
            {monomial.teacher: one.ring.domain.one}
        )
        total = domain.zero
        for groups_count, inside in by_groups.items():
            mean = over_teachers(outside * inside)
            total += domain.convert(mean, one.ring.domain) * _in_domain(
                domain, _choices(count, groups_count)
            )
        return total

    return moment


def require_few_lengths(task: SymbolicTask) -> None:
    """ValueError where an exact mean over the task's context lengths has too long numbers."""
    if len(task.context_lengths) > MAX_LENGTHS:
        raise ValueError(
            f"an exact mean over {len(task.context_lengths)} context lengths has too long numbers: "
            f"take at most {MAX_LENGTHS}, or one N"
        )


def over_lengths(element: Element, task: SymbolicTask) -> Element:
    """An element of the domain of coefficients for the symbol N, or its mean over the task's numbers."""
    if task.context_lengths == (N,):
        return element
    require_few_lengths(task)
    if isinstance(element, FracElement):
        values = [
            element.numer.evaluate(0, n) / element.denom.evaluate(0, n)
            for n in map(int, task.context_lengths)
        ]
        return element.field(sum(values[1:], values[0]) / len(values))
    return element.ring.from_dict(
        {powers: over_lengths(part, task) for powers, part in element.terms()}
    )


def _in_domain(domain: Any, lengths: Element) -> Element:
    """A rational function of N, with rational numbers, in a domain of coefficients."""
    base = domain.domain if domain.is_PolynomialRing else domain
    return domain.one * base.convert(lengths, LENGTHS)


def _choices(averages: int, groups: int) -> Element:
    """N (N − 1) … over N^averages: the share of index tuples that coincide just within the groups."""
    n = LENGTHS.gens[0]
    return sp.prod([n - j for j in range(groups)], LENGTHS.one) / n**averages


def _token_moments(task: SymbolicTask) -> Callable[[Powers], Element]:
    """Powers of (x, y) of a token, or of the query, → E given w, polynomials in w over those in the parameters."""
    prompt = Prompt(task.dimension)
    parameters = _polynomials(sp.QQ, task.parameters)
    ring = PolyRing(prompt.teacher, parameters, lex)
    w = sp.Matrix(prompt.teacher)
    shared = task.covariance * w
    variance = (w.T * shared)[0] + task.noise_variance
    rows = [[*task.covariance.row(d), shared[d]] for d in range(task.dimension)] + [
        [*shared, variance]
    ]
    return gaussian_moments(
        [[_element(ring, entry) for entry in row] for row in rows], ring.one
    )


def _teacher_mean(task: SymbolicTask) -> Callable[[Element], Element]:
    """Polynomial in w → its mean over teachers, in the domain of its coefficients."""
    domain = _polynomials(sp.QQ, task.parameters)
    entries = [
        [_element(domain, entry) for entry in task.teacher_covariance.row(d)]
        for d in range(task.dimension)
    ]
    gaussian = gaussian_moments(entries, domain.one)
    share = _element(domain, task.in_context_fraction)
    fixed = (
        []
        if task.fixed_teacher is None
        else [_element(domain, entry) for entry in task.fixed_teacher]
    )

    def moment(powers: Powers) -> Element:
        if not fixed:
            return gaussian(powers)
        here = sp.prod(
            [value**power for value, power in zip(fixed, powers, strict=True)],
            domain.one,
        )
        return share * gaussian(powers) + (domain.one - share) * here

    return lambda polynomial: sum(
        (part * moment(powers) for powers, part in polynomial.terms()), domain.zero
    )


def _polynomials(domain: Any, symbols: Iterable[Expr]) -> Any:
    """Polynomials in the symbols, in the order of their names, over a domain."""
    ordered = sorted(symbols, key=lambda symbol: str(symbol.name))
    return domain[tuple(ordered)] if ordered else domain


def _element(ring: Any, expression: Expr) -> Element:
    """A parameter of the task in a ring; ValueError if it is no polynomial with rational coefficients."""
    expression = without_floats(expression, "the entries of a task")
    try:
        return (
            ring.from_expr(expression)
            if isinstance(ring, PolyRing)
            else ring.from_sympy(expression)
        )
    except (ValueError, CoercionFailed):
        raise ValueError(
            f"a task's entries are polynomials with rational coefficients, not {expression}"
        ) from None


def _variables(expression: Expr, dimension: int) -> dict[Expr, Monomial]:
    """The random variables in an expression: averages, and symbols of the query and the teacher."""
    prompt = Prompt(dimension)
    token, query = (*prompt.x, prompt.y), (*prompt.query, prompt.label)
    averages = sorted(expression.atoms(average_of), key=str)
    found = {
        each: _monomial(dimension, average=_token_powers(each.args[0], token))
        for each in averages
    }
    bare = expression.xreplace(dict.fromkeys(averages, sp.Integer(1)))
    for symbol in sorted(filter(is_variable, bare.free_symbols), key=str):
        if symbol in query:
            found[symbol] = _monomial(dimension, query=_unit(symbol, query))
        elif symbol in prompt.teacher:
            found[symbol] = _monomial(dimension, teacher=_unit(symbol, prompt.teacher))
        else:
            where = (
                "stands outside every average"
                if symbol in token
                else f"is beyond dimension {dimension}"
            )
            raise ValueError(
                f"{symbol} {where}: the variables of a prompt are {(*token, *query, *prompt.teacher)}"
            )
    return found


def _monomial(
    dimension: int,
    average: Powers | None = None,
    query: Powers | None = None,
    teacher: Powers | None = None,
) -> Monomial:
    averages = () if average is None else (average,)
    return Monomial(
        averages, query or (0,) * (dimension + 1), teacher or (0,) * dimension
    )


def _token_powers(monomial: Expr, token: tuple[Expr, ...]) -> Powers:
    terms = sp.Poly(monomial, *token).terms() if monomial.is_polynomial(*token) else []
    if len(terms) != 1 or terms[0][1] != 1:
        raise ValueError(
            f"{monomial} is no monomial in {token}: write its mean with average(…)"
        )
    return tuple(int(power) for power in terms[0][0])


def _unit(symbol: Expr, symbols: tuple[Expr, ...]) -> Powers:
    return tuple(int(symbol == each) for each in symbols)


def _not_polynomial(expression: Expr, symbols: tuple[Expr, ...]) -> Expr:
    """The smallest part of an expression that keeps it from being a polynomial."""
    for part in sp.postorder_traversal(expression):
        if not part.is_polynomial(*symbols) or (
            part.is_number and not part.is_rational
        ):
            return part
    return expression
