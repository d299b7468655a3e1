"""Networks that are trained with PyTorch: `make test-torch`. Resumed runs have the same bits.

The name of this file keeps it out of `make test`, whose machines need no PyTorch.
"""

import numpy as np
import pytest
import torch

from attndyn.cli import main
from attndyn.compare.checkpoints.measuring import (
    TensorNames,
    measure_files,
    reference_checkpoints,
)
from attndyn.simulate.torch_models import (
    AttentionOnly,
    ModularAddition,
    load_network_run,
    train_torch_network,
)
from attndyn.simulate.torch_models.attention_only import PeriodicSequences
from attndyn.simulate.torch_models.modular_addition import Additions
from attndyn.simulate.torch_models.training import _one_thread, initial_weights

SMALL = {
    "addition": ModularAddition(prime=7, dimension=8, hidden=12),
    "sequences": AttentionOnly(symbols=6, dimension=8, batch=5),
}


def tensors(weights):
    return {name: torch.tensor(value) for name, value in weights.items()}


def doubles(network):
    """Random weights in double precision, biases included."""
    draws = np.random.default_rng(0)
    shapes = network.shapes()
    return {name: 0.4 * draws.normal(size=size) for name, size in shapes.items()}


# The networks beside their formulas


def softmax(scores):
    raised = np.exp(scores - np.max(scores))
    return raised / np.sum(raised)


def attention(weights, heads, residual, position):
    """What these heads add at a position, which sees those up to it."""
    total = np.zeros(residual.shape[1])
    for h in heads:
        query = weights["Q"][h] @ residual[position]
        keys = residual[: position + 1] @ weights["K"][h].T
        shares = softmax(keys @ query / np.sqrt(len(query)))
        total += weights["O"][h] @ weights["V"][h] @ residual[: position + 1].T @ shares
    return total


