"""Losses of several outputs: by the definition on nodes, against the numerical theory, and what is refused."""

from itertools import product

import numpy as np
import pytest
import sympy as sp

from attndyn import Merged, Separate, Task
from attndyn.teachers import Gaussian, Pool
from attndyn.theory import population
from attndyn.theory.symbolic import (
    N,
    Prompt,
    average,
    derive,
    derive_output,
    effective_map,
    expectation,
    moments,
    parameter_values,
    rational_task,
    symbolic_task,
)
from attndyn.theory.symbolic.loss.population_losses import model_output

KRONECKER = Gaussian.kronecker([[1, 0.5], [0.5, 2]], [[2, 0.25], [0.25, 1]])
GENERAL = np.diag([1.0, 2.0, 0.5, 1.5]) + 0.25
TASKS = {
    "shared basis": Task(
        [2, 1], teachers=Gaussian.shared_basis([1, 3]), context_length=4
    ),
    "Kronecker with noise": Task(
        [2, 0.5], teachers=KRONECKER, context_length=3, noise_variance=0.25
    ),
    "any covariance of W, several lengths": Task(
        [1, 0.5],
        teachers=Gaussian(GENERAL.reshape(2, 2, 2, 2)),
        context_length={0: 1, 3: 2, 8: 1},
        noise_variance=0.5,
    ),
    "more outputs than inputs": Task(
        [1.5],
        teachers=Gaussian.kronecker([[1, 0.5], [0.5, 2]], [[2]]),
        context_length=5,
    ),
}


def values(derivation, seed):
    """A small number for each weight of a derivation, and the arrays of them."""
    generator = np.random.default_rng(seed)
    arrays = {
        name: generator.integers(-8, 9, symbols.shape) / 8
        for name, symbols in derivation.arrays.items()
    }
    point = {
        symbol: sp.Rational(float(value))
        for name, symbols in derivation.arrays.items()
        for symbol, value in zip(symbols.flat, arrays[name].flat, strict=True)
    }
    return arrays, point


@pytest.mark.parametrize("name", TASKS)
def test_the_restricted_loss_is_that_of_the_numerical_theory(name):
    task = TASKS[name]
    K, D = task.outputs, task.dimension
    for model in (
        Merged(heads=1, outputs=K),
        Merged(heads=2, outputs=K, divisor="tokens"),
    ):
        derivation = derive(task, model, "restricted")
        arrays, point = values(derivation, seed=1)
        p = arrays["value"][:, :, D:]  # (H, K, K)
        q = arrays["key_query"][:, :D, :D]  # (H, D, D)
        M = np.einsum("hij,hab->ijab", p, q)
        expected = population(task, model).loss(M)
        found = float(derivation.loss.expression.xreplace(point))
        assert found == pytest.approx(float(expected), rel=1e-12)


def nodes(count):
    """Nodes and weights of Gauss and Hermite for N(0, 1)."""
    x, weights = np.polynomial.hermite_e.hermegauss(count)
    return x, weights / weights.sum()


def grid(counts):
    """Points (Z, n) and weights (Z,) of a tensor product of nodes."""
    points, weights = zip(*map(nodes, counts), strict=True)
    return np.array(list(product(*points))), np.prod(list(product(*weights)), axis=1)


def prompts(task):
    """x (Z, n, D), y (Z, n, K), query (Z, D), its labels without noise (Z, K) and weights (Z,) of all nodes.

    Of tokens, noise and W each power is at most 4, so that 3 nodes are enough; of the query it is 6, and 4 are.
    """
    K, D, n = task.outputs, task.dimension, task.context_length
    z, weight = grid([3] * (n * (D + K) + K * D) + [4] * D)
    parts = np.split(z, np.cumsum([n * D, n * K, K * D]), axis=1)
    scale = np.sqrt(np.diag(task.covariance))
    x = parts[0].reshape(-1, n, D) * scale
    query = parts[3] * scale
    root = np.linalg.cholesky(task.teachers.covariance.reshape(K * D, K * D))
    W = (parts[2] @ root.T).reshape(-1, K, D)
    noise = parts[1].reshape(-1, n, K) * np.sqrt(task.noise_variance)
    y = np.einsum("zkd,znd->znk", W, x) + noise
    return x, y, query, np.einsum("zkd,zd->zk", W, query), weight


def by_quadrature(task, model, arrays):
    """The loss by the definition of the layer, all blocks: exact, as it is a polynomial in normal variables."""
    x, y, query, labels, weight = prompts(task)
    tokens = np.concatenate([x, y], axis=2)  # (Z, n, D+K)
    gram = np.einsum("zni,znj->zij", tokens, tokens)
    D = task.dimension
    gram[:, :D, :D] += np.einsum("zi,zj->zij", query, query)  # its own token (x_q, 0)
    a, B = model.heads(arrays)
    output = np.einsum("hki,zij,hjd,zd->zk", a, gram / x.shape[1], B, query)
    square = np.sum((labels - output) ** 2, axis=1)
    return weight @ square + task.outputs * task.noise_variance


