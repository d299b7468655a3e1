"""Versions of what computes a result: of this package, of NumPy and of Python."""

import platform
from functools import cache
from importlib.metadata import version


@cache
def package_version() -> str:
    """The installed version of this package, which setup.cfg states."""
    return version("attndyn")


def versions() -> dict[str, str]:
    """Versions that a stored result depends on.

    >>> sorted(versions())
    ['attndyn', 'numpy', 'python']
    """
    return {
        "attndyn": package_version(),
        "numpy": version("numpy"),
        "python": platform.python_version(),
    }
