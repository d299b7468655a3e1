"""The groups of the reference: for each package, which of its public names belong together, and in which order."""

from typing import NamedTuple

Groups = dict[str, str]
"""Title of a group → its names, separated by white space."""


class Room(NamedTuple):
    """A page of the reference, and the packages whose names it lists."""

    page: str
    title: str
    text: str
    modules: dict[str, Groups]


WITHOUT_EXPORT_LIST = {"attndyn.inputs": ["Inputs"]}
"""Public names of modules that have no `__all__`."""

NOT_FOR_USERS = {"tests", "docs", "benchmarks", "examples", "build", "results"}
"""Folders that are not part of the package, or are no import of a user."""

CONSTANTS = {
    "attndyn.compare.figures.COLUMN": "The width of a column of a paper, in inches.",
    "attndyn.compare.figures.PAGE": "The width of the text of a paper, in inches.",
    "attndyn.teachers.LAWS": "The laws of teachers by the name that task files give them.",
    "attndyn.teachers.POOL_STREAM": "The stream of random numbers from which a pool of teachers is drawn.",
    "attndyn.theory.AnyFixedPoint": "A fixed point of any of the models.",
    "attndyn.theory.AnyFixedPoints": "The fixed points of any of the models.",
    "attndyn.theory.symbolic.TIME": "The symbol of flow time.",
    "attndyn.theory.symbolic.N": "The symbol of the context length.",
    "attndyn.theory.symbolic.Statement": "Any of the statements that can be checked.",
}
"""What a public name is that has no docstring."""

PROBLEM: dict[str, Groups] = {
    "attndyn": {
        "Tasks": "Task",
        "Models": "Merged Separate Factorised Parametrization",
    },
    "attndyn.inputs": {"Laws of inputs": "Inputs"},
    "attndyn.teachers": {
        "Laws of teachers": "Gaussian Sphere Mixture Pool PoolRecipe",
        "Laws of your own": """
            TeacherLaw checked_law law_from_dict law_settings law_identity
            laws_within LAWS POOL_STREAM
        """,
    },
}

THEORY: dict[str, Groups] = {
    "attndyn.theory": {
        "Time courses": """
            time_course TimeCourse half_loss_time unstable_mode_amplitude
        """,
        "Staircases": "staircase Staircase SensitiveStaircaseWarning",
        "Fixed points": """
            fixed_points fixed_point FixedPoint FixedPoints AnyFixedPoint
            AnyFixedPoints ModeFixedPoint ModeFixedPoints KroneckerFixedPoint
            KroneckerFixedPoints
        """,
        "Losses": "population Population feature_moments FeatureMoments",
        "What is learned in context": """
            learned_prediction principal_component_regression ridge
            preconditioned_step pool_posterior
        """,
    },
    "attndyn.theory.predictors": {
        "Predictions": """
            learned_prediction principal_component_regression ridge
            preconditioned_step pool_posterior
        """,
        "Losses of one gradient step": """
            plain_step_loss best_plain_step debiased_step_loss best_debiased_step
            BestStep
        """,
        "Losses of ridge regression": "ridge_loss proportional_ridge_loss RidgeLoss",
        "One step beside ridge regression": """
            excess_ratio excess_ratio_bound proportional_excess_ratio
            largest_total_ratio TotalRatio
        """,
    },
}

LINEAR_ATTENTION: dict[str, Groups] = {
    "attndyn.theory.linear_attention": {
        "Merged attention": """
            two_layer_amplitudes aligned_amplitudes matrix_amplitudes
            unstable_mode_amplitude drop_time half_loss_time
        """,
        "Separate attention, rank one": """
            rank_one_amplitude rank_one_time rank_one_gap blow_up_time
            amplitude_from_blow_up
        """,
        "Separate attention, higher rank": "low_rank_amplitudes",
        "Conserved quantities": "conserved_quantities",
        "Weight decay": "merged_map head_roots largest_decay",
    }
}

