"""The theory's predictions for every run of a sweep, beside what the runs show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...models.attention import Merged, Separate
from ...runtime.arrays import FloatArray
from ...simulate import Experiment, Sweep
from ...theory import (
    half_loss_time,
    population,
    staircase,
    unstable_mode_amplitude,
)
from ..metrics.curves import exit_times, plateau_heights

if TYPE_CHECKING:
    import xarray


class Quantity(NamedTuple):
    """A quantity that is compared: the models that have it, its name on an axis, and its first number."""

    models: type
    axis_label: str
    first_number: int


QUANTITIES = {
    "plateau_height": Quantity(object, "loss at plateau", first_number=0),
    "exit_time": Quantity(Separate, "flow time of exit", first_number=1),
    "drop_time": Quantity(Merged, "flow time of the drop", first_number=1),
}


class Comparison(NamedTuple):
    """Numbers of one run that the theory predicts, and the same as they are observed, (K,) each."""

    predicted: FloatArray
    observed: FloatArray


class LimitPrediction(NamedTuple):
    """Losses of the plateaus (K,), and flow times (K−1,) at which all but the last are left."""

    plateaus: FloatArray
    exit_times: FloatArray


def validity(dataset: "xarray.Dataset", quantity: str) -> "xarray.Dataset":
    """What the theory predicts and what is observed of every run of a sweep that `load_sweep` read, or of a part.

    Quantities, numbered along the dimension "number": "plateau_height", where a run is flattest, by the count of
    directions learned (merged: 0 and 1); "exit_time", the flow time at which a run of separate attention leaves
    each plateau, from 1; "drop_time", that of merged attention's one drop. Predictions are those of the limit of
    small weights, from the initial weights of the run and unlimited data: `staircase` and `half_loss_time`. Returns
    an `xarray.Dataset` of `predicted`, `observed` and `error`, observed / predicted − 1; nan where a run ends too
    early, skips a plateau or is missing, or a start is too large for any prediction. ValueError for another
    quantity, and for models that do not have it, as softmax.
    """
    if quantity not in QUANTITIES:
        raise ValueError(
            f"quantity must be one of {', '.join(QUANTITIES)}, not {quantity!r}"
        )
    experiments = _experiments_of(dataset)
    digests = dataset["digest"].values.ravel()
    losses = _rows(dataset, "loss")
    norms = _rows(dataset, "gradient_norm")
    steps = dataset["step"].values
    comparisons = []
    for digest, loss, norm in zip(digests, losses, norms, strict=True):
        experiment = experiments[str(digest)]
        if experiment.learning_rate is None:
            raise ValueError(
                "validity maps are of gradient descent with a learning rate: this sweep names an optimizer"
            )
        if experiment.frozen is not None:
            raise ValueError(
                "validity maps are of runs that train all weights: this sweep has frozen ones"
            )
        # A run that ends before the longest one of the sweep has nan after its end.
        recorded = np.isfinite(loss)
        flow_time = 2 * experiment.learning_rate * steps[recorded]
        comparison = _compared(
            experiment, flow_time, loss[recorded], norm[recorded], quantity=quantity
        )
        comparisons.append(comparison)
    first = QUANTITIES[quantity].first_number
    return _assembled(dataset["digest"], comparisons, first)


def _experiments_of(dataset: "xarray.Dataset") -> dict[str, Experiment]:
    """The experiments of a sweep by digest; runs of a part of it are among them."""
    sweep = Sweep.from_json(dataset.attrs["sweep"])
    return {experiment.digest: experiment for experiment in sweep.experiments()}


def _rows(dataset: "xarray.Dataset", name: str) -> FloatArray:
    """A variable of the sweep with one row a run, (runs, T), in the order of the digests."""
    curves = dataset[name].transpose(*dataset["digest"].dims, "step")
    return np.asarray(curves.values).reshape(-1, curves.sizes["step"])


def _assembled(
    digests: "xarray.DataArray", comparisons: Sequence[Comparison], first: int
) -> "xarray.Dataset":
    """The comparisons of all runs on the dimensions of the sweep and "number", which begins at `first`."""
    import xarray

    # Runs of fewer heads have fewer numbers: the last ones are nan.
    count = max(len(comparison.predicted) for comparison in comparisons)
    predicted = _padded([comparison.predicted for comparison in comparisons], count)
    observed = _padded([comparison.observed for comparison in comparisons], count)
    arrays = {
        "predicted": predicted,
        "observed": observed,
        "error": observed / predicted - 1,
    }
    dimensions = (*digests.dims, "number")
    shape = (*digests.shape, count)
    variables = {
        name: (dimensions, array.reshape(shape)) for name, array in arrays.items()
    }
    coordinates = {name: digests.coords[name] for name in digests.coords}
    coordinates["number"] = np.arange(first, first + count)
    return xarray.Dataset(variables, coordinates)


def _padded(rows: Sequence[FloatArray], count: int) -> FloatArray:
    """Rows of different lengths as one array (rows, count), with nan after the end of each."""
    padded = np.full((len(rows), count), np.nan)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


def _compared(
    experiment: Experiment,
    flow_time: FloatArray,
    loss: FloatArray,
    gradient_norm: FloatArray,
    *,
    quantity: str,
) -> Comparison:
    """The prediction for one run, and what the run shows; ValueError for a model that has not the quantity."""
    if not isinstance(experiment.model, QUANTITIES[quantity].models):
        alternatives = " or ".join(name for name in QUANTITIES if name != quantity)
        raise ValueError(
            f"{type(experiment.model).__name__} has no {quantity}: ask for {alternatives}"
        )
    plateaus, exits = _limit_prediction(experiment)
    predicted = plateaus if quantity == "plateau_height" else exits

    # Nothing can be measured on one loss, nor where there is but one plateau.
    if len(loss) < 2 or len(plateaus) < 2:
        observed = np.full(len(predicted), np.nan)
    elif quantity == "plateau_height":
        observed = plateau_heights(loss, gradient_norm, plateaus).heights
    else:
        observed = exit_times(flow_time, loss, plateaus)
    return Comparison(predicted, observed)


def _limit_prediction(experiment: Experiment) -> LimitPrediction:
    """Plateaus and exit times in the limit of small weights, from the initial weights of the run."""
    task, model, start = experiment.task, experiment.model, experiment.start
    if isinstance(model, Separate):
        steps = staircase(task, model, start)
        # A drop at time 0 is none: the loss starts below the middle of it.
        drop_times = np.where(steps.drop_times > 0, steps.drop_times, np.nan)
        return LimitPrediction(steps.plateaus, drop_times)

    loss = population(task, model)
    try:
        drop_time = half_loss_time(loss, unstable_mode_amplitude(loss, start))
    except ValueError:  # the loss starts below the middle of its drop
        drop_time = np.nan
    plateaus = np.array([loss.c, loss.minimum_loss])
    return LimitPrediction(plateaus, np.array([drop_time]))
