"""The scale of an aligned start, fitted to the first drop of a run and to nothing else."""

import re

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.compare import fitted_scale
from attndyn.simulate import external_run
from attndyn.theory import time_course

TASK = Task([4, 3, 2, 1], trace=1.0, context_length=31)
STEPS = np.arange(0, 20_000, 10)


def logged(model, scale, factor=1.0, noise=0.0, **options):
    """The losses of the theory's own curve as a log."""
    curve = time_course(TASK, model, 0.4 * STEPS, scale)
    noisy = curve.loss * (
        1 + noise * np.random.default_rng(0).standard_normal(len(STEPS))
    )
    return external_run(
        factor * noisy,
        step=STEPS,
        learning_rate=0.2 / options.get("loss_scale", 1),
        **options,
    )


@pytest.mark.parametrize(
    "model", [Separate(4), Separate(2, rank=2), Merged(2)], ids=str
)
@pytest.mark.parametrize("scale", [0.01, 0.04, 0.2])
def test_the_scale_of_a_curve_is_found(model, scale):
    assert fitted_scale(TASK, model, logged(model, scale)) == pytest.approx(
        scale, rel=0.02
    )


def test_noise_and_another_convention_hardly_change_it():
    model = Separate(4)
    noisy = fitted_scale(TASK, model, logged(model, 0.04, noise=0.01))
    assert noisy == pytest.approx(0.04, rel=0.05)
    halved = logged(model, 0.04, factor=0.5, loss_scale=0.5)
    assert fitted_scale(TASK, model, halved) == pytest.approx(0.04, rel=0.02)


def test_later_drops_do_not_count():
    model = Separate(4)
    run = logged(model, 0.04)
    whole = fitted_scale(TASK, model, run)
    cut = run.loss >= 0.7
    assert (
        fitted_scale(
            TASK, model, external_run(run.loss[cut], step=STEPS[cut], learning_rate=0.2)
        )
        == whole
    )


WRONG = {
    "the run never drops to 0.8203": lambda: external_run(
        [1.0] * 50, learning_rate=0.1
    ),
    "the run begins at loss 0.5, below the middle of the first drop": lambda: (
        external_run(np.linspace(0.5, 0.1, 50), learning_rate=0.1)
    ),
    "the run never drops to 0.8203, the middle of the first drop from 1": lambda: (
        external_run(np.linspace(256, 30, 50), learning_rate=0.1)
    ),
    "needs a run of two losses": lambda: external_run([1.0], learning_rate=0.1),
    "the learning rate of this run is not known": lambda: external_run([1.0, 0.5]),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_run_without_its_first_drop_is_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        fitted_scale(TASK, Separate(4), WRONG[message]())
    assert "\n" not in str(error.value)


def test_a_drop_earlier_or_later_than_from_any_start_is_refused():
    tiny = Task(
        [2, 1], trace=1e-6, context_length=31
    )  # its weights are in the hundreds
    levels = 1e-6 * np.array([1.0, 0.1, 0.1])
    early = external_run(levels, learning_rate=1e-3)
    with pytest.raises(ValueError, match="from no start does the theory drop as early"):
        fitted_scale(tiny, Separate(2), early)
    late = external_run([1.0, 0.99, 0.1], step=[0, 10**9, 2 * 10**9], learning_rate=1e3)
    with pytest.raises(ValueError, match="the run drops later than from any start"):
        fitted_scale(TASK, Merged(2), late)
