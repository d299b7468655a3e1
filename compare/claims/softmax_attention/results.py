"""The papers of this wing, and which claims and figures support each of their results."""

from ...evidence.papers import Paper, Result

_HE: dict[str, tuple[Result, ...]] = {
    "Setting": (
        Result(
            "Diagonal key-query matrices and last-entry-only output-value rows stay so",
            ("softmax.symmetric_family",),
        ),
        Result(
            "Diagonal, homogeneous, last-entry-only and zero-sum patterns emerge from random weights",
            ("softmax.patterns_emerge", "softmax.patterns_emerge_larger"),
            ("softmax_published_training",),
        ),
        Result(
            "The published training code",
            (
                "softmax_replay.he_two_heads",
                "softmax_replay.he_two_tasks",
                "softmax_replay.he_reduced_flow",
            ),
        ),
        Result(
            "The reduced model of the loss",
            (
                "softmax.approximate_loss_small_scores",
                "softmax.approximate_loss_unit_scores",
                "softmax.approximate_loss_large_scores",
                "softmax.approximate_loss_query_token",
                "softmax.approximate_loss_stated",
            ),
            ("softmax_landscape",),
        ),
        Result(
            "The loss of heads of the symmetric family (beyond the paper)",
            (
                "softmax.exact_loss",
                "softmax.exact_loss_query_token",
                "softmax.stein",
                "softmax.stein_proof",
                "softmax.two_tokens",
                "softmax.stated_errors",
                "softmax.read_out",
                "softmax.read_out_distance",
                "softmax.four_tokens",
            ),
        ),
    ),
    "Training": (
        Result(
            "Growth from small weights, and the drop of the loss",
            (
                "softmax.growth_approximate_loss",
                "softmax.growth_exact_loss",
                "softmax.growth_query_token",
                "softmax.drop_time",
            ),
            ("softmax_training",),
        ),
        Result(
            "Gradient descent on tokens follows descent on the exact loss (beyond the paper)",
            (
                "softmax.descent",
                "softmax.descent_larger",
                "softmax.descent_samples",
                "softmax.descent_flow",
            ),
            ("softmax_training",),
        ),
        Result(
            "The overshoot of the key-query matrices, which depends on the metric (beyond the paper)",
            ("softmax.overshoot",),
            ("softmax_phases",),
        ),
    ),
    "The end of training": (
        Result(
            "Homogeneous key-query matrices and zero-sum output-value rows",
            (
                "softmax.homogeneity",
                "softmax.zero_sum",
                "softmax.consistently_zero_sum",
            ),
            ("softmax_training",),
        ),
        Result(
            "The trap of heads of one sign (beyond the paper)",
            (
                "softmax.trap_probability",
                "softmax.trap_share",
                "softmax.trap_limit",
                "softmax.trap_value",
                "softmax.trap_stability",
                "softmax.trap_minima",
            ),
            ("softmax_trap",),
        ),
        Result(
            "The valley of the reduced model and the tail of its flow (beyond the paper)",
            (
                "softmax.valley",
                "softmax.valley_speed",
                "softmax.tail",
                "softmax.tail_excess",
                "softmax.exact_flow",
                "softmax.tail_end",
                "softmax.tail_end_time",
                "softmax.tail_rate",
                "softmax.exact_valley",
                "softmax.valley_rest",
                "softmax.valley_proof",
                "softmax.numbers_proof",
                "softmax.measured_phases",
                "softmax.phases_of_paths",
            ),
            ("softmax_phases",),
        ),
    ),
    "What heads can learn": (
        Result(
            "Several heads are better than one",
            (
                "softmax.one_head_proof",
                "softmax.one_head",
                "softmax.pair_proof",
                "softmax.pair",
                "softmax.infimum_proof",
                "softmax.infimum",
                "softmax.best_values",
                "softmax.exact_single",
                "softmax.beats_one_head",
                "softmax.beats_one_head_sizes",
            ),
            ("softmax_training",),
        ),
        Result(
            "But only with values of both signs (beyond the paper)",
            ("softmax.one_sign_proof", "softmax.one_sign"),
        ),
        Result(
            "More than two heads help on the exact loss alone (beyond the paper)",
            (
                "softmax.more_heads",
                "softmax.merged_heads",
                "softmax.heads_near",
                "softmax.searched_pair",
            ),
        ),
        Result(
            "Two heads approximate a debiased gradient step",
            (
                "softmax.slope_proof",
                "softmax.slope",
                "softmax.optimum_proof",
                "softmax.exact_pair",
                "softmax.leading_optimum",
                "softmax.leading_error",
                "softmax.trained_heads",
            ),
            (
                "softmax_landscape",
                "softmax_lengths",
            ),
        ),
        Result(
            "With the query's token among the keys (beyond the paper)",
            ("softmax.query_token_minima", "softmax.query_token_sum"),
        ),
        Result(
            "Losses of gradient steps, plain and debiased (beyond the paper)",
            ("softmax.steps_proof", "softmax.steps", "softmax.debiasing"),
            ("softmax_lengths",),
        ),
        Result(
            "A gradient step is Bayes optimal up to a factor",
            (
                "softmax.ridge",
                "softmax.ridge_known",
                "softmax.ridge_drawn",
                "softmax.bayes_factor",
                "softmax.bayes_supremum",
                "softmax.total_ratio",
                "softmax.proportional_ridge",
            ),
            ("softmax_lengths",),
        ),
        Result(
            "Heads generalise to longer contexts, as linear attention does if it divides by their length",
            (
                "softmax.lengths",
                "softmax.longer_contexts",
                "softmax.infinite_context",
            ),
            ("softmax_lengths",),
        ),
        Result(
            "On anisotropic inputs heads take a preconditioned step",
            (
                "softmax.preconditioned_losses",
                "softmax.best_matrix",
                "softmax.searched_matrix",
                "softmax.step_matrix",
                "softmax.oblique_tokens",
            ),
            ("softmax_preconditioner",),
        ),
        Result(
            "Several tasks share heads in superposition",
            (
                "softmax.tasks_loss",
                "softmax.tasks_infimum",
                "softmax.tasks_disjoint",
                "softmax.tasks_search",
                "softmax.tasks_heads",
                "softmax.tasks_units",
                "softmax.tasks_threshold",
                "softmax.superposition",
                "softmax.shared_heads",
                "softmax.shared_heads_trained",
            ),
            ("softmax_superposition",),
        ),
    ),
}

