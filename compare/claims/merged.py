"""Merged key and query: one abrupt drop, with a closed form for white inputs."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...simulate import Experiment, Trajectory, flow, initial_weights
from ...task import Task
from ...theory import growing_mode, population, time_course
from ...theory.merged import aligned_amplitudes
from ..claim import THEORY, Claim, Lab
from ..evidence import Evidence
from ..experiments import FOUR, MERGED, WHITE, merged, seeds
from ..metrics import crossing_times
from ..variants import LONGER_CONTEXT, MOMENTS, TRACE_DROPPED, unlimited, variant, with_context
from .judging import LEVEL, aligned_loss, converges, same, student_quantile

FloatArray = NDArray[np.float64]

SCALES = (1e-2, 3e-3, 1e-3, 3e-4)
VALUE_ALONE = "value rows alone make w₀"
HALF_DROPPED = "½ of the growing mode dropped"
ALIGNED_TIMES = np.linspace(0, 8, 81)


def _aligned_start() -> tuple[float, FloatArray]:
    """s and u of an aligned start that is neither balanced nor on the growing mode."""
    return 0.2, np.array([0.1, 0.05, 0.15, 0.02])


def _aligned_flow(lab: Lab) -> list[FloatArray]:
    s0, u0 = _aligned_start()
    start = initial_weights(MERGED, FOUR, u0, scheme="aligned")
    start["value"] *= s0 / np.linalg.norm(u0)
    return [flow(MERGED, unlimited(FOUR, MERGED), start, ALIGNED_TIMES).loss]


def _aligned_ode(lab: Lab, control: str) -> list[FloatArray]:
    moments = variant(FOUR, MERGED, control)
    s, u = aligned_amplitudes(moments, ALIGNED_TIMES, *_aligned_start())
    return [aligned_loss(moments, s[:, None] * u)]


def _random_flows(task: Task, lab: Lab) -> list[FloatArray]:
    """Losses from random weights of falling scale, over twice the time of the drop."""
    return [flow(MERGED, unlimited(task, MERGED), _start(task, lab, w), _times(task, w)).loss for w in SCALES]


def _start(task: Task, lab: Lab, scale: float) -> dict[str, FloatArray]:
    return initial_weights(MERGED, task, scale, seeds(lab.seed)[0], "restricted")


def _times(task: Task, scale: float) -> FloatArray:
    rate = float(np.linalg.norm(population(task, MERGED).B))
    return np.linspace(0, 2 * np.log(1 / scale) / rate, 400)


def _growing_courses(task: Task, lab: Lab, control: str) -> list[FloatArray]:
    courses = []
    for scale in SCALES:
        start = _start(task, lab, scale)
        w0 = growing_mode(population(task, MERGED), start)
        if control == VALUE_ALONE:
            w0 = float(np.linalg.norm(start["value"]))
        if control == HALF_DROPPED:
            w0 *= 2
        wrong = with_context(task, 32) if control == LONGER_CONTEXT else task
        courses.append(time_course(wrong, MERGED, _times(task, scale), w0).loss)
    return courses


def _drops(task: Task, lab: Lab) -> FloatArray:
    """Flow time of the drop's middle and final loss of every run at the published size, (seeds, 2)."""
    return np.array([_drop(task, lab.run(each)) for each in merged(task, lab.seed)])


def _drop(task: Task, run: Trajectory) -> tuple[float, float]:
    return _half_time(task, run.flow_time, run.loss), float(run.loss[-1])


def _half_time(task: Task, time: FloatArray, loss: FloatArray) -> float:
    moments = population(task, MERGED)
    return float(crossing_times(time, loss, [(moments.c + moments.minimum_loss) / 2])[0])


def _predicted_drops(task: Task, lab: Lab, control: str) -> FloatArray:
    return np.array([_predicted_drop(task, each, control) for each in merged(task, lab.seed)])


def _predicted_drop(task: Task, each: Experiment, control: str) -> tuple[float, float]:
    start = initial_weights(MERGED, task, each.scale, each.seed, each.scheme)
    moments = variant(task, MERGED, control if control in MOMENTS else THEORY)
    w0 = growing_mode(moments, start) * (2 if control == HALF_DROPPED else 1)
    times = np.linspace(0, 2 * each.learning_rate * each.steps, 4000)
    mode = moments.b / np.linalg.norm(moments.b)
    s, u = aligned_amplitudes(moments, times, w0, w0 * mode)
    loss = aligned_loss(moments, s[:, None] * u)
    return _half_time(task, times, loss), float(loss[-1])


