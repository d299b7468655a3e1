"""Copies of the tabs that need no server: pages that open from disk, with stored answers to a grid of settings.

`python -m attndyn.explore.stored FOLDER` writes them, one a tab, and `index.html` that leads to them.
"""

import base64
import gzip
import html
import json
import re
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from ..runtime.files import AnyPath, as_path
from .answers import Answer, encoded
from .controls import written
from .tab import Grid, Tab
from .tabs import all_tabs

PAGE = Path(__file__).parent / "page"
"""The files of the page."""

_NOTE = (
    '<p class="stored-note">This is a <strong>stored copy</strong>: '
    "it answers for the controls that are not grey. To move all of them, "
    "<code>pip install 'attndyn[explore]'</code> and run <code>attndyn explore</code>.</p>\n"
)

_IMPORT = re.compile(r'from "\./(\w+)\.js"')
"""How the scripts of the page import each other."""


def write_stored(folder: AnyPath, tabs: tuple[Tab, ...] | None = None) -> list[Path]:
    """Write a page for each tab, all if none are given, and `index.html`; returns their paths.

    What is written is the same each time. OSError if the folder cannot be written.
    """
    shown = all_tabs() if tabs is None else tabs
    place = as_path(folder)
    place.mkdir(parents=True, exist_ok=True)
    texts = {f"{tab.name}.html": stored_page(tab, shown) for tab in shown}
    texts["index.html"] = _index(shown)
    paths = []
    for name, text in texts.items():
        path = place / name
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def stored_page(tab: Tab, tabs: tuple[Tab, ...]) -> str:
    """The page of a tab with its answers and everything else that it needs; it has links to those of the other tabs."""
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    head, _, rest = text.partition('<link rel="icon"')
    body = rest.partition("</head>")[2]
    styles = _read("vendor/uPlot.min.css") + _read("explorer.css")
    described = {
        "tabs": [_described(each, tab) for each in tabs],
        "grids": [_listed(grid) for grid in tab.stored],
    }
    parts = [
        head,
        f"<style>\n{styles}</style>\n",
        f"<script>\n{_read('vendor/uPlot.iife.min.js')}</script>\n",
        f'<script type="importmap">{_json({"imports": _modules(tab)})}</script>\n',
        f'<script type="application/json" id="stored-tabs">{_json(described)}</script>\n',
        f'<script type="application/octet-stream" id="stored-answers">{_packed(tab)}</script>\n',
        '<script type="module">import "stored";</script>\n',
        "</head>",
        body.replace('<main class="explorer">', f'{_NOTE}<main class="explorer">'),
    ]
    return "".join(parts)


def combinations(grid: Grid) -> Iterator[dict[str, Any]]:
    """The settings of a grid, the last one changing fastest.

    >>> list(combinations({"model": ("merged",), "seed": (0, 1)}))
    [{'model': 'merged', 'seed': 0}, {'model': 'merged', 'seed': 1}]
    """
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def stored_answer(tab: Tab, given: dict[str, Any]) -> dict[str, Answer]:
    """The answers to some settings, by part; with the first one the same in Python."""
    answers = {part: tab.respond(given, part) for part in tab.parts}
    first = next(iter(tab.parts))
    answers[first]["python"] = tab.in_python(tab.settings(given))
    return answers


def _packed(tab: Tab) -> str:
    """The answers of all grids, compressed, as text."""
    grids = [
        [stored_answer(tab, given) for given in combinations(grid)]
        for grid in tab.stored
    ]
    # Without the time: the same bytes each time.
    return base64.b64encode(gzip.compress(encoded(grids), mtime=0)).decode()


def _modules(tab: Tab) -> dict[str, str]:
    """The scripts by bare names, as addresses that hold their text: a page from disk may not load files."""
    names = [path.stem for path in sorted(PAGE.glob("*.js"))]
    others = {each.name for each in all_tabs()} - {tab.name}
    modules = {}
    for name in names:
        if name not in others:
            text = _IMPORT.sub(r'from "\1"', _read(f"{name}.js"))
            content = base64.b64encode(text.encode()).decode()
            modules[name] = f"data:text/javascript;base64,{content}"
    return modules


def _described(tab: Tab, shown: Tab) -> dict[str, Any]:
    """What the page is told of a tab: of others where they are."""
    if tab is shown:
        return tab.to_dict()
    return {"name": tab.name, "title": tab.title, "href": f"{tab.name}.html"}


def _listed(grid: Grid) -> dict[str, list[Any]]:
    return {
        name: [
            written(value) if isinstance(value, float) else value for value in values
        ]
        for name, values in grid.items()
    }


def _index(tabs: tuple[Tab, ...]) -> str:
    """A page that leads to the others."""
    entries = "".join(
        f'<li><a href="{tab.name}.html">{html.escape(tab.title)}</a><br>{html.escape(tab.introduction)}</li>\n'
        for tab in tabs
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>attndyn explorer</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        "<style>body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif } "
        "li { margin: 1rem 0 }</style>\n</head>\n<body>\n<h1>attndyn explorer, stored copies</h1>\n"
        f"<ul>\n{entries}</ul>\n</body>\n</html>\n"
    )


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that may stand in a script of HTML."""
    return json.dumps(value, ensure_ascii=False).replace("</", "<\\/")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m attndyn.explore.stored FOLDER")
    for written_page in write_stored(sys.argv[1]):
        print(f"{written_page}: {written_page.stat().st_size / 1e6:.2f} MB")
