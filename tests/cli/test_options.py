"""Options of tasks and models: each reaches the task or the model, and what does not fit is one line."""

import json
import re

import pytest

from attndyn import Factorised, Merged, Separate, Task
from attndyn.cli import main
from attndyn.cli.options import ModelOptions, TaskOptions, context_lengths
from attndyn.teachers import Gaussian, Mixture, Pool, Sphere
from attndyn.theory import fixed_points

TINY = {"eigenvalues": "2,1", "context_length": "5"}

TASKS = {
    "lengths from 0": ({"context_length": "0..5"}, {"context_length": "0..5"}),
    "lengths in a list": (
        {"context_length": "5,1e1"},
        {"context_length": [5, 10]},
    ),
    "weights of lengths": (
        {"context_length": "0:1,5:1/2"},
        {"context_length": {0: 1, 5: 0.5}},
    ),
    "law of x": ({"inputs": "uniform"}, {"inputs": "uniform"}),
    "mean of x": ({"input_mean": "1/2,0"}, {"input_mean": [0.5, 0]}),
    "noise of the query": (
        {"noise_variance": 0.25, "query_noise_variance": 0.0},
        {"noise_variance": 0.25, "query_noise_variance": 0},
    ),
    "singular covariance": ({"eigenvalues": "2,0"}, {"eigenvalues": [2, 0]}),
    "sphere": (
        {"teachers": "{law = 'sphere', dimension = 2}"},
        {"teachers": Sphere(2)},
    ),
    "singular teachers": (
        {"teachers": "{law = 'gaussian', covariance = [0.5, 0]}"},
        {"teachers": Gaussian([0.5, 0])},
    ),
    "pool": (
        {"teachers": "{law = 'pool', teachers = [[1, -1], [1, 1]], signs = true}"},
        {"teachers": Pool([[1, -1], [1, 1]], signs=True)},
    ),
    "drawn pool": (
        {
            "teachers": "{law = 'pool', of = {law = 'sphere', dimension = 2}, count = 4, seed = 1}"
        },
        {"teachers": Sphere(2).pool(4, seed=1)},
    ),
    "mixture": (
        {
            "teachers": "{law = 'mixture', parts = [{share = 0.9, law = {law = 'gaussian', covariance = [1, 1]}}, "
            "{share = 0.1, law = {law = 'pool', teachers = [[1, -1]]}}]}"
        },
        {"teachers": Mixture((0.9, Gaussian([1, 1])), (0.1, Pool([[1, -1]])))},
    ),
    "shared basis": (
        {"teachers": "{law = 'shared_basis', variances = [1, 0.5]}"},
        {"teachers": Gaussian.shared_basis([1, 0.5])},
    ),
    "turned basis": (
        {
            "teachers": "{law = 'shared_basis', variances = [1, 2], basis = [[0.6, 0.8], [-0.8, 0.6]]}"
        },
        {"teachers": Gaussian.shared_basis([1, 2], [[0.6, 0.8], [-0.8, 0.6]])},
    ),
    "supports": (
        {
            "teachers": "{law = 'on_supports', dimension = 2, supports = [[0], [0, 1]], variance = 0.3}"
        },
        {"teachers": Gaussian.on_supports(2, [[0], [0, 1]], 0.3)},
    ),
    "Kronecker": (
        {
            "teachers": "{law = 'kronecker', outputs = [[1, 0.5], [0.5, 1]], inputs = [[2, 0], [0, 1]]}"
        },
        {"teachers": Gaussian.kronecker([[1, 0.5], [0.5, 1]], [[2, 0], [0, 1]])},
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_option_of_a_task_arrives(name):
    options, arguments = TASKS[name]
    wanted = {"eigenvalues": [2, 1], "context_length": 5} | arguments
    assert TaskOptions(**TINY | options).task() == Task(**wanted)
    # Control: the options are not ignored.
    assert Task(**wanted) != TaskOptions(**TINY).task()


def test_a_task_file_may_be_json(tmp_path):
    task = Task([2, 1], context_length={0: 1, 5: 2}, teachers=Sphere(2))
    for name, text in {"t.json": task.to_json(), "t.toml": task.to_toml()}.items():
        (tmp_path / name).write_text(text)
        assert TaskOptions(file=tmp_path / name).task() == task
    (tmp_path / "wrong.json").write_text(task.to_toml())
    with pytest.raises(ValueError, match=r"wrong\.json holds no task"):
        TaskOptions(file=tmp_path / "wrong.json").task()


WRONG_TASKS = {
    "list": ({"context_length": "5,x"}, "whole numbers of at least 0, not 'x'"),
    "repeated": ({"context_length": "5,5"}, "lists a length twice"),
    "repeated weight": ({"context_length": "5:1,5:2"}, "states 5 twice"),
    "weight": ({"context_length": "5:x"}, "such as 0:1,5:1/2, not '5:x'"),
    "half a weight": ({"context_length": "5:1,6"}, "such as 0:1,5:1/2, not '6'"),
    "no weight": ({"context_length": "0:1,5:0"}, "must be a positive number"),
    "mean": ({"input_mean": "1,x"}, "--input-mean must be numbers"),
    "mean of another size": ({"input_mean": "1"}, "input_mean must have shape"),
    "inputs": ({"inputs": "cube"}, "inputs must be one of gaussian"),
    "no table": ({"teachers": "sphere"}, "--teachers must be a table of TOML"),
    "text": ({"teachers": "'sphere'"}, "--teachers must be a table of TOML"),
    "two tables": (
        {"teachers": "{law = 'sphere', dimension = 2}\nx = 1"},
        "--teachers must be a table of TOML",
    ),
    "law": ({"teachers": "{law = 'cube'}"}, "law must be one of"),
    "missing field": (
        {"teachers": "{law = 'kronecker', outputs = [[1]]}"},
        "the law kronecker needs the field inputs",
    ),
    "unknown field": (
        {"teachers": "{law = 'on_supports', dimension = 2, support = [[0]]}"},
        "the law on_supports has no field support",
    ),
    "two laws of noise": ({"query_noise_variance": -1.0}, "query_noise_variance"),
}


@pytest.mark.parametrize("name", WRONG_TASKS)
def test_what_is_no_task_says_so(name):
    options, message = WRONG_TASKS[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        TaskOptions(**TINY | options).task()


def test_lengths_are_read_as_people_write_them():
    assert context_lengths("1e1") == "10"
    assert context_lengths("0..1e1") == "0..10"
    assert context_lengths(" 5, 6") == [5, 6]


PLAIN = Task([2, 1], context_length=5)
TWO = Task([2, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=5)

MODELS = {
    "left out": ({}, PLAIN, Separate(2)),
    "merged": ({"kind": "merged", "heads": 3, "rank": 1}, PLAIN, Merged(3)),
    "outputs of the task": ({"kind": "merged"}, TWO, Merged(1, outputs=2)),
    "heads of outputs": ({"kind": "merged", "heads": 2}, TWO, Merged(2, outputs=2)),
    "separate outputs": ({}, TWO, Separate(2, outputs=2)),
    "softmax": (
        {"softmax": True, "divisor": "5/2", "query_token": False},
        PLAIN,
        Separate(2, softmax=True, divisor=2.5, query_token=False),
    ),
    "factorised": (
        {"kind": "factorised", "rank": 3, "value_rank": 2, "outputs": 2},
        TWO,
        Factorised(2, 3, 2, outputs=2),
    ),
    "factorised, left out": (
        {"kind": "factorised", "heads": 1, "score_divisor": "sqrt_key"},
        PLAIN,
        Factorised(1, score_divisor="sqrt_key"),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_option_of_a_model_arrives(name):
    options, task, model = MODELS[name]
    assert ModelOptions(**options).model(task) == model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "merged", "rank": 2}, "merged attention has no rank"),
        ({"value_rank": 2}, "--value-rank is for --model factorised"),
        ({"outputs": 0}, "outputs must be a whole number of at least 1"),
    ],
)
def test_what_is_no_model_says_so(options, message):
    with pytest.raises(ValueError, match=message):
        ModelOptions(**options).model(PLAIN)


REFUSED = {
    "softmax": (["--softmax"], "softmax"),
    "factorised": (["--model", "factorised"], "Merged and Separate"),
    "outputs": (["--outputs", "2"], "outputs"),
    "pool": (
        ["--teachers", "{law = 'pool', teachers = [[1, 0]]}"],
        "the law of these teachers has odd moments",
    ),
    "several labels": (
        ["--teachers", "{law = 'shared_basis', variances = [1, 1]}"],
        "merged linear attention",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "command", [["fixed-points"], ["time-course", "--start", "0.1", "--until", "9"]]
)
def test_theory_refuses_in_one_line_what_it_does_not_cover(name, command, capsys):
    options, message = REFUSED[name]
    tiny = ["--eigenvalues", "2,1", "--context-length", "5"]
    assert main([*command, *tiny, *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_theory_honours_the_query_token_and_the_lengths(capsys):
    tiny = ["fixed-points", "--eigenvalues", "2,1", "--context-length", "0:1,5:3"]
    found = []
    for options in ([], ["--no-query-token"]):
        assert main([*tiny, *options, "--divisor", "tokens", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)[0]["coefficients"])
    task = Task([2, 1], context_length={0: 1, 5: 3})
    for reads, coefficients in zip((True, False), found, strict=True):
        model = Separate(2, divisor="tokens", query_token=reads)
        assert coefficients == fixed_points(task, model)[0].coefficients.tolist()
    assert found[0] != found[1]
