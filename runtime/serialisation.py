"""Frozen settings that travel as a dictionary, JSON or TOML and are equal when their contents are."""

import hashlib
import json
import tomllib
from abc import ABC, abstractmethod
from inspect import signature
from typing import Any, Self

import numpy as np
import tomli_w

from .display import LINE_LENGTH, Summary, array_summary

BYTE_ORDER_MARK = "\ufeff"
"""What some editors write before UTF-8 text."""

LONGEST_REPR = 1000
"""Characters of a repr that is the call itself: ten lines of a terminal, half a screen."""


class Settings(ABC):
    """Base of `Task` and the models: everything that follows from `to_dict` and `from_dict`.

    >>> from attndyn import Separate
    >>> model = Separate(heads=5, rank=1)
    >>> Separate.from_toml(model.to_toml()) == model
    True
    """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The settings as plain numbers, strings and lists; `from_dict` undoes it."""

    def arguments(self) -> dict[str, Any]:
        """What a call that makes these settings is given, which is what their repr shows."""
        return self.to_dict()

    @classmethod
    @abstractmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that `from_dict` and a file may hold."""

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """The object with these settings; ValueError names a field that does not exist, or one that is missing."""
        refuse_unknown(settings, allowed=cls.fields(), owner=cls.__name__)
        parameters = signature(cls).parameters.items()
        needed = [name for name, value in parameters if value.default is value.empty]
        missing = [name for name in needed if name not in settings]
        if missing:
            raise ValueError(f"{cls.__name__} needs the field {', '.join(missing)}")
        return cls(**settings)

    def to_json(self) -> str:
        """The settings as JSON with sorted keys, so that equal settings give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The object written by `to_json`; ValueError on malformed JSON, or a field unknown or stated twice."""
        settings = json.loads(
            text.removeprefix(BYTE_ORDER_MARK), object_pairs_hook=fields_once
        )
        if not isinstance(settings, dict):
            raise ValueError(
                f"{cls.__name__} must be a JSON object of its fields, not {text.strip()[:40]}"
            )
        return cls.from_dict(settings)

    def to_toml(self) -> str:
        """The settings as TOML."""
        return tomli_w.dumps(self.to_dict())

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """The object written by `to_toml`; ValueError on malformed TOML or an unknown field."""
        settings = tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
        return cls.from_dict(settings)

    @property
    def digest(self) -> str:
        """SHA-256 of the JSON text: the name of these settings in stored results."""
        return hashlib.sha256(
            f"{type(self).__name__}{self.to_json()}".encode()
        ).hexdigest()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        name = type(self).__name__
        return hash((name, self.to_json()))

    def __reduce__(self) -> tuple[Any, ...]:
        # Through __init__, which locks the arrays again.
        return type(self).from_dict, (self.to_dict(),)

    def __repr__(self) -> str:
        """The call that makes these settings, or a summary in angle brackets of what would fill half a screen."""
        name = type(self).__name__
        settings = self.arguments()
        fields = [f"{field}={value!r}" for field, value in settings.items()]
        arguments = ", ".join(fields)
        call = f"{name}({arguments})"
        if len(call) <= LONGEST_REPR:
            return call
        # In brackets, since Python could not read it back.
        fields = [f"{field}={_in_short(value)}" for field, value in settings.items()]
        summary = ", ".join(fields)
        return f"<{name} {summary}>"

    def _repr_html_(self) -> str:
        rows = {name: _in_short(value) for name, value in self.arguments().items()}
        return Summary(type(self).__name__, rows, self.formulas()).as_html()

    def formulas(self) -> dict[str, str]:
        """What a notebook typesets below the settings: label → LaTeX."""
        return {}


def _in_short(value: object) -> str:
    """A value as Python writes it, or its shape and range where that is long."""
    text = str(value)
    if len(text) <= LINE_LENGTH:
        return text
    try:
        return array_summary(np.asarray(value, dtype=float))
    except (TypeError, ValueError):  # text, or lists of different lengths
        return f"{text[:LINE_LENGTH]}…"


class RepeatedFieldError(ValueError):
    """A JSON object states the field `name` twice."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the field {name} is stated twice: keep one of them")
        self.name = name


def fields_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a JSON object; RepeatedFieldError for one stated twice, of which JSON would take the last."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise RepeatedFieldError(name)
        fields[name] = value
    return fields


def refuse_unknown(
    settings: dict[str, Any], *, allowed: tuple[str, ...], owner: str
) -> None:
    """ValueError that names every key of `settings` outside `allowed`."""
    unknown = sorted(set(settings) - set(allowed))
    if unknown:
        raise ValueError(
            f"{owner} has no field {', '.join(unknown)}: allowed are {', '.join(sorted(allowed))}"
        )
