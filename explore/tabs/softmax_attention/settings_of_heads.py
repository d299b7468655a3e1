"""What the settings of the tab stand for: a task, heads at the start, a metric, times, and a run."""

import math
from dataclasses import dataclass

import numpy as np

from ....models.attention import Merged
from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import drop_time
from ...controls import Settings

FIRST_TIME, POINTS = 0.1, 161
"""Flow times of the curves, evenly on a logarithmic axis."""

RELATIVE_SIZES = (1.0, 0.8, 0.6, 0.4)
"""Of the heads at the start: unlike, so that no symmetry stays that a random start would not have."""

_BUDGET = 1.5e7
"""Products of a run, heads × prompts × tokens × coordinates × steps: a quarter of a second on one core."""

_MOST_STEPS = 2000
_DROPS = 2.0
"""A run goes to so many times the predicted drop: what follows lasts longer than any run."""


@dataclass(frozen=True, eq=False)
class Heads:
    """The task, ω and μ (H,) of the heads at the start, the flow's metric ρ, and its times (T,), of which 0 is one."""

    task: Task
    omega: FloatArray
    mu: FloatArray
    metric: float
    times: FloatArray

    @classmethod
    def of(cls, settings: Settings) -> "Heads":
        """Those of the settings of the tab."""
        D = settings["dimension"]
        ρ = 1.0 if settings["metric"] == "euclidean" else 1 / D
        shares = _shares(settings)  # (2, H)
        times = np.geomspace(FIRST_TIME, settings["until"], POINTS)
        return cls(
            task=_task(D, settings["context"], settings["noise"]),
            omega=settings["size"] * math.sqrt(ρ) * shares[0],
            mu=settings["size"] * shares[1],
            metric=ρ,
            times=np.concatenate([[0.0], times]),
        )

    @property
    def state(self) -> FloatArray:
        """ω and μ of all heads, (2H,)."""
        return np.concatenate([self.omega, self.mu])

    def predicted_drop(self) -> float | None:
        """The theory's flow time of the drop, of the largest growing mode; None for a start that is not small."""
        modes = (self.mu + self.omega / math.sqrt(self.metric)) / 2
        size = float(np.max(np.abs(modes)))
        if not 0 < size < 1:
            return None
        # The law is that of ρ = 1/D, and modes grow at rates as √ρ.
        speed = math.sqrt(self.metric * self.task.dimension)
        return drop_time(self.task, size) / speed


def model_of(settings: Settings) -> Merged:
    """The heads as a model; scores are divided by 1/√D where the flow has the metric ρ = 1."""
    divisor = 1.0
    if settings["metric"] == "euclidean":
        divisor = 1 / settings["dimension"] ** 0.5
    return Merged(
        settings["heads"], softmax=True, query_token=False, score_divisor=divisor
    )


def steps_of(settings: Settings) -> int:
    """Steps of the run: to twice the predicted drop, or as many as are done while one waits."""
    products = int(settings["heads"] * settings["batch"] * settings["context"])
    affordable = int(_BUDGET / (products * (int(settings["dimension"]) + 1)))
    drop = Heads.of(settings).predicted_drop() or 1.0
    wanted = math.ceil(_DROPS * drop / (2 * float(settings["rate"])))
    return max(2, min(wanted, affordable, _MOST_STEPS))


def _task(D: int, context: int, noise: float) -> Task:
    """White inputs, and teachers with which labels have the variance 1 without noise."""
    return Task(
        [1] * D,
        teacher_covariance=np.eye(D) / D,
        noise_variance=noise,
        context_length=context,
    )


def _shares(settings: Settings) -> FloatArray:
    """ω/√ρ and μ of the heads (2, H) at the start, in units of its size."""
    H = settings["heads"]
    if settings["start"] == "random":
        return np.random.default_rng(settings["seed"]).standard_normal((2, H))
    sizes = np.array(RELATIVE_SIZES[:H])
    if settings["start"] == "both":
        sizes = sizes * np.resize([1.0, -1.0], H)
    return np.stack([sizes, sizes])
