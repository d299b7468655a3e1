"""Mistakes on the command line: one line on standard error that names the culprit and the remedy."""

import os
import re

import numpy as np
import pytest

from attndyn.cli import main
from attndyn.cli.whole_numbers import whole_number
from attndyn.compare import reference_files
from attndyn.simulate import load

FILES = {path.stem: path for path in reference_files()}
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


def refused(capsys, *arguments, status=2):
    """The one line on standard error with which a call is refused."""
    assert main([str(argument) for argument in arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"attndyn: [^\n]+\n", err), err
    assert "Traceback" not in err
    return err.removeprefix("attndyn: ").rstrip("\n")


BAD_TASKS = {
    "indefinite": (
        "covariance = [[1, 2], [2, 1]]\ncontext_length = 5",
        "covariance must be positive semidefinite: its smallest eigenvalue is -1",
    ),
    "asymmetric": (
        "covariance = [[2, 1], [0, 2]]\ncontext_length = 5",
        "covariance must be symmetric",
    ),
    "nan": ("eigenvalues = [nan, 1]\ncontext_length = 5", "eigenvalues must be finite"),
    "no length": ("eigenvalues = [2, 1]", "Task needs the field context_length"),
    "length 0": (
        "eigenvalues = [2, 1]\ncontext_length = 0",
        "context_length must be N ≥ 1",
    ),
    "list for a length": (
        "eigenvalues = [2, 1]\ncontext_length = [1, -2]",
        "context_length must list whole numbers",
    ),
    "both spectra": (
        "eigenvalues = [1]\ncovariance = [[1]]\ncontext_length = 5",
        "one of the two: both given",
    ),
    "neither": ("context_length = 5", "one of the two: neither given"),
    "unknown field": (
        "eigenvalue = [1]\ncontext_length = 5",
        "Task has no field eigenvalue: allowed are context",
    ),
    "negative noise": (
        "eigenvalues = [1]\nnoise_variance = -1\ncontext_length = 5",
        "noise_variance must be zero",
    ),
    "infinite noise": (
        "eigenvalues = [1]\nnoise_variance = inf\ncontext_length = 5",
        "finite, not Infinity",
    ),
    "length as a decimal": (
        "eigenvalues = [1]\ncontext_length = 5.0",
        "a list or {n: weight}, not 5.0",
    ),
    "text": ("eigenvalues = ['a']\ncontext_length = 5", "eigenvalues must be numbers"),
    "malformed": ("eigenvalues = [2\ncontext_length = 5", "at line 2"),
    "unknown law": (
        "eigenvalues = [1]\ncontext_length = 5\n[teachers]\nlaw = 'cube'",
        "law must be one of gaussian, sphere, pool, mixture, shared_basis, kronecker, on_supports, not 'cube'",
    ),
    "law of another dimension": (
        "eigenvalues = [1]\ncontext_length = 5\nteachers = {law = 'sphere', dimension = 2}",
        "teachers are for x of dimension 2",
    ),
    "unknown inputs": (
        "eigenvalues = [1]\ncontext_length = 5\ninputs = 'cube'",
        "inputs must be one of gaussian, uniform, rademacher, sphere",
    ),
    "weight of a length": (
        "eigenvalues = [1]\n[context_length]\n5 = -1.0\n6 = 1.0",
        "the weight of context_length 5 must be a positive number, not -1.0",
    ),
    "mixture": (
        "eigenvalues = [1]\ncontext_length = 5\nfixed_teacher = [1]\nin_context_fraction = 0.5",
        "fixed",
    ),
}


@pytest.mark.parametrize("name", BAD_TASKS)
def test_a_wrong_task_file_is_refused(capsys, tmp_path, name):
    text, reason = BAD_TASKS[name]
    path = tmp_path / "task.toml"
    path.write_text(text)
    message = refused(capsys, "fixed-points", "--task", path)
    assert reason in message
    if name != "mixture":  # which is a task, but not one that the theory covers
        assert str(path) in message


@pytest.mark.parametrize(
    "law",
    [
        "inputs = 'uniform'",
        "input_mean = [1]",
        "query_noise_variance = 1.0",
        "teachers = {law = 'sphere', dimension = 1}",
    ],
)
def test_symbols_refuse_what_they_cannot_say(capsys, tmp_path, law):
    path = tmp_path / "task.toml"
    path.write_text(f"eigenvalues = [1]\ncontext_length = 5\n{law}")
    message = refused(capsys, "fixed-points", "--task", path, "--symbolic")
    assert "symbols are for Gaussian x and teachers of mean 0" in message


@pytest.mark.parametrize(
    "singular",
    [
        "eigenvalues = [2, 0]",
        "eigenvalues = [2, 1]\nteacher_covariance = [[1, 0], [0, 0]]",
    ],
)
def test_symbols_stand_for_positive_variances(capsys, tmp_path, singular):
    path = tmp_path / "task.toml"
    path.write_text(f"{singular}\ncontext_length = 5")
    message = refused(capsys, "fixed-points", "--task", path, "--symbolic")
    assert "leave out the directions on which x or the teacher does not" in message


def test_a_task_file_that_is_no_text_or_not_there(capsys, tmp_path):
    (tmp_path / "task.toml").write_bytes(b"\xff\xfe\x00")
    assert str(tmp_path / "task.toml") in refused(
        capsys, "fixed-points", "--task", tmp_path / "task.toml"
    )
    missing = refused(capsys, "fixed-points", "--task", tmp_path / "nothing.toml")
    assert (
        missing
        == f"cannot read or write {tmp_path / 'nothing.toml'}: No such file or directory"
    )
    assert "Is a directory" in refused(capsys, "fixed-points", "--task", tmp_path)


BAD_FIXED_POINTS = {
    "no length": (
        ["--eigenvalues", "2,1"],
        "pass --eigenvalues and --context-length, or --task",
    ),
    "no spectrum": (
        ["--context-length", "5"],
        "pass --eigenvalues and --context-length, or --task",
    ),
    "file and spectrum": (
        [*TINY, "--task", "task.toml"],
        "--task holds the whole task",
    ),
    "file and noise": (
        ["--noise-variance", "1", "--task", "task.toml"],
        "--task holds the whole task",
    ),
    "file and no noise": (
        ["--noise-variance", "0", "--task", "task.toml"],
        "--task holds the whole task",
    ),
    "letters": (
        ["--eigenvalues", "2,x", "--context-length", "5"],
        "such as 4,3,2,1 or 2/5,3/10, not '2,x'",
    ),
    "nan": (
        ["--eigenvalues", "2,nan", "--context-length", "5"],
        "eigenvalues must be finite",
    ),
    "eigenvalues of nothing": (
        ["--eigenvalues", "0,0", "--context-length", "5"],
        "eigenvalues are all 0",
    ),
    "length 0": (["--eigenvalues", "2,1", "--context-length", "0"], "N ≥ 1"),
    "length half": (["--eigenvalues", "2,1", "--context-length", "2.5"], "not '2.5'"),
    "trace nan": ([*TINY, "--trace", "nan"], "trace must be positive and finite"),
    "trace 0": ([*TINY, "--trace", "0"], "trace must be positive and finite"),
    "noise": ([*TINY, "--noise-variance", "-1"], "noise_variance must be zero or more"),
    "no heads": (
        [*TINY, "--heads", "0"],
        "heads must be a whole number of at least 1, not 0",
    ),
    "no rank": (
        [*TINY, "--rank", "0"],
        "rank must be a whole number of at least 1, not 0",
    ),
    "merged rank": (
        [*TINY, "--model", "merged", "--rank", "2"],
        "merged attention has no rank",
    ),
    "model": (
        [*TINY, "--model", "linear"],
        "model must be one of merged, separate, factorised, not 'linear'",
    ),
    "divisor": (
        [*TINY, "--divisor", "N"],
        "divisor must be one of context, tokens, none, or a positive number, not 'N'",
    ),
    "two formats": ([*TINY, "--json", "--latex"], "choose one"),
    "no rows": ([*TINY, "--limit", "0"], "'--limit'"),
    "fewer than no rows": ([*TINY, "--limit", "-1"], "'--limit'"),
    "no number": ([*TINY, "--heads", "many"], "'--heads'"),
    "no such option": ([*TINY, "--head", "2"], "--head"),
}


@pytest.mark.parametrize("name", BAD_FIXED_POINTS)
def test_a_wrong_call_of_fixed_points_is_refused(capsys, name):
    arguments, reason = BAD_FIXED_POINTS[name]
    assert reason in refused(capsys, "fixed-points", *arguments)


BAD_SIMULATE = {
    "rate": (
        ["--learning-rate", "-1"],
        "learning_rate must be positive and finite, not -1.0",
    ),
    "rate nan": (
        ["--learning-rate", "nan"],
        "learning_rate must be positive and finite",
    ),
    "steps": (["--steps", "0"], "steps must be a whole number of at least 1"),
    "sequences": (
        ["--sequences", "0"],
        "sequences must be a whole number of at least 1",
    ),
    "too few to whiten": (
        ["--sequences", "2", "--whiten"],
        "whiten needs more than D = 2 sequences",
    ),
    "scale": (["--scale", "0"], "scale must be positive and finite"),
    "seed": (["--seed", "-1"], "seed must be a whole number of at least 0"),
    "scheme": (
        ["--scheme", "zero"],
        "scheme must be one of gaussian, restricted, zhang2025, aligned",
    ),
    "engine": (
        ["--engine", "gpu"],
        "engine must be one of tokens, statistics, not 'gpu'",
    ),
    "record": (["--record", "0"], "record must be a number of steps of at least 1"),
    "softmax divisor": (
        ["--softmax", "--divisor", "rows"],
        "divisor must be one of context, tokens, none, or a positive number",
    ),
    "softmax statistics": (
        ["--softmax", "--engine", "statistics"],
        'choose engine "tokens"',
    ),
    "heads": (["--heads", "0"], "heads must be a whole number of at least 1"),
}


@pytest.mark.parametrize("name", BAD_SIMULATE)
def test_a_wrong_simulation_is_refused_before_any_work(
    capsys, tmp_path, monkeypatch, name
):
    options, reason = BAD_SIMULATE[name]
    monkeypatch.setattr(
        "attndyn.simulate.data.prompts.Prompts.chunks", None
    )  # data are never drawn
    out = tmp_path / "run.npz"
    assert reason in refused(capsys, "simulate", *SHORT, *options, "--out", out)
    assert not out.exists()


def test_a_diverging_run_saves_what_it_has(capsys, tmp_path):
    out = tmp_path / "run.npz"
    arguments = [
        *SHORT,
        "--scale",
        "5",
        "--learning-rate",
        "9",
        "--out",
        out,
        "--scheme",
        "restricted",
    ]
    message = refused(capsys, "simulate", *arguments, status=1)
    assert "diverged" in message
    assert "learning rate smaller than 9" in message
    assert str(out) in message
    run = load(out)
    assert 0 < len(run.loss) < 20
    assert np.all(np.isfinite(run.loss))
    assert run.settings["scale"] == 5


def test_simulate_needs_to_know_where_to(capsys, tmp_path):
    assert "'--out'" in refused(capsys, "simulate", *SHORT)
    assert "must name a file" in refused(capsys, "simulate", *SHORT, "--out", tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ["simulate", *SHORT],
        ["figures", "growing_mode_order"],
        ["verify", "fixed_points.count", "--workers", "1"],
    ],
    ids=lambda command: command[0],
)
def test_an_unwritable_folder_is_refused_before_any_work(
    capsys, tmp_path, monkeypatch, command
):
    monkeypatch.setattr("attndyn.simulate.Experiment.run", None)
    monkeypatch.setattr("attndyn.compare.ledger.verification.check_claim", None)
    (tmp_path / "file").write_text("no folder")
    message = refused(capsys, *command, "--out", tmp_path / "file" / "results")
    assert message.startswith(f"cannot read or write {tmp_path / 'file'}")
    if os.path.isdir("/proc/self"):
        assert "cannot read or write /proc" in refused(
            capsys, *command, "--out", "/proc/no/results"
        )
        named = refused(capsys, *command, "--out", "/proc/results")
        assert re.match(
            r"cannot read or write /proc(/results)?: ", named
        )  # and no temporary name


