"""An output of a user's own, with a feature of third order: from its formula to a simulation on tokens."""

import numpy as np
import sympy as sp

from attndyn import Task
from attndyn.compare import overlay
from attndyn.compare.user.derived_time_courses import derived_time_course
from attndyn.simulate import Trajectory, sample
from attndyn.theory.symbolic import Prompt, average, symbolic_task
from attndyn.theory.symbolic.derivation import derive_output
from attndyn.theory.symbolic.statements.checking import check_statement
from attndyn.theory.symbolic.statements.statements import (
    StatedFixedPoint,
    StatedInvariant,
    StatedLoss,
)

TASK = Task(eigenvalues=[0.5], context_length=3)
TIMES = np.linspace(0, 20, 41)
START = {"v": 0.5, "a": 0.5, "b": 0.0}

v, a, b = WEIGHTS = sp.symbols("v a b", real=True)
PROMPT = Prompt(1)
OUTPUT = (
    v
    * (a * average(PROMPT.y * PROMPT.x[0]) + b * average(PROMPT.y * PROMPT.x[0] ** 3))
    * PROMPT.query[0]
)
SYMBOLIC = symbolic_task(1)
DERIVED = derive_output(SYMBOLIC, OUTPUT, WEIGHTS)


def moments(task):
    """E[y_q F] and E[F Fᵀ] of F = (mean y x, mean y x³) x_q, from E x^{2k} = (2k − 1)!! λ^k, by hand."""
    (λ,) = task.parameters
    (n,) = task.context_lengths
    mean = [λ, 3 * λ**2]  # of x² and x⁴, of which y x and y x³ are w times
    square = [[3 * λ**2, 15 * λ**3], [15 * λ**3, 105 * λ**4]]
    S = [
        [λ * (square[i][j] + (n - 1) * mean[i] * mean[j]) / n for j in (0, 1)]
        for i in (0, 1)
    ]
    return [λ * each for each in mean], S


def loss_by_hand(task, third=1):
    (λ,), (first, S), weights = task.parameters, moments(task), (v * a, third * v * b)
    cross = sum(2 * m * f for m, f in zip(weights, first, strict=True))
    return (
        λ
        - cross
        + sum(weights[i] * weights[j] * S[i][j] for i in (0, 1) for j in (0, 1))
    )


def test_the_loss_is_the_one_by_hand():
    assert check_statement(StatedLoss(loss_by_hand(SYMBOLIC)), DERIVED).holds
    assert (
        check_statement(StatedLoss(loss_by_hand(SYMBOLIC, third=2)), DERIVED).level
        == "refuted"
    )


def test_the_value_balances_both_features():
    assert DERIVED.conserved(2) == (v**2 - a**2 - b**2,) or DERIVED.conserved(2) == (
        a**2 + b**2 - v**2,
    )
    assert check_statement(StatedInvariant(v**2 - a**2 - b**2), DERIVED).holds
    assert not check_statement(StatedInvariant(v**2 - a**2), DERIVED).holds


def test_the_best_combination_of_features_is_a_point_of_rest():
    first, S = moments(SYMBOLIC)
    best = sp.Matrix(S).LUsolve(sp.Matrix(first)).applyfunc(sp.factor)
    assert check_statement(
        StatedFixedPoint({v: 1, a: best[0], b: best[1]}), DERIVED
    ).holds
    assert not check_statement(
        StatedFixedPoint({v: 1, a: best[0], b: -best[1]}), DERIVED
    ).holds
    least = StatedFixedPoint(
        {v: 1, a: best[0], b: best[1]}, sp.factor(loss_by_hand(SYMBOLIC))
    )
    assert (
        len(check_statement(least, DERIVED).failing) == 1
    )  # the loss elsewhere is not the loss there


def descended(sequences, seed, rate=0.01):
    """Gradient descent on tokens, written out for this output."""
    tokens = sample(TASK, sequences, seed=seed).tokens
    context, label, query = tokens[:, :-1], tokens[:, -1, 1], tokens[:, -1, 0]
    features = [
        np.mean(context[..., 1] * context[..., 0] ** power, axis=1) * query
        for power in (1, 3)
    ]
    weights, losses = np.array([START[name] for name in "vab"]), []
    steps = round(TIMES[-1] / (2 * rate)) + 1
    for _ in range(steps):
        inner = weights[1] * features[0] + weights[2] * features[1]
        error = label - weights[0] * inner
        losses.append(np.mean(error**2))
        slopes = [
            np.mean(error * each)
            for each in (inner, weights[0] * features[0], weights[0] * features[1])
        ]
        weights = weights + 2 * rate * np.array(slopes)
    none = np.zeros(steps)
    return Trajectory(np.arange(steps), np.array(losses), none, np.array([0]), {}, rate)


def test_the_course_lies_over_descent_on_tokens():
    """The gap falls with the root of the number of prompts; with N + 1 for N it stays."""
    courses = [
        derived_time_course(DERIVED, Task([0.5], context_length=n), START, TIMES)
        for n in (3, 4)
    ]
    gaps = np.array(
        [
            [
                [overlay(course, descended(P, seed)).l2_gap for course in courses]
                for seed in range(6)
            ]
            for P in (1000, 16_000)
        ]
    )
    (few, _), (many, wrong) = np.sqrt(np.mean(gaps**2, axis=1))
    assert 0.25 < np.log(few / many) / np.log(16) < 0.75
    assert wrong > 2 * many
