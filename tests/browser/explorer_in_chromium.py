"""The explorer in headless Chromium: `make test-browser`. How soon a curve follows a slider, what the page asks for.

The name of this file keeps it out of `make test`, whose machines need no browser.
"""

import base64
import gzip
import json
import re
import statistics
import subprocess
import sys
import time
from functools import cache
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.by import By

from attndyn.explore import all_tabs
from attndyn.explore.stored import combinations, stored_page

WIDTHS = (1280, 400)
THEMES = ("light", "dark")
TABS = [tab.name for tab in all_tabs()]

MOVES = 20
MEDIAN = 200
"""Milliseconds from a slider to the curve that is drawn of it, at the median."""

FIRST_PICTURE = 2000
"""Milliseconds from asking for the page to its first curve."""


@pytest.fixture(scope="module")
def address():
    """The explorer, served by a process of its own, warmed up."""
    command = [sys.executable, "-m", "attndyn", "explore", "--no-browser", "--port=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().split()[4]
    process.kill()
    process.communicate()


def shown(driver, address, width=1280, theme="light", height=900):
    """Opens a page anew at a width and in a theme, and waits for its first full picture."""
    metrics = {
        "width": width,
        "height": height,
        "deviceScaleFactor": 1,
        "mobile": False,
    }
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": theme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get("about:blank")
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    start = time.monotonic()
    driver.get(address)
    wait(driver, "return window.latencies.length > 0")
    first = 1000 * (time.monotonic() - start)
    wait(driver, "return window.latencies.some((each) => each.parts.length > 1)")
    return first


def wait(driver, script, seconds=30):
    end = time.monotonic() + seconds
    while not driver.execute_script(script):
        assert time.monotonic() < end, script
        time.sleep(0.01)


def move(driver, name, index):
    """Moves a slider as a hand does, and lets go of it later."""
    script = """
      const input = document.querySelector(`input[name="${arguments[0]}"]`);
      input.value = arguments[1];
      input.dispatchEvent(new Event("input", { bubbles: true }));
    """
    driver.execute_script(script, name, index)


def complaints(driver):
    return [entry["message"] for entry in driver.get_log("browser")]


def requested(driver):
    """Every address that the page has asked for."""
    messages = [
        json.loads(entry["message"])["message"]
        for entry in driver.get_log("performance")
    ]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def test_the_first_picture_comes_soon(browser, address):
    shown(browser, address)
    first = shown(browser, address)
    print(f"first picture after {first:.0f} ms")
    assert first < FIRST_PICTURE


def test_a_curve_follows_its_slider(browser, address):
    """On an unloaded machine: that of the tests computes and draws on two cores."""
    shown(browser, f"{address}#tab=linear_attention")
    moves = [("seed", k) for k in (2, 3, 4, 5, 6)]
    moves += [("scale", k) for k in (8, 6, 5, 8, 7)]
    moves += [("rate", k) for k in (6, 4, 5, 6, 5)]
    moves += [("eigenvalues-1", k) for k in (4, 6, 5, 7, 9)]
    drawn = []
    for name, place in moves:
        before = browser.execute_script("return window.latencies.length")
        move(browser, name, place)
        wait(browser, f"return window.latencies.length > {before}")
        latest = browser.execute_script(f"return window.latencies[{before}]")
        drawn.append(latest["milliseconds"])
        assert latest["moving"]
        # The next move comes when this one has come to rest.
        wait(
            browser,
            "return !window.latencies.at(-1).moving && window.latencies.at(-1).parts.length > 1",
        )
    print(
        f"{MOVES} moves: median {statistics.median(drawn):.0f} ms, largest {max(drawn):.0f} ms"
    )
    assert len(drawn) == MOVES
    assert statistics.median(drawn) < MEDIAN
    assert complaints(browser) == []


def test_after_a_fast_drag_the_last_value_is_shown(browser, address):
    shown(browser, f"{address}#tab=linear_attention")
    for k in range(120):
        move(browser, "scale", 5 + k % 4)
    move(browser, "scale", 6)
    wait(
        browser,
        "return !window.latencies.at(-1).moving && window.latencies.at(-1).parts.length > 1",
    )
    count = browser.execute_script("return window.latencies.length")
    last = browser.execute_script("return window.latencies.at(-1)")
    code = browser.find_element(By.CSS_SELECTOR, ".python code").text
    assert last["settings"]["scale"] == 0.05
    assert "scale=0.05" in code
    assert "scale=0.05" in browser.current_url
    print(f"{count} pictures of 121 moves")
    assert count < 121


def test_the_state_is_in_the_address(browser, address):
    state = "#tab=linear_attention&model=merged&eigenvalues=5,1&seed=4"
    shown(browser, address + state)
    settings = browser.execute_script("return window.latencies.at(-1).settings")
    assert settings["model"] == "merged"
    assert settings["seed"] == 4
    assert settings["eigenvalues"] == [5, 1]
    assert settings["rate"] == 0.05
    assert browser.execute_script("return location.hash") == state
    assert (
        "Merged(heads=5)" in browser.find_element(By.CSS_SELECTOR, ".python code").text
    )


def test_a_value_out_of_bounds_is_answered_in_a_sentence(browser, address):
    browser.get("about:blank")
    browser.get(f"{address}#tab=linear_attention&seed=99")
    wait(browser, "return document.querySelector('.status').textContent !== ''")
    status = browser.find_element(By.CSS_SELECTOR, ".status")
    assert status.text == "seed must be a whole number from 0 to 30, not 99"
    browser.get_log("browser")


def test_an_unstable_run_is_named(browser, address):
    shown(browser, f"{address}#tab=linear_attention&rate=20")
    status = browser.find_element(By.CSS_SELECTOR, ".status").text
    assert status.startswith("Gradient descent is unstable at learning rate 20:")
    assert "it is stable" in status


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("tab", TABS)
def test_a_tab_fits_and_asks_for_nothing_elsewhere(browser, address, tab, width, theme):
    shown(browser, f"{address}#tab={tab}", width, theme)
    # Nothing scrolls sideways but tables and code.
    wide = "return document.documentElement.scrollWidth"
    assert browser.execute_script(wide) == width
    assert (
        browser.execute_script("return document.documentElement.dataset.theme") == theme
    )
    assert complaints(browser) == []
    asked = requested(browser)
    hosts = {
        urlsplit(url).hostname
        for url in asked
        if not url.startswith(("data:", "about:"))
    }
    assert hosts == {"127.0.0.1"}
    # Every input has a name that is read aloud.
    unnamed = """return [...document.querySelectorAll("input")].filter(
      (input) => !input.labels.length && !input.ariaLabel).length"""
    assert browser.execute_script(unnamed) == 0


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The path of the stored page of a tab, written when it is first asked for."""
    folder = tmp_path_factory.mktemp("stored")

    @cache
    def path_of(name):
        (page,) = [tab for tab in all_tabs() if tab.name == name]
        path = folder / f"{name}.html"
        path.write_text(stored_page(page, all_tabs()), encoding="utf-8")
        return path

    return path_of


@pytest.mark.parametrize("tab", TABS)
def test_a_stored_page_opens_from_disk(browser, stored, tab):
    path = stored(tab)
    assert path.stat().st_size < 2_500_000
    shown(browser, path.as_uri())
    page = all_tabs()[TABS.index(tab)]
    grid = page.stored[0]
    name = next(
        name
        for name in grid
        if browser.find_elements(By.NAME, name) and len(grid[name]) > 1
    )
    last = len(grid[name]) - 1
    before = browser.execute_script("return window.latencies.length")
    move(browser, name, last)
    wait(browser, f"return window.latencies.length > {before}")
    latest = browser.execute_script("return window.latencies.at(-1)")
    assert latest["settings"][name] == grid[name][last]
    assert latest["milliseconds"] < MEDIAN
    assert complaints(browser) == []
    asked = [
        url for url in requested(browser) if not url.startswith(("data:", "about:"))
    ]
    assert {urlsplit(url).scheme for url in asked} == {"file"}


@pytest.mark.parametrize("tab", TABS)
def test_ten_answers_of_a_stored_page_are_those_of_respond(stored, tab):
    path = stored(tab)
    (packed,) = re.findall(
        r'id="stored-answers">([^<]*)</script>', path.read_text("utf-8")
    )
    grids = json.loads(gzip.decompress(base64.b64decode(packed)))
    page = all_tabs()[TABS.index(tab)]
    answers = [answer for grid in grids for answer in grid]
    settings = [given for grid in page.stored for given in combinations(grid)]
    assert len(answers) == len(settings)
    for index in range(0, len(settings), max(1, len(settings) // 10)):
        for part in page.parts:
            answers[index][part].pop("python", None)
            assert answers[index][part] == page.respond(settings[index], part)


@pytest.mark.parametrize("tab", TABS)
def test_a_stored_page_is_the_same_each_time(stored, tab):
    page = all_tabs()[TABS.index(tab)]
    again = stored_page(page, all_tabs())
    assert stored(tab).read_text(encoding="utf-8") == again
