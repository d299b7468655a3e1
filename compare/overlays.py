"""A curve of the theory over a trajectory of the simulation."""

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from ..runtime.arrays import FloatArray
from ..runtime.display import Displayed, Summary
from ..runtime.files import AnyPath, as_path, read_arrays, write_atomically
from ..runtime.line_charts import Line, LineChart
from ..runtime.time_axis import draw_losses, line_style
from ..simulate import Trajectory, load
from ..simulate.attention.initialisation import restricted
from ..theory.asymptotics import Equivalent
from .conventions import notes_on_conventions
from .fits import FitErrors, FitOverlay, overlay_of_fits
from .loss_curves import LossCurve, load_curve
from .metrics.curves import exit_times, l2_gap, plateau_heights, resample, sup_gap
from .metrics.flatness import steepness_of
from .metrics.outputs_of_runs import outputs_of_run, refuse_other_outputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PARTS = ("curve", "run")
"""Arrays of a file, each the bytes of what its part writes."""

_NO_STEPS = "a gradient flow has no steps: draw with x='flow_time'"


@dataclass(frozen=True, eq=False, repr=False)
class Overlay(Displayed):
    """A predicted curve and a run on the flow times (T,) that they share; made by `overlay`.

    `predicted` and `observed` (T,) are their losses. `notes` say what of the two could not be compared.
    """

    curve: LossCurve
    run: Trajectory
    flow_time: FloatArray
    predicted: FloatArray
    observed: FloatArray
    notes: tuple[str, ...] = ()

    def summary(self) -> Summary:
        """The span of the two curves, and how far their losses are apart."""
        # The first and the last loss of each side.
        losses = {"predicted": self.predicted, "observed": self.observed}
        rows: dict[str, object] = {
            "theory": self.curve.source,
            "run": self._run_kind,
            "flow time": f"{self.flow_time[0]:g} to {self.flow_time[-1]:g} ({len(self.flow_time)} times)",
        }
        for name, loss in losses.items():
            rows[f"{name} loss"] = f"{loss[0]:.5g} → {loss[-1]:.5g}"
        rows["largest gap"] = f"{self.sup_gap:.2e}"
        rows["root mean square gap"] = f"{self.l2_gap:.2e}"
        if self.off_block > 0:
            rows["off the block"] = (
                f"{self.off_block:.0%} of the squares of the first weights: not in the theory"
            )
        rows |= {f"note {k}": note for k, note in enumerate(self.notes, start=1)}
        return Summary("Overlay of theory and simulation", rows)

    def chart(self) -> LineChart:
        """The run, solid, and the theory, dashed, on the flow times that they share."""
        run = Line(self.flow_time, self.observed, self._run_kind)
        theory = Line(self.flow_time, self.predicted, "theory", "dashed")
        caption = f"root mean square gap {self.l2_gap:.2g}, largest {self.sup_gap:.2g}"
        return LineChart((run, theory), "flow time", "loss", caption)

    def to_dict(self) -> dict[str, Any]:
        """The curves and their gaps as plain numbers and lists."""
        return {
            "theory": self.curve.source,
            "run": self._run_kind,
            "flow_time": self.flow_time.tolist(),
            "predicted": self.predicted.tolist(),
            "observed": self.observed.tolist(),
            "sup_gap": self.sup_gap,
            "l2_gap": self.l2_gap,
            "off_block": self.off_block,
            "notes": list(self.notes),
        }

    def save(self, path: AnyPath) -> Path:
        """Write curve and run to one npz file, atomically; `Overlay.load` reads it. OSError if it cannot be written."""
        parts: dict[str, Any] = {}
        with TemporaryDirectory() as folder:
            for name in _PARTS:
                file = getattr(self, name).save(Path(folder) / f"{name}.npz")
                parts[name] = np.frombuffer(file.read_bytes(), dtype=np.uint8)
        return write_atomically(path, lambda file: np.savez(file, **parts))

    @classmethod
    def load(cls, path: AnyPath) -> "Overlay":
        """The overlay that `save` wrote; ValueError if the file is damaged or something else, OSError if it is missing.

        >>> from attndyn import Merged, Task
        >>> from attndyn.simulate import external_run
        >>> from attndyn.theory import time_course
        >>> run = external_run([2.9, 2.5, 2.0], learning_rate=0.1)
        >>> curve = time_course(Task([2, 1], context_length=9), Merged(2), run.flow_time, 0.1)
        >>> with TemporaryDirectory() as folder:
        ...     Overlay.load(overlay(curve, run).save(f"{folder}/overlay.npz")).sup_gap == overlay(curve, run).sup_gap
        True
        """
        arrays = read_arrays(path, _PARTS)
        try:
            with TemporaryDirectory() as folder:
                files = {name: Path(folder) / f"{name}.npz" for name in _PARTS}
                for name, file in files.items():
                    file.write_bytes(arrays[name].tobytes())
                curve = load_curve(files["curve"])
                run = load(files["run"])
        except (KeyError, ValueError):
            raise ValueError(
                f"{as_path(path)} is not a whole overlay file: pass one that Overlay.save wrote"
            ) from None
        return overlay(curve, run)

    @property
    def _run_kind(self) -> str:
        if self.run.is_external:
            return "run from outside"
        return "gradient flow" if self.run.is_flow else "gradient descent"

    @property
    def sup_gap(self) -> float:
        """Largest difference of the losses. Near a saddle a small shift in time makes it large."""
        return sup_gap(self.predicted, self.observed)

    @property
    def l2_gap(self) -> float:
        """Root mean square over flow time of the difference of the losses."""
        return l2_gap(self.flow_time, self.predicted, self.observed)

    @property
    def off_block(self) -> float:
        """Share of the squares of the run's first weights that lies off the restricted block; 0 where it has none.

        The theory's curve leaves these weights out. They do move, unless they are zero:
        `population_statistics(task, model, block="full")` trains all weights on unlimited prompts.
        """
        weights = self.run.weights
        if "value" not in weights or not {"key", "key_query"} & set(weights):
            return 0.0
        first = self.run.initial
        inside = restricted(first, outputs_of_run(self.run) or 1)
        total = sum(float(np.sum(value**2)) for value in first.values())
        outside = sum(float(np.sum((first[n] - inside[n]) ** 2)) for n in first)
        return outside / total if total > 0 else 0.0

    def exit_times(self, plateaus: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Flow times at which curve and run leave each plateau but the last; nan where they do not."""
        predicted = exit_times(self.flow_time, self.predicted, plateaus)
        observed = exit_times(self.flow_time, self.observed, plateaus)
        return predicted, observed

    def plateau_heights(self, plateaus: FloatArray) -> FloatArray:
        """Losses (K,) where the run is flattest, one for each expected plateau (K,); nan where the run skips it."""
        steepness = steepness_of(self.run)
        return plateau_heights(self.run.loss, steepness.values, plateaus).heights

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        x: str | None = None,
        label: str | None = None,
        legend: bool = True,
        **style: Any,
    ) -> "Axes":
        """Draw the run solid and the theory dashed over it, on `ax` (new axes if None); returns the axes.

        `x` is "steps" (of a descent) or "flow_time"; without it, the unit of the curves on the axes, else flow
        time. `label` names the run in the legend. `style` goes to both lines. ValueError for steps of a flow, and
        for another unit than the axes count.
        """
        run_line = line_style(style)
        # Theory is dashed and black over the simulation, unless the caller says otherwise.
        theory_line = line_style(style, color="black", linestyle="--")
        losses: dict[str, tuple[ArrayLike, dict[str, Any]]] = {
            label or self._run_kind: (self.observed, run_line),
            "theory": (self.predicted, theory_line),
        }
        ax = draw_losses(ax, self._times(), losses, x, _NO_STEPS)
        if legend:
            ax.legend(frameon=False)
        return ax

    def plot_gap(
        self,
        ax: "Axes | None" = None,
        *,
        x: str | None = None,
        label: str | None = None,
        **style: Any,
    ) -> "Axes":
        """Draw the observed loss less the predicted one on `ax` (new axes if None); returns the axes.

        `x` as in `plot`; `label` and `style` go to the line. ValueError as `plot`.
        """
        gap = self.observed - self.predicted
        line = {label or "": (gap, line_style(style))}
        ax = draw_losses(ax, self._times(), line, x, _NO_STEPS)
        ax.set_ylabel("observed − predicted loss")
        return ax

    def _times(self) -> dict[str, ArrayLike]:
        """The times (T,) of both curves in each unit that the run knows."""
        times: dict[str, ArrayLike] = {"flow_time": self.flow_time}
        if not self.run.is_flow:
            # Steps are known to the run alone.
            shared = np.isin(self.run.flow_time, self.flow_time)
            times["steps"] = self.run.steps[shared]
        return times


@typing.overload
def overlay(curve: LossCurve | Trajectory, run: Trajectory | LossCurve) -> Overlay:
    """A curve over a run."""


@typing.overload
def overlay(curve: Sequence[Equivalent], run: FitErrors) -> FitOverlay:
    """Equivalents over ridge fits."""


@typing.overload
def overlay(curve: FitErrors, run: Sequence[Equivalent]) -> FitOverlay:
    """The same in the other order."""


def overlay(
    curve: LossCurve | Trajectory | Sequence[Equivalent] | FitErrors,
    run: Trajectory | LossCurve | FitErrors | Sequence[Equivalent],
) -> Overlay | FitOverlay:
    """The `Overlay` of a predicted curve and a run, in either order, at the times of the run that the curve covers.

    The curve is a `TimeCourse`, the `ReducedFlow` of softmax heads, an `ErrorCurve`, or an object of yours with
    flow_time, loss, source and save. Between its own times it is interpolated linearly: compute it at `run.flow_time`
    for exact gaps. The equivalents of several numbers of sequences, in a list, and the `fit_errors` of the same numbers
    make a `FitOverlay`.
    TypeError unless one of the two is such a curve and the other a run; ValueError if they share no two times, if both
    state their task or model and these differ (`notes` say where one does not), or if the run has another number of
    outputs than the curve.

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
    if isinstance(run, FitErrors):
        return overlay_of_fits(_equivalents(curve), run)
    if isinstance(curve, FitErrors):
        return overlay_of_fits(_equivalents(run), curve)
    theory, simulation = _theory_and_simulation(curve, run)
    refuse_other_outputs(simulation, _outputs_of_curve(theory), "the curve is")
    notes = notes_on_conventions(theory, simulation)
    # The times of a curve may come in any order, and more than once.
    theory_times, order = np.unique(theory.flow_time, return_index=True)
    run_times = simulation.flow_time
    if len(theory_times) == 0 or len(run_times) == 0:
        raise ValueError(
            "an overlay needs a curve and a run with times: one of them has none"
        )

    # Nothing is extrapolated: times of the run outside the curve are left out.
    covered = (run_times >= theory_times[0]) & (run_times <= theory_times[-1])
    if covered.sum() < 2:
        spans = f"{_span(theory_times)} and {_span(run_times)}"
        raise ValueError(
            f"the curve must cover two flow times of the run or more: they span {spans}"
        )
    shared_times = run_times[covered]
    return Overlay(
        curve=theory,
        run=simulation,
        flow_time=shared_times,
        predicted=resample(theory_times, theory.loss[order], shared_times),
        observed=simulation.loss[covered],
        notes=notes,
    )


def _equivalents(candidate: object) -> Sequence[Equivalent]:
    """The equivalents of a list; TypeError for anything else."""
    if isinstance(candidate, Sequence) and all(
        isinstance(each, Equivalent) for each in candidate
    ):
        return candidate
    raise TypeError(
        "overlay takes fit_errors with a list of what deterministic_equivalent returns, one for each number of "
        f"sequences, not {type(candidate).__name__}"
    )


def _span(times: FloatArray) -> str:
    return f"[{times[0]:g}, {times[-1]:g}]"


def _outputs_of_curve(curve: LossCurve) -> int:
    """K of a curve; those that state no model are of one output."""
    stated = getattr(curve, "settings", None) or {}
    model = stated.get("model")
    return int(model.get("outputs", 1)) if isinstance(model, dict) else 1


def _theory_and_simulation(
    first: object, second: object
) -> tuple[LossCurve, Trajectory]:
    """The predicted curve and the run, whichever comes first; TypeError unless there is one of each."""
    if isinstance(second, Trajectory) and _is_predicted(first):
        return first, second
    if isinstance(first, Trajectory) and _is_predicted(second):
        return second, first
    types = f"{type(first).__name__} and {type(second).__name__}"
    raise TypeError(
        "overlay takes one predicted curve (of time_course or reduced_flow) and one Trajectory (of train), "
        f"not {types}"
    )


def _is_predicted(candidate: object) -> TypeGuard[LossCurve]:
    """Whether it has what a predicted curve has, and is no run."""
    # Types of classes have the same attributes.
    return (
        isinstance(candidate, LossCurve)
        and not isinstance(candidate, type)
        and not isinstance(candidate, Trajectory)
    )
