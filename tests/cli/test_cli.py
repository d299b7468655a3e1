"""The command line: every command does its work."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import attndyn
from attndyn import Factorised, Merged, Separate, Task
from attndyn.cli import main
from attndyn.cli.exit_status import ExitStatus
from attndyn.compare import reference_files
from attndyn.compare.claims.linear_attention.fixed_points import enumeration as section
from attndyn.compare.ledger.claim_names import claims_named
from attndyn.simulate import Adam, Experiment, GradientDescent, Schedule, load
from attndyn.teachers import Gaussian
from attndyn.theory import fixed_points

FILES = {path.stem: path for path in reference_files()}
SPECTRUM = ["--eigenvalues", "4,3,2,1", "--trace", "1", "--context-length", "31"]
TINY = ["--eigenvalues", "2,1", "--context-length", "5"]
SHORT = [
    *TINY,
    "--sequences",
    "50",
    "--learning-rate",
    "0.01",
    "--steps",
    "20",
    "--scale",
    "0.3",
]
LOSSES = [0.13599507, 0.20980460, 0.37737216, 0.64057971, 1.0]


def shell(*arguments):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "attndyn", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_version_and_the_citation(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"attndyn {attndyn.__version__}\n"
    assert main(["--cite"]) == 0
    cited = capsys.readouterr().out
    assert cited.startswith("cff-version:")
    structured, _, bibtex = cited.partition("@software{attndyn,")
    identifiers = re.findall(r"arXiv (\d+\.\d+)\.", structured)
    assert len(identifiers) == 5
    assert re.findall(r"eprint = \{(.*)\}", bibtex) == identifiers
    assert f"version = {{{attndyn.__version__}}}" in bibtex
    assert re.findall(r"year = \{(.*)\}", bibtex) == re.findall(
        r"^    year: (.*)$", structured, re.MULTILINE
    )
    authors = re.findall(r"author = \{(\w.*)\}", bibtex)
    assert [
        name for line in authors for name in re.findall(r"(\S+), ", line)
    ] == re.findall(r"family-names: (.*)", structured)
    titles = re.findall(r"^  title = \{(.*)\},$", bibtex, re.MULTILINE)[1:]
    plain = " ".join(structured.replace(">-", "").split())
    assert all(f"title: {title}" in plain for title in titles)
    assert (
        bibtex.count("{") - bibtex.count("}") == -1
    )  # whole entries: the first brace stands before


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(
        name in shown
        for name in ("verify", "figures", "fixed-points", "simulate", "replay")
    )


def test_no_arguments_show_the_help(capsys):
    assert main([]) == 2
    shown = "".join(capsys.readouterr())
    assert "Usage" in shown
    assert "fixed-points" in shown
    assert "attndyn: " not in shown


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["verify", "--help"], ["simulate", "--help"]],
)
def test_help_loads_nothing_heavy(arguments):
    heavy = [
        "numpy",
        "scipy",
        "sympy",
        "matplotlib",
        "attndyn.task",
        "attndyn.theory",
        "attndyn.simulate",
    ]
    code = (
        "import sys; from attndyn.cli import main; status = main(sys.argv[1:]);"
        f"print('loaded', *(name for name in {heavy!r} if name in sys.modules)); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("loaded\n")


def test_the_module_runs_and_gives_the_exit_status():
    assert shell("--version").stdout == f"attndyn {attndyn.__version__}\n"
    wrong = shell("fixed-points", "--eigenvalues", "1,-1", "--context-length", "5")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    refusal = "attndyn: eigenvalues must be zero or more: the smallest is -1\n"
    assert wrong.stderr == refusal
    assert shell("fixed-points", "--no-such-option").returncode == 2


# fixed-points


def test_fixed_points_as_json(capsys):
    assert main(["fixed-points", *SPECTRUM, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    task = Task([4, 3, 2, 1], trace=1.0, context_length=31)
    points = list(fixed_points(task, Separate(heads=4)))
    assert len(rows) == len(points) == 16
    for row, point in zip(rows, points, strict=True):
        assert list(row)[:6] == [
            "subset",
            "loss",
            "coefficients",
            "gains",
            "hessian_index",
            "kind",
        ]
        assert row["subset"] == list(point.subset)
        assert row["loss"] == point.loss
        assert row["coefficients"] == point.coefficients.tolist()
        assert row["gains"] == point.gains.tolist()
        assert (row["hessian_index"], row["kind"]) == (point.hessian_index, point.kind)
    assert [row["loss"] for row in rows] == sorted(row["loss"] for row in rows)
    greedy = [
        row["loss"]
        for row in rows
        if row["subset"] == list(range(1, len(row["subset"]) + 1))
    ]
    assert np.allclose(greedy, LOSSES, atol=5e-9)


def test_the_published_case_has_the_published_losses_only_with_its_own_settings(capsys):
    """Control: another context length, or Λ that is not rescaled, gives other losses."""
    for other in (["--context-length", "32"], ["--trace", "10"]):
        assert main(["fixed-points", *SPECTRUM, *other, "--json"]) == 0
        assert abs(json.loads(capsys.readouterr().out)[0]["loss"] - LOSSES[0]) > 1e-4


def test_fixed_points_as_a_table_and_as_latex(capsys):
    assert main(["fixed-points", *SPECTRUM]) == 0
    table = capsys.readouterr().out
    assert main(["fixed-points", *SPECTRUM, "--latex"]) == 0
    latex = capsys.readouterr().out
    for shown in (table, latex):
        assert all(f"{loss:.8f}" in shown for loss in LOSSES)
        assert shown.count("strict saddle") == 11
        assert shown.count("degenerate saddle") == 4
    assert latex.startswith(r"\begin{tabular}")
    assert latex.rstrip().endswith(r"\end{tabular}")
    assert latex.count(r"\\") == 17
    assert r"$\{1, 3\}$" in latex
    assert r"$\emptyset$" in latex
    assert "∅" in table


def test_the_model_of_fixed_points_is_the_one_asked_for(capsys):
    asked = {
        ("--model", "merged"): 2,
        ("--heads", "1"): 5,
        ("--heads", "1", "--rank", "2"): 11,
        ("--limit", "3"): 3,
    }
    for options, count in asked.items():
        assert main(["fixed-points", *SPECTRUM, *options, "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)) == count
    coefficients = []
    for divisor in ("context", "none"):
        assert main(["fixed-points", *SPECTRUM, "--divisor", divisor, "--json"]) == 0
        coefficients.append(json.loads(capsys.readouterr().out)[0]["coefficients"])
    assert np.allclose(coefficients[0], 31 * np.array(coefficients[1]))


def test_equal_eigenvalues_are_said_to_make_a_continuum(capsys):
    assert main(["fixed-points", "--eigenvalues", "1,1", "--context-length", "5"]) == 0
    assert "continuum" in capsys.readouterr().out
    assert main(["fixed-points", *TINY]) == 0
    assert "continuum" not in capsys.readouterr().out


def test_two_hundred_directions_are_listed_shortly(capsys):
    spectrum = ",".join(str(d) for d in range(200, 0, -1))
    assert (
        main(
            [
                "fixed-points",
                "--eigenvalues",
                spectrum,
                "--context-length",
                "31",
                "--limit",
                "4",
            ]
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "1–200" in shown
    assert "1–198, 200" in shown  # what is left out can be read
    assert "these are the 4 smallest losses: --limit shows more" in shown
    assert max(map(len, shown.split("\n"))) <= 200
    assert main(["fixed-points", *SPECTRUM]) == 0
    assert "--limit" not in capsys.readouterr().out


def test_a_pipe_that_closes_early_is_no_error():
    spectrum = ",".join(str(d) for d in range(12, 0, -1))
    listing = f"fixed-points --eigenvalues {spectrum} --context-length 5 --json"
    command = f"{shlex.quote(sys.executable)} -m attndyn {listing} | head -c 9"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=600
    )
    assert (done.stdout, done.stderr) == ('[{"subset', "")


GENERAL = """
covariance = [[2.0, 0.5], [0.5, 1.0]]
teacher_covariance = [[1.0, 0.0], [0.0, 3.0]]
noise_variance = 0.5
context_length = "1..4"
"""


def test_a_task_file_holds_a_general_task(capsys, tmp_path):
    (tmp_path / "task.toml").write_text(GENERAL)
    assert main(["fixed-points", "--task", str(tmp_path / "task.toml"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    task = Task.from_toml(GENERAL)
    assert [row["loss"] for row in rows] == [
        point.loss for point in fixed_points(task, Separate(2))
    ]
    assert all(row["coefficients"] is None for row in rows)  # Λ and Ω do not commute
    assert main(["fixed-points", "--task", str(tmp_path / "task.toml")]) == 0
    assert "–" in capsys.readouterr().out


POOL = """
eigenvalues = [1.0, 0.5]
inputs = "uniform"
input_mean = [0.5, 0.0]
noise_variance = 0.25
query_noise_variance = 0.0

