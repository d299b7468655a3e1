"""No function or class bears the name of its module, so that a package's name is never two things."""

import ast
from pathlib import Path

import pytest

import attndyn

pytestmark = pytest.mark.checkout

ROOT = Path(attndyn.__file__).parent
FLOORS = ("theory", "simulate", "compare")


def namesakes(folder):
    """Modules of a folder whose own name is that of something that they define at top level."""
    for path in sorted(folder.rglob("*.py")):
        name = path.parent.name if path.name == "__init__.py" else path.stem
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if getattr(node, "name", None) == name:
                yield path.relative_to(folder).as_posix()


@pytest.mark.parametrize("floor", FLOORS)
def test_no_module_defines_a_function_of_its_own_name(floor):
    assert list(namesakes(ROOT / floor)) == []


def test_a_namesake_would_be_found(tmp_path):
    (tmp_path / "flow.py").write_text("def flow(): ...\n")
    (tmp_path / "steps.py").write_text("def other():\n    def steps(): ...\n")
    assert list(namesakes(tmp_path)) == ["flow.py"]


@pytest.mark.parametrize("name", ["theory", "simulate", "compare"])
def test_the_floors_are_there_after_an_import_of_the_package(name):
    assert getattr(attndyn, name).__name__ == f"attndyn.{name}"
