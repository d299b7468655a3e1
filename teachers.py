"""Laws of teachers W (K, D): the labels of a prompt are y = W x + noise, K of them for every x."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .runtime.arrays import FloatArray, read_only
from .runtime.checks import (
    check_choice,
    check_finite,
    check_randomness,
    is_whole_number,
    real_array,
    true_or_false,
    whole_number,
)
from .runtime.covariances import covariance_root, smallest_eigenvalue
from .runtime.decimals import (
    Number,
    Numbers,
    Written,
    exact_fraction,
    exactly_symmetric,
    fractions_of,
    in_message,
    nested_lists,
    number,
    number_array,
    refuse_mask,
    symmetric,
)
from .runtime.machine import refuse_too_large
from .runtime.serialisation import Settings, refuse_unknown

# Arrays of the size of a covariance or of a pool that making it needs at once.
_COPIES = 5

POOL_STREAM = 4
"""The child of a seed by which `law.pool` draws: data and weights of the same seed have others."""

_FINGERPRINT = 16
"""Draws by which two laws of the user's own are told apart."""


@runtime_checkable
class TeacherLaw(Protocol):
    """What a law of teachers must offer; a user's own needs no base class.

    Besides what is here the theory asks a law of the user's own for `second` (K, D, K, D) = E W_ia W_jb, and for
    `fourth`, the fourth moments, where all features of attention are meant.
    """

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""

    @property
    def symmetric(self) -> bool:
        """Whether −W has the law of W, so that odd moments vanish."""

    def draw(self, generator: np.random.Generator, n: int) -> FloatArray:
        """n teachers, (n, K, D)."""