def test_an_unwritable_copy_of_the_ledger_is_refused_before_any_work(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr("attndyn.compare.ledger.verification.check_claim", None)
    (tmp_path / "file").write_text("no folder")
    arguments = [
        "verify",
        "fixed_points.count",
        "--out",
        tmp_path,
        "--json",
        tmp_path / "file" / "ledger.json",
    ]
    assert str(tmp_path / "file") in refused(capsys, *arguments)


BAD_VERIFY = {
    "claim": (["no.such"], "no claim is called no.such: the names begin with"),
    "half a name": (["fixed"], "no claim is called fixed: the names begin with"),
    "misspelt": (
        ["fixed_points.cuont"],
        "called fixed_points.cuont: did you mean fixed_points.count",
    ),
    "misspelt section": (["mergd"], "no claim is called mergd: did you mean merged?"),
    "no section": (
        ["lossse"],
        "did you mean proofs.losses, fixed_points.losses, modes.loss?",
    ),
    "two of them": (
        ["mergd", "replay.mlp_cubc"],
        "did you mean merged, replay.mlp_cubic",
    ),
    "tier": (
        ["--tier", "slow"],
        "tier must be one of fast, standard, long, paper, not 'slow'",
    ),
    "seed": (
        ["fixed_points.losses", "--seed", "-1"],
        "seed must be a whole number of at least 0, not -1",
    ),
    "workers": (["fixed_points.count", "--workers", "0"], "'--workers'"),
}


@pytest.mark.parametrize("name", BAD_VERIFY)
def test_a_wrong_call_of_verify_is_refused(capsys, tmp_path, name):
    arguments, reason = BAD_VERIFY[name]
    assert reason in refused(capsys, "verify", *arguments, "--out", tmp_path)
    assert not (tmp_path / "ledger.json").exists()


@pytest.mark.parametrize("name", ["no.such", "fixed_points.cuont", "a" * 200, "", "."])
def test_a_misspelt_claim_does_not_list_them_all(capsys, tmp_path, name):
    assert refused(capsys, "verify", name, "--out", tmp_path).count(".") < 8


WHOLE = {
    "1e3": 1000,
    "1_000": 1000,
    "2.5e1": 25,
    "+7": 7,
    "1.0": 1,
}


@pytest.mark.parametrize("text", WHOLE)
def test_whole_numbers_are_read_as_people_write_them(text):
    assert whole_number(text) == WHOLE[text]


@pytest.mark.parametrize(
    "text",
    ["2.5", "1e-3", "nan", "inf", "many", "", "1e999999999", "-1e999999999", "0x10"],
)
def test_what_is_no_whole_number_says_so(capsys, tmp_path, text):
    out = tmp_path / "run.npz"
    for option in ("--steps", "--sequences", "--seed", "--record", "--heads", "--rank"):
        message = refused(capsys, "simulate", *SHORT, "--out", out, f"{option}={text}")
        assert message.startswith(
            f"Invalid value for '{option}': {text!r} is no whole number"
        )
        assert "such as 1000 or 1e3" in message
    assert not out.exists()


def test_every_count_may_be_written_with_an_exponent(tmp_path):
    counts = "--steps 2e1 --sequences 5e1 --seed 0e0 --record 1e1 --heads 2e0 --rank 1e0 --context-length 1..1e1"
    begin = ["simulate", "--eigenvalues", "2,1", "--learning-rate", "0.01"]
    assert main([*begin, *counts.split(), "--out", str(tmp_path / "run.npz")]) == 0
    run = load(tmp_path / "run.npz")
    assert run.weight_steps.tolist() == [0, 10, 20]
    assert run.settings["task"]["context_length"] == "1..10"
    assert main(["fixed-points", *TINY, "--limit", "1e0"]) == 0
    assert main(["derive", "--dim", "1e0", "--degree", "0e0"]) == 0


def test_an_unknown_figure_is_refused(capsys, tmp_path):
    assert "no figure is called loss: there are" in refused(
        capsys, "figures", "loss", "--out", tmp_path
    )


def test_replay_refuses_what_is_no_recording(capsys, tmp_path):
    whole = FILES["mlp_cubic"].read_bytes()
    path = tmp_path / "file.npz"
    path.write_bytes(whole[: len(whole) // 2])
    assert "is truncated or something else" in refused(capsys, "replay", path)
    np.savez(path, x=np.ones(3))
    assert "lacks 'meta'" in refused(capsys, "replay", path)
    assert "No such file" in refused(capsys, "replay", tmp_path / "nothing.npz")
    assert "engine must be one of" in refused(
        capsys, "replay", FILES["mlp_cubic"], "--engine", "gpu"
    )
    for tolerance in ("nan", "-1"):
        told = refused(capsys, "replay", FILES["mlp_cubic"], "--tolerance", tolerance)
        assert "--tolerance must be zero or more" in told
    softmax = refused(
        capsys, "replay", FILES["merged_softmax"], "--engine", "statistics"
    )
    assert (
        softmax == 'softmax attention has no finite statistics: choose engine "tokens"'
    )


def test_amplitudes_without_an_ansatz_are_refused(capsys):
    assert "pass --reduce with it" in refused(
        capsys, "derive", "--dim", "1", "--amplitudes", "v"
    )


def test_an_unknown_command_is_refused(capsys):
    assert "No such command 'fix'" in refused(capsys, "fix")


def test_a_pipe_is_not_replaced_by_a_run(tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for option in ("--out", "--checkpoint"):
        others = [] if option == "--out" else ["--out", str(tmp_path / "run.npz")]
        small = [
            "--eigenvalues",
            "2,1",
            "--context-length",
            "5",
            "--learning-rate",
            "0.01",
            "--steps",
            "5",
        ]
        assert main(["simulate", *small, *others, option, str(pipe)]) == 2
        assert "not a regular file" in capsys.readouterr().err
        assert pipe.is_fifo()


def test_an_overflowing_task_is_refused(capsys):
    assert (
        main(["fixed-points", "--eigenvalues", "1e300,1", "--context-length", "4"]) == 2
    )
    assert "overflow: rescale" in capsys.readouterr().err
