"""One layer with all four blocks on modes: ŷ_i = Σ_j G_ij x_j with value blocks p1, p2 and key-query blocks q1, q2.

With U_i = p1_i x_i + p2_i y_i and V_j = q1_j x_j + q2_j y_j of each token, G_ij is the mean of U_i V_j over the
context, without the query's own token (x_q, 0). In b = p1q2 + p2q1 and means over the teachers λ ~ N(0, ω)

    L = Σωs + Kσ² − 2ℓ Σ ωs² b + g Σ s E c² + k (Σ u)(Σ s v) + k Σ s (w − uv)

with c = E[UV | λ], u = E U², v = E V² and w = E[E[U²|λ] E[V²|λ]]. A mode is held by (p2, q1) or by
(p1, q2), to the same loss: m learned modes make 2^m minima. The layer of Mainali and Teixeira 2025 (arXiv 2504.12916);
the loss and its minima are derived here.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.attention import Merged
from ...models.protocol import Parametrization, Weights, reads_query_token
from ...runtime.arrays import BoolArray, FloatArray
from ...runtime.checks import finite_array
from ...runtime.display import Displayed, Summary, array_summary, change
from ...runtime.line_charts import Line, LineChart
from ...task import Task
from ...teachers import Gaussian
from ..ode import flow_times
from .many_starts import solve_starts
from .minima import minimum
from .mode_points import amplitudes_of, on_basis
from .mode_tasks import ModeTask, mode_task, one_layer

_WITHOUT_QUERY = (
    "is known without the query's own token, whose part is O(1/N): pass Merged(heads=1, outputs={outputs}, "
    "query_token=False), or no model; feature_moments has the exact loss with it"
)


class Blocks(NamedTuple):
    """The diagonal blocks p1, p2, q1, q2 (…, D) in the order of the modes: [p1 p2] of the value, [q1; q2]."""

    p1: FloatArray
    p2: FloatArray
    q1: FloatArray
    q2: FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class FourBlockFlow(Displayed):
    """All four blocks and the loss along gradient flow, from one start or many.

    `flow_time` (T,) is 2·learning rate·steps; `p1`, `p2`, `q1`, `q2` (T, …, D) in the order of `modes`; `loss` (T, …)
    in units of y², without the query's own token.
    """

    flow_time: FloatArray
    p1: FloatArray
    p2: FloatArray
    q1: FloatArray
    q2: FloatArray
    loss: FloatArray
    modes: ModeTask

    @property
    def coefficients(self) -> FloatArray:
        """p1 q2 + p2 q1 (T, …, D), by which each mode predicts, whichever pair holds it."""
        return self.p1 * self.q2 + self.p2 * self.q1

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists."""
        names = ("flow_time", "p1", "p2", "q1", "q2", "loss")
        return {name: getattr(self, name).tolist() for name in names}

    def summary(self) -> Summary:
        """The loss and what is learned, on one screen."""
        rows = {
            "flow time": array_summary(self.flow_time),
            "loss": array_summary(self.loss),
            "held by (p2, q1)": array_summary((self.p2 * self.q1)[-1]),
            "held by (p1, q2)": array_summary((self.p1 * self.q2)[-1]),
        }
        return Summary("Flow of four blocks on modes", rows)

    def chart(self) -> LineChart:
        """The loss from each start, dashed, against flow time."""
        starts = int(np.prod(self.loss.shape[1:]))
        losses = self.loss.reshape(len(self.flow_time), starts).T
        lines = [Line(self.flow_time, loss, style="dashed") for loss in losses]
        caption = change(losses[0]) if len(losses) == 1 else f"{len(losses)} starts"
        return LineChart(lines, "flow time", "loss", caption)


