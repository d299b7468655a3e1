"""Formulas in LaTeX for papers: terms collected, factored where that is shorter, and broken over lines."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, reduce
from typing import NamedTuple

import sympy as sp
from sympy.polys.orderings import lex
from sympy.polys.polyerrors import CoercionFailed
from sympy.polys.rings import PolyRing

from ..algebra.polynomials import Element, Powers
from ..task import Expr, N, average_of, symbols_in
from .symbol_names import is_parameter, latex_name, latex_names

WIDTH = 110
"""The characters of a line, as they are seen."""

_LENGTHS = sp.ZZ.frac_field(N)

# Of a polynomial that is factored: more terms than a line holds, and more symbols than
# are always factored soon.
_MAX_TERMS = 24
_MAX_SYMBOLS = 8

Write = Callable[[Expr], str]


def latex(expression: Expr, symbols: Iterable[Expr] = ()) -> str:
    r"""An expression in LaTeX, in the names that `latex_names` has for its symbols and those of `symbols` together.

    Polynomials are written by increasing degree, with the task's parameters and N in the coefficients, or as a
    product where that is shorter; averages over the context as \langle … \rangle. `read_latex` reads it back. An
    inequality a > b has both of its sides written so.

    >>> v, lambda_1 = sp.symbols("value_1_2 lambda_1")
    >>> print(latex(lambda_1**2 * v**2 - lambda_1**3 * v**5 * (N + 2) / N))
    \lambda_1^{2} v_{1,2}^{2} - \frac{N + 2}{N} \lambda_1^{3} v_{1,2}^{5}
    """
    if isinstance(expression, sp.StrictGreaterThan):
        sides, write = _prepared([expression.gts, expression.lts], symbols)
        left, right = (_joined(_terms(side, write, WIDTH)) for side in sides)
        return f"{left} > {right}"
    (prepared,), write = _prepared([expression], symbols)
    return _joined(_terms(prepared, write, WIDTH))


def latex_equations(
    equations: Mapping[Expr, Expr],
    symbols: Iterable[Expr] = (),
    *,
    rates: bool = True,
    width: int = WIDTH,
) -> str:
    r"""An aligned block (amsmath) with a line \dot v &= … for each equation, or v &= … without `rates`.

    Right sides longer than `width` characters, as they are seen, go on in the next line at a sum. `symbols` as in
    `latex`. `read_equations` reads it back.

    >>> u, v = sp.symbols("u v")
    >>> print(latex_equations({u: v - u**3, v: u}))
    \begin{aligned}
    \dot u &= v - u^{3} \\
    \dot v &= u
    \end{aligned}
    """
    rights, write = _prepared(equations.values(), dict.fromkeys([*symbols, *equations]))
    rows = []
    for symbol, right in zip(equations, rights, strict=True):
        left = _dotted(write(symbol)) if rates else write(symbol)
        rows.append(_broken(left, _terms(right, write, width), width))
    return _aligned(rows)


def as_equation(block: str) -> str:
    """An aligned block as an equation of its own (amsmath)."""
    return f"\\begin{{equation}}\n{block}\n\\end{{equation}}"


def latex_invariants(
    quantities: Iterable[Expr], symbols: Iterable[Expr] = (), *, width: int = WIDTH
) -> str:
    r"""An aligned block with a line I_1 &= … = \mathrm{const} for each conserved quantity, broken as above.

    >>> u, v = sp.symbols("u v")
    >>> print(latex_invariants([v**2 - u**2]))
    \begin{aligned}
    I_1 &= v^{2} - u^{2} = \mathrm{const}
    \end{aligned}
    """
    prepared, write = _prepared(quantities, symbols)
    rows = []
    for i, quantity in enumerate(prepared, start=1):
        left = latex_name(sp.Symbol(f"I_{i}"))
        row = _broken(left, _terms(quantity, write, width), width)
        rows.append(rf"{row} = \mathrm{{const}}")
    return _aligned(rows)


def _prepared(
    expressions: Iterable[Expr], symbols: Iterable[Expr]
) -> tuple[list[Expr], Write]:
    """The expressions with a symbol for each average, and what writes expressions in them as they stand."""
    exact = [sp.sympify(expression, strict=True) for expression in expressions]
    used = symbols_in(exact)
    names = latex_names([*symbols, *sorted(used, key=str)])
    _require_numbers_apart(exact, names.values())

    @cache
    def write(expression: Expr) -> str:
        options = {"inv_trig_style": "full", "ln_notation": True}
        return str(sp.latex(expression, symbol_names=names, **options))

    symbol_of = {}
    for average in _averages(exact):
        symbol_of[average] = sp.Dummy(real=True)
        names[symbol_of[average]] = rf"\langle {write(average.args[0])} \rangle"
    return [expression.xreplace(symbol_of) for expression in exact], write


def _averages(expressions: Iterable[Expr]) -> list[Expr]:
    """The averages over the context in some expressions, in the order of their names."""
    averages: set[Expr] = set()
    for expression in expressions:
        averages |= expression.atoms(average_of)
    return sorted(averages, key=str)


def _require_numbers_apart(expressions: Iterable[Expr], names: Iterable[str]) -> None:
    """ValueError where e or π is both a number and the name of a symbol."""
    taken = set(names)
    for name, numbers in {"e": (sp.E, sp.exp), r"\pi": (sp.pi,)}.items():
        if name in taken and any(
            expression.has(*numbers) for expression in expressions
        ):
            raise ValueError(f"{name} is a symbol and a number here: rename the symbol")


def _terms(expression: Expr, write: Write, width: int) -> list[str]:
    """The signed terms of the form of the expression that is easiest to read."""
    # Only polynomials are sorted by degree and factored.
    polynomial = _polynomial(expression, write)
    if polynomial is None:
        return _mixed(expression.as_ordered_terms(), write)
    expanded = _sum(polynomial, write)
    product = _product(polynomial, write)
    # The product where it is shorter, and fits on a line.
    limit = min(width + 1, _visible_length(_joined(expanded)))
    if product is not None and _visible_length(product) < limit:
        return [product]
    return expanded


def _mixed(terms: list[Expr], write: Write) -> list[str]:
    """The terms of a sum of polynomials, which come first, and anything else."""
    polynomials: list[Expr] = []
    others: list[Expr] = []
    for term in terms:
        is_polynomial = _polynomial(term, write) is not None
        (polynomials if is_polynomial else others).append(term)
    total = sp.Add(*polynomials)
    first = [] if total == 0 else _sum(_polynomial(total, write), write)
    return [*first, *(_quotient(term, write) or write(term) for term in others)]


def _polynomial(expression: Expr, write: Write) -> Element | None:
    """The expression in a ring over the rational functions of N, or None where it is in none."""
    symbols = sorted(
        expression.free_symbols - {N}, key=lambda symbol: _order(symbol, write(symbol))
    )
    try:
        return PolyRing(symbols, _LENGTHS, lex).from_expr(expression)
    except (ValueError, CoercionFailed):
        return None


def _order(symbol: Expr, name: str) -> tuple[object, ...]:
    """Parameters first; numbers by value."""
    # v_2 before v_10: digits are compared as numbers.
    parts = re.split(r"(\d+)", name)
    return not is_parameter(symbol), parts[::2], [int(part) for part in parts[1::2]]


class _Term(NamedTuple):
    """A term in LaTeX with its sign, in the order in which terms are written."""

    degree: int
    is_negative: bool
    order: list[int]
    text: str


def _sum(polynomial: Element, write: Write) -> list[str]:
    """The terms by increasing degree in what is no parameter, each with its coefficient as a product."""
    symbols = polynomial.ring.symbols
    parameter_count = sum(map(is_parameter, symbols))  # these come first
    variables = symbols[parameter_count:]
    groups = _by_variables(polynomial, parameter_count)

    constant = groups.pop((0,) * len(variables), {})
    terms = []
    for powers, group in groups.items():
        coefficient, factors = _factors(polynomial.ring.from_dict(group), write)
        beside = _monomial(variables, powers, write)
        text = _signed(coefficient, factors, beside, write)
        order = [-power for power in powers]
        terms.append(_Term(sum(powers), text.startswith("-"), order, text))
    texts = _constant_terms(symbols, constant, write)
    texts += [term.text for term in sorted(terms)]
    return texts or ["0"]


def _constant_terms(
    symbols: Sequence[Expr], terms: Mapping[Powers, Element], write: Write
) -> list[str]:
    """Terms of parameters alone, each written for itself, those with a plus first."""
    texts = []
    for powers, number in terms.items():
        monomial = _monomial(symbols, powers, write)
        texts.append(_signed(number, monomial, [], write))
    return sorted(texts, key=lambda text: text.startswith("-"))


def _by_variables(
    polynomial: Element, parameter_count: int
) -> dict[Powers, dict[Powers, Element]]:
    """Powers of the variables → the terms of their coefficient, which hold parameters alone."""
    groups: dict[Powers, dict[Powers, Element]] = defaultdict(dict)
    for powers, number in polynomial.terms():
        variable_powers = powers[parameter_count:]
        no_variables = (0,) * len(variable_powers)
        groups[variable_powers][powers[:parameter_count] + no_variables] = number
    return groups


def _product(polynomial: Element, write: Write) -> str | None:
    """The polynomial in factors, or None where it has none or is not known to."""
    if not 2 <= len(polynomial) <= _MAX_TERMS:
        return None
    coefficient, factors = _factors(polynomial, write)
    return _signed(coefficient, factors, [], write)


def _factors(polynomial: Element, write: Write) -> tuple[Element, list[str]]:
    """The rational function of N, and the factors, that make the polynomial."""
    symbols = polynomial.ring.symbols
    if len(polynomial) == 1:
        ((powers, coefficient),) = polynomial.terms()
        return coefficient, _monomial(symbols, powers, write)
    coefficient, parts = _parts(polynomial)
    symbol_powers = dict.fromkeys(symbols, 0)
    sums = []
    for part, multiplicity in parts:
        if len(part) == 1:
            symbol_powers[part.as_expr()] = multiplicity
            continue
        terms = _sum(part, write)
        if terms[0].startswith("-"):  # a sum in brackets begins without a sign
            terms = _sum(-part, write)
            coefficient *= (-1) ** multiplicity
        sums.append(_bracketed_power(_joined(terms), multiplicity))
    monomial = _monomial(symbols, symbol_powers.values(), write)
    return coefficient, [*monomial, *sums]


def _bracketed_power(inside: str, exponent: int) -> str:
    if exponent == 1:
        return _bracketed(inside)
    return f"{_bracketed(inside)}^{{{exponent}}}"


def _parts(polynomial: Element) -> tuple[Element, list[tuple[Element, int]]]:
    """What `factor_list` gives, or only the common powers of symbols where more takes long to find."""
    content = _content(polynomial)
    gens = polynomial.ring.gens
    # Powers that all terms share are a factor by themselves, and cheap to find.
    common_powers = tuple(map(min, zip(*polynomial.monoms(), strict=True)))
    cofactor = polynomial.quo_term((common_powers, content))
    monomial = [
        (gen, power) for gen, power in zip(gens, common_powers, strict=True) if power
    ]
    symbol_count = sum(map(any, zip(*cofactor.monoms(), strict=True)))
    is_large = len(cofactor) > _MAX_TERMS or symbol_count > _MAX_SYMBOLS
    if is_large or _is_prime(cofactor):
        return content, [*monomial, (cofactor, 1)]
    coefficient, parts = cofactor.factor_list()
    return content * coefficient, [*monomial, *parts]


def _content(polynomial: Element) -> Element:
    """The greatest common divisor of the coefficients: after division there is none, and no denominator."""
    coefficients = polynomial.coeffs()
    numerators = [coefficient.numer for coefficient in coefficients]
    denominators = [coefficient.denom for coefficient in coefficients]
    divisor = reduce(lambda a, b: a.gcd(b), numerators)
    multiple = reduce(lambda a, b: a.lcm(b), denominators)
    return _LENGTHS(divisor) / _LENGTHS(multiple)


def _is_prime(polynomial: Element) -> bool:
    """Whether it is a x + b with a monomial a or b, which has no factors, since no power is common to all terms."""
    powers_by_symbol = zip(*polynomial.monoms(), strict=True)
    return any(
        max(powers) == 1 and 1 in (powers.count(0), powers.count(1))
        for powers in powers_by_symbol
    )


def _monomial(
    symbols: Iterable[Expr], powers: Iterable[int], write: Write
) -> list[str]:
    return [
        write(symbol**power)
        for symbol, power in zip(symbols, powers, strict=True)
        if power
    ]


def _signed(
    coefficient: Element, above: list[str], beside: list[str], write: Write
) -> str:
    """A rational function of N times factors, of which `above` may stand above its denominator."""
    is_negative = bool(coefficient.numer.LC < 0)
    positive = -coefficient if is_negative else coefficient
    top, bottom = sp.fraction(sp.factor(positive.as_expr()))
    top = sp.factor(top)
    factors = [*above, *beside]
    if bottom == 1:
        number = _whole_number(top, bool(factors), is_negative, write)
    elif top.is_Integer and above:
        digits = [] if top == 1 else [write(top)]
        number = [rf"\frac{{{_alone([*digits, *above])}}}{{{write(bottom)}}}"]
        factors = beside
    else:
        number = [rf"\frac{{{write(top)}}}{{{write(bottom)}}}"]
    return "- " * is_negative + " ".join([*number, *factors])


def _whole_number(
    top: Expr, has_factors: bool, is_negative: bool, write: Write
) -> list[str]:
    """A coefficient without a denominator: in brackets where it is a sum beside something, left out where it is 1."""
    if top.is_Add and (has_factors or is_negative):
        return [_bracketed(write(top))]
    if top == 1 and has_factors:
        return []
    return [write(top)]


def _quotient(expression: Expr, write: Write) -> str | None:
    """A rational function as one fraction of polynomials, or None for what is none."""
    if not expression.is_rational_function():
        return None
    numerator, denominator = sp.fraction(sp.cancel(expression))
    top = _polynomial(numerator, write)
    bottom = _polynomial(denominator, write)
    if top is None or bottom is None:
        return None
    is_negative = _sum(top, write)[0][0] == "-"
    above = _shorter(-top if is_negative else top, write)
    return "- " * is_negative + rf"\frac{{{above}}}{{{_shorter(bottom, write)}}}"


def _shorter(polynomial: Element, write: Write) -> str:
    expanded = _joined(_sum(polynomial, write))
    product = _product(polynomial, write)
    if product is None or _visible_length(product) >= _visible_length(expanded):
        return expanded
    return product


def _alone(factors: list[str]) -> str:
    """A product that needs no brackets around it, and so none around its only factor."""
    if len(factors) > 1:
        return " ".join(factors)
    (factor,) = factors
    opening, closing = r"\left(", r"\right)"
    if factor.startswith(opening) and factor.endswith(closing):
        return factor.removeprefix(opening).removesuffix(closing)
    return factor


def _bracketed(inside: str) -> str:
    return rf"\left({inside}\right)"


def _dotted(name: str) -> str:
    # A dot stands over the name and not over its indices.
    upright = re.match(r"\\mathrm\{[^}]*\}", name)
    if upright is None:
        return rf"\dot {name}"
    return rf"\dot{{{upright[0]}}}{name[upright.end() :]}"


def _joined(terms: list[str]) -> str:
    return terms[0] + "".join(map(_continued, terms[1:]))


def _continued(term: str) -> str:
    if term.startswith("-"):
        return f" {term}"
    return f" + {term}"


def _broken(left: str, terms: list[str], width: int) -> str:
    """An equation whose lines are no longer than `width`, where its terms are not."""
    lines = [f"{left} &= {terms[0]}"]
    for term in map(_continued, terms[1:]):
        if _visible_length(lines[-1] + term) > width:
            lines.append(rf"&\quad{term}")
        else:
            lines[-1] += term
    return " \\\\\n".join(lines)


def _aligned(rows: Iterable[str]) -> str:
    return "\n".join([r"\begin{aligned}", " \\\\\n".join(rows), r"\end{aligned}"])


def _visible_length(source: str) -> int:
    """About how many characters the formula shows."""
    commands = re.sub(r"\\(?:left|right|mathrm|frac|quad|dot)|[{}_^&\s]", "", source)
    return len(re.sub(r"\\[a-zA-Z]+", "x", commands))
