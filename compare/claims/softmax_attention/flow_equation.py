"""The flow of softmax heads on the exact loss has the velocity that its gradient says."""

from functools import cache

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.softmax_attention import (
    HeadLoss,
    ReducedFlow,
    approximate_loss,
    exact_loss,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import equal_within
from .setting import EXACT_LOSSES, exact_flow, white_task

START = (np.array([0.1, -0.12]), np.array([0.1, -0.08]))
FLOW_TASK = white_task(20, 40)
"""Many dimensions, in which the lengths of x differ less: the loss is known sooner along the whole flow."""
INTERVALS = ((0.0, 1.0), (12.0, 14.0))
"""From the start, and while the loss falls."""
RULE = np.polynomial.legendre.leggauss(4)
"""Gauss' nodes and weights on an interval: off by 1e-9."""
NODES = 14
"""Of the quadrature over the query: off by 1e-10 here."""

OTHER_METRIC = "1 for ρ = 1/D"
WHOLE_GRADIENT = "∂L for ½ ∂L"
APPROXIMATE = "the gradient of the approximate loss"


@cache
def _flow() -> ReducedFlow:
    """The flow at the begin, the nodes and the end of each interval, one after another, without the start."""
    times = [
        [begin, *((begin + end + (end - begin) * RULE[0]) / 2), end]
        for begin, end in INTERVALS
    ]
    return exact_flow(FLOW_TASK, START, np.ravel(times)[1:])


def _changes_of_flow(context: RunContext) -> list[FloatArray]:
    """How ω and μ (4,) change over each interval, and the loss at the times of both."""
    flow = _flow()
    weights = np.concatenate([flow.omega, flow.mu], axis=1)
    from_start = np.concatenate([np.ravel(START)[None], weights])
    by_interval = from_start.reshape(len(INTERVALS), -1, weights.shape[1])
    return [*(by_interval[:, -1] - by_interval[:, 0]), flow.loss]


@cache
def _exact_along_flow() -> HeadLoss:
    """Loss and gradient by quadrature at each time of the flow."""
    flow = _flow()
    return exact_loss(FLOW_TASK, flow.omega, flow.mu, nodes=NODES, gradient=True)


def _integrated_slopes(context: RunContext, control: str) -> list[FloatArray]:
    """The same from the gradient of the exact loss along the flow, and that loss."""
    along = _exact_along_flow()
    loss, gradient = along.loss, along.gradient
    if control == APPROXIMATE:
        flow = _flow()
        gradient = approximate_loss(
            FLOW_TASK, flow.omega, flow.mu, gradient=True
        ).gradient
    assert gradient is not None
    ρ = 1.0 if control == OTHER_METRIC else 1 / FLOW_TASK.dimension
    half = 1.0 if control == WHOLE_GRADIENT else 0.5
    velocities = -half * np.concatenate([ρ * gradient.omega, gradient.mu], axis=1)
    # Rows are the nodes and the end of the first interval, and the begin, the nodes and the end of the second.
    count = len(RULE[1])
    nodes = (velocities[:count], velocities[-count - 1 : -1])
    changes = [
        (end - begin) / 2 * RULE[1] @ each
        for (begin, end), each in zip(INTERVALS, nodes, strict=True)
    ]
    return [*changes, loss]


CLAIMS = (
    Claim(
        id="softmax.exact_flow",
        title="The flow on the exact loss has the velocity of its gradient, and the loss that quadrature finds",
        paper="he2025",
        beyond_paper=True,
        equation="training dynamics of two heads",
        origin="the exact form of the reduced flow is derived here",
        statement=r"\dot\omega_h = -\tfrac{\rho}{2}\,\partial L/\partial\omega_h,\quad "
        r"\dot\mu_h = -\tfrac12\,\partial L/\partial\mu_h",
        observable="change of ω and μ at the start and in the fall of the loss against the integrated gradient; D = 20",
        limit="none: exact, here up to the error of the integrator",
        measure=_changes_of_flow,
        predict=_integrated_slopes,
        judge=equal_within(1e-7),
        controls=(OTHER_METRIC, WHOLE_GRADIENT, APPROXIMATE),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
)
