"""Modular addition: one layer of attention with an MLP learns a + b modulo a prime from a part of the pairs."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...runtime.arrays import BoolArray, FloatArray
from ...runtime.checks import (
    check_choice,
    nonnegative_number,
    positive_number,
    whole_number,
)
from ..data.prompts import stream
from ..trajectory import IntArray
from .attention_layer import attended, refuse_uneven_heads
from .protocol import Tensor, Tensors

SPLITS = ("ordered", "unordered")
"""Whether (a, b) and (b, a) may be on both sides of the split."""

ADAMW_DECAYS = (0.9, 0.98)
"""Decays of the mean and of the mean square of gradients."""


@dataclass(frozen=True)
class ModularAddition:
    """A network of one layer that reads (a, b, =), and a `fraction` of the pairs that it is trained on.

    `dimension` D, `heads` H of rank D/H, an MLP of `hidden` units, no normalisation; full batches, AdamW. With the
    "ordered" split (a, b) and (b, a) are drawn apart, with "unordered" together: then the network must know that
    addition commutes. ValueError for settings that fit no network.

    >>> ModularAddition(fraction=0.5).train_mask(seed=0).sum()
    np.int64(480)
    """

    prime: int = 31
    dimension: int = 48
    heads: int = 2
    hidden: int = 96
    split: str = "ordered"
    fraction: float = 0.5
    learning_rate: float = 5e-3
    weight_decay: float = 1.0

    log_columns = (
        "step",
        "train loss",
        "test loss",
        "train accuracy",
        "test accuracy",
        "squared norm of the weights",
    )
    log_every = 25
    checkpoint_steps = (0, 100, 200, 300, 400, 600, 800, 1000, 1500, 2000)

    def __post_init__(self) -> None:
        """ValueError for settings that fit no network, or for a split without pairs on one of its sides."""
        prime = whole_number(self.prime, "prime", least=2)
        if any(prime % divisor == 0 for divisor in range(2, math.isqrt(prime) + 1)):
            raise ValueError(f"prime must be a prime number, not {prime}")
        for name in ("dimension", "heads", "hidden"):
            whole_number(getattr(self, name), name)
        refuse_uneven_heads(self.dimension, self.heads)
        check_choice(self.split, "split", SPLITS)
        positive_number(self.learning_rate, "learning_rate")
        nonnegative_number(self.weight_decay, "weight_decay")
        positive_number(self.fraction, "fraction")
        count = len(self._classes())
        if not 1 <= int(self.fraction * count) < count:
            raise ValueError(
                f"fraction must leave some of the {count} {self.split} pairs for training and some for testing, not "
                f"{self.fraction:g}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings, and the name of the network."""
        return {"network": "modular addition", **asdict(self)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the weights; the last row of E is the sign =."""
        D, rank = self.dimension, self.dimension // self.heads
        return {
            "E": (self.prime + 1, D),
            "pos": (3, D),
            "Q": (self.heads, rank, D),
            "K": (self.heads, rank, D),
            "V": (self.heads, rank, D),
            "O": (self.heads, D, rank),
            "W1": (self.hidden, D),
            "b1": (self.hidden,),
            "W2": (D, self.hidden),
            "b2": (D,),
            "U": (self.prime, D),
        }

    def initial_scale(self, name: str) -> float:
        """1/√D for every weight."""
        return float(1 / np.sqrt(self.dimension))

    def pairs(self) -> IntArray:
        """All pairs (a, b), (p², 2), a·p + b the place of each."""
        numbers = np.arange(self.prime)
        first = np.repeat(numbers, self.prime)
        second = np.tile(numbers, self.prime)
        return np.stack([first, second], axis=1)

    def train_mask(self, seed: int) -> BoolArray:
        """Which of the pairs are trained on, (p²,): a fraction of those that may be told apart."""
        classes = self._classes()
        drawn = stream(seed, "data").permutation(len(classes))
        mask = np.zeros((self.prime, self.prime), dtype=bool)
        chosen = classes[drawn[: int(self.fraction * len(classes))]]
        mask[chosen[:, 0], chosen[:, 1]] = True
        if self.split == "unordered":
            mask = mask | mask.T
        return mask.ravel()

    def constants(self, seed: int) -> dict[str, BoolArray | IntArray]:
        """The mask of the training set over pairs a·p + b, and p."""
        return {"train": self.train_mask(seed), "prime": np.array(self.prime)}

    def stored(self, weights: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """All weights, under their names."""
        return dict(weights)

    def problem(self, torch: Any, seed: int) -> "Additions":
        """The pairs that this seed draws."""
        return Additions(torch, self, seed)

    def optimizer(self, torch: Any, parameters: Iterable[Tensor]) -> Any:
        """AdamW, with decay on every weight."""
        return torch.optim.AdamW(
            parameters,
            lr=self.learning_rate,
            betas=ADAMW_DECAYS,
            weight_decay=self.weight_decay,
            foreach=False,
        )

    def _classes(self) -> IntArray:
        """The pairs that a split draws: all of them, or those of a ≤ b."""
        pairs = self.pairs()
        if self.split == "unordered":
            return pairs[pairs[:, 0] <= pairs[:, 1]]
        return pairs


class Additions:
    """The pairs of a split as tensors, and the loss of the network on them."""

    def __init__(self, torch: Any, network: ModularAddition, seed: int) -> None:
        self._torch = torch
        self._prime = network.prime
        pairs = network.pairs()
        mask = network.train_mask(seed)
        sums = pairs.sum(axis=1) % network.prime
        self._train = torch.from_numpy(pairs[mask]), torch.from_numpy(sums[mask])
        self._test = torch.from_numpy(pairs[~mask]), torch.from_numpy(sums[~mask])

    def logits(self, weights: Tensors, pairs: Tensor) -> Tensor:
        """Logits (P, p) of the sums of pairs (P, 2), read at the third position."""
        torch = self._torch
        signs = torch.full_like(pairs[:, :1], self._prime)
        symbols = torch.cat([pairs, signs], dim=1)  # (P, 3)
        residual = weights["E"][symbols] + weights["pos"]  # (P, 3, D)
        query = residual[:, 2:]  # (P, 1, D)
        last = query + attended(torch, weights, query, residual)
        hidden = torch.relu(last @ weights["W1"].T + weights["b1"])
        last = last + hidden @ weights["W2"].T + weights["b2"]
        return (last @ weights["U"].T)[:, 0]

    def loss(self, weights: Tensors, step: int) -> Tensor:
        """Cross-entropy on all training pairs, at every step the same."""
        pairs, sums = self._train
        return self._torch.nn.functional.cross_entropy(
            self.logits(weights, pairs), sums
        )

    def measured(self, weights: Tensors) -> tuple[float, ...]:
        """Loss and accuracy on both sides of the split, and the squared norm of all weights."""
        losses, accuracies = [], []
        for pairs, sums in (self._train, self._test):
            logits = self.logits(weights, pairs)
            loss = self._torch.nn.functional.cross_entropy(logits, sums)
            is_right = (logits.argmax(dim=1) == sums).double()
            losses.append(float(loss))
            accuracies.append(float(is_right.mean()))
        norm = sum(float((weight.double() ** 2).sum()) for weight in weights.values())
        return (*losses, *accuracies, norm)
