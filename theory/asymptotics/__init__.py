"""Finite samples, finite task diversity and high dimension: Lu et al. 2025 (arXiv 2405.11751)."""

from .closed_forms import Errors, bayes_error, errors
from .learning_curves import (
    EarlyStopping,
    LearningCurve,
    early_stopping,
    learning_curve,
)

__all__ = [
    "EarlyStopping",
    "Errors",
    "LearningCurve",
    "bayes_error",
    "early_stopping",
    "errors",
    "learning_curve",
]
