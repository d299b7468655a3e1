"""What mathematics predicts of a task and a model; formulas of one model alone stand in its wing."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from .courses_by_model import time_course
from .fixed_points_by_model import (
    AnyFixedPoint,
    AnyFixedPoints,
    fixed_point,
    fixed_points,
)
from .linear_attention.enumeration import FixedPoint, FixedPoints
from .linear_attention.merged import half_loss_time, unstable_mode_amplitude
from .linear_attention.saddle_to_saddle.exit_time_verdicts import (
    SensitiveStaircaseWarning,
)
from .linear_attention.saddle_to_saddle.staircases import Staircase, staircase
from .linear_transformer.kronecker_points import (
    KroneckerFixedPoint,
    KroneckerFixedPoints,
)
from .linear_transformer.mode_points import ModeFixedPoint, ModeFixedPoints
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
    "AnyFixedPoint",
    "AnyFixedPoints",
    "FeatureMoments",
    "FixedPoint",
    "FixedPoints",
    "KroneckerFixedPoint",
    "KroneckerFixedPoints",
    "ModeFixedPoint",
    "ModeFixedPoints",
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
