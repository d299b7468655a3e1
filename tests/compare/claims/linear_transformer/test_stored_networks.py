"""The stored networks do what is said of them."""

import numpy as np
import pytest

from attndyn.compare.claims.linear_transformer.stored_networks import (
    accuracy_on_left_out_pairs,
    measures_of,
    stored,
)


@pytest.mark.parametrize("name", ["grokking", "control"])
def test_the_weights_have_the_logged_accuracy(name):
    """The log of the training, in single precision, of which weights are stored in half precision."""
    log = stored(name)["log"]
    at_log = np.isin(log[:, 0], measures_of(name).steps)
    logged = log[at_log, 4]
    steps = np.isin(measures_of(name).steps, log[:, 0])
    assert steps.sum() == 11
    # One pair of the 480 left out may fall on the other side after rounding.
    accuracy = accuracy_on_left_out_pairs(name)[steps]
    assert np.max(np.abs(accuracy - logged)) < 2.5 / 480


def test_one_network_generalises_and_the_other_does_not():
    assert accuracy_on_left_out_pairs("grokking")[-1] > 0.97
    assert np.max(accuracy_on_left_out_pairs("control")) < 0.05


def test_both_collapse_alike():
    """Measures at the end: QK, OV, Fourier share."""
    ends = {}
    for name in ("grokking", "control"):
        found = measures_of(name)
        ranks = [found.query_key.effective_rank, found.output_value.effective_rank]
        ends[name] = [*(rank[-1].mean() for rank in ranks), found.fourier_share[-1]]
    assert np.allclose(ends["grokking"], [1.07, 6.87, 0.937], atol=0.01)
    assert np.allclose(ends["control"], [1.01, 7.90, 0.457], atol=0.01)
