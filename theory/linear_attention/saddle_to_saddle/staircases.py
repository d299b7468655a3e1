"""The staircase of separate attention: which plateaus a run from small weights visits, and when it leaves."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....models.attention import Separate
from ....models.protocol import Parametrization
from ....runtime.arrays import FloatArray
from ....task import Task
from ...moments.population_loss import Population, population
from ...ode import flow_times
from .escapes import separate_block
from .exit_time_verdicts import (
    DETERMINED,
    EQUAL_HEADS,
    EXACT_ZEROS,
    EXPLANATIONS,
    NOT_VERIFIED,
    SensitiveStaircaseWarning,
)

if TYPE_CHECKING:
    from .piecewise_curves import PathCurve


_NEAR = 0.25
"""How far what is learned of a direction may be from 0 or 1 on a plateau."""


@dataclass(frozen=True, eq=False, repr=False)
class Staircase:
    """Plateaus of the population loss along gradient flow, and the flow times at which they are left.

    `exit_times` (D,): when the loss passes midway between the greedy plateaus i − 1 and i, on which the largest
    gains are learned: 0 if it starts below, inf if it never does.

    What the flow visits on the way, non-greedy plateaus included: `plateaus` (n+1,), losses, the last one included;
    `subsets` (n+1,), the directions learned on each, numbered from 1 by decreasing gain; `drop_times` (n,), when
    the loss is midway between two of them. For each drop, `directions`: the direction learned, `heads`: the head
    that takes it (index into the weights, the first of heads that are equal), and `kinds`: "long" if that head was
    small, so that the wait is ∝ 1/scale, "short" if it had learned another direction before: ∝ ln(1/scale) at most.

    `verdict`: what the exit times rest on. "determined": nothing but the weights, with a relative `uncertainty`.
    "rests on exactly equal heads or on a ridge": they hold in exact arithmetic, and change when a weight moves by a
    relative 1e-9. "rests on exact zeros": they change when zeros are filled with 1e-9 of their head's size.
    "not verified": nobody tried.
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

    def __repr__(self) -> str:
        """The drops one by one, and what their times rest on."""
        lines = [
            f"Staircase from a loss of {self.plateaus[0]:.6g}: {self._verdict_in_words()}"
        ]
        drops = zip(
            self.drop_times,
            self.plateaus[1:],
            self.directions,
            self.heads,
            self.kinds,
            strict=True,
        )
        for time, plateau, direction, head, kind in drops:
            learned = f"head {head} learns direction {direction} ({kind} wait)"
            lines.append(f"  at {time:.6g} {learned}, loss down to {plateau:.6g}")
        never = int(np.sum(np.isinf(self.exit_times)))
        if never:
            lines.append(
                f"  {never} of {len(self.exit_times)} greedy plateaus are never left"
            )
        return "\n".join(lines)

    def _verdict_in_words(self) -> str:
        if self.verdict == DETERMINED:
            return f"determined, exit times to {self.uncertainty:.0e}"
        return self.verdict

    def loss(self, flow_time: ArrayLike) -> FloatArray:
        """Loss at `flow_time` (T,), in units of y²."""
        return self.curve.loss(flow_times(flow_time))

    def amplitudes(self, flow_time: ArrayLike) -> FloatArray:
        """Amplitude κ_d = (Σ |e_dᵀk e_dᵀq|)^{1/2} of each direction, over heads and their pairs, (T, D)."""
        return self.curve.amplitudes(flow_times(flow_time))

    def coefficients(self, flow_time: ArrayLike) -> FloatArray:
        """e_dᵀ M e_d (T, D), on the eigenvectors of Λ where Λ and Ω do not commute."""
        return self.curve.coefficients(flow_times(flow_time))


