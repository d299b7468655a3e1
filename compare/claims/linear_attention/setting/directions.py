"""Directions of a task: in any basis and units, and where eigenvalues are equal."""

from itertools import product
from typing import NamedTuple

import numpy as np

from .....models.attention import Separate
from .....runtime.arrays import FloatArray
from .....runtime.covariances import inverse_root
from .....simulate import Statistics, from_moments, objective
from .....simulate.attention.objectives import Objective
from .....task import Task
from .....theory import population
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within
from ..common.controls import LONGER_CONTEXT, with_context
from ..common.fixtures import separate_head
from ..common.quadrature import weighted_prompts

ONE_HEAD = Separate(heads=1)
SPECTRA: tuple[tuple[list[float], list[float]], ...] = (
    ([2.0, 1.0], [1.0, 1.0]),
    ([2.0, 2.0], [1.0, 3.0]),
    ([1.0, 4.0], [4.0, 1.0]),
)
"""λ and ω: Ω degenerate, Λ degenerate, and equal gains."""
BOTH_DEGENERATE = ([2.0, 2.0, 1.0], [1.0, 4.0, 4.0])
"""Λ and Ω both degenerate, with one basis in common nevertheless."""
UNITS = ((1.0, 1.0), (1e-10, 1e-8), (1e12, 1.0), (1.0, 1e12))
"""Of Λ and Ω."""
SMALL_ANGLE = 1e-6
"""Angle between the eigenvectors of Λ and Ω where they nearly commute."""

LAMBDA_FIRST = "numbered by decreasing λ"
OMEGA_ALONE = "the eigenvectors of Ω alone"
EXCHANGED = "left and right exchanged"
OWN_BASIS = "the eigenvectors of Λ for left and right"

EVERY_UNIT = "every unit is accepted"
MATRICES_ALONE = "refused where Λ or Ω itself overflows"
POWERS = (
    (0, 0),
    (60, 0),
    (100, 0),
    (110, 0),
    (120, -100),
    (120, 0),
    (220, -200),
    (0, 220),
)
"""Units of Λ and Ω, as powers of ten."""


def _rotation(seed: int, dimension: int) -> FloatArray:
    """A random orthogonal matrix (D, D)."""
    generator = np.random.default_rng([seed, dimension])
    normal = generator.standard_normal((dimension, dimension))
    return np.asarray(np.linalg.qr(normal)[0], dtype=np.float64)


def _task(Λ: FloatArray, Ω: FloatArray) -> Task:
    """One context token; Λ and Ω made symmetric to the last bit."""
    return Task(
        covariance=(Λ + Λ.T) / 2,
        teacher_covariance=(Ω + Ω.T) / 2,
        context_length=1,
    )


# Moments by sums over all prompts


def _moments(task: Task) -> tuple[float, FloatArray, FloatArray]:
    """c, A and B by sums over all prompts, exact for one context token."""
    tokens, target, weights = weighted_prompts(task, 1, 3)
    x, y = tokens[:, 0, :-1], tokens[:, 0, -1:]
    query = tokens[:, -1, :-1]
    β = y * x  # (P, D); the divisor is N = 1
    c = float(weights @ target**2)
    A = (weights * β.T) @ β
    B: FloatArray = (weights * target * β.T) @ query
    return c, np.asarray((A + A.T) / 2), B


def _statistics(task: Task) -> Statistics:
    c, A, B = _moments(task)
    return from_moments(c, A, B, task.covariance, ONE_HEAD, (1,))


# Λ and Ω that commute


def _aligned_tasks(seed: int) -> list[tuple[Task, FloatArray]]:
    """Tasks with one context token, diagonal and rotated, and their eigenvectors as columns."""
    cases = []
    for rotated, (λ, ω), units in product((False, True), SPECTRA, UNITS):
        basis = _rotation(seed, len(λ)) if rotated else np.eye(len(λ))
        cases.append(_aligned_task(basis, λ, ω, units))
    λ, ω = BOTH_DEGENERATE
    cases.append(_aligned_task(_rotation(seed, len(λ)), λ, ω, (1.0, 1.0)))
    return cases


def _aligned_task(
    basis: FloatArray, λ: list[float], ω: list[float], units: tuple[float, float]
) -> tuple[Task, FloatArray]:
    Λ = units[0] * basis * λ @ basis.T
    Ω = units[1] * basis * ω @ basis.T
    return _task(Λ, Ω), basis


