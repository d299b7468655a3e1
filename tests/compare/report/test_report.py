"""The report: one page that shows every verdict, trusts no text, and asks nobody for anything; and its schema."""

import base64
import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import fields, replace
from html.parser import HTMLParser
from importlib.resources import files
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from attndyn.cli import main
from attndyn.compare.claims import all_claims
from attndyn.compare.evidence.checking import check_claim
from attndyn.compare.evidence.claim import LEVELS, TIERS, RunContext
from attndyn.compare.evidence.evidence import Curve, Evidence, Fit
from attndyn.compare.evidence.papers import Paper, Result
from attndyn.compare.evidence.verdict import ClaimRecord, VariantOutcomes, Verdict
from attndyn.compare.figures import all_figures, draw
from attndyn.compare.ledger.ledger import Ledger
from attndyn.compare.report import report, write_report
from attndyn.compare.report.results_table import coverage
from attndyn.compare.report.svg import MAX_POINTS, drawings
from attndyn.runtime.typesetting import mathml

CLAIMS = {claim.id: claim for claim in all_claims()}
SCHEMA = json.loads(
    (files("attndyn.compare.report") / "ledger.schema.json").read_text(encoding="utf-8")
)
HOSTILE = '"><script>alert(1)</script>&amp;<img src=x onerror=alert(2)>'
X = tuple(step / 10 for step in range(50))
CURVE = Curve(
    "loss", X, tuple(math.exp(-x) for x in X), tuple(1.01 * math.exp(-x) for x in X)
)
FIT = Fit("η", (0.1, 0.01, 0.001), (2e-1, 2.1e-2, 1.9e-3), 1.01, 1.0, (0.98, 1.03))
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (1000).to_bytes(4) + (600).to_bytes(4)

PLAIN = Verdict(
    claim=ClaimRecord(
        id="invented.plain",
        title="One is one",
        source="this test",
        statement=r"\dot v = \lambda_d^2 v^2",
        hypotheses=("N is finite",),
        observable="the loss",
        limit="step size → 0",
        order=1.0,
        code_location="compare/claims/merged.py:12",
    ),
    level="numerical",
    evidence=Evidence(True, observed="1.01", expected="1 ± 0.1"),
    variants=VariantOutcomes(rejected=("two for one", "half of one")),
    seconds=1.5,
    digest="ab" * 32,
    seed=4,
)
PARTS = {
    "claim": {field.name for field in fields(ClaimRecord)},
    "evidence": {field.name for field in fields(Evidence)},
    "variants": {field.name for field in fields(VariantOutcomes)},
}


def verdict_with(verdict, **changes):
    """The verdict with other fields, of the claim, the evidence and the variants too."""
    parts = {
        name: {key: changes.pop(key) for key in list(changes) if key in fields}
        for name, fields in PARTS.items()
    }
    replaced = {name: replace(getattr(verdict, name), **parts[name]) for name in PARTS}
    return replace(verdict, **replaced, **changes)


FULL = verdict_with(
    PLAIN, id="invented.full", fit=FIT, curves=(CURVE,), axes=("flow time", "loss"), residual=2e-4,
    budget=(("sampling", 1e-5), ("learning rate", 3e-4)), figure="growing_mode_order",
)  # fmt: skip
BROKEN = verdict_with(
    PLAIN, id="invented.broken", level="inconclusive", rejected=("half of one",), accepted=("two for one",),
    misjudged=("two for one",),
)  # fmt: skip
LEDGER = Ledger((PLAIN, FULL, BROKEN), 4)


class Page(HTMLParser):
    """Every element of a page with its attributes, and the text of each element that closes."""

    EMPTY = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append((tag, dict(attributes), []))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        for _, _, texts in self.open:
            texts.append(data)

    def handle_endtag(self, tag):
        opened, attributes, texts = self.open.pop()
        assert opened == tag, f"{opened} is closed by {tag}"
        self.texts.append((tag, attributes, " ".join("".join(texts).split())))

    def tags(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]

    def text_of(self, tag, **wanted):
        keys = {key.rstrip("_"): value for key, value in wanted.items()}
        found = [
            t
            for name, have, t in self.texts
            if name == tag and keys.items() <= have.items()
        ]
        assert len(found) == 1, found
        return found[0]


@pytest.fixture(scope="module")
def page():
    return Page(report(LEDGER, {"growing_mode_order": PNG}))


# Statements


