"""Files that commands write, and what they do not replace."""

from collections.abc import Mapping
from pathlib import Path

FIGURES = ("pdf", "png", "svg")


def refuse_existing(path: Path, force: bool) -> None:
    """ValueError if there is a file already that `force` does not allow to replace; makes the folder it goes into.

    OSError for a folder that cannot be made, and where the path is no regular file.
    """
    from ...runtime.files import make_folder, replaceable

    if replaceable(path).exists() and not force:
        raise ValueError(
            f"{path} is there already: pass --force to replace it, or choose another name"
        )
    make_folder(replaceable(path).parent)


def refuse_one_file(out: Path, others: Mapping[str, Path | None]) -> None:
    """ValueError if the file to write is one that an option names as another: its contents would be lost.

    >>> refuse_one_file(Path("a.npz"), {"--task": Path("./a.npz")})
    Traceback (most recent call last):
    ValueError: --out and --task name one file: choose another name for --out
    """
    for option, path in others.items():
        if path is not None and path.resolve() == out.resolve():
            raise ValueError(
                f"--out and {option} name one file: choose another name for --out"
            )


def format_named(path: Path, formats: tuple[str, ...]) -> str:
    """The format that the ending of a file's name asks for; ValueError for another than these.

    >>> format_named(Path("over.PDF"), FIGURES)
    'pdf'
    """
    ending = path.suffix.removeprefix(".").lower()
    if ending not in formats:
        *others, last = formats
        allowed = f".{', .'.join(others)} or .{last}"
        raise ValueError(f"--out must end in {allowed}, not {path.name!r}")
    return ending
