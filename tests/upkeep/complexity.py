"""Functions that are more complex than the rule, by file: `python -m tests.upkeep.complexity` prints the list.

pyproject.toml holds it as exceptions. It only shrinks: an exception that is no longer needed fails a test.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
RULES = ("C901", "PLR0914", "PLR0917")
"""Branches, local variables and positional arguments of a function: pyproject.toml has the limits."""


def main() -> None:
    """Print the exceptions that pyproject.toml needs."""
    for file, rules in violations(ROOT).items():
        print(f'"{file}" = {json.dumps(rules)}')


def ignored() -> dict[str, list[str]]:
    """File or pattern → rules that pyproject.toml does not hold it to."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rules: dict[str, list[str]] = settings["tool"]["ruff"]["lint"]["per-file-ignores"]
    return rules


def exceptions() -> dict[str, list[str]]:
    """File → rules, where single files are named."""
    return {file: sorted(rules) for file, rules in ignored().items() if "*" not in file}


def violations(folder: Path) -> dict[str, list[str]]:
    """File → rules that it breaks, whether listed or not; files are relative to the folder, in alphabetical order."""
    patterns = {file: rules for file, rules in ignored().items() if "*" in file}
    kept = ", ".join(
        f"{json.dumps(file)} = {rules}" for file, rules in patterns.items()
    )
    command = [Path(sys.executable).with_name("ruff"), "check", "--no-cache"]
    command += ["--exit-zero", "--output-format=json", f"--select={','.join(RULES)}"]
    command += [f"--config={ROOT / 'pyproject.toml'}"]
    command += [f"--config=lint.per-file-ignores={{{kept}}}", "."]
    output = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    broken: dict[str, set[str]] = {}
    for violation in json.loads(output):
        file = Path(violation["filename"]).relative_to(folder.resolve()).as_posix()
        broken.setdefault(file, set()).add(violation["code"])
    return {file: sorted(rules) for file, rules in sorted(broken.items())}


if __name__ == "__main__":
    main()