def staircase(
    task: Task,
    model: Parametrization,
    initial: Mapping[str, NDArray[Any]],
    *,
    verify: bool = True,
) -> Staircase:
    """The `Staircase` of a `Separate` model on unlimited data from weights `initial`, full size, by name.

    While heads are small their escape is solved exactly; from the time that the others can feel one, the flow of
    all heads is integrated through the drop. Exit times are those of gradient flow, to about 1e-5 or better, at any
    scale of the weights. Only the blocks that move on unlimited data are read; a head that is exactly zero stays
    so. `verify`: whether to find the `verdict` and the `uncertainty`, by following three or more other paths, and
    to refine the path where they ask for it.
    ValueError for another model, softmax, or weights of other shapes. ArithmeticError where the times cannot be
    computed, because grown heads go on moving or another precision gives other times.

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
    if not isinstance(model, Separate):
        raise ValueError(
            f"a staircase is that of a Separate model, not {type(model).__name__}: see time_course"
        )
    moments = population(task, model)
    heads = separate_block(initial, model, task.dimension)
    from .exit_time_uncertainty import precise, verdict_on
    from .path import Precision
    from .piecewise_curves import (
        on_directions,
        path_curve,
    )  # compiled functions: not before they are needed

    basis = moments.directions if moments.is_aligned else task.eigenvectors
    inside, middles = on_directions(heads, basis), _middles(moments)

    @cache
    def curve_at(precision: Precision) -> "PathCurve":
        return path_curve(moments, basis, inside, precision)

    if not verify:
        return _assembled(moments, curve_at(Precision()), middles, NOT_VERIFIED, np.nan)
    precision, uncertainty = precise(lambda other: curve_at(other).outcome(middles))
    curve = curve_at(precision)
    verdict = verdict_on(
        curve.outcome(middles),
        inside,
        lambda others: path_curve(moments, basis, others, precision).outcome(middles),
    )
    return _assembled(moments, curve, middles, verdict, uncertainty)


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
    unlearned = np.append(np.cumsum(moments.gains[::-1])[::-1], 0.0)
    return np.asarray((unlearned[:-1] + unlearned[1:]) / 2)


def _assembled(
    moments: Population,
    curve: "PathCurve",
    middles: FloatArray,
    verdict: str,
    uncertainty: float,
) -> Staircase:
    subsets = _visited(curve.node_shares(), moments.gains)
    losses = np.array(
        [
            np.sum(np.delete(moments.gains, np.array(subset, dtype=int) - 1))
            for subset in subsets
        ]
    )
    drop_times = curve.crossings((losses[:-1] + losses[1:]) / 2)
    between = (drop_times + np.append(0.0, drop_times[:-1])) / 2
    shares = curve.head_shares(np.append(between, np.inf))
    directions = tuple(_gained(before, after) for before, after in pairwise(subsets))
    plateaus_between = _reached(np.sum(shares, axis=1), subsets, moments.gains)
    pairs = curve.problem.part.equations.pairs
    numbers = np.array(
        _takers(shares, directions, plateaus_between, pairs), dtype=np.intp
    )
    takers = curve.first[numbers].tolist()
    kinds = tuple(
        "short" if head in takers[:i] else "long" for i, head in enumerate(takers)
    )
    plateaus = moments.minimum_loss + losses
    drops = (drop_times, plateaus, tuple(subsets), directions, tuple(takers), kinds)
    return Staircase(
        curve.crossings(middles), *drops, verdict, uncertainty, curve, moments
    )


def _reached(
    shares: FloatArray, subsets: list[tuple[int, ...]], gains: FloatArray
) -> list[bool]:
    """Whether a plateau lies before each drop, and after the last one: (n+1,).

    `shares` (n+1, D) hold how much of each direction all heads have learned midway between drops. Where a drop
    takes a direction away there always is one: that head rotates.
    """
    learned = np.array(
        [[d + 1 in subset for d in range(len(gains))] for subset in subsets]
    )
    near = np.max(np.abs(_pooled(shares, gains) - learned), axis=1) < _NEAR
    grows = [set(before) < set(after) for before, after in pairwise(subsets)]
    inner = [
        bool(near[i]) or not (grows[i - 1] and grows[i])
        for i in range(1, len(subsets) - 1)
    ]
    return [True, *inner, True][: len(subsets)]


def _takers(
    shares: FloatArray, directions: tuple[int, ...], reached: list[bool], pairs: int
) -> list[int]:
    """The head that takes each drop, given what each holds between drops (n+1, H, D).

    It is the one that changes most. Where no plateau lies between drops, as at near ties, this may name a head more
    often than it has `pairs`: heads and directions then go together such that what is gained in the end is largest.
    """
    takers: list[int] = []
    ends = np.flatnonzero(reached).tolist()
    for start, end in pairwise(ends):
        moved = np.linalg.norm(np.diff(shares[start : end + 1], axis=0), axis=-1)
        named = np.argmax(moved, axis=1).tolist()
        change = shares[end] - shares[start]
        if max(map(named.count, named)) > pairs and len(change) * pairs >= len(named):
            named = _assigned(change[:, np.array(directions[start:end]) - 1], pairs)
        takers += named
    return takers


def _assigned(gained: FloatArray, pairs: int) -> list[int]:
    """The head of each direction, so that the sum of `gained` (H, m) is largest, with at most `pairs` a head."""
    from scipy.optimize import linear_sum_assignment

    places = np.repeat(np.arange(len(gained)), pairs)
    rows, columns = linear_sum_assignment(gained[places], maximize=True)
    return [
        int(places[rows[np.flatnonzero(columns == direction)[0]]])
        for direction in range(gained.shape[1])
    ]


def _visited(shares: FloatArray, gains: FloatArray) -> list[tuple[int, ...]]:
    """Subsets of directions more than half learned, in order of time, without those passed in a rotation."""
    shares = _pooled(shares, gains)
    learned = shares > 0.5
    changes = np.flatnonzero(np.any(learned[1:] != learned[:-1], axis=1)) + 1
    spans = np.split(np.arange(len(shares)), changes)
    subsets = [
        tuple(int(d) + 1 for d in np.flatnonzero(learned[span[0]])) for span in spans
    ]
    near = [
        np.min(np.max(np.abs(shares[span] - learned[span[0]]), axis=1)) < _NEAR
        for span in spans
    ]
    kept = [subsets[0]]
    for i in range(1, len(subsets)):
        grows = set(kept[-1]) < set(subsets[i]) and (
            i + 1 == len(subsets) or set(subsets[i]) < set(subsets[i + 1])
        )
        if (near[i] or grows) and subsets[i] != kept[-1]:
            kept = _lower(kept, subsets[i], gains)
            before = kept[-1] if kept else ()
            kept += (
                _one_by_one(before, subsets[i], learned[: spans[i][0] + 1])
                if kept
                else [subsets[i]]
            )
    return kept


def _lower(
    kept: list[tuple[int, ...]], subset: tuple[int, ...], gains: FloatArray
) -> list[tuple[int, ...]]:
    """Those of the subsets `kept` whose loss is above that of a later `subset`, as no loss rises on the way."""
    depths = [np.sum(gains[np.array(each, dtype=int) - 1]) for each in (*kept, subset)]
    return [
        each
        for each, depth in zip(kept, depths[:-1], strict=True)
        if depth < depths[-1]
    ]


def _one_by_one(
    before: tuple[int, ...], after: tuple[int, ...], learned: NDArray[np.bool_]
) -> list[tuple[int, ...]]:
    """Subsets from `before` (excluded) to `after`: where several directions are gained, in the order of time.

    `learned` (T, D): what is more than half learned, until `after` is.
    """
    gained = set(after) - set(before)
    if len(gained) < 2:
        return [after]
    since = {d: len(learned) - np.argmin(learned[::-1, d - 1]) for d in gained}
    common = set(before) & set(after)
    order = sorted(gained, key=lambda d: (since[d], d))
    return [tuple(sorted(common | set(order[: n + 1]))) for n in range(len(order))]


def _pooled(shares: FloatArray, gains: FloatArray) -> FloatArray:
    """Directions of one gain share what they hold, the first learned first; far more than all is not learned."""
    pooled = np.empty_like(shares)
    for gain in np.unique(gains):
        level = np.flatnonzero(gains == gain)
        total = np.sum(shares[:, level], axis=1)
        total = np.where(total > len(level) + 0.5, 0.0, total)
        pooled[:, level] = np.clip(total[:, None] - np.arange(len(level)), 0, 1)
    return pooled


def _gained(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    return min(set(after) - set(before))
