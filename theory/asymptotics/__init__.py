"""Finite samples, finite task diversity and high dimension: Lu et al. 2025 (arXiv 2405.11751)."""

from .closed_forms import Errors, bayes_error, errors
from .equivalents import Equivalent, deterministic_equivalent
from .learning_curves import (
    EarlyStopping,
    LearningCurve,
    early_stopping,
    learning_curve,
)
from .losses_of_readouts import ReadoutMoments, readout_loss, readout_moments
from .readout_maps import Readout, readout
from .sandwiches import Sandwich, sandwich

__all__ = [
    "EarlyStopping",
    "Equivalent",
    "Errors",
    "LearningCurve",
    "Readout",
    "ReadoutMoments",
    "Sandwich",
    "bayes_error",
    "deterministic_equivalent",
    "early_stopping",
    "errors",
    "learning_curve",
    "readout",
    "readout_loss",
    "readout_moments",
    "sandwich",
]
