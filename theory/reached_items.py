"""What an enumeration has given so far, of which any number may be asked for, again and again."""

from collections.abc import Callable, Iterator
from itertools import islice
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")


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
