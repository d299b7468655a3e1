"""Fixed points of several outputs in symbols: against numbers, in the derived flow, and what is refused."""

import numpy as np
import pytest
import sympy as sp

from attndyn import Merged, Separate, Task
from attndyn.teachers import Gaussian
from attndyn.theory.linear_transformer import mode_fixed_points
from attndyn.theory.symbolic import (
    N,
    derive,
    fixed_points,
    parameter_values,
    rational_task,
    symbolic_task,
)
from attndyn.theory.symbolic.dynamics.mode_fixed_points import ModeFixedPoint

TASKS = {
    "three of four": Task(
        [1, "0.01"], teachers=Gaussian.shared_basis([1, 1]), context_length=1
    ),
    "noise": Task(
        [2, 1, 0.5, 0.25],
        teachers=Gaussian.shared_basis([1] * 4),
        context_length=10,
        noise_variance=0.3,
    ),
    "own variances of the teachers": Task(
        [2, 1, 0.5, 0.25],
        teachers=Gaussian.shared_basis([0.2, 1, 3, 0.5]),
        context_length=8,
        noise_variance=0.1,
    ),
    "several lengths, with prompts without context": Task(
        [2, 0.5],
        teachers=Gaussian.shared_basis([1, 1]),
        context_length={0: 1, 4: 3},
    ),
    "eight of sixteen": Task(
        [1, 0.3, 0.02, 0.01],
        teachers=Gaussian.shared_basis([1] * 4),
        context_length=3,
    ),
}
COUNTS = {"three of four": 3, "eight of sixteen": 8}
LEAST = {
    "noise": [0.368770, 0.651144, 1.008781, 0.951885],
    "own variances of the teachers": [0.251286, 0.659689, 1.409211, 0.238452],
}


def layer(task, **conventions):
    return Merged(heads=1, outputs=task.outputs, **conventions)


def those_that_exist(points):
    return [point for point in points if all(point.conditions)]


@pytest.mark.parametrize("name", TASKS)
def test_fixed_points_in_symbols_are_those_in_numbers(name):
    task = TASKS[name]
    exact = rational_task(task)
    found = those_that_exist(fixed_points(exact, layer(task)))
    numbers = mode_fixed_points(task)
    assert len(found) == len(numbers)
    assert len(found) == COUNTS.get(name, len(found))

    # In numbers modes are in the order of their thresholds, in symbols in that of the task.
    order = [int(np.argmax(np.abs(column))) for column in numbers.modes.basis.T]
    of_subset = {
        tuple(sorted(order[mode - 1] + 1 for mode in point.subset)): point
        for point in numbers
    }
    for point in found:
        expected = of_subset[point.subset]
        assert float(point.loss) == pytest.approx(expected.loss, rel=1e-12)
        coefficients = np.zeros(task.dimension)
        coefficients[order] = expected.coefficients
        learned = [coefficients[d - 1] for d in point.subset]
        assert np.allclose(np.array(point.coefficients, float), learned, rtol=1e-12)
    if name in LEAST:
        least = min(found, key=lambda point: float(point.loss))
        assert np.array(least.coefficients, float).round(6).tolist() == LEAST[name]


def test_symbols_become_numbers():
    task = TASKS["own variances of the teachers"]
    symbols = symbolic_task(4, teachers="diagonal", noise=True, shared_basis=True)
    values = parameter_values(symbols, task)
    of_numbers = fixed_points(rational_task(task), layer(task))
    for place in (0, 5):
        point = fixed_points(symbols, layer(task))[place]
        for symbolic, number in zip(
            point.coefficients, of_numbers[place].coefficients, strict=True
        ):
            assert float(symbolic.subs(values)) == pytest.approx(float(number))


def test_a_point_off_its_conditions_does_not_exist():
    points = fixed_points(rational_task(TASKS["three of four"]), layer(symbolic_two()))
    both = points[0]
    assert both.subset == (1, 2)
    assert both.conditions == (sp.true, sp.false)
    assert float(both.coefficients[1]) < 0


def symbolic_two():
    return symbolic_task(2, shared_basis=True)


@pytest.mark.parametrize(
    "conventions", [{}, {"divisor": "tokens"}, {"divisor": 3, "query_token": False}]
)
def test_the_derived_flow_of_all_p_and_q_vanishes_there(conventions):
    task = Task(
        [1.5, 0.5],
        teachers=Gaussian.shared_basis([1, 2]),
        context_length={2: 1, 5: 3},
        noise_variance=0.25,
    )
    model = layer(task, **conventions)
    flow = derive(task, model, "restricted").flow
    for point in fixed_points(rational_task(task), model):
        weights = at(point, task)
        numbers = {w: weights.get(str(w), 0.0) for w in flow}
        rates = [abs(float(rate.xreplace(numbers))) for rate in flow.values()]
        assert max(rates) < 1e-13


