"""The controls of a tab: which values a setting may have, which one it has at first, and where its slider stops."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]
"""The value of each control, by name."""

NO_LIMIT = "inf"
"""How JSON and addresses write the value ∞ of a slider."""


@dataclass(frozen=True)
class Slider:
    """A number between the first and the last of `values`, at which the slider stops.

    They increase; the number is whole where all of them are, and the last may be `math.inf`.

    `group` is the heading that it stands under, `help` what a pointer that rests on it reads. `shown_with` names the
    options of a choice with which it is there: {"model": ("separate",)}.

    >>> Slider("rate", "learning rate", (0.1, 0.2, 0.5), 0.2).checked(0.3)
    0.3
    """

    name: str
    label: str
    values: tuple[float, ...]
    default: float
    group: str = ""
    help: str = ""
    shown_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def checked(self, value: object) -> float:
        """The value if it lies within the bounds; ValueError that names them otherwise."""
        return _number(value, self.label, self.values)

    def to_dict(self) -> dict[str, Any]:
        """What the page is told of the control."""
        return _described(self, "slider") | {
            "values": [written(value) for value in self.values],
            "default": written(self.default),
        }


@dataclass(frozen=True)
class SliderList:
    """A list of numbers, each with a slider as `Slider` has it; buttons make it shorter, longer, or all equal.

    `symbol` names an element, with its number after it. The list has `least` to `most` elements.

    >>> SliderList("eigenvalues", "eigenvalues of Λ", "λ", (1, 2, 4), (4, 2), least=1, most=8).checked([2, 1])
    [2, 1]
    """

    name: str
    label: str
    symbol: str
    values: tuple[float, ...]
    default: tuple[float, ...]
    least: int
    most: int
    group: str = ""
    help: str = ""
    shown_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def checked(self, value: object) -> list[float]:
        """The values if they are few enough and lie within the bounds; ValueError that names these otherwise."""
        allowed = f"{self.label} must be a list of {self.least} to {self.most} numbers"
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError(f"{allowed}, not {value!r}")
        if not self.least <= len(value) <= self.most:
            raise ValueError(f"{allowed}, not of {len(value)}")
        return [
            _number(element, f"{self.symbol} of {self.label}", self.values)
            for element in value
        ]

    def to_dict(self) -> dict[str, Any]:
        """What the page is told of the control."""
        return _described(self, "slider list") | {
            "symbol": self.symbol,
            "values": [written(value) for value in self.values],
            "default": [written(value) for value in self.default],
            "least": self.least,
            "most": self.most,
        }


@dataclass(frozen=True)
class Option:
    """One option of a choice. `sets` are the values that other settings have with it, where nobody has set them."""

    value: str
    label: str
    sets: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """One of a few options, as buttons of which one is pressed; the first is the default.

    >>> Choice("model", "key and query", (Option("separate", "separate"), Option("merged", "merged"))).default
    'separate'
    """

    name: str
    label: str
    options: tuple[Option, ...]
    group: str = ""
    help: str = ""
    shown_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def default(self) -> str:
        """The value of the first option."""
        return self.options[0].value

    def checked(self, value: object) -> str:
        """The value if it is an option; ValueError that names them otherwise."""
        names = [option.value for option in self.options]
        if not isinstance(value, str) or value not in names:
            raise ValueError(
                f"{self.label} must be {' or '.join(names)}, not {value!r}"
            )
        return value

    def sets(self, value: str) -> Mapping[str, float]:
        """What other settings are with this option."""
        return next(option.sets for option in self.options if option.value == value)

    def to_dict(self) -> dict[str, Any]:
        """What the page is told of the control."""
        options = [
            {"value": option.value, "label": option.label, "sets": dict(option.sets)}
            for option in self.options
        ]
        return _described(self, "choice") | {
            "options": options,
            "default": self.default,
        }


Control = Slider | SliderList | Choice


def checked_settings(
    controls: Sequence[Control], given: Mapping[str, object]
) -> Settings:
    """A value for every control: the one that is given, else the one that a chosen option sets, else the default.

    ValueError in one sentence for a name that no control has, and for a value that is out of bounds.
    """
    names = [control.name for control in controls]
    for name in given:
        if name not in names:
            raise ValueError(
                f"there is no setting {name!r}: there are {', '.join(names)}"
            )
    settings: Settings = {}
    for control in controls:
        default = control.default
        settings[control.name] = (
            list(default) if isinstance(default, tuple) else default
        )
    choices = [control for control in controls if isinstance(control, Choice)]
    for choice in choices:
        option = choice.checked(given.get(choice.name, choice.default))
        settings.update(choice.sets(option))
    for control in controls:
        if control.name in given:
            settings[control.name] = control.checked(given[control.name])
    return settings


def written(value: float) -> float | str:
    """A value as JSON may hold it."""
    return NO_LIMIT if value == math.inf else value


def _described(control: Slider | SliderList | Choice, kind: str) -> dict[str, Any]:
    """What all controls tell the page."""
    shown_with = {name: list(options) for name, options in control.shown_with.items()}
    return {
        "kind": kind,
        "name": control.name,
        "label": control.label,
        "group": control.group,
        "help": control.help,
        "shown_with": shown_with,
    }


def _number(value: object, label: str, values: Sequence[float]) -> float:
    """A number between the first and the last of `values`; ValueError in one sentence otherwise."""
    has_no_limit = values[-1] == math.inf
    largest = values[-2] if has_no_limit else values[-1]
    if has_no_limit and value in (NO_LIMIT, math.inf):
        return math.inf
    is_whole = all(isinstance(each, int) for each in values if each != math.inf)
    kind = "a whole number" if is_whole else "a number"
    bounds = f"{kind} from {values[0]:,} to {largest:,}"
    if has_no_limit:
        bounds += f", or {NO_LIMIT}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{label} must be {bounds}, not {value!r}")
    # A comparison with nan is false.
    if not values[0] <= value <= largest or (is_whole and value != int(value)):
        raise ValueError(f"{label} must be {bounds}, not {value!r}")
    return int(value) if is_whole else value
