"""A time course of the theory over a trajectory of the simulation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..simulate import Trajectory
from ..theory import TimeCourse
from .metrics import exit_times, l2_gap, plateau_heights, resample, sup_gap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Overlay:
    """Both curves on the flow times that they share; made by `overlay`."""

    curve: TimeCourse
    run: Trajectory
    flow_time: FloatArray
    predicted: FloatArray
    observed: FloatArray

    @property
    def sup_gap(self) -> float:
        """Largest difference of the losses. Near a saddle a small shift in time makes it large."""
        return sup_gap(self.predicted, self.observed)

    @property
    def l2_gap(self) -> float:
        """Root mean square over flow time of the difference of the losses."""
        return l2_gap(self.flow_time, self.predicted, self.observed)

    def exit_times(self, plateaus: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Flow times at which curve and run leave each plateau but the last; nan where they do not."""
        times = self.flow_time
        return exit_times(times, self.predicted, plateaus), exit_times(times, self.observed, plateaus)

    def plateau_heights(self, plateaus: FloatArray) -> FloatArray:
        """Where the run is flattest between the mid-levels of the expected plateaus; nan where it has no such."""
        return plateau_heights(self.run.loss, self.run.gradient_norm, plateaus).heights

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the simulation solid and the theory dashed over it, against flow time; returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots()
        ax.plot(self.flow_time, self.observed, label="gradient descent")
        ax.plot(self.flow_time, self.predicted, "k--", label="theory")
        ax.set_xlabel("flow time")
        ax.set_ylabel("loss")
        ax.legend(frameon=False)
        return ax


def overlay(curve: TimeCourse, run: Trajectory) -> Overlay:
    """Lay a time course over a run, at the flow times of the run that the curve covers.

    Between its own times the curve is interpolated linearly: compute it at `run.flow_time` for exact gaps.
    ValueError if the two share no two times.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import initial_weights, sample, statistics, train
    >>> from attndyn.theory import time_course
    >>> task, model = Task(eigenvalues=[1, 1], trace=1, context_length=31), Merged(heads=2)
    >>> start = initial_weights(model, task, scale=0.01, scheme="restricted")
    >>> stats = statistics(sample(task, 20_000), model)
    >>> run = train(model, stats, start, learning_rate=0.05, steps=400)
    >>> overlay(time_course(task, model, run.flow_time, start), run).l2_gap < 0.05
    True
    """
    covered = (run.flow_time >= curve.flow_time[0]) & (run.flow_time <= curve.flow_time[-1])
    if covered.sum() < 2:
        spans = (
            f"[{curve.flow_time[0]:g}, {curve.flow_time[-1]:g}] and [{run.flow_time[0]:g}, {run.flow_time[-1]:g}]"
        )
        raise ValueError(f"the curve and the run share no flow times: they cover {spans}")
    times = run.flow_time[covered]
    return Overlay(curve, run, times, resample(curve.flow_time, curve.loss, times), run.loss[covered])
