"""Recorded reduced flows of softmax heads: ω, μ and half of the approximate loss in steps of Euler's method."""

import json

import numpy as np
import pytest

from attndyn.cli import main
from attndyn.cli.exit_status import ExitStatus
from attndyn.compare import reference_files, replay
from attndyn.compare.recorded_files import FLOW_TOLERANCE
from attndyn.compare.replays.recordings import read_any_recording, read_recording

(FLOW,) = (path for path in reference_files() if path.stem == "he_reduced_flow")


def changed(folder, meta=None, **arrays):
    """The recording of its first 1,000 steps, with other fields or arrays; what is None is left out."""
    content = dict(np.load(FLOW))
    stated = json.loads(str(content.pop("meta"))) | {"steps": 1000} | (meta or {})
    short = {name: array[:11] for name, array in content.items()} | arrays
    fields = {name: value for name, value in stated.items() if value is not None}
    kept = {name: array for name, array in short.items() if array is not None}
    np.savez(folder / "flow.npz", meta=np.array(json.dumps(fields)), **kept)
    return folder / "flow.npz"


def refusal(path, engine="tokens"):
    """The one sentence with which a file is refused."""
    with pytest.raises((ValueError, ArithmeticError)) as error:
        replay(path, engine)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_recorded_flow_is_followed():
    result = replay(FLOW)
    # Another implementation in double precision was off by 2e-15.
    assert result.max_relative_deviation < 1e-14 < FLOW_TOLERANCE == result.tolerance
    assert (result.engine, result.steps) == ("reduced flow", 20000)
    assert result.not_used == ("source", "dtype")
    assert set(result.to_dict()) == {
        "file",
        "engine",
        "steps",
        "max_relative_deviation",
        "median_relative_deviation",
        "seconds",
    }


WRONG = {
    "ρ": {"metric": "rho = 1/D"},
    "κ without σ²": {"noise_variance": 0},
    "N": {"context_length": 41},
    "D": {"dimension": 4},
    "step": {"step": 0.01001},
    "every": {"every": 50, "steps": 500},
}


@pytest.mark.parametrize("name", WRONG)
def test_another_setting_is_told_apart(tmp_path, name):
    assert replay(changed(tmp_path)).max_relative_deviation < 1e-14
    wrong = replay(changed(tmp_path, WRONG[name]))
    assert wrong.max_relative_deviation > 1e6 * FLOW_TOLERANCE


@pytest.mark.parametrize("name", ["omega_3", "mu_0", "half_loss_2"])
def test_every_array_counts(tmp_path, name):
    """Relative to its largest number."""
    array = np.load(FLOW)[name][:11]
    size = np.max(np.abs(array))
    array[5] += 1e-9 * size
    result = replay(changed(tmp_path, **{name: array}))
    assert result.max_relative_deviation == pytest.approx(1e-9, rel=1e-4)


def test_the_flow_is_that_of_the_formula(tmp_path):
    """One step by finite differences of the loss as it is written."""
    recorded = np.load(FLOW)
    ω, μ = recorded["omega_3"][-1], recorded["mu_3"][-1]

    def half_loss(ω, μ):
        E = np.exp(5 * np.outer(ω, ω))
        return (1.1 - 2 * μ @ ω + (μ @ ω) ** 2 + 1.1 / 40 * μ @ E @ μ) / 2

    def slopes(function, at):
        units = 1e-5 * np.eye(len(at))
        return np.array([(function(at + e) - function(at - e)) / 2e-5 for e in units])

    next_ω = ω - 0.3 * slopes(lambda x: half_loss(x, μ), ω)
    next_μ = μ - 0.3 * slopes(lambda x: half_loss(ω, x), μ)
    meta = {"step": 0.3, "steps": 1, "every": 1, "cases": [{"heads": 4}]}
    arrays = {
        "omega_0": np.array([ω, next_ω]),
        "mu_0": np.array([μ, next_μ]),
        "half_loss_0": np.array([half_loss(ω, μ), half_loss(next_ω, next_μ)]),
    }
    result = replay(changed(tmp_path, meta, **arrays))
    assert result.max_relative_deviation < 1e-10


