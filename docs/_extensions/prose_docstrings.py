"""Docstrings are prose with `code`, |k|, M* and v_d: reStructuredText would read markup into them."""

import re
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(``.+?``|`[^`]+`(?:_\b)?)")
"""Code between backticks, single or double."""

BULLET = re.compile(r"\s*(?:[-*]|\d+\.) ")


def prose_line(line: str) -> str:
    """A line in which only backticks are markup.

    >>> prose_line("|k| and `v_d`² of M* and x_")
    '\\\\|k\\\\| and ``v_d``\\\\ ² of M\\\\* and x\\\\_'
    """
    parts = CODE.split(line)
    result = prose_part(parts[0])
    for code, text in zip(parts[1::2], parts[2::2], strict=True):
        # reStructuredText wants a space or punctuation on both sides: an escaped space is none to the reader.
        before = "" if re.search(r"(^|[\s(\[{\"'/-])$", result) else "\\ "
        after = "" if re.match(r"$|[\s.,;:!?)\]}\"'/-]", text) else "\\ "
        result += before + "``" + code.strip("`") + "``" + after + prose_part(text)
    return result


def prose_part(part: str) -> str:
    part = part.replace("\\", "\\\\")
    part = re.sub(r"([|*])", r"\\\1", part)
    part = re.sub(r"^(\s*)\\\* ", r"\1- ", part)  # a bullet stays one
    return re.sub(r"(\w)_(?!\w)", r"\1\\_", part)


def prose(lines: list[str]) -> list[str]:
    """A docstring in which prose is escaped, doctests stay, and each list begins after an empty line."""
    result: list[str] = []
    in_session = False
    for line in lines:
        in_session = in_session and bool(line.strip())
        if line.lstrip().startswith(">>>"):
            in_session = True
        if in_session:
            result.append(line)
            continue
        starts_list = BULLET.match(line) and result and result[-1].strip()
        if (
            starts_list
            and not BULLET.match(result[-1])
            and not result[-1].startswith(" ")
        ):
            result.append("")
        result.append(prose_line(line))
    return result


def rewrite(*arguments: Any) -> None:
    """Replace a docstring in place; it is the last of the arguments that Sphinx hands to such a function."""
    lines = arguments[-1]
    lines[:] = prose(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
