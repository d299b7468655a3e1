"""How what is shared by all seeds, and what scatters over them, is held against a prediction."""

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from .evidence import Evidence
from .judges import (
    BONFERRONI_COUNT,
    CONFIDENCE,
    FAMILYWISE_ERROR,
    curve,
    student_quantile,
)

Subset = tuple[int, ...]

MOST = 0.95
"""Share of plateaus that are to be greedy: at a finite scale one run in a hundred visits another first."""

SHARE = 0.5
"""Part of the variance over the seeds that may be left: one time for all leaves 1, scatter of its own makes 2."""

CONFIDENT = 0.99
"""Probability with which a share that a few runs give must be below SHARE; until it is, more runs are asked for."""

WIDE = 0.05
"""Relative half-width of the interval of a mean above which it tells too little: more runs are asked for."""


def all_equal(predicted: int, observed: list[int]) -> Evidence:
    """Every run has the predicted number of drops."""
    shown = f"{min(observed)} to {max(observed)} drops in {len(observed)} runs"
    return Evidence(
        all(count == predicted for count in observed),
        shown,
        f"{predicted} in every run",
    )


def one_level(predicted: FloatArray, observed: tuple[FloatArray, float]) -> Evidence:
    """Every run, their mean and their scatter within what sampling makes."""
    from scipy.special import chdtri, ndtri

    final, error = observed
    gaps = (final - predicted) / error
    each, together = (
        float(-ndtri((1 - CONFIDENCE) / 6 / count)) for count in (len(gaps), 1)
    )
    mean, scatter = (
        float(gaps.mean() * np.sqrt(len(gaps))),
        float(np.sum((gaps - gaps.mean()) ** 2)),
    )
    agrees = np.max(np.abs(gaps)) <= each and abs(mean) <= together
    return Evidence(
        bool(agrees) and scatter <= float(chdtri(len(gaps) - 1, (1 - CONFIDENCE) / 3)),
        f"{final.mean():.5f} ± {final.std(ddof=1):.5f} in {len(final)} runs, worst {np.max(np.abs(gaps)):.1f}",
        f"{predicted.mean():.5f} ± {error:.5f} by sampling, in {each:.1f} errors, the mean in {together:.1f}",
        residual=float(np.max(np.abs(gaps))),
        curves=(curve("final loss", predicted, final),),
        axes=("run", "loss"),
    )


