"""From what is named on a command line to recordings, each with a name of its own."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from streampose.errors import ConfigError, SourceNotFound, SourceUnsupported
from streampose.frame import StreamInfo
from streampose.offline.names import Called, numbered, states_in, tell_apart
from streampose.offline.patterns import Pattern
from streampose.sources import FileSource, ImagesSource, Source, SyntheticSource
from streampose.sources.hwaccel import SOFTWARE
from streampose.sources.images import IMAGE_SUFFIXES, natural
from streampose.sources.probe import peculiarities, probe

__all__ = ["VIDEO_SUFFIXES", "Input", "find_inputs"]

_CONTAINERS = (
    "mp4 m4v mov f4v 3gp 3g2 mkv webm avi divx ts mts m2ts mpg mpeg mpe m2v vob wmv asf flv mxf dv ogv gif apng"
)
_STREAMS = "mjpeg mjpg h264 264 h265 265 hevc"
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in f"{_CONTAINERS} {_STREAMS}".split())
_RATE = Fraction(30)
_EDGE_BYTES = 1 << 20
# Where recordings are put one behind the other by adding the files' bytes.
_SPLICED = frozenset({".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".mpe", ".vob"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One recording: a video file, images in a row, or drawn figures."""

    name: str
    """Unique among those that are processed together; outputs are called so."""
    paths: tuple[Path, ...] = ()
    """A video, or one or more images."""
    synthetic: str | None = None
    images_rate: Fraction = _RATE
    """Frames a second that images stand for."""

    @property
    def images(self) -> bool:
        """Whether it is images in a row."""
        return bool(self.paths) and self.paths[0].suffix.lower() in IMAGE_SUFFIXES

    @property
    def video(self) -> Path | None:
        """The file, if it is a video."""
        return self.paths[0] if self.paths and not self.images else None

    @property
    def is_row(self) -> bool:
        """Whether it is several images; the number of a frame is that of its place among `paths`."""
        return self.images and len(self.paths) > 1

    @property
    def place(self) -> str:
        """Where it is: of images, where the first is."""
        return self.synthetic or str(self.paths[0].resolve())

    def source(self, hwaccel: str = SOFTWARE) -> Source:
        """A new source of it; not opened yet."""
        if self.synthetic is not None:
            return SyntheticSource.parse(self.synthetic, live=False)
        if self.images:
            return ImagesSource(self.paths, rate=self.images_rate)
        return FileSource(self.paths[0], hwaccel=hwaccel)

    def info(self) -> StreamInfo | None:
        """What can be known of its length beforehand."""
        if self.synthetic is not None or not self.paths:
            return None
        if self.images:
            return ImagesSource(self.paths, rate=self.images_rate).open(self.name)
        return probe(self.paths[0])

    @property
    def read_anew(self) -> tuple[str, ...]:
        """What is read in another way than by earlier versions, or than usual; such work is not gone on with."""
        if not self.paths:
            return ()
        if self.images:
            return () if self.images_rate == _RATE else (f"rate {self.images_rate}",)
        return ("spliced",) * (self.paths[0].suffix.lower() in _SPLICED) + peculiarities(self.paths[0])

    def fingerprint(self) -> str:
        """Changes when the recording does: size, time and both ends of a video; names, sizes and times of images."""
        digest = hashlib.sha256((self.synthetic or "").encode())
        for path in self.paths:
            stat = path.stat()
            digest.update(os.fsencode(f"{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"))
        if self.paths and not self.images:
            with self.paths[0].open("rb") as file:
                digest.update(file.read(_EDGE_BYTES))
                file.seek(max(0, self.paths[0].stat().st_size - _EDGE_BYTES))
                digest.update(file.read(_EDGE_BYTES))
        return digest.hexdigest()


