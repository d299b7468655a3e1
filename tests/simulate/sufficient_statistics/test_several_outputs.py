"""Several outputs, no query token, weighted lengths and noise of the query: against plain loops over prompts."""

from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

from attndyn import Merged, Separate
from attndyn.simulate import (
    objective,
    statistics,
)
from attndyn.simulate.data.prompts import Sequences

D, N, P = 2, 4, 6

# -- The formulas in plain loops ----------------------------------------------------------------------------------


class Setting(NamedTuple):
    """Tokens (P, N+1, D+K), labels of each row as a query (P, N+1, K), and what is done with them."""

    tokens: np.ndarray
    targets: np.ndarray
    lengths: tuple
    weights: tuple
    divisor: str | float = "context"
    query_token: bool = True
    score_divisor: float = 1.0


def each_prompt(setting):
    """(weight, Z Zᵀ/divisor, x_q, y_q) of every prompt, the weights summing to 1."""
    P, _, size = setting.tokens.shape
    K = setting.targets.shape[2]
    D = size - K
    for p in range(P):
        for n, weight in zip(setting.lengths, setting.weights, strict=True):
            G = np.zeros((size, size))
            count = 0
            for row in range(n):
                token = setting.tokens[p, row]
                G += np.outer(token, token)
                count += 1
            x_q = setting.tokens[p, n, :D]
            if setting.query_token:
                token = np.append(x_q, np.zeros(K))
                G += np.outer(token, token)
                count += 1
            divisor = setting.divisor
            if divisor == "context":
                divisor = max(n, 1)
            elif divisor == "tokens":
                divisor = max(count, 1)
            elif divisor == "none":
                divisor = 1
            G /= divisor * setting.score_divisor
            yield weight / P, G, x_q, setting.targets[p, n]


def plain_loss(setting, a, B):
    """Mean of |y − Σ_h a_h G B_h x_q|², for a (H, K, D+K) and B (H, D+K, D), which may be complex."""
    total = 0.0
    for weight, G, x_q, y in each_prompt(setting):
        residual = -y.astype(complex)
        for h in range(len(a)):
            residual = residual + a[h] @ (G @ (B[h] @ x_q))
        total = total + weight * np.sum(residual * residual)
    return total


def plain_slopes(setting, a, B, step=1e-30):
    """∂loss/∂a and ∂loss/∂B by the complex step."""
    slopes = []
    for which in (0, 1):
        slope = np.zeros((a, B)[which].shape)
        for index in np.ndindex(slope.shape):
            moved = [a.astype(complex), B.astype(complex)]
            moved[which][index] += 1j * step
            slope[index] = plain_loss(setting, *moved).imag / step
        slopes.append(slope)
    return slopes


def plain_statistics(setting, pairs):
    """c, b (K, F) and S (F, F) with the features G_ij x_q,d of these pairs (i, j)."""
    c, b, S = 0.0, 0.0, 0.0
    for weight, G, x_q, y in each_prompt(setting):
        F = np.array([G[i, j] * x for i, j in pairs for x in x_q])
        c = c + weight * y @ y
        b = b + weight * np.outer(y, F)
        S = S + weight * np.outer(F, F)
    return c, b, S


# -- Data of any numbers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """Prompts of any numbers, whose queries have labels of their own."""

    tokens: np.ndarray
    targets: np.ndarray
    context_lengths: tuple
    context_weights: np.ndarray
    digest: str = "recorded"

    @property
    def sequences(self):
        return len(self.tokens)

    @property
    def outputs(self):
        return self.targets.shape[2]

    @property
    def dimension(self):
        return self.tokens.shape[2] - self.outputs

    def chunks(self):
        for piece in np.array_split(np.arange(self.sequences), 2):
            yield Sequences(self.tokens[piece], self.targets[piece])


LENGTHS = {
    "one": ((N,), (1.0,)),
    "weighted": ((1, 3, 4), (0.2, 0.5, 0.3)),
    "empty context": ((0, 2), (0.5, 0.5)),
}


def recorded(outputs, lengths="weighted", seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(P, N + 1, D + outputs))
    targets = rng.normal(size=(P, N + 1, outputs))
    lengths, weights = LENGTHS[lengths]
    return Recorded(tokens, targets, lengths, np.array(weights))


