"""Products of factors that gradient flow keeps: gradient descent moves them at the order of its learning rate."""

import numpy as np
import pytest

from attndyn import Factorised
from attndyn.simulate import prompts_from_arrays, train

D, N, PROMPTS = 3, 6, 40
FLOW_TIME = 4.0


def balance(weights):
    """K Kᵀ − Q Qᵀ and Oᵀ O − V Vᵀ of every head, in one row."""
    key, query = weights["key"], weights["query"]
    value, output = weights["value"], weights["output"]
    keys = key @ key.swapaxes(1, 2) - query @ query.swapaxes(1, 2)
    values = output.swapaxes(1, 2) @ output - value @ value.swapaxes(1, 2)
    return np.concatenate([keys.ravel(), values.ravel()])


def products(weights):
    """The same with sums in place of differences, which nothing keeps."""
    signs = {"query": 1j, "value": 1j}
    return balance(
        {name: signs.get(name, 1) * array for name, array in weights.items()}
    ).real


@pytest.mark.parametrize("query_token", [False, True])
@pytest.mark.parametrize("outputs", [1, 2])
def test_they_drift_at_the_order_of_the_rate(query_token, outputs):
    model = Factorised(
        2,
        outputs=outputs,
        softmax=True,
        query_token=query_token,
        score_divisor="sqrt_key",
    )
    draws = np.random.default_rng(1)
    x = draws.normal(size=(PROMPTS, N + 1, D))
    # Conserved by any data: these labels follow no teacher.
    y = draws.normal(size=(PROMPTS, N + 1, outputs)) + x[..., :outputs]
    data = prompts_from_arrays(x, y)
    shapes = model.shapes(D)
    start = {name: 0.3 * draws.normal(size=shape) for name, shape in shapes.items()}
    drifts, changes = [], []
    for rate in (0.02, 0.01):
        steps = round(FLOW_TIME / (2 * rate))
        run = train(model, data, start, learning_rate=rate, steps=steps)
        drifts.append(np.max(np.abs(balance(run.final) - balance(start))))
        changes.append(np.max(np.abs(products(run.final) - products(start))))
    assert drifts[0] / drifts[1] == pytest.approx(2, rel=0.03)
    # The control: sums move as far at every rate, and much further.
    assert changes[0] / changes[1] == pytest.approx(1, rel=0.03)
    assert changes[1] > 30 * drifts[1]
