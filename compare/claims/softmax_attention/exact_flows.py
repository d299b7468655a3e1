"""The late flow of softmax heads on the exact loss, where the tail of the approximate loss has an end."""

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.softmax_attention import (
    exact_optimum,
    leading_optimum,
    single_head_optimum,
    tail_law,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import equal_within
from .setting import EXACT_LOSSES, PUBLISHED, exact_flow

START = (np.array([0.1, -0.12]), np.array([0.1, -0.08]))
END = 1e8
"""Flow time: a hundred times that at which the tail ends."""

NO_END = "the tail of the approximate loss goes on"
LEADING = "the optimum to leading order in 1/N"
SINGLE = "|ω| of a single head"


def _late_scores(context: RunContext) -> list[FloatArray]:
    """ω (2,) of two heads late in the flow on the exact loss."""
    return [exact_flow(PUBLISHED, START, [END]).omega[0]]


def _predicted_scores(context: RunContext, control: str) -> list[FloatArray]:
    """±γ of the best pair, or what a wrong statement has."""
    if control == NO_END:
        γ = float(np.sqrt(tail_law(PUBLISHED, END) / PUBLISHED.dimension))
    elif control == LEADING:
        γ = float(leading_optimum(PUBLISHED).gamma)
    elif control == SINGLE:
        γ = abs(float(single_head_optimum(PUBLISHED).omega[0]))
    else:
        γ = abs(float(exact_optimum(PUBLISHED, 2).omega[0]))
    return [γ * np.sign(START[0])]


CLAIMS = (
    Claim(
        id="softmax.tail_end",
        title="On the exact loss the tail of two heads ends: they come to rest at the finite optimum ±γ",
        paper="he2025",
        beyond_paper=True,
        equation="training dynamics of two heads",
        origin="that the optimum is finite is found here: the approximate loss has none",
        statement=r"\omega_h(t) \to \pm\gamma_*,\quad t \gg 1/(4\kappa s_*^3),\ s_* = D\gamma_*^2",
        observable="ω of two heads at flow time 10⁸ on the exact loss, D = 5, N = 40",
        limit="t → ∞",
        hypotheses=("one head of either sign",),
        measure=_late_scores,
        predict=_predicted_scores,
        judge=equal_within(1e-5),
        controls=(NO_END, LEADING, SINGLE),
        assumes=EXACT_LOSSES,
        tier="standard",
    ),
)
