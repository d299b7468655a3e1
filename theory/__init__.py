"""What mathematics predicts."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from .linear_attention.conservation_laws import conserved_quantities
from .linear_attention.enumeration import FixedPoint, fixed_point, fixed_points
from .linear_attention.merged import drop_time, growing_mode, half_loss_time
from .linear_attention.rank_one import rank_one_amplitude
from .linear_attention.saddle_to_saddle.exit_time_verdicts import (
    SensitiveStaircaseWarning,
)
from .linear_attention.saddle_to_saddle.staircases import Staircase, staircase
from .linear_attention.time_courses import TimeCourse, time_course
from .moments.features import FeatureMoments, feature_moments
from .moments.population_loss import Population, population
from .predictors import (
    learned_prediction,
    preconditioned_step,
    principal_component_regression,
    ridge,
)

__all__ = [
    "FeatureMoments",
    "FixedPoint",
    "Population",
    "SensitiveStaircaseWarning",
    "Staircase",
    "TimeCourse",
    "conserved_quantities",
    "drop_time",
    "feature_moments",
    "fixed_point",
    "fixed_points",
    "growing_mode",
    "half_loss_time",
    "learned_prediction",
    "population",
    "preconditioned_step",
    "principal_component_regression",
    "rank_one_amplitude",
    "ridge",
    "staircase",
    "time_course",
]
