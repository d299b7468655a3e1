"""`[flow time](glossary.md)` leads to the entry *flow time*: on GitHub to the page, here to the very word."""

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx


def point_at_entries(app: Sphinx, doctree: nodes.document) -> None:
    """Turn links to the glossary as a whole into links to the entry that their text names."""
    for link in doctree.findall(addnodes.pending_xref):
        whole_page = link.get("reftype") == "myst" and not link.get("reftargetid")
        if not whole_page or link.get("reftarget") != "glossary":
            continue
        text = link.astext()
        if text.lower() == "glossary":
            continue
        link.update_all_atts({"refdomain": "std", "reftype": "term"}, replace=True)
        link["reftarget"] = text
        link["refwarn"] = True


def singular(
    app: Sphinx, env: object, link: addnodes.pending_xref, text: nodes.Element
) -> nodes.Node | None:
    """The entry *saddle* for *saddles*."""
    word = link.get("reftarget", "")
    if link.get("reftype") != "term" or not word.endswith("s"):
        return None
    domain = app.env.domains["std"]
    return domain.resolve_xref(
        app.env, link["refdoc"], app.builder, "term", word[:-1], link, text
    )


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", point_at_entries)
    app.connect("missing-reference", singular)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
