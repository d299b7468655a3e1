"""Algorithms that learn linear regression in context: what they predict, and their exact losses."""

from .algorithms import (
    learned_prediction,
    pool_posterior,
    preconditioned_step,
    principal_component_regression,
    ridge,
)
from .ridge_losses import (
    RidgeLoss,
    TotalRatio,
    excess_ratio,
    excess_ratio_bound,
    largest_total_ratio,
    proportional_excess_ratio,
    proportional_ridge_loss,
    ridge_loss,
)
from .step_losses import (
    BestStep,
    best_debiased_step,
    best_plain_step,
    debiased_step_loss,
    plain_step_loss,
)

__all__ = [
    "BestStep",
    "RidgeLoss",
    "TotalRatio",
    "best_debiased_step",
    "best_plain_step",
    "debiased_step_loss",
    "excess_ratio",
    "excess_ratio_bound",
    "largest_total_ratio",
    "learned_prediction",
    "plain_step_loss",
    "pool_posterior",
    "preconditioned_step",
    "principal_component_regression",
    "proportional_excess_ratio",
    "proportional_ridge_loss",
    "ridge",
    "ridge_loss",
]
