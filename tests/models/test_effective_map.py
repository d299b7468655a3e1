"""The effective map of weights: against the sum over heads written out, and with leading axes."""

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.models.effective_map import effective_map, heads_with_leading_axes
from attndyn.simulate import external_run, sample, train


class Tied:
    """Key and query are one: a user's model, whose `heads` knows no leading axes."""

    def shapes(self, dimension):
        return {"value": (2, dimension + 1), "key": (2, 1, dimension + 1)}

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key.swapaxes(1, 2) @ key[..., :-1]


def random_weights(model, leading, dimension=3):
    rng = np.random.default_rng(0)
    shapes = model.shapes(dimension).items()
    return {name: rng.normal(size=(*leading, *shape)) for name, shape in shapes}


def sum_over_heads(model, weights):
    a, B = model.heads(weights)
    return sum(
        a_h[-1] * B_h[:-1] + np.outer(a_h[:-1], B_h[-1])
        for a_h, B_h in zip(a, B, strict=True)
    )


MODELS = [Merged(heads=3), Separate(heads=2, rank=2), Tied()]


@pytest.mark.parametrize("model", MODELS)
def test_one_set_of_weights(model):
    weights = random_weights(model, ())
    expected = sum_over_heads(model, weights)
    np.testing.assert_allclose(effective_map(model, weights), expected, rtol=1e-14)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("leading", [(4,), (2, 3)])
def test_leading_axes(model, leading):
    weights = random_weights(model, leading)
    maps = effective_map(model, weights)
    assert maps.shape == (*leading, 3, 3)
    for index in np.ndindex(leading):
        row = {name: value[index] for name, value in weights.items()}
        np.testing.assert_allclose(maps[index], sum_over_heads(model, row), rtol=1e-12)


def test_heads_of_a_users_model_keep_the_leading_axes():
    a, B = heads_with_leading_axes(Tied(), random_weights(Tied(), (4, 2)))
    assert a.shape == (4, 2, 2, 4)
    assert B.shape == (4, 2, 2, 4, 3)


@pytest.mark.parametrize("model", [Merged(heads=2), Tied()])
def test_of_a_run_it_is_the_map_of_all_stored_weights(model):
    start = random_weights(model, (), dimension=2)
    data = sample(Task([2, 1], context_length=5), 20)
    run = train(model, data, start, learning_rate=1e-3, steps=4, record=2)
    maps = effective_map(model, run)
    assert maps.shape == (3, 2, 2)
    assert np.array_equal(maps, effective_map(model, run.weights))
    with pytest.raises(ValueError, match="this run holds no weights"):
        effective_map(model, external_run([1.0, 0.5]))
    with pytest.raises(ValueError, match="the model has weights"):
        effective_map(Separate(heads=2), run)


def test_another_order_is_answered_with_the_call():
    model = Merged(heads=2)
    weights = random_weights(model, ())
    for swapped in ((weights, model), (model, model), (model, [1.0])):
        with pytest.raises(TypeError, match=r"call effective_map\(model, weights\)"):
            effective_map(*swapped)
    run = external_run([1.0], weights={0: weights})
    with pytest.raises(TypeError, match=r"run.effective_map\(model\): got dict"):
        run.effective_map(weights)
