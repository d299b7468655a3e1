"""What a network must say of itself so that it is trained: its weights, its loss, its optimizer and what is logged."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ...runtime.arrays import BoolArray, FloatArray
from ..trajectory import IntArray

Tensor = Any
"""A tensor of PyTorch, which is an extra: it has no type where it is not installed."""

Tensors = Mapping[str, Tensor]


class Problem(Protocol):
    """The data of a network, as tensors."""

    def loss(self, weights: Tensors, step: int) -> Tensor:
        """The loss that this step descends on."""

    def measured(self, weights: Tensors) -> tuple[float, ...]:
        """The numbers that are logged, those of `log_columns` after the step."""


class TorchNetwork(Protocol):
    """A network, the data that it learns from, and how it is trained."""

    @property
    def log_columns(self) -> tuple[str, ...]:
        """Names of the columns of the log, the first of which is the step."""

    @property
    def log_every(self) -> int:
        """Steps between two rows of the log."""

    @property
    def checkpoint_steps(self) -> tuple[int, ...]:
        """Steps of the checkpoints if nothing else is asked for; the last step has one too."""

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, the name of the network among them."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the weights by name; those of one axis begin at 0."""

    def initial_scale(self, name: str) -> float:
        """The standard deviation of a weight at the start."""

    def constants(self, seed: int) -> dict[str, BoolArray | IntArray]:
        """What a file of checkpoints holds besides, such as the mask of the training set."""

    def stored(self, weights: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """What a checkpoint holds of the weights."""

    def problem(self, torch: Any, seed: int) -> Problem:
        """The data that this seed draws."""

    def optimizer(self, torch: Any, parameters: Iterable[Tensor]) -> Any:
        """The optimizer of PyTorch."""
