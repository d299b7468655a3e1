"""Steps of checkpoints, from fields, names and metadata."""

import re

import numpy as np
import pytest

from attndyn.compare.checkpoints.series import checkpoints_of, tensor_along

from .test_tensor_files import write_safetensors

W = np.arange(6.0).reshape(2, 3)


def save(path, **arrays):
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{name.replace("__", "/"): value for name, value in arrays.items()})
    return path


def steps_of(*paths, **options):
    return [checkpoint.step for checkpoint in checkpoints_of(paths, **options)]


def test_steps_stand_in_names_and_are_sorted(tmp_path):
    paths = [save(tmp_path / f"d48_step_{step}.npz", W=step * W) for step in (100, 20)]
    assert steps_of(*paths) == [20, 100]
    found = tensor_along(checkpoints_of(paths), "W")
    assert np.array_equal(found, [20 * W, 100 * W])
    folders = [save(tmp_path / f"{name}-7" / "model.npz", W=W) for name in ("a",)]
    folders.append(save(tmp_path / "a-12" / "model.npz", W=W))
    assert steps_of(*folders) == [7, 12]
    others = [save(tmp_path / f"{step}of900.npz", W=W) for step in (5, 3)]
    assert steps_of(*others, steps="/{step}of") == [3, 5]
    assert steps_of(save(tmp_path / "x" / "plain.npz", W=W)) == [0]


def test_steps_stand_in_fields(tmp_path):
    one = save(tmp_path / "a1.npz", W=W, step=30)
    other = save(tmp_path / "a2.npz", W=2 * W, step=[10])
    assert steps_of(one, save(tmp_path / "a3.npz", W=W, step=4)) == [4, 30]
    with pytest.raises(ValueError, match="must begin with an axis of 1 checkpoints"):
        tensor_along(checkpoints_of([one, other]), "W")
    many = save(tmp_path / "many.npz", W=np.stack([W, 2 * W]), epochs=[8, 3], steps=5)
    found = checkpoints_of([many], steps="epochs")
    assert [checkpoint.step for checkpoint in found] == [3, 8]
    assert np.array_equal(tensor_along(found, "W"), [2 * W, W])


def test_steps_stand_before_names(tmp_path):
    path = save(tmp_path / "g.npz", **{"100__W": 2 * W, "9__W": W, "9__x/y": W})
    found = checkpoints_of([path])
    assert [checkpoint.step for checkpoint in found] == [9, 100]
    assert found[0].names == ["W", "x/y"]
    assert np.array_equal(tensor_along(found, "W"), [W, 2 * W])
    with pytest.raises(
        ValueError, match=re.escape("no tensor 'x/y' at step 100: there is W")
    ):
        tensor_along(found, "x/y")


def test_steps_stand_in_metadata(tmp_path):
    tensors = {"W": ("F64", (2, 3), W.tobytes())}
    paths = [
        write_safetensors(tmp_path / f"{name}.safetensors", tensors, {"step": step})
        for name, step in (("a1", "50"), ("a2", "5e0"))
    ]
    assert steps_of(*paths) == [5, 50]
    wrong = write_safetensors(tmp_path / "b.safetensors", tensors, {"step": "last"})
    with pytest.raises(ValueError, match=r"metadata of .* is no step: 'last'"):
        steps_of(wrong)


def test_steps_that_cannot_be_told_are_refused(tmp_path):
    first = save(tmp_path / "x" / "a.npz", W=W)
    second = save(tmp_path / "x" / "b.npz", W=W)
    cases = [
        ((first, second), {}, "no number in the name of"),
        ((first, first), {"steps": "{step}"}, "does not have '{step}' in its name"),
        ((first,), {"steps": "epoch"}, "has no field 'epoch' of steps: there is W"),
        ((), {}, "a file of checkpoints or more"),
        ((save(tmp_path / "n1.npz", steps=[[1]]),), {}, "must be a step or steps (T,)"),
        ((save(tmp_path / "n2.npz", steps=[-1]),), {}, "numbers below 0"),
        ((save(tmp_path / "n3.npz", steps=[1, 1], W=W),), {}, "step 1 is there twice"),
    ]
    shards = [save(tmp_path / f"model-{k}-of-2.npz", W=W) for k in (1, 2)]
    cases.append((shards, {}, "say where the step stands with --steps"))
    for paths, options, words in cases:
        if options.get("steps") == "{step}":
            paths = [tmp_path.joinpath("x", "a.npz").relative_to(tmp_path)]
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(tmp_path)
                with pytest.raises(ValueError, match=re.escape(words)):
                    steps_of(*paths, **options)
            continue
        with pytest.raises(ValueError, match=re.escape(words)):
            steps_of(*paths, **options)


def test_checkpoints_of_different_networks_are_refused(tmp_path):
    paths = [save(tmp_path / "s1.npz", W=W), save(tmp_path / "s2.npz", W=W.T)]
    with pytest.raises(ValueError, match=re.escape("pass checkpoints of one network")):
        tensor_along(checkpoints_of(paths), "W")
    paths[1] = save(tmp_path / "s3.npz", V=W)
    with pytest.raises(
        ValueError, match=r"s3.npz has no tensor 'W' at step 3: there is V"
    ):
        tensor_along(checkpoints_of(paths), "W")
