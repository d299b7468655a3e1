"""The benchmarks on made-up times: ratios, exponents and verdicts are right, and a wrong one would show."""

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def suite():
    """The modules that need no peer: benchmarks stand beside the package, not in it."""
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks import (
            growth,
            page,
            ridge_fits,
            softmax_losses,
            speedups,
            timing,
        )
    finally:
        sys.path.remove(str(ROOT))
    return {
        "growth": growth,
        "page": page,
        "timing": timing,
        "speedups": speedups,
        "softmax_losses": softmax_losses,
        "ridge_fits": ridge_fits,
    }


def times(**medians):
    """Five rounds that scatter about each median, one of them far off."""
    return {
        name.replace("_", " "): {
            "cold": 9.0,
            "seconds": [0.9 * value, value, 1.1 * value, 50 * value, value],
        }
        for name, value in medians.items()
    }


def test_cases_take_turns_after_a_first_call(suite):
    calls = []
    cases = {name: (2, lambda name=name: calls.append(name)) for name in "ab"}
    found = suite["timing"].alternating(cases, rounds=3)
    assert calls == list("ab" * 4)
    assert [len(each["seconds"]) for each in found.values()] == [3, 3]
    known = suite["timing"].alternating(cases, rounds=1, cold={"a": 7.0})
    assert known["a"]["cold"] == 7.0


def test_a_ratio_is_one_of_medians(suite):
    found = times(slow=6.0, fast=2.0)
    assert suite["timing"].ratio(found, "slow", "fast") == pytest.approx(3.0)
    mean = sum(found["slow"]["seconds"]) / sum(found["fast"]["seconds"][:3])
    assert mean != pytest.approx(3.0)  # control: one slow moment would decide it


@pytest.mark.parametrize("power", [0.0, 1.0, 6.0])
def test_an_exponent_is_that_of_a_power_law(suite, power):
    sizes = [4.0, 8.0, 16.0]
    fitted = suite["timing"].exponent(sizes, [3e-6 * size**power for size in sizes])
    assert fitted == pytest.approx(power, abs=1e-9)
    assert fitted != pytest.approx(power + 1, abs=0.5)


def test_goals_are_those_of_the_faster_precision(suite):
    page = suite["page"]
    peers = {
        "attndyn, statistics": 1.0,
        "PyTorch, all rows, eager, float64": 30_000.0,
        "PyTorch, all rows, eager, float32": 20_000.0,
        "PyTorch, query row, eager, float32": 1_500.0,
        "JAX jit + scan, query row, float32": 400.0,
    }
    each = {
        name: {"cold": 1.0, "seconds": [value] * 5} for name, value in peers.items()
    }
    shown = page.goals({"separate": each, "merged": each})
    assert (
        "| separate, rank 1 | all rows | 10,000 × | 20,000 × | 20,000 × | reached |"
        in shown
    )
    assert (
        "| separate, rank 1 | query row, eager | 2,000 × | 1,500 × | 1,500 × | **missed** |"
        in shown
    )
    assert "| merged | fastest compiled | 10 × | 400 × | 400 × | reached |" in shown


def test_a_peer_that_wins_is_said_to(suite):
    page = suite["page"]
    found = {
        "P = 5: attndyn, tokens": {"cold": 1.0, "seconds": [2.0] * 5},
        "P = 5: JAX": {"cold": 1.0, "seconds": [1.0] * 5},
        "P = 5: PyTorch": {"cold": 1.0, "seconds": [3.0] * 5},
    }
    lines = page.softmax(found).splitlines()
    assert any("JAX" in line and "**the peer is faster**" in line for line in lines)
    assert any("PyTorch" in line and "ours is faster" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (2.5, "2.5 s"),
        (0.012, "12 ms"),
        (3.2e-6, "3.2 µs"),
        (4e-8, "0.04 µs"),
        (54_321.0, "54,321 s"),
    ],
)
def test_times_are_shown_in_their_unit(suite, seconds, shown):
    assert suite["page"].quantity(seconds) == shown


def test_growth_is_asked_of_sizes_that_can_tell(suite):
    for values, expected, why in suite["growth"].SWEEPS.values():
        assert max(values) >= 1.7 * min(values)
        assert expected >= 0
        assert why


def test_every_win_of_a_peer_is_listed(suite):
    def one(value):
        return {"cold": 1.0, "seconds": [value] * 5}

    found = {
        "merged": {
            "attndyn, statistics": one(1.0),
            "attndyn, tokens": one(0.5),
            "JAX": one(0.25),
            "PyTorch": one(2.0),
        },
        "closed_forms": {
            "attndyn": one(1.0),
            "mpmath": one(9.0),
            "10⁶ inversions": one(0.1),
        },
        "full_flow": {
            "saddle: DOP853": one(2.0),
            "saddle: LSODA": one(1.0),
            "rest: DOP853": one(1.0),
            "rest: LSODA": one(9.0),
        },
    }
    lines = [
        line
        for line in suite["speedups"].wins(found).splitlines()
        if line.startswith("- ")
    ]
    assert lines == [
        "- merged: JAX, in 0.25 of our time.",
        "- merged, on tokens: JAX, in 0.50 of our time.",
        "- full flow, saddle: LSODA, in 0.50 of our time.",
    ]
    found["merged"]["JAX"] = one(4.0)  # control: a slower peer is not listed
    assert "JAX" not in suite["speedups"].wins(found)


