"""Theory derived with SymPy from the definition of task and model, sharing nothing with the numerical theory."""

from .algebra.domains import Condition, Formula, conditions_of
from .algebra.odd_roots import OddRoot
from .algebra.zero_test import Undecided, is_zero, normal_form
from .derivation import Derivation, derive, derive_output
from .dynamics.completeness_proofs import Completeness, completeness
from .dynamics.conservation_laws import conserved_quantities, lie_derivative
from .dynamics.fixed_point_formulas import Direction, SymbolicFixedPoint
from .dynamics.fixed_points_of_models import fixed_points
from .dynamics.invariant_manifolds import aligned_ansatz
from .dynamics.mode_fixed_points import ModeFixedPoint
from .dynamics.polynomial_equilibria import equilibria
from .dynamics.reduction import Reduction, reduce
from .dynamics.solution_check import (
    implicit_solution_residual,
    initial_residuals,
    ode_residuals,
)
from .dynamics.stability import hessian, hessian_index, inertia, representative_weights
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
from .numerics import RightHandSide, parameter_values, to_numpy
from .statements.checking import CheckResult, Counterexample, Undefined, check_statement
from .statements.statements import (
    TIME,
    StatedFixedPoint,
    StatedInvariant,
    StatedLoss,
    StatedRate,
    StatedReduction,
    StatedSolution,
    Statement,
)
from .task import N, Prompt, SymbolicTask, average, rational_task, symbolic_task

__all__ = [
    "TIME",
    "CheckResult",
    "Completeness",
    "Condition",
    "Counterexample",
    "Derivation",
    "Direction",
    "EffectiveMap",
    "Formula",
    "ModeFixedPoint",
    "Moments",
    "N",
    "OddRoot",
    "PopulationLoss",
    "Prompt",
    "Reduction",
    "RightHandSide",
    "StatedFixedPoint",
    "StatedInvariant",
    "StatedLoss",
    "StatedRate",
    "StatedReduction",
    "StatedSolution",
    "Statement",
    "SymbolicFixedPoint",
    "SymbolicTask",
    "Undecided",
    "Undefined",
    "aligned_ansatz",
    "average",
    "check_statement",
    "completeness",
    "conditions_of",
    "conserved_quantities",
    "derive",
    "derive_output",
    "effective_map",
    "equilibria",
    "expectation",
    "fixed_points",
    "flow_equations",
    "hessian",
    "hessian_index",
    "implicit_solution_residual",
    "inertia",
    "initial_residuals",
    "is_zero",
    "latex",
    "latex_equations",
    "latex_invariants",
    "lie_derivative",
    "model_output",
    "moments",
    "normal_form",
    "ode_residuals",
    "output_loss",
    "parameter_values",
    "population_loss",
    "rational_task",
    "read_equation",
    "read_equations",
    "read_formula",
    "read_latex",
    "read_text",
    "reduce",
    "representative_weights",
    "symbolic_task",
    "to_numpy",
    "weight_symbols",
]
