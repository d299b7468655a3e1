"""The paper's closed form as it stands there, in any number of digits, and mistakes in it; and its published values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EXCHANGED = "κ and α exchanged"
SMALLEST_ROOT = "the smallest root ξ"
SQUARED_TAU = "1/τ² for 1/τ in γ"
NO_DENOMINATOR = "e_IDG without 1 − γ"
MISTAKES = (EXCHANGED, SMALLEST_ROOT, SQUARED_TAU, NO_DENOMINATOR)


def published_values() -> NDArray[Any]:
    """Rows of τ, α, κ, noise variance, ridge, e_ICL and e_IDG that the authors' own formulas give at random parameters.

    Of the repository Pehlevan-Group/incontext-asymptotics-experiments (commit 9f9b562), MIT licence. With a ridge they
    have six digits, and no e_IDG.
    """
    path = Path(__file__).with_name("published_values.csv")
    return np.asarray(np.genfromtxt(path, delimiter=",", names=True))


class TextbookErrors(NamedTuple):
    """e_ICL and e_IDG, as numbers of mpmath."""

    icl: Any
    idg: Any


def textbook_errors(point: Sequence[float], mistake: str = "") -> TextbookErrors:
    """The errors at (τ, α, κ, ρ, λ) as the paper writes them, or what a mistake makes of them, in mpmath's digits.

    A sixth number is the α of the prompts with new tasks.
    """
    import mpmath

    τ, α, κ, ρ, λ = (mpmath.mpf(float(value)) for value in point[:5])
    if mistake == EXCHANGED:
        α, κ = κ, α
    x = (1 + ρ) / α
    ξ = λ if mistake == SMALLEST_ROOT else _largest_root(τ, κ, λ, x)
    ν = x + ξ
    M, slope = _resolvent(ν, κ)
    T2 = 1 - 2 * ν * M - ν**2 * slope
    γ = (1 - 2 * ξ * M - ξ**2 * slope) / τ
    if mistake == SQUARED_TAU:
        γ = γ / τ
    idg = ρ + ν - ν**2 * M - ξ * T2
    if mistake != NO_DENOMINATOR:
        idg = idg / (1 - γ)
    # T1 = 1 − νM and V = M + ξM′.
    variance = idg * (M + ξ * slope) / τ
    return TextbookErrors(
        icl=1 + ρ - 2 * (1 - ν * M) + (1 + _test_x(point, x, ρ)) * (T2 + variance),
        idg=idg,
    )


def textbook_ridge(point: Sequence[float]) -> Any:
    """The effective ridge ξ at (τ, α, κ, ρ, λ) as the paper writes its equation, in mpmath's digits."""
    import mpmath

    τ, α, κ, ρ, λ = (mpmath.mpf(float(value)) for value in point)
    return _largest_root(τ, κ, λ, (1 + ρ) / α)


def _test_x(point: Sequence[float], x: Any, ρ: Any) -> Any:
    """(1 + ρ)/α of the prompts with new tasks: x without a sixth number."""
    import mpmath

    return x if len(point) == 5 else (1 + ρ) / mpmath.mpf(float(point[5]))


def _resolvent(z: Any, κ: Any) -> tuple[Any, Any]:
    """M(z), the positive root of (z/κ) M² + (z + 1 − 1/κ) M − 1, and M′(z)."""
    import mpmath

    c = z + 1 - 1 / κ
    root = mpmath.sqrt(c**2 + 4 * z / κ)
    # The rationalised form, which has no division by z/κ = 0 for unlimited tasks.
    M = 2 / (root + c)
    return M, -(M**2 / κ + M) / root


def _largest_root(τ: Any, κ: Any, λ: Any, x: Any) -> Any:
    """ξ of ξ = λ + (ξ/τ)(1 − ξM(x + ξ)); with a ridge by bisection in log ξ."""
    import mpmath

    if λ == 0:
        return mpmath.mpf(0) if τ > 1 else (1 - τ) / (τ * _resolvent(x, κ / τ)[0])
    if τ == mpmath.inf:
        return λ
    low, high = mpmath.log(λ) - 1, mpmath.log(λ + (1 + x) / τ) + 1
    # Each step halves the bracket: four a digit are more than enough.
    for _ in range(4 * mpmath.mp.dps):
        middle = (low + high) / 2
        ξ = mpmath.exp(middle)
        if λ / ξ > 1 - (1 - ξ * _resolvent(x + ξ, κ)[0]) / τ:
            low = middle
        else:
            high = middle
    return mpmath.exp(low)
