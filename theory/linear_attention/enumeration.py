"""Fixed points of gradient flow by increasing loss, their stability, and weights that realise them."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    SupportsIndex,
    overload,
)

import numpy as np

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from ...runtime.checks import is_whole_number
from ...runtime.display import Displayed, Summary, array_summary
from ...task import Task
from ..call_order import require_task_first
from ..lists_of_points import (
    LARGEST_LENGTH,
    LEVELS,
    Reached,
    draw_levels,
    subset_text,
)
from ..moments.population_loss import (
    Population,
    direction_indices,
    invariant_population,
)
from .subsets import (
    Choice,
    count_subsets,
    subsets_by_loss,
    subsets_from_the_last,
)
from .weight_decay import (
    DecayedMerged,
    DecayedRankOne,
    checked_decay,
    refuse_several_outputs,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["minimum", "local minimum", "strict saddle", "degenerate saddle"]

Decay = DecayedMerged | DecayedRankOne
"""What a positive weight decay leaves to be learned."""

Assignment = tuple[tuple[int, ...], ...]
"""The directions of each active head."""

_ROWS = 12  # fixed points of a table that fits one screen


@dataclass(frozen=True, eq=False, repr=False)
class FixedPoint(Displayed):
    """A map M_S at which the population gradient vanishes, in its canonical weights.

    `subset` S holds the learned directions, numbered from 1 by decreasing gain; `gains` (|S|,) are theirs and
    `loss` = c − Σ gains, in units of y². `coefficients` (|S|,) are the m_d of M_S, None where Λ and Ω do not
    commute. `assignment` gives the directions of each active head. `hessian_index` counts the negative
    eigenvalues of the Hessian at these weights (other weights of the same M_S can have others); `kind` is "strict
    saddle" with any, else "minimum" if as much is learned as the model can, else "degenerate saddle". `continuum`:
    equal gains make it one of infinitely many.

    With a `weight_decay` wd it is a fixed point of the flow of L + (wd/2)|θ|², whose Hessian counts; `loss` is L alone,
    as a run records it, and `gains` are what the directions lower it by. `kind` is then "local minimum" for separate
    heads without negative eigenvalues, M = 0 included.
    """

    subset: tuple[int, ...]
    loss: float
    gains: FloatArray
    coefficients: FloatArray | None
    hessian_index: int
    kind: Kind
    assignment: Assignment
    continuum: bool
    population: Population = field(repr=False)
    model: Merged | Separate = field(repr=False)
    decay: Decay | None = field(default=None, repr=False)

    @property
    def weight_decay(self) -> float:
        """The weight decay under which it is a fixed point, 0 if there is none."""
        return 0.0 if self.decay is None else self.decay.weight_decay

    @property
    def M(self) -> FloatArray:
        """M_S, the restricted map (D, D): the model predicts βᵀ M_S x_q."""
        source = self.population if self.decay is None else self.decay
        return source.learned(self.subset)

    @property
    def weights(self) -> Weights:
        """Balanced weights of the model's shapes: value rows (0, v), keys (k, 0), queries (q, 0), other heads zero.

        A head with the rank-one maps M_d has v |k_d| |q_d| = |M_d|, |k_d| = |q_d| and v² = Σ_d |k_d|²; the
        one active head of the merged minimum has U = M*/v and v = |U|.
        """
        if isinstance(self.model, Merged):
            return _merged_weights(self.model, self.M)
        factors = self.population.factors
        if isinstance(self.decay, DecayedRankOne):
            factors = self.decay.factors
        return _separate_weights(self.model, factors, self.assignment)

    def to_dict(self) -> dict[str, Any]:
        """The numbers of the fixed point as plain lists; `coefficients` is None where Λ and Ω do not commute."""
        learned = self.coefficients
        decay = {} if self.decay is None else {"weight_decay": self.weight_decay}
        return decay | {
            "subset": list(self.subset),
            "loss": float(self.loss),
            "coefficients": None if learned is None else learned.tolist(),
            "gains": self.gains.tolist(),
            "hessian_index": int(self.hessian_index),
            "kind": self.kind,
            "assignment": [list(head) for head in self.assignment],
            "continuum": bool(self.continuum),
        }

    def summary(self) -> Summary:
        """What is learned, the loss and the stability, on one screen."""
        rows: dict[str, object] = {
            "learned": subset_text(self.subset),
            "loss": f"{self.loss:.8g}",
            "Hessian index": self.hessian_index,
            "gains": array_summary(self.gains),
        }
        if self.coefficients is not None:
            rows["coefficients"] = array_summary(self.coefficients)
        if self.continuum:
            rows["continuum"] = "equal gains leave the choice of directions free"
        if self.decay is not None:
            rows["weight decay"] = f"{self.weight_decay:g}"
        map_formula = r"M_S = \sum_{d \in S} p_d r_d^\top"
        if self.decay is not None:
            map_formula = self.decay.formula
        formulas = {
            "loss": r"L(M_S) = c - \sum_{d \in S} g_d",
            "map": map_formula,
        }
        return Summary(f"Fixed point of {self.model}: {self.kind}", rows, formulas)


class FixedPoints(Displayed):
    """The fixed points of a model by increasing loss: a sequence of `FixedPoint` whose members are made on demand.

    It can be iterated, indexed and sliced from either end at once, however many there are: reaching number k from
    the nearer end costs time and memory that grow with k, once. `count` is how many, exactly; `len` is the same where
    Python allows it. `points.of(1, 3)` is the one with these directions learned; `subset in points` and
    `point in points` say whether there is one.
    """

    def __init__(
        self, task_loss: Population, model: Merged | Separate, weight_decay: float = 0.0
    ) -> None:
        self.population = task_loss
        self.model = model
        self.weight_decay = weight_decay
        self._decay = _decay(task_loss, model, weight_decay)
        self._running: Iterator[FixedPoint] | None = None
        self._first = Reached(self._choices)
        self._last = Reached(self._choices_from_the_last)

    def __reduce__(self) -> tuple[Any, ...]:
        # What has been reached stays behind: generators cannot be copied.
        return type(self), (self.population, self.model, self.weight_decay)

    def __iter__(self) -> Iterator[FixedPoint]:
        return map(self._of_choice, self._choices())

    def __next__(self) -> FixedPoint:
        """The next one, from the first: `next(points)` is the minimum, as of an iterator."""
        if self._running is None:
            self._running = iter(self)
        return next(self._running)

    def _choices(self) -> Iterator[Choice]:
        """What is learned at each fixed point, by increasing loss."""
        loss = self.population
        if isinstance(self._decay, DecayedMerged):
            yield from self._decay.choices()
            return
        if isinstance(self._decay, DecayedRankOne):
            yield from self._decay.choices(_capacity(self.model, loss))
            return
        if isinstance(self.model, Separate):
            limit = _capacity(self.model, loss)
            yield from subsets_by_loss(loss.c, loss.gains, limit)
            return
        every_direction = tuple(range(1, loss.direction_count + 1))
        yield Choice(loss.minimum_loss, every_direction, False)
        yield Choice(loss.c, (), False)

    def _choices_from_the_last(self) -> Iterator[Choice]:
        """What is learned at each fixed point, by decreasing loss."""
        loss = self.population
        if isinstance(self.model, Merged):
            yield from reversed(list(self._choices()))
            return
        limit = _capacity(self.model, loss)
        if isinstance(self._decay, DecayedRankOne):
            yield from self._decay.choices(limit, from_the_last=True)
        else:
            yield from subsets_from_the_last(loss.c, loss.gains, limit)

    @cached_property
    def count(self) -> int:
        """How many fixed points there are, exactly: up to 2^D."""
        if isinstance(self._decay, DecayedMerged):
            return 2 if self._decay.is_learned else 1
        if isinstance(self.model, Merged):
            return 2
        limit = _capacity(self.model, self.population)
        if self._decay is not None:
            return self._decay.count(limit)
        return count_subsets(self.population.gains, limit)

    def __len__(self) -> int:
        if self.count > LARGEST_LENGTH:
            raise OverflowError(
                f"{_number_text(self.count)} fixed points are more than len can say: use count, or islice"
            )
        return self.count

    def __bool__(self) -> bool:
        return (
            True  # M = 0 is always one, and their number may be none that len can say
        )

    @overload
    def __getitem__(self, index: int) -> FixedPoint: ...

    @overload
    def __getitem__(self, index: slice) -> "FixedPointTable": ...

    def __getitem__(self, index: int | slice) -> "FixedPoint | FixedPointTable":
        places = range(self.count)
        if isinstance(index, slice):
            return FixedPointTable(map(self._at, places[index]))
        if not -self.count <= index < self.count:
            raise IndexError(f"there are {_number_text(self.count)} fixed points")
        return self._at(places[index])

    def _at(self, place: int) -> FixedPoint:
        """The one at this place, from 0, enumerated from the nearer end."""
        from_the_last = self.count - 1 - place
        nearer = min(place, from_the_last)
        if nearer > LARGEST_LENGTH:
            raise OverflowError(
                f"{_number_text(nearer)} fixed points lie between this one and the nearer end: use of(…), or islice"
            )
        reached = self._first if nearer == place else self._last
        return self._of_choice(reached.up_to(nearer + 1)[nearer])

    def _of_choice(self, choice: Choice) -> FixedPoint:
        return _point(self.population, self.model, choice, decay=self._decay)

    def of(self, *subset: int) -> FixedPoint:
        """The one with exactly these directions learned, numbered from 1 by decreasing gain; none is M = 0.

        Of equal gains each may be named, though one stands for all in the sequence. ValueError where the model has no
        such fixed point.

        >>> from attndyn import Separate, Task
        >>> points = fixed_points(Task([4, 3, 2, 1], trace=1.0, context_length=31), Separate(heads=4))
        >>> points.of(1, 3).hessian_index, points.of().loss
        (1, 1.0)
        """
        return _fixed_point(self.population, self.model, subset, None, self._decay)

    def __contains__(self, member: object) -> bool:
        if isinstance(member, FixedPoint):
            is_of_model = member.model == self.model
            has_decay = member.weight_decay == self.weight_decay
            return (
                is_of_model
                and has_decay
                and any(
                    member.loss == point.loss and member.subset == point.subset
                    for point in self._with_subset(member.subset)
                )
            )
        if isinstance(member, Iterable):
            return bool(self._with_subset(member))
        return False

    def _with_subset(self, subset: Iterable[Any]) -> list[FixedPoint]:
        """The fixed point at which these directions are learned, if there is one."""
        try:
            return [
                _fixed_point(self.population, self.model, subset, None, self._decay)
            ]
        except ValueError:
            return []

    def to_dict(self, limit: int = _ROWS) -> dict[str, Any]:
        """Their number and the first `limit` of them, as plain numbers and lists."""
        points = [point.to_dict() for point in islice(iter(self), limit)]
        return {"count": self.count, "points": points}

    def summary(self) -> Summary:
        """A table of the first ones, by increasing loss."""
        rows = _table_rows(islice(iter(self), _ROWS))
        if self.count > _ROWS:
            rows["…"] = f"{_number_text(self.count - _ROWS)} more, of larger loss"
        title = f"Fixed points of {self.model}: {_number_text(self.count)}"
        if self.weight_decay:
            title += f" under weight decay {self.weight_decay:g}"
        formulas = {"loss": r"L(M_S) = c - \sum_{d \in S} g_d"}
        return Summary(title, rows, formulas)

    def plot(
        self, ax: "Axes | None" = None, *, limit: int = LEVELS, **style: Any
    ) -> "Axes":
        """Draw the loss of the first `limit` as levels over their Hessian index, on `ax` or new axes; returns them.

        `style` goes to the lines.
        """
        return draw_levels(ax, islice(iter(self), limit), style)


class FixedPointTable(Displayed, tuple[FixedPoint, ...]):
    """Some of the fixed points of a model, as a slice gives them: a tuple that shows itself as a table."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> FixedPoint: ...

    @overload
    def __getitem__(self, index: slice) -> "FixedPointTable": ...

    def __getitem__(
        self, index: SupportsIndex | slice
    ) -> "FixedPoint | FixedPointTable":
        if isinstance(index, slice):
            return FixedPointTable(super().__getitem__(index))
        return super().__getitem__(index)

    def summary(self) -> Summary:
        """A table of the first ones."""
        rows = _table_rows(self[:_ROWS])
        if len(self) > _ROWS:
            rows["…"] = f"{len(self) - _ROWS} more"
        model = f" of {self[0].model}" if self else ""
        return Summary(f"{len(self)} fixed points{model}", rows)


