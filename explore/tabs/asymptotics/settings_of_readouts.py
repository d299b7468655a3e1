"""What the settings of the tab stand for: ratios in the limit, and the integers of a finite size."""

import math
from dataclasses import dataclass

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....teachers import Sphere
from ...controls import Settings

RANGES = {"tau": (0.1, 100.0), "kappa": (0.1, 100.0), "alpha": (0.25, 100.0)}
"""The axis of the errors, by what they are drawn over."""

POINTS = 240
"""Of an axis, evenly in its logarithm; no point of three factors of ten is 1, where the pole of τ stands."""


@dataclass(frozen=True)
class Ratios:
    """τ, α, κ, ρ and λ of the limit."""

    tau: float
    alpha: float
    kappa: float
    noise: float
    ridge: float

    @classmethod
    def of(cls, settings: Settings) -> "Ratios":
        """Those of the settings."""
        names = ("tau", "alpha", "kappa", "noise", "ridge")
        return cls(*[float(settings[name]) for name in names])

    def over(self, name: str, values: FloatArray) -> dict[str, FloatArray | float]:
        """The arguments of `errors` with this ratio at many values."""
        arguments: dict[str, FloatArray | float] = dict(vars(self))
        return arguments | {name: values}

    def without_ridge(self) -> dict[str, float]:
        """The arguments of gradient flow, which has none."""
        return {name: value for name, value in vars(self).items() if name != "ridge"}


def axis_of(name: str) -> FloatArray:
    """The points of an axis."""
    return np.geomspace(*RANGES[name], POINTS)


@dataclass(frozen=True)
class Sizes:
    """D, and the integers N, k (None for a fresh task in each sequence) and P that are nearest to the ratios."""

    dimension: int
    context: int
    tasks: int | None
    sequences: int

    @classmethod
    def of(cls, ratios: Ratios, D: int) -> "Sizes":
        """Those of a read-out without label row, which has D² features."""
        tasks = None if math.isinf(ratios.kappa) else max(1, round(ratios.kappa * D))
        return cls(
            dimension=D,
            context=max(1, round(ratios.alpha * D)),
            tasks=tasks,
            sequences=max(1, round(ratios.tau * D**2)),
        )

    def task(self, noise: float) -> Task:
        """The law of tasks from the sphere, of which pools are drawn."""
        D = self.dimension
        return Task(
            [1 / D] * D,
            teachers=Sphere(D),
            context_length=self.context,
            noise_variance=noise,
        )

    def ridge(self, λ: float) -> float:
        """The ridge on M of the paper's λ."""
        return λ / self.dimension**3

    def has_errors(self, λ: float) -> bool:
        """Whether each task has a sequence, and there is no pole."""
        enough = self.tasks is None or self.sequences >= self.tasks
        return enough and (λ > 0 or self.sequences != self.dimension**2)
