"""Code that is exactly the id of a claim, such as `separate.plateaus`, leads to its row on the page of claims."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

PAGE = "claims"
"""The page whose tables have a row for each claim."""

ROW = re.compile(r"^\| `(\w+\.\w+)` \|", re.MULTILINE)
"""The beginning of the row of a claim."""


def anchor(claim: str) -> str:
    """The place of a claim on its page."""
    return f"claim-{claim.replace('.', '-').replace('_', '-')}"


def claims_listed(source: Path) -> frozenset[str]:
    """The ids of all claims, as the page lists them."""
    return frozenset(ROW.findall((source / f"{PAGE}.md").read_text(encoding="utf-8")))


def mark_rows(app: Sphinx, doctree: nodes.document) -> None:
    """Give every row of the page of claims a place that links can lead to."""
    if app.env.docname != PAGE:
        return
    claims = claims_listed(app.srcdir)
    for row in doctree.findall(nodes.row):
        first = row.next_node(nodes.literal)
        if first is not None and first.astext() in claims:
            row["ids"].append(anchor(first.astext()))


def link_claims(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make references of the literals of a page that are ids of claims."""
    if docname == PAGE:
        return
    claims = claims_listed(app.srcdir)
    for literal in list(doctree.findall(nodes.literal)):
        claim = literal.astext()
        if claim not in claims or isinstance(literal.parent, nodes.reference):
            continue
        text = [literal.deepcopy()]
        reference = make_refnode(app.builder, docname, PAGE, anchor(claim), text)
        literal.replace_self(reference)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", mark_rows)
    app.connect("doctree-resolved", link_claims)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
