"""A paper, the results that it states, and which claims and figures support each result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from ...runtime.display import Displayed, Summary

CLAIMS_PACKAGE = "compare.claims"
"""The package whose folders are the wings, below the root of the whole package."""


@dataclass(frozen=True)
class Result:
    """A result of a paper, the ids of the claims that check it and the names of the figures that show it."""

    title: str
    claims: tuple[str, ...]
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Paper(Displayed):
    """A paper and its results, by part (part → results). Claims and figures name it by its key.

    `authors` are family names. `notes` is Markdown for the page of coverage: what a reader of the table must know.
    Papers stand in the order of `position` in documents and reports, those of equal position by key.

    >>> Paper("doe2020", "On nothing", ("Doe", "Roe", "Poe"), 2020, "Journal").citation
    'Doe et al. 2020'
    """

    key: str
    title: str
    authors: tuple[str, ...]
    year: int
    venue: str = ""
    arxiv: str = ""
    parts: Mapping[str, tuple[Result, ...]] = field(default_factory=dict)
    notes: str = ""
    position: int = 100

    def __post_init__(self) -> None:
        """ValueError for a key that cannot be written after `paper=`, or a paper that nobody wrote."""
        if not self.key.isidentifier():
            raise ValueError(
                f"the key of a paper must be a word like zhang2025, not {self.key!r}"
            )
        if not self.authors:
            raise ValueError(f"paper {self.key} has no author: name one")

    @property
    def citation(self) -> str:
        """Authors and year, as in running text."""
        if len(self.authors) > 2:
            return f"{self.authors[0]} et al. {self.year}"
        return f"{' and '.join(self.authors)} {self.year}"

    @property
    def results(self) -> tuple[Result, ...]:
        """Every result, part by part."""
        return tuple(result for part in self.parts.values() for result in part)

    def summary(self) -> Summary:
        """The paper on one screen: how many claims support the results of each part."""
        rows: dict[str, object] = {
            "title": self.title,
            "authors": ", ".join(self.authors),
        }
        if self.venue:
            rows["venue"] = self.venue
        if self.arxiv:
            rows["arXiv"] = self.arxiv
        for part, results in self.parts.items():
            names = {name for result in results for name in result.claims}
            rows[part] = f"{len(results)} results, {len(names)} claims"
        return Summary(f"{self.key}: {self.citation}", rows)


def wings() -> list[str]:
    """Names of the wings: the folders of compare/claims that have a module `results`.

    >>> "linear_attention" in wings()
    True
    """
    folder = Path(__file__).parents[1] / "claims"
    # Folders are listed without importing them: the names are asked for wherever a paper, claim or figure is.
    packages = [module.name for module in iter_modules([str(folder)]) if module.ispkg]
    return [name for name in packages if (folder / name / "results.py").is_file()]


def all_papers() -> tuple[Paper, ...]:
    """The papers of all wings, in their order; ValueError if two have one key.

    >>> all_papers()[0].key
    'zhang2025'
    """
    return _papers_of(tuple(wings()))


# The names are an argument so that a wing that is added to a running process is found too.
@cache
def _papers_of(wing_names: tuple[str, ...]) -> tuple[Paper, ...]:
    # By name, since the framework must import no wing: it finds them.
    root = __name__.removesuffix(".compare.evidence.papers")
    modules = [
        import_module(f"{root}.{CLAIMS_PACKAGE}.{wing}.results") for wing in wing_names
    ]
    papers = [paper for module in modules for paper in module.PAPERS]
    keys = [paper.key for paper in papers]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"two papers have the key {key}: choose another")
    return tuple(sorted(papers, key=lambda paper: (paper.position, paper.key)))


def paper_of_key(key: str) -> Paper:
    """The paper of this key; ValueError lists the keys.

    >>> paper_of_key("zhang2025").year
    2025
    """
    for paper in all_papers():
        if paper.key == key:
            return paper
    keys = ", ".join(paper.key for paper in all_papers())
    raise ValueError(f"no paper has the key {key!r}: there are {keys}")
