"""The order of the package: who may import whom, read from the source of every module."""

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import attndyn

ROOT = Path(attndyn.__file__).parent
NO_MODULES = {"tests", "docs", "benchmarks", "examples", "build", "results"}
FLOORS = {"cli": 4, "compare": 3, "theory": 2, "simulate": 2, "task": 1, "model": 1}
FLOORS |= {
    "machine": 0,
    "versions": 0,
    "settings": 0,
    "scores": 0,
    "sources": 0,
    "spelling": 0,
    "time_axis": 0,
    "decimals": -1,
}
OWN = {
    "": {"task", "model", "versions"},
    "__main__": {"cli"},
}  # what the root and the entry point may import
HEAVY = {
    "scipy",
    "sympy",
    "mpmath",
    "matplotlib",
    "rich",
    "typer",
    "xarray",
    "distributed",
    "mpi4py",
    "numba",
}
# Modules that must start fast, besides every __init__, and what they may load: nothing loads theory.symbolic at
# the start, and all of it is SymPy, so its own __init__ may.
FAST_BUT = {
    "cli": {"typer"},
    "__main__": {"typer"},
    "theory.symbolic": {"sympy", "mpmath"},
}  # SymPy loads mpmath
PROVER = "theory.symbolic"  # derives the theory anew: it shares nothing with the numbers that it proves


class Import(NamedTuple):
    """One imported module: dotted inside the package ("" is its root), or the name of somebody else's."""

    line: int
    target: str
    inside: bool
    top: bool


def sources(root: Path) -> dict[str, Path]:
    """Dotted name inside the package → file."""
    paths = [path.relative_to(root) for path in root.rglob("*.py")]
    kept = [
        path
        for path in paths
        if path.parts[0] not in NO_MODULES and not path.parts[0].startswith(".")
    ]
    return {
        ".".join(path.with_suffix("").parts).removesuffix("__init__").rstrip("."): root
        / path
        for path in kept
    }


