"""A read-out of the context in the conventions of this package and in those of the paper."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array, nonnegative_number


class Readout(NamedTuple):
    """One read-out and its ridge in both conventions.

    Here ŷ = βᵀ M x_q + s m·x_q with β = Σ y x / N and s = Σ y² / N, fitted with the penalty
    `ridge` (‖M‖² + `label_weight` |m|²) beside the mean of squares. The paper has x ~ N(0, I/D), ŷ = x_qᵀ Γ h with
    h = (D β, s), and the penalty (`paper_ridge`/D) ‖Γ‖² beside the same mean.
    """

    map: FloatArray
    """M (D, D), or with the label row m below it (D+1, D)."""
    gamma: FloatArray
    """Γ (D, D+1), whose last column is m, 0 without the label row."""
    ridge: float
    paper_ridge: float

    @property
    def label_weight(self) -> float:
        """D², how heavy the paper's penalty weighs the label row."""
        return float(self.gamma.shape[0] ** 2)

    @property
    def fit_options(self) -> dict[str, Any]:
        """The options with which `ridge_fit`, `deterministic_equivalent` and `fit_errors` make this fit.

        >>> readout(gamma=[[1, 0, 0.5], [0, 1, 0]], ridge=8).fit_options
        {'ridge': 1.0, 'label_row': True, 'label_weight': 4.0}
        """
        if len(self.map) == len(self.gamma):
            return {"ridge": self.ridge}
        weight = self.label_weight
        return {"ridge": self.ridge, "label_row": True, "label_weight": weight}


def readout(
    *, map: ArrayLike | None = None, gamma: ArrayLike | None = None, ridge: float = 0.0
) -> Readout:
    """A read-out given by its `map` M, (D, D) or (D+1, D), or by the paper's `gamma` Γ (D, D+1), in both conventions.

    M is D·Γ[:, :D]ᵀ, its label row Γ[:, D], and the ridge on M is λ/D³. `ridge` is that of the convention in which the
    read-out is given. ValueError unless one of the two is given, for another shape and for a negative ridge.
    Source: Lu et al. 2025 (arXiv 2405.11751).

    >>> both = readout(gamma=[[1, 0, 0.5], [0, 1, 0]], ridge=8)
    >>> both.map
    array([[2. , 0. ],
           [0. , 2. ],
           [0.5, 0. ]])
    >>> both.ridge, both.label_weight
    (1.0, 4.0)
    """
    if (map is None) == (gamma is None):
        given = "neither" if map is None else "both"
        raise ValueError(f"pass map or gamma, one of the two: {given} given")
    λ = nonnegative_number(ridge, "ridge")
    if gamma is not None:
        Γ = finite_array(gamma, "gamma", "(D, D+1)")
        D = len(Γ)
        M = np.concatenate([D * Γ[:, :D].T, Γ[:, D:].T])
        return Readout(M, Γ, λ / D**3, λ)
    M = finite_array(map if map is not None else (), "map", "(D, D)", "(D+1, D)")
    D = M.shape[1]
    Γ = np.zeros((D, D + 1))
    Γ[:, :D] = M[:D].T / D
    # Empty without the label row.
    Γ[:, D : len(M)] = M[D:].T
    return Readout(M, Γ, λ, λ * D**3)