@dataclass(frozen=True, eq=False, repr=False)
class FourBlockMinima(Displayed):
    """The 2^m minima of m learned modes, all of one `loss` in units of y², each on its line of scales.

    `coefficients` (D,) are p1q2 + p2q1 in the order of `modes`; `active` (D,) says which modes are learned.
    """

    coefficients: FloatArray
    active: BoolArray
    loss: float
    modes: ModeTask
    model: Parametrization

    @property
    def count(self) -> int:
        """2^m, by which of two pairs of blocks each learned mode is held."""
        return 1 << int(np.sum(self.active))

    def blocks(self, by_p2: ArrayLike) -> Blocks:
        """The blocks of the minimum where the modes of the mask `by_p2` (D,) are held by (p2, q1), others by (p1, q2).

        The scale is that where each pair couples least. ValueError for a mask of another shape.
        """
        held = _mask(by_p2, self.modes.dimension)
        s, r = self.modes.inputs, np.sqrt(self.modes.labels)
        p2, q1 = amplitudes_of(self.modes, self.coefficients)
        # s p1² = s r² q2² where (p1, q2) holds a mode, as r² p2² = s² q1² where (p2, q1) does.
        ratio = np.where(self.active, r, 1.0)  # p1/q2
        p1 = np.sqrt(self.coefficients * ratio)
        q2 = np.sqrt(self.coefficients / ratio)
        off = np.zeros_like(s)
        return Blocks(
            np.where(held, off, p1),
            np.where(held, p2, off),
            np.where(held, q1, off),
            np.where(held, off, q2),
        )

    def weights(self, by_p2: ArrayLike) -> Weights:
        """Weights of the model's shapes at the minimum of `blocks`."""
        return four_block_weights(self.model, self.modes, self.blocks(by_p2))

    def to_dict(self) -> dict[str, Any]:
        """The coefficients, the modes that are learned, the loss and the count as plain numbers and lists."""
        return {
            "coefficients": self.coefficients.tolist(),
            "active": self.active.tolist(),
            "loss": self.loss,
            "count": self.count,
        }

    def summary(self) -> Summary:
        """The coefficients, the loss and the count on one screen."""
        rows = {
            "minima": f"2^{int(np.sum(self.active))}",
            "coefficients": array_summary(self.coefficients),
            "loss": f"{self.loss:.8g}",
        }
        formulas = {"coefficients": "a = p_1 q_2 + p_2 q_1"}
        return Summary("Minima of four blocks on modes", rows, formulas)


def four_block_loss(
    task: Task, blocks: ArrayLike, model: Parametrization | None = None
) -> FloatArray:
    """L (…) of diagonal blocks (p1, p2, q1, q2), (4, …, D), in the order of the modes, in units of y².

    It is exact for a model that does not read the query's own token, which the paper drops, too. ValueError for one
    that does, without a shared basis, or for teachers that are not normal. Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)
    >>> pure, mixed = four_block_minima(task).blocks([True, True]), four_block_minima(task).blocks([True, False])
    >>> four_block_loss(task, pure).round(6), four_block_loss(task, mixed).round(6)
    (np.float64(0.985629), np.float64(0.985629))
    """
    modes, _ = _four_block_task(task, model, "four_block_loss")
    x = _four_arrays(blocks, modes.dimension)
    return loss_of_blocks(modes, Blocks(*x))


def four_block_flow(
    task: Task,
    blocks: ArrayLike,
    flow_time: ArrayLike,
    model: Parametrization | None = None,
) -> FourBlockFlow:
    """Gradient flow of diagonal blocks (p1, p2, q1, q2), (4, …, D), at flow times (T,), from many starts in one call.

    ValueError as `four_block_loss`, and for a negative time; ArithmeticError where it cannot be integrated.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1, 0.6], teachers=Gaussian.shared_basis([1, 1]), context_length=50)
    >>> start = [[1e-3, 2e-3], [3e-3, 1e-3], [1e-3, 0], [1e-3, 2e-3]]
    >>> flow = four_block_flow(task, start, [0, 300])
    >>> flow.coefficients[1].round(4), held_by_p2(start)
    (array([0.9476, 1.5634]), array([ True, False]))
    """
    modes, _ = _four_block_task(task, model, "four_block_flow")
    x = _four_arrays(blocks, modes.dimension)
    times = flow_times(flow_time)
    start = np.moveaxis(x.reshape(4, -1, modes.dimension), 0, 1)  # (S, 4, D)
    values = solve_starts(_FourBlocks(modes), start, times)
    at_times = np.moveaxis(values, 2, 0).reshape(4, len(times), *x.shape[1:])
    p1, p2, q1, q2 = at_times  # (T, …, D) each
    loss = loss_of_blocks(modes, Blocks(p1, p2, q1, q2))
    return FourBlockFlow(times, p1, p2, q1, q2, loss, modes)