def _table_rows(points: Iterable[FixedPoint]) -> dict[str, object]:
    """A row a fixed point: what is learned, its loss and its stability."""
    rows: dict[str, object] = {}
    for number, point in enumerate(points, start=1):
        row = f"loss {point.loss:.8g}, index {point.hessian_index}, {point.kind}"
        if point.continuum:
            row += ", one of a continuum"
        rows[f"{number}: {subset_text(point.subset)}"] = row
    return rows


def fixed_points(
    task: Task, model: Parametrization, *, weight_decay: float = 0.0
) -> FixedPoints:
    """`theory.fixed_points` of one output: of Merged and Separate, with or without weight decay.

    ValueError where that says so, and for any other model.

    >>> from attndyn import Merged, Task
    >>> [point.kind for point in fixed_points(Task([2, 1], context_length=9), Merged(1))]
    ['minimum', 'strict saddle']
    """
    require_task_first("fixed_points(task, model)", task, model)
    checked_model = _built_in(model)
    decay = checked_decay(weight_decay)
    return FixedPoints(invariant_population(task, checked_model), checked_model, decay)


def fixed_point(
    task: Task,
    model: Parametrization,
    subset: Iterable[int],
    assignment: Iterable[Iterable[int]] | None = None,
    *,
    weight_decay: float = 0.0,
) -> FixedPoint:
    """`theory.fixed_point` of one output.

    ValueError for a subset or assignment that does not fit the model, or that the decay leaves no fixed point of.

    >>> from attndyn import Separate, Task
    >>> fixed_point(Task([2, 1], context_length=9), Separate(2), (1,)).kind
    'degenerate saddle'
    """
    require_task_first("fixed_point(task, model, subset)", task, model)
    checked_model = _built_in(model)
    loss = invariant_population(task, checked_model)
    decay = _decay(loss, checked_model, checked_decay(weight_decay))
    return _fixed_point(loss, checked_model, subset, assignment, decay)


