"""Training dynamics of in-context learning in attention: theory, simulation, comparison."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models.attention import Merged, Parametrization, Separate
    from .task import Task

    __version__: str

__all__ = ["Merged", "Parametrization", "Separate", "Task", "__version__"]

_HOME = {
    "Task": ".task",
    "Merged": ".models.attention",
    "Separate": ".models.attention",
    "Parametrization": ".models.attention",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module(".runtime.versions", __name__).package_version()
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
