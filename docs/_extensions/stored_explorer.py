"""The explorer with stored answers, beside the pages: build/site/explorer."""

from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx


def write_explorer(app: Sphinx, error: Exception | None) -> None:
    """Write it after the pages, which link to it."""
    if error is not None or app.builder.format != "html":
        return
    if find_spec("attndyn.explore.stored") is None:
        return
    from attndyn.explore import stored

    stored.write(Path(app.outdir) / "explorer")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", write_explorer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
