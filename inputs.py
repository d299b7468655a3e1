"""Laws of the inputs x = mean + Λ^½ z: each is the law of z, which has mean 0 and covariance I."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .runtime.arrays import FloatArray
from .runtime.checks import (
    check_finite,
    check_randomness,
    real_array,
    true_or_false,
)
from .runtime.display import Displayed, Summary
from .runtime.sampled_moments import (
    along,
    directions,
    excess,
    excess_of_products,
    has_heavy_tails,
    is_symmetric,
)

INPUT_LAWS = ("gaussian", "uniform", "rademacher", "sphere")
"""Laws of z that have a name: normal, uniform on a cube, independent signs ±1, uniform on the sphere of radius √D."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], ArrayLike]
"""(generator, shape) → z of this shape, whose last axis holds the D entries of one z."""

_SAMPLES = 10_000
"""Pairs of z by which a law of the user's own is tried: a mean off by 0.05, or a variance by a tenth, is found."""

_FINGERPRINT = 16
"""Draws by which two laws of the user's own are told apart."""


class Inputs(Displayed):
    """The law of z in x = mean + Λ^½ z: a function that draws z, and the moments that the theory needs.

    `draw(generator, shape)` returns z of this shape, rows of D entries with mean 0 and covariance I. `moments` is
    {order: moment}. A moment is a number, E z_i^order, if the entries are independent (9/5 at order 4 for a cube); a
    number, E |z|^order, if the law is `elliptical`, that is rotation invariant; or a dense tensor (D,) * order. Most
    of the theory needs order 4, `feature_moments` needs order 6 as well, and odd orders are 0 by default. ValueError
    for orders below 3, which are fixed, and for moments that are not finite or contradict each other.

    >>> Inputs(lambda generator, shape: generator.choice([-1.0, 1.0], shape), moments={4: 1, 6: 1}).moments[4]
    array(1.)
    """

    def __init__(
        self,
        draw: Draw,
        moments: Mapping[int, ArrayLike] | None = None,
        elliptical: bool = False,
    ) -> None:
        if not callable(draw):
            raise ValueError(
                f"draw must be a function (generator, shape) → z, not {draw!r}; "
                f"the laws with a name are {', '.join(INPUT_LAWS)}"
            )
        self.name: str | None = None
        self.elliptical = true_or_false(elliptical, "elliptical")
        self.moments = _checked_moments({} if moments is None else moments)
        if self.elliptical:
            _refuse_odd_moments(self.moments)
        self._draw = draw

    @classmethod
    def named(cls, name: str) -> "Inputs":
        """The law with this name; its moments are known to the theory. ValueError for another name.

        >>> Inputs.named("sphere")
        Inputs('sphere')
        """
        if not isinstance(name, str) or name not in _DRAWS:
            raise ValueError(
                f"inputs must be one of {', '.join(INPUT_LAWS)}, or an Inputs, not {name!r}"
            )
        inputs = cls(_DRAWS[name], elliptical=name in ("gaussian", "sphere"))
        inputs.name = name
        return inputs

    @property
    def is_gaussian(self) -> bool:
        """Whether x is normal."""
        return self.name == "gaussian"

    def draw(
        self, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> FloatArray:
        """z of this shape; ValueError if a law of the user's own gives another shape, or what is not finite."""
        z = self._draw(generator, shape)
        if self.name is not None:
            return np.asarray(z)
        z = real_array(z, "z of the law of inputs")
        if z.shape != shape:
            raise ValueError(
                f"draw of the law of inputs must give shape {shape}, not {z.shape}"
            )
        check_finite(z, "z of the law of inputs")
        return z

    def identity(self, dimension: int) -> str:
        """The name, or for a law of the user's own a digest of some z (D,) and of the moments."""
        if self.name is not None:
            return self.name
        digest = hashlib.sha256(self._some_draws(dimension, seed=0).tobytes())
        for order in sorted(self.moments):
            digest.update(f"{order} {self.moments[order].tolist()}".encode())
        digest.update(str(self.elliptical).encode())
        return f"own {digest.hexdigest()[:16]}"

    def check(self, dimension: int) -> None:
        """ValueError unless z of a law of the user's own are what x = mean + Λ^½ z needs in this dimension.

        They come from the generator alone, and have mean 0, covariance I, none with another token's z, and the
        moments that are stated, where the tails let draws tell.
        """
        if self.name is not None:
            return
        self._refuse_other_dimension(dimension)
        drawn, again = (self._some_draws(dimension, seed=0) for _ in range(2))
        check_randomness("inputs", drawn, again, self._some_draws(dimension, seed=1))

        z = self.draw(np.random.default_rng(1), (_SAMPLES, 2, dimension))
        first, second = z[:, 0], z[:, 1]
        gap = max(
            excess_of_products(np.eye(dimension), first, first),
            excess_of_products(np.zeros((dimension, dimension)), first, second),
            excess(np.zeros(dimension), first),
        )
        if gap > 0:
            raise ValueError(
                "the law of inputs must have mean 0 and covariance I, since Λ scales it, and independent tokens: "
                f"{_SAMPLES} draws are off by {gap:.3g}"
            )
        if self.elliptical:
            _refuse_directions(first)
        for order, moment in self.moments.items():
            self._check_moment(order, moment, first)

    def _refuse_other_dimension(self, dimension: int) -> None:
        """ValueError if a dense moment is of z of another dimension."""
        for order, moment in self.moments.items():
            if moment.ndim and len(moment) != dimension:
                raise ValueError(
                    f"moments[{order}] of the law of inputs has shape {moment.shape}, "
                    f"and Λ is {dimension} × {dimension}"
                )

    def _check_moment(self, order: int, moment: FloatArray, z: FloatArray) -> None:
        """ValueError if z (P, D) contradict a moment that is stated."""
        D = z.shape[1]
        if moment.ndim:
            vectors = directions(D)
            wanted = along(moment, vectors)
            values = (z @ vectors.T) ** order
        elif self.elliptical:
            wanted = moment[None]
            values = np.linalg.norm(z, axis=1, keepdims=True) ** order
        else:
            wanted = np.full(D, moment)
            values = z**order
        if has_heavy_tails(np.abs(values)):
            return
        gap = excess(wanted, values)
        if gap > 0:
            stated = f"stated as {float(moment):g}" if not moment.ndim else "stated"
            raise ValueError(
                f"moments[{order}] of the law of inputs is {stated}, and {len(z)} draws are off by {gap:.3g}"
            )

    def _some_draws(self, dimension: int, seed: int) -> FloatArray:
        """A few z (…, D), by which laws are compared."""
        return self.draw(np.random.default_rng(seed), (_FINGERPRINT, dimension))

    def __repr__(self) -> str:
        if self.name is not None:
            return f"Inputs({self.name!r})"
        orders = ", ".join(map(str, sorted(self.moments))) or "none"
        return f"<Inputs of one's own, moments of order: {orders}>"

    def summary(self) -> Summary:
        """The name of the law, and which moments it states."""
        rows: dict[str, object] = {"law of z": self.name or "one's own"}
        if self.name is None:
            rows["moments of order"] = ", ".join(map(str, sorted(self.moments)))
            rows["elliptical"] = self.elliptical
        return Summary("Law of inputs", rows, {"x": r"x = \mu + \Lambda^{1/2} z"})

    def to_dict(self) -> dict[str, Any]:
        """The name, and the moments as lists."""
        moments = {order: value.tolist() for order, value in self.moments.items()}
        return {"name": self.name, "elliptical": self.elliptical, "moments": moments}


def _checked_moments(moments: Mapping[int, ArrayLike]) -> dict[int, FloatArray]:
    """Order → moment, a number () or a dense tensor (D,) * order; ValueError for anything else."""
    if not isinstance(moments, Mapping):
        raise ValueError(
            f"moments must be {{order: moment}}, such as {{4: 9/5}}, not {moments!r}"
        )
    checked = {}
    for order, value in moments.items():
        whole = isinstance(order, (int, np.integer)) and not isinstance(order, bool)
        if not whole or order < 3:
            raise ValueError(
                f"moments are of orders 3 and more, since mean and covariance are 0 and I, not of {order!r}"
            )
        moment = real_array(value, f"moments[{order}]")
        check_finite(moment, f"moments[{order}]")
        if moment.ndim not in (0, order) or len(set(moment.shape)) > 1:
            raise ValueError(
                f"moments[{order}] must be a number or have shape (D,) * {order}, not {moment.shape}"
            )
        if not is_symmetric(moment):
            raise ValueError(
                f"moments[{order}] must not change when two of its axes are exchanged: it is a mean of products of z"
            )
        checked[int(order)] = moment
    _refuse_contradiction(checked)
    return checked


def _refuse_directions(z: FloatArray) -> None:
    """ValueError if z (P, D) of a law that is stated as elliptical are not rotation invariant."""
    D = z.shape[1]
    of_entries = z**4
    if has_heavy_tails(of_entries):
        return
    # E z_i⁴ = 3 E|z|⁴ / D(D+2) of every rotation-invariant law.
    of_length = np.sum(z**2, axis=1, keepdims=True) ** 2
    if excess(np.zeros(D), of_entries - 3 * of_length / (D * (D + 2))) > 0:
        raise ValueError(
            "the law of inputs is stated as elliptical, and its draws are not rotation invariant"
        )


def _refuse_odd_moments(moments: dict[int, FloatArray]) -> None:
    """ValueError if a law that is elliptical states a dense moment of odd order that is not 0."""
    for order, moment in moments.items():
        if order % 2 and moment.ndim and np.any(moment):
            raise ValueError(
                f"moments[{order}] of a law that is elliptical must be 0, since −z has the law of z: leave it out"
            )


def _refuse_contradiction(moments: dict[int, FloatArray]) -> None:
    """ValueError where Jensen's inequality is violated: E z⁴ ≥ (E z²)² = 1, E z⁶ ≥ (E z⁴)^(3/2)."""
    fourth, sixth = moments.get(4), moments.get(6)
    if fourth is not None and fourth.ndim == 0 and fourth < 1 - 1e-12:
        raise ValueError(
            f"moments[4] must be 1 or more, since E z² is 1, not {float(fourth):g}"
        )
    if fourth is None or sixth is None or fourth.ndim or sixth.ndim:
        return
    if sixth < fourth**1.5 * (1 - 1e-12):
        raise ValueError(
            f"moments[6] must be at least moments[4]**1.5 = {float(fourth) ** 1.5:g}, not {float(sixth):g}"
        )


def _draw_gaussian(
    generator: np.random.Generator, shape: tuple[int, ...]
) -> FloatArray:
    return generator.standard_normal(shape)


def _draw_uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    # Of variance 1: (2√3)²/12.
    edge = np.sqrt(3.0)
    return np.asarray(generator.uniform(-edge, edge, shape))


def _draw_rademacher(
    generator: np.random.Generator, shape: tuple[int, ...]
) -> FloatArray:
    heads = generator.integers(0, 2, shape)  # of a coin
    return np.asarray(2.0 * heads - 1.0)


def _draw_sphere(generator: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    z = generator.standard_normal(shape)
    length = np.linalg.norm(z, axis=-1, keepdims=True)
    return np.asarray(np.sqrt(shape[-1]) * z / length)


_DRAWS: dict[str, Draw] = {
    "gaussian": _draw_gaussian,
    "uniform": _draw_uniform,
    "rademacher": _draw_rademacher,
    "sphere": _draw_sphere,
}
