"""Networks that PyTorch trains anew: their spectra tell what those of the stored networks tell."""

from functools import cache

import numpy as np

from ....runtime.arrays import BoolArray, FloatArray
from ....simulate.torch_models import (
    AttentionOnly,
    ModularAddition,
    NetworkRun,
    train_torch_network,
)
from ...evidence.claim import Claim, RunContext
from ...metrics.measures import Measures, measure
from .measures import (
    COLLAPSED,
    CONCENTRATED,
    FALL,
    FALLS,
    GENERALISES,
    LEARNED,
    MARGINALISED,
    ONSET,
    OV,
    RISES,
    SHARE,
    same_answers,
)

ADDITIONS = (
    ModularAddition(split="unordered", fraction=0.8),
    ModularAddition(split="unordered", fraction=0.5),
)
"""Of four fifths of the unordered pairs a network generalises by step 1,800, of half of them never."""

ADDITION_STEPS = 3000

ATTENTIONS = (AttentionOnly(layers=2), AttentionOnly(layers=1))
ATTENTION_STEPS = 2000
ATTENTION_CHECKPOINTS = (0, 50, 100, 150, 200, 300, 400, 600, 800, 1200, 2000)

LAST_ROWS = 20
"""Rows of the log, 500 steps, whose median is taken: the loss has spikes, as is usual for AdamW without a norm."""

NEEDS_TORCH = "PyTorch is installed, as the extra torch does"


@cache
def _added(network: ModularAddition, seed: int) -> NetworkRun:
    """The run of a network that adds; ValueError without PyTorch."""
    return train_torch_network(network, steps=ADDITION_STEPS, seed=seed)


@cache
def _attended(network: AttentionOnly, seed: int) -> NetworkRun:
    """The run of a network of attention alone; ValueError without PyTorch."""
    return train_torch_network(
        network,
        steps=ATTENTION_STEPS,
        checkpoints=ATTENTION_CHECKPOINTS,
        seed=seed,
    )


def _spectra_of_addition(run: NetworkRun) -> Measures:
    """What is measured of the weights of a network that adds."""
    names = {"query": "Q", "key": "K", "value": "V", "output": "O", "embedding": "E"}
    weights = {role: run.weights[name] for role, name in names.items()}
    return measure(weights, run.steps, symbols=run.settings["network"]["prime"])


def _generalise(context: RunContext) -> BoolArray:
    """Whether each network names the sums of pairs that it was not trained on, (2,)."""
    seed = context.seeds(1)[0]
    accuracies = [
        np.median(_added(network, seed).logged("test accuracy")[-LAST_ROWS:])
        for network in ADDITIONS
    ]
    return _of_both_kinds(np.array(accuracies) >= GENERALISES)


def _of_both_kinds(answers: BoolArray) -> BoolArray:
    """What two networks have learned; ValueError where it is the same, so that no sign could tell them apart."""
    if np.all(answers == answers[0]):
        raise ValueError(
            f"both networks have {'' if answers[0] else 'not '}learned: nothing is seen without a control"
        )
    return answers


def _signs_of_addition(context: RunContext, control: str) -> BoolArray:
    """Whether a sign of generalisation is there at the end of each network, (2,)."""
    seed = context.seeds(1)[0]
    signs = []
    for network in ADDITIONS:
        found = _spectra_of_addition(_added(network, seed))
        assert found.query_key is not None
        assert found.output_value is not None
        assert found.fourier_share is not None
        if control == SHARE:
            signs.append(found.fourier_share[-1] >= CONCENTRATED)
        elif control == OV:
            ranks = found.output_value.effective_rank.mean(axis=1)
            signs.append(ranks[-1] <= 0.75 * ranks[0])
        elif control == MARGINALISED:
            signs.append(found.query_key.marginalised_rank[-1].mean() <= COLLAPSED)
        else:
            signs.append(found.query_key.effective_rank[-1].mean() <= COLLAPSED)
    return np.array(signs)


def _learn_in_context(context: RunContext) -> BoolArray:
    """Whether each network of attention continues a repeated sequence at the end, (2,)."""
    seed = context.seeds(1)[0]
    losses = [
        np.median(_attended(network, seed).logged("loss on the second half")[-4:])
        for network in ATTENTIONS
    ]
    return _of_both_kinds(np.array(losses) < LEARNED)


def _signs_of_attention(context: RunContext, control: str) -> BoolArray:
    """Whether QK of every head of the last layer rises after its fall, or falls at the onset, of each network, (2,)."""
    seed = context.seeds(1)[0]
    signs = []
    for network in ATTENTIONS:
        run = _attended(network, seed)
        ranks = _ranks_of_attention(run)  # (T, layers, 2)
        if control == FALL:
            at_onset = ranks[run.steps <= ONSET]
            signs.append(np.all(ranks[0] - at_onset.min(axis=0) >= FALLS))
        else:
            last_layer = ranks[:, -1]
            signs.append(np.all(last_layer[-1] - last_layer.min(axis=0) >= RISES))
    return np.array(signs)


def _ranks_of_attention(run: NetworkRun) -> FloatArray:
    """Effective ranks (T, layers, 2) of QK, of two heads a layer."""
    found = measure({"query_key": run.weights["qk"]}, run.steps).query_key
    assert found is not None
    return found.effective_rank.reshape(len(run.steps), -1, 2)


CLAIMS = (
    Claim(
        id="trained_networks.rank_collapse",
        title="The collapse of QK is a sign of generalisation in networks that are trained anew to add",
        paper="mainali2025",
        equation="spectral measures of grokking",
        origin="refuted here: trained on fewer pairs, the network collapses as well and never generalises",
        statement=r"r_{\mathrm{eff}}(QK) \to 1 \Rightarrow \text{the network generalises}",
        observable=f"accuracy on pairs left out of training above .9 after {ADDITION_STEPS:,} steps of two networks",
        limit="none: one layer that adds modulo 31, four fifths of the unordered pairs and half of them",
        hypotheses=(NEEDS_TORCH,),
        measure=_generalise,
        predict=_signs_of_addition,
        judge=same_answers,
        controls=(MARGINALISED, OV),
        corrected=(SHARE,),
        expected_level="refuted",
        tier="long",
        figure="spectral_measures",
    ),
    Claim(
        id="trained_networks.attention_dip",
        title="Trained anew, QK rises again in the second layer, which learns in context, and not in one alone",
        paper="mainali2025",
        equation="effective rank at the onset of learning in context",
        beyond_paper=True,
        origin="beside the dip that the paper reports, a network of one layer, in which it falls as far",
        statement=r"r_{\mathrm{eff}}(T) - \min_t r_{\mathrm{eff}}(t) \ge 1.5 \Leftrightarrow \text{learned in context}",
        observable=f"loss on repeated symbols below 1 after {ATTENTION_STEPS:,} steps of two layers and of one",
        limit="none: attention alone, D = 48, two heads a layer",
        hypotheses=(NEEDS_TORCH,),
        measure=_learn_in_context,
        predict=_signs_of_attention,
        judge=same_answers,
        controls=(FALL,),
        tier="long",
        figure="spectral_measures",
    ),
)
