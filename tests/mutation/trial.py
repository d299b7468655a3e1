"""Whether a claim falls when one formula is broken: the package is imported anew, broken, in a forked process."""

import importlib
import importlib.abc
import importlib.machinery
import json
import math
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 10.0
"""Seconds of the processor that a claim may take beyond five times what it takes unbroken."""

WAITING = 20.0
"""How many times longer it may take by the clock, on a machine that has other things to do."""

COMPILING = 300.0
"""Seconds that the first claim may take beyond that where functions are compiled anew."""


@dataclass(frozen=True)
class Cost:
    """A claim as the unbroken theory finds it: seconds, whether it holds, and the functions that it calls.

    `code` is the digest of the code that it depends on.
    """

    claim: str
    seconds: float
    holds: bool
    calls: frozenset[str]
    code: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: `how` is "claim", "exception", "import" or "timeout", else "survived".

    `claim` is the one that fell, `checked` how many were checked.
    """

    how: str
    claim: str = ""
    checked: int = 0


class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module of the package from a text of ours."""

    def __init__(self, name: str, file: Path, text: str) -> None:
        self.name, self.file, self.text = name, file, text

    def find_spec(
        self, fullname: str, path: Any, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for our module, None for every other one."""
        if fullname != self.name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=str(self.file))

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the text in the module."""
        module.__file__ = str(self.file)
        exec(compile(self.text, str(self.file), "exec"), module.__dict__)


def warm(cache: Path) -> None:
    """Import all that does not depend on theory, and remember what simulations return, by their arguments."""
    for name in (
        "scipy.integrate",
        "scipy.optimize",
        "scipy.special",
        "scipy.stats",
        "numba",
        "sympy",
    ):
        importlib.import_module(name)
    simulate = importlib.import_module("attndyn.simulate")
    cache.mkdir(parents=True, exist_ok=True)
    vars(simulate)["flow"] = remembered(simulate.flow, cache)
    if any(name.startswith("attndyn.theory") for name in sys.modules):
        raise RuntimeError("theory is imported already: a mutant would not be seen")


def remembered(function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """The function with its results kept in a folder under the digest of its arguments."""
    import hashlib
    import pickle

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            name = hashlib.sha256(
                pickle.dumps((function.__name__, args, sorted(kwargs.items())))
            ).hexdigest()
        except (pickle.PicklingError, TypeError, AttributeError):
            return function(*args, **kwargs)
        path = folder / f"{name[:32]}.pickle"
        if path.exists():
            return pickle.loads(path.read_bytes())
        result = function(*args, **kwargs)
        fresh = folder / f"{name[:32]}.{os.getpid()}"
        fresh.write_bytes(pickle.dumps(result))
        fresh.replace(path)
        return result

    return call


def costs(claims: Iterable[str], runs: Path) -> Iterator[Cost]:
    """Each claim checked on the theory as it is, with the functions of theory that it reaches."""
    stated()  # before the processes
    for name in claims:
        lines = list(_forked(lambda name=name: _measured(name, runs), [600.0]))
        if lines and "seconds" in lines[0]:
            yield Cost(
                name,
                lines[0]["seconds"],
                lines[0]["holds"],
                frozenset(lines[0]["calls"]),
            )


def _measured(name: str, runs: Path) -> Iterator[Mapping[str, Any]]:
    calls: set[str] = set()

    def see(frame: types.FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and "/theory/" in code.co_filename:
            calls.add(
                f"theory/{code.co_filename.rpartition('/theory/')[2]}:{code.co_qualname}"
            )

    check, claims, context = _imported(runs, [name])
    sys.setprofile(see)
    begin = time.perf_counter()
    verdict = check(claims[name], context)
    seconds = time.perf_counter() - begin
    sys.setprofile(None)
    named = {_named(call) for call in calls} | _compiled_calls()
    yield {"seconds": seconds, "holds": verdict.holds, "calls": sorted(named)}


def _compiled_calls() -> set[str]:
    """All compiled functions of theory if one has been called: no profile shows them, nor which calls which."""
    from numba.core.dispatcher import Dispatcher

    modules = {
        name: module
        for name, module in sys.modules.items()
        if name.startswith("attndyn.theory.")
    }
    found = [
        (
            f"{name.removeprefix('attndyn.').replace('.', '/')}.py:{function.__name__}",
            bool(function.signatures),
        )
        for name, module in modules.items()
        for function in vars(module).values()
        if isinstance(function, Dispatcher) and function.py_func.__module__ == name
    ]
    return {call for call, _ in found} if any(called for _, called in found) else set()


def _named(call: str) -> str:
    """The innermost named function of a code object, as a site names it."""
    file, _, name = call.partition(":")
    parts = [part for part in name.split(".") if not part.startswith("<")]
    return f"{file}:{'.'.join(parts) or 'module'}"


def attempt(
    module: str, file: Path, text: str, costs: Sequence[Cost], runs: Path
) -> Outcome:
    """Check claims in this order with `module` replaced by `text`, until one is not as expected."""
    stated()  # before the process that has the broken module
    limits = [PATIENCE, *(PATIENCE + 5 * cost.seconds for cost in costs)]
    names = [cost.claim for cost in costs]
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        machine_code = folder if holds_compiled_functions(text) else None
        if machine_code:
            limits = [limit + COMPILING for limit in limits]
        broken = Broken(module, file, text)
        checks = partial(_checked, broken, names, limits[1:], runs, machine_code)
        for line in _forked(checks, [WAITING * limit for limit in limits]):
            if line["how"] != "holds":
                claim = (
                    names[min(done, len(names) - 1)]
                    if line["how"] != "import" and names
                    else ""
                )
                return Outcome(line["how"], claim, done + 1)
            done += line["claims"]
    return Outcome("survived", "", done)


def holds_compiled_functions(text: str) -> bool:
    """Whether a module's text compiles functions to machine code.

    Numba keeps such code by the file and the bytecode of a function alone, not by its constants nor by what it
    calls: a mutant would be given the code of the unbroken module, and leave its own for the package to run.

    >>> holds_compiled_functions("@compile_function\ndef f(x): return x + 1"), holds_compiled_functions("x = 1")
    (True, False)
    """
    return "@compile_function" in text


def _checked(
    broken: Broken,
    names: Sequence[str],
    limits: Sequence[float],
    runs: Path,
    machine_code: str | None,
) -> Iterator[Mapping[str, Any]]:
    """How each claim ends with the broken module, within its limit; machine code goes into a folder of its own."""
    if machine_code:
        import numba

        numba.config.CACHE_DIR = machine_code
    sys.meta_path.insert(0, broken)
    try:
        check, claims, context = _imported(runs, names)
    except Exception as error:
        yield {"how": "import", "error": repr(error)}
        return
    yield {"how": "holds", "claims": 0}
    for name, limit in zip(names, limits, strict=True):
        _allow(limit)
        try:
            verdict = check(claims[name], context)
            failed = verdict.observed.startswith("failed:")
            how = "holds" if verdict.holds else "exception" if failed else "claim"
        except Exception:
            how = "exception"
        yield {"how": how, "claims": 1}


def _allow(seconds: float) -> None:
    """Let this process use the processor for so many more seconds; the system ends it then."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + seconds), hard))


def _imported(runs: Path, names: Sequence[str]) -> tuple[Any, Mapping[str, Any], Any]:
    """What checks claims, and these claims: a process imports only their sections anew, or all without a name."""
    from attndyn.compare.evidence.checking import check_claim
    from attndyn.compare.evidence.claim import RunContext

    modules = {stated()[name].module for name in names}
    modules = modules or {claim.module for claim in stated().values()}
    sections = [importlib.import_module(module) for module in sorted(modules)]
    claims = {claim.id: claim for section in sections for claim in section.CLAIMS}
    return check_claim, claims, RunContext(folder=runs, seed=0)


class Stated(NamedTuple):
    """Where a claim stands, and its tier."""

    module: str
    tier: str


@cache
def stated() -> Mapping[str, Stated]:
    """All claims by their ids, as a process of its own reads them in the unbroken package."""

    def read() -> Iterator[Mapping[str, tuple[str, str]]]:
        from attndyn.compare.claims import sections

        yield {
            claim.id: (section.__name__, claim.tier)
            for section in sections()
            for claim in section.CLAIMS
        }

    (found,) = _forked(read, [600.0])
    return {name: Stated(*each) for name, each in found.items()}


def to_hold(names: Iterable[str]) -> list[str]:
    """Which of these claims to check over the unbroken package: one, and all that no other test checks there.

    The tests of claims check all fast ones; that one holds here too shows that these processes break nothing.
    """
    ordered = sorted(names, key=lambda name: stated()[name].tier == "fast")
    slower = sum(stated()[name].tier != "fast" for name in ordered)
    return ordered[: slower + 1]


def _forked(
    work: Callable[[], Iterator[Mapping[str, Any]]], limits: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """What `work` yields in a forked process; the process is ended if the k-th item takes longer than its limit.

    Then, and where the system ends it because it used the processor too long, the last item is a timeout.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(work, write)
    os.close(write)
    try:
        with os.fdopen(read, "rb", buffering=0) as pipe:
            for limit in (*limits, PATIENCE):
                if not select.select([pipe], [], [], limit)[0]:
                    yield {"how": "timeout"}
                    return
                line = pipe.readline()
                if not line:
                    break
                yield json.loads(line)
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        yield {"how": "timeout"}


def _in_child(work: Callable[[], Iterator[Mapping[str, Any]]], write: int) -> None:
    """Write what `work` yields and end the process, without what the parent would do at its end."""
    import warnings

    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        for item in work():
            os.write(write, json.dumps(item).encode() + b"\n")
    except BaseException:
        traceback.print_exc()
        os.write(write, json.dumps({"how": "exception"}).encode() + b"\n")
    finally:
        os._exit(0)
