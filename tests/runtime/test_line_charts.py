"""Small charts for notebooks: valid XML in the colour of the page, whatever the values and the names are."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from attndyn.runtime.line_charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    SECTIONS,
    TOP,
    WIDTH,
    Line,
    LineChart,
)

TIMES = np.linspace(0.0, 100.0, 16_000)
LOSS = 0.1 + 0.9 / (1 + np.exp(TIMES - 50))
BOTTOM_EDGE = HEIGHT - BOTTOM
RIGHT_EDGE = WIDTH - RIGHT


def root(*lines, x="flow time", y="loss", caption=""):
    return ElementTree.fromstring(LineChart(lines, x, y, caption).as_svg())


def elements(svg, name):
    return svg.findall(f"{{http://www.w3.org/2000/svg}}{name}")


def texts(svg):
    return [element.text for element in elements(svg, "text")]


def paths(svg):
    """Points (n, 2) of each piece of the lines, in pixels; the frame and the legend are no lines."""
    drawn = [path.get("d") for path in elements(svg, "path") if "." in path.get("d")]
    pieces = [piece for path in drawn for piece in path.split("M")[1:] if "L" in piece]
    return [
        np.array([np.fromstring(p, sep=" ") for p in piece.split("L")])
        for piece in pieces
    ]


def test_a_line_goes_through_its_points():
    (points,) = paths(root(Line([3, 1, 2], [0.0, 4.0, 1.0])))
    height = BOTTOM_EDGE - TOP
    expected = [
        (LEFT, TOP),
        ((LEFT + RIGHT_EDGE) / 2, TOP + 0.75 * height),
        (RIGHT_EDGE, BOTTOM_EDGE),
    ]
    assert np.abs(points - expected).max() < 0.06


def test_another_place_would_be_seen():
    (points,) = paths(root(Line([1, 2, 3], [4.0, 1.1, 0.0])))
    assert abs(points[1, 1] - (TOP + 0.75 * (BOTTOM_EDGE - TOP))) > 1


def test_a_long_run_becomes_few_points_and_keeps_its_shape():
    (points,) = paths(root(Line(TIMES, LOSS)))
    assert len(points) <= 2 * SECTIONS + 2
    times = (points[:, 0] - LEFT) / (RIGHT_EDGE - LEFT) * 100
    heights = (BOTTOM_EDGE - points[:, 1]) / (BOTTOM_EDGE - TOP)
    span = LOSS.max() - LOSS.min()
    drawn = LOSS.min() + span * np.interp(TIMES, times, heights)
    assert np.abs(drawn - LOSS).max() < 0.05 * span


@pytest.mark.parametrize("place", [0, 1, 7777, 15_998, 15_999])
def test_no_peak_is_lost(place):
    values = np.ones(16_000)
    values[place] = 5.0
    (points,) = paths(root(Line(TIMES, values)))
    assert points[:, 1].min() == TOP


def test_axes_are_logarithmic_where_values_ask_for_it():
    times = np.concatenate([[0.0], np.geomspace(1e-3, 1e5, 300)])
    svg = root(Line(times, np.geomspace(1, 1e-9, 301), style="dashed"))
    (points,) = paths(svg)
    straight = np.interp(points[:, 0], [LEFT, RIGHT_EDGE], [TOP, BOTTOM_EDGE])
    assert np.abs(points[:, 1] - straight).max() < 0.2
    assert {"0.001", "100,000", "1e-9", "log"} <= set(texts(svg))
    assert any("without flow time 0" in text for text in texts(svg))


def test_axes_are_linear_elsewhere():
    for values in (LOSS, LOSS - 0.5, np.zeros(16_000)):
        assert "log" not in texts(root(Line(TIMES, values)))


@pytest.mark.parametrize(
    ("values", "pieces", "dots"),
    [
        ([1.0, 2.0, np.nan, 3.0, np.inf, 4.0, 5.0], 2, 1),
        ([np.nan, 2.0, 1.0, -np.inf], 1, 0),
        ([2.0], 0, 1),
        ([], 0, 0),
        ([np.nan, np.inf], 0, 0),
        ([-1.7e308, 0.0, 1.7e308], 1, 0),
        ([5e-324, 1e308], 1, 0),
    ],
)
def test_what_is_not_finite_breaks_the_line_and_is_counted(values, pieces, dots):
    svg = root(Line(np.arange(len(values)), values))
    assert len(paths(svg)) == pieces
    assert len(elements(svg, "circle")) == dots
    missing = int(np.sum(~np.isfinite(values)))
    said = [text for text in texts(svg) if "not finite" in text]
    assert said == (
        [f"flow time; {missing} of {len(values)} values not finite"] * (missing > 0)
    )
    assert ("no finite value" in texts(svg)) == (pieces == dots == 0)
    numbers = "".join(element.get("d", "") for element in svg)
    assert "nan" not in numbers
    assert "inf" not in numbers


def test_a_gap_of_a_long_run_stays_a_gap():
    values = LOSS.copy()
    values[8000:9000] = np.nan
    left, right = paths(root(Line(TIMES, values)))
    assert left[-1, 0] < right[0, 0] - 15


@pytest.mark.parametrize("text", ["<b>&\"'", "</svg><script>x</script>", "\x00\ud800"])
def test_text_of_any_kind_is_shown_as_it_is(text):
    line = Line([0, 1], [0.0, 1.0], text)
    chart = LineChart((line, line), text, text, text)
    svg = ElementTree.fromstring(chart.as_svg())
    assert [child.tag for child in svg.iter() if "script" in child.tag] == []
    shown = re.sub("[\x00\ud800]", "\ufffd", text)
    # Both axes, and the legend of both lines.
    assert texts(svg).count(shown) == 4


def test_no_more_lines_than_one_can_tell_apart():
    svg = root(*(Line([0, 1], [0.0, k], f"head {k}") for k in range(1, 21)))
    assert len(paths(svg)) == 12
    assert "flow time; 12 of 20 lines" in texts(svg)
    assert not any(text.startswith("head") for text in texts(svg))


def test_runs_are_solid_and_theory_is_dashed():
    svg = root(
        Line([0, 1], [0.0, 1.0], "run"), Line([0, 1], [0.0, 1.0], "theory", "dashed")
    )
    lines = [path for path in elements(svg, "path") if "L" in path.get("d")]
    assert [path.get("stroke-dasharray") for path in lines] == [None, "6 3"]
    assert {path.get("stroke") for path in elements(svg, "path")} == {"currentColor"}
    assert {"run", "theory"} <= set(texts(svg))


def test_ends_of_an_axis_are_told_apart():
    assert {"0.50001", "0.50002"} <= set(texts(root(Line([0, 1], [0.50001, 0.50002]))))


def test_a_line_with_values_missing_is_refused():
    with pytest.raises(ValueError, match="as many x as y, not 2 and 3"):
        root(Line([0, 1], [0.0, 1.0, 2.0]))
