"""What is shared by seeds and what scatters over them: judges that accept the truth and reject what is near it."""

import numpy as np
import pytest

from attndyn.compare.evidence.seed_judges import (
    drop_counts_agree,
    exit_ranks_agree,
    final_losses_agree,
    greedy_plateaus_agree,
    means_within_scatter,
    sign_counts_agree,
    variance_explained,
)

RNG = np.random.default_rng
TIMES = np.exp(RNG(1).normal(0, 0.3, 24))


def test_every_count_must_be_the_predicted_one():
    assert drop_counts_agree(1, [1, 1, 1]).agrees
    assert not drop_counts_agree(1, [1, 2, 1]).agrees


@pytest.mark.parametrize("seed", range(5))
def test_a_level_is_one_within_sampling(seed):
    final, error = 0.14 + 0.001 * RNG(seed).standard_normal(12), 0.001
    assert final_losses_agree(np.full(12, 0.14), (final, error)).agrees
    assert not final_losses_agree(
        np.full(12, 0.142), (final, error)
    ).agrees  # a shared shift of two errors
    assert not final_losses_agree(
        np.full(12, 0.14), (0.14 + 4 * (final - 0.14), error)
    ).agrees  # scatter four times as large
    one_off = np.where(np.arange(12) == 0, 0.147, final)
    assert not final_losses_agree(np.full(12, 0.14), (one_off, error)).agrees


@pytest.mark.parametrize("seed", range(5))
def test_times_are_explained_run_by_run(seed):
    observed = TIMES * np.exp(0.05 * RNG(seed).standard_normal(24))
    assert variance_explained(TIMES, observed).agrees
    mean = np.exp(np.log(TIMES).mean())
    assert not variance_explained(
        np.full(24, mean), observed
    ).agrees  # right on average, no scatter
    assert not variance_explained(
        1.3 * TIMES, observed
    ).agrees  # right scatter, wrong on average
    assert not variance_explained(mean**2 / TIMES, observed).agrees


def test_few_runs_whose_share_is_uncertain_ask_for_more():
    few = TIMES[:6] * np.exp(0.1 * np.array([1, -1, 1, -1, 1, -1]))
    assert (
        variance_explained(TIMES[:6], few).agrees,
        variance_explained(TIMES[:6], few).undecided,
    ) == (
        False,
        True,
    )
    wrong = variance_explained(np.full(6, np.exp(np.log(few).mean())), few)
    assert (wrong.agrees, wrong.undecided) == (
        False,
        False,
    )  # nothing is explained, however few


@pytest.mark.parametrize("seed", range(5))
def test_means_are_told_from_others_once_they_are_narrow(seed):
    observed = np.array([2.0, 5.0]) * (1 + 0.02 * RNG(seed).standard_normal((24, 2)))
    assert means_within_scatter(np.array([2.0, 5.0]), observed).agrees
    assert not means_within_scatter(np.array([2.0, 5.6]), observed).agrees
    few = means_within_scatter(np.array([2.0, 5.0]), observed[:6])
    assert (few.agrees, few.undecided) == (False, True)
    far = means_within_scatter(np.array([2.0, 50.0]), observed[:6])
    assert (far.agrees, far.undecided) == (False, False)
    missing = np.where(np.arange(24)[:, None] < 13, np.nan, observed)
    assert not means_within_scatter(
        np.array([2.0, 5.0]), missing
    ).agrees  # a value that half of the runs do not give


def test_ranks_ask_for_the_order_alone():
    observed = np.column_stack(
        [TIMES, TIMES, 2 * TIMES**2, np.where(TIMES > 1.3, np.nan, TIMES)]
    )
    assert exit_ranks_agree(np.column_stack([TIMES] * 4), observed).agrees
    assert not exit_ranks_agree(np.column_stack([1 / TIMES] * 4), observed).agrees
    assert not exit_ranks_agree(np.ones((24, 4)), observed).agrees
    assert not exit_ranks_agree(RNG(2).standard_normal((24, 4)), observed).agrees


def test_plateaus_are_nearly_all_those_predicted():
    place = {(1,): (1,)}
    most = [((1,), (1,))] * 98
    assert greedy_plateaus_agree(place, [*most, ((1,), (2,))]).agrees
    assert not greedy_plateaus_agree(place, [*most, *[((1,), (2,))] * 10]).agrees
    assert not greedy_plateaus_agree({(1,): (2,)}, most).agrees
    assert not greedy_plateaus_agree(place, most[:10]).agrees  # too few to tell


def test_signs_are_as_likely_as_predicted():
    signs = np.where(np.arange(90) < 40, 1, -1)
    assert sign_counts_agree(0.5, signs).agrees
    assert not sign_counts_agree(0.9, signs).agrees
    assert not sign_counts_agree(1.0, signs).agrees
    assert not sign_counts_agree(0.5, np.ones(90)).agrees
    assert not sign_counts_agree(0.5, -np.ones(90)).agrees
