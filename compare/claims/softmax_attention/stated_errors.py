"""The error that comes with an exact loss of softmax heads, held against closed integrals."""

from functools import cache
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import ExactLoss, exact_loss
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Evidence
from .setting import NOISE

Heads = tuple[FloatArray, FloatArray]


class ErrorCase(NamedTuple):
    """Heads (ω, μ) whose loss is a closed double integral: on two tokens, or on one and the query's own.

    `labels` is the variance of the labels; `is_rounded` tells that values are so large that rounding of products is
    all that the loss is off by: no relative error is promised then.
    """

    dimension: int
    heads: Heads
    query_token: bool
    labels: float = 1.0
    is_rounded: bool = False

    @property
    def task(self) -> Task:
        """White inputs and teachers, with the noise of the other claims relative to the labels."""
        return Task(
            eigenvalues=[1] * self.dimension,
            teacher_covariance=self.labels * np.eye(self.dimension) / self.dimension,
            noise_variance=self.labels * NOISE,
            context_length=1 if self.query_token else 2,
        )


ERROR_CASES = (
    ErrorCase(3, (np.array([0.4, -0.25]), np.array([0.9, -0.7])), False),
    ErrorCase(5, (np.array([0.02, -0.02]), np.array([30.0, -30.0])), False),
    ErrorCase(3, (np.array([0.7]), np.array([0.8])), False),
    ErrorCase(3, (np.array([-0.5, 0.4]), np.array([0.8, 0.5])), True),
    ErrorCase(3, (np.array([1.2]), np.array([1.0])), True),
    ErrorCase(3, (np.array([0.4, -0.25]), np.array([0.9, -0.7])), False, labels=1e-4),
    ErrorCase(5, (np.array([2e-4, -2e-4]), np.array([6e3, -6e3])), False, 1.0, True),
)
"""An odd D each, for which the integrand over |x_q| is even. The second has large values, the third and the last large
scores; the sixth is the first in other units of y, the seventh has the values that near heads may have."""
FEWER_NODES = 8
LARGEST_ERRORS = {False: 1e-9, True: 1e-8}
"""Relative errors that are promised where the number of nodes is left out, without and with the query's token."""
LENGTH_STEP, SCORE_STEP = 0.05, 0.05
"""Of the trapezoidal rule, which converges exponentially for such integrands."""

NO_ERROR, ALL_ALIKE = "no error", "the error of chosen nodes for few"


def _closed_loss(case: ErrorCase) -> float:
    """The loss by the trapezoidal rule over ℓ = |x_q| and one score u, with logistic weights."""
    (ω, μ), D = case.heads, case.dimension
    ℓ = np.arange(0.0, 13.0, LENGTH_STEP)[:, None, None]
    u = np.arange(-9.0, 9.0, SCORE_STEP)[:, None]
    density = ℓ ** (D - 1) * np.exp(-(ℓ**2 + u**2) / 2)  # (ℓ, u, 1)
    density /= density.sum()
    squares = density * (1 - 1 / D + NOISE + u**2 / D)

    if case.query_token:
        # One token of score ωℓu, and the query's own, of score ωℓ² and without a label.
        s = 1 / (1 + np.exp(ω * ℓ**2 - ω * ℓ * u))  # (ℓ, u, H)
        signal = np.sum(density * ℓ * u * s, axis=(0, 1)) / D
        products = np.einsum("luh,luk->hk", squares * s, s)
    else:
        # The weights ½ (1 ± t), of which √2 u is the difference of the scores over ωℓ.
        t = np.tanh(ω * ℓ * u / np.sqrt(2))
        signal = np.sum(density * ℓ * u * t, axis=(0, 1)) / (np.sqrt(2) * D)
        products = 0.5 * (1 + NOISE + np.einsum("luh,luk->hk", squares * t, t))
    return case.labels * float(1 + NOISE - 2 * μ @ signal + μ @ products @ μ)


def _closed_losses(context: RunContext) -> list[FloatArray]:
    """The loss (1,) of each case as a closed integral."""
    return [np.array([_closed_loss(case)]) for case in ERROR_CASES]


def _losses_and_errors(context: RunContext, control: str) -> list[FloatArray]:
    """Exact losses with their errors, and what is promised (2, 3): nodes as they are chosen, and few of them."""
    cases = []
    for number, case in enumerate(ERROR_CASES):
        by_rule, by_few = _error_losses(number)
        errors = np.array([by_rule.error, by_few.error], dtype=float)
        if control == NO_ERROR:
            errors[:] = 0.0
        if control == ALL_ALIKE:
            errors[1] = errors[0]
        promised = LARGEST_ERRORS[case.query_token] * float(by_rule)
        if case.is_rounded:
            promised = np.inf
        losses = [float(by_rule), float(by_few)]
        cases.append(np.stack([losses, errors, [promised, np.inf]], axis=1))
    return cases


@cache
def _error_losses(case_number: int) -> tuple[ExactLoss, ExactLoss]:
    """The loss of a case with nodes as they are chosen, and with few of them."""
    case = ERROR_CASES[case_number]
    by_rule, by_few = (
        exact_loss(case.task, *case.heads, query_token=case.query_token, nodes=nodes)
        for nodes in (None, FEWER_NODES)
    )
    return by_rule, by_few


def _within_stated_errors(
    predicted: list[FloatArray], observed: list[FloatArray]
) -> Evidence:
    """No loss is further off than its error says, and no error is larger than promised where nodes are chosen."""
    losses, errors, promised = np.moveaxis(np.stack(predicted), 2, 0)  # (cases, 2)
    made = np.abs(losses - np.stack(observed))
    covers, small_enough = made <= errors, errors <= promised
    return Evidence(
        agrees=bool(np.all(covers) and np.all(small_enough)),
        observed=f"{covers.sum()} errors cover what losses are off by, {small_enough.sum()} are as promised",
        expected=f"{covers.size}, and {covers.size}",
        residual=float(np.max(made[:, 0])),
    )


CLAIMS = (
    Claim(
        id="softmax.stated_errors",
        title="An exact loss is as near to closed integrals as its error says, which is no larger than promised",
        paper="he2025",
        beyond_paper=True,
        equation="symmetric family of heads",
        origin="derived here",
        statement=r"|L - L_{\mathrm{closed}}| \le \mathrm{error} \le 10^{-9} L",
        observable="loss on two tokens, and on one and the query's, by the trapezoidal rule; seven cases",
        limit="none: both are quadratures",
        measure=_closed_losses,
        predict=_losses_and_errors,
        judge=_within_stated_errors,
        controls=(NO_ERROR, ALL_ALIKE),
        tier="fast",
    ),
)
