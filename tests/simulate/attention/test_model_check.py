"""Models of one's own: wrong heads are refused by name before a step is taken, and right ones never."""

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    Experiment,
    flow,
    initial_weights,
    objective,
    predict,
    sample,
    statistics,
    token_loss,
    train,
    train_many,
)
from attndyn.simulate.attention.gradients import pullback
from attndyn.simulate.attention.model_check import refuse_unfit, refuse_unfit_at

TASK = Task([2, 1], context_length=5)
H, D = 3, 2


class Model:
    """Heads from a function of weights value (H, D+1), key_query (H, D+1, D) and others."""

    def __init__(self, heads, softmax=False, **shapes):
        self._heads, self._shapes, self.softmax = heads, shapes, softmax

    def shapes(self, dimension):
        return {
            "value": (H, dimension + 1),
            "key_query": (H, dimension + 1, dimension),
        } | self._shapes

    def heads(self, w):
        return self._heads(w)


def plain(w):
    return w["value"], w["key_query"]


def in_a(change, **shapes):
    return Model(lambda w: (change(w), w["key_query"]), **shapes)


def in_B(change, **shapes):
    return Model(lambda w: (w["value"], change(w)), **shapes)


def written_in_place(w):
    w["value"] *= 2.0
    return w["value"], w["key_query"]


def taken_away(w):
    return w.pop("value"), w["key_query"]


def views_of_one(w):
    return w["all"][:, :, 0], w["all"][:, :, 1:] * np.sum(w["value"] * 0.1) + w[
        "key_query"
    ]


def in_single_precision(w):
    value = w["value"]
    halved = np.complex64 if value.dtype == complex else np.float32
    return value.astype(halved).astype(value.dtype)


def by_branch(w):
    return w["value"] * (2.0 if w["value"].sum() > 0 else 1.0), w["key_query"]


RIGHT = {
    "plain": Model(plain),
    "softmax": Model(plain, softmax=True),
    "lists": Model(lambda w: [list(w["value"]), w["key_query"]]),
    "product": in_a(lambda w: w["value"] * w["gain"][:, None], gain=(H,)),
    "division": in_B(lambda w: w["key_query"] / (1.0 + w["gain"] ** 2), gain=(1,)),
    "exponential": in_a(lambda w: np.exp(w["value"])),
    "steep": in_a(lambda w: w["value"] * np.exp(10 * w["gain"]), gain=(1,)),
    "high power": in_B(lambda w: w["key_query"] ** 9),
    "oscillating": in_B(lambda w: np.sin(1000 * w["key_query"])),
    "root of positive ones": in_a(lambda w: np.sqrt(w["value"])),
    "logarithm": in_a(lambda w: np.log(w["value"])),
    "norm by products": in_a(lambda w: w["value"] / np.sqrt(np.sum(w["value"] * w["value"]))),
    "rectified": in_a(lambda w: np.maximum(w["value"], 0.0)),
    "rectified by comparison": in_a(lambda w: w["value"] * (w["value"] > 0)),
    "late": in_a(lambda w: w["value"] + np.maximum(w["late"] - 5.0, 0.0), late=(1,)),
    "largest": in_a(lambda w: w["value"] / np.max(w["key_query"])),
    "branch": Model(by_branch),
    "tied": Model(lambda w: (w["value"], w["value"][:, :, None] * w["value"][:, None, :D] + w["key_query"])),
    "combination": in_B(lambda w: w["key_query"] * w["p"] * w["q"], p=(1,), q=(1,)),
    "scaled against each other, through a softmax": Model(
        lambda w: (w["value"] * np.exp(w["s"]), w["key_query"] / np.exp(w["s"])), softmax=True, s=(1,)
    ),
    "cancelling large numbers": in_a(lambda w: (w["value"] + 1e5) - 1e5),
    "very small": in_a(lambda w: 1e-12 * w["value"]),
    "constant B": Model(lambda w: (w["value"] * np.sum(w["key_query"]), np.ones((H, D + 1, D)))),
    "whole constants": Model(lambda w: (np.ones((H, D + 1), dtype=int), w["key_query"] * np.sum(w["value"]))),
    "views": Model(lambda w: (w["value"][::1], w["key_query"][:])),
    "views of one array": Model(views_of_one, all=(H, D + 1, D + 1)),
    "no index": in_a(lambda w: w["value"] * w["number"], number=()),
}  # fmt: skip

