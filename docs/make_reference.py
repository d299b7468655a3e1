"""Writes the reference: a page for every public name, in groups by what one wants to know.

`make site` runs it. A public name is one of an `__all__` of `attndyn`; a name without a group, or a group with a
name that does not exist, is an error. A name that two packages export has its page under the first of them here.

Running `python docs/make_reference.py` checks the groups and counts the pages.
"""

import inspect
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_args

import reference_groups as groups

FOLDERS = ("theory", "simulate", "compare")
"""Packages whose names pages write without `attndyn.` in front."""


class Name(NamedTuple):
    """A public name: the package that exports it, and the object."""

    module: str
    name: str
    value: Any

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def is_class(self) -> bool:
        return isinstance(self.value, type)

    @property
    def is_constant(self) -> bool:
        """Whether it is neither class nor function: a symbol, a union of types."""
        return not self.is_class and not inspect.isroutine(self.value)

    @property
    def kind(self) -> str:
        if not self.is_class:
            return "function"
        return "exception" if issubclass(self.value, BaseException) else "class"

    @property
    def page(self) -> str:
        """The page's name; a class has a suffix where a function has its name but for capitals."""
        twins = {each.lower() for each in exported(self.module) if each != self.name}
        suffix = "-class" if self.is_class and self.name.lower() in twins else ""
        return f"{self.full.removeprefix('attndyn.')}{suffix}"


def exported(module: str) -> list[str]:
    """The public names of a package that need a page: all of `__all__` but packages and the version."""
    names = groups.WITHOUT_EXPORT_LIST.get(module) or import_module(module).__all__
    values = {name: getattr(import_module(module), name) for name in names}
    return [
        name
        for name, value in values.items()
        if not name.startswith("__") and type(value).__name__ != "module"
    ]


def mistakes() -> list[str]:
    """What keeps the groups from being the export lists, in sentences."""
    found = []
    for room in groups.ROOMS:
        for module, parts in room.modules.items():
            listed = [name for names in parts.values() for name in names.split()]
            public = exported(module)
            found += [
                f"{module}.{name} is public and stands in no group of docs/reference_groups.py"
                for name in sorted(set(public) - set(listed))
            ]
            found += [
                f"docs/reference_groups.py lists {module}.{name}, which {module} does not export"
                for name in sorted(set(listed) - set(public))
            ]
            twice = {name for name in listed if listed.count(name) > 1}
            found += [f"{module}.{name} stands in two groups" for name in sorted(twice)]
    found += [
        f"{name.full} has no docstring: say what it is in CONSTANTS of docs/reference_groups.py"
        for name in pages()
        if name.is_constant and name.full not in groups.CONSTANTS
    ]
    return found


def packages_with_export_lists() -> set[str]:
    """Every package that is meant for users: below `attndyn`, with an `__all__`."""
    import pkgutil

    import attndyn

    listed = {"attndyn"}
    for module in pkgutil.walk_packages(attndyn.__path__, "attndyn."):
        first = module.name.split(".")[1]
        if module.ispkg and first not in groups.NOT_FOR_USERS:
            found = import_module(module.name)
            listed |= {module.name} if hasattr(found, "__all__") else set()
    return listed


def is_same(first: Any, second: Any) -> bool:
    """Whether two exports are one object with a page of its own; equal numbers and types are no such thing."""
    return first is second and (isinstance(first, type) or inspect.isroutine(first))


@cache
def pages() -> tuple[Name, ...]:
    """Every public name that has a page, each object once."""
    found: list[Name] = []
    for room in groups.ROOMS:
        for module in room.modules:
            for name in exported(module):
                value = getattr(import_module(module), name)
                if not any(is_same(value, other.value) for other in found):
                    found.append(Name(module, name, value))
    return tuple(found)


@cache
def _home_of_exports() -> dict[str, Name]:
    """Full name as exported → the name that has the page."""
    homes = {}
    for room in groups.ROOMS:
        for module in room.modules:
            for name in exported(module):
                value = getattr(import_module(module), name)
                home = next(
                    (each for each in pages() if is_same(value, each.value)),
                    Name(module, name, value),
                )
                homes[f"{module}.{name}"] = home
    return homes


def documented_as(full: str) -> str:
    """The full name under which an export has its page."""
    home = _home_of_exports().get(full)
    return home.full if home else full


