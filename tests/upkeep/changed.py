"""Runs the tests that matter to a change: `python -m tests.upkeep.changed [--since REVISION] [pytest's arguments]`.

A test file matters if it was changed, mirrors a changed module, or imports a name that the module owns; so do the
examples in the docstrings of a changed module and on a changed page. Slow tests wait for `make test`, and so do the
tests that import a module which most of them import: those of the module itself are run.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALWAYS = ("tests/test_imports.py", "tests/test_packaging.py", "tests/upkeep")
"""Quick tests of the whole tree, which any change may break."""
NO_MODULES = ("tests", "docs", "benchmarks", "examples")
MANY = 12
"""Test files that import a module; where there are more, it is what everything stands on, and a minute is too short."""


def main() -> int:
    """Run the tests; returns pytest's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--since", default="HEAD", help="the change begins here")
    options, pytest_arguments = parser.parse_known_args()
    tests = tests_of(changed_files(options.since))
    command = [sys.executable, "-m", "pytest", "-m", "not slow", *pytest_arguments]
    return subprocess.run([*command, *tests], cwd=ROOT, check=False).returncode


def changed_files(since: str) -> list[Path]:
    """Files that differ from a revision, and new ones that Git does not ignore, relative to the root."""
    different = ["git", "diff", "--name-only", "--diff-filter=d", since]
    new = ["git", "ls-files", "--others", "--exclude-standard"]
    names: set[str] = set()
    for command in (different, new):
        output = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        names.update(output.splitlines())
    return [Path(name) for name in sorted(names)]


def tests_of(changed: Iterable[Path]) -> list[str]:
    """Arguments of pytest that select the tests which matter to changed files."""
    selected = set(ALWAYS)
    for file in changed:
        if file.parts[0] == "tests" and file.name.startswith("test_"):
            selected.add(file.as_posix())
        elif file.suffix == ".py" and file.parts[0] not in NO_MODULES:
            selected |= tests_of_module(file)
        elif file.suffix == ".md" and file.parts[0] == "docs":
            selected |= tests_of_page(file)
    return sorted(selected)


def tests_of_module(module: Path) -> set[str]:
    """The test file that mirrors a module, those that import its names if they are few, and its examples."""
    tests = set()
    if module.name != "__main__.py":
        dotted = ".".join(("attndyn", *module.with_suffix("").parts))
        examples = f"test_examples_of_a_module[{dotted.removesuffix('.__init__')}]"
        tests.add(f"tests/docs/test_doctests.py::{examples}")

    mirror = Path("tests") / module.parent / f"test_{module.name}"
    if (ROOT / mirror).is_file():
        tests.add(mirror.as_posix())

    importers = importing_tests().get(module, set())
    if len(importers) <= MANY:
        tests |= {test.as_posix() for test in importers}
    return tests


def tests_of_page(page: Path) -> set[str]:
    """The examples of a page, and what is asked of every page."""
    examples = f"tests/docs/test_doctests.py::test_examples_of_a_page[{page.name}]"
    return {examples, "tests/docs/test_docs.py"}


@cache
def importing_tests() -> dict[Path, set[Path]]:
    """Module → the test files that import names which it owns, all relative to the root."""
    from attndyn.runtime.code_digest import direct_sources

    importers: dict[Path, set[Path]] = {}
    for test in sorted((ROOT / "tests").rglob("test_*.py")):
        for source in direct_sources(test):
            if source.is_relative_to(ROOT):
                module = source.relative_to(ROOT)
                importers.setdefault(module, set()).add(test.relative_to(ROOT))
    return importers


if __name__ == "__main__":
    sys.exit(main())
