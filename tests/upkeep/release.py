"""Build wheel and source distribution, check what is in them, and test what they install away from the checkout.

`make release` runs it: the quick tests and the fast claims; `make release TESTS=all` runs every test. Both files are
installed into environments of their own, and the tests are copied to a folder that holds nothing of the package.
"""

import argparse
import configparser
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIST = ROOT / "build" / "release"

NOT_RELEASED = (".gitignore", ".gitattributes", ".github/*")
"""Files of a checkout that serve git alone."""

BESIDE_THE_TESTS = ("tests", "docs", "examples", "setup.cfg", "pyproject.toml")
"""What the tests read of the source distribution; of the package they have what is installed."""

QUICK = [
    "tests/test_task.py",
    "tests/models",
    "tests/runtime/test_line_charts.py",
    "tests/runtime/test_files.py",
    "tests/simulate/test_displays.py",
    "tests/theory/test_results.py",
    "tests/theory/symbolic/test_results_show_themselves.py",
    "tests/compare/test_charts_of_results.py",
    "tests/compare/report",
    "tests/compare/replays/test_recordings.py",
    "tests/compare/checkpoints",
    "tests/compare/ledger/test_coverage.py",
    "tests/cli/test_cli.py",
    "tests/docs",
]
"""Tests of each part of the package, and of all that reads a file that comes with it."""


def tracked() -> set[str]:
    """Every file of the checkout that a release has, by its path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = set(filter(None, listed.stdout.split("\0")))
    return {p for p in paths if not any(fnmatch(p, each) for each in NOT_RELEASED)}


def in_package(paths: Iterable[str]) -> set[str]:
    """Those of the paths that are installed: modules and data of the packages in setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    folders = {
        line.strip().replace(".", "/").removeprefix("attndyn").removeprefix("/")
        for line in setup["options"]["packages"].split()
    }
    data = {}
    for package, patterns in setup["options.package_data"].items():
        folder = package.replace(".", "/").removeprefix("attndyn").removeprefix("/")
        data[folder] = re.split(r",\s*", patterns)
    found = set()
    for path in paths:
        parent = str(Path(path).parent).removeprefix(".")
        is_module = path.endswith(".py") and parent in folders
        is_data = any(
            fnmatch(path, f"{folder}/{pattern}".lstrip("/"))
            and path.count("/") == f"{folder}/{pattern}".lstrip("/").count("/")
            for folder, patterns in data.items()
            for pattern in patterns
        )
        if is_module or is_data:
            found.add(path)
    return found


def differences(found: Iterable[str], expected: Iterable[str], name: str) -> list[str]:
    """What is missing in a file and what should not be there, one line each."""
    found, expected = set(found), set(expected)
    missing = [f"{name} lacks {path}" for path in sorted(expected - found)]
    return missing + [f"{name} should not hold {p}" for p in sorted(found - expected)]


def contents(wheel: Path, source: Path) -> list[str]:
    """What is wrong in both files, one line each."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    inside = [n.removeprefix("attndyn/") for n in names if n.startswith("attndyn/")]
    about = [name for name in names if not name.startswith("attndyn/")]
    wrong = differences(inside, in_package(tracked()), wheel.name)
    for licence in ("LICENSE", "THIRD_PARTY_LICENSES", "uPlot.LICENSE"):
        if not any(name.endswith(f"/{licence}") for name in about):
            wrong.append(f"{wheel.name} lacks the licence {licence}")
    wrong += [
        f"{wheel.name} should not hold {name}"
        for name in about
        if not re.match(r"attndyn-[\d.]+\.dist-info/", name)
    ]
    with tarfile.open(source) as archive:
        members = [member.name for member in archive.getmembers() if member.isfile()]
    paths = {name.partition("/")[2] for name in members}
    made = {path for path in paths if path == "PKG-INFO" or ".egg-info/" in path}
    return wrong + differences(paths - made, tracked(), source.name)


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command that sees no checkout beside where it runs; SystemExit if it fails."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = [str(word) for word in command]
    print("$", *words, flush=True)
    done = subprocess.run(words, cwd=cwd, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"make release: this failed: {' '.join(words)}")


def build() -> tuple[Path, Path]:
    """Build both from what git knows, with nothing of earlier builds."""
    shutil.rmtree(DIST, ignore_errors=True)
    clean = DIST / "checkout"
    for path in tracked():
        (clean / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, clean / path)
    run(sys.executable, "-m", "build", "--outdir", DIST, clean)
    shutil.rmtree(clean)
    (wheel,), (source,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, source)
    return wheel, source


def tests_of(source: Path, folder: Path) -> Path:
    """A folder with the tests and what they read, and nothing of the package."""
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(source) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    for name in BESIDE_THE_TESTS:
        shutil.move(unpacked / name, folder / name)
    shutil.rmtree(folder / "unpacked")
    return folder


def check(package: Path, source: Path, tests: str) -> None:
    """Install one of the files into an empty environment and run tests and claims there."""
    name = "from-wheel" if package.suffix == ".whl" else "from-source"
    environment = DIST / name
    folder = tests_of(source, DIST / f"tests-{name}")
    run(sys.executable, "-m", "venv", "--clear", environment)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{package}[test]")
    where = "import attndyn, pathlib; print(pathlib.Path(attndyn.__file__).parent)"
    found = subprocess.run(
        [python, "-c", where], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_relative_to(environment):
        raise SystemExit(f"make release: {found} was imported, not what is installed")
    chosen = ["tests"] if tests == "all" else [*QUICK, "-m", "not slow"]
    parallel = ("-n", "auto", "--dist", "worksteal")
    run(python, "-m", "pytest", "-q", *parallel, *chosen, cwd=folder)
    fast = ("verify", "--tier", "fast", "--out", folder / "results")
    run(python, "-W", "error", "-m", "attndyn", *fast, cwd=folder)


def main() -> None:
    """Build, check, install, test, and list the SHA-256 of both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", choices=("quick", "all"), default="quick")
    parser.add_argument("--only", choices=("build", "wheel", "source"))
    options = parser.parse_args()
    wheel, source = build()
    wrong = contents(wheel, source)
    if wrong:
        raise SystemExit("make release: " + "\n".join(wrong))
    if options.only in (None, "wheel"):
        check(wheel, source, options.tests)
    if options.only in (None, "source"):
        check(source, source, options.tests)
    for path in (wheel, source):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{digest}  {path.relative_to(ROOT)}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