def _agree_on_average(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Mean relative difference over the seeds no further from 0 than Student's t allows, for both numbers."""
    relative = observed / predicted - 1
    mean, error = relative.mean(axis=0), relative.std(axis=0, ddof=1) / np.sqrt(len(relative))
    agrees = bool(np.all(np.abs(mean) <= student_quantile(len(relative) - 1) * error))
    shown = [f"{100 * m:+.2f} ± {100 * e:.2f} %" for m, e in zip(mean, error, strict=True)]
    time, final = predicted.mean(axis=0)
    return Evidence(
        agrees,
        f"time of drop {shown[0]}, final loss {shown[1]}",
        f"{time:.3f}, {final:.5f} within Student's t at {LEVEL}",
    )


def _steps_down(task: Task, lab: Lab) -> list[int]:
    """In how many places the loss falls fastest: maxima of −dL/d(time) above a tenth of the largest."""
    return [_fast_places(lab.run(each).loss) for each in merged(task, lab.seed)]


def _fast_places(loss: FloatArray) -> int:
    speed = -np.gradient(loss)
    fast = speed > speed.max() / 10
    return int(np.sum(np.diff(fast.astype(int)) == 1)) + int(fast[0])


def _one_drop(predicted: int, observed: list[int]) -> Evidence:
    agrees = all(count == predicted for count in observed)
    return Evidence(
        agrees, f"{min(observed)} to {max(observed)} drops in {len(observed)} runs", f"{predicted} drop"
    )


def _growing_claim(name: str, task: Task, order: str, scale: Callable[[FloatArray], FloatArray] | None) -> Claim:
    return Claim(
        id=f"merged.growing_mode_{name}",
        title=f"From small random weights the loss follows the growing mode ({name} Λ)",
        source="Zhang et al. 2025, time course of merged attention; its amplitude from random weights goes beyond",
        statement=r"w_0^2 = \sum_h \tfrac14\,(v_h + \langle U_h, B\rangle/\|B\|_F)^2",
        observable="sup gap of the loss to the flow of all heads, over twice the time of the drop",
        limit=f"initial scale → 0, error O({order})",
        measure=lambda lab: _random_flows(task, lab),
        predict=lambda lab, control: _growing_courses(task, lab, control),
        judge=converges(SCALES, 1, scale, order),
        controls=(VALUE_ALONE, HALF_DROPPED, LONGER_CONTEXT),
    )


def _size_claim(name: str, task: Task) -> Claim:
    return Claim(
        id=f"merged.size_{name}",
        title=f"Gradient descent at D = 4, N = 31, H = 8 drops when and to where it should ({name} Λ)",
        source="Zhang et al. 2025, simulations of merged attention",
        statement=r"L(t) = c - 2\,b\cdot(s u) + \sum_d a_d\lambda_d\,(s u_d)^2",
        observable="time of the drop's middle and final loss, twelve data sets of 80,000 sequences, all weights",
        limit="P → ∞, initial scale → 0, step → 0: within the scatter over the data sets",
        measure=lambda lab: _drops(task, lab),
        predict=lambda lab, control: _predicted_drops(task, lab, control),
        judge=_agree_on_average,
        controls=(TRACE_DROPPED, LONGER_CONTEXT, HALF_DROPPED),
        experiments=lambda seed: merged(task, seed),
    )


CLAIMS = (
    Claim(
        id="merged.aligned",
        title="Aligned weights obey D + 1 scalar equations exactly",
        source="Zhang et al. 2025, reduced dynamics of merged attention",
        statement=r"\dot u_d = s\,(\lambda_d^2 - a_d\lambda_d s u_d),\quad \dot s = \sum_d u_d(\cdots)",
        observable="loss of the full gradient flow",
        limit="none: exact",
        measure=_aligned_flow,
        predict=_aligned_ode,
        judge=same(1e-9, ALIGNED_TIMES, ("flow time", "loss")),
        controls=MOMENTS,
        tier="fast",
    ),
    _growing_claim("white", WHITE, "w² ln 1/w", lambda w: w**2 * np.log(1 / w)),
    _growing_claim("general", FOUR, "w", None),
    _size_claim("white", WHITE),
    _size_claim("general", FOUR),
    Claim(
        id="merged.one_drop",
        title="The loss of merged attention drops once",
        source="Zhang et al. 2025, abrupt acquisition in merged attention",
        statement=r"\text{one abrupt drop, from } M = 0 \text{ to } M^*",
        observable="places where the loss falls faster than a tenth of its fastest fall",
        limit="initial scale → 0",
        measure=lambda lab: _steps_down(FOUR, lab),
        predict=lambda lab, control: 1 if control == THEORY else 2,
        judge=_one_drop,
        controls=("two drops",),
        experiments=lambda seed: merged(FOUR, seed),
    ),
)
