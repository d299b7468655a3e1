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
from .tokens import FUNCTIONS, OPEN, Token, after_script, mistake

_WRITTEN = """
tr Tr Trace trace det diag rank dim erf abs sgn sign max min sup inf lim
sin cos tan cot sec arcsin arccos sum prod Var Cov lg Re Im arg log2 log10
"""

OTHER_FUNCTIONS = frozenset(_WRITTEN.split())
"""Names of functions that people write and no formula here may have."""

_WORDS = frozenset({*FUNCTIONS, *OTHER_FUNCTIONS})


def refuse_two_readings(tokens: list[Token], names: Mapping[Any, Expr]) -> None:
    """ValueError where a formula in LaTeX has two readings; `names` has the meaning of every `Name`."""
    # x_{ab} is one name: what stands below is no product.
    without_indices = list(_without_indices(tokens))
    _refuse_words(without_indices, names)
    _refuse_upper_indices(without_indices)
    _refuse_arguments(without_indices)
    _refuse_exponents_of_e(without_indices, names)
    _refuse_derivatives(without_indices)
    refuse_open_roots(tokens)


def refuse_open_roots(tokens: list[Token]) -> None:
    """ValueError for x^1/3 and x^-1/3, in text or LaTeX: x/3 and 1/(3 x) is what they would be."""
    for index, token in enumerate(tokens):
        if token.text not in ("^", "**"):
            continue
        start = index + 1
        while tokens[start].text in ("+", "-"):
            start += 1
        if [other.text for other in tokens[start : start + 2]] == ["1", "/"]:
            raise mistake(
                "a power such as x^1/3 has two readings: write brackets around the exponent",
                token,
            )


def _without_indices(tokens: list[Token]) -> Iterator[Token]:
    """The tokens outside of what stands below names."""
    index = 0
    while index < len(tokens):
        if tokens[index].text == "_":
            index = after_script(tokens, index)
        else:
            yield tokens[index]
            index += 1


def _refuse_words(tokens: list[Token], names: Mapping[Any, Expr]) -> None:
    """A word of letters side by side, which would be their product."""
    # Names of several letters that the user has, without their braces and backslashes.
    words = {
        re.sub(r"\\mathrm\{|\\_|[\\}]", "", name.head)
        for name in names
        if len(name.head) > 1
    }
    for run in _runs_of_letters(tokens):
        word = "".join(token.text for token in run)
        remedy = _remedy(word, words)
        if remedy:
            raise mistake(
                f'"{word}" would be a product of letters: write {remedy}, or spaces between factors',
                run[0],
            )


def _remedy(word: str, names: set[str]) -> str:
    """How to write a word of letters, or nothing for letters that no reader takes for a word."""
    for function in _WORDS:
        if word.startswith(function) or word.endswith(function):
            is_known = function in FUNCTIONS
            if is_known:
                return rf"\operatorname{{{function}}}"
            return "what it stands for"
    if word in GREEK:
        return rf"\{word}"
    if word in names:
        return rf"\mathrm{{{word}}}"
    return ""


def _runs_of_letters(tokens: list[Token]) -> Iterator[list[Token]]:
    """Two or more letters with nothing between them, not even a space."""
    run: list[Token] = []
    for token in tokens:
        is_letter = token.kind == "name" and len(token.text) == 1
        if is_letter and run and token.position == run[-1].position + 1:
            run.append(token)
            continue
        if len(run) > 1:
            yield run
        run = [token] if is_letter else []


def _refuse_arguments(tokens: list[Token]) -> None:
    """v(t) and v(0), which would be products."""
    for index, token in enumerate(tokens[:-3]):
        opening, inside, closing = tokens[index + 1 : index + 4]
        has_brackets = opening.text == "(" and closing.text == ")"
        is_single = has_brackets and inside.kind in ("name", "number")
        if is_single and inside.text not in OPEN and _ends_a_name(tokens, index):
            raise mistake(
                f"a name before ({inside.text}) has two readings: leave the argument of a function out, and the "
                "brackets of a product",
                token,
            )


def _ends_a_name(tokens: list[Token], index: int) -> bool:
    """Whether the token is the last of a name, or of the one exponent of a name."""
    before = tokens[index - 1].text if index else ""
    if before == "^":
        return index > 1 and tokens[index - 2].kind == "name"
    return tokens[index].kind == "name" and not _is_function(tokens[index])


def _is_function(token: Token) -> bool:
    return token.text.removeprefix(r"\mathrm{").removesuffix("}") in _WORDS


def _refuse_upper_indices(tokens: list[Token]) -> None:
    """v^{(2)}, which would be the square."""
    brackets = (["^", "{", "(", ")", "}"], ["^", "{", "[", "]", "}"])
    for start, token in enumerate(tokens):
        texts = [other.text for other in tokens[start : start + 6]]
        if [*texts[:3], *texts[4:]] in brackets:
            index = texts[3]
            raise mistake(
                f"^{{({index})}} has two readings: write ^{{{index}}} for a power, indices below",
                token,
            )


def _refuse_exponents_of_e(tokens: list[Token], names: Mapping[Any, Expr]) -> None:
    """e^2t, which would be e² times t."""
    for index, token in enumerate(tokens[:-3]):
        caret, exponent, after = tokens[index + 1 : index + 4]
        is_e = token.kind == "name" and names.get(Name(token.text)) == sp.E
        is_single = caret.text == "^" and exponent.kind in ("number", "name")
        goes_on = after.kind == "name" or after.text == "("
        if is_e and is_single and goes_on:
            raise mistake(
                f"e^{exponent.text}{after.text} has two readings: write braces, e^{{…}}",
                token,
            )


def _refuse_derivatives(tokens: list[Token]) -> None:
    r"""\frac{dv}{dt} on a right side, which would be a quotient of products."""
    texts = [token.text for token in tokens]
    for index, token in enumerate(tokens):
        if texts[index : index + 3] != [r"\frac", "{", "d"]:
            continue
        after = texts[index:]
        if "}" in after and after[after.index("}") :][:3] == ["}", "{", "d"]:
            raise mistake(
                "a derivative may stand on the left of an equation only", token
            )
