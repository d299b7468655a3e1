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
from .law import Law, law_from_dict
from .protocol import TeacherLaw

FINGERPRINT_DRAWS = 16
"""Draws by which a law of the user's own is checked, and told from another."""


def checked_law(law: object) -> TeacherLaw:
    """A law of teachers; ValueError unless it offers what one must, its draws of the right shape and finite."""
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
    if drawn.shape != (FINGERPRINT_DRAWS, K, D):
        raise ValueError(
            f"draw(generator, n) of the law of teachers must give (n, {K}, {D}), and {FINGERPRINT_DRAWS} "
            f"draws have shape {drawn.shape}"
        )
    check_finite(drawn, "draws of the law of teachers")
    # A law may be of one teacher: then every generator gives the same.
    is_constant = np.all(drawn == drawn[0])
    other = None if is_constant else some_draws(law, seed=1)
    check_randomness("teachers", drawn, some_draws(law, seed=0), other)
    return law


def some_draws(law: TeacherLaw, seed: int) -> FloatArray:
    """Some draws of a law of the user's own, (16, K, D)."""
    draws = law.draw(np.random.default_rng(seed), FINGERPRINT_DRAWS)
    return real_array(draws, "draws of the law of teachers")