@pytest.mark.parametrize("name", CLAIMS)
def test_every_statement_is_typeset(name):
    tree = ElementTree.fromstring(mathml(CLAIMS[name].statement))
    assert tree.tag.endswith("math")
    assert any((element.text or "").strip() for element in tree.iter())


@pytest.mark.parametrize(
    ("latex", "tags"),
    [
        (r"\tfrac12 \mathrm{tr}\,\Lambda", {"mfrac", "mspace"}),
        (
            r"\begin{cases} 1 & x > 0 \\ 0 & \text{else} \end{cases}",
            {"mtable", "mtr", "mtd", "mtext"},
        ),
        (r"\sqrt{\sum_{d=1}^{D} \hat{y}_q^{2}}", {"msqrt", "msubsup", "mover"}),
        (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", {"mtable"}),
    ],
)
def test_what_claims_are_written_in_is_understood(latex, tags):
    assert tags <= {
        element.tag.rpartition("}")[2]
        for element in ElementTree.fromstring(mathml(latex)).iter()
    }


@pytest.mark.parametrize(
    "latex",
    [
        *(
            r"\nosuchcommand",
            "}{",
            "x^2^3",
            "",
            r"\text{<img src=x onerror=alert(1)>}",
            r"\text{<?x ><script>1}",
        ),
        *(
            r"\href{javascript:alert(1)}{x}",
            r"\style{color:red}{x}",
            r"\class{level}{x}",
            r"\hbox{<b>}",
        ),
        r"\text{<![CDATA[<script>alert(1)</script>]]>}",
    ],
)
def test_what_is_not_a_plain_formula_is_refused_and_shown_as_it_was_written(latex):
    with pytest.raises(ValueError, match="the statement"):
        mathml(latex)
    page = Page(report(Ledger((verdict_with(PLAIN, statement=latex),), 0)))
    assert len(page.tags("script")) == 1
    assert not page.tags("img") + page.tags("math")
    shown = [text for tag, _, text in page.texts if tag == "code"]
    assert latex in shown or latex == ""


def test_bars_and_slashes_stand_close_to_what_they_belong_to():
    assert mathml(r"|a|/2 + \|b\|").count('<mo lspace="0" rspace="0"') == 5
    assert "lspace" not in mathml("a + b")


def test_a_less_than_sign_is_a_sign():
    assert "&#x0003C;" in mathml("a < b")


# The page


def test_every_verdict_has_a_row_and_an_article(page):
    ids = [verdict.id for verdict in LEDGER.verdicts]
    assert [row["data-claim"] for row in page.tags("tr") if "data-claim" in row] == ids
    assert [article["id"] for article in page.tags("article")] == ids
    assert {row["data-level"] for row in page.tags("tr") if "data-level" in row} == {
        "numerical",
        "inconclusive",
    }
    assert (
        page.text_of("p", class_="outcome bad")
        == "2 of 3 claims are as expected, these are not:"
    )
    assert "invented.broken" in page.text_of("ul", class_="unexpected")


def test_an_article_holds_the_whole_evidence(page):
    shown = page.text_of("article", id="invented.full")
    said = (
        "One is one",
        "this test",
        "N is finite",
        "the loss",
        "step size → 0",
        "1.01",
        "1 ± 0.1",
        "two for one",
    )
    numbers = (
        "[0.980, 1.030]",
        "0.0019",
        "0.0003",
        "0.0002",
        "1 × 10⁻⁵",
        "seed 4",
        "1.500 s",
    )
    for each in (
        *said,
        *numbers,
        "compare/claims/merged.py:12",
        "ab" * 32,
        "learning rate",
        "(order 1)",
    ):
        assert each in shown, each
    assert shown.index("learning rate") < shown.index(
        "sampling"
    )  # the largest error first


def test_a_claim_without_curves_says_so(page):
    assert "Nothing to draw" in page.text_of("article", id="invented.plain")
    assert "Nothing to draw" not in page.text_of("article", id="invented.full")


def test_a_broken_check_is_named(page):
    shown = page.text_of("article", id="invented.broken")
    assert "This check is broken: the judge took “two for one” wrongly" in shown
    assert "accepted, and is wrong two for one" in shown
    assert "broken" not in page.text_of("article", id="invented.plain")


def test_a_corrected_statement_that_is_rejected_and_a_control_that_was_not_tried_are_told_apart():
    missed = verdict_with(BROKEN, accepted=(), misjudged=("the corrected one",))
    failed = verdict_with(BROKEN, rejected=(), misjudged=())
    page = Page(
        report(
            Ledger(
                (
                    verdict_with(missed, id="a.missed"),
                    verdict_with(failed, id="a.failed"),
                ),
                0,
            )
        )
    )
    assert "rejected, and is right the corrected one" in page.text_of(
        "article", id="a.missed"
    )
    assert "not tried two for one" in page.text_of("article", id="a.failed")


def test_a_refuted_claim_without_controls_says_what_shows_it():
    refuted = verdict_with(
        PLAIN,
        level="refuted",
        expected_level="refuted",
        rejected=(),
        corrected=(("one is 1", True),),
    )
    page = Page(report(Ledger((refuted,), 0)))
    assert "Corrected statement accepted one is 1" in page.text_of(
        "article", id=PLAIN.id
    )
    assert "accepts 1 of 1 corrected" in page.text_of("tr", **{"data-claim": PLAIN.id})
    failed = verdict_with(
        refuted, corrected=(("one is 1", False),), misjudged=("one is 1",)
    )
    assert "not accepted one is 1" in Page(report(Ledger((failed,), 0))).text_of(
        "article", id=PLAIN.id
    )
    assert page.text_of("p", class_="outcome good") == "1 of 1 claims are as expected."


def test_ids_are_unique_and_every_link_leads_somewhere(page):
    ids = Counter(
        attributes["id"] for _, attributes in page.elements if "id" in attributes
    )
    assert set(ids.values()) == {1}
    links = [
        attributes["href"] for _, attributes in page.elements if "href" in attributes
    ]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert all(link.startswith(("#", "data:")) for link in links)
    assert page.open == []


def test_nothing_is_asked_of_anybody(page):
    assert (
        not page.tags("img")
        + page.tags("iframe")
        + page.tags("object")
        + page.tags("base")
    )
    assert [link["href"] for link in page.tags("link")] == ["data:,"]
    assert not [attributes for _, attributes in page.elements if "src" in attributes]
    text = report(LEDGER)
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {
        "http://www.w3.org/1998/Math/MathML", "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink",
    }  # fmt: skip
    assert "@import" not in text


def test_the_policy_allows_this_script_alone(page):
    (policy,) = [
        meta["content"] for meta in page.tags("meta") if meta.get("http-equiv")
    ]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    digest = base64.b64encode(
        hashlib.sha256(script_of(report(LEDGER)).encode()).digest()
    ).decode()
    assert f"'sha256-{digest}'" in policy
    assert "https" not in policy


def script_of(text):
    return re.search(r"<script>(.*)</script>", text, re.DOTALL)[1]


def test_a_script_in_a_claim_is_text():
    texts = [
        each.name
        for kind in (Verdict, ClaimRecord, Evidence, VariantOutcomes)
        for each in fields(kind)
        if each.type in (str, "str") and "level" not in each.name
    ]
    changes = dict.fromkeys(texts, HOSTILE) | {
        "rejected": (HOSTILE,),
        "misjudged": (HOSTILE,),
        "hypotheses": (HOSTILE,),
    }
    curve = replace(CURVE, name=HOSTILE)
    evil = verdict_with(
        FULL,
        fit=replace(FIT, parameter=HOSTILE),
        curves=(curve,),
        axes=(HOSTILE, HOSTILE),
        **changes,
    )
    page = Page(report(Ledger((evil,), 0)))
    assert len(page.tags("script")) == 1
    assert page.tags("img") == []
    assert HOSTILE in page.text_of("article")
    assert not [
        name
        for _, attributes in page.elements
        for name in attributes
        if name.startswith("on")
    ]


@settings(max_examples=20, deadline=None)
@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")),
        min_size=1,
    )
)
def test_any_title_is_read_back(title):
    page = Page(report(Ledger((verdict_with(PLAIN, title=title),), 0)))
    assert page.text_of("h2") == title


