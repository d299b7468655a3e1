"""The models: their heads against the whole attention matrix, what they refuse, how they travel."""

import copy
import pickle
import re

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Merged, Parametrization, Separate
from attndyn.models.built_in import MODELS, model_from_dict
from attndyn.models.divisors import attention_divisor
from attndyn.models.protocol import is_softmax

quick = settings(max_examples=25, deadline=None)
counts = st.integers(1, 4)
DIVISOR = {"context": lambda N: N, "tokens": lambda N: N + 1, "none": lambda N: 1}


@st.composite
def models(draw):
    """Merged and separate, linear with each divisor and softmax."""
    options = draw(
        st.sampled_from(
            [
                {"divisor": "context"},
                {"divisor": "tokens"},
                {"divisor": "none"},
                {"softmax": True},
            ]
        )
    )
    if draw(st.booleans()):
        return Merged(draw(counts), **options)
    return Separate(draw(counts), draw(counts), **options)


def attention(X, value, key_query, divisor):
    """All columns of one head's output on tokens X (D+1, N+1), entry by entry; divisor None means softmax."""
    size, tokens = X.shape
    output = np.zeros((size, tokens))
    for query in range(tokens):
        score = np.array([X[:, key] @ key_query @ X[:, query] for key in range(tokens)])
        weight = (
            np.exp(score) / np.exp(score).sum() if divisor is None else score / divisor
        )
        for row in range(size):
            output[row, query] = sum(
                weight[key] * (value[row] @ X[:, key]) for key in range(tokens)
            )
    return output


def whole_output(model, weights, X, rng):
    """The query's prediction: last row and column of Σ_h W^V_h X (…), every other value row being arbitrary."""
    N = X.shape[1] - 1
    divisor = None if is_softmax(model) else DIVISOR[model.divisor](N)
    total = np.zeros(X.shape)
    for h in range(model.head_count):
        value = rng.normal(size=(len(X), len(X)))
        value[-1] = weights["value"][h]
        total += attention(X, value, key_query_matrix(weights, h), divisor)
    return total[-1, -1]


def key_query_matrix(weights, h):
    if "key_query" in weights:
        return weights["key_query"][h]
    return sum(
        np.outer(k, q)
        for k, q in zip(weights["key"][h], weights["query"][h], strict=True)
    )


def from_heads(model, heads, X):
    """The query's prediction as the module's docstring states it."""
    a, B = heads
    x_query = X[:-1, -1]
    if is_softmax(model):
        score = X.T @ (B @ x_query).T
        weight = np.exp(score) / np.exp(score).sum(0)
        return float(np.sum((a @ X).T * weight))
    return float(np.einsum("hi,in,jn,hjd,d", a, X, X, B, x_query)) / attention_divisor(
        model, X.shape[1] - 1
    )


def random_case(model, dimension, N, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(dimension + 1, N + 1))
    X[-1, -1] = 0.0
    weights = {
        name: 0.5 * rng.normal(size=shape)
        for name, shape in model.shapes(dimension).items()
    }
    return X, weights, rng


@quick
@given(models(), counts, counts, st.integers(0, 2**32 - 1))
def test_heads_give_the_last_row_of_the_whole_attention_at_the_query(
    model, dimension, N, seed
):
    X, weights, rng = random_case(model, dimension, N, seed)
    expected = whole_output(model, weights, X, rng)
    assert from_heads(model, model.heads(weights), X) == pytest.approx(
        expected, rel=1e-10, abs=1e-10
    )


def swapped(model, weights):
    a, _ = model.heads(weights)
    matrices = np.array([key_query_matrix(weights, h).T for h in range(len(a))])
    return a, matrices[..., :-1]


def without_labels_in_the_keys(model, weights):
    a, B = model.heads(weights)
    B = B.copy()
    B[:, -1] = 0.0
    return a, B


def without_inputs_in_the_values(model, weights):
    a, B = model.heads(weights)
    return np.where(np.arange(a.shape[1]) == a.shape[1] - 1, a, 0.0), B


def first_columns_dropped(model, weights):
    a, _ = model.heads(weights)
    return a, np.array([key_query_matrix(weights, h) for h in range(len(a))])[..., 1:]


def heads_averaged(model, weights):
    a, B = model.heads(weights)
    return a / len(a), B


def one_rank_only(model, weights):
    return model.heads(
        {
            name: value[:, :1] if name != "value" else value
            for name, value in weights.items()
        }
    )


