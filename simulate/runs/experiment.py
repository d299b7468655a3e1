"""A run as data: everything that determines a trajectory, so that it can be named, stored and repeated."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...models.built_in import MODELS, BuiltIn, model_from_dict
from ...models.protocol import Weights, is_softmax, refuse_other_outputs
from ...runtime.checks import check_choice, positive_number
from ...runtime.display import Displayed, Summary
from ...runtime.files import AnyPath
from ...task import Task
from ..attention.initialisation import (
    PUBLISHED_SCHEME,
    checked_start,
    initial_weights,
    refuse_unknown_scheme,
)
from ..data.batches import FreshPrompts, Minibatches
from ..data.prompts import Prompts, sample
from ..descent.frozen import frozen_masks
from ..descent.gradient_descent import Diverged, train
from ..descent.optimizers import (
    Adam,
    GradientDescent,
    is_built_in,
    optimizer_from_settings,
    settings_of,
)
from ..descent.options import DescentOptions
from ..descent.schedules import Schedule
from ..sufficient_statistics.quadratic_loss import Statistics, statistics
from ..trajectory import Trajectory

ENGINES = ("tokens", "statistics")

STORES_SETTINGS = (
    "a sweep stores its settings, and a function has none: use GradientDescent or Adam, with a number or a Schedule as "
    "learning rate, or call train"
)
"""Why an experiment cannot have an optimizer or a learning rate of the user's own."""

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
    "batch": int,
}
"""Fields that are single values, and the built-in kind that they are stored as."""

_MAY_BE_NONE = ("sequences", "scale", "learning_rate", "record", "batch")
"""Fields that may be left out, each beside something that takes its place."""

_NEEDED: Any = None
"""Stands in place of a value that must be given, after fields that may be left out."""

_ACCEPTED: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int, np.integer), "a whole number"),
    float: ((int, float, np.integer, np.floating), "one number"),
    bool: ((bool, np.bool), "True or False"),
}
"""Kind → the types that stand for it, and its name in a message."""


