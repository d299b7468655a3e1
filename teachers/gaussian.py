"""Normal teachers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..runtime.arrays import FloatArray, read_only
from ..runtime.checks import real_array, whole_number
from ..runtime.covariances import covariance_root, smallest_eigenvalue
from ..runtime.decimals import (
    Number,
    Numbers,
    Written,
    fractions_of,
    nested_lists,
    number_array,
    positive,
    symmetric,
)
from .gaussian_arguments import (
    coordinates_of_outputs,
    mean_of_outputs,
    refuse_coordinates,
    refuse_large,
    sizes,
    written_covariance,
)
from .pool import LawWithPools


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Gaussian(LawWithPools):
    """Normal teachers: W (K, D) with E W = mean and covariance (K, D, K, D), E (W − mean)_ia (W − mean)_jb.

    `covariance` has the shape (D,) (variances of independent entries) or (D, D) for one output, and (K, D, K, D) for
    any number; it may be singular. `mean` has the shape (D,) or (K, D) and is 0 by default. Numbers may be text such as
    "2/5".
    ValueError for a covariance that is not symmetric and positive semidefinite, or a mean of another shape.

    >>> Gaussian([1, 2]).second[0, :, 0, :]
    array([[1., 0.],
           [0., 2.]])
    """

    written: Written
    mean: FloatArray
    """E W (K, D)."""

    def __init__(self, covariance: Numbers, mean: Numbers | None = None) -> None:
        written = written_covariance(covariance)
        K, D = sizes(written.doubles)
        smallest_eigenvalue("covariance", written.doubles.reshape(K * D, K * D))
        centre = np.zeros((K, D))
        if mean is not None:
            centre = mean_of_outputs(mean, K, D)
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
        """W = U diag(l) Uᵀ with independent l_d ~ N(0, variances_d), which has D outputs; U (D, D) is I by default.

        ValueError unless the variances are D numbers of zero or more, and the basis is orthogonal.

        >>> Gaussian.shared_basis([1, 4]).second[1, 1, 1, 1]
        np.float64(4.0)
        """
        spread = number_array("variances", variances, (None,)).doubles
        D = len(spread)
        refuse_large(D, D)
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
        """The law with E W_ia W_jb = Γ_ij Ω_ab, where Γ (K, K) is `outputs` and Ω (D, D) is `inputs`.

        >>> Gaussian.kronecker([[1, 0], [0, 1]], [[2, 0], [0, 1]]).outputs
        2
        """
        Γ = symmetric("outputs", outputs, None).doubles
        Ω = symmetric("inputs", inputs, None).doubles
        smallest_eigenvalue("outputs", Γ)
        smallest_eigenvalue("inputs", Ω)
        refuse_large(len(Γ), len(Ω))
        return cls(np.einsum("ij,ab->iajb", Γ, Ω))

    @classmethod
    def on_supports(
        cls,
        dimension: int,
        supports: Sequence[Sequence[int]],
        variance: Number | None = None,
    ) -> "Gaussian":
        """Row t of W has independent entries of this `variance` at the coordinates supports[t], counted from 0, else 0.

        The default variance is 1/|support|. ValueError for a coordinate that does not exist or is stated twice.

        >>> Gaussian.on_supports(4, [[0, 1], [2, 3]]).second[1, :, 1].diagonal()
        array([0. , 0. , 0.5, 0.5])
        """
        D = whole_number(dimension, "dimension")
        lists = coordinates_of_outputs(supports)
        K = len(lists)
        refuse_large(K, D)
        covariance = np.zeros((K, D, K, D))
        for output, coordinates in enumerate(lists):
            refuse_coordinates(output, coordinates, D)
            spread = 1 / len(coordinates)
            if variance is not None:
                spread = positive("variance", variance)
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