class _Law(Settings):
    """What the laws of this package share: they can be drawn from, stored and turned into a pool."""

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""
        raise NotImplementedError

    @property
    def symmetric(self) -> bool:
        """Whether −W has the law of W, so that odd moments vanish."""
        raise NotImplementedError

    def draw(self, generator: np.random.Generator, n: int) -> FloatArray:
        """n teachers, (n, K, D)."""
        raise NotImplementedError

    def pool(self, k: int, seed: int = 0) -> "Pool":
        """A `Pool` of k teachers that are drawn from this law by the seed; it is stored as this recipe.

        >>> Sphere(3).pool(5, seed=1).teachers.shape
        (5, 1, 3)
        """
        count = whole_number(k, "k")
        size = _COPIES * 8.0 * count * self.outputs * self.dimension
        refuse_too_large(f"a pool of {count} teachers", size, "draw fewer")
        return Pool.from_recipe(self, count, whole_number(seed, "seed", least=0))

    def arguments(self) -> dict[str, Any]:
        """The settings without the name of the law, which its class says."""
        settings = self.to_dict()
        del settings["law"]
        return settings

    def __reduce__(self) -> tuple[Any, ...]:
        return law_from_dict, (self.to_dict(),)


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Gaussian(_Law):
    """Normal teachers: W (K, D) with E W = mean and covariance (K, D, K, D), E (W − mean)_ia (W − mean)_jb.

    `covariance` may be (D,), the variances of one output's independent entries, (D, D) for one output, or
    (K, D, K, D); it may be singular. `mean` is (D,) or (K, D), 0 if left out. Numbers may be text such as "2/5".
    ValueError for a covariance that is not symmetric and positive semidefinite, or a mean of another shape.

    >>> Gaussian([1, 2]).second[0, :, 0, :]
    array([[1., 0.],
           [0., 2.]])
    """

    written: Written
    mean: FloatArray
    """E W (K, D)."""

    def __init__(self, covariance: Numbers, mean: Numbers | None = None) -> None:
        written = _written_covariance(covariance)
        K, D = _sizes(written.doubles)
        smallest_eigenvalue("covariance", written.doubles.reshape(K * D, K * D))
        centre = np.zeros((K, D))
        if mean is not None:
            centre = _mean(mean, K, D)
        if not np.any(written.doubles) and not np.any(centre):
            raise ValueError(
                "covariance and mean are both 0: there would be nothing to learn"
            )
        object.__setattr__(self, "written", written)
        object.__setattr__(self, "mean", read_only(centre))

    @classmethod
    def shared_basis(
        cls, variances: Numbers, basis: ArrayLike | None = None
    ) -> "Gaussian":
        """W = U diag(l) Uᵀ with independent l_d ~ N(0, variances_d): D outputs; U (D, D) is I if left out.

        ValueError unless the variances are D numbers of zero or more, and the basis is orthogonal.

        >>> Gaussian.shared_basis([1, 4]).second[1, 1, 1, 1]
        np.float64(4.0)
        """
        spread = number_array("variances", variances, (None,)).doubles
        D = len(spread)
        _refuse_large(D, D)
        U = np.eye(D) if basis is None else real_array(basis, "basis")
        if U.shape != (D, D) or not np.allclose(U.T @ U, np.eye(D), atol=1e-10):
            raise ValueError(
                f"basis must be orthogonal, {D} × {D}, its columns the vectors"
            )
        if np.any(spread < 0):
            raise ValueError(f"variances must be zero or more, not {spread.min():g}")
        return cls(np.einsum("d,id,ad,jd,bd->iajb", spread, U, U, U, U))

    @classmethod
    def kronecker(cls, outputs: Numbers, inputs: Numbers) -> "Gaussian":
        """E W_ia W_jb = Γ_ij Ω_ab with Γ (K, K) = `outputs` and Ω (D, D) = `inputs`.

        >>> Gaussian.kronecker([[1, 0], [0, 1]], [[2, 0], [0, 1]]).outputs
        2
        """
        Γ = symmetric("outputs", outputs, None).doubles
        Ω = symmetric("inputs", inputs, None).doubles
        smallest_eigenvalue("outputs", Γ)
        smallest_eigenvalue("inputs", Ω)
        _refuse_large(len(Γ), len(Ω))
        return cls(np.einsum("ij,ab->iajb", Γ, Ω))

    @classmethod
    def on_supports(
        cls,
        dimension: int,
        supports: Sequence[Sequence[int]],
        variance: Number | None = None,
    ) -> "Gaussian":
        """Output t of independent entries of this `variance` on the coordinates supports[t], counted from 0.

        The variance is 1/|support| if left out. ValueError for a coordinate that does not exist or is stated twice.

        >>> Gaussian.on_supports(4, [[0, 1], [2, 3]]).second[1, :, 1].diagonal()
        array([0. , 0. , 0.5, 0.5])
        """
        D = whole_number(dimension, "dimension")
        lists = _lists_of_coordinates(supports)
        K = len(lists)
        _refuse_large(K, D)
        covariance = np.zeros((K, D, K, D))
        for output, coordinates in enumerate(lists):
            whole = all(is_whole_number(entry, least=0) for entry in coordinates)
            if not coordinates or not whole or max(coordinates) >= D:
                raise ValueError(
                    f"supports[{output}] must hold coordinates from 0 to {D - 1}, not {coordinates!r}"
                )
            if len(set(coordinates)) < len(coordinates):
                raise ValueError(f"supports[{output}] states a coordinate twice")
            spread = 1 / len(coordinates)
            if variance is not None:
                spread = _positive("variance", variance)
            for entry in coordinates:
                covariance[output, entry, output, entry] = spread
        return cls(covariance)

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return int(self.mean.shape[1])

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""
        return int(self.mean.shape[0])

    @cached_property
    def covariance(self) -> FloatArray:
        """E (W − mean)_ia (W − mean)_jb, (K, D, K, D)."""
        K, D = self.mean.shape
        return read_only(self.written.doubles.reshape(K, D, K, D))

    @cached_property
    def second(self) -> FloatArray:
        """E W_ia W_jb, (K, D, K, D)."""
        return read_only(self.covariance + np.multiply.outer(self.mean, self.mean))

    @property
    def symmetric(self) -> bool:
        """Whether −W has the law of W: where the mean is 0."""
        return not np.any(self.mean)

    @property
    def exact_covariance(self) -> NDArray[Any]:
        """The covariance in fractions, as it was given: (D, D) for one output, else (K, D, K, D)."""
        return fractions_of(self.written)

    @cached_property
    def root(self) -> FloatArray:
        """R (KD, KD) with R Rᵀ the covariance: that of Cholesky, or the symmetric one where it is singular."""
        size = self.mean.size
        covariance = self.covariance.reshape(size, size)
        return read_only(covariance_root(covariance))

    def draw(self, generator: np.random.Generator, n: int) -> FloatArray:
        """n teachers, (n, K, D)."""
        z = generator.standard_normal((n, self.mean.size))
        W = (z @ self.root.T).reshape(n, *self.mean.shape)
        return W + self.mean if np.any(self.mean) else W

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that a file may hold."""
        return ("covariance", "mean")

    def to_dict(self) -> dict[str, Any]:
        """The arguments as plain numbers and lists, and the name of the law."""
        covariance = self.written.doubles
        exact = self.written.exact
        is_plain = covariance.ndim == 2 and exact is None
        if is_plain and np.array_equal(covariance, np.diag(np.diag(covariance))):
            covariance = np.diag(covariance)
        settings = {
            "law": "gaussian",
            "covariance": nested_lists(np.asarray(covariance), exact),
        }
        if np.any(self.mean):
            settings["mean"] = (
                self.mean if self.outputs > 1 else self.mean[0]
            ).tolist()
        return settings


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Sphere(_Law):
    """Teachers that are uniform on |w| = radius, √D if left out; one output. ValueError for other numbers.

    >>> np.linalg.norm(Sphere(4).draw(np.random.default_rng(0), 2), axis=-1)
    array([[2.],
           [2.]])
    """

    size: int
    """D, as it was given."""
    radius: float

    def __init__(self, dimension: int, radius: Number | None = None) -> None:
        D = whole_number(dimension, "dimension")
        length = np.sqrt(D) if radius is None else _positive("radius", radius)
        object.__setattr__(self, "size", D)
        object.__setattr__(self, "radius", float(length))

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return self.size

    @property
    def outputs(self) -> int:
        """K = 1."""
        return 1

    @property
    def symmetric(self) -> bool:
        """True: −w has the law of w."""
        return True

    def draw(self, generator: np.random.Generator, n: int) -> FloatArray:
        """n teachers, (n, 1, D)."""
        z = generator.standard_normal((n, self.dimension))
        length = np.linalg.norm(z, axis=1, keepdims=True)
        return np.asarray(self.radius * z / length)[:, None, :]

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that a file may hold."""
        return ("dimension", "radius")

    def to_dict(self) -> dict[str, Any]:
        """The arguments, and the name of the law."""
        settings: dict[str, Any] = {"law": "sphere", "dimension": self.dimension}
        if self.radius != np.sqrt(self.dimension):
            settings["radius"] = self.radius
        return settings


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Pool(_Law):
    """One of k fixed teachers, (k, D) or (k, K, D), each with its weight, equal if left out.

    With `signs` every teacher comes with its negative, half and half. Weights are zero or more and are normalised.
    ValueError for a pool of no teacher, of teachers of unequal shapes, and for weights that are negative or not k.

    >>> Pool([[1, -1], [1, 1]]).weights
    array([0.5, 0.5])
    """

    teachers: FloatArray
    """(k, K, D), without the negatives."""
    weights: FloatArray
    """(k,), summing to 1."""
    signs: bool
    recipe: "PoolRecipe | None"

    def __init__(
        self, teachers: ArrayLike, weights: ArrayLike | None = None, signs: bool = False
    ) -> None:
        array = _pool_teachers(teachers)
        self._set(array, _pool_weights(weights, len(array)), signs, None)

    @classmethod
    def from_recipe(cls, law: TeacherLaw, count: int, seed: int) -> "Pool":
        """The pool of `count` teachers that a seed draws from a law."""
        sequence = np.random.SeedSequence(seed, spawn_key=(POOL_STREAM,))
        drawn = law.draw(np.random.default_rng(sequence), count)
        pool = cls(drawn)
        pool._set(pool.teachers, pool.weights, False, PoolRecipe(law, count, seed))
        return pool

    def _set(
        self,
        teachers: FloatArray,
        weights: FloatArray,
        signs: bool,
        recipe: "PoolRecipe | None",
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
        if "of" not in settings:
            missing = "teachers" not in settings
            if missing or {"count", "seed"} & set(settings):
                raise ValueError("Pool needs the field teachers, or of, count and seed")
            return cls(**settings)
        if set(settings) - {"of", "count", "seed"}:
            raise ValueError(
                "a Pool that is drawn has the fields of, count and seed alone"
            )
        if "count" not in settings:
            raise ValueError("a Pool that is drawn needs the field count")
        law = law_from_dict(settings["of"])
        if not isinstance(law, _Law):
            raise ValueError("a Pool is drawn of a law of this package")
        return law.pool(settings["count"], settings.get("seed", 0))

    def to_dict(self) -> dict[str, Any]:
        """The recipe if it is drawn from a law of this package, else the numbers; and the name of the law."""
        if self.recipe is not None and isinstance(self.recipe.law, _Law):
            return {
                "law": "pool",
                "of": self.recipe.law.to_dict(),
                "count": self.recipe.count,
                "seed": self.recipe.seed,
            }
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
        return f"{self.recipe.law!r}.pool({self.recipe.count}, seed={self.recipe.seed})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.recipe is None:
            return super().__reduce__()
        recipe = self.recipe
        return type(self).from_recipe, (recipe.law, recipe.count, recipe.seed)


@dataclass(frozen=True)
class PoolRecipe:
    """How a pool was drawn: `count` teachers of a law by a seed."""

    law: TeacherLaw
    count: int
    seed: int


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Mixture(_Law):
    """Teachers of several laws: each part is (share, law), and a sample holds exactly its share of each, in order.

    A mixture among the parts is replaced by its own parts. ValueError for shares that are negative or do not add up
    to 1, and for laws of different dimensions or outputs.

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


LAWS: dict[str, Callable[[dict[str, Any]], TeacherLaw]] = {
    "gaussian": Gaussian.from_dict,
    "sphere": Sphere.from_dict,
    "pool": Pool.from_dict,
    "mixture": Mixture.from_dict,
}


def law_from_dict(settings: Mapping[str, Any]) -> TeacherLaw:
    """The law named by settings["law"], "gaussian", "sphere", "pool" or "mixture", with the other fields.

    >>> law_from_dict({"law": "sphere", "dimension": 3})
    Sphere(dimension=3)
    """
    if not isinstance(settings, Mapping):
        raise ValueError(
            f"teachers must be a law, or a table with the field law, not {settings!r}"
        )
    name = settings.get("law")
    check_choice(name, "law", LAWS)
    return LAWS[str(name)](
        {field: value for field, value in settings.items() if field != "law"}
    )


def law_settings(law: TeacherLaw) -> dict[str, Any]:
    """The law as `law_from_dict` reads it; ValueError for a law of the user's own, which no file can hold."""
    if isinstance(law, _Law):
        return law.to_dict()
    raise ValueError(
        f"{type(law).__name__} is a law of teachers of your own, which a file cannot hold: keep it in your script"
    )


def law_identity(law: TeacherLaw) -> dict[str, Any]:
    """What tells a law from another: its settings, or for one of the user's own a digest of some draws."""
    if isinstance(law, Mixture):
        parts = []
        for share, part in zip(law.exact_shares, law.laws, strict=True):
            parts.append({"share": str(share), "law": law_identity(part)})
        own = any(not isinstance(part, _Law) for part in law.laws)
        return {"law": "mixture", "parts": parts} if own else law.to_dict()
    if isinstance(law, _Law):
        return law.to_dict()
    digest = hashlib.sha256(_drawn(law, seed=0).tobytes()).hexdigest()
    return {"law": "own", "class": type(law).__qualname__, "draws": digest}


def checked_law(law: object) -> TeacherLaw:
    """A law of teachers; ValueError unless it offers what one must, its draws of the right shape and finite."""
    if isinstance(law, Mapping):
        return law_from_dict(law)
    if isinstance(law, _Law):
        return law
    if not isinstance(law, TeacherLaw) or isinstance(law, type):
        raise ValueError(
            "teachers must be Gaussian, Sphere, Pool, Mixture, or a law of your own with dimension, outputs, "
            f"symmetric and draw(generator, n), not {_in_one_line(law)}"
        )
    D = whole_number(law.dimension, "dimension of the law of teachers")
    K = whole_number(law.outputs, "outputs of the law of teachers")
    true_or_false(law.symmetric, "symmetric of the law of teachers")
    drawn = _drawn(law, seed=0)
    if drawn.shape != (_FINGERPRINT, K, D):
        raise ValueError(
            f"draw(generator, n) of the law of teachers must give (n, {K}, {D}), and {_FINGERPRINT} "
            f"draws have shape {drawn.shape}"
        )
    check_finite(drawn, "draws of the law of teachers")
    # A law may be of one teacher: then every generator gives the same.
    is_constant = np.all(drawn == drawn[0])
    other = None if is_constant else _drawn(law, seed=1)
    check_randomness("teachers", drawn, _drawn(law, seed=0), other)
    return law


def _drawn(law: TeacherLaw, seed: int) -> FloatArray:
    """Some draws of a law of the user's own."""
    draws = law.draw(np.random.default_rng(seed), _FINGERPRINT)
    return real_array(draws, "draws of the law of teachers")


def _written_covariance(covariance: Numbers) -> Written:
    """(D, D) for one output, else (K, D, K, D), symmetric under the exchange of the two pairs of indices."""
    refuse_mask("covariance", covariance)
    shape = np.shape(np.asarray(covariance, dtype=object))
    if len(shape) == 1:
        variances = number_array("covariance", covariance, (None,))
        _refuse_large(1, len(variances.doubles))
        return _diagonal(variances)
    if len(shape) == 2:
        return symmetric("covariance", covariance, None)
    if len(shape) != 4 or shape[:2] != shape[2:]:
        raise ValueError(
            f"covariance must have shape (D,), (D, D) or (K, D, K, D), not {shape}"
        )
    written = number_array("covariance", covariance, (None,) * 4)
    K, D = shape[:2]
    flat = symmetric("covariance", written.doubles.reshape(K * D, K * D), None).doubles
    if K == 1:
        return Written(flat, None)
    return Written(flat.reshape(K, D, K, D), None)


def _diagonal(variances: Written) -> Written:
    """The diagonal matrix of these variances (D,)."""
    if variances.exact is None:
        return Written(np.diag(variances.doubles), None)
    size = len(variances.exact)
    exact = np.full((size, size), Fraction(0), dtype=object)
    np.fill_diagonal(exact, variances.exact)
    return Written(np.diag(variances.doubles), exactly_symmetric(exact))


def _in_one_line(value: object) -> str:
    """How a message shows a value: arrays print in several lines."""
    return " ".join(in_message(value).split())[:80]


def _positive(name: str, value: Number) -> float:
    """A positive number, which may be text such as "1/2", as a double; ValueError for anything else."""
    as_double = number(value)
    if as_double is None or not float(as_double) > 0:
        raise ValueError(f"{name} must be positive and finite, not {in_message(value)}")
    return float(as_double)


def _lists_of_coordinates(supports: object) -> list[list[Any]]:
    """The coordinates of each output; ValueError unless there is one list an output."""
    try:
        lists = [list(support) for support in supports]  # type: ignore[attr-defined]
    except TypeError:
        lists = []
    if not lists:
        raise ValueError(
            "supports must hold one list of coordinates an output, such as [[0, 1], [2, 3]], "
            f"not {_in_one_line(supports)}"
        )
    return lists


def _refuse_large(K: int, D: int) -> None:
    """MemoryError if the covariance of W (K, D) does not fit beside its root and its eigenvalues."""
    size = _COPIES * 8.0 * (K * D) ** 2
    what = f"a covariance of {K} × {D} teachers"
    refuse_too_large(what, size, "choose fewer outputs or a smaller dimension")


def _sizes(covariance: FloatArray) -> tuple[int, int]:
    """K and D of a covariance (D, D) or (K, D, K, D)."""
    if covariance.ndim == 2:
        return 1, len(covariance)
    return covariance.shape[0], covariance.shape[1]


def _mean(mean: Numbers, K: int, D: int) -> FloatArray:
    """E W (K, D) from (K, D), or for one output from (D,)."""
    if K == 1 and np.ndim(np.asarray(mean, dtype=object)) == 1:
        return number_array("mean", mean, (D,)).doubles[None]
    return number_array("mean", mean, (K, D)).doubles


def _pool_teachers(teachers: ArrayLike) -> FloatArray:
    """The teachers of a pool (k, K, D) from (k, D) or (k, K, D)."""
    try:
        array = real_array(teachers, "teachers")
    except ValueError:
        raise ValueError(
            f"teachers of a pool must be numbers of one shape, (k, D) or (k, K, D), not {_in_one_line(teachers)}"
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
