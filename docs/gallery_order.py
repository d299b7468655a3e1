"""The order of the gallery: sections from one drop outwards, and in each the script to read first."""

from pathlib import Path

SECTIONS = {
    "merged": ("plot_one_drop", "plot_in_context_in_weight"),
    "separate": (
        "plot_staircase",
        "plot_ranks",
        "plot_regression_along_training",
        "plot_oblique_teachers",
    ),
    "training": ("plot_own_run", "plot_weight_decay", "plot_adam"),
    "derivations": ("plot_fixed_points", "plot_derivation"),
    "softmax": ("plot_growth_to_tail", "plot_trap", "plot_shared_heads"),
    "linear_transformer": ("plot_modes", "plot_sgd_floor"),
    "asymptotics": (
        "plot_double_descent",
        "plot_task_diversity",
        "plot_early_stopping",
    ),
    "checkpoints": ("plot_effective_rank",),
}
"""Every section with its scripts."""

FOLDERS = [f"gallery_src/{section}" for section in SECTIONS]
"""The sections as sphinx-gallery's `subsection_order` takes them."""


class StoryOrder:
    """The place of a script in its section, as sphinx-gallery's `within_subsection_order` takes it.

    >>> StoryOrder("docs/gallery_src/merged")("plot_one_drop.py")
    0
    """

    def __init__(self, folder: str | Path) -> None:
        self.section = Path(folder).name

    def __call__(self, script: str) -> int:
        return SECTIONS[self.section].index(script.removesuffix(".py"))
