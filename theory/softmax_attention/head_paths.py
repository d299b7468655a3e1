"""Gradient flow of softmax heads integrated: paths of ω and μ on a loss whose derivatives are known.

dω_h/dt = −(ρ/2) ∂L/∂ω_h and dμ_h/dt = −½ ∂L/∂μ_h. The equations are stiff once the heads are in the valley, where μ_h
follows ω_h at rates that are 10⁵ times those of the valley.
"""

import math
import warnings
from typing import NamedTuple, Protocol

import numpy as np

from ...runtime.arrays import FloatArray, IndexArray
from ...task import Task
from .approximate_losses import (
    WhiteTask,
    approximate_gradient,
    approximate_hessian,
    approximate_values,
)
from .exact_losses import exact_loss
from .exact_tables import ExactTable, exact_table
from .losses_of_heads import ExactLoss, HeadGradient

# Relative accuracy of a step: that of the tables for the exact loss. At 1e-12 the solver takes steps as small as the
# fast rates to the end, with four heads 10⁷ of them.
_APPROXIMATE_TOLERANCE, _EXACT_TOLERANCE = 1e-10, 1e-9
_MOST_STEPS = 2 * 10**4
# A path has a point whenever the time has grown by this ratio, which is less than its phases last, from a time on that
# is short beside the fastest rate of the start. Of the latest time it is so small a share at least: 10⁴ points.
_TIME_RATIO = 1.005
_FIRST_TIME = 1e-2
_LEAST_TIME = 1e-22
# The largest |ω| of a path on the exact loss in units of the approximate one's, which is smaller: 1.16 for the optimum
# of one head at D = 5, N = 40, and 1.44 at N = 20.
_ROOM = 1.5
_ROOM_OF_START = 1.02
_ROUNDS = 5
# Relative difference of a table to the quadrature itself, at checked points of a path, that is enough.
_ENOUGH = 1e-8


class SmoothLoss(Protocol):
    """A loss of softmax heads with analytic derivatives."""

    def loss(self, ω: FloatArray, μ: FloatArray) -> FloatArray:
        """The loss (…) at ω, μ (…, H)."""

    def gradient(self, ω: FloatArray, μ: FloatArray) -> HeadGradient:
        """Its derivatives by ω and μ, at ω, μ (…, H)."""

    def hessian(self, ω: FloatArray, μ: FloatArray) -> FloatArray:
        """Its second derivatives (2H, 2H) by (ω, μ), at ω, μ (H,)."""


class ApproximateLoss(NamedTuple):
    """L̃ of a white task as a smooth loss."""

    white: WhiteTask

    def loss(self, ω: FloatArray, μ: FloatArray) -> FloatArray:
        """The loss (…) at ω, μ (…, H)."""
        return approximate_values(self.white, ω, μ)

    def gradient(self, ω: FloatArray, μ: FloatArray) -> HeadGradient:
        """Its derivatives by ω and μ, at ω, μ (…, H)."""
        return approximate_gradient(self.white, ω, μ)

    def hessian(self, ω: FloatArray, μ: FloatArray) -> FloatArray:
        """Its second derivatives (2H, 2H) by (ω, μ), at ω, μ (H,)."""
        return approximate_hessian(self.white, ω, μ)


class HeadPath(NamedTuple):
    """ω, μ (T, H), the loss (T,) and ∂L/∂ω (T, H) at flow times (T,), which increase from 0."""

    flow_time: FloatArray
    omega: FloatArray
    mu: FloatArray
    loss: FloatArray
    by_omega: FloatArray

    def at(self, times: FloatArray) -> "HeadPath":
        """The path at some of its times, in any order."""
        places = np.searchsorted(self.flow_time, times)
        return HeadPath(*(series[places] for series in self))


def path_times(times: FloatArray, rate: float) -> FloatArray:
    """These flow times, 0, and between them so many that no phase is missed; `rate` is the fastest of the start."""
    latest = float(np.max(times, initial=0.0))
    # Nothing moves at the rate 0.
    first = max(_FIRST_TIME / rate, _LEAST_TIME * latest) if rate > 0 else math.inf
    between = np.array([])
    if latest > first:
        count = int(np.log(latest / first) / np.log(_TIME_RATIO)) + 2
        between = np.geomspace(first, latest, count)[:-1]
    return np.unique(np.concatenate([[0.0], between, times]))


