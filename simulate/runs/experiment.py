"""A run as data: everything that determines a trajectory, so that it can be named, stored and repeated."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...models.attention import Merged, Separate, model_from_dict
from ...models.protocol import Weights, is_softmax
from ...runtime.checks import check_choice, positive_number
from ...runtime.display import Displayed, Summary
from ...runtime.files import AnyPath
from ...task import Task
from ..attention.initialisation import (
    PUBLISHED_SCHEME,
    initial_weights,
    refuse_unknown_scheme,
)
from ..data.prompts import Prompts, sample
from ..descent.gradient_descent import Diverged, train
from ..descent.options import DescentOptions
from ..sufficient_statistics.quadratic_loss import Statistics, statistics
from ..trajectory import Trajectory

ENGINES = ("tokens", "statistics")

COMPILED_FROM = 20_000
"""Steps from which machine code has made up for the time that a process takes to load it."""

_KINDS: dict[str, type] = {
    "scale": float,
    "learning_rate": float,
    "sequences": int,
    "steps": int,
    "seed": int,
    "whiten": bool,
    "centre": bool,
    "record": int,
}
"""Fields that are single values, and the built-in kind that they are stored as."""

_ACCEPTED: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int, np.integer), "a whole number"),
    float: ((int, float, np.integer, np.floating), "one number"),
    bool: ((bool, np.bool), "True or False"),
}
"""Kind → the types that stand for it, and its name in a message."""


@dataclass(frozen=True, repr=False)
class Experiment(Displayed):
    """One simulation: a model trained on sampled prompts of a task from seeded initial weights.

    `engine` "statistics" (what softmax lacks) or "tokens"; the other fields are the arguments of `sample`,
    `initial_weights` and `train`.

    >>> small = Experiment(Task(eigenvalues=[2, 1], context_length=5), Merged(2), sequences=50, scale=0.1,
    ...                    learning_rate=0.01, steps=10)
    >>> small.run().loss.shape
    (10,)
    """

    task: Task
    model: Merged | Separate
    sequences: int
    scale: float
    learning_rate: float
    steps: int
    seed: int = 0
    scheme: str = PUBLISHED_SCHEME
    whiten: bool = False
    centre: bool = False
    engine: str = "statistics"
    record: int | None = None

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            value = _as_kind(name, getattr(self, name), kind)
            object.__setattr__(self, name, value)
        cls: type = type(self.model)
        if not issubclass(cls, Merged | Separate):
            raise ValueError(
                f"an experiment is of Merged or Separate, not of {cls.__name__}: call train for it"
            )
        check_choice(self.engine, "engine", ENGINES)
        if self.engine == "statistics" and is_softmax(self.model):
            raise ValueError(
                'softmax attention has no finite statistics: choose engine "tokens"'
            )
        refuse_unknown_scheme(self.scheme)
        positive_number(self.scale, "scale")

        # Refusals of the data and of the descent come now, rather than after the data are made: both lines only
        # check their arguments.
        _ = self.data
        DescentOptions(self.learning_rate, self.steps, self.record)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names of the settings."""
        return tuple(cls.__dataclass_fields__)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Experiment":
        """The experiment whose `to_dict` holds these settings; ValueError as for an experiment.

        >>> small = Experiment(Task([2, 1], context_length=5), Merged(2), 50, 0.1, 0.01, 10)
        >>> Experiment.from_dict(small.to_dict()) == small
        True
        """
        task, model = settings["task"], settings["model"]
        objects = {"task": Task.from_dict(task), "model": model_from_dict(model)}
        return cls(**settings | objects)

    @property
    def data(self) -> Prompts:
        """The prompts that it trains on, which are drawn when they are read."""
        return sample(
            self.task, self.sequences, self.seed, whiten=self.whiten, centre=self.centre
        )

    @property
    def source(self) -> Prompts | Statistics:
        """What descent is given: the data, or statistics of it."""
        if self.engine == "tokens":
            return self.data
        return statistics(self.data, self.model)

    @property
    def start(self) -> Weights:
        """The weights that it starts from."""
        return initial_weights(
            self.model, self.task, self.scale, self.seed, self.scheme
        )

    def run(
        self,
        checkpoint: AnyPath | None = None,
        *,
        source: Prompts | Statistics | None = None,
        compiled: bool | None = None,
    ) -> Trajectory:
        """Simulate it; raises what `train` raises. `source` is its own, if it is known already.

        `compiled` as in `train`: if left out, where that is worth while for one run.
        """
        if compiled is None:
            compiled = self.steps >= COMPILED_FROM
        try:
            run = train(
                self.model,
                self.source if source is None else source,
                self.start,
                learning_rate=self.learning_rate,
                steps=self.steps,
                record=self.record,
                checkpoint=checkpoint,
                compiled=compiled,
            )
        except Diverged as error:
            trajectory = error.trajectory.with_settings(self.to_dict())
            raise Diverged(trajectory, error.step) from None
        return run.with_settings(self.to_dict())

    def with_seed(self, seed: int) -> "Experiment":
        """The same experiment on other data and weights."""
        return replace(self, seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        settings = {name: getattr(self, name) for name in self.fields()}
        kind = type(self.model).__name__.lower()
        settings["task"] = self.task.to_dict()
        settings["model"] = {"model": kind, **self.model.to_dict()}
        return settings

    def summary(self) -> Summary:
        """The settings, one a row."""
        return Summary(
            "Experiment", {name: getattr(self, name) for name in self.fields()}
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the settings: the name under which a store keeps the run."""
        settings = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()


def _as_kind(name: str, value: Any, kind: type) -> Any:
    """The value as the built-in kind, so that equal settings have one digest; ValueError for anything else."""
    if name == "record" and value is None:
        return None
    accepted, description = _ACCEPTED[kind]
    # True is a whole number to Python, and none to us.
    unwanted_bool = isinstance(value, bool) and kind is not bool
    if not isinstance(value, accepted) or unwanted_bool:
        raise ValueError(f"{name} must be {description}, not {value!r}")
    return kind(value)
