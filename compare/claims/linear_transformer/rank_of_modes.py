"""The effective rank of what one layer has learned, mode by mode, along gradient flow."""

from functools import cache

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import flow
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import converges_at_order
from ...exact_statistics import population_statistics
from ...metrics.spectra import effective_rank, spectrum
from .setting import LOSS, head_weights, mode_task, one_head

INPUTS = np.array([1.0, 0.5, 0.25])
"""Variances of x, halved from mode to mode: their modes are learned at times that are four times as long each."""

START = 1e-3
"""a = p q of every mode at the start."""

TIMES = np.concatenate([np.linspace(0.0, 12.0, 61), np.linspace(13.0, 120.0, 108)])
"""Flow times: modes are half learned at 3.5, 15 and 66."""

LENGTHS = (1_000, 10_000, 100_000)
INVERSE = tuple(1 / N for N in LENGTHS)

BY_INPUT = "rates s for s²"
SQUARES = "shares of σ² for those of σ"
AT_ONCE = "all modes at the rate of the first"


@cache
def _rank_along_flow(context_length: int) -> FloatArray:
    """The effective rank (T,) of p q along gradient flow of all weights, on unlimited prompts."""
    task = mode_task(INPUTS, context_length)
    model = one_head(task)
    root = np.full(len(INPUTS), np.sqrt(START))
    run = flow(
        model,
        population_statistics(task, model),
        head_weights(task, root, root),
        TIMES,
    )
    D = task.dimension
    p = run.weights["value"][:, 0, :, D:]  # (T, D, D)
    q = run.weights["key_query"][:, 0, :D, :D]
    return np.asarray(effective_rank(spectrum(p @ q).values))


def rank_in_the_limit(
    inputs: FloatArray, start: float, times: FloatArray, control: str = UNMODIFIED
) -> FloatArray:
    """The effective rank (T,) of the logistic coefficients of N → ∞, from one start a of all modes.

    a(t) = a∞ a₀ / (a₀ + (a∞ − a₀) e^(−2s²t)) with a∞ = 1/s.
    """
    final = 1 / inputs
    rates = 2 * (inputs if control == BY_INPUT else inputs**2)
    if control == AT_ONCE:
        rates = np.full(len(inputs), rates[0])
    decay = np.exp(-rates * times[:, None])  # (T, D)
    coefficients = final * start / (start + (final - start) * decay)
    if control == SQUARES:
        coefficients = coefficients**2
    return np.asarray(effective_rank(coefficients))


def _measured(context: RunContext) -> list[FloatArray]:
    """Effective ranks (T,) along the flow, at each context length."""
    return [_rank_along_flow(N) for N in LENGTHS]


def _predicted(context: RunContext, control: str) -> list[FloatArray]:
    """Those of the limit, the same at each context length."""
    return [rank_in_the_limit(INPUTS, START, TIMES, control) for _ in LENGTHS]


CLAIMS = (
    Claim(
        id="measures.theory_dip",
        title="The effective rank of a layer dips to 1 as its first mode is learned, and rises with every further one",
        paper="mainali2025",
        equation="spectral measures of the theory",
        beyond_paper=True,
        statement=r"r_{\mathrm{eff}}(\mathrm{diag}\,a(t)), \quad a_\alpha(t) = "
        r"\frac{a_0/s_\alpha}{a_0 + (1/s_\alpha - a_0) e^{-2 s_\alpha^2 t}}",
        observable="effective rank of p q along gradient flow of all weights at 169 flow times",
        limit="N → ∞",
        order=1.0,
        hypotheses=("tasks that share the eigenbasis of x", "balanced small start"),
        measure=_measured,
        predict=_predicted,
        judge=converges_at_order(INVERSE, 1.0, name="1/N"),
        controls=(BY_INPUT, SQUARES, AT_ONCE),
        assumes=LOSS,
        tier="fast",
        figure="spectral_measures",
    ),
)
