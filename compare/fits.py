"""Measured errors of ridge fits for several numbers of sequences, and the predicted ones over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.arrays import FloatArray
from ..runtime.checks import refuse_wrong_order, whole_number
from ..runtime.display import Displayed, Summary, array_summary
from ..runtime.line_charts import Line, LineChart
from ..simulate import exact_risk, ridge_fit, sample_summaries
from ..task import Task
from ..teachers import Pool
from ..theory.asymptotics import Equivalent
from ..theory.asymptotics.equivalents import refuse_other_dimension, with_teachers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_ROUNDING = 1e-14
"""Relative error of a loss by rounding, some tens of times the rounding of one number."""


@dataclass(frozen=True, eq=False, repr=False)
class FitErrors(Displayed):
    """Exact errors of ridge fits on drawn data sets, each (S, R): R data sets for each of S numbers of sequences.

    `icl` is the error on new tasks and `idg` that on the training tasks of the fit. `sequences` (S,) are P.
    """

    sequences: FloatArray
    icl: FloatArray
    idg: FloatArray

    @property
    def gap(self) -> FloatArray:
        """icl − idg (S, R): the two of one data set share much of their scatter."""
        return np.asarray(self.icl - self.idg)

    def to_dict(self) -> dict[str, Any]:
        """The errors as lists."""
        names = ("sequences", "icl", "idg")
        return {name: getattr(self, name).tolist() for name in names}

    def summary(self) -> Summary:
        """The mean errors on one screen."""
        rows: dict[str, object] = {
            "sequences": array_summary(self.sequences),
            "data sets of each": self.icl.shape[1],
            "mean error on new tasks": array_summary(self.icl.mean(axis=1)),
            "mean error on training tasks": array_summary(self.idg.mean(axis=1)),
        }
        return Summary("Errors of ridge fits", rows)

    def chart(self) -> LineChart:
        """The mean errors against the number of sequences."""
        lines = (
            Line(self.sequences, self.icl.mean(axis=1), "new tasks"),
            Line(self.sequences, self.idg.mean(axis=1), "training tasks", "dotted"),
        )
        return LineChart(lines, "sequences", "mean error")


def fit_errors(
    training: Task,
    new: Task,
    sequences: Sequence[int],
    *,
    ridge: float = 0.0,
    label_row: bool = False,
    label_weight: float = 1.0,
    tasks: int | None = None,
    repeats: int = 10,
    seed: int = 0,
) -> FitErrors:
    """Errors of the ridge read-out fitted to `repeats` data sets of P prompts of `training`, for each P of `sequences`.

    `new` is the law of new tasks, and the other settings are those of `ridge_fit`; with `tasks` k each data set has a
    pool of its own of k tasks of `training`, every one equally often as far as P allows. Data sets of all P share their
    seeds, `seed` and on. ValueError for fewer than two data sets, for no number of sequences, for tasks of different D,
    and as `sample_summaries` and `ridge_fit`.

    >>> from attndyn.teachers import Sphere
    >>> law = Task([1 / 6] * 6, teachers=Sphere(6), context_length=12, noise_variance=0.1)
    >>> fit_errors(law, law, [60, 120], tasks=3, repeats=4).icl.shape
    (2, 4)
    """
    in_order = isinstance(training, Task) and isinstance(new, Task)
    refuse_wrong_order("fit_errors(training, new, sequences)", in_order, training, new)
    refuse_other_dimension(training, new)
    sizes = _numbers_of_sequences(sequences)
    k = None if tasks is None else whole_number(tasks, "tasks")
    count = whole_number(repeats, "repeats", least=2)
    first = whole_number(seed, "seed", least=0)
    errors = np.empty((2, len(sizes), count))
    for p, P in enumerate(sizes):
        for r in range(count):
            task, balanced = training, False
            if k is not None:
                pool = Pool.from_recipe(training.teachers, k, first + r)
                task, balanced = with_teachers(training, pool), True
            data = sample_summaries(task, P, first + r, balanced=balanced)
            M = ridge_fit(
                data, ridge=ridge, label_row=label_row, label_weight=label_weight
            )
            errors[:, p, r] = exact_risk(new, M), exact_risk(task, M)
    return FitErrors(np.array(sizes, dtype=np.float64), *errors)


def _numbers_of_sequences(sequences: Sequence[int]) -> list[int]:
    """P of each fit; ValueError for what is no list of whole numbers, and for an empty one."""
    is_list = isinstance(sequences, list | tuple | range | np.ndarray)
    if not is_list or len(sequences) == 0:
        raise ValueError(
            f"sequences must be a list of numbers such as [60, 120], not {sequences!r}"
        )
    return [whole_number(P, "each of sequences") for P in sequences]


@dataclass(frozen=True, eq=False, repr=False)
class FitOverlay(Displayed):
    """Predicted errors over those of ridge fits, for each number of sequences (S,); made by `overlay`.

    `predicted_icl` and `predicted_idg` (S,) are the equivalents' errors on new and on training tasks; `fits` hold the
    measured ones. `z_icl` and `z_idg` (S,) are the distances of the means in standard errors: those of the fits, and
    those of the prediction over its pools. Heavy tails of the features leave a distance of O(1/D).
    """

    fits: FitErrors
    predicted_icl: FloatArray
    predicted_idg: FloatArray
    z_icl: FloatArray
    z_idg: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """The measured and the predicted errors, and the distances, as lists."""
        names = ("predicted_icl", "predicted_idg", "z_icl", "z_idg")
        return self.fits.to_dict() | {
            name: getattr(self, name).tolist() for name in names
        }

    def summary(self) -> Summary:
        """Each number of sequences with its errors on new tasks, and the distances."""
        rows: dict[str, object] = {}
        means = self.fits.icl.mean(axis=1)
        for P, predicted, mean, z in zip(
            self.fits.sequences, self.predicted_icl, means, self.z_icl, strict=True
        ):
            rows[f"P = {P:g}"] = (
                f"new tasks: predicted {predicted:.5g}, fitted {mean:.5g}, {z:+.1f} standard errors"
            )
        rows["root mean square z"] = (
            f"{_root_mean_square(self.z_icl):.2f} on new tasks, {_root_mean_square(self.z_idg):.2f} on training tasks"
        )
        return Summary("Predicted errors over ridge fits", rows)

    def chart(self) -> LineChart:
        """The predicted errors as lines and the mean ones of the fits as points."""
        sequences, fits = self.fits.sequences, self.fits
        lines = (
            Line(sequences, fits.icl.mean(axis=1), "fits", "points"),
            Line(sequences, fits.idg.mean(axis=1), style="points"),
            Line(sequences, self.predicted_icl, "new tasks", "dashed"),
            Line(sequences, self.predicted_idg, "training tasks", "dotted"),
        )
        caption = f"root mean square z {_root_mean_square(self.z_icl):.2f} on new tasks"
        return LineChart(lines, "sequences", "error", caption)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the predicted errors as lines and the fitted ones with standard errors; returns the matplotlib axes."""
        from matplotlib import pyplot as plt

        axes = plt.subplots(layout="constrained")[1] if ax is None else ax
        series = (
            ("new tasks", self.predicted_icl, self.fits.icl, "C0"),
            ("training tasks", self.predicted_idg, self.fits.idg, "C1"),
        )
        for name, predicted, fitted, color in series:
            axes.plot(self.fits.sequences, predicted, "--", color=color)
            axes.errorbar(
                self.fits.sequences,
                fitted.mean(axis=1),
                _standard_error(fitted),
                fmt="o",
                color=color,
                label=name,
            )
        axes.set_xlabel("sequences P")
        axes.set_ylabel("error")
        axes.legend(frameon=False)
        return axes


