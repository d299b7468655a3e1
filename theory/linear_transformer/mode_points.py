"""Fixed points of one layer on modes: which modes are learned, with what loss, and how they are left.

At a fixed point each mode is off or has a = (ℓ − k r Z/(ωs))/(g s), with one Z for all, so that a subset of modes makes
at most one point, up to the scale p → cp, q → q/c. An unlearned mode grows where ℓκ > kZ. So 2^D is a bound, not the
count; every point but the minimum is a strict saddle. Derived here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from ...runtime.display import Displayed, Summary, array_summary
from ...task import Task
from ..lists_of_points import (
    LARGEST_LENGTH,
    LEVELS,
    Reached,
    draw_levels,
    subset_text,
)
from ..moments.population_loss import direction_indices
from .minima import coefficients_of, coupling, loss_of_subset
from .mode_subsets import (
    ModeSubset,
    count_fixed_points,
    escaping,
    is_fixed_point,
    mask_of,
    subsets_by_decreasing_loss,
    subsets_by_increasing_loss,
)
from .mode_tasks import ModeTask, mode_task, one_layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROWS = 12  # fixed points of a table that fits one screen


@dataclass(frozen=True, eq=False, repr=False)
class ModeFixedPoint(Displayed):
    """A fixed point of the flow of p and q, which stands for its line of scales p → cp, q → q/c.

    `subset` holds the modes that are learned, numbered from 1 in the order of `modes`, by decreasing κ; `coefficients`
    a = p q (D,) in that order, 0 where a mode is off; `loss` in units of y². `hessian_index` counts the negative
    eigenvalues of the Hessian over all of p (K, K) and q (D, D); `kind` is "minimum" without any, else "strict saddle".
    """

    subset: tuple[int, ...]
    loss: float
    coefficients: FloatArray
    hessian_index: int
    kind: Literal["minimum", "strict saddle"]
    modes: ModeTask = field(repr=False)
    model: Parametrization = field(repr=False)

    def amplitudes(self, *, balanced: bool = False) -> tuple[FloatArray, FloatArray]:
        """The diagonal p and q (D,) with (ωs + σ²) p² = s² q² mode by mode, or at the scale where |p| = |q|."""
        return amplitudes_of(self.modes, self.coefficients, balanced=balanced)

    def weights(self, *, balanced: bool = False) -> Weights:
        """Weights of the model's shapes with p and q of `amplitudes` and all other blocks zero: a run can start there.

        A run from small weights ends near the `balanced` ones, since |p|² − |q|² is conserved.
        """
        p, q = self.amplitudes(balanced=balanced)
        return layer_weights(
            self.model, on_basis(self.modes, p), on_basis(self.modes, q)
        )

    @property
    def M(self) -> FloatArray:
        """The effective map (K, K, D, D), or (D, D) of one output, with the blocks M_ij = p_ij q."""
        p, q = self.amplitudes()
        maps = np.multiply.outer(on_basis(self.modes, p), on_basis(self.modes, q))
        return maps if len(p) > 1 else maps[0, 0]

    def to_dict(self) -> dict[str, Any]:
        """The numbers of the fixed point as plain lists."""
        return {
            "subset": list(self.subset),
            "loss": self.loss,
            "coefficients": self.coefficients.tolist(),
            "hessian_index": self.hessian_index,
            "kind": self.kind,
        }

    def summary(self) -> Summary:
        """What is learned, the loss and the stability, on one screen."""
        rows = {
            "learned": subset_text(self.subset),
            "loss": f"{self.loss:.8g}",
            "Hessian index": self.hessian_index,
            "coefficients": array_summary(self.coefficients),
        }
        formulas = {"coefficients": r"a = (\ell - k r Z/(\omega s)) / (g s)"}
        return Summary(f"Fixed point of {self.model}: {self.kind}", rows, formulas)


class ModeFixedPoints(Displayed):
    """The fixed points of one layer on modes by increasing loss: a sequence whose members are made on demand.

    It can be iterated, indexed and sliced; reaching number k costs time that grows with k. `count` is how many there
    are, at most 2^D; OverflowError where counting would take too long. `points.of(1, 3)` is the one with these
    modes learned, and `subset in points` says whether there is one.
    """

    def __init__(self, modes: ModeTask, model: Parametrization) -> None:
        self.modes = modes
        self.model = model
        self._first = Reached(lambda: subsets_by_increasing_loss(self.modes))
        self._last = Reached(lambda: subsets_by_decreasing_loss(self.modes))

    def __reduce__(self) -> tuple[Any, ...]:
        # What has been reached stays behind: generators cannot be copied.
        return type(self), (self.modes, self.model)

    def __iter__(self) -> Iterator[ModeFixedPoint]:
        return map(self._point, subsets_by_increasing_loss(self.modes))

    @cached_property
    def count(self) -> int:
        """How many fixed points there are, exactly; OverflowError where counting them would take too long."""
        return count_fixed_points(self.modes)

    def __len__(self) -> int:
        if self.count > LARGEST_LENGTH:
            raise OverflowError(
                f"about 10^{len(str(self.count)) - 1} fixed points are more than len can say: use count, or islice"
            )
        return self.count

    def __bool__(self) -> bool:
        return True  # nothing learned is always one, and their number may be unknown

    @overload
    def __getitem__(self, index: int) -> ModeFixedPoint: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[ModeFixedPoint, ...]: ...

    def __getitem__(
        self, index: int | slice
    ) -> ModeFixedPoint | tuple[ModeFixedPoint, ...]:
        if isinstance(index, slice):
            parts = (index.start, index.stop, index.step)
            # From the front and bounded, no count is needed.
            if index.stop is not None and all(n is None or n >= 0 for n in parts):
                return tuple(islice(iter(self), *parts))
            return tuple(self._at(place) for place in range(self.count)[index])
        return self._at(index)

    def _at(self, place: int) -> ModeFixedPoint:
        """The one at this place, counted from the end where it is negative."""
        number = place + 1 if place >= 0 else -place
        reached = (self._first if place >= 0 else self._last).up_to(number)
        if len(reached) < number:
            raise IndexError(f"there are {len(reached)} fixed points")
        return self._point(reached[number - 1])

    def of(self, *subset: int) -> ModeFixedPoint:
        """The one with exactly these modes learned, numbered from 1; ValueError where there is none.

        >>> from attndyn import Task
        >>> from attndyn.teachers import Gaussian
        >>> task = Task([1, 0.01], teachers=Gaussian.shared_basis([1, 1]), context_length=1)
        >>> mode_fixed_points(task).of(2).hessian_index
        1
        """
        indices = direction_indices(subset, self.modes.dimension)
        learned = tuple(sorted(index + 1 for index in indices))
        if not is_fixed_point(self.modes, learned):
            raise ValueError(
                f"no fixed point learns exactly the modes {list(learned)}: the weakest of them is off beside the "
                "others; points.of() takes a subset that is in the points"
            )
        mask = mask_of(self.modes, learned)
        Z = coupling(self.modes, mask)
        return self._point(ModeSubset(loss_of_subset(self.modes, mask, Z), learned))

    def __contains__(self, member: object) -> bool:
        if isinstance(member, ModeFixedPoint):
            return any(
                np.array_equal(member.coefficients, point.coefficients)
                and member.loss == point.loss
                for point in self._with_subset(member.subset)
            )
        return isinstance(member, Iterable) and bool(self._with_subset(member))

    def _with_subset(self, subset: Iterable[Any]) -> list[ModeFixedPoint]:
        """The fixed point at which these modes are learned, if there is one."""
        try:
            return [self.of(*subset)]
        except ValueError:
            return []

    def _point(self, choice: ModeSubset) -> ModeFixedPoint:
        mask = mask_of(self.modes, choice.subset)
        coefficients = coefficients_of(self.modes, mask, coupling(self.modes, mask))
        index = len(escaping(self.modes, choice.subset))
        return ModeFixedPoint(
            subset=choice.subset,
            loss=choice.loss,
            coefficients=coefficients,
            hessian_index=index,
            # Without growing modes the subset is that of the soft threshold: no other point is stable.
            kind="strict saddle" if index else "minimum",
            modes=self.modes,
            model=self.model,
        )

    def to_dict(self, limit: int = _ROWS) -> dict[str, Any]:
        """The first `limit` of them, as plain numbers and lists, and their number, None where that is unknown."""
        points = [point.to_dict() for point in islice(iter(self), limit)]
        return {"count": self._known_count(), "points": points}

    def _known_count(self) -> int | None:
        try:
            return self.count
        except OverflowError:
            return None

    def summary(self) -> Summary:
        """A table of the first ones, by increasing loss."""
        rows: dict[str, object] = {}
        for number, point in enumerate(islice(iter(self), _ROWS), start=1):
            label = f"{number}: {subset_text(point.subset)}"
            rows[label] = (
                f"loss {point.loss:.8g}, index {point.hessian_index}, {point.kind}"
            )
        count = self._known_count()
        if count is None or count > _ROWS:
            more = "more" if count is None else f"{count - _ROWS} more"
            rows["…"] = f"{more}, of larger loss"
        number_text = "a number too large to count" if count is None else str(count)
        title = f"Fixed points of {self.model}: {number_text}"
        return Summary(title, rows, {"loss": r"L = c - \ell \sum_A \omega s^2 a"})

    def plot(
        self, ax: "Axes | None" = None, *, limit: int = LEVELS, **style: Any
    ) -> "Axes":
        """Draw the loss of the first `limit` as levels over their Hessian index, on `ax` or new axes; returns them.

        `style` goes to the lines.
        """
        return draw_levels(ax, islice(iter(self), limit), style)


def mode_fixed_points(
    task: Task, model: Parametrization | None = None
) -> ModeFixedPoints:
    """The fixed points of one merged head with K = D outputs on a shared basis by increasing loss, as a lazy sequence.

    Null blocks are zero, and each point stands for its line of scales. ValueError where the outputs share no basis with
    the inputs. Source: the layer of Mainali and Teixeira 2025 (arXiv 2504.12916); existence and index are derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1, 0.5, 0.2, 0.05], teachers=Gaussian.shared_basis([1] * 4), context_length=5)
    >>> points = mode_fixed_points(task)
    >>> [(point.subset, point.hessian_index, point.kind) for point in points[:2]]
    [((1, 2, 3), 0, 'minimum'), ((1, 2, 4), 1, 'strict saddle')]
    >>> len(points), (1, 2, 3, 4) in points
    (15, False)
    """
    modes = mode_task(task, model, "mode_fixed_points")
    return ModeFixedPoints(modes, one_layer(task, model, "mode_fixed_points"))


def mode_fixed_point(
    task: Task, subset: Iterable[int], model: Parametrization | None = None
) -> ModeFixedPoint:
    """The fixed point at which the modes of `subset` are learned, numbered from 1 by decreasing ω s/√(ωs + σ²).

    ValueError where there is none, and as `mode_fixed_points`.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1, 0.5], teachers=Gaussian.shared_basis([1, 1]), context_length=5)
    >>> mode_fixed_point(task, (1,)).coefficients.round(4)
    array([0.7143, 0.    ])
    """
    return mode_fixed_points(task, model).of(*subset)


def amplitudes_of(
    modes: ModeTask, coefficients: FloatArray, *, balanced: bool = False
) -> tuple[FloatArray, FloatArray]:
    """p and q (D,) of a = p q ≥ 0 (D,) at which the coupling is least: (ωs + σ²) p² = s² q², or there |p| = |q|."""
    s, r = modes.inputs, np.sqrt(modes.labels)
    learned = coefficients > 0
    ratio = np.divide(s, r, out=np.ones_like(s), where=learned)  # p/q
    p = np.sqrt(coefficients * ratio)
    q = np.sqrt(coefficients / ratio)
    if balanced and np.any(learned):
        scale = np.sqrt(np.linalg.norm(q) / np.linalg.norm(p))
        p, q = scale * p, q / scale
    return p, q


def on_basis(modes: ModeTask, diagonal: FloatArray) -> FloatArray:
    """U diag(x) Uᵀ (D, D) of x (D,) in the coordinates of the modes."""
    U = modes.basis
    return np.asarray(U * diagonal @ U.T)


def layer_weights(model: Parametrization, p: FloatArray, q: FloatArray) -> Weights:
    """Weights of one merged head with these p (K, K) and q (D, D), the other blocks zero."""
    K, D = len(p), len(q)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(D).items()}
    weights["value"].reshape(1, K, D + K)[0, :, D:] = p
    weights["key_query"][0, :D, :D] = q
    return weights