def test_modular_addition_is_its_formula():
    network = SMALL["addition"]
    w = doubles(network)
    problem = Additions(torch, network, seed=0)
    pairs = network.pairs()
    logits = problem.logits(tensors(w), torch.from_numpy(pairs)).numpy()
    for (a, b), row in zip(pairs, logits, strict=True):
        residual = w["E"][[a, b, 7]] + w["pos"]
        last = residual[2] + attention(w, range(2), residual, 2)
        last = last + w["W2"] @ np.maximum(w["W1"] @ last + w["b1"], 0) + w["b2"]
        np.testing.assert_allclose(row, w["U"] @ last, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layers", [1, 2])
def test_attention_only_is_its_formula(layers):
    network = AttentionOnly(symbols=6, dimension=8, layers=layers)
    w = doubles(network)
    problem = PeriodicSequences(torch, network, seed=0)
    sequences = network.sequences(3, seed=5, step=0)
    found = problem.losses(tensors(w), torch.from_numpy(sequences)).numpy()
    for sequence, losses in zip(sequences, found, strict=True):
        residual = w["E"][sequence[:-1]] + w["pos"][:-1]
        for layer in range(layers):
            heads = range(2 * layer, 2 * layer + 2)
            added = [attention(w, heads, residual, n) for n in range(len(residual))]
            residual = residual + np.array(added)
        shares = [softmax(w["U"] @ row) for row in residual]
        expected = [-np.log(s[n]) for s, n in zip(shares, sequence[1:], strict=True)]
        np.testing.assert_allclose(losses, expected, rtol=1e-8, atol=1e-8)


def test_the_log_is_of_both_sides_of_the_split():
    network = SMALL["addition"]
    w = doubles(network)
    problem = Additions(torch, network, seed=0)
    pairs, mask = network.pairs(), network.train_mask(seed=0)
    logits = problem.logits(tensors(w), torch.from_numpy(pairs)).numpy()
    sums = pairs.sum(axis=1) % 7
    losses = [-np.log(softmax(row)[s]) for row, s in zip(logits, sums, strict=True)]
    is_right = np.argmax(logits, axis=1) == sums
    norm = sum(np.sum(value**2) for value in w.values())
    expected = [
        *(np.mean(np.array(losses)[side]) for side in (mask, ~mask)),
        *(np.mean(is_right[side]) for side in (mask, ~mask)),
        norm,
    ]
    np.testing.assert_allclose(problem.measured(tensors(w)), expected, rtol=1e-8)
    assert float(problem.loss(tensors(w), 3)) == pytest.approx(expected[0])


# The recorded network

RECORDED = {path.stem: np.load(path) for path in reference_checkpoints()}


def recorded_problem(name, split):
    """The pairs of a recorded network, on its own split."""
    mask = RECORDED[name]["train"]
    network = ModularAddition(split=split)
    return Additions(torch, _OnMask(network, mask), seed=0)


class _OnMask:
    """A network on a given split."""

    def __init__(self, network, mask):
        self.prime, self.pairs = network.prime, network.pairs
        self.train_mask = lambda seed: mask


def recorded_weights(name, index):
    """The weights of a recorded checkpoint."""
    arrays = RECORDED[name]
    return {
        key: torch.tensor(arrays[key][index].astype(np.float32))
        for key in ModularAddition().shapes()
    }


@pytest.mark.parametrize(
    ("name", "split"), [("grokking", "ordered"), ("control", "unordered")]
)
def test_recorded_checkpoints_have_the_logged_losses_and_accuracies(name, split):
    problem, arrays = recorded_problem(name, split), RECORDED[name]
    for index, step in enumerate(arrays["steps"]):
        logged = arrays["log"][step // 25, 1:]
        found = np.array(problem.measured(recorded_weights(name, index)))
        # The weights are in half precision; an accuracy counts pairs.
        np.testing.assert_allclose(found[:2], logged[:2], rtol=0.02, atol=1e-4)
        np.testing.assert_allclose(found[2:4], logged[2:4], atol=0.005)
        np.testing.assert_allclose(found[4], logged[4], rtol=1e-3)


def test_the_recorded_network_is_trained_again():
    """From its first weights, as long as rounding has not grown, and until it generalises."""
    problem, log = recorded_problem("grokking", "ordered"), RECORDED["grokking"]["log"]
    weights = recorded_weights("grokking", 0)
    for weight in weights.values():
        weight.requires_grad_()
    optimizer = ModularAddition().optimizer(torch, list(weights.values()))
    with _one_thread(torch):
        for step in range(751):
            if step in (0, 25, 50):
                with torch.no_grad():
                    found = problem.measured(weights)
                np.testing.assert_allclose(found, log[step // 25, 1:], rtol=0.06)
            optimizer.zero_grad()
            problem.loss(weights, step).backward()
            optimizer.step()
    with torch.no_grad():
        _, _, _, accuracy, _ = problem.measured(weights)
    assert accuracy > 0.9
    # The recorded run came past 0.9 at step 650.
    assert log[650 // 25, 4] > 0.9 > log[600 // 25, 4]


def test_spectra_of_own_checkpoints_are_measured(tmp_path):
    out = tmp_path / "run.npz"
    train_torch_network(AttentionOnly(), steps=2, out=out)
    names = TensorNames(query_key="qk", output_value="ov")
    measured = measure_files(out, names, rank=4)
    assert measured.query_key.names == ("head 0", "head 1", "head 2", "head 3")


# The training


@pytest.mark.parametrize("name", SMALL)
def test_two_steps_are_those_of_the_optimizer(name):
    """Adam's second step by hand; decoupled decay where there is one."""
    network = SMALL[name]
    run = train_torch_network(network, steps=2, checkpoints=[0, 1, 2])
    problem = network.problem(torch, 0)
    is_addition = name == "addition"
    b2, decay = (0.98, 1.0) if is_addition else (0.999, 0.0)
    weights = tensors(initial_weights(network, seed=0))
    means = dict.fromkeys(weights, (0.0, 0.0))
    for step in range(2):
        leaves = {key: value.clone().requires_grad_() for key, value in weights.items()}
        problem.loss(leaves, step).backward()
        for key, leaf in leaves.items():
            m, v = means[key]
            m, v = 0.9 * m + 0.1 * leaf.grad, b2 * v + (1 - b2) * leaf.grad**2
            means[key] = m, v
            own = m / (1 - 0.9 ** (step + 1))
            root = torch.sqrt(v / (1 - b2 ** (step + 1))) + 1e-8
            rate = network.learning_rate
            weights[key] = (1 - rate * decay) * leaf.detach() - rate * own / root
    for key, value in weights.items():
        np.testing.assert_allclose(
            run.state[f"weight_{key}"], value.numpy(), atol=2e-6, rtol=1e-5
        )


def equal(run, other):
    """Whether two runs have the same bits."""
    return all(
        set(ours) == set(theirs)
        and all(np.array_equal(ours[name], theirs[name]) for name in ours)
        for ours, theirs in (
            (run.weights, other.weights),
            (run.state, other.state),
            (
                {"log": run.log, "steps": run.steps},
                {"log": other.log, "steps": other.steps},
            ),
        )
    )


@pytest.mark.parametrize("name", SMALL)
def test_an_interrupted_run_goes_on_to_the_same_bits(name, tmp_path, monkeypatch):
    network, out = SMALL[name], tmp_path / "run.npz"
    wanted = {"steps": 120, "checkpoints": [0, 40, 90], "seed": 3}
    whole = train_torch_network(network, **wanted)
    problem = type(network.problem(torch, 3))
    original = problem.loss

    def interrupted(self, weights, step):
        if step == 57:
            raise KeyboardInterrupt
        return original(self, weights, step)

    with monkeypatch.context() as patch:
        patch.setattr(problem, "loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_torch_network(network, out=out, **wanted)
    assert load_network_run(out).last_step == 40
    resumed = train_torch_network(network, out=out, **wanted)
    assert equal(resumed, whole)
    assert equal(load_network_run(out), whole)
    other = train_torch_network(network, **wanted | {"seed": 4})
    assert not equal(other, whole)


def test_a_run_goes_on_to_more_steps(tmp_path):
    network, out = SMALL["addition"], tmp_path / "run.npz"
    whole = train_torch_network(network, steps=100, checkpoints=[0, 50])
    train_torch_network(network, steps=50, checkpoints=[0], out=out)
    assert equal(
        train_torch_network(network, steps=100, checkpoints=[0], out=out), whole
    )
    train_torch_network(network, steps=100, checkpoints=[0], out=out)
    assert load_network_run(out).last_step == 100
    for reason, change in {
        "has 100 steps already, and 60 are asked for": {"steps": 60},
        "has passed step 10 without a checkpoint": {"checkpoints": [10]},
        "is a run with seed = 0, not 1": {"seed": 1},
    }.items():
        with pytest.raises(ValueError, match=reason):
            train_torch_network(network, **{"steps": 100, "out": out} | change)
    with pytest.raises(ValueError, match=r"is a run with fraction = 0\.5, not 0\.6"):
        train_torch_network(
            ModularAddition(prime=7, dimension=8, hidden=12, fraction=0.6),
            steps=100,
            out=out,
        )
    with pytest.raises(ValueError, match="is a run with"):
        train_torch_network(SMALL["sequences"], steps=100, out=out)
    assert load_network_run(out).steps.tolist() == [0, 50, 100]
    anew = train_torch_network(network, steps=5, out=out, anew=True)
    assert anew.last_step == load_network_run(out).last_step == 5


def test_a_file_without_its_state_is_refused(tmp_path):
    network, out = SMALL["addition"], tmp_path / "run.npz"
    train_torch_network(network, steps=3, out=out)
    arrays = dict(np.load(out))
    for name in ("state_square_W1", "state_weight_E"):
        for wrong in (None, arrays[name].astype(float), arrays[name][1:]):
            changed = {key: arrays[key] for key in arrays if key != name}
            np.savez(out, **changed | ({} if wrong is None else {name: wrong}))
            with pytest.raises(ValueError, match=f"has no {name} of shape"):
                train_torch_network(network, steps=9, out=out)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    train_torch_network(SMALL["addition"], steps=1)
    assert torch.get_num_threads() == before


def test_a_run_that_diverges_says_so(tmp_path):
    network = ModularAddition(prime=7, dimension=8, hidden=12, learning_rate=1e30)
    with pytest.raises(ArithmeticError, match="the loss is not finite at step"):
        train_torch_network(network, steps=50, out=tmp_path / "run.npz")
    assert load_network_run(tmp_path / "run.npz").last_step == 0


def test_training_pairs_are_learned_by_heart():
    run = train_torch_network(ModularAddition(), steps=100)
    assert run.logged("train accuracy")[-1] > 0.99
    assert run.logged("test accuracy")[-1] < 0.6
    assert run.logged("step").tolist() == [0, 25, 50, 75, 100]


# The command


def test_the_command_says_where_an_interrupted_run_is(tmp_path, monkeypatch, capsys):
    original = Additions.loss

    def interrupted(self, weights, step):
        if step == 25:
            raise KeyboardInterrupt
        return original(self, weights, step)

    monkeypatch.setattr(Additions, "loss", interrupted)
    out = tmp_path / "run.npz"
    arguments = ["train-network", "modular-addition", "--steps", "30"]
    assert main([*arguments, "--checkpoints", "0,20", "--out", str(out)]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert load_network_run(out).last_step == 20


def test_the_command_writes_and_goes_on(tmp_path, capsys):
    out = tmp_path / "run.npz"
    small = ["--dimension", "8", "--heads", "2", "--out", str(out), "--steps"]
    addition = ["train-network", "modular-addition", "--prime", "7", *small]
    assert main([*addition, "30", "--checkpoints", "0,1e1"]) == 0
    assert "run.npz: 30 steps, train loss" in capsys.readouterr().out
    assert main([*addition, "40", "--checkpoints", "0,10"]) == 0
    assert load_network_run(out).steps.tolist() == [0, 10, 30, 40]
    sequences = ["train-network", "attention-only", "--layers", "1", *small]
    assert main([*sequences, "10"]) == 2
    assert "is a run with" in capsys.readouterr().err
    assert main([*sequences, "10", "--force"]) == 0
    assert load_network_run(out).weights["qk"].shape == (2, 2, 8, 8)
    assert main([*addition, "9", "--force", "--learning-rate", "1e30"]) == 1
    assert "diverged" in capsys.readouterr().err
