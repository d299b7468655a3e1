"""Theory derived with SymPy from the definition of task and model, sharing nothing with the numerical theory."""

from .expectations import expectation
from .fixed_points import Direction, SymbolicFixedPoint, fixed_points
from .loss import PopulationLoss, flow_equations, model_output, output_loss, population_loss, weight_symbols
from .population import EffectiveMap, Moments, effective_map, moments
from .problem import N, Prompt, SymbolicTask, average, exact_task, symbolic_task

__all__ = [
    "Direction",
    "EffectiveMap",
    "Moments",
    "N",
    "PopulationLoss",
    "Prompt",
    "SymbolicFixedPoint",
    "SymbolicTask",
    "average",
    "effective_map",
    "exact_task",
    "expectation",
    "fixed_points",
    "flow_equations",
    "model_output",
    "moments",
    "output_loss",
    "population_loss",
    "symbolic_task",
    "weight_symbols",
]
