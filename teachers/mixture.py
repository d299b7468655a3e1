"""Mixtures: teachers of several laws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..runtime.arrays import FloatArray
from ..runtime.decimals import exact_fraction, in_message, number
from ..runtime.serialisation import refuse_unknown
from .checking import checked_law
from .law import law_from_dict, law_settings
from .pool import LawWithPools
from .protocol import TeacherLaw


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Mixture(LawWithPools):
    """Teachers of several laws: each part is (share, law), and a sample has exactly its share of each law, in order.

    A mixture among the parts is replaced by its own parts. ValueError for shares that are negative or whose sum is not
    1, and for laws of different dimensions or numbers of outputs.

    >>> from attndyn.teachers import Gaussian, Pool
    >>> Mixture((0.9, Gaussian([1, 1])), (0.1, Pool([[1, -1], [1, 1]]))).shares
    array([0.9, 0.1])
    """

    laws: tuple[TeacherLaw, ...]
    exact_shares: tuple[Fraction, ...]

    def __init__(self, *parts: tuple[Any, TeacherLaw]) -> None:
        laws: list[TeacherLaw] = []
        shares: list[Fraction] = []
        for part in parts:
            share, law = _checked_part(part)
            if isinstance(law, Mixture):
                laws.extend(law.laws)
                shares.extend(share * inner for inner in law.exact_shares)
            else:
                laws.append(law)
                shares.append(share)
        _refuse_shares(shares)
        _refuse_unequal(laws)
        object.__setattr__(self, "laws", tuple(laws))
        object.__setattr__(self, "exact_shares", tuple(shares))

    @property
    def shares(self) -> FloatArray:
        """The share of each law, in doubles."""
        return np.array([float(share) for share in self.exact_shares])

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return self.laws[0].dimension

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""
        return self.laws[0].outputs

    @property
    def symmetric(self) -> bool:
        """Whether each of the laws is symmetric, but those with no share."""
        parts = zip(self.exact_shares, self.laws, strict=True)
        return all(law.symmetric for share, law in parts if share > 0)

    def counts(self, n: int) -> list[int]:
        """How many of n teachers each law has: up to the law's last one, ⌊n · (sum of shares) + ½⌋.

        >>> from attndyn.teachers import Gaussian, Pool
        >>> Mixture((0.9, Gaussian([1])), (0.1, Pool([[1]]))).counts(25)
        [23, 2]
        """
        lasts = [0]
        for index in range(1, len(self.laws)):
            # In doubles, as the fraction of in-context sequences is.
            share = float(sum(self.exact_shares[:index]))
            lasts.append(int(share * n + 0.5))
        lasts.append(n)
        return [int(count) for count in np.diff(lasts)]

    def draw(self, generator: np.random.Generator, n: int) -> FloatArray:
        """n teachers, (n, K, D), those of the first law first."""
        drawn = [
            law.draw(generator, count)
            for law, count in zip(self.laws, self.counts(n), strict=True)
        ]
        return np.concatenate(drawn)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that a file may hold."""
        return ("parts",)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Mixture":
        """The mixture of settings {"parts": [{"share": …, "law": {…}}, …]}."""
        refuse_unknown(settings, allowed=cls.fields(), owner=cls.__name__)
        parts = settings.get("parts")
        wanted = {"share", "law"}
        if not isinstance(parts, Sequence) or not all(
            isinstance(part, Mapping) and set(part) == wanted for part in parts
        ):
            raise ValueError(
                "a Mixture needs the field parts, a list of {share = …, law = {…}}"
            )
        return cls(*((part["share"], law_from_dict(part["law"])) for part in parts))

    def to_dict(self) -> dict[str, Any]:
        """The parts, and the name of the law."""
        parts = []
        for share, law in zip(self.exact_shares, self.laws, strict=True):
            plain = number(share)
            stored = plain if isinstance(plain, float) else str(share)
            parts.append({"share": stored, "law": law_settings(law)})
        return {"law": "mixture", "parts": parts}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(zip(self.exact_shares, self.laws, strict=True))

    def __repr__(self) -> str:
        parts = []
        for share, law in zip(self.exact_shares, self.laws, strict=True):
            parts.append(f"({float(share):g}, {law!r})")
        return f"Mixture({', '.join(parts)})"


def _checked_part(part: object) -> tuple[Fraction, TeacherLaw]:
    """Share and law of one part of a mixture."""
    if not isinstance(part, (tuple, list)) or len(part) != 2:
        raise ValueError(f"each part of a Mixture is (share, law), not {part!r}")
    share = number(part[0])
    if share is None or share < 0:
        raise ValueError(
            f"each share of a Mixture must be a number of zero or more, not {in_message(part[0])}"
        )
    return exact_fraction(share), checked_law(part[1])


def _refuse_shares(shares: Sequence[Fraction]) -> None:
    """ValueError unless the shares add up to 1, exactly or as the nearest doubles."""
    total = sum(shares, Fraction(0))
    if not shares or abs(total - 1) > Fraction(1, 10**12):
        raise ValueError(
            f"the shares of a Mixture must add up to 1, and add up to {float(total):g}"
        )


def _refuse_unequal(laws: Sequence[TeacherLaw]) -> None:
    """ValueError unless all laws have one dimension and one number of outputs."""
    shapes = sorted({(law.outputs, law.dimension) for law in laws})
    if len(shapes) > 1:
        raise ValueError(
            f"the laws of a Mixture must have one shape (K, D) of teachers, not {shapes[0]} and {shapes[1]}"
        )
