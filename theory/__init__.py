"""What mathematics predicts."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from .fixed_points import FixedPoint, fixed_point, fixed_points
from .population import Population, population

__all__ = ["FixedPoint", "Population", "fixed_point", "fixed_points", "population"]
