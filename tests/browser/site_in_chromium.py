"""The site in headless Chromium, from disk: `make test-site` after `make site`.

Each check of faults is shown a page that fails it, too.

The name of this file keeps it out of `make test`, whose machines need no browser.
"""

import json
import time
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

import attndyn

SITE = Path(attndyn.__file__).parent / "build" / "site"
PAGES = (
    "index.html",
    "tutorials.html",
    "how-to.html",
    "explanation.html",
    "papers/zhang2025.html",
    "theory.html",
    "glossary.html",
    "claims.html",
    "reference.html",
    "reference/theory.html",
    "reference/theory.time_course.html",
    "gallery/index.html",
    "gallery/separate/plot_staircase.html",
    "notebooks/from-a-task-to-a-figure.html",
    "explore.html",
    "explorer/index.html",
)
WIDTHS, THEMES = (1280, 400), ("light", "dark")
HARMLESS = "Got invalid theme mode"
"""What the theme says at a first visit, when no theme has been chosen yet."""

PATIENCE = 60
"""Seconds in which a page typesets its formulas, on a busy machine too."""


@pytest.fixture(scope="module", autouse=True)
def site():
    """The site, which must have been built."""
    assert (SITE / "index.html").is_file(), "there is no site yet: make site"


def wait_until(browser, condition):
    """Wait until a script's condition is true."""
    end = time.monotonic() + PATIENCE
    while not browser.execute_script(f"return {condition}"):
        assert time.monotonic() < end, f"waited {PATIENCE} s in vain for {condition}"
        time.sleep(0.05)


def open_page(browser, path, width=1280, theme="light"):
    """The browser with a page in a window of this width, formulas typeset, and logs that begin with the page."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(path if ":" in str(path) else Path(path).as_uri())
    wait_until(browser, "document.readyState == 'complete'")
    # MathJax has been asked for only by pages with formulas.
    if browser.execute_script("return typeof MathJax != 'undefined'"):
        wait_until(browser, "!!(MathJax.startup && MathJax.startup.promise)")
        browser.execute_async_script(
            "MathJax.startup.promise.then(() => arguments[0](0))"
        )
    return browser


def other(tmp_path, body):
    """A page that some check should refuse."""
    path = tmp_path / "other.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{body}")
    return path


def requests(browser):
    """Addresses of everything that was requested since the page was opened."""
    messages = [
        json.loads(entry["message"])["message"]
        for entry in browser.get_log("performance")
    ]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def faults(browser):
    """What is wrong with the page that is open, in words."""
    found = [
        f"asks for {url}"
        for url in requests(browser)
        if not url.startswith(("file:", "data:", "blob:"))
    ]
    found += [
        f"says {entry['message']}"
        for entry in browser.get_log("browser")
        if entry["level"] not in ("INFO", "DEBUG") and HARMLESS not in entry["message"]
    ]
    wide, window = browser.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth]"
    )
    if wide > window:
        found.append(f"is {wide} wide in a window of {window}")
    if browser.find_elements(By.CSS_SELECTOR, "[data-mjx-error], .math.error"):
        found.append("has a formula with an error")
    images = "return [...document.images].filter(e => e.complete && !e.naturalWidth).map(e => e.src)"
    found += [f"lacks the picture {src}" for src in browser.execute_script(images)]
    return found


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_ask_nobody_and_complain_of_nothing(browser, width, theme):
    wrong = {}
    for name in PAGES:
        open_page(browser, SITE / name, width, theme)
        wrong |= {name: found} if (found := faults(browser)) else {}
    assert wrong == {}


@pytest.mark.parametrize(
    "body",
    [
        "<img src=http://127.0.0.1:9/x.png>",
        "<script>console.error('wrong')</script>",
        "<div style='width: 5000px'>x</div>",
        "<span data-mjx-error=x>x</span>",
        "<img src=missing.png>",
    ],
)
def test_a_fault_would_be_seen(browser, tmp_path, body):
    assert faults(open_page(browser, other(tmp_path, body)))


@pytest.mark.parametrize("theme", THEMES)
def test_pages_follow_the_theme_of_the_machine(browser, theme):
    open_page(browser, SITE / "index.html", theme=theme)
    shown = (
        "return [...document.querySelectorAll('.only-light, .only-dark')]"
        ".filter(e => e.checkVisibility()).map(e => e.className)"
    )
    visible = browser.execute_script(shown)
    assert visible
    assert all(f"only-{theme}" in name for name in visible)


@pytest.mark.parametrize("name", ["staircase", "exact_loss", "early_stopping"])
def test_search_finds_functions(browser, name):
    open_page(browser, (SITE / "search.html").as_uri() + f"?q={name}")
    wait_until(browser, "document.querySelectorAll('#search-results li a').length > 0")
    links = browser.find_elements(By.CSS_SELECTOR, "#search-results li a")
    found = [link.get_attribute("href").rpartition("/")[2] for link in links[:5]]
    assert any(page.split(".html")[0].endswith(f".{name}") for page in found), found
    assert faults(browser) == []


WAYS = {
    "the closed form of merged attention and its function": (
        "reference.html",
        "reference/linear-attention.html",
        "reference/theory.linear_attention.aligned_amplitudes.html",
    ),
    "comparing a run of one's own": ("compare-your-own-run.html",),
    "which statements of the paper do not hold": (
        "explanation.html",
        "papers/zhang2025.html",
    ),
}
"""What a newcomer looks for → the pages on the way from the landing page: one click each, three at most."""


@pytest.mark.parametrize("sought", WAYS)
def test_a_newcomer_finds_it_in_three_clicks(browser, sought):
    open_page(browser, SITE / "index.html")
    assert len(WAYS[sought]) <= 3
    for page in WAYS[sought]:
        links = browser.find_elements(By.CSS_SELECTOR, "main a, .bd-header a")
        target = (SITE / page).as_uri()
        (link, *_) = [
            each
            for each in links
            if (each.get_attribute("href") or "").split("#")[0] == target
            and each.is_displayed()
        ]
        browser.execute_script("arguments[0].click()", link)
        wait_until(browser, f"location.href.split('#')[0] == {target!r}")


def test_code_that_is_a_name_leads_to_its_page(browser):
    open_page(browser, SITE / "theory.html")
    links = browser.find_elements(By.CSS_SELECTOR, "article a > code")
    assert len(links) >= 25


def test_code_is_copied_without_its_prompts_and_its_output(browser):
    open_page(browser, SITE / "tutorial.html")
    browser.execute_script(
        "document.addEventListener('copy', e => { window.copied = e.target.value }, true)"
    )
    (button, *_) = browser.find_elements(By.CSS_SELECTOR, "button.copybtn")
    shown = button.find_element(By.XPATH, "..").text
    assert ">>> import numpy as np" in shown
    # A browser copies for a person who clicks, and not for a script that does.
    ActionChains(browser).move_to_element(button).click().perform()
    wait_until(browser, "window.copied !== undefined")
    copied = browser.execute_script("return window.copied")
    code = [line[4:] for line in shown.splitlines() if line[:4] in (">>> ", "... ")]
    assert copied.splitlines() == code
    assert len(code) < len(shown.splitlines())
    wait_until(browser, "document.querySelector('button.copybtn.success') !== null")
