"""The progress bar: in a terminal only, once it takes long, and gone at the end."""

import io
import sys
from types import SimpleNamespace

import pytest

from attndyn import Separate, Task
from attndyn.runtime.progress import with_progress, with_progress_and_rate
from attndyn.simulate import Diverged, initial_weights, sample, statistics, train
from attndyn.simulate.descent.gradient_descent import descend
from attndyn.simulate.descent.recorder import DescentOptions

TASK = Task([2, 1], trace=1.0, context_length=5)
MODEL = Separate(heads=2)
START = initial_weights(MODEL, TASK, 0.5, seed=1, scheme="gaussian")


def source(seed=0):
    return statistics(sample(TASK, 40, seed=seed), MODEL)


RULE = {"learning_rate": 0.05, "steps": 30, "record": 7}


class Terminal(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


def show(monkeypatch, terminal=True):
    """Standard error that is read here and says it is a terminal; a bar appears at once."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("attndyn.runtime.progress.PATIENCE", -1.0)
    screen = Terminal(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_a_bar_appears_in_a_terminal_and_goes_away(monkeypatch):
    screen = show(monkeypatch)
    train(MODEL, source(), START, **RULE)
    shown = screen.getvalue()
    assert "gradient descent" in shown
    assert "%" in shown
    assert (
        shown.count("\x1b[?25h") == shown.count("\x1b[?25l") == 1
    )  # the cursor comes back


def interrupt(weights):
    raise KeyboardInterrupt


def diverge(weights):
    return float("nan"), weights


@pytest.mark.parametrize(
    ("evaluate", "error"), [(diverge, Diverged), (interrupt, KeyboardInterrupt)]
)
def test_the_bar_goes_away_when_the_run_fails(monkeypatch, evaluate, error):
    screen = show(monkeypatch)
    with pytest.raises(error):
        descend(evaluate, START, DescentOptions(0.1, 10), {})
    shown = screen.getvalue()
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l") == 1


def test_a_quick_run_shows_no_bar_even_in_a_terminal(monkeypatch):
    screen = show(monkeypatch)
    monkeypatch.setattr("attndyn.runtime.progress.PATIENCE", 60.0)
    train(MODEL, source(), START, **RULE)
    assert screen.getvalue() == ""


def test_off_a_terminal_there_is_silence(monkeypatch):
    screen = show(monkeypatch, terminal=False)
    assert list(with_progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    assert screen.getvalue() == ""


def counting(monkeypatch, screen, seconds=10.0):
    """What `with_progress_and_rate` shows of three runs after two stored ones; the clock goes on by so much a run."""
    clock = iter(range(1000))
    monkeypatch.setattr(
        "attndyn.runtime.progress.time.monotonic", lambda: seconds * next(clock) / 2
    )
    assert list(with_progress_and_rate(iter("abc"), 5, 2, "sweep", "runs")) == [
        "a",
        "b",
        "c",
    ]
    return screen.getvalue()


def test_runs_are_counted_in_a_terminal(monkeypatch):
    shown = counting(monkeypatch, show(monkeypatch), 0.2)
    assert "sweep" in shown
    assert "5/5 runs" in shown
    assert "a second" in shown
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l") == 1


def test_runs_are_counted_in_lines_off_a_terminal(monkeypatch):
    lines = counting(monkeypatch, show(monkeypatch, terminal=False), 15.0).splitlines()
    assert lines[0].startswith("sweep: 3/5 runs, ")
    assert all(line.endswith("s left") and "a second" in line for line in lines)
    assert lines[-1].endswith(" 0 s left")


def test_a_quick_sweep_says_nothing_off_a_terminal(monkeypatch):
    assert counting(monkeypatch, show(monkeypatch, terminal=False), 0.1) == ""


def test_runs_are_counted_outside_their_own_bars(monkeypatch):
    screen = show(monkeypatch)
    for _ in with_progress_and_rate(iter("ab"), 2, 0, "sweep", "runs"):
        train(MODEL, source(), START, **RULE)
    assert "gradient descent" not in screen.getvalue()


class Cell:
    """What a notebook shows: the bundles of one display, one after another."""

    def __init__(self):
        self.shown, self.displays = [], 0

    def display(self, bundle, raw, display_id):
        self.displays += 1
        self.update(bundle, raw)
        return self

    def update(self, bundle, raw):
        assert raw
        self.shown.append(bundle)


def notebook(monkeypatch, kernel=True, patience=-1.0):
    """IPython as in a notebook, or as in a terminal if it has no kernel; a bar appears at once."""
    cell = Cell()
    shell = SimpleNamespace(kernel=object()) if kernel else SimpleNamespace()
    ipython = SimpleNamespace(get_ipython=lambda: shell, display=cell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr("attndyn.runtime.progress.PATIENCE", patience)
    monkeypatch.setattr("attndyn.runtime.progress.REFRESH", -1.0)
    return cell


def test_a_notebook_gets_one_display_that_is_updated(monkeypatch):
    cell = notebook(monkeypatch)
    assert list(with_progress("abcd", 4, "<letters>")) == list("abcd")
    texts = [bundle["text/plain"] for bundle in cell.shown]
    assert cell.displays == 1
    assert [text.split(",")[0] for text in texts[:-1]] == [
        f"<letters>: {share} %" for share in (0, 25, 50, 75)
    ]
    assert texts[-1] == "<letters>: finished after 0 s"
    first = cell.shown[1]["text/html"]
    assert "&lt;letters&gt;: 25 %" in first
    assert '<progress value="1" max="4"></progress>' in first
    assert "<progress" not in cell.shown[-1]["text/html"]


def test_a_notebook_counts_runs(monkeypatch):
    cell = notebook(monkeypatch)
    assert list(with_progress_and_rate("abc", 5, 2, "sweep", "runs")) == list("abc")
    texts = [bundle["text/plain"] for bundle in cell.shown]
    assert [text.split(",")[0] for text in texts] == [
        "sweep: 3/5 runs",
        "sweep: 4/5 runs",
        "sweep: 5/5 runs",
        "sweep: finished",
    ]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_notebook_says_where_it_stopped(monkeypatch, error):
    cell = notebook(monkeypatch)
    items = with_progress("abcd", 4, "letters")
    with pytest.raises(error):
        raise_at(items, "c", error)
    items.close()  # as happens where nobody holds the items any longer
    assert cell.shown[-1]["text/plain"] == "letters: stopped at 50 % after 0 s"
    assert list(with_progress("ab", 2, "more")) == ["a", "b"]  # the next one is shown
    assert cell.displays == 2


def raise_at(items, last, error):
    for item in items:
        if item == last:
            raise error


def test_a_quick_run_shows_nothing_in_a_notebook(monkeypatch):
    cell = notebook(monkeypatch, patience=60.0)
    train(MODEL, source(), START, **RULE)
    assert cell.shown == []


def test_a_notebook_is_not_updated_at_every_item(monkeypatch):
    cell = notebook(monkeypatch)
    monkeypatch.setattr("attndyn.runtime.progress.REFRESH", 60.0)
    assert len(list(with_progress(range(1000), 1000, "numbers"))) == 1000
    assert len(cell.shown) == 2  # the first and the last


def test_ipython_in_a_terminal_is_no_notebook(monkeypatch):
    screen = show(monkeypatch, terminal=False)
    cell = notebook(monkeypatch, kernel=False)
    assert list(with_progress("ab", 2, "letters")) == ["a", "b"]
    assert cell.shown == []
    assert screen.getvalue() == ""