def _fixed_point(
    loss: Population,
    model: Merged | Separate,
    subset: Iterable[int],
    assignment: Iterable[Iterable[int]] | None,
    decay: Decay | None,
) -> FixedPoint:
    learned = sorted(direction_indices(subset, loss.direction_count))
    is_partly_merged = (
        isinstance(model, Merged) and 0 < len(learned) < loss.direction_count
    )
    if len(learned) > _capacity(model, loss) or is_partly_merged:
        raise ValueError(
            f"{model} has no fixed point with exactly the directions {[d + 1 for d in learned]} learned"
        )
    if decay is not None:
        choice = decay.chosen(learned)
    else:
        remaining_loss = math.fsum([loss.c, *-loss.gains[learned]])
        directions = tuple(d + 1 for d in learned)
        choice = Choice(
            remaining_loss, directions, _splits_equal_gains(loss.gains, learned)
        )
    return _point(loss, model, choice, assignment, decay)


def _decay(
    loss: Population, model: Merged | Separate, weight_decay: float
) -> Decay | None:
    """What a decay leaves to be learned, None where there is none; ValueError for heads of rank above 1."""
    if weight_decay == 0:
        return None
    refuse_several_outputs(model)
    if isinstance(model, Merged):
        return DecayedMerged(loss, weight_decay)
    if model.rank > 1:
        raise ValueError(
            f"fixed points under weight decay are known for separate heads of rank 1, not {model.rank}: the map "
            "then depends on which directions share a head; simulate it, or pass weight_decay=0"
        )
    return DecayedRankOne(loss, weight_decay)


