"""Starts in the symmetric family, of every built-in model."""

import numpy as np
import pytest

from attndyn import Factorised, Merged, Separate, Task
from attndyn.simulate import Experiment, load, predict, sample, symmetric_weights
from attndyn.theory.softmax_attention import family_distance, head_scalars

TASK = Task([1] * 3, context_length=6)
OMEGA, MU = np.array([0.3, -0.2]), np.array([-1.2, 0.5])
OPTIONS = {"softmax": True, "query_token": False, "score_divisor": "sqrt_key"}
MODELS = [
    Merged(2, **OPTIONS),
    Separate(2, rank=5, **OPTIONS),
    Factorised(2, **OPTIONS),
    Factorised(2, 3, 2, **OPTIONS),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_the_output_is_that_of_the_two_numbers(model):
    weights = symmetric_weights(model, TASK, OMEGA, MU)
    tokens = sample(TASK, 4).tokens
    x, y, query = tokens[:, :-1, :3], tokens[:, :-1, 3], tokens[:, -1, :3]
    scores = np.einsum("h,pnd,pd->phn", OMEGA, x, query)
    shares = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    expected = np.einsum("h,phn,pn->p", MU, shares, y)
    heads = model.heads(weights)
    np.testing.assert_allclose(predict(model, heads, tokens), expected, rtol=1e-12)
    ω, μ = head_scalars(model, weights)
    np.testing.assert_allclose((ω, μ), (OMEGA, MU), rtol=1e-12)
    assert family_distance(model, weights) < 1e-12


@pytest.mark.parametrize(
    ("model", "omega", "mu", "message"),
    [
        (Merged(2), [1, 1], [1, 1], "two numbers of a softmax head"),
        (Merged(2, softmax=True, outputs=2), [1, 1], [1, 1], "one output, not for 2"),
        (Merged(2, softmax=True), [1.0], [1, 1], r"omega must have shape \(2,\)"),
        (Merged(2, softmax=True), [1, 1], [1.0], r"mu must have shape \(2,\)"),
        (Merged(2, softmax=True), [1, np.nan], [1, 1], "omega must be finite"),
        (Separate(2, 2, softmax=True), [1, 1], [1, 1], "rank of at least D = 3"),
    ],
)
def test_other_heads_are_refused(model, omega, mu, message):
    with pytest.raises(ValueError, match=message):
        symmetric_weights(model, TASK, omega, mu)


def test_arguments_have_an_order():
    with pytest.raises(TypeError, match=r"symmetric_weights\(model, task, omega, mu\)"):
        symmetric_weights(TASK, MODELS[0], OMEGA, MU)


def test_an_experiment_begins_with_given_weights(tmp_path):
    model = MODELS[0]
    initial = symmetric_weights(model, TASK, OMEGA, MU)
    settings = {"batch": 20, "learning_rate": 0.1, "steps": 2}
    experiment = Experiment(TASK, model, initial=initial, **settings)
    assert Experiment.from_dict(experiment.to_dict()) == experiment
    assert "scale" not in experiment.to_dict()
    assert "initial" not in repr(experiment)
    run = load(experiment.run().save(tmp_path / "run.npz"))
    for name, weight in initial.items():
        np.testing.assert_array_equal(run.initial[name], weight)
    other = Experiment(
        TASK, model, initial=symmetric_weights(model, TASK, MU, MU), **settings
    )
    assert other.digest != experiment.digest
    with pytest.raises(ValueError, match="initial are the weights themselves"):
        Experiment(TASK, model, initial=initial, scale=0.1, **settings)
    with pytest.raises(ValueError, match="scale must be one number, not None"):
        Experiment(TASK, model, **settings)
    with pytest.raises(ValueError, match="start must hold the weights"):
        Experiment(TASK, model, initial={"value": [1.0]}, **settings)
