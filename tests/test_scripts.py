"""Scripts of users in the words in which they would write them, made small; each ends in a check that can fail."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest

from attndyn import Factorised, Merged, Separate, Task
from attndyn.cli import main
from attndyn.compare import match_plateaus, overlay, validity_curves, verify
from attndyn.simulate import (
    Adam,
    GradientDescent,
    Schedule,
    Sweep,
    evaluate,
    external_run,
    initial_weights,
    load,
    load_sweep,
    predict,
    prompts_from_arrays,
    prompts_from_tokens,
    run_sweep,
    sample,
    statistics,
    train,
)
from attndyn.teachers import Gaussian, Mixture, Pool
from attndyn.theory import fixed_points, population, ridge, staircase, time_course
from attndyn.theory.symbolic import derive

TASK = Task([2, 1], context_length=31)


def small_run(model, steps=400, rate=0.02, scale=0.05):
    stats = statistics(sample(TASK, 4_000), model)
    start = initial_weights(model, TASK, scale=scale, scheme="restricted")
    return train(model, stats, start, learning_rate=rate, steps=steps)


def test_merged_drops_once_from_random_starts():
    task, model = Task([2, 1], trace=1.0, context_length=31), Merged(heads=4)
    stats = statistics(sample(task, 20_000), model)
    axes = None
    for seed in range(2):
        start = initial_weights(model, task, scale=0.01, seed=seed, scheme="zhang2025")
        run = train(model, stats, start, learning_rate=0.1, steps=300)
        comparison = overlay(time_course(task, model, run.flow_time, start), run)
        axes = comparison.plot(axes, x="steps")
        assert comparison.l2_gap < 0.05
    assert axes.get_xlabel()


def test_separate_climbs_a_staircase_whose_plateaus_are_fixed_points():
    model = Separate(heads=3, rank=1)
    stats = statistics(sample(TASK, 20_000), model)
    start = initial_weights(model, TASK, scale=0.05, scheme="restricted")
    run = train(model, stats, start, learning_rate=0.02, steps=4_000)
    steps = staircase(TASK, model, start)
    axes = run.plot(x="flow_time")
    steps.plot(axes, levels=True)
    matches = match_plateaus(fixed_points(TASK, model), run)
    assert [match.point.subset for match in matches][-1] == (1, 2)


def test_softmax_heads_on_fresh_batches_with_adam():
    law = Gaussian(np.eye(5) / 5)
    task = Task([1] * 5, teachers=law, noise_variance=0.1, context_length=40)
    model = Factorised(
        heads=2, softmax=True, query_token=False, score_divisor="sqrt_key"
    )
    start = initial_weights(model, task, scale=0.1)
    run = train(model, task, start, optimizer=Adam(1e-3), batch=32, steps=30)
    losses = evaluate(model, sample(task, 500, split="test"), run)
    assert losses.shape == run.weight_time.shape


def test_labels_of_three_tasks_on_their_supports():
    task = Task(
        [1] * 6,
        teachers=Gaussian.on_supports(6, [[0, 1], [2, 3], [4, 5]]),
        noise_variance=0.1,
        query_noise_variance=0.0,
        context_length=24,
    )
    model = Factorised(
        heads=4, outputs=3, softmax=True, query_token=False, score_divisor="sqrt_key"
    )
    start = initial_weights(model, task, scale=0.1)
    run = train(model, task, start, learning_rate=0.01, batch=100, steps=20)
    assert run.loss[0] == pytest.approx(3, rel=0.3)


def test_vector_labels_on_the_restricted_block():
    law = Gaussian.shared_basis([1, 1, 1])
    task, model = (
        Task([1, 0.6, 0.3], teachers=law, context_length=50),
        Merged(1, outputs=3),
    )
    stats = statistics(sample(task, 2_000), model, block="restricted")
    start = initial_weights(model, task, scale=0.05, scheme="restricted")
    run = train(model, stats, start, learning_rate=0.05, steps=300)
    assert run.loss[-1] < 0.7 * run.loss[0]


def test_a_pool_against_ridge_and_its_own_posterior_mean():
    from attndyn.theory.predictors import pool_posterior

    law = Gaussian(np.eye(8)).pool(64, seed=0)
    task = Task([1] * 8, teachers=law, noise_variance=0.25, context_length=15)
    data = sample(task, 1_000, split="test")
    x, y, query = data.context
    of_ridge = ridge(x, y, query, noise_variance=0.25)
    of_pool = pool_posterior(x, y, query, task)
    errors = [
        np.mean((prediction - data.labels) ** 2) for prediction in (of_ridge, of_pool)
    ]
    assert 0.25 < errors[1] < errors[0]


def test_the_mean_over_all_positions_without_context_too():
    task, model = Task([1] * 5, context_length="0..10"), Merged(4, divisor="tokens")
    start = initial_weights(model, task, scale=0.1)
    run = train(model, task, start, optimizer=Adam(1e-3), batch=64, steps=200)
    assert run.loss[-20:].mean() < run.loss[:20].mean()
    assert population(task, model).minimum_loss / 5 == pytest.approx(0.62135, abs=5e-6)


def test_uniform_inputs_have_a_least_loss_of_their_own():
    least = {
        law: population(
            Task([1 / 12] * 10, inputs=law, context_length=10), Merged(heads=1)
        ).minimum_loss
        for law in ("uniform", "gaussian")
    }
    assert least["uniform"] == pytest.approx(0.41246, abs=5e-6)
    assert least["gaussian"] == pytest.approx(0.43651, abs=5e-6)


def test_the_preconditioner_of_a_rotated_covariance():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    C = rotation @ np.diag([1, 0.25, 2.25]) @ rotation.T
    inverse = np.linalg.inv(C)
    task = Task(covariance=C, teacher_covariance=inverse, context_length=20)
    learned = population(task, Merged(heads=1)).minimum
    np.testing.assert_allclose(learned, inverse / (1 + (3 + 1) / 20), rtol=1e-9)

    law = {"teacher_covariance": inverse, "context_length": 20, "inputs": "sphere"}
    sphere = population(Task(covariance=C, **law), Merged(heads=1)).minimum
    # On the sphere |z|² = D: E[(zᵀz) z zᵀ] = D, where a Gaussian z has D + 2.
    np.testing.assert_allclose(sphere, inverse / (1 + (3 - 1) / 20), rtol=1e-9)


def test_ones_own_losses_and_checkpoints(tmp_path):
    model = Separate(heads=2)
    mine = small_run(model)
    log = tmp_path / "log.csv"
    rows = [
        f"{step},{loss / 2}" for step, loss in zip(mine.steps, mine.loss, strict=True)
    ]
    log.write_text("step,loss\n" + "\n".join(rows), encoding="utf-8")
    # The loss with ½, at twice the rate.
    run = external_run(log, learning_rate=0.04, loss_scale=0.5)
    np.testing.assert_allclose(run.flow_time, mine.flow_time)
    np.testing.assert_allclose(run.loss, mine.loss)
    over = overlay(time_course(TASK, model, run.flow_time, 0.05), run)
    assert over.plot(x="steps").get_xlabel() == "steps"

    weights = {int(step): mine.weights_at(step) for step in mine.weight_time[::40]}
    run = external_run(mine.loss, weights=weights, learning_rate=0.02)
    assert run.effective_map(model).shape == (len(weights), 2, 2)
    assert len(match_plateaus(fixed_points(TASK, model), run)) >= 1


def test_an_exact_replay_and_the_in_context_predictor():
    model = Separate(heads=2)
    tokens = sample(TASK, 300).tokens
    masked, labels = tokens.copy(), tokens[:, -1, -1]
    masked[:, -1, -1] = 0
    data = prompts_from_tokens(masked, labels)
    start = initial_weights(model, TASK, scale=0.1)
    run = train(model, data, start, learning_rate=0.01, steps=40)
    again = train(model, data, run.initial, learning_rate=0.01, steps=40)
    assert abs(again.loss / run.loss - 1).max() == 0
    gap = predict(model, run.weights_at(40), data) - ridge(*data.context, 0.1)
    assert gap.shape == (300,)


def test_plateaus_under_weight_decay():
    model = Separate(heads=2)
    points = fixed_points(TASK, model, weight_decay=0.01)
    stats = statistics(sample(TASK, 4_000), model)
    start = initial_weights(model, TASK, scale=0.3, scheme="restricted")
    optimizer = GradientDescent(0.01, weight_decay=0.01)
    run = train(model, stats, start, optimizer=optimizer, steps=3_000)
    assert len(match_plateaus(points, run)) >= 1


def test_forty_dimensions_on_the_restricted_block():
    task, model = Task(1 / np.arange(1, 41), context_length=80), Separate(heads=1)
    data = sample(task, 300)
    stats = statistics(data, model, block="restricted")
    assert stats.S.nbytes < 21e6
    with pytest.raises(MemoryError, match=r'8\.9\d GiB.*pass block="restricted"'):
        statistics(data, model)


def test_a_shifted_test_and_a_figure_of_two_panels():
    import matplotlib.pyplot as plt

    model = Merged(heads=2)
    run = small_run(model, rate=0.005)
    shifted = Task([1, 2], context_length=31)
    exact = population(shifted, model).loss(run.effective_map(model))
    on_prompts = evaluate(model, sample(shifted, 4_000), run)
    np.testing.assert_allclose(exact, on_prompts, rtol=0.2)

    curve = time_course(TASK, model, run.flow_time, run.initial)
    figure, (left, right) = plt.subplots(1, 2, figsize=(3.25, 1.6))
    over = overlay(curve, run)
    over.plot(left, x="steps", lw=1, legend=False)
    over.plot_gap(right, x="steps", color="C3")
    plt.close(figure)
    assert left.get_xlabel() == right.get_xlabel()


def test_a_sweep_over_scales_and_seeds(tmp_path):
    sweep = Sweep(
        {"eigenvalues": [2, 1], "context_length": 31},
        {"model": "separate", "heads": 2},
        {"sequences": 500, "learning_rate": 0.02, "steps": 50},
        {"scale": [0.1, 0.2], "seed": [0, 1]},
    )
    run_sweep(sweep, tmp_path / "out", ThreadPoolExecutor(1))
    runs = load_sweep(tmp_path / "out")
    assert "4" in repr(runs)
    axes = validity_curves(runs, "exit_time", x="scale")
    assert "scale" in axes.get_xlabel()


class Tied:
    score_divisor = "sqrt_key"

    def shapes(self, dimension):
        return {"value": (4, dimension + 1), "key": (4, dimension + 1)}

    def heads(self, w):
        return w["value"], w["key"][:, :, None] * w["key"][:, None, :-1]


def test_a_model_of_ones_own():
    stats = statistics(sample(TASK, 500), Tied())
    start = initial_weights(Tied(), TASK, scale=0.1)
    run = train(Tied(), stats, start, learning_rate=0.01, steps=20)
    assert run.loss[-1] < run.loss[0]
    assert "sqrt" not in str(derive(Task([1], context_length=3), Tied()).loss)[:50]


def test_a_notebook_shows_every_result_on_one_screen():
    model = Separate(heads=2)
    run = small_run(model)
    stats = statistics(sample(TASK, 500), model)
    curve = time_course(TASK, model, run.flow_time, 0.05)
    steps = staircase(TASK, model, run.initial)
    points = fixed_points(TASK, model)
    results = [TASK, model, stats, run, curve, steps, overlay(curve, run)]
    results += [points, points[:3], points[-1], points.of(1, 2)]
    results += [verify(["subsets.order"], workers=1)]
    for result in results:
        assert len(repr(result).splitlines()) <= 24
        assert "<table" in result._repr_html_()
    assert points.of(1, 2).loss == points[0].loss
    assert points[-1].subset == ()


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def attndyn(line):
        assert main(line.split()) == 0
        return capsys.readouterr().out

    pool = Task([2, 1], teachers=Pool([[1, 1], [1, -1]]), context_length=9)
    (tmp_path / "pool.toml").write_text(pool.to_toml(), encoding="utf-8")
    simulate = (
        "simulate --task pool.toml --model merged --heads 4 --optimizer adam "
        "--learning-rate 1e-3 --batch 16 --checkpoint run.ckpt --out run.npz"
    )
    attndyn(f"{simulate} --steps 20")
    first = load("run.npz")
    attndyn(f"{simulate} --steps 50")
    assert np.array_equal(load("run.npz").loss[:20], first.loss)
    attndyn(f"{simulate.replace('run', 'whole')} --steps 50")
    assert np.array_equal(load("run.npz").loss, load("whole.npz").loss)

    small_run(Separate(heads=2)).save("descent.npz")
    descent = load("descent.npz")
    rows = [f"{s},{loss / 2}" for s, loss in enumerate(descent.loss)]
    (tmp_path / "log.csv").write_text("\n".join(["step,loss", *rows]), "utf-8")
    (tmp_path / "t.toml").write_text(TASK.to_toml(), encoding="utf-8")
    task = "--task t.toml --model separate --heads 2"
    options = "--learning-rate 0.04 --loss-scale 0.5 --out over.pdf"
    assert "over.pdf" in attndyn(f"overlay log.csv {task} {options}")
    assert (tmp_path / "over.pdf").read_bytes().startswith(b"%PDF")
    table = json.loads(attndyn(f"overlay descent.npz {task} --x steps --json"))
    assert {"plateaus", "scale", "fitted", "sup_gap"} <= set(table)


def test_interrupted_resumed_and_extended(tmp_path):
    model = Merged(heads=2)
    start = initial_weights(model, TASK, scale=0.1)
    options = {"optimizer": Adam(1e-3), "batch": 16}
    run = train(
        model, TASK, start, steps=20, checkpoint=tmp_path / "run.ckpt", **options
    )
    more = train(model, TASK, run, steps=50)
    whole = train(model, TASK, start, steps=50, **options)
    assert np.array_equal(more.loss, whole.loss)


def test_momentum_warm_up_and_clipping_have_a_flow_time():
    model = Merged(heads=2)
    stats = statistics(sample(TASK, 500), model)
    start = initial_weights(model, TASK, scale=0.1)
    schedule = Schedule({0: 0.0, 50: 0.001, 200: 0.0}, "cosine")
    optimizer = GradientDescent(schedule, momentum=0.9, clip_norm=1.0)
    run = train(model, stats, start, optimizer=optimizer, steps=200)
    assert np.all(np.diff(run.flow_time) >= 0)


class Transformation(NamedTuple):
    """What optax makes: two functions, and updates that are added."""

    init: object
    update: object


def signs(rate):
    def update(gradients, state, weights=None):
        steps = {name: -rate * np.sign(value) for name, value in gradients.items()}
        return steps, state

    return Transformation(lambda weights: (), update)


def test_a_function_as_optimizer_and_minibatches():
    model = Merged(heads=2)
    data, start = sample(TASK, 200), initial_weights(model, TASK, scale=0.1)
    run = train(
        model,
        statistics(data, model),
        start,
        optimizer=lambda gradients, weights, step: {
            name: -0.01 * np.sign(gradient) for name, gradient in gradients.items()
        },
        steps=20,
    )
    assert np.max(np.abs(run.final["value"] - start["value"])) <= 0.2 + 1e-12
    same = train(model, statistics(data, model), start, optimizer=signs(0.01), steps=20)
    assert np.array_equal(same.loss, run.loss)
    small = train(model, data, start, learning_rate=0.002, batch=20, steps=15, seed=1)
    assert len(small.loss) == 15


def test_in_weight_learning_and_two_fixed_tasks_beside_it():
    one = Task([1, 1], context_length=5, fixed_teacher=[1, -1], in_context_fraction=0.9)
    law = Mixture((0.9, Gaussian(np.eye(2))), (0.1, Pool([[1, -1], [1, 1]])))
    two = Task([1, 1], context_length=5, teachers=law)
    assert one != two
    x, y, _ = sample(two, 100).context
    fitted = [
        np.linalg.lstsq(x_p, y_p, rcond=None)[0] for x_p, y_p in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(np.abs(fitted[90:]), 1)


def test_somebody_elses_arrays():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 21, 4)), rng.normal(size=(30, 21, 3))
    data = prompts_from_arrays(x, y, context_lengths=(10, 20))
    assert data.outputs == 3
    model = Merged(2, outputs=3)
    weights = {
        name: np.zeros(shape) for name, shape in model.shapes(data.dimension).items()
    }
    loss = evaluate(model, data, weights)
    assert loss == pytest.approx(np.mean(np.sum(y[:, [10, 20]] ** 2, axis=2)))
