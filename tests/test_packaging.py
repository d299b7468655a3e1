"""What is shipped: packages, files, one version, dependencies, and a quick start."""

import configparser
import fnmatch
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import attndyn
from attndyn.compare.evidence.papers import all_papers

pytestmark = pytest.mark.checkout

ROOT = Path(attndyn.__file__).parent


def setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def lines(section: str, key: str) -> list[str]:
    return [line.strip() for line in setup()[section][key].split("\n") if line.strip()]


def test_every_pattern_of_package_data_names_files_and_every_data_file_has_one():
    data = {
        name: re.split(r",\s*", patterns)
        for name, patterns in setup()["options.package_data"].items()
    }
    for name, patterns in data.items():
        folder = ROOT.joinpath(*name.split(".")[1:])
        assert all(list(folder.glob(pattern)) for pattern in patterns), name
    shipped = ROOT / "compare"
    files = [
        path
        for path in shipped.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    for path in files:
        package = ".".join(("attndyn", *path.relative_to(ROOT).parts[:-1]))
        assert any(
            fnmatch.fnmatch(path.name, pattern) for pattern in data.get(package, [])
        ), path


def test_types_are_announced():
    assert (ROOT / "py.typed").is_file()


def versions(text: str, pattern: str) -> list[str]:
    return re.findall(pattern, text, flags=re.MULTILINE)


def test_there_is_one_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", attndyn.__version__)
    assert setup()["metadata"]["version"] == attndyn.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    bibtex = (ROOT / "CITATION.bib").read_text(encoding="utf-8")
    assert versions(citation, r"^version: (\S+)$") == [attndyn.__version__]
    assert versions(bibtex, r"^  version = \{(\S+)\},$") == [attndyn.__version__]
    released = versions(citation, r"^date-released: (\S+)$")
    assert [f"## {attndyn.__version__} ({day})" for day in released] == versions(
        changelog, r"^## \d.*"
    )[:1]
    assert versions(changelog, r"^## (\S+)")[:2] == ["Unreleased", attndyn.__version__]


def test_another_version_would_be_found():
    assert versions("version: 0.0.9\n", r"^version: (\S+)$") != [attndyn.__version__]
    assert (
        versions("# Changes\n\n## Unreleased\n\n## 0.0.8", r"^## (\S+)")[1] == "0.0.8"
    )


@pytest.mark.parametrize("name", ["CITATION.cff", "CITATION.bib"])
def test_every_paper_is_cited(name):
    text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
    assert len(all_papers()) >= 5
    for paper in all_papers():
        assert paper.arxiv in text, paper.key
        assert paper.title in text, paper.key
        assert all(author in text for author in paper.authors), paper.key


def test_files_of_others_are_named_with_their_licences():
    notices = (ROOT / "THIRD_PARTY_LICENSES").read_text(encoding="utf-8")
    stated = lines("metadata", "license_files")
    vendored = list((ROOT / "explore" / "page" / "vendor").iterdir())
    assert vendored
    for path in vendored:
        if path.name.endswith(".LICENSE"):
            assert path.relative_to(ROOT).as_posix() in stated
            assert path.read_text(encoding="utf-8").strip() in notices
        else:
            assert path.name in notices
    assert {"LICENSE", "THIRD_PARTY_LICENSES"} <= set(stated)
    for folder in (ROOT / "docs" / "_static" / "vendor").iterdir():
        assert (folder / "LICENSE").is_file()
        for path in folder.iterdir():
            assert f"docs/_static/vendor/{folder.name}/{path.name}" in notices


@pytest.fixture
def release():
    """The script that builds a release and checks it."""
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module("tests.upkeep.release")
    finally:
        sys.path.remove(str(ROOT))


def test_what_a_release_lacks_or_should_not_hold_would_be_found(release):
    files = {"task.py", "explore/page/index.html", "explore/page/vendor/uPlot.LICENSE"}
    others = {"tests/conftest.py", "setup.cfg", "docs/conf.py", "explore/page/x.txt"}
    assert release.in_package(files | others) == files
    assert release.differences(files - {"task.py"}, files, "wheel") == [
        "wheel lacks task.py"
    ]
    held = release.differences(files | {"setup.cfg"}, files, "wheel")
    assert held == ["wheel should not hold setup.cfg"]


def test_the_license_is_the_same_everywhere():
    assert setup()["metadata"]["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert "\nlicense: MIT\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_every_dependency_says_why_it_is_there():
    extras = [
        line
        for key in setup()["options.extras_require"]
        for line in lines("options.extras_require", key)
    ]
    declared = {
        re.split(r"[^\w-]", line)[0]
        for line in lines("options", "install_requires") + extras
    }
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([\w-]+)`", page, flags=re.MULTILINE)) == declared


HEAVY = ("scipy", "sympy", "mpmath", "matplotlib", "numba", "rich", "typer")
HEAVY += ("xarray", "distributed", "mpi4py", "safetensors", "flint")
"""What takes long to load, and is loaded by the function that needs it."""


def start(statement: str, without: set[str]) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter runs a statement where loading these packages is an error, which shows who loads them."""
    code = f"import sys\nsys.modules.update(dict.fromkeys({without}))\n{statement}"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )


def quick_packages() -> list[str]:
    """Every package that starts without heavy packages: all but the symbolic engine, which is made of SymPy."""
    return [
        name
        for name in lines("options", "packages")
        if not name.startswith(("attndyn.theory.symbolic", "attndyn.cli"))
    ]


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("import attndyn", {*HEAVY, "numpy"}),
        ("from attndyn import Task, Merged, Separate", {*HEAVY}),
        (f"import {', '.join(quick_packages())}", {*HEAVY}),
        ("import attndyn.cli", {*HEAVY, "numpy"} - {"rich", "typer"}),
        (
            "from attndyn.cli import main; sys.exit(main(['--help']))",
            {*HEAVY, "numpy"} - {"rich", "typer"},
        ),
    ],
    ids=["root", "public names", "every package", "command line", "help"],
)
def test_a_quick_start(statement, without):
    run = start(statement, without)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "statement", ["import attndyn, sympy", "import attndyn.theory.symbolic"]
)
def test_a_slow_start_would_be_found(statement):
    run = start(statement, {*HEAVY})
    assert run.returncode == 1
    assert "import of sympy halted" in run.stderr
