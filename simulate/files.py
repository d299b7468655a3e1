"""Files that are whole or absent, never half-written."""

import errno
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""How a user names a file or folder."""


def as_path(path: AnyPath) -> Path:
    """The path of a name in any of its forms, bytes included; TypeError for what names no file.

    >>> as_path(b"folder/run.npz").name
    'run.npz'
    """
    return Path(os.fsdecode(path))


def write_atomically(path: AnyPath, write: Callable[[BinaryIO], object]) -> Path:
    """Call `write` on a new file beside `path`, then move it there; OSError says which folder cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "note.txt", lambda file: file.write(b"done")).read_text()
    'done'
    """
    target = replaceable(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def read_arrays(path: AnyPath) -> dict[str, NDArray[Any]]:
    """Every array of an npz file; ValueError if it is damaged or something else, OSError if it cannot be opened.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_atomically(Path(folder) / "file.npz", lambda file: np.savez(file, x=[1, 2]))
    ...     read_arrays(path)["x"]
    array([1, 2])
    """
    with open(as_path(path), "rb") as file:  # opened here, since np.load leaves a damaged file open
        try:
            with np.load(file, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, EOFError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error):
            raise ValueError(f"{os.fsdecode(path)} is not a whole npz file") from None


def replaceable(path: AnyPath) -> Path:
    """The path, which must be absent or a regular file: OSError for a folder, and for a device or a pipe.

    A file moved there would take the place of a pipe, and of `/dev/null`.

    >>> replaceable("new.npz").name
    'new.npz'
    """
    target = as_path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "this must name a file, but it is a folder", str(target))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "not a regular file, which alone may be replaced", str(target))
    return target


def make_folder(path: AnyPath) -> Path:
    """The folder, made if it is missing, and known to be writable; OSError before any work is lost to it.

    >>> make_folder(tempfile.gettempdir()).is_dir()
    True
    """
    folder = as_path(path)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return folder


def write_text(path: AnyPath, text: str) -> Path:
    """Write UTF-8 text atomically; OSError as `write_atomically`."""
    return write_atomically(path, lambda file: file.write(text.encode()))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
