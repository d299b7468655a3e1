"""Several outputs, no query token, weighted lengths and noise of the query: against plain loops over prompts."""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

from attndyn import Factorised, Merged, Separate, Task
from attndyn.simulate import (
    Statistics,
    flow,
    from_moments,
    objective,
    sample,
    statistics,
    train,
    train_many,
)
from attndyn.simulate.data.prompts import Sequences
from attndyn.simulate.descent.rank_one_flow import passages
from attndyn.simulate.sufficient_statistics.quadratic_loss import (
    from_feature_moments,
    refuse_mismatch,
)
from attndyn.teachers import Gaussian

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
@pytest.mark.parametrize("kind", [Merged, Separate, Factorised])
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


def test_heads_of_the_users_own_have_several_outputs():
    class Tied:
        """One key-query matrix for all heads."""

        outputs = 2

        def shapes(self, dimension):
            return {
                "value": (2, 2, dimension + 2),
                "key_query": (dimension + 2, dimension),
            }

        def heads(self, w):
            B = w["key_query"]
            return w["value"], np.stack([B, 2 * B])

    data = recorded(2)
    weights = random_weights(Tied())
    setting = Setting(
        data.tokens, data.targets, data.context_lengths, tuple(data.context_weights)
    )
    a, B = Tied().heads(weights)
    loss, gradients = objective(Tied(), statistics(data, Tied()))(weights)
    assert loss == pytest.approx(plain_loss(setting, a, B).real, rel=1e-12)
    slope_a, slope_B = plain_slopes(setting, a, B)
    np.testing.assert_allclose(gradients["value"], slope_a, rtol=1e-10)
    np.testing.assert_allclose(
        gradients["key_query"], slope_B[0] + 2 * slope_B[1], rtol=1e-10
    )


# -- Exact moments ------------------------------------------------------------------------------------------------


def every_query_with_every_context(data):
    """Prompts that join each context to each query, so that one says nothing of the other."""
    tokens = np.repeat(data.tokens, P, axis=0)
    tokens[:, N, :D] = np.tile(data.tokens[:, N, :D], (P, 1))
    return replace(data, tokens=tokens, targets=np.repeat(data.targets, P, axis=0))


def moments_of(data):
    """c, A, B and Λ of recorded prompts of one length, without a divisor."""
    x, y = data.tokens[..., :D], data.tokens[..., D:]
    β = np.einsum("pni,pna->pia", y[:, :N], x[:, :N])  # (P, K, D)
    query, labels = x[:, N], data.targets[:, N]
    flat_β = β.reshape(len(β), -1)
    return {
        "c": np.mean(np.sum(labels**2, axis=1)),
        "A": flat_β.T @ flat_β / len(β),
        "B": np.einsum("pi,pja,pb->ijab", labels, β, query) / len(β),
        "Lambda": query.T @ query / len(β),
    }


def test_moments_of_several_outputs_are_the_statistics_of_their_data():
    model = Merged(2, outputs=3, divisor="none")
    data = every_query_with_every_context(recorded(3, "one"))
    stats = from_moments(**moments_of(data), model=model, context_lengths=(N,))
    sampled = statistics(data, model, "restricted")
    assert replace(stats, sequences=sampled.sequences).kind == sampled.kind
    assert stats.c == pytest.approx(sampled.c, rel=1e-13)
    np.testing.assert_allclose(stats.S, sampled.S, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(stats.b, sampled.b, rtol=1e-11, atol=1e-12)

    weights = random_weights(model, block="restricted")
    loss, gradients = objective(model, stats)(weights)
    sampled_loss, sampled_gradients = objective(model, sampled)(weights)
    assert loss == pytest.approx(sampled_loss, rel=1e-11)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            gradient, sampled_gradients[name], rtol=1e-10, atol=1e-11
        )
    exchanged = moments_of(data)
    exchanged["B"] = exchanged["B"].swapaxes(0, 1)  # control: outputs and labels
    wrong = from_moments(**exchanged, model=model, context_lengths=(N,))
    assert np.max(np.abs(wrong.b - sampled.b)) > 1e-2


def test_moments_of_features_are_statistics_of_the_full_block():
    model = Merged(2, outputs=2, query_token=False)
    stats = statistics(recorded(2), model)
    exact = from_feature_moments(
        stats.c,
        stats.b,
        stats.S,
        model,
        stats.context_lengths,
        context_weights=stats.context_weights,
    )
    assert exact.kind == stats.kind
    assert exact.sequences == np.inf
    weights = random_weights(model)
    assert objective(model, exact)(weights)[0] == objective(model, stats)(weights)[0]


