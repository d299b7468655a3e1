"""Errors on new and on training tasks over runs: predicted curves, tested runs, files, and what is refused."""

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.compare import (
    ErrorCurve,
    error_along_run,
    error_curve,
    errors_along_training,
    overlay,
    population_statistics,
    readout_run,
)
from attndyn.compare.loss_curves import load_curve
from attndyn.simulate import (
    Trajectory,
    exact_risk,
    flow,
    initial_weights,
    readout_flow,
    sample,
    sample_summaries,
    train,
)
from attndyn.teachers import Pool, Sphere
from attndyn.theory.asymptotics import learning_curve, learning_curve_of_tasks

D = 12


def white_task(law, noise=0.05):
    return Task([1 / D] * D, teachers=law, context_length=4 * D, noise_variance=noise)


POOL = Sphere(D).pool(D // 2, seed=0)
NEW, TRAINING = white_task(Sphere(D)), white_task(POOL)


def test_a_sampled_flow_lies_under_the_curve_of_its_tasks():
    P = int(1.25 * D * (D + 1))
    times = np.geomspace(0.1, 20, 12) * D**3
    predicted = learning_curve_of_tasks(TRAINING, NEW, P, times)
    data = sample_summaries(TRAINING, P, 0)
    maps = readout_flow(data, times)
    for tasks, tested in (("new tasks", NEW), ("training tasks", TRAINING)):
        curve = error_curve(predicted, tasks)
        over = overlay(curve, readout_run(times, maps, tested))
        assert over.observed == pytest.approx(exact_risk(tested, maps))
        relative = np.abs(over.predicted / over.observed - 1)
        assert np.max(relative) < 0.15, "one data set of D = 12 scatters by 1/D"
        # The curve of the other tasks is rejected by the same criterion.
        other = {"new tasks": "training tasks", "training tasks": "new tasks"}[tasks]
        wrong = error_curve(predicted, other)
        assert np.max(np.abs(wrong.loss / over.observed - 1)) > 0.4
        with pytest.raises(ValueError, match=r"the curve has teachers = .* test both"):
            overlay(wrong, readout_run(times, maps, tested))


def test_the_curve_of_the_limit_takes_the_dimension_of_the_run():
    θ = np.array([0.0, 0.5, 2.0])
    limit = learning_curve(θ, tau=1.25, alpha=4, kappa=0.5, noise=0.05)
    curve = error_curve(limit, "training tasks", dimension=D)
    np.testing.assert_array_equal(curve.flow_time, θ * D**3)
    np.testing.assert_array_equal(curve.loss, limit.idg)
    np.testing.assert_array_equal(error_curve(limit, dimension=D).loss, limit.icl)


def test_attention_that_is_trained_on_a_pool_is_tested_on_new_tasks():
    inputs = {"covariance": np.diag([1, 0.5]), "context_length": 8}
    task = Task(teachers=Pool([[1, 0.4]], signs=True), **inputs)
    new = Task(**inputs)
    model, times = Merged(heads=1), np.array([0.0, 10, 30, 80])
    result = errors_along_training(task, new, times, 0.02)
    weights = {"value": np.array([[0, 0, 0.02]]), "key_query": np.zeros((1, 3, 3))}
    weights["key_query"][0, :2, :2] = result.maps[0] / 0.02
    run = flow(model, population_statistics(task, model), weights, times)
    over = overlay(error_curve(result), error_along_run(model, run, new))
    assert over.sup_gap < 1e-7
    trained = overlay(
        error_curve(result, "training tasks"), error_along_run(model, run, task)
    )
    assert trained.sup_gap < 1e-7
    assert np.allclose(trained.observed, run.loss)
    assert np.max(np.abs(result.icl - trained.observed)) > 0.1
    with pytest.raises(ValueError, match=r"the curve has teachers = .* test both"):
        overlay(error_curve(result), error_along_run(model, run, task))


def test_weights_off_the_restricted_block_are_tested_with_all_features():
    """Trained on few prompts they leave the block; sampled prompts have the same error."""
    inputs = {"eigenvalues": [1, 0.5], "context_length": 3, "noise_variance": 0.1}
    task = Task(teachers=Pool([[1, 1], [0.5, -1]]), **inputs)
    model = Separate(heads=2)
    start = initial_weights(model, task, scale=0.5)
    run = train(
        model, sample(task, sequences=30), start, learning_rate=0.1, steps=60, record=30
    )
    new = Task(**inputs)
    tested = error_along_run(model, run, new)
    from attndyn.simulate import evaluate

    many = sample(new, sequences=200_000, split="test")
    assert tested.loss == pytest.approx(evaluate(model, many, run), rel=0.03)
    np.testing.assert_array_equal(tested.flow_time, run.weight_flow_time)
    assert tested.settings["loss"] == "exact test error"


def test_the_tasks_of_curve_and_run_are_compared():
    times = [0.0, 10, 1000]
    predicted = learning_curve_of_tasks(TRAINING, NEW, 200, times)
    maps = np.zeros((3, D, D))
    assert overlay(error_curve(predicted), readout_run(times, maps, NEW)).notes == ()
    noisy = readout_run(times, maps, white_task(Sphere(D), noise=0.3))
    with pytest.raises(ValueError, match=r"noise_variance = 0\.05 .* test both on the"):
        overlay(error_curve(predicted), noisy)
    limit = learning_curve([0, 1], tau=1.25, alpha=4, kappa=0.5, noise=0.05)
    with pytest.raises(ValueError, match="curve has dimension = 5 and the run dime"):
        overlay(error_curve(limit, dimension=5), readout_run(times, maps, NEW))
    over = overlay(error_curve(limit, dimension=D), readout_run(times, maps, NEW))
    assert over.notes == ("the curve does not state its task, which was not compared",)
    many_pools = learning_curve_of_tasks(NEW, NEW, 200, times, tasks=3, pools=2)
    assert error_curve(many_pools, "training tasks").settings == {}
    assert Task.from_dict(error_curve(many_pools).settings["task"]) == NEW


def test_a_trained_loss_is_said_to_be_no_error_on_new_prompts():
    task, model = Task([1, 0.5], context_length=8), Merged(heads=1)
    start = initial_weights(model, task, scale=0.1)
    run = train(model, sample(task, 50), start, learning_rate=0.1, steps=20, record=5)
    curve = error_curve(errors_along_training(task, task, run.flow_time, 0.1))
    (note,) = overlay(curve, run).notes
    assert note.endswith("error_along_run has that")
    assert overlay(curve, error_along_run(model, run, task)).notes == ()


def test_tested_runs_are_stored_and_keep_the_task_of_training(tmp_path):
    model = Merged(heads=1)
    start = initial_weights(model, TRAINING, scale=0.1)
    data = sample(TRAINING, 20)
    run = train(model, data, start, learning_rate=0.1, steps=6, record=3)
    tested = error_along_run(model, run, NEW)
    again = Trajectory.load(tested.save(tmp_path / "tested.npz"))
    np.testing.assert_array_equal(again.loss, tested.loss)
    assert Task.from_dict(again.settings["task"]) == NEW
    assert Task.from_dict(again.settings["trained_on"]) == TRAINING
    # Tested once more, it is still that run.
    own = error_along_run(model, tested, TRAINING)
    np.testing.assert_array_equal(own.loss, error_along_run(model, run, TRAINING).loss)
    assert own.settings["trained_on"] == tested.settings["trained_on"]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Merged(heads=1), "softmax = False and the run softmax = True"),
        (Merged(heads=2, softmax=True), "heads = 2 and the run heads = 1"),
        (Separate(heads=1), "model = Separate and the run model = Merged"),
    ],
)
def test_a_run_is_tested_as_the_model_that_was_trained(other, words):
    trained = Merged(heads=1, softmax=True)
    start = initial_weights(trained, NEW, scale=0.1)
    run = train(trained, sample(NEW, 20), start, learning_rate=0.1, steps=3)
    with pytest.raises(ValueError, match=words):
        error_along_run(other, run, NEW)


