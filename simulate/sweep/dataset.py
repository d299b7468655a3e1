"""The results of a sweep as one labelled array, with a dimension for everything that varies."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...models.protocol import Parametrization, Weights, is_softmax
from ...runtime.arrays import FloatArray
from ...runtime.executors import needed
from ...runtime.files import AnyPath, as_path
from ..descent.recorder import DescentOptions
from ..runs.experiment import Experiment
from ..runs.store import DIVERGED, load_run
from ..trajectory import Trajectory
from .folder import RUNS, read_manifest
from .spec import Sweep

if TYPE_CHECKING:
    import xarray


OWN: dict[str, tuple[str, ...]] = {
    "loss": ("step",),
    "gradient_norm": ("step",),
    "final_loss": (),
    "coefficients": ("weight_step", "direction"),
    "status": (),
    "digest": (),
}
"""Variables of a data set and the dimensions that they have besides those of the sweep."""


def load_sweep(folder: AnyPath, every: int = 1) -> "xarray.Dataset":
    """What a sweep has found, as an `xarray.Dataset` with one dimension for each field that varies.

    Fields that vary together share a dimension, named after the first; values that are neither numbers nor text
    stand as JSON. Variables, (…) being the dimensions of the sweep: `loss` and `gradient_norm` (…, step), before
    every step, or every so many; `final_loss` (…), the last one recorded; `coefficients` (…, weight_step,
    direction): e_dᵀ M e_d of linear attention on the eigenvectors of Λ by decreasing λ, where weights were stored;
    `status` (…): "finished", "diverged" or "missing"; `digest` (…) of the experiment. The coordinate `flow_time` is
    2η·step. Where a run is shorter, diverged or missing there is nan. Attributes: sweep and versions as JSON, and
    the digests of sweep and code. ValueError if the folder holds no sweep, or xarray is not installed.

    >>> import tempfile
    >>> from attndyn.simulate import Sweep, run_sweep
    >>> sweep = Sweep({"eigenvalues": [2, 1], "context_length": 5}, {"model": "merged", "heads": 2},
    ...               {"sequences": 50, "learning_rate": 0.01, "steps": 10},
    ...               {"scale": [0.1, 0.2], "seed": [0, 1, 2]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     swept, found = run_sweep(sweep, folder, workers=1), load_sweep(folder)
    >>> found.loss.dims, found.loss.sel(scale=0.2, seed=1).shape
    (('scale', 'seed', 'step'), (10,))
    """
    if isinstance(every, bool) or not isinstance(every, (int, np.integer)) or every < 1:
        raise ValueError(
            f"every must be a whole number of steps of at least 1, not {every!r}"
        )
    xr, manifest = needed("xarray", "sweep"), read_manifest(folder)
    sweep = Sweep.from_dict(manifest["sweep"])
    axes, experiments = _axes(sweep.experiments(), every), sweep.experiments()
    table, versions = _table(experiments, axes), set()
    for row, experiment in enumerate(experiments):
        run = load_run(experiment, as_path(folder) / RUNS, manifest["code"])
        if run is not None:
            _fill(
                {
                    name: values[row]
                    for name, values in table.items()
                    if values.ndim > 1
                },
                axes,
                experiment,
                run,
            )
            table["final_loss"][row] = (
                run.loss[-1] if DIVERGED not in run.settings else np.nan
            )
            table["status"][row] = (
                "diverged" if DIVERGED in run.settings else "finished"
            )
            versions.add(json.dumps(run.settings["versions"], sort_keys=True))
    known = {
        "sweep": sweep.to_json(),
        "digest": manifest["digest"],
        "code": manifest["code"],
    }
    known["versions"] = f"[{', '.join(sorted(versions))}]"
    dims = tuple(sweep.axes)
    variables = {
        name: ((*dims, *OWN[name]), values.reshape(*sweep.shape, *values.shape[1:]))
        for name, values in table.items()
    }
    dataset: xarray.Dataset = xr.Dataset(
        variables, _labels(sweep) | axes | _flow_time(sweep, axes["step"]), known
    )
    return dataset


def _axes(
    experiments: Sequence[Experiment], every: int
) -> dict[str, NDArray[np.int64]]:
    """The dimensions that no field of a sweep gives: steps, steps of stored weights, directions."""
    rules = {(each.steps, each.record) for each in experiments}
    kept = [DescentOptions(1.0, steps, record).recorded for steps, record in rules]
    return {
        "step": np.arange(0, max(each.steps for each in experiments), every),
        "weight_step": np.unique(np.concatenate(kept)),
        "direction": np.arange(1, max(each.task.dimension for each in experiments) + 1),
    }


def _table(
    experiments: Sequence[Experiment], axes: dict[str, NDArray[np.int64]]
) -> dict[str, NDArray[Any]]:
    """Every variable before anything is known, one row a run."""
    shapes = {
        name: (len(experiments), *(len(axes[axis]) for axis in own))
        for name, own in OWN.items()
    }
    table: dict[str, NDArray[Any]] = {
        name: np.full(shape, np.nan) for name, shape in shapes.items()
    }
    status, digests = (
        ["missing"] * len(experiments),
        [each.digest for each in experiments],
    )
    return table | {"status": np.array(status, dtype="U8"), "digest": np.array(digests)}


def _fill(
    row: dict[str, FloatArray],
    axes: dict[str, NDArray[np.int64]],
    experiment: Experiment,
    run: Trajectory,
) -> None:
    steps = axes["step"][axes["step"] < len(run.loss)]
    row["loss"][: len(steps)] = run.loss[steps]
    row["gradient_norm"][: len(steps)] = run.gradient_norm[steps]
    if not is_softmax(experiment.model):
        places = np.searchsorted(axes["weight_step"], run.weight_steps)
        found = coefficients(
            experiment.model, run.weights, experiment.task.eigenvectors
        )
        row["coefficients"][places, : experiment.task.dimension] = found


def coefficients(
    model: Parametrization, weights: Weights, basis: FloatArray
) -> FloatArray:
    """e_dᵀ M e_d (K, D) of weights with a leading axis K, e_d the columns of `basis` (D, D); M joins β to x_q.

    >>> from attndyn import Merged
    >>> weights = {"value": np.array([[[0, 2.0]]]), "key_query": np.array([[[[3.0, 0], [0, 0]]]])}
    >>> coefficients(Merged(1), weights, np.eye(1))
    array([[6.]])
    """
    a, B = model.heads(weights)
    M = np.einsum("kh,khij->kij", a[..., -1], B[..., :-1, :]) + np.einsum(
        "khi,khj->kij", a[..., :-1], B[..., -1, :]
    )
    return np.asarray(
        np.einsum("id,kid->kd", basis, np.einsum("kij,jd->kid", M, basis))
    )


def _labels(sweep: Sweep) -> dict[str, tuple[str, list[Any]]]:
    """The values of every field that varies, along their dimension."""
    axes = sweep.axes.items()
    return {
        name: (axis, _label(values))
        for axis, varied in axes
        for name, values in varied.items()
    }


def _label(values: list[Any]) -> list[Any]:
    numbers = all(isinstance(value, (int, float)) for value in values)
    return (
        values
        if numbers
        else [
            value if isinstance(value, str) else json.dumps(value) for value in values
        ]
    )


def _flow_time(
    sweep: Sweep, steps: NDArray[np.int64]
) -> dict[str, tuple[tuple[str, ...], FloatArray]]:
    """2η·step, for each learning rate if it varies."""
    for axis, varied in sweep.axes.items():
        if "learning_rate" in varied:
            return {
                "flow_time": (
                    (axis, "step"),
                    2 * np.outer(varied["learning_rate"], steps),
                )
            }
    return {"flow_time": (("step",), 2 * sweep.run["learning_rate"] * steps)}
