"""Scores over a number or a root: one spelling for training, theory and proofs."""

import json
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from attndyn import Merged, Separate, Task
from attndyn.cli import main
from attndyn.compare import derived_time_course, effective_map
from attndyn.compare.exact_statistics import population_statistics
from attndyn.models.built_in import model_from_dict
from attndyn.models.divisors import (
    attention_divisor,
    score_divisor,
    score_divisor_square,
)
from attndyn.models.score_divisor import checked
from attndyn.simulate import (
    Experiment,
    initial_weights,
    load,
    objective,
    predict,
    sample,
    statistics,
    train,
)
from attndyn.simulate.runs.store import data_digest
from attndyn.theory import fixed_points, population, staircase, time_course
from attndyn.theory.symbolic import (
    derive,
    hessian_index,
    population_loss,
    rational_task,
    reduce,
    symbolic_task,
)
from attndyn.theory.symbolic import fixed_points as exact_fixed_points
from attndyn.theory.symbolic.task import without_floats

TASK = Task([0.5, 0.3, 0.2], context_length=8, noise_variance=0.1)
DATA = sample(TASK, 300, seed=1)
DIVISORS = [2, 0.7, "2/3", "sqrt(3)", "sqrt_key", sp.sqrt(5) / 2]


class Divided:
    """A built-in model whose heads divide by a double, as a user would write it."""

    def __init__(self, model, number):
        self.shapes, self.model, self.number = model.shapes, model, number
        self.divisor, self.softmax = model.divisor, model.softmax

    def heads(self, weights):
        a, B = self.model.heads(weights)
        return a, B / self.number


def models(divisor, **options):
    return [
        Merged(2, score_divisor=divisor, **options),
        Separate(2, 2, score_divisor=divisor, **options),
    ]


def plain(model):
    return model_from_dict(
        {
            name: value
            for name, value in {
                "model": type(model).__name__.lower(),
                **model.to_dict(),
            }.items()
            if name != "score_divisor"
        }
    )


def number(model):
    named = {2: 2, 0.7: 0.7, "2/3": 2 / 3, "sqrt(3)": 3**0.5, "sqrt(5/4)": 5**0.5 / 2}
    root = (model.rank if isinstance(model, Separate) else TASK.dimension + 1) ** 0.5
    return named.get(model.score_divisor, root)


@pytest.mark.parametrize("divisor", DIVISORS, ids=str)
@pytest.mark.parametrize("softmax", [False, True], ids=["linear", "softmax"])
def test_training_is_that_of_a_model_that_divides_by_a_double(divisor, softmax):
    for model in models(divisor, softmax=softmax):
        other, start = (
            Divided(plain(model), number(model)),
            initial_weights(model, TASK, scale=0.3, seed=2, scheme="gaussian"),
        )
        sources = [DATA] if softmax else [DATA, statistics(DATA, model)]
        theirs = train(other, DATA, start, learning_rate=0.05, steps=20)
        for source in sources:
            ours = train(model, source, start, learning_rate=0.05, steps=20)
            np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-11)
            for name, value in ours.final.items():
                np.testing.assert_allclose(
                    value, theirs.final[name], rtol=1e-10, atol=1e-13
                )
        outputs = [
            predict(each, each.heads(start), DATA.tokens) for each in (model, other)
        ]
        np.testing.assert_allclose(*outputs, rtol=1e-10, atol=1e-14)
        without = train(plain(model), DATA, start, learning_rate=0.05, steps=20)
        assert np.max(np.abs(without.loss / theirs.loss - 1)) > 1e-4


class Attribute:
    """A user's own model with the attribute: key is query."""

    def __init__(self, divisor):
        self.score_divisor = divisor

    def shapes(self, dimension):
        return {"value": (2, dimension + 1), "key": (2, dimension + 1)}

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key[:, :, None] * key[:, None, :-1]


class InHeads(Attribute):
    """The same with a SymPy number in its heads."""

    score_divisor = 1

    def __init__(self, number):
        self.number = number

    def heads(self, weights):
        a, B = super().heads(weights)
        return a, B / self.number