def setting_of(data, model):
    return Setting(
        data.tokens,
        data.targets,
        data.context_lengths,
        tuple(data.context_weights),
        model.divisor,
        model.query_token,
        model.score_divisor,
    )


def heads_with_outputs(model, weights):
    """a (H, K, D+K) whatever K is, and B."""
    a, B = model.heads(weights)
    return a.reshape(len(a), model.outputs, -1), B


def random_weights(model, seed=1, block="full"):
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(size=shape) for name, shape in model.shapes(D).items()}
    if block == "restricted":
        weights["value"][..., :D] = 0
        if "key" in weights:
            weights["key"][..., D:] = 0
        else:
            weights["key_query"][:, D:, :D] = 0
    return weights


KINDS = list(product((1, 2, 3), (True, False), LENGTHS))
BLOCKS = ("full", "restricted")


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("outputs", "query_token", "lengths"), KINDS)
def test_statistics_are_those_of_plain_loops(outputs, query_token, lengths, block):
    model = Merged(
        2,
        outputs=outputs,
        query_token=query_token,
        divisor="tokens",
        score_divisor=1.7,
    )
    data = recorded(outputs, lengths)
    stats = statistics(data, model, block)
    size = D + outputs
    if block == "full":
        pairs = [(i, j) for i in range(size) for j in range(i, size)]
    else:
        pairs = [(j, D + k) for k in range(outputs) for j in range(D)]
    assert [*zip(*stats.pairs, strict=True)] == pairs
    c, b, S = plain_statistics(setting_of(data, model), pairs)
    assert stats.b.shape == (b.shape if outputs > 1 else b[0].shape)
    assert (stats.outputs, stats.features) == (outputs, len(S))
    assert stats.c == pytest.approx(c, rel=1e-13)
    np.testing.assert_allclose(stats.b.reshape(b.shape), b, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(stats.S, S, rtol=1e-12, atol=1e-13)


def test_each_option_changes_the_statistics():
    """Control of the test above: none of the options is without effect."""
    data = recorded(2)
    stats = statistics(data, Merged(1, outputs=2))
    even = replace(data, context_weights=np.full(3, 1 / 3))
    others = [
        statistics(data, Merged(1, outputs=2, query_token=False)),
        statistics(even, Merged(1, outputs=2)),
        statistics(data, Merged(1, outputs=2, divisor=2.5)),
        statistics(replace(data, targets=data.tokens[..., D:]), Merged(1, outputs=2)),
    ]
    for other in others:
        difference = np.max(np.abs(other.S - stats.S)) + np.max(
            np.abs(other.b - stats.b)
        )
        assert difference > 1e-2
        assert other.digest != stats.digest


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(
    ("outputs", "query_token"), [*product((1, 2, 3), (True, False))]
)
@pytest.mark.parametrize("kind", [Merged, Separate])
def test_loss_and_gradients_are_those_of_plain_loops(kind, outputs, query_token, block):
    model = kind(2, outputs=outputs, query_token=query_token)
    data = recorded(outputs, "weighted")
    weights = random_weights(model, block=block)
    setting = setting_of(data, model)
    a, B = heads_with_outputs(model, weights)
    loss, gradients = objective(model, statistics(data, model, block))(weights)
    assert loss == pytest.approx(plain_loss(setting, a, B).real, rel=1e-12)

    def of_heads(entries):
        """The loss of weights in a row, which may be complex."""
        moved, at = {}, 0
        for name, value in weights.items():
            moved[name] = entries[at : at + value.size].reshape(value.shape)
            at += value.size
        return plain_loss(setting, *heads_with_outputs(model, moved))

    row = np.concatenate([value.ravel() for value in weights.values()])
    free = random_weights(model, seed=2, block=block)
    inside = np.concatenate([value.ravel() for value in free.values()]) != 0
    of_row = np.concatenate([gradients[name].ravel() for name in weights])
    assert not np.any(of_row[~inside])
    for index in np.flatnonzero(inside):
        moved = row.astype(complex)
        moved[index] += 1e-30j
        slope = of_heads(moved).imag / 1e-30
        assert of_row[index] == pytest.approx(slope, rel=1e-10, abs=1e-12)
