"""Versions of what computes a result: of this package, of NumPy and of Python."""

import platform
from functools import cache


@cache
def package_version() -> str:
    """The installed version of this package, which setup.cfg states."""
    # Lazily: it loads the library for mails, which would make every command start 10 ms later.
    from importlib.metadata import version

    return version("attndyn")


def versions() -> dict[str, str]:
    """Versions that a stored result depends on.

    >>> sorted(versions())
    ['attndyn', 'numpy', 'python']
    """
    from importlib.metadata import version

    return {
        "attndyn": package_version(),
        "numpy": version("numpy"),
        "python": platform.python_version(),
    }
