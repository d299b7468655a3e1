"""How predictions are compared with what all seeds share, and with what varies from seed to seed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from .evidence import Curve, Evidence
from .judges import (
    BONFERRONI_COUNT,
    CONFIDENCE,
    FAMILYWISE_ERROR,
    curve,
    student_quantile,
)

Subset = tuple[int, ...]

GREEDY_SHARE = 0.95
"""Share of plateaus that are to be greedy: at a finite scale one run in a hundred visits another first."""

FEWEST_PLATEAUS = 40
"""With fewer, one wrong plateau in twenty and none could not be told apart."""

UNEXPLAINED = 0.5
"""Part of the variance over the seeds that may be unexplained: one time for all leaves 1, other scatter makes 2."""

SHARE_CONFIDENCE = 0.99
"""Probability with which a share that a few runs give must be below UNEXPLAINED; else more runs are asked for."""

WIDEST_MEAN = 0.05
"""Relative half-width of the interval of a mean above which it tells too little: more runs are asked for."""

FEWEST_RUNS = 6
"""With fewer runs Student's quantile at CONFIDENCE is so large that no mean would disagree."""


def drop_counts_agree(predicted: int, observed: list[int]) -> Evidence:
    """Every run has the predicted number of drops."""
    return Evidence(
        agrees=all(count == predicted for count in observed),
        observed=f"{min(observed)} to {max(observed)} drops in {len(observed)} runs",
        expected=f"{predicted} in every run",
    )


class _SamplingBounds(NamedTuple):
    """Bounds of standard normal gaps: of each, of their mean times √n, and of the sum of squares about it."""

    gap: float
    mean: float
    sum_of_squares: float


def _sampling_bounds(count: int) -> _SamplingBounds:
    """Bounds that hold together with probability CONFIDENCE."""
    from scipy.special import chdtri, ndtri

    # Three checks share the false alarms; the first of them is made `count` times, and two have two tails.
    false_alarm = (1 - CONFIDENCE) / 3
    return _SamplingBounds(
        gap=float(-ndtri(false_alarm / 2 / count)),
        mean=float(-ndtri(false_alarm / 2)),
        sum_of_squares=float(chdtri(count - 1, false_alarm)),
    )


def _within_sampling(gaps: FloatArray, bounds: _SamplingBounds) -> bool:
    """Whether each gap (runs,), their mean and the sum of squares about it keep the bounds."""
    mean = gaps.mean() * np.sqrt(len(gaps))
    sum_of_squares = np.sum((gaps - gaps.mean()) ** 2)
    gaps_agree = np.max(np.abs(gaps)) <= bounds.gap
    mean_agrees = abs(mean) <= bounds.mean
    return bool(gaps_agree and mean_agrees and sum_of_squares <= bounds.sum_of_squares)


def final_losses_agree(
    predicted: FloatArray, observed: tuple[FloatArray, float]
) -> Evidence:
    """Final losses of every run (runs,), their mean and their variance are within what sampling makes.

    `observed` are the losses (runs,) and the standard error of each.
    """
    losses, error = observed
    count = len(losses)
    gaps = (losses - predicted) / error  # (runs,), standard normal in theory
    bounds = _sampling_bounds(count)

    worst = float(np.max(np.abs(gaps)))
    scatter = losses.std(ddof=1)
    return Evidence(
        agrees=_within_sampling(gaps, bounds),
        observed=f"{losses.mean():.5f} ± {scatter:.5f} in {count} runs, worst {worst:.1f}",
        expected=(
            f"{predicted.mean():.5f} ± {error:.5f} by sampling, "
            f"in {bounds.gap:.1f} errors, the mean in {bounds.mean:.1f}"
        ),
        residual=worst,
        curves=(curve("final loss", predicted, losses),),
        axes=("run", "loss"),
    )


class _Deviation(NamedTuple):
    """Mean of ln(observed/predicted) over the runs, its standard error, and the share of the variance it leaves.

    `largest_share` bounds that share with probability SHARE_CONFIDENCE; `worst` is the largest of one run.
    """

    mean: float
    error: float
    share: float
    largest_share: float
    worst: float


def _deviation(predicted: FloatArray, observed: FloatArray) -> _Deviation:
    from scipy.special import fdtri

    count = len(observed)
    deviation = np.log(observed / predicted)  # (runs,)
    share = float(deviation.var() / np.log(observed).var())
    # The ratio of two variances from as many runs varies as Fisher's F.
    quantile = float(fdtri(count - 1, count - 1, SHARE_CONFIDENCE))
    return _Deviation(
        mean=float(deviation.mean()),
        error=float(deviation.std(ddof=1) / np.sqrt(count)),
        share=share,
        largest_share=share * quantile,
        worst=float(np.max(np.abs(deviation))),
    )