def test_times_of_a_curve_may_come_in_any_order():
    pool, new = Task([1, 0.5], context_length=8), Task([1, 0.5], context_length=4)
    sorted_times, mixed = [0.0, 5, 50], [50.0, 0, 5]
    for make in (
        lambda t: learning_curve_of_tasks(pool, new, 40, t),
        lambda t: errors_along_training(pool, new, t, 0.1),
        lambda t: error_curve(errors_along_training(pool, new, t, 0.1)),
    ):
        rows, others = (
            {k: v for k, v in make(t).summary().rows.items() if k != "flow time"}
            for t in (sorted_times, mixed)
        )
        assert rows == others


def test_curves_are_stored_and_read_again(tmp_path):
    predicted = learning_curve_of_tasks(TRAINING, NEW, 200, [0, 10.0, 100.0])
    curve = error_curve(predicted)
    path = curve.save(tmp_path / "curve.npz")
    again = load_curve(path)
    assert isinstance(again, ErrorCurve)
    assert again.to_dict() == curve.to_dict()
    assert "new tasks" in repr(again)
    ax = again.plot()
    assert ax.get_lines()[0].get_label() == "new tasks (equivalent of these tasks)"
    np.savez(tmp_path / "broken.npz", flow_time=[0.0], loss=[1.0])
    with pytest.raises(
        ValueError, match="is no error curve: tested_on, source missing"
    ):
        ErrorCurve.load(tmp_path / "broken.npz")
    texts = {"tested_on": "new tasks", "source": "me"}
    np.savez(tmp_path / "early.npz", flow_time=[-1.0], loss=[1.0], **texts)
    with pytest.raises(ValueError, match="no times below 0"):
        ErrorCurve.load(tmp_path / "early.npz")
    np.savez(
        tmp_path / "other.npz",
        flow_time=[0.0],
        loss=[1.0],
        tested_on="old tasks",
        source="me",
    )
    with pytest.raises(ValueError, match="tested_on must be"):
        ErrorCurve.load(tmp_path / "other.npz")