def test_the_same_ledger_gives_the_same_bytes():
    assert report(LEDGER) == report(Ledger(tuple(map(replace, LEDGER.verdicts)), 4))
    assert report(LEDGER) != report(Ledger(LEDGER.verdicts, 5))


def test_the_empty_ledger_has_a_page():
    assert "0 of 0 claims are as expected" in report(Ledger((), 0))


# Coverage


def covered(*verdicts):
    return [
        result for paper in coverage(Ledger(verdicts, 0)) for result in paper.results
    ]


def verdict_on(name, **changes):
    return verdict_with(PLAIN, id=name, **changes)


def test_every_result_is_shown_with_its_claims():
    page = Page(report(LEDGER))
    (table,) = [
        text
        for tag, have, text in page.texts
        if (tag, have.get("id")) == ("details", "coverage")
    ]
    for result in covered():
        assert result.title in table
        assert result.status == "not checked in this run"
        assert all(
            f"{each.id} not checked in this run (tier {each.tier})" in table
            for each in result.claims
        )
    assert (
        f"0 of {len(covered())} results checked in this run, 0 not as expected, 0 without a claim"
        in table
    )


def test_a_result_says_what_this_run_found(monkeypatch):
    first, second = "saddle.delay", "one_drop.time"
    parts = {"Merged": (Result("Drop time", (first, second)),)}
    paper = Paper("made_up", "Made up", ("Nobody",), 2000, parts=parts)
    monkeypatch.setattr(
        "attndyn.compare.report.results_table.all_papers", lambda: (paper,)
    )
    wrong = {"level": "refuted", "expected_level": "numerical"}
    said = {
        "as expected": (verdict_on(first), verdict_on(second)),
        "as expected, 1 of 2 checked": (verdict_on(first),),
        "1 not as expected": (verdict_on(first), verdict_on(second, **wrong)),
        "1 not as expected, 1 of 2 checked": (verdict_on(first, **wrong),),
    }
    for status, verdicts in said.items():
        (result,) = covered(*verdicts)
        assert (result.status, result.is_supported) == (
            status,
            status.startswith("as expected"),
        )
        page = Page(report(Ledger(verdicts, 0)))
        links = [each["href"] for tag, each in page.elements if tag == "a"]
        assert links.count(f"#{first}") == (
            3 if not verdicts[0].holds else 2
        )  # and the list of what is wrong