# -- Kinds --------------------------------------------------------------------------------------------------------


def test_statistics_of_several_outputs_are_saved_and_merged(tmp_path):
    model = Merged(1, outputs=2, query_token=False)
    for block in BLOCKS:
        one, two = (statistics(recorded(2, seed=s), model, block) for s in (0, 1))
        read = Statistics.load(one.save(tmp_path / "stats.npz"))
        assert (read.digest, read.kind) == (one.digest, one.kind)
        both = read + two
        assert both.kind == one.kind
        np.testing.assert_allclose(both.b, (one.b + two.b) / 2, rtol=1e-13)
        assert set(one.to_dict()) >= {"outputs", "query_token", "context_weights"}
        assert "not read" in repr(one)
    model = Merged(1, outputs=2)
    exact = from_moments(
        1.0, np.eye(4), np.ones((2, 2, 2, 2)), np.eye(2), model, (5, 7)
    )
    assert Statistics.load(exact.save(tmp_path / "exact.npz")).digest == exact.digest


FORMER = {
    "head": json.dumps(
        {
            "format": "attndyn statistics 1",
            "c": 2.0,
            "sequences": 8,
            "kind": [1, [5], "context", "restricted"],
        }
    ),
    "b": np.array([3.0]),
    "S": np.array([[4.0]]),
}


def test_files_of_the_former_format_are_read(tmp_path):
    """Their digest is that of the version that wrote them."""
    np.savez(tmp_path / "former.npz", **FORMER)
    stats = Statistics.load(tmp_path / "former.npz")
    assert (stats.outputs, stats.query_token, stats.context_weights) == (1, True, None)
    numbers = np.array([2.0, 8.0, 3.0, 4.0]).tobytes()
    kind = b"(1, (5,), 'context', 'restricted')"
    assert stats.digest == hashlib.sha256(numbers + kind).hexdigest()
    assert objective(Merged(1), stats)  # it is of a kind that models read


