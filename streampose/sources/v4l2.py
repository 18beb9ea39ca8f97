"""What cameras on Linux offer: five questions of Video4Linux (linux/videodev2.h) to a device.

FFmpeg lists formats and sizes, but no rates. The libraries that do (linuxpy) are GPL, or need a compiler (v4l2-python).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

from streampose.sources.offer import CameraMode, format_name

__all__ = ["v4l2_camera", "v4l2_size"]

T = TypeVar("T", bound=ctypes.Structure)

_VIDEO_CAPTURE = 1
_DISCRETE = 1  # else all between two values, in steps or not


class _Capability(ctypes.Structure):
    _fields_ = (
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", ctypes.c_uint32),
        ("capabilities", ctypes.c_uint32),
        ("device_caps", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 3),
    )


class _Format(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", ctypes.c_char * 4),
        ("mbus_code", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 3),
    )


class _Size(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("pixelformat", ctypes.c_char * 4),
        ("type", ctypes.c_uint32),
        # One width and height, or the smallest, largest and step of each.
        ("values", ctypes.c_uint32 * 6),
        ("reserved", ctypes.c_uint32 * 2),
    )


class _Interval(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("pixelformat", ctypes.c_char * 4),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        # A fraction of a second, or the shortest, longest and step.
        ("values", ctypes.c_uint32 * 6),
        ("reserved", ctypes.c_uint32 * 2),
    )


class _Picture(ctypes.Union):
    _fields_ = (
        ("size", ctypes.c_uint32 * 2),
        # The kernel's union has 200 bytes, and pointers in it.
        ("room", ctypes.c_void_p * (200 // ctypes.sizeof(ctypes.c_void_p))),
    )


class _Current(ctypes.Structure):
    _fields_ = (("type", ctypes.c_uint32), ("picture", _Picture))


def _request(number: int, kind: type[ctypes.Structure], *, writes: bool) -> int:
    """As the kernel's _IOR and _IOWR macros number it."""
    return (3 if writes else 2) << 30 | ctypes.sizeof(kind) << 16 | ord("V") << 8 | number


_QUERYCAP = _request(0, _Capability, writes=False)
_ENUM_FMT = _request(2, _Format, writes=True)
_G_FMT = _request(4, _Current, writes=True)
_ENUM_FRAMESIZES = _request(74, _Size, writes=True)
_ENUM_FRAMEINTERVALS = _request(75, _Interval, writes=True)


def v4l2_camera(path: Path) -> tuple[str, list[CameraMode]] | None:
    """A camera's name and what it offers; `None` = it is none (a second node with its camera's metadata, an encoder).

    Raises:
        OSError: it cannot be opened, or is no video device.
    """
    with _opened(path) as device:
        capability = _Capability()
        fcntl.ioctl(device, _QUERYCAP, capability)
        # A driver with several nodes tells in device_caps what this one can.
        able = capability.device_caps if capability.capabilities & 0x80000000 else capability.capabilities
        if not able & _VIDEO_CAPTURE:
            return None
        return capability.card.decode(errors="replace"), list(_modes(device))


def v4l2_size(path: Path) -> tuple[int, int]:
    """The width and height of the pictures that a camera is set to.

    Raises:
        OSError: it cannot be opened, or is no camera.
    """
    with _opened(path) as device:
        current = _Current(type=_VIDEO_CAPTURE)
        fcntl.ioctl(device, _G_FMT, current)
        width, height = current.picture.size
        return width, height


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield device
    finally:
        os.close(device)


def _all(device: int, request: int, make: Callable[..., T]) -> Iterator[T]:
    """Ask with 0, 1, 2 … until the driver says that there are no more."""
    for index in count():
        answer = make(index=index)
        try:
            fcntl.ioctl(device, request, answer)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENOTTY}:
                return
            raise
        yield answer


def _modes(device: int) -> Iterator[CameraMode]:
    for kind in _all(device, _ENUM_FMT, partial(_Format, type=_VIDEO_CAPTURE)):
        letters = kind.pixelformat
        name = format_name(letters.decode("ascii", "replace"))
        sizes = partial(_Size, pixelformat=letters)
        for size in _all(device, _ENUM_FRAMESIZES, sizes):
            if size.type == _DISCRETE:
                least = most = (size.values[0], size.values[1])
            else:
                least, most = (size.values[0], size.values[3]), (size.values[1], size.values[4])
            rates, any_rate = _rates(device, letters, most)
            yield CameraMode(pixel_format=name, min_size_px=least, max_size_px=most, rates=rates, any_rate=any_rate)
            if size.type != _DISCRETE:
                break


def _rates(device: int, letters: bytes, size_px: tuple[int, int]) -> tuple[tuple[float, ...], bool]:
    """Frames per second, highest first, and whether what lies between counts, too."""
    rates: set[float] = set()
    intervals = partial(_Interval, pixelformat=letters, width=size_px[0], height=size_px[1])
    for interval in _all(device, _ENUM_FRAMEINTERVALS, intervals):
        fractions = interval.values[:2] if interval.type == _DISCRETE else interval.values[:4]
        rates |= {over / under for under, over in zip(fractions[::2], fractions[1::2], strict=True) if under}
        if interval.type != _DISCRETE:
            return tuple(sorted(rates, reverse=True)), True
    return tuple(sorted(rates, reverse=True)), False