_CHEN: dict[str, tuple[Result, ...]] = {
    "Setting": (
        Result("The published training code", ("softmax_replay.chen_decomposable",)),
        Result(
            "What gradient flow of the four matrices conserves (beyond the paper)",
            ("softmax.conservation",),
        ),
    ),
    "Dynamics": (
        Result(
            "Warm-up: the heads of every task grow in proportion",
            ("softmax_balanced.warm_up",),
            ("balanced_phases",),
        ),
        Result(
            "Emergence: each head takes one task and loses the others",
            (
                "softmax_balanced.off_task_scores",
                "softmax_balanced.off_task_values",
            ),
            ("balanced_phases",),
        ),
        Result(
            "Convergence to a limit",
            ("softmax_balanced.limit",),
            ("balanced_phases",),
        ),
    ),
    "Optimality": (
        Result(
            "One head per task is optimal up to a constant",
            (
                "softmax_balanced.constant",
                "softmax.factor_proof",
                "softmax.tasks_disjoint",
            ),
            ("balanced_phases", "softmax_superposition"),
        ),
        Result(
            "One head for all tasks is strictly worse",
            ("softmax_balanced.one_head",),
            ("softmax_superposition",),
        ),
    ),
}

PAPERS = (
    Paper(
        key="he2025",
        title=(
            "In-Context Linear Regression Demystified: Training Dynamics and Mechanistic Interpretability of "
            "Multi-Head Softmax Attention"
        ),
        authors=("He", "Pan", "Chen", "Yang"),
        year=2025,
        venue="ICML 2025",
        arxiv="2503.12734",
        parts=_HE,
        position=2,
    ),
    Paper(
        key="chen2024",
        title=(
            "Training Dynamics of Multi-Head Softmax Attention for In-Context Learning: Emergence, Convergence, and "
            "Optimality"
        ),
        authors=("Chen", "Sheen", "Wang", "Yang"),
        year=2024,
        venue="COLT 2024",
        arxiv="2402.19442",
        parts=_CHEN,
        position=3,
    ),
)
