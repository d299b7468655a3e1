"""attndyn overlay: theory over a log or a saved run, plateaus as a table and as JSON."""

import json

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.cli import main
from attndyn.compare import overlay
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import (
    Adam,
    GradientDescent,
    external_run,
    flow,
    initial_weights,
    load,
    sample,
    statistics,
    symmetric_weights,
    train,
)
from attndyn.teachers import Gaussian
from attndyn.theory import fixed_points, time_course
from attndyn.theory.softmax_attention import exact_loss, reduced_flow

TASK = Task([2, 1], context_length=31)
MODEL = Separate(2)
SCALE = 0.05
RATE = 0.02
DECAY = 0.02
SUBSETS = [[], [1], [1, 2]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The task, a run from aligned heads as npz, and its losses with a half as CSV."""
    folder = tmp_path_factory.mktemp("overlay")
    (folder / "t.toml").write_text(TASK.to_toml())
    start = initial_weights(MODEL, TASK, SCALE, scheme="aligned")
    data = population_statistics(TASK, MODEL)
    run = train(MODEL, data, start, learning_rate=RATE, steps=3_000, record=20)
    run.save(folder / "run.npz")
    rows = [
        f"{s},{float(loss / 2)!r},7"
        for s, loss in zip(run.steps[::20], run.loss[::20], strict=True)
    ]
    (folder / "log.csv").write_text("\n".join(["step,loss,val_loss", *rows]) + "\n")
    stored = {
        f"{s}/{n}": v[k]
        for k, s in enumerate(run.weight_steps)
        for n, v in run.weights.items()
    }
    np.savez(folder / "weights.npz", **stored)
    flow(MODEL, data, start, np.linspace(0, 120, 200)).save(folder / "flow.npz")
    decayed = GradientDescent(RATE, weight_decay=DECAY)
    train(MODEL, data, start, optimizer=decayed, steps=3_000, record=20).save(
        folder / "decayed.npz"
    )
    train(MODEL, data, start, learning_rate=RATE, frozen=("value",), steps=9).save(
        folder / "frozen.npz"
    )
    (folder / "flat.csv").write_text(
        "step,loss\n" + "".join(f"{s},2.9\n" for s in range(50))
    )
    return folder


def call(folder, file, *options):
    task = str(folder / "t.toml")
    return main(
        ["overlay", str(folder / file), "--task", task, "--heads", "2", *options]
    )


LOG = ("--learning-rate", "2/50", "--loss-scale", "1/2")


def test_a_log_gives_its_plateaus_as_json_and_nothing_else(folder, capsys):
    assert call(folder, "log.csv", *LOG, "--json") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    result = json.loads(printed.out)
    assert [row["subset"] for row in result["plateaus"]] == SUBSETS
    assert result["fitted"] is True
    assert result["scale"] == pytest.approx(SCALE, rel=0.02)
    assert 0 < result["l2_gap"] < 0.05 < result["sup_gap"] < 0.5
    levels = [
        point.loss
        for point in reversed(fixed_points(TASK, MODEL))
        if list(point.subset) in SUBSETS
    ]
    np.testing.assert_allclose(
        [row["loss"] for row in result["plateaus"]], levels, atol=3e-3
    )
    assert [row["map_gap"] for row in result["plateaus"]] == [None] * 3
    assert result["note"] == ""
    # Flow time is 2·½·η·step with the rate η of the half.
    for row in result["plateaus"]:
        assert row["flow_time"] == pytest.approx(2 * RATE * row["step"])


def test_a_given_scale_is_not_fitted(folder, capsys):
    assert call(folder, "log.csv", *LOG, "--scale", "0.04", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["scale"], result["fitted"]) == (0.04, False)
    assert result["sup_gap"] > 1  # control: another scale drops elsewhere


def test_a_saved_run_has_maps(folder, capsys):
    assert call(folder, "run.npz", "--x", "steps", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["plateaus"]
    assert [row["subset"] for row in rows] == SUBSETS
    assert all(row["map_gap"] < 0.01 for row in rows)
    assert (
        call(
            folder, "log.csv", *LOG, "--weights", str(folder / "weights.npz"), "--json"
        )
        == 0
    )
    rows = json.loads(capsys.readouterr().out)["plateaus"]
    assert all(row["map_gap"] < 0.02 for row in rows)
    assert call(folder, "flow.npz", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["plateaus"]
    assert [(row["subset"], row["step"]) for row in rows] == [
        (s, None) for s in SUBSETS
    ]


def test_a_run_with_weight_decay_is_compared_with_the_theory_of_its_decay(
    folder, capsys
):
    assert call(folder, "decayed.npz", "--scale", str(SCALE), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    levels = [point.loss for point in fixed_points(TASK, MODEL, weight_decay=DECAY)]
    assert result["plateaus"][-1]["loss"] == pytest.approx(min(levels), abs=1e-3)
    assert result["l2_gap"] < 0.05
    # The same losses as a log, of which only the options can say how it was trained.
    run = load(folder / "decayed.npz")
    rows = [f"{s},{float(loss)!r}" for s, loss in enumerate(run.loss)]
    (folder / "decayed.csv").write_text("\n".join(["step,loss", *rows]) + "\n")
    rate = ["--learning-rate", str(RATE), "--json"]
    gaps = []
    for options in ([], ["--weight-decay", str(DECAY)]):
        assert call(folder, "decayed.csv", *rate, *options) == 0
        gaps.append(json.loads(capsys.readouterr().out))
    without_decay, with_decay = gaps
    assert with_decay["fitted"]
    assert with_decay["scale"] == pytest.approx(SCALE, rel=0.02)
    assert with_decay["l2_gap"] < without_decay["l2_gap"] / 3


@pytest.mark.parametrize(
    ("ending", "magic"), [("pdf", b"%PDF"), ("PNG", b"\x89PNG"), ("svg", b"<?xml")]
)
def test_the_figure_is_written(folder, ending, magic, tmp_path, capsys):
    out = tmp_path / "new folder" / f"over.{ending}"
    assert call(folder, "log.csv", *LOG, "--x", "steps", "--out", str(out)) == 0
    assert out.read_bytes().startswith(magic)
    text = capsys.readouterr().out
    assert "fitted to the first drop of the log, no prediction" in text
    assert "over." in text
    assert "{1, 2}" in text
    assert call(folder, "log.csv", *LOG, "--scale", "0.05") == 0
    assert "fitted" not in capsys.readouterr().out


WRONG = {
    "pass --learning-rate, that of the logged run": ("log.csv", "--out", "over.png"),
    "without --learning-rate, --out and --scale": ("log.csv", "--scale", "0.05"),
    "leave --learning-rate out": ("run.npz", "--learning-rate", "0.1"),
    "leave --loss-scale out": ("run.npz", "--loss-scale", "0.5"),
    "leave --weight-decay out": ("run.npz", "--weight-decay", "0.1"),
    "keeps value as it is": ("frozen.npz", "--scale", "0.1"),
    "the run never drops to": ("flat.csv", "--learning-rate", "0.1"),
    "the run begins at loss 1.4": ("log.csv", "--learning-rate", "0.1"),
    "--out must end in .pdf, .png or .svg, not 'over.txt'": (
        "log.csv",
        *LOG,
        "--out",
        "over.txt",
    ),
    "--x must be one of steps, flow_time": ("log.csv", *LOG, "--x", "epochs"),
    "--scale must be positive": ("log.csv", *LOG, "--scale", "0"),
    "learning_rate must be positive": ("log.csv", "--learning-rate", "-1"),
    "no column called loss='mse'": ("log.csv", *LOG, "--loss", "mse"),
    "cannot read or write": ("absent.csv", *LOG),
    "not a whole trajectory file": ("weights.npz",),
    "has weights 'value'": (
        "log.csv",
        *LOG,
        "--heads",
        "3",
        "--weights",
        "weights.npz",
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_mistake_is_one_line(message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert call(folder, *WRONG[message], "--json") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("attndyn: ")
    assert message in line


def test_a_loss_of_another_convention_is_noticed(folder, capsys):
    assert call(folder, "log.csv", "--learning-rate", "0.04", "--scale", "0.05") == 0
    assert "note: losses are 0.5 times the levels" in capsys.readouterr().out


def test_without_a_rate_the_plateaus_alone_are_matched(folder, capsys):
    assert call(folder, "log.csv", "--loss-scale", "1/2", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["subset"] for row in result["plateaus"]] == SUBSETS
    assert {row["flow_time"] for row in result["plateaus"]} == {None}
    assert (result["scale"], result["sup_gap"], result["fitted"]) == (None, None, False)
    assert call(folder, "log.csv", "--loss-scale", "1/2") == 0
    text = capsys.readouterr().out
    assert "no learning rate, so no flow time and no curve: plateaus alone" in text


def test_a_saved_run_of_adam_has_its_plateaus_matched(folder, tmp_path, capsys):
    start = initial_weights(MODEL, TASK, SCALE, seed=1)
    data = population_statistics(TASK, MODEL)
    run = train(MODEL, data, start, optimizer=Adam(2e-3), steps=1_500)
    assert call(folder, str(run.save(tmp_path / "adam.npz")), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["plateaus"][-1]["subset"] == [1, 2]
    assert result["sup_gap"] is None


@pytest.fixture(scope="module")
def off_block(folder):
    """A log of a run all of whose entries were drawn, and its first weights alone."""
    start = initial_weights(MODEL, TASK, 0.1, scheme="gaussian", seed=0)
    data = population_statistics(TASK, MODEL, block="full")
    run = train(MODEL, data, start, learning_rate=RATE, steps=1_000)
    rows = [f"{s},{loss!r}" for s, loss in enumerate(run.loss.tolist())]
    (folder / "off.csv").write_text("\n".join(["step,loss", *rows]) + "\n")
    first = {f"0/{name}": value for name, value in start.items()}
    np.savez(folder / "off.npz", **first)
    later = {f"5/{name}": value for name, value in start.items()}
    np.savez(folder / "late.npz", **later)
    return start


def test_weights_of_step_0_are_where_the_curve_starts(folder, off_block, capsys):
    options = ("off.csv", "--learning-rate", "0.02", "--weights")
    assert call(folder, *options, str(folder / "off.npz"), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    curve = time_course(TASK, MODEL, 2 * RATE * np.arange(1_000), off_block)
    observed = external_run(folder / "off.csv", learning_rate=RATE)
    assert result["sup_gap"] == pytest.approx(overlay(curve, observed).sup_gap)
    assert (result["scale"], result["fitted"]) == (None, False)
    assert 0.1 < result["off_block"] < 0.6
    assert call(folder, *options, str(folder / "off.npz")) == 0
    text = capsys.readouterr().out
    assert "from the run's first weights" in text
    assert "off the restricted block, and not in the theory" in text
    # Control: weights of a later step are no start.
    assert call(folder, *options, str(folder / "late.npz"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["fitted"] is True


# Softmax heads, and curves of files

SOFTMAX_TASK = Task([1] * 5, teacher_covariance=np.eye(5) / 5, context_length=40)
SOFTMAX = ("--model", "merged", "--softmax", "--no-query-token")


def save_others(folder, heads, data):
    """A run of separate keys and queries, and curves of another task and of another metric."""
    times = 0.2 * np.arange(9)
    separate = Separate(2, rank=5, softmax=True, query_token=False)
    start = symmetric_weights(separate, SOFTMAX_TASK, *heads)
    train(separate, data, start, learning_rate=0.1, steps=3).save(
        folder / "separate.npz"
    )
    longer = Task.from_dict(SOFTMAX_TASK.to_dict() | {"context_length": 41})
    (folder / "longer.toml").write_text(longer.to_toml())
    reduced_flow(longer, *heads, times, loss="approximate").save(folder / "longer.npz")
    published = {"loss": "approximate", "metric": "euclidean"}
    reduced_flow(SOFTMAX_TASK, *heads, times, **published).save(
        folder / "euclidean.npz"
    )


@pytest.fixture(scope="module")
def softmax(tmp_path_factory):
    """A run of two softmax heads of the symmetric family, and of others, with curves to lay over them."""
    folder = tmp_path_factory.mktemp("softmax")
    (folder / "t.toml").write_text(SOFTMAX_TASK.to_toml())
    model = Merged(2, softmax=True, query_token=False)
    data = sample(SOFTMAX_TASK, 3000)
    key_query = np.multiply.outer([0.3, -0.32], np.diag([1, 1, 1, 1, 1, 0]))
    start = {"value": np.outer([0.3, -0.28], np.eye(6)[5]), "key_query": key_query}
    run = train(model, data, start, learning_rate=0.1, steps=9)
    run.save(folder / "run.npz")
    decayed = GradientDescent(0.1, weight_decay=0.1)
    train(model, data, start, optimizer=decayed, steps=3).save(folder / "decayed.npz")
    stretched = start | {"key_query": key_query * np.diag([1, 1, 1, 1, 1.1, 0])}
    train(model, data, stretched, learning_rate=0.1, steps=3).save(
        folder / "stretched.npz"
    )
    adam = train(model, data, start, optimizer=Adam(0.01), steps=3)
    adam.save(folder / "adam.npz")
    heads = ([0.3, -0.32], [0.3, -0.28])
    reduced_flow(SOFTMAX_TASK, *heads, run.flow_time, loss="approximate").save(
        folder / "flow.npz"
    )
    save_others(folder, heads, data)
    losses = "\n".join(f"{s},{loss!r}" for s, loss in enumerate(run.loss.tolist()))
    (folder / "log.csv").write_text(f"step,loss\n{losses}\n")
    np.savez(folder / "other.npz", x=[1.0])
    linear = Separate(2)
    begin = initial_weights(linear, SOFTMAX_TASK, 0.1)
    train(linear, statistics(data, linear), begin, learning_rate=0.1, steps=3).save(
        folder / "other_model.npz"
    )
    return folder


def lay(folder, file, *options):
    return main(["overlay", str(folder / file), *options])


def test_the_flow_of_softmax_heads_lies_over_their_run(softmax, capsys):
    task = ("--task", str(softmax / "t.toml"), "--heads", "2")
    assert lay(softmax, "run.npz", *task, *SOFTMAX, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["theory"] == "reduced flow, exact loss"
    assert (result["plateaus"], result["scale"], result["fitted"]) == ([], None, False)
    # What 3000 prompts and steps of 0.1 make of it.
    assert 0 < result["sup_gap"] < 0.05
    # The control: with the query's token among the keys the curve begins elsewhere.
    run = load(softmax / "run.npz")
    with_token = exact_loss(SOFTMAX_TASK, [0.3, -0.32], [0.3, -0.28], query_token=True)
    assert abs(run.loss[0] - float(with_token)) > result["sup_gap"]


def test_a_saved_run_states_its_task_and_model(softmax, capsys):
    """The command line may say the same, in other words, or nothing."""
    task = ("--task", str(softmax / "t.toml"), "--heads", "2", "--score-divisor", "1")
    shown = []
    for options in ((), (*task, *SOFTMAX)):
        assert lay(softmax, "run.npz", *options, "--json") == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert shown[0] == shown[1]
    assert shown[0]["theory"] == "reduced flow, exact loss"
    assert shown[0]["notes"] == []
    first, last = shown[0]["family_distance"]
    # What 3000 prompts make of it in nine steps.
    assert first == 0 < last < 0.1


def test_a_start_off_the_family_is_drawn_with_its_distance(softmax, tmp_path, capsys):
    out = tmp_path / "over.svg"
    options = ("--family-tolerance", "1", "--out", str(out))
    assert lay(softmax, "stretched.npz", *options) == 0
    shown = capsys.readouterr().out
    assert "off the symmetric family, and not in the theory: 0.039 →" in shown
    drawn = out.read_text()
    assert drawn.count('<g id="axes_') == 2
    assert lay(softmax, "run.npz", "--out", str(out)) == 0
    assert out.read_text().count('<g id="axes_') == 1


def test_a_curve_of_a_file_lies_over_a_run_without_a_task(softmax, tmp_path, capsys):
    curve = ("--curve", str(softmax / "flow.npz"))
    out = tmp_path / "over.png"
    assert lay(softmax, "run.npz", *curve, "--out", str(out)) == 0
    shown = capsys.readouterr().out
    assert "theory (reduced flow, approximate loss) of" in shown
    assert out.read_bytes().startswith(b"\x89PNG")
    assert lay(softmax, "run.npz", *curve, "--json") == 0
    of_run = json.loads(capsys.readouterr().out)
    assert lay(softmax, "log.csv", *curve, "--learning-rate", "0.1", "--json") == 0
    of_log = json.loads(capsys.readouterr().out)
    assert of_log["sup_gap"] == pytest.approx(of_run["sup_gap"], rel=1e-9)


def test_a_curve_of_a_file_has_plateaus_where_a_task_is_given(folder, capsys):
    flow = load(folder / "flow.npz")
    course = time_course(TASK, MODEL, flow.flow_time, SCALE)
    curve = course.save(folder / "course.npz")
    assert call(folder, "flow.npz", "--curve", str(curve), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["subset"] for row in result["plateaus"]] == SUBSETS
    assert result["scale"] is None
    assert result["sup_gap"] < 1e-6
    assert result["theory"] == course.source


WRONG_SOFTMAX = {
    "starts from the run's own weights: leave --scale out": (
        "run.npz",
        *SOFTMAX,
        "--scale",
        "0.1",
    ),
    "known without weight decay": ("decayed.npz", *SOFTMAX),
    "off the symmetric family by 0.0392 of 1": ("stretched.npz", *SOFTMAX),
    "known for merged key and query, not for Separate": (
        "separate.npz",
        "--softmax",
        "--no-query-token",
    ),
    "the command has model = merged and other_model.npz model = separate: leave": (
        "other_model.npz",
        *SOFTMAX,
    ),
    "the command has query_token = True and run.npz query_token = False: leave": (
        "run.npz",
        "--query-token",
    ),
    "the command has score_divisor = 2.0 and run.npz score_divisor = 1.0: leave": (
        "run.npz",
        "--score-divisor",
        "2",
    ),
    "the command has heads = 3 and run.npz heads = 2": ("run.npz", "--heads", "3"),
    "the command has context_length = 41 and run.npz context_length = 40": (
        "run.npz",
        "--task",
        "longer.toml",
    ),
    "the curve has context_length = 41 and the run context_length = 40": (
        "run.npz",
        "--curve",
        "longer.npz",
    ),
    "the curve has metric = 1 and the run metric = 0.2": (
        "run.npz",
        "--curve",
        "euclidean.npz",
    ),
    "--family-tolerance is for softmax heads and their own flow, not for a curve": (
        "run.npz",
        "--curve",
        "flow.npz",
        "--family-tolerance",
        "1",
    ),
    "family_tolerance must be": ("stretched.npz", "--family-tolerance", "-1"),
    "this run holds no weights": (
        "log.csv",
        *SOFTMAX,
        "--learning-rate",
        "0.1",
    ),
    "--curve holds the whole curve: leave --scale out": (
        "run.npz",
        "--curve",
        "flow.npz",
        "--scale",
        "1",
    ),
    "--curve holds the whole curve: leave --weight-decay out": (
        "run.npz",
        "--curve",
        "flow.npz",
        "--weight-decay",
        "0",
    ),
    "other.npz is no predicted curve": ("run.npz", "--curve", "other.npz"),
    "cannot read or write absent.npz": ("run.npz", "--curve", "absent.npz"),
    "--out must end in .pdf": ("run.npz", "--curve", "flow.npz", "--out", "flow.npz"),
    "Adam does not follow the gradient flow": ("adam.npz", *SOFTMAX),
}


@pytest.mark.parametrize("message", WRONG_SOFTMAX)
def test_a_mistake_with_softmax_heads_is_one_line(
    message, softmax, monkeypatch, capsys
):
    monkeypatch.chdir(softmax)
    file, *options = WRONG_SOFTMAX[message]
    if "--curve" not in options:
        for option, value in (("--task", "t.toml"), ("--heads", "2")):
            options += [] if option in options else [option, value]
    assert main(["overlay", file, *options, "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("attndyn: ")
    assert message in line


# The whole route on the command line

ROUTE_TASK = Task([1] * 3, teacher_covariance=np.eye(3) / 3, context_length=12)


def test_softmax_heads_are_trained_and_laid_over_on_the_command_line(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "white.toml").write_text(ROUTE_TASK.to_toml())
    heads = ("--omega", "0.3,-0.32", "--mu", "0.3,-0.28", "--score-divisor", "sqrt_key")
    training = ("--batch", "2000", "--learning-rate", "0.1", "--steps", "8")
    command = ["simulate", "--task", "white.toml", *SOFTMAX, *heads, *training]
    assert main([*command, "--out", "run.npz"]) == 0
    model = Merged(2, softmax=True, query_token=False, score_divisor="sqrt_key")
    start = symmetric_weights(model, ROUTE_TASK, [0.3, -0.32], [0.3, -0.28])
    run = load(tmp_path / "run.npz")
    for name, weight in start.items():
        np.testing.assert_array_equal(run.initial[name], weight)
    capsys.readouterr()
    assert main(["overlay", "run.npz", "--out", "over.png", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["theory"] == "reduced flow, exact loss"
    predicted = exact_loss(ROUTE_TASK, [0.3, -0.32], [0.3, -0.28])
    # Batches of 2000 prompts have losses within 3 % · 3 of the mean.
    assert abs(run.loss[0] / float(predicted) - 1) < 0.1
    assert result["sup_gap"] < 0.1
    assert (tmp_path / "over.png").read_bytes().startswith(b"\x89PNG")
    # The same weights from a file of a run are the same start.
    again = [part for part in command if part not in heads[:4]]
    again += ["--heads", "2", "--start", "run.npz", "--out", "again.npz"]
    assert main(again) == 0
    np.testing.assert_array_equal(load(tmp_path / "again.npz").loss, run.loss)


def test_a_random_start_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "white.toml").write_text(ROUTE_TASK.to_toml())
    training = ("--batch", "50", "--learning-rate", "0.1", "--steps", "3")
    command = ["simulate", "--task", "white.toml", "--heads", "2", *SOFTMAX, *training]
    assert main([*command, "--scale", "0.3", "--out", "run.npz"]) == 0
    capsys.readouterr()
    assert main(["overlay", "run.npz"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "simulate --omega … --mu …" in line
    assert "--family-tolerance 1" in line
    assert main(["overlay", "run.npz", "--family-tolerance", "1", "--json"]) == 0
    first, _ = json.loads(capsys.readouterr().out)["family_distance"]
    assert 0.3 < first <= 1


def test_a_saved_run_starts_the_curve_from_its_first_weights(tmp_path, capsys):
    """Modes of several outputs with p and q of either sign, which no scale describes."""
    task = Task([2, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=20)
    model = Merged(heads=1, outputs=2)
    start = initial_weights(model, task, 0.05, 3, "restricted")
    moments = population_statistics(task, model)
    path = tmp_path / "run.npz"
    flow(model, moments, start, np.linspace(0, 20, 100)).save(path)
    arguments = ["overlay", str(path), "--json"]
    arguments += ["--eigenvalues", "2,1", "--context-length", "20"]
    arguments += ["--teachers", "{law = 'shared_basis', variances = [1, 1]}"]
    assert main([*arguments, "--model", "merged"]) == 0
    laid = json.loads(capsys.readouterr().out)
    assert not laid["fitted"]
    assert laid["sup_gap"] < 1e-6