def test_a_gap_stands_out(monkeypatch):
    assert "no claim" not in report(LEDGER)
    parts = {"<b>made up</b>": (Result("nobody checked this", (), ("conservation",)),)}
    paper = Paper("made_up", "Made up", ("Nobody",), 2000, parts=parts)
    monkeypatch.setattr(
        "attndyn.compare.report.results_table.all_papers", lambda: (paper,)
    )
    page = Page(report(LEDGER))
    assert "nobody checked this no claim conservation" in [
        text for tag, _, text in page.texts if tag == "tr"
    ]
    assert "1 without a claim" in page.text_of("summary")
    assert "<b>made up</b>" in page.text_of("details", id="coverage")


# What rests on a claim that does not hold


MOMENTS = verdict_with(PLAIN, id="setting.moments")
FLOW = verdict_with(PLAIN, id="merged.aligned", assumes=("setting.moments",))
LATER = verdict_with(PLAIN, id="merged.later", assumes=("merged.aligned", "not.run"))


def test_a_red_claim_marks_what_rests_on_it_itself_or_through_others():
    red = verdict_with(MOMENTS, level="refuted", agrees=False)
    ledger = Ledger((red, FLOW, LATER, FULL), 0)
    rests = dict.fromkeys(("merged.aligned", "merged.later"), ("setting.moments",))
    assert ledger.failed_assumptions == rests
    written = {
        verdict["id"]: verdict["failed_assumptions"]
        for verdict in ledger.to_dict()["verdicts"]
    }
    assert written == rests | {"setting.moments": (), "invented.full": ()}
    validate(json.loads(ledger.to_json()))

    page = Page(report(ledger))
    rows = [text for tag, _, text in page.texts if tag == "tr"]
    marked = [text for text in rows if "rests on setting.moments" in text]
    assert len(marked) == 2
    assert "rests on setting.moments" in page.text_of("article", id="merged.later")
    assert "rests on setting.moments" in repr(ledger)
    assert "rests on <code>setting.moments</code>" in ledger._repr_html_()


def test_nothing_rests_on_what_holds_or_was_not_checked():
    assert Ledger((MOMENTS, FLOW, LATER), 0).failed_assumptions == {}
    assert Ledger((FLOW, LATER), 0).failed_assumptions == {}


def test_a_ledger_in_a_notebook_is_the_table_of_the_page():
    table = LEDGER._repr_html_()
    assert table in report(LEDGER)
    assert table.count("<tr ") == len(LEDGER.verdicts)


def test_a_ledger_is_saved_and_loaded(tmp_path):
    assert Ledger.load(LEDGER.save(tmp_path / "ledger.json")) == LEDGER


# Figures


