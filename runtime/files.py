"""Files that are whole or absent, never half-written."""

import errno
import json
import math
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.format import (
    read_array,
    read_array_header_1_0,
    read_array_header_2_0,
    read_magic,
)
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
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(target)  # a full disk does not say where it is
        raise
    return target


class Header(NamedTuple):
    """What a file says of an array before the array is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class NotWhole(ValueError):
    """A file is truncated, damaged or no npz file at all."""


def array_headers(path: AnyPath) -> dict[str, Header]:
    """Shape and type of every array of an npz file, without reading any; other members of the file are left out.

    NotWhole if the file is damaged or something else, OSError if it cannot be opened or is no regular file.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_atomically(Path(folder) / "file.npz", lambda file: np.savez(file, x=np.zeros((2, 3))))
    ...     array_headers(path)["x"].shape
    (2, 3)
    """
    with _archive(path) as archive:
        return {
            name: _header(archive, info) for name, info in _members(archive).items()
        }


def read_arrays(
    path: AnyPath, names: Iterable[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Arrays of an npz file by name: those of `names` that it has, or all; the others are not read.

    NotWhole if the file is damaged or something else, OSError if it cannot be opened or is no regular file.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_atomically(Path(folder) / "file.npz", lambda file: np.savez(file, x=[1, 2]))
    ...     read_arrays(path)["x"]
    array([1, 2])
    """
    with _archive(path) as archive:
        members = _members(archive)
        wanted = set(members if names is None else names)
        return {
            name: _array(archive, info)
            for name, info in members.items()
            if name in wanted
        }


def settings_of_file(
    path: AnyPath, arrays: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """The settings that a file holds as JSON among its arrays, none in an older file; ValueError for anything else.

    >>> settings_of_file("curve.npz", {"settings": np.array('{"query_token": false}')}), settings_of_file("old.npz", {})
    ({'query_token': False}, {})
    """
    if "settings" not in arrays:
        return {}
    try:
        settings = json.loads(str(arrays["settings"]))
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise ValueError(f"the settings in {as_path(path)} are no JSON object")
    return settings


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an archive by name."""
    members = {}
    for info in archive.infolist():
        if info.filename.endswith(".npy"):
            members[info.filename.removesuffix(".npy")] = info
    return members


@contextmanager
def regular_file(name: AnyPath) -> Iterator[BinaryIO]:
    """A file, opened to be read; OSError for a folder, a device or a pipe, on whose end one would wait for ever.

    >>> with regular_file("/dev/null"):
    ...     pass
    Traceback (most recent call last):
    OSError: [Errno 22] not a regular file, which alone can be read: '/dev/null'
    """
    path = as_path(name)
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(
                errno.EINVAL, "not a regular file, which alone can be read", str(path)
            )
        yield file


@contextmanager
def _archive(name: AnyPath) -> Iterator[zipfile.ZipFile]:
    """The npz file, opened; what goes wrong inside it becomes a ValueError that names it."""
    path = as_path(name)
    # Opened here, since ZipFile leaves a damaged file open.
    with regular_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                names = [info.filename for info in archive.infolist()]
                if len(set(names)) < len(names):
                    raise _Damaged("it holds an array twice")
                yield archive
        except _Damaged as error:
            raise NotWhole(f"{path} is not a whole npz file: {error}") from None
        except _DAMAGE:
            raise NotWhole(f"{path} is not a whole npz file") from None


class _Damaged(Exception):
    """What is wrong inside an npz file, in words."""


_DAMAGE: tuple[type[Exception], ...] = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile and NumPy raise on an archive that is damaged, encrypted or compressed in another way."""


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file; a pipe that nobody writes to is opened too, where `open` would wait."""
    without_waiting = getattr(os, "O_NONBLOCK", 0)  # Windows has no such flag
    return os.open(path, flags | without_waiting)


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Header:
    with archive.open(info) as member:
        read_header = read_array_header_2_0
        if read_magic(member) == (1, 0):
            read_header = read_array_header_1_0
        shape, _, dtype = read_header(member)
        size = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject and info.file_size - member.tell() != size:
            raise _Damaged(f"{info.filename} holds less or more than it says")
    return Header(shape, dtype)


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    if _header(archive, info).dtype.hasobject:
        raise _Damaged(f"{info.filename} holds Python objects, which are not read")
    with archive.open(info) as member:
        return np.asarray(read_array(member, allow_pickle=False))


def replaceable(path: AnyPath) -> Path:
    """The path, which must be absent or a regular file: OSError for a folder, and for a device or a pipe.

    A file moved there would take the place of a pipe, and of `/dev/null`.

    >>> replaceable("new.npz").name
    'new.npz'
    """
    target = as_path(path)
    if target.is_dir():
        raise IsADirectoryError(
            errno.EISDIR, "this must name a file, but it is a folder", str(target)
        )
    if target.exists() and not target.is_file():
        raise OSError(
            errno.EINVAL, "not a regular file, which alone may be replaced", str(target)
        )
    return target


def make_folder(path: AnyPath) -> Path:
    """The folder, made if it is missing, and known to be writable; OSError before any work is lost to it.

    >>> make_folder(tempfile.gettempdir()).is_dir()
    True
    """
    folder = as_path(path)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:  # which names the temporary file
        raise OSError(error.errno, error.strerror, str(folder)) from None


def read_utf8(path: AnyPath) -> str:
    """The text of a UTF-8 file, with a byte order mark or without; ValueError where it is something else.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_utf8(write_text(Path(folder) / "note.txt", "\ufeffλ = 1"))
    'λ = 1'
    """
    try:
        return as_path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("this is no UTF-8 text: save it as UTF-8") from None


def write_text(path: AnyPath, text: str) -> Path:
    """Write UTF-8 text atomically; OSError as `write_atomically`."""
    contents = text.encode()
    return write_atomically(path, lambda file: file.write(contents))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