def test_a_users_model_has_one_spelling_for_training_and_proofs():
    start = {
        name: 0.3 + 0.1 * np.arange(8.0).reshape(2, 4) for name in ("value", "key")
    }
    runs = [
        train(model, DATA, start, learning_rate=0.05, steps=5)
        for model in (
            Attribute("sqrt_key"),
            Attribute(2),
            InHeads(2.0),
            InHeads(sp.sqrt(4)),
        )
    ]
    for run in runs[1:]:
        np.testing.assert_allclose(run.loss, runs[0].loss, rtol=1e-12)
    root = [
        train(m, DATA, start, learning_rate=0.05, steps=5)
        for m in (Attribute("sqrt(2)"), InHeads(sp.sqrt(2)))
    ]
    np.testing.assert_allclose(root[0].loss, root[1].loss, rtol=1e-12)
    losses = [
        derive(symbolic_task(1), m, "restricted").loss.expression
        for m in (Attribute("sqrt(2)"), InHeads(sp.sqrt(2)))
    ]
    assert sp.expand(losses[0] - losses[1]) == 0
    assert losses[0].has(sp.sqrt(2))
    cubic = derive(
        symbolic_task(1), InHeads(sp.cbrt(2) / (1 + sp.sqrt(3))), "restricted"
    ).loss.expression
    by_hand = derive(symbolic_task(1), Attribute(1), "restricted").loss.expression
    values = dict.fromkeys(cubic.free_symbols, sp.Integer(1))
    scaled = {
        s: s * sp.root((1 + sp.sqrt(3)) / sp.cbrt(2), 2)
        for s in by_hand.free_symbols
        if "key" in s.name
    }
    assert (
        abs(
            sp.N(
                cubic.subs(values)
                - by_hand.subs(scaled, simultaneous=True).subs(values),
                30,
            )
        )
        < 1e-25
    )


@pytest.mark.parametrize("divisor", DIVISORS, ids=str)
def test_theory_is_that_of_the_trained_model(divisor):
    for model in models(divisor):
        moments = population(TASK, model)
        stats, exact = (
            statistics(sample(TASK, 100_000, seed=3), model, "restricted"),
            population_statistics(TASK, model),
        )
        np.testing.assert_allclose(
            np.sqrt(np.diag(stats.S)), np.sqrt(np.diag(exact.S)), rtol=0.05
        )
        np.testing.assert_allclose(
            stats.b.reshape(3, 3).diagonal(),
            exact.b.reshape(3, 3).diagonal(),
            rtol=0.05,
        )
        evaluate = objective(model, exact)
        for point in fixed_points(TASK, model):
            loss, gradient = evaluate(point.weights)
            assert loss == pytest.approx(point.loss, rel=1e-12)
            assert max(np.max(np.abs(part)) for part in gradient.values()) < 1e-12
            np.testing.assert_allclose(
                effective_map(model, point.weights), point.M, atol=1e-12
            )
        assert moments.minimum_loss == pytest.approx(
            population(TASK, plain(model)).minimum_loss, rel=1e-14
        )
        start = initial_weights(model, TASK, scale=0.2, seed=5, scheme="restricted")
        run = train(model, exact, start, learning_rate=0.002, steps=4000)
        gaps = [
            np.max(np.abs(time_course(TASK, m, run.flow_time, start).loss - run.loss))
            for m in (model, plain(model))
        ]
        assert (
            gaps[0] < (0.001 if isinstance(model, Separate) else 0.03) < 0.04 < gaps[1]
        )


def test_a_staircase_is_slowed_by_the_divisor():
    model = Separate(3, score_divisor="sqrt(2)")
    start = initial_weights(model, TASK, scale=0.01, seed=0, scheme="aligned")
    run = train(
        model,
        population_statistics(TASK, model),
        start,
        learning_rate=0.02,
        steps=20_000,
        record=[],
    )
    levels = population(TASK, model).greedy_losses
    halfway = run.flow_time[np.argmax(run.loss < (levels[0] + levels[1]) / 2)]
    assert staircase(TASK, model, start).exit_times[0] == pytest.approx(
        halfway, rel=0.05
    )
    assert staircase(TASK, plain(model), start).exit_times[0] < 0.8 * halfway


