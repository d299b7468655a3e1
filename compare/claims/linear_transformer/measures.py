"""What spectral measures tell of trained networks, each with a network beside it that has not learned the same."""

from typing import NamedTuple

import numpy as np

from ....runtime.arrays import BoolArray, FloatArray
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import curve
from .stored_networks import (
    ADDITION,
    ATTENTION,
    accuracy_on_left_out_pairs,
    measures_of,
    stored,
)

GENERALISES = 0.9
"""Accuracy on pairs left out of training: one network reaches .98, the other stays below .05."""

COLLAPSED = 1.5
"""Effective rank that counts as 1: it begins at 20.5, and ends below 1.1 in both networks."""

CONCENTRATED = 0.8
"""Share of the embedding's power in 5 of 15 frequencies: .38 at the start, .94 where the network generalises."""

LEARNED = 1.0
"""Loss on the repeated part of a sequence; that of a guess is log 16 = 2.77."""

RISES = 1.5
"""Rise of an effective rank above its minimum: one layer stays within 1.0 of it, two layers rise by 2 to 4."""

ONSET = 400
"""Steps until which two layers have learned: their loss has halved at 150."""

FALLS = 2.0
"""A fall of the effective rank that training makes: from 20.5 by 2.5 or more."""

ALIKE = 0.02
"""Part of the effective rank at the start within which two networks are alike: the heads of one differ as much."""

QK = "effective rank of QK"
MARGINALISED = "marginalised rank of QK"
OV = "effective rank of OV"
EMBEDDING = "effective rank of the embedding"
DISTANCE = "subspace distance of OV"
SHARE = "Fourier share of the embedding"
ACCURACY = "accuracy on pairs left out of training"
FALL = "the fall at the onset"
FIRST_LAYER = "the rise in the first layer"
MARGINALISED_FALL = "the fall of the marginalised rank at the onset"


def _series(network: str, quantity: str) -> FloatArray:
    """A measure (T,) of a network that adds, the mean over its heads."""
    found = measures_of(network)
    assert found.query_key is not None
    assert found.output_value is not None
    assert found.embedding is not None
    assert found.fourier_share is not None
    if quantity == SHARE:
        return found.fourier_share
    arrays = {
        QK: found.query_key.effective_rank,
        MARGINALISED: found.query_key.marginalised_rank,
        OV: found.output_value.effective_rank,
        EMBEDDING: found.embedding.effective_rank,
        DISTANCE: found.output_value.subspace_distance,
    }
    return np.asarray(arrays[quantity].mean(axis=1))


def _generalise(context: RunContext) -> BoolArray:
    """Whether each network generalises at the end, (2,)."""
    return np.array(
        [accuracy_on_left_out_pairs(name)[-1] >= GENERALISES for name in ADDITION]
    )


def _have_signs(context: RunContext, control: str) -> BoolArray:
    """Whether a sign of generalisation is there at the end of each network, (2,)."""
    signs = []
    for name in ADDITION:
        values = _series(name, control or QK)
        if control == SHARE:
            signs.append(values[-1] >= CONCENTRATED)
        elif control in (UNMODIFIED, MARGINALISED):
            signs.append(values[-1] <= COLLAPSED)
        elif control == DISTANCE:
            # Long after all training pairs are learned at step 75, the subspace moves on.
            steps = measures_of(name).steps
            (late,) = np.flatnonzero(steps == 1000)
            signs.append(values[late] > 0.5)
        else:
            # OV and embedding lose a quarter of their rank or more.
            signs.append(values[-1] <= 0.75 * values[0])
    return np.array(signs)


def _generalise_along(context: RunContext) -> BoolArray:
    """Whether the networks generalise at each checkpoint, one network after the other, (2 T,)."""
    accuracies = [accuracy_on_left_out_pairs(name) for name in ADDITION]
    return np.concatenate(accuracies) >= GENERALISES


def _above_threshold(context: RunContext, control: str) -> BoolArray:
    """Whether the Fourier share is above its threshold at each checkpoint, (2 T,), or another measure its best."""
    if control == UNMODIFIED:
        shares = [_series(name, SHARE) for name in ADDITION]
        return np.concatenate(shares) >= CONCENTRATED
    # No threshold of another measure does, not even one that is chosen with the answer at hand, on either side.
    values = np.concatenate([_series(name, control) for name in ADDITION])
    answers = _generalise_along(context)
    candidates = [side * values >= side * level for side in (1, -1) for level in values]
    return max(candidates, key=lambda found: int(np.sum(found == answers)))


def same_answers(predicted: BoolArray, observed: BoolArray) -> Evidence:
    """Whether signs tell what networks have learned."""
    wrong = int(np.sum(predicted != observed))
    answers = [side.astype(np.float64) for side in (predicted, observed)]
    return Evidence(
        agrees=wrong == 0,
        observed=f"{wrong} of {len(observed)} answers differ",
        expected="none",
        curves=(curve("yes = 1, no = 0", *answers),),
        axes=("case", "answer"),
    )


class _Named(NamedTuple):
    """A quantity, and its curve."""

    quantity: str
    curve: FloatArray


def _relative_curve(network: str, quantity: str) -> FloatArray:
    """A quantity (10,) at the steps that both networks are stored at, in parts of its first value or of 1."""
    values = (
        accuracy_on_left_out_pairs(network)
        if quantity == ACCURACY
        else _series(network, quantity)
    )
    unit = 1.0 if quantity in (ACCURACY, SHARE) else float(values[0])
    return values[:-1] / unit


def _curves_of_control(context: RunContext) -> dict[str, FloatArray]:
    """The curves of the network that does not generalise, by quantity."""
    return {name: _relative_curve("control", name) for name in (QK, SHARE, ACCURACY)}


