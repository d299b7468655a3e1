"""Formulas that a user wrote, in text or in LaTeX, as expressions in known symbols. Nothing runs as code."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import sympy as sp

from ..algebra.domains import Formula, noted
from ..task import Expr
from .latex_parser import LatexGrammar
from .size_limits import inverse, multiplied
from .symbol_names import Name, readings
from .text_parser import TextGrammar
from .tokens import OPEN, Token, latex_tokens, mistake, text_tokens, without_lines

Definitions = Mapping[str, Expr]
"""Abbreviations of the user's own: name, as in text, → expression, or `Formula` with its conditions."""

_NONE: Definitions = MappingProxyType({})


def read_text(
    source: str, symbols: Iterable[Expr], definitions: Definitions = _NONE
) -> Expr:
    """The expression that a formula in text spells, in these symbols.

    Whole numbers, decimals (exactly: 0.5 is 1/2), names, + - * / ** ^, brackets, rational powers, and sqrt, cbrt,
    exp, log, sinh, cosh, tanh, atan, average(…), pi, E. `definitions` are replaced in. ValueError names what is not
    understood, with its position from 1, and what is too large.

    >>> a, lambda_1 = sp.symbols("a lambda_1", positive=True)
    >>> read_text("0.5*lambda_1^2*(1 + 1/m)", [a, lambda_1], {"m": a**2})
    lambda_1**2*(1 + a**(-2))/2
    """
    return _text(without_lines(text_tokens(source)), symbols, definitions).whole()


def read_latex(
    source: str, symbols: Iterable[Expr], definitions: Definitions = _NONE
) -> Expr:
    r"""The expression that a formula in LaTeX spells, in these symbols under the names of `latex_names`.

    Also the text names in upright letters (\mathrm{value}_{1,2}), \frac, \sqrt[3], e^{…}, \ln and the functions of
    `read_text`, products without a sign, and \langle … \rangle or \overline{…} for averages over the context.
    `definitions` are replaced in. ValueError as `read_text`, and for what has two readings, such as a/bc.

    >>> value, lambda_1 = sp.symbols("value_1_2 lambda_1", real=True)
    >>> read_latex(r"\tfrac12 \lambda_1^2 \left(1 - v_{1,2}\right)", [value, lambda_1])
    lambda_1**2*(1 - value_1_2)/2
    """
    return _latex(without_lines(latex_tokens(source)), symbols, definitions).whole()


def read_formula(
    source: str,
    symbols: Iterable[Expr],
    definitions: Definitions = _NONE,
    *,
    latex: bool = False,
) -> Formula:
    """What `read_text` or `read_latex` reads, with the conditions under which it has a finite real value.

    What cancels or is multiplied by zero counts as well. Definitions may be such formulas, too: their conditions
    count where they are used. What has no value anywhere is no error here but a condition that is never fulfilled.

    >>> x = sp.Symbol("x", real=True)
    >>> formula = read_formula("x/x + 0*log(x)", [x])
    >>> formula.expression, [str(condition) for condition in formula.conditions]
    (1, ['1/x divides by zero', 'log(x) is the logarithm of a number that is not positive'])
    """
    with noted() as conditions:
        expression = (read_latex if latex else read_text)(source, symbols, definitions)
    return Formula(expression, tuple(conditions))


def read_equation(
    source: str,
    symbols: Iterable[Expr],
    definitions: Definitions = _NONE,
    *,
    latex: bool = False,
    rate: bool = False,
) -> tuple[Expr, Expr]:
    r"""The symbol on the left of one equation and the expression on its right.

    With `rate` the left is a rate in flow time, dv/dt or v' in text, \dot v or \frac{dv}{dt} in LaTeX, or a
    constant times a rate, by which the right side is divided: tau*dv/dt, \tau \dot v.
    ValueError as `read_text`, and for any other left side.

    >>> v, t = sp.symbols("v t", real=True)
    >>> read_equation("dv/dt = v^2 - v^5", [v], rate=True)
    (v, -v**5 + v**2)
    """
    equations = read_equations(source, symbols, definitions, latex=latex, rate=rate)
    if len(equations) != 1:
        raise ValueError(f"one equation must be given, not {len(equations)}")
    return next(iter(equations.items()))


