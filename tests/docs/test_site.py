"""What can be checked of the site without building it, and that the check of its links finds what is wrong.

`make site` builds it and checks the links; `make test-browser` looks at it in Chromium.
"""

import hashlib
import re
import sys
from pathlib import Path

import pytest

import attndyn

pytestmark = pytest.mark.checkout

ROOT = Path(attndyn.__file__).parent
DOCS = ROOT / "docs"
MATHJAX = "d4295dc33744836935c1399feece5159577b34c5c8ffb9f1c6324cd82e03a882"
"""The sha256 of es5/tex-svg.js of mathjax 3.2.2 on npm."""


@pytest.fixture
def reference(monkeypatch):
    """The script that writes the reference."""
    monkeypatch.syspath_prepend(DOCS / "_extensions")
    monkeypatch.syspath_prepend(DOCS)
    import make_reference

    yield make_reference
    for name in ("make_reference", "reference_groups", "prose_docstrings"):
        sys.modules.pop(name, None)


def test_every_public_name_has_one_group(reference):
    assert reference.mistakes() == []
    listed = {
        module for room in reference.groups.ROOMS for module in room.modules
    } - set(reference.groups.WITHOUT_EXPORT_LIST)
    assert listed == reference.packages_with_export_lists()


def test_a_name_without_a_group_stops_the_reference(reference, tmp_path, monkeypatch):
    monkeypatch.setattr(attndyn.compare, "__all__", [*attndyn.compare.__all__, "Any"])
    monkeypatch.setattr(attndyn.compare, "Any", object(), raising=False)
    monkeypatch.setitem(
        reference.groups.THEORY["attndyn.theory"], "More", "population no_such_name"
    )
    with pytest.raises(ValueError, match="no group") as error:
        reference.write_pages(tmp_path)
    assert "compare.Any is public and stands in no group" in str(error.value)
    assert "no_such_name, which attndyn.theory does not export" in str(error.value)
    assert "attndyn.theory.population stands in two groups" in str(error.value)


def test_pages_of_the_reference_have_names_that_differ_by_more_than_case(reference):
    names = [name.page.lower() for name in reference.pages()]
    assert len(names) == len(set(names)) >= 300


def test_mathematics_is_typeset_by_the_published_file():
    folder = DOCS / "_static" / "vendor" / "mathjax"
    content = (folder / "tex-svg.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == MATHJAX
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")


def test_nothing_on_the_pages_is_loaded_from_elsewhere():
    for file in [*DOCS.rglob("*.md"), *(DOCS / "_static").glob("*.css")]:
        words = file.read_text(encoding="utf-8")
        for loading in ("<script", "<img", "<iframe", "url(http", "@import"):
            assert loading not in words, file
        assert not re.search(r"!\[[^\]]*\]\(http", words), file


def test_dotted_names_may_break_in_tables_only(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "_extensions")
    from breaking_names import with_breaks

    name = '<span class="pre">theory.asymptotics.errors</span>'
    in_a_cell = name.replace(".", ".<wbr>")
    assert with_breaks(f"<p>{name}</p>") == f"<p>{name}</p>"
    assert with_breaks(f"<td>{name}, a.b</td>") == f"<td>{in_a_cell}, a.b</td>"


@pytest.fixture
def linkcheck(monkeypatch):
    """The script that checks a built site."""
    monkeypatch.syspath_prepend(DOCS)
    import linkcheck

    yield linkcheck
    sys.modules.pop("linkcheck", None)


def site(folder: Path, body: str) -> Path:
    """A site of two pages, the first with this body."""
    folder.mkdir(exist_ok=True)
    (folder / "index.html").write_text(f"<html><body>{body}</body></html>")
    (folder / "other.html").write_text("<p id=here>other</p>")
    return folder


WHOLE = """
<link rel=canonical href="https://example.org/"><link rel=stylesheet href="style.css">
<a href="other.html#here">inside</a><a href="https://example.org">outside</a><a href="#top" id=top>up</a>
"""


def test_a_whole_site_passes(linkcheck, tmp_path, capsys):
    folder = site(tmp_path, WHOLE)
    (folder / "style.css").touch()
    report = linkcheck.check(folder)
    assert report == linkcheck.Report(2, 3, 2, [], [])
    assert linkcheck.main(str(folder)) == 0
    assert "0 broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    "body",
    [
        '<a href="missing.html">x</a>',
        '<a href="other.html#nowhere">x</a>',
        '<img src="missing.png">',
        '<img srcset="other.html, missing.png 2x">',
        '<script src="https://example.org/x.js"></script>',
        '<link rel="stylesheet" href="//example.org/x.css">',
        '<img src="http://example.org/x.png">',
    ],
)
def test_what_is_wrong_is_found(linkcheck, tmp_path, capsys, body):
    assert linkcheck.main(str(site(tmp_path, body))) == 1
    assert "broken:" in (said := capsys.readouterr().out) or "elsewhere:" in said


def test_an_empty_folder_is_no_site(linkcheck, tmp_path):
    assert linkcheck.main(str(tmp_path)) == 1
