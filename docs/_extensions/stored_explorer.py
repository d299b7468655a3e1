"""The explorer with stored answers, beside the pages: build/site/explorer.

It is computed in a process of its own while the gallery runs and the pages are read and written.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

PACKAGE = Path(__file__).parents[2]
SOURCES = ("explore", "compare", "theory", "simulate", "models", "teachers", "runtime")
"""Folders that its answers depend on."""


def is_current(folder: Path) -> bool:
    """Whether the stored pages are younger than everything that they are computed from."""
    index = folder / "index.html"
    if not index.is_file():
        return False
    written = index.stat().st_mtime
    files = [*PACKAGE.glob("*.py")]
    files += [file for name in SOURCES for file in (PACKAGE / name).rglob("*.*")]
    return all(
        file.stat().st_mtime < written for file in files if file.suffix != ".pyc"
    )


def begin(app: Sphinx) -> None:
    """Start the process, unless its pages are there already."""
    app.stored_explorer = None
    stored = Path(app.doctreedir).parent / "explorer"
    if app.builder.format == "html" and not is_current(stored):
        command = [sys.executable, "-m", "attndyn.explore.stored", str(stored)]
        app.stored_explorer = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )


def finish(app: Sphinx, error: Exception | None) -> None:
    """Wait for it, and put its pages among the others."""
    process = app.stored_explorer
    if process is not None and error is not None:
        process.kill()
    if process is not None:
        _output, complaint = process.communicate()
        if process.returncode and error is None:
            raise ExtensionError(f"the stored explorer was not written: {complaint}")
    if error is None and app.builder.format == "html":
        stored = Path(app.doctreedir).parent / "explorer"
        shutil.copytree(stored, Path(app.outdir) / "explorer", dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    # Before the gallery, which begins at the same event.
    app.connect("builder-inited", begin, priority=1)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
