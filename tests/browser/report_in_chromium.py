"""The report in headless Chromium, from disk: `make test-browser`. Every check is also shown a page that fails it.

The name of this file keeps it out of `make test`, whose machines need no browser.
"""

import base64
import json
import math
import re
from io import BytesIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from attndyn.compare import Ledger, Verdict
from attndyn.compare.claims import all_claims
from attndyn.compare.evidence.checking import check_claim
from attndyn.compare.evidence.claim import LEVELS, RunContext
from attndyn.compare.evidence.evidence import Curve, Evidence, Fit
from attndyn.compare.evidence.papers import all_papers
from attndyn.compare.evidence.verdict import ClaimRecord, VariantOutcomes
from attndyn.compare.figures import draw
from attndyn.compare.report import write_report

REAL = (
    "fixed_points.count",
    "fixed_points.index",
    "merged.aligned",
    "replay.mlp_cubic",
)
X = tuple(step / 10 for step in range(100))
CURVES = tuple(
    Curve(
        f"head {k}",
        X,
        *(tuple(c / (1 + math.exp(k + 2 - x)) for x in X) for c in (1, 1.01)),
    )
    for k in (1, 2)
)
FIT = Fit("η", (0.1, 0.01, 0.001), (2e-1, 2.1e-2, 1.9e-3), 1.01, 1.0, (0.98, 1.03))
DIGITS = (("a" * 60 + " ") * 2).strip()


def invented(level):
    """A claim of this level, whose text is hostile to a page that trusts it."""
    claim = ClaimRecord(
        id=f"invented.{level}",
        title=f"<script>document.title = 'taken'</script><img src=http://127.0.0.1:9/> {level}",
        source="this test",
        expected_level="refuted" if level == "refuted" else "proved",
        statement=r"\Phi(v) = \sum_{d=1}^{D} \left(\frac{v_d^2}{2} + \lambda_d^{2} v_d\right) "
        * 4
        + "x^2",
        tier="long" if level == "proved" else "fast",
        figure="growing_mode_order" if level in ("proved", "numerical") else None,
        code_location="compare/claims/merged.py:12",
    )
    evidence = Evidence(
        agrees=level not in ("refuted", "inconclusive"),
        observed=DIGITS,
        expected="1",
        fit=FIT,
        curves=CURVES if level != "refuted" else (),
        axes=("flow time", "loss"),
        budget=(("learning rate", 1e-3), ("sampling", 4e-5)),
        residual=5e-4,
    )
    misjudged = ("half of one",) if level == "inconclusive" else ()
    return Verdict(
        claim=claim,
        level=level,
        evidence=evidence,
        variants=VariantOutcomes(("two for one",), misjudged, misjudged),
        seconds=0.5,
        digest="ab" * 32,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report on a few claims of the package and one invented claim of each level."""
    folder = tmp_path_factory.mktemp("report")
    context = RunContext(folder)
    real = [check_claim(claim, context) for claim in all_claims() if claim.id in REAL]
    drawn = draw(["growing_mode_order"], out=folder / "figures", runs=folder)
    return write_report(Ledger((*real, *map(invented, LEVELS)), 0), folder, drawn)


@pytest.fixture
def opened(browser, page):
    return open_page(browser, page)


def open_page(browser, path, width=1200):
    """The browser with the file in a window of this width, and logs that begin here."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(Path(path).as_uri())
    return browser


def other(tmp_path, body):
    """A page that some check should refuse."""
    path = tmp_path / "other.html"
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><body>{body}",
        encoding="utf-8",
    )
    return path


def rows(browser):
    """Ids of the rows that are shown; the articles must be the same."""
    ids = "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.{})"
    shown = browser.execute_script(ids.format("dataset.claim"), "#verdicts tbody tr")
    assert sorted(browser.execute_script(ids.format("id"), "article")) == sorted(shown)
    assert f"{len(shown)} of" in browser.find_element(By.ID, "shown").text
    return shown


def field(browser, name):
    return browser.find_element(By.NAME, name)


# What it asks for, and what it complains about


def requests(browser):
    """Addresses of everything that was requested since the page was opened."""
    messages = [
        json.loads(entry["message"])["message"]
        for entry in browser.get_log("performance")
    ]
    return [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    ]


def outside(urls):
    return [url for url in urls if not url.startswith(("file:", "data:"))]