def fastest_rate(white: WhiteTask, start: FloatArray, ρ: float) -> float:
    """The fastest rate at a start (2H,) of the flow on the approximate loss, at 0 that of growth."""
    ω, μ = np.split(start, 2)
    root = np.sqrt(np.repeat([ρ, 1.0], len(ω)))
    # −½ R ∂²L with R = diag(ρ, 1) has the eigenvalues of the symmetric −½ √R ∂²L √R.
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = 0.5 * root[:, None] * approximate_hessian(white, ω, μ) * root
    # Scores of the largest that are followed make it no number: the first times are then as early as they may be.
    if not np.all(np.isfinite(matrix)):
        return math.inf
    return float(np.max(np.abs(np.linalg.eigvalsh(matrix))))


def approximate_path(
    white: WhiteTask, start: FloatArray, times: FloatArray, ρ: float
) -> HeadPath:
    """The path on the approximate loss, as `head_path`."""
    loss = ApproximateLoss(white)
    return head_path(loss, start, times, ρ, tolerance=_APPROXIMATE_TOLERANCE)


class _HeadGroups(NamedTuple):
    """Heads that start alike, and so remain: the state (ω, Σμ) (2G,) of G groups, that of each head, their sizes.

    The loss knows no more of a group than its ω and the sum M of its n values μ: ∂L/∂ω_h = ∂L/∂ω / n, and
    ∂L/∂μ_h = ∂L/∂M. Followed one by one, rounding would move equal heads apart where that lowers the loss.
    """

    state: FloatArray
    group: IndexArray  # (H,)
    size: FloatArray  # (G,)

    @classmethod
    def of(cls, start: FloatArray) -> "_HeadGroups":
        """The groups of heads that start at (ω, μ) (2H,), in the order in which they come."""
        ω, μ = np.split(start, 2)
        places: dict[tuple[float, float], int] = {}
        heads = zip(ω.tolist(), μ.tolist(), strict=True)
        group = np.array([places.setdefault(head, len(places)) for head in heads])
        size = np.bincount(group).astype(float)
        ω_of_group, μ_of_group = np.array(list(places)).T
        state = np.concatenate([ω_of_group, size * μ_of_group])
        return cls(state, group, size)

    def rates(self, ρ: float) -> FloatArray:
        """dω/dt and dM/dt (2G,) in units of ∂L/∂ω and ∂L/∂M."""
        return np.concatenate([-ρ / 2 / self.size, -self.size / 2])

    def path(
        self, loss: "SmoothLoss", times: FloatArray, states: FloatArray
    ) -> HeadPath:
        """The path of all heads, from the states (T, 2G) of their groups."""
        ω, M = np.split(states, 2, axis=1)
        by_omega = loss.gradient(ω, M).omega / self.size
        μ = M / self.size
        return HeadPath(
            times,
            ω[:, self.group],
            μ[:, self.group],
            loss.loss(ω, M),
            by_omega[:, self.group],
        )


# Long because rate, Jacobian and the errors of the one solver belong together.
def head_path(
    loss: SmoothLoss,
    start: FloatArray,
    times: FloatArray,
    ρ: float,
    *,
    tolerance: float,
) -> HeadPath:
    """The path from `start` (ω, μ) (2H,) at increasing times (T,) of which the first is 0.

    By Adams' methods, and Gear's where the equations are stiff. ArithmeticError if they cannot be integrated.
    """
    from scipy.integrate import ODEintWarning, odeint

    groups = _HeadGroups.of(start)
    G = len(groups.size)
    rates = groups.rates(ρ)

    def rate(_: float, state: FloatArray) -> FloatArray:
        return rates * np.concatenate(loss.gradient(state[:G], state[G:]))

    def jacobian(_: float, state: FloatArray) -> FloatArray:
        return rates[:, None] * loss.hessian(state[:G], state[G:])

    smallest = float(np.min(np.abs(start[start != 0]), initial=1.0))
    states = groups.state[None, :]
    # A step that is too long is one that the solver takes back.
    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
        warnings.simplefilter("error", ODEintWarning)
        try:
            if len(times) > 1:
                states = odeint(
                    rate,
                    groups.state,
                    times,
                    Dfun=jacobian,
                    tfirst=True,
                    rtol=tolerance,
                    atol=tolerance * smallest,
                    mxstep=_MOST_STEPS,
                )
        except ODEintWarning:
            raise ArithmeticError(_not_integrated(times, _TOO_MANY_STEPS)) from None
    if not np.all(np.isfinite(states)):
        raise ArithmeticError(_not_integrated(times, "the weights have overflowed"))
    return groups.path(loss, times, states)