def find_inputs(texts: Sequence[str], folder: Path | None = None, *, images_rate: Fraction = _RATE) -> list[Input]:
    """All recordings that some texts mean, in their order.

    What an earlier run has written is left out of folders and globs, and so is what is hidden.

    A file; a folder, whose videos are a recording each and whose images are one together; a glob or
    ``frame_%04d.png``, the same of what it matches; images that are named one after the other; ``synthetic:…``.

    Args:
        texts: as they were typed.
        folder: for what comes out: a recording that was worked on there keeps its name.
        images_rate: frames a second that images in a row stand for.

    Raises:
        SourceNotFound: a text means nothing that is there.
        SourceUnsupported: it means what can be read only once, as a FIFO.
        ConfigError: nothing is named at all, or a text is empty.
    """
    found: dict[object, _Found] = {}
    row: list[Path] = []  # images of one folder that follow one another: a shell has made many names of one glob

    def add(one: _Found) -> None:
        found.setdefault(one.synthetic or tuple(path.resolve() for path in one.paths), one)

    def end_row() -> None:
        if row:
            prefix = os.path.commonprefix([path.stem for path in row])  # noqa: RUF071 - of names, not of paths
            add(_Found(paths=_in_order(row), prefix=prefix.rstrip("0123456789")))
            row.clear()

    for text in texts:
        path = Path(text)
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            if row and path.parent != row[0].parent:
                end_row()
            row.append(path)
            continue
        end_row()
        for one in _meant(text, path):
            add(one)
    end_row()
    if not found:
        raise ConfigError("name at least one recording: a video, a folder, a glob, images")
    return [replace(one, images_rate=images_rate) for one in _named(list(found.values()), folder)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A recording without a name."""

    paths: tuple[Path, ...] = ()
    synthetic: str | None = None
    prefix: str = ""
    """What the names of its images begin with."""


def _meant(text: str, path: Path) -> list[_Found]:
    if not text:
        raise ConfigError("an input is empty: name a video, a folder, a glob, images")
    if text.startswith("synthetic:"):
        return [_Found(synthetic=text)]
    if path.is_dir():
        known = _written(path)
        # Beside each file, macOS leaves a "._name" on disks that are not its own.
        files = [p for p in path.iterdir() if not p.name.startswith(".") and p.name not in known and p.is_file()]
        return _of_files(files, "", f"{path} has no videos and no images in it")
    if path.is_file():
        return [_Found(paths=(path,))]
    if path.exists():  # a FIFO, a device
        raise SourceUnsupported(
            f"{text} is no file, and recordings are read more than once: save it as one, or use run"
        )
    if not Pattern.means(text):
        raise SourceNotFound(f"no file or folder at {text}")
    pattern = Pattern(text)
    # Of each file its folder, and of images in a folder of ours the one in which that lies.
    known_in = {folder: _written(folder) for p in pattern.files for folder in (p.parent, p.parent.parent)}
    files = [p for p in pattern.files if p.name not in known_in[p.parent]]
    if not pattern.one_folder:
        # With ".part" or ".old" behind, where a run was cut off.
        files = [p for p in files if not {p.parent.name, p.parent.stem} & known_in[p.parent.parent]]
    return _of_files(files, pattern.prefix, f"{text} matches no videos and no images")


def _of_files(files: Sequence[Path], prefix: str, nothing: str) -> list[_Found]:
    videos = sorted((p for p in files if p.suffix.lower() in VIDEO_SUFFIXES), key=natural)
    rows: dict[Path, list[Path]] = {}
    for path in sorted((p for p in files if p.suffix.lower() in IMAGE_SUFFIXES), key=natural):
        rows.setdefault(path.parent, []).append(path)
    if not videos and not rows:
        looked_for = ", ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
        raise SourceNotFound(f"{nothing} (looked for {looked_for}); a video that is called otherwise is named itself")
    return [_Found(paths=(p,)) for p in videos] + [_Found(paths=tuple(r), prefix=prefix) for r in rows.values()]


def _in_order(paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(sorted({os.path.abspath(path): path for path in paths}.values(), key=natural))  # noqa: PTH100 - not resolved: a link is a picture of its own


def _named(found: Sequence[_Found], folder: Path | None) -> list[Input]:
    """Each with the name under which it was worked on in a folder, or with one that tells it from the others."""
    rows = Counter(one.paths[0].resolve().parent for one in found if len(one.paths) > 1)
    names = tell_apart([_called(one, rows) for one in found])
    inputs = [Input(name=n, paths=one.paths, synthetic=one.synthetic) for n, one in zip(names, found, strict=True)]
    known: dict[str, dict[str, str]] = {}
    for path, state in [] if folder is None else states_in(folder):
        known.setdefault(str(state.get("source")), {})[path.parent.name] = str(state.get("recording"))
    certain = _known_as(inputs, [known.get(one.place, {}) for one in inputs])
    return [replace(one, name=name) for one, name in zip(inputs, numbered(names, certain), strict=True)]


def _called(one: _Found, rows: Mapping[Path, int]) -> Called:
    if one.synthetic is not None:
        return Called(name="synthetic")
    first = one.paths[0].resolve()
    suffix = first.suffix.lower().removeprefix(".")
    folders = [folder.name for folder in first.parents if folder.name]
    if len(one.paths) == 1:
        return Called(name=one.paths[0].stem, folders=tuple(folders), suffix=suffix)
    if rows[first.parent] > 1 and (prefix := one.prefix.rstrip("_-. ")):
        return Called(name=prefix, folders=tuple(folders), suffix=suffix)
    return Called(name=first.parent.name, folders=tuple(folders[1:]), suffix=suffix)


def _known_as(inputs: Sequence[Input], known: Sequence[Mapping[str, str]]) -> list[str | None]:
    """Of the names under which what lies in its place was worked on, one for each; no name is for two.

    The newest of this very recording, better its own; or else its own, which the recording then had another content
    under. Rows of images that share their first one lie in one place.
    """
    certain: list[str | None] = []
    for one, names in zip(inputs, known, strict=True):
        same = [name for name, recording in names.items() if recording == _fingerprint(one) and name not in certain]
        certain.append(one.name if one.name in same else next(iter(same), None))
    for i, (one, names) in enumerate(zip(inputs, known, strict=True)):
        if certain[i] is None and one.name in names and one.name not in certain:
            certain[i] = one.name
    return certain


def _fingerprint(one: Input) -> str | None:
    try:
        return one.fingerprint()
    except OSError:  # which is this recording's own, when its turn comes
        return None


def _written(folder: Path) -> set[str]:
    """The names of what earlier runs have written into a folder."""
    lists = [state.get("written") for _, state in states_in(folder)]
    return {str(name) for names in lists if isinstance(names, list) for name in names}