@pytest.mark.parametrize("divisor", DIVISORS, ids=str)
def test_proofs_are_of_the_trained_model(divisor):
    task = Task([0.5, 0.3], context_length=4)
    for model in (
        Merged(1, score_divisor=divisor),
        Separate(1, 2, score_divisor=divisor),
    ):
        derivation = derive(rational_task(task), model, "restricted")
        start = initial_weights(model, task, scale=0.3, seed=1, scheme="restricted")
        loss, gradient = objective(model, population_statistics(task, model))(start)
        values = {
            s: sp.Float(v)
            for name, array in derivation.arrays.items()
            for s, v in zip(array.flat, start[name].flat, strict=True)
        }
        assert float(derivation.loss.expression.subs(values)) == pytest.approx(
            loss, rel=1e-12
        )
        for symbol, rate in derivation.flow.items():
            name = next(
                n for n, array in derivation.arrays.items() if symbol in array.flat
            )
            place = list(derivation.arrays[name].flat).index(symbol)
            assert float(rate.subs(values)) == pytest.approx(
                -gradient[name].flat[place] / 2, rel=1e-9, abs=1e-12
            )
        run = train(
            model,
            population_statistics(task, model),
            start,
            learning_rate=0.002,
            steps=500,
        )
        assert (
            np.max(
                np.abs(
                    derived_time_course(derivation, task, start, run.flow_time).loss
                    - run.loss
                )
            )
            < 1e-3
        )


def test_invariants_reductions_and_fixed_points_in_symbols():
    model, task = Merged(1, score_divisor="sqrt_key"), symbolic_task(1)
    derivation = derive(task, model, "restricted")
    v, u = derivation.weights
    assert (
        derivation.conserved(2) == (v**2 - u**2,)
        or derivation.conserved(2) == (u**2 - v**2,)
        or derivation.conserved(2) == (-(u**2) + v**2,)
    )
    a = sp.Symbol("a", real=True)
    (rate,) = reduce(derivation.flow, {v: a, u: a}).equations.values()
    l, n = derivation.parameters[0], sp.Symbol("N", integer=True, positive=True)
    assert (
        sp.simplify(rate - (l**2 * a / sp.sqrt(2) - l**3 * (1 + 2 / n) * a**3 / 2)) == 0
    )
    learned = exact_fixed_points(task, model)[0]
    assert sp.simplify(learned.coefficients[0] - sp.sqrt(2) * n / ((n + 2) * l)) == 0
    assert sp.simplify(learned.loss - (l - n * l / (n + 2))) == 0
    with pytest.raises(
        ValueError, match="leave a root out of the score divisor, which changes no sign"
    ):
        hessian_index(population_loss(task, model, "restricted"), {})
    assert (
        hessian_index(
            population_loss(task, Merged(1, score_divisor=2), "restricted"), {}
        )
        == 1
    )


CHECKED = {
    1: 1.0,
    2: 2.0,
    0.5: 0.5,
    "0.50": 0.5,
    "3/2": 1.5,
    "2/3": "2/3",
    "sqrt(3)": "sqrt(3)",
    " sqrt ( 4/9 ) ": "2/3",
    "sqrt(2.25)": 1.5,
    "sqrt_key": "sqrt_key",
    Fraction(1, 3): "1/3",
    sp.sqrt(3): "sqrt(3)",
    sp.sqrt(2) / 2: "sqrt(1/2)",
    sp.Rational(2, 3): "2/3",
}


@pytest.mark.parametrize("value", CHECKED, ids=repr)
def test_a_score_divisor_is_kept_as_it_is_written(value):
    assert checked(value) == checked(checked(value)) == CHECKED[value]
    for model in (Merged(2, score_divisor=value), Separate(2, 3, score_divisor=value)):
        name = type(model).__name__.lower()
        assert (
            type(model).from_toml(model.to_toml())
            == type(model).from_json(model.to_json())
            == model
        )
        assert model_from_dict({"model": name, **model.to_dict()}) == model
        assert score_divisor(model, 4) == pytest.approx(
            float(score_divisor_square(model, 4)) ** 0.5, rel=1e-15
        )


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        "-2",
        "sqrt(0)",
        "sqrt(-3)",
        "root",
        "sqrt(2",
        True,
        np.inf,
        np.nan,
        sp.cbrt(2),
        sp.Symbol("c"),
        [2],
        sp.pi,
        1e-51,
        "1e51",
        "1e-400",
    ],
)
def test_other_score_divisors_are_refused(value):
    with pytest.raises(ValueError, match="score_divisor must be"):
        Merged(2, score_divisor=value)


