"""What mathematics predicts."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from .conserved import conserved_quantities
from .features import FeatureMoments, feature_moments
from .fixed_points import FixedPoint, fixed_point, fixed_points
from .merged import drop_time, growing_mode, half_loss_time
from .population import Population, population
from .predictors import learned_prediction, preconditioned_step, principal_component_regression, ridge
from .separate import rank_one_amplitude
from .staircase import Staircase, staircase
from .time_course import TimeCourse, time_course
from .verdicts import SensitiveStaircaseWarning

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
