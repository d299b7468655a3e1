"""Pools: a finite number of teachers, given or drawn from another law."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..runtime.arrays import FloatArray, read_only
from ..runtime.checks import check_finite, real_array, true_or_false, whole_number
from ..runtime.decimals import in_one_line
from ..runtime.machine import refuse_too_large
from ..runtime.serialisation import refuse_unknown
from .law import Law, law_from_dict
from .protocol import TeacherLaw

POOL_STREAM = 4
"""The child of a seed by which `law.pool` draws: data and weights of the same seed have others."""

# Arrays of the size of a pool that drawing it needs at once.
_COPIES = 5


class LawWithPools(Law):
    """Base of the laws of this package: a pool can be drawn from each of them."""

    def pool(self, k: int, seed: int = 0, signs: bool = False) -> "Pool":
        """A `Pool` of k teachers that the seed draws from this law; a file stores the law, k, the seed and the signs.

        With `signs` every teacher comes with its negative, as in `Pool`.

        >>> from attndyn.teachers import Sphere
        >>> Sphere(3).pool(5, seed=1).teachers.shape
        (5, 1, 3)
        """
        count = whole_number(k, "k")
        size = _COPIES * 8.0 * count * self.outputs * self.dimension
        refuse_too_large(f"a pool of {count} teachers", size, "draw fewer")
        checked_seed = whole_number(seed, "seed", least=0)
        return Pool.from_recipe(self, count, checked_seed, signs)


@dataclass(frozen=True)
class PoolRecipe:
    """How a pool was drawn: `count` teachers of a law by a seed."""

    law: TeacherLaw
    count: int
    seed: int


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Pool(LawWithPools):
    """One of k fixed teachers, (k, D) or (k, K, D), each with the probability of its weight; equal weights by default.

    With `signs`, each teacher is replaced by itself and its negative, each with half its weight. Weights are zero or
    more, and are normalised. ValueError for a pool without teachers, for teachers of different shapes, and unless the
    weights are k numbers of zero or more.

    >>> Pool([[1, -1], [1, 1]]).weights
    array([0.5, 0.5])
    """

    teachers: FloatArray
    """(k, K, D), without the negatives."""
    weights: FloatArray
    """(k,), summing to 1."""
    signs: bool
    recipe: PoolRecipe | None

    def __init__(
        self, teachers: ArrayLike, weights: ArrayLike | None = None, signs: bool = False
    ) -> None:
        array = _pool_teachers(teachers)
        self._set(array, _pool_weights(weights, len(array)), signs, None)

    @classmethod
    def from_recipe(
        cls, law: TeacherLaw, count: int, seed: int, signs: bool = False
    ) -> "Pool":
        """The pool of `count` teachers that a seed draws from a law, with their negatives if `signs`."""
        sequence = np.random.SeedSequence(seed, spawn_key=(POOL_STREAM,))
        drawn = law.draw(np.random.default_rng(sequence), count)
        pool = cls(drawn)
        pool._set(pool.teachers, pool.weights, signs, PoolRecipe(law, count, seed))
        return pool

    def _set(
        self,
        teachers: FloatArray,
        weights: FloatArray,
        signs: bool,
        recipe: PoolRecipe | None,
    ) -> None:
        object.__setattr__(self, "teachers", read_only(teachers))
        object.__setattr__(self, "weights", read_only(weights))
        object.__setattr__(self, "signs", true_or_false(signs, "signs"))
        object.__setattr__(self, "recipe", recipe)

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return int(self.teachers.shape[2])

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""
        return int(self.teachers.shape[1])

    @cached_property
    def members(self) -> FloatArray:
        """All teachers (k, K, D), or (2k, K, D) with the negatives behind."""
        if not self.signs:
            return self.teachers
        return read_only(np.concatenate([self.teachers, -self.teachers]))

    @cached_property
    def member_weights(self) -> FloatArray:
        """The weights of all `members`."""
        if not self.signs:
            return self.weights
        return read_only(np.concatenate([self.weights, self.weights]) / 2)

    @cached_property
    def symmetric(self) -> bool:
        """Whether −W has the law of W: with `signs`, or where the pool holds every negative with its weight."""
        if self.signs:
            return True
        weight_of: dict[bytes, float] = {}
        for teacher, weight in zip(self.teachers, self.weights, strict=True):
            name = (teacher + 0.0).tobytes()
            weight_of[name] = weight_of.get(name, 0.0) + float(weight)
        for teacher in self.teachers:
            weight = weight_of[(teacher + 0.0).tobytes()]
            # Adding 0.0 turns -0.0 into 0.0.
            opposite = weight_of.get((0.0 - teacher).tobytes(), 0.0)
            if not np.isclose(weight, opposite, rtol=1e-12, atol=0.0):
                return False
        return True

    def draw(self, generator: np.random.Generator, n: int) -> FloatArray:
        """n teachers, (n, K, D)."""
        members = generator.choice(len(self.members), size=n, p=self.member_weights)
        return np.asarray(self.members[members])

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that a file may hold."""
        return ("teachers", "weights", "signs", "of", "count", "seed")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Pool":
        """The pool of these settings: its numbers, or the recipe {of, count, seed} that draws them."""
        refuse_unknown(settings, allowed=cls.fields(), owner=cls.__name__)
        if "of" in settings:
            return cls._from_stored_recipe(settings)
        if "teachers" not in settings or {"count", "seed"} & set(settings):
            raise ValueError("Pool needs the field teachers, or of, count and seed")
        return cls(**settings)

    @classmethod
    def _from_stored_recipe(cls, settings: dict[str, Any]) -> "Pool":
        """The pool of settings {"of": {…}, "count": …, "seed": …}."""
        if set(settings) - {"of", "count", "seed", "signs"}:
            raise ValueError(
                "a Pool that is drawn has the fields of, count, seed and signs alone"
            )
        if "count" not in settings:
            raise ValueError("a Pool that is drawn needs the field count")
        law = law_from_dict(settings["of"])
        if not isinstance(law, LawWithPools):
            raise ValueError("a Pool is drawn of a law of this package")
        return law.pool(
            settings["count"], settings.get("seed", 0), settings.get("signs", False)
        )

    def to_dict(self) -> dict[str, Any]:
        """The recipe if it is drawn from a law of this package, else the numbers; and the name of the law."""
        if self.recipe is not None and isinstance(self.recipe.law, Law):
            recipe = {
                "law": "pool",
                "of": self.recipe.law.to_dict(),
                "count": self.recipe.count,
                "seed": self.recipe.seed,
            }
            return recipe | ({"signs": True} if self.signs else {})
        teachers = self.teachers if self.outputs > 1 else self.teachers[:, 0]
        settings: dict[str, Any] = {"law": "pool", "teachers": teachers.tolist()}
        if np.ptp(self.weights) > 0:
            settings["weights"] = self.weights.tolist()
        if self.signs:
            settings["signs"] = True
        return settings

    def __repr__(self) -> str:
        if self.recipe is None:
            return super().__repr__()
        signs = ", signs=True" if self.signs else ""
        return f"{self.recipe.law!r}.pool({self.recipe.count}, seed={self.recipe.seed}{signs})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.recipe is None:
            return super().__reduce__()
        recipe = self.recipe
        return type(self).from_recipe, (
            recipe.law,
            recipe.count,
            recipe.seed,
            self.signs,
        )


