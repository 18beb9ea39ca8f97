"""What a camera offers, and what is asked of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import av

from streampose.errors import SourceUnsupported

__all__ = ["CameraInfo", "CameraMode", "CameraWish", "completed", "format_name", "in_words"]

# FFmpeg's names of the formats that cameras have, by their four letters; another one goes by its letters.
_FORMATS = {
    "mjpg": "mjpeg",
    "jpeg": "mjpeg",
    "yuyv": "yuyv422",
    "yuy2": "yuyv422",
    "uyvy": "uyvy422",
    "yu12": "yuv420p",
    "rgb3": "rgb24",
    "bgr3": "bgr24",
    "grey": "gray",
}
_COMPRESSED = {"mjpeg", "h264"}
# Drivers tell 29.97 or 30.00003 where people say 30.
_SAME_RATE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMode:
    """Pictures that a camera can send."""

    pixel_format: str
    """FFmpeg's name: ``mjpeg``, ``yuyv422``, ``h264``; empty = the system does not tell."""
    min_size_px: tuple[int, int]
    """Width and height …"""
    max_size_px: tuple[int, int]
    """… up to these; mostly the same."""
    rates: tuple[float, ...] = ()
    """Frames per second, highest first; empty = the system does not tell."""
    any_rate: bool = False
    """Whether everything between the highest and the lowest can be had, too."""

    def has(self, wish: CameraWish) -> bool:
        """Whether it is what is asked for."""
        size, rate = wish.size_px, wish.rate
        return (
            (wish.pixel_format is None or not self.pixel_format or wish.pixel_format == self.pixel_format)
            and (
                size is None
                or all(a <= b <= c for a, b, c in zip(self.min_size_px, size, self.max_size_px, strict=True))
            )
            and (
                rate is None
                or not self.rates
                or any(abs(rate - other) < _SAME_RATE for other in self.rates)
                or (self.any_rate and min(self.rates) <= rate <= max(self.rates))
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraWish:
    """What is asked of a camera; `None` = its own choice."""

    size_px: tuple[int, int] | None = None
    """Width and height."""
    rate: int | None = None
    """Frames per second."""
    pixel_format: str | None = None
    """FFmpeg's name: ``mjpeg``, ``yuyv422``, ``h264``."""

    def __str__(self) -> str:
        parts = (
            self.size_px and f"{self.size_px[0]}x{self.size_px[1]}",
            self.pixel_format,
            self.rate and f"{self.rate} fps",
        )
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraInfo:
    """A camera of this machine."""

    device: str
    """What to type for it."""
    name: str
    """As the system calls it."""
    modes: tuple[CameraMode, ...] = ()
    error: str | None = None
    """Why nothing more is known of it."""


def format_name(text: str) -> str:
    """FFmpeg's name of a pixel format, of this or of its four letters."""
    name = text.strip("\0 ").lower()
    return _FORMATS.get(name, name)


def completed(
    camera: str, wish: CameraWish, modes: Sequence[CameraMode], current_px: tuple[int, int] | None = None
) -> CameraWish:
    """The wish with the format, and for a rate the size, that fulfil it.

    Where no format is asked for, it is, of those that FFmpeg knows, the one that gives the size at the highest
    rate: many cameras send 720p uncompressed at 10 fps, and as JPEG at 30. At the same rate uncompressed wins, which
    costs no decoding.

    Args:
        camera: its name, for errors.
        wish: what is asked for.
        modes: what the camera offers.
        current_px: the size it has now. A rate without a size gets this one if it has it, else the largest that does;
            `None` = the system itself finds a size for a rate, as macOS and Windows do.

    Raises:
        SourceUnsupported: the camera does not offer what is asked; the message says what it does.
    """
    if not modes:
        return wish
    fitting = [mode for mode in modes if mode.has(wish)]
    if not fitting:
        raise SourceUnsupported(f"{camera} does not offer {wish}; it offers {in_words(modes)}")
    if wish.rate is not None and wish.size_px is None and current_px is not None:
        now = replace(wish, size_px=current_px)
        largest = max((mode.max_size_px for mode in fitting), key=math.prod)
        wish = now if any(mode.has(now) for mode in fitting) else replace(wish, size_px=largest)
        fitting = [mode for mode in fitting if mode.has(wish)]
    if wish.pixel_format is not None or wish.size_px is None:
        return wish
    known = (mode for mode in fitting if _has_name(mode.pixel_format))
    best = max(
        known, key=lambda mode: (max(mode.rates, default=0.0), mode.pixel_format not in _COMPRESSED), default=None
    )
    return wish if best is None else replace(wish, pixel_format=best.pixel_format)


def _has_name(pixel_format: str) -> bool:
    """Whether FFmpeg can be asked for it: of depth, say, it knows nothing."""
    try:
        av.VideoFormat(pixel_format)
    except ValueError:
        return pixel_format in _COMPRESSED
    return True


def in_words(modes: Sequence[CameraMode]) -> str:
    """``mjpeg 1280x720 (30, 15), 640x480 (30); yuyv422 …``."""
    formats: dict[str, list[str]] = {}
    for mode in modes:
        size = f"{mode.max_size_px[0]}x{mode.max_size_px[1]}"
        if mode.min_size_px != mode.max_size_px:
            size = f"{mode.min_size_px[0]}x{mode.min_size_px[1]} to {size}"
        rates = (" to " if mode.any_rate else ", ").join(f"{rate:.4g}" for rate in mode.rates)
        formats.setdefault(mode.pixel_format, []).append(f"{size} ({rates})" if rates else size)
    return "; ".join(f"{name} {', '.join(sizes)}".strip() for name, sizes in formats.items())