def test_one_is_no_setting():
    assert "score_divisor" not in Merged(2, score_divisor="1").to_dict()
    assert Merged(2, score_divisor=1).digest == Merged(2).digest
    assert attention_divisor(Merged(2), 8) == 8.0
    with pytest.raises(ValueError, match="depends on the dimension"):
        attention_divisor(Merged(2, score_divisor="sqrt_key"), 8)
    assert attention_divisor(Separate(2, 4, score_divisor="sqrt_key"), 8) == 16.0


def test_statistics_know_their_divisors():
    stats = statistics(DATA, Merged(1, score_divisor="sqrt_key"))
    start = initial_weights(Merged(1), TASK, scale=0.1, scheme="gaussian")
    for other in (Merged(1), Merged(1, score_divisor=3), Attribute("sqrt(5)")):
        with pytest.raises(
            ValueError,
            match=r"made with divisor 'context, scores by 2.0', the model has 'context",
        ):
            objective(other, stats)
    assert objective(Merged(1, score_divisor=2), stats)(start)[0] > 0  # √(3 + 1)


def test_experiments_and_files(tmp_path, capsys):
    common = {"sequences": 50, "scale": 0.1, "learning_rate": 0.01, "steps": 10}
    one, root = (
        Experiment(TASK, Merged(1, score_divisor=d), **common) for d in (1, "sqrt(3)")
    )
    assert root.run().settings["model"]["score_divisor"] == "sqrt(3)"
    assert (
        data_digest(one)
        == data_digest(Experiment(TASK, Merged(1), **common))
        != data_digest(root)
    )
    out, rest = tmp_path / "run.npz", ["--heads", "2", "--score-divisor", "sqrt_key"]
    task = ["--eigenvalues", "2/5,3/10", "--context-length", "9"]
    assert (
        main(
            [
                "simulate",
                *task,
                *rest,
                "--learning-rate",
                "0.01",
                "--steps",
                "5",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert load(out).settings["model"]["score_divisor"] == "sqrt_key"
    capsys.readouterr()
    assert main(["fixed-points", *task, *rest, "--model", "merged", "--json"]) == 0
    with_root = json.loads(capsys.readouterr().out)
    assert (
        main(["fixed-points", *task, "--heads", "2", "--model", "merged", "--json"])
        == 0
    )
    ratio = np.divide(
        with_root[0]["coefficients"],
        json.loads(capsys.readouterr().out)[0]["coefficients"],
    )
    np.testing.assert_allclose(ratio, 3**0.5)
    assert (
        main(
            ["derive", "--dim", "1", "--model", "merged", "--score-divisor", "sqrt_key"]
        )
        == 0
    )
    assert "sqrt(2)" in capsys.readouterr().out


def test_a_field_of_many_roots_is_refused():
    many = sum(map(sp.sqrt, (2, 3, 5, 7)))
    with pytest.raises(
        ValueError, match="make a field of numbers of degree up to 16: use 8 at most"
    ):
        derive(symbolic_task(1), InHeads(1 / many), "restricted")


def test_floats_in_exact_work():
    x = sp.Symbol("x")
    assert without_floats(0.25 * x + 0.3, "they") == x / 4 + sp.Rational(3, 10)
    with pytest.raises(
        ValueError,
        match=r"the heads of the model hold the float 0.7071067811865475.*score_divisor",
    ):
        derive(symbolic_task(1), InHeads(2**0.5))
    with pytest.raises(
        ValueError, match=r"the score_divisor 1.4142135623730951 is no short decimal"
    ):
        derive(symbolic_task(1), Merged(1, score_divisor=2**0.5))
    assert derive(symbolic_task(1), InHeads(np.float64(4) ** 0.5)).loss.weights
