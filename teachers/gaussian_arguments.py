"""Arguments of normal teachers, as users write them."""

from fractions import Fraction
from typing import Any

import numpy as np

from ..runtime.arrays import FloatArray
from ..runtime.checks import is_whole_number
from ..runtime.decimals import (
    Numbers,
    Written,
    exactly_symmetric,
    in_one_line,
    number_array,
    refuse_mask,
    symmetric,
)
from ..runtime.machine import refuse_too_large

# Arrays of the size of a covariance that making it needs at once.
_COPIES = 5


def written_covariance(covariance: Numbers) -> Written:
    """(D, D) for one output, else (K, D, K, D), symmetric under the exchange of the two pairs of indices."""
    refuse_mask("covariance", covariance)
    shape = np.shape(np.asarray(covariance, dtype=object))
    if len(shape) == 1:
        variances = number_array("covariance", covariance, (None,))
        refuse_large(1, len(variances.doubles))
        return _diagonal(variances)
    if len(shape) == 2:
        return symmetric("covariance", covariance, None)
    if len(shape) != 4 or shape[:2] != shape[2:]:
        raise ValueError(
            f"covariance must have shape (D,), (D, D) or (K, D, K, D), not {shape}"
        )
    return _written_covariance_of_outputs(covariance)


def _written_covariance_of_outputs(covariance: Numbers) -> Written:
    """The same from (K, D, K, D): exact numbers are not kept."""
    written = number_array("covariance", covariance, (None,) * 4)
    K, D = written.doubles.shape[:2]
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


def sizes(covariance: FloatArray) -> tuple[int, int]:
    """K and D of a covariance (D, D) or (K, D, K, D)."""
    if covariance.ndim == 2:
        return 1, len(covariance)
    return covariance.shape[0], covariance.shape[1]


def mean_of_outputs(mean: Numbers, K: int, D: int) -> FloatArray:
    """E W (K, D) from (K, D), or for one output from (D,)."""
    if K == 1 and np.ndim(np.asarray(mean, dtype=object)) == 1:
        return number_array("mean", mean, (D,)).doubles[None]
    return number_array("mean", mean, (K, D)).doubles


def coordinates_of_outputs(supports: object) -> list[list[Any]]:
    """The coordinates of each output; ValueError unless there is one list an output."""
    try:
        lists = [list(support) for support in supports]  # type: ignore[attr-defined]
    except TypeError:
        lists = []
    if not lists:
        raise ValueError(
            "supports must hold one list of coordinates an output, such as [[0, 1], [2, 3]], "
            f"not {in_one_line(supports)}"
        )
    return lists


def refuse_coordinates(output: int, coordinates: list[Any], D: int) -> None:
    """ValueError unless the coordinates of an output are whole numbers from 0 to D − 1, each stated once."""
    whole = all(is_whole_number(entry, least=0) for entry in coordinates)
    if not coordinates or not whole or max(coordinates) >= D:
        raise ValueError(
            f"supports[{output}] must hold coordinates from 0 to {D - 1}, not {coordinates!r}"
        )
    if len(set(coordinates)) < len(coordinates):
        raise ValueError(f"supports[{output}] states a coordinate twice")


def refuse_large(K: int, D: int) -> None:
    """MemoryError if the covariance of W (K, D) does not fit beside its root and its eigenvalues."""
    size = _COPIES * 8.0 * (K * D) ** 2
    what = f"a covariance of {K} × {D} teachers"
    refuse_too_large(what, size, "choose fewer outputs or a smaller dimension")
