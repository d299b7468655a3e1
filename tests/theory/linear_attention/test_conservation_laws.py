"""Conserved quantities: proved with SymPy, held by flow on tokens, broken by descent at first order."""

import numpy as np
import pytest
import sympy as sp

from attndyn import Factorised, Merged, Separate
from attndyn.theory.linear_attention import conserved_quantities

MODELS = [Merged(heads=3), Separate(heads=2, rank=1), Separate(heads=2, rank=2)]


def symbolic_weights(model, dimension):
    return {
        name: np.array(
            sp.symbols(f"{name}0:{int(np.prod(shape))}"), dtype=object
        ).reshape(shape)
        for name, shape in model.shapes(dimension).items()
    }


def derivative(quantity, output, weights):
    """d(quantity)/dt along θ' = ∂ŷ/∂θ: zero for every G and x_q means conserved by the flow of any loss of ŷ."""
    symbols = [symbol for array in weights.values() for symbol in array.ravel()]
    return sp.expand(sum(sp.diff(quantity, s) * sp.diff(output, s) for s in symbols))


def output(model, weights, dimension):
    size = dimension + 1
    G = np.array(
        [
            [sp.Symbol(f"G{min(i, j)}{max(i, j)}") for j in range(size)]
            for i in range(size)
        ],
        dtype=object,
    )
    x = np.array(sp.symbols(f"x0:{dimension}"), dtype=object)
    a, B = model.heads(weights)
    return sp.expand(sum(a[h] @ G @ B[h] @ x for h in range(len(a))))


@pytest.mark.parametrize(
    "model", [Merged(heads=2), Separate(heads=1, rank=2), Separate(heads=2)], ids=str
)
def test_proved_symbolically(model):
    weights = symbolic_weights(model, 2)
    ŷ = output(model, weights, 2)
    for quantity in conserved_quantities(model, weights).values():
        assert all(derivative(entry, ŷ, weights) == 0 for entry in quantity.ravel())


def test_proof_rejects_the_restricted_formula_on_all_weights():
    model = Separate(heads=1)
    weights = symbolic_weights(model, 2)
    v, k = weights["value"][0, -1], weights["key"][0, 0, :-1]
    assert derivative(v**2 - k @ k, output(model, weights, 2), weights) != 0


def token_gradient(model, weights, X, target):
    """−½ ∂L/∂θ of the mean squared error on the tokens X (P, D+1, N+1), by complex step."""

    def loss(moved):
        a, B = model.heads(moved)
        outputs = (
            np.einsum("hi,pin,pjn,hjd,pd->p", a, X, X, B, X[:, :-1, -1], optimize=True)
            / X.shape[2]
        )
        return np.mean((target - outputs) ** 2)

    flow = {}
    for name, array in weights.items():
        flow[name] = np.zeros(array.shape)
        for entry in np.ndindex(array.shape):
            moved = {key: value.astype(complex) for key, value in weights.items()}
            moved[name][entry] += 1e-30j
            flow[name][entry] = -0.5 * loss(moved).imag / 1e-30
    return flow


def tokens(seed, dimension=2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(6, dimension + 1, 5))
    X[:, -1, -1] = 0
    return X, rng.normal(size=6)


def start(model, seed, dimension=2):
    rng = np.random.default_rng(seed)
    return {
        name: 0.5 * rng.normal(size=shape)
        for name, shape in model.shapes(dimension).items()
    }


def rates(model, quantities, weights, flow):
    """Time derivative of every quantity along the flow, relative to the speed of the weights."""
    moved = {name: weights[name] + 1e-30j * flow[name] for name in weights}
    speed = max(np.max(np.abs(part)) for part in flow.values())
    return {
        name: np.max(np.abs(value.imag)) / 1e-30 / speed
        for name, value in quantities(model, moved).items()
    }


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_flow_on_tokens_conserves(model):
    weights = start(model, seed=1)
    flow = token_gradient(model, weights, *tokens(seed=2))
    assert max(rates(model, conserved_quantities, weights, flow).values()) < 1e-13


