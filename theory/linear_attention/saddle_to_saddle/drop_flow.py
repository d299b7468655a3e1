"""Gradient flow of all heads through a loss drop, in machine code.

    dv_h/dt = Σ_r k_hrᵀ G q_hr      dk_hr/dt = v_h G q_hr      dq_hr/dt = v_h Gᵀ k_hr      G = A (M* − M) Λ

with M = Σ_h n_h v_h Σ_r k_hr q_hrᵀ, in the eigenbasis of Λ; n_h heads that are equal are integrated as one. G is the
residual correlation, −½ ∂L/∂M. A state x (H + 2·H·R·D,) holds v (H,), k (H, R, D) and q (H, R, D) one after another.
The Runge-Kutta pair is of order 8 and chooses its steps; every state between two steps is recorded, and a shorter
step from it gives any time in between at that same order.
"""

from typing import NamedTuple

import numpy as np

from ....runtime.arrays import BoolArray, FloatArray
from ...compilation import (
    ERROR_3,
    ERROR_5,
    STAGE_WEIGHTS,
    STAGES,
    STEP_WEIGHTS,
    THIRD_ORDER_SHARE,
    compile_function,
    step_factor,
)

SETTLED, STUCK, UNFINISHED = 0, 1, 2
"""How a drop ends: at the best map of the grown heads, at another one that they do not leave, or not at all."""

# In units of the fastest rate, or less where weights are above 1: the error control takes over from there.
_FIRST_STEP = 1e-2

# In units of the time that has passed and of the fastest rate: shorter steps are lost in rounding of the time.
_LEAST_STEP = 1e-15

# Of the largest entry of a grown head: smaller ones may still grow in it, so that the head would leave its direction.
_IMPURE = 1e-3

# Of |k||q|: what dv/dt holds of rounding where k and Gq are orthogonal.
_ROUNDING = 1e-14

# Least absolute tolerance: above zero, so that entries that are exactly zero divide nothing by zero.
_LEAST_TOLERANCE = 1e-300

# A level is crossed to rounding after about ten guesses; bisection alone would need 50.
_MOST_GUESSES = 80
# Of the step: guesses that agree so well differ by rounding.
_SAME_GUESS = 1e-14

# States for which there is room at first; twice as many each time that they do not suffice.
_FIRST_ROOM = 64


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


class Rows(NamedTuple):
    """Views of a state or velocity: v (H,), and k and q with a row for each pair or for each head."""

    v: FloatArray
    k: FloatArray
    q: FloatArray


class Workspace(NamedTuple):
    """Arrays that are overwritten: `gap` M* − M and `G` (D, D), and velocities at the stages of a step (13, n)."""

    gap: FloatArray
    G: FloatArray
    velocities: FloatArray


class RecordedStates(NamedTuple):
    """`times` since the start (T,), `states` (T, n) and excess `losses` (T,)."""

    times: FloatArray
    states: FloatArray
    losses: FloatArray


class Drop(NamedTuple):
    """How a drop ends, the states that it goes through, and the last rate of change of the grown heads."""

    status: int
    times: FloatArray
    states: FloatArray
    losses: FloatArray
    speed: float


@compile_function
def workspace(dimension: int, count: int) -> Workspace:
    """Arrays for a state of `count` numbers."""
    square = (dimension, dimension)
    return Workspace(np.zeros(square), np.zeros(square), np.zeros((STAGES + 1, count)))


