"""Formulas in LaTeX for papers: terms collected, factored where that is shorter, and broken over lines."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache, reduce

import sympy as sp
from sympy.polys.orderings import lex
from sympy.polys.polyerrors import CoercionFailed
from sympy.polys.rings import PolyRing

from ..loss.expectations import Element
from ..loss.gaussian_expectations import Powers
from ..task import Expr, N, average_of
from .symbol_names import is_parameter, latex_name, latex_names

WIDTH = 110
"""The characters of a line, as they are seen."""

_LENGTHS = sp.ZZ.frac_field(N)
_TERMS, _SYMBOLS = (
    24,
    8,
)  # more than a line holds, and more than are always factored soon

Write = Callable[[Expr], str]


def latex(expression: Expr, symbols: Iterable[Expr] = ()) -> str:
    r"""An expression in LaTeX, in the names that `latex_names` has for its symbols and those of `symbols` together.

    Polynomials are written by increasing degree, with the task's parameters and N in the coefficients, or as a
    product where that is shorter; averages over the context as \langle … \rangle. `read_latex` reads it back.

    >>> v, lambda_1 = sp.symbols("value_1_2 lambda_1")
    >>> print(latex(lambda_1**2 * v**2 - lambda_1**3 * v**5 * (N + 2) / N))
    \lambda_1^{2} v_{1,2}^{2} - \frac{N + 2}{N} \lambda_1^{3} v_{1,2}^{5}
    """
    (written,), write = _prepared([expression], symbols)
    return _joined(_terms(written, write, WIDTH))


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
    lefts = [_dotted(write(left)) if rates else write(left) for left in equations]
    rows = zip(lefts, rights, strict=True)
    return _aligned(
        _broken(left, _terms(right, write, width), width) for left, right in rows
    )


def latex_invariants(
    quantities: Iterable[Expr], symbols: Iterable[Expr] = (), *, width: int = WIDTH
) -> str:
    r"""An aligned block with a line I_1 &= … = \mathrm{const} for each conserved quantity; the rest as above.

    >>> u, v = sp.symbols("u v")
    >>> print(latex_invariants([v**2 - u**2]))
    \begin{aligned}
    I_1 &= v^{2} - u^{2} = \mathrm{const}
    \end{aligned}
    """
    written, write = _prepared(quantities, symbols)
    rows = (
        _broken(latex_name(sp.Symbol(f"I_{i}")), _terms(quantity, write, width), width)
        for i, quantity in enumerate(written, start=1)
    )
    return _aligned(rf"{row} = \mathrm{{const}}" for row in rows)


def _prepared(
    expressions: Iterable[Expr], symbols: Iterable[Expr]
) -> tuple[list[Expr], Write]:
    """The expressions with a symbol for each average, and what writes expressions in them as they stand."""
    given = [sp.sympify(expression, strict=True) for expression in expressions]
    found = set().union(*(expression.free_symbols for expression in given))
    names = latex_names([*symbols, *sorted(found, key=str)])
    for name, numbers in {"e": (sp.E, sp.exp), r"\pi": (sp.pi,)}.items():
        if name in names.values() and any(
            expression.has(*numbers) for expression in given
        ):
            raise ValueError(f"{name} is a symbol and a number here: rename the symbol")

    @cache
    def write(expression: Expr) -> str:
        return str(
            sp.latex(
                expression, symbol_names=names, inv_trig_style="full", ln_notation=True
            )
        )

    averages = sorted(
        set().union(*(expression.atoms(average_of) for expression in given)), key=str
    )
    symbol_of = {average: sp.Dummy(real=True) for average in averages}
    names |= {
        symbol: rf"\langle {write(average.args[0])} \rangle"
        for average, symbol in symbol_of.items()
    }
    return [expression.xreplace(symbol_of) for expression in given], write


def _terms(expression: Expr, write: Write, width: int) -> list[str]:
    """The signed terms of the form of the expression that is easiest to read."""
    polynomial = _polynomial(expression, write)
    if polynomial is None:
        return _mixed(expression.as_ordered_terms(), write)
    expanded, product = _sum(polynomial, write), _product(polynomial, write)
    return (
        [product]
        if product and _seen(product) < min(width + 1, _seen(_joined(expanded)))
        else expanded
    )


def _mixed(terms: list[Expr], write: Write) -> list[str]:
    """The terms of a sum of polynomials, which come first, and anything else."""
    parts = [_polynomial(term, write) for term in terms]
    others = [term for term, part in zip(terms, parts, strict=True) if part is None]
    rest = sp.Add(
        *(term for term, part in zip(terms, parts, strict=True) if part is not None)
    )
    first = [] if rest == 0 else _sum(_polynomial(rest, write), write)
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
    parts = re.split(r"(\d+)", name)
    return not is_parameter(symbol), parts[::2], [int(part) for part in parts[1::2]]


def _sum(polynomial: Element, write: Write) -> list[str]:
    """The terms by increasing degree in what is no parameter, each with its coefficient as a product."""
    symbols = polynomial.ring.symbols
    split = sum(map(is_parameter, symbols))
    groups: dict[Powers, dict[Powers, Element]] = defaultdict(dict)
    for powers, coefficient in polynomial.terms():
        groups[powers[split:]][(*powers[:split], *(0 for _ in powers[split:]))] = (
            coefficient
        )
    constant = groups.pop((0,) * (len(symbols) - split), {})
    terms = [
        _signed(c, _monomial(symbols, powers, write), [], write)
        for powers, c in constant.items()
    ]
    terms.sort(key=lambda term: term[0] == "-")
    others = []
    for powers, group in groups.items():
        factors = _factors(polynomial.ring.from_dict(group), write)
        term = _signed(*factors, _monomial(symbols[split:], powers, write), write)
        others.append((sum(powers), term[0] == "-", [-power for power in powers], term))
    return [*terms, *(term for *_, term in sorted(others))] or ["0"]


def _product(polynomial: Element, write: Write) -> str | None:
    """The polynomial in factors, or None where it has none or is not known to."""
    if not 2 <= len(polynomial) <= _TERMS:
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
    single, others = dict.fromkeys(symbols, 0), []
    for part, multiplicity in parts:
        if len(part) == 1:
            single[part.as_expr()] = multiplicity
            continue
        inside = _sum(part, write)
        if inside[0][0] == "-":
            inside, coefficient = _sum(-part, write), coefficient * (-1) ** multiplicity
        others.append(
            _bracketed(_joined(inside))
            + (f"^{{{multiplicity}}}" if multiplicity > 1 else "")
        )
    return coefficient, [*_monomial(symbols, single.values(), write), *others]


def _parts(polynomial: Element) -> tuple[Element, list[tuple[Element, int]]]:
    """What `factor_list` gives, or only the common powers of symbols where more takes long to find."""
    content, gens = _content(polynomial), polynomial.ring.gens
    common = tuple(map(min, zip(*polynomial.monoms(), strict=True)))
    rest = polynomial.quo_term((common, content))
    single = [(gen, power) for gen, power in zip(gens, common, strict=True) if power]
    symbols = sum(map(any, zip(*rest.monoms(), strict=True)))
    if _is_prime(rest) or len(rest) > _TERMS or symbols > _SYMBOLS:
        return content, [*single, (rest, 1)]
    coefficient, parts = rest.factor_list()
    return content * coefficient, [*single, *parts]


def _content(polynomial: Element) -> Element:
    """The greatest common divisor of the coefficients: what is left has none, and no denominator."""
    coefficients = polynomial.coeffs()
    divisor = reduce(
        lambda a, b: a.gcd(b), (coefficient.numer for coefficient in coefficients)
    )
    multiple = reduce(
        lambda a, b: a.lcm(b), (coefficient.denom for coefficient in coefficients)
    )
    return _LENGTHS(divisor) / _LENGTHS(multiple)


def _is_prime(polynomial: Element) -> bool:
    """Whether it is a x + b with a monomial a or b, which has no factors, since no power is common to all terms."""
    powers_of_each = zip(*polynomial.monoms(), strict=True)
    return any(
        max(powers) == 1 and 1 in (powers.count(0), powers.count(1))
        for powers in powers_of_each
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
    negative = bool(coefficient.numer.LC < 0)
    top, bottom = sp.fraction(
        sp.factor((-coefficient if negative else coefficient).as_expr())
    )
    over, top, factors = write(bottom), sp.factor(top), [*above, *beside]
    digits = [] if top == 1 and factors else [write(top)]
    if bottom == 1:
        number = (
            [_bracketed(write(top))] if top.is_Add and (factors or negative) else digits
        )
    elif top.is_Integer and above:
        number, factors = [rf"\frac{{{_alone([*digits, *above])}}}{{{over}}}"], beside
    else:
        number = [rf"\frac{{{write(top)}}}{{{over}}}"]
    return "- " * negative + " ".join([*number, *factors])


def _quotient(expression: Expr, write: Write) -> str | None:
    """A rational function as one fraction of polynomials, or None for what is none."""
    if not expression.is_rational_function():
        return None
    top, bottom = (
        _polynomial(part, write) for part in sp.fraction(sp.cancel(expression))
    )
    if top is None or bottom is None:
        return None
    if negative := _sum(top, write)[0][0] == "-":
        top = -top
    return (
        "- " * negative
        + rf"\frac{{{_shorter(top, write)}}}{{{_shorter(bottom, write)}}}"
    )


def _shorter(polynomial: Element, write: Write) -> str:
    expanded, product = _joined(_sum(polynomial, write)), _product(polynomial, write)
    return product if product and _seen(product) < _seen(expanded) else expanded


def _alone(factors: list[str]) -> str:
    """A product that needs no brackets around it, and so none around its only factor."""
    single = (
        len(factors) == 1
        and factors[0].startswith(r"\left(")
        and factors[0].endswith(r"\right)")
    )
    return (
        factors[0].removeprefix(r"\left(").removesuffix(r"\right)")
        if single
        else " ".join(factors)
    )


def _bracketed(inside: str) -> str:
    return rf"\left({inside}\right)"


def _dotted(name: str) -> str:
    head = re.match(r"\\mathrm\{[^}]*\}", name)
    return rf"\dot{{{head[0]}}}{name[head.end() :]}" if head else rf"\dot {name}"


def _joined(terms: list[str]) -> str:
    return terms[0] + "".join(map(_continued, terms[1:]))


def _continued(term: str) -> str:
    return f" {term}" if term.startswith("-") else f" + {term}"


def _broken(left: str, terms: list[str], width: int) -> str:
    """An equation whose lines are no longer than `width`, where its terms are not."""
    lines = [f"{left} &= {terms[0]}"]
    for term in map(_continued, terms[1:]):
        if _seen(lines[-1] + term) > width:
            lines.append(rf"&\quad{term}")
        else:
            lines[-1] += term
    return " \\\\\n".join(lines)


def _aligned(rows: Iterable[str]) -> str:
    return "\n".join([r"\begin{aligned}", " \\\\\n".join(rows), r"\end{aligned}"])


def _seen(source: str) -> int:
    """About how many characters the formula shows."""
    without = re.sub(r"\\(?:left|right|mathrm|frac|quad|dot)|[{}_^&\s]", "", source)
    return len(re.sub(r"\\[a-zA-Z]+", "x", without))
