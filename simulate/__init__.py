"""What gradient descent does: prompts, tokens, sufficient statistics, descent, gradient flow."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from .attention import predict, token_loss
from .descent import Diverged, train, train_many
from .experiment import Experiment
from .flow import flow
from .initial import initial_weights
from .network import (
    convolutional_weights,
    network_features,
    network_weights,
    train_convolutional,
    train_network,
)
from .objective import objective
from .prompts import Given, Prompts, given, sample
from .statistics import Statistics, from_moments, statistics
from .store import fetch
from .sweep import Sweep
from .sweep_data import load_sweep
from .sweep_runs import run_sweep
from .trajectory import Trajectory, load

__all__ = [
    "Diverged",
    "Experiment",
    "Given",
    "Prompts",
    "Statistics",
    "Sweep",
    "Trajectory",
    "convolutional_weights",
    "fetch",
    "flow",
    "from_moments",
    "given",
    "initial_weights",
    "load",
    "load_sweep",
    "network_features",
    "network_weights",
    "objective",
    "predict",
    "run_sweep",
    "sample",
    "statistics",
    "token_loss",
    "train",
    "train_convolutional",
    "train_many",
    "train_network",
]
