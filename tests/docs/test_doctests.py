"""Every example in the package and in the documentation runs, and everything public says what it is."""

import ast
import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import attndyn

pytestmark = pytest.mark.checkout

ROOT = Path(attndyn.__file__).parent
NO_MODULES = {"tests", "docs", "benchmarks", "examples", "build", "results"}


def module_names() -> list[str]:
    """Every importable module of the package; __main__ runs the command line, so it stays out."""
    found = [
        "attndyn",
        *(
            module.name
            for module in pkgutil.walk_packages(attndyn.__path__, "attndyn.")
        ),
    ]
    return [
        name
        for name in found
        if not NO_MODULES & set(name.split(".")[1:2]) and not name.endswith("__main__")
    ]


def files() -> list[Path]:
    """The source of every module, found on disk and not by importing."""
    paths = [
        path
        for path in ROOT.rglob("*.py")
        if not path.relative_to(ROOT).parts[0].startswith(".")
    ]
    return sorted(
        path for path in paths if path.relative_to(ROOT).parts[0] not in NO_MODULES
    )


@pytest.fixture(autouse=True)
def no_window(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.mark.parametrize("name", module_names())
def test_examples_of_a_module(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_no_module_is_left_out():
    dotted = {
        ".".join(("attndyn", *path.relative_to(ROOT).with_suffix("").parts))
        for path in files()
    }
    expected = {name.removesuffix(".__init__") for name in dotted} - {
        "attndyn.__main__"
    }
    assert set(module_names()) == expected


def failures(page: Path) -> int:
    """Failed examples of a page; fences are blanked so that they are not taken for output."""
    text = "\n".join(
        "" if line.startswith("```") else line
        for line in page.read_text(encoding="utf-8").split("\n")
    )
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    return doctest.DocTestRunner().run(test).failed


def pages() -> list[Path]:
    """Every page; the tutorial runs every part of the package once."""
    slow = pytest.param(ROOT / "docs" / "tutorial.md", marks=pytest.mark.slow)
    docs = ROOT / "docs"
    others = {*docs.glob("*.md"), *docs.glob("papers/*.md")} - {docs / "tutorial.md"}
    return [slow, *sorted(others)]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_examples_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert failures(page) == 0


def test_a_wrong_example_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\n>>> 1 + 1\n2\n>>> 1 + 1\n3\n```\n")
    assert failures(page) == 1


def public(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Public functions and classes of a module, and public methods of its public classes."""
    for child in ast.iter_child_nodes(node):
        if (
            isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and not child.name.startswith("_")
            and not is_overload(child)
        ):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}{child.name}.")


def is_overload(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it states one signature of a function whose docstring stands elsewhere."""
    return any(
        isinstance(each, ast.Name) and each.id == "overload"
        for each in node.decorator_list
    )


def unexplained(source: str) -> list[str]:
    """Public names whose docstring is missing, or does not start with a line that stands alone."""
    tree = ast.parse(source)
    documented = [("module", tree), *public(tree)] if source.strip() else []
    return [
        name
        for name, node in documented
        if not begins_with_a_line(ast.get_docstring(node))
    ]


def begins_with_a_line(docstring: str | None) -> bool:
    lines = (docstring or "").split("\n")
    return bool(lines[0].strip()) and (len(lines) == 1 or not lines[1].strip())


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_has_a_docstring(path):
    assert unexplained(path.read_text(encoding="utf-8")) == []


def test_a_missing_docstring_would_be_found():
    source = '''"""Module."""
def bare(): ...
def _private(): ...
def two_lines():
    """One sentence over
    two lines."""
class Explained:
    """A class."""
    def method(self): ...
    @property
    def value(self):
        """A value.

        And more.
        """
        def inner(): ...
class _Hidden:
    def method(self): ...
'''
    assert unexplained(source) == ["bare", "two_lines", "Explained.method"]
    assert unexplained("x = 1") == ["module"]
