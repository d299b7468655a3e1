"""Brings stored runs that have names or settings of an older format up to date, without running them again.

A stored run is found by the digest of its settings and that of the code of its engine. When the words of the settings
or what is digested changes, finished runs would be made again. `python -m attndyn.simulate.rekey FOLDER` renames them
instead, in a folder of `load_or_run` or of `run_sweep`, but only runs that the present code reproduces: the weights
that an experiment starts from must be those of the run to the last bit, and the losses of some steps from its first,
middle and last stored weights must be its losses. Any other run stays as it is, and is reported.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..models.protocol import Weights
from ..runtime.arrays import FloatArray
from ..runtime.files import AnyPath, as_path
from .attention.initialisation import FORMER_SCHEMES
from .data.prompts import Prompts
from .descent.gradient_descent import SAME, train
from .runs.experiment import Experiment
from .runs.store import DIVERGED, is_run_of, run_path
from .sufficient_statistics.quadratic_loss import Statistics
from .sweep.folder import (
    MANIFEST,
    RUNS,
    locked_folder,
    read_manifest,
    write_manifest,
)
from .sweep.spec import Sweep
from .trajectory import Trajectory, load

REPEATED_STEPS = 20
"""Steps that are taken again from each of the chosen weights: enough for a wrong rate or gradient to show."""

_RUN_FILE = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}\.npz")


class Outcome(NamedTuple):
    """What became of a file: its name before, its name now, and why it was left as it is, if it was."""

    name: str
    now: str
    refusal: str = ""


def current_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of an experiment, or some of them, in the words of today.

    >>> current_settings({"scheme": "published", "seed": 0})
    {'scheme': 'zhang2025', 'seed': 0}
    """
    current = dict(settings)
    scheme = settings.get("scheme")
    if isinstance(scheme, list):  # the values that a sweep varies
        current["scheme"] = [FORMER_SCHEMES.get(name, name) for name in scheme]
    elif scheme is not None:
        current["scheme"] = FORMER_SCHEMES.get(scheme, scheme)
    return current


def rekey_runs(folder: AnyPath) -> list[Outcome]:
    """Rename every run of a folder that the present code reproduces; the outcome of each, by name.

    OSError if the folder cannot be read or written.

    >>> import tempfile
    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import load_or_run
    >>> small = Experiment(Task([2, 1], context_length=5), Merged(2), 50, 0.1, 0.01, steps=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = load_or_run(small, folder)
    ...     path = run_path(small, folder)
    ...     older = path.rename(Path(folder) / f"{'0' * 16}-{'0' * 8}.npz")
    ...     [outcome] = rekey_runs(folder)
    >>> outcome.now == path.name
    True
    """
    outcomes = []
    for path in sorted(as_path(folder).iterdir()):
        if _RUN_FILE.fullmatch(path.name):
            outcomes.append(_rekey_file(path))
    return outcomes


def rekey_sweep(folder: AnyPath) -> list[Outcome]:
    """Rename the runs of a sweep as `rekey_runs`, and bring its manifest up to date if no run had to stay as it is.

    ValueError if the folder holds no sweep, or another process sweeps into it.
    """
    home = as_path(folder).resolve()
    manifest = read_manifest(home, former=True)
    with locked_folder(home):
        outcomes = rekey_runs(home / RUNS)
        if not any(outcome.refusal for outcome in outcomes):
            write_manifest(home, Sweep.from_dict(_current_sweep(manifest["sweep"])))
    return outcomes


def _current_sweep(sweep: dict[str, Any]) -> dict[str, Any]:
    """The tables of a sweep in the words of today."""
    current = dict(sweep)
    for table in ("run", "grid"):
        current[table] = current_settings(sweep.get(table, {}))
    groups = sweep.get("together", [])
    current["together"] = [current_settings(group) for group in groups]
    return current


