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

_SHARED = 1e-3  # heads that are equal stay so up to the rounding of a simulation


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
    return {
        name: scale * np.sign(value) * (0.5 + np.abs(np.tanh(value)))
        for name, value in drawn.items()
    }


def with_equal_heads(weights: Weights) -> Weights:
    """The weights with a third head that is as the first, and a second that is their mirror image."""
    changed = {name: value.copy() for name, value in weights.items()}
    for name, value in changed.items():
        value[1] = (
            value[0] if name == "key" else -value[0]
        )  # (v, q) → (−v, −q) leaves the map alone
        value[2] = value[0]
    return changed


def observed_paths(paths: list[Path]) -> list[FloatArray]:
    """Loss (T,), e_dᵀ M e_d and κ_d (T, D), heads in the order in which they grow, and who holds each direction."""
    found = []
    for path in paths:
        ordered, place = np.unique(TIMES, return_inverse=True)
        run = flow(
            path.model,
            population_statistics(path.task, path.model),
            path.weights,
            ordered,
        )
        shares, amplitudes = _along(run, path.basis)
        found += [run.loss[place], np.sum(shares, axis=1)[place], amplitudes[place]]
        found.append(_growing_order(np.abs(run.weights["value"][:, :, -1])))
        if path.numbered:
            last = np.abs(shares[-1])
            found.append(
                1.0 + np.argmax(last > (1 - _SHARED) * np.max(last, axis=0), axis=0)
            )
    return found


def _growing_order(sizes: FloatArray) -> FloatArray:
    """Heads, from 1, whose size (T, H) comes to more than a tenth of the largest, by when it is half of that.

    Of heads that are equal, the first.
    """
    final = sizes[-1]
    first = [
        h
        for h in range(len(final))
        if not np.any(np.abs(final[:h] - final[h]) < _SHARED * np.max(final))
    ]
    large = [h for h in first if final[h] > 0.1 * np.max(final)]
    return 1.0 + np.array(
        sorted(large, key=lambda h: int(np.argmax(sizes[:, h] > np.max(final) / 2)))
    )


def _along(run: Trajectory, basis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """v e_dᵀk e_dᵀq of each head (T, H, D), and κ_d = (Σ |e_dᵀk e_dᵀq|)^{1/2} over heads and pairs (T, D)."""
    value = np.asarray(run.weights["value"])[:, :, -1]
    key, query = (
        np.asarray(run.weights[name])[..., :-1] @ basis for name in ("key", "query")
    )
    shares = np.einsum("th,thrd,thrd->thd", value, key, query)
    return shares, np.sqrt(np.sum(np.abs(key * query), axis=(1, 2)))


def stated_paths(paths: list[Path], control: str) -> list[FloatArray]:
    """The same by the staircase of the weights, or a wrong variant."""
    found = []
    for path in paths:
        task = with_context(path.task, 8) if control == LONGER_CONTEXT else path.task
        steps = staircase(task, path.model, path.weights, verify=False)
        times = 1.01 * TIMES if control == LATER else TIMES
        shift = 1.0 if control == NEXT_HEAD else 0.0
        found += [steps.loss(times), steps.coefficients(times), steps.amplitudes(times)]
        found.append(
            np.array([1.0 + head for head in dict.fromkeys(steps.heads)]) + shift
        )
        if path.numbered:
            found.append(_holders(steps) + shift)
    return found


def _holders(steps: Staircase) -> FloatArray:
    """The head that took each direction last, from 1, by decreasing gain; 0 where none did."""
    last = dict(zip(steps.directions, steps.heads, strict=True))
    return np.array([1.0 + last.get(d + 1, -1) for d in range(len(steps.exit_times))])
