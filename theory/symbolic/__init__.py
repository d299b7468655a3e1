"""Theory derived with SymPy from the definition of task and model, sharing nothing with the numerical theory."""

from .ansatz import aligned
from .checking import Counterexample, Finding, Undefined, check
from .compiled import RightHandSide, compiled, parameter_values
from .completeness import Completeness, completeness
from .derivation import Derivation, derive, derive_output
from .domain import Condition, Formula, conditions_of
from .exact import Undecided, is_zero, normal
from .expectations import expectation
from .fixed_points import Direction, SymbolicFixedPoint, fixed_points
from .invariants import conserved_quantities, rate
from .latex import latex, latex_equations, latex_invariants
from .loss import PopulationLoss, flow_equations, model_output, output_loss, population_loss, weight_symbols
from .odd_roots import OddRoot
from .population import EffectiveMap, Moments, effective_map, moments
from .problem import N, Prompt, SymbolicTask, average, exact_task, symbolic_task
from .reading import read_equation, read_equations, read_formula, read_latex, read_text
from .reduction import Reduction, reduce
from .rest import rest_points
from .stability import hessian, hessian_index, inertia, resting_weights
from .statements import (
    TIME,
    StatedCourse,
    StatedFixedPoint,
    StatedInvariant,
    StatedLoss,
    StatedMotion,
    StatedReduction,
    Statement,
)
from .time_courses import clock_residual, residuals, start_residuals

__all__ = [
    "TIME",
    "Completeness",
    "Condition",
    "Counterexample",
    "Derivation",
    "Direction",
    "EffectiveMap",
    "Finding",
    "Formula",
    "Moments",
    "N",
    "OddRoot",
    "PopulationLoss",
    "Prompt",
    "Reduction",
    "RightHandSide",
    "StatedCourse",
    "StatedFixedPoint",
    "StatedInvariant",
    "StatedLoss",
    "StatedMotion",
    "StatedReduction",
    "Statement",
    "SymbolicFixedPoint",
    "SymbolicTask",
    "Undecided",
    "Undefined",
    "aligned",
    "average",
    "check",
    "clock_residual",
    "compiled",
    "completeness",
    "conditions_of",
    "conserved_quantities",
    "derive",
    "derive_output",
    "effective_map",
    "exact_task",
    "expectation",
    "fixed_points",
    "flow_equations",
    "hessian",
    "hessian_index",
    "inertia",
    "is_zero",
    "latex",
    "latex_equations",
    "latex_invariants",
    "model_output",
    "moments",
    "normal",
    "output_loss",
    "parameter_values",
    "population_loss",
    "rate",
    "read_equation",
    "read_equations",
    "read_formula",
    "read_latex",
    "read_text",
    "reduce",
    "residuals",
    "rest_points",
    "resting_weights",
    "start_residuals",
    "symbolic_task",
    "weight_symbols",
]
