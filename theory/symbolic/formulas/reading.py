"""Formulas that a user wrote, in text or in LaTeX, as expressions in known symbols. Nothing runs as code."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

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
    parts = _equations(tokens)
    if not parts:
        raise mistake("there is no equation", tokens[-1])
    reader = _Reader(list(symbols), definitions, latex, rate)
    equations: dict[Expr, Expr] = {}
    constants: set[Expr] = set()
    for part in parts:
        equation = reader.equation(part)
        if equation.left in equations:
            raise mistake(f"two equations for {equation.left}", part[0])
        equations[equation.left] = equation.right
        constants |= equation.constant.free_symbols

    moving = constants & equations.keys()
    if moving:
        raise mistake(
            f"a rate may have a constant before it, and {min(moving, key=str)} moves",
            tokens[0],
        )
    return equations


class _Equation(NamedTuple):
    """left = right, or constant · d left/dt = constant · right."""

    left: Expr
    right: Expr
    constant: Expr = sp.Integer(1)


@dataclass(frozen=True)
class _Reader:
    """Reads the tokens of equations in known symbols; with `rate` their left sides are rates."""

    symbols: list[Expr]
    definitions: Definitions
    latex: bool
    rate: bool

    def equation(self, tokens: list[Token]) -> _Equation:
        """The equation that tokens spell; ValueError for any other left side."""
        before: list[Token] = []
        after = tokens
        if self.rate:
            before, after = _split_constant(tokens, self.latex)
        if not before:
            left, grammar = self._left(after, tokens[0])
            return _Equation(left, grammar.whole())
        constant = self._grammar(before).constant()
        left, grammar = self._left(after, tokens[0])
        right = grammar.made(tokens[0], _over, grammar.whole(), constant)
        return _Equation(left, right, constant)

    def _left(self, tokens: list[Token], start: Token) -> tuple[Expr, TextGrammar]:
        """The symbol on the left, and the grammar that goes on to read the right side."""
        grammar = self._grammar(tokens)
        left = grammar.left()
        if left.is_rate != self.rate or not left.symbol.is_Symbol:
            wanted = r"a rate, \dot v or dv/dt" if self.rate else "a symbol"
            raise mistake(f"the left side must be {wanted}", start)
        grammar.expect("=")
        return left.symbol, grammar

    def _grammar(self, tokens: list[Token]) -> TextGrammar:
        reader = _latex if self.latex else _text
        return reader(tokens, self.symbols, self.definitions)


def _over(top: Expr, bottom: Expr) -> Expr:
    return multiplied([top, inverse(bottom)])


def _split_constant(part: list[Token], latex: bool) -> tuple[list[Token], list[Token]]:
    r"""The tokens of what stands before a rate, as τ in \tau \dot v, with an end; and those after it."""
    texts = [token.text for token in part]
    # Only the left side can have a constant before a rate.
    left = texts[: texts.index("=")] if "=" in texts else []
    start = _rate_start(left) if latex else _after_last_product(left)
    if start == 0:
        return [], part
    has_sign = texts[start - 1] == "*"
    before = part[: start - 1] if has_sign else part[:start]
    if latex and not has_sign and _ends_with_quotient(before):
        raise mistake(
            r"a/b \dot v has two readings: write \frac or brackets", part[start]
        )
    end = Token("end", " ", part[start].position)
    return [*before, end], part[start:]


def _rate_start(left: list[str]) -> int:
    """Where the rate begins on a left side in LaTeX; 0 without one."""
    for start in range(len(left)):
        if _starts_rate(left[start:]):
            return start
    return 0


def _after_last_product(left: list[str]) -> int:
    """Where the last factor of a left side in text begins; 0 without a product."""
    return max((index + 1 for index, text in enumerate(left) if text == "*"), default=0)


def _ends_with_quotient(tokens: list[Token]) -> bool:
    """Whether the last sign outside of brackets is that of a division."""
    depth = 0
    last_sign = ""
    for token in tokens:
        depth += (token.text in OPEN) - (token.text in OPEN.values())
        if depth == 0 and token.text in ("+", "-", "*", "/"):
            last_sign = token.text
    return last_sign == "/"


def _starts_rate(texts: list[str]) -> bool:
    """Whether a rate begins here in LaTeX."""
    return texts[0] == r"\dot" or (
        texts[:2] == [r"\frac", "{"] and texts[2] in ("d", r"\mathrm{d}")
    )


def _text(
    tokens: list[Token], symbols: Iterable[Expr], definitions: Definitions
) -> TextGrammar:
    constants = {"pi": sp.pi, "E": sp.E}
    names = {symbol.name: symbol for symbol in _distinct(symbols, definitions)}
    return TextGrammar(tokens, constants | names | {**definitions})


def _latex(
    tokens: list[Token], symbols: Iterable[Expr], definitions: Definitions
) -> LatexGrammar:
    # Definitions are written as symbols of their names are, and then replaced in.
    meaning_of = {sp.Symbol(name): value for name, value in definitions.items()}
    symbol_of = readings([*_distinct(symbols, definitions), *meaning_of])
    names = {name: meaning_of.get(symbol, symbol) for name, symbol in symbol_of.items()}
    constants = {Name(r"\pi"): sp.pi, Name("e"): sp.E, Name(r"\mathrm{e}"): sp.E}
    return LatexGrammar(tokens, constants | names)


def _distinct(symbols: Iterable[Expr], definitions: Definitions) -> list[Expr]:
    """The symbols without repetitions; ValueError where a name has two meanings."""
    distinct = list(dict.fromkeys(symbols))
    # A definition must not hide a symbol.
    names = [*(symbol.name for symbol in distinct), *definitions]
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"the name {name} has two meanings: rename one of them")
    return distinct


def _equations(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each equation, cut at ends of lines after which there is another = ."""
    parts: list[list[Token]] = []
    for line in _lines(tokens[:-1]):
        has_sign = any(token.text == "=" for token in line)
        if parts and not has_sign:
            parts[-1] += line  # the last equation goes on
            continue
        without_end = [token for token in line if token.kind != "line"]
        if without_end:
            parts.append(without_end)

    # Each equation ends where the next one begins.
    ends = [Token("end", " ", part[0].position) for part in parts[1:]]
    ends.append(tokens[-1])
    return [without_lines([*part, end]) for part, end in zip(parts, ends, strict=False)]


def _lines(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each line; the end of the one before comes first."""
    lines: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "line":
            lines.append([])
        lines[-1].append(token)
    return lines
