"""Text and LaTeX formulas cut into tokens: numbers, names, operators, brackets and, in LaTeX, commands."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

from .symbol_names import GREEK, upright

MAX_LENGTH = 100_000
"""The most characters that a formula may have."""

FUNCTIONS = (
    *("sqrt", "cbrt", "exp", "log", "ln", "sinh", "cosh", "tanh", "atan", "arctan"),
    *("average", "avg"),
)
"""Names that stand before brackets."""

OPEN = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\langle": r"\rangle"}
"""Opening brackets and what closes them."""

_UNICODE = str.maketrans({"−": "-", "·": "*", "⋅": "*", "×": "*"})

_NUMBER = r"(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
"""1, 1.5, .5 and 1e-3; a full stop behind a number ends a sentence."""

_TEXT = re.compile(
    rf"[^\S\n]*(?:{_NUMBER}\.?|(?P<name>[^\W\d]\w*)|(?P<op>\*\*|[-+*/^()=,.;'])|(?P<line>\n))"
)

_ENVIRONMENTS = "aligned|align|equation|split|gather|gathered|multline|eqnarray"
_LATEX = re.compile(
    rf"\s*(?:{_NUMBER}"
    # Names of several letters: \mathrm{value}, \text{value}, and \mathrm d of one letter.
    r"|\\(?:mathrm|operatorname|text|mathit|mathsf|textrm)\s*\{\s*(?P<word>(?:[^\W_]|\\_|_)+)\s*\}"
    r"|\\(?:mathrm|mathit|mathsf)\s+(?P<upright>[a-zA-Z])"
    # What encloses equations, and ends their lines: \\ and \\[2pt].
    rf"|\\(?:begin|end)\s*\{{(?P<environment>(?:{_ENVIRONMENTS})\*?)\}}"
    r"|(?P<display>\\[\[\]])"
    r"|(?P<line>\\\\)\*?(?:\s*\[\s*-?[0-9.]+\s*(?:pt|em|ex|mm|cm|in|mu)\s*\])?(?!\s*\[)"
    r"|(?P<command>\\(?:[a-zA-Z]+|.))"
    r"|(?P<letter>[^\W\d_])|(?P<op>[-+*/^()\[\]{}=_,.;&~]))"
)
_COMMENT = re.compile(r"(?<!\\)(?P<lines>(?:\\\\)*)%.*")
_LABEL = re.compile(r"\\(?:label|tag\*?)\s*\{[^{}]*\}")

_SIZES = [
    rf"\{size}{side}"
    for size in ("big", "Big", "bigg", "Bigg")
    for side in ("", "l", "r")
]
_SPACES_AND_STYLES = r"""
\, \: \; \! \> ~ \left \right \limits \displaystyle \textstyle \nonumber \notag
"""
_SPACE = frozenset([*_SPACES_AND_STYLES.split(), "\\ ", *_SIZES])
"""Commands that set spaces and sizes, and mean nothing."""

_SYNONYMS = {
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

_COMMANDS = r"""
\frac \sqrt \exp \log \ln \sinh \cosh \tanh \arctan \overline \dot
\langle \rangle \{ \} \mathrm \operatorname \over
"""
COMMANDS = frozenset(_COMMANDS.split())
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
    whole = str(text)
    if len(whole) <= 40:
        return whole
    return whole[:40] + "…"


def text_tokens(source: str) -> list[Token]:
    """The tokens of a formula in text; ValueError names a character that has no meaning."""
    return list(_cut(_plain(source), _TEXT))


def latex_tokens(source: str) -> list[Token]:
    r"""The tokens of a formula in LaTeX, without spaces, sizes, comments and alignment; `\\` is of kind line.

    ValueError names unknown commands, characters that have no meaning, and an & where no sign stands beside it.
    """
    # Comments, labels and dollars become spaces, so that positions in messages stay those of the source.
    plain = _COMMENT.sub(
        lambda comment: comment["lines"].ljust(len(comment[0])), _plain(source)
    )
    plain = _LABEL.sub(_blank, plain)
    plain = re.sub(r"^\s*\${1,2}|\${1,2}\s*$", _blank, plain)
    tokens = [
        _latex_token(token)
        for token in _cut(plain, _LATEX)
        if token.text and token.text not in _SPACE
    ]
    return list(_without_alignment(tokens))


def without_lines(tokens: list[Token]) -> list[Token]:
    """The tokens of one formula that may go on over lines, without a full stop or a comma at its end.

    ValueError where a line ends and no sign joins it to the next: these are two formulas.
    """
    # A formula in a sentence may end with its punctuation.
    while len(tokens) > 1 and (tokens[-2].kind == "line" or tokens[-2].text in _STOPS):
        tokens = [*tokens[:-2], tokens[-1]]
    joined: list[Token] = []
    line_end: Token | None = None
    for token in tokens:
        if token.kind == "line":
            line_end = token
            continue
        if line_end and joined and not (_opens(joined[-1]) or _goes_on(token)):
            raise mistake(
                "a line ends and the next begins with no sign between them", line_end
            )
        joined.append(token)
        line_end = None
    return joined


def after_script(tokens: list[Token], index: int) -> int:
    """The index of the token after the ^ or _ at `index` and its argument, one token or a group in braces."""
    index += 1
    # Braces may be nested; the group ends where the depth is zero again.
    depth = 0
    while tokens[index].kind != "end":
        depth += {"{": 1, "}": -1}.get(tokens[index].text, 0)
        index += 1
        if depth <= 0:
            break
    return index


def _without_alignment(tokens: list[Token]) -> Iterator[Token]:
    r"""The tokens but for every & and \quad, which must stand beside a sign or at an end of a line."""
    before: Token | None = None
    for index, token in enumerate(tokens):
        if token.text not in _GAPS:
            yield token
            before = token
            continue
        after = next(other for other in tokens[index:] if other.text not in _GAPS)
        if not _may_stand_between(before, after):
            raise mistake(
                f"{token.text} must stand beside a sign such as = or +", token
            )


def _may_stand_between(before: Token | None, after: Token) -> bool:
    """Whether a gap may stand here: at an end of a line, or beside a sign."""
    if before is None or before.kind == "line" or after.kind in ("line", "end"):
        return True
    return before.text in _SIGNS or after.text in _SIGNS


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
    start = 0
    while start < end:
        match = pattern.match(source, start)
        if match is None:
            start += len(source[start:]) - len(source[start:].lstrip())
            raise ValueError(
                f'unexpected character "{source[start]}", at position {start + 1}'
            )
        kind = str(match.lastgroup)
        yield Token(kind, match[kind], match.start(kind) + 1)
        start = match.end()
    yield Token("end", " ", end + 1)


def _latex_token(token: Token) -> Token:
    """The token of LaTeX as one of the kinds that the grammar knows; ValueError for an unknown command."""
    text = _SYNONYMS.get(token.text, token.text)
    match token.kind:
        case "word" | "upright":
            return token._replace(kind="name", text=upright(text.replace(r"\_", "_")))
        case "letter":
            return token._replace(kind="name")
        case "environment" | "display" | "line":
            return token._replace(kind="line")
        case "command":
            return _command_token(token, text)
    return token


def _command_token(token: Token, text: str) -> Token:
    """The token of a command, `text` if that is another name for it."""
    if text[1:] in GREEK:
        return token._replace(kind="name", text=text)
    is_known = text in COMMANDS or text in _GAPS or text in _SYNONYMS.values()
    if not is_known:
        names = [*COMMANDS, *("\\" + letter for letter in GREEK)]
        matches = get_close_matches(text, names, n=3)
        hint = f" (did you mean {' or '.join(matches)}?)" if matches else ""
        raise mistake(f'unknown LaTeX command "{clipped(text)}"{hint}', token)
    # \langle and \{ are brackets, \cdot is the sign *.
    is_bracket = text in OPEN or text in OPEN.values()
    is_sign = not text.startswith("\\")
    kind = "op" if is_bracket or is_sign else "command"
    return token._replace(kind=kind, text=text)
