"""What gradient descent does: prompts, tokens, sufficient statistics, descent, gradient flow."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from .attention.forward import predict, token_loss
from .attention.initialisation import initial_weights, restricted
from .attention.objectives import objective
from .attention.softmax_starts import symmetric_weights
from .data.arrays import RecordedPrompts, prompts_from_arrays, prompts_from_tokens
from .data.batches import BatchesInOrder
from .data.prompts import Prompts, sample
from .data.summaries import ContextSummaries, context_summaries, sample_summaries
from .descent.gradient_descent import Diverged, train, train_many
from .descent.gradient_flow import flow
from .descent.layer_chains import SgdChains, sgd_chains
from .descent.optimizers import Adam, GradientDescent
from .descent.schedules import Schedule
from .linear_networks import (
    convolutional_weights,
    network_features,
    network_weights,
    train_convolutional,
    train_network,
)
from .ridge.readout_flows import readout_flow
from .ridge.ridge_solutions import ridge_fit
from .ridge.risks import exact_risk
from .runs.evaluation import evaluate
from .runs.experiment import Experiment
from .runs.external import external_run
from .runs.store import load_or_run
from .sufficient_statistics.quadratic_loss import Statistics, from_moments, statistics
from .sweep.dataset import load_sweep
from .sweep.runner import run_sweep
from .sweep.spec import Sweep
from .trajectory import Trajectory, load

__all__ = [
    "Adam",
    "BatchesInOrder",
    "ContextSummaries",
    "Diverged",
    "Experiment",
    "GradientDescent",
    "Prompts",
    "RecordedPrompts",
    "Schedule",
    "SgdChains",
    "Statistics",
    "Sweep",
    "Trajectory",
    "context_summaries",
    "convolutional_weights",
    "evaluate",
    "exact_risk",
    "external_run",
    "flow",
    "from_moments",
    "initial_weights",
    "load",
    "load_or_run",
    "load_sweep",
    "network_features",
    "network_weights",
    "objective",
    "predict",
    "prompts_from_arrays",
    "prompts_from_tokens",
    "readout_flow",
    "restricted",
    "ridge_fit",
    "run_sweep",
    "sample",
    "sample_summaries",
    "sgd_chains",
    "statistics",
    "symmetric_weights",
    "token_loss",
    "train",
    "train_convolutional",
    "train_many",
    "train_network",
]
