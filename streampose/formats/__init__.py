"""Files of poses: what each looks like, written and read one moment at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streampose.clip import Clip, Moment
from streampose.errors import ConfigError, FormatUnreadable
from streampose.formats.coco import check_coco, write_coco
from streampose.formats.jsonl import moment_of, read_jsonl, record_of, write_jsonl
from streampose.formats.mot import write_mot
from streampose.formats.npz import read_npz, write_npz
from streampose.formats.openpose import OPENPOSE_NAMES, check_openpose, read_openpose, write_openpose
from streampose.formats.parquet import pyarrow_here, read_parquet, write_parquet
from streampose.formats.table import read_csv, write_csv
from streampose.formats.validity import holdable
from streampose.pose import Skeleton
from streampose.whole import appear, appear_folder, is_device, part_of, remove_folder, replaceable, writing

__all__ = ["FORMATS", "Format", "format_for", "format_named", "load", "moment_of", "read", "record_of", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One kind of file."""

    name: str
    suffix: str
    write: Callable[[Path, Iterable[Moment]], None]
    """Creates or overwrites; takes moments of one stream, in order."""
    read: Callable[[Path], Iterator[Moment]] | None
    """`None` = it does not hold enough to be read back."""
    is_folder: bool = False
    check: Callable[[Skeleton], None] = lambda skeleton: None
    """Raises a `FormatUnreadable` of a skeleton whose people it cannot hold."""
    needs: Callable[[], object] = lambda: None
    """Raises a `ConfigError` where its library is not installed."""


FORMATS = {
    f.name: f
    for f in (
        Format(name="jsonl", suffix=".jsonl", write=write_jsonl, read=read_jsonl),
        Format(
            name="openpose",
            suffix=".openpose",
            write=write_openpose,
            read=read_openpose,
            is_folder=True,
            check=check_openpose,
        ),
        Format(name="coco", suffix=".coco.json", write=write_coco, read=None, check=check_coco),
        Format(name="csv", suffix=".csv", write=write_csv, read=read_csv),
        Format(name="parquet", suffix=".parquet", write=write_parquet, read=read_parquet, needs=pyarrow_here),
        Format(name="npz", suffix=".npz", write=write_npz, read=read_npz),
        Format(name="mot", suffix=".mot.txt", write=write_mot, read=None),
    )
}
"""Every format by name."""


def format_named(name: str) -> Format:
    """One of `FORMATS`.

    Raises:
        ConfigError: there is none of this name, or its library is not installed.
    """
    if (found := FORMATS.get(name)) is None:
        raise ConfigError(f"no format is called {name!r}; there are: {', '.join(FORMATS)}")
    found.needs()
    return found


def _of(path: Path, among: Iterable[Format] = FORMATS.values()) -> Format:
    """By its name; which ones to name if that says nothing."""
    # The longest suffix first: ".coco.json" is no ".json".
    for one in sorted(FORMATS.values(), key=lambda f: -len(f.suffix)):
        if path.name.lower().endswith(one.suffix):
            return one
    known = ", ".join(f"{f.suffix} ({f.name})" for f in among)
    raise ConfigError(f"{path}: what it is cannot be seen from its name; known: {known}")


def read(path: str | Path) -> Iterator[Moment]:
    """The moments of a file, one after the other.

    Args:
        path: of a ``.jsonl``, ``.csv``, ``.parquet`` or ``.npz`` file of ours, or a folder of OpenPose's JSON files.

    Raises:
        FormatUnreadable: it is not there, not what its name says, or of a format that does not hold enough.
        ConfigError: its name says nothing, or its library is not installed.
    """
    path = Path(path)
    readable = [f for f in FORMATS.values() if f.read is not None]
    kind = FORMATS["openpose"] if path.is_dir() else _of(path, readable)
    if kind.read is None:
        known = ", ".join(f.suffix for f in readable)
        raise FormatUnreadable(f"{path}: {kind.name} does not hold all of what poses are; read back are {known}")
    if not path.exists():
        raise FormatUnreadable(f"no file at {path}")
    try:
        yield from kind.read(path)
    except OSError as error:
        raise FormatUnreadable(f"{path} cannot be read: {error.strerror or ' '.join(str(error).split())}") from error


def load(path: str | Path) -> Clip:
    """All of a file of poses, in memory.

    Args:
        path: of a ``.jsonl``, ``.csv``, ``.parquet`` or ``.npz`` file of ours, or a folder of OpenPose's JSON files.

    Raises:
        FormatUnreadable: it is not there, not what its name says, of a format that does not hold enough, or of several
            streams or skeletons.
        ConfigError: its name says nothing, or its library is not installed.
    """
    moments = tuple(read(path))
    if len({moment.stream for moment in moments}) > 1:
        raise FormatUnreadable(f"{path} holds several streams: read it with streampose.formats.read, or split it")
    try:
        return Clip(moments)
    except ValueError as error:
        raise FormatUnreadable(f"{path}: {error}") from error


def format_for(path: Path, name: str | None = None) -> Format:
    """What would be written to a path: see before any work that it can be.

    Args:
        path: where.
        name: of the format; `None` = as the path says.

    Raises:
        ConfigError: there is no such format, its library is not installed, or a folder is there that is not ours.
    """
    kind = format_named(_of(path).name if name is None else name)
    with writing(path):
        if kind.is_folder:
            for folder in (path, path.with_name(path.name + ".old")):
                replaceable(folder, OPENPOSE_NAMES)
        elif path.is_dir():
            raise ConfigError(f"{path} is a folder, and {kind.name} is a file: name another")
    return kind


def write(path: str | Path, moments: Iterable[Moment], name: str | None = None) -> None:
    """Write moments to a file (for OpenPose, a folder) that appears when it is whole.

    A link stays, and the file that it leads to is replaced; a FIFO or device is written to as it is. A point that is
    NaN or infinite is written as not known: 0, 0, 0.

    Args:
        path: where.
        moments: in order.
        name: of the format; `None` = as the path says.

    Raises:
        ConfigError: there is no such format, its library is not installed, or a folder is there that is not ours.
        FormatUnreadable: the moments have several skeletons or streams where one fits, or what no format could hold; or
            for Parquet there are none.
        SinkFailed: the disk is full, or read-only.
    """
    path = Path(path)
    kind = format_for(path, name)
    with writing(path):
        part = path.with_name(path.name + ".part") if kind.is_folder else part_of(path)
    try:
        with writing(path):
            if kind.is_folder:
                remove_folder(part, OPENPOSE_NAMES)
            kind.write(part, map(holdable, moments))
            if kind.is_folder:
                appear_folder(part, path, OPENPOSE_NAMES)
            else:
                appear(part, path)
    except BaseException:  # also of Ctrl-C, nothing stays
        with suppress(OSError):  # a disk that lets nothing be written lets nothing be removed
            if kind.is_folder:
                remove_folder(part, OPENPOSE_NAMES)
            elif not is_device(part):
                part.unlink(missing_ok=True)
        raise
