"""Loss, maps, amplitudes and heads along whole saddle-to-saddle paths, by theory and by the flow of all heads."""

from typing import NamedTuple

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import Trajectory, flow, initial_weights
from .....task import Task
from .....theory import Staircase, staircase
from ....exact_statistics import population_statistics
from ..common.controls import LONGER_CONTEXT, with_context

LATER = "one per cent later"
NEXT_HEAD = "the next head"

TIMES = np.append(
    np.random.default_rng(0).permutation(np.geomspace(20.0, 8000.0, 30)), 0.0
)
"""In no order, and densest where small heads escape first."""

EQUAL = 1e-3
"""Relative difference below which heads count as equal: they stay so up to the rounding of a simulation."""


class Path(NamedTuple):
    """A task, a model, weights, and the columns that coefficients and amplitudes are read on.

    `numbered`: whether those are the directions, by decreasing gain.
    """

    task: Task
    model: Separate
    weights: Weights
    basis: FloatArray
    numbered: bool = True


def small_weights(model: Separate, task: Task, scale: float) -> Weights:
    """Weights of the restricted block of either sign, all within a factor of three of one another."""
    drawn = initial_weights(model, task, 1.0, 0, "restricted")
    weights = {}
    for name, value in drawn.items():
        sizes = 0.5 + np.abs(np.tanh(value))
        weights[name] = scale * np.sign(value) * sizes
    return weights


def with_equal_heads(weights: Weights) -> Weights:
    """The weights with a third head that is as the first, and a second that is their mirror image."""
    changed = {name: value.copy() for name, value in weights.items()}
    for value in changed.values():
        value[2] = value[0]
    # (v, q) → (−v, −q) leaves the map alone.
    changed["value"][1] = -weights["value"][0]
    changed["key"][1] = weights["key"][0]
    changed["query"][1] = -weights["query"][0]
    return changed


def observed_paths(paths: list[Path]) -> list[FloatArray]:
    """Loss (T,), e_dᵀ M e_d and κ_d (T, D), heads in the order in which they grow, and the head of each direction."""
    curves = []
    for path in paths:
        ordered, place = np.unique(TIMES, return_inverse=True)
        source = population_statistics(path.task, path.model)
        run = flow(path.model, source, path.weights, ordered)
        along = _along(run, path.basis)
        coefficients = np.sum(along.of_heads, axis=1)
        curves += [run.loss[place], coefficients[place], along.amplitudes[place]]

        sizes = np.abs(run.weights["value"][:, :, -1])
        curves.append(_order_of_growth(sizes))
        if path.numbered:
            curves.append(_first_of_largest(np.abs(along.of_heads[-1])))
    return curves


def _order_of_growth(sizes: FloatArray) -> FloatArray:
    """Heads, from 1, whose size (T, H) comes to more than a tenth of the largest, by when it is half of that.

    Of heads that are equal, the first.
    """
    final = sizes[-1]
    largest = np.max(final)
    times = {}  # index of the time at which each head is grown
    for head, size in enumerate(final):
        like_another = np.any(np.abs(final[:head] - size) < EQUAL * largest)
        if size > 0.1 * largest and not like_another:
            times[head] = int(np.argmax(sizes[:, head] > largest / 2))
    ordered = sorted(times, key=lambda head: times[head])
    return np.array([1.0 + head for head in ordered])


def _first_of_largest(shares: FloatArray) -> FloatArray:
    """The head, from 1, with the largest share (H, D) of each direction; of heads that are equal, the first."""
    largest = shares > (1 - EQUAL) * np.max(shares, axis=0)
    return np.asarray(1.0 + np.argmax(largest, axis=0))


class _Along(NamedTuple):
    """v e_dᵀk e_dᵀq of each head (T, H, D), and κ_d = (Σ |e_dᵀk e_dᵀq|)^{1/2} over heads and pairs (T, D)."""

    of_heads: FloatArray
    amplitudes: FloatArray


def _along(run: Trajectory, basis: FloatArray) -> _Along:
    value = run.weights["value"][:, :, -1]  # (T, H)
    key = run.weights["key"][..., :-1] @ basis  # (T, H, R, D)
    query = run.weights["query"][..., :-1] @ basis
    of_heads = np.einsum("th,thrd,thrd->thd", value, key, query)
    squares = np.sum(np.abs(key * query), axis=(1, 2))
    return _Along(of_heads, np.sqrt(squares))


def stated_paths(paths: list[Path], control: str) -> list[FloatArray]:
    """The same by the staircase of the weights, or a wrong variant."""
    times = 1.01 * TIMES if control == LATER else TIMES
    shift = 1.0 if control == NEXT_HEAD else 0.0
    curves = []
    for path in paths:
        task = with_context(path.task, 8) if control == LONGER_CONTEXT else path.task
        steps = staircase(task, path.model, path.weights, verify=False)
        curves.append(steps.loss(times))
        curves.append(steps.coefficients(times))
        curves.append(steps.amplitudes(times))

        in_order = list(dict.fromkeys(steps.heads))
        curves.append(1.0 + np.array(in_order) + shift)
        if path.numbered:
            curves.append(_last_heads(steps) + shift)
    return curves


def _last_heads(steps: Staircase) -> FloatArray:
    """The head that took each direction last, from 1, by decreasing gain; 0 where none did."""
    heads = np.zeros(len(steps.exit_times))
    for d, head in zip(steps.directions, steps.heads, strict=True):
        heads[d - 1] = 1.0 + head
    return heads
