"""The wing that CONTRIBUTING.md adds: with its lines alone, a copy of the package finds paper, claim and figure."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import attndyn

pytestmark = pytest.mark.checkout

ROOT = Path(attndyn.__file__).parent
PAGE = ROOT / "CONTRIBUTING.md"
COPIED = (
    "cli",
    "compare",
    "explore",
    "models",
    "runtime",
    "simulate",
    "teachers",
    "theory",
)
COPIED += ("docs", "tests/upkeep")
WING = ("theory/toy", "compare/claims/toy", "compare/figures/toy")


def modules() -> dict[str, str]:
    """Path → text of the modules on the page: blocks that begin with the path as a comment."""
    text = PAGE.read_text(encoding="utf-8")
    return dict(re.findall(r"```python\n# (\S+)\n(.*?)```", text, flags=re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a copy of the package, as `attndyn`, in which the wing has been added."""
    package = tmp_path_factory.mktemp("wing") / "attndyn"
    # With what is compiled already, which is valid where a copy keeps the times of its files.
    unwanted = shutil.ignore_patterns("images")
    for name in COPIED:
        shutil.copytree(ROOT / name, package / name, ignore=unwanted)
    for file in [*ROOT.glob("*.py"), ROOT / "setup.cfg", ROOT / "pyproject.toml"]:
        shutil.copyfile(file, package / file.name)
    for name in WING:
        (package / name).mkdir()
        (package / name / "__init__.py").touch()
    for path, text in modules().items():
        (package / path).write_text(text, encoding="utf-8")
    return package.parent


def run(folder: Path, *command: str, cwd: str = ".") -> str:
    """The output of a command that imports the copy."""
    environment = os.environ | {"PYTHONPATH": str(folder), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        command, cwd=folder / cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_wing_is_short_and_lies_in_its_folders():
    assert {path.rpartition("/")[0] for path in modules()} == set(WING)
    lines = "".join(modules().values()).splitlines()
    assert sum(bool(line.strip()) for line in lines) < 60


def test_its_claim_holds_and_rejects_its_control(folder):
    command = (sys.executable, "-W", "error", "-m", "attndyn", "verify", "toy")
    run(folder, *command, "--out", "results")
    ledger = (folder / "results" / "ledger.json").read_text("utf-8")
    (verdict,) = json.loads(ledger)["verdicts"]
    assert verdict["holds"]
    assert verdict["level"] == "numerical"
    assert verdict["controls"]["rejected"] == verdict["controls"]["total"] == 1
    assert "Doe 2026" in verdict["source"]
    assert "White inputs" in (folder / "results" / "report.html").read_text("utf-8")


def test_its_figure_is_drawn(folder):
    run(folder, sys.executable, "-m", "attndyn", "figures", "toy_map", "--out", "drawn")
    assert (folder / "drawn" / "toy_map.png").stat().st_size > 1000


def test_its_paper_stands_on_the_pages(folder):
    code = "import make_claims, make_coverage; print(make_claims.page(), make_coverage.page())"
    pages = run(folder, sys.executable, "-c", code, cwd="attndyn/docs")
    assert "`toy.white`" in pages
    assert "## Doe 2026" in pages


def test_it_keeps_the_contracts_and_the_list_of_packages(folder):
    linter = Path(sys.executable).with_name("lint-imports")
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "0 broken" in run(folder, str(linter), "--no-cache")

    run(folder, sys.executable, "-m", "tests.upkeep.packages", cwd="attndyn")
    before = set((ROOT / "setup.cfg").read_text("utf-8").split())
    after = set((folder / "attndyn" / "setup.cfg").read_text("utf-8").split())
    assert after - before == {f"attndyn.{name.replace('/', '.')}" for name in WING}
