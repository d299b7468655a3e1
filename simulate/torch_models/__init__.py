"""Small networks that are trained with PyTorch, an extra: modular addition, and attention on periodic sequences."""

from .attention_only import AttentionOnly
from .checkpoint_files import NetworkRun, load_network_run
from .modular_addition import ModularAddition
from .training import train_torch_network

__all__ = [
    "AttentionOnly",
    "ModularAddition",
    "NetworkRun",
    "load_network_run",
    "train_torch_network",
]
