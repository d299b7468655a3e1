"""The list of packages in setup.cfg, from the folders: `python -m tests.upkeep.packages` writes it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_SHIPPED = {"tests", "docs", "benchmarks", "examples", "build", "results"}
LISTED = re.compile(r"^packages =\n((?:    .*\n)+)", re.MULTILINE)


def main() -> None:
    """Write the list, if it differs from the folders."""
    file = ROOT / "setup.cfg"
    text = file.read_text(encoding="utf-8")
    new = with_packages(text, folders(ROOT, "__init__.py"))
    if new != text:
        file.write_text(new, encoding="utf-8")


def folders(root: Path, pattern: str) -> set[str]:
    """Dotted names of the shipped folders below root that hold a file of this pattern."""
    parents = {path.relative_to(root).parts[:-1] for path in root.rglob(pattern)}
    shipped = [
        parts
        for parts in parents
        if not parts or not (parts[0] in NOT_SHIPPED or parts[0].startswith("."))
    ]
    return {".".join(("attndyn", *parts)) for parts in shipped}


def with_packages(text: str, packages: set[str]) -> str:
    """The text of setup.cfg with these packages in its list, in alphabetical order."""
    lines = "".join(f"    {name}\n" for name in sorted(packages))
    return LISTED.sub(lambda match: f"packages =\n{lines}", text, count=1)


if __name__ == "__main__":
    main()