def variance_explained(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """ln(observed/predicted) (runs,) has a mean of 0 within Student's t, and at most half of the variance."""
    count = len(observed)
    deviation = _deviation(predicted, observed)
    is_centred = abs(deviation.mean) <= student_quantile(count - 1) * deviation.error

    # Few runs may leave a small share by chance: where only its bound is too large, more of them will tell.
    is_small = deviation.largest_share <= UNEXPLAINED
    may_be_small = deviation.share <= UNEXPLAINED
    by_time = np.argsort(observed)
    return Evidence(
        agrees=is_centred and is_small,
        observed=(
            f"mean {100 * deviation.mean:+.2f} ± {100 * deviation.error:.2f} %, "
            f"{100 * deviation.share:.1f} % of the variance left in {count} runs"
        ),
        expected=(
            f"0 within Student's t at {CONFIDENCE:g}, "
            f"at most {100 * UNEXPLAINED:g} % left at {SHARE_CONFIDENCE:g}"
        ),
        residual=deviation.worst,
        curves=(
            curve("time of every run, in order", predicted[by_time], observed[by_time]),
        ),
        axes=("run", "flow time"),
        undecided=is_centred and may_be_small and not is_small,
    )


def first_exits_explained(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """`variance_explained`, of the first of the exits (runs, exits) alone."""
    return variance_explained(predicted[:, 0], observed[:, 0])


class _Means(NamedTuple):
    """Means over the runs (n,), the half-widths of their intervals (n,), and how many runs make each (n,)."""

    mean: FloatArray
    half_width: FloatArray
    counts: NDArray[np.intp]

    @property
    def is_wide(self) -> bool:
        """Whether an interval holds so much beside its mean that more runs are needed."""
        return bool(np.any(self.half_width > WIDEST_MEAN * np.abs(self.mean)))

    def contain(self, predicted: FloatArray) -> bool:
        """Whether every interval contains its predicted number (n,)."""
        return bool(np.all(np.abs(self.mean - predicted) <= self.half_width))


def _means(observed: FloatArray) -> _Means:
    """Means of the numbers (runs, n), of which those that a run does not have are nan."""
    counts = np.sum(np.isfinite(observed), axis=0)  # (n,)
    mean = np.nanmean(observed, axis=0)
    deviation = np.nanstd(observed, axis=0, ddof=1)
    error = deviation / np.sqrt(counts)
    # Each number has its own freedom: a plateau that few runs visit is known less well.
    quantiles = np.array([student_quantile(int(count) - 1) for count in counts])
    return _Means(mean, quantiles * error, counts)


def means_within_scatter(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Every mean (n,) over the runs (runs, n) is no further off than Student's t allows, and known well enough.

    At least half of the runs must have each number.
    """
    means = _means(observed)
    run_count = len(observed)
    enough = run_count >= FEWEST_RUNS and np.min(means.counts) >= run_count / 2
    holds = bool(enough and means.contain(predicted))

    percent = 100 * (means.mean / predicted - 1)
    numbers = _in_words(means.mean, ".4f")
    return Evidence(
        agrees=holds and not means.is_wide,
        observed=f"{numbers} ({_in_words(percent, '+.1f')} %) in {means.counts.min()} runs",
        expected=(
            f"{_in_words(predicted, '.4f')} within Student's t at {CONFIDENCE:g}, "
            f"± {100 * WIDEST_MEAN:g} % at most"
        ),
        residual=float(np.max(np.abs(percent))) / 100,
        curves=(curve("mean over the runs", predicted, means.mean),),
        axes=("number", "value"),
        undecided=holds and means.is_wide,
    )


def _in_words(values: FloatArray, form: str) -> str:
    return ", ".join(format(value, form) for value in values)


def exit_ranks_agree(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Rank correlations of exits 2, 3, …, of (runs, exits), are together further from 0 than chance takes them."""
    from scipy.special import ndtri

    exits = _later_exits(predicted, observed)
    correlations = [_rank_correlation(*pair) for pair in exits]

    # Fisher: artanh of a correlation of n pairs is normal with variance 1/(n − 3), so that their mean times the
    # root of all n − 3 is standard normal where ranks are independent. A correlation of 1 has no artanh.
    freedom = sum(len(times) - 3 for _, times in exits)
    transformed = np.arctanh(np.clip(correlations, -0.999, 0.999))
    standard_errors = float(np.mean(transformed) * np.sqrt(freedom))
    least = float(-ndtri(FAMILYWISE_ERROR / BONFERRONI_COUNT))
    return Evidence(
        agrees=standard_errors >= least,
        observed=(
            f"rank correlations {', '.join(f'{value:.2f}' for value in correlations)}, "
            f"{standard_errors:.1f} standard errors together"
        ),
        expected=f"at least {least:.1f} standard errors above 0",
        residual=1 - min(correlations),
        curves=tuple(_exit_curve(m, *pair) for m, pair in enumerate(exits, 2)),
        axes=("run", "flow time"),
    )


def _later_exits(
    predicted: FloatArray, observed: FloatArray
) -> list[tuple[FloatArray, FloatArray]]:
    """Predicted and observed times of exits 2, 3, …, of the runs that made them."""
    exits = []
    # The first exit is judged by its time itself, which later ones inherit.
    columns = zip(predicted.T[1:], observed.T[1:], strict=True)
    for prediction, observation in columns:
        made = np.isfinite(prediction) & np.isfinite(observation)
        exits.append((prediction[made], observation[made]))
    return exits


def _rank_correlation(predicted: FloatArray, observed: FloatArray) -> float:
    """Spearman's rank correlation, 0 where one predicted time for all leaves nothing to be ranked."""
    from scipy.stats import rankdata

    predicted_ranks = rankdata(predicted)
    if np.ptp(predicted_ranks) == 0:
        return 0.0
    return float(np.corrcoef(predicted_ranks, rankdata(observed))[0, 1])


def _exit_curve(number: int, predicted: FloatArray, observed: FloatArray) -> Curve:
    by_time = np.argsort(observed)
    return curve(f"exit {number}", predicted[by_time], observed[by_time])


def greedy_plateaus_agree(
    predicted: dict[Subset, Subset], observed: list[tuple[Subset, Subset]]
) -> Evidence:
    """Nearly every plateau is the one predicted at its place, among forty or more."""
    count = len(observed)
    agreeing = sum(predicted[place] == subset for place, subset in observed)
    return Evidence(
        agrees=agreeing >= GREEDY_SHARE * count and count >= FEWEST_PLATEAUS,
        observed=f"{agreeing} of {count} plateaus are those of the theory, of 16 possible maps",
        expected=f"{100 * GREEDY_SHARE:g} % of them or more",
    )


def sign_counts_agree(predicted: float, observed: FloatArray) -> Evidence:
    """The number of positive signs is likely for this probability."""
    from scipy.special import bdtr, bdtrc

    count = len(observed)
    positive = int(np.sum(observed > 0))
    as_few = float(bdtr(positive, count, predicted))
    as_many = float(bdtrc(positive - 1, count, predicted)) if positive else 1.0
    # Two tails share the false alarms.
    least_likely = FAMILYWISE_ERROR / BONFERRONI_COUNT / 2
    return Evidence(
        agrees=min(as_few, as_many) >= least_likely,
        observed=f"{positive} of {count} positive",
        expected=f"binomial with probability {predicted:g}",
    )


def within_standard_errors(
    predicted: Sequence[FloatArray], observed: Sequence[FloatArray]
) -> Evidence:
    """The mean over seeds of every number, of cases (seeds, n), is as near to the predicted (n,) as chance lets it.

    All numbers share the false alarms of one stochastic check.
    """
    from scipy.special import stdtrit

    scores, freedoms = [], []
    for prediction, observation in zip(predicted, observed, strict=True):
        count = len(observation)
        error = observation.std(axis=0, ddof=1) / np.sqrt(count)
        scores.append((observation.mean(axis=0) - prediction) / error)
        freedoms.append(count - 1)
    every_score = np.concatenate(scores)
    false_alarm = (1 - CONFIDENCE) / len(every_score)
    bound = -float(stdtrit(min(freedoms), false_alarm / 2))
    largest = float(np.max(np.abs(every_score)))
    curves = [
        curve(f"case {number}", prediction, observation.mean(axis=0))
        for number, (prediction, observation) in enumerate(
            zip(predicted, observed, strict=True), 1
        )
    ]
    return Evidence(
        agrees=largest <= bound,
        observed=f"{largest:.1f} standard errors at most, of {len(every_score)} numbers",
        expected=f"at most {bound:.1f} standard errors (Student's t, {min(freedoms) + 1} samples)",
        residual=largest,
        curves=tuple(curves),
        axes=("number", "value"),
    )