@dataclass(frozen=True, repr=False)
class Experiment(Displayed):
    """One simulation: a model trained on sampled prompts of a task from seeded initial weights.

    `engine` is "statistics" (which softmax and batches lack) or "tokens", the faster that there is if left out; the
    other fields are the arguments of `sample`, `initial_weights` and `train`. With `batch` and without `sequences`
    every step has fresh prompts. `optimizer` is `GradientDescent`, `Adam`, or their settings as files have them,
    {"name": "adam", "learning_rate": 0.001}; it stands in place of `learning_rate`. `frozen` are names of weights.
    `initial` are weights by name to start from, arrays or nested lists, in place of `scale` and `scheme`.

    >>> from attndyn import Merged
    >>> small = Experiment(Task(eigenvalues=[2, 1], context_length=5), Merged(2), sequences=50, scale=0.1,
    ...                    learning_rate=0.01, steps=10)
    >>> small.run().loss.shape
    (10,)
    """

    task: Task
    model: BuiltIn
    sequences: int | Any = None
    scale: float | Any = None
    learning_rate: float | Any = None
    steps: int = _NEEDED
    seed: int = 0
    scheme: str = PUBLISHED_SCHEME
    whiten: bool = False
    centre: bool = False
    engine: str = ""
    record: int | None = None
    optimizer: GradientDescent | Adam | Any = None
    batch: int | None = None
    frozen: tuple[str, ...] | Any = None
    initial: dict[str, Any] | Any = None

    def __post_init__(self) -> None:
        self._set("optimizer", stored_optimizer(self.optimizer))
        _refuse_function(self.learning_rate)
        for name, kind in _KINDS.items():
            value = _as_kind(name, getattr(self, name), kind)
            self._set(name, value)
        cls: type = type(self.model)
        if not issubclass(cls, tuple(MODELS.values())):
            *others, last = [model.__name__ for model in MODELS.values()]
            raise ValueError(
                f"an experiment is of {', '.join(others)} or {last}, not of {cls.__name__}: call train for it"
            )
        refuse_other_outputs(self.task.outputs, self.model)
        self._set("frozen", self._names_of_frozen())
        self._choose_engine()
        refuse_unknown_scheme(self.scheme)
        self._set("initial", self._lists_of_initial())

        # Refusals of the data and of the descent come now, rather than after the data are made: both lines only
        # check their arguments.
        if self.is_fresh:
            _ = self.batches
        elif self.batch is None:
            _ = self.data
        else:
            Minibatches(self.data, self.batch, self.seed)
        DescentOptions(
            self.learning_rate, self.steps, self.record, optimizer=self.optimizer
        )

    def _set(self, name: str, value: object) -> None:
        """Sets a field, which only the checks of a new experiment may do."""
        object.__setattr__(self, name, value)

    def _choose_engine(self) -> None:
        """The engine, if it was left out; ValueError for one that the model or the batches do not allow."""
        needs_tokens = is_softmax(self.model) or self.batch is not None
        if self.engine == "":
            self._set("engine", "tokens" if needs_tokens else "statistics")
        check_choice(self.engine, "engine", ENGINES)
        if self.engine == "tokens" or not needs_tokens:
            return
        if self.batch is not None:
            raise ValueError(
                'statistics hold all prompts at once, and batch needs them one by one: choose engine "tokens"'
            )
        raise ValueError(
            'softmax attention has no finite statistics: choose engine "tokens"'
        )

    def _names_of_frozen(self) -> tuple[str, ...] | None:
        """The names of the weights that stay as they are, None without any; ValueError for anything else."""
        if self.frozen is None or self.frozen == () or self.frozen == []:
            return None
        if isinstance(self.frozen, dict):
            raise ValueError(
                "frozen of an experiment must be names of weights: call train for masks of their entries"
            )
        shapes = self.model.shapes(self.task.dimension)
        # Only names and shapes are looked at.
        weights = {name: np.broadcast_to(0.0, shape) for name, shape in shapes.items()}
        return tuple(sorted(frozen_masks(self.frozen, weights)))

    def _lists_of_initial(self) -> dict[str, Any] | None:
        """The given weights as nested lists, None where they are drawn; ValueError unless one of both is stated."""
        if self.initial is None:
            if self.scale is None:
                raise ValueError(
                    "scale must be one number, not None: or pass initial, the weights to start from"
                )
            positive_number(self.scale, "scale")
            return None
        if self.scale is not None or self.scheme != PUBLISHED_SCHEME:
            raise ValueError(
                "initial are the weights themselves, and scale and scheme say how weights are drawn: leave these out"
            )
        weights = checked_start(self.model, self.task, self.initial)
        return {name: weight.tolist() for name, weight in weights.items()}

    @property
    def is_fresh(self) -> bool:
        """Whether every step has fresh prompts; ValueError if there are neither sequences nor batches."""
        if self.sequences is not None:
            return False
        if self.batch is None:
            raise ValueError(
                "say how many sequences there are, or batch= for fresh prompts in every step"
            )
        if self.whiten or self.centre:
            raise ValueError(
                "whiten and centre are of stored sequences: say how many, or leave them out"
            )
        return True

    @property
    def batches(self) -> FreshPrompts:
        """The fresh prompts that it trains on; ValueError if its prompts are stored."""
        if not self.is_fresh or self.batch is None:
            raise ValueError("this experiment has stored sequences: read its data")
        return FreshPrompts(self.task, self.batch, self.seed)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names of the settings."""
        return tuple(cls.__dataclass_fields__)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Experiment":
        """The experiment whose `to_dict` holds these settings; ValueError as for an experiment.

        >>> from attndyn import Merged
        >>> small = Experiment(Task([2, 1], context_length=5), Merged(2), 50, 0.1, 0.01, 10)
        >>> Experiment.from_dict(small.to_dict()) == small
        True
        """
        task, model = settings["task"], settings["model"]
        objects = {"task": Task.from_dict(task), "model": model_from_dict(model)}
        return cls(**settings | objects)

    @property
    def data(self) -> Prompts:
        """The prompts that it trains on, which are drawn when they are read; ValueError if they are fresh ones."""
        if self.is_fresh:
            raise ValueError(
                "this experiment has fresh prompts in every step, and no data: read its batches"
            )
        return sample(
            self.task, self.sequences, self.seed, whiten=self.whiten, centre=self.centre
        )

    @property
    def source(self) -> Prompts | Statistics | Any:
        """What descent is given: the data, statistics of it, or for fresh prompts the task."""
        if self.is_fresh:
            return self.task
        if self.engine == "tokens":
            return self.data
        return statistics(self.data, self.model)

    @property
    def start(self) -> Weights:
        """The weights that it starts from."""
        if self.initial is not None:
            return checked_start(self.model, self.task, self.initial)
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
                optimizer=self.optimizer,
                batch=self.batch,
                seed=None if self.batch is None else self.seed,
                frozen=self.frozen or (),
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
        # Left out where there are none, so that experiments without them keep the names that they had.
        if self.optimizer is None:
            del settings["optimizer"]
        else:
            settings["optimizer"] = settings_of(self.optimizer)
        if self.batch is None:
            del settings["batch"]
        if self.frozen is None:
            del settings["frozen"]
        else:
            settings["frozen"] = list(self.frozen)
        if self.initial is None:
            del settings["initial"]
        else:
            del settings["scale"], settings["scheme"]
        return settings

    def summary(self) -> Summary:
        """The settings, one a row."""
        return Summary(
            "Experiment", {name: getattr(self, name) for name in self._stated()}
        )

    def _stated(self) -> list[str]:
        """The fields that are not left out."""
        late = ("sequences", "scale", "learning_rate", "optimizer", "batch", "frozen")
        left_out = [name for name in late if getattr(self, name) is None]
        # Of given weights the start says enough.
        left_out += ["initial"] if self.initial is None else ["initial", "scheme"]
        return [name for name in self.fields() if name not in left_out]

    @property
    def digest(self) -> str:
        """SHA-256 of the settings: the name under which a store keeps the run."""
        settings = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()


def stored_optimizer(optimizer: object) -> GradientDescent | Adam | None:
    """An optimizer that a file can hold, made of its settings if it is given by these; ValueError for any other.

    >>> stored_optimizer({"name": "adam", "learning_rate": 0.01}) == Adam(0.01)
    True
    """
    if optimizer is None:
        return None
    if isinstance(optimizer, dict):
        return optimizer_from_settings(optimizer)
    if isinstance(optimizer, GradientDescent | Adam) and is_built_in(optimizer):
        rate = optimizer.learning_rate
        if isinstance(rate, Schedule) or not callable(rate):
            return optimizer
    elif not callable(optimizer) and not hasattr(optimizer, "init"):
        return optimizer_from_settings(optimizer)  # which says what it should be
    raise ValueError(STORES_SETTINGS)


def _refuse_function(learning_rate: object) -> None:
    """ValueError for a learning rate that is a function, which a file cannot hold."""
    if isinstance(learning_rate, Schedule):
        raise ValueError(
            "learning_rate must be one number: say optimizer=GradientDescent(schedule)"
        )
    if callable(learning_rate):
        raise ValueError(STORES_SETTINGS)


def _as_kind(name: str, value: Any, kind: type) -> Any:
    """The value as the built-in kind, so that equal settings have one digest; ValueError for anything else."""
    if name in _MAY_BE_NONE and value is None:
        return None
    accepted, description = _ACCEPTED[kind]
    # True is a whole number to Python, and none to us.
    unwanted_bool = isinstance(value, bool) and kind is not bool
    if not isinstance(value, accepted) or unwanted_bool:
        raise ValueError(f"{name} must be {description}, not {value!r}")
    return kind(value)
