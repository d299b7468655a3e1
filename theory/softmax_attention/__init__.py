"""Softmax attention with several heads: He et al. 2025 (arXiv 2503.12734), Chen et al. 2024 (arXiv 2402.19442).

The heads of its symmetric family are B_h = (ω_h 1; 0), a_h = (0, μ_h): two numbers each.
"""

from .approximate_losses import approximate_loss
from .balanced_flows import (
    BalancedFlow,
    balanced_flow,
    balanced_limit,
    off_task_decay,
    warm_up,
)
from .exact_losses import exact_loss
from .exact_optima import best_exact_values, exact_optimum, single_head_minima
from .head_phases import HeadPhases
from .heads_of_family import (
    HeadScalars,
    common_matrix,
    family_distance,
    head_scalars,
)
from .length_generalisation import linear_losses_at_lengths, losses_at_lengths
from .losses_of_heads import (
    ApproximateLoss,
    ExactLoss,
    HeadGradient,
    HeadLoss,
    HeadOptimum,
    MergedHeads,
    SeparateHeads,
)
from .optima import (
    LeadingOptimum,
    best_values,
    exact_slope_at_zero,
    infimum,
    leading_optimum,
    same_sign_bound,
    single_head_optimum,
    two_head_optimum,
    two_head_slope,
)
from .phases import GrowthRates, drop_time, growth_rates, valley_step
from .preconditioners import (
    Preconditioner,
    best_preconditioner,
    two_head_preconditioner,
)
from .reduced_flows import ReducedFlow, reduced_flow
from .several_tasks import (
    SeveralTasksLoss,
    SeveralTasksOptimum,
    best_maps,
    disjoint_infimum,
    head_loads,
    heads_needed,
    least_several_tasks_loss,
    one_head_per_task_loss,
    several_tasks_loss,
)
from .several_tasks import infimum as several_tasks_infimum
from .tails import TailEnd, effective_heads, leading_tail_end, tail_end, tail_law
from .trap import (
    TrapProbability,
    is_trapped,
    trap_loss,
    trap_minimum,
    trap_probability,
)

__all__ = [
    "ApproximateLoss",
    "BalancedFlow",
    "ExactLoss",
    "GrowthRates",
    "HeadGradient",
    "HeadLoss",
    "HeadOptimum",
    "HeadPhases",
    "HeadScalars",
    "LeadingOptimum",
    "MergedHeads",
    "Preconditioner",
    "ReducedFlow",
    "SeparateHeads",
    "SeveralTasksLoss",
    "SeveralTasksOptimum",
    "TailEnd",
    "TrapProbability",
    "approximate_loss",
    "balanced_flow",
    "balanced_limit",
    "best_exact_values",
    "best_maps",
    "best_preconditioner",
    "best_values",
    "common_matrix",
    "disjoint_infimum",
    "drop_time",
    "effective_heads",
    "exact_loss",
    "exact_optimum",
    "exact_slope_at_zero",
    "family_distance",
    "growth_rates",
    "head_loads",
    "head_scalars",
    "heads_needed",
    "infimum",
    "is_trapped",
    "leading_optimum",
    "leading_tail_end",
    "least_several_tasks_loss",
    "linear_losses_at_lengths",
    "losses_at_lengths",
    "off_task_decay",
    "one_head_per_task_loss",
    "reduced_flow",
    "same_sign_bound",
    "several_tasks_infimum",
    "several_tasks_loss",
    "single_head_minima",
    "single_head_optimum",
    "tail_end",
    "tail_law",
    "trap_loss",
    "trap_minimum",
    "trap_probability",
    "two_head_optimum",
    "two_head_preconditioner",
    "two_head_slope",
    "valley_step",
    "warm_up",
]