def four_block_minima(
    task: Task, model: Parametrization | None = None
) -> FourBlockMinima:
    """The 2^m minima over all four blocks, whose loss is that of p2 and q1 alone; ValueError as `four_block_loss`.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1, 0.5, 0.2, 0.05], teachers=Gaussian.shared_basis([1] * 4), context_length=5)
    >>> four_block_minima(task).count
    8
    """
    modes, layer = _four_block_task(task, model, "four_block_minima")
    least = minimum(task, layer)
    return FourBlockMinima(least.coefficients, least.active, least.loss, modes, layer)


def held_by_p2(blocks: ArrayLike) -> BoolArray:
    """Whether each mode ends in (p2, q1) from small blocks (4, …, D): where |p2 + q1| > |p1 + q2|, (…, D).

    Both sums grow at the same rate until one of them saturates. ValueError for another shape. Source: derived here.

    >>> held_by_p2([[0.1], [-0.2], [-0.1], [0.1]])
    array([ True])
    """
    return null_ratio(blocks) < 1


def null_ratio(blocks: ArrayLike) -> FloatArray:
    """|p1 + q2|/|p2 + q1| (…, D) of blocks (4, …, D): the null blocks may be left out where it is small.

    It is kept while both sums grow, so that small null blocks stay so in proportion: the largest null entry on the way
    is of the order of the ratio, what it changes of the loss of its square. ∞ where p2 + q1 is 0.

    >>> null_ratio([[0.001], [0.1], [0.1], [0.001]])
    array([0.01])
    """
    p1, p2, q1, q2 = _four_arrays(blocks)
    held, null = np.abs(p2 + q1), np.abs(p1 + q2)
    infinite = np.full_like(held, np.inf)
    return np.asarray(np.divide(null, held, out=infinite, where=held > 0))


def four_block_weights(
    model: Parametrization, modes: ModeTask, blocks: Blocks
) -> Weights:
    """Weights of one merged head with these diagonal blocks (D,) in the coordinates of the modes."""
    D = modes.dimension
    p1, p2, q1, q2 = (on_basis(modes, block) for block in blocks)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(D).items()}
    weights["value"].reshape(1, D, 2 * D)[0] = np.hstack([p1, p2])
    weights["key_query"][0, :, :D] = np.vstack([q1, q2])
    return weights


def loss_of_blocks(modes: ModeTask, blocks: Blocks) -> FloatArray:
    """L (…) of blocks (…, D)."""
    s, ω = modes.inputs, modes.teachers
    means = _Means(modes, blocks)
    U = np.sum(means.u, axis=-1)
    V = np.sum(s * means.v, axis=-1)
    own = modes.pairs * s * means.c_squared + modes.single * s * means.together
    signal = np.sum(own - 2 * modes.linear * ω * s**2 * means.b, axis=-1)
    return np.asarray(modes.zero_loss + signal + modes.single * U * V)


def velocity_of_blocks(modes: ModeTask, blocks: Blocks) -> Blocks:
    """−½ ∂L of the blocks, (…, D) each."""
    s, labels = modes.inputs, modes.labels
    p1, p2, q1, q2 = blocks
    means = _Means(modes, blocks)
    kU = modes.single * s * np.sum(means.u, axis=-1, keepdims=True)
    kV = modes.single * np.sum(s * means.v, axis=-1, keepdims=True)
    by_b, by_f, by_e = means.own_slopes()
    grows = modes.rates - by_b
    return Blocks(
        grows * q2 - by_f * q1 - kV * s * p1,
        grows * q1 - by_e * q2 - kV * labels * p2,
        grows * p2 - by_f * p1 - kU * s * q1,
        grows * p1 - by_e * p2 - kU * labels * q2,
    )


