"""Identities of the restricted block, proved from the definition: what moves the rest, and networks equal to it."""

from dataclasses import replace
from functools import cache

import pytest
import sympy as sp

from attndyn import Merged, Separate
from attndyn.theory.symbolic import (
    N,
    Prompt,
    average,
    flow_equations,
    model_output,
    output_loss,
    population_loss,
    symbolic_task,
    weight_symbols,
)
from attndyn.theory.symbolic.task import average_of

MODELS = {"merged": Merged(2), "separate": Separate(2), "rank two": Separate(1, rank=2)}
EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def zero(expression):
    """Whether a rational expression vanishes identically, by the normal form of its numerator."""
    means = {each: sp.Dummy(str(each)) for each in expression.atoms(average_of)}
    numerator = sp.numer(sp.together(expression.xreplace(means)))
    symbols = sorted(numerator.free_symbols, key=str)
    return sp.Poly(numerator, *symbols).is_zero if symbols else numerator == 0


# All sequences have the teacher (w0_1, w0_2): losses are polynomials in it.
GIVEN_TEACHER = replace(
    symbolic_task(2, teachers="general", noise=True, mixture=True),
    in_context_fraction=sp.Integer(0),
)


def outside(model, dimension):
    """Weights that are zero on the restricted block and stand in the output: value rows on x, keys on y."""
    weights = weight_symbols(model, dimension)
    keys = (
        weights["key"][..., -1]
        if "key" in weights
        else weights["key_query"][:, -1, :-1]
    )
    return list(weights["value"][:, :-1].flat), list(keys.flat)


@cache
def rates_on_the_block(model):
    """Weight → its rate of change in the full model, on the restricted block: a polynomial in the teacher."""
    values, keys = outside(model, 2)
    flow = flow_equations(population_loss(GIVEN_TEACHER, model))
    still = dict.fromkeys([*values, *keys], sp.Integer(0))
    return {weight: rate.xreplace(still) for weight, rate in flow.items()}


def degrees(rates):
    """Total degrees in the teacher that really stand in any of these rates."""
    polynomials = (
        sp.Poly(sp.numer(sp.together(rate)), *GIVEN_TEACHER.fixed_teacher)
        for rate in rates
    )
    return {sum(powers) for polynomial in polynomials for powers in polynomial.monoms()}


@EVERY_MODEL
def test_which_moments_of_the_teachers_move_the_other_blocks(model):
    """Any law of teachers: a rate is the mean over w of its polynomial in w, so only its degrees matter."""
    rates = rates_on_the_block(model)
    values, keys = outside(model, 2)
    assert degrees(rates[weight] for weight in values) == {1}
    assert degrees(rates[weight] for weight in keys) == {1, 3}
    assert degrees(
        rate for weight, rate in rates.items() if weight not in [*values, *keys]
    ) == {0, 2}


@EVERY_MODEL
def test_a_zero_mean_alone_holds_the_value_rows_only(model):
    """Teachers 2u (one in three) and −u (two in three) have mean zero and third moment 2u³."""
    rates, (values, keys) = rates_on_the_block(model), outside(model, 2)

    def over_teachers(weight, second):
        rate, u = rates[weight], GIVEN_TEACHER.fixed_teacher
        at = [rate.xreplace({w: factor * w for w in u}) for factor in (2, second)]
        return (at[0] + 2 * at[1]) / 3

    assert all(zero(over_teachers(weight, -1)) for weight in values)
    assert not any(zero(over_teachers(weight, -1)) for weight in keys)
    assert not any(
        zero(over_teachers(weight, -2)) for weight in values
    )  # a mean of −2u/3


def regression(dimension):
    """β = mean_n y_n x_n."""
    prompt = Prompt(dimension)
    return sp.Matrix([average(prompt.y * x) for x in prompt.x])


@EVERY_MODEL
def test_the_restricted_output_is_a_bilinear_form(model):
    a, B = model.heads(weight_symbols(model, 2))
    query = sp.Matrix(Prompt(2).query)
    M = sum(
        (v * sp.Matrix(U) for v, U in zip(a[:, -1], B[:, :-1], strict=True)),
        sp.zeros(2),
    )
    ours = model_output(model, 2, "restricted")
    assert zero(ours - (regression(2).T * M * query)[0])
    assert not zero(ours - (regression(2).T * M.T * query)[0])
    assert not zero(ours - N * (regression(2).T * M * query)[0])


def same_training(output, model, task):
    """Whether a network of the same weights has the loss and the flow of the model on the restricted block."""
    ours = population_loss(task, model, "restricted")
    theirs = output_loss(task, output, ours.weights)
    if set(theirs.weights) != set(ours.weights):
        return False
    flows = flow_equations(ours), flow_equations(theirs)
    return theirs.polynomial == ours.polynomial and all(
        zero(flows[0][w] - flows[1][w]) for w in ours.weights
    )


def test_merged_is_a_two_layer_network_of_cubic_features():
    model, task = Merged(2), symbolic_task(2, teachers="general", noise=True)
    weights, query = weight_symbols(model, 2), sp.Matrix(Prompt(2).query)
    first, second = (
        weights["key_query"][:, :-1, :-1].reshape(2, 4),
        weights["value"][:, -1],
    )

    def network(features):
        return (sp.Matrix(second).T * (sp.Matrix(first) * sp.Matrix(features)))[0]

    cubic = list(regression(2) * query.T)
    assert same_training(network(cubic), model, task)
    wrong = {
        "x_q before β": list(query * regression(2).T),
        "quadratic features": [*regression(2), *regression(2)],
        "no divisor": [N * z for z in cubic],
        "one feature short": [*cubic[:3], 0],
    }
    assert [
        name
        for name, features in wrong.items()
        if same_training(network(features), model, task)
    ] == []


def convolved(signal, kernel, stride):
    """A linear convolution layer, without padding: Σ_j kernel_j signal_{i·stride + j}."""
    starts = range(0, len(signal) - len(kernel) + 1, stride)
    return [sp.Add(*(w * signal[i + j] for j, w in enumerate(kernel))) for i in starts]


@pytest.mark.parametrize("heads", [1, 2])
def test_separate_is_a_sum_of_three_layer_convolutional_networks(heads):
    """Each head: a kernel q of stride D on z = vec(β x_qᵀ), a kernel k over what results, a factor v."""
    model, task = Separate(heads), symbolic_task(2, teachers="general", noise=True)
    weights, query = weight_symbols(model, 2), sp.Matrix(Prompt(2).query)
    parts = (
        weights["value"][:, -1],
        weights["key"][:, 0, :-1],
        weights["query"][:, 0, :-1],
    )

    def network(features, order=(0, 1, 2), stride=2):
        total = sp.Integer(0)
        for v, key, q in zip(*(parts[i] for i in order), strict=True):
            (output,) = convolved(convolved(features, q, stride)[:2], key, 1)
            total += v * output
        return total

    cubic = list(regression(2) * query.T)
    assert same_training(network(cubic), model, task)
    wrong = {
        "kernels exchanged": network(cubic, order=(0, 2, 1)),
        "stride one": network(cubic, stride=1),
        "no divisor": network([N * z for z in cubic]),
    }
    assert [
        name for name, output in wrong.items() if same_training(output, model, task)
    ] == []
