"""Files and folders that appear under their names when they are whole, and replace nothing that is not ours."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from streampose.errors import ConfigError, SinkFailed, SinkUnavailable, StreamposeError

__all__ = [
    "appear",
    "appear_folder",
    "check_folder",
    "check_link",
    "creating",
    "followed",
    "is_device",
    "name_it",
    "of_nobody",
    "part_of",
    "real",
    "remove_folder",
    "replaceable",
    "standard",
    "writing",
]

_NOBODYS = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".directory"}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes a file or folder: the system's errors, which often name no file, name this one.

    Raises:
        SinkFailed: the disk is full, read-only, or gone.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, StreamposeError):
            raise
        raise SinkFailed(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def creating(path: Path) -> Iterator[None]:
    """Around what creates a file: the system's errors name it.

    Raises:
        SinkUnavailable: it cannot be.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise _no_folder(Path(error.filename or path).parent, path) from error
    except OSError as error:
        raise SinkUnavailable(f"{path} cannot be written: {error.strerror or error}") from error


def check_folder(path: Path) -> None:
    """See that there is a folder for an output.

    Raises:
        SinkUnavailable: there is none.
    """
    if not path.parent.is_dir():
        raise _no_folder(path.parent, path)


def _no_folder(folder: Path, path: Path) -> SinkUnavailable:
    return SinkUnavailable(f"no folder {folder} for {path}: create it first")


def real(path: Path) -> Path:
    """What all names of one thing have in common: without links, and absolute."""
    # Not `Path.resolve`, which raises a RuntimeError of a link to itself before Python 3.13.
    return Path(os.path.realpath(path))


def is_device(path: Path) -> bool:
    """Whether something is there that is written to, and never replaced: a device, a FIFO, a pipe."""
    try:
        mode = path.stat().st_mode
    except OSError:  # of Python's own questions, some raise where a folder may not be looked into
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def followed(path: Path) -> Path:
    """The file that a link leads to; what is no link, or leads to a device, is itself.

    Raises:
        PermissionError: the link is one that a stranger may have put there.
    """
    check_link(path)
    return path if is_device(path) else real(path)


def part_of(path: Path) -> Path:
    """Where a file is written until it is whole: beside the one that a link leads to; to a device at once.

    Raises:
        PermissionError: the link is one that a stranger may have put there.
    """
    file = followed(path)
    return path if is_device(path) else file.with_name(f"{file.name}.part")


def check_link(path: Path) -> None:
    """Refuse a link that Linux itself would not follow (protected_symlinks), whether or not that is switched on.

    Raises:
        PermissionError: the link is one that a stranger may have put there.
    """
    if os.name == "nt" or not path.is_symlink():
        return
    folder, owner = path.parent.stat(), path.lstat().st_uid
    everybodys = stat.S_ISVTX | stat.S_IWOTH
    if folder.st_mode & everybodys == everybodys and owner not in {os.geteuid(), folder.st_uid}:
        raise PermissionError(errno.EACCES, "it is another user's link in a folder of everybody's")


def name_it(part: Path, path: Path) -> None:
    """Put what is whole in its place: that of the file to which a link led at the start, and the link stays.

    Args:
        part: see `part_of`.
        path: where; what is a device has it all already, and what our standard output goes into gets it added there.

    Raises:
        OSError: the disk failed.
    """
    if part == path:
        return
    if (number := standard(path)) is None:
        part.replace(_beside(part, path))
        return
    # Opened by its name it would be emptied.
    with part.open("rb") as whole, open(number, "wb", closefd=False) as shared:
        shutil.copyfileobj(whole, shared)
    part.unlink()


def standard(path: Path) -> int | None:
    """Which of standard output and error goes into this file: others may write into it, too, before and after us."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(number)):
                return number
    return None


def _beside(part: Path, path: Path) -> Path:
    """Where what is whole belongs: a link may lead elsewhere by now, to another disk even."""
    return part.with_name(part.name.removesuffix(".part")) if part.name.endswith(".part") else path


def appear(part: Path, path: Path) -> None:
    """Give what is whole its name: also after a power cut there is the old file or the new one.

    Args:
        part: a file (see `part_of`), or a folder of files.
        path: a file may be there already.

    Raises:
        SinkFailed: the disk failed.
    """
    if part == path:  # a device, which cannot be synced
        return
    with writing(path):
        for file in part.iterdir() if part.is_dir() else ():
            _sync(file)
        _sync(part)
        name_it(part, path)
        _sync(_beside(part, path).parent)


def of_nobody(path: Path) -> bool:
    """Whether a file manager has put it there because somebody looked into the folder, and will again."""
    return path.name.lower() in _NOBODYS or path.name.startswith("._")


def replaceable(path: Path, ours: re.Pattern[str]) -> None:
    """See that a folder may be written to a path: nothing is there, or a folder that holds nothing but our files.

    What file managers put into every folder does not count.

    Args:
        path: where.
        ours: what the names of our files are.

    Raises:
        ConfigError: there is something else.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ConfigError(f"{path} is not a folder, and one would be written there: name another")
    if path.is_dir():
        there = (p for p in path.iterdir() if not of_nobody(p) or p.is_dir())
        other = next((p.name for p in there if not ours.fullmatch(p.name) or p.is_dir()), None)
        if other is not None:
            raise ConfigError(f"{path} would be replaced, and holds {other}, which is not ours: name another folder")


def appear_folder(part: Path, path: Path, ours: re.Pattern[str]) -> None:
    """Give a folder that is whole its name, in the place of one of ours.

    Raises:
        ConfigError: something else is there.
        SinkFailed: the disk failed.
    """
    with writing(path):
        replaceable(path, ours)
        old = path.with_name(f"{path.name}.old")
        remove_folder(old, ours)
        if path.exists():
            path.rename(old)
        appear(part, path)
        remove_folder(old, ours)


def remove_folder(path: Path, ours: re.Pattern[str]) -> None:
    """Remove a folder of our files, if it is there.

    Raises:
        ConfigError: it holds something else.
        OSError: the disk failed; inside `writing` it is told with the name.
    """
    replaceable(path, ours)
    if path.is_dir():
        for file in path.iterdir():
            file.unlink(missing_ok=True)  # a "._name" goes with its file
        path.rmdir()


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders
        return
    # What is only open for reading can be synced everywhere but on Windows.
    file = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
