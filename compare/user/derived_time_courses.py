"""The time course of a model of the user's own, from equations that were derived symbolically."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ...models.effective_map import effective_map
from ...models.protocol import Weights
from ...runtime.arrays import FloatArray
from ...task import Task
from ...theory import TimeCourse
from ...theory.ode import flow_times, integrate

if TYPE_CHECKING:
    from ...theory.symbolic.derivation import Derivation


def derived_time_course(
    derivation: "Derivation",
    task: Task,
    start: Mapping[str, ArrayLike],
    flow_time: ArrayLike,
) -> TimeCourse:
    """The `TimeCourse` of the derived flow from the weights `start`, name → array, at `flow_time` (T,).

    Unlimited data of `task`, whose numbers stand in for the derivation's symbols. `amplitudes` (T, n) are the
    weights that move, in the order of `derivation.weights`; `coefficients` (T, D) are e_dᵀ M e_d of a model's map,
    in the order of `task.eigenvalues`, and (T, 0) for an output without a model. ValueError where task and
    derivation differ, and for weights outside the block of the derivation; ArithmeticError if it fails.

    >>> from attndyn import Separate
    >>> from attndyn.theory.symbolic import symbolic_task
    >>> from attndyn.theory.symbolic.derivation import derive
    >>> model, task = Separate(heads=1), Task(eigenvalues=[2], context_length=5)
    >>> start = {"value": [[0, 0.1]], "key": [[[0.1, 0]]], "query": [[[0.1, 0]]]}
    >>> derived_time_course(derive(symbolic_task(1), model, "restricted"), task, start, [0, 5]).loss.round(4)
    array([1.992 , 0.5714])
    """
    from ...theory.symbolic.numerics import (
        numeric,
        packed,
        parameter_values,
        to_numpy,
        unpacked,
    )

    times = flow_times(flow_time)
    parameters = parameter_values(derivation.task, task)
    _require_block(derivation, start)

    # y (T, n) are the weights that move.
    flow = to_numpy(derivation, parameters)
    y = _solution(flow.rate, packed(derivation, start), times)

    loss_of = numeric([derivation.loss.expression], derivation.weights, parameters)
    (loss,) = loss_of(y.T)
    coefficients = _coefficients(derivation, task, unpacked(derivation, y, start))
    return TimeCourse(times, loss, y, coefficients, "derived flow")


def _solution(
    rate: Callable[[FloatArray], FloatArray], start: FloatArray, times: FloatArray
) -> FloatArray:
    """Weights (T, n) of the flow from `start` (n,)."""
    if np.any(start):
        return integrate(rate, start, times)
    # `integrate` takes zero weights for a fixed point, which those of any output need not be: the origin is shifted.
    origin = np.ones_like(start)
    return integrate(lambda y: rate(y - origin), origin, times) - origin


def _require_block(derivation: "Derivation", start: Mapping[str, ArrayLike]) -> None:
    """ValueError for weights outside the restricted block, for which a derivation on that block has no equations."""
    if derivation.model is None or derivation.block == "full":
        return
    weights = {name: np.asarray(value, dtype=float) for name, value in start.items()}
    a, B = derivation.model.heads(weights)
    # The restricted block: values of the label alone, and scores of the inputs alone.
    if np.any(a[:, :-1]) or np.any(B[:, -1]):
        raise ValueError(
            'weights leave the restricted block: derive the model with block "full", or set them to zero'
        )


def _coefficients(derivation: "Derivation", task: Task, weights: Weights) -> FloatArray:
    """e_dᵀ M e_d at each of T times, (T, D), or (T, 0) for an output without a model."""
    if derivation.model is None:
        count = len(next(iter(weights.values())))
        return np.zeros((count, 0))
    maps = effective_map(derivation.model, weights)  # (T, D, D)
    e = task.eigenvectors  # (D, D), e_d in column d
    return np.asarray(np.einsum("id,tij,jd->td", e, maps, e))
