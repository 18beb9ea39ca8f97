"""From what is named on a command line to recordings, each with a name of its own."""

from __future__ import annotations

import glob
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streampose.errors import ConfigError, SourceNotFound
from streampose.frame import StreamInfo
from streampose.sources import FileSource, ImagesSource, Source, SyntheticSource
from streampose.sources.hwaccel import SOFTWARE
from streampose.sources.images import IMAGE_SUFFIXES, natural
from streampose.sources.probe import probe

__all__ = ["VIDEO_SUFFIXES", "Input", "find_inputs"]

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in "mp4 m4v mov mkv webm avi ts mts m2ts mpg mpeg wmv flv 3gp mxf gif ogv".split()  # noqa: SIM905
)
_PRINTF = re.compile(r"%0?\d*d")
_EDGE_BYTES = 1 << 20
# Where recordings are put one behind the other by adding the files' bytes.
_SPLICED = frozenset({".ts", ".mts", ".m2ts", ".mpg", ".mpeg"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One recording: a video file, images in a row, or drawn figures."""

    name: str
    """Unique among those that are processed together; outputs are called so."""
    paths: tuple[Path, ...] = ()
    """A video, or one or more images."""
    synthetic: str | None = None

    @property
    def images(self) -> bool:
        """Whether it is images in a row."""
        return bool(self.paths) and self.paths[0].suffix.lower() in IMAGE_SUFFIXES

    @property
    def place(self) -> str:
        """Where it is: of images, where the first is."""
        return self.synthetic or str(self.paths[0].resolve())

    def source(self, hwaccel: str = SOFTWARE) -> Source:
        """A new source of it; not opened yet."""
        if self.synthetic is not None:
            return SyntheticSource.parse(self.synthetic, live=False)
        return ImagesSource(self.paths) if self.images else FileSource(self.paths[0], hwaccel=hwaccel)

    def info(self) -> StreamInfo | None:
        """What can be known of its length beforehand."""
        if self.synthetic is not None or not self.paths:
            return None
        if self.images:
            return ImagesSource(self.paths).open(self.name)
        return probe(self.paths[0])

    @property
    def read_anew(self) -> tuple[str, ...]:
        """What is read in another way than by earlier versions, whose work is then not gone on with."""
        return ("spliced",) if self.paths and self.paths[0].suffix.lower() in _SPLICED else ()

    def fingerprint(self) -> str:
        """Changes when the recording does: size, time and both ends of a video; names, sizes and times of images."""
        digest = hashlib.sha256((self.synthetic or "").encode())
        for path in self.paths:
            stat = path.stat()
            digest.update(f"{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        if self.paths and not self.images:
            with self.paths[0].open("rb") as file:
                digest.update(file.read(_EDGE_BYTES))
                file.seek(max(0, self.paths[0].stat().st_size - _EDGE_BYTES))
                digest.update(file.read(_EDGE_BYTES))
        return digest.hexdigest()


def find_inputs(texts: Sequence[str]) -> list[Input]:
    """All recordings that some texts mean, in their order.

    What an earlier run has written is left out of folders and globs, and so is what is hidden.

    A file; a glob; a folder, whose videos are a recording each and whose images are one together; images that are named
    one after the other, or as ``frame_%04d.png``; ``synthetic:…``.

    Raises:
        SourceNotFound: a text means nothing that is there.
        ConfigError: nothing is named at all.
    """
    found: dict[Input, None] = {}
    row: list[Path] = []  # images of one folder that follow one another: a shell has made many names of one glob

    def end_row() -> None:
        if row:
            found.setdefault(_row(tuple(row)))
            row.clear()

    for text in texts:
        for fresh in _meant(text):
            if row and not (fresh.images and fresh.paths[0].parent == row[0].parent):
                end_row()
            if fresh.images:
                row.extend(fresh.paths)
            else:
                found.setdefault(fresh)
    end_row()
    if not found:
        raise ConfigError("name at least one recording: a video, a folder, a glob, images")
    return _with_names(list(found))


def _meant(text: str) -> list[Input]:
    if text.startswith("synthetic:"):
        return [Input(name="synthetic", synthetic=text)]
    path = Path(text)
    if path.is_dir():
        known = _written(path)
        # Beside each file, macOS leaves a "._name" on disks that are not its own.
        files = [p for p in path.iterdir() if not p.name.startswith(".") and p.name not in known and p.is_file()]
        return _of_files(files, f"{path} has no videos and no images in it")
    if path.is_file():
        return [_row((path,)) if path.suffix.lower() in IMAGE_SUFFIXES else _video(path)]
    pattern = _PRINTF.sub("[0-9]*", text)
    if any(sign in pattern for sign in "*?["):
        files = [p for p in map(Path, glob.glob(pattern, recursive=True)) if p.is_file()]  # noqa: PTH207 - takes absolute patterns, too
        # Of each file its folder, and of images in a folder of ours the one in which that lies.
        known_in = {folder: _written(folder) for p in files for folder in (p.parent, p.parent.parent)}
        files = [p for p in files if p.name not in known_in[p.parent]]
        if any(sign in str(Path(pattern).parent) for sign in "*?["):
            # With ".part" or ".old" behind, where a run was cut off.
            files = [p for p in files if not {p.parent.name, p.parent.stem} & known_in[p.parent.parent]]
        return _of_files(files, f"{text} matches no videos and no images")
    raise SourceNotFound(f"no file or folder at {text}")


def _written(folder: Path) -> set[str]:
    """The names of what earlier runs have written into a folder."""
    names: set[str] = set()
    for path in folder.glob(".streampose/*/state.json"):
        try:
            names.update(json.loads(path.read_text(encoding="utf-8"))["state"]["written"])
        except (OSError, ValueError, KeyError, TypeError):  # of another version, or not ours
            continue
    return names


def _of_files(files: Sequence[Path], nothing: str) -> list[Input]:
    videos = sorted((p for p in files if p.suffix.lower() in VIDEO_SUFFIXES), key=natural)
    rows: dict[Path, list[Path]] = {}
    for path in sorted((p for p in files if p.suffix.lower() in IMAGE_SUFFIXES), key=natural):
        rows.setdefault(path.parent, []).append(path)
    if not videos and not rows:
        raise SourceNotFound(nothing)
    return [_video(path) for path in videos] + [_row(tuple(row)) for row in rows.values()]


def _video(path: Path) -> Input:
    return Input(name=_safe(path.stem), paths=(path,))


def _row(paths: tuple[Path, ...]) -> Input:
    first = paths[0]
    name = first.resolve().parent.name if len(paths) > 1 else first.stem
    return Input(name=_safe(name), paths=tuple(sorted(set(paths), key=natural)))


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "recording"


def _with_names(found: Sequence[Input]) -> list[Input]:
    """The same with unique names: files of one name get their folder's in front, and then a number."""
    counts = Counter(one.name for one in found)
    named: list[Input] = []
    taken: set[str] = set()
    for one in found:
        name = one.name
        if counts[name] > 1 and one.paths:
            name = _safe(f"{one.paths[0].resolve().parent.name}_{name}")
        free = next(n for i in range(1, len(found) + 2) if (n := name if i == 1 else f"{name}-{i}") not in taken)
        taken.add(free)
        named.append(replace(one, name=free))
    return named