@compile_function
def rows_of(x: FloatArray, H: int, width: int) -> Rows:
    """Views of x, with keys and queries in rows of `width` numbers."""
    half = (len(x) - H) // 2
    keys = x[H : H + half].reshape((half // width, width))
    queries = x[H + half :].reshape((half // width, width))
    return Rows(x[:H], keys, queries)


@compile_function
def pair_rows(x: FloatArray, equations: Equations) -> Rows:
    """Views v (H,), k and q (H·R, D) of the state or velocity x (n,)."""
    return rows_of(x, len(equations.copies), len(equations.lam))


@compile_function
def head_rows(x: FloatArray, equations: Equations) -> Rows:
    """Views v (H,), k and q (H, R·D) of the state or velocity x (n,)."""
    return rows_of(x, len(equations.copies), equations.pairs * len(equations.lam))


# -- The right-hand side ------------------------------------------------------------------------------------------


# What is called at every stage makes its views in place: views that come out of a function, in a tuple, are counted as
# references, which for a few heads costs as much as the arithmetic.


@compile_function
def write_residual_correlation(
    A: FloatArray, lam: FloatArray, diagonal: bool, gap: FloatArray, G: FloatArray
) -> None:
    """Writes G = A (M* − M) Λ, (D, D), from `gap` M* − M."""
    D = len(lam)
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


# Long because it is called at every stage of a step: a call for each pair would cost as much as its arithmetic.
@compile_function
def residual(x: FloatArray, equations: Equations, space: Workspace) -> None:
    """Writes M* − M and G = A (M* − M) Λ of the state x into `space`."""
    A, target, lam, diagonal, copies, pairs = equations
    gap = space.gap
    H, D = len(copies), len(lam)
    rows = H * pairs
    keys = x[H : H + rows * D].reshape((rows, D))
    queries = x[H + rows * D :].reshape((rows, D))

    # M* − Σ_h n_h v_h Σ_r k_hr q_hrᵀ
    gap[:] = target
    for row in range(rows):
        v = copies[row // pairs] * x[row // pairs]
        for i in range(D):
            weight = v * keys[row, i]
            if weight != 0.0:  # aligned heads have few entries that are not zero
                for j in range(D):
                    gap[i, j] -= weight * queries[row, j]

    write_residual_correlation(A, lam, diagonal, gap, space.G)


# Long because this is the innermost loop of all, where a call for each pair would cost as much as its arithmetic.
@compile_function
def velocity(
    x: FloatArray, equations: Equations, space: Workspace, slope: FloatArray
) -> None:
    """Writes dx/dt into `slope`, and M* − M and G of the state x into `space`."""
    residual(x, equations, space)
    G, pairs = space.G, equations.pairs
    H, D = len(equations.copies), len(equations.lam)
    rows = H * pairs
    end_of_keys = H + rows * D
    keys = x[H:end_of_keys].reshape((rows, D))
    queries = x[end_of_keys:].reshape((rows, D))
    dk = slope[H:end_of_keys].reshape((rows, D))
    dq = slope[end_of_keys:].reshape((rows, D))
    slope[:H] = 0.0
    dq[:] = 0.0
    for row in range(rows):
        v = x[row // pairs]
        kGq = 0.0
        for i in range(D):
            k = keys[row, i]
            Gq = 0.0
            for j in range(D):
                Gq += G[i, j] * queries[row, j]
            for j in range(D):
                dq[row, j] += G[i, j] * k
            kGq += k * Gq
            dk[row, i] = v * Gq
        for j in range(D):
            dq[row, j] *= v
        slope[row // pairs] += kGq


@compile_function
def excess_loss(space: Workspace) -> float:
    """tr(Gᵀ(M* − M)), the loss above its minimum, after `residual`."""
    total = 0.0
    for i in range(len(space.G)):
        for j in range(len(space.G)):
            total += space.G[i, j] * space.gap[i, j]
    return total


# -- One step of the Runge-Kutta pair -----------------------------------------------------------------------------


@compile_function
def step(
    x: FloatArray, size: float, equations: Equations, space: Workspace, y: FloatArray
) -> None:
    """Writes the state a time `size` after x into y; space.velocities[0] must be the velocity at x."""
    velocities = space.velocities
    for stage in range(1, STAGES + 1):
        y[:] = 0.0
        for earlier in range(stage):
            is_last = stage == STAGES
            weight = STEP_WEIGHTS[earlier] if is_last else STAGE_WEIGHTS[stage, earlier]
            if weight != 0.0:
                for i in range(len(x)):
                    y[i] += weight * velocities[earlier, i]
        for i in range(len(x)):
            y[i] = x[i] + size * y[i]
        if stage < STAGES:
            velocity(y, equations, space, velocities[stage])


@compile_function
def step_error(
    x: FloatArray,
    y: FloatArray,
    size: float,
    velocities: FloatArray,
    floor: FloatArray,
    tolerance: float,
) -> float:
    """Error of the step from x to y in units of what is allowed: `floor` + `tolerance`·|x|, root mean square."""
    fifth = third = 0.0
    for i in range(len(x)):
        by_fifth = by_third = 0.0
        for stage in range(STAGES + 1):
            by_fifth += ERROR_5[stage] * velocities[stage, i]
            by_third += ERROR_3[stage] * velocities[stage, i]
        allowed = floor[i] + tolerance * max(abs(x[i]), abs(y[i]))
        fifth += (by_fifth / allowed) ** 2
        third += (by_third / allowed) ** 2
    if fifth == 0.0:
        return 0.0
    return float(size * fifth / np.sqrt((fifth + THIRD_ORDER_SHARE * third) * len(x)))


# Long because the tolerance of v rests on the sizes of its pairs, which the same loop over the pairs finds.
@compile_function
def error_floor(x: FloatArray, equations: Equations, tolerance: float) -> FloatArray:
    """Absolute tolerance of each number: relative to v of its own head, or to its own key-query pair."""
    heads = pair_rows(x, equations)
    floor = np.full(len(x), _LEAST_TOLERANCE)
    allowed = pair_rows(floor, equations)
    pairs = equations.pairs
    for h in range(len(heads.v)):
        product = 0.0  # Σ_r |k_r||q_r|, by largest entries
        for row in range(h * pairs, (h + 1) * pairs):
            key = np.max(np.abs(heads.k[row]))
            query = np.max(np.abs(heads.q[row]))
            product += key * query
            of_pair = max(tolerance * max(key, query), _LEAST_TOLERANCE)
            allowed.k[row] = of_pair
            allowed.q[row] = of_pair
        of_value = tolerance * abs(heads.v[h])
        allowed.v[h] = max(of_value, _ROUNDING * product, _LEAST_TOLERANCE)
    return floor


# -- Sizes and rates of heads -------------------------------------------------------------------------------------


@compile_function
def head_sizes(x: FloatArray, equations: Equations) -> FloatArray:
    """(|v||K||Q|)^{1/3} of each head (H,), with Frobenius norms: what it can make of M, cube root."""
    heads = head_rows(x, equations)
    sizes = np.zeros(len(heads.v))
    for h in range(len(heads.v)):
        key = np.sqrt(np.sum(heads.k[h] ** 2))
        query = np.sqrt(np.sum(heads.q[h] ** 2))
        # The root of each factor: their product may underflow.
        sizes[h] = np.cbrt(abs(heads.v[h])) * np.cbrt(key) * np.cbrt(query)
    return sizes


@compile_function
def squared_norm(heads: Rows, h: int) -> float:
    """v_h² + |K_h|² + |Q_h|²."""
    return float(heads.v[h] ** 2 + np.sum(heads.k[h] ** 2) + np.sum(heads.q[h] ** 2))


@compile_function
def squared_rate(
    x: FloatArray, slope: FloatArray, chosen: BoolArray, equations: Equations
) -> float:
    """Σ |dx_h/dt|² / |x_h|² over the chosen heads (H,): how fast they change, each in units of its own size."""
    heads = head_rows(x, equations)
    rates = head_rows(slope, equations)
    total = 0.0
    for h in range(len(heads.v)):
        if chosen[h]:
            total += squared_norm(rates, h) / squared_norm(heads, h)
    return total


@compile_function
def is_pure(x: FloatArray, chosen: BoolArray, equations: Equations) -> bool:
    """Whether every number of the chosen heads (H,) is zero or far from it: nothing can grow in them."""
    heads = head_rows(x, equations)
    for h in range(len(heads.v)):
        if chosen[h]:
            for rows in (heads.k, heads.q):
                entries = np.abs(rows[h])
                small = (entries > 0.0) & (entries < _IMPURE * np.max(entries))
                if np.any(small):
                    return False
    return True


# -- The drop -----------------------------------------------------------------------------------------------------


@compile_function
def drop_status(
    x: FloatArray, slope: FloatArray, loss: float, equations: Equations, ending: Ending
) -> tuple[int, float]:
    """How a drop ends in the state x, without regard to `patience`, and the squared rate of its grown heads."""
    grown = head_sizes(x, equations) >= ending.grown
    pairs = int(np.count_nonzero(grown)) * equations.pairs
    learned = min(pairs, len(ending.best) - 1)
    rate = squared_rate(x, slope, grown, equations)
    if learned == 0:
        return STUCK, rate
    if rate > ending.still:
        return UNFINISHED, rate
    if loss - ending.best[learned] <= ending.near[learned]:
        return SETTLED, rate
    if is_pure(x, grown, equations):
        return STUCK, rate
    return UNFINISHED, rate


@compile_function
def with_state(
    recorded: RecordedStates, count: int, t: float, x: FloatArray, loss: float
) -> RecordedStates:
    """The recorded states, of which there are `count`, and one more, in longer arrays if these are full."""
    times, states, losses = recorded
    if count == len(times):
        times = np.append(times, np.zeros(count))
        states = np.concatenate((states, np.zeros(states.shape)))
        losses = np.append(losses, np.zeros(count))
    times[count] = t
    states[count] = x
    losses[count] = loss
    return RecordedStates(times, states, losses)


@compile_function
def empty_record(count: int) -> RecordedStates:
    """Room for states of `count` numbers."""
    times = np.zeros(_FIRST_ROOM)
    states = np.zeros((_FIRST_ROOM, count))
    return RecordedStates(times, states, np.zeros(_FIRST_ROOM))


# Long because this is the loop of an adaptive integrator, whose parts stand above.
@compile_function
def drop(
    start: FloatArray, most_steps: int, equations: Equations, ending: Ending
) -> Drop:
    """The flow from the state `start` until the heads that have grown are at a fixed point, or for `most_steps`."""
    space = workspace(len(equations.lam), len(start))
    velocities = space.velocities
    floor = error_floor(start, equations, ending.tolerance)
    x = start.copy()
    y = np.zeros(len(start))
    velocity(x, equations, space, velocities[0])
    recorded = with_state(empty_record(len(x)), 0, 0.0, x, excess_loss(space))

    count = 1
    t = 0.0
    last_motion = 0.0
    rate = 0.0
    status = UNFINISHED
    size = _FIRST_STEP / max(1.0, np.max(np.abs(x)) ** 2)
    while count < most_steps and status == UNFINISHED:
        step(x, size, equations, space, y)
        velocity(y, equations, space, velocities[STAGES])
        error = step_error(x, y, size, velocities, floor, ending.tolerance)
        if not error < 1.0:  # too large, or not a number
            size *= min(0.9, step_factor(error))
            if size < _LEAST_STEP * (1 + t):
                break
            continue

        t += size
        size *= step_factor(error)
        x[:] = y
        velocities[0] = velocities[STAGES]
        loss = excess_loss(space)
        recorded = with_state(recorded, count, t, x, loss)
        count += 1
        status, rate = drop_status(x, velocities[0], loss, equations, ending)
        if rate > ending.still:
            last_motion = t
        elif status == UNFINISHED and t - last_motion > ending.patience:
            status = STUCK
    times, states, losses = recorded
    return Drop(status, times[:count], states[:count], losses[:count], np.sqrt(rate))


# -- Between the recorded states ----------------------------------------------------------------------------------


@compile_function
def excess_loss_after(
    x: FloatArray, size: float, equations: Equations, space: Workspace, y: FloatArray
) -> float:
    """Excess loss a time `size` after x, whose state is written into y; space.velocities[0] is that at x."""
    step(x, size, equations, space, y)
    residual(y, equations, space)
    return excess_loss(space)


@compile_function
def states_at(
    wanted: FloatArray, times: FloatArray, states: FloatArray, equations: Equations
) -> tuple[FloatArray, FloatArray]:
    """States (T, n) and excess losses (T,) at the times `wanted` (T,), by one step from the state before each."""
    n = states.shape[1]
    space = workspace(len(equations.lam), n)
    states_wanted = np.zeros((len(wanted), n))
    losses = np.zeros(len(wanted))
    for number in range(len(wanted)):
        before = max(0, np.searchsorted(times, wanted[number], side="right") - 1)
        since = wanted[number] - times[before]
        x = states[before]
        velocity(x, equations, space, space.velocities[0])
        losses[number] = excess_loss_after(
            x, since, equations, space, states_wanted[number]
        )
    return states_wanted, losses


class Bracket(NamedTuple):
    """Steps `low` and `high` on both sides of a level, and how far the loss is above it there."""

    low: float
    high: float
    at_low: float
    at_high: float


@compile_function
def smaller_bracket(bracket: Bracket, size: float, at_size: float) -> Bracket:
    """The bracket that a guess leaves; the value that stays is halved (the Illinois rule), so that it moves, too."""
    if at_size < 0.0:
        return Bracket(bracket.low, size, bracket.at_low / 2, at_size)
    return Bracket(size, bracket.high, at_size, bracket.at_high / 2)


# Long because the first bracket, the guess and the next bracket share the workspace of one root search.
@compile_function
def crossing_time(
    level: float,
    after: int,
    times: FloatArray,
    states: FloatArray,
    equations: Equations,
) -> float:
    """When the excess loss is `level`, between the states `after` − 1 and `after` of `states` (T, n), to rounding.

    Regula falsi with halved weights on the size of a step from the first of the two.
    """
    x = states[after - 1]
    y = np.zeros(len(x))
    space = workspace(len(equations.lam), len(x))
    residual(states[after], equations, space)
    at_high = excess_loss(space) - level
    velocity(x, equations, space, space.velocities[0])
    at_low = excess_loss(space) - level

    width = times[after] - times[after - 1]
    bracket = Bracket(0.0, width, at_low, at_high)
    last = width
    for _ in range(_MOST_GUESSES):
        weighted = bracket.low * bracket.at_high - bracket.high * bracket.at_low
        size = weighted / (bracket.at_high - bracket.at_low)
        at_size = excess_loss_after(x, size, equations, space, y) - level
        bracket = smaller_bracket(bracket, size, at_size)
        if at_size == 0.0 or abs(size - last) <= _SAME_GUESS * width:
            break
        last = size
    return float(times[after - 1] + size)