def _pool_teachers(teachers: ArrayLike) -> FloatArray:
    """The teachers of a pool (k, K, D) from (k, D) or (k, K, D)."""
    try:
        array = real_array(teachers, "teachers")
    except ValueError:
        raise ValueError(
            f"teachers of a pool must be numbers of one shape, (k, D) or (k, K, D), not {in_one_line(teachers)}"
        ) from None
    if array.ndim == 2:
        array = array[:, None, :]
    if array.ndim != 3 or array.size == 0:
        raise ValueError(
            f"teachers of a pool must have shape (k, D) or (k, K, D) of one teacher or more, not {np.shape(teachers)}"
        )
    check_finite(array, "teachers of a pool")
    return array + 0.0


def _pool_weights(weights: ArrayLike | None, count: int) -> FloatArray:
    """Weights (k,) that sum to 1."""
    if weights is None:
        return np.full(count, 1 / count)
    array = real_array(weights, "weights")
    if array.shape != (count,) or not np.all(np.isfinite(array)) or np.any(array < 0):
        raise ValueError(
            f"weights of a pool must be {count} numbers of zero or more, one a teacher, not {weights!r}"
        )
    with np.errstate(over="ignore"):  # refused below
        total = float(np.sum(array))
    if not 0 < total < np.inf:
        raise ValueError(
            "weights of a pool must not all be 0, and their sum must be finite"
        )
    return array / total
