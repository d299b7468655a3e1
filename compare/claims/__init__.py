"""The claims of all wings, which are found rather than listed.

Every folder here that has a module `results` is a wing, and every module below it with `CLAIMS` is a section.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType

from ..evidence.claim import Claim
from ..evidence.papers import all_papers, wings


def all_claims() -> list[Claim]:
    """Every claim of the package, in the order of the sections.

    >>> len({claim.id for claim in all_claims()}) == len(all_claims())
    True
    """
    return [claim for section in sections() for claim in section.CLAIMS]


def section_files() -> dict[str, Path]:
    """The file that states each claim of the package, by id.

    >>> section_files()["merged.aligned"].name
    'time_courses.py'
    """
    return {
        claim.id: Path(str(section.__file__))
        for section in sections()
        for claim in section.CLAIMS
    }


def sections() -> list[ModuleType]:
    """The modules that state claims, in the order in which results of the papers name their claims.

    >>> sections()[0].__name__.split(".")[-1]
    'sampled_moments'
    """
    return list(_sections_of(tuple(wings())))


# The names are an argument so that a wing that is added to a running process is found too.
@cache
def _sections_of(wing_names: tuple[str, ...]) -> tuple[ModuleType, ...]:
    modules = [module for wing in wing_names for module in _modules_of(wing)]
    # Others hold what several sections share, such as experiments.
    stating = [module for module in modules if hasattr(module, "CLAIMS")]

    # A claim's place is that of the first result that names it: papers, parts and results have an order already.
    results = [result for paper in all_papers() for result in paper.results]
    names = [name for result in results for name in result.claims]
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    last_place = len(names)

    def first_place(module: ModuleType) -> int:
        claim_places = [places.get(claim.id, last_place) for claim in module.CLAIMS]
        return min(claim_places, default=last_place)

    return tuple(sorted(stating, key=first_place))


def _modules_of(wing: str) -> list[ModuleType]:
    """Every module of a wing, in alphabetical order."""
    package = import_module(f".{wing}", __name__)
    prefix = f"{package.__name__}."
    names = [module.name for module in walk_packages(package.__path__, prefix)]
    return [import_module(name) for name in names]
