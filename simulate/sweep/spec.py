"""A sweep as data: settings that all runs share, and the values that others take in every combination."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...models.attention import MODELS, model_from_dict
from ...models.protocol import is_softmax
from ...runtime.serialisation import Settings, refuse_unknown
from ...task import Task
from ..runs.experiment import Experiment

LARGEST = 10_000_000
"""Most runs of a sweep: a grid of more is a mistake in a grid."""

_MODEL = tuple(
    dict.fromkeys(
        ["model", *(name for model in MODELS.values() for name in model.fields())]
    )
)
_RUN = tuple(
    name for name in Experiment.__dataclass_fields__ if name not in ("task", "model")
)

SECTIONS: dict[str, tuple[str, ...]] = {
    "task": Task.fields(),
    "model": _MODEL,
    "run": _RUN,
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
            object.__setattr__(self, name, _plain(name, getattr(self, name)))
        for section, names in SECTIONS.items():
            refuse_unknown(
                getattr(self, section), allowed=names, owner=f"[{section}] of a sweep"
            )
        everything = tuple(name for names in SECTIONS.values() for name in names)
        for group in (self.grid, *self.together):
            refuse_unknown(dict(group), allowed=everything, owner="a sweep")
            for name, values in group.items():
                if not isinstance(values, list) or not values:
                    given = "an empty grid" if values == [] else f"not {values!r}"
                    raise ValueError(
                        f"{name} must be a list of at least one value to vary it, {given}"
                    )
        self._refuse_shapes()

    def _refuse_shapes(self) -> None:
        for group in self.together:
            lengths = {name: len(values) for name, values in group.items()}
            if len(set(lengths.values())) != 1:
                raise ValueError(
                    f"values that are taken together must be equally many, not {lengths or 'none'}"
                )
        for varied in self.axes.values():
            _refuse_twice(varied)
        if not self.axes:
            raise ValueError(
                "a sweep must vary something: give [grid] at least one field with its values"
            )
        names = [name for group in (self.grid, *self.together) for name in group]
        twice = {name for name in names if names.count(name) > 1}
        twice |= {
            name
            for name in names
            for section in SECTIONS
            if name in getattr(self, section)
        }
        if twice:
            raise ValueError(
                f"{', '.join(sorted(twice))} is set more than once in the sweep: keep one of them"
            )
        if math.prod(self.shape) > LARGEST:
            raise ValueError(
                f"a sweep of {math.prod(self.shape)} runs: split it, {LARGEST} are the most"
            )

    @property
    def axes(self) -> dict[str, dict[str, list[Any]]]:
        """Dimension → the fields that vary along it and their values; a group is named after its first field."""
        grids = {name: {name: values} for name, values in self.grid.items()}
        return grids | {next(iter(group)): dict(group) for group in self.together}

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each dimension, in the order of `axes`."""
        return tuple(len(next(iter(varied.values()))) for varied in self.axes.values())

    def experiments(self) -> tuple[Experiment, ...]:
        """Every run, the last dimension varying fastest; ValueError names the first that cannot be made."""
        return self._experiments

    @cached_property
    def _experiments(self) -> tuple[Experiment, ...]:
        return tuple(self._made(point) for point in self._points())

    def _points(self) -> Iterator[dict[str, Any]]:
        """The fields that vary and their values, run by run."""
        axes = list(self.axes.values())
        for index in np.ndindex(self.shape):
            places = list(zip(axes, index, strict=True))
            yield {
                name: values[i]
                for varied, i in places
                for name, values in varied.items()
            }

    def _made(self, point: dict[str, Any]) -> Experiment:
        task, model, run = (
            getattr(self, section)
            | {name: value for name, value in point.items() if name in names}
            for section, names in SECTIONS.items()
        )
        try:
            attention = model_from_dict(model)
            missing = [
                name
                for name in ("sequences", "scale", "learning_rate", "steps")
                if name not in run
            ]
            if missing:
                raise ValueError(f"[run] needs the field {', '.join(missing)}")
            engine = {"engine": "tokens" if is_softmax(attention) else "statistics"}
            return Experiment(Task.from_dict(task), attention, **engine | run)
        except ValueError as error:
            raise ValueError(
                f"{', '.join(f'{name} = {value}' for name, value in point.items())}: {error}"
            ) from None

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names of the tables that a file may hold."""
        return (*SECTIONS, "grid", "together")

    def to_dict(self) -> dict[str, Any]:
        """The sections as plain values."""
        shown: dict[str, Any] = {name: getattr(self, name) for name in self.fields()}
        return {
            name: value for name, value in shown.items() if value or name in SECTIONS
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the settings of all runs: sweeps of the same runs, however they are written, share it."""
        runs = sorted(experiment.digest for experiment in self.experiments())
        return hashlib.sha256("".join(runs).encode()).hexdigest()


def _plain(name: str, value: Any) -> Any:
    """A copy made of what JSON knows; ValueError if it is not the table, or list of tables, that it should be."""
    try:
        plain = json.loads(json.dumps(value, default=lambda array: array.tolist()))
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            f"{name} of a sweep must hold numbers, text and lists, not {value!r}"
        ) from None
    tables = plain if name == "together" else [plain]
    if not isinstance(tables, list) or not all(
        isinstance(table, dict) for table in tables
    ):
        wanted = (
            "a list of tables: write [[together]]"
            if name == "together"
            else f"a table: write [{name}]"
        )
        raise ValueError(f"{name} of a sweep must be {wanted}")
    return plain


def _refuse_twice(varied: dict[str, list[Any]]) -> None:
    """ValueError if fields that are taken together have the same values in two places."""
    rows = [
        [float(value) if isinstance(value, int) else value for value in row]
        for row in zip(*varied.values(), strict=True)
    ]
    texts = [json.dumps(row) for row in rows]
    if len(set(texts)) < len(texts):
        shown = "; ".join(", ".join(map(str, values)) for values in varied.values())
        raise ValueError(f"{', '.join(varied)} holds a value twice: {shown}")
