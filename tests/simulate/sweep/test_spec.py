"""Sweeps as data: what varies, in which order, and what is refused before anything runs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Separate, Task
from attndyn.simulate import (
    Adam,
    Experiment,
    GradientDescent,
    Schedule,
    Sweep,
    run_sweep,
)
from attndyn.simulate.sweep.spec import SECTIONS

TEXT = """
[task]
eigenvalues = [2, 1]
trace = 1.0

[model]
model = "separate"

[run]
sequences = 40
learning_rate = 0.05
steps = 12

[grid]
context_length = [5, 7]
scale = [0.3, 0.1]

[[together]]
heads = [2, 3, 4]
rank = [1, 2, 1]
"""
SWEEP = Sweep.from_toml(TEXT)
RUN = {"sequences": 40, "learning_rate": 0.05, "steps": 12, "scale": 0.3}
SMALL = Sweep(
    {"eigenvalues": [2, 1], "trace": 1.0, "context_length": 5},
    {"model": "merged", "heads": 2},
    RUN,
    {"seed": [0, 1, 2]},
)


def changed(**sections):
    return Sweep.from_dict(SMALL.to_dict() | sections)


# The sweep


def test_every_combination_in_the_order_of_the_file():
    assert SWEEP.shape == (2, 2, 3)
    assert list(SWEEP.axes) == ["context_length", "scale", "heads"]
    found = [
        (e.task.context_length, e.scale, e.model.head_count, e.model.rank)
        for e in SWEEP.experiments()
    ]
    groups = [(2, 1), (3, 2), (4, 1)]
    assert found == [
        (n, scale, *pair) for n in (5, 7) for scale in (0.3, 0.1) for pair in groups
    ]
    assert SWEEP.experiments()[0] == Experiment(
        Task([2, 1], trace=1.0, context_length=5), Separate(2), 40, 0.3, 0.05, 12
    )


def test_no_two_fields_share_a_name():
    names = [name for section in SECTIONS.values() for name in section]
    assert len(names) == len(set(names))
    assert set(SECTIONS["run"]) == set(Experiment.__dataclass_fields__) - {
        "task",
        "model",
        "initial",
    }


VALUES = {
    "eigenvalues": [[2, 1], [1, 1]],
    "covariance": [[[2, 1], [1, 2]], [[2, 0], [0, 1]]],
    "teacher_covariance": [[[2, 1], [1, 2]]],
    "fixed_teacher": [[1, 1], [1, -1]],
    "in_context_fraction": [0.5, 1.0],
    "noise_variance": [0, 0.5, "1/3"],
    "query_noise_variance": [0, 0.5],
    "input_mean": [[0, 1], [1, 0]],
    "inputs": ["gaussian", "uniform"],
    "teachers": [
        {"law": "sphere", "dimension": 2},
        {"law": "pool", "teachers": [[1, -1], [1, 1]]},
    ],
    "context_length": [5, "1..5"],
    "trace": [1, 2.0, "2/3"],
    "model": ["merged", "separate"],
    "heads": [1, 2],
    "outputs": [1],
    "query_token": [True, False],
    "rank": [1, 2],
    "value_rank": [1, 2],
    "softmax": [False, True],
    "divisor": ["context", "tokens", "none"],
    "score_divisor": [1, 2.0, "sqrt(3)"],
    "sequences": [30, 40],
    "scale": [0.1, 0.2],
    "learning_rate": [0.01, 0.02],
    "steps": [10, 20],
    "seed": [0, 1],
    "scheme": ["zhang2025", "gaussian"],
    "whiten": [True, False],
    "centre": [True, False],
    "engine": ["tokens", "statistics"],
    "record": [1, 5],
    "optimizer": [
        {"name": "adam"},
        {"name": "adam", "weight_decay": 0.1},
        {"name": "gradient_descent", "learning_rate": 0.1, "momentum": 0.9},
    ],
    "batch": [5, 10],
    "frozen": [["value"], ["key"]],
}


@pytest.mark.parametrize("name", VALUES)
def test_any_field_may_vary(name):
    base = {
        "task": {"eigenvalues": [2, 1], "context_length": 5},
        "model": {"model": "separate", "heads": 2},
        "run": RUN,
    }
    if name in ("fixed_teacher", "in_context_fraction"):
        base["task"] |= {"fixed_teacher": [1, 0], "in_context_fraction": 0.5}
    if name == "covariance":
        del base["task"]["eigenvalues"]
    base = {
        section: {key: v for key, v in held.items() if key != name}
        for section, held in base.items()
    }
    if name == "value_rank":
        base["model"]["model"] = "factorised"
        base["run"]["scheme"] = "gaussian"
    if name == "optimizer":
        del base["run"]["learning_rate"]
    runs = Sweep(**base, grid={name: VALUES[name]}).experiments()
    assert len({each.digest for each in runs}) == len(VALUES[name])


def test_the_table_of_fields_is_whole():
    assert set(VALUES) == {name for section in SECTIONS.values() for name in section}


def test_softmax_trains_on_tokens_unless_told_otherwise():
    soft = changed(grid={"softmax": [False, True]})
    assert [each.engine for each in soft.experiments()] == ["statistics", "tokens"]
    with pytest.raises(
        ValueError, match=r"^softmax = True: softmax attention has no finite statistics"
    ):
        changed(
            grid={"softmax": [False, True]}, run=RUN | {"engine": "statistics"}
        ).experiments()


@settings(max_examples=20, deadline=None)
@forall(
    scales=st.lists(st.floats(1e-6, 10), min_size=1, max_size=3, unique=True),
    seeds=st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True),
    lengths=st.lists(st.integers(1, 50), min_size=2, max_size=2, unique=True),
)
def test_a_sweep_goes_through_files_and_equal_ones_have_one_digest(
    scales, seeds, lengths
):
    run = {name: value for name, value in RUN.items() if name != "scale"}
    groups = [{"context_length": lengths, "noise_variance": [0, 1]}]
    each = Sweep(
        {"eigenvalues": [2, 1]},
        SMALL.model,
        run,
        {"scale": scales, "seed": seeds},
        groups,
    )
    for again in (
        Sweep.from_toml(each.to_toml()),
        Sweep.from_json(each.to_json()),
        Sweep.from_dict(each.to_dict()),
    ):
        assert (again, again.digest, again.shape) == (each, each.digest, each.shape)
        assert again.experiments() == each.experiments()
    other = Sweep(
        {"eigenvalues": [2, 1]},
        SMALL.model,
        run,
        {"seed": np.array(seeds), "scale": scales[::-1]},
        groups,
    )
    assert other.digest == each.digest  # the same runs in another order
    assert replace(each, run=run | {"steps": 13}).digest != each.digest


def test_a_sweep_does_not_change_with_what_it_was_made_of():
    run, seeds = dict(RUN), [0, 1]
    sweep = Sweep(SMALL.task, SMALL.model, run, {"seed": seeds})
    run["steps"], _ = 99, seeds.append(2)
    assert [each.steps for each in sweep.experiments()] == [12, 12]


MISTAKES = {
    "unknown field": (
        {"grid": {"sed": [0]}},
        "a sweep has no field sed: allowed are batch, centre",
    ),
    "unknown in a section": (
        {"task": {"seed": 1}},
        r"\[task\] of a sweep has no field seed: allowed are context_length",
    ),
    "unknown section": (
        {"grids": {}},
        "Sweep has no field grids: allowed are grid, model, run, task, together",
    ),
    "dotted field": ({"grid": {"task": {"trace": [1]}}}, "a sweep has no field task"),
    "empty values": (
        {"grid": {"seed": []}},
        "seed must be a list of at least one value to vary it, an empty grid",
    ),
    "empty grid": (
        {"grid": {}},
        r"a sweep must vary something: give \[grid\] at least one field",
    ),
    "one value": (
        {"grid": {"seed": 3}},
        "seed must be a list of at least one value to vary it, not 3",
    ),
    "value twice": (
        {"grid": {"scale": [1, 0.5, 1.0]}, "run": {}},
        "scale holds a value twice: 1, 0.5, 1.0",
    ),
    "set twice": (
        {"grid": {"steps": [5, 6]}},
        "steps is set more than once in the sweep: keep one of them",
    ),
    "twice varied": ({"together": [{"seed": [5, 6]}]}, "seed is set more than once"),
    "together twice": (
        {"together": [{"trace": [1, 2, 1], "rank": [1, 2, 1.0]}]},
        "trace, rank holds a value twice: 1, 2, 1; 1, 2, 1.0",
    ),
    "unequal": (
        {"together": [{"trace": [1, 2], "rank": [1]}]},
        "must be equally many, not {'trace': 2, 'rank': 1}",
    ),
    "nothing together": ({"together": [{}]}, "must be equally many, not none"),
    "grid a list": ({"grid": [1]}, r"grid of a sweep must be a table: write \[grid\]"),
    "together a table": (
        {"together": {"seed": [1]}},
        r"must be a list of tables: write \[\[together\]\]",
    ),
    "no plain value": (
        {"grid": {"seed": [object()]}},
        "grid of a sweep must hold numbers, text and lists",
    ),
    "too many": (
        {"grid": {"seed": list(range(4000)), "scale": list(range(4000))}, "run": {}},
        "16000000 runs: split it",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_sweep_is_one_clear_line(name):
    sections, reason = MISTAKES[name]
    with pytest.raises(ValueError, match=reason):
        changed(**sections)


OUT_OF_RANGE = {
    "value": (
        {"grid": {"heads": [1, 2, 0]}, "model": {"model": "merged"}},
        "^heads = 0: heads must be a whole number",
    ),
    "combination": (
        {"grid": {"seed": [0, -1], "record": [1, 2]}},
        "^seed = -1, record = 1: seed must be a whole number of at least 0",
    ),
    "missing": (
        {"run": {"scale": 1}},
        r"^seed = 0: \[run\] needs the field sequences or batch, learning_rate or optimizer, steps",
    ),
    "rank of merged": ({"grid": {"rank": [1]}}, "^rank = 1: Merged has no field rank"),
    "no model": (
        {"model": {"heads": 2}},
        "model must be one of merged, separate, factorised, not None",
    ),
    "no heads": ({"model": {"model": "merged"}}, "Merged needs the field heads"),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_all_experiments_are_checked_before_anything_runs(name, tmp_path):
    sections, reason = OUT_OF_RANGE[name]
    with pytest.raises(ValueError, match=reason):
        run_sweep(changed(**sections), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# Optimizers and batches

COSINE = Schedule({0: 0.01, 12: 0.0}, "cosine")
TOML = """
[task]
eigenvalues = [2, 1]
context_length = 5
[model]
model = "merged"
heads = 2
[run]
scale = 0.3
steps = 12
batch = 8
optimizer = {name = "adam", learning_rate = {points = {0 = 0.01, 12 = 0.0}, kind = "cosine"}}
[grid]
seed = [0, 1]
"""


def test_a_file_names_optimizer_batch_and_schedule():
    sweep = Sweep.from_toml(TOML)
    for each in sweep.experiments():
        assert each.optimizer == Adam(COSINE)
        assert (each.batch, each.sequences, each.engine) == (8, None, "tokens")
    assert Sweep.from_json(sweep.to_json()) == sweep
    assert Sweep.from_toml(sweep.to_toml()).digest == sweep.digest


def test_optimizers_may_be_given_as_they_are():
    optimizers = [Adam(COSINE), GradientDescent(0.1, momentum=0.9)]
    run = {name: value for name, value in RUN.items() if name != "learning_rate"}
    sweep = changed(run=run, grid={"optimizer": optimizers})
    assert [each.optimizer for each in sweep.experiments()] == optimizers
    assert Sweep.from_json(sweep.to_json()).digest == sweep.digest


@pytest.mark.parametrize(
    "optimizer",
    [Adam(lambda step: 0.1), lambda gradients, weights, step: gradients],
)
def test_a_function_cannot_be_stored(optimizer):
    with pytest.raises(ValueError, match="a sweep stores its settings, and a function"):
        changed(grid={"optimizer": [optimizer]})


def test_a_rate_beside_an_optimizer_is_refused_at_its_point():
    with pytest.raises(ValueError, match="learning_rate and optimizer are both given"):
        changed(grid={"optimizer": [Adam()]}).experiments()
