"""What is kept in step by tools: the list of packages, the exceptions to the rules of complexity, tests of a change."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[2]


def tool(name: str) -> ModuleType:
    """A tool that stands beside this file, not in the package."""
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module(f"tests.upkeep.{name}")
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def packages() -> ModuleType:
    return tool("packages")


@pytest.fixture(scope="module")
def complexity() -> ModuleType:
    return tool("complexity")


@pytest.fixture(scope="module")
def changed() -> ModuleType:
    return tool("changed")


def test_the_packages_listed_are_those_there_are(packages):
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    folders = packages.folders(ROOT, "__init__.py")
    assert packages.with_packages(text, folders) == text, "run make packages"
    assert packages.with_packages(text, folders | {"attndyn.theory.new"}) != text


def test_every_module_lies_in_a_package(packages):
    assert packages.folders(ROOT, "*.py") == packages.folders(ROOT, "__init__.py")


def test_a_forgotten_folder_would_be_found(packages, tmp_path):
    for name in (
        "__init__.py",
        "theory/new/__init__.py",
        "loose/module.py",
        "tests/x/__init__.py",
        ".venv/y/__init__.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert packages.folders(tmp_path, "__init__.py") == {
        "attndyn",
        "attndyn.theory.new",
    }
    assert packages.folders(tmp_path, "*.py") == {
        "attndyn",
        "attndyn.theory.new",
        "attndyn.loose",
    }


def test_every_exception_to_the_rules_of_complexity_is_needed(complexity):
    assert complexity.exceptions() == complexity.violations(ROOT)


COMPLEX = {
    "C901": "def f(x):\n" + "    if x:\n        x -= 1\n" * 11,
    "PLR0914": "def f():\n" + "".join(f"    x{i} = {i}\n" for i in range(15)),
    "PLR0917": "def f(a, b, c, d, e, f): ...\n",
}


@pytest.mark.parametrize("rule", COMPLEX)
def test_a_complex_function_is_reported(complexity, tmp_path, rule):
    (tmp_path / "module.py").write_text(COMPLEX[rule])
    assert complexity.violations(tmp_path) == {"module.py": [rule]}


def test_a_function_at_the_limits_is_not_reported(complexity, tmp_path):
    (tmp_path / "module.py").write_text(
        "def f(x):\n" + "    if x:\n        x -= 1\n" * 9 + "    return x\n"
        "def g(a, b, c, d, e, *, f, g):\n"
        + "".join(f"    x{i} = {i}\n" for i in range(7))
    )
    assert complexity.violations(tmp_path) == {}


MERGED = "theory/linear_attention/merged.py"


@pytest.mark.parametrize(
    ("file", "test"),
    [
        (MERGED, "tests/theory/linear_attention/test_merged.py"),
        (MERGED, "tests/theory/linear_attention/test_time_courses.py"),  # imports it
        (
            MERGED,
            "tests/docs/test_doctests.py::test_examples_of_a_module[attndyn.theory.linear_attention.merged]",
        ),
        ("docs/theory.md", "tests/docs/test_docs.py"),
        (
            "docs/theory.md",
            "tests/docs/test_doctests.py::test_examples_of_a_page[theory.md]",
        ),
        ("tests/test_task.py", "tests/test_task.py"),
        ("task.py", "tests/test_task.py"),
        ("setup.cfg", "tests/test_packaging.py"),
    ],
)
def test_a_change_selects_the_tests_that_it_matters_to(changed, file, test):
    assert test in changed.tests_of([Path(file)])


@pytest.mark.parametrize("file", [MERGED, "task.py", "docs/theory.md"])
def test_a_change_selects_no_test_of_something_else(changed, file):
    assert not [
        test for test in changed.tests_of([Path(file)]) if test.startswith("tests/cli/")
    ]


def test_a_module_that_most_tests_import_selects_only_its_own(changed):
    assert len(changed.importing_tests()[Path("task.py")]) > changed.MANY
    own = {test for test in changed.tests_of([Path("task.py")]) if "task" in test}
    assert changed.tests_of([Path("task.py")]) == sorted({*changed.ALWAYS, *own})


def test_a_changed_and_a_new_file_are_found(changed, tmp_path, monkeypatch):
    monkeypatch.setattr(changed, "ROOT", tmp_path)
    for file in ("same.py", "different.py", "gone.py"):
        (tmp_path / file).write_text("x = 1\n")
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init"], ["add", "."], [*author, "commit", "-m", "First"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "different.py").write_text("x = 2\n")
    (tmp_path / "new.py").write_text("x = 3\n")
    (tmp_path / "gone.py").unlink()
    assert changed.changed_files("HEAD") == [Path("different.py"), Path("new.py")]
