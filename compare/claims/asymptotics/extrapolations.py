"""Errors of drawn data sets at growing D, extrapolated to D → ∞."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.asymptotics import errors
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import CONFIDENCE
from .drawn_data import HYPOTHESES
from .readout_runs import Ratios, Setting, fitted_errors

RATIOS = Ratios(tau=2.0, alpha=2.0, kappa=0.5, noise=0.1)
SETS = {12: 1000, 16: 800, 24: 400, 32: 160, 44: 48}
"""D → data sets. All D are even, so that κD is whole and the ratios are exact. Seeds of one base are up to 1000."""

LINE = "a straight line in 1/D"
EXCHANGED = "κ and α exchanged"


class Extrapolated(NamedTuple):
    """What is said of D → ∞: e_ICL and e_IDG (2,), and the degree in 1/D of the way there."""

    limit: FloatArray
    degree: int


def _measured(context: RunContext) -> list[FloatArray]:
    """Both errors of every data set, (sets, 2) for each D."""
    found = []
    for dimension, count in SETS.items():
        setting = Setting.of_ratios(dimension, RATIOS)
        drawn = fitted_errors(setting, context.seeds(count))
        found.append(np.column_stack([drawn.icl, drawn.idg]))
    return found


def _stated(context: RunContext, control: str) -> Extrapolated:
    """The limit and a parabola, or a mistake."""
    ratios = RATIOS
    if control == EXCHANGED:
        ratios = RATIOS._replace(alpha=RATIOS.kappa, kappa=RATIOS.alpha)
    limit = errors(**ratios._asdict())
    degree = 1 if control == LINE else 2
    return Extrapolated(np.array([limit.icl, limit.idg]), degree)


def _extrapolation_agrees(
    predicted: Extrapolated, observed: Sequence[FloatArray]
) -> Evidence:
    """Means fitted by a polynomial in 1/D, weighted by their standard errors, have the limits as values at 0."""
    from scipy.special import ndtri

    # Both errors and both tails share the false alarms of one stochastic check.
    bound = float(-ndtri((1 - CONFIDENCE) / 4))
    means = np.array([errors_of_D.mean(axis=0) for errors_of_D in observed])
    scatter = [errors_of_D.std(axis=0, ddof=1) for errors_of_D in observed]
    counts = np.array([len(errors_of_D) for errors_of_D in observed])
    standard_errors = np.array(scatter) / np.sqrt(counts)[:, None]
    powers = np.vander(1 / np.array(list(SETS)), predicted.degree + 1)
    ends, deviations = [], []
    for mean, error in zip(means.T, standard_errors.T, strict=True):
        weighted = powers / error[:, None]
        covariance = np.linalg.inv(weighted.T @ weighted)
        ends.append((covariance @ weighted.T @ (mean / error))[-1])
        deviations.append(np.sqrt(covariance[-1, -1]))
    gaps = np.abs(np.array(ends) - predicted.limit) / deviations
    numbers = [
        f"{end:.4f} ± {deviation:.4f}"
        for end, deviation in zip(ends, deviations, strict=True)
    ]
    return Evidence(
        agrees=bool(np.max(gaps) <= bound),
        observed=f"{', '.join(numbers)}: {np.max(gaps):.1f} standard errors at most",
        expected=f"{', '.join(f'{value:.4f}' for value in predicted.limit)}, within {bound:.1f} standard errors",
        residual=float(np.max(gaps)),
    )


CLAIMS = (
    Claim(
        id="asymptotics.ridgeless_limit",
        title="Without a ridge errors of data sets tend to the closed form along a parabola in 1/D, not a line",
        paper="lu2025",
        statement=r"e(D) = e_\infty + \frac{c_1}{D} + \frac{c_2}{D^2} + \dots",
        observable="errors extrapolated from D = 12 … 44, τ = P/(D(D+1)) = 2, α = 2, κ = 1/2, ρ = 0.1",
        limit="D → ∞",
        measure=_measured,
        predict=_stated,
        judge=_extrapolation_agrees,
        controls=(LINE, EXCHANGED),
        hypotheses=HYPOTHESES,
        tier="long",
    ),
)
