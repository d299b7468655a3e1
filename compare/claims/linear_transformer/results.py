"""The paper of this wing, and which claims and figures support each of its results."""

from ...evidence.papers import Paper, Result

_MAINALI: dict[str, tuple[Result, ...]] = {
    "One layer with several outputs": (
        Result(
            "Exact loss of the layer (beyond the paper)",
            (
                "modes.loss",
                "modes_proof.loss",
                "modes_proof.flow",
                "modes_proof.blocks",
                "modes_proof.convex",
            ),
        ),
        Result(
            "The fixed point, and which modes it learns",
            (
                "modes.minimum",
                "modes.limit_of_minimum",
                "modes_proof.minimum",
                "modes_proof.fixed_points",
                "modes_proof.kronecker_points",
            ),
            ("mode_points",),
        ),
        Result(
            "2^D fixed points and their stability",
            (
                "modes.count",
                "modes.index",
                "modes.listed",
                "modes.rest",
                "modes_proof.index",
            ),
            ("mode_points",),
        ),
        Result(
            "Modes follow decoupled equations",
            (
                "modes.courses",
                "modes.logistic",
                "modes.logistic_at_finite_length",
                "modes.exact_flow",
                "modes.slow_mode",
                "modes.equal_modes",
            ),
            ("mode_staircases",),
        ),
        Result(
            "Modes are learned one after another, at times as 1/s²",
            ("modes.logistic", "modes.half_times"),
            ("mode_staircases",),
        ),
        Result(
            "Conserved quantities",
            (
                "modes.conservation",
                "modes.conservation_mode_by_mode",
                "modes_proof.conservation",
            ),
        ),
        Result(
            "The staircase comes from the shared basis (beyond the paper)",
            (
                "modes.one_drop",
                "modes.kronecker_minimum",
                "modes.kronecker_points",
                "modes.kronecker_flow",
                "modes.kronecker_drop",
                "modes_proof.relation",
            ),
        ),
        Result(
            "Blocks that are left at zero, and 2^m minima (beyond the paper)",
            (
                "modes.null_blocks",
                "modes.four_blocks",
                "modes.block_minima",
                "modes.null_ratio",
                "modes.frozen_blocks",
                "modes.block_choice",
                "modes.pushed_blocks",
                "modes_proof.blocks",
            ),
        ),
        Result(
            "Several heads learn each mode alone (beyond the paper)",
            ("modes.several_heads",),
        ),
        Result(
            "Alignment with the modes (beyond the paper)",
            ("modes.alignment", "modes.alignment_of_lists"),
        ),
        Result(
            "The order of the modes from random starts (beyond the paper)",
            ("modes.half_times", "modes.half_time_law", "modes.swap"),
        ),
        Result(
            "Discrete steps (beyond the paper)",
            (
                "modes.descent",
                "modes.modified_step",
                "modes.modified_flow",
                "modes.edge",
                "modes.edge_curvature",
                "modes.edge_slide",
            ),
        ),
    ),
    "Setting": (
        Result(
            "Recorded training of the layer (beyond the paper)",
            (
                "modes_replay.full_batch",
                "modes_replay.statistics",
                "modes_replay.online",
            ),
        ),
    ),
    "Online SGD": (
        Result(
            "The floor of online SGD (beyond the paper)",
            (
                "sgd.floor",
                "sgd.floor_leading",
                "sgd.floor_larger",
                "sgd.covariance",
                "sgd.noise",
            ),
            ("sgd_floor",),
        ),
        Result(
            "The law of balance of online SGD (beyond the paper)",
            (
                "sgd.balance",
                "sgd.balance_law",
                "sgd.balance_conserved_under_flow",
                "sgd.no_noise_along_scale",
            ),
            ("sgd_floor",),
        ),
        Result(
            "Moments of online SGD (beyond the paper)", ("sgd.closure", "sgd.moments")
        ),
    ),
    "Spectral measures": (
        Result(
            "Effective rank and subspace distance of a network that groks (refuted as a sign of generalisation)",
            (
                "measures.rank_collapse",
                "measures.alike",
                "trained_networks.rank_collapse",
            ),
            ("spectral_measures",),
        ),
        Result(
            "The Fourier share of the embedding (beyond the paper)",
            ("measures.fourier_share", "trained_networks.rank_collapse"),
            ("spectral_measures",),
        ),
        Result(
            "A dip of the effective rank of attention at the onset of learning in context",
            ("measures.attention_dip", "trained_networks.attention_dip"),
            ("spectral_measures",),
        ),
        Result(
            "The effective rank of the theory dips as modes are learned (beyond the paper)",
            ("measures.theory_dip",),
            ("spectral_measures", "mode_ranks"),
        ),
    ),
}

PAPERS = (
    Paper(
        key="mainali2025",
        title=(
            "Exact Learning Dynamics of In-Context Learning in Linear Transformers and Its Application to Non-Linear "
            "Transformers"
        ),
        authors=("Mainali", "Teixeira"),
        year=2025,
        arxiv="2504.12916",
        parts=_MAINALI,
        position=4,
    ),
)