def test_a_page_of_some_groups_names_the_others(suite):
    found = {
        "process": {
            "10,001 steps": {"cold": 2.0, "seconds": [1.0] * 5},
            "MiB": {"cold": 0.0, "seconds": [70.0]},
        }
    }
    shown = suite["page"].page(found, ["softmax"])
    assert "## Whole processes" in shown
    assert "not shown: softmax." in shown
    assert "## Floors" not in shown
    assert "Not measured" not in suite["page"].page(found)


def test_any_one_group_makes_a_page(suite):
    groups = ("full_block", "reduced_flow", "softmax", "merged", "closed_forms")
    for group in (*groups, "fresh_prompts"):
        assert suite["page"].page({group: {}}).startswith("# Benchmarks")


def test_errors_are_compared_at_equal_time(suite):
    losses = suite["softmax_losses"]
    found = times(**{"loss": 0.01, losses.SAMPLED.replace(" ", "_"): 1.0})
    found |= {
        "error": {"cold": 0.0, "seconds": [1e-10]},
        "standard error": {"cold": 0.0, "seconds": [0.02]},
    }
    # A hundredth of the time leaves a hundredth of the prompts, whose error is ten times as large.
    assert losses.prompts_at_equal_time(found) == pytest.approx(100)
    assert losses.ratio_of_errors(found) == pytest.approx(2e9)
    found |= times(
        **{name.replace(" ", "_"): 0.01 for name in (losses.SHORT, losses.LONG)}
    )
    shown = suite["page"].losses_of_heads({"softmax_losses": found})
    assert "| loss | 10 ms | 9 ms | 10 ms | reached | 1.0e-10 |" in shown
    assert "100 prompts are drawn and averaged" in shown
    assert "2.0e+09 times that of the quadrature" in shown
    assert "1.00 times as long" in shown


def test_the_prompts_of_the_average_have_the_loss_of_the_quadrature(suite):
    import numpy as np

    losses = suite["softmax_losses"]
    squares = losses.squared_errors(np.random.default_rng(1), 20_000)
    exact = float(losses.exact_loss(losses.TASK, losses.OMEGA, losses.MU))
    standard_error = squares.std() / len(squares) ** 0.5
    assert abs(squares.mean() - exact) < 4 * standard_error
    # The query's own token as a key is 12 % away, which so many prompts see.
    other = losses.exact_loss(losses.TASK, losses.OMEGA, losses.MU, query_token=True)
    assert abs(squares.mean() - float(other)) > 4 * standard_error


def test_goals_of_fresh_prompts_are_those_of_the_fastest_rounds(suite):
    page = suite["page"]
    step, small = page.OUR_STEP, f"{page.SMALL}: {page.OUR_STEP}"
    seconds = {
        step: [2e-3, 9e-3],
        page.EAGER: [3e-3, 5e-3],  # a ratio of medians would be below 1
        small: [1e-3, 8e-3],
        f"{page.SMALL}: {page.DRAWING}": [6e-4, 7e-4],
    }
    times = {name: {"cold": 1.0, "seconds": each} for name, each in seconds.items()}
    shown = [row[1:] for row in page.fresh_goals(times)]
    assert shown == [
        ("2 ms", "at most 3 ms", "reached"),
        ("1.50 ×", "more than 1 ×", "reached"),
        ("0.60", "at most 0.5", "**missed**"),
    ]


def test_ridge_fits_are_compared_in_the_ratio_of_medians(suite):
    fits = suite["ridge_fits"]
    found = {
        fits.OURS: {"cold": 9.0, "seconds": [1.2, 1.2, 2.4]},
        fits.PLAIN: {"cold": 9.0, "seconds": [18.0, 24.0, 18.0]},
        fits.DEVIATION: {"cold": 0.0, "seconds": [1.04]},
    }
    shown = suite["page"].fits({"ridge_fits": found})
    assert "| attndyn | 12 s | 100 ms | 1 × |" in shown
    assert "| 15.0 × | at least 10 × | reached |" in shown
    assert "differ by 1.04 standard errors" in shown
    found[fits.PLAIN]["seconds"] = [11.0] * 3
    assert "9.2 × | at least 10 × | **missed** |" in suite["page"].fits(
        {"ridge_fits": found}
    )


def test_deviations_of_equal_laws_are_about_one(suite):
    import numpy as np

    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 10, 200, 2))
    fits = suite["ridge_fits"]
    assert 0.95 < fits.rms_deviation(one, other) < 1.2
    assert fits.rms_deviation(one, other + 2) > 3


def test_both_ways_of_a_ridge_fit_have_one_law(suite, monkeypatch):
    import numpy as np

    fits = suite["ridge_fits"]
    for name, value in {"D": 6, "N": 12, "SEQUENCES": 120}.items():
        monkeypatch.setattr(fits, name, value)
    errors = [
        np.array([fit(8, seed) for seed in range(100)])[:, None]
        for fit in (fits.ours, fits.plain)
    ]
    assert fits.rms_deviation(*errors) < 3
    monkeypatch.setattr(fits, "N", 24)
    other = np.array([fits.plain(8, seed) for seed in range(100)])[:, None]
    assert fits.rms_deviation(errors[0], other) > 3