[context_length]
0 = 1
5 = 0.5
8 = "1/3"

[teachers]
law = "pool"
of = {law = "gaussian", covariance = [1.0, 0.5]}
count = 8
seed = 1
"""


@pytest.mark.parametrize("source", [["--sequences", "60"], ["--batch", "16"]])
def test_a_task_file_holds_laws_of_inputs_and_of_teachers(tmp_path, source):
    file, out = tmp_path / "pool.toml", tmp_path / "run.npz"
    file.write_text(POOL)
    options = ["--model", "merged", "--heads", "2", "--learning-rate", "0.01"]
    arguments = ["--task", str(file), *options, *source, "--out", str(out)]
    assert main(["simulate", *arguments, "--steps", "4"]) == 0

    task = Task.from_toml(POOL)
    assert task == Task(
        [1, 0.5],
        inputs="uniform",
        input_mean=[0.5, 0],
        noise_variance=0.25,
        query_noise_variance=0,
        context_length={0: 1, 5: 0.5, 8: "1/3"},
        teachers=Gaussian([1, 0.5]).pool(8, seed=1),
    )
    number = int(source[1])
    kind = {"--sequences": {"sequences": number}, "--batch": {"batch": number}}
    wanted = Experiment(
        task,
        Merged(heads=2),
        **{"sequences": None} | kind[source[0]],
        scale=0.01,
        learning_rate=0.01,
        steps=4,
    ).run()
    np.testing.assert_array_equal(load(out).loss, wanted.loss)


# simulate


def test_simulate_saves_the_run_of_the_experiment(capsys, tmp_path):
    out = tmp_path / "new" / "run.npz"
    assert (
        main(
            [
                "simulate",
                *SHORT,
                "--out",
                str(out),
                "--heads",
                "3",
                "--rank",
                "2",
                "--seed",
                "4",
            ]
        )
        == 0
    )
    run = load(out)
    assert (
        capsys.readouterr().out
        == f"{out}: 20 steps, loss {run.loss[0]:.6g} → {run.loss[-1]:.6g}\n"
    )
    expected = Experiment(
        Task([2, 1], context_length=5), Separate(3, 2), 50, 0.3, 0.01, 20, seed=4
    ).run()
    assert np.array_equal(run.loss, expected.loss)
    assert np.array_equal(run.final["key"], expected.final["key"])
    assert run.settings["task"] == {"eigenvalues": [2.0, 1.0], "context_length": 5}
    assert run.settings["seed"] == 4


def test_every_option_of_simulate_arrives(tmp_path):
    out = tmp_path / "run.npz"
    options = [
        "--model",
        "merged",
        "--divisor",
        "none",
        "--whiten",
        "--centre",
        "--scheme",
        "restricted",
    ]
    options += [
        "--engine",
        "tokens",
        "--record",
        "7",
        "--noise-variance",
        "0.5",
        "--trace",
        "1",
        "--heads",
        "2",
    ]
    options += ["--scale", "0.1"]
    assert main(["simulate", *SHORT, *options, "--out", str(out)]) == 0
    task = Task([2, 1], trace=1.0, context_length=5, noise_variance=0.5)
    rule = {
        "scheme": "restricted",
        "whiten": True,
        "centre": True,
        "engine": "tokens",
        "record": 7,
    }
    experiment = Experiment(task, Merged(2, divisor="none"), 50, 0.1, 0.01, 20, **rule)
    run = load(out)
    assert {
        name: run.settings[name] for name in experiment.to_dict()
    } == experiment.to_dict()
    assert np.array_equal(run.loss, experiment.run().loss)
    assert run.weight_steps.tolist() == [0, 7, 14, 20]


FRESH = [
    "simulate",
    "--eigenvalues",
    "2,1",
    "--context-length",
    "5",
    "--model",
    "merged",
    "--heads",
    "2",
    "--scale",
    "0.3",
]


def test_options_of_the_optimizer_and_the_batches_arrive(tmp_path):
    out, task = tmp_path / "run.npz", Task([2, 1], context_length=5)
    cases = {
        "--optimizer adam --batch 8": {"optimizer": Adam(), "batch": 8},
        "--optimizer adam --learning-rate 0.01 --weight-decay 0.1 --sequences 40": {
            "optimizer": Adam(0.01, weight_decay=0.1),
            "sequences": 40,
        },
        "--learning-rate 0.001 --momentum 0.9 --clip-norm 0.5 --sequences 40 --batch 5": {
            "optimizer": GradientDescent(0.001, momentum=0.9, clip_norm=0.5),
            "sequences": 40,
            "batch": 5,
        },
        "--optimizer gradient_descent --learning-rate 0.001 --sequences 40": {
            "optimizer": GradientDescent(0.001),
            "sequences": 40,
        },
        "--optimizer adam --b1 0.8 --b2 0.9 --eps 1e-6 --batch 8 --frozen value": {
            "optimizer": Adam(b1=0.8, b2=0.9, eps=1e-6),
            "batch": 8,
            "frozen": ("value",),
        },
        "--learning-rate 0:0,5:1/500,20:0 --schedule cosine --batch 8 --momentum 9/10 --nesterov": {
            "optimizer": GradientDescent(
                Schedule({0: 0, 5: 0.002, 20: 0}, "cosine"), 0.9, nesterov=True
            ),
            "batch": 8,
        },
        "--learning-rate 0.01 --sequences 40 --frozen key_query": {
            "learning_rate": 0.01,
            "sequences": 40,
            "frozen": ("key_query",),
        },
    }
    for options, fields in cases.items():
        command = [*FRESH, *options.split(), "--steps", "20", "--out", str(out)]
        assert main([*command, "--force"]) == 0
        experiment = Experiment(task, Merged(2), scale=0.3, steps=20, **fields)
        run = load(out)
        assert np.array_equal(run.loss, experiment.run().loss)
        stated = experiment.to_dict()
        for name in ("optimizer", "frozen"):
            assert run.settings.get(name) == stated.get(name)
        for name in fields.get("frozen", ()):
            assert np.array_equal(run.final[name], run.initial[name])


@pytest.mark.parametrize(
    ("options", "message"),
    {
        "": "pass --learning-rate, which only --optimizer adam has itself",
        "--momentum 0.9": "pass --learning-rate, which only",
        "--optimizer lion --learning-rate 1": "--optimizer must be one of gradient_descent, adam, not 'lion'",
        "--optimizer adam --momentum 0.9": "the optimizer adam has no field momentum",
        "--learning-rate 0.1 --momentum 1": "momentum must be from 0 to below 1",
        "--learning-rate 0.1 --batch 9 --engine statistics": "choose engine",
        "--learning-rate 0.1 --batch 9 --sequences 8": "batch must be at most 8",
        "--learning-rate x": "'x' is no number: write a decimal, or a fraction",
        "--learning-rate 0:0.1,x:1": "--learning-rate must be pairs of a whole number",
        "--learning-rate 0:0.1,0:1": "a schedule names step 0 twice",
        "--learning-rate 0:-1": "the rate of step 0 must be zero or more",
        "--learning-rate 0.1 --schedule cosine": "--schedule is for a --learning-rate by step",
        "--learning-rate 0:0.1 --schedule square": "kind must be one of linear, cosine, constant",
        "--learning-rate 0.1 --nesterov": "nesterov needs a momentum above 0",
        "--learning-rate 0.1 --b1 0.5": "gradient_descent has no field b1",
        "--optimizer adam --frozen key": "frozen names 'key': the weights are value, key_query",
        "--optimizer adam --frozen value,key_query": "leaves no weight to train",
    }.items(),
)
def test_wrong_options_of_the_optimizer_are_one_line(
    capsys, tmp_path, options, message
):
    command = [*FRESH, *options.split(), "--steps", "5", "--out", str(tmp_path / "a")]
    assert main(command) == ExitStatus.NOT_DONE
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_more_steps_go_on_where_the_checkpoint_ended(capsys, tmp_path):
    out, checkpoint = tmp_path / "run.npz", tmp_path / "run.ckpt"
    command = [*FRESH, "--optimizer", "adam", "--batch", "8", "--out", str(out)]
    kept = [*command, "--checkpoint", str(checkpoint)]
    assert main([*kept, "--steps", "15"]) == 0
    # The first steps of the same run may be replaced; those of another may not.
    assert main([*kept, "--steps", "40"]) == 0
    whole = load(out)
    assert len(whole.loss) == 40
    other = main([*kept, "--steps", "50", "--seed", "1"])
    assert other == ExitStatus.NOT_DONE
    assert main([*command, "--steps", "50"]) == ExitStatus.NOT_DONE
    assert "is there already: pass --force" in capsys.readouterr().err
    assert main([*command, "--steps", "40", "--force"]) == 0
    assert np.array_equal(load(out).loss, whole.loss)
    assert np.array_equal(load(out).final["value"], whole.final["value"])


def test_several_outputs_of_a_factorised_model(tmp_path):
    out, law = tmp_path / "run.npz", Gaussian.on_supports(2, [[0], [0, 1]])
    teachers = "{law = 'on_supports', dimension = 2, supports = [[0], [0, 1]]}"
    options = "--model factorised --heads 2 --rank 2 --softmax --no-query-token --score-divisor sqrt_key"
    command = ["simulate", *TINY, "--teachers", teachers, *options.split()]
    steps = ["--optimizer", "adam", "--batch", "8", "--steps", "4", "--scale", "0.3"]
    assert main([*command, *steps, "--out", str(out)]) == 0
    model = Factorised(
        2, 2, outputs=2, softmax=True, query_token=False, score_divisor="sqrt_key"
    )
    wanted = Experiment(
        Task([2, 1], teachers=law, context_length=5),
        model,
        scale=0.3,
        scheme="gaussian",
        optimizer=Adam(),
        batch=8,
        steps=4,
    ).run()
    assert np.array_equal(load(out).loss, wanted.loss)


def test_a_run_takes_no_file_that_it_reads(capsys, tmp_path):
    run, task = tmp_path / "run.npz", tmp_path / "t.toml"
    task.write_text(GENERAL)
    steps = ["--learning-rate", "0.01", "--sequences", "9", "--steps", "5", "--force"]
    begin = ["simulate", "--task", str(task), *steps]
    assert main([*begin, "--out", str(run), "--checkpoint", str(run)]) == 2
    assert "--out and --checkpoint name one file" in capsys.readouterr().err
    assert main([*begin, "--out", str(tmp_path / "x" / ".." / "t.toml")]) == 2
    assert "--out and --task name one file" in capsys.readouterr().err
    assert (task.read_text(), run.exists()) == (GENERAL, False)


def test_softmax_trains_on_tokens_unasked(tmp_path):
    out = tmp_path / "run.npz"
    assert main(["simulate", *SHORT, "--softmax", "--out", str(out)]) == 0
    assert load(out).settings["engine"] == "tokens"


def test_simulate_replaces_a_file_only_if_it_is_told_to(capsys, tmp_path, monkeypatch):
    out = tmp_path / "run.npz"
    assert main(["simulate", *SHORT, "--seed", "1", "--out", str(out)]) == 0
    before = out.read_bytes()
    with monkeypatch.context() as refusing:
        refusing.setattr(
            "attndyn.simulate.data.prompts.Prompts.chunks", None
        )  # it does not begin
        assert (
            main(["simulate", *SHORT, "--seed", "2", "--out", str(out)])
            == ExitStatus.NOT_DONE
        )
    shown = capsys.readouterr().err
    assert (
        shown
        == f"attndyn: {out} is there already: pass --force to replace it, or choose another name\n"
    )
    assert out.read_bytes() == before
    assert main(["simulate", *SHORT, "--seed", "2", "--out", str(out), "--force"]) == 0
    assert load(out).settings["seed"] == 2
    assert (
        main(["simulate", *SHORT, "--out", str(tmp_path / "new.npz"), "--force"]) == 0
    )


CHECKPOINTED = """
import sys, time
import attndyn.simulate.descent.recorder as log
from attndyn.cli import main