def overlay_of_fits(predictions: Sequence[Equivalent], fits: FitErrors) -> FitOverlay:
    """The equivalents, one for each number of sequences of the fits, over the fits; ValueError for other numbers."""
    predicted_at = [each.sequences for each in predictions]
    if predicted_at != fits.sequences.tolist():
        needed, given = (
            ", ".join(f"{P:g}" for P in numbers) or "none"
            for numbers in (fits.sequences, predicted_at)
        )
        raise ValueError(
            "an overlay of fits needs one prediction for each of their numbers of sequences, in their order: "
            f"{needed}, not {given}"
        )
    icl = np.array([each.test_loss for each in predictions])
    idg = np.array([each.train_loss for each in predictions])
    pools = np.array([each.pools for each in predictions])
    spreads = np.array([[each.test_spread, each.train_spread] for each in predictions])
    icl_error, idg_error = (spreads / np.sqrt(pools)[:, None]).T
    return FitOverlay(
        fits,
        icl,
        idg,
        _distance(icl, icl_error, fits.icl),
        _distance(idg, idg_error, fits.idg),
    )


def _distance(
    predicted: FloatArray, error: FloatArray, fitted: FloatArray
) -> FloatArray:
    """(predicted − mean) in standard errors of both, (S,)."""
    mean = fitted.mean(axis=1)
    # Where all fits agree to rounding, as under an endless ridge, rounding is the error.
    rounding = _ROUNDING * np.maximum(np.abs(predicted), np.abs(mean))
    both = np.maximum(np.hypot(error, _standard_error(fitted)), rounding)
    difference = predicted - mean
    z = np.zeros_like(mean)
    return np.asarray(np.divide(difference, both, out=z, where=both > 0))


def _standard_error(fitted: FloatArray) -> FloatArray:
    """(S,) of the mean over data sets."""
    return np.asarray(fitted.std(axis=1, ddof=1) / np.sqrt(fitted.shape[1]))


def _root_mean_square(z: FloatArray) -> float:
    return float(np.sqrt(np.mean(z**2)))
