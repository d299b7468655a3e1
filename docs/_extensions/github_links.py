"""Links that work on GitHub and lead out of this folder, to what is a page here."""

import re

from sphinx.application import Sphinx

SCRIPT = re.compile(r"gallery_src/([\w/]+)\.py\)")
"""The end of a link on GitHub to a script of the gallery, which has a page here."""

PAGES = {"(../CONTRIBUTING.md": "(contributing.md"}
"""Beginning of a link on GitHub → the page of the site."""


def lead_inside(app: Sphinx, docname: str, source: list[str]) -> None:
    """Change the links of a page before it is read."""
    for outside, page in PAGES.items():
        source[0] = source[0].replace(outside, page)
    source[0] = SCRIPT.sub(r"gallery/\1.rst)", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", lead_inside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
