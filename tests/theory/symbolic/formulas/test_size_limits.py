"""What is too large for exact algebra is refused before it is begun, in one sentence."""

import time
from dataclasses import replace

import pytest
import sympy as sp

from attndyn import Merged, Separate
from attndyn.cli import main
from attndyn.compare.user.statement_file import statements_of
from attndyn.theory.symbolic import (
    N,
    derive,
    fixed_points,
    population_loss,
    symbolic_task,
)
from attndyn.theory.symbolic.algebra.zero_test import is_zero

SECONDS = 10
"""The most that an answer or a refusal may take."""

LARGE = {
    "dimension 40": (
        ["derive", "--dim", "40", "--block", "restricted"],
        "about 1600 terms, and its exact loss is derived for at most",
    ),
    "a million dimensions": (
        ["derive", "--dim", "1000000"],
        "from 1 to 100 in symbols, not 1000000",
    ),
    "a million heads": (
        ["derive", "--dim", "2", "--heads", "1000000"],
        "the model has 9000000 weights at D = 2",
    ),
    "a full block": (
        ["derive", "--dim", "4", "--heads", "8", "--block", "full"],
        "about 800 terms",
    ),
    "many lengths": (
        [
            "fixed-points",
            "--eigenvalues",
            "2,1",
            "--context-length",
            "1..100000",
            "--symbolic",
        ],
        "an exact mean over 100000 context lengths has too long numbers: take at most 300, or one N",
    ),
    "many invariants": (
        ["derive", "--dim", "2", "--heads", "3", "--degree", "6"],
        "monomials up to degree 6",
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_command_line_refuses_in_one_sentence(name, capsys):
    arguments, message = LARGE[name]
    start = time.process_time()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert time.process_time() - start < SECONDS


TABLES = {
    "heads": {"task": {"dimension": 2}, "model": {"model": "merged", "heads": 10**6}},
    "dimension": {"task": {"dimension": 40}, "model": {"model": "merged", "heads": 1}},
    "lengths": {
        "task": {"eigenvalues": [1.0], "context_length": "1..100000"},
        "model": {"model": "merged", "heads": 1},
    },
    "output": {
        "task": {"dimension": 1},
        "model": {
            "output": "(m + n*average(x_1*y)*x_q1 + 1)^64",
            "weights": ["m", "n"],
        },
    },
}


@pytest.mark.parametrize("name", TABLES)
def test_files_of_statements_are_refused_as_well(name):
    start = time.process_time()
    with pytest.raises(ValueError, match=r"at most|may be|too many"):
        statements_of(TABLES[name] | {"statement": [{"kind": "loss", "value": "1"}]})
    assert time.process_time() - start < SECONDS


def test_moderate_sizes_are_answered():
    assert len(derive(symbolic_task(4), Separate(4), "restricted").flow) == 36
    assert len(derive(symbolic_task(3), Merged(2), "full").weights) > 20
    some = replace(symbolic_task(1), context_lengths=tuple(range(1, 101)))
    assert len(list(fixed_points(some, Separate(1)))) == 2
    with pytest.raises(ValueError, match="random features in 16 dimensions"):
        population_loss(symbolic_task(16), Merged(1), "restricted")


P, Q = sp.nextprime(2**120), sp.nextprime(2**121)
a = sp.Symbol("a", positive=True)
HARD_NUMBERS = {
    "a product of large primes": (
        sp.sqrt(P * Q) * sp.sqrt(4 * a),
        2 * sp.sqrt(P * Q * a),
        sp.sqrt(P * Q * a),
    ),
    "a square of one": (sp.sqrt(P**2 * a), P * sp.sqrt(a), sp.sqrt(P * a)),
    "with a divisor in common": (
        sp.sqrt(P * Q) * sp.sqrt(P),
        P * sp.sqrt(Q),
        P * sp.sqrt(P),
    ),
    "a root of a fraction": (
        sp.cbrt(sp.Rational(P, Q)),
        sp.cbrt(P * Q**2) / Q,
        sp.cbrt(P * Q) / Q,
    ),
    "a logarithm": (sp.log(P * Q * a) - sp.log(a), sp.log(P * Q), sp.log(P)),
}


@pytest.mark.parametrize("name", HARD_NUMBERS)
def test_whole_numbers_that_cannot_be_factored_are_decided(name):
    left, right, wrong = HARD_NUMBERS[name]
    start = time.process_time()
    assert is_zero(left - right)
    assert not is_zero(left - wrong)
    assert time.process_time() - start < SECONDS


HARD_STATEMENTS = [
    f"lambda_1 + 0*sqrt({P * Q})",
    f"lambda_1 + sqrt({P * Q}) - sqrt({P})*sqrt({Q})",
    f"lambda_1 + 0/({P}*N - {Q})",
    f"lambda_1 + 0*sqrt(lambda_1^12 - {P}*lambda_1^7 + {Q})",
    "lambda_1 + 0/(N^64 - 2*N^63 - 1)",
    "lambda_1 + 0*(lambda_1^2 + N)^(1/12)",
    "lambda_1 + 0/exp(64*lambda_1)/(exp(64*lambda_1) - 2)",
    "lambda_1 + 0*log(lambda_1^20 + N^20 - lambda_1^10*N^10)",
    "lambda_1 + 0*sqrt(1 + sqrt(2 + sqrt(3 + lambda_1)))",
    "lambda_1 + 0/(exp(lambda_1) - lambda_1)",
]


@pytest.mark.parametrize("value", HARD_STATEMENTS, ids=lambda value: value[:40])
def test_hard_statements_get_an_answer_soon(value):
    head = {
        "task": {"dimension": 1},
        "model": {"model": "merged", "heads": 1, "block": "restricted"},
    }
    rest = {"kind": "fixed point", "values": {"value_1_2": "0"}, "loss": value}
    start = time.process_time()
    (answer,) = statements_of(head | {"statement": [rest]}).answers()
    assert answer.result.level in ("proved", "undefined", "undecided")
    assert time.process_time() - start < SECONDS


def test_a_count_of_terms_is_no_accident():
    """Twice the heads are refused or derived as one would count: terms grow with H."""
    with pytest.raises(ValueError, match="about 400 terms"):
        population_loss(symbolic_task(4), Separate(4))
    assert N in population_loss(symbolic_task(1), Separate(1)).expression.free_symbols
