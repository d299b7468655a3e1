"""What mathematics predicts."""

# Eagerly, and with nothing heavier than NumPy: a function that bears its module's name is hidden by a lazy one.
from .population import Population, population

__all__ = ["Population", "population"]
