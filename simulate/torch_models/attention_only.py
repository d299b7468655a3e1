"""Attention without an MLP learns to continue periodic random sequences, whose period differs from one to the next."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.checks import positive_number, whole_number
from ..data.prompts import stream
from ..trajectory import IntArray
from .attention_layer import attended, refuse_uneven_heads
from .protocol import Tensor, Tensors

FIRST = 4
"""Predictions at the beginning, before a symbol can have come again."""

TEST_SEQUENCES = 512
"""Sequences that the log is measured on: their losses are known to 0.02."""

PARTS = ("Q", "K", "V", "O")


@dataclass(frozen=True)
class AttentionOnly:
    """A network of 1 or more `layers` of causal attention that predicts the next of `symbols` symbols.

    A sequence of `length` symbols repeats its first ones with a random period from `shortest` to `longest`, drawn anew
    for each sequence: with one period for all, a single layer could go by the positions. Every step has a fresh
    `batch`; Adam. `dimension` D, `heads` H of rank D/H in each layer. Symbols and positions begin with the standard
    deviation `embedding_scale`. ValueError for settings that fit no network.

    >>> AttentionOnly(layers=1).sequences(2, seed=0, step=0).shape
    (2, 24)
    """

    symbols: int = 16
    length: int = 24
    shortest: int = 5
    longest: int = 12
    layers: int = 2
    dimension: int = 48
    heads: int = 2
    learning_rate: float = 3e-3
    batch: int = 48
    embedding_scale: float = 0.4

    log_columns = ("step", "loss on the first 4", "loss on the second half")
    log_every = 50
    checkpoint_steps = (0, 50, 100, 150, 200, 300, 500, 800, 1200, 2000)

    def __post_init__(self) -> None:
        """ValueError for settings that fit no network, or sequences that never repeat."""
        whole_number(self.symbols, "symbols", least=2)
        for name in ("shortest", "layers", "dimension", "heads", "batch"):
            whole_number(getattr(self, name), name)
        refuse_uneven_heads(self.dimension, self.heads)
        whole_number(self.longest, "longest", least=self.shortest)
        # The log tells the first predictions from those of the second half, which repeat.
        least = 2 * max(self.longest, FIRST)
        whole_number(self.length, "length", least=least)
        positive_number(self.learning_rate, "learning_rate")
        positive_number(self.embedding_scale, "embedding_scale")

    def to_dict(self) -> dict[str, Any]:
        """The settings, and the name of the network."""
        return {"network": "attention only", **asdict(self)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the weights; heads of all layers stand one after another."""
        D, rank = self.dimension, self.dimension // self.heads
        count = self.layers * self.heads
        return {
            "E": (self.symbols, D),
            "pos": (self.length, D),
            "Q": (count, rank, D),
            "K": (count, rank, D),
            "V": (count, rank, D),
            "O": (count, D, rank),
            "U": (self.symbols, D),
        }

    def initial_scale(self, name: str) -> float:
        """`embedding_scale` for symbols and positions, 1/√D for all other weights."""
        if name in ("E", "pos"):
            return self.embedding_scale
        return float(1 / np.sqrt(self.dimension))

    def sequences(
        self, count: int, seed: int, step: int, split: str = "batches"
    ) -> IntArray:
        """The sequences (count, length) of a step: symbols up to the period at random, and again and again."""
        random = stream(seed, split, step)
        periods = random.integers(self.shortest, self.longest + 1, size=(count, 1))
        symbols = random.integers(self.symbols, size=(count, self.longest))
        places = np.arange(self.length) % periods  # (count, length)
        return np.take_along_axis(symbols, places, axis=1)

    def constants(self, seed: int) -> dict[str, Any]:
        """Nothing: every batch is fresh."""
        return {}

    def stored(self, weights: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """QK = QᵀK and OV = O V of every head (layers·H, D, D), and the other weights under their names."""
        query, key, value, output = (weights[name] for name in PARTS)
        products = {"qk": query.swapaxes(1, 2) @ key, "ov": output @ value}
        others = {name: weights[name] for name in weights if name not in PARTS}
        return products | others

    def problem(self, torch: Any, seed: int) -> "PeriodicSequences":
        """The sequences that this seed draws."""
        return PeriodicSequences(torch, self, seed)

    def optimizer(self, torch: Any, parameters: Iterable[Tensor]) -> Any:
        """Adam."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, foreach=False)


class PeriodicSequences:
    """Sequences as tensors, and the loss of the network on their next symbols."""

    def __init__(self, torch: Any, network: AttentionOnly, seed: int) -> None:
        self._torch = torch
        self._network = network
        self._seed = seed
        test = network.sequences(TEST_SEQUENCES, seed, 0, "test")
        self._test = torch.from_numpy(test)
        # A position does not see those after it.
        seen = network.length - 1
        self._is_hidden = torch.ones(seen, seen, dtype=torch.bool).triu(1)

    def losses(self, weights: Tensors, sequences: Tensor) -> Tensor:
        """Cross-entropy of every next symbol, (P, length − 1)."""
        torch, heads = self._torch, self._network.heads
        seen, following = sequences[:, :-1], sequences[:, 1:]
        residual = weights["E"][seen] + weights["pos"][: seen.shape[1]]  # (P, N, D)
        for first in range(0, self._network.layers * heads, heads):
            layer = {name: weights[name][first : first + heads] for name in PARTS}
            residual = residual + attended(
                torch, layer, residual, residual, is_hidden=self._is_hidden
            )
        logits = residual @ weights["U"].T  # (P, N, symbols)
        return torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), following, reduction="none"
        )

    def loss(self, weights: Tensors, step: int) -> Tensor:
        """The mean loss on the batch of this step."""
        batch = self._network.sequences(self._network.batch, self._seed, step)
        return self.losses(weights, self._torch.from_numpy(batch)).mean()

    def measured(self, weights: Tensors) -> tuple[float, ...]:
        """The mean loss on the first predictions, and on those of the second half, of the test sequences."""
        losses = self.losses(weights, self._test)
        # Column n predicts symbol n + 1.
        second_half = losses[:, self._network.length // 2 - 1 :]
        return float(losses[:, :FIRST].mean()), float(second_half.mean())