class _Direction(NamedTuple):
    """Gain, growth rate b, coefficient m and eigenvalue λ of one direction."""

    gain: float
    rate: float
    coefficient: float
    eigenvalue: float


def _measured_directions(context: RunContext) -> list[FloatArray]:
    """Of the directions that a task is made of: gain, b, m, λ and projector; by decreasing gain, then b."""
    curves = []
    for task, basis in _aligned_tasks(context.seed):
        loss = objective(ONE_HEAD, _statistics(task))
        directions = [_along(loss, task, e) for e in basis.T]

        # Gains that differ by rounding count as equal.
        largest = max(direction.gain for direction in directions)
        order = sorted(
            range(len(directions)),
            key=lambda d: (
                -round(directions[d].gain / largest, 9),
                -directions[d].rate,
            ),
        )
        curves += list(np.array([directions[d] for d in order]).T)
        curves.append(_projectors(basis[:, order]))
    return curves


def _along(loss: Objective, task: Task, e: FloatArray) -> _Direction:
    """From the losses of three heads along e: the loss is quadratic in the map, so that they give it exactly."""
    λ = float(e @ task.covariance @ e)
    middle, _ = loss(separate_head(0.0, e[None]))
    above, _ = loss(separate_head(1 / λ, e[None]))
    below, _ = loss(separate_head(-1 / λ, e[None]))

    # L(m e eᵀ) = c − 2 b m + a λ m², at m = 0 and ±1/λ.
    b = (below - above) * λ / 4
    curvature = (above + below - 2 * middle) * λ**2 / 2
    return _Direction(b**2 / curvature, b, b / curvature, λ)


def _projectors(basis: FloatArray) -> FloatArray:
    """e_d e_dᵀ (D, D, D) of the columns: a direction has no sign."""
    projectors: FloatArray = np.einsum("id,jd->dij", basis, basis)
    return projectors


def _stated_directions(context: RunContext, control: str) -> list[FloatArray]:
    curves = []
    for true_task, _ in _aligned_tasks(context.seed):
        task = with_context(true_task, 2) if control == LONGER_CONTEXT else true_task
        moments = population(task, ONE_HEAD)
        e = moments.directions
        if control == OMEGA_ALONE:
            e = np.linalg.eigh(task.teacher_covariance)[1][:, ::-1]

        order = np.arange(task.dimension)
        if control == LAMBDA_FIRST:
            order = np.argsort(-moments.lam, kind="stable")
        numbers = (moments.gains, moments.b, moments.coefficients, moments.lam)
        curves += [values[order] for values in numbers]
        curves.append(_projectors(e[:, order]))
    return curves


# Λ and Ω that do not commute


def _non_commuting_tasks(seed: int) -> list[Task]:
    """Tasks with Λ and Ω in two bases, far apart or nearly one, in several units."""
    first, second = _rotation(seed, 2), _rotation(seed + 1, 2)
    cos, sin = np.cos(SMALL_ANGLE), np.sin(SMALL_ANGLE)
    nearly_first = first @ np.array([[cos, -sin], [sin, cos]])

    tasks = []
    for unit_Λ, unit_Ω in UNITS:
        for other in (second, nearly_first):
            Λ = first * [3.0, 1.0] @ first.T
            Ω = other * [1.0, 4.0] @ other.T
            tasks.append(_task(unit_Λ * Λ, unit_Ω * Ω))
    return tasks


def _measured_decompositions(context: RunContext) -> list[FloatArray]:
    """Gains, pairs u_d t_dᵀ, u_d u_dᵀ and M_{1} = A^{-1/2} √g_1 u_1 t_1ᵀ Λ^{-1/2}, from the moments themselves."""
    curves = []
    for task in _non_commuting_tasks(context.seed):
        _, A, B = _moments(task)
        left, right = inverse_root(A), inverse_root(task.covariance)
        u, σ, t = np.linalg.svd(left @ B @ right)
        best = left @ np.outer(u[:, 0], t[0]) @ right * σ[0]
        curves += [σ**2, _outer(u, t.T), _projectors(u), best]
    return curves


def _outer(left: FloatArray, right: FloatArray) -> FloatArray:
    """u_d t_dᵀ (D, D, D) of the columns of both."""
    products: FloatArray = np.einsum("id,jd->dij", left, right)
    return products


