"""Finite samples, finite task diversity and high dimension: Lu et al. 2025 (arXiv 2405.11751)."""

from .closed_forms import Errors, bayes_error, errors
from .curves_of_tasks import TaskLearningCurve, learning_curve_of_tasks
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
    "TaskLearningCurve",
    "bayes_error",
    "deterministic_equivalent",
    "early_stopping",
    "errors",
    "learning_curve",
    "learning_curve_of_tasks",
    "readout",
    "readout_loss",
    "readout_moments",
    "sandwich",
]