@pytest.mark.parametrize(
    "task",
    [
        Task(
            [1.5],
            teachers=Gaussian.kronecker([[1, 0.5], [0.5, 2]], [[2]]),
            context_length=2,
            noise_variance=0.25,
        ),
        Task(
            [2, 0.5],
            teachers=Gaussian(GENERAL.reshape(2, 2, 2, 2)),
            context_length=1,
        ),
    ],
    ids=["two tokens and noise", "two inputs"],
)
def test_the_full_loss_is_that_of_the_definition(task):
    model = Merged(heads=1, outputs=2)
    derivation = derive(task, model)
    arrays, point = values(derivation, seed=2)
    found = float(derivation.loss.expression.xreplace(point))
    assert found == pytest.approx(by_quadrature(task, model, arrays), rel=1e-12)


def test_a_task_in_symbols_becomes_that_in_numbers():
    task = TASKS["shared basis"]
    symbols = symbolic_task(2, teachers="diagonal", shared_basis=True)
    numbers = parameter_values(symbols, task)
    assert {str(symbol): value for symbol, value in numbers.items()} == {
        "N": 4,
        "lambda_1": 2,
        "lambda_2": 1,
        "omega_1": 1,
        "omega_2": 3,
    }
    model = Merged(heads=1, outputs=2)
    of_symbols = derive(symbols, model, "restricted").loss.expression.subs(numbers)
    of_numbers = derive(task, model, "restricted").loss.expression
    assert sp.expand(of_symbols - of_numbers) == 0


def test_separate_heads_have_several_outputs_too():
    task = symbolic_task(1, outputs=2)
    loss = derive(task, Separate(heads=1, outputs=2), "restricted").loss.expression
    names = [str(symbol) for symbol in loss.free_symbols if "value" in str(symbol)]
    assert sorted(names) == [f"value_1_{k}_{j}" for k in (1, 2) for j in (2, 3)]


def test_outputs_of_the_users_own():
    prompt, m = Prompt(1, outputs=2), sp.Symbol("m", real=True)
    outputs = [m * average(y * prompt.x[0]) * prompt.query[0] for y in prompt.ys]
    derivation = derive_output(symbolic_task(1, outputs=2), outputs, [m])
    λ = sp.Symbol("lambda_1", positive=True)
    stated = 2 * (λ**2 - λ**3 * m * (N + 2) / N)
    assert sp.expand(derivation.flow[m] - stated) == 0


def test_labels_of_a_prompt_are_alike_given_the_teacher():
    prompt = Prompt(1, outputs=2)
    task = symbolic_task(1, teachers="diagonal", noise=True, outputs=2)
    γ1, ω, λ, σ = sp.symbols("gamma_1 omega_1 lambda_1 sigma", positive=True)
    y1, y2 = prompt.ys
    assert expectation(average(y1**2), task).equals(γ1 * ω * λ + σ**2)
    assert expectation(average(y1 * y2), task) == 0


def test_the_convention_of_the_loss_is_never_silent():
    derivation = derive(TASKS["shared basis"], Merged(heads=1, outputs=2))
    assert "twice a loss that is defined with ½" in repr(derivation)
    one = derive(Task([1], context_length=3), Merged(heads=1))
    assert "½" not in repr(one)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: derive(TASKS["shared basis"], Merged(heads=1)),
            "the task has 2 outputs and the model 1",
        ),
        (
            lambda: derive(Task([1], context_length=3), Merged(1, outputs=2)),
            "the task has 1 output and the model 2",
        ),
        (
            lambda: derive(
                Task([1, 1], teachers=Pool(np.ones((3, 2, 2))), context_length=3),
                Merged(1, outputs=2),
            ),
            "teachers of the law Pool",
        ),
        (
            lambda: rational_task(
                Task(
                    [1, 1],
                    teachers=Gaussian(np.eye(4).reshape(2, 2, 2, 2) / 3),
                    context_length=3,
                )
            ),
            "state the task in the basis of its modes",
        ),
        (
            lambda: rational_task(
                Task(
                    [1],
                    teachers=Gaussian(np.eye(2).reshape(2, 1, 2, 1), mean=[[1], [0]]),
                    context_length=3,
                )
            ),
            "a mean of W",
        ),
        (
            lambda: effective_map(symbolic_task(1, outputs=2), Merged(1, outputs=2)),
            "known for one output, not for 2",
        ),
        (lambda: moments(symbolic_task(1, outputs=2)), "known for one output"),
        (
            lambda: model_output(Merged(1, outputs=2), 1),
            "model_outputs has them all",
        ),
        (
            lambda: derive_output(
                symbolic_task(1, outputs=2), sp.Symbol("m"), [sp.Symbol("m")]
            ),
            "give one for each label",
        ),
        (lambda: Prompt(1, outputs=2).y, "take ys or labels"),
        (lambda: symbolic_task(2, outputs=3, shared_basis=True), "as many outputs"),
        (
            lambda: symbolic_task(2, teachers="general", shared_basis=True),
            "white or diagonal",
        ),
        (lambda: symbolic_task(2, outputs=0), "outputs must be a whole number"),
        (lambda: symbolic_task(2, outputs="2"), "outputs must be a whole number"),
        (lambda: symbolic_task(11, shared_basis=True), "not 11 × 11"),
        (
            lambda: rational_task(
                Task(
                    [1.0] * 30,
                    teachers=Gaussian.shared_basis([1] * 30),
                    context_length=4,
                )
            ),
            "at most 100 entries in symbols, not 30 × 30",
        ),
        (lambda: symbolic_task(2, outputs=2, mixture=True), "for one output"),
    ],
)
def test_what_has_no_form_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