def _stated_decompositions(context: RunContext, control: str) -> list[FloatArray]:
    curves = []
    for true_task in _non_commuting_tasks(context.seed):
        task = with_context(true_task, 2) if control == LONGER_CONTEXT else true_task
        moments = population(task, ONE_HEAD)
        u, t = moments.left, moments.right
        if control == OWN_BASIS:
            u = t = task.eigenvectors
        if control == EXCHANGED:
            u, t = t, u
        curves += [moments.gains, _outer(u, t), _projectors(u), moments.learned([1])]
    return curves


# Units at which losses overflow


def _finite_losses(context: RunContext) -> list[FloatArray]:
    """For each unit 2, where the loss of a head along each direction is finite, and 1 elsewhere."""
    with np.errstate(over="ignore", invalid="ignore"):
        finite = [_has_finite_losses(_scaled(*powers)) for powers in POWERS]
    return [1.0 + np.array(finite)]


def _scaled(power_Λ: int, power_Ω: int) -> Task:
    unit_Λ, unit_Ω = 10.0**power_Λ, 10.0**power_Ω
    return Task(
        [2 * unit_Λ, unit_Λ],
        teacher_covariance=unit_Ω * np.eye(2),
        context_length=1,
    )


def _has_finite_losses(task: Task) -> bool:
    loss = objective(ONE_HEAD, _statistics(task))
    losses = [loss(separate_head(1.0, e[None]))[0] for e in np.eye(2)]
    return bool(np.all(np.isfinite(losses)))


def _accepted(context: RunContext, control: str) -> list[FloatArray]:
    """For each unit 2, where the theory accepts the task, and 1 elsewhere."""
    accepted = []
    for powers in POWERS:
        if control == MATRICES_ALONE:
            accepted.append(max(powers) < 308)  # the largest power of ten in a double
            continue
        try:
            population(_scaled(*powers), ONE_HEAD)
            accepted.append(True)
        except ValueError:
            accepted.append(control == EVERY_UNIT)
    return [1.0 + np.array(accepted)]


CLAIMS = (
    Claim(
        id="spectra.directions",
        title="Directions, gains and coefficients are right in any basis and unit, for degenerate Λ and Ω too",
        paper="zhang2025",
        equation="aligned equations",
        origin="here with Ω, in any basis",
        statement=r"g_d = b_d^2/(a_d\lambda_d),\quad m_d = b_d/(a_d\lambda_d)",
        observable="losses of heads along the directions that 25 tasks are made of, with prompts integrated exactly",
        limit="none: exact",
        measure=_measured_directions,
        predict=_stated_directions,
        judge=equal_within(
            1e-9, axes=("entry", "gain, growth rate, coefficient, λ, direction")
        ),
        controls=(LAMBDA_FIRST, OMEGA_ALONE, LONGER_CONTEXT),
        hypotheses=(
            "Λ and Ω commute",
            "of equal gains the one with the larger growth rate comes first",
        ),
        tier="fast",
    ),
    Claim(
        id="spectra.oblique",
        title="Where Λ and Ω do not commute, √g_d, u_d and t_d are the singular values and vectors of T",
        paper="zhang2025",
        equation="any Λ and Ω",
        beyond_paper=True,
        statement=r"T = A^{-1/2} B \Lambda^{-1/2} = \textstyle\sum_d \sqrt{g_d}\,u_d t_d^\top",
        observable="T from prompts integrated exactly; Λ and Ω far from commuting and nearly "
        "commuting, in four units",
        limit="none: exact",
        measure=_measured_decompositions,
        predict=_stated_decompositions,
        judge=equal_within(1e-9, axes=("entry", "gain or direction")),
        controls=(EXCHANGED, OWN_BASIS, LONGER_CONTEXT),
        tier="fast",
    ),
    Claim(
        id="spectra.overflow",
        title="A task is refused exactly where its losses overflow in floating point",
        paper="zhang2025",
        equation="population loss",
        statement=r"\mathrm{tr}(\Lambda M^\top A M) < \infty",
        observable="loss of heads of size one, by the simulation, on integrated prompts; units from 1 to 10^220",
        limit="none: exact",
        measure=_finite_losses,
        predict=_accepted,
        judge=equal_within(1e-12, axes=("unit", "2 where accepted")),
        controls=(EVERY_UNIT, MATRICES_ALONE),
        tier="fast",
    ),
)
