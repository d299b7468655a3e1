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
from ..runs.engine_code import code_digest
from .spec import Sweep

FORMAT = "attndyn sweep 2"

FORMER_FORMAT = "attndyn sweep 1"
"""The manifest of runs that were named after all simulating code rather than that of their engine."""

MANIFEST, RUNS, DATA = "sweep.json", "runs", "data"
"""What a folder holds: settings of the sweep, one file a run, statistics that several runs share."""

LOCK = ".sweep.lock"
"""The file that the process which sweeps into a folder has locked."""


@contextmanager
def open_sweep_folder(folder: AnyPath, sweep: Sweep, resume: bool) -> Iterator[Path]:
    """The folder as an absolute path, made if it is missing, with the manifest of this sweep in it, locked for us.

    ValueError if it holds another sweep, this one without `resume`, one of other code or anything else, and while
    another process sweeps into it; OSError if it cannot be written. What a killed process left half-written is
    removed.
    """
    home = as_path(folder).resolve()
    _refuse_before_locking(home, sweep, resume)
    make_folder(home)
    with locked_folder(home):
        # Once more, since another process may have come between.
        _refuse_unfit_folder(home, sweep, resume)
        make_folder(home / RUNS)
        make_folder(home / DATA)
        remove_leftovers(home)
        if not (home / MANIFEST).exists():
            write_manifest(home, sweep)
        yield home


def write_manifest(home: Path, sweep: Sweep) -> None:
    """Write what the folder is for: the sweep, and the code that makes its runs."""
    manifest = {
        "format": FORMAT,
        "digest": sweep.digest,
        "code": sweep_code(sweep),
        "versions": versions(),
        "sweep": sweep.to_dict(),
    }
    write_text(home / MANIFEST, json.dumps(manifest, indent=1))


def sweep_code(sweep: Sweep) -> list[str]:
    """The digests of the code of all experiments: one for each engine that the sweep needs."""
    experiments = sweep.experiments()
    digests = {code_digest(experiment) for experiment in experiments}
    return sorted(digests)


def _refuse_before_locking(home: Path, sweep: Sweep, resume: bool) -> None:
    """Refuse a folder before a lock is left in what is no sweep, unless a process is beginning to sweep there."""
    if (home / LOCK).exists():
        return
    try:
        _refuse_unfit_folder(home, sweep, resume)
    except ValueError:
        # What looked half-made a moment ago is whole by now, or was never a sweep.
        if not (home / LOCK).exists():
            _refuse_unfit_folder(home, sweep, resume)


@contextmanager
def locked_folder(home: Path) -> Iterator[None]:
    """Hold the lock of a folder, which a killed process loses; ValueError if another process holds it."""
    file = _open_locked(home / LOCK)
    if file is None:
        raise ValueError(
            f"another process sweeps into {home} now: wait until it has ended and resume, or choose another folder"
        )
    with file:  # closed, it is no longer locked
        try:
            yield
        finally:
            (home / LOCK).unlink(missing_ok=True)


def _open_locked(path: Path) -> TextIO | None:
    """The file at this path, opened and locked; None if another process has locked it."""
    while True:
        file = path.open("a", encoding="utf-8")
        if not _lock(file):
            file.close()
            return None
        if _is_still_at(file, path):
            return file
        # The process that held the lock has removed the file meanwhile: open the new one.
        file.close()


def _is_still_at(file: TextIO, path: Path) -> bool:
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
    except OSError as error:
        # Some network file systems know no locks, and say so by another error.
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True


def remove_leftovers(home: Path) -> None:
    """Remove what writes began that were killed before they ended: only when no worker writes there any more."""
    for folder in (home, home / RUNS, home / DATA):
        for path in list(folder.iterdir()):
            if path.name == LOCK:
                continue
            if _is_leftover(path, MANIFEST) or _is_leftover(path, ".npz"):
                path.unlink(missing_ok=True)


def read_manifest(folder: AnyPath, *, former: bool = False) -> dict[str, Any]:
    """The manifest: format, digest, code, versions and sweep; ValueError if the folder has none.

    One of the former format is refused unless `former` asks for it as well.

    >>> read_manifest("nowhere")
    Traceback (most recent call last):
    ValueError: nowhere holds no sweep: pass the folder that run_sweep wrote
    """
    home = as_path(folder)
    try:
        manifest = dict(json.loads((home / MANIFEST).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, TypeError, ValueError):
        manifest = {}
    if manifest.get("format") == FORMER_FORMAT:
        if former:
            return manifest
        raise ValueError(
            f"{home} holds a sweep of an older format: python -m attndyn.simulate.rekey {home} brings it up to date"
        )
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{home} holds no sweep: pass the folder that run_sweep wrote")
    return manifest


def _refuse_unfit_folder(home: Path, sweep: Sweep, resume: bool) -> None:
    """ValueError if the folder holds something that this sweep may not be added to."""
    if not (home / MANIFEST).exists():
        _refuse_foreign_files(home)
        return
    manifest = read_manifest(home)
    if manifest["digest"] != sweep.digest:
        raise ValueError(f"{home} holds another sweep: choose another folder")
    if manifest["code"] != sweep_code(sweep):
        version = manifest["versions"]["attndyn"]
        raise ValueError(
            f"{home} was begun with other code (attndyn {version}): finish it there, or choose another folder"
        )
    if not resume:
        raise ValueError(
            f"{home} holds this sweep already: resume it (--resume) to make what is missing"
        )


def _refuse_foreign_files(home: Path) -> None:
    """ValueError if a folder without a manifest holds more than what a sweep that is beginning may leave."""
    for path in home.iterdir() if home.exists() else ():
        if path.name != LOCK and not _is_leftover(path, MANIFEST):
            raise ValueError(
                f"{home} is not empty and holds no sweep: choose another folder"
            )


def _is_leftover(path: Path, name: str) -> bool:
    """Whether this is a file that an atomic write of such a name began and did not end."""
    hidden = path.name.startswith(".")
    return hidden and f"{name}." in path.name