SOFTMAX_ATTENTION: dict[str, Groups] = {
    "attndyn.theory.softmax_attention": {
        "Heads": """
            head_scalars HeadScalars SeparateHeads MergedHeads common_matrix
            family_distance effective_heads
        """,
        "The exact loss": """
            exact_loss ExactLoss HeadLoss HeadGradient exact_optimum
            best_exact_values single_head_minima HeadOptimum exact_slope_at_zero
        """,
        "The approximate loss": """
            approximate_loss ApproximateLoss infimum best_values single_head_optimum
            two_head_optimum two_head_slope leading_optimum LeadingOptimum
            same_sign_bound
        """,
        "Flow and its phases": """
            reduced_flow ReducedFlow growth_rates GrowthRates drop_time valley_step
            HeadPhases
        """,
        "The tail": "tail_law tail_end TailEnd leading_tail_end",
        "The trap": """
            trap_loss trap_minimum is_trapped trap_probability TrapProbability
        """,
        "Balanced flow": """
            warm_up balanced_flow BalancedFlow balanced_limit off_task_decay
        """,
        "Several tasks": """
            several_tasks_loss SeveralTasksLoss several_tasks_infimum best_maps
            head_loads heads_needed least_several_tasks_loss SeveralTasksOptimum
            disjoint_infimum one_head_per_task_loss
        """,
        "Preconditioners": """
            best_preconditioner two_head_preconditioner Preconditioner
        """,
        "Other context lengths": "losses_at_lengths linear_losses_at_lengths",
    }
}

LINEAR_TRANSFORMER: dict[str, Groups] = {
    "attndyn.theory.linear_transformer": {
        "The loss": "layer_loss LayerGradient mode_loss minimum Minimum",
        "Gradient flow": "layer_flow LayerFlow mode_flow ModeFlow",
        "Fixed points": """
            mode_fixed_points mode_fixed_point ModeFixedPoint ModeFixedPoints
        """,
        "Random starts": "half_times HalfTimes",
        "Discrete steps": "mode_descent modified_flow largest_step",
        "Online SGD": """
            sgd_floor SgdFloor sgd_means SgdMoments sgd_noise sgd_balance SgdBalance
        """,
        "All four blocks": """
            four_block_loss four_block_flow FourBlockFlow four_block_minima
            FourBlockMinima Blocks held_by_p2 null_ratio
        """,
        "Tasks of Kronecker form": """
            kronecker_flow KroneckerFlow kronecker_minimum KroneckerMinimum
            merged_equivalent MergedEquivalent wiener_filter
        """,
    }
}

ASYMPTOTICS: dict[str, Groups] = {
    "attndyn.theory.asymptotics": {
        "Errors in high dimension": "errors Errors bayes_error",
        "Errors at any size": "deterministic_equivalent Equivalent sandwich Sandwich",
        "Learning curves": """
            learning_curve LearningCurve early_stopping EarlyStopping
            learning_curve_of_tasks TaskLearningCurve
        """,
        "Read-outs": "readout Readout readout_loss readout_moments ReadoutMoments",
    }
}

SYMBOLIC: dict[str, Groups] = {
    "attndyn.theory.symbolic": {
        "Derivations": """
            derive derive_output Derivation population_loss PopulationLoss
            output_loss model_output flow_equations weight_symbols
        """,
        "Tasks": """
            symbolic_task SymbolicTask rational_task Prompt average expectation
            moments Moments N TIME
        """,
        "Effective maps": "effective_map EffectiveMap",
        "Fixed points": """
            fixed_points SymbolicFixedPoint ModeFixedPoint Direction equilibria
            completeness Completeness
        """,
        "Stability": "hessian hessian_index inertia representative_weights",
        "Reductions and conserved quantities": """
            aligned_ansatz reduce Reduction conserved_quantities lie_derivative
        """,
        "Solutions": "ode_residuals initial_residuals implicit_solution_residual",
        "Statements": """
            check_statement CheckResult Counterexample Undefined Undecided Statement
            StatedLoss StatedRate StatedReduction StatedSolution StatedFixedPoint
            StatedInvariant
        """,
        "Reading and writing formulas": """
            read_text read_latex read_formula read_equation read_equations Formula
            latex latex_equations latex_invariants
        """,
        "Algebra": "is_zero normal_form OddRoot Condition conditions_of",
        "Numbers": "to_numpy RightHandSide parameter_values",
    }
}

CERTIFIED: dict[str, Groups] = {
    "attndyn.theory.certified": {
        "Enclosures": "Enclosure NoCertificate",
        "Fixed points": """
            fixed_points fixed_point CertifiedPoints CertifiedPoint middle_of_drop
        """,
        "Closed forms": """
            merged_half_loss_time head_amplitude head_half_loss_time aligned_loss
            aligned_exit_time
        """,
        "Flows": "merged_flow head_flow heads_flow ReducedFlow losses_at",
        "Times of drops": "drop_time Crossing loss_tube LossTube",
    }
}

