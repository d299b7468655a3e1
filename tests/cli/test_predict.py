"""attndyn predict softmax: losses, optimum and flow of heads as text, JSON and files, and its mistakes."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from attndyn import Task
from attndyn.cli import main
from attndyn.compare.loss_curves import load_curve
from attndyn.compare.softmax_predictions import SoftmaxSetting, softmax_prediction
from attndyn.theory.softmax_attention import (
    approximate_loss,
    exact_loss,
    reduced_flow,
)

TASK = Task(
    [1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40
)
HEADS = ["--omega", "0.3,-1/5", "--mu", "1.2,-3/2"]
OMEGA, MU = [0.3, -0.2], [1.2, -1.5]
SMALL = ["--omega", "0.01,-0.02", "--mu", "0.01,-0.01", "--loss", "approximate"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("predict") / "task.toml"
    path.write_text(TASK.to_toml())
    return path


@pytest.fixture
def call(file, capsys):
    """Calls the command with the task; returns what it prints."""

    def run(*options):
        assert main(["predict", "softmax", "--task", str(file), *options]) == 0
        return capsys.readouterr().out

    return run


def test_losses_of_given_heads(call):
    found = json.loads(call(*HEADS, "--json"))
    exact = exact_loss(TASK, OMEGA, MU, gradient=True)
    assert found["exact"] == exact.to_dict()
    assert (
        found["approximate"]
        == approximate_loss(TASK, OMEGA, MU, gradient=True).to_dict()
    )
    assert (found["heads"], found["query_token"], found["loss"]) == (2, False, "exact")
    assert (found["omega"], found["mu"]) == (OMEGA, MU)
    assert found["flow"] is None
    text = call(*HEADS)
    assert "0.3062637359" in text
    assert "0.2799384544" in text
    assert "no key" in text


def test_with_the_query_token_the_loss_is_another(call):
    found = json.loads(call(*HEADS, "--query-token", "--json"))
    assert found["exact"]["loss"] == pytest.approx(0.344326764, rel=1e-7)
    assert found["approximate"] is None
    assert found["notes"] == ["the approximate loss holds without the query's token"]


@pytest.mark.parametrize(
    ("options", "metric"),
    [
        ([], 1 / 5),
        (["--score-divisor", "2"], 1 / 20),
        (["--score-divisor", "sqrt_key"], 1 / 30),
        (["--metric", "euclidean", "--score-divisor", "sqrt_key"], 1),
        (["--metric", "3/10"], 0.3),
    ],
)
def test_the_metric_of_a_flow(call, options, metric):
    found = json.loads(call(*SMALL, *options, "--flow-time", "0,10,3", "--json"))
    assert found["metric"] == pytest.approx(metric, rel=1e-12)
    flow = reduced_flow(
        TASK,
        [0.01, -0.02],
        [0.01, -0.01],
        [0, 10, 3],
        loss="approximate",
        metric=metric,
    )
    assert found["flow"]["metric"] == pytest.approx(metric, rel=1e-12)
    np.testing.assert_allclose(found["flow"]["loss"], flow.loss, rtol=1e-7)
    np.testing.assert_allclose(found["flow"]["omega"], flow.omega, rtol=1e-6)


def test_a_flow_is_a_table(call):
    text = call(*SMALL, "--until", "1e4", "--points", "5", "--log-times")
    rows = text.split("──\n")[1].splitlines()
    times = [float(row.split()[0]) for row in rows]
    np.testing.assert_allclose(times, [0, 1, 10000 ** (1 / 3), 10000 ** (2 / 3), 1e4], rtol=1e-5)  # fmt: skip
    assert "reduced flow, approximate loss" in text
    assert rows[-1].split()[1].startswith("0.2210")


def test_files_of_every_format_hold_the_flow(call, tmp_path):
    magic = {"pdf": b"%PDF", "PNG": b"\x89PNG", "svg": b"<?xml"}
    for ending in ("csv", "json", "npz", *magic):
        out = tmp_path / "new folder" / f"flow.{ending}"
        shown = call(*SMALL, "--until", "1e6", "--log-times", "--out", str(out))
        assert shown.endswith("flow." + ending + ": 401 times\n")
        assert out.read_bytes().startswith(magic.get(ending, b""))
    folder = tmp_path / "new folder"
    saved = load_curve(folder / "flow.npz")
    assert json.loads((folder / "flow.json").read_text()) == saved.to_dict()
    with open(folder / "flow.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert list(rows[0]) == ["flow_time", "loss", "omega_1", "omega_2", "mu_1", "mu_2"]
    assert [float(row["mu_2"]) for row in rows] == saved.mu[:, 1].tolist()
    assert float(rows[-1]["flow_time"]) == pytest.approx(1e6)


def test_the_optimum_of_two_heads(call):
    found = json.loads(call("--json"))
    assert found["optimum"]["loss"] == pytest.approx(0.2428241, abs=1e-7)
    assert found["infimum"] == pytest.approx(0.220879, abs=1e-6)
    assert found["same_sign"] == pytest.approx(0.372073, abs=1e-6)
    assert found["plain_step"] == pytest.approx(0.239785, abs=1e-6)
    assert found["debiased_step"] == pytest.approx(0.242857, abs=1e-6)
    assert found["growth"]["zero_sum"] == pytest.approx(0.2**0.5 * (1 - 1 / 40))
    assert (found["exact"], found["flow"], found["notes"]) == (None, None, [])


def test_the_optimum_of_one_head_and_of_none(call):
    one = json.loads(call("--heads", "1", "--loss", "approximate", "--json"))
    assert one["optimum"]["omega"] == [pytest.approx(5**-0.5)]
    assert one["growth"]["zero_sum"] is None
    two = json.loads(call("--loss", "approximate", "--json"))
    assert two["optimum"] is None
    (note,) = two["notes"]
    assert "has no minimum" in note


def test_notes_are_shown_whole(capsys):
    """Three heads have no optimum on one token: a sentence that is longer than a line."""
    given = ["--eigenvalues", "1,1", "--context-length", "1", "--heads", "3"]
    assert main(["predict", "softmax", *given]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "note: optimum: the best heads need contexts of at least 2 tokens" in shown
    assert "one token has all the weight whatever its score" in shown
    assert "…" not in shown


def test_another_covariance_has_an_exact_loss_alone(capsys):
    given = ["--eigenvalues", "2,1", "--context-length", "5"]
    assert main(["predict", "softmax", *given, *HEADS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    task = Task([2, 1], context_length=5)
    assert found["exact"]["loss"] == float(exact_loss(task, OMEGA, MU))
    assert found["approximate"] is None
    assert any(note.startswith("growth: ") for note in found["notes"])
    note = found["notes"][-1]
    assert note.startswith("the approximate loss of softmax heads is known for white")


def test_the_prediction_shows_itself_on_one_screen():
    prediction = softmax_prediction(
        TASK,
        2,
        SoftmaxSetting("approximate"),
        omega=[0.01, -0.02],
        mu=[0.01, -0.01],
        flow_time=[0, 50],
    )
    lines = repr(prediction).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert "loss along the flow" in repr(prediction)


TINY = ["--eigenvalues", "1,1", "--context-length", "5"]
TWO_LABELS = "{law='on_supports', dimension=2, supports=[[0], [1]]}"
FLOW = [*HEADS, "--until", "5"]
BAD = {
    "no task": ([], "pass --eigenvalues and --context-length, or --task FILE.toml"),
    "omega alone": (["T", "--omega", "1"], "omega and mu belong together"),
    "mu alone": (["T", "--mu", "1"], "omega and mu belong together"),
    "lengths": (["T", "--omega", "1", "--mu", "1,2"], "mu must have shape (1,), not (2,)"),
    "no number": (["T", "--omega", "a", "--mu", "1"], "--omega must be numbers separated by commas"),
    "empty": (["T", "--omega", "", "--mu", "1"], "not ''"),
    "gap": (["T", "--omega", "1,,2", "--mu", "1,2,3"], "not '1,,2'"),
    "nan": (["T", "--omega", "nan", "--mu", "1"], "omega must be finite"),
    "infinite": (["T", "--omega", "1", "--mu", "inf"], "mu must be finite"),
    "beyond doubles": (["T", "--omega", "1e400", "--mu", "1"], "omega must be finite"),
    "scores": (["T", "--omega", "30", "--mu", "1"], "exact losses are computed up to 20"),
    "values": (["T", "--omega", "1", "--mu", "1e200"], "|mu| may be at most 1e+100"),
    "other heads": (["T", *HEADS, "--heads", "3"], "omega must have shape (3,), not (2,)"),
    "no heads": (["T", "--heads", "0"], "0 is less than 1"),
    "negative heads": (["T", "--heads", "-1"], "-1 is less than 1"),
    "half a head": (["T", "--heads", "1.5"], "'1.5' is no whole number"),
    "heads in words": (["T", "--heads", "two"], "'two' is no whole number"),
    "loss": (["T", *HEADS, "--loss", "Exact"], "loss must be one of exact, approximate"),
    "approximate key": (["T", *HEADS, "--loss", "approximate", "--query-token"], "leave query_token out"),
    "metric": (["T", *HEADS, "--metric", "natural"], "--metric must be matrix, euclidean or a number"),
    "no metric": (["T", *HEADS, "--metric", "0"], "metric must be positive"),
    "negative metric": (["T", *HEADS, "--metric", "-1"], "metric must be positive"),
    "undefined metric": (["T", *HEADS, "--metric", "nan"], "metric must be positive"),
    "divisor": (["T", *HEADS, "--score-divisor", "0"], "score_divisor must be"),
    "root": (["T", *HEADS, "--score-divisor", "sqrt(-2)"], "score_divisor must be"),
    "time 0": (["T", *HEADS, "--until", "0"], "--until must be positive"),
    "time before": (["T", *HEADS, "--until", "-5"], "--until must be positive"),
    "no time": (["T", *HEADS, "--until", "nan"], "--until must be positive"),
    "no end": (["T", *HEADS, "--until", "1e400"], "--until must be positive and finite"),
    "no number of time": (["T", *HEADS, "--until", "soon"], "'soon' is no number"),
    "one point": (["T", *FLOW, "--points", "1"], "1 is less than 2"),
    "many points": (["T", *FLOW, "--points", "1e9"], "--points must be at most 100000"),
    "two kinds of times": (["T", *FLOW, "--flow-time", "1"], "one of the two"),
    "points alone": (["T", *HEADS, "--points", "5"], "one of the two"),
    "logarithm alone": (["T", *HEADS, "--log-times"], "one of the two"),
    "logarithm of 1": (["T", *HEADS, "--until", "1", "--log-times"], "--until must be above 1, not 1"),
    "logarithm of times": (["T", *HEADS, "--flow-time", "1", "--log-times"], "--log-times is for a curve up to"),
    "negative times": (["T", *HEADS, "--flow-time", "-1,2"], "flow_time must be finite and zero or more"),
    "times in words": (["T", *HEADS, "--flow-time", "a"], "--flow-time must be numbers"),
    "no start": (["T", "--until", "5"], "a flow needs a start: pass omega and mu"),
    "file without a flow": (["T", *HEADS, "--out", "x.csv"], "--out is for a flow"),
    "format": (["T", *FLOW, "--out", "x.txt"], "--out must end in .csv"),
    "existing file": (["T", *FLOW, "--out", "there.csv"], "there.csv is there already: pass --force"),
    "no folder": (["T", *FLOW, "--out", "there.csv/x.csv"], "cannot read or write there.csv"),
    "no file": (["--task", "absent.toml", *HEADS], "cannot read or write absent.toml"),
    "task twice": (["T", "--eigenvalues", "1", *HEADS], "leave the other options of the task out"),
    "length 0": (["--eigenvalues", "1", "--context-length", "0", *HEADS], "context_length must be N ≥ 1"),
    "law of x": ([*TINY, "--inputs", "sphere", *HEADS], "known for Gaussian x"),
    "mean of x": ([*TINY, "--input-mean", "1,0", *HEADS], "known for x of mean zero"),
    "flow of other x": (["--eigenvalues", "2,1", "--context-length", "5", *FLOW], "known for white inputs"),
    "key of other x": (["--eigenvalues", "2,1", "--context-length", "5", *HEADS, "--query-token"], "with query_token"),
    "large x": (["--eigenvalues", "1e200", "--context-length", "5", *HEADS], "measure them in other units"),
    "two labels": (
        [*TINY, "--teachers", TWO_LABELS, *HEADS],
        "known for one label",
    ),
    "unknown option": (["T", "--ranks", "2"], "No such option: --ranks"),
    "one word more": (["T", "more"], "unexpected extra argument"),
    "no value": (["T", "--omega"], "not '--json'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line(name, file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("there.csv").write_text("kept")
    arguments, message = BAD[name]
    if arguments[:1] == ["T"]:
        arguments = ["--task", str(file), *arguments[1:]]
    assert main(["predict", "softmax", *arguments, "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"attndyn: [^\n]+\n", printed.err), printed.err
    assert message in printed.err
    assert Path("there.csv").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]


def test_predict_alone_and_an_unknown_kind(capsys):
    assert main(["predict"]) == 2
    assert "softmax" in capsys.readouterr().out
    assert main(["predict", "linear"]) == 2
    assert re.fullmatch(r"attndyn: [^\n]+\n", capsys.readouterr().err)