def _number_text(count: int) -> str:
    """A whole number of any size, in short where it has many digits."""
    digits = math.log10(count)
    return str(count) if digits < 9 else f"about 10^{digits:.1f}"


def _built_in(model: Parametrization) -> Merged | Separate:
    if isinstance(model, (Merged, Separate)):
        return model
    raise ValueError(
        f"fixed points are known for Merged and Separate models, not for {type(model).__name__}"
    )


def _capacity(model: Merged | Separate, loss: Population) -> int:
    """How many directions the model can learn."""
    if isinstance(model, Merged):
        return loss.direction_count
    return min(loss.direction_count, model.head_count * model.rank)


def _point(
    loss: Population,
    model: Merged | Separate,
    choice: Choice,
    assignment: Iterable[Iterable[int]] | None = None,
    decay: Decay | None = None,
) -> FixedPoint:
    """The fixed point of a choice of directions, with its stability."""
    learned = [d - 1 for d in choice.subset]
    heads = _checked_assignment(model, choice.subset, assignment)
    if decay is not None:
        return _decayed_point(decay, model, choice, heads)
    index = _hessian_index(model, loss, learned, heads)
    is_complete = len(learned) == _capacity(model, loss)
    return FixedPoint(
        subset=choice.subset,
        loss=choice.loss,
        gains=loss.gains[learned],
        coefficients=loss.coefficients[learned] if loss.is_aligned else None,
        hessian_index=index,
        kind=_kind(index, is_complete),
        assignment=heads,
        continuum=choice.continuum,
        population=loss,
        model=model,
    )


