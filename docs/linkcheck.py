"""Checks a built site: every link and every anchor on it leads somewhere, and nothing is loaded from elsewhere.

python docs/linkcheck.py build/site
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

LOADING = {"audio", "embed", "iframe", "img", "script", "source", "video"}
"""Elements whose address a browser asks for by itself."""

LOADING_LINKS = {
    "stylesheet",
    "icon",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
}
"""Relations of a `link` element whose address it asks for; others, such as `canonical`, only name one."""

TEMPLATES = {"webpack-macros.html"}
"""Files of the theme that are no page."""


class Link(NamedTuple):
    """An address on a page, and whether a browser loads it unasked."""

    page: Path
    address: str
    loads: bool


class Page(HTMLParser):
    """The anchors and links of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: list[Link] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element is called and where it leads."""
        given = dict(attrs)
        names = {given.get("id"), given.get("name") if tag == "a" else None}
        self.anchors |= {name for name in names if name}
        relations = set((given.get("rel") or "").split())
        loads = tag in LOADING or (tag == "link" and bool(relations & LOADING_LINKS))
        addresses = [given.get("href"), given.get("src"), *sources(given.get("srcset"))]
        self.links += [Link(self.path, each, loads) for each in addresses if each]


def sources(srcset: str | None) -> list[str]:
    """The addresses of an image at several sizes.

    >>> sources("a.png, b.png 2.00x")
    ['a.png', 'b.png']
    """
    return [each.split()[0] for each in (srcset or "").split(",") if each.strip()]


class Report(NamedTuple):
    """What a site holds: pages, links within it, those that lead nowhere, and what is loaded from elsewhere."""

    pages: int
    inner: int
    outer: int
    broken: list[str]
    loaded: list[str]


def check(folder: Path) -> Report:
    """Follow every link of every page of a folder."""
    files = [
        file.resolve()
        for file in sorted(folder.rglob("*.html"))
        if file.name not in TEMPLATES
    ]
    # Nearly all the time goes into reading the pages, each by itself.
    with ProcessPoolExecutor() as workers:
        pages = dict(zip(files, workers.map(Page, files, chunksize=16), strict=True))
    links = [link for page in pages.values() for link in page.links]
    outer = [link for link in links if urlsplit(link.address).netloc]
    inner = [link for link in links if not urlsplit(link.address).scheme]
    inner = [link for link in inner if not urlsplit(link.address).netloc]
    broken = {described(link, folder) for link in inner if leads_nowhere(link, pages)}
    loaded = {described(link, folder) for link in outer if link.loads}
    return Report(len(pages), len(inner), len(outer), sorted(broken), sorted(loaded))


# Every page of a folder has the same links to the navigation: each is looked up once.
@cache
def file_at(folder: Path, path: str) -> Path | None:
    """The file to which the path of a link on a page of a folder leads; None if there is none."""
    target = (folder / path).resolve()
    if target.is_dir():
        target /= "index.html"
    return target if target.exists() else None


def leads_nowhere(link: Link, pages: dict[Path, Page]) -> bool:
    """Whether a link within the site names no file, or no anchor of the page that it names."""
    address = urlsplit(link.address)
    target: Path | None = link.page
    if address.path:
        target = file_at(link.page.parent, unquote(address.path))
    if target is None:
        return True
    anchor = unquote(address.fragment)
    # The explorer keeps its settings after the #, where no element has their name.
    if not anchor or "=" in anchor or target not in pages:
        return False
    return anchor not in pages[target].anchors


def described(link: Link, folder: Path) -> str:
    return f"{link.page.relative_to(folder.resolve()).as_posix()}: {link.address}"


def main(folder: str) -> int:
    """Print what was found; 1 if a link is broken, something is loaded from elsewhere, or there is no page."""
    report = check(Path(folder))
    print(
        f"{report.pages} pages, {report.inner} links on the site, {len(report.broken)} broken, "
        f"{report.outer} links to other sites, {len(report.loaded)} loaded from elsewhere"
    )
    for line in report.broken:
        print(f"broken: {line}")
    for line in report.loaded:
        print(f"loaded from elsewhere: {line}")
    return int(bool(report.broken or report.loaded or not report.pages))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
