"""A sweep as data: settings that all runs share, and the values that others take in every combination."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...models.built_in import MODELS, model_from_dict
from ...runtime.serialisation import Settings, refuse_unknown
from ...task import Task
from ..descent.optimizers import settings_of
from ..runs.experiment import STORES_SETTINGS, Experiment, stored_optimizer

LARGEST = 10_000_000
"""Most runs of a sweep: a grid of more is a mistake in a grid."""

NEEDED = (
    ("sequences", "batch"),
    ("scale",),
    ("learning_rate", "optimizer"),
    ("steps",),
)
"""Fields of [run] without a default: one of each group must be there."""


def _model_fields() -> tuple[str, ...]:
    """The kind of a model, and the fields of all built-in ones, each once."""
    fields = ["model"]
    for model in MODELS.values():
        fields += model.fields()
    return tuple(dict.fromkeys(fields))


_ELSEWHERE = ("task", "model", "initial")
"""Fields of an experiment that have a section of their own, or are arrays, which no sweep varies."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "task": Task.fields(),
    "model": _model_fields(),
    "run": tuple(name for name in Experiment.fields() if name not in _ELSEWHERE),
}
"""Names of the fields of every section: those of `Task`, of the models and of `Experiment`; no two are the same."""


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Settings):
    """Experiments over every combination of the values that some of their fields take.

    `task`, `model` and `run` hold the fields that all runs share, under the names of `Task`, of `Separate` or
    `Merged` (besides "model", its kind) and of `Experiment`; `engine` is what the model allows if left out.
    `grid`: field → its values. `together`: groups of fields whose values, equally many, are taken side by side.
    ValueError for an unknown field, one that is set twice, an empty grid or a value that comes twice.

    >>> sweep = Sweep({"eigenvalues": [2, 1]}, {"model": "merged", "heads": 2},
    ...               {"sequences": 50, "scale": 0.1, "learning_rate": 0.01, "steps": 10},
    ...               grid={"context_length": [5, 10], "seed": [0, 1, 2]})
    >>> sweep.shape, len(sweep.experiments())
    ((2, 3), 6)
    """

    task: dict[str, Any]
    model: dict[str, Any]
    run: dict[str, Any]
    grid: dict[str, Any] = field(default_factory=dict)
    together: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        for name in self.fields():
            plain = _as_plain_tables(name, getattr(self, name))
            object.__setattr__(self, name, plain)
        for section, names in SECTIONS.items():
            owner = f"[{section}] of a sweep"
            refuse_unknown(getattr(self, section), allowed=names, owner=owner)
        for group in (self.grid, *self.together):
            _refuse_no_values(group)
        for group in self.together:
            _refuse_unequal_lengths(group)
        for fields in self.axes.values():
            _refuse_repeated_values(fields)
        if not self.axes:
            raise ValueError(
                "a sweep must vary something: give [grid] at least one field with its values"
            )
        self._refuse_repeated_fields()
        if math.prod(self.shape) > LARGEST:
            raise ValueError(
                f"a sweep of {math.prod(self.shape)} runs: split it, {LARGEST} are the most"
            )

    def _refuse_repeated_fields(self) -> None:
        """ValueError for a field that is set in two places."""
        names = [name for group in (self.grid, *self.together) for name in group]
        for section in SECTIONS:
            names += getattr(self, section)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"{', '.join(repeated)} is set more than once in the sweep: keep one of them"
            )

    @property
    def axes(self) -> dict[str, dict[str, list[Any]]]:
        """Dimension → the fields that vary along it and their values; a group is named after its first field."""
        axes = {name: {name: values} for name, values in self.grid.items()}
        for group in self.together:
            first_field = next(iter(group))
            axes[first_field] = dict(group)
        return axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each dimension, in the order of `axes`."""
        sizes = []
        for fields in self.axes.values():
            # Fields that are taken together have equally many values.
            first_values = next(iter(fields.values()))
            sizes.append(len(first_values))
        return tuple(sizes)

    def experiments(self) -> tuple[Experiment, ...]:
        """Every run, the last dimension varying fastest; ValueError names the first that cannot be made."""
        return self._experiments

    @cached_property
    def _experiments(self) -> tuple[Experiment, ...]:
        # Made once: thousands of them take a second.
        experiments = [self._experiment(point) for point in self._points()]
        return tuple(experiments)

    def _points(self) -> Iterator[dict[str, Any]]:
        """The fields that vary and their values, run by run."""
        axes = list(self.axes.values())
        for index in np.ndindex(self.shape):
            point = {}
            for fields, place in zip(axes, index, strict=True):
                for name, values in fields.items():
                    point[name] = values[place]
            yield point

    def _experiment(self, point: dict[str, Any]) -> Experiment:
        """The experiment at a point of the grid; ValueError names the point."""
        settings = {}
        for section, names in SECTIONS.items():
            varied = {name: value for name, value in point.items() if name in names}
            settings[section] = getattr(self, section) | varied
        try:
            model = model_from_dict(settings["model"])
            missing = [
                " or ".join(names)
                for names in NEEDED
                if not any(name in settings["run"] for name in names)
            ]
            if missing:
                raise ValueError(f"[run] needs the field {', '.join(missing)}")
            task = Task.from_dict(settings["task"])
            return Experiment(task, model, **settings["run"])
        except ValueError as error:
            place = ", ".join(f"{name} = {value}" for name, value in point.items())
            raise ValueError(f"{place}: {error}") from None

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names of the tables that a file may hold."""
        return (*SECTIONS, "grid", "together")

    def to_dict(self) -> dict[str, Any]:
        """The sections as plain values, and the grids that are not empty."""
        tables: dict[str, Any] = {name: getattr(self, name) for name in self.fields()}
        return {
            name: table for name, table in tables.items() if table or name in SECTIONS
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the settings of all runs: sweeps of the same runs, however they are written, share it."""
        # In one order, whatever the order of the grid.
        runs = sorted(experiment.digest for experiment in self.experiments())
        text = "".join(runs)
        return hashlib.sha256(text.encode()).hexdigest()


def _as_plain_tables(name: str, value: Any) -> Any:
    """A copy made of what JSON knows; ValueError if it is not the table, or list of tables, that it should be."""
    try:
        plain = json.loads(json.dumps(value, default=_as_plain))
    except (AttributeError, TypeError, ValueError) as error:
        if str(error) == STORES_SETTINGS:
            raise
        raise ValueError(
            f"{name} of a sweep must hold numbers, text and lists, not {value!r}"
        ) from None
    if name == "together":
        if not isinstance(plain, list) or not all(isinstance(t, dict) for t in plain):
            raise ValueError(
                "together of a sweep must be a list of tables: write [[together]]"
            )
    elif not isinstance(plain, dict):
        raise ValueError(f"{name} of a sweep must be a table: write [{name}]")
    return plain


def _as_plain(value: Any) -> Any:
    """What JSON has of an optimizer or an array; AttributeError or ValueError for anything else."""
    if callable(value) or hasattr(value, "init"):
        return settings_of(stored_optimizer(value))
    return value.tolist()


def _refuse_no_values(group: Mapping[str, Any]) -> None:
    """ValueError for an unknown field, and for one whose values are no list or an empty one."""
    names = tuple(name for section in SECTIONS.values() for name in section)
    refuse_unknown(dict(group), allowed=names, owner="a sweep")
    for name, values in group.items():
        if not isinstance(values, list) or not values:
            stated = "an empty grid" if values == [] else f"not {values!r}"
            raise ValueError(
                f"{name} must be a list of at least one value to vary it, {stated}"
            )


def _refuse_unequal_lengths(group: Mapping[str, Any]) -> None:
    """ValueError if fields that are taken together have different numbers of values."""
    lengths = {name: len(values) for name, values in group.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            f"values that are taken together must be equally many, not {lengths or 'none'}"
        )


def _refuse_repeated_values(fields: dict[str, list[Any]]) -> None:
    """ValueError if fields that are taken together have the same values in two places."""
    rows = []
    for row in zip(*fields.values(), strict=True):
        # 1 and 1.0 are one value, and so must their JSON be.
        numbers = [float(value) if isinstance(value, int) else value for value in row]
        rows.append(json.dumps(numbers))
    if len(set(rows)) == len(rows):
        return

    names = ", ".join(fields)
    listed = [", ".join(map(str, values)) for values in fields.values()]
    raise ValueError(f"{names} holds a value twice: {'; '.join(listed)}")
