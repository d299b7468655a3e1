"""Batches and their objective, in place of those of the package until they are there."""

import sys
from typing import Any, NamedTuple, Protocol

import numpy as np

from attndyn.simulate import sample
from attndyn.simulate.attention import objectives
from attndyn.simulate.attention.forward import token_loss
from attndyn.simulate.attention.gradients import pullback
from attndyn.simulate.attention.heads import heads_of


class Sequences(NamedTuple):
    tokens: Any
    targets: Any


class Batches(Protocol):
    @property
    def dimension(self) -> int: ...
    @property
    def context_lengths(self) -> tuple[int, ...]: ...
    @property
    def digest(self) -> str: ...
    def at(self, step: int) -> Sequences: ...


class FreshPrompts:
    def __init__(self, task: Any, batch: int, seed: int) -> None:
        self.task, self.batch, self.seed = task, batch, seed
        self.dimension, self.context_lengths = task.dimension, task.context_lengths
        self.digest = f"{task.digest} {batch} {seed}"

    def at(self, step: int) -> Sequences:
        entropy = int(np.random.SeedSequence((self.seed, step)).generate_state(1)[0])
        tokens = sample(self.task, self.batch, seed=entropy).tokens
        return Sequences(tokens, tokens[..., -1:])


class Minibatches:
    def __init__(self, data: Any, batch: int, seed: int) -> None:
        if batch > data.sequences:
            raise ValueError("batch must be at most the number of sequences")
        self.data, self.batch, self.seed = data, batch, seed
        self.dimension, self.context_lengths = data.dimension, data.context_lengths
        self.digest = f"{data.digest} {batch} {seed}"
        self.tokens = data.tokens

    def at(self, step: int) -> Sequences:
        epoch, place = divmod(step, self.data.sequences // self.batch)
        order = np.random.default_rng([self.seed, epoch]).permutation(
            self.data.sequences
        )
        rows = order[place * self.batch : (place + 1) * self.batch]
        tokens = self.tokens[rows]
        return Sequences(tokens, tokens[..., -1:])


def batch_objective(model, batches):
    to_weights = pullback(model)

    def evaluate(weights, step):
        heads = heads_of(model, weights)
        loss, (grad_a, grad_B) = token_loss(
            model, heads, batches.at(step).tokens, batches.context_lengths
        )
        return loss, to_weights(weights, grad_a, grad_B)

    return evaluate


def install():
    if not hasattr(objectives, "batch_objective"):
        objectives.batch_objective = batch_objective
    name = "attndyn.simulate.data.batches"
    try:
        __import__(name)
    except ModuleNotFoundError:
        sys.modules[name] = sys.modules[__name__]


install()
