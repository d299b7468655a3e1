"""Every script of the gallery, run as the site runs it: `make test-gallery`.

The name of this file keeps it out of `make test`: the build of the site stops at a script that fails as well.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import make_images  # noqa: E402

SECONDS = 2.0
"""Of processor time that a script may take, once its kernels are compiled."""


class Agreement(NamedTuple):
    """What the last printed number is between. The bound is about twice what was measured, the sample's noise."""

    least: float
    largest: float


AGREEMENTS = {
    "asymptotics/plot_double_descent.py": Agreement(0, 0.07),
    "asymptotics/plot_early_stopping.py": Agreement(0, 0.03),
    "asymptotics/plot_task_diversity.py": Agreement(0, 0.08),
    "checkpoints/plot_effective_rank.py": Agreement(0, 0.01),
    "derivations/plot_derivation.py": Agreement(0, 0.02),
    "derivations/plot_fixed_points.py": Agreement(0, 0.03),
    "linear_transformer/plot_modes.py": Agreement(0, 0.001),
    "linear_transformer/plot_sgd_floor.py": Agreement(0, 0.15),
    "merged/plot_in_context_in_weight.py": Agreement(0, 0.02),
    "merged/plot_one_drop.py": Agreement(0, 0.002),
    "separate/plot_oblique_teachers.py": Agreement(0, 0.006),
    "separate/plot_ranks.py": Agreement(0, 0.03),
    "separate/plot_regression_along_training.py": Agreement(0, 0.02),
    "separate/plot_staircase.py": Agreement(0, 0.013),
    "softmax/plot_growth_to_tail.py": Agreement(0, 0.04),
    "softmax/plot_shared_heads.py": Agreement(0, 0.05),
    "softmax/plot_trap.py": Agreement(0, 0.002),
    "training/plot_adam.py": Agreement(-0.001, 0.001),
    "training/plot_own_run.py": Agreement(0, 0.01),
    "training/plot_weight_decay.py": Agreement(0, 1e-5),
}


def last_number(output: str) -> float:
    """The number at the end of the last line, behind its colon."""
    return float(output.strip().splitlines()[-1].rsplit(": ", 1)[1])


def faults(script: Path, agreement: Agreement) -> Iterator[str]:
    """What is wrong with a script, which runs in the working folder: twice, as its kernels are compiled at first."""
    before = set(Path().iterdir())
    first, run = (make_images.run_script(script) for _ in range(2))
    if first.output != run.output:
        yield "it prints other numbers the second time"
    if min(first.seconds, run.seconds) > SECONDS:
        yield f"it takes {run.seconds:.1f} s"
    if set(Path().iterdir()) != before:
        yield "it leaves files"
    if not agreement.least <= last_number(run.output) <= agreement.largest:
        yield f"it ends in {last_number(run.output)}, which is not in {agreement}"
    if len(run.figures) != 1:
        yield f"it draws {len(run.figures)} figures"
    for ax in [ax for figure in run.figures for ax in figure.axes]:
        if not ax.get_ylabel() or not (ax.get_xlabel() or ax.get_xticklabels()):
            yield "an axis has no name"
        if "--" not in {line.get_linestyle() for line in ax.get_lines()}:
            yield "no line is dashed: theory is"


def test_each_script_has_its_agreement():
    assert list(AGREEMENTS) == make_images.scripts()


@pytest.mark.parametrize("script", AGREEMENTS)
def test_a_script_draws_one_figure_and_ends_in_agreement(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not list(faults(make_images.GALLERY / script, AGREEMENTS[script]))


FAULTY = """
from pathlib import Path
import matplotlib.pyplot as plt
fig, ax = plt.subplots()
ax.plot([0, 1], [0, 1])
Path("left").touch()
print("difference: 0.5")
"""


def test_a_faulty_script_is_found(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    script = tmp_path / "plot_faulty.py"
    script.write_text(FAULTY, encoding="utf-8")
    assert list(faults(script, Agreement(0, 0.1))) == [
        "it leaves files",
        "it ends in 0.5, which is not in Agreement(least=0, largest=0.1)",
        "an axis has no name",
        "no line is dashed: theory is",
    ]
