"""Softmax attention: no finite statistics, so runs on the tokens, and a count of their drops."""

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

FULL = "softmax_separate"
ONE, SEVERAL, NONE = "one drop", "several drops", "no drop"
RANGES = {ONE: (1, 1), SEVERAL: (2, 5), NONE: (0, 0)}
"""Fewest and most drops; a head of rank one can make one, and there are five."""

FIRST = 12
"""Steps of the run that is kept that are repeated."""


def _losses(context: RunContext) -> list[Losses]:
    return [(run.time, run.loss) for run in context.trajectories]


def _range(number: str) -> Callable[[RunContext, str], tuple[int, int]]:
    """The claimed number of drops, or that of a control."""
    return lambda context, control: RANGES[number if control == UNMODIFIED else control]


def _counted(predicted: tuple[int, int], observed: Sequence[Losses]) -> Evidence:
    """Every run has a number of drops in the range."""
    places = [drops(*each) for each in observed]
    counts = [len(each) for each in places]
    fewest, most = predicted
    agrees = all(fewest <= count <= most for count in counts)
    said = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    return Evidence(
        agrees,
        f"{', '.join(map(str, counts))} drops, at steps {'; '.join(_said(each) for each in places)}",
        f"{said} in each run, pauses {PAUSE:g} times slower than the drops",
        curves=tuple(_at_drops(k, *each) for k, each in enumerate(observed, 1)),
        axes=("steps", "loss"),
    )


def _said(places: FloatArray) -> str:
    return ", ".join(f"{place:.0f}" for place in places)


def _at_drops(number: int, time: FloatArray, loss: FloatArray) -> Curve:
    """A loss, and the stairs between its values where it pauses."""
    edges = np.searchsorted(time, drops(time, loss))
    stairs = np.full(len(loss), loss[0])
    for first, last in zip(edges, [*edges[1:], len(loss)], strict=True):
        stairs[first:] = np.median(loss[first:last])
    return curve(f"run {number}", stairs, loss, time)


def _first_losses(context: RunContext) -> FloatArray:
    """What the kept run lost at its first steps."""
    return read_archived_run(archived_file(FULL)).loss[:FIRST]


def _repeated(context: RunContext, control: str) -> FloatArray:
    """Losses of the same steps, made again on all sequences."""
    experiment = replace(softmax_full_size(0), steps=FIRST)
    changes: dict[str, dict[str, Any]] = {
        UNMODIFIED: {},
        "twice the rate": {"learning_rate": 2 * experiment.learning_rate},
        "x not centred": {"centre": False},
    }
    return replace(experiment, **changes[control]).run().loss


def _repeats(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Equal at every step, up to rounding."""
    return equal_within(1e-11, np.arange(FIRST, dtype=float), ("steps", "loss"))(
        [predicted], [observed]
    )


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
        observable="drops of four runs, all weights on 5,000 sequences; a pause falls five times slower than both",
        limit="none: counted at a small initial scale",
        hypotheses=(
            "D = 4, N = 31, λ ∝ (4, 3, 2, 1)",
            "scores unscaled, over all N + 1 tokens",
            "a small start",
        ),
        measure=_losses,
        predict=_range(number),
        judge=_counted,
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
        title="Rank-one softmax attention drops several times also on 80,000 sequences",
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
            losses_of(softmax_full_size(context.seed), FULL, context.folder)
        ],
        predict=_range(SEVERAL),
        judge=_counted,
        controls=(ONE, NONE),
        tier="paper",
        figure="softmax",
    ),
    Claim(
        id="softmax_drops.kept_run",
        title="The kept losses of the run on 80,000 sequences are those of its experiment",
        origin="our own convention: a run that is made once is kept with what it takes to repeat it",
        statement=r"L_{\mathrm{kept}}(\mathrm{step}) = L(\mathrm{step})",
        observable="largest relative gap over the first twelve steps, made again on all sequences",
        limit="none: exact up to rounding",
        measure=_first_losses,
        predict=_repeated,
        judge=_repeats,
        controls=("twice the rate", "x not centred"),
        tier="long",
    ),
)