_TOO_MANY_STEPS = (
    f"it needs more than {_MOST_STEPS} steps between two times: start with smaller omega and mu, or ask for shorter "
    "times"
)


def _not_integrated(times: FloatArray, reason: str) -> str:
    return (
        f"the reduced flow could not be integrated to flow time {times[-1]:g}: {reason}"
    )


def exact_path(
    task: Task, start: FloatArray, times: FloatArray, ρ: float, query_token: bool
) -> HeadPath:
    """The path on the exact loss, as `head_path`, by tables that hold for all ω on it.

    The quadrature itself confirms loss and gradient where |ω| is largest, where the loss is, and at the end.
    ArithmeticError if it does not, and where a table cannot be made.
    """
    bound = _largest_expected(task, start)
    refined = 0
    for _ in range(_ROUNDS):
        table = exact_table(task, bound, query_token=query_token, refined=refined)
        path = head_path(table, start, times, ρ, tolerance=_EXACT_TOLERANCE)
        largest = float(np.max(np.abs(path.omega)))
        if largest > bound:
            # Beyond its bound a table is constant: the path is another there.
            bound = _ROOM * bound
        elif _is_confirmed(table, path, task, query_token):
            return path
        else:
            refined += 1
    raise ArithmeticError(
        f"the exact loss could not be tabulated accurately up to |omega| = {bound:.3g}: start with smaller omega, or "
        "ask for shorter times"
    )


def _largest_expected(task: Task, start: FloatArray) -> float:
    """A bound of |ω| on the path: that of the start (2H,), or more than softmax heads learn, 1/(λ√D)."""
    H = len(start) // 2
    scale = 1 / (np.sqrt(task.dimension) * float(np.mean(task.eigenvalues)))
    # Heads that start with large scores lose them.
    of_start = _ROOM_OF_START * float(np.max(np.abs(start[:H])))
    return max(of_start, _ROOM * float(scale))


def _is_confirmed(
    table: ExactTable, path: HeadPath, task: Task, query_token: bool
) -> bool:
    """Whether the table is right at some points of the path."""
    largest = np.argmax(np.max(np.abs(path.omega), axis=1))
    places = np.unique([largest, np.argmax(path.loss), len(path.loss) - 1])
    ω, μ = path.omega[places], path.mu[places]
    exact = exact_loss(task, ω, μ, query_token=query_token, gradient=True)
    return _differences(table, ω, μ, exact) <= _ENOUGH


def _differences(
    table: ExactTable, ω: FloatArray, μ: FloatArray, exact: ExactLoss
) -> float:
    """The largest difference in loss beyond the quadrature's own error, or in gradient, relative to the terms.

    In units of the zero predictor's loss, and of the ω on which a table changes: labels and x have any units.
    """
    by_loss = np.abs(table.loss(ω, μ) - exact.loss) - exact.error
    gradient = table.gradient(ω, μ)
    assert exact.gradient is not None
    by_μ = np.max(np.abs(gradient.mu - exact.gradient.mu), axis=-1)
    by_ω = np.max(np.abs(gradient.omega - exact.gradient.omega), axis=-1)
    # L and ∂L/∂ω are quadratic in μ, ∂L/∂μ is linear.
    size = np.maximum(1.0, np.sum(np.abs(μ), axis=-1))
    differences = [by_loss / size**2, by_μ / size, table.scale * by_ω / size**2]
    return float(np.max(differences) / table.zero_loss)
