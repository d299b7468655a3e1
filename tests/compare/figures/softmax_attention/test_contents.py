"""What figures of softmax heads show: the numbers of their curves, against values known elsewhere."""

import numpy as np
import pytest

from attndyn.compare.evidence.claim import RunContext
from attndyn.compare.figures import all_figures
from attndyn.compare.figures.softmax_attention.balanced_flow import emergence_time
from attndyn.compare.figures.softmax_attention.loss_landscapes import (
    OMEGA,
    parabolas,
)
from attndyn.compare.figures.style import paper_style
from attndyn.theory.softmax_attention import exact_loss


@pytest.fixture
def drawn(tmp_path):
    """Draws a figure by name."""

    def draw(name):
        with paper_style():
            return all_figures()[name](RunContext(tmp_path))

    return draw


def test_the_map_of_the_loss_is_the_exact_loss_with_its_valley():
    columns = parabolas(exact_loss)
    place = int(np.argmin(np.abs(OMEGA - 0.13)))
    a, b = columns.a[place], columns.b[place]
    assert columns.zero - 2 * 3.45 * a + 3.45**2 * b == pytest.approx(
        0.243243638479, abs=1e-9
    )
    assert columns.valley()[place - 1] == pytest.approx(3.391, abs=1e-3)


def test_the_star_of_the_map_is_the_optimum_of_two_heads(drawn):
    exact_ax = drawn("softmax_landscape").get_axes()[1]
    (star,) = [line for line in exact_ax.get_lines() if line.get_marker() == "*"]
    assert star.get_xdata()[0] == pytest.approx(0.0713, abs=1e-4)
    assert star.get_ydata()[0] == pytest.approx(6.18, abs=0.02)


def test_the_balanced_flow_emerges_when_its_warm_up_ends(drawn):
    loss_ax = drawn("balanced_phases").get_axes()[0]
    curve = loss_ax.get_lines()[0]
    times, losses = curve.get_xdata(), curve.get_ydata()
    middle = times[np.argmax(losses < (losses[0] + losses[-1]) / 2)]
    assert middle == pytest.approx(emergence_time(), rel=0.1)
    assert losses[-1] == pytest.approx(0.372073, abs=1e-5)


def test_three_heads_reach_the_infimum_of_two_tasks(drawn):
    axes = drawn("softmax_superposition").get_axes()
    losses = axes[-1].get_lines()[0].get_ydata()
    assert losses == pytest.approx([0.366036, 0.219450, 0.183969, 0.183969], abs=1e-5)
    shown = [float(text.get_text()) for text in axes[1].texts]
    # Two heads share both tasks alike, and each row adds up to the step of its task.
    assert shown == pytest.approx([0.44] * 4, abs=0.011)
