"""A recording that states a wrong convention: the replay deviates, and names the one that fits."""

import json

import numpy as np
import pytest

from attndyn.cli import main
from attndyn.compare import reference_files, replay

FILES = {path.stem: path for path in reference_files()}
STEPS = 30


def changed(folder, name, meta, factor=1.0, **arrays):
    """The first steps of a recording under other settings, its losses times a factor."""
    content = dict(np.load(FILES[name]))
    stated = json.loads(str(content.pop("meta"))) | {"steps": STEPS} | meta
    kept = {key: array for key, array in content.items() if not key.startswith("test")}
    kept["loss"] = factor * kept["loss"][:STEPS]
    kept.pop("steps", None)
    path = folder / "changed.npz"
    np.savez(path, meta=np.array(json.dumps(stated)), **kept | arrays)
    return path


WRONG = {
    "with query_token = false": ("he_two_heads", {"query_token": True}),
    "with score_divisor = sqrt(6)": ("he_two_heads", {"score_divisor": 1}),
    "with score_divisor = sqrt(8)": ("he_two_tasks", {"score_divisor": "sqrt(7)"}),
    "with score_divisor = sqrt(12)": ("chen_decomposable", {"score_divisor": 1}),
    "with twice the learning_rate": ("he_two_tasks", {"learning_rate": 0.025}),
    "with half of the learning_rate": ("he_two_heads", {"learning_rate": 0.4}),
    "with query_token = false and score_divisor = sqrt(6)": (
        "he_two_heads",
        {"query_token": True, "score_divisor": 1},
    ),
}


@pytest.mark.parametrize("convention", WRONG)
def test_the_convention_that_fits_is_named(convention, tmp_path):
    name, meta = WRONG[convention]
    result = replay(changed(tmp_path, name, meta))
    assert result.max_relative_deviation > result.tolerance
    assert result.hint == f"its first 3 losses fit {convention}"
    assert "hint" in repr(result)
    assert "hint" not in result.to_dict()


def test_a_recording_under_its_own_settings_has_no_hint(tmp_path):
    result = replay(changed(tmp_path, "he_two_heads", {}))
    assert result.max_relative_deviation < result.tolerance
    assert result.hint == ""
    assert "hint" not in repr(result)


def test_a_difference_that_shows_late_is_named_too(tmp_path):
    """From small weights the query's token shows in the losses of later steps alone."""
    path = changed(tmp_path, "chen_decomposable", {"query_token": True})
    hint = replay(path).hint
    assert hint.endswith("losses fit with query_token = false")
    assert int(hint.split()[2]) > 3


def test_a_factor_of_the_loss_is_named(tmp_path):
    """Half of the losses; and with twice the stated rate, which is that of the half."""
    halves = replay(changed(tmp_path, "he_two_heads", {}, 0.5))
    assert (
        halves.hint
        == "its first 3 losses fit with losses that are halves (double them)"
    )
    both = replay(changed(tmp_path, "he_two_heads", {"learning_rate": 0.4}, 0.5))
    assert "with a loss with a factor 1/2 (double the losses, halve" in both.hint


def test_what_fits_nothing_is_said_to(tmp_path):
    """Other data are no other convention."""
    tokens = np.load(FILES["he_two_heads"])["tokens"].copy()
    tokens[0, 0, 0] += 1
    result = replay(changed(tmp_path, "he_two_heads", {}, tokens=tokens))
    assert "losses fit no other query_token, divisor" in result.hint


def test_linear_attention_has_its_divisors(tmp_path):
    name = next(stem for stem in FILES if "merged" in stem or "separate" in stem)
    stated = json.loads(str(np.load(FILES[name])["meta"]))
    wrong = "N" if stated["attention_divisor"] == "none" else "none"
    result = replay(changed(tmp_path, name, {"attention_divisor": wrong}))
    assert f"attention_divisor = {stated['attention_divisor']!r}" in result.hint


def test_the_command_prints_it_beside_the_result(tmp_path, capsys):
    path = changed(tmp_path, "he_two_heads", {"query_token": True})
    assert main(["replay", str(path)]) == 1
    shown = capsys.readouterr()
    assert "changed.npz: its first 3 losses fit with query_token = false" in shown.err
    assert "past the tolerance" in shown.out
    assert main(["replay", str(path), "--tolerance", "1"]) == 0
    assert "fit" not in capsys.readouterr().err


def test_a_replay_that_diverges_says_it_too(tmp_path):
    path = changed(tmp_path, "he_two_tasks", {"learning_rate": 1e6})
    with pytest.raises(ArithmeticError, match="a setting differs; its first 3 losses"):
        replay(path)
