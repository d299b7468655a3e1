"""Where pages of Python, NumPy and SymPy explain the types of our signatures, without asking for them at build time."""

import zlib
from pathlib import Path

PROJECTS = {
    "python": (
        "https://docs.python.org/3/",
        {
            "py:class": {
                "bool": "library/functions.html#bool",
                "bytes": "library/stdtypes.html#bytes",
                "complex": "library/functions.html#complex",
                "dict": "library/stdtypes.html#dict",
                "float": "library/functions.html#float",
                "int": "library/functions.html#int",
                "list": "library/stdtypes.html#list",
                "object": "library/functions.html#object",
                "set": "library/stdtypes.html#set",
                "frozenset": "library/stdtypes.html#frozenset",
                "str": "library/stdtypes.html#str",
                "tuple": "library/stdtypes.html#tuple",
                "type": "library/functions.html#type",
                "slice": "library/functions.html#slice",
                "collections.abc.Callable": "library/collections.abc.html#collections.abc.Callable",
                "collections.abc.Iterable": "library/collections.abc.html#collections.abc.Iterable",
                "collections.abc.Iterator": "library/collections.abc.html#collections.abc.Iterator",
                "collections.abc.Mapping": "library/collections.abc.html#collections.abc.Mapping",
                "collections.abc.Sequence": "library/collections.abc.html#collections.abc.Sequence",
                "collections.abc.Collection": "library/collections.abc.html#collections.abc.Collection",
                "concurrent.futures._base.Executor": "library/concurrent.futures.html#concurrent.futures.Executor",
                "decimal.Decimal": "library/decimal.html#decimal.Decimal",
                "enum.Enum": "library/enum.html#enum.Enum",
                "fractions.Fraction": "library/fractions.html#fractions.Fraction",
                "os.PathLike": "library/os.html#os.PathLike",
                "pathlib.Path": "library/pathlib.html#pathlib.Path",
                "typing.NamedTuple": "library/typing.html#typing.NamedTuple",
                "typing.Protocol": "library/typing.html#typing.Protocol",
            },
            "py:data": {
                "None": "library/constants.html#None",
                "typing.Any": "library/typing.html#typing.Any",
                "typing.Literal": "library/typing.html#typing.Literal",
            },
            "py:exception": {
                "Exception": "library/exceptions.html#Exception",
                "RuntimeError": "library/exceptions.html#RuntimeError",
                "UserWarning": "library/exceptions.html#UserWarning",
                "ValueError": "library/exceptions.html#ValueError",
            },
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        {
            "py:class": {
                "numpy.bool": "reference/arrays.scalars.html#numpy.bool",
                "numpy.float64": "reference/arrays.scalars.html#numpy.float64",
                "numpy.int64": "reference/arrays.scalars.html#numpy.int64",
                "numpy.ndarray": "reference/generated/numpy.ndarray.html#numpy.ndarray",
                "numpy.random._generator.Generator": "reference/random/generator.html#numpy.random.Generator",
                "numpy.typing.ArrayLike": "reference/typing.html#numpy.typing.ArrayLike",
                "numpy.typing.NDArray": "reference/typing.html#numpy.typing.NDArray",
            }
        },
    ),
    "sympy": (
        "https://docs.sympy.org/latest/",
        {
            "py:class": {
                "sympy.core.expr.Expr": "modules/core.html#sympy.core.expr.Expr",
                "sympy.core.function.Function": "modules/core.html#sympy.core.function.Function",
                "sympy.core.symbol.Symbol": "modules/core.html#sympy.core.symbol.Symbol",
            }
        },
    ),
}
"""Project → (address, role → name → page)."""

NAMES_WITHOUT_A_PAGE = [
    # What signatures take and scripts of the gallery use, and no `__all__` exports.
    ("py:(class|func)", r"attndyn\.[a-z_.]+\.\w+"),
    ("py:class", r"(Axes|Figure|PathCurve)"),  # imported for types only
    ("py:class", r"collections\.abc\.Mapping\[str"),  # a type in quotation marks
    ("py:class", r"xarray\.Dataset"),
]
"""(role, pattern of a name): types without a page, so that `-n` reports every other name."""


def inventory(project: str, names: dict[str, dict[str, str]]) -> bytes:
    """An inventory in Sphinx's format, version 2."""
    lines = [
        f"{name} {role} 1 {page} -"
        for role, pages in names.items()
        for name, page in pages.items()
    ]
    head = (
        f"# Sphinx inventory version 2\n# Project: {project}\n# Version: 0\n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    return head.encode() + zlib.compress("\n".join([*lines, ""]).encode())


def mapping(folder: Path) -> dict[str, tuple[str, str]]:
    """What intersphinx is told: each project's address, and its inventory, written to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {}
    for project, (address, names) in PROJECTS.items():
        file = folder / f"{project}.inv"
        file.write_bytes(inventory(project, names))
        told[project] = (address, str(file))
    return told
