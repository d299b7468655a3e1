"""Which files a module is made of: itself and what it imports of its package, name by name and through others."""

import ast
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
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


def sources(path: Path) -> set[Path]:
    """A file and every file that it depends on: modules that it imports, itself or through others, and data.

    A name counts with the module that owns it, not with the package that hands it on. Modules belong if they are
    of this package, or of the package or the folder of `path`; installed packages do not. Data belong if they lie
    in a package whose dotted name stands in the text.

    >>> names = {path.name for path in sources(ROOT / "models" / "attention.py")}
    >>> sorted(names)
    ['attention.py', 'decimals.py', 'score_divisor.py', 'serialisation.py']
    """
    known: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current not in known:
            known.add(current)
            waiting += direct_sources(current) if current.suffix == ".py" else []
    return known


def direct_sources(path: Path) -> set[Path]:
    """Files that a module depends on itself: the owners of the names that it imports, and its data.

    >>> names = {path.name for path in direct_sources(ROOT / "models" / "attention.py")}
    >>> sorted(names)
    ['score_divisor.py', 'serialisation.py']
    """
    imports, folders = _read(path.read_bytes())
    modules = {file for each in imports for file in _files(path, each)}
    packages = [ROOT.joinpath(*folder.split(".")[1:]) for folder in folders]
    data = {
        file
        for package in packages
        for file in package.glob("*")
        if file.suffix != ".py" and file.is_file()
    }
    return modules | data


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
    nodes = list(ast.walk(ast.parse(text)))
    imports = [
        Import(0, a.name, "", "")
        for node in nodes
        if isinstance(node, ast.Import)
        for a in node.names
    ]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            imports += [
                Import(node.level, node.module or "", a.name, a.asname or a.name)
                for a in node.names
            ]
    quoted = (str(node.value) for node in nodes if isinstance(node, ast.Constant))
    return tuple(imports), tuple(
        name for name in quoted if re.fullmatch(rf"{PACKAGE}(\.\w+)+", name)
    )


def _files(path: Path, each: Import) -> Iterator[Path]:
    """The file that owns an imported name, if it is one of ours."""
    home = _home(path, each)
    if home is None:
        return
    package = home / "__init__.py"
    if each.module and not package.is_file():
        yield from filter(Path.is_file, [home.with_suffix(".py")])
        return
    owners = (
        []
        if each.name in ("", "*") or not package.is_file()
        else list(_owners(package, each.name))
    )
    below = (
        [home / each.name / "__init__.py", home / f"{each.name}.py"]
        if each.name
        else []
    )
    found = owners or [file for file in below if file.is_file()][:1]
    handed_on = package.is_file() and not each.name.startswith(
        "__"
    )  # a version names the code and does nothing
    yield from found or ([package] if handed_on else [])


def _owners(package: Path, name: str) -> Iterator[Path]:
    """Files that a package has a name from."""
    for each in _read(package.read_bytes())[0]:
        if each.bound == name and _home(package, each) != package.parent:
            yield from _files(package, each)


def _home(path: Path, each: Import) -> Path | None:
    """Folder or file, without its suffix, of the imported module; None if it is somebody else's."""
    parts = each.module.split(".") if each.module else []
    if each.level:
        return path.parents[each.level - 1].joinpath(*parts)
    if parts[0] == PACKAGE:
        return ROOT.joinpath(*parts[1:])
    base = next(
        folder for folder in path.parents if not (folder / "__init__.py").is_file()
    )
    packaged = path.parent != base
    foreign = packaged and parts[0] != path.relative_to(base).parts[0]
    return (
        None
        if foreign or parts[0] in sys.stdlib_module_names
        else base.joinpath(*parts)
    )
