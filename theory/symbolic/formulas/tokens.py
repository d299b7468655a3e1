"""Text and LaTeX formulas cut into tokens: numbers, names, operators, brackets and, in LaTeX, commands."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

from .symbol_names import GREEK, upright

MAX_LENGTH = 100_000
"""The most characters that a formula may have."""

FUNCTIONS = (
    "sqrt",
    "cbrt",
    "exp",
    "log",
    "ln",
    "sinh",
    "cosh",
    "tanh",
    "atan",
    "arctan",
    "average",
    "avg",
)
"""Names that stand before brackets."""

OPEN = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\langle": r"\rangle"}
"""Opening brackets and what closes them."""

_UNICODE = str.maketrans({"−": "-", "·": "*", "⋅": "*", "×": "*"})
_NUMBER = r"(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
_TEXT = re.compile(
    rf"[^\S\n]*(?:{_NUMBER}\.?|(?P<name>[^\W\d]\w*)|(?P<op>\*\*|[-+*/^()=,.;'])|(?P<line>\n))"
)
_LATEX = re.compile(
    rf"\s*(?:{_NUMBER}"
    r"|\\(?:mathrm|operatorname|text|mathit|mathsf|textrm)\s*\{\s*(?P<word>(?:[^\W_]|\\_|_)+)\s*\}"
    r"|\\(?:mathrm|mathit|mathsf)\s+(?P<upright>[a-zA-Z])"
    r"|\\(?:begin|end)\s*\{(?P<environment>(?:aligned|align|equation|split|gather|gathered|multline|eqnarray)\*?)\}"
    r"|(?P<display>\\[\[\]])"
    r"|(?P<line>\\\\)\*?(?:\s*\[\s*-?[0-9.]+\s*(?:pt|em|ex|mm|cm|in|mu)\s*\])?(?!\s*\[)"
    r"|(?P<command>\\(?:[a-zA-Z]+|.))"
    r"|(?P<letter>[^\W\d_])|(?P<op>[-+*/^()\[\]{}=_,.;&~]))"
)
_COMMENT = re.compile(r"(?<!\\)(?P<lines>(?:\\\\)*)%.*")
_LABEL = re.compile(r"\\(?:label|tag\*?)\s*\{[^{}]*\}")
_SPACE = {
    *(r"\,", r"\:", r"\;", r"\!", r"\>", "\\ ", "~", r"\left", r"\right", r"\limits"),
    *(
        rf"\{size}{side}"
        for size in ("big", "Big", "bigg", "Bigg")
        for side in ("", "l", "r")
    ),
    *(r"\displaystyle", r"\textstyle", r"\nonumber", r"\notag"),
}
_OPERATORS = {
    r"\cdot": "*",
    r"\times": "*",
    r"\tfrac": r"\frac",
    r"\dfrac": r"\frac",
    r"\lbrace": r"\{",
    r"\rbrace": r"\}",
    r"\bar": r"\overline",
}
_GAPS = ("&", r"\quad", r"\qquad")
_SIGNS = ("+", "-", "*", "/", "=")
_STOPS = (".", ",", ";")
COMMANDS = frozenset(
    {
        r"\frac",
        r"\sqrt",
        r"\exp",
        r"\log",
        r"\ln",
        r"\sinh",
        r"\cosh",
        r"\tanh",
        r"\arctan",
        r"\overline",
        r"\dot",
    }
    | {r"\langle", r"\rangle", r"\{", r"\}", r"\mathrm", r"\operatorname", r"\over"}
)
"""The commands that a formula in LaTeX may have, besides Greek letters, spaces and sizes."""


class Token(NamedTuple):
    """A piece of a formula: `kind` is number, name, command, op, line or end; `position` counts from 1."""

    kind: str
    text: str
    position: int


def mistake(message: str, token: Token) -> ValueError:
    """The error that says what is wrong and where."""
    return ValueError(f"{message}, at position {token.position}")


def clipped(text: object) -> str:
    """The text, or its beginning if it is long."""
    shown = str(text)
    return shown if len(shown) <= 40 else shown[:40] + "…"


def text_tokens(source: str) -> list[Token]:
    """The tokens of a formula in text; ValueError names a character that has no meaning."""
    return list(_cut(_plain(source), _TEXT))


def latex_tokens(source: str) -> list[Token]:
    r"""The tokens of a formula in LaTeX, without spaces, sizes, comments and alignment; `\\` is of kind line.

    ValueError names unknown commands, characters that have no meaning, and an & where no sign stands beside it.
    """
    plain = _COMMENT.sub(
        lambda comment: comment["lines"].ljust(len(comment[0])), _plain(source)
    )
    source = re.sub(r"^\s*\${1,2}|\${1,2}\s*$", _blank, _LABEL.sub(_blank, plain))
    tokens = [
        _latex_token(token)
        for token in _cut(source, _LATEX)
        if token.text not in _SPACE and token.text
    ]
    return list(_without_alignment(tokens))


def without_lines(tokens: list[Token]) -> list[Token]:
    """The tokens of one formula that may go on over lines, without a full stop or a comma at its end.

    ValueError where a line ends and no sign joins it to the next: these are two formulas.
    """
    while tokens[-2:-1] and (tokens[-2].kind == "line" or tokens[-2].text in _STOPS):
        tokens = [*tokens[:-2], tokens[-1]]
    joined: list[Token] = []
    line: Token | None = None
    for token in tokens:
        if token.kind == "line":
            line = token
            continue
        if line is not None and joined and not (_opens(joined[-1]) or _goes_on(token)):
            raise mistake(
                "a line ends and the next begins with no sign between them", line
            )
        joined.append(token)
        line = None
    return joined


def _without_alignment(tokens: list[Token]) -> Iterator[Token]:
    r"""The tokens but for every & and \quad, which must stand beside a sign or at an end of a line."""
    before: Token | None = None
    for place, token in enumerate(tokens):
        if token.text not in _GAPS:
            yield token
            before = token
            continue
        after = next(each for each in tokens[place:] if each.text not in _GAPS)
        at_end = (
            before is None or "line" in (before.kind, after.kind) or after.kind == "end"
        )
        if (
            not at_end
            and before
            and before.text not in _SIGNS
            and after.text not in _SIGNS
        ):
            raise mistake(
                f"{token.text} must stand beside a sign such as = or +", token
            )


def _opens(token: Token) -> bool:
    """Whether a formula must go on after this token."""
    return token.text in _SIGNS or token.text in OPEN


def _goes_on(token: Token) -> bool:
    """Whether a formula that goes on may do so with this token."""
    return token.text in _SIGNS or token.text in OPEN.values() or token.kind == "end"


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _plain(source: object) -> str:
    if not isinstance(source, str):
        raise ValueError(f"a formula must be text, not {source!r}")
    if len(source) > MAX_LENGTH:
        raise ValueError(
            f"a formula may have {MAX_LENGTH} characters, not {len(source)}"
        )
    return source.translate(_UNICODE)


def _cut(source: str, pattern: re.Pattern[str]) -> Iterator[Token]:
    end = len(source.rstrip())
    place = 0
    while place < end:
        match = pattern.match(source, place)
        if match is None:
            place += len(source[place:]) - len(source[place:].lstrip())
            raise ValueError(
                f'unexpected character "{source[place]}", at position {place + 1}'
            )
        kind = str(match.lastgroup)
        yield Token(kind, match[kind], match.start(kind) + 1)
        place = match.end()
    yield Token("end", " ", end + 1)


def _latex_token(token: Token) -> Token:
    kind, text, position = token
    text = _OPERATORS.get(text, text)
    if kind in ("word", "upright"):
        return Token("name", upright(text.replace(r"\_", "_")), position)
    if kind == "letter" or (kind == "command" and text[1:] in GREEK):
        return Token("name", text, position)
    if kind in ("environment", "display", "line"):
        return Token("line", text, position)
    if (
        kind == "command"
        and text not in COMMANDS
        and text not in _GAPS
        and text not in _OPERATORS.values()
    ):
        near = get_close_matches(
            text, [*COMMANDS, *("\\" + letter for letter in GREEK)], n=3
        )
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise mistake(f'unknown LaTeX command "{clipped(text)}"{hint}', token)
    is_op = kind == "command" and (
        text in OPEN or text in OPEN.values() or text[0] != "\\"
    )
    return Token("op" if is_op else kind, text, position)