NOT_ANALYTIC = {
    "abs": (in_a(lambda w: np.abs(w["value"])), "value"),
    "real": (in_B(lambda w: np.real(w["key_query"])), "key_query"),
    "conj": (in_B(lambda w: np.conj(w["key_query"])), "key_query"),
    "norm": (in_a(lambda w: w["value"] / np.linalg.norm(w["key_query"])), "key_query"),
    "one entry": (in_a(lambda w: w["value"] + np.abs(w["late"][4]) + w["late"][0], late=(6,)), "late"),
    "cast": (in_a(lambda w: w["value"].astype(float)), "value"),
    "single precision": (in_a(in_single_precision), "value"),
    "a small part": (in_a(lambda w: w["value"] + 1e-3 * np.abs(w["value"])), "value"),
    "softmax": (Model(lambda w: (w["value"], np.abs(w["key_query"])), softmax=True), "key_query"),
}  # fmt: skip

WRONG = {
    "unused": (Model(plain, skip=(2,)), r"weight 'skip' does not reach the output: leave it out of shapes, or use"),
    "times zero": (in_a(lambda w: w["value"] + 0.0 * w["skip"], skip=(1,)), "weight 'skip' does not reach"),
    "taken back": (in_a(lambda w: w["value"] + w["skip"] - w["skip"], skip=(1,)), "weight 'skip' does not reach"),
    "scaled against each other": (
        Model(lambda w: (w["value"] * np.exp(w["s"]), w["key_query"] / np.exp(w["s"])), s=(1,)),
        "weight 's' does not reach the output",
    ),
    "beside a zero B": (
        Model(lambda w: (w["value"], np.zeros((H, D + 1, D)) * w["key_query"])),
        "weight 'value' does not reach the output",
    ),
    "turned against itself": (  # XXᵀ is symmetric: it does not see a part of M that changes sign with its indices
        Model(lambda w: (np.eye(3), np.array([[[0, 1], [-1, 0], [0, 0]]] * 3).swapaxes(0, 1) * w["t"]
                         * np.array([0, 1.0]) + 0 * w["key_query"] + 0 * w["value"][..., None]), t=(1,)),
        "does not reach the output",
    ),
    "comparison": (in_a(lambda w: w["value"] * (w["gate"] > 0), gate=(1,)), "depends on 'gate' by steps only"),
    "sign": (in_a(lambda w: w["value"] * np.sign(w["gate"].real), gate=(1,)), "depends on 'gate' by steps only"),
    "rounding": (in_a(lambda w: np.round(w["value"])), "depends on 'value' by steps only"),
    "index": (
        in_a(lambda w: w["value"] * (1 + np.argmax(w["gate"].real)), gate=(4,)),
        "depends on 'gate' by steps only",
    ),
    "no complex numbers": (in_a(lambda w: np.floor(w["value"])), "heads must take complex weights"),
    "float()": (in_a(lambda w: w["value"] * float(w["value"][0, 0])), "heads is not analytic in 'value'"),
    "in place": (Model(written_in_place), "heads changes 'value' in place"),
    "taken out": (Model(taken_away), "adds or removes weights"),
    "random": (in_a(lambda w: w["value"] + np.random.default_rng().normal()), "two answers for the same weights"),
    "never finite": (in_a(lambda w: w["value"] / 0.0), "nan or inf at random weights"),
    "one array": (Model(lambda w: w["value"]), r"must return the pair \(a, B\) of one attention layer"),
    "three": (Model(lambda w: (w["value"], w["key_query"], w["value"])), "must return the pair"),
    "nothing": (Model(lambda w: None), "must return the pair .* NoneType"),
    "a without heads": (Model(lambda w: (w["value"][0], w["key_query"])), r"\(H, 3, 2\), not \(3,\) and"),
    "square B": (in_B(lambda w: w["key_query"] @ np.ones((2, 3))), r"not \(3, 3\) and \(3, 3, 3\)"),
    "another number of heads": (in_B(lambda w: w["key_query"][:2]), r"not \(3, 3\) and \(2, 3, 2\)"),
    "no heads": (Model(lambda w: (w["value"][:0], w["key_query"][:0])), r"\(0, 3\)"),
    "ragged": (Model(lambda w: ([[1, 2], [3]], w["key_query"])), "rows have different lengths"),
    "text": (Model(lambda w: ("heads", w["key_query"])), "must hold numbers, not <U5"),
    "objects": (in_a(lambda w: w["value"].astype(object)), "must hold numbers, not object"),
    "complex": (in_a(lambda w: w["value"] * 1j), "must return float64 .* a is complex128"),
    "float32": (in_a(lambda w: w["value"].astype(np.float32)), "must return float64 .* a is float32"),
    "softmax is a word": (Model(plain, softmax="no"), "softmax must be True or False, not 'no'"),
    "a shape is a number": (Model(plain, skip=4), "tuple of whole numbers of at least 1, not 4"),
    "a shape is empty": (Model(plain, skip=(0,)), "tuple of whole numbers of at least 1"),
    "a shape has fractions": (Model(plain, skip=(1.5,)), "tuple of whole numbers of at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("model", RIGHT.values(), ids=RIGHT)
def test_right_models_pass(model):
    refuse_unfit(model, D)


@pytest.mark.parametrize("model", RIGHT.values(), ids=RIGHT)
def test_right_models_have_the_gradients_of_differences(model):
    shapes = model.shapes(D)
    weights = {
        name: 0.5 + np.random.default_rng(len(name)).random(shape)
        for name, shape in shapes.items()
    }
    refuse_unfit_at(model, weights, D)
    evaluate = objective(model, sample(TASK, 20))
    gradients = evaluate(weights)[1]
    for name, value in weights.items():
        direction = np.random.default_rng(3).standard_normal(value.shape)
        losses = [
            evaluate(weights | {name: value + side * 1e-7 * direction})[0]
            for side in (1, -1)
        ]
        slope = np.vdot(gradients[name], direction)
        scale = max(abs(slope), 1e-6 * abs(losses[0]))
        assert (losses[0] - losses[1]) / 2e-7 == pytest.approx(
            slope, abs=2e-3 * scale + 1e-6
        )


def test_a_weight_without_axes_is_trained():
    model = RIGHT["no index"]
    run = train(
        model,
        sample(TASK, 9),
        initial_weights(model, TASK, 0.3, scheme="gaussian"),
        learning_rate=0.01,
        steps=4,
    )
    assert run.weights["number"].shape == (5,)
    assert len(set(run.weights["number"])) == 5


@pytest.mark.parametrize(
    "model",
    [RIGHT[name] for name in ("plain", "rectified", "tied", "combination", "late")],
)
@pytest.mark.parametrize("value", [0.0, 1e-160, -1.0, 1e80])
def test_right_models_pass_at_special_points(model, value):
    weights = {name: np.full(shape, value) for name, shape in model.shapes(D).items()}
    refuse_unfit_at(model, weights, D)


@pytest.mark.parametrize(("model", "name"), NOT_ANALYTIC.values(), ids=NOT_ANALYTIC)
def test_heads_that_are_not_analytic_are_refused_by_name(model, name):
    with pytest.raises(
        ValueError,
        match=f"heads is not analytic in '{name}': complex step says .*, differences",
    ):
        objective(model, sample(TASK, 3))


@pytest.mark.parametrize(("model", "message"), WRONG.values(), ids=WRONG)
def test_wrong_heads_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        objective(model, sample(TASK, 3))


def test_a_branch_that_is_wrong_at_the_start_is_found_there():
    def heads(w):
        return (np.abs(w["value"]) if w["value"].real.max() > 40 else w["value"]), w[
            "key_query"
        ]

    model, data = Model(heads), sample(TASK, 3)
    refuse_unfit(model, D)
    start = {name: np.full(shape, 50.0) for name, shape in model.shapes(D).items()}
    with pytest.raises(ValueError, match="not analytic in 'value'"):
        train(model, data, start, learning_rate=1e-9, steps=1)
    train(
        model,
        data,
        {name: value / 50 for name, value in start.items()},
        learning_rate=1e-9,
        steps=1,
    )


def test_a_branch_that_is_wrong_where_the_run_goes_is_found_there():
    """Beyond v = 0.8 the heads are the same, and their complex step is 0: the run would rest in the wrong place."""

    class Bent:
        def __init__(self, corner):
            self.corner = corner

        def shapes(self, dimension):
            return {"v": (1, 1), "k": (1, 1)}

        def heads(self, w):
            v = np.where(w["v"].real > self.corner, np.abs(w["v"]), w["v"])
            return np.concatenate([0 * v, v], axis=1), np.stack(
                [w["k"], 0 * w["k"]], axis=1
            )

    data = sample(Task([1.0], context_length=4), 40, seed=1)
    start = {"v": np.array([[0.05]]), "k": np.array([[0.04]])}
    runs = {
        "train": lambda model: train(model, data, start, learning_rate=0.05, steps=600),
        "flow": lambda model: flow(model, data, start, [0, 60]),
    }
    for run in runs.values():
        assert run(Bent(9.0)).final["v"] > 0.8
        with pytest.raises(
            ValueError,
            match=r"the run came to weights where its gradient is wrong: .* 'v'",
        ):
            run(Bent(0.8))


def _start(model):
    return initial_weights(model, TASK, 0.3, scheme="gaussian")


def _many(model):
    return train_many(
        model,
        statistics(sample(TASK, 9), model),
        [_start(model)],
        learning_rate=0.1,
        steps=1,
    )


EVERYWHERE = {
    "train": lambda model: train(
        model, sample(TASK, 9), _start(model), learning_rate=0.1, steps=1
    ),
    "train on statistics": lambda model: train(
        model,
        statistics(sample(TASK, 9), model),
        _start(model),
        learning_rate=0.1,
        steps=1,
        compiled=False,
    ),
    "train_many": _many,
    "flow": lambda model: flow(model, sample(TASK, 9), _start(model), [0.0, 1.0]),
    "objective": lambda model: objective(model, statistics(sample(TASK, 9), model)),
}


@pytest.mark.parametrize("use", EVERYWHERE.values(), ids=EVERYWHERE)
def test_models_are_checked_wherever_they_are_trained(use):
    use(RIGHT["plain"])
    for model in (NOT_ANALYTIC["abs"][0], WRONG["unused"][0]):
        with pytest.raises(
            ValueError, match=r"not analytic in 'value'|'skip' does not reach"
        ):
            use(model)


@pytest.mark.parametrize("softmax", [False, True])
def test_a_divisor_that_does_not_exist_is_refused_before_the_run(softmax):
    model = Model(plain, softmax=softmax)
    model.divisor = "tokens"
    objective(model, sample(TASK, 3))
    model.divisor = "five"
    with pytest.raises(ValueError, match="divisor must be one of"):
        objective(model, sample(TASK, 3))


@pytest.mark.parametrize("base", [Merged, Separate])
def test_the_formulas_of_built_in_models_cannot_be_changed(base):
    with pytest.raises(
        TypeError, match=f"changes heads of {base.__name__}, whose formula the theory"
    ):
        type("Scaled", (base,), {"heads": lambda self, weights: None})
    with pytest.raises(TypeError, match="changes shapes"):
        type("Other", (base,), {"shapes": lambda self, dimension: {}})
    named = type("Named", (base,), {"title": "mine"})(heads=2)
    assert (
        objective(named, sample(TASK, 3))(
            initial_weights(named, TASK, 0.1, scheme="gaussian")
        )[0]
        > 0
    )


def test_experiments_are_for_the_built_in_models():
    with pytest.raises(
        ValueError,
        match="an experiment is of Merged, Separate or Factorised, not of Model",
    ):
        Experiment(TASK, RIGHT["plain"], 20, 0.1, 0.01, 5)


BAD_HEADS = {
    "one": ((np.ones((1, 3)),), "must return the pair"),
    "another D": (
        (np.ones((1, 4)), np.ones((1, 4, 3))),
        r"\(H, 3\) and \(H, 3, 2\), not",
    ),
}


@pytest.mark.parametrize(("heads", "message"), BAD_HEADS.values(), ids=BAD_HEADS)
def test_predictions_need_heads_that_fit_the_tokens(heads, message):
    tokens = sample(TASK, 4).tokens
    for call in (predict, lambda *of: token_loss(*of, (5,))):
        with pytest.raises(ValueError, match=message):
            call(Merged(1), heads, tokens)
    with pytest.raises(ValueError, match="must have the shapes"):
        predict(Merged(1), {"value": np.ones((1, 3))}, tokens)
    with pytest.raises(ValueError, match="tokens must have shape"):
        predict(Merged(1), (np.ones((1, 3)), np.ones((1, 3, 2))), tokens[0])


STARTS = {
    "complex": (
        lambda w: w | {"value": w["value"] + 1j},
        r"start\['value'\] must be an array of real numbers",
    ),
    "text": (
        lambda w: w | {"value": "large"},
        r"start\['value'\] must be an array of real numbers",
    ),
    "a list": (
        lambda w: [w["value"]],
        "start must hold the weights value, key_query, not a list",
    ),
    "an array": (lambda w: w["value"], "not a ndarray: pass a dictionary"),
}


@pytest.mark.parametrize(("change", "message"), STARTS.values(), ids=STARTS)
def test_a_start_is_real_arrays_by_name(change, message):
    model = Merged(1)
    with pytest.raises(ValueError, match=message):
        train(model, sample(TASK, 3), change(_start(model)), learning_rate=0.1, steps=1)


class Pulled:
    """Separate attention with a pullback of the user's own, which `change` makes wrong."""

    def __init__(self, change):
        self.change = change

    def shapes(self, dimension):
        return Separate(2).shapes(dimension)

    def heads(self, weights):
        return Separate(2).heads(weights)

    def pullback(self, weights, grad_a, grad_B):
        gradients = pullback(Separate(2))(weights, grad_a, grad_B)
        return self.change(gradients, weights)


def without_key(gradients, weights):
    return {name: value for name, value in gradients.items() if name != "key"}


def doubled_weights(gradients, weights):
    weights["key"] *= 2
    return gradients


def wrong_query(gradients, weights):
    return gradients | {"query": 1.000001 * gradients["query"]}


def test_a_pullback_is_used_in_place_of_complex_steps():
    calls = []
    model = Pulled(lambda gradients, weights: calls.append(1) or gradients)
    task = Task([2, 1], context_length=4)
    start = initial_weights(model, task, 0.3)
    loss, gradients = objective(model, sample(task, 5))(start)
    assert len(calls) == 2  # the check, and the gradient
    expected = objective(Separate(2), sample(task, 5))(start)
    assert loss == expected[0]
    for name, value in gradients.items():
        np.testing.assert_array_equal(value, expected[1][name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (wrong_query, "pullback is wrong in 'query'"),
        (without_key, "gradients of value, key, query by name"),
        (doubled_weights, "pullback changes 'key' in place"),
        (
            lambda g, w: {name: value.tolist() for name, value in g.items()},
            "pullback must give arrays, and 'value' is list",
        ),
        (
            lambda g, w: {name: value[None] for name, value in g.items()},
            r"real numbers of shape \(2, 3\) for 'value'",
        ),
        (lambda g, w: g | {"value": g["value"] * np.nan}, "pullback is wrong in 'val"),
    ],
)
def test_a_wrong_pullback_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        refuse_unfit(Pulled(change), 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("outputs", 0),
        ("outputs", True),
        ("softmax", 1),
        ("query_token", 1),
        ("divisor", -1),
        ("divisor", "row"),
        ("score_divisor", 0),
        ("score_divisor", "key"),
        ("pullback", 5),
    ],
)
def test_attributes_of_ones_own_model_are_checked(name, value):
    model = Pulled(lambda gradients, weights: gradients)
    refuse_unfit(model, 2)
    setattr(model, name, value)
    with pytest.raises(ValueError, match=f"^{name} must"):
        refuse_unfit(model, 2)