def test_what_is_no_curve_is_refused():
    limit = learning_curve([0.5, 2.0], tau=1.25, alpha=4, kappa=0.5, noise=0.05)
    with pytest.raises(ValueError, match="pass the dimension of the run"):
        error_curve(limit)
    with pytest.raises(ValueError, match="tasks must be"):
        error_curve(limit, "old tasks", dimension=4)
    grid = learning_curve([[0.5, 2.0]], tau=1.25, alpha=4, kappa=0.5, noise=0.05)
    with pytest.raises(ValueError, match=r"have shape \(T,\)"):
        error_curve(grid, dimension=4)
    finite = learning_curve_of_tasks(TRAINING, NEW, 200, [1.0])
    with pytest.raises(ValueError, match="leave it out"):
        error_curve(finite, dimension=D)
    with pytest.raises(TypeError, match="not ndarray"):
        error_curve(np.zeros(3))


def test_what_is_no_run_is_refused():
    with pytest.raises(ValueError, match="M must"):
        readout_run([0, 1], np.zeros((2, 3, 3)), NEW)
    with pytest.raises(TypeError, match="call readout_run"):
        readout_run([0, 1], np.zeros((2, 3, 3)), None)
    with pytest.raises(ValueError, match="flow_time must be an array of real numbers"):
        readout_run([0, 1j], np.zeros((2, D, D)), NEW)
    with pytest.raises(TypeError, match="call error_along_run"):
        error_along_run(NEW, Merged(1), NEW)
    times = np.arange(2.0)
    weights = {
        "value": np.zeros((2, 1, D + 1)),
        "key_query": np.zeros((2, 1, D + 1, D + 1)),
    }
    without_rate = Trajectory(times, times, times, times, weights, None, unit="steps")
    with pytest.raises(ValueError, match="learning rate"):
        error_along_run(Merged(1), without_rate, NEW)
    with pytest.raises(ValueError, match="softmax"):
        error_along_run(Merged(1, softmax=True), without_rate, NEW)
