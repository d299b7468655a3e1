"""Training dynamics of in-context learning in attention: theory, simulation, comparison."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import compare, simulate, theory
    from .models.attention import Merged, Separate
    from .models.factorised import Factorised
    from .models.protocol import Parametrization
    from .task import Task

    __version__: str

__all__ = [
    "Factorised",
    "Merged",
    "Parametrization",
    "Separate",
    "Task",
    "__version__",
    "compare",
    "simulate",
    "theory",
]

# Everything is imported when it is first asked for: the command line answers at once.
_MODULE_OF = {
    "Task": ".task",
    "Merged": ".models.attention",
    "Separate": ".models.attention",
    "Factorised": ".models.factorised",
    "Parametrization": ".models.protocol",
}
_PACKAGES = ("compare", "simulate", "theory")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module(".runtime.versions", __name__).package_version()
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