def test_a_figure_named_twice_is_stored_once():
    twice = Ledger((FULL, verdict_with(FULL, id="invented.again")), 0)
    text = report(twice, {"growing_mode_order": PNG, "conservation": PNG})
    assert text.count("data:image/png") == 1
    assert text.count('<use href="#figure-growing_mode_order"') == 2
    assert "data:image/png" not in report(twice)


def test_the_report_holds_the_figures_that_were_drawn(tmp_path):
    drawn = draw(
        ["growing_mode_order"], out=tmp_path / "figures", runs=tmp_path / "runs"
    )
    path = write_report(LEDGER, tmp_path, drawn)
    assert path == tmp_path / "report.html"
    png = base64.b64encode(
        (tmp_path / "figures" / "growing_mode_order.png").read_bytes()
    ).decode()
    assert png in path.read_text(encoding="utf-8")
    assert path.stat().st_size < 500_000


def test_verify_leaves_a_report_beside_its_ledger(tmp_path, capsys):
    assert (
        main(["verify", "fixed_points.count", "--workers", "1", "--out", str(tmp_path)])
        == 0
    )
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [article["id"] for article in page.tags("article")] == ["fixed_points.count"]
    validate(json.loads((tmp_path / "ledger.json").read_text(encoding="utf-8")))


def test_claims_name_figures_that_there_are():
    assert {claim.figure for claim in CLAIMS.values()} - {None} <= set(all_figures())


def test_evidence_is_drawn_panel_by_panel():
    assert drawings(PLAIN) == ()
    assert (
        len(drawings(verdict_with(PLAIN, fit=FIT)))
        == len(drawings(verdict_with(PLAIN, curves=(CURVE,))))
        == 1
    )
    assert len(drawings(FULL)) == 2
    for panel in drawings(FULL):
        tree = ElementTree.fromstring(panel)
        assert (tree.get("role"), tree.get("aria-label") != "") == ("img", True)
        assert all(
            each.get("id", "invented.full-").startswith("invented.full-")
            for each in tree.iter()
        )
        assert "<style" not in panel


def test_another_observation_is_another_drawing():
    other = replace(CURVE, observed=tuple(2 * y for y in CURVE.observed))
    assert drawings(verdict_with(PLAIN, curves=(other,))) != drawings(
        verdict_with(PLAIN, curves=(CURVE,))
    )
    steeper = replace(FIT, errors=(2e-1, 2e-3, 2e-5))
    assert drawings(verdict_with(PLAIN, fit=steeper)) != drawings(
        verdict_with(PLAIN, fit=FIT)
    )


@pytest.mark.parametrize(
    "curve",
    [
        Curve("a $ of $ b", (0.0, 1.0), (1.0, math.nan), (math.inf, 2.0)),
        Curve("", (1.0,), (1.0,), (1.0,)),
        Curve("wide", (1.0, 1e2, 1e4), (1.0, 1e-3, 1e-9), (1.0, 1e-3, 0.0)),
        Curve("nowhere", (), (), ()),
    ],
    ids=["not finite", "one point", "decades", "empty"],
)
def test_odd_curves_are_drawn_all_the_same(curve):
    (panel,) = drawings(verdict_with(PLAIN, curves=(curve,)))
    assert ElementTree.fromstring(panel).tag.endswith("svg")


def test_an_exact_fit_leaves_no_errors_to_draw():
    assert drawings(verdict_with(PLAIN, fit=replace(FIT, errors=(0.0, 0.0, 0.0)))) == ()
    assert (
        len(drawings(verdict_with(PLAIN, fit=replace(FIT, errors=(1e-3, 1e-6, 0.0)))))
        == 1
    )


def test_long_curves_make_no_large_page():
    long = Curve(
        "noise",
        *(
            tuple(math.sin(k * step**2) for step in range(50 * MAX_POINTS))
            for k in (1, 2, 3)
        ),
    )
    (panel,) = drawings(verdict_with(PLAIN, curves=(long,)))
    assert len(panel) < 60_000


# The schema


def validate(content):
    Draft202012Validator(SCHEMA).validate(content)


def ledger():
    return json.loads(LEDGER.to_json())


def test_the_schema_is_a_schema_and_knows_every_field():
    Draft202012Validator.check_schema(SCHEMA)
    verdict = SCHEMA["$defs"]["verdict"]
    written = Ledger((PLAIN,), 0).to_dict()["verdicts"][0]
    assert set(verdict["required"]) == set(verdict["properties"]) == set(written)
    assert tuple(SCHEMA["$defs"]["level"]["enum"]) == LEVELS
    assert tuple(verdict["properties"]["tier"]["enum"]) == TIERS
    for name, kind in (("fit", Fit), ("curve", Curve)):
        assert set(SCHEMA["$defs"][name]["required"]) == {
            each.name for each in fields(kind)
        }


