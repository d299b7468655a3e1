"""A run as data: everything that determines a trajectory, so that it can be named, stored and repeated."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...models.attention import Merged, Separate
from ...models.protocol import Weights, is_softmax
from ...runtime.files import AnyPath
from ...task import Task
from ..attention.initialisation import (
    PUBLISHED_SCHEME,
    initial_weights,
    positive,
    refuse_unknown_scheme,
)
from ..data.prompts import Prompts, sample
from ..descent.gradient_descent import Diverged, train
from ..descent.recorder import DescentOptions
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

_ACCEPTED: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int, np.integer), "a whole number"),
    float: ((int, float, np.integer, np.floating), "one number"),
    bool: ((bool, np.bool), "True or False"),
}


@dataclass(frozen=True)
class Experiment:
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
            object.__setattr__(self, name, _plain(name, getattr(self, name), kind))
        made_of: type = type(self.model)
        if not issubclass(made_of, Merged | Separate):
            raise ValueError(
                f"an experiment is of Merged or Separate, not of {made_of.__name__}: call train for it"
            )
        if self.engine not in ENGINES:
            raise ValueError(
                f"engine must be one of {', '.join(ENGINES)}, not {self.engine!r}"
            )
        if self.engine == "statistics" and is_softmax(self.model):
            raise ValueError(
                'softmax attention has no finite statistics: choose engine "tokens"'
            )
        refuse_unknown_scheme(self.scheme)
        positive("scale", self.scale)
        self._refuse_the_impossible()

    def _refuse_the_impossible(self) -> None:
        """ValueError before the data are made rather than after; both ask nothing but their arguments."""
        sample(
            self.task, self.sequences, self.seed, whiten=self.whiten, centre=self.centre
        )
        _ = DescentOptions(self.learning_rate, self.steps, self.record).recorded

    @property
    def data(self) -> Prompts:
        """The prompts that it trains on."""
        return sample(
            self.task, self.sequences, self.seed, whiten=self.whiten, centre=self.centre
        )

    @property
    def source(self) -> Prompts | Statistics:
        """What descent is given: the data, or statistics of it."""
        return (
            self.data if self.engine == "tokens" else statistics(self.data, self.model)
        )

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
        rule: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "record": self.record,
        }
        rule["compiled"] = self.steps >= COMPILED_FROM if compiled is None else compiled
        known = self.source if source is None else source
        try:
            run = train(self.model, known, self.start, checkpoint=checkpoint, **rule)
        except Diverged as error:
            raise Diverged(
                error.trajectory.with_settings(self.to_dict()), error.step
            ) from None
        return run.with_settings(self.to_dict())

    def with_seed(self, seed: int) -> "Experiment":
        """The same experiment on other data and weights."""
        return replace(self, seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        kind = type(self.model).__name__.lower()
        return plain | {
            "task": self.task.to_dict(),
            "model": {"model": kind, **self.model.to_dict()},
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the settings: the name under which a store keeps the run."""
        return hashlib.sha256(
            json.dumps(self.to_dict(), sort_keys=True).encode()
        ).hexdigest()


def _plain(name: str, value: Any, kind: type) -> Any:
    """The value as the built-in kind, so that equal settings have one digest; ValueError for anything else."""
    if name == "record" and value is None:
        return None
    accepted, wanted = _ACCEPTED[kind]
    if not isinstance(value, accepted) or (
        kind is not bool and isinstance(value, bool)
    ):
        raise ValueError(f"{name} must be {wanted}, not {value!r}")
    return kind(value)
