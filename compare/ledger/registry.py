"""Claims of the user's own: registered by a decorator, from a file, a module or a notebook."""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from ...runtime.files import AnyPath, as_path
from ..claims import all_claims, section_files
from ..evidence.claim import Claim, RunContext
from ..evidence.evidence import Judge
from ..user.modules import load_module


class Registration(NamedTuple):
    """A registered claim, the file that states it (None for a notebook), and where: file and line, or the module."""

    claim: Claim
    file: Path | None
    location: str


_registered: dict[str, Registration] = {}
_loaded: set[Path] = set()


def claim(
    id: str, *, measure: Callable[[RunContext], Any], judge: Judge, **fields: Any
) -> Callable[[Callable[[RunContext, str], Any]], Claim]:
    """Register the claim that the decorated `predict(context, variant)` is what `measure(context)` finds.

    `judge` holds one against the other, as `equal_within` does, and must reject the named wrong variants in `controls`;
    `fields` are these and every other field of `Claim`. The docstring of the prediction gives the title, and the
    statement too unless `statement` is given; that of the measurement gives the observable. What is decorated
    becomes the Claim. ValueError if another place has registered this id: the same place, as a cell of a notebook
    that runs again, replaces its claim.

    >>> from attndyn.compare import claim, equal_within, verify
    >>> import numpy as np
    >>> @claim("example.square", measure=lambda context: [np.array([4.0])],
    ...        judge=equal_within(1e-12), controls=("cube",))
    ... def square(context, variant):
    ...     "Two times two is two squared."
    ...     return [np.array([2.0]) ** (3 if variant == "cube" else 2)]
    >>> verify(["example.square"]).holds
    True
    """
    caller = _caller(inspect.currentframe())

    def register(predict: Callable[[RunContext, str], Any]) -> Claim:
        all_fields = _defaults(id, measure, predict) | fields
        made = Claim(id=id, measure=measure, predict=predict, judge=judge, **all_fields)
        # A cell of a notebook that runs again replaces its claim; the same id elsewhere is a mistake.
        earlier = _registered.get(id)
        if earlier is not None and earlier.location != caller.location:
            raise ValueError(
                f"claim {id} is registered twice, at {earlier.location} and at {caller.location}: choose another id"
            )
        _registered[id] = Registration(made, caller.file, caller.location)
        return made

    return register


class _Caller(NamedTuple):
    """The file that calls, None for a notebook, and where: file and line, or the module."""

    file: Path | None
    location: str


def _caller(frame: FrameType | None) -> _Caller:
    """Who called the function whose frame this is."""
    caller = frame.f_back if frame else None
    if caller is None:
        return _Caller(None, "")
    info = inspect.getframeinfo(caller)
    file = Path(info.filename)
    if file.is_file():
        return _Caller(file.resolve(), f"{file.resolve()}:{info.lineno}")
    return _Caller(None, str(caller.f_globals.get("__name__", "")))


def _defaults(
    id: str,
    measure: Callable[[RunContext], Any],
    predict: Callable[[RunContext, str], Any],
) -> dict[str, str]:
    title = _first_line(predict) or id
    return {
        "title": title,
        "origin": "the user's own",
        "statement": rf"\text{{{title}}}",
        "observable": _first_line(measure)
        or getattr(measure, "__name__", "observation"),
        "limit": "none stated",
    }


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").split("\n")[0].rstrip(".")


def registered() -> dict[str, Registration]:
    """The registered claims by id, in the order of their registration."""
    return dict(_registered)


def load_claims(path: AnyPath) -> list[str]:
    """Run a Python file and return the ids of the claims that it registers; earlier ones of this file are dropped.

    ValueError if it registers none, or fails; FileNotFoundError if it is not there.
    """
    file = as_path(path).resolve()
    # What the file does not state any more must not be checked.
    for name in _registered_by(file):
        del _registered[name]
    load_module(path)
    names = _registered_by(file)
    if not names:
        raise ValueError(
            f"{as_path(path)} registers no claim: decorate its prediction with attndyn.compare.claim"
        )
    _loaded.add(file)
    return names


def claim_of_id(name: str, file: Path | None = None) -> Claim:
    """The claim of this id: registered, here or by the file, or of the package; KeyError if there is none."""
    if file is not None and name not in _registered:
        load_claims(file)
    if name in _registered:
        return _registered[name].claim
    return {claim.id: claim for claim in all_claims()}[name]


def file_of_claim(name: str) -> Path | None:
    """The file that states a claim, None for one of a notebook."""
    if name in _registered:
        return _registered[name].file
    return section_files().get(name)


def loaded_file(name: str) -> Path | None:
    """The file of a claim that `load_claims` has read."""
    file = _registered[name].file if name in _registered else None
    return file if file in _loaded else None


def is_portable(name: str) -> bool:
    """Whether other processes find this claim too: in the package, or in a file that `load_claims` has read."""
    return name not in _registered or loaded_file(name) is not None


def _registered_by(file: Path) -> list[str]:
    return [
        name for name, registration in _registered.items() if registration.file == file
    ]
