"""Settings in whole numbers, and errors of fits and flows that belong to them."""

import math

import numpy as np
import pytest

from attndyn.compare.claims.asymptotics import published_runs
from attndyn.compare.claims.asymptotics.readout_runs import (
    Ratios,
    Setting,
    fitted_errors,
    flow_errors,
)

SMALL = Setting.of_ratios(6, Ratios(tau=2.0, alpha=2.0, kappa=0.5, noise=0.1))


def test_ratios_are_those_of_the_numbers_that_are_used():
    setting = Setting.of_ratios(64, Ratios(tau=0.3, alpha=1.26, kappa=0.6, noise=0.2))
    assert setting == Setting(64, 81, 38, 38 * 33, 0.2, 0.0)
    assert setting.ratios == Ratios(1254 / 4160, 81 / 64, 38 / 64, 0.2)
    # Of numbers that need no rounding they are what was asked for.
    exact = Ratios(tau=2.0, alpha=1.5, kappa=0.5, noise=0.1)
    assert Setting.of_ratios(10, exact).ratios == exact


def test_each_task_has_equally_many_sequences():
    β = Setting(4, 10**6, 3, 12, 0.0).data(5).beta * 4
    assert len(β) == 12
    np.testing.assert_allclose(β[:3], β[3:6], atol=0.02)


def test_without_a_pool_every_sequence_has_a_new_task():
    ratios = Ratios(tau=2.0, alpha=2.0, kappa=math.inf, noise=0.1)
    setting = Setting.of_ratios(6, ratios)
    assert setting.tasks is None
    assert setting.ratios.kappa == math.inf
    errors = fitted_errors(setting, [0, 1])
    np.testing.assert_array_equal(errors.icl, errors.idg)
    w = Setting(4, 10**6, None, 12, 0.0).data(5).beta * 4
    assert np.min(np.abs(w[:6] - w[6:]).max(axis=1)) > 0.02


def test_the_end_of_the_flow_is_the_fit():
    end = flow_errors(SMALL, [0.0, 1e9], [0, 1, 2])
    fitted = fitted_errors(SMALL, [0, 1, 2])
    assert end.icl.shape == (3, 2)
    np.testing.assert_allclose(end.icl[:, 1], fitted.icl, rtol=1e-8)
    np.testing.assert_allclose(end.idg[:, 1], fitted.idg, rtol=1e-8)
    np.testing.assert_allclose(end.gap[:, 1], fitted.gap, rtol=1e-7)
    # From zero weights the error is the variance of the label.
    np.testing.assert_allclose(end.icl[:, 0], 1.1, rtol=1e-12)
    np.testing.assert_allclose(end.idg[:, 0], 1.1, rtol=1e-12)


@pytest.mark.parametrize("d", published_runs.GAPS)
def test_published_settings_have_equally_many_sequences_a_task(d):
    for run in published_runs.GAPS[d]:
        assert run.sequences % run.tasks == 0
        assert run.sequences == pytest.approx(10 * d**2, rel=0.05)
        assert run.deviation > 0
    assert len(published_runs.GAPS[d]) == 12


def test_published_errors_are_largest_beside_the_threshold():
    for tokens in (100, 1000):
        runs = [r for r in published_runs.THRESHOLD if r.context_length == tokens]
        largest = max(runs, key=lambda run: run.icl)
        assert largest.sequences == 11_500
        assert all(run.idg < run.icl for run in runs)
