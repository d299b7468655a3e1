"""The code that a run depends on: a changed line of its engine is another code, a changed line beside it is not."""

import shutil
import sys
from pathlib import Path

import pytest

from attndyn import Merged, Separate, Task
from attndyn.runtime.code_digest import ROOT, source_digest, sources
from attndyn.simulate import Experiment
from attndyn.simulate.runs.engine_code import (
    NOT_OF_EXPERIMENTS,
    STARTING_MODULE,
    STORED_AND_SHOWN,
    UNUSED,
    code_digest,
    engine_files,
)
from attndyn.teachers import Gaussian, Mixture, Sphere

TASK = Task([2, 1], trace=1.0, context_length=5)
SETTINGS = {"sequences": 50, "scale": 0.3, "learning_rate": 0.05, "steps": 12}
BOTH = {"tokens", "statistics"}
CHANGED = {
    "simulate/descent/kernels.py": {"statistics"},
    "simulate/sufficient_statistics/quadratic_loss.py": {"statistics"},
    "simulate/sufficient_statistics/accumulation.py": {"statistics"},
    "simulate/attention/forward.py": {"tokens"},
    "simulate/attention/objectives.py": BOTH,
    "simulate/attention/initialisation.py": BOTH,
    "simulate/data/prompts.py": BOTH,
    "simulate/descent/steppers.py": BOTH,
    "simulate/descent/gradient_descent.py": BOTH,
    "simulate/runs/experiment.py": BOTH,
    "models/attention.py": BOTH,
    "task.py": BOTH,
    "inputs.py": BOTH,
    "context_lengths.py": BOTH,
    "teachers/gaussian.py": BOTH,
    "teachers/mixture.py": BOTH,
    "teachers/normal.py": BOTH,
    "teachers/pool.py": BOTH,
    "teachers/sphere.py": set(),
    "teachers/__init__.py": set(),
    "simulate/data/draws.py": BOTH,
    "simulate/data/batches.py": BOTH,
    "simulate/descent/optimizers.py": BOTH,
    "simulate/descent/schedules.py": BOTH,
    "runtime/nested.py": set(),
    "runtime/signals.py": set(),
    "simulate/linear_networks.py": set(),
    "simulate/trajectory.py": set(),
    "simulate/rekey.py": set(),
    "simulate/runs/store.py": set(),
    "simulate/runs/engine_code.py": set(),
    "simulate/sweep/dataset.py": set(),
    "simulate/sweep/runner.py": set(),
    "simulate/descent/gradient_flow.py": set(),
    "simulate/descent/batched_kernels.py": set(),
    "runtime/display.py": set(),
    "runtime/line_charts.py": set(),
    "runtime/progress.py": set(),
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of what simulates."""
    root = tmp_path_factory.mktemp("package")
    for folder in ("models", "runtime", "simulate", "teachers"):
        shutil.copytree(ROOT / folder, root / folder)
    for name in ("task.py", "inputs.py", "context_lengths.py", "__init__.py"):
        shutil.copy(ROOT / name, root / name)
    return root


def digests(root):
    return {engine: source_digest(engine_files(engine, root)) for engine in UNUSED}


def changed_engines(root, name, text):
    """The engines that are others once a text stands at the end of a file, which is then as before."""
    path, before = root / name, digests(root)
    whole = path.read_text(encoding="utf-8") if path.exists() else None
    path.write_text((whole or "") + text, encoding="utf-8")
    try:
        after = digests(root)
    finally:
        path.unlink() if whole is None else path.write_text(whole, encoding="utf-8")
    return {engine for engine in before if before[engine] != after[engine]}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_line_is_other_code_for_the_engines_that_run_it(package, name):
    assert changed_engines(package, name, "\nCHANGED = 1\n") == CHANGED[name]


def test_another_model_beside_the_built_in_ones_is_the_same_code(package):
    models = package / "models" / "__init__.py"
    models.write_text("from .linear_transformer import Transformer\n")
    assert changed_engines(package, "models/linear_transformer.py", "x = 1") == set()
    # Control: a file that the task needs to read its numbers.
    assert changed_engines(package, "runtime/decimals.py", "\nx = 1\n") == BOTH


def test_the_code_of_an_experiment_is_that_of_its_engine_and_its_objects(monkeypatch):
    of_engine = {
        engine: Experiment(TASK, Merged(2), engine=engine, **SETTINGS)
        for engine in UNUSED
    }
    codes = {engine: code_digest(run) for engine, run in of_engine.items()}
    assert codes == digests(ROOT)  # models and tasks of the package are known anyway
    assert len(set(codes.values())) == 2
    other = Experiment(TASK, Separate(3), **SETTINGS)
    assert code_digest(other) == codes["statistics"]


@pytest.mark.parametrize(
    "law",
    [
        Sphere(2),
        Mixture((0.5, Gaussian([1, 1])), (0.5, Sphere(2))),
        Sphere(2).pool(3).pool(2),
    ],
    ids=["alone", "in a mixture", "of a pool"],
)
def test_laws_within_the_law_of_teachers_are_code_of_the_run(law):
    task = Task([2, 1], teachers=law, context_length=5)
    run = Experiment(task, Merged(2), engine="tokens", **SETTINGS)
    files = engine_files("tokens")
    assert code_digest(run) != source_digest(files)
    assert code_digest(run) == source_digest(files | {ROOT / "teachers" / "sphere.py"})


def test_what_is_left_out_is_imported_by_the_engines():
    """A name that nothing imports any more would hide a file that takes its place."""
    names = {
        path.relative_to(ROOT).as_posix() for path in sources(ROOT / STARTING_MODULE)
    }
    for left_out in (STORED_AND_SHOWN, NOT_OF_EXPERIMENTS, *UNUSED.values()):
        assert left_out <= names


@pytest.mark.parametrize("engine", UNUSED)
@pytest.mark.parametrize("model", [Merged(2), Separate(2)], ids=["merged", "separate"])
def test_a_run_calls_nothing_that_its_code_leaves_out(engine, model):
    experiment = Experiment(TASK, model, engine=engine, **SETTINGS)
    called = set()

    def note(frame, event, argument):
        called.add(frame.f_code.co_filename)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        experiment.run()
    finally:
        sys.setprofile(before)
    ours = {Path(name) for name in called if name.startswith(f"{ROOT}/")}
    ours = {path for path in ours if not {"site-packages", "tests"} & {*path.parts}}
    assert ROOT / "simulate" / "descent" / "gradient_descent.py" in ours
    beside = {ROOT / name for name in STORED_AND_SHOWN | NOT_OF_EXPERIMENTS}
    assert ours - beside <= engine_files(engine)
