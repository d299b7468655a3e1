"""The built-in models by name."""

from collections.abc import Mapping
from typing import Any

from ..runtime.checks import check_choice
from .attention import Merged, Separate
from .factorised import Factorised

BuiltIn = Merged | Separate | Factorised

MODELS: dict[str, type[Merged] | type[Separate] | type[Factorised]] = {
    "merged": Merged,
    "separate": Separate,
    "factorised": Factorised,
}


def model_from_dict(settings: Mapping[str, Any]) -> BuiltIn:
    """The built-in model named by `settings["model"]`, "merged", "separate" or "factorised", with the other fields.

    >>> model_from_dict({"model": "merged", "heads": 2})
    Merged(heads=2, divisor='context')
    """
    name = settings.get("model")
    check_choice(name, "model", MODELS)
    fields = {field: value for field, value in settings.items() if field != "model"}
    return MODELS[str(name)].from_dict(fields)