def read_equations(
    source: str,
    symbols: Iterable[Expr],
    definitions: Definitions = _NONE,
    *,
    latex: bool = False,
    rate: bool = False,
) -> dict[Expr, Expr]:
    r"""Left symbol → right expression of equations on lines of their own, also in an aligned block of LaTeX.

    A line without = continues the one before. `rate` as in `read_equation`. ValueError as there, and where two
    equations have the same left side.

    >>> u, v = sp.symbols("u v", real=True)
    >>> read_equations(r"\begin{aligned} \dot u &= v \\ &\quad + u \\ \dot v &= u \end{aligned}", [u, v],
    ...                latex=True, rate=True)
    {u: u + v, v: u}
    """
    tokens = latex_tokens(source) if latex else text_tokens(source)
    reader, names = (_latex if latex else _text), list(symbols)
    found: dict[Expr, Expr] = {}
    constants: set[Expr] = set()
    if not (parts := _equations(tokens)):
        raise mistake("there is no equation", tokens[-1])
    for part in parts:
        before, equation = _split_constant(part, latex) if rate else ([], part)
        constant = (
            reader(before, names, definitions).constant() if before else sp.Integer(1)
        )
        grammar = reader(equation, names, definitions)
        left, is_rate = grammar.left()
        if is_rate != rate or not left.is_Symbol:
            wanted = r"a rate, \dot v or dv/dt" if rate else "a symbol"
            raise mistake(f"the left side must be {wanted}", part[0])
        if left in found:
            raise mistake(f"two equations for {left}", part[0])
        grammar.expect("=")
        right = grammar.whole()
        found[left] = grammar.made(part[0], _over, right, constant) if before else right
        constants |= constant.free_symbols
    if moving := constants & found.keys():
        raise mistake(
            f"a rate may have a constant before it, and {min(moving, key=str)} moves",
            tokens[0],
        )
    return found


def _over(top: Expr, bottom: Expr) -> Expr:
    return multiplied([top, inverse(bottom)])


def _split_constant(part: list[Token], latex: bool) -> tuple[list[Token], list[Token]]:
    r"""The tokens of what stands before a rate, as τ in \tau \dot v, with an end; and the rest of the equation."""
    texts = [token.text for token in part]
    left = texts[: texts.index("=")] if "=" in texts else []
    if latex:
        start = next(
            (place for place in range(len(left)) if _starts_rate(left[place:])), 0
        )
    else:
        start = max(
            (place + 1 for place, text in enumerate(left) if text == "*"), default=0
        )
    if not start:
        return [], part
    before = part[: start - 1] if texts[start - 1] == "*" else part[:start]
    if latex and texts[start - 1] != "*" and _ends_with_quotient(before):
        raise mistake(
            r"a/b \dot v has two readings: write \frac or brackets", part[start]
        )
    return [*before, Token("end", " ", part[start].position)], part[start:]


def _ends_with_quotient(tokens: list[Token]) -> bool:
    """Whether the last sign outside of brackets is that of a division."""
    depth, last = 0, ""
    for token in tokens:
        depth += (token.text in OPEN) - (token.text in OPEN.values())
        if not depth and token.text in ("+", "-", "*", "/"):
            last = token.text
    return last == "/"


def _starts_rate(texts: list[str]) -> bool:
    """Whether a rate begins here in LaTeX."""
    return texts[0] == r"\dot" or (
        texts[:2] == [r"\frac", "{"] and texts[2] in ("d", r"\mathrm{d}")
    )


def _text(
    tokens: list[Token], symbols: Iterable[Expr], definitions: Definitions
) -> TextGrammar:
    known = {symbol.name: symbol for symbol in _distinct(symbols, definitions)}
    return TextGrammar(tokens, {"pi": sp.pi, "E": sp.E} | known | {**definitions})


def _latex(
    tokens: list[Token], symbols: Iterable[Expr], definitions: Definitions
) -> LatexGrammar:
    meaning = {sp.Symbol(name): value for name, value in definitions.items()}
    written = readings([*_distinct(symbols, definitions), *meaning])
    known = {name: meaning.get(symbol, symbol) for name, symbol in written.items()}
    return LatexGrammar(
        tokens,
        {Name(r"\pi"): sp.pi, Name("e"): sp.E, Name(r"\mathrm{e}"): sp.E} | known,
    )


def _distinct(symbols: Iterable[Expr], definitions: Definitions) -> list[Expr]:
    """The symbols without repetitions; ValueError where a name has two meanings."""
    distinct = list(dict.fromkeys(symbols))
    for name, count in Counter(
        [*(symbol.name for symbol in distinct), *definitions]
    ).items():
        if count > 1:
            raise ValueError(f"the name {name} has two meanings: rename one of them")
    return distinct


def _equations(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each equation, cut at ends of lines after which there is another = ."""
    lines: list[list[Token]] = [[]]
    for token in tokens[:-1]:
        if token.kind == "line":
            lines.append([])
        lines[-1].append(token)
    parts: list[list[Token]] = []
    for line in lines:
        if parts and all(token.text != "=" for token in line):
            parts[-1] += line
        elif any(token.kind != "line" for token in line):
            parts.append([token for token in line if token.kind != "line"])
    ends = [*(Token("end", " ", part[0].position) for part in parts[1:]), tokens[-1]]
    return [without_lines([*part, end]) for part, end in zip(parts, ends, strict=False)]
