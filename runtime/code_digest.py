"""Which files a module is made of: itself and what it imports of its package, name by name and through others."""

import ast
import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = "attndyn"


class Import(NamedTuple):
    """One imported name: `from ..module import name as bound`, with an empty name `import module`."""

    level: int
    module: str
    name: str
    bound: str


def sources(
    path: Path, follows: Callable[[Path, Path], bool] | None = None
) -> set[Path]:
    """A file and every file that it depends on: modules that it imports, itself or through others, and data.

    A name counts with the module that owns it, not with the package that hands it on. Modules belong if they are
    of this package, or of the package or the folder of `path`; installed packages do not. Data belong if they lie
    in a package whose dotted name stands in the text. `follows(importer, imported)` says which files to go on to,
    all of them if left out.

    >>> sorted(path.name for path in sources(ROOT / "runtime" / "threads.py"))
    ['machine.py', 'threads.py']
    """
    reached = {path}
    waiting = [path]
    while waiting:
        importer = waiting.pop()
        if importer.suffix != ".py":  # data import nothing
            continue
        for imported in direct_sources(importer):
            if follows is not None and not follows(importer, imported):
                continue
            if imported not in reached:
                reached.add(imported)
                waiting.append(imported)
    return reached


def direct_sources(path: Path) -> set[Path]:
    """Files that a module depends on itself: the owners of the names that it imports, and its data.

    >>> [path.name for path in direct_sources(ROOT / "runtime" / "threads.py")]
    ['machine.py']
    """
    imports, data_packages = _read(path.read_bytes())
    files: set[Path] = set()
    for statement in imports:
        files.update(_files(path, statement))
    for package in data_packages:
        for file in ROOT.joinpath(*package.split(".")[1:]).glob("*"):
            if file.suffix != ".py" and file.is_file():
                files.add(file)
    return files


def source_digest(paths: Iterable[Path]) -> str:
    """SHA-256 of the contents of files, in the order of their paths.

    >>> source_digest([ROOT / "task.py"]) == source_digest([ROOT / "models" / "attention.py"])
    False
    """
    return hashlib.sha256(
        b"\0".join(path.read_bytes() for path in sorted(paths))
    ).hexdigest()


@lru_cache(maxsize=1024)
def _read(text: bytes) -> tuple[tuple[Import, ...], tuple[str, ...]]:
    """Everything that a text imports, also inside functions, and the packages that it names in quotes."""
    imports: list[Import] = []
    packages: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imports += [Import(0, alias.name, "", "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for alias in node.names:
                bound = alias.asname or alias.name
                imports.append(Import(node.level, module, alias.name, bound))
        elif isinstance(node, ast.Constant):
            text_of_node = str(node.value)
            if re.fullmatch(rf"{PACKAGE}(\.\w+)+", text_of_node):
                packages.append(text_of_node)
    return tuple(imports), tuple(packages)


def _files(path: Path, statement: Import) -> Iterator[Path]:
    """The file that owns an imported name, if it is one of ours."""
    home = _home(path, statement)
    if home is None:
        return

    package = home / "__init__.py"
    if statement.module and not package.is_file():
        module = home.with_suffix(".py")
        if module.is_file():
            yield module
        return

    files: list[Path] = []
    if statement.name not in ("", "*") and package.is_file():
        files = list(_owners(package, statement.name))
    if not files and statement.name:
        below = [home / statement.name / "__init__.py", home / f"{statement.name}.py"]
        files = [file for file in below if file.is_file()][:1]
    # A name that the package itself defines; its version names the code and does nothing.
    if not files and package.is_file() and not statement.name.startswith("__"):
        files = [package]
    yield from files


def _owners(package: Path, name: str) -> Iterator[Path]:
    """Files that a package has a name from."""
    imports, _ = _read(package.read_bytes())
    for statement in imports:
        if statement.bound == name and _home(package, statement) != package.parent:
            yield from _files(package, statement)


def _home(path: Path, statement: Import) -> Path | None:
    """Folder or file, without its suffix, of the imported module; None if it is not one of ours."""
    parts = statement.module.split(".") if statement.module else []
    if statement.level:
        return path.parents[statement.level - 1].joinpath(*parts)
    if parts[0] == PACKAGE:
        return ROOT.joinpath(*parts[1:])
    if parts[0] in sys.stdlib_module_names:
        return None

    # The folder that Python would search: the first one above the file that is no package.
    base = next(
        folder for folder in path.parents if not (folder / "__init__.py").is_file()
    )
    in_package = path.parent != base
    if in_package and parts[0] != path.relative_to(base).parts[0]:
        return None
    return base.joinpath(*parts)
