"""Gradient flow of rank-one heads on the restricted block in machine code, until its loss has passed given levels.

From small weights a plateau lasts ∝ 1/scale and is stiff, so that an explicit method needs as many steps: in Python
they take minutes where here they take a second. There are no phases and no thresholds: all heads, all the time, by
the pair of Dormand and Prince of orders 8 and 5(3), whose coefficients are SciPy's. No floating-point operation is
reordered, so that heads that are mirror images (−v, k, −q) stay so to the last bit.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.attention import Separate
from ...models.protocol import Weights
from ...runtime.arrays import FloatArray
from ..sufficient_statistics.quadratic_loss import (
    Kronecker,
    Statistics,
    refuse_mismatch,
)
from .kernels import jit_in_order

# Stability limits the steps to about the time in units of the fastest rate: these are enough for scales of 1e-6.
_MOST_STEPS = 50_000_000
# Share of the largest rate of loss at which a run that has passed all levels is at rest.
_SETTLED = 1e-8
# Of the time that a run may take: the error control takes over from there.
_FIRST_STEP = 1e-3
# Halvings of a step that reach rounding.
_BISECTIONS = 60

# The usual constants of step-size control (Hairer, Nørsett, Wanner, II.4), for a pair of order 8.
_SAFETY = 0.9
_LEAST_FACTOR = 0.2
_LARGEST_FACTOR = 5.0
_OVERFLOW_FACTOR = 0.1
_EXPONENT = 1 / 8
# Above zero, so that a step without an error divides by nothing.
_LEAST_ERROR = 1e-30
_STAGES = 12

_OTHER_SOURCE = "passages are those of rank-one heads with one output on exact expectations of the restricted block"


class Loss(NamedTuple):
    """L(M) = c − 2 tr(BᵀM) + tr(Λ Mᵀ A M)."""

    c: float
    A: FloatArray
    B: FloatArray
    Lambda: FloatArray


class Pair(NamedTuple):
    """A Runge-Kutta pair: weights of the `stages` (12, 12), of the `step` (12,), and of its errors (13,) each."""

    stages: FloatArray
    step: FloatArray
    third: FloatArray
    fifth: FloatArray


class Flow(NamedTuple):
    """A loss, the pair that integrates its flow, and room for the `slopes` at the stages of a step (13, H, 1 + 2D)."""

    loss: Loss
    pair: Pair
    slopes: FloatArray


class Limits(NamedTuple):
    """`levels` (n,) decrease; the flow ends at `until`; `rtol` bounds the error of each step."""

    levels: FloatArray
    until: float
    rtol: float


@dataclass(frozen=True, eq=False)
class Passages:
    """When the loss passes each level, and the heads where the loss is flattest before, between and after.

    `times` (n,) are flow times, inf for a level that is not passed; `values` (n+1, H), `keys` and `queries`
    (n+1, H, D) are the heads at rest on each plateau, nan for one that is not reached; `loss` is the last one.
    """

    times: FloatArray
    values: FloatArray
    keys: FloatArray
    queries: FloatArray
    loss: float

    def maps(self) -> FloatArray:
        """v_h k_h q_hᵀ of each head at rest, (n+1, H, D, D)."""
        return np.asarray(
            self.values[..., None, None]
            * self.keys[..., :, None]
            * self.queries[..., None, :]
        )


def passages(
    model: Separate,
    source: Statistics,
    start: Weights,
    levels: FloatArray,
    until: float,
    rtol: float = 1e-12,
) -> Passages:
    """The `Passages` of gradient flow from the weights `start` through decreasing `levels` (n,), up to `until`.

    Only the restricted block moves: `source` holds exact expectations (see `from_moments`), the model has
    rank one and one output. `rtol` bounds the error of each step relative to each head's own largest entry.
    ValueError for another source, rank or number of outputs; ArithmeticError if the steps run out.

    >>> import numpy as np
    >>> from attndyn.simulate import from_moments
    >>> one, model = np.ones((1, 1)), Separate(heads=1)
    >>> source = from_moments(1.0, one, one, one, model, (10,))
    >>> start = {"value": np.array([[0, 0.1]]), "key": np.array([[[0.1, 0]]]), "query": np.array([[[0.1, 0]]])}
    >>> passages(model, source, start, np.array([0.5]), until=100.0).times.round(6)
    array([8.741607])
    """
    refuse_mismatch(model, source)
    if model.rank != 1 or source.outputs != 1:
        raise ValueError(_OTHER_SOURCE)
    state = _state(start)
    flow = Flow(_loss(source), _pair(), np.zeros((_STAGES + 1, *state.shape)))
    limits = Limits(_contiguous(levels), float(until), float(rtol))
    path = _path(state, flow, limits)
    if not path.finished:
        raise ArithmeticError(
            f"the flow was not at its end after {_MOST_STEPS} steps: give an earlier `until`"
        )
    D = source.dimension
    return Passages(
        times=path.times,
        values=path.plateaus[:, :, 0],
        keys=path.plateaus[:, :, 1 : 1 + D],
        queries=path.plateaus[:, :, 1 + D :],
        loss=path.loss,
    )


def _state(start: Weights) -> FloatArray:
    """v, k and q of each head in a row, (H, 1 + 2D)."""
    v = start["value"][:, -1:]
    k = start["key"][:, 0, :-1]
    q = start["query"][:, 0, :-1]
    return _contiguous(np.concatenate((v, k, q), axis=1))


def _loss(source: Statistics) -> Loss:
    """The loss of exact expectations on the restricted block; ValueError for other statistics."""
    form = source.form
    if not isinstance(form, Kronecker) or source.block != "restricted":
        raise ValueError(_OTHER_SOURCE)
    D = source.dimension
    return Loss(
        c=float(source.c),
        A=_contiguous(form.A),
        B=_contiguous(source.b.reshape(D, D)),
        Lambda=_contiguous(form.Lambda),
    )


def _pair() -> Pair:
    """The pair of Dormand and Prince."""
    from scipy.integrate import DOP853

    return Pair(
        stages=_contiguous(DOP853.A[:_STAGES, :_STAGES]),
        step=_contiguous(DOP853.B),
        third=_contiguous(DOP853.E3),
        fifth=_contiguous(DOP853.E5),
    )


def _contiguous(values: ArrayLike) -> FloatArray:
    return np.ascontiguousarray(values, dtype=np.float64)


@jit_in_order
def _map(x: FloatArray) -> FloatArray:
    """M = Σ_h v_h k_h q_hᵀ (D, D)."""
    H = x.shape[0]
    D = (x.shape[1] - 1) // 2
    M = np.zeros((D, D))
    for h in range(H):
        for i in range(D):
            for j in range(D):
                M[i, j] += (x[h, 0] * x[h, 1 + D + j]) * x[h, 1 + i]
    return M


@jit_in_order
def _product(X: FloatArray, Y: FloatArray) -> FloatArray:
    """X Y (D, D), summed in order."""
    D = len(X)
    product = np.zeros((D, D))
    for i in range(D):
        for l in range(D):
            for j in range(D):
                product[i, j] += X[i, l] * Y[l, j]
    return product


@jit_in_order
def _curvature(M: FloatArray, A: FloatArray, Lambda: FloatArray) -> FloatArray:
    """A M Λ (D, D)."""
    return _product(_product(A, M), Lambda)


@jit_in_order
def _value(x: FloatArray, loss: Loss) -> float:
    """L(M)."""
    M = _map(x)
    AMΛ = _curvature(M, loss.A, loss.Lambda)
    total = loss.c
    for i in range(len(M)):
        for j in range(len(M)):
            total += (AMΛ[i, j] - 2 * loss.B[i, j]) * M[i, j]
    return total


@jit_in_order
def _write_head_slope(x: FloatArray, G: FloatArray, slope: FloatArray) -> None:
    """dx/dt (1 + 2D,) of one head into `slope`: dv/dt = kᵀ G q, dk/dt = v G q, dq/dt = v Gᵀ k."""
    D = len(G)
    v = x[0]
    dv_dt = 0.0
    for i in range(D):
        Gq = 0.0
        kG = 0.0
        for j in range(D):
            Gq += G[i, j] * x[1 + D + j]
            kG += G[j, i] * x[1 + j]
        dv_dt += x[1 + i] * Gq
        slope[1 + i] = v * Gq
        slope[1 + D + i] = v * kG
    slope[0] = dv_dt


@jit_in_order
def _write_slope(x: FloatArray, loss: Loss, slope: FloatArray) -> None:
    """dx/dt (H, 1 + 2D) into `slope`, with G = B − A M Λ."""
    G = loss.B - _curvature(_map(x), loss.A, loss.Lambda)
    for h in range(len(x)):
        _write_head_slope(x[h], G, slope[h])


# -- Steps --------------------------------------------------------------------------------------------------------


@jit_in_order
def _combined(
    x: FloatArray, h: float, weights: FloatArray, slopes: FloatArray, count: int
) -> FloatArray:
    """x + h Σ_s weights_s slopes_s over the first `count` stages."""
    moved = x.copy()
    for s in range(count):
        for head in range(x.shape[0]):
            for i in range(x.shape[1]):
                moved[head, i] += h * weights[s] * slopes[s, head, i]
    return moved


@jit_in_order
def _step(x: FloatArray, h: float, flow: Flow) -> FloatArray:
    """x after a step h; flow.slopes[0] is that at x and flow.slopes[12] becomes that at the end."""
    loss, pair, slopes = flow.loss, flow.pair, flow.slopes
    for s in range(1, _STAGES):
        stage = _combined(x, h, pair.stages[s], slopes, s)
        _write_slope(stage, loss, slopes[s])
    new = _combined(x, h, pair.step, slopes, _STAGES)
    _write_slope(new, loss, slopes[_STAGES])
    return new


@jit_in_order
def _error_squares(head: int, flow: Flow) -> tuple[float, float]:
    """Sums over the numbers of a head of the squared error estimates of orders 3 and 5, for a step of 1."""
    pair, slopes = flow.pair, flow.slopes
    third = fifth = 0.0
    for i in range(slopes.shape[2]):
        by_third = by_fifth = 0.0
        for s in range(_STAGES + 1):
            by_third += pair.third[s] * slopes[s, head, i]
            by_fifth += pair.fifth[s] * slopes[s, head, i]
        third += by_third * by_third
        fifth += by_fifth * by_fifth
    return third, fifth


@jit_in_order
def _error(new: FloatArray, h: float, flow: Flow) -> float:
    """Error of the step relative to the largest entry of its head, for the worst head (Hairer, Nørsett, Wanner)."""
    worst = 0.0
    width = new.shape[1]
    for head in range(new.shape[0]):
        size = np.max(np.abs(new[head]))
        third, fifth = _error_squares(head, flow)
        if not fifth < np.inf:  # a step so long that it overflowed
            return np.inf
        if fifth > 0 and size > 0:
            both = np.sqrt((fifth + 0.01 * third) * width)
            worst = max(worst, h * fifth / both / size)
    return worst


@jit_in_order
def _refused_step(h: float, error: float, rtol: float) -> float:
    """The step to try after one whose error is too large, or not a number."""
    if error < np.inf:
        factor = _SAFETY * (rtol / error) ** _EXPONENT
        return float(h * max(_LEAST_FACTOR, factor))
    return h * _OVERFLOW_FACTOR


@jit_in_order
def _next_step(h: float, error: float, rtol: float) -> float:
    """The step to try after one whose error is small enough."""
    factor = _SAFETY * (rtol / max(error, _LEAST_ERROR)) ** _EXPONENT
    return float(h * min(_LARGEST_FACTOR, factor))


@jit_in_order
def _crossing(x: FloatArray, h: float, level: float, flow: Flow) -> float:
    """The step, at most h, after which the loss is at `level`: by bisection of the step, which keeps its order."""
    trial = Flow(flow.loss, flow.pair, flow.slopes.copy())
    low = 0.0
    high = h
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _value(_step(x, middle, trial), flow.loss) > level:
            low = middle
        else:
            high = middle
    return high


@jit_in_order
def _speed(slope: FloatArray) -> float:
    """|dx/dt|², half the rate at which the loss falls."""
    total = 0.0
    for head in range(slope.shape[0]):
        for i in range(slope.shape[1]):
            total += slope[head, i] * slope[head, i]
    return total


# -- The path -----------------------------------------------------------------------------------------------------


class Path(NamedTuple):
    """Times of the levels, heads where the loss is flattest around them, the last loss, whether it got there."""

    times: FloatArray
    plateaus: FloatArray
    loss: float
    finished: bool


# Long because this is the loop of an adaptive integrator, whose parts stand above.
@jit_in_order
def _path(x: FloatArray, flow: Flow, limits: Limits) -> Path:
    """The flow from x (H, 1 + 2D) through the levels."""
    levels, slopes = limits.levels, flow.slopes
    count = len(levels)
    times = np.full(count, np.inf)
    plateaus = np.full((count + 1, x.shape[0], x.shape[1]), np.nan)
    _write_slope(x, flow.loss, slopes[0])

    now = 0.0
    h = _FIRST_STEP * limits.until
    passed = 0  # levels
    flattest = np.inf  # since the last level
    fastest = 0.0
    for _ in range(_MOST_STEPS):
        speed = _speed(slopes[0])
        fastest = max(fastest, speed)
        if speed < flattest:
            flattest = speed
            plateaus[passed] = x
        is_at_rest = passed == count and speed < _SETTLED * fastest
        if now >= limits.until or is_at_rest:
            return Path(times, plateaus, _value(x, flow.loss), True)

        new = _step(x, h, flow)
        error = _error(new, h, flow)
        if not error <= limits.rtol:
            h = _refused_step(h, error, limits.rtol)
            continue
        loss = _value(new, flow.loss)
        while passed < count and loss <= levels[passed]:
            times[passed] = now + _crossing(x, h, levels[passed], flow)
            passed += 1
            flattest = np.inf
        now += h
        h = _next_step(h, error, limits.rtol)
        x = new
        slopes[0] = slopes[_STAGES]
    return Path(times, plateaus, _value(x, flow.loss), False)
