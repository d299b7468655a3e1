"""The error that a learning curve states: how far the rule with eight nodes fewer is from the exact curve."""

from functools import cache

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.asymptotics import (
    LearningCurve,
    TaskLearningCurve,
    learning_curve,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import equal_within
from .equivalents_in_matrices import (
    FLOWS,
    TIMES,
    curve_of_case,
    flow_on_ellipse,
)
from .spectra_of_flows import POINTS, errors_with_all_sequences
from .spectra_of_flows import TIMES as SPECTRAL_TIMES

NODES, FEWER, MORE = 24, 16, 32
"""Few enough that errors of both rules, 1e-7 and 1e-11, are far above rounding."""

CASES = FLOWS[-1:]
"""A mean over pools of tasks."""

SHARE = 1e-3
"""Eight nodes more reduce the error to 2.85⁻⁸ = 2e-4 of it; the rules themselves are compared to that."""

HUNDREDTH = "a hundredth of the stated error"
OF_MORE_NODES = "the error that eight nodes more state"


def _curves_of_limit(nodes: int) -> list[LearningCurve]:
    """Curves with unlimited sequences at each point; at time 0 no rule errs."""
    return [
        learning_curve(
            SPECTRAL_TIMES[1:],
            tau=np.inf,
            alpha=point.alpha,
            kappa=point.ratio,
            noise=point.noise,
            nodes=nodes,
        )
        for point in POINTS
    ]


def _curves_of_tasks(nodes: int) -> list[TaskLearningCurve]:
    """Curves with the tasks at hand."""
    return [curve_of_case(case, np.array(TIMES), nodes=nodes) for case in CASES]


def _distances(nodes: int) -> list[FloatArray]:
    """How far both errors of every curve are from the exact ones, the larger of the two, (T,) each."""
    exact = errors_with_all_sequences()
    of_limit = zip(_curves_of_limit(nodes), exact[::2], exact[1::2], strict=True)
    distances = [
        np.maximum(np.abs(curve.icl - icl[1:]), np.abs(curve.idg - idg[1:]))
        for curve, icl, idg in of_limit
    ]
    for curve, case in zip(_curves_of_tasks(nodes), CASES, strict=True):
        train, test = flow_on_ellipse(case).mean
        distances.append(
            np.maximum(np.abs(curve.train_loss - train), np.abs(curve.test_loss - test))
        )
    return distances


@cache  # controls read the same errors
def _stated_by(nodes: int) -> list[FloatArray]:
    """The errors that the curves state, (T,) each."""
    of_limit = [curve.error for curve in _curves_of_limit(nodes)]
    return of_limit + [curve.error for curve in _curves_of_tasks(nodes)]


def _true_errors(context: RunContext) -> list[FloatArray]:
    """True errors of eight nodes fewer, and one plus those of the curves themselves in parts of what they state."""
    own = zip(_distances(NODES), _stated_by(NODES), strict=True)
    return _distances(FEWER) + [1 + true / stated for true, stated in own]


def _stated(context: RunContext, control: str) -> list[FloatArray]:
    """The stated errors, or wrong ones, and that the curves' own are no part of them."""
    errors = _stated_by(MORE if control == OF_MORE_NODES else NODES)
    if control == HUNDREDTH:
        errors = [error / 100 for error in errors]
    return errors + [np.ones_like(error) for error in errors]


CLAIMS = (
    Claim(
        id="asymptotics.stated_error",
        title="The error that a learning curve states is the true one of eight nodes fewer, and bounds its own",
        paper="lu2025",
        beyond_paper=True,
        equation="ridge errors, continued to gradient flow",
        origin="derived here; the rule is that of Weideman and Trefethen",
        statement=r"|I_n - I_{n-8}| = |I - I_{n-8}|\,(1 + O(2.85^{-8}))",
        observable="distances of curves with 16 and 24 nodes from integrals over the spectrum and closed contours",
        limit="none: to a thousandth of the error",
        measure=_true_errors,
        predict=_stated,
        judge=equal_within(SHARE),
        controls=(HUNDREDTH, OF_MORE_NODES),
        tier="fast",
    ),
)
