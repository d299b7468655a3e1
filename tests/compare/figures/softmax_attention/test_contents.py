"""What figures of softmax heads show: the numbers of their curves, against values known elsewhere."""

import numpy as np
import pytest

from attndyn.compare.claims.softmax_attention import trained_tasks
from attndyn.compare.evidence.claim import RunContext
from attndyn.compare.figures import all_figures
from attndyn.compare.figures.softmax_attention import published_training, trap_maps
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


def test_the_loads_are_those_of_trained_heads(drawn, monkeypatch):
    steps = {"TOKEN_STEPS": 20, "BATCH": 16}
    for name, value in steps.items():
        monkeypatch.setattr(trained_tasks, name, value)
    axes = drawn("softmax_superposition").get_axes()
    trained, least = [line.get_ydata() for line in axes[-1].get_lines()[:2]]
    # Three heads reach the infimum of the approximate loss; these have hardly been trained.
    assert least == pytest.approx([0.366036, 0.219450, 0.183969, 0.183969], abs=1e-5)
    assert np.all(np.abs(trained - 1.1) < 0.5)
    run = trained_tasks.experiments(2, 1, 0)[0].run()
    ω, μ = trained_tasks.trained_heads(run)
    shown = [float(text.get_text()) for text in axes[1].texts]
    # Task t: Σ_d μ_ht ω_hd/4 over its four coordinates.
    first, second = μ[:, 0] * ω[:, :4].mean(axis=1), μ[:, 1] * ω[:, 2:].mean(axis=1)
    assert shown == pytest.approx([*first, *second], abs=0.0051)


def test_the_map_of_the_trap_parts_starts_of_one_sign():
    ratio = trap_maps._parting_ratio(0.01)
    assert 0.3 < ratio < 0.45
    for share, is_trapped in ((0.9, False), (1.1, True)):
        start = np.array([0.01, share * ratio * 0.01])
        assert trap_maps._ends_trapped(start) is is_trapped


def test_published_training_is_shown_over_its_steps(drawn, monkeypatch):
    settings = {"STEPS": 100, "BATCH": 16, "HEADS": (2,), "RECORD": 50}
    for name, value in settings.items():
        monkeypatch.setattr(published_training, name, value)
    loss_ax, ω_ax, μ_ax = drawn("softmax_published_training").get_axes()
    curve, *levels = loss_ax.get_lines()
    assert curve.get_xdata() == pytest.approx([25, 75])
    values = [line.get_ydata()[0] for line in levels]
    assert values == pytest.approx([0.403963, 0.242824], abs=1e-6)
    run = published_training.experiment(2, 0).run()
    assert curve.get_ydata()[0] == pytest.approx(np.mean(run.loss[:50]))
    a, B = published_training.model(2).heads(run.final)
    ω = np.einsum("hdd->h", B[:, :5]) / 5 / np.sqrt(6)
    assert [line.get_ydata()[-1] for line in ω_ax.get_lines()] == pytest.approx(ω)
    assert [line.get_ydata()[-1] for line in μ_ax.get_lines()] == pytest.approx(
        a[:, -1]
    )
