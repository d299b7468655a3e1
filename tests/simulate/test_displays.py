"""Results of simulations show themselves: on one screen, in a notebook, as a dictionary and in a file."""

import json

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.runtime.display import LINE_LENGTH, MAX_ROWS
from attndyn.simulate import (
    Experiment,
    Statistics,
    Sweep,
    Trajectory,
    flow,
    from_moments,
    initial_weights,
    load,
    prompts_from_tokens,
    sample,
    statistics,
    train,
)

LARGE = Task(1 / np.arange(1, 31), context_length="1..20", noise_variance=0.1)
MODEL = Separate(6)
DATA = sample(LARGE, 60, whiten=True)
STATISTICS = statistics(DATA, MODEL, "restricted")
START = initial_weights(MODEL, LARGE, 0.1)
RUN = train(MODEL, STATISTICS, START, learning_rate=0.01, steps=600)
EXACT = from_moments(1.0, np.eye(3), np.eye(3), np.eye(3), Merged(1), (5,))
SWEEP = Sweep(
    {"context_length": 9},
    {"model": "merged"},
    {"sequences": 50, "scale": 0.1, "learning_rate": 0.01, "steps": 10},
    {
        "seed": list(range(200)),
        "eigenvalues": [[1.0] * d for d in range(1, 40)],
        "heads": [1, 2],
    },
)
RESULTS = {
    "task": LARGE,
    "model": MODEL,
    "prompts": DATA,
    "recorded prompts": prompts_from_tokens(np.ones((9, 6, 3))),
    "statistics": STATISTICS,
    "exact statistics": EXACT,
    "run": RUN,
    "flow": flow(MODEL, STATISTICS, START, np.linspace(0, 1, 50)),
    "experiment": Experiment(LARGE, MODEL, 50, 0.1, 0.01, 10),
    "sweep": SWEEP,
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_fits_a_screen_and_a_cell_of_a_notebook(name):
    lines = repr(RESULTS[name]).splitlines()
    assert len(lines) <= MAX_ROWS + 1
    assert sum(map(len, lines)) <= 24 * LINE_LENGTH
    html = RESULTS[name]._repr_html_()
    assert "<table>" in html
    assert html.count("<svg") == (RESULTS[name].__class__ is Trajectory)
    assert len(html) < 7000


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_a_dictionary_of_what_json_has(name):
    contents = RESULTS[name].to_dict()
    assert json.loads(json.dumps(contents)) == contents


def test_a_run_says_what_became_of_its_loss():
    assert f"{RUN.loss[0]:.6g} → {RUN.loss[-1]:.6g}" in repr(RUN)
    assert "600" in repr(RUN)
    assert repr(RUN) != repr(RESULTS["flow"])


def test_large_settings_are_summarised_and_small_ones_can_be_read_back():
    large = Task(1 / np.arange(1, 101), context_length="1..20")
    assert (
        repr(large) == "<Task eigenvalues=(100,) from 0.01 to 1, context_length=1..20>"
    )
    small = Task([2, 1], context_length=5)
    assert eval(repr(small), {"Task": Task}) == small


def test_weights_are_found_by_their_step():
    assert all(np.array_equal(RUN.initial[name], START[name]) for name in START)
    assert all(np.array_equal(RUN.final[n], RUN.weights_at(600)[n]) for n in START)
    middle = RUN.weights_at(RUN.weight_time[7])
    assert all(np.array_equal(middle[n], RUN.weights[n][7]) for n in START)
    assert all(np.array_equal(middle[n], RUN.stored_weights(7)[n]) for n in START)
    short = train(MODEL, STATISTICS, START, learning_rate=0.01, steps=9, record=[4])
    with pytest.raises(ValueError, match="stored at step 7: the nearest are at 9"):
        short.weights_at(7)


def test_a_curve_has_the_label_that_it_is_given():
    axes = RUN.plot(label="a run")
    assert [line.get_label() for line in axes.get_lines()] == ["a run"]


@pytest.mark.parametrize("name", ["statistics", "exact statistics"])
def test_statistics_come_back_from_their_file(tmp_path, name):
    path = RESULTS[name].save(tmp_path / "statistics.npz")
    again = Statistics.load(path)
    assert again.digest == RESULTS[name].digest
    assert again.to_dict() == RESULTS[name].to_dict()
    whole = path.read_bytes()
    for length in (0, 100, -1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not a whole file of statistics"):
            Statistics.load(path)


def test_files_of_runs_and_of_statistics_are_told_apart(tmp_path):
    run, stats = RUN.save(tmp_path / "run.npz"), EXACT.save(tmp_path / "stats.npz")
    assert isinstance(load(run), Trajectory)
    with pytest.raises(ValueError, match="is not a whole file of statistics"):
        Statistics.load(run)
    with pytest.raises(ValueError, match="is not a whole trajectory file"):
        load(stats)