DAMAGED = {
    "other features": {"b": np.ones(2)},
    "other form": {"S": np.eye(2)},
    "no form": {"S": None},
    "half of a product": {"S": None, "A": np.eye(1)},
    "another format": {"head": FORMER["head"].replace("statistics 1", "statistics 3")},
    "unknown block": {"head": FORMER["head"].replace("restricted", "half")},
    "format 2 with a list": {
        "head": FORMER["head"].replace("statistics 1", "statistics 2")
    },
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_files_that_do_not_fit_are_refused(tmp_path, damage):
    contents = FORMER | DAMAGED[damage]
    held = {name: value for name, value in contents.items() if value is not None}
    np.savez(tmp_path / "damaged.npz", **held)
    with pytest.raises(ValueError, match="is not a whole file of statistics"):
        Statistics.load(tmp_path / "damaged.npz")


def of(outputs=2, lengths="weighted", **options):
    return statistics(recorded(outputs, lengths), Merged(1, outputs=outputs, **options))


def evaluated(model, stats):
    return objective(model, stats)


BAD = {
    "query token True and False": lambda: of() + of(query_token=False),
    "outputs 2 and 3": lambda: of() + of(3),
    "context weights (0.2, 0.5, 0.3) and None": lambda: (
        of() + replace(of(), context_weights=None)
    ),
    "made with the query's token, the model reads none: make them": lambda: evaluated(
        Merged(1, outputs=2, query_token=False), of()
    ),
    "made without the query's token, the model reads it: make them": lambda: evaluated(
        Merged(1, outputs=2), of(query_token=False)
    ),
    "2 outputs and the model 1: Merged(…, outputs=2)": (
        lambda: evaluated(Merged(1), of())
    ),
    "the data have 3 outputs and the model 1: Merged(…, outputs=3)": (
        lambda: statistics(recorded(3), Merged(1))
    ),
    "made with divisor 'context', the model has '2.5'": lambda: evaluated(
        Merged(1, outputs=2, divisor=2.5), of()
    ),
    "A must be (KD, KD), B (K, K, D, D)": lambda: from_moments(
        1.0, np.eye(2), np.eye(2), np.eye(2), Merged(1, outputs=2), (5,)
    ),
    "A, B and Lambda must be (D, D) each": lambda: from_moments(
        1.0, np.eye(4), np.ones((2, 2, 2, 2)), np.eye(2), Merged(1), (5,)
    ),
    "no dimension D has 4 features": lambda: from_feature_moments(
        1.0, np.ones(4), np.eye(4), Merged(1), (5,)
    ),
    "b must hold 3 features of each of the model's 1 outputs": (
        lambda: from_feature_moments(1.0, np.ones(4), np.eye(3), Merged(1), (5,))
    ),
    "these statistics have 1 output and the model 2": lambda: refuse_mismatch(
        Merged(1, outputs=2), of(1)
    ),
    "context_weights must be 1 positive numbers": lambda: from_moments(
        1.0, np.eye(2), np.eye(2), np.eye(2), Merged(1), (5,), context_weights=[1, 2]
    ),
    "context_weights must be 2 positive numbers": lambda: from_feature_moments(
        1.0, np.ones(3), np.eye(3), Merged(1), (5, 6), context_weights=[0, 1]
    ),
    "not (0, 0), (0, 0) and (0, 0)": lambda: from_moments(
        1.0, *np.zeros((3, 0, 0)), Merged(1), (5,)
    ),
    "value rows off x": lambda: on_block("value"),
    "keys off y": lambda: on_block("key"),
}


def on_block(name):
    model = Separate(1, outputs=2)
    weights = random_weights(model, block="restricted")
    weights[name][..., {"value": 0, "key": -2}[name]] = 1e-30
    return objective(model, statistics(recorded(2), model, "restricted"))(weights)


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_is_named_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        BAD[message]()
    assert "\n" not in str(error.value)


def test_numbers_that_are_too_large_are_refused():
    data = recorded(2)
    huge = replace(data, tokens=1e60 * data.tokens)
    with pytest.raises(OverflowError, match="divide x and y by a constant"):
        statistics(huge, Merged(1, outputs=2))


def test_the_size_of_several_outputs_is_refused_before_anything_is_drawn():
    task = Task(
        np.ones(20),
        context_length=5,
        teachers=Gaussian(np.eye(400).reshape(20, 20, 20, 20)),
    )
    with pytest.raises(MemoryError, match="D = 20 and K = 20, 16400 features") as error:
        statistics(sample(task, 10), Merged(1, outputs=20), limit_gib=2.0)
    assert 'block="restricted"' in str(error.value)
    restricted = statistics(
        sample(Task(np.ones(3), context_length=5), 10), Merged(1), "restricted"
    )
    assert restricted.features == 9


# -- Training -----------------------------------------------------------------------------------------------------

TWO = Task([2, 1], context_length=4, teachers=Gaussian.shared_basis([1, 0.5]))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(
    "model",
    [Merged(2, outputs=2), Separate(2, 2, outputs=2), Factorised(2, outputs=2)],
)
def test_descent_and_flow_of_several_outputs_follow_the_objective(model, block):
    """No kernel knows several outputs: each way takes the plain steps, and the flow is their limit."""
    stats = statistics(sample(TWO, 60), model, block)
    starts = []
    for seed in (0, 1):
        weights = random_weights(model, seed, block)
        starts.append({name: 0.2 * value for name, value in weights.items()})
    rule = {"learning_rate": 0.002, "steps": 40}
    runs = [train(model, stats, start, **rule) for start in starts]
    weights = starts[0]
    evaluate = objective(model, stats)
    for step in range(40):
        loss, gradients = evaluate(weights)
        assert runs[0].loss[step] == pytest.approx(loss, rel=1e-12)
        weights = {n: w - 0.002 * gradients[n] for n, w in weights.items()}
    plain = train(model, stats, starts[0], **rule, compiled=False)
    assert np.array_equal(plain.loss, runs[0].loss)
    for run, together in zip(
        runs, train_many(model, stats, starts, **rule), strict=True
    ):
        assert np.array_equal(run.loss, together.loss)

    gaps = []
    for rate in (0.002, 0.001):
        steps = round(0.16 / (2 * rate))
        run = train(model, stats, starts[0], learning_rate=rate, steps=steps)
        exact = flow(model, stats, starts[0], run.flow_time)
        gaps.append(np.max(np.abs(exact.loss - run.loss)))
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.1)


def test_passages_are_for_one_output():
    model = Separate(1, outputs=2)
    exact = from_moments(1.0, np.eye(4), np.ones((2, 2, 2, 2)), np.eye(2), model, (5,))
    start = random_weights(model, block="restricted")
    with pytest.raises(ValueError, match="rank-one heads with one output"):
        passages(model, exact, start, np.array([0.5]), until=1.0)
