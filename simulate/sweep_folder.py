"""The folder of a sweep: its manifest, which keeps the results of two sweeps apart, and its runs."""

import json
from pathlib import Path
from typing import Any

from .files import AnyPath, as_path, make_folder, write_text
from .store import code_digest
from .sweep import Sweep
from .trajectory import versions

FORMAT = "attndyn sweep 1"

MANIFEST, RUNS, DATA = "sweep.json", "runs", "data"
"""What a folder holds: settings of the sweep, one file a run, statistics that several runs share."""


def claim(folder: AnyPath, sweep: Sweep, resume: bool) -> Path:
    """The folder as an absolute path, made if it is missing, with the manifest of this sweep in it.

    ValueError if it holds another sweep, this one without `resume`, one of other code or anything else; OSError if
    it cannot be written. What a killed process left half-written is removed: one sweep at a time works in a folder.
    """
    home = as_path(folder).resolve()
    if (home / MANIFEST).exists():
        _refuse(home, sweep, resume)
    elif home.exists() and not all(_is_leftover(path, MANIFEST) for path in home.iterdir()):
        raise ValueError(f"{home} is not empty and holds no sweep: choose another folder")
    make_folder(home / RUNS)
    make_folder(home / DATA)
    remove_leftovers(home)
    if not (home / MANIFEST).exists():
        head = {"format": FORMAT, "digest": sweep.digest, "code": code_digest(), "versions": versions()}
        write_text(home / MANIFEST, json.dumps(head | {"sweep": sweep.to_dict()}, indent=1))
    return home


def remove_leftovers(home: Path) -> None:
    """Remove what writes began that were killed before they ended: only when no worker writes there any more."""
    for path in [*home.iterdir(), *(home / RUNS).iterdir(), *(home / DATA).iterdir()]:
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
        raise ValueError(f"{as_path(folder)} holds no sweep: pass the folder that run_sweep wrote") from None
    return dict(manifest)


def _refuse(home: Path, sweep: Sweep, resume: bool) -> None:
    held = read_manifest(home)
    if held["digest"] != sweep.digest:
        raise ValueError(f"{home} holds another sweep: choose another folder")
    if held["code"] != code_digest():
        begun = held["versions"]["attndyn"]
        raise ValueError(
            f"{home} was begun with other code (attndyn {begun}): finish it there, or choose another folder"
        )
    if not resume:
        raise ValueError(f"{home} holds this sweep already: resume it (--resume) to make what is missing")


def _is_leftover(path: Path, name: str) -> bool:
    """Whether this is a file that an atomic write of such a name began and did not end."""
    return path.name.startswith(".") and f"{name}." in path.name
