"""Claims on spectral measures: what would turn them over."""

from pathlib import Path

import numpy as np
import pytest

from attndyn.compare import RunContext, check_claim
from attndyn.compare.claims.linear_transformer import measures, stored_networks

CLAIMS = {claim.id: claim for claim in measures.CLAIMS}
CONTEXT = RunContext(Path("unused"))


def test_a_network_that_does_not_generalise_is_called_so_by_the_fourier_share():
    """The same criterion on both: yes to the one, no to the other."""
    signs = {
        name: measures._have_signs(CONTEXT, name).tolist()
        for name in ("", measures.OV, measures.DISTANCE, measures.SHARE)
    }
    assert signs.pop(measures.SHARE) == [True, False]
    assert set(map(tuple, signs.values())) == {(True, True)}


def test_a_control_that_generalised_would_confirm_the_collapse(monkeypatch):
    monkeypatch.setattr(
        measures, "accuracy_on_left_out_pairs", lambda name: np.array([0.0, 0.99])
    )
    verdict = check_claim(CLAIMS["measures.rank_collapse"], CONTEXT)
    assert verdict.level == "numerical"
    assert not verdict.holds


@pytest.mark.parametrize("id", ["measures.fourier_share", "measures.alike"])
def test_two_of_the_same_network_would_be_found(monkeypatch, id):
    """Controls lose what rejects them where both networks are one: the claim does not hold."""
    original = stored_networks.measures_of
    monkeypatch.setattr(measures, "measures_of", lambda name: original("grokking"))
    accuracy = stored_networks.accuracy_on_left_out_pairs
    if id == "measures.alike":
        monkeypatch.setattr(
            measures, "accuracy_on_left_out_pairs", lambda name: accuracy("grokking")
        )
    assert not check_claim(CLAIMS[id], CONTEXT).holds


def test_one_layer_in_place_of_two_would_be_found(monkeypatch):
    original = stored_networks.measures_of
    monkeypatch.setattr(
        measures, "measures_of", lambda name: original("attention_only_1")
    )
    assert not check_claim(CLAIMS["measures.attention_dip"], CONTEXT).holds
