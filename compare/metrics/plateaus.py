"""Plateaus of a run, matched to the fixed points of the theory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, overload

import numpy as np

from ...models.attention import Merged, Separate
from ...models.protocol import Weights, outputs_of
from ...models.stated_models import model_differences, stated_model
from ...runtime.arrays import FloatArray
from ...runtime.display import Displayed, Summary
from ...simulate import Trajectory
from ...theory import (
    AnyFixedPoint,
    AnyFixedPoints,
    FixedPoint,
    FixedPoints,
    KroneckerFixedPoint,
    KroneckerFixedPoints,
    ModeFixedPoint,
    ModeFixedPoints,
)
from .curves import plateau_intervals
from .flatness import (
    FlatStretch,
    flat_stretches,
    flattest_in,
    steepness_of,
)
from .maps_of_fixed_points import (
    Sizes,
    StoredMap,
    dimension_of,
    map_of,
    sizes_of,
    stored_map,
)
from .outputs_of_runs import refuse_other_outputs

MOST_POINTS = 20_000
"""Fixed points that each plateau may be compared with."""

NEAR_MAP = 0.25
"""Distance of the map, in parts of |M*|, up to which a plateau is at a fixed point: half a direction is about 0.3."""

NEAR_LOSS = 0.05
"""Distance of the loss, in parts of what can be learned, up to which a plateau without weights is at a fixed point."""

TELLING = 2.0
"""A fixed point is told from another that is more than this many times as far away."""

_SURE_MAP = 0.02
_SURE_LOSS = 0.005
"""Nothing is told apart by less than these: maps on plateaus are so far off, and losses of finite samples."""

_SAME_CONVENTION = 0.1
"""Logarithm of a factor between losses that finite samples may make."""


@dataclass(frozen=True, eq=False, repr=False)
class PlateauMatch(Displayed):
    """One plateau of a run and the fixed point that is nearest to it; made by `match_plateaus`.

    `loss` is the plateau's height, `time` its place in the unit of the run, `step` and `flow_time` the same in both
    units, None where it has none. `weights` are the stored ones nearest to it, empty if none are stored on the plateau;
    `map_gap` is the distance |M − M_S| relative to |M*|, nan without weights; `gradient_norm` the smallest on the
    plateau, nan where it is not known. `rivals` are other fixed points that are hardly farther away: by the map, or by
    the loss where there are no weights. `is_near`: whether the plateau is at a fixed point at all.
    """

    point: AnyFixedPoint
    loss: float
    time: float
    step: int | None
    flow_time: float | None
    weights: Weights
    map_gap: float
    gradient_norm: float
    rivals: tuple[AnyFixedPoint, ...]
    is_near: bool

    @property
    def is_ambiguous(self) -> bool:
        """Whether other fixed points are hardly farther from the plateau than `point`."""
        return bool(self.rivals)

    @property
    def subset(self) -> tuple[int, ...] | None:
        """The directions learned; None where that is ambiguous, or no fixed point is near."""
        return self.point.subset if self.is_near and not self.rivals else None

    def summary(self) -> Summary:
        """The directions learned, the loss beside the predicted one, and how near the map is."""
        rows = {
            "directions learned": self._directions,
            "time": f"{self.time:g}",
            "loss": f"{self.loss:.6g} (fixed point: {self.point.loss:.6g})",
        }
        if self.weights:
            rows["|M − M_S| / |M*|"] = f"{self.map_gap:.2g}"
        if not np.isnan(self.gradient_norm):
            rows["gradient norm"] = f"{self.gradient_norm:.2g}"
        return Summary("Plateau of a run at a fixed point", rows)

    @property
    def row(self) -> str:
        """The match in one line of a table."""
        cells = [f"loss {self.loss:.5g} (predicted {self.point.loss:.5g})"]
        if self.weights:
            cells.append(f"map gap {self.map_gap:.2g}")
        if self.step is not None:
            cells.append(f"step {self.step}")
        if self.flow_time is not None:
            cells.append(f"flow time {self.flow_time:.5g}")
        return ", ".join(cells)

    @property
    def label(self) -> str:
        """What is learned, for the first column of a table."""
        if not self.is_near:
            return f"none near, nearest {_braces(self.point)}"
        return " or ".join(_braces(point) for point in (self.point, *self.rivals[:3]))

    @property
    def _directions(self) -> str:
        return self.label.replace("{", "").replace("}", "").replace("∅", "none")

    def to_dict(self) -> dict[str, Any]:
        """The numbers of the match without the weights, as plain Python; None for what is not known."""
        subset = self.subset
        return {
            "subset": None if subset is None else list(subset),
            "candidates": [list(p.subset) for p in (self.point, *self.rivals)],
            "predicted_loss": float(self.point.loss),
            "loss": self.loss,
            "time": self.time,
            "step": self.step,
            "flow_time": self.flow_time,
            "map_gap": _number_or_none(self.map_gap),
            "gradient_norm": _number_or_none(self.gradient_norm),
            "near": self.is_near,
            "ambiguous": self.is_ambiguous,
        }


class PlateauMatches(Sequence[PlateauMatch], Displayed):
    """The plateaus of a run in order, each with its fixed point, as a table; made by `match_plateaus`."""

    def __init__(self, matches: Iterable[PlateauMatch], note: str = "") -> None:
        self._matches = tuple(matches)
        self.note = note
        """What speaks against the matches: that the losses lie at another multiple of the levels, or nothing."""

    @overload
    def __getitem__(self, index: int) -> PlateauMatch: ...

    @overload
    def __getitem__(self, index: slice) -> "PlateauMatches": ...

    def __getitem__(self, index: int | slice) -> "PlateauMatch | PlateauMatches":
        if isinstance(index, slice):
            return PlateauMatches(self._matches[index], self.note)
        return self._matches[index]

    def __len__(self) -> int:
        return len(self._matches)

    def __iter__(self) -> Iterator[PlateauMatch]:
        return iter(self._matches)

    def summary(self) -> Summary:
        """A row a plateau: what is learned, the loss, how near the map is, and when."""
        rows: dict[str, object] = {}
        for number, match in enumerate(self._matches, start=1):
            rows[f"{number}: {match.label}"] = match.row
        if any(match.is_near and match.is_ambiguous for match in self._matches):
            rows["or"] = (
                "these fixed points are too near to each other to be told apart here"
            )
        if self.note:
            rows["note"] = self.note
        return Summary(f"Plateaus of a run: {len(self)}", rows)

    def to_dict(self) -> dict[str, Any]:
        """The numbers of each plateau, and the note."""
        plateaus = [match.to_dict() for match in self._matches]
        return {"plateaus": plateaus, "note": self.note}


def match_plateaus(
    points: AnyFixedPoints | Sequence[AnyFixedPoint], run: Trajectory
) -> PlateauMatches:
    """The plateaus of a run, each with the fixed point that it is at.

    `points` are all fixed points of a task and a model, as `fixed_points` gives them: the plateaus are then found
    in the run alone, as stretches in which the loss falls more slowly than before and after. Or they are the ones to
    expect, in any order: there is then a plateau for each whose level the run passes, where it is flattest between
    the mid-levels; those that it skips are left out. Flat is where the gradient is small, or, where its norm is not
    known, the slope of the log of the loss. The result's `note` says where the losses look like another multiple of
    the mean square than the levels are.

    Model and |M*| come from the points. By the weights stored on a plateau its point is the one with the nearest map,
    and without weights the one with the nearest loss; others that are hardly farther away are its `rivals`.
    TypeError for the arguments in the other order; ValueError for no points or points of several models, fewer than two
    losses, weights that do not fit the model, and more than 20,000 points.

    >>> from attndyn import Separate, Task
    >>> from attndyn.simulate import initial_weights, sample, statistics, train
    >>> from attndyn.theory import fixed_points
    >>> task, model = Task([2, 1], context_length=31), Separate(2)
    >>> stats = statistics(sample(task, 20_000), model)
    >>> start = initial_weights(model, task, scale=[0.1, 0.05], scheme="aligned")
    >>> run = train(model, stats, start, learning_rate=0.02, steps=1_000)
    >>> [match.subset for match in match_plateaus(fixed_points(task, model), run)]
    [(), (1,), (1, 2)]
    """
    if isinstance(points, Trajectory) or not isinstance(run, Trajectory):
        raise TypeError(
            f"match_plateaus(points, run): got {type(points).__name__}, then {type(run).__name__}"
        )
    candidates = _candidates(points)
    stretches: list[tuple[FlatStretch, AnyFixedPoint | None]]
    are_all = isinstance(points, (FixedPoints, ModeFixedPoints, KroneckerFixedPoints))
    if are_all:
        stretches = [(stretch, None) for stretch in flat_stretches(run)]
    else:
        stretches = _expected_stretches(candidates.points, run)
    _refuse_other_model(candidates.points[0], run)
    has_weights = _has_fitting_weights(candidates.points[0], run)
    matches = [
        _match(candidates, run, has_weights, stretch, expected)
        for stretch, expected in stretches
    ]
    if are_all:
        matches = _without_repetitions(matches)
    given = float(run.settings.get("loss_scale", 1.0))
    return PlateauMatches(matches, _note_on_convention(candidates, matches, given))


class _Candidates(NamedTuple):
    """Fixed points with their losses (n,) and their maps (n, D, D), and the sizes that distances are relative to.

    Of several outputs the maps are p_i q_α on the modes: the other entries of M_S vanish.
    """

    points: tuple[AnyFixedPoint, ...]
    losses: FloatArray
    maps: FloatArray
    sizes: Sizes


def _candidates(points: AnyFixedPoints | Sequence[AnyFixedPoint]) -> _Candidates:
    enumerated: Iterable[AnyFixedPoint] = points
    listed = tuple(islice(enumerated, MOST_POINTS + 1))
    if not listed:
        raise ValueError("match_plateaus needs a fixed point or more")
    if len(listed) > MOST_POINTS:
        raise ValueError(
            f"these are more than {MOST_POINTS:,} fixed points: pass the ones to expect, such as "
            "[fixed_point(task, model, subset) for subset in …]"
        )
    first = listed[0]
    kinds = (FixedPoint, ModeFixedPoint, KroneckerFixedPoint)
    if not all(isinstance(point, kinds) for point in listed):
        raise TypeError(
            "points must be fixed points, as fixed_points(task, model) gives them"
        )
    if any(point.model != first.model for point in listed):
        raise ValueError("the fixed points are of several models: pass those of one")
    return _Candidates(
        points=listed,
        losses=np.array([point.loss for point in listed]),
        maps=np.array([map_of(point) for point in listed]),
        sizes=sizes_of(first),
    )


def _expected_stretches(
    points: tuple[AnyFixedPoint, ...], run: Trajectory
) -> list[tuple[FlatStretch, AnyFixedPoint | None]]:
    """Where the run is flattest around the level of each point, with the point, by decreasing loss."""
    # Of several with one loss, the first stands for all: the others become its rivals.
    levels = {point.loss: point for point in reversed(points)}
    losses = sorted(levels, reverse=True)
    steepness = steepness_of(run)
    stretches: list[tuple[FlatStretch, AnyFixedPoint | None]] = []
    intervals = plateau_intervals(run.loss, losses)
    for loss, (first, end) in zip(losses, intervals, strict=True):
        if first < end:
            stretch = flattest_in(run, steepness, first, end - 1)
            stretches.append((stretch, levels[loss]))
    return stretches


def _refuse_other_model(point: AnyFixedPoint, run: Trajectory) -> None:
    """ValueError where the run states another model than that of the fixed points."""
    stated = stated_model(run.settings)
    if stated is None or not isinstance(point.model, (Merged, Separate)):
        return
    differences = model_differences(point.model, stated, dimension_of(point))
    if differences:
        words = differences[0].in_words("the model of the fixed points", "the run")
        raise ValueError(f"{words}: pass the fixed points of the run's own model")


def _has_fitting_weights(point: AnyFixedPoint, run: Trajectory) -> bool:
    """Whether the run stores weights; ValueError if they do not fit the model of the fixed points."""
    if not run.weights or not len(run.weight_time):
        return False
    refuse_other_outputs(run, outputs_of(point.model), "the fixed points are")
    shapes = point.model.shapes(dimension_of(point))
    if set(shapes) != set(run.weights):
        raise ValueError(
            f"{point.model} has weights {sorted(shapes)}, and the run {sorted(run.weights)}"
        )
    for name, shape in shapes.items():
        stored = run.weights[name].shape[1:]
        if stored != shape:
            raise ValueError(
                f"{point.model} has weights {name!r} of shape {shape}, and the run of shape {stored}: only the last "
                "row of a value matrix reaches the output, so pass W_V[:, -1]"
            )
    return True


# Long because it fills every field of a match.
def _match(
    candidates: _Candidates,
    run: Trajectory,
    has_weights: bool,
    stretch: FlatStretch,
    expected: AnyFixedPoint | None,
) -> PlateauMatch:
    """The match of one plateau."""
    stored = _stored_on(run, stretch) if has_weights else None
    weights = {} if stored is None else run.stored_weights(stored)
    M = stored_map(candidates.points[0], weights) if weights else None
    distances = _distances(candidates, M, stretch.loss)
    nearest = int(np.argmin(distances.values))
    if expected is not None:
        nearest = candidates.points.index(expected)
    gap = float(distances.values[nearest])
    time = float(run.time[stretch.flattest])
    return PlateauMatch(
        point=candidates.points[nearest],
        loss=stretch.loss,
        time=time,
        step=None if run.is_flow else int(time),
        flow_time=_flow_time(run, stretch.flattest),
        weights=weights,
        map_gap=float("nan") if M is None else gap,
        gradient_norm=_gradient_norm(run, stretch.flattest),
        rivals=_rivals(candidates, distances, nearest),
        is_near=gap <= distances.near,
    )


class _Distances(NamedTuple):
    """How far a plateau is from each fixed point (K,), and the distances that are surely none, or still near."""

    values: FloatArray
    sure: float
    near: float


def _distances(candidates: _Candidates, M: StoredMap | None, loss: float) -> _Distances:
    """The distances of a plateau with this map, or with this loss where its map is not known."""
    if M is None:
        gaps = np.abs(candidates.losses - loss)
        return _Distances(gaps / candidates.sizes.learnable, _SURE_LOSS, NEAR_LOSS)
    # In the Frobenius norm, as |M*| is.
    squares = np.sum((M.M - candidates.maps) ** 2, axis=(-2, -1)) + M.elsewhere
    return _Distances(np.sqrt(squares) / candidates.sizes.map, _SURE_MAP, NEAR_MAP)


def _rivals(
    candidates: _Candidates, distances: _Distances, nearest: int
) -> tuple[AnyFixedPoint, ...]:
    """The other fixed points that are hardly farther away than one of them, the nearest first."""
    limit = max(TELLING * distances.values[nearest], distances.sure)
    return tuple(
        candidates.points[k]
        for k in np.argsort(distances.values, kind="stable")
        if k != nearest and distances.values[k] <= limit
    )


def _without_repetitions(matches: Sequence[PlateauMatch]) -> list[PlateauMatch]:
    """The matches with one for each visit to a fixed point: spikes of the loss may part a plateau into several."""
    visits: list[PlateauMatch] = []
    for match in matches:
        before = visits[-1] if visits else None
        if before and before.is_near and match.is_near and before.point is match.point:
            # Spikes go up: the lower loss is the plateau's.
            visits[-1] = min(before, match, key=lambda visit: visit.loss)
        else:
            visits.append(match)
    return visits


def _note_on_convention(
    candidates: _Candidates, matches: Sequence[PlateauMatch], given: float
) -> str:
    """That the losses look like a multiple of the mean square; empty if they do not.

    `given` is the loss scale by which the run's losses have been divided already, which a suggestion goes on from.
    With weights the maps say which levels they should be at. Without, the first plateau should be that of M = 0, and
    with its factor all plateaus must lie nearer to levels than without.
    """
    if len(matches) < 2:
        return ""
    heights = np.array([match.loss for match in matches])
    levels = np.array([match.point.loss for match in matches])
    if all(match.weights and match.is_near for match in matches):
        factor = _common_ratio(heights, levels)
    else:
        factor = _ratio_of_first(heights, levels, candidates)
    if factor is None or abs(np.log(factor)) < _SAME_CONVENTION:
        return ""
    suggested = f"loss_scale={factor * given:.3g}?"
    if given != 1.0:
        suggested = f"with loss_scale={given:.3g} they are; {suggested}"
    return f"losses are {factor:.3g} times the levels: {suggested}"


def _common_ratio(heights: FloatArray, levels: FloatArray) -> float | None:
    """The factor between plateaus and their levels (k,), None where it is another for each."""
    ratios = heights / levels
    factor = float(np.median(ratios))
    return factor if np.ptp(ratios) < 0.2 * factor else None


def _ratio_of_first(
    heights: FloatArray, levels: FloatArray, candidates: _Candidates
) -> float | None:
    """The factor between the first plateau and the loss at M = 0, None where it brings plateaus no nearer to levels."""
    factor = float(heights[0] / candidates.sizes.zero_loss)
    if factor <= 0:
        return None
    scaled = heights / factor
    gaps = np.abs(scaled[:, None] - candidates.losses).min(axis=1)
    gaps_without = np.abs(heights - levels)
    return factor if np.mean(gaps) < 0.5 * np.mean(gaps_without) else None


def _stored_on(run: Trajectory, stretch: FlatStretch) -> int | None:
    """The index of the stored weights nearest to a plateau; None if they were stored before or after it."""
    nearest = int(np.argmin(np.abs(run.weight_time - run.time[stretch.flattest])))
    stored_at = run.weight_time[nearest]
    first = run.time[stretch.first]
    last = run.time[stretch.last]
    if stretch.last == len(run.time) - 1:
        # The last weights stand after the last loss.
        last += run.time[-1] - run.time[-2]
    return nearest if first <= stored_at <= last else None


def _flow_time(run: Trajectory, index: int) -> float | None:
    """The flow time of a loss; None where the run has none."""
    try:
        return float(run.flow_time[index])
    except ValueError:
        return None


def _gradient_norm(run: Trajectory, index: int) -> float:
    return (
        float("nan") if run.gradient_norm is None else float(run.gradient_norm[index])
    )


def _braces(point: AnyFixedPoint) -> str:
    if not point.subset:
        return "∅"
    return f"{{{', '.join(map(str, point.subset))}}}"


def _number_or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