def test_a_start_at_zero_stays_there(tmp_path):
    zeros = np.zeros((11, 1))
    path = changed(
        tmp_path, omega_0=zeros, mu_0=zeros, half_loss_0=np.full(11, 1.1 / 2)
    )
    assert replay(path).max_relative_deviation < 1e-14


FIELDS = {
    "it lacks 'step'": {"step": None},
    "it lacks 'cases'": {"cases": None},
    "and a reduced flow knows only 'half of the approximate loss'": {"loss": "mean"},
    "knows only 'rho = 1', 'rho = 1/D'": {"metric": "euclidean"},
    "its meta has step = -1, which must be a positive number": {"step": -1},
    "its meta has noise_variance = False": {"noise_variance": False},
    "its meta has noise_variance = -0.1": {"noise_variance": -0.1},
    "its meta has dimension = 5.0, which must be a whole number": {"dimension": 5.0},
    "its meta has dimension = 1001, and a replay takes at most 1000": {
        "dimension": 1001
    },
    "which must be a multiple of every = 300": {"every": 300},
    "steps = 2000000, which must be": {"steps": 2_000_000},
    "must have shape (3, 1), steps / every + 1 records": {"steps": 200},
    "which must be a list with an object": {"cases": {}},
    "its meta has case 0 = {'heads': 2}, but its arrays have 1": {
        "cases": [{"heads": 2}]
    },
    "its meta has case 0 = 3, but": {"cases": [3]},
    "it lacks 'omega_4'": {"cases": [{}] * 5},
    "its meta has weight_decay = 0.1, which a reduced flow": {"weight_decay": 0.1},
}


@pytest.mark.parametrize("reason", FIELDS)
def test_fields_that_do_not_fit_are_refused(tmp_path, reason):
    assert reason in refusal(changed(tmp_path, FIELDS[reason]))


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    assert "its array mu_1 must have shape (11, 2)" in refusal(
        changed(tmp_path, mu_1=np.ones((11, 3)))
    )
    assert "it lacks 'half_loss_3'" in refusal(changed(tmp_path, half_loss_3=None))
    assert "its array omega_0 must be finite" in refusal(
        changed(tmp_path, omega_0=np.full((11, 1), np.nan))
    )
    many = {f"{name}_0": np.zeros((11, 1001)) for name in ("omega", "mu")}
    cases = {"cases": [{}]}
    assert "1001 heads together" in refusal(changed(tmp_path, cases, **many))
    large = np.full((11, 1), 1e3)
    assert "the replay diverges before step 100" in refusal(
        changed(tmp_path, mu_0=large, omega_0=large)
    )


def test_it_has_no_prompts_and_no_statistics():
    assert "a reduced flow has no prompts, and no statistics" in refusal(
        FLOW, "statistics"
    )
    with pytest.raises(ValueError, match="a recording of a reduced flow, which has no"):
        read_recording(FLOW)
    lines = repr(read_any_recording(FLOW)).splitlines()
    assert "1, 2, 2, 4" in "".join(lines)
    assert max(map(len, lines)) <= 100


def test_the_command_knows_its_tolerance(tmp_path, capsys):
    half_loss = np.load(FLOW)["half_loss_0"][:11]
    half_loss[3] *= 1 + 1e-9
    path = str(changed(tmp_path, half_loss_0=half_loss))
    assert main(["replay", path]) == ExitStatus.OTHER_THAN_EXPECTED
    shown = capsys.readouterr().out
    assert "flow.npz on reduced flow: 1000 steps" in shown
    assert "past the tolerance" in shown
    assert main(["replay", path, "--tolerance", "1e-8"]) == ExitStatus.AS_EXPECTED
    assert main(["replay", str(changed(tmp_path)), "--json"]) == ExitStatus.AS_EXPECTED