CASES = [
    Merged(3),
    Merged(3, divisor="tokens"),
    Merged(3, divisor="none"),
    Merged(3, softmax=True),
    Separate(3, 2),
    Separate(3, 2, divisor="tokens"),
    Separate(3, 2, divisor="none"),
    Separate(3, 2, softmax=True),
]
WRONG = [
    swapped,
    without_labels_in_the_keys,
    without_inputs_in_the_values,
    first_columns_dropped,
    heads_averaged,
]


@pytest.mark.parametrize("model", CASES, ids=repr)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_heads_do_not(model, wrong):
    X, weights, rng = random_case(model, 3, 4, seed=5)
    expected = whole_output(model, weights, X, rng)
    assert from_heads(model, model.heads(weights), X) == pytest.approx(
        expected, rel=1e-10
    )
    assert from_heads(model, wrong(model, weights), X) != pytest.approx(
        expected, rel=1e-3
    )


def test_a_rank_that_is_dropped_shows():
    X, weights, rng = random_case(Separate(3, 2), 3, 4, seed=5)
    expected = whole_output(Separate(3, 2), weights, X, rng)
    assert from_heads(
        Separate(3, 2), one_rank_only(Separate(3, 2), weights), X
    ) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", DIVISOR)
def test_each_divisor_is_told_from_the_others(name):
    model = Merged(2, divisor=name)
    X, weights, rng = random_case(model, 2, 3, seed=1)
    expected = whole_output(model, weights, X, rng)
    others = [Merged(2, divisor=other) for other in DIVISOR if other != name]
    assert from_heads(model, model.heads(weights), X) == pytest.approx(expected)
    assert all(
        from_heads(other, other.heads(weights), X) != pytest.approx(expected, rel=1e-3)
        for other in others
    )


@pytest.mark.parametrize("model", [Merged(2), Separate(2, 3)], ids=repr)
def test_heads_of_symbols_are_the_numbers_after_substitution(model):
    _, weights, _ = random_case(model, 2, 3, seed=2)
    symbols = {
        name: np.array(sp.symbols(f"{name}:{value.size}")).reshape(value.shape)
        for name, value in weights.items()
    }
    values = {
        s: x
        for name in weights
        for s, x in zip(symbols[name].ravel(), weights[name].ravel(), strict=True)
    }
    for symbolic, numeric in zip(
        model.heads(symbols), model.heads(weights), strict=True
    ):
        assert symbolic.shape == numeric.shape
        assert all(isinstance(entry, sp.Expr) for entry in symbolic.ravel())
        substituted = np.array(
            [float(entry.subs(values)) for entry in symbolic.ravel()]
        ).reshape(symbolic.shape)
        np.testing.assert_allclose(substituted, numeric, rtol=1e-14)


def test_an_entry_of_the_symbolic_heads_reads_as_the_definition():
    k, q, v = sp.symbols("k0 k1"), sp.symbols("q0 q1"), sp.symbols("v0 v1")
    a, B = Separate(1).heads(
        {"key": np.array([[k]]), "query": np.array([[q]]), "value": np.array([v])}
    )
    assert a.tolist() == [[v[0], v[1]]]
    assert B.tolist() == [[[k[0] * q[0]], [k[1] * q[0]]]]


@quick
@given(models(), counts)
def test_shapes_are_those_that_heads_take(model, dimension):
    a, B = model.heads(
        {name: np.zeros(shape) for name, shape in model.shapes(dimension).items()}
    )
    assert a.shape == (model.head_count, dimension + 1)
    assert B.shape == (model.head_count, dimension + 1, dimension)


@quick
@given(models())
def test_a_model_travels(model):
    cls = type(model)
    assert cls.from_json(model.to_json()) == model
    assert cls.from_toml(model.to_toml()) == model
    assert eval(repr(model), {cls.__name__: cls}) == model
    assert pickle.loads(pickle.dumps(model)) == copy.deepcopy(model) == model
    assert model_from_dict({"model": cls.__name__.lower()} | model.to_dict()) == model
    assert hash(cls.from_dict(model.to_dict())) == hash(model)


def test_models_that_differ_are_unequal():
    different = [
        Merged(2),
        Merged(3),
        Merged(2, divisor="none"),
        Merged(2, softmax=True),
    ]
    different += [
        Separate(2),
        Separate(2, 2),
        Separate(2, divisor="none"),
        Separate(2, softmax=True),
    ]
    assert len(set(different)) == len(different)
    assert len({model.digest for model in different}) == len(different)
    assert Merged(2) == Merged(heads=2, divisor="context")


