"""Who may import whom: the contracts in pyproject.toml, and rules about folders that are found rather than named."""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import attndyn

pytestmark = pytest.mark.checkout

ROOT = Path(attndyn.__file__).parent
PACKAGE = "attndyn"

SYMBOLIC = "attndyn.theory.symbolic"
CERTIFIED = "attndyn.theory.certified"
SURFACES = {"attndyn.theory", "attndyn.simulate", "attndyn.compare"}
"""Packages whose names are for users: those of a wing may be among them."""
BY_MODEL = {
    "attndyn.theory.courses_by_model",
    "attndyn.theory.fixed_points_by_model",
}
"""What asks the wing of a model."""

NO_NAMES = tuple(f"attndyn.{floor}" for floor in ("theory", "simulate", "models"))
"""Where no module is imported by a name that is put together at run time, which no graph of imports would show."""
BY_NAME = {"importlib", "pkgutil", "runpy"}


def within(module: str, package: str) -> bool:
    """Whether a module is a package or lies in it."""
    return f"{module}.".startswith(f"{package}.")


def imports(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Every direct import, as (importer, imported)."""
    return [
        (importer, imported)
        for importer in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(importer))
    ]


def wings(graph: grimp.ImportGraph) -> set[str]:
    """Names of the wings, one for each paper: the folders of compare/claims that declare results."""
    declarations = graph.find_matching_modules("attndyn.compare.claims.*.results")
    return {module.split(".")[-2] for module in declarations}


def wing_of(module: str, names: set[str]) -> str | None:
    """The wing that a module of any floor belongs to; None outside the wings."""
    return next((part for part in module.split(".") if part in names), None)


def joining(graph: grimp.ImportGraph) -> set[str]:
    """Modules outside the wings that may import one: public surfaces, and what joins wings in compare/."""
    modules = graph.find_children("attndyn.compare")
    modules_alone = {name for name in modules if not graph.find_children(name)}
    return SURFACES | BY_MODEL | modules_alone


def breaches(graph: grimp.ImportGraph) -> list[str]:
    """Imports that break a rule, as "importer imports imported: rule"."""
    names, joins = wings(graph), joining(graph)
    lines = []
    for importer, imported in imports(graph):
        wing, other_wing = wing_of(importer, names), wing_of(imported, names)
        rule = broken_rule(importer, imported)
        if wing and other_wing and wing != other_wing:
            rule = "no wing imports another"
        if other_wing and not wing and importer not in joins:
            rule = "the framework knows no wing"
        if rule:
            lines.append(f"{importer} imports {imported}: {rule}")
    return lines


def broken_rule(importer: str, imported: str) -> str | None:
    """The rule that an import breaks, whatever wings there are; None if it is allowed."""
    both_in_theory = within(importer, "attndyn.theory") and within(
        imported, "attndyn.theory"
    )
    if both_in_theory and within(importer, SYMBOLIC) != within(imported, SYMBOLIC):
        return "symbols and numbers share nothing"
    if both_in_theory and within(importer, CERTIFIED) != within(imported, CERTIFIED):
        return "enclosures and numbers share nothing"
    if imported == PACKAGE:
        return "the root is for users: it is lazy"
    if imported in BY_NAME and any(within(importer, floor) for floor in NO_NAMES):
        return "no import by name"
    return None


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Every import of the package, the benchmarks in its folder left out."""
    whole = grimp.build_graph(PACKAGE, include_external_packages=True, cache_dir=None)
    for module in [name for name in whole.modules if "benchmarks" in name.split(".")]:
        whole.remove_module(module)
    return whole


def test_the_graph_holds_the_whole_package(graph):
    files = [
        path.relative_to(ROOT).with_suffix("")
        for floor in (
            "cli",
            "compare",
            "explore",
            "models",
            "runtime",
            "simulate",
            "theory",
        )
        for path in (ROOT / floor).rglob("*.py")
    ]
    modules = {
        ".".join((PACKAGE, *file.parts)).removesuffix(".__init__") for file in files
    }
    assert len(modules) > 200
    assert modules <= graph.modules


def test_no_import_breaks_a_rule(graph):
    assert "linear_attention" in wings(graph)
    assert breaches(graph) == []


@pytest.mark.parametrize(
    ("importer", "imported", "rule"),
    [
        (
            "theory.softmax.drops",
            "theory.linear.merged",
            "no wing imports another",
        ),
        (
            "compare.claims.softmax.drops",
            "theory.linear.merged",
            "no wing imports another",
        ),
        (
            "compare.figures.softmax.drops",
            "compare.claims.linear.merged",
            "no wing imports another",
        ),
        (
            "compare.ledger.coverage",
            "compare.claims.linear.merged",
            "the framework knows no wing",
        ),
        (
            "compare.metrics.plateaus",
            "theory.linear.merged",
            "the framework knows no wing",
        ),
        ("compare.claims", "compare.claims.linear", "the framework knows no wing"),
        ("theory.ode", "theory.linear.merged", "the framework knows no wing"),
        ("cli.theory", "theory.linear.merged", "the framework knows no wing"),
        ("theory.symbolic.loss", "theory.ode", "symbols and numbers share nothing"),
        ("theory.symbolic.loss", "theory", "symbols and numbers share nothing"),
        ("theory.ode", "theory.symbolic.loss", "symbols and numbers share nothing"),
        ("theory", "theory.symbolic", "symbols and numbers share nothing"),
        (
            "theory.certified.balls",
            "theory.ode",
            "enclosures and numbers share nothing",
        ),
        (
            "theory.ode",
            "theory.certified.balls",
            "enclosures and numbers share nothing",
        ),
    ],
)
def test_a_forbidden_import_is_reported(importer, imported, rule):
    graph = synthetic_graph()
    importer, imported = f"attndyn.{importer}", f"attndyn.{imported}"
    graph.add_import(importer=importer, imported=imported)
    assert breaches(graph) == [f"{importer} imports {imported}: {rule}"]


@pytest.mark.parametrize("imported", ["attndyn", "importlib"])
def test_an_import_that_the_graph_could_not_follow_is_reported(imported):
    graph = synthetic_graph()
    graph.add_import(importer="attndyn.simulate.run", imported=imported)
    (breach,) = breaches(graph)
    assert breach.startswith(f"attndyn.simulate.run imports {imported}: ")


def synthetic_graph() -> grimp.ImportGraph:
    """A small package of two wings in which every import is allowed."""
    graph = grimp.ImportGraph()
    for importer, imported in {
        "theory": "theory.linear.merged",
        "theory.linear.merged": "theory.ode",
        "theory.symbolic.loss": "task",
        "compare.claims.linear.merged": "theory.linear.merged",
        "compare.claims.softmax.drops": "compare.evidence.claim",
        "compare.ledger.registry": "compare.claims",
        "compare.overlays": "theory.linear.merged",
    }.items():
        graph.add_import(importer=f"attndyn.{importer}", imported=f"attndyn.{imported}")
    for module in ("claims.linear.results", "claims.softmax.results"):
        graph.add_module(f"attndyn.compare.{module}")
    for package in ("compare", "compare.claims.linear"):
        graph.add_module(f"attndyn.{package}")
    graph.add_import(importer="attndyn.compare.claims", imported="importlib")
    return graph


def test_a_package_of_two_wings_may_import_what_it_needs():
    graph = synthetic_graph()
    assert wings(graph) == {"linear", "softmax"}
    assert breaches(graph) == []


def absolute_imports(graph: grimp.ImportGraph) -> list[str]:
    """Imports inside the package that spell its name, as "importer:line: import"."""
    return [
        f"{importer}:{detail['line_number']}: {detail['line_contents']}"
        for importer, imported in imports(graph)
        if within(imported, PACKAGE)
        for detail in graph.get_import_details(importer=importer, imported=imported)
        if not detail["line_contents"].startswith("from .")
    ]


def test_imports_inside_the_package_are_relative(graph):
    assert absolute_imports(graph) == []


@pytest.mark.parametrize(
    "line", ["import attndyn.task", "from attndyn.task import Task"]
)
def test_an_absolute_import_is_reported(line):
    graph = grimp.ImportGraph()
    graph.add_import(
        importer="attndyn.cli",
        imported="attndyn.task",
        line_number=3,
        line_contents=line,
    )
    assert absolute_imports(graph) == [f"attndyn.cli:3: {line}"]


def declared(option: str) -> set[str]:
    """Names of the requirements in setup.cfg, as they are imported."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    section, _, key = option.rpartition("/")
    names = {
        re.split(r"[^\w-]", line)[0].replace("-", "_")
        for line in config[section][key].split("\n")
        if line
    }
    return {IMPORTED_AS.get(name, name) for name in names}


IMPORTED_AS = {"python_flint": "flint"}
"""What has another name in Python than on the package index."""


def test_whatever_is_imported_is_declared(graph):
    external = {
        imported for _, imported in imports(graph) if not within(imported, PACKAGE)
    }
    known = declared("options/install_requires")
    for extra in ("sweep", "safetensors", "explore", "certified"):
        known |= declared(f"options.extras_require/{extra}")
    assert external - set(sys.stdlib_module_names) == known


CLEAN = {
    "__init__.py": "",
    "__main__.py": "from .cli import main",
    "cli/__init__.py": "def main():\n    from ..compare import overlay",
    "explore/__init__.py": "from ..compare import overlay",
    "compare/__init__.py": "from ..theory.ode import solve\nfrom ..simulate import run",
    "compare/rooms/__init__.py": "",
    "compare/rooms/kitchen/__init__.py": "from ..garden.herbs import thyme",
    "compare/rooms/garden/__init__.py": "",
    "compare/rooms/garden/herbs.py": "",
    "theory/__init__.py": "",
    "theory/symbolic/__init__.py": "",
    "theory/ode.py": "from ..task import Task\nfrom ..models import Merged",
    "simulate/__init__.py": "",
    "simulate/run.py": "from ..task import Task\nfrom ..runtime.files import save",
    "models/__init__.py": "from ..runtime import files",
    "runtime/__init__.py": "",
    "runtime/files.py": "",
    "task.py": "from .runtime.files import save\nfrom .teachers import Pool",
    "teachers/__init__.py": "",
    "inputs.py": "",
    "context_lengths.py": "",
}
"""A package that keeps the contracts of pyproject.toml; they name these floors."""

BROKEN = {
    "theory to simulate, inside a function": (
        "theory/ode.py",
        "def f():\n    from ..simulate import run",
        "attndyn.theory is not allowed to import attndyn.simulate",
    ),
    "simulate to theory, for types only": (
        "simulate/run.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..theory import ode",
        "attndyn.simulate is not allowed to import attndyn.theory",
    ),
    "upwards": (
        "theory/ode.py",
        "from .. import compare",
        "attndyn.theory is not allowed to import attndyn.compare",
    ),
    "to the command line": (
        "compare/rooms/garden/herbs.py",
        "from ....cli import main",
        "attndyn.compare is not allowed to import attndyn.cli",
    ),
    "to the explorer": (
        "compare/rooms/garden/herbs.py",
        "from ....explore import serve",
        "attndyn.compare is not allowed to import attndyn.explore",
    ),
    "sideways": (
        "task.py",
        "from .models import Merged",
        "attndyn.task is not allowed to import attndyn.models",
    ),
    "teachers to the task": (
        "teachers/__init__.py",
        "from ..task import Task",
        "attndyn.teachers is not allowed to import attndyn.task",
    ),
    "the runtime to the task": (
        "runtime/files.py",
        "from ..task import Task",
        "attndyn.runtime is not allowed to import attndyn.task",
    ),
    "a floor that has no place": ("attic.py", "", "- attndyn.attic"),
    "two rooms that import each other": (
        "compare/rooms/garden/herbs.py",
        "from .. import kitchen",
        "No cycles are allowed in attndyn.compare.rooms",
    ),
}


def lint(folder: Path, files: dict[str, str]) -> str:
    """What import-linter says of a package with these files under the contracts of pyproject.toml."""
    for name, text in files.items():
        path = folder / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(tolerant(contracts))
    return lint_imports(folder)


def tolerant(contracts: str) -> str:
    """The contracts for a package that has none of the imports that they list as exceptions."""
    return contracts.replace(
        'unmatched_ignore_imports_alerting = "error"',
        'unmatched_ignore_imports_alerting = "none"',
    )


def lint_imports(folder: Path) -> str:
    """The output of import-linter in a folder, whatever it finds."""
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [command, "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"COLUMNS": "500"},  # one line a message
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_package_keeps_its_contracts():
    assert "0 broken" in lint_imports(ROOT)


def test_a_package_that_keeps_the_contracts_passes(tmp_path):
    assert "0 broken" in lint(tmp_path, CLEAN)


@pytest.mark.parametrize(("file", "line", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_contract_is_reported(tmp_path, file, line, message):
    report = lint(tmp_path, CLEAN | {file: f"{CLEAN.get(file, '')}\n{line}\n"})
    assert "0 broken" not in report
    assert message in report
