"""Verdicts that are kept: one whole file each, under the digest of all that the verdict depends on."""

import hashlib
import json
from pathlib import Path

from ..simulate.files import write_text
from ..simulate.trajectory import versions
from ..sources import source_digest, sources
from .verdict import Verdict


def verdict_digest(name: str, seed: int, file: Path | None) -> str:
    """SHA-256 of a claim's id, the base seed, the versions and the code that the file which states it depends on.

    Empty if no file states it: what else a notebook holds is not known.

    >>> first, second = (verdict_digest("merged.aligned", seed, Path(__file__)) for seed in (0, 1))
    >>> len(first), first == second, verdict_digest("mine", 0, None)
    (64, False, '')
    """
    if file is None:
        return ""
    settings = json.dumps([name, seed, versions(), source_digest(sources(file))], sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()


def keep(verdict: Verdict, folder: Path) -> None:
    """Write a verdict under its digest, whole or not at all; OSError if the folder cannot be written."""
    if verdict.digest:
        write_text(_path(verdict.digest, folder), json.dumps(verdict.to_dict(), indent=2))


def kept(digest: str, folder: Path) -> Verdict | None:
    """The verdict of this digest, if the folder holds it whole.

    >>> kept("0" * 64, Path("no such folder")) is None
    True
    """
    try:
        verdict = Verdict.from_dict(json.loads(_path(digest, folder).read_text(encoding="utf-8")))
    except (FileNotFoundError, KeyError, TypeError, ValueError):  # half a file is as good as none
        return None
    return verdict if verdict.digest == digest else None


def _path(digest: str, folder: Path) -> Path:
    return folder / f"{digest}.json"
