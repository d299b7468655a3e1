"""What a claim is checked with: experiments that are made once, and runs that are read when they are asked for."""

from dataclasses import replace

import pytest

from attndyn import Merged, Task
from attndyn.compare.evidence import claim as claim_module
from attndyn.compare.evidence.checking import check_claim
from attndyn.compare.evidence.claim import Claim, RunContext
from attndyn.compare.evidence.evidence import Evidence
from attndyn.simulate import Experiment

TASK = Task([2, 1], context_length=5)
RUN = Experiment(TASK, Merged(2), 50, 0.1, learning_rate=0.01, steps=10)
RUNS = (RUN, RUN.with_seed(1), RUN.with_seed(2))


def test_runs_are_read_one_by_one_and_in_order(tmp_path, monkeypatch):
    read = []
    load_or_run = claim_module.load_or_run

    def record(experiment, folder):
        read.append(experiment.seed)
        return load_or_run(experiment, folder)

    monkeypatch.setattr(claim_module, "load_or_run", record)
    trajectories = RunContext(tmp_path, experiments=RUNS).trajectories
    assert len(trajectories) == 3
    assert read == []
    assert trajectories[-1].settings["seed"] == 2
    assert [run.settings["seed"] for run in trajectories[1:]] == [1, 2]
    assert read == [2, 1, 2]
    with pytest.raises(IndexError):
        trajectories[3]


def made_up(experiments, **fields):
    """A claim whose prediction, measurement and budget say which experiments they were handed."""
    handed = []

    def measure(context):
        handed.append(("measure", context.experiments))
        return 1.0

    def predict(context, control):
        handed.append(("predict", context.experiments))
        return 2.0 if control else 1.0

    def budget(context):
        handed.append(("budget", context.experiments))
        return {}

    functions = {"measure": measure, "predict": predict, "budget": budget}
    judge = lambda predicted, observed: Evidence(predicted == observed, "", "")
    defaults = {"judge": judge, "controls": ("two",), "experiments": experiments}
    claim = Claim("made.up", "", "", "", "", **functions | defaults | fields)
    return claim, handed


def test_experiments_are_made_once_and_handed_to_measurement_prediction_and_budget(
    tmp_path,
):
    made = []

    def experiments(context):
        made.append(context.seed)
        return RUNS

    claim, handed = made_up(experiments)
    assert check_claim(claim, RunContext(tmp_path, 3)).holds
    assert made == [3]
    assert [name for name, _ in handed] == ["measure", "predict", "predict", "budget"]
    assert all(runs is RUNS for _, runs in handed)

    # A ledger makes them itself, so that it can simulate them before the claim is checked.
    assert check_claim(claim, claim.context_of(RunContext(tmp_path, 4))).holds
    assert made == [3, 4]


def test_a_claim_that_is_repeated_gets_more_experiments(tmp_path):
    def experiments(context):
        return tuple(RUN.with_seed(seed) for seed in context.seeds(2))

    def judge(predicted, observed):
        return Evidence(predicted == 1, "", "", undecided=len(handed) < 4)

    claim, handed = made_up(experiments)
    check_claim(replace(claim, judge=judge), RunContext(tmp_path))
    assert [len(runs) for name, runs in handed if name == "measure"] == [2, 4]
