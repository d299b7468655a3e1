"""Links from the pages of source back to the reference, for names that stand below several packages.

sphinx.ext.viewcode takes one package for all names of a file, though some are exported by a package and others,
classes that functions return, are not. So a name answers to its module and to every package above it.
"""

from importlib import import_module

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx


def home(module: str, fullname: str) -> str:
    """The module that defines what a package exports under this name."""
    exported = getattr(import_module(module), fullname.split(".")[0], None)
    return getattr(exported, "__module__", None) or module


def answer_to_packages(app: Sphinx, doctree: nodes.document) -> None:
    """Give a signature the anchors that its name would have in its module and the packages above."""
    for signature in doctree.findall(addnodes.desc_signature):
        module, fullname = signature.get("module"), signature.get("fullname")
        if not module or not fullname:
            continue
        parts = home(module, fullname).split(".")
        for depth in range(1, len(parts) + 1):
            anchor = ".".join([*parts[:depth], fullname])
            if anchor not in signature["ids"]:
                signature["ids"].append(anchor)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", answer_to_packages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
