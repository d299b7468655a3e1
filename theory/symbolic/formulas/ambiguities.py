r"""What a formula in LaTeX could mean in two ways: each is refused, with the ways to write what is meant.

TeX sets letters side by side as a product, and people write words: tr(x) would be t times r times x. Each function
looks at the tokens of one formula, without what stands below names, and raises ValueError at the place.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import sympy as sp

from ..task import Expr
from .symbol_names import GREEK, Name
from .tokens import FUNCTIONS, OPEN, Token, mistake

OTHER_FUNCTIONS = frozenset(
    {
        "tr",
        "Tr",
        "Trace",
        "trace",
        "det",
        "diag",
        "rank",
        "dim",
        "erf",
        "abs",
        "sgn",
        "sign",
        "max",
        "min",
        "sup",
    }
    | {
        "inf",
        "lim",
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "arcsin",
        "arccos",
        "sum",
        "prod",
        "Var",
        "Cov",
        "lg",
        "Re",
    }
    | {"Im", "arg", "log2", "log10"}
)
"""Names of functions that people write and no formula here may have."""

_WORDS = frozenset({*FUNCTIONS, *OTHER_FUNCTIONS})


def refuse_two_readings(tokens: list[Token], names: Mapping[Any, Expr]) -> None:
    """ValueError where a formula in LaTeX has two readings; `names` has the meaning of every `Name`."""
    seen = list(_without_indices(tokens))
    _refuse_words(seen, names)
    _refuse_upper_indices(seen)
    _refuse_arguments(seen)
    _refuse_exponents_of_e(seen, names)
    _refuse_derivatives(seen)
    refuse_open_roots(tokens)


def refuse_open_roots(tokens: list[Token]) -> None:
    """ValueError for x^1/3 and x^-1/3, in text or LaTeX: x/3 and 1/(3 x) is what they would be."""
    for place, token in enumerate(tokens):
        if token.text not in ("^", "**"):
            continue
        first = place + 1
        while tokens[first].text in ("+", "-"):
            first += 1
        if [each.text for each in tokens[first : first + 2]] == ["1", "/"]:
            raise mistake(
                "a power such as x^1/3 has two readings: write brackets around the exponent",
                token,
            )


def _without_indices(tokens: list[Token]) -> Iterator[Token]:
    """The tokens outside of what stands below names."""
    place = 0
    while place < len(tokens):
        if tokens[place].text != "_":
            yield tokens[place]
            place += 1
            continue
        place += 1
        depth = 0
        while tokens[place].kind != "end":
            depth += {"{": 1, "}": -1}.get(tokens[place].text, 0)
            place += 1
            if depth <= 0:
                break


def _refuse_words(tokens: list[Token], names: Mapping[Any, Expr]) -> None:
    """A word of letters side by side, which would be their product."""
    known = {
        re.sub(r"\\mathrm\{|\\_|[\\}]", "", name.head)
        for name in names
        if len(name.head) > 1
    }
    for run in _runs_of_letters(tokens):
        word = "".join(token.text for token in run)
        function = next(
            (part for part in _WORDS if word.startswith(part) or word.endswith(part)),
            None,
        )
        if function is not None:
            way = (
                rf"\operatorname{{{function}}}"
                if function in FUNCTIONS
                else "what it stands for"
            )
            raise mistake(
                f'"{word}" would be a product of letters: write {way}, or spaces between factors',
                run[0],
            )
        if word in GREEK or word in known:
            way = rf"\{word}" if word in GREEK else rf"\mathrm{{{word}}}"
            raise mistake(
                f'"{word}" would be a product of letters: write {way}, or spaces between factors',
                run[0],
            )


def _runs_of_letters(tokens: list[Token]) -> Iterator[list[Token]]:
    """Two or more letters with nothing between them, not even a space."""
    run: list[Token] = []
    for token in tokens:
        letter = token.kind == "name" and len(token.text) == 1
        if letter and run and token.position == run[-1].position + 1:
            run.append(token)
            continue
        if len(run) > 1:
            yield run
        run = [token] if letter else []


def _refuse_arguments(tokens: list[Token]) -> None:
    """v(t) and v(0), which would be products."""
    for place, token in enumerate(tokens[:-3]):
        opening, inside, closing = tokens[place + 1 : place + 4]
        is_single = (
            opening.text == "("
            and closing.text == ")"
            and inside.kind in ("name", "number")
        )
        if is_single and _ends_a_name(tokens, place) and inside.text not in OPEN:
            raise mistake(
                f"a name before ({inside.text}) has two readings: leave the argument of a function out, and the "
                "brackets of a product",
                token,
            )


def _ends_a_name(tokens: list[Token], place: int) -> bool:
    """Whether the token is the last of a name, or of the one exponent of a name."""
    before = tokens[place - 1].text if place else ""
    if before == "^":
        return place > 1 and tokens[place - 2].kind == "name"
    return tokens[place].kind == "name" and not _is_function(tokens[place])


def _is_function(token: Token) -> bool:
    return token.text.removeprefix(r"\mathrm{").removesuffix("}") in _WORDS


def _refuse_upper_indices(tokens: list[Token]) -> None:
    """v^{(2)}, which would be the square."""
    for place, token in enumerate(tokens):
        texts = [each.text for each in tokens[place : place + 6]]
        if [*texts[:3], *texts[4:]] in (
            ["^", "{", "(", ")", "}"],
            ["^", "{", "[", "]", "}"],
        ):
            index = texts[3]
            raise mistake(
                f"^{{({index})}} has two readings: write ^{{{index}}} for a power, indices below",
                token,
            )


def _refuse_exponents_of_e(tokens: list[Token], names: Mapping[Any, Expr]) -> None:
    """e^2t, which would be e² times t."""
    for place, token in enumerate(tokens[:-3]):
        _, caret, exponent, after = tokens[place : place + 4]
        is_e = token.kind == "name" and names.get(Name(token.text)) == sp.E
        follows = after.kind == "name" or after.text == "("
        if (
            is_e
            and caret.text == "^"
            and exponent.kind in ("number", "name")
            and follows
        ):
            raise mistake(
                f"e^{exponent.text}{after.text} has two readings: write braces, e^{{…}}",
                token,
            )


def _refuse_derivatives(tokens: list[Token]) -> None:
    r"""\frac{dv}{dt} on a right side, which would be a quotient of products."""
    texts = [token.text for token in tokens]
    for place, token in enumerate(tokens):
        if texts[place : place + 3] != [r"\frac", "{", "d"]:
            continue
        rest = texts[place:]
        if "}" in rest and rest[rest.index("}") :][:3] == ["}", "{", "d"]:
            raise mistake(
                "a derivative may stand on the left of an equation only", token
            )
