"""The staircase over separate runs of the published size: drop by drop, where one belongs to the other in time.

A small shift in time is a large difference in loss where the loss falls steeply, and a plateau has no time of its
own. So the two are held against each other in the logarithm of the time of every drop; heights have claims apart.
"""

from functools import cache

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

Overlaid = tuple[list[FloatArray], FloatArray, FloatArray]
"""Times of the drops of every run, nan for those not made; flow times and losses of the run that is shown."""

CLOSE = 0.05
"""Share of its time by which the typical drop may be early or late at the published scale and sample."""

ONE_TIME = "one time for every seed"
FIRST_PAIR = "the first pair of each head alone"
SHOWN, SPARE, POINTS = 400, 3.0, 800
TWO = RANKS.index(2)
"""The low-rank run that is shown, and whose first head is in the budget: flows of higher ranks take longer."""


def _exits(experiment: Experiment, run: Trajectory) -> FloatArray:
    levels = population(experiment.task, experiment.model).greedy_losses
    return exit_times(run.flow_time, run.loss, levels)


def _shown(run: Trajectory, steps: int) -> tuple[FloatArray, FloatArray]:
    every = max(1, steps // SHOWN)
    return run.flow_time[:steps:every], run.loss[:steps:every]


def _rank_one(context: RunContext) -> Overlaid:
    """Drops within the published steps."""
    runs = list(zip(context.experiments, context.trajectories, strict=True))
    return [_early_exits(*pair) for pair in runs], *_shown(runs[0][1], PUBLISHED_STEPS)


def _early_exits(experiment: Experiment, run: Trajectory) -> FloatArray:
    exits = _exits(experiment, run)
    return np.where(exits <= run.flow_time[PUBLISHED_STEPS - 1], exits, np.nan)


def _low_rank(context: RunContext) -> Overlaid:
    runs = list(zip(context.experiments, context.trajectories, strict=True))
    return [_exits(*pair) for pair in runs], *_shown(runs[TWO][1], runs[TWO][0].steps)


def _ranks(seed: int) -> tuple[Experiment, ...]:
    return tuple(low_rank(seed, rank) for rank in RANKS)


@cache
def _stairs(experiment: Experiment) -> Staircase:
    return staircase(experiment.task, experiment.model, experiment.start)


def _varied(experiment: Experiment, control: str) -> FloatArray:
    """Exit times of a run by the theory or a variant of it."""
    moments, start = population(experiment.task, experiment.model), experiment.start
    if control == ONE_NUMBER:
        return np.asarray(1 / (moments.b * np.max(np.abs(start["value"]))))
    if control == FIRST_PAIR:
        single = Separate(
            experiment.model.head_count, 1, divisor=experiment.model.divisor
        )
        return staircase(experiment.task, single, _first_pairs(start)).exit_times
    times = _stairs(experiment).exit_times
    return np.asarray(
        times * moments.lam[: len(times)] if control == EIGENVALUE_RATE else times
    )


def _first_pairs(start: Weights) -> Weights:
    return {
        name: value if name == "value" else value[:, :1]
        for name, value in start.items()
    }


def _predicted(
    experiments: tuple[Experiment, ...], shown: int, steps: int, control: str
) -> Overlaid:
    exits = [_varied(each, control) for each in experiments]
    if control == ONE_TIME:
        exits = [np.exp(np.mean(np.log(exits), axis=0))] * len(exits)
    run = experiments[shown]
    times = (
        2 * run.learning_rate * np.arange(0, steps, max(1, steps // SHOWN), dtype=float)
    )
    return exits, times, _stairs(run).loss(times)


def _close(shown: int, drops: int) -> Judge:
    """The typical drop is at most CLOSE off in time; the residual is that of the first `drops` of one run."""

    def judge(predicted: Overlaid, observed: Overlaid) -> Evidence:
        pairs = zip(predicted[0], observed[0], strict=True)
        gaps = [np.abs(np.log(o[: len(p)] / p[: len(o)])) for p, o in pairs]
        made = np.concatenate([gap[np.isfinite(gap)] for gap in gaps])
        typical, near = float(np.median(made)), 100 * float(np.mean(made <= CLOSE))
        return Evidence(
            typical <= CLOSE,
            f"{len(made)} drops, typically {100 * typical:.1f} % off in time, {near:.0f} % of them by 5 % at most",
            f"typically {100 * CLOSE:g} % at most",
            residual=float(np.nanmax(gaps[shown][:drops])),
            curves=(curve("loss of one run", predicted[2], observed[2], observed[1]),),
            axes=("flow time", "loss"),
        )

    return judge


def _budget(experiment: Experiment, drops: FloatArray, method: str) -> dict[str, float]:
    """What each approximation does to the logarithms of the times (K,) of the drops that a run made."""
    made = np.isfinite(drops)
    near = np.concatenate(
        [time * (1 + 0.1 * np.linspace(-1, 1, 101) ** 3) for time in drops[made]]
    )
    times = np.unique(
        np.concatenate([np.linspace(0, SPARE * np.max(drops[made]), POINTS), near])
    )

    def seen(run: Trajectory) -> FloatArray:
        return np.asarray(np.log(_exits(experiment, run)[: len(drops)][made]))

    def rest(_: Trajectory) -> dict[str, FloatArray]:
        return {START: np.log(_stairs(experiment).exit_times[: len(drops)][made])}

    return flow_budget(
        experiment, np.log(drops[made]), seen, rest, times, method=method
    )


def _rank_one_budget(context: RunContext) -> dict[str, float]:
    first, run = context.experiments[0], context.trajectories[0]
    return _budget(first, _early_exits(first, run), "LSODA")


def _low_rank_budget(context: RunContext) -> dict[str, float]:
    experiment, run = context.experiments[TWO], context.trajectories[TWO]
    return _budget(experiment, _exits(experiment, run)[:2], "DOP853")


CLAIMS = (
    Claim(
        id="overlays.rank_one",
        title="The staircase lies over the published 10,001 steps of rank-one attention, drop by drop",
        paper="zhang2025",
        equation="simulations of separate attention",
        origin="exits from random weights go beyond",
        statement=r"\ln t_m^{\mathrm{run}} - \ln t_m^{\mathrm{staircase}} \to 0",
        observable="flow time of every drop of six runs on 80,000 sequences, all weights",
        limit="P → ∞, initial scale → 0, step → 0: here the typical drop within 5 % of its time",
        measure=_rank_one,
        predict=lambda context, control: _predicted(
            context.experiments, 0, PUBLISHED_STEPS, control
        ),
        judge=_close(0, 4),
        controls=(ONE_NUMBER, EIGENVALUE_RATE, ONE_TIME),
        experiments=lambda context: separate(context.seed),
        hypotheses=(
            "no weight held at zero",
            "published convention: H = 5, D = 4, scale 0.01, rate 0.02",
        ),
        budget=_rank_one_budget,
        figure="separate_staircase",
    ),
    Claim(
        id="overlays.low_rank",
        title="The staircase lies over runs of rank 8, 4, 2 and 1, short plateaus and long ones",
        paper="zhang2025",
        equation="simulations of low-rank separate attention",
        origin="times go beyond",
        statement=r"\ln t_m^{\mathrm{run}} - \ln t_m^{\mathrm{staircase}} \to 0",
        observable="flow time of every drop of four runs on 80,000 sequences, all weights; the budget is of rank 2",
        limit="P → ∞, initial scale → 0, step → 0: here the typical drop within 5 % of its time",
        measure=_low_rank,
        predict=lambda context, control: _predicted(
            context.experiments, TWO, context.experiments[TWO].steps, control
        ),
        judge=_close(TWO, 2),
        controls=(ONE_NUMBER, EIGENVALUE_RATE, FIRST_PAIR),
        experiments=lambda context: _ranks(context.seed),
        hypotheses=("no weight held at zero", "D = 8, H = 9, scale 0.005, rate 0.02"),
        tier="long",
        budget=_low_rank_budget,
        figure="low_rank",
    ),
)
