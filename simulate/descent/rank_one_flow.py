"""Gradient flow of rank-one heads on the restricted block in machine code, until its loss has passed given levels.

From small weights a plateau lasts ∝ 1/scale and is stiff, so that an explicit method needs as many steps: in Python
they take minutes where here they take a second. There are no phases and no thresholds: all heads, all the time, by
the pair of Dormand and Prince of orders 8 and 5(3), whose coefficients are SciPy's. No floating-point operation is
reordered, so that heads that are mirror images (−v, k, −q) stay so to the last bit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ...models.attention import Separate
from ...models.protocol import Weights
from ...runtime.arrays import FloatArray
from ..sufficient_statistics.quadratic_loss import Kronecker, Statistics
from .kernels import compiled_in_order

_MOST_STEPS = 50_000_000
_SETTLED = 1e-8  # share of the largest rate of loss at which a run that has passed all levels is at rest


Loss = tuple[float, FloatArray, FloatArray, FloatArray]
"""c, A, B, Λ of L(M) = c − 2 tr(BᵀM) + tr(Λ Mᵀ A M)."""

Pair = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
"""The nodes' weights a (12, 12), those of the step b (12,), and of its errors of orders 3 and 5, (13,) each."""


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
    rank one. `rtol` bounds the error of each step relative to each head's own largest entry. ValueError for another
    source or rank; ArithmeticError if the steps run out.

    >>> import numpy as np
    >>> from attndyn.simulate import from_moments
    >>> one, model = np.ones((1, 1)), Separate(heads=1)
    >>> source = from_moments(1.0, one, one, one, model, (10,))
    >>> start = {"value": np.array([[0, 0.1]]), "key": np.array([[[0.1, 0]]]), "query": np.array([[[0.1, 0]]])}
    >>> passages(model, source, start, np.array([0.5]), until=100.0).times.round(6)
    array([8.741607])
    """
    from scipy.integrate import DOP853

    if (
        model.rank != 1
        or not isinstance(source.form, Kronecker)
        or source.block != "restricted"
    ):
        raise ValueError(
            "passages are those of rank-one heads on exact expectations of the restricted block"
        )
    D = source.dimension
    A, B, Lambda = (
        _contiguous(each)
        for each in (source.form.A, source.b.reshape(D, D), source.form.Lambda)
    )
    nodes, step, third, fifth = (
        _contiguous(x) for x in (DOP853.A[:12, :12], DOP853.B, DOP853.E3, DOP853.E5)
    )
    loss, pair = (float(source.c), A, B, Lambda), (nodes, step, third, fifth)
    state = np.concatenate(
        (start["value"][:, -1:], start["key"][:, 0, :-1], start["query"][:, 0, :-1]),
        axis=1,
    )
    times, plateaus, last, finished = _followed(
        _contiguous(state), loss, _contiguous(levels), until, rtol, pair
    )
    if not finished:
        raise ArithmeticError(
            f"the flow was not at its end after {_MOST_STEPS} steps: give an earlier `until`"
        )
    return Passages(
        times,
        plateaus[:, :, 0],
        plateaus[:, :, 1 : 1 + D],
        plateaus[:, :, 1 + D :],
        last,
    )


def _contiguous(values: ArrayLike) -> FloatArray:
    return np.ascontiguousarray(values, dtype=np.float64)


@compiled_in_order
def _map(x: FloatArray) -> FloatArray:
    """M = Σ_h v_h k_h q_hᵀ (D, D)."""
    H, D = x.shape[0], (x.shape[1] - 1) // 2
    M = np.zeros((D, D))
    for h in range(H):
        for i in range(D):
            for j in range(D):
                M[i, j] += (x[h, 0] * x[h, 1 + D + j]) * x[h, 1 + i]
    return M


@compiled_in_order
def _curvature(M: FloatArray, A: FloatArray, Lambda: FloatArray) -> FloatArray:
    """A M Λ (D, D)."""
    D = len(A)
    AM = np.zeros((D, D))
    product = np.zeros((D, D))
    for i in range(D):
        for l in range(D):
            for j in range(D):
                AM[i, j] += A[i, l] * M[l, j]
    for i in range(D):
        for l in range(D):
            for j in range(D):
                product[i, j] += AM[i, l] * Lambda[l, j]
    return product


@compiled_in_order
def _value(x: FloatArray, loss: Loss) -> float:
    """L(M)."""
    c, A, B, Lambda = loss
    M = _map(x)
    product = _curvature(M, A, Lambda)
    for i in range(len(A)):
        for j in range(len(A)):
            c += (product[i, j] - 2 * B[i, j]) * M[i, j]
    return c


@compiled_in_order
def _write_slope(x: FloatArray, loss: Loss, slope: FloatArray) -> None:
    """dx/dt into `slope`: dv/dt = kᵀ G q, dk/dt = v G q, dq/dt = v Gᵀ k with G = B − A M Λ."""
    _, A, B, Lambda = loss
    product = _curvature(_map(x), A, Lambda)
    H, D = x.shape[0], len(A)
    for h in range(H):
        v = x[h, 0]
        rise = 0.0
        for i in range(D):
            towards_key = 0.0
            towards_query = 0.0
            for j in range(D):
                towards_key += (B[i, j] - product[i, j]) * x[h, 1 + D + j]
                towards_query += (B[j, i] - product[j, i]) * x[h, 1 + j]
            rise += x[h, 1 + i] * towards_key
            slope[h, 1 + i] = v * towards_key
            slope[h, 1 + D + i] = v * towards_query
        slope[h, 0] = rise


@compiled_in_order
def _combined(
    x: FloatArray, h: float, weights: FloatArray, stages: FloatArray, count: int
) -> FloatArray:
    """x + h Σ_s weights_s stages_s over the first `count` stages."""
    moved = x.copy()
    for s in range(count):
        for head in range(x.shape[0]):
            for i in range(x.shape[1]):
                moved[head, i] += h * weights[s] * stages[s, head, i]
    return moved


@compiled_in_order
def _step(
    x: FloatArray, h: float, loss: Loss, pair: Pair, stages: FloatArray
) -> FloatArray:
    """x after a step h; stages[0] is the slope at x and stages[12] becomes that at the end."""
    for s in range(1, 12):
        _write_slope(_combined(x, h, pair[0][s], stages, s), loss, stages[s])
    new = _combined(x, h, pair[1], stages, 12)
    _write_slope(new, loss, stages[12])
    return new


@compiled_in_order
def _error(new: FloatArray, h: float, pair: Pair, stages: FloatArray) -> float:
    """Error of the step relative to the largest entry of its head, for the worst head (Hairer, Nørsett, Wanner)."""
    worst = 0.0
    width = new.shape[1]
    for head in range(new.shape[0]):
        size = third = fifth = 0.0
        for i in range(width):
            size = max(size, abs(new[head, i]))
            low = high = 0.0
            for s in range(13):
                low += pair[2][s] * stages[s, head, i]
                high += pair[3][s] * stages[s, head, i]
            third += low * low
            fifth += high * high
        if not fifth < np.inf:  # a step so long that it overflowed
            return np.inf
        if fifth > 0 and size > 0:
            worst = max(
                worst, h * fifth / np.sqrt((fifth + 0.01 * third) * width) / size
            )
    return worst


@compiled_in_order
def _crossing(
    x: FloatArray, h: float, level: float, loss: Loss, pair: Pair, stages: FloatArray
) -> float:
    """The step, at most h, after which the loss is at `level`: by bisection of the step, which keeps its order."""
    trial = stages.copy()
    low = 0.0
    high = h
    for _ in range(60):
        middle = (low + high) / 2
        if _value(_step(x, middle, loss, pair, trial), loss) > level:
            low = middle
        else:
            high = middle
    return high


@compiled_in_order
def _speed(slope: FloatArray) -> float:
    """|dx/dt|², half the rate at which the loss falls."""
    total = 0.0
    for head in range(slope.shape[0]):
        for i in range(slope.shape[1]):
            total += slope[head, i] * slope[head, i]
    return total


@compiled_in_order
def _followed(
    x: FloatArray, loss: Loss, levels: FloatArray, until: float, rtol: float, pair: Pair
) -> tuple[FloatArray, FloatArray, float, bool]:
    """Times of the levels, heads where the loss is flattest around them, the last loss, whether it got there."""
    count = len(levels)
    times = np.full(count, np.inf)
    plateaus = np.full((count + 1, x.shape[0], x.shape[1]), np.nan)
    stages = np.zeros((13, x.shape[0], x.shape[1]))
    _write_slope(x, loss, stages[0])
    now, h, passed, flattest, fastest = 0.0, 1e-3 * until, 0, np.inf, 0.0
    for _ in range(_MOST_STEPS):
        speed = _speed(stages[0])
        fastest = max(fastest, speed)
        if speed < flattest:
            flattest = speed
            plateaus[passed] = x
        if now >= until or (passed == count and speed < _SETTLED * fastest):
            return times, plateaus, _value(x, loss), True
        new = _step(x, h, loss, pair, stages)
        error = _error(new, h, pair, stages)
        if not error <= rtol:
            h *= max(0.2, 0.9 * (rtol / error) ** 0.125) if error < np.inf else 0.1
            continue
        value = _value(new, loss)
        while passed < count and value <= levels[passed]:
            times[passed] = now + _crossing(x, h, levels[passed], loss, pair, stages)
            passed += 1
            flattest = np.inf
        now += h
        x = new
        stages[0] = stages[12]
        h *= min(5.0, 0.9 * (rtol / max(error, 1e-30)) ** 0.125)
    return times, plateaus, _value(x, loss), False
