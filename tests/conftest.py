"""What tests of whole processes share: signals as in a foreground process, and waiting for events.

It also measures which tests are slow, in processor time, which other work on the machine changes least.
"""

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import attndyn

HANG = 600
"""Seconds after which something is said to hang: far more than a busy machine makes of the slowest test."""

SLOW = 10.0
"""Seconds of processor time, a test's own and that of its processes, from which on it carries the mark `slow`."""
BEGIN = pytest.StashKey[float]()

IS_CHECKOUT = (Path(attndyn.__file__).parent / "setup.cfg").is_file()
"""Whether the package that is tested is a checkout, rather than what a release installs."""

WHOLE_FILE = "\npytestmark = pytest.mark.checkout\n"
"""How a file says that all its tests read files of a checkout."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Off a checkout, files that are marked as a whole are not even imported: many read its files at once."""
    if IS_CHECKOUT or collection_path.suffix != ".py":
        return None
    return WHOLE_FILE in collection_path.read_text(encoding="utf-8") or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Off a checkout, single tests with that mark are skipped."""
    for item in items:
        if not IS_CHECKOUT and item.get_closest_marker("checkout"):
            item.add_marker(pytest.mark.skip(reason="reads files of a checkout"))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[object]:
    """Cycles of objects are not looked for while tests are collected, nor later in what stays to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        # Symbolic tests make many small objects, few of them in cycles: one search for 50,000 new ones is enough.
        gc.set_threshold(50_000, 10, 10)
        gc.enable()


def _processor_seconds() -> float:
    return sum(os.times()[:4])  # user and system, of this process and of finished ones


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note when a test begins, before its fixtures are made."""
    item.stash[BEGIN] = _processor_seconds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note how long a test takes, for the summary of all workers."""
    yield
    seconds = _processor_seconds() - item.stash[BEGIN]
    item.user_properties.append(("processor seconds", seconds))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the tests whose mark is missing."""
    passed = terminalreporter.stats.get("passed", [])
    unmarked = [
        f"{report.nodeid}: {seconds:.0f} s"
        for report in passed
        for name, seconds in report.user_properties
        if name == "processor seconds" and seconds > SLOW
        if "slow" not in report.keywords
    ]
    if unmarked:
        terminalreporter.section("tests to mark slow")
        for line in unmarked:
            terminalreporter.write_line(line)


@pytest.fixture
def signals_by_default() -> Iterator[None]:
    """Processes that a test starts get Ctrl-C and the end of a terminal, also where this suite ignores them.

    A shell starts what runs in its background with Ctrl-C ignored, nohup ignores the end of the terminal, and both
    are inherited; a signal that this process handles is one that its children begin with the default action of.
    """
    caught = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {
        number: signal.signal(number, handler) for number, handler in caught.items()
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Ending(NamedTuple):
    """A signal that asks a command to end, with the exit status and the message of its end."""

    number: int
    status: int
    message: str


ENDS = (
    Ending(signal.SIGINT, 130, "interrupted"),
    Ending(signal.SIGTERM, 143, "terminated"),
    Ending(signal.SIGHUP, 129, "hung up"),
)


@pytest.fixture(params=[each.message for each in ENDS])
def ending(request: pytest.FixtureRequest, signals_by_default: None) -> Ending:
    """Each way in which a command is asked to end, by a signal that processes of a test do not ignore."""
    (found,) = (each for each in ENDS if each.message == request.param)
    return found


@pytest.fixture(scope="session")
def hang() -> int:
    """The longest that a test waits for a process."""
    return HANG


@pytest.fixture(scope="session")
def wait_for() -> Callable[[Callable[[], object]], None]:
    """A function that returns as soon as a condition is true, however long a busy machine takes."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + HANG
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {HANG} s"
            time.sleep(0.01)

    return wait


def _without_progress(errors: str) -> str:
    lines = errors.splitlines(keepends=True)
    progress = ("sweep: ", "verify: ")
    return "".join(line for line in lines if not line.startswith(progress))


@pytest.fixture(scope="session")
def without_progress() -> Callable[[str], str]:
    """Standard error less the lines that say every ten seconds how far a command is, which a busy machine brings."""
    return _without_progress


GATED = '''
"""`attndyn` whose runs wait at a gate: one begins if fewer are finished than the gate allows, or it is gone."""
import os, sys, time
from pathlib import Path
from attndyn.simulate import Experiment

GATE = Path(os.environ["ATTNDYN_GATE"])
if not hasattr(Experiment, "ungated"):  # Dask reads this file twice
    Experiment.ungated = Experiment.run


def allowed():
    try:
        count, runs = GATE.read_text().split("\\n")
    except FileNotFoundError:
        return True
    return len(list(Path(runs).glob("[!.]*.npz"))) < int(count)


def run(*arguments, **options):
    while not allowed():
        time.sleep(0.01)
    return Experiment.ungated(*arguments, **options)


Experiment.run = run
if __name__ == "__main__":
    from attndyn.cli import main
    sys.exit(main(sys.argv[1:]))
'''


class Gate:
    """Lets only so many runs of a sweep begin: a test that disturbs the others need not be quick.

    `script` is `attndyn` with the gate, for a process, its workers, and the workers of Dask (--preload).
    """

    def __init__(self, folder: Path) -> None:
        self.script, self.file = folder / "gated.py", folder / "gate"
        self.script.write_text(GATED)

    def allow(self, count: int, runs: Path) -> None:
        """Runs begin as long as fewer than `count` are finished in the folder `runs`."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{count}\n{runs}")
        os.replace(new, self.file)

    def open(self) -> None:
        """All runs begin."""
        self.file.unlink()


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate before the runs of a sweep."""
    made = Gate(tmp_path)
    monkeypatch.setenv("ATTNDYN_GATE", str(made.file))
    return made
