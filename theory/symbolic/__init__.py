"""Theory derived with SymPy from the definition of task and model, sharing nothing with the numerical theory."""

from .algebra.domains import Condition, Formula, conditions_of
from .algebra.odd_roots import OddRoot
from .algebra.zero_test import Undecided, is_zero, normal
from .derivation import Derivation, derive, derive_output
from .dynamics.completeness_proofs import Completeness, completeness
from .dynamics.conservation_laws import conserved_quantities, rate
from .dynamics.fixed_point_formulas import Direction, SymbolicFixedPoint, fixed_points
from .dynamics.invariant_manifolds import aligned
from .dynamics.polynomial_equilibria import rest_points
from .dynamics.reduction import Reduction, reduce
from .dynamics.solution_check import clock_residual, residuals, start_residuals
from .dynamics.stability import hessian, hessian_index, inertia, resting_weights
from .formulas.latex_printer import latex, latex_equations, latex_invariants
from .formulas.reading import (
    read_equation,
    read_equations,
    read_formula,
    read_latex,
    read_text,
)
from .loss.effective_maps import EffectiveMap, Moments, effective_map, moments
from .loss.expectations import expectation
from .loss.population_losses import (
    PopulationLoss,
    flow_equations,
    model_output,
    output_loss,
    population_loss,
    weight_symbols,
)
from .numerics import RightHandSide, compiled, parameter_values
from .statements.checking import Counterexample, Finding, Undefined, check
from .statements.statements import (
    TIME,
    StatedCourse,
    StatedFixedPoint,
    StatedInvariant,
    StatedLoss,
    StatedMotion,
    StatedReduction,
    Statement,
)
from .task import N, Prompt, SymbolicTask, average, exact_task, symbolic_task

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
