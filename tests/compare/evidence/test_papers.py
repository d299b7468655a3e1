"""Papers: found in the folders of their wings, cited as in running text, named by keys that claims may use."""

from types import SimpleNamespace

import pytest

from attndyn.compare.claims import all_claims, sections
from attndyn.compare.evidence import papers as papers_module
from attndyn.compare.evidence.claim import Claim
from attndyn.compare.evidence.papers import (
    Paper,
    Result,
    all_papers,
    paper_of_key,
    wings,
)
from attndyn.compare.figures import PaperFigure, all_figures


@pytest.mark.parametrize(
    ("authors", "citation"),
    [
        (("Doe",), "Doe 2020"),
        (("Doe", "Roe"), "Doe and Roe 2020"),
        (("Doe", "Roe", "Poe"), "Doe et al. 2020"),
    ],
)
def test_a_paper_is_cited_by_its_authors(authors, citation):
    assert Paper("doe2020", "On nothing", authors, 2020).citation == citation


def test_a_paper_without_author_or_with_no_word_for_a_key_is_refused():
    with pytest.raises(ValueError, match="paper doe2020 has no author"):
        Paper("doe2020", "On nothing", (), 2020)
    with pytest.raises(ValueError, match="must be a word like zhang2025, not 'doe 20'"):
        Paper("doe 20", "On nothing", ("Doe",), 2020)


def test_the_results_of_a_paper_are_those_of_its_parts():
    first, second = Result("first", ()), Result("second", ())
    paper = Paper("doe2020", "", ("Doe",), 2020, parts={"A": (first,), "B": (second,)})
    assert paper.results == (first, second)


def test_every_wing_has_papers_and_papers_have_different_keys():
    assert "linear_attention" in wings()
    keys = [paper.key for paper in all_papers()]
    assert len(set(keys)) == len(keys) >= len(wings())
    assert paper_of_key("zhang2025").arxiv == "2501.16265"
    with pytest.raises(ValueError, match="no paper has the key 'doe2020': there are"):
        paper_of_key("doe2020")


def test_two_papers_of_one_key_are_refused(monkeypatch):
    zhang2025 = paper_of_key("zhang2025")
    twice = SimpleNamespace(PAPERS=(zhang2025, zhang2025))
    monkeypatch.setattr(papers_module, "import_module", lambda name: twice)
    monkeypatch.setattr(papers_module, "wings", lambda: ["made_up"])
    with pytest.raises(ValueError, match="two papers have the key zhang2025"):
        all_papers()


def test_claims_and_figures_name_papers_that_exist():
    keys = {paper.key for paper in all_papers()}
    assert {claim.paper for claim in all_claims()} - {""} <= keys
    assert {figure.paper for figure in all_figures().values()} <= keys
    with pytest.raises(ValueError, match="no paper has the key 'doe2020'"):
        Claim("a.b", "", "", "", "", None, None, None, ("c",), paper="doe2020")
    with pytest.raises(ValueError, match="no paper has the key 'doe2020'"):
        PaperFigure("a", lambda context: None, "standard", "doe2020")
    with pytest.raises(ValueError, match="figure a: tier must be one of fast"):
        PaperFigure("a", lambda context: None, "slow", "zhang2025")


SOURCES = {
    "Zhang et al. 2025": {"paper": "zhang2025"},
    "Zhang et al. 2025, eq. 12": {"paper": "zhang2025", "equation": "eq. 12"},
    "Zhang et al. 2025, eq. 12; Saxe et al. 2014": {
        "paper": "zhang2025",
        "equation": "eq. 12",
        "origin": "Saxe et al. 2014",
    },
    "goes beyond Zhang et al. 2025": {"paper": "zhang2025", "beyond_paper": True},
    "goes beyond Zhang et al. 2025: low rank": {
        "paper": "zhang2025",
        "equation": "low rank",
        "beyond_paper": True,
    },
    "our own convention": {"origin": "our own convention"},
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_claim_says_where_it_is_from(source):
    claim = Claim("a.b", "", "", "", "", None, None, None, ("c",), **SOURCES[source])
    assert claim.source == source


def test_sections_stand_in_the_order_in_which_results_name_their_claims():
    named = [
        name
        for paper in all_papers()
        for result in paper.results
        for name in result.claims
    ]
    firsts = [
        min(named.index(claim.id) for claim in section.CLAIMS) for section in sections()
    ]
    assert firsts == sorted(firsts)
