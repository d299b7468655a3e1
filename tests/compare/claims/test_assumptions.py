"""What claims assume: a measurement that takes a part of the theory as it is names the claims that check that part."""

import functools
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

import numpy as np
import pytest

from attndyn.compare.claims import all_claims
from attndyn.compare.claims.linear_transformer.setting import LOSS as LAYER_LOSS
from attndyn.compare.claims.softmax_attention.setting import (
    EXACT_LOSSES,
    exact_flow,
)
from attndyn.compare.exact_statistics import (
    FEATURE_MOMENTS,
    POPULATION_MOMENTS,
    population_statistics,
)
from attndyn.theory.linear_transformer import layer_loss, mode_loss
from attndyn.theory.predictors import debiased_step_loss
from attndyn.theory.softmax_attention import exact_loss
from attndyn.theory.softmax_attention.exact_losses import value_averages

CLAIMS = {claim.id: claim for claim in all_claims()}

CHECKED_BY = {
    population_statistics: (POPULATION_MOMENTS, FEATURE_MOMENTS, LAYER_LOSS),
    exact_loss: (EXACT_LOSSES,),
    exact_flow: (EXACT_LOSSES,),
    value_averages: (EXACT_LOSSES,),
    debiased_step_loss: (("softmax.steps",),),
    layer_loss: (LAYER_LOSS,),
    mode_loss: (LAYER_LOSS,),
}
"""What of the theory measurements take as it is, and which claims hold it against tokens.

The loss of one layer with several outputs is made of the moments of `population_statistics`.
"""


def functions_in(value: object, depth: int = 0) -> Iterator[FunctionType]:
    """The functions that a value is or holds: wrapped, partial, methods of a class, entries of containers."""
    if isinstance(value, functools.partial):
        for part in (value.func, *value.args, *value.keywords.values()):
            yield from functions_in(part)
    elif isinstance(value, FunctionType) or hasattr(value, "__wrapped__"):
        yield inspect.unwrap(value)
    elif isinstance(value, type) and value.__module__.startswith("attndyn.compare"):
        for part in vars(value).values():
            yield from functions_in(part)
    elif isinstance(value, list | tuple | dict) and depth < 2:
        for part in value.values() if isinstance(value, dict) else value:
            yield from functions_in(part, depth + 1)


def names_in(code: CodeType) -> set[str]:
    """Names that a function's code reads, those of functions inside it among them."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return {*code.co_names, *(name for part in inner for name in names_in(part))}


def called_by(function: FunctionType) -> Iterator[FunctionType]:
    """The functions that a function may call: of its module, of modules that it names, of its closure."""
    for cell in function.__closure__ or ():
        yield from functions_in(cell.cell_contents)
    names = names_in(function.__code__)
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and value.__name__.startswith("attndyn."):
            for attribute in names & set(vars(value)):
                yield from functions_in(getattr(value, attribute))
        else:
            yield from functions_in(value)


def reaches(start: object, target: FunctionType) -> bool:
    """Whether a call of `start` may come to `target` through functions of compare."""
    waiting, visited = list(functions_in(start)), set()
    while waiting:
        function = waiting.pop()
        if function is target:
            return True
        if function in visited or not function.__module__.startswith("attndyn.compare"):
            continue
        visited.add(function)
        waiting += called_by(function)
    return False


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_measurement_on_parts_of_the_theory_names_who_checks_them(claim):
    taken = [source for source in CHECKED_BY if reaches(claim.measure, source)]
    assert bool(claim.assumes) == bool(taken)
    for source in taken:
        assert claim.assumes in CHECKED_BY[source]


def test_claims_that_are_assumed_exist_and_assume_nothing():
    for name in {name for claim in CLAIMS.values() for name in claim.assumes}:
        assert CLAIMS[name].assumes == ()
    assert sum(bool(claim.assumes) for claim in CLAIMS.values()) > 40


def trains_on_moments(task):
    return population_statistics(task, None)


def test_a_call_is_found_in_closures_partial_functions_and_containers():
    steps = {"train": trains_on_moments}
    inside = lambda context: steps["train"](context)
    trains_on_moments.__module__ = "attndyn.compare.made_up"
    inside.__module__ = "attndyn.compare.made_up"
    assert reaches(inside, population_statistics)
    assert reaches(functools.partial(trains_on_moments, None), population_statistics)
    assert not reaches(np.mean, population_statistics)
