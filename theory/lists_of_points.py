"""What lists of fixed points of every wing share: what has been reached, subsets in words, and levels drawn."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 64
"""Fixed points whose levels a figure still tells apart."""

LARGEST_LENGTH = sys.maxsize
"""Of what Python's len may return."""

Item = TypeVar("Item")


class Level(Protocol):
    """A fixed point as a figure shows it."""

    @property
    def loss(self) -> float:
        """In units of y²."""

    @property
    def hessian_index(self) -> int:
        """How many eigenvalues of the Hessian are negative."""


def subset_text(subset: tuple[int, ...]) -> str:
    """A subset for a table: "{1, 2}", in short where it is long."""
    if not subset:
        return "∅"
    if len(subset) <= 10:
        return f"{{{', '.join(map(str, subset))}}}"
    return f"{{{', '.join(map(str, subset[:4]))}, …, {subset[-1]}}} ({len(subset)})"


def draw_levels(
    ax: "Axes | None", points: Iterable[Level], style: Mapping[str, Any]
) -> "Axes":
    """Draw the losses of fixed points as levels over their Hessian index, on `ax` or new axes; returns them."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots()
    levels = list(points)
    losses = np.array([point.loss for point in levels])
    indices = np.array([point.hessian_index for point in levels])
    ax.hlines(losses, indices - 0.4, indices + 0.4, **style)
    ax.set_xlabel("Hessian index")
    ax.set_ylabel("loss")
    return ax


class Reached(Generic[Item]):
    """What an enumeration has given so far, so that nothing is enumerated twice."""

    def __init__(self, enumerate_all: Callable[[], Iterator[Item]]) -> None:
        self._enumerate_all = enumerate_all
        self._coming: Iterator[Item] | None = None
        self._so_far: list[Item] = []
        self._lock = Lock()

    def up_to(self, count: int) -> list[Item]:
        """The first ones, at least `count` of them if there are so many."""
        with self._lock:
            missing = count - len(self._so_far)
            if missing > 0:
                coming = self._coming
                # An interruption ends a generator: the next call then starts anew.
                self._coming = None
                if coming is None:
                    self._so_far.clear()
                    coming = self._enumerate_all()
                    missing = count
                self._so_far.extend(islice(coming, missing))
                self._coming = coming
            return self._so_far
