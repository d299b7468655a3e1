"""The staircase over separate runs of the published size: drop by drop, where one belongs to the other in time.

A small shift in time is a large difference in loss where the loss falls steeply, and a plateau has no time of its
own. So the two are compared in the logarithm of the time of every drop; heights have claims apart.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import Experiment, Trajectory
from .....theory import Staircase, population, staircase
from ....error_budget import START, flow_budget
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence, Judge
from ....evidence.judges import curve
from ....metrics.curves import exit_times
from ..common.experiments import PUBLISHED_STEPS, RANKS, low_rank, separate
from .rank_one import EIGENVALUE_RATE, ONE_NUMBER


class Overlaid(NamedTuple):
    """Times of the drops of every run, nan for those not made; flow times and losses of the run that is shown."""

    drops: list[FloatArray]
    times: FloatArray
    loss: FloatArray


CLOSE = 0.05
"""Share of its time by which the typical drop may be early or late at the published scale and sample."""

ONE_TIME = "one time for every seed"
FIRST_PAIR = "the first pair of each head alone"
SHOWN_POINTS = 400
"""Points of the curve that a figure shows."""
SPARE, POINTS = 3.0, 800
"""How far a flow is followed past the last drop, in its time, and how many points it has."""
RANK_TWO = RANKS.index(2)
"""The low-rank run that is shown, and whose first head is in the budget: flows of higher ranks take longer."""


# Observed drops


def _exits(experiment: Experiment, run: Trajectory) -> FloatArray:
    levels = population(experiment.task, experiment.model).greedy_losses
    return exit_times(run.flow_time, run.loss, levels)


def _early_exits(experiment: Experiment, run: Trajectory) -> FloatArray:
    """Drops within the published steps."""
    exits = _exits(experiment, run)
    # The runs go on: only what the published length shows counts.
    last = run.flow_time[PUBLISHED_STEPS - 1]
    return np.where(exits <= last, exits, np.nan)


def _rank_one(context: RunContext) -> Overlaid:
    """Drops within the published steps, and the loss of the first run."""
    drops = [
        _early_exits(experiment, run)
        for experiment, run in zip(
            context.experiments, context.trajectories, strict=True
        )
    ]
    first = context.trajectories[0]
    steps = slice(0, PUBLISHED_STEPS, _stride(PUBLISHED_STEPS))
    return Overlaid(drops, first.flow_time[steps], first.loss[steps])


def _low_rank(context: RunContext) -> Overlaid:
    """All drops of each rank, and the loss of the run of rank two."""
    drops = [
        _exits(experiment, run)
        for experiment, run in zip(
            context.experiments, context.trajectories, strict=True
        )
    ]
    run = context.trajectories[RANK_TWO]
    count = context.experiments[RANK_TWO].steps
    steps = slice(0, count, _stride(count))
    return Overlaid(drops, run.flow_time[steps], run.loss[steps])


def _stride(steps: int) -> int:
    """Steps between the points that are shown."""
    return max(1, steps // SHOWN_POINTS)


def _ranks(seed: int) -> tuple[Experiment, ...]:
    return tuple(low_rank(seed, rank) for rank in RANKS)


# Predicted drops


@cache
def _staircase(experiment: Experiment) -> Staircase:
    return staircase(experiment.task, experiment.model, experiment.start)


def _predicted_exits(experiment: Experiment, control: str) -> FloatArray:
    """Exit times of a run by the theory or a variant of it."""
    moments = population(experiment.task, experiment.model)
    start = experiment.start
    if control == ONE_NUMBER:
        largest = np.max(np.abs(start["value"]))
        times: FloatArray = 1 / (moments.b * largest)
        return times
    if control == FIRST_PAIR:
        model = experiment.model
        single = Separate(model.head_count, 1, divisor=model.divisor)
        return staircase(experiment.task, single, _first_pairs(start)).exit_times

    times = _staircase(experiment).exit_times
    if control == EIGENVALUE_RATE:
        times = times * moments.lam[: len(times)]
    return times


def _first_pairs(start: Weights) -> Weights:
    """The weights of heads of rank one that have the first key and query of each head."""
    return {
        "value": start["value"],
        "key": start["key"][:, :1],
        "query": start["query"][:, :1],
    }


def _predicted_rank_one(context: RunContext, control: str) -> Overlaid:
    return _predicted(context.experiments, 0, PUBLISHED_STEPS, control)


def _predicted_low_rank(context: RunContext, control: str) -> Overlaid:
    steps = context.experiments[RANK_TWO].steps
    return _predicted(context.experiments, RANK_TWO, steps, control)


def _predicted(
    experiments: Sequence[Experiment], shown: int, steps: int, control: str
) -> Overlaid:
    """Drops of every run, and the loss of the one that is shown along its first steps."""
    exits = [_predicted_exits(experiment, control) for experiment in experiments]
    if control == ONE_TIME:
        # One time for all seeds, in the middle of their logarithms.
        # One time for all seeds, in the middle of their logarithms.
        geometric_mean = np.exp(np.mean(np.log(exits), axis=0))
        exits = [geometric_mean] * len(exits)
    run = experiments[shown]
    points = np.arange(0, steps, _stride(steps), dtype=float)
    times = 2 * run.learning_rate * points
    return Overlaid(exits, times, _staircase(run).loss(times))


# The comparison


def _close(shown: int, drops: int) -> Judge:
    """The typical drop is at most CLOSE off in time; the residual is that of the first `drops` of one run."""

    def judge(predicted: Overlaid, observed: Overlaid) -> Evidence:
        gaps = _log_gaps(predicted.drops, observed.drops)
        every_gap = np.concatenate(gaps)
        made = every_gap[np.isfinite(every_gap)]
        typical = float(np.median(made))
        near = 100 * float(np.mean(made <= CLOSE))
        drawn = curve("loss of one run", predicted.loss, observed.loss, observed.times)
        return Evidence(
            agrees=typical <= CLOSE,
            observed=f"{len(made)} drops, typically {100 * typical:.1f} % off in time, "
            f"{near:.0f} % of them by 5 % at most",
            expected=f"typically {100 * CLOSE:g} % at most",
            residual=float(np.nanmax(gaps[shown][:drops])),
            curves=(drawn,),
            axes=("flow time", "loss"),
        )

    return judge


def _log_gaps(
    predicted: list[FloatArray], observed: list[FloatArray]
) -> list[FloatArray]:
    """|ln(t_run / t_staircase)| of the drops that both have, run by run; nan for a drop that is not made."""
    gaps = []
    for stated, made in zip(predicted, observed, strict=True):
        count = min(len(stated), len(made))
        gaps.append(np.abs(np.log(made[:count] / stated[:count])))
    return gaps


# Error budgets


def _budget(experiment: Experiment, drops: FloatArray, method: str) -> dict[str, float]:
    """What each approximation does to the logarithms of the times (K,) of the drops that a run made."""
    made = np.isfinite(drops)

    def log_drops(run: Trajectory) -> FloatArray:
        exits = _exits(experiment, run)[: len(drops)]
        logarithms: FloatArray = np.log(exits[made])
        return logarithms

    def prediction(_: Trajectory) -> dict[str, FloatArray]:
        exits = _staircase(experiment).exit_times[: len(drops)]
        return {START: np.log(exits[made])}

    return flow_budget(
        experiment,
        np.log(drops[made]),
        log_drops,
        prediction,
        _times_around(drops[made]),
        method=method,
    )


def _times_around(drops: FloatArray) -> FloatArray:
    """Flow times for a flow that makes these drops (n,), densest at each of them."""
    around = 1 + 0.1 * np.linspace(-1, 1, 101) ** 3
    near_drops = np.outer(drops, around).ravel()
    coarse = np.linspace(0, SPARE * np.max(drops), POINTS)
    return np.unique(np.concatenate([coarse, near_drops]))


def _rank_one_budget(context: RunContext) -> dict[str, float]:
    experiment, run = context.experiments[0], context.trajectories[0]
    return _budget(experiment, _early_exits(experiment, run), "LSODA")


def _low_rank_budget(context: RunContext) -> dict[str, float]:
    experiment, run = context.experiments[RANK_TWO], context.trajectories[RANK_TWO]
    return _budget(experiment, _exits(experiment, run)[:2], "DOP853")


CLAIMS = (
    Claim(
        id="overlays.rank_one",
        title="The staircase predicts the time of each drop in the published runs of rank one",
        paper="zhang2025",
        equation="simulations of separate attention",
        origin="exits from random weights go beyond",
        statement=r"\ln t_m^{\mathrm{run}} - \ln t_m^{\mathrm{staircase}} \to 0",
        observable="flow time of every drop of six runs on 80,000 sequences, all weights",
        limit="P → ∞, initial scale → 0, step → 0: here the typical drop within 5 % of its time",
        measure=_rank_one,
        predict=_predicted_rank_one,
        judge=_close(0, 4),
        controls=(ONE_NUMBER, EIGENVALUE_RATE, ONE_TIME),
        experiments=lambda context: separate(context.seed),
        hypotheses=(
            "all weights are trained",
            "published convention: H = 5, D = 4, scale 0.01, rate 0.02",
        ),
        budget=_rank_one_budget,
        figure="separate_staircase",
    ),
    Claim(
        id="overlays.low_rank",
        title="The staircase predicts the time of each drop in runs of rank 8, 4, 2 and 1",
        paper="zhang2025",
        equation="simulations of low-rank separate attention",
        origin="times go beyond",
        statement=r"\ln t_m^{\mathrm{run}} - \ln t_m^{\mathrm{staircase}} \to 0",
        observable="flow time of every drop of four runs on 80,000 sequences, all weights; the budget is of rank 2",
        limit="P → ∞, initial scale → 0, step → 0: here the typical drop within 5 % of its time",
        measure=_low_rank,
        predict=_predicted_low_rank,
        judge=_close(RANK_TWO, 2),
        controls=(ONE_NUMBER, EIGENVALUE_RATE, FIRST_PAIR),
        experiments=lambda context: _ranks(context.seed),
        hypotheses=("all weights are trained", "D = 8, H = 9, scale 0.005, rate 0.02"),
        tier="long",
        budget=_low_rank_budget,
        figure="low_rank",
    ),
)
