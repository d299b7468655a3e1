"""Gradient flow of all heads through a loss drop, in machine code.

    dv_h/dt = Σ_r k_hrᵀ G q_hr      dk_hr/dt = v_h G q_hr      dq_hr/dt = v_h Gᵀ k_hr      G = A (M* − M) Λ

with M = Σ_h n_h v_h Σ_r k_hr q_hrᵀ, in the eigenbasis of Λ; n_h heads that are equal are integrated as one. A state
x (H + 2·H·R·D,) holds v (H,), k (H, R, D) and q (H, R, D) one after another. The Runge-Kutta pair is of order 8 and
chooses its steps; every state between two steps is recorded, and a shorter step from it gives any time in between
at that same order.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray
from ...compilation import (
    ERROR_3,
    ERROR_5,
    NODES,
    STAGES,
    WEIGHTS,
    compile_function,
    step_factor,
)

SETTLED, STUCK, UNFINISHED = 0, 1, 2
"""How a drop ends: at the best map of the grown heads, at another one that they do not leave, or not at all."""

_FIRST_STEP = 1e-2  # in units of the fastest rate, or less where weights are above 1: the error control takes over
_IMPURE = 1e-3  # of a grown head: what it has less of may grow in it
_ROUNDING = (
    1e-14  # of |k||q|: what dv/dt holds of rounding where k and Gq are orthogonal
)
_LEAST_STEP = 1e-15  # in units of the time that has passed and of the fastest rate: shorter steps make no headway
_MOST_GUESSES = 80
_SAME_GUESS = 1e-14


class Equations(NamedTuple):
    """Numbers of the flow, in units in which B and M* have a largest singular value of 1.

    `A` (D, D), `target` M* (D, D) and `lam` (D,), the eigenvalues of Λ, in its eigenbasis; `diagonal`: whether A
    and M* are diagonal there; `copies` (H,): how many equal heads each one stands for; `pairs`: the rank R.
    """

    A: FloatArray
    target: FloatArray
    lam: FloatArray
    diagonal: bool
    copies: FloatArray
    pairs: int


class Ending(NamedTuple):
    """When a drop is over.

    `grown`: size (|v||K||Q|)^{1/3} from which a head counts as grown. `still`: squared rate of change of the grown
    heads below which they count as at a fixed point. `patience`: flow time without motion after which they are
    stuck, where their map is not the best. `best` (D+1,): least excess loss of 0 … D pairs; `near` (D+1,): how much
    more counts as that. `tolerance`: relative, of each step.
    """

    grown: float
    still: float
    patience: float
    best: FloatArray
    near: FloatArray
    tolerance: float


class Workspace(NamedTuple):
    """Arrays that are overwritten: M* − M and G (D, D), and velocities at the stages of a step (13, n)."""

    gap: FloatArray
    G: FloatArray
    slopes: FloatArray


@compile_function
def workspace(dimension: int, count: int) -> Workspace:
    """Arrays for a state of `count` numbers."""
    square = (dimension, dimension)
    return Workspace(np.zeros(square), np.zeros(square), np.zeros((STAGES + 1, count)))


@compile_function
def residual(x: FloatArray, equations: Equations, space: Workspace) -> None:
    """Writes M* − M and G = A (M* − M) Λ of the state x into `space`."""
    A, target, lam, diagonal, copies, pairs = equations
    gap, G = space.gap, space.G
    H, D = len(copies), len(lam)
    rows = H * pairs
    keys, queries = (
        x[H : H + rows * D].reshape((rows, D)),
        x[H + rows * D :].reshape((rows, D)),
    )
    gap[:] = target
    for row in range(rows):
        v = copies[row // pairs] * x[row // pairs]
        for i in range(D):
            weight = v * keys[row, i]
            if weight != 0.0:
                for j in range(D):
                    gap[i, j] -= weight * queries[row, j]
    if diagonal:
        for i in range(D):
            for j in range(D):
                G[i, j] = A[i, i] * gap[i, j] * lam[j]
        return
    G[:] = 0.0
    for i in range(D):
        for inner in range(D):
            for j in range(D):
                G[i, j] += A[i, inner] * gap[inner, j]
        for j in range(D):
            G[i, j] *= lam[j]


@compile_function
def velocity(
    x: FloatArray, equations: Equations, space: Workspace, slope: FloatArray
) -> None:
    """Writes dx/dt into `slope`, and M* − M and G of the state x into `space`."""
    residual(x, equations, space)
    G, pairs = space.G, equations.pairs
    H, D = len(equations.copies), len(equations.lam)
    rows = H * pairs
    keys, queries = (
        x[H : H + rows * D].reshape((rows, D)),
        x[H + rows * D :].reshape((rows, D)),
    )
    key_slope, query_slope = (
        slope[H : H + rows * D].reshape((rows, D)),
        slope[H + rows * D :].reshape((rows, D)),
    )
    slope[:H] = 0.0
    query_slope[:] = 0.0
    for row in range(rows):
        v, growth = x[row // pairs], 0.0
        for i in range(D):
            k, towards_key = keys[row, i], 0.0
            for j in range(D):
                towards_key += G[i, j] * queries[row, j]
            for j in range(D):
                query_slope[row, j] += G[i, j] * k
            growth += k * towards_key
            key_slope[row, i] = v * towards_key
        for j in range(D):
            query_slope[row, j] *= v
        slope[row // pairs] += growth


@compile_function
def excess_loss(space: Workspace) -> float:
    """tr(Gᵀ(M* − M)), the loss above its minimum, after `residual`."""
    total = 0.0
    for i in range(len(space.G)):
        for j in range(len(space.G)):
            total += space.G[i, j] * space.gap[i, j]
    return total


@compile_function
def step(
    x: FloatArray, size: float, equations: Equations, space: Workspace, y: FloatArray
) -> None:
    """Writes the state a time `size` after x into y; space.slopes[0] must be the velocity at x."""
    slopes = space.slopes
    for stage in range(1, STAGES + 1):
        y[:] = 0.0
        for earlier in range(stage):
            weight = WEIGHTS[earlier] if stage == STAGES else NODES[stage, earlier]
            if weight != 0.0:
                for i in range(len(x)):
                    y[i] += weight * slopes[earlier, i]
        for i in range(len(x)):
            y[i] = x[i] + size * y[i]
        if stage < STAGES:
            velocity(y, equations, space, slopes[stage])


@compile_function
def step_error(
    x: FloatArray,
    y: FloatArray,
    size: float,
    slopes: FloatArray,
    floor: FloatArray,
    tolerance: float,
) -> float:
    """Error of the step from x to y in units of what is allowed: `floor` + `tolerance`·|x|, root mean square."""
    fifth = third = 0.0
    for i in range(len(x)):
        by_fifth = by_third = 0.0
        for stage in range(STAGES + 1):
            by_fifth += ERROR_5[stage] * slopes[stage, i]
            by_third += ERROR_3[stage] * slopes[stage, i]
        allowed = floor[i] + tolerance * max(abs(x[i]), abs(y[i]))
        fifth += (by_fifth / allowed) ** 2
        third += (by_third / allowed) ** 2
    if fifth == 0.0:
        return 0.0
    return float(size * fifth / np.sqrt((fifth + 0.01 * third) * len(x)))


@compile_function
def error_floor(x: FloatArray, equations: Equations, tolerance: float) -> FloatArray:
    """Absolute tolerance of each number: relative to v of its own head, or to its own key-query pair."""
    H, D, pairs = len(equations.copies), len(equations.lam), equations.pairs
    rows = H * pairs
    keys, queries = (
        x[H : H + rows * D].reshape((rows, D)),
        x[H + rows * D :].reshape((rows, D)),
    )
    floor = np.full(len(x), 1e-300)
    for h in range(H):
        product = 0.0
        for row in range(h * pairs, (h + 1) * pairs):
            key, query = np.max(np.abs(keys[row])), np.max(np.abs(queries[row]))
            product += key * query
            allowed = max(tolerance * max(key, query), 1e-300)
            floor[H + row * D : H + (row + 1) * D] = allowed
            floor[H + (rows + row) * D : H + (rows + row + 1) * D] = allowed
        floor[h] = max(tolerance * abs(x[h]), _ROUNDING * product, 1e-300)
    return floor


@compile_function
def head_sizes(x: FloatArray, equations: Equations) -> FloatArray:
    """(|v||K||Q|)^{1/3} of each head (H,), with Frobenius norms: what it can make of M, cube root."""
    H, D, pairs = len(equations.copies), len(equations.lam), equations.pairs
    width = pairs * D
    sizes = np.zeros(H)
    for h in range(H):
        key = np.sqrt(np.sum(x[H + h * width : H + (h + 1) * width] ** 2))
        query = np.sqrt(np.sum(x[H + (H + h) * width : H + (H + h + 1) * width] ** 2))
        sizes[h] = np.cbrt(abs(x[h])) * np.cbrt(key) * np.cbrt(query)
    return sizes


@compile_function
def squared_rate(
    x: FloatArray, slope: FloatArray, chosen: NDArray[np.bool_], equations: Equations
) -> float:
    """Σ |dx_h/dt|² / |x_h|² over the chosen heads (H,): how fast they change, each in units of its own size."""
    H, D, pairs = len(equations.copies), len(equations.lam), equations.pairs
    width = pairs * D
    total = 0.0
    for h in range(H):
        if chosen[h]:
            key, query = H + h * width, H + (H + h) * width
            motion = (
                slope[h] ** 2
                + np.sum(slope[key : key + width] ** 2)
                + np.sum(slope[query : query + width] ** 2)
            )
            total += motion / (
                x[h] ** 2
                + np.sum(x[key : key + width] ** 2)
                + np.sum(x[query : query + width] ** 2)
            )
    return total


@compile_function
def is_pure(x: FloatArray, chosen: NDArray[np.bool_], equations: Equations) -> bool:
    """Whether every number of the chosen heads (H,) is zero or far from it: nothing can grow in them."""
    H, D, pairs = len(equations.copies), len(equations.lam), equations.pairs
    width = pairs * D
    for h in range(H):
        if chosen[h]:
            for side in range(2):
                part = np.abs(
                    x[H + (side * H + h) * width : H + (side * H + h + 1) * width]
                )
                if np.any((part > 0.0) & (part < _IMPURE * np.max(part))):
                    return False
    return True


@compile_function
def drop(
    start: FloatArray, most_steps: int, equations: Equations, ending: Ending
) -> tuple[int, FloatArray, FloatArray, FloatArray, float]:
    """The flow from the state `start` until the heads that have grown are at a fixed point, or for `most_steps`.

    Returns how it ends, times since the start (T,), states (T, n), excess losses (T,), and the last rate of
    change of the grown heads.
    """
    count = len(start)
    space = workspace(len(equations.lam), count)
    slopes = space.slopes
    floor = error_floor(start, equations, ending.tolerance)
    times, losses, states = np.zeros(64), np.zeros(64), np.zeros((64, count))
    x, y = start.copy(), np.zeros(count)
    velocity(x, equations, space, slopes[0])
    states[0], losses[0] = x, excess_loss(space)
    taken, t, last_motion, rate, status = 1, 0.0, 0.0, 0.0, UNFINISHED
    size = _FIRST_STEP / max(1.0, np.max(np.abs(x)) ** 2)
    while taken < most_steps:
        step(x, size, equations, space, y)
        velocity(y, equations, space, slopes[STAGES])
        error = step_error(x, y, size, slopes, floor, ending.tolerance)
        if not error < 1.0:
            size *= min(0.9, step_factor(error))
            if size < _LEAST_STEP * (1 + t):
                break
            continue
        if taken == len(times):
            times, losses = (
                np.append(times, np.zeros(taken)),
                np.append(losses, np.zeros(taken)),
            )
            states = np.concatenate((states, np.zeros((taken, count))))
        t += size
        size *= step_factor(error)
        x[:] = y
        slopes[0] = slopes[STAGES]
        times[taken], states[taken], losses[taken] = t, x, excess_loss(space)
        taken += 1
        grown = head_sizes(x, equations) >= ending.grown
        pairs = int(np.count_nonzero(grown)) * equations.pairs
        learned = min(pairs, len(ending.best) - 1)
        rate = squared_rate(x, slopes[0], grown, equations)
        if learned == 0:
            status = STUCK
            break
        if rate > ending.still:
            last_motion = t
        elif losses[taken - 1] - ending.best[learned] <= ending.near[learned]:
            status = SETTLED
            break
        elif t - last_motion > ending.patience or is_pure(x, grown, equations):
            status = STUCK
            break
    return status, times[:taken], states[:taken], losses[:taken], np.sqrt(rate)


@compile_function
def states_at(
    wanted: FloatArray, times: FloatArray, states: FloatArray, equations: Equations
) -> tuple[FloatArray, FloatArray]:
    """States (T, n) and excess losses (T,) at the times `wanted` (T,), by one step from the state before each."""
    count = states.shape[1]
    space = workspace(len(equations.lam), count)
    found, losses = np.zeros((len(wanted), count)), np.zeros(len(wanted))
    for number in range(len(wanted)):
        before = max(0, np.searchsorted(times, wanted[number], side="right") - 1)
        x, y = states[before], found[number]
        velocity(x, equations, space, space.slopes[0])
        step(x, wanted[number] - times[before], equations, space, y)
        residual(y, equations, space)
        losses[number] = excess_loss(space)
    return found, losses


@compile_function
def crossing_time(
    level: float,
    after: int,
    times: FloatArray,
    states: FloatArray,
    equations: Equations,
) -> float:
    """When the excess loss is `level`, between the states `after` − 1 and `after` of `states` (T, n), to rounding.

    Regula falsi with halved weights (the Illinois rule) on the size of a step from the first of the two.
    """
    x, y, width = (
        states[after - 1],
        np.zeros(states.shape[1]),
        times[after] - times[after - 1],
    )
    space = workspace(len(equations.lam), len(x))
    residual(states[after], equations, space)
    at_high = excess_loss(space) - level
    velocity(x, equations, space, space.slopes[0])
    at_low = excess_loss(space) - level
    low, high, last = 0.0, width, width
    for _ in range(_MOST_GUESSES):
        size = (low * at_high - high * at_low) / (at_high - at_low)
        step(x, size, equations, space, y)
        residual(y, equations, space)
        at_size = excess_loss(space) - level
        if at_size < 0.0:
            high, at_high, at_low = size, at_size, at_low / 2
        else:
            low, at_low, at_high = size, at_size, at_high / 2
        if at_size == 0.0 or abs(size - last) <= _SAME_GUESS * width:
            break
        last = size
    return float(times[after - 1] + size)
