"""The staircase of separate attention: which plateaus a run from small weights visits, and when it leaves."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....models.attention import Separate
from ....models.protocol import Parametrization, Weights
from ....runtime.arrays import FloatArray
from ....runtime.display import Displayed, Summary, change
from ....runtime.files import AnyPath
from ....runtime.line_charts import Line, LineChart
from ....runtime.time_axis import draw_losses, line_style
from ....task import Task
from ...call_order import require_task_first
from ...moments.population_loss import Population, invariant_population
from ...ode import flow_times
from ..weight_decay import checked_decay
from .escapes import SeparateHeads, separate_block
from .exit_time_verdicts import (
    DETERMINED,
    EQUAL_HEADS,
    EXACT_ZEROS,
    EXPLANATIONS,
    NOT_VERIFIED,
    SensitiveStaircaseWarning,
)
from .itinerary import Subset, learning_heads, plateaus_reached, visited_subsets
from .singular_directions import MovingDirections, moving_directions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .path import Precision
    from .piecewise_curves import PathCurve


WITHOUT_STEPS = (
    "a staircase knows no learning rate, so no steps: "
    "draw the run with run.plot(x='flow_time'), or use overlay"
)
"""Why theory alone is not drawn against steps."""

# Points that a figure draws for each step of the integration: the steps of a method of order 8 are long.
_POINTS_PER_STEP = 4
# Beyond the last drop, as a part of its time: so that a figure shows the last plateau.
_BEYOND = 0.1


class Origin(NamedTuple):
    """What a staircase starts from: the `task`, the `model` and the `weights`, full size, by name."""

    task: Task
    model: Separate
    weights: Weights


@dataclass(frozen=True, eq=False, repr=False)
class Staircase(Displayed):
    """Plateaus of the population loss along gradient flow, and the flow times at which they are left.

    `exit_times` (D,): when the loss passes midway between the greedy plateaus i − 1 and i, on which the largest
    gains are learned: 0 if it starts below, inf if it never does.

    The itinerary, non-greedy plateaus included: `plateaus` (n+1,), losses, the last one included;
    `subsets` (n+1,), the directions learned on each, numbered from 1 by decreasing gain; `drop_times` (n,), when
    the loss is midway between two of them. For each drop, `directions`: the direction learned, `heads`: the head
    that takes it (index into the weights, the first of heads that are equal), and `kinds`: "long" if that head was
    small, so that its escape takes ∝ 1/scale, "short" if it had learned another direction before: ∝ ln(1/scale) at
    most.

    `verdict`: what the exit times rest on. "determined": nothing but the weights, with a relative `uncertainty`.
    "rests on exactly equal heads or on a ridge": they hold in exact arithmetic, and change when a weight moves by a
    relative 1e-9. "rests on exact zeros": they change when zeros are filled with 1e-9 of their head's size.
    "not verified": nobody tried.

    `origin`: the task, the model and the weights that it starts from.
    """

    exit_times: FloatArray
    drop_times: FloatArray
    plateaus: FloatArray
    subsets: tuple[tuple[int, ...], ...]
    directions: tuple[int, ...]
    heads: tuple[int, ...]
    kinds: tuple[str, ...]
    verdict: str
    uncertainty: float
    curve: "PathCurve" = field(repr=False)
    moments: Population = field(repr=False)
    origin: Origin = field(repr=False)

    def summary(self) -> Summary:
        """The drops one by one, and what their times rest on."""
        title = f"Staircase of {len(self.drop_times)} drops, {self._verdict_in_words()}"
        rows = {"start": f"loss {self.plateaus[0]:.6g}"}
        for number, time in enumerate(self.drop_times):
            rows[f"drop {number + 1}"] = (
                f"at {self._time_in_words(time)}, "
                f"head {self.heads[number]} learns direction {self.directions[number]} "
                f"({self.kinds[number]} plateau before), loss {self.plateaus[number + 1]:.6g}"
            )
        never = int(np.sum(np.isinf(self.exit_times)))
        if never:
            total = len(self.exit_times)
            rows["never left"] = f"{never} of {total} greedy plateaus"
        return Summary(title, rows)

    def chart(self) -> LineChart:
        """The plateaus, dashed, from drop to drop; the last one goes on for a fifth of the time."""
        ends = [0.0, *self.drop_times]
        edges = np.array([*ends, 1.2 * ends[-1] or 1.0])
        line = Line(
            np.repeat(edges, 2)[1:-1], np.repeat(self.plateaus, 2), style="dashed"
        )
        return LineChart((line,), "flow time", "loss", change(self.plateaus))

    def _verdict_in_words(self) -> str:
        if self.verdict == DETERMINED:
            return f"exit times determined to {self.uncertainty:.0e}"
        return f"exit times: {self.verdict}"

    def _time_in_words(self, time: float) -> str:
        error = self.uncertainty * time
        return f"{time:.6g} ± {error:.1g}" if np.isfinite(error) else f"{time:.6g}"

    def to_dict(self) -> dict[str, Any]:
        """What `repr` shows, as plain numbers, strings and lists; None for an exit that is never made."""
        exit_times = [
            time if np.isfinite(time) else None for time in self.exit_times.tolist()
        ]
        uncertainty = self.uncertainty if np.isfinite(self.uncertainty) else None
        return {
            "exit_times": exit_times,
            "drop_times": self.drop_times.tolist(),
            "plateaus": self.plateaus.tolist(),
            "subsets": [list(subset) for subset in self.subsets],
            "directions": list(self.directions),
            "heads": list(self.heads),
            "kinds": list(self.kinds),
            "verdict": self.verdict,
            "uncertainty": uncertainty,
        }

    def save(self, path: AnyPath) -> Path:
        """Write the staircase to an npz file, atomically; `load` reads it. OSError if it cannot be written."""
        from .staircase_files import save_staircase

        return save_staircase(self, path)

    @staticmethod
    def load(path: AnyPath) -> "Staircase":
        """The staircase that `save` wrote: its path is followed anew, its verdict is read.

        ValueError if the file is truncated or something else, OSError if it is absent.
        """
        from .staircase_files import load_staircase

        return load_staircase(path)

    def loss(self, flow_time: ArrayLike) -> FloatArray:
        """Loss at `flow_time` (T,), in units of y²."""
        return self.curve.loss(flow_times(flow_time))

    def amplitudes(self, flow_time: ArrayLike) -> FloatArray:
        """Amplitude κ_d = (Σ |e_dᵀk e_dᵀq|)^{1/2} of each direction, over heads and their pairs, (T, D)."""
        return self.curve.amplitudes(flow_times(flow_time))

    def coefficients(self, flow_time: ArrayLike) -> FloatArray:
        """e_dᵀ M e_d (T, D), on the eigenvectors of E x xᵀ where Λ and Ω do not commute."""
        return self.curve.coefficients(flow_times(flow_time))

    def effective_map(self, flow_time: ArrayLike) -> FloatArray:
        """Effective map M (T, D, D) at `flow_time` (T,), on the coordinates of x."""
        maps = self.curve.maps(flow_times(flow_time))  # (T, D', D')
        basis = self.curve.basis  # (D, D')
        on_coordinates = np.einsum("id,tde,je->tij", basis, maps, basis, optimize=True)
        return np.asarray(on_coordinates * self.curve.units.weight**3)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        x: str | None = None,
        label: str | None = None,
        levels: bool = False,
        **style: Any,
    ) -> "Axes":
        """Draw the loss, dashed, against flow time on `ax` (new axes if None), exit times marked; returns the axes.

        With `levels` a thin line marks the loss of each plateau. `style`
        goes to the line. ValueError for `x` other than "flow_time", and on axes that count steps.
        """
        times = self._figure_times()
        name = "theory (staircase)" if label is None else label
        line = line_style(style, linestyle="--")
        losses = {name: (self.loss(times), line)}
        ax = draw_losses(ax, {"flow_time": times}, losses, x, WITHOUT_STEPS)

        exits = self.exit_times[np.isfinite(self.exit_times)]
        if len(exits):
            color = ax.get_lines()[-1].get_color()
            ax.plot(exits, self.loss(exits), linestyle="none", marker="o", color=color)
        if levels:
            for level in self.plateaus:
                ax.axhline(level, color="0.7", linewidth=0.5, zorder=0)
        return ax

    def _figure_times(self) -> FloatArray:
        """Increasing flow times (T,) that show every drop, and the last plateau."""
        nodes = self.curve.node_times()
        last = (1 + _BEYOND) * nodes[-1] or 1.0
        nodes = np.append(nodes, last)
        steps = np.arange(len(nodes))
        points = np.arange(0, len(nodes) - 1, 1 / _POINTS_PER_STEP)
        return np.append(np.interp(points, steps, nodes), last)


def staircase(
    task: Task,
    model: Parametrization,
    start: Mapping[str, NDArray[Any]],
    *,
    verify: bool = True,
    weight_decay: float = 0.0,
) -> Staircase:
    """The `Staircase` of a `Separate` model on unlimited data from weights `start`, full size, by name.

    While heads are small their escape is solved exactly; from the time that the others can feel one, the flow of
    all heads is integrated through the drop. Exit times are those of gradient flow, to about 1e-5 or better, at any
    scale of the weights. Only the blocks that move on unlimited data are read; a head that is exactly zero stays
    so. `verify`: whether to find the `verdict` and the `uncertainty`, by following three or more other paths, and
    to refine the path where they ask for it.

    Where Λ or Ω is singular, exits are those of the directions with a gain. With G = B − A M Λ (Λ for E x xᵀ) a part of
    a key or query on which x does not vary never moves, and nothing else depends on it. A part k_d, q_d on which x
    varies and the teacher does not has b_d = 0, so G_dj = −a_d λ_j M_dj: it is constant in a small head, and in a grown
    one it decays, dk_d/dt = −v a_d Σ_j M_dj λ_j q_j; since v² − Σ|k|² is conserved, with k_d(0)² in it, that head ends
    with |k|² = v² − v(0)² + Σ|k(0)|² on what it learned.

    ValueError for another model, softmax, weights of other shapes, a task without any gain, on which heads only decay,
    or a `weight_decay`, under which small heads die and there is no staircase: `time_course` has both. ArithmeticError
    where the times cannot be computed, because grown heads go on moving or another precision gives other times.

    Source: Zhang et al. 2025 (arXiv 2501.16265), saddle to saddle; times from any weights go beyond it.

    >>> import numpy as np
    >>> from attndyn import Separate, Task
    >>> task, model = Task(eigenvalues=[2, 1], context_length=20), Separate(heads=3)
    >>> generator = np.random.default_rng(0)
    >>> weights = {name: 1e-3 * generator.standard_normal(shape) for name, shape in model.shapes(2).items()}
    >>> steps = staircase(task, model, weights)
    >>> steps.directions, steps.kinds, steps.plateaus.round(4)
    ((1, 2), ('long', 'long'), array([3.    , 1.2222, 0.3889]))
    """
    require_task_first("staircase(task, model, start)", task, model)
    if checked_decay(weight_decay) > 0:
        raise ValueError(
            "there is no staircase under weight decay, since small heads die: "
            "time_course(task, model, flow_time, start, weight_decay=…) follows all heads"
        )
    origin = _checked_origin(task, model, start)
    # Compiled functions: not before they are needed.
    from .exit_time_uncertainty import precise_outcome, verdict_on
    from .path import Precision

    paths = paths_from(origin)
    if not verify:
        curve = paths.curve(paths.heads, Precision())
        return assembled(origin, curve, NOT_VERIFIED, np.nan)

    middles = _middles(paths.moments)
    curve_at = cache(lambda precision: paths.curve(paths.heads, precision))
    precision, uncertainty = precise_outcome(
        lambda precision: curve_at(precision).outcome(middles)
    )
    curve = curve_at(precision)
    verdict = verdict_on(
        curve.outcome(middles),
        paths.heads,
        lambda heads: paths.curve(heads, precision).outcome(middles),
    )
    return assembled(origin, curve, verdict, uncertainty)


def _checked_origin(
    task: Task, model: Parametrization, start: Mapping[str, NDArray[Any]]
) -> Origin:
    """What the staircase starts from, with copies of the weights; ValueError unless the model is `Separate`."""
    if not isinstance(model, Separate):
        raise ValueError(
            f"a staircase is that of a Separate model, not {type(model).__name__}: see time_course"
        )
    weights = {name: np.array(start[name]) for name in start}
    return Origin(task, model, weights)


class Paths(NamedTuple):
    """Paths of one task and model: the `directions` on which heads move, and the `heads` to start from on them."""

    moments: Population
    directions: MovingDirections
    heads: SeparateHeads

    def curve(self, heads: SeparateHeads, precision: "Precision") -> "PathCurve":
        """The curve of these heads or of others."""
        from .piecewise_curves import path_curve

        return path_curve(self.moments, self.directions, heads, precision)


def paths_from(origin: Origin) -> Paths:
    """The paths from an origin; ValueError for softmax, or weights of other shapes."""
    moments = invariant_population(origin.task, origin.model)
    heads = separate_block(origin.weights, origin.model, origin.task.dimension)
    directions = moving_directions(origin.task, moments)
    return Paths(moments, directions, directions.heads_on(heads))


def warn_if_sensitive(steps: Staircase, stacklevel: int) -> None:
    """A `SensitiveStaircaseWarning` where exit times hold for exactly these weights only."""
    if steps.verdict in (EQUAL_HEADS, EXACT_ZEROS):
        warnings.warn(
            EXPLANATIONS[steps.verdict],
            SensitiveStaircaseWarning,
            stacklevel=stacklevel + 1,
        )


def _middles(moments: Population) -> FloatArray:
    """Losses above the minimum midway between greedy plateaus, (D,)."""
    plateaus = np.append(np.cumsum(moments.gains[::-1])[::-1], 0.0)
    return np.asarray((plateaus[:-1] + plateaus[1:]) / 2)


def assembled(
    origin: Origin, curve: "PathCurve", verdict: str, uncertainty: float
) -> Staircase:
    """The staircase of a path, with what its exit times rest on."""
    moments = curve.moments
    subsets = visited_subsets(curve.node_shares(), moments.gains)
    directions = _learned_directions(subsets)
    losses = np.array([_unlearned_gain(subset, moments.gains) for subset in subsets])
    drop_times = curve.crossings((losses[:-1] + losses[1:]) / 2)
    heads = _heads_of_drops(curve, subsets, directions, drop_times)
    kinds = tuple(
        "short" if head in heads[:i] else "long" for i, head in enumerate(heads)
    )
    return Staircase(
        exit_times=curve.crossings(_middles(moments)),
        drop_times=drop_times,
        plateaus=moments.minimum_loss + losses,
        subsets=tuple(subsets),
        directions=directions,
        heads=heads,
        kinds=kinds,
        verdict=verdict,
        uncertainty=uncertainty,
        curve=curve,
        moments=moments,
        origin=origin,
    )


def _learned_directions(subsets: list[Subset]) -> tuple[int, ...]:
    """The direction that each drop from one subset to the next learns: the first that is new."""
    steps = pairwise(subsets)
    return tuple(min(set(after) - set(before)) for before, after in steps)


def _heads_of_drops(
    curve: "PathCurve",
    subsets: list[Subset],
    directions: tuple[int, ...],
    drop_times: FloatArray,
) -> tuple[int, ...]:
    """The head that each drop is owed to, as an index into the weights."""
    # Each plateau is looked at midway between the drops around it, the last one at the end.
    midway = (drop_times + np.append(0.0, drop_times[:-1])) / 2
    shares = curve.head_shares(np.append(midway, np.inf))  # (n+1, H', D)
    reached = plateaus_reached(np.sum(shares, axis=1), subsets, curve.moments.gains)
    pairs = curve.problem.part.equations.pairs
    distinct = learning_heads(shares, directions, reached, pairs)
    return tuple(curve.first[np.array(distinct, dtype=np.intp)].tolist())


def _unlearned_gain(subset: Subset, gains: FloatArray) -> float:
    """The sum of the gains (D,) that are not in a subset: its loss above the minimum."""
    return float(np.sum(np.delete(gains, np.array(subset, dtype=int) - 1)))