def statements(node: ast.AST, top: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, and whether it runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        yield child, top
        yield from statements(child, top and not later and not typing)


def imports(name: str, modules: dict[str, Path]) -> list[Import]:
    """Everything that a module imports, also inside functions and by name at run time."""
    package = name.split(".") if name else []
    if modules[name].name != "__init__.py":
        package = package[:-1]
    nodes = list(statements(ast.parse(modules[name].read_text(encoding="utf-8"))))
    found = []
    for node, top in nodes:
        if isinstance(node, ast.Import):
            found += [
                Import(node.lineno, alias.name, False, top) for alias in node.names
            ]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append(Import(node.lineno, node.module or "", False, top))
        elif isinstance(node, ast.ImportFrom):
            base = [
                *package[: len(package) - node.level + 1],
                *(node.module or "").split("."),
            ]
            for alias in node.names:
                full = ".".join([*filter(None, base), alias.name])
                found.append(Import(node.lineno, full, True, top))
    if any(
        {getattr(node, "id", ""), getattr(node, "attr", "")}
        & {"import_module", "__import__"}
        for node, _ in nodes
    ):
        found += [by_name(node, package) for node, _ in nodes if is_module_name(node)]
    return [resolved(each, modules) for each in found]


def is_module_name(node: ast.AST) -> bool:
    """Whether this is text such as ".task" or "attndyn.task"."""
    return isinstance(node, ast.Constant) and bool(
        re.fullmatch(r"(\.+|attndyn\.)[a-z_][\w.]*", str(node.value))
    )


def by_name(node: ast.Constant, package: list[str]) -> Import:
    text = str(node.value)
    dots = len(text) - len(text.lstrip("."))
    if not dots:
        return Import(node.lineno, text, False, False)
    return Import(
        node.lineno,
        ".".join([*package[: len(package) - dots + 1], text[dots:]]),
        True,
        False,
    )


def resolved(each: Import, modules: dict[str, Path]) -> Import:
    """`from ..task import Task` imports the module task; `from .. import __version__` the root, by that name."""
    if not each.inside or each.target in modules:
        return each
    parent, _, name = each.target.rpartition(".")
    return each._replace(target=parent or ("" if name == "__version__" else name))


def violations(root: Path) -> list[str]:
    """Every import that breaks the order, as "module:line: reason"."""
    modules = sources(root)
    graph = {name: imports(name, modules) for name in modules}
    found = [
        f"{name or 'root'}:{each.line}: {reason}"
        for name, all_imports in graph.items()
        for each in all_imports
        if (reason := breach(name, each))
    ]
    return found + [
        line for name in graph for line in slow_starts(name, modules, graph)
    ]


def breach(name: str, each: Import) -> str:
    """Why this import is not allowed, or nothing."""
    if not each.inside:
        return (
            "absolute import of attndyn"
            if each.target.split(".")[0] == "attndyn"
            else ""
        )
    here, there = name.split(".")[0], each.target.split(".")[0]
    if is_symbolic(name) != is_symbolic(each.target) and here == there:
        return f"{name} imports {each.target}: {PROVER} and the rest of theory share nothing"
    if here == there or there == "":
        return ""
    if here in OWN:
        return "" if there in OWN[here] else f"{here or 'root'} imports {there}"
    if there not in FLOORS or here not in FLOORS:
        return f"no floor is known for {there if there not in FLOORS else here}: add it here"
    return "" if FLOORS[there] < FLOORS[here] else f"{here} imports {there}"


def is_symbolic(name: str) -> bool:
    """Whether a module belongs to the symbolic engine."""
    return f"{name}.".startswith(f"{PROVER}.")


def slow_starts(
    name: str, modules: dict[str, Path], graph: dict[str, list[Import]]
) -> list[str]:
    """Heavy imports that importing this fast module sets off, itself or through others."""
    if modules[name].name != "__init__.py" and name not in FAST_BUT:
        return []
    allowed, seen, found = FAST_BUT.get(name, set()), set(), []
    waiting = {name}
    while waiting:
        current = waiting.pop()
        seen.add(current)
        for each in (each for each in graph[current] if each.top):
            if each.inside:
                parents = each.target.split(".")
                loaded = {
                    ".".join(parents[:count]) for count in range(len(parents) + 1)
                }
                waiting |= (loaded & set(graph)) - seen
            elif each.target.split(".")[0] in HEAVY - allowed:
                found.append(
                    f"{current or 'root'}:{each.line}: {name or 'root'} loads {each.target} at start"
                )
    return found


def test_the_package_keeps_its_order():
    assert violations(ROOT) == []


def test_the_command_line_is_among_what_is_checked():
    assert {
        "",
        "cli",
        "__main__",
        "task",
        "model",
        "settings",
        "theory",
        "simulate",
        "compare",
    } <= set(sources(ROOT))


CLEAN = {
    "__init__.py": '__version__ = "0"\nfrom importlib import import_module\nHOME = {"Task": ".task"}',
    "__main__.py": "from .cli import main",
    "settings.py": "import json",
    "task.py": "import numpy as np\nfrom .settings import Settings",
    "model.py": "from .settings import Settings",
    "theory/__init__.py": "from .. import __version__\nfrom .flat import curve",
    "theory/flat.py": "from ..task import Task\ndef curve():\n    from scipy import integrate",
    "theory/deep/__init__.py": "",
    "theory/symbolic/__init__.py": "from .derive import loss",
    "theory/symbolic/derive.py": "import sympy\nfrom ...task import Task",
    "theory/deep/down.py": "import sympy\nfrom ..flat import curve\nfrom ...model import Merged",
    "simulate/__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rich.table import Table",
    "simulate/run.py": "import scipy.integrate\nfrom ..task import Task",
    "compare/__init__.py": "",
    "compare/claim.py": "from ..theory.flat import curve\nfrom ..simulate import run\nfrom .. import task",
    "cli/__init__.py": "import typer\ndef verify():\n    import rich\n    from ..compare.claim import claim",
    "tests/test_any.py": "import attndyn",
}
FORBIDDEN = {
    "theory to simulate": (
        "theory/flat.py",
        "from ..simulate.run import train",
        "theory imports simulate",
    ),
    "deep theory to simulate": (
        "theory/deep/down.py",
        "from ...simulate import run",
        "theory imports simulate",
    ),
    "simulate to theory": (
        "simulate/run.py",
        "from .. import theory",
        "simulate imports theory",
    ),
    "inside a function": (
        "simulate/run.py",
        "def f():\n    from ..theory import flat",
        "simulate imports theory",
    ),
    "for types only": (
        "simulate/run.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..theory import flat",
        "simulate imports theory",
    ),
    "at run time": (
        "simulate/run.py",
        'from importlib import import_module\nimport_module("..theory.flat", __name__)',
        "simulate imports theory",
    ),
    "at run time, absolute": (
        "simulate/run.py",
        'import importlib\nimportlib.import_module("attndyn.theory")',
        "absolute import of attndyn",
    ),
    "upwards": (
        "theory/flat.py",
        "from ..compare.claim import Claim",
        "theory imports compare",
    ),
    "the symbolic engine to the numbers": (
        "theory/symbolic/derive.py",
        "from ..flat import curve",
        "share nothing",
    ),
    "the symbolic engine to all of theory": (
        "theory/symbolic/derive.py",
        "from .. import flat",
        "share nothing",
    ),
    "the numbers to the symbolic engine": (
        "theory/flat.py",
        "from .symbolic.derive import loss",
        "share nothing",
    ),
    "symbols at the start": (
        "compare/__init__.py",
        "from ..theory.symbolic import loss",
        "compare loads sympy at start",
    ),
    "to the command line": (
        "compare/claim.py",
        "from ..cli import main",
        "compare imports cli",
    ),
    "sideways": ("task.py", "from .model import Merged", "task imports model"),
    "settings upwards": (
        "settings.py",
        "from .task import Task",
        "settings imports task",
    ),
    "root to a wing": (
        "__init__.py",
        "from .theory import flat",
        "root imports theory",
    ),
    "through the lazy root": (
        "simulate/run.py",
        "from .. import Task",
        "no floor is known for Task",
    ),
    "absolute": (
        "simulate/run.py",
        "import attndyn.task",
        "absolute import of attndyn",
    ),
    "absolute from": (
        "theory/flat.py",
        "from attndyn import Task",
        "absolute import of attndyn",
    ),
    "new room": ("rooms.py", "from .task import Task", "no floor is known for rooms"),
    "heavy at the start": (
        "compare/__init__.py",
        "import matplotlib.pyplot",
        "compare loads matplotlib.pyplot at start",
    ),
    "heavy cli": (
        "cli/__init__.py",
        "from rich.table import Table",
        "cli loads rich.table at start",
    ),
    "heavy through another": (
        "theory/flat.py",
        "import sympy",
        "theory loads sympy at start",
    ),
    "heavy for the command line": (
        "settings.py",
        "import scipy",
        "root loads scipy at start",
    ),
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_clean_tree_has_no_violation(tmp_path):
    assert violations(tree(tmp_path, CLEAN)) == []


@pytest.mark.parametrize(("name", "text", "reason"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_forbidden_import_is_reported(tmp_path, name, text, reason):
    files = CLEAN | {"__init__.py": CLEAN["__init__.py"] + "\nfrom .task import Task"}
    found = violations(tree(tmp_path, files | {name: f"{files.get(name, '')}\n{text}"}))
    assert any(reason in line for line in found), found


def declared(option: str) -> set[str]:
    """Names of the requirements in setup.cfg, as they are imported."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    section, _, key = option.rpartition("/")
    return {
        re.split(r"[^\w-]", line)[0].replace("-", "_")
        for line in config[section][key].split("\n")
        if line
    }


def test_whatever_is_imported_is_declared():
    modules = sources(ROOT)
    names = {
        e.target.split(".")[0]
        for name in modules
        for e in imports(name, modules)
        if not e.inside
    }
    foreign = names - set(sys.stdlib_module_names)
    assert foreign == declared("options/install_requires") | declared(
        "options.extras_require/sweep"
    )