def _decayed_point(
    decay: Decay, model: Merged | Separate, choice: Choice, heads: Assignment
) -> FixedPoint:
    """The fixed point of a choice of directions under weight decay, with its stability."""
    loss = decay.population
    learned = [d - 1 for d in choice.subset]
    kind: Kind
    if isinstance(decay, DecayedMerged):
        is_saddle = decay.is_learned and not learned
        index = model.head_count if is_saddle else 0
        kind = "strict saddle" if is_saddle else "minimum"
    else:
        index = decay.hessian_index(learned)
        kind = "strict saddle" if index else "local minimum"
    return FixedPoint(
        subset=choice.subset,
        loss=choice.loss,
        gains=decay.drops[learned],
        coefficients=decay.coefficients[learned] if loss.is_aligned else None,
        hessian_index=index,
        kind=kind,
        assignment=heads,
        continuum=choice.continuum,
        population=loss,
        model=model,
        decay=decay,
    )


def _kind(index: int, is_complete: bool) -> Kind:
    if index:
        return "strict saddle"
    return "minimum" if is_complete else "degenerate saddle"


def _checked_assignment(
    model: Merged | Separate,
    subset: tuple[int, ...],
    assignment: Iterable[Iterable[int]] | None,
) -> Assignment:
    """Directions of each active head: as assigned, or the fewest heads filled in order of gain."""
    if isinstance(model, Merged):
        if assignment is not None:
            raise ValueError(
                "merged heads take no assignment: every active head has all directions"
            )
        return (subset,) if subset else ()
    if assignment is None:
        return _fewest_heads(subset, model.rank)

    heads = _directions_of_heads(assignment)
    has_room = len(heads) <= model.head_count and all(
        1 <= len(head) <= model.rank for head in heads
    )
    assigned = sorted(chain.from_iterable(heads))
    if not has_room or assigned != list(subset):
        limits = f"at most {model.head_count} heads of 1 to {model.rank} directions"
        raise ValueError(
            f"an assignment shares {subset} out over {limits}, each direction once, not {heads}"
        )
    return heads


def _directions_of_heads(assignment: Iterable[Iterable[int]]) -> Assignment:
    """The directions of each head as whole numbers; ValueError for what are none."""
    try:
        heads = [list(head) for head in assignment]
        are_whole = all(is_whole_number(number, 1) for head in heads for number in head)
    except TypeError:
        are_whole = False
    if not are_whole:
        raise ValueError(
            f"an assignment is a sequence of directions for each head, such as [(1,), (2, 3)], not {assignment!r}"
        )
    return tuple(tuple(int(number) for number in head) for head in heads)


