"""Staircases beyond rank one and commuting Λ, Ω: the flow of small heads visits what theory says, when it says."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...model import Separate, Weights
from ...simulate import flow, initial_weights
from ...task import Task
from ...theory import Staircase, population, staircase, time_course
from ..claim import Claim, Lab
from ..evidence import Evidence, Fit
from ..experiments import seeds
from ..metrics import exit_times
from ..variants import unlimited
from .courses import DIAGONAL, OBLIQUE, SOURCE, maps_of

FloatArray = NDArray[np.float64]

SCALES = (4e-3, 2e-3, 1e-3)
LADDERS = (
    (OBLIQUE, Separate(heads=3), np.linalg.eigh(OBLIQUE.covariance)[1][:, ::-1]),
    (
        Task([1.0, 0.3], teacher_covariance=np.diag([1.0, 4.5]), context_length=20),
        Separate(heads=3),
        np.eye(2)[:, ::-1],
    ),
    (DIAGONAL, Separate(heads=2, rank=2), np.eye(3)),
)
"""Λ and Ω that do not commute, a largest drive that is not the largest gain, heads of rank two: with directions."""

CONSTANT, SETTLED = 3e-3, 5e-4
LATER = "each exit one time constant later"
OTHER = "directions in another order"


class _Climb(NamedTuple):
    """`exits` (n,), and half way between them loss (n,), diagonals of M, amplitudes of what is learned (n, D)."""

    exits: FloatArray
    loss: FloatArray
    diagonals: FloatArray
    amplitudes: FloatArray


def _start(case: int, scale: float, lab: Lab) -> Weights:
    task, model, _ = LADDERS[case]
    return initial_weights(model, task, scale, seeds(lab.seed)[0], "restricted")


def _flows(lab: Lab) -> list[list[_Climb]]:
    """The flow of all heads for each scale and case."""
    return [[_flow(case, scale, lab) for case in range(len(LADDERS))] for scale in SCALES]


def _flow(case: int, scale: float, lab: Lab) -> _Climb:
    (task, model, basis), start = LADDERS[case], _start(case, scale, lab)
    expected = staircase(task, model, start)
    between = _between(expected.exit_times)
    near = np.outer(expected.exit_times, 1 + 1e-3 * np.linspace(-1, 1, 201)).ravel()
    run = flow(model, unlimited(task, model), start, np.unique([0.0, *between, *near]), rtol=1e-10)
    at = np.searchsorted(run.flow_time, between)
    key, query = (np.asarray(run.weights[name])[at][..., :-1] @ basis for name in ("key", "query"))
    diagonals = np.einsum("id,tij,jd->td", basis, maps_of(model, run)[at], basis)
    amplitudes = np.sqrt(np.sum(np.abs(key * query), axis=(1, 2))) * _learned(expected)
    return _Climb(exit_times(run.flow_time, run.loss, expected.plateaus), run.loss[at], diagonals, amplitudes)


def _learned(steps: Staircase) -> FloatArray:
    """1 for the directions that are learned after each exit, else 0 (n, D)."""
    directions = 1 + np.arange(steps.moments.dimension)
    return np.array([np.isin(directions, subset) for subset in steps.subsets[1:]], dtype=np.float64)


def _between(exits: FloatArray) -> FloatArray:
    """Flow times in the middle of each plateau but the first, and after the last exit."""
    return np.asarray((exits + np.append(exits[1:], 1.5 * exits[-1])) / 2)


def _predicted(lab: Lab, control: str) -> list[list[_Climb]]:
    return [[_varied(case, scale, lab, control) for case in range(len(LADDERS))] for scale in SCALES]


def _varied(case: int, scale: float, lab: Lab, control: str) -> _Climb:
    climb, (task, model, _) = _climb(case, scale, lab), LADDERS[case]
    if control == OTHER:
        return climb._replace(diagonals=climb.diagonals[:, ::-1], amplitudes=climb.amplitudes[:, ::-1])
    later = 1 / np.linalg.norm(population(task, model).B, 2) if control == LATER else 0.0
    return climb._replace(exits=climb.exits + later)


@cache
def _climb(case: int, scale: float, lab: Lab) -> _Climb:
    task, model, _ = LADDERS[case]
    start = _start(case, scale, lab)
    steps = staircase(task, model, start)
    course = time_course(task, model, _between(steps.exit_times), start)
    return _Climb(steps.exit_times, course.loss, course.coefficients, course.amplitudes * _learned(steps))


def _agree(predicted: list[list[_Climb]], observed: list[list[_Climb]]) -> Evidence:
    """Relative errors of exit times stay below a constant times the scale; all else is settled."""
    pairs = [list(zip(p, o, strict=True)) for p, o in zip(predicted, observed, strict=True)]
    exits = [np.concatenate([_error(p.exits, o.exits) for p, o in each]) for each in pairs]
    constant = max(float(np.max(each)) / scale for each, scale in zip(exits, SCALES, strict=True))
    rests = max(_worst(name, each) for each in pairs for name in ("loss", "diagonals", "amplitudes"))
    typical = tuple(float(np.exp(np.mean(np.log(each + 1e-300)))) for each in exits)
    slope = float(np.polyfit(np.log(SCALES), np.log(typical), 1)[0])
    shown = f"exit times {constant:.1e} × scale apart, what is at rest {rests:.1e}"
    bounds = f"at most {CONSTANT:g} × scale, {SETTLED:g}"
    agrees = constant <= CONSTANT and rests <= SETTLED
    return Evidence(agrees, shown, bounds, Fit("scale", SCALES, typical, slope, 1.0), residual=typical[-1])


def _error(predicted: FloatArray, observed: FloatArray) -> FloatArray:
    """Relative distance, infinite where a run does not get there."""
    gap = np.abs(observed / predicted - 1)
    return np.where(np.isfinite(gap), gap, np.inf)


def _worst(name: str, pairs: list[tuple[_Climb, _Climb]]) -> float:
    """Largest distance in units of the largest value."""
    both = [(getattr(p, name), getattr(o, name)) for p, o in pairs]
    return max(float(np.max(np.abs(p - o)) / np.max(np.abs(o))) for p, o in both)


CLAIMS = (
    Claim(
        id="ladders.visits",
        title="Small heads of any rank, on any task, visit the plateaus of the staircase at its times",
        source=f"{SOURCE}, low rank; Λ and Ω that do not commute go beyond it",
        statement=r"t_m \cdot \text{scale}, \quad e_d^\top M e_d,\ \kappa_d \text{ between exits}",
        observable="exit times, loss, diagonal of M, amplitudes of all heads' flow; oblique, non-greedy, rank two",
        limit="initial scale → 0, relative error of exit times O(scale)",
        order=1,
        measure=_flows,
        predict=_predicted,
        judge=_agree,
        controls=(LATER, OTHER),
    ),
)
