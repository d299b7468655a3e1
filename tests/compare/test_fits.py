"""Predicted errors over ridge fits: the distances of the right prediction are standard normal, others are rejected."""

from dataclasses import replace

import numpy as np
import pytest

from attndyn import Task
from attndyn.compare import fit_errors, overlay
from attndyn.simulate import exact_risk, ridge_fit, sample_summaries
from attndyn.teachers import Pool, Sphere
from attndyn.theory.asymptotics import deterministic_equivalent, errors

D, N = 10, 100
LAW = Task([1 / D] * D, teachers=Sphere(D), context_length=N, noise_variance=0.01)
SEQUENCES = [1000, 2000]
PAPER = {"ridge": 1e-6 / D**3, "label_row": True, "label_weight": float(D**2)}


@pytest.fixture(scope="module")
def fits():
    return fit_errors(LAW, LAW, SEQUENCES, tasks=4, repeats=40, **PAPER)


@pytest.fixture(scope="module")
def predictions():
    return [
        deterministic_equivalent(LAW, LAW, P, tasks=4, pools=200, seed=100, **PAPER)
        for P in SEQUENCES
    ]


def test_the_equivalent_lies_over_the_fits(fits, predictions):
    over = overlay(predictions, fits)
    assert np.all(np.abs(over.z_icl) < 3)
    np.testing.assert_array_equal(
        over.predicted_idg, [each.train_loss for each in predictions]
    )
    ratios = {"alpha": N / D, "kappa": 4 / D, "noise": 0.01, "ridge": 1e-6}
    limit = errors(tau=np.array(SEQUENCES) / (D * (D + 1)), **ratios)
    standard_error = fits.gap.std(axis=1, ddof=1) / np.sqrt(40)
    # The limit D → ∞ is far off at D = 10.
    assert np.all(np.abs(limit.gap - fits.gap.mean(axis=1)) > 5 * standard_error)


def test_another_number_of_tasks_is_rejected(fits):
    wrong = [
        deterministic_equivalent(LAW, LAW, P, tasks=8, pools=50, **PAPER)
        for P in SEQUENCES
    ]
    assert np.all(np.abs(overlay(wrong, fits).z_icl) > 6)


def test_errors_are_those_of_the_fit_of_each_data_set(fits):
    pool = Sphere(D).pool(4, seed=3)
    task = Task([1 / D] * D, teachers=pool, context_length=N, noise_variance=0.01)
    M = ridge_fit(sample_summaries(task, 2000, 3, balanced=True), **PAPER)
    assert fits.icl[1, 3] == exact_risk(LAW, M)
    assert fits.idg[1, 3] == exact_risk(task, M)


def test_it_shows_and_draws_itself(fits, predictions):
    over = overlay(predictions, fits)
    assert "standard errors" in repr(over)
    assert "data sets of each" in repr(fits)
    assert set(over.to_dict()) >= {"sequences", "icl", "z_icl"}
    assert len(over.plot().get_lines()) >= 2


def test_what_does_not_fit_together_is_refused(fits, predictions):
    for wrong, given in ((predictions[:1], "1000"), (predictions[::-1], "2000, 1000")):
        with pytest.raises(
            ValueError, match=f"in their order: 1000, 2000, not {given}"
        ):
            overlay(wrong, fits)
    with pytest.raises(TypeError, match="not Equivalent"):
        overlay(predictions[0], fits)
    with pytest.raises(TypeError, match="call fit_errors"):
        fit_errors(LAW, [100], LAW)
    with pytest.raises(ValueError, match="repeats"):
        fit_errors(LAW, LAW, [100], repeats=1)
    with pytest.raises(ValueError, match="the test task D = 2"):
        fit_errors(LAW, Task([1, 1], context_length=4), [100])
    with pytest.raises(ValueError, match="tasks must be a whole number"):
        fit_errors(LAW, LAW, [100], tasks=0)


def test_fits_and_predictions_come_in_either_order(fits, predictions):
    over = overlay(fits, predictions)
    np.testing.assert_array_equal(over.z_icl, overlay(predictions, fits).z_icl)


@pytest.mark.parametrize("labels", [0.0, 1.0])
def test_fits_that_all_agree_are_compared_to_rounding(labels):
    """Without labels, or under an endless ridge, no data set differs from another."""
    law = Task([1, 1], teachers=Pool([[labels, 0]]), context_length=4)
    fits = fit_errors(law, law, [20], ridge=1e300, repeats=3)
    equal = deterministic_equivalent(law, law, 20, ridge=1e300)
    assert abs(overlay([equal], fits).z_icl[0]) <= 1
    other = replace(equal, test_loss=equal.test_loss + 1e-9)
    assert abs(overlay([other], fits).z_icl[0]) > 1e3


@pytest.mark.parametrize("sequences", [60, None, "60", [], [[60]], [60.0]])
def test_sequences_that_are_no_list_are_refused(sequences):
    law = Task([1, 1], context_length=4)
    with pytest.raises(ValueError, match="sequences must be a"):
        fit_errors(law, law, sequences)
