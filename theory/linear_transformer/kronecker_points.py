"""The two fixed points of one layer on Kronecker teachers: nothing learned, and all that can be learned.

Beside p ≠ 0 the best q is one, and beside q ≠ 0 the best p is the Wiener filter of one number ν, so that fixed points
other than p = q = 0 are roots of one equation for ν. Derived here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import numpy as np

from ...models.attention import Merged
from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from ...runtime.display import Displayed, Summary
from ...task import Task
from .kronecker_tasks import (
    KroneckerMinimum,
    kronecker_minimum,
    kronecker_task,
    stationary_noise_ratios,
)
from .mode_points import layer_weights
from .mode_tasks import one_layer

_WHAT = "fixed_points"


@dataclass(frozen=True, eq=False, repr=False)
class KroneckerFixedPoint(Displayed):
    """A fixed point of the flow of p (K, K) and q (D, D), at the scale |p| = |q|.

    `subset` holds all directions that have a signal, numbered from 1, or none; `loss` in units of y²; `hessian_index`
    is over all of p and q: at 0 one combination grows, p ∝ Γ with q ∝ ΛΩΛ. `least` is the minimum of the task and
    `zero_loss` the loss of the zero predictor.
    """

    subset: tuple[int, ...]
    loss: float
    p: FloatArray
    q: FloatArray
    hessian_index: int
    kind: Literal["minimum", "strict saddle"]
    least: KroneckerMinimum = field(repr=False)
    zero_loss: float = field(repr=False)
    model: Merged = field(repr=False)

    @property
    def M(self) -> FloatArray:
        """The effective map (K, K, D, D) with the blocks M_ij = p_ij q."""
        return np.multiply.outer(self.p, self.q)

    @property
    def coefficients(self) -> FloatArray:
        """p_ii q_dd (KD,), one output after the other; empty where nothing is learned."""
        if not self.subset:
            return np.zeros(0)
        return np.multiply.outer(np.diag(self.p), np.diag(self.q)).ravel()

    def weights(self) -> Weights:
        """Weights of the model's shapes with these p and q and all other blocks zero: a run can start there."""
        return layer_weights(self.model, self.p, self.q)

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
            "learned": "every direction" if self.subset else "nothing",
            "loss": f"{self.loss:.8g}",
            "Hessian index": self.hessian_index,
        }
        return Summary(f"Fixed point of {self.model}: {self.kind}", rows)


class KroneckerFixedPoints(Sequence[KroneckerFixedPoint], Displayed):
    """The minimum and p = q = 0; made by `fixed_points`."""

    def __init__(self, points: Sequence[KroneckerFixedPoint]) -> None:
        self._points = tuple(points)

    @overload
    def __getitem__(self, index: int) -> KroneckerFixedPoint: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[KroneckerFixedPoint, ...]: ...

    def __getitem__(
        self, index: int | slice
    ) -> KroneckerFixedPoint | tuple[KroneckerFixedPoint, ...]:
        return self._points[index]

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[KroneckerFixedPoint]:
        return iter(self._points)

    def of(self, *subset: int) -> KroneckerFixedPoint:
        """The one at which exactly these directions are learned; ValueError where there is none."""
        for point in self._points:
            has_all = all(direction in subset for direction in point.subset)
            if has_all and len(subset) == len(point.subset):
                return point
        raise ValueError(
            f"there is no fixed point with exactly the directions {list(subset)}: on Kronecker teachers all "
            f"{len(self._points[0].subset)} are learned at once, or none"
        )

    def to_dict(self) -> dict[str, Any]:
        """Their number and the points, as plain numbers and lists."""
        return {"count": len(self), "points": [point.to_dict() for point in self]}

    def summary(self) -> Summary:
        """A row a fixed point."""
        rows: dict[str, object] = {}
        for number, point in enumerate(self, start=1):
            learned = "every direction" if point.subset else "nothing"
            rows[f"{number}: {learned}"] = (
                f"loss {point.loss:.8g}, index {point.hessian_index}, {point.kind}"
            )
        return Summary(f"Fixed points of {self[0].model}: {len(self)}", rows)


def kronecker_fixed_points(
    task: Task, model: Parametrization | None = None
) -> KroneckerFixedPoints:
    """The fixed points of one merged head on teachers of Γ ⊗ Ω by increasing loss: its minimum, and p = q = 0.

    ValueError for other teachers, inputs or models, and where nothing can be learned; ArithmeticError where more than
    one filter is stationary, so that the list would not be whole. Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> teachers = Gaussian.kronecker([[3, 0], [0, 1]], [[1, 0], [0, 1]])
    >>> task = Task([1, 1], teachers=teachers, context_length=10, noise_variance=0.5)
    >>> [(point.subset, round(point.loss, 4), point.hessian_index) for point in kronecker_fixed_points(task)]
    [((1, 2), 2.9616, 0), ((), 9.0, 1)]
    """
    law = kronecker_task(task, model, _WHAT)
    layer = one_layer(task, model, _WHAT)
    count = int(np.count_nonzero(law.signal))
    if count == 0 or law.linear == 0:
        raise ValueError(
            "the teachers or the inputs of this task do not vary, so nothing can be learned"
        )
    ratios = stationary_noise_ratios(law)
    if len(ratios) > 1:
        raise ArithmeticError(
            f"{len(ratios)} filters of the outputs are stationary on this task: kronecker_minimum has the best one, "
            "and no list of fixed points is known"
        )
    least = kronecker_minimum(task, layer)
    K, D = task.outputs, task.dimension
    learned = KroneckerFixedPoint(
        subset=tuple(range(1, count + 1)),
        loss=least.loss,
        p=least.p,
        q=least.q,
        hessian_index=0,
        kind="minimum",
        least=least,
        zero_loss=law.zero_loss,
        model=layer,
    )
    nothing = KroneckerFixedPoint(
        subset=(),
        loss=law.zero_loss,
        p=np.zeros((K, K)),
        q=np.zeros((D, D)),
        hessian_index=1,
        kind="strict saddle",
        least=least,
        zero_loss=law.zero_loss,
        model=layer,
    )
    return KroneckerFixedPoints([learned, nothing])
