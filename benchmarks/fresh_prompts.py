"""A step of Adam on fresh prompts: two softmax heads on batches of 256, as He et al. train them."""

from collections.abc import Callable

import numpy as np

from attndyn import Factorised, Task
from attndyn.models.protocol import Weights
from attndyn.simulate import Adam, initial_weights, train
from attndyn.simulate.attention.objectives import batch_objective
from attndyn.simulate.data.batches import FreshPrompts
from attndyn.teachers import Gaussian

from .timing import Times, alternating

D, N, HEADS, BATCH, RATE, STEPS = 5, 40, 2, 256, 1e-3, 100
OURS, DRAWING = "ours", "ours, drawing the prompts alone"
EAGER, COMPILED = "PyTorch, eager", "PyTorch, compiled"

TASK = Task(
    [1] * D, teachers=Gaussian(np.eye(D) / D), noise_variance=0.1, context_length=N
)
MODEL = Factorised(
    heads=HEADS, softmax=True, query_token=False, score_divisor="sqrt_key"
)


def steps_on_fresh_prompts() -> Times:
    """Seconds of one step, drawing its prompts included, on one core each."""
    start = initial_weights(MODEL, TASK, scale=0.1, scheme="gaussian")
    batches = FreshPrompts(TASK, BATCH, seed=0)

    def ours() -> object:
        return train(MODEL, TASK, start, optimizer=Adam(RATE), batch=BATCH, steps=STEPS)

    def drawing() -> None:
        for step in range(STEPS):
            batches.at(step)

    cases: dict[str, tuple[int, Callable[[], object]]] = {
        OURS: (STEPS, ours),
        DRAWING: (STEPS, drawing),
    }
    for name, compiled in ((EAGER, False), (COMPILED, True)):
        cases[name] = STEPS, _torch_steps(start, batches, compiled)
    return alternating(cases)


def _torch_steps(
    start: Weights, batches: FreshPrompts, compiled: bool
) -> Callable[[], object]:
    """Steps of the same model in PyTorch, in doubles, once its loss on one batch is ours."""
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    weights = {
        name: torch.tensor(value, requires_grad=True) for name, value in start.items()
    }
    size = D + 1

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        X = torch.cat([x[:, :-1], y[:, :-1, None]], dim=2)  # (b, N, D+1)
        query = torch.nn.functional.pad(x[:, -1], (0, 1))
        q = torch.einsum("hrj,bj->bhr", weights["query"], query)
        k = torch.einsum("hrj,bnj->bhnr", weights["key"], X)
        scores = torch.einsum("bhnr,bhr->bhn", k, q) / size**0.5
        attention = torch.softmax(scores, dim=-1)
        v = torch.einsum("hej,bnj->bhne", weights["value"], X)
        attended = torch.einsum("bhn,bhne->bhe", attention, v)
        output = torch.einsum("hke,bhe->b", weights["output"], attended)
        return ((output - y[:, -1]) ** 2).mean()

    tokens, targets = batches.at(0)
    there = loss_of(torch.tensor(tokens[..., :D]), torch.tensor(targets[..., 0]))
    here, _ = batch_objective(MODEL, batches)(start, 0)
    assert abs(there.item() / here - 1) < 1e-9, "the peer is another model"
    evaluate = torch.compile(loss_of) if compiled else loss_of
    optimizer = torch.optim.Adam(weights.values(), lr=RATE)

    def steps() -> list[float]:
        losses = []
        for _ in range(STEPS):
            x = torch.randn(BATCH, N + 1, D)
            w = torch.randn(BATCH, D) / D**0.5
            y = torch.einsum("bnd,bd->bn", x, w) + 0.1**0.5 * torch.randn(BATCH, N + 1)
            optimizer.zero_grad()
            loss = evaluate(x, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return steps


GROUPS = {"fresh_prompts": steps_on_fresh_prompts}