plain, log.CHECKPOINT_SECONDS, written = log.RunRecorder.checkpoint, 0.0, []


def checkpoint(notebook):
    plain(notebook)
    if not written:  # the first one: the run waits here for its end
        written.append(notebook)
        print("written", flush=True)
        time.sleep(3600)


log.RunRecorder.checkpoint = checkpoint
sys.exit(main(sys.argv[1:]))
"""


def test_an_interrupted_simulation_goes_on_from_its_checkpoint(tmp_path, hang, ending):
    arguments = [*SHORT, "--steps", "2000", "--record", "2000", "--engine", "tokens"]
    out, checkpoint = tmp_path / "run.npz", tmp_path / "checkpoint.npz"
    resumed = [
        "simulate",
        *arguments,
        "--out",
        str(out),
        "--checkpoint",
        str(checkpoint),
    ]
    command = [sys.executable, "-c", CHECKPOINTED, *resumed]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "written\n"
    process.send_signal(ending.number)
    shown, errors = process.communicate(timeout=hang)
    kept = f"attndyn: the run so far is in {checkpoint}: the same command goes on from there\n"
    assert (process.returncode, shown, errors) == (
        ending.status,
        "",
        f"{kept}attndyn: {ending.message}\n",
    )
    assert not out.exists()
    assert 0 < len(load(checkpoint).loss) < 2000
    assert main(resumed) == 0
    assert main(["simulate", *arguments, "--out", str(tmp_path / "whole.npz")]) == 0
    assert np.array_equal(load(out).loss, load(tmp_path / "whole.npz").loss)


def test_an_interrupted_simulation_without_a_checkpoint_says_that_nothing_is_stored(
    tmp_path, monkeypatch, capsys
):
    def interrupt(experiment, checkpoint):
        raise KeyboardInterrupt

    monkeypatch.setattr(Experiment, "run", interrupt)
    command = ["simulate", *SHORT, "--out", str(tmp_path / "run.npz")]
    assert main(command) == ExitStatus.INTERRUPTED
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "attndyn: interrupted"
    assert "nothing of this run is stored: with --checkpoint FILE" in lines[0]
    assert (
        main([*command, "--checkpoint", str(tmp_path / "none.npz")])
        == ExitStatus.INTERRUPTED
    )
    assert "the run had not begun" in capsys.readouterr().err


# replay


def test_replay_as_json(capsys):
    assert main(["replay", str(FILES["mlp_cubic"]), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    keys = [
        "file",
        "engine",
        "steps",
        "max_relative_deviation",
        "median_relative_deviation",
        "seconds",
    ]
    assert list(result) == keys
    assert (result["file"], result["engine"]) == (str(FILES["mlp_cubic"]), "tokens")
    assert (
        0
        < result["median_relative_deviation"]
        < result["max_relative_deviation"]
        < 2e-6
    )
    assert result["steps"] == len(np.load(FILES["mlp_cubic"])["loss"])


def test_replay_in_words_and_on_statistics(capsys):
    assert main(["replay", str(FILES["mlp_cubic"]), "--engine", "statistics"]) == 0
    assert "mlp_cubic.npz on statistics" in capsys.readouterr().out


@pytest.mark.parametrize(("tolerance", "status"), [("1e-9", 1), ("0", 1), ("1e-3", 0)])
def test_replay_fails_past_the_tolerance(capsys, tolerance, status):
    assert (
        main(["replay", str(FILES["mlp_cubic"]), "--tolerance", tolerance, "--json"])
        == status
    )
    assert json.loads(capsys.readouterr().out)["steps"] > 0


# verify and figures


def test_verify_writes_the_ledger_and_prints_a_table(capsys, tmp_path):
    out, copy = tmp_path / "results", tmp_path / "elsewhere" / "ledger.json"
    arguments = [
        "verify",
        "fixed_points.count",
        "--out",
        str(out),
        "--json",
        str(copy),
        "--seed",
        "3",
    ]
    assert main(arguments) == 0
    assert (out / "ledger.json").read_text() == copy.read_text()
    ledger = json.loads(copy.read_text())
    assert list(ledger) == ["holds", "verdicts", "versions", "seed"]
    assert (ledger["holds"], ledger["seed"]) == (True, 3)
    assert [verdict["id"] for verdict in ledger["verdicts"]] == ["fixed_points.count"]
    shown = capsys.readouterr().out
    assert "fixed_points.count" in shown
    assert "rejects 2/2" in shown
    assert "1 of 1 claims" in shown
    assert not (out / "figures").exists()


def test_verify_fails_if_a_claim_is_not_as_expected(capsys, tmp_path, monkeypatch):
    (claim,) = claims_named(["fixed_points.count"], "fast")
    wrong = replace(
        claim,
        predict=lambda context, control: claim.predict(context, claim.controls[0]),
    )
    others = tuple(each for each in section.CLAIMS if each.id != claim.id)
    monkeypatch.setattr(section, "CLAIMS", (wrong, *others))
    assert main(["verify", claim.id, "--out", str(tmp_path), "--workers", "1"]) == 1
    assert json.loads((tmp_path / "ledger.json").read_text())["holds"] is False
    shown = capsys.readouterr().out
    assert "refuted" in shown
    assert "0 of 1 claims" in shown


def test_figures_by_name(capsys, tmp_path):
    assert main(["figures", "growing_mode_order", "--out", str(tmp_path)]) == 0
    paths = [tmp_path / f"growing_mode_order.{kind}" for kind in ("pdf", "png")]
    assert capsys.readouterr().out.split() == list(map(str, paths))
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert paths[1].read_bytes().startswith(b"\x89PNG")


# Weight decay


def test_fixed_points_under_weight_decay(capsys):
    assert main(["fixed-points", *SPECTRUM, "--weight-decay", "3/100", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    task = Task([4, 3, 2, 1], trace=1.0, context_length=31)
    points = fixed_points(task, Separate(heads=4), weight_decay=0.03)
    assert [row["loss"] for row in rows] == [point.loss for point in points]
    assert main(["fixed-points", *SPECTRUM, "--weight-decay", "0.03"]) == 0
    assert "local minimum" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weight-decay", "adam"], "'adam' is no number"),
        (["--weight-decay=-1"], "weight_decay must be zero or more"),
        (["--weight-decay", "0.1", "--rank", "2"], "rank 1, not 2"),
        (["--weight-decay", "0.1", "--symbolic"], "leave --symbolic or --weight-decay"),
    ],
)
def test_a_decay_without_a_theory_is_refused(options, message, capsys):
    assert main(["fixed-points", *SPECTRUM, *options]) == 2
    assert message in capsys.readouterr().err
