"""Attention in PyTorch, as its users write it: a module, plain SGD, full batch."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from attndyn.runtime.arrays import FloatArray

from .problems import Problem

Steps = Callable[[int], list[float]]


class AllRows(nn.Module):
    """A layer as published ones are: every token attends, the loss reads the last entry."""

    def __init__(
        self, problem: Problem, start: dict[str, FloatArray], dtype: torch.dtype
    ) -> None:
        super().__init__()
        size, self.softmax = problem.dimension + 1, problem.softmax
        value = np.zeros((problem.heads, size, size))
        value[:, -1] = start["value"]
        self.value = nn.Parameter(torch.tensor(value, dtype=dtype))
        names = [name for name in start if name != "value"]
        self.rest = nn.ParameterList(
            [torch.tensor(start[name], dtype=dtype) for name in names]
        )

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for h in range(len(self.value)):
            lifted = x @ self._key_query(h).T @ x.mT
            scores = torch.softmax(lifted, -1) if self.softmax else lifted
            out = out + scores @ (x @ self.value[h].T)
        return out[:, -1, -1]

    def _key_query(self, h: int) -> Tensor:
        if len(self.rest) == 1:
            return self.rest[0][h]
        key, query = (weight[h].reshape(-1, weight.shape[-1]) for weight in self.rest)
        return key.T @ query


class QueryRow(nn.Module):
    """The same output from the query's row alone."""

    def __init__(
        self, problem: Problem, start: dict[str, FloatArray], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.softmax = problem.softmax
        self.weights = nn.ParameterList(
            [torch.tensor(value, dtype=dtype) for value in start.values()]
        )

    def forward(self, x: Tensor) -> Tensor:
        query = x[:, -1]
        if len(self.weights) == 2:
            value, key_query = self.weights
            lifted = torch.einsum("hij,pj->phi", key_query, query)
        else:
            value, key, lower = self.weights
            key, lower = (
                weight.reshape(len(value), -1, value.shape[1])
                for weight in (key, lower)
            )
            lifted = torch.einsum(
                "hri,phr->phi", key, torch.einsum("hrj,pj->phr", lower, query)
            )
        scores = torch.einsum("pni,phi->phn", x, lifted)
        scores = torch.softmax(scores, -1) if self.softmax else scores
        return (scores * torch.einsum("pni,hi->phn", x, value)).sum((1, 2))


def steps(
    problem: Problem,
    tokens: FloatArray,
    start: dict[str, FloatArray],
    *,
    rows: str,
    single: bool,
    fused: bool,
    threads: int,
) -> Steps:
    """A function that makes so many steps and returns their losses; `rows` "all" or "query", `fused`: compiled."""
    torch.compiler.reset()  # or code that was compiled for another number of threads is used again
    dtype = torch.float32 if single else torch.float64
    masked = tokens.copy()
    masked[:, -1, -1] = 0.0
    x, y = (
        torch.tensor(masked, dtype=dtype),
        torch.tensor(tokens[:, -1, -1], dtype=dtype),
    )
    layer = (AllRows if rows == "all" else QueryRow)(problem, start, dtype)
    model = torch.compile(layer) if fused else layer
    optimizer, criterion = (
        torch.optim.SGD(layer.parameters(), lr=problem.learning_rate),
        nn.MSELoss(),
    )

    def run(count: int) -> list[float]:
        torch.set_num_threads(threads)
        losses = []
        for _ in range(count):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
        return losses

    return run
