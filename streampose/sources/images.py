"""Folders and globs of images."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from streampose.errors import SourceCorrupt, SourceNotFound, SourceUnsupported
from streampose.frame import Frame, Image, StreamInfo
from streampose.sources.source import at_rate

__all__ = ["IMAGE_SUFFIXES", "ImagesSource", "images_in", "natural", "read_image"]

log = logging.getLogger("streampose")

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".ppm", ".pgm"})


class ImagesSource:
    """Images as the frames of a video, in the order that people number files in (``img2`` before ``img10``).

    EXIF orientation is applied; sizes may differ from image to image. One that is damaged is left out, and its number
    with it; how many there were is told at the end.

    Args:
        pattern: a folder, a glob, one image, or the images themselves.
        rate: frames per second that the images stand for.
    """

    live = False

    def __init__(self, pattern: str | Path | Sequence[Path], *, rate: Fraction | int = 30) -> None:
        self._pattern = str(pattern) if isinstance(pattern, str | Path) else str(pattern[0].parent)
        self._named = None if isinstance(pattern, str | Path) else list(pattern)
        self.wanted: Callable[[int, float], bool] | None = None
        """Which images are read; see `Selecting`."""
        self._rate = Fraction(rate)
        self._stream = ""
        self._paths: list[Path] = []
        self._damaged: list[Path] = []
        self._index = 0

    def open(self, stream: str) -> StreamInfo:
        """Find the images, and read the first for its size.

        Raises:
            SourceNotFound: there are none.
            SourceCorrupt: the first cannot be read, or is damaged.
            SourceUnsupported: it is one alone, and has more than one picture.
        """
        self._paths = sorted((p for p in self._found() if p.suffix.lower() in IMAGE_SUFFIXES), key=natural)
        if not self._paths:
            is_other = Path(self._pattern).is_dir() or self._found()
            rest = "; for videos: streampose process" if is_other else ""
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise SourceNotFound(f"no images at {self._pattern} (looked for {suffixes}){rest}")
        if len(self._paths) == 1 and (remedy := _remedy(self._paths[0])) is not None:
            raise SourceUnsupported(f"{self._paths[0]} is {remedy}")
        self._stream, self._index, self._damaged = stream, 0, []
        if (first := read_image(self._paths[0])) is None:
            raise SourceCorrupt(f"{self._paths[0]} is not an image that can be read")
        height, width = first.shape[:2]
        return StreamInfo(
            width_px=width,
            height_px=height,
            time_base=1 / self._rate,
            rate=self._rate,
            frames=len(self._paths),
            duration_s=float(len(self._paths) / self._rate),
        )

    def read(self) -> Frame | None:
        """The next image.

        Raises:
            SourceCorrupt: it cannot be read, and so perhaps none of those after it: the disk is gone, or memory.
        """
        while (index := self._index) < len(self._paths):
            self._index += 1
            if self.wanted is not None and not self.wanted(index, float(index / self._rate)):
                continue
            if (image := read_image(self._paths[index])) is None:
                self._damaged.append(self._paths[index])
                continue
            return at_rate(self._stream, index, self._rate, image)
        return None

    def close(self) -> None:
        """Forget the images."""
        if count := len(self._damaged):
            were = " was" if count == 1 else "s were"
            text = f"%s: %d damaged image{were} left out, the first is %s"
            log.warning(text, self._pattern, count, self._damaged[0].name, extra={"event": "damaged"})
        self._paths, self._damaged = [], []

    def _found(self) -> list[Path]:
        if self._named is not None:
            return self._named
        folder = Path(self._pattern)
        if folder.is_dir():
            return images_in(folder)
        if folder.is_file():  # a name may hold the signs of a glob
            return [folder]
        return [Path(p) for p in glob.glob(self._pattern)]  # noqa: PTH207 - takes absolute patterns, too


def read_image(path: Path) -> Image | None:
    """The picture of a file; `None` = it is damaged, or no image.

    Raises:
        SourceCorrupt: it cannot be read, or there is no memory for it.
    """
    # Through memory: cv2.imread cannot open some names on Windows, and prints its complaints to stderr.
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SourceCorrupt(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as error:
        if error.code != cv2.Error.StsAssert:  # as where there is no memory for it
            raise SourceCorrupt(f"{path} cannot be read: {error.err}") from error
        return None  # by its header it has more than 2^30 pixels
    if image is None:
        return None
    picture: Image = np.ascontiguousarray(image, np.uint8)
    picture.setflags(write=False)
    return picture


def _remedy(path: Path) -> str | None:
    """What a file of several pictures is, and what to do with it; `None` = it has one."""
    if path.suffix.lower() in {".tif", ".tiff"}:
        if (pages := cv2.imcount(str(path))) < 2 or _has_thumbnail(path):
            return None
        return f"a file of {pages} pages, of which only the first could be read: save them as images of a folder"
    is_animation = "an animation, of which only the first picture could be read"
    try:
        with path.open("rb") as file:
            head = file.read(21)
            if _is_animated_png(file):
                return f"{is_animation}: rename it to {path.with_suffix('.apng').name}, which is read as a video"
    except OSError:  # reading it says why
        return None
    # An extended header, and its flag of an animation.
    animated = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 21 and head[20] & 2
    return f"{is_animation}: make a GIF, an APNG or a video of it" if animated else None


def _has_thumbnail(path: Path) -> bool:
    """Whether a TIFF's second page is at most half as high and wide as its first, as those of cameras and pyramids."""
    try:
        _, pages = cv2.imreadmulti(str(path), 0, 2)
    except cv2.error:  # reading it says why
        return True
    # Half of what is odd is rounded up by some, as GDAL.
    return len(pages) < 2 or all(2 * b <= a + 1 for a, b in zip(pages[0].shape[:2], pages[1].shape[:2], strict=True))


def _is_animated_png(file: BinaryIO) -> bool:
    """Whether it says before its first picture that there are more."""
    file.seek(0)
    if file.read(8) != b"\x89PNG\r\n\x1a\n":
        return False
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        if head[4:] == b"acTL":
            return int.from_bytes(file.read(4)) > 1
        file.seek(int.from_bytes(head[:4]) + 4, os.SEEK_CUR)
    return False


def images_in(folder: Path) -> list[Path]:
    """A folder's images in their order; not those that are hidden, as macOS's ``._name`` beside each on other disks."""
    found = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted(found, key=natural)


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A key to sort files by as people number them: ``img2`` before ``img10``."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in re.split(r"(\d+)", path.name)]