def _fewest_heads(subset: tuple[int, ...], rank: int) -> Assignment:
    """The fewest heads that hold the directions, each filled with `rank` of them in order of gain."""
    starts = range(0, len(subset), rank)
    return tuple(subset[start : start + rank] for start in starts)


def _hessian_index(
    model: Merged | Separate, loss: Population, learned: list[int], heads: Assignment
) -> int:
    """Negative eigenvalues of the Hessian at the canonical weights."""
    if isinstance(model, Merged):
        # At M = 0 each head has one pair of eigenvalues ±2|B| and otherwise zeros; M* is the minimum.
        return 0 if learned else model.head_count

    is_learned = np.zeros(loss.direction_count, dtype=bool)
    is_learned[learned] = True
    # Negative gains increase, as searchsorted wants them.
    unlearned_gains = -loss.gains[~is_learned]
    learned_gains = -loss.gains[is_learned]

    # An active head can rotate from its direction to any with a larger gain: to an equal one the loss is flat.
    rotations = np.searchsorted(unlearned_gains, learned_gains, side="left").sum()
    # Each zero pair of an active head can pick up any direction that is not learned.
    zero_pairs = sum(model.rank - len(head) for head in heads)
    return int(rotations) + zero_pairs * len(unlearned_gains)


def _splits_equal_gains(gains: FloatArray, learned: list[int]) -> bool:
    """Whether a direction that is not learned has the gain of one that is."""
    unlearned_gains = np.delete(gains, learned)
    return bool(np.isin(gains[learned], unlearned_gains).any())


def _merged_weights(model: Merged, M: FloatArray) -> Weights:
    """One head with U = M/v and v = |U|."""
    weights = _zero_weights(model, len(M))
    norm = float(np.linalg.norm(M))
    if norm:
        weights["value"][0, -1] = math.sqrt(norm)
        weights["key_query"][0, :-1, :-1] = M / math.sqrt(norm)
    return weights


def _separate_weights(
    model: Separate, factors: tuple[FloatArray, FloatArray], heads: Assignment
) -> Weights:
    """Heads with M_d = p_d r_dᵀ: v |k_d| |q_d| = |p_d| |r_d|, |k_d| = |q_d|, v² = Σ_d |k_d|²."""
    p, r = factors  # (D, D) each, columns by direction
    weights = _zero_weights(model, len(p))
    for head, directions in enumerate(heads):
        columns = [d - 1 for d in directions]
        balanced = _balanced_head(p[:, columns].T, r[:, columns].T)
        pairs = slice(len(columns))
        weights["value"][head, -1] = balanced.v
        weights["key"][head, pairs, :-1] = balanced.keys
        weights["query"][head, pairs, :-1] = balanced.queries
    return weights


class _BalancedHead(NamedTuple):
    """The value v, and `keys` and `queries` (R, D), of one head."""

    v: float
    keys: FloatArray
    queries: FloatArray


def _balanced_head(p_rows: FloatArray, r_rows: FloatArray) -> _BalancedHead:
    """The head of the maps p_d r_dᵀ, with p_d and r_d the rows (R, D), under the conditions above."""
    p_norms = _row_norms(p_rows)  # (R, 1)
    r_norms = _row_norms(r_rows)
    # v³ = Σ_d |M_d| from the three conditions.
    v = float(np.cbrt(np.sum(p_norms * r_norms)))
    lengths = np.sqrt(p_norms * r_norms / v)  # |k_d| = |q_d|
    keys = p_rows / p_norms * lengths
    queries = r_rows / r_norms * lengths
    return _BalancedHead(v, keys, queries)


def _row_norms(rows: FloatArray) -> FloatArray:
    """Lengths of the rows, (n, 1)."""
    return np.asarray(np.linalg.norm(rows, axis=1, keepdims=True))


def _zero_weights(model: Merged | Separate, dimension: int) -> Weights:
    return {name: np.zeros(shape) for name, shape in model.shapes(dimension).items()}
