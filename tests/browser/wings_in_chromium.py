"""The wings' tabs of the explorer in headless Chromium, and their dear scripts in Python: `make test-browser`."""

import statistics

import numpy as np
import pytest
from selenium.webdriver.common.by import By

from attndyn.explore import all_tabs
from tests.browser.explorer_in_chromium import (
    MEDIAN,
    address,
    complaints,
    move,
    shown,
    wait,
)

__all__ = ["address"]

MOVES = {
    "softmax_attention": [
        *(("size", k) for k in (5, 6, 4, 3, 2, 4)),
        *(("until", k) for k in (3, 5, 2, 4)),
        *(("noise", k) for k in (3, 5, 2, 4)),
        *(("context", k) for k in (3, 2, 1, 3, 2)),
    ],
    "linear_transformer": [
        *(("inputs-1", k) for k in (7, 9, 8, 10, 8)),
        *(("context", k) for k in (5, 8, 9, 6, 4)),
        *(("noise", k) for k in (1, 3, 5, 2, 0)),
        *(("seed", k) for k in (1, 2, 3, 4, 5)),
    ],
    "asymptotics": [
        *(("tau", k) for k in (4, 6, 7, 8, 5)),
        *(("kappa", k) for k in (3, 5, 6, 4, 2)),
        *(("noise", k) for k in (5, 6, 3, 4, 2)),
        *(("ridge", k) for k in (1, 3, 5, 2, 0)),
    ],
}


def status(driver):
    return driver.find_element(By.CSS_SELECTOR, ".status").text


def complete(driver, address, tab, more=""):
    """Opens a tab and waits for all its parts at rest."""
    shown(driver, f"{address}#tab={tab}{more}")
    parts = len(next(each for each in all_tabs() if each.name == tab).parts)
    wait(
        driver,
        "const last = window.latencies.at(-1);"
        f"return !last.moving && last.parts.length === {parts}",
        seconds=90,
    )


def shares_of_colours(driver, card):
    """How many colours the picture of a card has, of its pixels one in a hundred."""
    script = """
      const canvas = document.querySelectorAll(".place:not([hidden]) canvas.picture")[arguments[0]];
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const seen = new Set();
      for (let k = 0; k < data.length; k += 400) seen.add(data.slice(k, k + 4).join());
      return seen.size;
    """
    return driver.execute_script(script, card)


@pytest.mark.parametrize("tab", list(MOVES))
def test_a_curve_follows_its_slider(browser, address, tab):
    """On an unloaded machine: that of the tests computes and draws on two cores."""
    complete(browser, address, tab)
    drawn = []
    for name, place in MOVES[tab]:
        before = browser.execute_script("return window.latencies.length")
        move(browser, name, place)
        wait(browser, f"return window.latencies.length > {before}")
        drawn.append(
            browser.execute_script(f"return window.latencies[{before}].milliseconds")
        )
        wait(
            browser,
            "const last = window.latencies.at(-1);"
            "return !last.moving && last.parts.length > 1",
        )
    print(f"{tab}: median {statistics.median(drawn):.0f} ms, largest {max(drawn):.0f}")
    assert statistics.median(drawn) < MEDIAN
    assert complaints(browser) == []


def test_heads_of_one_sign_are_said_to_be_trapped(browser, address):
    complete(browser, address, "softmax_attention", "&start=one&until=1000")
    assert "trapped" in status(browser)
    title = browser.find_element(By.CSS_SELECTOR, ".place:not([hidden]) h2").text
    assert title.startswith("The exact loss of one head")
    complete(browser, address, "softmax_attention", "&until=1000")
    assert "trapped" not in status(browser)


def test_the_plane_has_contours_and_says_the_loss_below_the_pointer(browser, address):
    complete(browser, address, "softmax_attention")
    assert shares_of_colours(browser, 0) > 30
    script = """
      const canvas = document.querySelector(".place:not([hidden]) canvas.picture");
      const { left, top, width, height } = canvas.getBoundingClientRect();
      canvas.dispatchEvent(new MouseEvent("mousemove", { clientX: left + width * 0.7, clientY: top + height * 0.3 }));
      return document.querySelector(".place:not([hidden]) .note").textContent;
    """
    assert browser.execute_script(script).startswith("loss 0.")


@pytest.mark.parametrize(
    ("tab", "more"),
    [
        ("softmax_attention", "&rate=5&batch=10"),
        ("linear_transformer", "&rate=0.5"),
        ("linear_transformer", "&training=sgd&rate=0.2&batch=1"),
    ],
)
def test_a_run_that_diverged_is_named(browser, address, tab, more):
    complete(browser, address, tab, more)
    assert status(browser).startswith("The run diverged at the learning rate")
    assert complaints(browser) == []


def test_another_axis_is_another_chart_and_the_pole_is_named(browser, address):
    visible = """return [...document.querySelectorAll(".place:not([hidden]) .chart")]
      .filter((chart) => chart.offsetParent).map((chart) => chart.getAttribute("aria-label"))"""
    complete(browser, address, "asymptotics", "&over=kappa&tau=64")
    labels = browser.execute_script(visible)
    assert labels[0].startswith("Errors on new and on training tasks over tasks κ")
    assert len(labels) == 3
    complete(browser, address, "asymptotics", "&tau=1")
    assert "pole at tau = 1" in status(browser)
    assert complaints(browser) == []


def test_modes_can_be_added_and_made_alike(browser, address):
    complete(browser, address, "linear_transformer")
    buttons = browser.find_elements(By.CSS_SELECTOR, ".controls button")
    next(button for button in buttons if button.text == "+").click()
    wait(browser, "return window.latencies.at(-1).settings.inputs.length === 4")
    assert complaints(browser) == []


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"metric": "euclidean", "heads": 3, "start": "random", "seed": 1},
        {"start": "one", "until": 1e6, "noise": 0.0},
        {"dimension": 2, "context": 20, "size": 0.3, "until": 1e3},
    ],
)
def test_the_script_of_softmax_heads_gives_the_numbers_of_the_page(given):
    (tab,) = [tab for tab in all_tabs() if tab.name == "softmax_attention"]
    names = {}
    exec(tab.in_python(tab.settings(given)), names)
    answer = tab.respond(given, "flow") | tab.respond(given, "run")
    flow = names["flow"]
    assert np.allclose(answer["exact_loss"], flow.loss, atol=2e-6)
    assert answer["phases"]["trapped"] == flow.phases.trapped
    assert answer["phases"]["drop_time"] == pytest.approx(flow.phases.drop_time, 1e-4)
    assert np.allclose(answer["loss_of_prompts"], names["run"].loss, rtol=1e-6)