class _Means:
    """Means over the teachers of one mode each, (…, D): with c = s (f + λ b + λ² e) + σ² e, of λ ~ N(0, ω)."""

    def __init__(self, modes: ModeTask, blocks: Blocks) -> None:
        p1, p2, q1, q2 = blocks
        self.modes = modes
        self.b = p1 * q2 + p2 * q1
        self.e = p2 * q2
        self.f = p1 * q1
        self.d = self.f + modes.teachers * self.e
        self.u = modes.inputs * p1**2 + modes.labels * p2**2
        self.v = modes.inputs * q1**2 + modes.labels * q2**2

    @property
    def c_squared(self) -> FloatArray:
        """E c²."""
        s, ω = self.modes.inputs, self.modes.teachers
        noise = self.modes.noise * self.e
        signal = self.d**2 + ω * self.b**2 + 2 * (ω * self.e) ** 2
        return np.asarray(s**2 * signal + 2 * s * noise * self.d + noise**2)

    @property
    def together(self) -> FloatArray:
        """w − uv: how E[UU | λ] and E[VV | λ] vary together with λ."""
        s, ω = self.modes.inputs, self.modes.teachers
        return np.asarray(s**2 * (4 * ω * self.f * self.e + 2 * (ω * self.e) ** 2))

    def own_slopes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Half the derivatives of g s E c² + k s (w − uv) by b, f and e, (…, D) each."""
        s, ω, σ2 = self.modes.inputs, self.modes.teachers, self.modes.noise
        g, k = self.modes.pairs * s, self.modes.single * s**3
        by_d = g * (s**2 * self.d + s * σ2 * self.e)
        by_f = by_d + 2 * k * ω * self.e
        by_e = g * (2 * s**2 * ω**2 * self.e + s * σ2 * self.d + σ2**2 * self.e)
        by_e = by_e + 2 * k * ω * (self.f + ω * self.e) + ω * by_d
        return g * s**2 * ω * self.b, by_f, by_e


class _FourBlocks(NamedTuple):
    """The flow of four blocks."""

    modes: ModeTask

    def velocity(self, x: FloatArray) -> FloatArray:
        """dx/dt (S, 4, D) at x (S, 4, D)."""
        blocks = Blocks(*np.moveaxis(x, 1, 0))
        return np.stack(velocity_of_blocks(self.modes, blocks), axis=1)

    def jacobian(self, x: FloatArray) -> FloatArray:
        """Derivatives (4D, 4D) of the velocity of one start at x (4, D), by differences of a cubic."""
        size = float(np.max(np.abs(x))) or 1.0
        steps = size * np.eye(x.size).reshape(-1, *x.shape)
        # Differences over one and two steps are exact for a polynomial of degree 3, whatever the step.
        near = self.velocity(x + steps) - self.velocity(x - steps)
        far = self.velocity(x + 2 * steps) - self.velocity(x - 2 * steps)
        slopes = (8 * near - far).reshape(x.size, x.size) / (12 * size)
        return np.asarray((slopes + slopes.T) / 2)

    def fastest_rate(self, x: FloatArray) -> float:
        """The largest growth rate at the origin, or curvature at x (S, 4, D)."""
        curvatures = [np.linalg.norm(self.jacobian(start), 2) for start in x]
        return float(max(np.max(self.modes.rates), *curvatures))


def _four_block_task(
    task: Task, model: Parametrization | None, what: str
) -> tuple[ModeTask, Parametrization]:
    """The modes, and the layer, which does not read the query's token; ValueError for what is not covered."""
    if model is None:
        model = Merged(heads=1, outputs=task.outputs, query_token=False)
    modes, layer = mode_task(task, model, what), one_layer(task, model, what)
    if reads_query_token(layer):
        raise ValueError(f"{what} {_WITHOUT_QUERY.format(outputs=task.outputs)}")
    if not isinstance(task.teachers, Gaussian):
        raise ValueError(
            f"{what} is known for normal teachers, whose fourth moments follow from the second, as "
            "Gaussian.shared_basis makes them; feature_moments has the loss of others"
        )
    return modes, layer


def _four_arrays(blocks: ArrayLike, dimension: int | None = None) -> FloatArray:
    """Blocks as (4, …, D)."""
    sizes = {} if dimension is None else {"D": dimension}
    x = finite_array(blocks, "blocks", "(..., D)", **sizes)
    if x.ndim < 2 or len(x) != 4:
        raise ValueError(f"blocks must be p1, p2, q1 and q2, (4, …, D), not {x.shape}")
    return x


def _mask(by_p2: ArrayLike, dimension: int) -> BoolArray:
    mask = np.asarray(by_p2)
    if mask.dtype != np.bool or mask.shape != (dimension,):
        raise ValueError(
            f"by_p2 must hold True or False for each of {dimension} modes, not {by_p2!r}"
        )
    return mask
