"""Learning curves where sequences or tasks are unlimited: one spectrum is left, and the flow is an integral over it."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.asymptotics import learning_curve
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import equal_within

BOUND = 1e-9
"""The quadrature of the curve states errors of 1e-10, that of the spectra 1e-12."""

TIMES = np.array([0.0, 0.1, 1.0, 10.0, 100.0, 1e4])
ANGLES = 400
"""Nodes in the angle: the integrand is smooth in it, and both edges of the spectrum are its ends."""

OTHER_RATIO = "κ + 0.01 for κ, or τ + 0.01 for τ"
DESCENT_OF_LOSS = "the flow of L in place of L/2"
NO_CONTEXT = "context length N + 1 for N at N = 4D, D = 25"


class _Point(NamedTuple):
    """α, the ratio κ or τ that is not unlimited, and ρ."""

    alpha: float
    ratio: float
    noise: float


POINTS = (_Point(4.0, 0.5, 0.05), _Point(10.0, 2.0, 0.5), _Point(0.5, 1.25, 0.0))


@cache
def _rule() -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of Gauss and Legendre."""
    return np.polynomial.legendre.leggauss(ANGLES)


def _mean_over_spectrum(
    function: Callable[[FloatArray], FloatArray], ratio: float
) -> FloatArray:
    """∫ function dμ (T,) for the Marchenko–Pastur law μ of (1/n) XXᵀ with d/n = `ratio`, its weight at 0 included.

    `function` takes the spectrum (nodes,) and gives (T, nodes).
    """
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    nodes, weights = _rule()
    angle = (nodes + 1) * np.pi / 4
    sin, cos = np.sin(angle), np.cos(angle)
    at = low + (high - low) * sin**2
    density = (high - low) ** 2 * (sin * cos) ** 2 / (np.pi * ratio * at)
    bulk = function(at) @ (density * weights) * np.pi / 4
    missing = max(1 - 1 / ratio, 0.0)
    return np.asarray(bulk + missing * function(np.zeros(1))[:, 0])


def _with_all_sequences(context: RunContext) -> list[FloatArray]:
    """Both errors of every point."""
    return errors_with_all_sequences()


@cache  # another claim reads the same integrals
def errors_with_all_sequences() -> list[FloatArray]:
    """Errors on new and on training tasks of Γ(r) = r (1 − e^{−θ(r + x)})/(r + x) over the spectrum of R, τ = ∞."""
    found = []
    for α, κ, ρ in POINTS:
        x = (1 + ρ) / α

        def Γ(r: FloatArray, x: float = x) -> FloatArray:
            return np.asarray(r * -np.expm1(-np.outer(TIMES, r + x)) / (r + x))

        def linear(r: FloatArray, Γ: Callable[..., FloatArray] = Γ) -> FloatArray:
            return Γ(r)

        def square(r: FloatArray, Γ: Callable[..., FloatArray] = Γ) -> FloatArray:
            return np.asarray(Γ(r) ** 2)

        def trained(
            r: FloatArray, Γ: Callable[..., FloatArray] = Γ, x: float = x
        ) -> FloatArray:
            return np.asarray(-2 * r * Γ(r) + (r + x) * Γ(r) ** 2)

        one_over_κ = 1 / κ
        icl = (
            1
            + ρ
            - 2 * _mean_over_spectrum(linear, one_over_κ)
            + (1 + x) * _mean_over_spectrum(square, one_over_κ)
        )
        found += [icl, 1 + ρ + _mean_over_spectrum(trained, one_over_κ)]
    return found


def _with_all_tasks(context: RunContext) -> list[FloatArray]:
    """The error of isotropic regression on P sequences, κ = ∞: noise that is fitted, and signal that is missing."""
    found = []
    for α, τ, ρ in POINTS:
        x = (1 + ρ) / α
        residual = 1 + ρ - 1 / (1 + x)

        def missing(g: FloatArray, x: float = x) -> FloatArray:
            return np.asarray(np.exp(-2 * np.outer(TIMES, (1 + x) * g)))

        def fitted(g: FloatArray, x: float = x) -> FloatArray:
            safe = np.where(g > 0, g, 1.0)
            return np.asarray(np.expm1(-np.outer(TIMES, (1 + x) * g)) ** 2 / safe)

        signal = _mean_over_spectrum(missing, 1 / τ) / (1 + x)
        error = residual + signal + residual / τ * _mean_over_spectrum(fitted, 1 / τ)
        found += [error, error]
    return found


def _curves(unlimited: str) -> Callable[[RunContext, str], list[FloatArray]]:
    """Both errors by the theory with "tau" or "kappa" unlimited, or with a mistake."""

    def predict(context: RunContext, control: str) -> list[FloatArray]:
        times = TIMES * (2 if control == DESCENT_OF_LOSS else 1)
        shift = 0.01 if control == OTHER_RATIO else 0.0
        longer = 1 / 25 if control == NO_CONTEXT else 0.0
        found = []
        for α, ratio, ρ in POINTS:
            other = ratio + shift
            τ, κ = (np.inf, other) if unlimited == "tau" else (other, np.inf)
            curve = learning_curve(times, tau=τ, alpha=α + longer, kappa=κ, noise=ρ)
            found += [curve.icl, curve.idg]
        return found

    return predict


def _claim(
    name: str,
    title: str,
    measure: Callable[[RunContext], list[FloatArray]],
    unlimited: str,
    observable: str,
) -> Claim:
    """One of the two claims."""
    return Claim(
        id=name,
        title=title,
        paper="lu2025",
        beyond_paper=True,
        equation="ridge errors, continued to gradient flow",
        origin="derived here",
        statement=r"\Gamma(\theta) = \int \frac{d\lambda}{2\pi i}\,\frac{e^{\lambda\theta}}{\lambda}\,\Gamma_\lambda",
        observable=observable,
        limit="D → ∞; none besides: equal to the quadrature",
        hypotheses=("x and tasks white",),
        measure=measure,
        predict=_curves(unlimited),
        judge=equal_within(BOUND),
        controls=(OTHER_RATIO, DESCENT_OF_LOSS, NO_CONTEXT),
        tier="fast",
    )


CLAIMS = (
    _claim(
        "asymptotics.curve_of_all_sequences",
        "With unlimited sequences the errors along gradient flow are integrals over the spectrum of the tasks",
        _with_all_sequences,
        "tau",
        "integrals over the Marchenko–Pastur law of R at six times and three settings",
    ),
    _claim(
        "asymptotics.curve_of_all_tasks",
        "With unlimited tasks the errors along gradient flow are those of isotropic regression",
        _with_all_tasks,
        "kappa",
        "integrals over the Marchenko–Pastur law of the data at six times and three settings",
    ),
)