def _rekey_file(path: Path) -> Outcome:
    """Rename one run if the present code reproduces it."""
    name = path.name
    try:
        run = load(path)
        experiment = _experiment_of(run)
    except (KeyError, TypeError, ValueError) as error:
        return Outcome(name, name, f"it holds no experiment of ours: {error}")

    target = run_path(experiment, path.parent)
    if target == path and is_run_of(experiment, run):
        return Outcome(name, name)
    if target != path and target.exists():
        return Outcome(name, name, f"{target.name} is there already")
    refusal = _why_not_reproduced(experiment, run)
    if refusal:
        return Outcome(name, name, refusal)
    run.with_settings(experiment.to_dict()).save(target)
    if target != path:
        path.unlink()
    return Outcome(name, target.name)


def _experiment_of(run: Trajectory) -> Experiment:
    """The experiment that a run says it is of; KeyError, TypeError or ValueError if it says none."""
    # A run has more settings than its experiment, such as versions; an older one may lack some.
    settings = {}
    for name in Experiment.fields():
        if name in run.settings:
            settings[name] = run.settings[name]
    return Experiment.from_dict(current_settings(settings))


def _why_not_reproduced(experiment: Experiment, run: Trajectory) -> str:
    """What tells the run from that of its experiment under the present code; empty if nothing does."""
    if DIVERGED not in run.settings and len(run.loss) != experiment.steps:
        return (
            f"it has {len(run.loss)} steps, and its settings ask for {experiment.steps}"
        )
    if experiment.optimizer is not None or experiment.batch is not None:
        return "no step in the middle of it can be repeated, since what its optimizer knew there is not stored"
    if not _equal(experiment.start, run.initial):
        return "the present code starts from other weights"

    # From the first weights on, the middle ones and the last: where losses fall a wrong rate shows first.
    source = experiment.source
    for index in _chosen_records(run):
        step = int(run.weight_time[index])
        losses = run.loss[step : step + REPEATED_STEPS]
        again = _losses_from(run.stored_weights(index), experiment, source, len(losses))
        if np.max(np.abs(again - losses)) > SAME * np.max(np.abs(losses)):
            return f"the present code gives other losses from step {step} on"
    return ""


def _chosen_records(run: Trajectory) -> list[int]:
    """Indices of the first, a middle and the last of the stored weights from which a step was taken."""
    before_a_step = np.flatnonzero(run.weight_time < len(run.loss))
    chosen = before_a_step[[0, len(before_a_step) // 2, -1]]
    return sorted(set(chosen.tolist()))


def _equal(weights: Weights, others: Weights) -> bool:
    """Whether weights have the same names and the same numbers, to the last bit."""
    if weights.keys() != others.keys():
        return False
    return all(np.array_equal(weights[name], others[name]) for name in weights)


def _losses_from(
    weights: Weights, experiment: Experiment, source: Prompts | Statistics, steps: int
) -> FloatArray:
    """Losses (steps,) of the present code from some weights on."""
    run = train(
        experiment.model,
        source,
        weights,
        learning_rate=experiment.learning_rate,
        frozen=experiment.frozen or (),
        steps=steps,
        record=[],
        compiled=False,
    )
    return run.loss


def main(arguments: Sequence[str] | None = None) -> int:
    """Re-key a folder and say what became of each run; 1 if one had to stay as it is."""
    description = (
        "Rename stored runs of an older format that the present code reproduces."
    )
    parser = argparse.ArgumentParser("attndyn.simulate.rekey", description=description)
    parser.add_argument("folder", type=Path, help="a folder of runs, or of a sweep")
    folder = parser.parse_args(arguments).folder

    is_sweep = (folder / MANIFEST).exists()
    outcomes = rekey_sweep(folder) if is_sweep else rekey_runs(folder)
    for outcome in outcomes:
        if outcome.refusal:
            print(f"{outcome.name} stays as it is: {outcome.refusal}")
        elif outcome.now != outcome.name:
            print(f"{outcome.name} -> {outcome.now}")
    refused = sum(bool(outcome.refusal) for outcome in outcomes)
    print(f"{len(outcomes)} runs, {len(outcomes) - refused} of them up to date")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
