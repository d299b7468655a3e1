"""Overlays of separate runs: judged in time, with budgets that cover their residuals."""

from dataclasses import replace

import numpy as np
import pytest

from attndyn import Separate, Task
from attndyn.compare.claims.linear_attention.common.plateau_budget import (
    MODES,
    height_budget,
)
from attndyn.compare.claims.linear_attention.separate.conservation_laws import (
    ONE_PAIR,
    TRANSPOSED,
    conservation,
)
from attndyn.compare.claims.linear_attention.separate.published_runs import (
    CLOSE,
    Overlaid,
    _budget,
    _close,
    _exits,
    _staircase,
)
from attndyn.compare.error_budget import SAMPLE, SOLVER, START, STEP, flow_budget
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import Experiment, flow, network_features
from attndyn.theory import fixed_point, population

TASK, MODEL = (
    Task(eigenvalues=[2, 1], trace=1.0, context_length=10),
    Separate(heads=3, divisor="none"),
)
RUN = Experiment(
    TASK,
    MODEL,
    40_000,
    scale=0.03,
    learning_rate=0.05,
    steps=8_000,
    whiten=True,
    centre=True,
)
LEVELS = population(TASK, MODEL).greedy_losses


@pytest.fixture(scope="module")
def run():
    return RUN.run()


def overlaid(*exits):
    return Overlaid(
        [np.array(each) for each in exits],
        np.array([0.0, 1.0]),
        np.array([1.0, 0.5]),
    )


# What the typical drop tells


def test_drops_are_compared_in_the_logarithm_of_time():
    late = [10.0 * (1 + 0.8 * CLOSE), 1000.0 * (1 + 0.8 * CLOSE)]
    evidence = _close(0, 2)(overlaid([10.0, 1000.0]), overlaid(late))
    assert evidence.agrees
    assert evidence.residual == pytest.approx(np.log1p(0.8 * CLOSE))
    assert not _close(0, 2)(overlaid([10.0, 1000.0]), overlaid([11.0, 1100.0])).agrees


def test_drops_that_a_run_has_not_made_are_left_out():
    expected, seen = (
        overlaid([10.0, 50.0, 90.0], [20.0]),
        overlaid([10.1, np.nan, np.nan], [20.0]),
    )
    evidence = _close(0, 3)(expected, seen)
    assert evidence.agrees
    assert evidence.observed.startswith("2 drops")


# Budgets


@pytest.mark.slow
def test_the_budget_of_the_times_covers_their_gap(run):
    drops = _exits(RUN, run)
    sizes = _budget(RUN, drops, "LSODA")
    gap = float(np.max(np.abs(np.log(drops / _staircase(RUN).exit_times))))
    assert list(sizes) == [STEP, SAMPLE, SOLVER, START]
    assert gap <= sum(sizes.values()) * (1 + 1e-9)
    assert sizes[SOLVER] < 1e-6


def test_each_size_of_the_times_falls_with_its_own_limit_alone(run):
    before = _budget(RUN, _exits(RUN, run), "LSODA")
    half = replace(RUN, learning_rate=RUN.learning_rate / 2, steps=2 * RUN.steps)
    finer = _budget(half, _exits(half, half.run()), "LSODA")
    assert finer[STEP] == pytest.approx(before[STEP] / 2, rel=0.1)
    assert finer[SAMPLE] == pytest.approx(before[SAMPLE], rel=1e-3)


@pytest.mark.parametrize("scale", [RUN.scale, RUN.scale / 10])
def test_no_part_of_the_budget_is_the_initial_scale(scale):
    """On unlimited data the loss passes each level within 1e-5 of the exit time, from weights of any scale."""
    each, exact = replace(RUN, scale=scale), population_statistics(TASK, MODEL)
    for time, level in zip(
        _staircase(each).exit_times, (LEVELS[:-1] + LEVELS[1:]) / 2, strict=True
    ):
        around = flow(
            MODEL,
            exact,
            each.start,
            [0.0, time * (1 - 1e-5), time * (1 + 1e-5)],
            rtol=1e-12,
        ).loss
        assert around[1] > level > around[2]


def test_the_budget_of_the_heights_is_the_sample_alone(run):
    sizes = height_budget(
        RUN, run, (0, 2), np.linspace(0, run.flow_time[-1], 400), method="LSODA"
    )
    assert list(sizes) == [STEP, SAMPLE, SOLVER, MODES, START]
    assert sizes[SAMPLE] > 0.9 * sum(sizes.values())
    z, y = network_features(RUN.data, MODEL)
    maps = [np.zeros((2, 2)), fixed_point(TASK, MODEL, (1, 2)).M]
    gaps = [
        abs(np.mean((z @ M.ravel() - y) ** 2) - level)
        for M, level in zip(maps, LEVELS[[0, 2]], strict=True)
    ]
    assert sizes[SAMPLE] == pytest.approx(
        max(gaps), rel=0.2
    )  # the sampled loss at M_m, but for the fit to it


def test_modes_not_learned_yet_show_where_a_plateau_is_cut_short(run):
    early = np.linspace(
        0, 0.9 * _exits(RUN, run)[0], 200
    )  # the first drop has not come, and has begun
    seen = flow_budget(
        RUN,
        [1.0],
        lambda each: each.loss[-1:],
        lambda last: {MODES: [1.0]},
        early,
        method="LSODA",
    )
    assert seen[MODES] > 1e-3


def test_a_flow_that_does_not_make_the_drop_is_refused(run):
    with pytest.raises(ValueError, match="finite"):
        height_budget(RUN, run, (0, 2), np.linspace(0, 1.0, 20), method="LSODA")


# Heads of higher rank


def test_rank_one_has_no_pair_to_leave_out():
    assert {TRANSPOSED, ONE_PAIR} <= set(
        conservation("made.up", Separate(2, 2)).controls
    )
    assert not {TRANSPOSED, ONE_PAIR} & set(
        conservation("made.up", Separate(2, 1)).controls
    )
