"""Each example of a published setting prints the number that was published, within what its steps allow."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "published"
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What an example prints, line by line; none runs twice."""
    folder = tmp_path_factory.mktemp("published")
    return cache(lambda name, *arguments: lines_of(name, folder, *arguments))


def lines_of(name, folder, *arguments):
    """What an example prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *arguments],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def numbers(line):
    return [float(text) for text in NUMBER.findall(line)]


def test_every_example_has_a_test():
    source = Path(__file__).read_text(encoding="utf-8")
    for script in FOLDER.glob("*.py"):
        assert f'"{script.stem}"' in source


@pytest.mark.parametrize("name", ["garg", "von_oswald", "mainali"])
def test_the_published_number_is_met_to_its_last_digit(name, printed):
    line = printed(name)[0]
    published, here = re.search(r"published (\S+), here (\S+)", line).groups()
    assert float(published) == float(here)


def test_lu_meets_the_published_gaps_and_the_limit_does_not(printed):
    rows = np.array([numbers(line) for line in printed("lu")[1:]])
    published, here, error, equivalent, limit = rows.T
    # Published means have the scatter of as many data sets.
    scatter = np.hypot(error, error)
    assert np.all(np.abs(here - published) < 4 * scatter)
    assert np.all(np.abs(equivalent - published) < 4 * scatter)
    assert np.all(np.abs(limit - published)[:4] > 4 * error[:4])


def test_garg_descends_to_the_least_error(printed):
    least, reached = numbers(" ".join(printed("garg")))[1:3]
    assert least < reached < least + 0.02


def test_ahn_learns_the_preconditioner(printed):
    theory, trained = (numbers(line)[-1] for line in printed("ahn"))
    assert theory < 1e-12
    assert trained < 1e-8


def test_raventos_orders_the_estimators(printed):
    lines = printed("raventos")
    errors = [numbers(line)[-1] for line in lines if ":" in line]
    ridge_on_pool, posterior_on_pool, trained_on_pool = errors[:3]
    ridge_on_fresh, posterior_on_fresh, trained_on_fresh = errors[3:]
    assert posterior_on_pool < ridge_on_pool < trained_on_pool
    assert ridge_on_fresh < trained_on_fresh < posterior_on_fresh


def test_he_comes_near_the_published_loss_in_fewer_steps(printed):
    line = printed("he", "800")[0]
    loss = numbers(line)[-1]
    # Labels of variance 1.1: without learning the loss is 1.1, and the least of two heads is 0.243.
    assert 0.243 < loss < 0.252


def test_chen_learns_three_tasks(printed):
    loss = numbers(printed("chen", "500")[0])[-1]
    assert 0 < loss < 0.7


def test_softmax_over_all_lengths_is_replayed(printed):
    assert numbers(printed("all_lengths")[-1])[-1] < 2e-6
