"""A law of teachers that a user hands over: it must draw what it says."""

from collections.abc import Mapping

import numpy as np

from ..runtime.arrays import FloatArray
from ..runtime.checks import (
    check_finite,
    check_randomness,
    real_array,
    true_or_false,
    whole_number,
)
from ..runtime.decimals import in_one_line
from ..runtime.sampled_moments import (
    along,
    directions,
    excess,
    excess_of_products,
    has_heavy_tails,
    is_symmetric,
)
from .law import Law, law_from_dict
from .protocol import TeacherLaw

FINGERPRINT_DRAWS = 16
"""Draws by which a law of the user's own is told from another."""

_MOST_DRAWS = 10_000
_FEWEST_DRAWS = 100
_MOST_NUMBERS = 10**6
"""Of the draws by which what a law states of itself is tried: a second moment off by a tenth is found."""


def checked_law(law: object) -> TeacherLaw:
    """A law of teachers; ValueError unless it offers what one must, and draws of its own agree with what it states.

    They must have the right shape, be finite, and have the symmetry, `second` and `fourth` that the law states.
    """
    if isinstance(law, Mapping):
        return law_from_dict(law)
    if isinstance(law, Law):
        return law
    if not isinstance(law, TeacherLaw) or isinstance(law, type):
        raise ValueError(
            "teachers must be Gaussian, Sphere, Pool, Mixture, or a law of your own with dimension, outputs, "
            f"symmetric and draw(generator, n), not {in_one_line(law)}"
        )
    D = whole_number(law.dimension, "dimension of the law of teachers")
    K = whole_number(law.outputs, "outputs of the law of teachers")
    true_or_false(law.symmetric, "symmetric of the law of teachers")
    drawn = some_draws(law, seed=0)
    _refuse_other_shape(drawn, (FINGERPRINT_DRAWS, K, D))
    check_finite(drawn, "draws of the law of teachers")
    # A law may be of one teacher: then every generator gives the same.
    is_constant = np.all(drawn == drawn[0])
    other = None if is_constant else some_draws(law, seed=1)
    check_randomness("teachers", drawn, some_draws(law, seed=0), other)
    _check_stated(law, K, D)
    return law


def stated_moment(law: TeacherLaw, name: str) -> FloatArray | None:
    """`second` (K, D, K, D) or `fourth` (K, D) * 4 that a law of the user's own states, or None.

    The entries of W may stand in one row, (KD, KD) or (KD,) * 4. ValueError for another shape, what is not finite and
    what changes with the order of the entries.
    """
    moment = getattr(law, name, None)
    if moment is None:
        return None
    what = f"{name} of {type(law).__name__}"
    array = real_array(moment, what)
    K, D = law.outputs, law.dimension
    factors = {"second": 2, "fourth": 4}[name]
    shape = (K, D) * factors
    in_one_row = (K * D,) * factors
    if array.shape not in (shape, in_one_row):
        raise ValueError(
            f"{what} must have shape {shape} or {in_one_row}, not {array.shape}"
        )
    check_finite(array, what)
    flat = array.reshape(in_one_row)
    if not is_symmetric(flat):
        raise ValueError(
            f"{what} must not change when two of its factors W are exchanged: it is a mean of their products"
        )
    return array.reshape(shape)


def _check_stated(law: TeacherLaw, K: int, D: int) -> None:
    """ValueError if draws of a law contradict the symmetry or a moment that it states."""
    count = min(max(_MOST_NUMBERS // (K * D), _FEWEST_DRAWS), _MOST_DRAWS)
    draws = some_draws(law, seed=2, count=count)
    _refuse_other_shape(draws, (count, K, D))
    check_finite(draws, "draws of the law of teachers")
    W, size = _in_own_units(draws.reshape(count, K * D))
    name = type(law).__name__

    if law.symmetric and _is_lopsided(W):
        raise ValueError(
            f"{name} states symmetric = True, and {count} draws W have another law than −W: state False"
        )
    second = stated_moment(law, "second")
    if second is not None and not has_heavy_tails(np.sum(W**2, axis=1, keepdims=True)):
        wanted = second.reshape(K * D, K * D) / size / size
        _refuse_gap(excess_of_products(wanted, W, W), name, "second", count)
    fourth = stated_moment(law, "fourth")
    if fourth is not None:
        vectors = directions(K * D)
        values = (W @ vectors.T) ** 4
        if not has_heavy_tails(values):
            scaled = fourth.reshape((K * D,) * 4) / size / size / size / size
            _refuse_gap(excess(along(scaled, vectors), values), name, "fourth", count)


def _in_own_units(W: FloatArray) -> tuple[FloatArray, float]:
    """Draws (n, KD) with entries of mean square 1, and what they were divided by: a law may be of any size."""
    largest = float(np.max(np.abs(W))) or 1.0
    W = W / largest
    size = float(np.sqrt(np.mean(W**2))) or 1.0
    return W / size, largest * size


def _refuse_gap(gap: float, name: str, moment: str, count: int) -> None:
    """ValueError if sampled moments are off by more than chance."""
    if gap > 0:
        raise ValueError(
            f"{name} states `{moment}` otherwise than it draws: {count} draws are off by {gap:.3g}, in units of a "
            "mean square of 1"
        )


def _is_lopsided(W: FloatArray) -> bool:
    """Whether the law of draws W (n, KD) differs from that of −W on its entries, or along some directions."""
    u = np.concatenate([W, W @ directions(W.shape[1]).T], axis=1)
    zero = np.zeros(u.shape[1])
    # Bounded odd functions, whose means draws tell however heavy the tails are.
    of_all = np.tanh(u)
    of_large = of_all * u**2 / (1 + u**2)
    return bool(max(excess(zero, of_all), excess(zero, of_large)) > 0)


def some_draws(
    law: TeacherLaw, seed: int, count: int = FINGERPRINT_DRAWS
) -> FloatArray:
    """Some draws of a law of the user's own, (count, K, D)."""
    draws = law.draw(np.random.default_rng(seed), count)
    return real_array(draws, "draws of the law of teachers")


def _refuse_other_shape(drawn: FloatArray, shape: tuple[int, int, int]) -> None:
    """ValueError unless draws have this shape."""
    if drawn.shape != shape:
        n, K, D = shape
        raise ValueError(
            f"draw(generator, n) of the law of teachers must give (n, {K}, {D}), and {n} draws have shape "
            f"{drawn.shape}"
        )
