"""Errors on new and on training tasks along the training of merged attention on a pool of tasks, where wings meet."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..models.attention import Merged
from ..runtime.arrays import FloatArray
from ..runtime.checks import positive_number, refuse_wrong_order
from ..runtime.display import Displayed, Summary, array_summary
from ..runtime.line_charts import Line, LineChart
from ..task import Task
from ..theory import population
from ..theory.linear_attention import matrix_amplitudes
from ..theory.moments.population_loss import invariant_population
from ..theory.ode import flow_times


@dataclass(frozen=True, eq=False, repr=False)
class TrainingErrors(Displayed):
    """Losses (T,) at `flow_time` (T,): `icl` on new tasks, `idg` on the tasks that were trained on.

    Both hold the query's noise. `maps` (T, D, D) are the effective maps M, whose losses they are. `task` was trained
    on, and `new_tasks` has the law of the new tasks.
    """

    flow_time: FloatArray
    icl: FloatArray
    idg: FloatArray
    maps: FloatArray
    task: Task
    new_tasks: Task

    def to_dict(self) -> dict[str, Any]:
        """The times, losses and maps as lists."""
        names = ("flow_time", "icl", "idg", "maps")
        return {name: getattr(self, name).tolist() for name in names}

    def summary(self) -> Summary:
        """The first, the least and the last loss of both kinds."""
        rows = {"flow time": array_summary(self.flow_time)}
        by_time = np.argsort(self.flow_time, kind="stable")
        times = self.flow_time[by_time]
        for label, losses in (("new tasks", self.icl), ("training tasks", self.idg)):
            values = losses[by_time]
            least = int(np.argmin(values))
            rows[f"loss on {label}"] = (
                f"{values[0]:.6g} → {values[-1]:.6g}, least {values[least]:.6g} at t = {times[least]:.6g}"
            )
        return Summary("Errors along the training of merged attention", rows)

    def chart(self) -> LineChart:
        """Both losses against flow time."""
        lines = (
            Line(self.flow_time, self.icl, "new tasks"),
            Line(self.flow_time, self.idg, "training tasks", "dotted"),
        )
        return LineChart(lines, "flow time", "loss")


def errors_along_training(
    task: Task, new_tasks: Task, flow_time: ArrayLike, start: float
) -> TrainingErrors:
    """Losses on `new_tasks` and on the training `task` while merged attention is trained on `task` from small weights.

    `task` has the law that is trained on, such as a pool of k teachers with their negatives, and unlimited prompts of
    it. `start` is the amplitude w₀ of the growing mode at flow time 0: s = w₀, U = w₀ B/|B|; the flow is exact for it,
    and for random weights as they shrink. `flow_time` (T,) is 2·learning rate·steps. ValueError for a start of zero or
    less, for tasks of different D or of several labels, for a law that moves weights off the restricted block, as a
    pool without negatives does, and where no direction has a gain.
    Source: the flow of Zhang et al. 2025 (arXiv 2501.16265) on the tasks of Lu et al. 2025 (arXiv 2405.11751).

    >>> from attndyn.teachers import Gaussian
    >>> pool = Gaussian([1] * 4).pool(2, seed=0, signs=True)
    >>> inputs = {"eigenvalues": [1 / 4] * 4, "context_length": 16, "noise_variance": 0.1}
    >>> result = errors_along_training(Task(teachers=pool, **inputs), Task(**inputs), [0, 100], 0.01)
    >>> bool(result.idg[-1] < result.icl[-1])
    True
    """
    in_order = isinstance(task, Task) and isinstance(new_tasks, Task)
    call = "errors_along_training(task, new_tasks, flow_time, start)"
    refuse_wrong_order(call, in_order, task, new_tasks, flow_time, start)
    w0 = positive_number(start, "start")
    model = Merged(heads=1)
    trained = invariant_population(task, model)
    tested = population(new_tasks, model)
    if tested.dimension != trained.dimension:
        raise ValueError(
            f"the new tasks must have the D of the training tasks, {trained.dimension}, not {tested.dimension}"
        )
    times = flow_times(flow_time)
    B = np.asarray(trained.B)
    s, U = matrix_amplitudes(trained, times, w0, w0 * B / np.linalg.norm(B))
    maps = np.asarray(s[:, None, None] * U)
    return TrainingErrors(
        flow_time=times,
        icl=tested.loss(maps),
        idg=trained.loss(maps),
        maps=maps,
        task=task,
        new_tasks=new_tasks,
    )
