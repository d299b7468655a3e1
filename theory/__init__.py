"""What mathematics predicts of a task and a model; formulas of one model alone stand in its wing."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from .linear_attention.enumeration import (
    FixedPoint,
    FixedPoints,
    fixed_point,
    fixed_points,
)
from .linear_attention.merged import half_loss_time, unstable_mode_amplitude
from .linear_attention.saddle_to_saddle.exit_time_verdicts import (
    SensitiveStaircaseWarning,
)
from .linear_attention.saddle_to_saddle.staircases import Staircase, staircase
from .linear_attention.time_courses import time_course
from .moments.features import FeatureMoments, feature_moments
from .moments.population_loss import Population, population
from .predictors import (
    learned_prediction,
    pool_posterior,
    preconditioned_step,
    principal_component_regression,
    ridge,
)
from .time_courses import TimeCourse

__all__ = [
    "FeatureMoments",
    "FixedPoint",
    "FixedPoints",
    "Population",
    "SensitiveStaircaseWarning",
    "Staircase",
    "TimeCourse",
    "feature_moments",
    "fixed_point",
    "fixed_points",
    "half_loss_time",
    "learned_prediction",
    "pool_posterior",
    "population",
    "preconditioned_step",
    "principal_component_regression",
    "ridge",
    "staircase",
    "time_course",
    "unstable_mode_amplitude",
]