def wrong_quantities(model, weights):
    """Formulas with one named mistake each."""
    a = weights["value"]
    if isinstance(model, Merged):
        B = weights["key_query"][..., :-1].reshape(len(a), -1)
        restricted = weights["key_query"][:, :-1, :-1].reshape(len(a), -1)
        return {
            "sum for difference": a @ a.T + B @ B.T,
            "restricted block": np.outer(a[:, -1], a[:, -1])
            - restricted @ restricted.T,
            "twice the matrices": a @ a.T - 2 * B @ B.T,
        }
    K, Q = weights["key"], weights["query"][..., :-1]
    return {
        "keys without y": K[..., :-1] @ K[..., :-1].swapaxes(1, 2)
        - Q @ Q.swapaxes(1, 2),
        "columns for rows": K[..., :-1].swapaxes(1, 2) @ K[..., :-1]
        - Q.swapaxes(1, 2) @ Q,
        "value onto y alone": a[:, -1] ** 2 - np.sum(K**2, axis=(1, 2)),
        "keys and queries": np.sum(a**2, axis=1)
        - np.sum(K**2, axis=(1, 2))
        - np.sum(Q**2, axis=(1, 2)),
    }


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_flow_rejects_wrong_quantities(model):
    weights = start(model, seed=1)
    flow = token_gradient(model, weights, *tokens(seed=2))
    assert min(rates(model, wrong_quantities, weights, flow).values()) > 1e-3


def outputs_gradient(model, weights, X, targets):
    """−½ ∂/∂θ of the squared error of K outputs on tokens X (P, N+1, D+K), by complex steps; the query's y are 0."""
    K = model.outputs

    def loss(moved):
        a, B = model.heads(moved)
        a = a.reshape(len(a), K, -1)
        xq = X[:, -1, :-K]
        ŷ = np.einsum("hki,pni,pnj,hjd,pd->pk", a, X, X, B, xq, optimize=True)
        return np.mean(np.sum((targets - ŷ / X.shape[1]) ** 2, axis=1))

    flow = {}
    for name, array in weights.items():
        flow[name] = np.zeros(array.shape)
        for entry in np.ndindex(array.shape):
            moved = {key: value.astype(complex) for key, value in weights.items()}
            moved[name][entry] += 1e-30j
            flow[name][entry] = -0.5 * loss(moved).imag / 1e-30
    return flow


@pytest.mark.parametrize(
    "model",
    [
        Merged(2, outputs=2),
        Separate(2, 2, outputs=3),
        Separate(1, outputs=2),
        Factorised(2, outputs=2),
        Factorised(2, rank=1, value_rank=3, outputs=2),
        Factorised(1),
    ],
    ids=str,
)
def test_flow_of_several_outputs_conserves(model):
    rng = np.random.default_rng(0)
    K = model.outputs
    X = rng.normal(size=(5, 6, 2 + K))
    X[:, -1, -K:] = 0
    weights = start(model, seed=1)
    flow = outputs_gradient(model, weights, X, rng.normal(size=(5, K)))
    assert max(rates(model, conserved_quantities, weights, flow).values()) < 1e-13

    def doubled(model, weights):
        return conserved_quantities(model, weights | {"value": 2 * weights["value"]})

    assert max(rates(model, doubled, weights, flow).values()) > 1e-3


