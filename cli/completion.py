"""Completions in the shell: ids of claims, names of figures, and files."""

from glob import glob


def claims_that_begin(incomplete: str) -> list[str]:
    """The ids and first parts of ids of the package's claims that begin so, and the Python files that do.

    >>> claims_that_begin("fixed_points.c")
    ['fixed_points.count']
    """
    from ..compare.claims import all_claims

    ids = [claim.id for claim in all_claims()]
    # A claim is named by its id, several by what stands before the first dot.
    sections = list(dict.fromkeys(name.split(".")[0] for name in ids))
    names = [name for name in [*sections, *ids] if name.startswith(incomplete)]
    return [*names, *sorted(glob(f"{incomplete}*.py"))]


def figures_that_begin(incomplete: str) -> list[str]:
    """The names of the package's figures that begin so."""
    from ..compare.figures import all_figures

    return [name for name in all_figures() if name.startswith(incomplete)]
