"""The results of a sweep as one labelled array, with a dimension for everything that varies."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...models.effective_map import effective_map
from ...models.protocol import Parametrization, Weights, is_softmax, outputs_of
from ...runtime.arrays import FloatArray
from ...runtime.executors import require_extra
from ...runtime.files import AnyPath, as_path
from ..descent.options import recorded_steps
from ..runs.experiment import Experiment
from ..runs.store import DIVERGED, load_run
from ..trajectory import Trajectory
from .folder import RUNS, read_manifest
from .spec import Sweep

if TYPE_CHECKING:
    import xarray

Axes = dict[str, NDArray[np.int64]]
"""Name of a dimension → its coordinates."""

Table = dict[str, NDArray[Any]]
"""Name of a variable → its values, one row a run."""

OWN_DIMENSIONS: dict[str, tuple[str, ...]] = {
    "loss": ("step",),
    "gradient_norm": ("step",),
    "final_loss": (),
    "coefficients": ("weight_step", "direction"),
    "status": (),
    "digest": (),
}
"""Variables of a data set and the dimensions that they have besides those of the sweep."""


def load_sweep(folder: AnyPath, every: int = 1) -> "xarray.Dataset":
    """The results of a sweep, as an `xarray.Dataset` with one dimension for each field that varies.

    Fields that vary together share a dimension, named after the first; values that are neither numbers nor text
    stand as JSON. Variables, (…) being the dimensions of the sweep: `loss` and `gradient_norm` (…, step), before
    every step, or every so many; `final_loss` (…), the last one recorded; `coefficients` (…, weight_step,
    direction): e_dᵀ M e_d of linear attention on the eigenvectors of Λ by decreasing λ, where weights were stored;
    `status` (…): "finished", "diverged" or "missing"; `digest` (…) of the experiment. The coordinate `flow_time` is
    2η·step; a sweep over optimizers has none. Where a run is shorter, diverged or missing there is nan, and in
    `coefficients` where there are several outputs. Attributes: sweep and versions as JSON, and the digests of sweep
    and code. ValueError if the folder holds no sweep, or xarray is not installed.

    >>> import tempfile
    >>> from attndyn.simulate import Sweep, run_sweep
    >>> sweep = Sweep({"eigenvalues": [2, 1], "context_length": 5}, {"model": "merged", "heads": 2},
    ...               {"sequences": 50, "learning_rate": 0.01, "steps": 10},
    ...               {"scale": [0.1, 0.2], "seed": [0, 1, 2]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary, results = run_sweep(sweep, folder, workers=1), load_sweep(folder)
    >>> results.loss.dims, results.loss.sel(scale=0.2, seed=1).shape
    (('scale', 'seed', 'step'), (10,))
    """
    _check_thinning(every)
    require_extra("xarray", "sweep")
    manifest = read_manifest(folder)
    sweep = Sweep.from_dict(manifest["sweep"])
    experiments = sweep.experiments()
    axes = _own_axes(experiments, every)

    # One row a run, in the order of the experiments: the dimensions of the sweep come back at the end.
    table = _empty_table(experiments, axes)
    versions: set[str] = set()
    for row, experiment in enumerate(experiments):
        run = _stored_run(experiment, folder, manifest["code"])
        if run is not None:
            _fill_row(table, row, axes, experiment, run)
            versions.add(json.dumps(run.settings["versions"], sort_keys=True))

    attributes = {
        "sweep": sweep.to_json(),
        "digest": manifest["digest"],
        "code": " ".join(manifest["code"]),
        "versions": f"[{', '.join(sorted(versions))}]",
    }
    return _to_dataset(sweep, table, axes, attributes)


def _check_thinning(every: int) -> None:
    """ValueError unless this is a number of steps."""
    whole = isinstance(every, (int, np.integer)) and not isinstance(every, bool)
    if not whole or every < 1:
        raise ValueError(
            f"every must be a whole number of steps of at least 1, not {every!r}"
        )


def _stored_run(
    experiment: Experiment, folder: AnyPath, codes: Sequence[str]
) -> Trajectory | None:
    """The run of an experiment, made by the code that the manifest names, which need not be ours."""
    for code in codes:
        run = load_run(experiment, as_path(folder) / RUNS, code)
        if run is not None:
            return run
    return None


def _own_axes(experiments: Sequence[Experiment], every: int) -> Axes:
    """The dimensions that no field of a sweep gives: steps, steps of stored weights, directions."""
    records = {(experiment.steps, experiment.record) for experiment in experiments}
    stored_at = [recorded_steps(steps, record) for steps, record in records]
    longest = max(experiment.steps for experiment in experiments)
    dimension = max(experiment.task.dimension for experiment in experiments)
    return {
        "step": np.arange(0, longest, every),
        "weight_step": np.unique(np.concatenate(stored_at)),
        "direction": np.arange(1, dimension + 1),
    }


def _empty_table(experiments: Sequence[Experiment], axes: Axes) -> Table:
    """Every variable before any run is read, one row a run."""
    table: Table = {}
    for name, dimensions in OWN_DIMENSIONS.items():
        sizes = [len(axes[dimension]) for dimension in dimensions]
        table[name] = np.full((len(experiments), *sizes), np.nan)
    # As wide as the longest status, "diverged" and "finished".
    table["status"] = np.full(len(experiments), "missing", dtype="U8")
    table["digest"] = np.array([experiment.digest for experiment in experiments])
    return table


def _fill_row(
    table: Table, row: int, axes: Axes, experiment: Experiment, run: Trajectory
) -> None:
    """Write what a run gives into its row."""
    # A run may be shorter than the longest one, and has diverged if it ends early.
    steps = axes["step"][axes["step"] < len(run.loss)]
    table["loss"][row, : len(steps)] = run.loss[steps]
    table["gradient_norm"][row, : len(steps)] = run.gradient_norm[steps]
    if DIVERGED in run.settings:
        table["status"][row] = "diverged"
    else:
        table["status"][row] = "finished"
        table["final_loss"][row] = run.loss[-1]

    if not is_softmax(experiment.model) and outputs_of(experiment.model) == 1:
        task = experiment.task
        places = np.searchsorted(axes["weight_step"], run.weight_steps)
        by_direction = coefficients(experiment.model, run.weights, task.eigenvectors)
        table["coefficients"][row, places, : task.dimension] = by_direction


def coefficients(
    model: Parametrization, weights: Weights, basis: FloatArray
) -> FloatArray:
    """e_dᵀ M e_d (K, D) of weights with a leading axis K, e_d the columns of `basis` (D, D); M joins β to x_q.

    >>> from attndyn import Merged
    >>> weights = {"value": np.array([[[0, 2.0]]]), "key_query": np.array([[[[3.0, 0], [0, 0]]]])}
    >>> coefficients(Merged(1), weights, np.eye(1))
    array([[6.]])
    """
    M = effective_map(model, weights)  # (K, D, D)
    M_e = np.einsum("kij,jd->kid", M, basis)
    return np.asarray(np.einsum("id,kid->kd", basis, M_e))


def _to_dataset(
    sweep: Sweep,
    table: Table,
    axes: Axes,
    attributes: dict[str, str],
) -> "xarray.Dataset":
    """The table with the dimensions of the sweep in place of its rows, labelled."""
    import xarray

    variables = {}
    for name, values in table.items():
        dimensions = (*sweep.axes, *OWN_DIMENSIONS[name])
        by_field = values.reshape(*sweep.shape, *values.shape[1:])
        variables[name] = (dimensions, by_field)
    coordinates = _labels(sweep) | axes
    if "learning_rate" in sweep.run or "learning_rate" in _varied(sweep):
        coordinates["flow_time"] = _flow_time(sweep, axes["step"])
    return xarray.Dataset(variables, coordinates, attributes)


def _varied(sweep: Sweep) -> list[str]:
    """The fields that vary in a sweep."""
    return [name for fields in sweep.axes.values() for name in fields]


def _labels(sweep: Sweep) -> dict[str, Any]:
    """The values of every field that varies, along their dimension."""
    labels = {}
    for dimension, fields in sweep.axes.items():
        for name, values in fields.items():
            labels[name] = (dimension, _as_labels(values))
    return labels


def _as_labels(values: list[Any]) -> list[Any]:
    """The values if they are numbers; else text, and JSON of what is neither."""
    if all(isinstance(value, (int, float)) for value in values):
        return values
    labels = []
    for value in values:
        labels.append(value if isinstance(value, str) else json.dumps(value))
    return labels


def _flow_time(
    sweep: Sweep, steps: NDArray[np.int64]
) -> tuple[tuple[str, ...], FloatArray]:
    """2η·step, for each learning rate if it varies."""
    for dimension, fields in sweep.axes.items():
        if "learning_rate" in fields:
            rates = np.asarray(fields["learning_rate"], dtype=float)
            return (dimension, "step"), 2 * np.outer(rates, steps)
    return ("step",), 2 * sweep.run["learning_rate"] * steps