@cache
def full_names() -> dict[str, tuple[str, ...]]:
    """Last part of a name, alone and with its class's member → the full names, where only one object has it."""
    by_last: dict[str, set[str]] = {}
    for name in pages():
        by_last.setdefault(name.name, set()).add(name.full)
    return {last: tuple(full) for last, full in by_last.items() if len(full) == 1}


def first_line(name: Name) -> str:
    """What a name is, in one line of reStructuredText."""
    from prose_docstrings import prose

    if name.is_constant:
        return groups.CONSTANTS[name.full]
    text = (name.value.__doc__ or "").strip().split("\n\n")[0]
    line = text.split("\n")[0]
    return prose([line])[0].strip()


def underlined(title: str, character: str = "=") -> str:
    return f"{title}\n{character * (2 * len(title))}\n"


def page_of(name: Name) -> str:
    """The page of one name: its signature and docstring, and the examples of the gallery that use it."""
    lines = [
        underlined(name.name),
        f"``from {name.module} import {name.name}``\n",
        f".. currentmodule:: {name.module}\n",
    ]
    if name.is_constant:
        lines.append(f".. py:data:: {name.name}\n\n   {groups.CONSTANTS[name.full]}\n")
    else:
        lines.append(f".. auto{name.kind}:: {name.name}\n")
    for result in results_of(name):
        lines.append(f".. currentmodule:: {result.__module__}\n")
        lines.append(f".. autoclass:: {result.__qualname__}\n")
    lines.append(
        f".. minigallery:: {name.full}\n   :add-heading: In the gallery\n   :heading-level: -\n"
    )
    return "\n".join(lines)


@cache
def _functions_by_result() -> dict[type, Name]:
    """Class that is no public name → the first public function that returns it, whose page explains it."""
    public = {name.value for name in pages() if name.is_class}
    first: dict[type, Name] = {}
    for name in pages():
        if name.kind != "function" or name.is_constant:
            continue
        returned = inspect.signature(name.value).return_annotation
        for result in (returned, *get_args(returned)):
            ours = isinstance(result, type) and result.__module__.startswith("attndyn.")
            if ours and result not in public:
                first.setdefault(result, name)
    return first


def results_of(name: Name) -> list[type]:
    """Classes that the page of a function explains beside it, as they are no public name."""
    return [result for result, owner in _functions_by_result().items() if owner == name]


def page_of_room(room: groups.Room) -> str:
    """The page of a room: its groups, each a table of names with a line on each."""
    lines = [underlined(room.title), room.text + "\n"]
    toctree = []
    for module, parts in room.modules.items():
        if len(room.modules) > 1:
            lines.append(underlined(f"``{module}``", "-"))
        for title, names in parts.items():
            rows = [_home_of_exports()[f"{module}.{name}"] for name in names.split()]
            lines.append(underlined(title, "~" if len(room.modules) > 1 else "-"))
            lines.append(".. list-table::\n   :widths: 30 70\n   :class: names\n")
            for row in rows:
                lines.append(f"   * - :py:obj:`{row.name} <{row.full}>`")
                lines.append(f"     - {first_line(row)}")
                if row.page not in toctree and row.module in room.modules:
                    toctree.append(row.page)
            lines.append("")
    lines.append(".. toctree::\n   :hidden:\n   :maxdepth: 1\n")
    lines += [f"   {page}" for page in toctree]
    return "\n".join(lines) + "\n"


def write_pages(folder: Path) -> None:
    """Write the reference into a folder and delete what is no longer public; ValueError for a name without a group."""
    found = mistakes()
    if found:
        raise ValueError("; ".join(found))
    written = {f"{room.page}.rst": page_of_room(room) for room in groups.ROOMS}
    written |= {f"{name.page}.rst": page_of(name) for name in pages()}
    folder.mkdir(exist_ok=True)
    for file in folder.glob("*.rst"):
        if file.name not in written:
            file.unlink()
    for name, text in written.items():
        file = folder / name
        # A page that has not changed keeps its time, so that it is not built again.
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for mistake in mistakes():
        print(mistake)
    print(f"{len(pages())} pages in {len(groups.ROOMS)} rooms")
    raise SystemExit(bool(mistakes()))
