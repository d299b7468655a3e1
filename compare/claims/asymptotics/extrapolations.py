"""Errors of drawn data sets at growing D, extrapolated to D → ∞."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.asymptotics import errors
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Evidence, Judge
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


class Means(NamedTuple):
    """Means over samples at each D and their standard errors, (dimensions, n) each."""

    values: FloatArray
    errors: FloatArray

    @classmethod
    def of(cls, samples: Sequence[FloatArray]) -> Self:
        """Those of samples (sets, n) for each D."""
        return cls(
            np.array([sample.mean(axis=0) for sample in samples]),
            np.array(
                [
                    sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
                    for sample in samples
                ]
            ),
        )


def _measured(context: RunContext) -> Means:
    """Both errors, means over data sets."""
    found = []
    for dimension, count in SETS.items():
        setting = Setting.of_ratios(dimension, RATIOS)
        drawn = fitted_errors(setting, context.seeds(count))
        found.append(np.column_stack([drawn.icl, drawn.idg]))
    return Means.of(found)


def stated_limit(context: RunContext, control: str) -> Extrapolated:
    """The limit and a parabola, or a mistake."""
    ratios = RATIOS
    if control == EXCHANGED:
        ratios = RATIOS._replace(alpha=RATIOS.kappa, kappa=RATIOS.alpha)
    limit = errors(**ratios._asdict())
    degree = 1 if control == LINE else 2
    return Extrapolated(np.array([limit.icl, limit.idg]), degree)


def extrapolation_agrees(dimensions: Sequence[int]) -> Judge:
    """Means fitted by a polynomial in 1/D, weighted by their standard errors, have the limits as values at 0."""

    def judge(predicted: Extrapolated, observed: Means) -> Evidence:
        from scipy.special import ndtri

        # Both errors and both tails share the false alarms of one stochastic check.
        bound = float(-ndtri((1 - CONFIDENCE) / 4))
        powers = np.vander(1 / np.array(dimensions), predicted.degree + 1)
        ends = _values_at_zero(powers, observed)
        gaps = np.abs(ends.values - predicted.limit) / ends.errors
        numbers = [
            f"{end:.4f} ± {deviation:.4f}"
            for end, deviation in zip(ends.values, ends.errors, strict=True)
        ]
        limits = ", ".join(f"{value:.4f}" for value in predicted.limit)
        return Evidence(
            agrees=bool(np.max(gaps) <= bound),
            observed=f"{', '.join(numbers)}: {np.max(gaps):.1f} standard errors at most",
            expected=f"{limits}, within {bound:.1f} standard errors",
            residual=float(np.max(gaps)),
        )

    return judge


def _values_at_zero(powers: FloatArray, observed: Means) -> Means:
    """Polynomials through means at 1/D = 0, (n,), with their `powers` (D, degree + 1) of 1/D, the last of them 0."""
    ends, deviations = [], []
    for mean, error in zip(observed.values.T, observed.errors.T, strict=True):
        weighted = powers / error[:, None]
        covariance = np.linalg.inv(weighted.T @ weighted)
        ends.append((covariance @ weighted.T @ (mean / error))[-1])
        deviations.append(np.sqrt(covariance[-1, -1]))
    return Means(np.array(ends), np.array(deviations))


CLAIMS = (
    Claim(
        id="asymptotics.ridgeless_limit",
        title="Without a ridge errors of data sets tend to the closed form along a parabola in 1/D, not a line",
        paper="lu2025",
        statement=r"e(D) = e_\infty + \frac{c_1}{D} + \frac{c_2}{D^2} + \dots",
        observable="errors extrapolated from D = 12 … 44, τ = P/(D(D+1)) = 2, α = 2, κ = 1/2, ρ = 0.1",
        limit="D → ∞",
        measure=_measured,
        predict=stated_limit,
        judge=extrapolation_agrees(list(SETS)),
        controls=(LINE, EXCHANGED),
        hypotheses=HYPOTHESES,
        tier="long",
    ),
)
