"""What the matrices of a task say of its directions: in any basis and units, and where eigenvalues are equal."""

from typing import Any

import numpy as np

from .....models.attention import Separate
from .....runtime.arrays import FloatArray
from .....simulate import Statistics, from_moments, objective
from .....task import Task
from .....theory import population
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within
from ..common.controls import LONGER_CONTEXT, with_context
from ..common.fixtures import separate_head
from ..common.quadrature import weighted_prompts

ONE = Separate(heads=1)
SPECTRA: tuple[tuple[list[float], list[float]], ...] = (
    ([2.0, 1.0], [1.0, 1.0]),
    ([2.0, 2.0], [1.0, 3.0]),
    ([1.0, 4.0], [4.0, 1.0]),
)
"""λ and ω: Ω degenerate, Λ degenerate, and equal gains."""
BOTH = ([2.0, 2.0, 1.0], [1.0, 4.0, 4.0])
"""Λ and Ω both degenerate, with one basis in common nevertheless."""
UNITS = ((1.0, 1.0), (1e-10, 1e-8), (1e12, 1.0), (1.0, 1e12))
"""Of Λ and Ω."""
TURNED = 1e-6
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
    generator = np.random.default_rng([seed, dimension])
    return np.asarray(
        np.linalg.qr(generator.standard_normal((dimension, dimension)))[0],
        dtype=np.float64,
    )


def _task(Λ: FloatArray, Ω: FloatArray) -> Task:
    return Task(
        covariance=(Λ + Λ.T) / 2, teacher_covariance=(Ω + Ω.T) / 2, context_length=1
    )


def _aligned(seed: int) -> list[tuple[Task, FloatArray]]:
    """Tasks with one context token, diagonal and rotated, and their eigenvectors as columns."""
    cases = [
        (*each, *units, turned)
        for turned in (False, True)
        for each in SPECTRA
        for units in UNITS
    ]
    found = []
    for λ, ω, of_inputs, of_teachers, turned in [*cases, (*BOTH, 1.0, 1.0, True)]:
        basis = _rotation(seed, len(λ)) if turned else np.eye(len(λ))
        found.append(
            (
                _task(
                    of_inputs * basis * λ @ basis.T, of_teachers * basis * ω @ basis.T
                ),
                basis,
            )
        )
    return found


def _moments(task: Task) -> tuple[float, FloatArray, FloatArray]:
    """c, A and B by sums over all prompts, exact for one context token."""
    tokens, target, weights = weighted_prompts(task, 1, 3)
    x, query = tokens[:, 0, :-1], tokens[:, -1, :-1]
    β = tokens[:, 0, -1:] * x
    A, B = (weights * β.T) @ β, np.asarray((weights * target * β.T) @ query)
    return float(weights @ target**2), np.asarray((A + A.T) / 2), B


def _statistics(task: Task) -> Statistics:
    c, A, B = _moments(task)
    return from_moments(c, A, B, task.covariance, ONE, (1,))


def _measured_directions(context: RunContext) -> list[FloatArray]:
    """Of the directions that a task is made of: gain, drive, what is learned, λ; by decreasing gain, then drive."""
    found = []
    for task, basis in _aligned(context.seed):
        loss = objective(ONE, _statistics(task))
        rows = [_along(loss, task, e) for e in basis.T]
        largest = max(row[0] for row in rows)
        order = sorted(
            range(len(rows)),
            key=lambda d: (-round(rows[d][0] / largest, 9), -rows[d][1]),
        )
        found += [
            *np.array([rows[d] for d in order]).T,
            np.array([np.outer(e, e) for e in basis.T[order]]),
        ]
    return found


def _along(loss: Any, task: Task, e: FloatArray) -> tuple[float, float, float, float]:
    """From the losses of three heads along e: the loss is quadratic in the map, so that they give it exactly."""
    λ = float(e @ task.covariance @ e)
    middle, above, below = (
        loss(separate_head(v, e[None]))[0] for v in (0.0, 1 / λ, -1 / λ)
    )
    drive, curvature = (below - above) * λ / 4, (above + below - 2 * middle) * λ**2 / 2
    return drive**2 / curvature, drive, drive / curvature, λ