def at(point, task):
    """p and q with r² p² = λ² q² at a fixed point, by the names of the weights."""
    weights = {}
    for d, coefficient in zip(point.subset, point.coefficients, strict=True):
        λ, a = float(task.covariance[d - 1, d - 1]), float(coefficient)
        ω = float(task.teachers.covariance[d - 1, d - 1, d - 1, d - 1])
        r = np.sqrt(ω * λ + task.noise_variance)
        weights[f"value_1_{d}_{d + 2}"] = np.sqrt(a * λ / r)
        weights[f"key_query_1_{d}_{d}"] = np.sqrt(a * r / λ)
    return weights


def test_one_formula_for_white_teachers_without_noise():
    # a = N/((N+1)λ) [1 − Σ √λ/((N+1+m)√λ)], L = Σ λ − N/(N+1) [Σ λ − (Σ √λ)²/(N+1+m)].
    task = symbolic_task(3, shared_basis=True)
    λ = list(task.covariance.diagonal())
    for point in fixed_points(task, layer(task)):
        learned = [λ[d - 1] for d in point.subset]
        roots = sp.Add(*map(sp.sqrt, learned))
        m = len(learned)
        for value, a in zip(learned, point.coefficients, strict=True):
            bracket = 1 - roots / ((N + 1 + m) * sp.sqrt(value))
            assert sp.simplify(a - N / ((N + 1) * value) * bracket) == 0
        drop = N / (N + 1) * (sp.Add(*learned) - roots**2 / (N + 1 + m))
        assert sp.simplify(point.loss - sp.Add(*λ) + drop) == 0


def test_kronecker_teachers_are_learned_all_or_nothing():
    task = symbolic_task(2, teachers="diagonal", outputs=3)
    points = fixed_points(task, layer(task))
    one = fixed_points(symbolic_task(2, teachers="diagonal"), Merged(heads=1))
    γ = sp.Add(*sp.symbols("gamma_1:4", positive=True))
    assert [point.subset for point in points] == [(1, 2), ()]
    for of_three, of_one in zip(points.directions, one.directions, strict=True):
        assert sp.simplify(of_three.coefficient - of_one.coefficient) == 0
        assert sp.simplify(of_three.gain - γ * of_one.gain) == 0


def test_results_show_their_conditions():
    points = fixed_points(symbolic_two(), Merged(heads=1, outputs=2))
    assert "sqrt(lambda_2)*(N + 3) > sqrt(lambda_1) + sqrt(lambda_2)" in repr(points[0])
    assert "½" in repr(points)
    assert points[0]._repr_html_().count("x0003E;") == 2  # an inequality for each mode
    assert points[0].to_dict()["conditions"] == [
        "sqrt(lambda_1)*(N + 3) > sqrt(lambda_1) + sqrt(lambda_2)",
        "sqrt(lambda_2)*(N + 3) > sqrt(lambda_1) + sqrt(lambda_2)",
    ]
    assert isinstance(points[-1], ModeFixedPoint)
    assert points[-1].conditions == points[1].conditions == ()
    assert [point.subset for point in points[1:3]] == [(1,), (2,)]


@pytest.mark.parametrize(
    ("task", "model", "message"),
    [
        (symbolic_two(), Merged(2, outputs=2), "known for one merged head"),
        (symbolic_two(), Separate(1, outputs=2), "known for one merged head"),
        (symbolic_two(), Merged(1), "the task has 2 outputs and the model 1"),
        (symbolic_task(2), Merged(1, outputs=2), "the task has 1 output"),
        (
            symbolic_task(2, teachers="diagonal", noise=True, outputs=2),
            Merged(1, outputs=2),
            "kronecker_minimum has it in numbers",
        ),
        (
            symbolic_task(2, teachers="general", outputs=2),
            Merged(1, outputs=2),
            "share the eigenvectors of the inputs",
        ),
        (
            rational_task(
                Task([1, 0], teachers=Gaussian.shared_basis([1, 1]), context_length=2)
            ),
            Merged(1, outputs=2),
            "positive variances",
        ),
        (symbolic_two(), Merged(1, outputs=2, softmax=True), "softmax"),
    ],
)
def test_what_has_no_fixed_points_in_symbols_is_refused(task, model, message):
    with pytest.raises(ValueError, match=message):
        fixed_points(task, model)
