"""A time course of the theory over a trajectory of the simulation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..runtime.arrays import FloatArray
from ..runtime.time_axis import draw_losses, line_style
from ..simulate import Trajectory
from ..theory import TimeCourse
from .metrics.curves import exit_times, l2_gap, plateau_heights, resample, sup_gap

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        return exit_times(times, self.predicted, plateaus), exit_times(
            times, self.observed, plateaus
        )

    def plateau_heights(self, plateaus: FloatArray) -> FloatArray:
        """Where the run is flattest between the mid-levels of the expected plateaus; nan where it has no such."""
        return plateau_heights(self.run.loss, self.run.gradient_norm, plateaus).heights

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        x: str | None = None,
        legend: bool = True,
        **style: Any,
    ) -> "Axes":
        """Draw the run solid and the theory dashed over it, on `ax` (new axes if None); returns the axes.

        `x` is "steps" (of a descent) or "flow_time"; without it, the unit of the curves on the axes, else flow
        time. `style` goes to both lines. ValueError for steps of a flow, and for another unit than the axes count.
        """
        times: dict[str, ArrayLike] = {"flow_time": self.flow_time}
        rate = self.run.learning_rate
        if rate is not None:
            times["steps"] = self.run.steps[np.isin(self.run.flow_time, self.flow_time)]
        losses: dict[str, tuple[ArrayLike, dict[str, Any]]] = {
            "gradient flow" if rate is None else "gradient descent": (
                self.observed,
                line_style(style),
            ),
            "theory": (
                self.predicted,
                line_style(style, color="black", linestyle="--"),
            ),
        }
        ax = draw_losses(
            ax,
            times,
            losses,
            x,
            "a gradient flow has no steps: draw with x='flow_time'",
        )
        if legend:
            ax.legend(frameon=False)
        return ax


def overlay(curve: TimeCourse | Trajectory, run: Trajectory | TimeCourse) -> Overlay:
    """Lay a time course over a run, at the flow times of the run that the curve covers; in either order.

    Between its own times the curve is interpolated linearly: compute it at `run.flow_time` for exact gaps.
    TypeError unless one of the two is a time course and the other a run; ValueError if they share no two times.

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
    theory, simulation = _theory_and_simulation(curve, run)
    known, first = np.unique(
        theory.flow_time, return_index=True
    )  # a curve's times may come in any order
    if len(known) == 0 or len(simulation.flow_time) == 0:
        raise ValueError(
            "an overlay needs a curve and a run with times: one of them has none"
        )
    covered = (simulation.flow_time >= known[0]) & (simulation.flow_time <= known[-1])
    if covered.sum() < 2:
        spans = f"[{known[0]:g}, {known[-1]:g}] and [{simulation.flow_time[0]:g}, {simulation.flow_time[-1]:g}]"
        raise ValueError(
            f"the curve must cover two flow times of the run or more: they span {spans}"
        )
    times = simulation.flow_time[covered]
    predicted = resample(known, theory.loss[first], times)
    return Overlay(theory, simulation, times, predicted, simulation.loss[covered])


def _theory_and_simulation(
    first: object, second: object
) -> tuple[TimeCourse, Trajectory]:
    """The two by what they are; TypeError unless there is one of each."""
    if isinstance(first, TimeCourse) and isinstance(second, Trajectory):
        return first, second
    if isinstance(first, Trajectory) and isinstance(second, TimeCourse):
        return second, first
    given = " and ".join(type(each).__name__ for each in (first, second))
    raise TypeError(
        f"overlay takes one TimeCourse (of time_course) and one Trajectory (of train), not {given}"
    )
