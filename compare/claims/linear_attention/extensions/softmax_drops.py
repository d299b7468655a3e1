"""Claims on softmax attention: its drops are counted in runs on the tokens, since it has no finite statistics."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .....runtime.arrays import FloatArray
from .....simulate import Experiment
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Curve, Evidence
from ....evidence.judges import curve, equal_within
from ....metrics.loss_drops import PAUSE, drops
from ..common.archived_runs import archived_file, losses_of, read_archived_run
from ..common.experiments import softmax_full_size, softmax_merged, softmax_separate

Losses = tuple[FloatArray, FloatArray]

ARCHIVED = "softmax_separate"
ONE, SEVERAL, NONE = "one drop", "several drops", "no drop"
RANGES = {ONE: (1, 1), SEVERAL: (2, 5), NONE: (0, 0)}
"""Fewest and most drops: a head of rank one can make one drop, and there are five heads."""

REPEATED_STEPS = 12
"""First steps of the archived run that are made again: one takes seconds on 80,000 sequences."""

FASTER, UNCENTRED = "twice the learning rate", "x not centred"


def _losses(context: RunContext) -> list[Losses]:
    """Steps and losses of every run."""
    return [(run.time, run.loss) for run in context.trajectories]


def _range(number: str) -> Callable[[RunContext, str], tuple[int, int]]:
    """The claimed number of drops, or that of a control."""
    return lambda context, control: RANGES[number if control == UNMODIFIED else control]


def _every_count_in_range(
    predicted: tuple[int, int], observed: Sequence[Losses]
) -> Evidence:
    """Every run has a number of drops in the range."""
    fewest, most = predicted
    drop_times = [drops(time, loss) for time, loss in observed]
    counts = [len(times) for times in drop_times]
    agrees = all(fewest <= count <= most for count in counts)

    expected_count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    steps = "; ".join(
        ", ".join(f"{time:.0f}" for time in times) for times in drop_times
    )
    return Evidence(
        agrees,
        f"{', '.join(map(str, counts))} drops, at steps {steps}",
        f"{expected_count} in each run, pauses {PAUSE:g} times slower than the drops",
        curves=tuple(
            _with_plateaus(number, time, loss)
            for number, (time, loss) in enumerate(observed, 1)
        ),
        axes=("steps", "loss"),
    )


def _with_plateaus(number: int, time: FloatArray, loss: FloatArray) -> Curve:
    """The loss of a run, and the piecewise constant curve of its medians between the drops."""
    starts = np.searchsorted(time, drops(time, loss))
    ends = [*starts[1:], len(loss)]
    plateaus = np.full(len(loss), loss[0])
    for start, end in zip(starts, ends, strict=True):
        plateaus[start:] = np.median(loss[start:end])
    return curve(f"run {number}", plateaus, loss, time)


def _archived_losses(context: RunContext) -> FloatArray:
    """Losses of the archived run at its first steps."""
    return read_archived_run(archived_file(ARCHIVED)).loss[:REPEATED_STEPS]


def _repeated_losses(context: RunContext, control: str) -> FloatArray:
    """Losses of the same steps, made again on all sequences."""
    experiment = replace(softmax_full_size(0), steps=REPEATED_STEPS)
    changes: dict[str, dict[str, Any]] = {
        UNMODIFIED: {},
        FASTER: {"learning_rate": 2 * experiment.learning_rate},
        UNCENTRED: {"centre": False},
    }
    return replace(experiment, **changes[control]).run().loss


def _equal_up_to_rounding(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """The losses are equal at every step, up to rounding."""
    steps = np.arange(REPEATED_STEPS, dtype=float)
    judge = equal_within(1e-11, steps, ("steps", "loss"))
    return judge([predicted], [observed])


def _drops_claim(
    name: str,
    title: str,
    number: str,
    experiments: Callable[[int], tuple[Experiment, ...]],
) -> Claim:
    return Claim(
        id=f"softmax_drops.{name}",
        title=title,
        paper="zhang2025",
        equation="softmax attention",
        origin="sizes as in its linear runs, rate and scale are ours",
        statement=r"\#\{\text{maxima of } {-dL/d\ln t}\}",
        observable="drops of four runs, all weights, 5,000 sequences; a pause falls five times "
        "slower than the drops around it",
        limit="none: counted at a small initial scale",
        hypotheses=(
            "D = 4, N = 31, λ ∝ (4, 3, 2, 1)",
            "scores unscaled, over all N + 1 tokens",
            "a small start",
        ),
        measure=_losses,
        predict=_range(number),
        judge=_every_count_in_range,
        controls=tuple(name for name in RANGES if name != number),
        experiments=lambda context: experiments(context.seed),
        tier="long",
        figure="softmax",
    )


CLAIMS = (
    _drops_claim(
        "merged", "The loss of merged softmax attention drops once", ONE, softmax_merged
    ),
    _drops_claim(
        "separate",
        "The loss of rank-one softmax attention drops several times",
        SEVERAL,
        softmax_separate,
    ),
    Claim(
        id="softmax_drops.separate_full_size",
        title="The loss of rank-one softmax attention drops several times on 80,000 sequences, too",
        paper="zhang2025",
        equation="softmax attention",
        origin="rate and scale are ours",
        statement=r"\#\{\text{maxima of } {-dL/d\ln t}\}",
        observable="drops of one run of 20,000 steps, scale 0.05; with seed 0 from losses in the package",
        limit="none: counted at a small initial scale",
        hypotheses=(
            "D = 4, N = 31, H = 5, λ ∝ (4, 3, 2, 1)",
            "scores unscaled, over all N + 1 tokens",
        ),
        measure=lambda context: [
            losses_of(softmax_full_size(context.seed), ARCHIVED, context.folder)
        ],
        predict=_range(SEVERAL),
        judge=_every_count_in_range,
        controls=(ONE, NONE),
        tier="paper",
        figure="softmax",
    ),
    Claim(
        id="softmax_drops.kept_run",
        title="The archived losses of the run on 80,000 sequences are those of its experiment",
        origin="our own convention: a run that is made once is archived with what it takes to repeat it",
        statement=r"L_{\mathrm{archived}}(\mathrm{step}) = L(\mathrm{step})",
        observable="largest relative gap over the first twelve steps, made again on all sequences",
        limit="none: exact up to rounding",
        measure=_archived_losses,
        predict=_repeated_losses,
        judge=_equal_up_to_rounding,
        controls=(FASTER, UNCENTRED),
        tier="long",
    ),
)