SIMULATE: dict[str, Groups] = {
    "attndyn.simulate": {
        "Data": """
            sample Prompts prompts_from_arrays prompts_from_tokens RecordedPrompts
            context_summaries sample_summaries ContextSummaries
        """,
        "Sufficient statistics": "statistics from_moments Statistics",
        "Weights": "initial_weights symmetric_weights restricted",
        "Training": """
            train train_many flow BatchesInOrder GradientDescent Adam Schedule
            Diverged objective
        """,
        "Runs": "Trajectory load external_run Experiment load_or_run",
        "Evaluation": "evaluate predict token_loss exact_risk",
        "Sweeps": "Sweep run_sweep load_sweep",
        "Read-outs": "ridge_fit readout_flow",
        "Online SGD": "sgd_chains SgdChains",
        "Linear networks": """
            network_weights network_features train_network convolutional_weights
            train_convolutional
        """,
    },
    "attndyn.simulate.torch_models": {
        "Networks in PyTorch": """
            train_torch_network AttentionOnly ModularAddition NetworkRun
            load_network_run
        """,
    },
}

COMPARE: dict[str, Groups] = {
    "attndyn.compare": {
        "A run and its theory": """
            overlay Overlay match_plateaus PlateauMatch PlateauMatches fitted_scale
            effective_map population_statistics derived_time_course
        """,
        "Curvature": "hessian hessian_index",
        "Read-outs": """
            readout_prediction ReadoutPrediction fit_errors FitErrors FitOverlay
            error_curve ErrorCurve error_along_run errors_along_training
            TrainingErrors readout_run
        """,
        "Recordings": "replay Replay reference_files",
        "Checkpoints": """
            measure measure_files Measures HeadLayout TensorNames
            reference_checkpoints
        """,
        "Sweeps": "validity validity_map validity_curves",
        "Claims": "verify claim Claim check_claim RunContext Ledger Verdict",
        "Judges and evidence": """
            equal_within converges_at_order at_least_order converges_on_average
            Evidence Curve Fit
        """,
    },
    "attndyn.compare.figures": {
        "Figures of the papers": """
            draw all_figures figures_up_to paper_figure PaperFigure
        """,
        "Figures for a paper of yours": "paper_style COLUMN PAGE",
    },
    "attndyn.compare.report": {
        "Report": "write_report report",
    },
}

EXPLORE: dict[str, Groups] = {
    "attndyn.explore": {"Tabs": "all_tabs Tab Slider SliderList Choice Option"},
}

ROOMS = (
    Room("problem", "Task, models, teachers", "What is learned, by which attention, and from which tasks.", PROBLEM),
    Room("theory", "Theory", "What mathematics predicts of a task and a model, whatever the wing.", THEORY),
    Room("linear-attention", "Linear attention", "Formulas of merged and separate linear attention. "
         ":doc:`The mathematics <../theory>` explains them.", LINEAR_ATTENTION),
    Room("softmax-attention", "Softmax attention", "Formulas of softmax attention with several heads. "
         ":doc:`The mathematics <../softmax>` explains them.", SOFTMAX_ATTENTION),
    Room("linear-transformer", "Linear transformer", "Formulas of one linear layer with several outputs. "
         ":doc:`The mathematics <../linear-transformer>` explains them.", LINEAR_TRANSFORMER),
    Room("asymptotics", "Asymptotics", "Errors after finitely many prompts of finitely many tasks. "
         ":doc:`The mathematics <../asymptotics>` explains them.", ASYMPTOTICS),
    Room("symbols", "Symbols", "Losses, flows and fixed points derived in symbols, and statements proved or refuted. "
         ":doc:`Symbols <../symbolic>` explains them.", SYMBOLIC),
    Room("certified", "Certified", "Intervals that hold with certainty; they need the extra ``certified``. "
         ":doc:`Certified <../certified>` explains them.", CERTIFIED),
    Room("simulation", "Simulation", "What gradient descent does, which knows nothing of the theory.", SIMULATE),
    Room("comparison", "Comparison", "Predictions over runs, claims and their evidence.", COMPARE),
    Room("explorer", "Explorer", "The tabs of ``attndyn explore``, and what a tab of your own is made of.", EXPLORE),
)  # fmt: skip
