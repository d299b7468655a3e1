"""Claims on networks that PyTorch trains: judged on the stored networks, and refused in words without PyTorch."""

import sys

import numpy as np
import pytest

from attndyn.compare.claims.linear_transformer import trained_networks as claims
from attndyn.compare.claims.linear_transformer.stored_networks import (
    accuracy_on_left_out_pairs,
    stored,
)
from attndyn.compare.evidence.checking import check_claim
from attndyn.compare.evidence.claim import RunContext
from attndyn.simulate.torch_models import NetworkRun


@pytest.fixture
def context(tmp_path):
    return RunContext(folder=tmp_path)


def run_of(name, columns, log):
    """A stored network as a run that has been trained here."""
    arrays = stored(name)
    count = len(arrays["steps"])
    weights = {
        key: value.astype(np.float64)
        for key, value in arrays.items()
        if key in ("Q", "K", "V", "O", "E", "qk") and len(value) == count
    }
    return NetworkRun(
        settings={"network": {"prime": 31}, "seed": 0},
        steps=arrays["steps"],
        weights=weights,
        log=log,
        log_columns=columns,
        constants={},
        state={},
    )


def addition(name):
    accuracies = accuracy_on_left_out_pairs(name)[-1] * np.ones(claims.LAST_ROWS)
    return run_of(name, ("test accuracy",), accuracies[:, None])


def attention(name):
    log = stored(name)["log"][:, [2]]
    return run_of(name, ("loss on the second half",), log)


@pytest.fixture
def stored_runs(monkeypatch):
    adds = dict(
        zip(claims.ADDITIONS, map(addition, ("grokking", "control")), strict=True)
    )
    names = ("attention_only_2", "attention_only_1")
    attends = dict(zip(claims.ATTENTIONS, map(attention, names), strict=True))
    monkeypatch.setattr(claims, "_added", lambda network, seed: adds[network])
    monkeypatch.setattr(claims, "_attended", lambda network, seed: attends[network])
    return adds, attends


def test_the_stored_networks_are_judged_as_by_their_own_claims(stored_runs, context):
    for claim in claims.CLAIMS:
        verdict = check_claim(claim, context)
        assert verdict.holds, claim.id
        assert len(verdict.rejected) == len(claim.controls)


def test_networks_that_have_learned_the_same_show_nothing(stored_runs, context):
    adds, attends = stored_runs
    adds[claims.ADDITIONS[1]] = adds[claims.ADDITIONS[0]]
    attends[claims.ATTENTIONS[0]] = attends[claims.ATTENTIONS[1]]
    for claim, words in zip(claims.CLAIMS, ("have learned", "have not"), strict=True):
        verdict = check_claim(claim, context)
        assert verdict.level == "inconclusive"
        assert words in verdict.observed


def test_a_second_layer_that_does_not_rise_again_is_seen(stored_runs, context):
    _, attends = stored_runs
    attends[claims.ATTENTIONS[0]].weights["qk"][-1] = np.eye(48)[:, :1] @ np.ones(
        (1, 48)
    )
    assert not check_claim(claims.CLAIMS[1], context).holds


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_without_pytorch_the_verdict_says_what_to_install(claim, context, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    verdict = check_claim(claim, context)
    assert verdict.level == "inconclusive"
    assert "pip install 'attndyn[torch]'" in verdict.observed
