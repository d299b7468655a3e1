"""Dotted names in the cells of tables may break after a dot, so that no column pushes the others out of sight."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

CELL = re.compile(r"<td\b.*?</td>", re.DOTALL)
DOTTED_NAME = re.compile(r'(?<=<span class="pre">)\w+(?:\.\w+)+(?=</span>)')


def with_breaks(body: str) -> str:
    """The HTML of a page, with a place to break after each dot of a name in a table."""

    def dots(name: re.Match[str]) -> str:
        return name[0].replace(".", ".<wbr>")

    return CELL.sub(lambda cell: DOTTED_NAME.sub(dots, cell[0]), body)


def break_names(
    app: "Sphinx",
    page: str,
    template: str,
    context: dict[str, str],
    doctree: "nodes.document | None",
) -> None:
    if doctree is not None:
        context["body"] = with_breaks(context["body"])


def setup(app: "Sphinx") -> dict[str, bool]:
    app.connect("html-page-context", break_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