def visit_everything(browser):
    browser.execute_script(
        "for (const e of document.querySelectorAll('article, svg, math')) e.scrollIntoView()"
    )
    field(browser, "words").send_keys("merged")
    browser.find_element(By.CSS_SELECTOR, "#filter button").click()


def test_no_request_leaves_and_nothing_is_complained_about(opened, page):
    visit_everything(opened)
    urls = requests(opened)
    assert page.as_uri() in urls
    assert outside(urls) == []
    assert opened.get_log("browser") == []
    assert opened.title.startswith("attndyn")  # no title of a claim ran as a script


def test_a_request_and_a_complaint_would_be_seen(browser, tmp_path):
    body = "<img src=http://127.0.0.1:9/x.png><script>console.error('wrong'); nowhere()</script>"
    open_page(browser, other(tmp_path, body))
    assert "http://127.0.0.1:9/x.png" in outside(requests(browser))
    assert any("nowhere" in entry["message"] for entry in browser.get_log("browser"))


def test_the_policy_stops_what_a_script_asks_for(opened):
    """Even a script in the page reaches nothing: the request is refused before it leaves."""
    refused = opened.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), e => done(e.name));"
    )
    assert refused == "TypeError"
    assert outside(requests(opened)) == []
    assert any(
        "Content Security Policy" in entry["message"]
        for entry in opened.get_log("browser")
    )


# The filter


def test_the_table_filters_by_words_level_tier_and_section(opened):
    everything = rows(opened)
    assert everything == [
        *(claim.id for claim in all_claims() if claim.id in REAL),
        *map("invented.{}".format, LEVELS),
    ]
    field(opened, "words").send_keys("FIXED points")
    assert rows(opened) == ["fixed_points.count", "fixed_points.index"]
    field(opened, "words").clear()
    Select(field(opened, "level")).select_by_visible_text("numerical")
    assert rows(opened) == [*everything[:4], "invented.numerical"]
    Select(field(opened, "section")).select_by_visible_text("invented")
    assert rows(opened) == ["invented.numerical"]
    Select(field(opened, "tier")).select_by_visible_text("long")
    assert rows(opened) == []
    assert opened.find_element(By.ID, "none").is_displayed()
    opened.find_element(By.CSS_SELECTOR, "#filter button").click()
    assert rows(opened) == everything
    field(opened, "unexpected").click()
    assert rows(opened) == [
        f"invented.{level}" for level in ("certified", "numerical", "inconclusive")
    ]


def test_the_filter_works_from_the_keyboard(opened):
    keys = webdriver.ActionChains(opened)
    field(opened, "words").send_keys("merged" + Keys.ENTER)
    assert "merged.aligned" in rows(opened)
    keys.send_keys(Keys.TAB + "ce").perform()  # the next field is the level: certified
    assert rows(opened) == []
    keys.reset_actions()
    keys.send_keys(
        Keys.TAB * 4 + Keys.SPACE
    ).perform()  # tier, section, the box, the button
    assert len(rows(opened)) == len(REAL) + len(LEVELS)


def test_a_link_to_a_hidden_claim_shows_it(opened):
    field(opened, "words").send_keys("merged")
    opened.execute_script("location.hash = 'invented.proved'")
    assert opened.find_element(By.ID, "invented.proved").is_displayed()
    assert len(rows(opened)) == len(REAL) + len(LEVELS)


def test_a_column_sorts_up_and_down_and_back(opened):
    before = rows(opened)
    button = opened.find_element(By.CSS_SELECTOR, "#verdicts thead th button")
    button.click()
    assert rows(opened) == sorted(before)
    button.click()
    assert rows(opened) == sorted(before, reverse=True)
    button.click()
    assert rows(opened) == before != sorted(before)


# Coverage


def unfold(browser):
    browser.find_element(By.CSS_SELECTOR, "#coverage summary").click()


def results(browser):
    """Title and text of each result that is visible."""
    return browser.execute_script("""
        const rows = [...document.querySelectorAll("#coverage tbody tr:not(.part, .paper)")];
        const said = (row) => [row.cells[0].innerText, row.innerText.replace(/\\s+/g, " ")];
        return rows.filter((row) => row.checkVisibility()).map(said);
    """)