def test_ledgers_keep_the_schema(tmp_path):
    validate(ledger())
    names = ("fixed_points.count", "merged.aligned", "setting.moments")
    real = Ledger(
        tuple(check_claim(CLAIMS[name], RunContext(tmp_path)) for name in names), 0
    )
    validate(json.loads(real.to_json()))


def test_what_is_not_finite_is_null_and_read_back():
    odd = replace(CURVE, observed=(math.nan, *CURVE.observed[1:-1], math.inf))
    fit = replace(FIT, errors=(math.nan, *FIT.errors[1:]), slope=-math.inf)
    written = Ledger(
        (
            verdict_with(
                FULL,
                curves=(odd,),
                fit=fit,
                residual=math.nan,
                budget=(("steps", math.inf),),
            ),
        ),
        0,
    )
    text = written.to_json()
    plain = json.loads(
        text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    validate(plain)
    assert [plain["verdicts"][0]["curves"][0]["observed"][k] for k in (0, -1)] == [
        None,
        None,
    ]
    (found,) = Ledger.from_json(text).verdicts
    (curve,) = found.evidence.curves
    assert math.isnan(curve.observed[0])
    assert math.isnan(curve.observed[-1])
    assert curve.observed[1:-1] == CURVE.observed[1:-1]
    assert (curve.x, found.evidence.fit.errors[1:], found.evidence.fit.interval) == (
        CURVE.x,
        FIT.errors[1:],
        FIT.interval,
    )
    assert math.isnan(found.evidence.fit.slope)
    assert math.isnan(found.evidence.budget[0][1])
    assert found.evidence.residual is None
    assert Ledger.from_json(text).to_json() == text
    with pytest.raises(
        ValueError, match="JSON"
    ):  # what would have been written without the rule
        json.dumps(math.nan, allow_nan=False)


def test_a_ledger_without_corrected_statements_is_still_read():
    ledger = Ledger((PLAIN, FULL), 4)
    plain = json.loads(ledger.to_json())
    for verdict in plain["verdicts"]:
        for younger in ("corrected", "assumes", "agrees", "undecided"):
            del verdict[younger]
    assert Ledger.from_json(json.dumps(plain)) == ledger


def test_a_refuted_claim_names_what_holds_instead(tmp_path):
    claim = CLAIMS["refuted.idle_heads"]
    verdict = check_claim(claim, RunContext(tmp_path))
    assert (
        verdict.variants.corrected
        == tuple((name, True) for name in claim.corrected)
        != ()
    )
    assert Verdict.from_dict(verdict.to_dict()) == verdict
    wrong = check_claim(
        replace(claim, corrected=("as it stands",)), RunContext(tmp_path)
    )
    assert (wrong.variants.corrected, wrong.variants.misjudged, wrong.holds) == (
        (("as it stands", False),),
        ("as it stands",),
        False,
    )


def changed(path, value):
    content = ledger()
    *way, last = path
    place = content
    for step in way:
        place = place[step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return content


FIRST, SECOND = ("verdicts", 0), ("verdicts", 1)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("seed",), KeyError),
        (("seed",), -1),
        (("holds",), "yes"),
        (("versions", "numpy"), KeyError),
        (("dates",), []),
        ((*FIRST, "title"), KeyError),
        ((*FIRST, "digest"), KeyError),
        ((*FIRST, "level"), "sure"),
        ((*FIRST, "expected_level"), None),
        ((*FIRST, "tier"), "slow"),
        ((*FIRST, "controls", "names"), ["one", "one"]),
        ((*FIRST, "order"), "1"),
        ((*FIRST, "remark"), "none"),
        ((*FIRST, "axes"), ["x"]),
        ((*SECOND, "fit", "expected"), None),
        ((*FIRST, "corrected"), [["a statement", None]]),
        ((*SECOND, "fit", "interval"), [1.0]),
        ((*SECOND, "budget", 0), ["sampling"]),
        ((*SECOND, "budget", 0), [1e-5, "sampling"]),
        ((*SECOND, "curves", 0, "observed"), KeyError),
        ((*SECOND, "curves", 0, "x"), ["0"]),
        ((*SECOND, "digest"), "not one"),
    ],
)
def test_another_shape_breaks_the_schema(path, value):
    with pytest.raises(ValidationError):
        validate(changed(path, value))
