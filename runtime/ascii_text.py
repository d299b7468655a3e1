"""Text for outputs that do not know every character: λ is spelled lambda there, → is ->, and 10⁻⁴ is 10^-4."""

import codecs
import os
import sys
import unicodedata

IN_ASCII = "attndyn.in_ascii"
"""The name under which Python's encoders find the error handler below."""

_SPELLED = {
    "→": "->", "←": "<-", "–": "-", "—": "-", "−": "-", "…": "...", "∅": "{}", "·": "*", "⋅": "*", "×": "x",
    "√": "sqrt ", "∂": "d", "∞": "inf", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∝": "~", "±": "+-", "‖": "||",
    "⊗": "(x)", "∫": "integral ", "′": "'", "⟨": "<", "⟩": ">", "⌊": "floor(", "⌋": ")", "∈": "in", "ᵀ": "^T",
    "½": "1/2", "⅓": "1/3", "⅙": "1/6", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
"""Characters whose ASCII spelling does not follow from their names."""

_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵖ", "₀₁₂₃₄₅₆₇₈₉₋₊"


def spelled(text: str, encoding: str) -> str:
    """The text, with ASCII spellings of what the encoding does not know.

    >>> spelled("λ² ≥ 10⁻⁴", "ascii"), spelled("λ²", "cp1252"), spelled("λ²", "utf-8")
    ('lambda^2 >= 10^-4', 'lambda²', 'λ²')
    """
    return text.encode(encoding, IN_ASCII).decode(encoding, "replace")


def named(path: str | os.PathLike[str]) -> str:
    """The name of a file for standard output, where it is never spelled: another name would be another file.

    What the output does not know goes there as the bytes that the file system has.

    >>> named("run.npz")
    'run.npz'
    """
    name = os.fspath(path)
    try:
        name.encode(getattr(sys.stdout, "encoding", None) or "utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return os.fsencode(name).decode("ascii", "surrogateescape")
    return name


def in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """The error handler of encoders that spells the first character which an encoding does not know."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    start = error.start
    character = error.object[start]
    # A byte of a file name that was no text is the byte itself: Python keeps it as a surrogate.
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return bytes([ord(character) - 0xDC00]), start + 1
    before = error.object[start - 1 : start]
    return _spelling(character, before), start + 1


def _spelling(character: str, before: str) -> str:
    """The ASCII spelling of a character that follows another one."""
    if character in _SPELLED:
        return _SPELLED[character]
    for sign, row in (("^", _RAISED), ("_", _LOWERED)):
        if character in row:
            digit = unicodedata.normalize("NFKC", character).replace("−", "-")
            return digit if before and before in row else f"{sign}{digit}"
    if unicodedata.combining(character):  # an accent on the letter before
        return ""
    name = unicodedata.name(character, "").split()
    if name[:2] in (["GREEK", "SMALL"], ["GREEK", "CAPITAL"]):
        letter = name[-1].lower().replace("lamda", "lambda")  # as Unicode spells it
        return letter.capitalize() if name[1] == "CAPITAL" else letter
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or character.encode("ascii", "backslashreplace").decode()


codecs.register_error(IN_ASCII, in_ascii)