def test_the_coverage_unfolds_and_tells_what_was_checked(opened):
    assert results(opened) == []
    unfold(opened)
    shown = results(opened)
    assert [title for title, _ in shown] == [
        result.title for paper in all_papers() for result in paper.results
    ]
    texts = dict(shown)
    assert "not checked in this run (tier" in texts["Conservation law"]
    assert "as expected, 2 of" in texts["Two fixed points"]
    assert "fixed_points.count numerical" in texts["Two fixed points"]
    assert (
        f"of {len(shown)} results checked"
        in opened.find_element(By.CSS_SELECTOR, "#coverage summary").text
    )


def test_the_coverage_leads_to_a_claim_even_where_it_is_filtered_out(opened):
    unfold(opened)
    field(opened, "words").send_keys("nothing like this")
    assert not opened.find_element(By.ID, "fixed_points.count").is_displayed()
    opened.find_element(
        By.CSS_SELECTOR, "#coverage a[href='#fixed_points.count']"
    ).click()
    assert opened.find_element(By.ID, "fixed_points.count").is_displayed()


# Figures and formulas


def boxes(browser, selector):
    """Width and height of every element, in pixels."""
    size = "e => { const box = e.getBoundingClientRect(); return [box.width, box.height]; }"
    return browser.execute_script(
        f"return [...document.querySelectorAll(arguments[0])].map({size})", selector
    )


def test_every_figure_shows(opened):
    drawn = opened.find_elements(By.CSS_SELECTOR, "figure svg")
    assert len(drawn) >= 2 * len(LEVELS)
    assert all(min(box) > 150 for box in boxes(opened, "figure svg"))
    for figure in drawn:
        pixels = matplotlib.image.imread(BytesIO(figure.screenshot_as_png))
        assert np.std(pixels[..., :3]) > 0.02, figure.get_attribute("aria-label")
        assert figure.get_attribute("aria-label")


def test_every_stored_picture_is_one(opened):
    widths = opened.execute_async_script("""
        const width = async (element) => {
          const image = new Image();
          image.src = element.getAttribute("href");
          await image.decode();
          return image.naturalWidth;
        };
        const done = arguments[0], images = [...document.querySelectorAll("image")];
        Promise.all(images.map(width)).then(done, (error) => done([String(error)]));
    """)
    assert len(widths) == 1
    assert widths[0] > 500


def test_a_figure_that_is_empty_would_be_seen(browser, tmp_path):
    open_page(
        browser,
        other(
            tmp_path,
            '<figure><svg width=300 height=300><image href="data:,"/></svg></figure>',
        ),
    )
    shown = browser.find_element(By.CSS_SELECTOR, "figure svg").screenshot_as_png
    assert np.std(matplotlib.image.imread(BytesIO(shown))[..., :3]) < 0.02


def test_every_statement_is_typeset(opened):
    found = boxes(opened, ".statement math")
    assert len(found) == len(REAL) + len(LEVELS)
    assert all(min(box) > 10 for box in found)
    bottoms = opened.execute_script(
        "return [...document.querySelector('#invented\\\\.proved msup:last-of-type').children]"
        ".map(e => e.getBoundingClientRect().bottom)"
    )
    assert bottoms[1] < bottoms[0]  # the exponent is raised


# Narrow windows and paper


def scroll_width(browser):
    return browser.execute_script("return document.documentElement.scrollWidth")


def test_a_narrow_window_needs_no_scrolling_to_the_side(browser, page, tmp_path):
    open_page(browser, page, width=360)
    assert scroll_width(browser) <= 360
    assert all(
        box[0] <= 360
        for box in boxes(browser, "figure svg, #filter, #verdicts, article")
    )
    unfold(browser)
    assert scroll_width(browser) <= 360
    assert all(
        200 < box[0] <= 360
        for box in boxes(
            browser, "#coverage, #coverage table, #coverage td:not(:empty)"
        )
    )
    open_page(browser, other(tmp_path, "<p style='width: 500px'>wide"), width=360)
    assert scroll_width(browser) > 360


def test_it_prints(opened):
    pdf = base64.b64decode(
        opened.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    )
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert pdf.startswith(b"%PDF")
    assert len(LEVELS) <= pages <= 3 * (len(LEVELS) + len(REAL))
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not opened.find_element(By.ID, "filter").is_displayed()
    assert opened.find_element(By.ID, "invented.proved").is_displayed()
    assert opened.find_element(By.ID, "verdicts").is_displayed()
    assert len(results(opened)) > 30
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen"})
    assert results(opened) == []  # folded, where it can be unfolded