def _curve_of_grokking(context: RunContext, control: str) -> _Named:
    """The curve of the network that generalises, of the effective rank or of another quantity."""
    quantity = control or QK
    return _Named(quantity, _relative_curve("grokking", quantity))


def _alike(predicted: _Named, observed: dict[str, FloatArray]) -> Evidence:
    gap = float(np.max(np.abs(predicted.curve - observed[predicted.quantity])))
    steps = measures_of("control").steps[:-1]
    return Evidence(
        agrees=gap <= ALIKE,
        observed=f"largest difference {gap:.3f} in {predicted.quantity}",
        expected=f"at most {ALIKE:g}",
        residual=gap,
        curves=(
            curve(
                predicted.quantity,
                predicted.curve,
                observed[predicted.quantity],
                steps,
            ),
        ),
        axes=("steps", "predicted: generalises, observed: does not"),
    )


def _learn_in_context(context: RunContext) -> BoolArray:
    """Whether each network of attention continues a repeated sequence at the end, (2,)."""
    return np.array([float(stored(name)["log"][-1, 2]) < LEARNED for name in ATTENTION])


def _rank_of_qk(network: str, is_marginalised: bool = False) -> FloatArray:
    """Effective ranks (T, layers, 2) of QK."""
    found = measures_of(network).query_key
    assert found is not None
    ranks = found.marginalised_rank if is_marginalised else found.effective_rank
    return ranks.reshape(len(ranks), -1, 2)


def _rank_shows_learning(context: RunContext, control: str) -> BoolArray:
    """Whether QK of every head of the last layer rises after its fall, or another sign, of each network, (2,)."""
    signs = []
    for name in ATTENTION:
        ranks = _rank_of_qk(name, control == MARGINALISED_FALL)
        if control in (FALL, MARGINALISED_FALL):
            at_onset = ranks[measures_of(name).steps <= ONSET]
            fall = ranks[0] - at_onset.min(axis=0)
            signs.append(np.all(fall >= FALLS))
        else:
            layer = ranks[:, 0 if control == FIRST_LAYER else -1]
            signs.append(np.all(layer[-1] - layer.min(axis=0) >= RISES))
    return np.array(signs)


CLAIMS = (
    Claim(
        id="measures.rank_collapse",
        title="The collapse of the effective rank of QK is a sign that a network generalises",
        paper="mainali2025",
        equation="spectral measures of grokking",
        origin="refuted here: a network with another split of its pairs collapses and never generalises",
        statement=r"r_{\mathrm{eff}}(QK) \to 1 \Rightarrow \text{the network generalises}",
        observable="accuracy on pairs left out of training above .9 at the end, by both networks",
        limit="none: two networks of one layer that add modulo 31, seed for seed alike",
        hypotheses=("stored weights in half precision",),
        measure=_generalise,
        predict=_have_signs,
        judge=same_answers,
        controls=(MARGINALISED, OV, EMBEDDING, DISTANCE),
        corrected=(SHARE,),
        expected_level="refuted",
        tier="fast",
        figure="spectral_measures",
    ),
    Claim(
        id="measures.alike",
        title="The effective rank of QK falls alike with and without generalisation, to 2 % at every step",
        paper="mainali2025",
        equation="spectral measures of grokking",
        beyond_paper=True,
        statement=r"|r_{\mathrm{eff}}(t) - r_{\mathrm{eff}}'(t)| \le 0.02\,r_{\mathrm{eff}}(0)",
        observable="mean effective rank of QK over two heads at ten checkpoints of 2,000 steps",
        limit="none: two networks of one layer that add modulo 31",
        hypotheses=("stored weights in half precision",),
        measure=_curves_of_control,
        predict=_curve_of_grokking,
        judge=_alike,
        controls=(SHARE, ACCURACY),
        tier="fast",
        figure="spectral_measures",
    ),
    Claim(
        id="measures.fourier_share",
        title="The Fourier share of the embedding tells at every checkpoint whether a network that adds generalises",
        paper="mainali2025",
        equation="spectral measures of grokking",
        beyond_paper=True,
        statement=r"P_5(E) \ge 0.8 \Leftrightarrow \text{accuracy} \ge 0.9",
        observable="accuracy on pairs left out of training, computed from the weights of 22 checkpoints",
        limit="none: two networks of one layer that add modulo 31; controls have the best threshold there is",
        hypotheses=("stored weights in half precision",),
        measure=_generalise_along,
        predict=_above_threshold,
        judge=same_answers,
        controls=(QK, MARGINALISED, OV, EMBEDDING, DISTANCE),
        tier="fast",
        figure="spectral_measures",
    ),
    Claim(
        id="measures.attention_dip",
        title="The effective rank of QK rises again in the second layer, which learns in context, and not in one alone",
        paper="mainali2025",
        equation="effective rank at the onset of learning in context",
        beyond_paper=True,
        origin="beside the dip that the paper reports, a network of one layer, in which it falls as far",
        statement=r"r_{\mathrm{eff}}(T) - \min_t r_{\mathrm{eff}}(t) \ge 1.5 \Leftrightarrow \text{learned in context}",
        observable="loss on the repeated part of periodic sequences below 1 at the end, of two layers and of one",
        limit="none: attention alone, D = 48, two heads a layer",
        hypotheses=("stored weights in half precision",),
        measure=_learn_in_context,
        predict=_rank_shows_learning,
        judge=same_answers,
        controls=(FALL, MARGINALISED_FALL, FIRST_LAYER),
        tier="fast",
        figure="spectral_measures",
    ),
)
