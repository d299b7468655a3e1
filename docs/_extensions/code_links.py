"""Code that is exactly a documented name, such as `theory.staircase` or `Task`, leads to its page."""

import re
from typing import Any

import make_reference
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"^(?:attndyn\.)?([A-Za-z_][\w.]*)(?:\(.*\))?$", re.DOTALL)
"""A dotted name, alone or with arguments in brackets."""

TOO_COMMON = {"N", "TIME"}
"""Documented names that mean something else in running text."""


def target(text: str, objects: dict[str, Any]) -> str | None:
    """The full name that code stands for: as it is, below `attndyn`, or the only one with this last part."""
    match = NAME.match(text.strip())
    if match is None or match[1] in TOO_COMMON:
        return None
    name = match[1]
    for full in (f"attndyn.{name}", *make_reference.full_names().get(name, ())):
        found = make_reference.documented_as(full)
        if found in objects:
            return found
        owner, _, member = found.rpartition(".")
        inherited = f"{make_reference.documented_as(owner)}.{member}"
        if inherited in objects:
            return inherited
    return None


def link_code(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make references of the literals of a page that name something documented on another."""
    objects = app.env.domains["py"].data["objects"]
    for literal in list(doctree.findall(nodes.literal)):
        inside = literal.parent
        if isinstance(inside, nodes.reference | nodes.title):
            continue
        full = target(literal.astext(), objects)
        if full is None or objects[full].docname == docname:
            continue
        entry = objects[full]
        reference = make_refnode(
            app.builder,
            docname,
            entry.docname,
            entry.node_id,
            [literal.deepcopy()],
            full,
        )
        literal.replace_self(reference)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
