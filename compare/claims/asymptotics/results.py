"""The paper of this wing, and which claims and figures support each of its results."""

from ...evidence.papers import Paper, Result

_LU: dict[str, tuple[Result, ...]] = {
    "High dimension": (
        Result(
            "Errors on new and on training tasks",
            (
                "asymptotics.published_values",
                "asymptotics.published_ridge_values",
                "asymptotics.ridge_proof",
                "asymptotics.small_ridge",
            ),
        ),
        Result(
            "The transition in the number of tasks",
            (
                "asymptotics.few_tasks",
                "asymptotics.as_many_tasks",
                "asymptotics.many_tasks",
                "asymptotics.transition_proof",
            ),
        ),
        Result(
            "The gap without cancellation (beyond the paper)",
            ("asymptotics.gap", "asymptotics.gap_proof"),
        ),
        Result(
            "The least error of any predictor (beyond the paper)",
            ("asymptotics.bayes",),
        ),
        Result(
            "Where flow of the read-out ends (beyond the paper)",
            ("asymptotics.end_of_flow",),
        ),
    ),
    "Finite size": (
        Result("The read-out and its ridge", ("asymptotics.conventions",)),
        Result(
            "Test error of a read-out without test data",
            ("asymptotics.readout_loss",),
        ),
        Result(
            "The error with the tasks at hand (beyond the paper)",
            (
                "asymptotics.stored_gaps",
                "asymptotics.stored_gaps_larger",
                "asymptotics.equivalent_in_matrices",
            ),
        ),
        Result(
            "From finite size to high dimension (beyond the paper)",
            (
                "asymptotics.ridge_order",
                "asymptotics.ridgeless_order",
                "asymptotics.label_row",
            ),
        ),
        Result(
            "Other tasks than those of training, and any covariance (beyond the paper)",
            ("asymptotics.alignment", "asymptotics.heavy_tails"),
            ("task_alignment",),
        ),
        Result(
            "Least squares on many sequences (beyond the paper)",
            ("asymptotics.sandwich", "asymptotics.sandwich_of_prompts"),
        ),
    ),
    "Drawn data sets": (
        Result(
            "Double descent, and its removal by a ridge",
            ("asymptotics.peak", "asymptotics.peak_removed"),
            ("double_descent", "error_map"),
        ),
        Result(
            "Errors tend to those of high dimension", ("asymptotics.ridgeless_limit",)
        ),
        Result(
            "The gap between new and training tasks, over the number of tasks",
            ("asymptotics.task_gap",),
            ("diversity_transition",),
        ),
        Result(
            "Errors along gradient flow (beyond the paper)",
            (
                "asymptotics.curve_of_all_sequences",
                "asymptotics.curve_of_all_tasks",
                "asymptotics.curve_of_limit",
                "asymptotics.closed_contour",
                "asymptotics.closed_contour_of_tasks",
                "asymptotics.stated_error",
            ),
        ),
        Result(
            "Early stopping beats convergence (beyond the paper)",
            (
                "asymptotics.flow_of_data",
                "asymptotics.early_stopping",
                "asymptotics.best_time",
            ),
            ("readout_learning_curves",),
        ),
        Result(
            "The training of merged attention on few tasks (beyond the paper)",
            (
                "asymptotics.training_on_few_tasks",
                "asymptotics.errors_along_training",
                "asymptotics.early_stopping_of_training",
            ),
            ("training_on_few_tasks",),
        ),
    ),
}

PAPERS = (
    Paper(
        key="lu2025",
        title="Asymptotic theory of in-context learning by linear attention",
        authors=("Lu", "Letey", "Zavatone-Veth", "Maiti", "Pehlevan"),
        year=2025,
        venue="PNAS 2025",
        arxiv="2405.11751",
        parts=_LU,
        position=5,
    ),
)