@pytest.mark.parametrize("model", CASES, ids=repr)
def test_a_model_is_frozen_and_shows_itself(model):
    with pytest.raises(AttributeError):
        model.head_count = 7
    html = model._repr_html_()
    assert html.startswith("<table>")
    assert all(text in html for text in (type(model).__name__, "heads", ">3</td>"))
    assert isinstance(model, Parametrization)


@pytest.mark.parametrize("cls", MODELS.values())
@pytest.mark.parametrize(
    "count", [0, -1, True, 2.0, np.float64(2), "2", None, [2]], ids=repr
)
def test_refused_head_counts(cls, count):
    with pytest.raises(
        ValueError,
        match=re.escape(f"heads must be a whole number of at least 1, not {count!r}"),
    ):
        cls(count)


@pytest.mark.parametrize("count", [0, -1, True, 2.0, "2", None], ids=repr)
def test_refused_ranks(count):
    with pytest.raises(
        ValueError,
        match=re.escape(f"rank must be a whole number of at least 1, not {count!r}"),
    ):
        Separate(2, count)


def test_numpy_counts_are_kept_as_plain_numbers():
    model = Separate(np.int64(2), np.int32(1))
    assert (type(model.head_count), type(model.rank)) == (int, int)


@pytest.mark.parametrize("cls", MODELS.values())
def test_refused_divisors(cls):
    for divisor in ("N", 0, -1.5, True, [1]):
        with pytest.raises(
            ValueError,
            match=re.escape(
                f"one of context, tokens, none, or a positive number, not {divisor!r}"
            ),
        ):
            cls(2, divisor=divisor)


@pytest.mark.parametrize("cls", MODELS.values())
def test_softmax_may_be_divided(cls):
    assert cls(2, softmax=True, divisor="tokens").divisor == "tokens"
    assert cls(2, softmax=True, divisor="3/2").divisor == 1.5
    assert cls(2, divisor="1/3").divisor == "1/3"
    # Text and number of the same value are the same model.
    assert cls(2, softmax=True, divisor="none") == cls(2, softmax=True)


@pytest.mark.parametrize("softmax", ["false", 1, None], ids=repr)
def test_softmax_is_yes_or_no(softmax):
    with pytest.raises(
        ValueError, match=re.escape(f"softmax must be True or False, not {softmax!r}")
    ):
        Merged(2, softmax=softmax)


FILES = {
    "no model": (
        {"heads": 2},
        "model must be one of merged, separate, factorised, not None",
    ),
    "unknown model": ({"model": "softmax", "heads": 2}, "not 'softmax'"),
    "a list": ({"model": ["merged"], "heads": 2}, "not ['merged']"),
    "rank of merged": (
        {"model": "merged", "heads": 2, "rank": 1},
        "Merged has no field rank: allowed are divisor, heads",
    ),
    "no heads": ({"model": "separate"}, "Separate needs the field heads"),
}


@pytest.mark.parametrize(("fields", "message"), FILES.values(), ids=FILES)
def test_refused_dictionaries(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        model_from_dict(fields)


class Tied:
    """Somebody else's model: key = query."""

    def shapes(self, dimension):
        return {"value": (1, dimension + 1), "key": (1, 1, dimension + 1)}

    def heads(self, weights):
        return weights["value"], weights["key"].swapaxes(1, 2) @ weights["key"][
            ..., :-1
        ]


def test_a_model_of_ones_own_needs_two_methods_only():
    assert isinstance(Tied(), Parametrization)
    assert not isinstance(object(), Parametrization)
    assert (is_softmax(Tied()), attention_divisor(Tied(), 31)) == (False, 31.0)
    X, weights, rng = random_case(Tied(), 2, 3, seed=3)
    value = rng.normal(size=(3, 3))
    value[-1] = weights["value"][0]
    expected = attention(X, value, np.outer(weights["key"], weights["key"]), 3)[-1, -1]
    assert from_heads(Tied(), Tied().heads(weights), X) == pytest.approx(expected)


def test_softmax_has_no_divisor():
    with pytest.raises(ValueError, match="softmax attention has no divisor"):
        attention_divisor(Merged(2, softmax=True), 31)
