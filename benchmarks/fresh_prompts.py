"""Steps on prompts that are drawn anew each time: two softmax heads as He et al. train them, and linear attention."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from attndyn import Factorised, Separate, Task
from attndyn.models.protocol import Parametrization, Weights
from attndyn.simulate import Adam, initial_weights, train
from attndyn.simulate.attention.objectives import batch_objective
from attndyn.simulate.data.batches import FreshPrompts
from attndyn.teachers import Gaussian

from .timing import PROCESSOR, Case, Times, alternating

if TYPE_CHECKING:
    from torch import Tensor

D, N, HEADS, BATCH, RATE, STEPS = 5, 40, 2, 256, 1e-3, 50
ROUNDS = 40
"""Many short rounds, so that the fastest of each case met a quiet machine."""

OURS, DRAWING = "ours", "ours, drawing the prompts alone"
EAGER = "PyTorch, query row, eager, float64"
"""The peer that an aim speaks of: in our precision, and with as few products."""
PEERS = (
    EAGER,
    "PyTorch, query row, eager, float32",
    "PyTorch, query row, compiled, float64",
    "PyTorch, query row, compiled, float32",
    "PyTorch, all keys and values, eager, float64",
    "PyTorch, all keys and values, compiled, float64",
)
SMALL = "D = 4, N = 31, linear"

TASK = Task(
    [1] * D, teachers=Gaussian(np.eye(D) / D), noise_variance=0.1, context_length=N
)
MODEL = Factorised(
    heads=HEADS, softmax=True, query_token=False, score_divisor="sqrt_key"
)
SMALL_TASK = Task(range(4, 0, -1), trace=1.0, context_length=31)
SMALL_MODEL = Separate(5, rank=1)


def steps_on_fresh_prompts() -> Times:
    """Processor seconds of one step, drawing its prompts included, on one core each."""
    start = initial_weights(MODEL, TASK, scale=0.1, scheme="gaussian")
    batches = FreshPrompts(TASK, BATCH, seed=0)
    cases = _our_steps(MODEL, batches, start)
    for name in PEERS:
        cases[name] = STEPS, _torch_steps(name, start, batches)

    small_start = initial_weights(SMALL_MODEL, SMALL_TASK, scale=0.1)
    small_batches = FreshPrompts(SMALL_TASK, BATCH, seed=0)
    small = _our_steps(SMALL_MODEL, small_batches, small_start)
    cases |= {f"{SMALL}: {name}": case for name, case in small.items()}
    return alternating(cases, rounds=ROUNDS, clock=PROCESSOR)


def _our_steps(
    model: Parametrization, batches: FreshPrompts, start: Weights
) -> dict[str, tuple[int, Case]]:
    """Steps of the package, and what it draws for them."""

    def ours() -> object:
        optimizer = Adam(RATE)
        return train(
            model, batches.task, start, optimizer=optimizer, batch=BATCH, steps=STEPS
        )

    def drawing() -> None:
        for step in range(STEPS):
            batches.at(step)

    return {OURS: (STEPS, ours), DRAWING: (STEPS, drawing)}


def _torch_steps(
    name: str, start: Weights, batches: FreshPrompts
) -> Callable[[], object]:
    """Steps of the same model in PyTorch, once its loss on one batch is ours."""
    import torch

    torch.set_num_threads(1)
    dtype = torch.float32 if "float32" in name else torch.float64
    weights = {
        each: torch.tensor(value, dtype=dtype, requires_grad=True)
        for each, value in start.items()
    }
    outputs_of = _query_row if "query row" in name else _all_keys_and_values

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        X = torch.cat([x[:, :-1], y[:, :-1, None]], dim=2)  # (b, N, D+1)
        return ((outputs_of(weights, X, x[:, -1]) - y[:, -1]) ** 2).mean()

    tokens, targets = batches.at(0)
    there = loss_of(
        torch.tensor(tokens[..., :D], dtype=dtype),
        torch.tensor(targets[..., 0], dtype=dtype),
    )
    here, _ = batch_objective(MODEL, batches)(start, 0)
    tolerance = 1e-4 if dtype is torch.float32 else 1e-9
    assert abs(there.item() / here - 1) < tolerance, "the peer is another model"
    evaluate = torch.compile(loss_of) if "compiled" in name else loss_of
    optimizer = torch.optim.Adam(weights.values(), lr=RATE)
    randn = partial(torch.randn, dtype=dtype)

    def steps() -> list[float]:
        losses = []
        for _ in range(STEPS):
            x = randn(BATCH, N + 1, D)
            w = randn(BATCH, D, 1) / D**0.5
            y = torch.bmm(x, w)[..., 0] + 0.1**0.5 * randn(BATCH, N + 1)
            optimizer.zero_grad()
            loss = evaluate(x, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return steps


def _query_row(weights: dict[str, "Tensor"], X: "Tensor", query: "Tensor") -> "Tensor":
    """What the query's token alone needs: the weights of all tokens meet it before they meet the tokens."""
    import torch

    size = D + 1
    q = query @ weights["query"][..., :-1].reshape(-1, D).T  # (b, H·R)
    lifted = torch.einsum("bhr,hrj->bhj", q.view(BATCH, HEADS, -1), weights["key"])
    scores = torch.bmm(lifted, X.mT) / size**0.5  # (b, H, N)
    attended = torch.bmm(torch.softmax(scores, dim=-1), X)  # (b, H, D+1)
    rows = torch.bmm(weights["output"], weights["value"])  # (H, 1, D+1)
    return attended.view(BATCH, -1) @ rows.view(-1)


def _all_keys_and_values(
    weights: dict[str, "Tensor"], X: "Tensor", query: "Tensor"
) -> "Tensor":
    """Keys and values of all tokens, as a layer of a network computes them."""
    import torch

    size = D + 1
    q = torch.einsum("hrj,bj->bhr", weights["query"][..., :-1], query)
    k = torch.einsum("hrj,bnj->bhnr", weights["key"], X)
    scores = torch.einsum("bhnr,bhr->bhn", k, q) / size**0.5
    attention = torch.softmax(scores, dim=-1)
    v = torch.einsum("hej,bnj->bhne", weights["value"], X)
    attended = torch.einsum("bhn,bhne->bhe", attention, v)
    return torch.einsum("hke,bhe->b", weights["output"], attended)


GROUPS = {"fresh_prompts": steps_on_fresh_prompts}
