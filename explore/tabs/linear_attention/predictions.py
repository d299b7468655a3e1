"""The theory of the tab: its curve at the times of the run, the plateaus that it visits, and when it leaves them."""

from typing import NamedTuple

import numpy as np

from ....compare.metrics.curves import exit_times, l2_gap
from ....runtime.arrays import FloatArray
from ....theory import fixed_points, staircase, time_course
from ...answers import Answer
from .descents import Descent
from .problems import Problem

SAME_LOSS = 1e-9
"""Losses of fixed points that differ less, in units of the first, are drawn as one."""


class Prediction(NamedTuple):
    """A curve of the theory: `loss` (T,), `coefficients` (T, r), `maps` (T, D, D), and the plateaus that it visits.

    `plateaus` (n+1,) are their losses, `subsets` the directions learned on them, `exits` (n,) when they are left.
    `reservation` says what the exit times rest on, if they rest on more than the weights.
    """

    source: str
    loss: FloatArray
    coefficients: FloatArray
    maps: FloatArray
    subsets: tuple[tuple[int, ...], ...]
    plateaus: FloatArray
    exits: FloatArray
    reservation: str


def prediction(problem: Problem, times: FloatArray, is_final: bool) -> Prediction:
    """The theory's curve at flow times (T,); `is_final` asks for the last digits and for the verdict on exit times.

    ArithmeticError or ValueError where there is none.
    """
    if problem.kind == "merged":
        return _of_merged(problem, times)
    return _of_separate(problem, times, is_final)


def _of_separate(problem: Problem, times: FloatArray, is_final: bool) -> Prediction:
    steps = staircase(problem.task, problem.model, problem.start, verify=is_final)
    is_safe = not is_final or steps.verdict == "determined"
    return Prediction(
        source="staircase",
        loss=steps.loss(times),
        coefficients=steps.coefficients(times),
        maps=steps.effective_map(times),
        subsets=steps.subsets,
        plateaus=steps.plateaus,
        exits=steps.drop_times,
        reservation="" if is_safe else f"exit times: {steps.verdict}",
    )


def _of_merged(problem: Problem, times: FloatArray) -> Prediction:
    course = time_course(problem.task, problem.model, times, problem.start)
    moments = problem.moments
    directions = moments.directions  # (D, r)
    maps = np.einsum(
        "id,td,jd->tij", directions, course.coefficients, directions, optimize=True
    )
    everything = tuple(range(1, moments.direction_count + 1))
    first_loss = float(moments.loss(np.zeros_like(moments.B)))
    plateaus = np.array([first_loss, moments.minimum_loss])
    return Prediction(
        source="growing mode",
        loss=course.loss,
        coefficients=course.coefficients,
        maps=maps,
        subsets=((), everything),
        plateaus=plateaus,
        exits=exit_times(times, course.loss, plateaus),
        reservation="",
    )


def compared(problem: Problem, run: Descent, theory: Prediction) -> Answer:
    """Plateaus with their exits in theory and run, the other fixed points, and the gap of the losses.

    A run that is unstable has neither exits nor a gap.
    """
    observed = np.full(len(theory.exits), np.nan)
    gap = np.nan
    if run.is_stable:
        times = run.run.flow_time[: run.steps]
        observed = exit_times(times, run.run.loss[: run.steps], theory.plateaus)
        gap = l2_gap(run.flow_time, theory.loss, run.loss)
    plateaus = [
        {"subset": list(subset), "loss": loss, "theory": predicted, "run": seen}
        for subset, loss, predicted, seen in zip(
            theory.subsets,
            theory.plateaus,
            [*theory.exits, np.nan],
            [*observed, np.nan],
            strict=True,
        )
    ]
    return {
        "plateaus": plateaus,
        "others": _other_losses(problem, theory.plateaus),
        "gap": gap,
    }


def _other_losses(problem: Problem, visited: FloatArray) -> FloatArray:
    """Losses of the fixed points that are not visited, each once, by increasing loss."""
    points = fixed_points(problem.task, problem.model)
    losses = np.array([point.loss for point in points])
    is_first = np.diff(losses, prepend=-np.inf) > SAME_LOSS
    distance = np.min(np.abs(losses[:, None] - visited), axis=1)
    is_other = is_first & (distance > SAME_LOSS)
    return np.asarray(losses[is_other])