def test_weights_of_a_factorised_model_are_checked():
    model = Factorised(2, value_rank=2)
    weights = start(model, 0)
    found = conserved_quantities(model, weights)
    assert found["output_value"].shape == (2, 2, 2)
    assert found["key_query"].shape == (2, 3, 3)
    assert found["value_key"].shape == (2,)
    stacked = {name: np.stack([part, 2 * part]) for name, part in weights.items()}
    many = conserved_quantities(model, stacked)
    assert np.allclose(many["output_value"][1], 4 * found["output_value"])
    for change, message in (
        ({"output": np.ones((2, 1, 3))}, r"value must have shape \(2, 3, 3\)"),
        ({"value": np.ones(3)}, "must have shape"),
        ({"value": np.ones((3, 2, 3))}, r"value must have shape \(2, 2, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            conserved_quantities(model, weights | change)


def test_records_of_several_outputs_keep_their_axes():
    model = Separate(2, 3, outputs=2)
    many = [start(model, seed) for seed in range(4)]
    stacked = {name: np.stack([w[name] for w in many]) for name in many[0]}
    found = conserved_quantities(model, stacked)
    assert found["key_query"].shape == (4, 2, 3, 3)
    assert found["value_key"].shape == (4, 2)
    for name, values in found.items():
        assert np.allclose(values[3], conserved_quantities(model, many[3])[name])
    with pytest.raises(ValueError, match=r"value must have shape \(2, 2, 4\)"):
        conserved_quantities(model, many[0] | {"value": np.ones((2, 3, 4))})


def drifts(model, learning_rate, flow_time=0.1):
    """Largest change in a fixed flow time of descent: of what flow conserves, and of the squared values."""
    weights, data = start(model, seed=3), tokens(seed=4)
    records = [weights]
    for _ in range(round(flow_time / (2 * learning_rate))):
        flow = token_gradient(model, weights, *data)
        weights = {
            name: weights[name] + 2 * learning_rate * flow[name] for name in weights
        }
        records.append(weights)
    history = {name: np.stack([record[name] for record in records]) for name in weights}
    kept = max(
        np.max(np.abs(value - value[0]))
        for value in conserved_quantities(model, history).values()
    )
    return kept, np.max(np.abs(history["value"] ** 2 - history["value"][0] ** 2))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_descent_breaks_them_at_first_order(model):
    rates = np.array([0.002, 0.001, 0.0005])
    orders = np.polyfit(
        np.log(rates), np.log([drifts(model, rate) for rate in rates]), 1
    )[0]
    assert orders[0] == pytest.approx(1, abs=0.1)
    assert orders[1] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_vectorised_over_records(model):
    many = [start(model, seed) for seed in range(6)]
    stacked = {
        name: np.stack([w[name] for w in many]).reshape(2, 3, *many[0][name].shape)
        for name in many[0]
    }
    for name, values in conserved_quantities(model, stacked).items():
        assert np.allclose(
            values[1, 2], conserved_quantities(model, many[5])[name], rtol=1e-13
        )


def test_shapes():
    merged, separate = (
        conserved_quantities(model, start(model, 0)) for model in MODELS[::2]
    )
    assert {name: value.shape for name, value in merged.items()} == {
        "value_key_query": (3, 3)
    }
    assert {name: value.shape for name, value in separate.items()} == {
        "key_query": (2, 2, 2),
        "value_key": (2,),
    }


def test_refuses_models_without_known_quantities():
    model = Separate(heads=2, softmax=True)
    with pytest.raises(ValueError, match="linear Merged, Separate and Factorised"):
        conserved_quantities(model, start(model, 0))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.float16, np.float32, bool])
@pytest.mark.parametrize(
    "model", [Merged(heads=2), Separate(heads=2, rank=2)], ids=["merged", "separate"]
)
def test_storage_of_the_weights_does_not_matter(model, kind):
    generator = np.random.default_rng(0)
    weights = {
        name: generator.integers(0, 100, shape).astype(kind)
        for name, shape in model.shapes(2).items()
    }
    doubles = {name: weight.astype(float) for name, weight in weights.items()}
    found, exact = (
        conserved_quantities(model, weights),
        conserved_quantities(model, doubles),
    )
    for name, values in exact.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": np.full((2, 1, 3), np.nan)}, "key must be finite"),
        ({"value": np.ones((3, 3))}, r"value must have shape \(2, 3\), not \(3, 3\)"),
        (
            {"query": np.ones((1, 2, 1, 3))},
            r"query must have shape \(2, 1, 3\), not \(1, 2, 1, 3\)",
        ),
        (
            {"query": np.ones((2, 1, 4))},
            r"query must have shape \(2, 1, 3\), not \(2, 1, 4\)",
        ),
    ],
)
def test_wrong_weights_are_refused(change, message):
    model = Separate(heads=2)
    weights = {name: np.ones(shape) for name, shape in model.shapes(2).items()}
    with pytest.raises(ValueError, match=message):
        conserved_quantities(model, weights | change)
    with pytest.raises(ValueError, match="query is missing"):
        conserved_quantities(model, {"value": weights["value"], "key": weights["key"]})
