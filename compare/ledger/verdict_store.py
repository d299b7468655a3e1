"""Stored verdicts: one whole file each, under the digest of all that the verdict depends on."""

import hashlib
import json
from pathlib import Path

from ...runtime.files import write_text
from ...runtime.versions import versions
from ..evidence.verdict import Verdict


def verdict_digest(name: str, seed: int, code: str) -> str:
    """SHA-256 of a claim's id, the base seed, the versions and the digest of the code that the claim depends on.

    Empty if that is not known, as in a notebook.

    >>> len(verdict_digest("merged.aligned", 0, code="12ab")), verdict_digest("mine", 0, code="")
    (64, '')
    """
    settings = json.dumps([name, seed, versions(), code], sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest() if code else ""


def save_verdict(verdict: Verdict, folder: Path) -> None:
    """Write a verdict under its digest, whole or not at all; OSError if the folder cannot be written."""
    if verdict.digest:
        text = json.dumps(verdict.to_dict(), indent=2)
        write_text(_path(verdict.digest, folder), text)


def load_verdict(digest: str, folder: Path) -> Verdict | None:
    """The verdict of this digest, if the folder holds it whole.

    >>> load_verdict("0" * 64, Path("no such folder")) is None
    True
    """
    try:
        text = _path(digest, folder).read_text(encoding="utf-8")
        verdict = Verdict.from_dict(json.loads(text))
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        # Half a file is as good as none: the claim is checked again.
        return None
    return verdict if verdict.digest == digest else None


def _path(digest: str, folder: Path) -> Path:
    return folder / f"{digest}.json"
