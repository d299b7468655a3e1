"""Ridge solutions and gradient flow of the read-out on drawn data sets, in the paper's setting and units.

x ~ N(0, I/D), tasks uniform on |w|² = D, each of the k training tasks equally often, or a new one in every sequence;
the label row is part of the read-out, and the ridge λ is that of (P λ / D) |Γ|² beside the sum of squares.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from ....runtime.arrays import FloatArray
from ....simulate import (
    ContextSummaries,
    exact_risk,
    readout_flow,
    ridge_fit,
    sample_summaries,
)
from ....task import Task
from ....teachers import Sphere, TeacherLaw


class Ratios(NamedTuple):
    """τ = P/(D(D+1)), α = N/D, κ = k/D and the noise ρ of the whole numbers of a setting, as the theory takes them."""

    tau: float
    alpha: float
    kappa: float
    noise: float


class Setting(NamedTuple):
    """The whole numbers of an experiment, its noise and its ridge."""

    dimension: int
    context_length: int
    tasks: int | None
    """k, or None with a new task in every sequence."""
    sequences: int
    noise: float
    ridge: float = 0.0

    @classmethod
    def of_ratios(cls, dimension: int, ratios: Ratios, ridge: float = 0.0) -> Self:
        """The setting that is nearest to these ratios in this dimension, with equally many sequences a task.

        κ may be inf: every sequence then has a new task.

        >>> Setting.of_ratios(10, Ratios(tau=2, alpha=4, kappa=0.3, noise=0.1)).sequences
        219
        """
        D = dimension
        wanted = ratios.tau * D * (D + 1)
        is_fresh = math.isinf(ratios.kappa)
        tasks = 1 if is_fresh else max(1, round(ratios.kappa * D))
        return cls(
            dimension=D,
            context_length=max(1, round(ratios.alpha * D)),
            tasks=None if is_fresh else tasks,
            sequences=tasks * max(1, round(wanted / tasks)),
            noise=ratios.noise,
            ridge=ridge,
        )

    @property
    def ratios(self) -> Ratios:
        """The ratios of the numbers that are used: rounding moves them from those that were asked for."""
        D = self.dimension
        return Ratios(
            tau=self.sequences / (D * (D + 1)),
            alpha=self.context_length / D,
            kappa=math.inf if self.tasks is None else self.tasks / D,
            noise=self.noise,
        )

    def teachers(self, seed: int) -> TeacherLaw:
        """The pool of training tasks that a seed draws, or the sphere."""
        sphere = Sphere(self.dimension)
        return sphere if self.tasks is None else sphere.pool(self.tasks, seed=seed)

    def task_of(self, teachers: TeacherLaw) -> Task:
        """Prompts with these teachers."""
        D = self.dimension
        return Task(
            [1 / D] * D,
            teachers=teachers,
            context_length=self.context_length,
            noise_variance=self.noise,
        )

    @property
    def fresh(self) -> Task:
        """Prompts with new tasks."""
        return self.task_of(Sphere(self.dimension))

    def training(self, seed: int) -> Task:
        """Prompts with the training tasks of a seed."""
        return self.task_of(self.teachers(seed))

    def data(self, seed: int) -> ContextSummaries:
        """The data set of a seed."""
        return sample_summaries(
            self.training(seed),
            self.sequences,
            seed=seed,
            balanced=self.tasks is not None,
        )

    def fit(self, seed: int) -> FloatArray:
        """The ridge solution (D+1, D) on the data set of a seed."""
        D = self.dimension
        return ridge_fit(
            self.data(seed),
            ridge=self.ridge / D**3,
            label_row=True,
            label_weight=float(D**2),
        )


class ReadoutErrors(NamedTuple):
    """Errors on new tasks and on the training tasks, of data sets along the first axis."""

    icl: FloatArray
    idg: FloatArray

    @property
    def gap(self) -> FloatArray:
        """e_ICL − e_IDG of each data set."""
        return np.asarray(self.icl - self.idg)


def fitted_errors(setting: Setting, seeds: Sequence[int]) -> ReadoutErrors:
    """The errors of ridge solutions, one data set a seed, (seeds,)."""
    maps = {seed: setting.fit(seed) for seed in seeds}
    return _errors(setting, maps)


def flow_errors(
    setting: Setting, theta: ArrayLike, seeds: Sequence[int]
) -> ReadoutErrors:
    """The errors along gradient flow at the paper's times θ (T,), one data set a seed, (seeds, T)."""
    D = setting.dimension
    flow_time = np.asarray(theta, dtype=float) * D**3
    maps = {}
    for seed in seeds:
        maps[seed] = readout_flow(
            setting.data(seed), flow_time, label_row=True, label_weight=float(D**2)
        )
    return _errors(setting, maps)


def _errors(setting: Setting, maps: dict[int, FloatArray]) -> ReadoutErrors:
    """Both errors of the maps (…, D+1, D) of seeds."""
    fresh = setting.fresh
    icl = [exact_risk(fresh, M) for M in maps.values()]
    idg = [exact_risk(setting.training(seed), M) for seed, M in maps.items()]
    return ReadoutErrors(np.array(icl), np.array(idg))
