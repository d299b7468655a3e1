"""All fixed points of one task: losses, gains, maps and Hessian indices, as enclosures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from typing import Any, NamedTuple, overload

from ...models.attention import Separate
from ...models.protocol import Parametrization
from ...runtime.display import Displayed, Summary
from ...task import Task
from .balls import Ball, BallMatrix, ball, total, with_precision
from .curvatures import inertia_of_heads
from .enclosures import Enclosure
from .rational_moments import RationalMoments, checked_subset, exact_moments
from .spectra import certified_spectrum

BITS = 192
"""Bits by default: 57 digits, of which gaps of 1e-14 between gains leave more than 30."""

MOST_POINTS = 2**12
"""Most points of a list, a minute's work at D = 8: of more, `fixed_point` certifies one at a time."""

_SHOWN = 16
"""Points of a list on one screen."""


@dataclass(frozen=True, eq=False, repr=False)
class CertifiedPoint(Displayed):
    """A fixed point M_S of separate heads of rank one: `subset` S, and what is certain of it.

    `loss` is L(M_S), `gains` those of the directions of S, `M` (D, D) the map, all as enclosures. `hessian_index` is
    the exact number of unstable directions.
    """

    subset: tuple[int, ...]
    loss: Enclosure
    gains: tuple[Enclosure, ...]
    hessian_index: int
    M: tuple[tuple[Enclosure, ...], ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The point as plain values, numbers as quotients in text."""
        return {
            "subset": list(self.subset),
            "loss": self.loss.to_dict(),
            "gains": [gain.to_dict() for gain in self.gains],
            "hessian_index": self.hessian_index,
            "M": [[entry.to_dict() for entry in row] for row in self.M],
        }

    def summary(self) -> Summary:
        """The point on one screen."""
        rows = {
            "loss": self.loss,
            "gains": ", ".join(map(str, self.gains)) or "none",
            "index": self.hessian_index,
        }
        return Summary(f"Certified fixed point {set(self.subset) or '∅'}", rows)


class CertifiedPoints(Displayed, Sequence[CertifiedPoint]):
    """The fixed points of one task by increasing loss; `of(1, 3)` is that of a subset, `bits` the precision."""

    def __init__(self, points: Iterable[CertifiedPoint], bits: int) -> None:
        self._points = tuple(points)
        self.bits = bits

    @overload
    def __getitem__(self, index: int) -> CertifiedPoint: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[CertifiedPoint]: ...
    def __getitem__(
        self, index: int | slice
    ) -> CertifiedPoint | Sequence[CertifiedPoint]:
        return self._points[index]

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[CertifiedPoint]:
        return iter(self._points)

    def of(self, *subset: int) -> CertifiedPoint:
        """The point of a subset of directions; ValueError if there is none."""
        for point in self._points:
            if point.subset == tuple(sorted(subset)):
                return point
        raise ValueError(f"no fixed point of this list learns the directions {subset}")

    def summary(self) -> Summary:
        """The first points on one screen."""
        rows: dict[str, object] = {}
        for point in self._points[:_SHOWN]:
            name = ", ".join(map(str, point.subset)) or "∅"
            rows[name] = f"index {point.hessian_index}, loss {point.loss}"
        return Summary(f"{len(self)} certified fixed points, {self.bits} bits", rows)


class _Spectrum(NamedTuple):
    """What all points of a task share."""

    moments: RationalMoments
    gains: list[Ball]
    maps: list[BallMatrix]


@with_precision
def fixed_points(
    task: Task, model: Parametrization, *, bits: int = BITS
) -> CertifiedPoints:
    """All fixed points M_S of separate heads of rank one, S of at most H directions, by increasing loss.

    Any Λ and Ω that are positive definite, any noise, any context lengths; the task is read as it is written (a float
    as the decimal that Python prints). Directions are numbered from 1 by decreasing gain. Of points whose losses cannot
    be told apart, the subset that comes first in the dictionary stands first.

    NoCertificate where gains are equal, as of a white task, and where `bits` do not suffice. ValueError for another
    model or law, for more than 4096 points, and without python-flint.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=["3/5", "2/5"], context_length=20)
    >>> points = fixed_points(task, Separate(heads=2))
    >>> [(point.subset, point.hessian_index) for point in points]
    [((1, 2), 0), ((1,), 0), ((2,), 1), ((), 0)]
    >>> float(points.of(1).loss), points.of(1).loss.width < 1e-50
    (0.47058823529411764, True)
    """
    most = min(_head_count(model), task.dimension)
    if 2**task.dimension > MOST_POINTS:
        raise ValueError(
            f"a list of 2^{task.dimension} points is too long: certify single ones with fixed_point"
        )
    spectrum = _spectrum(task, model)
    directions = range(1, task.dimension + 1)
    subsets = [s for size in range(most + 1) for s in combinations(directions, size)]
    points = [_point(spectrum, subset) for subset in subsets]
    return CertifiedPoints(
        sorted(points, key=lambda point: (point.loss.midpoint, point.subset)), bits
    )


@with_precision
def fixed_point(
    task: Task,
    model: Parametrization,
    subset: Iterable[int],
    *,
    bits: int = BITS,
) -> CertifiedPoint:
    """The fixed point at which the directions of `subset` are learned; conditions and errors as of `fixed_points`.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=["3/5", "2/5"], context_length=20)
    >>> fixed_point(task, Separate(heads=2), (2,)).hessian_index
    1
    """
    heads = _head_count(model)
    chosen = checked_subset(subset, task.dimension)
    if len(chosen) > heads:
        raise ValueError(
            f"{heads} heads learn at most {heads} directions: a subset of {len(chosen)} needs more heads"
        )
    return _point(_spectrum(task, model), chosen)


def _spectrum(task: Task, model: Parametrization) -> _Spectrum:
    moments = exact_moments(task, model)
    gains, maps = certified_spectrum(moments)
    return _Spectrum(moments, gains, maps)


def _head_count(model: Parametrization) -> int:
    """H; ValueError unless the model has separate heads of rank one."""
    if not isinstance(model, Separate) or model.rank != 1:
        raise ValueError(
            "certified fixed points are those of separate heads of rank one: pass Separate(heads)"
        )
    return model.head_count


def _point(spectrum: _Spectrum, subset: tuple[int, ...]) -> CertifiedPoint:
    gains = [spectrum.gains[d - 1] for d in subset]
    maps = [spectrum.maps[d - 1] for d in subset]
    zero = ball(Fraction(0))
    loss = ball(spectrum.moments.c) - total([zero, *gains])
    D = spectrum.moments.dimension
    return CertifiedPoint(
        subset=subset,
        loss=Enclosure.of_ball(loss),
        gains=tuple(Enclosure.of_ball(gain) for gain in gains),
        hessian_index=inertia_of_heads(spectrum.moments, maps).negative,
        M=tuple(
            tuple(
                Enclosure.of_ball(total([zero, *(learned[i, j] for learned in maps)]))
                for j in range(D)
            )
            for i in range(D)
        ),
    )
