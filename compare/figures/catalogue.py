"""Figures that declare their name, tier and paper where they are made, and how they are found."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING

from ..evidence.claim import TIERS, RunContext
from ..evidence.papers import paper_of_key, wings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[RunContext], "Figure"]


@dataclass(frozen=True)
class PaperFigure:
    """A figure of a paper: its name, what draws it, the tier of the claims whose runs it shows, and the paper's key.

    ValueError if there is no such tier or paper.
    """

    name: str
    draw: Draw
    tier: str
    paper: str

    def __post_init__(self) -> None:
        paper_of_key(self.paper)
        if self.tier not in TIERS:
            raise ValueError(
                f"figure {self.name}: tier must be one of {', '.join(TIERS)}, not {self.tier!r}"
            )

    def __call__(self, context: RunContext) -> "Figure":
        """Draw it, with the runs of a context."""
        return self.draw(context)


def paper_figure(
    name: str, *, paper: str, tier: str = "standard"
) -> Callable[[Draw], PaperFigure]:
    """Make the decorated function of a `RunContext` the figure of this name.

    >>> from matplotlib.figure import Figure
    >>> @paper_figure("empty", paper="zhang2025")
    ... def empty(context):
    ...     return Figure()
    >>> empty.name, empty.tier
    ('empty', 'standard')
    """

    def declare(draw: Draw) -> PaperFigure:
        return PaperFigure(name, draw, tier, paper)

    return declare


def all_figures() -> dict[str, PaperFigure]:
    """Name → figure, of every wing, in alphabetical order; ValueError if two have one name.

    >>> list(all_figures())[0]
    'balanced_phases'
    """
    return dict(_figures_of(tuple(wings())))


# The names are an argument so that a wing that is added to a running process is found too.
@cache
def _figures_of(wing_names: tuple[str, ...]) -> dict[str, PaperFigure]:
    figures: dict[str, PaperFigure] = {}
    for module_name in _module_names(wing_names):
        for value in vars(import_module(module_name)).values():
            if not isinstance(value, PaperFigure):
                continue
            # A module may import a figure of another: that is one figure, not two.
            if figures.setdefault(value.name, value) is not value:
                raise ValueError(
                    f"two figures are called {value.name}: choose another name"
                )
    return dict(sorted(figures.items()))


def _module_names(wing_names: tuple[str, ...]) -> list[str]:
    """The modules of figures; a wing may have none."""
    package = import_module(__package__ or "")
    modules = walk_packages(package.__path__, f"{package.__name__}.")
    return [
        module.name
        for module in modules
        if module.name.removeprefix(f"{package.__name__}.").split(".")[0] in wing_names
    ]
