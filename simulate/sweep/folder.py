"""The folder of a sweep: its manifest, which keeps the results of two sweeps apart, and its runs."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ...runtime.files import AnyPath, as_path, make_folder, write_text
from ...runtime.versions import versions
from ..runs.store import code_digest
from .spec import Sweep

FORMAT = "attndyn sweep 1"

MANIFEST, RUNS, DATA = "sweep.json", "runs", "data"
"""What a folder holds: settings of the sweep, one file a run, statistics that several runs share."""

LOCK = ".sweep.lock"
"""The file that the process which sweeps into a folder has locked."""


@contextmanager
def claimed(folder: AnyPath, sweep: Sweep, resume: bool) -> Iterator[Path]:
    """The folder as an absolute path, made if it is missing, with the manifest of this sweep in it, for us alone.

    ValueError if it holds another sweep, this one without `resume`, one of other code or anything else, and while
    another process sweeps into it; OSError if it cannot be written. What a killed process left half-written is
    removed.
    """
    home = as_path(folder).resolve()
    _refuse_before_locking(home, sweep, resume)
    make_folder(home)
    with _alone_in(home):
        _refuse(
            home, sweep, resume
        )  # again, since another process may have come between
        make_folder(home / RUNS)
        make_folder(home / DATA)
        remove_leftovers(home)
        if not (home / MANIFEST).exists():
            head = {
                "format": FORMAT,
                "digest": sweep.digest,
                "code": code_digest(),
                "versions": versions(),
            }
            write_text(
                home / MANIFEST, json.dumps(head | {"sweep": sweep.to_dict()}, indent=1)
            )
        yield home


def _refuse_before_locking(home: Path, sweep: Sweep, resume: bool) -> None:
    """`_refuse`, so that no lock is left in what is no sweep, unless a process is beginning to sweep there."""
    if (home / LOCK).exists():
        return
    try:
        _refuse(home, sweep, resume)
    except ValueError:
        if not (home / LOCK).exists():
            _refuse(
                home, sweep, resume
            )  # what was seen half-made is whole by now, or was never a sweep


@contextmanager
def _alone_in(home: Path) -> Iterator[None]:
    """Hold the lock of a folder, which a killed process loses; ValueError if another process holds it."""
    file = _locked(home / LOCK)
    if file is None:
        raise ValueError(
            f"another process sweeps into {home} now: wait until it has ended and resume, or choose another folder"
        )
    with file:  # closed, it is no longer locked
        try:
            yield
        finally:
            (home / LOCK).unlink(missing_ok=True)


def _locked(path: Path) -> TextIO | None:
    """The file at this path, opened and locked; None if another process has locked it."""
    while True:
        file = path.open("a", encoding="utf-8")
        if not _lock(file):
            file.close()
            return None
        if _is_still(file, path):
            return file
        file.close()  # whoever held it has removed it meanwhile


def _is_still(file: TextIO, path: Path) -> bool:
    """Whether an open file is the one at this path, and not one that was removed, or replaced, since."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(file: TextIO) -> bool:
    """Whether a file could be locked, or lies where there are no locks."""
    try:
        import fcntl
    except ImportError:  # not on this operating system
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # some network file systems know no locks
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True


def remove_leftovers(home: Path) -> None:
    """Remove what writes began that were killed before they ended: only when no worker writes there any more."""
    for path in [*home.iterdir(), *(home / RUNS).iterdir(), *(home / DATA).iterdir()]:
        if path.name == LOCK:
            continue
        if _is_leftover(path, MANIFEST) or _is_leftover(path, ".npz"):
            path.unlink(missing_ok=True)


def read_manifest(folder: AnyPath) -> dict[str, Any]:
    """The manifest: format, digest, code, versions and sweep; ValueError if the folder has none.

    >>> read_manifest("nowhere")
    Traceback (most recent call last):
    ValueError: nowhere holds no sweep: pass the folder that run_sweep wrote
    """
    try:
        manifest = json.loads((as_path(folder) / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise KeyError(manifest["format"])
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError):
        raise ValueError(
            f"{as_path(folder)} holds no sweep: pass the folder that run_sweep wrote"
        ) from None
    return dict(manifest)


def _refuse(home: Path, sweep: Sweep, resume: bool) -> None:
    """ValueError if the folder holds something that this sweep may not be added to."""
    if not (home / MANIFEST).exists():
        others = home.iterdir() if home.exists() else ()
        if not all(
            path.name == LOCK or _is_leftover(path, MANIFEST) for path in others
        ):
            raise ValueError(
                f"{home} is not empty and holds no sweep: choose another folder"
            )
        return
    held = read_manifest(home)
    if held["digest"] != sweep.digest:
        raise ValueError(f"{home} holds another sweep: choose another folder")
    if held["code"] != code_digest():
        begun = held["versions"]["attndyn"]
        raise ValueError(
            f"{home} was begun with other code (attndyn {begun}): finish it there, or choose another folder"
        )
    if not resume:
        raise ValueError(
            f"{home} holds this sweep already: resume it (--resume) to make what is missing"
        )


def _is_leftover(path: Path, name: str) -> bool:
    """Whether this is a file that an atomic write of such a name began and did not end."""
    return path.name.startswith(".") and f"{name}." in path.name