def explained(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """ln(observed/predicted) has a mean of 0 within Student's t, and clearly at most SHARE of the variance."""
    from scipy.special import fdtri

    left = np.log(observed / predicted)
    error = left.std(ddof=1) / np.sqrt(len(left))
    share = float(left.var() / np.log(observed).var())
    most = share * float(fdtri(len(left) - 1, len(left) - 1, CONFIDENT))
    centred = bool(abs(left.mean()) <= student_quantile(len(left) - 1) * error)
    order = np.argsort(observed)
    return Evidence(
        centred and most <= SHARE,
        f"mean {100 * left.mean():+.2f} ± {100 * error:.2f} %, {100 * share:.1f} % of the variance left"
        f" in {len(left)} runs",
        f"0 within Student's t at {CONFIDENCE:g}, at most {100 * SHARE:g} % left at {CONFIDENT:g}",
        residual=float(np.max(np.abs(left))),
        curves=(
            curve("time of every run, in order", predicted[order], observed[order]),
        ),
        axes=("run", "flow time"),
        undecided=centred and share <= SHARE < most,
    )


def means_within_scatter(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Every mean over the runs no further off than Student's t allows, which half of them give, narrowly enough."""
    counts = np.sum(np.isfinite(observed), axis=0)
    mean, spread = np.nanmean(observed, axis=0), np.nanstd(observed, axis=0, ddof=1)
    allowed = (
        np.array([student_quantile(int(count) - 1) for count in counts])
        * spread
        / np.sqrt(counts)
    )
    inside, wide = (
        np.abs(mean - predicted) <= allowed,
        bool(np.any(allowed > WIDE * np.abs(mean))),
    )
    enough = bool(np.all(counts >= len(observed) / 2)) and len(observed) >= 6
    relative = 100 * (mean / predicted - 1)
    holds = enough and bool(np.all(inside))

    def listed(values: FloatArray, form: str) -> str:
        return ", ".join(format(value, form) for value in values)

    return Evidence(
        holds and not wide,
        f"{listed(mean, '.4f')} ({listed(relative, '+.1f')} %) in {counts.min()} runs",
        f"{listed(predicted, '.4f')} within Student's t at {CONFIDENCE:g}, ± {100 * WIDE:g} % at most",
        residual=float(np.max(np.abs(relative))) / 100,
        curves=(curve("mean over the runs", predicted, mean),),
        axes=("number", "value"),
        undecided=holds and wide,
    )


def first_explained(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """`explained`, of the first exit alone."""
    return explained(predicted[:, 0], observed[:, 0])


def ranks_agree(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Rank correlations of exits 2, 3 and 4, together further from 0 than chance takes them."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    found, freedom = [], 0
    for p, o in zip(predicted.T[1:], observed.T[1:], strict=True):
        both = np.isfinite(p) & np.isfinite(o)
        p, o = rankdata(p[both]), rankdata(o[both])
        found.append(float(np.corrcoef(p, o)[0, 1]) if np.ptp(p) > 0 else 0.0)
        freedom += len(o) - 3
    together = float(
        np.mean(np.arctanh(np.clip(found, -0.999, 0.999))) * np.sqrt(freedom)
    )
    allowed = float(-ndtri(FAMILYWISE_ERROR / BONFERRONI_COUNT))
    return Evidence(
        together >= allowed,
        f"rank correlations {', '.join(f'{each:.2f}' for each in found)}, {together:.1f} standard errors together",
        f"at least {allowed:.1f} standard errors above 0",
        residual=1 - min(found),
        curves=tuple(
            curve(f"exit {m}", p[order], o[order])
            for m, p, o, order in _sorted(predicted[:, 1:], observed[:, 1:])
        ),
        axes=("run", "flow time"),
    )


def _sorted(
    predicted: FloatArray, observed: FloatArray
) -> list[tuple[int, FloatArray, FloatArray, NDArray[np.intp]]]:
    """Exits 2, 3, … with the runs that made them, in the order of their times."""
    found = []
    for m, (p, o) in enumerate(zip(predicted.T, observed.T, strict=True), 2):
        both = np.isfinite(p) & np.isfinite(o)
        found.append((m, p[both], o[both], np.argsort(o[both])))
    return found


def same_plateaus(
    predicted: dict[Subset, Subset], observed: list[tuple[Subset, Subset]]
) -> Evidence:
    """Nearly every plateau is the one predicted at its place, among forty or more."""
    agree = sum(predicted[place] == subset for place, subset in observed)
    shown = f"{agree} of {len(observed)} plateaus are those of the theory, of 16 possible maps"
    agrees = agree >= MOST * len(observed) and len(observed) >= 40
    return Evidence(agrees, shown, f"{100 * MOST:g} % of them or more")


def binomial(predicted: float, observed: FloatArray) -> Evidence:
    """The number of positive signs is likely for this probability."""
    from scipy.special import bdtr, bdtrc

    count, positive = len(observed), int(np.sum(observed > 0))
    below, above = (
        float(bdtr(positive, count, predicted)),
        float(bdtrc(positive - 1, count, predicted)),
    )
    agrees = (
        min(below, above if positive else 1.0)
        >= FAMILYWISE_ERROR / BONFERRONI_COUNT / 2
    )
    return Evidence(
        agrees,
        f"{positive} of {count} positive",
        f"binomial with probability {predicted:g}",
    )