def _stated_directions(context: RunContext, control: str) -> list[FloatArray]:
    found = []
    for task, _ in _aligned(context.seed):
        moments = population(
            with_context(task, 2) if control == LONGER_CONTEXT else task, ONE
        )
        e = moments.directions
        if control == OMEGA_ALONE:
            e = np.linalg.eigh(task.teacher_covariance)[1][:, ::-1]
        order = (
            np.argsort(-moments.lam, kind="stable")
            if control == LAMBDA_FIRST
            else np.arange(task.dimension)
        )
        numbers = (moments.gains, moments.b, moments.coefficients, moments.lam)
        found += [
            *(each[order] for each in numbers),
            np.array([np.outer(d, d) for d in e.T[order]]),
        ]
    return found


def _oblique(seed: int) -> list[Task]:
    """Tasks with Λ and Ω in two bases, far apart or nearly one, in several units."""
    first, second = _rotation(seed, 2), _rotation(seed + 1, 2)
    turn = np.array(
        [[np.cos(TURNED), -np.sin(TURNED)], [np.sin(TURNED), np.cos(TURNED)]]
    )
    found = []
    for of_inputs, of_teachers in UNITS:
        for other in (second, first @ turn):
            Λ, Ω = first * [3.0, 1.0] @ first.T, other * [1.0, 4.0] @ other.T
            found.append(_task(of_inputs * Λ, of_teachers * Ω))
    return found


def _decomposed(context: RunContext) -> list[FloatArray]:
    """Gains, pairs u_d t_dᵀ, u_d u_dᵀ and M_S of each best direction, from the moments themselves."""
    found = []
    for task in _oblique(context.seed):
        _, A, B = _moments(task)
        inverses = [_inverse_root(matrix) for matrix in (A, task.covariance)]
        u, sizes, t = np.linalg.svd(inverses[0] @ B @ inverses[1])
        found += [
            sizes**2,
            *_outer(u, t.T),
            inverses[0] * sizes[0] @ np.outer(u[:, 0], t[0]) @ inverses[1],
        ]
    return found


def _inverse_root(matrix: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors / np.sqrt(values) @ vectors.T)


def _outer(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.einsum("id,jd->dij", left, right), np.einsum("id,jd->dij", left, left)


def _stated_decompositions(context: RunContext, control: str) -> list[FloatArray]:
    found = []
    for task in _oblique(context.seed):
        moments = population(
            with_context(task, 2) if control == LONGER_CONTEXT else task, ONE
        )
        u, t = moments.left, moments.right
        if control == OWN_BASIS:
            u = t = task.eigenvectors
        if control == EXCHANGED:
            u, t = t, u
        found += [moments.gains, *_outer(u, t), moments.learned([1])]
    return found


def _held(context: RunContext) -> list[FloatArray]:
    """For each unit 2, where floating point holds the loss of a head along each direction, and 1 elsewhere."""
    with np.errstate(over="ignore", invalid="ignore"):
        return [np.array([1.0 + _is_held(_scaled(*powers)) for powers in POWERS])]


def _scaled(of_inputs: int, of_teachers: int) -> Task:
    units = 10.0**of_inputs, 10.0**of_teachers
    return Task(
        [2 * units[0], units[0]],
        teacher_covariance=units[1] * np.eye(2),
        context_length=1,
    )


def _is_held(task: Task) -> bool:
    loss = objective(ONE, _statistics(task))
    return all(
        bool(np.isfinite(loss(separate_head(1.0, e[None]))[0])) for e in np.eye(2)
    )


def _accepted(context: RunContext, control: str) -> list[FloatArray]:
    found = []
    for powers in POWERS:
        if control == MATRICES_ALONE:
            found.append(max(powers) < 308)
            continue
        try:
            population(_scaled(*powers), ONE)
            found.append(True)
        except ValueError:
            found.append(control == EVERY_UNIT)
    return [1.0 + np.array(found)]


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
        measure=_decomposed,
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
        measure=_held,
        predict=_accepted,
        judge=equal_within(1e-12, axes=("unit", "2 where accepted")),
        controls=(EVERY_UNIT, MATRICES_ALONE),
        tier="fast",
    ),
)
