"""The cameras of this machine, and what each offers."""

from __future__ import annotations

import contextlib
import errno
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import av.logging

from streampose.sources.offer import CameraInfo, CameraMode

__all__ = [
    "CAMERA_FORMAT",
    "camera_modes",
    "camera_names",
    "camera_size",
    "cameras",
    "parse_avfoundation",
    "parse_dshow",
    "why_not",
]

CAMERA_FORMAT = {"darwin": "avfoundation", "win32": "dshow"}.get(sys.platform, "v4l2")
"""FFmpeg's name of this system's camera interface."""
_DEVICES, _NAMES = Path("/dev"), Path("/sys/class/video4linux")

_DSHOW = re.compile(
    r"(?:vcodec|pixel_format)=(?P<format>\S+)\s+min s=(?P<w0>\d+)x(?P<h0>\d+) fps=(?P<low>[\d.]+)"
    r"\s+max s=(?P<w1>\d+)x(?P<h1>\d+) fps=(?P<high>[\d.]+)"
)
_AVFOUNDATION = re.compile(r"(?P<w>\d+)x(?P<h>\d+)@\[(?P<low>[\d.]+) (?P<high>[\d.]+)\]fps")


def cameras() -> list[CameraInfo]:
    """Every camera, with what it offers."""
    return list(_on_linux() if CAMERA_FORMAT == "v4l2" else _elsewhere())


def camera_names() -> list[str]:
    """The cameras that the system names, in its order; empty where it cannot tell."""
    if CAMERA_FORMAT == "v4l2":
        return [f"{device} ({_name(device)})" for device in _nodes()]
    try:
        devices = av.enumerate_input_devices(CAMERA_FORMAT)
    except (av.error.FFmpegError, ValueError, OSError):
        return []
    return [device.description for device in devices if "video" in device.media_types]


def camera_modes(container_format: str, url: str) -> list[CameraMode]:
    """What one camera offers, as far as the system tells; empty = it does not.

    Args:
        container_format: ``v4l2``, ``avfoundation`` or ``dshow``.
        url: what FFmpeg opens.
    """
    if container_format == "v4l2":
        from streampose.sources.v4l2 import v4l2_camera  # noqa: PLC0415 - Windows has no fcntl

        try:
            camera = v4l2_camera(Path(url))
        except OSError:  # opening it says why
            return []
        return [] if camera is None else camera[1]
    if container_format == "dshow":
        return parse_dshow(_said(url, container_format, {"list_options": "true"}))
    # avfoundation tells only when it is asked for a size that no camera has.
    return parse_avfoundation(_said(url, container_format, {"video_size": "1x1"}))


def camera_size(container_format: str, url: str) -> tuple[int, int] | None:
    """The width and height that a camera is set to; `None` = the system does not tell."""
    if container_format != "v4l2":
        return None
    from streampose.sources.v4l2 import v4l2_size  # noqa: PLC0415 - Windows has no fcntl

    try:
        return v4l2_size(Path(url))
    except OSError:  # opening it says why
        return None


def parse_dshow(text: str) -> list[CameraMode]:
    """Of what FFmpeg says to ``-f dshow -list_options true``; each mode stands there once or twice."""
    found = (
        _mode(m["format"], (int(m["w0"]), int(m["h0"])), (int(m["w1"]), int(m["h1"])), m) for m in _DSHOW.finditer(text)
    )
    return list(dict.fromkeys(found))


def parse_avfoundation(text: str) -> list[CameraMode]:
    """Of what FFmpeg's avfoundation says under "Supported modes"."""
    sizes = (((int(m["w"]), int(m["h"])), m) for m in _AVFOUNDATION.finditer(text))
    return list(dict.fromkeys(_mode("", size, size, m) for size, m in sizes))


def _mode(pixel_format: str, least: tuple[int, int], most: tuple[int, int], found: re.Match[str]) -> CameraMode:
    rates = tuple(sorted({round(float(found["low"]), 3), round(float(found["high"]), 3)}, reverse=True))
    return CameraMode(
        pixel_format=pixel_format, min_size_px=least, max_size_px=most, rates=rates, any_rate=len(rates) > 1
    )


def _said(url: str, container_format: str, options: dict[str, str]) -> str:
    """What FFmpeg logs while it fails to open a device."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as lines, contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            av.open(url, format=container_format, options=options).close()
        return "".join(text for _, _, text in lines)
    finally:
        av.logging.set_level(level)


def _on_linux() -> Iterator[CameraInfo]:
    from streampose.sources.v4l2 import v4l2_camera  # noqa: PLC0415 - Windows has no fcntl

    for device in _nodes():
        try:
            camera = v4l2_camera(device)
        except OSError as error:
            yield CameraInfo(device=_typed(device), name=_name(device), error=why_not(error))
            continue
        if camera is not None:
            yield CameraInfo(device=_typed(device), name=camera[0], modes=tuple(camera[1]))


def _elsewhere() -> Iterator[CameraInfo]:
    for number, name in enumerate(camera_names()):
        url = f"video={name}" if CAMERA_FORMAT == "dshow" else str(number)
        yield CameraInfo(device=str(number), name=name, modes=tuple(camera_modes(CAMERA_FORMAT, url)))


def _nodes() -> list[Path]:
    """Video devices by their numbers."""
    nodes = [path for path in _DEVICES.glob("video*") if path.name[5:].isdigit()]
    return sorted(nodes, key=lambda path: int(path.name[5:]))


def _name(device: Path) -> str:
    try:
        return (_NAMES / device.name / "name").read_text().strip()
    except OSError:
        return device.name


def _typed(device: Path) -> str:
    return device.name[5:] if device.parent == Path("/dev") else str(device)


def why_not(error: OSError) -> str:
    """Why a device cannot be opened, and what to do about it."""
    if isinstance(error, PermissionError):
        return (
            "permission denied; on Linux add yourself to the video group (sudo usermod -aG video $USER, then log in "
            "again), on macOS let the terminal use the camera (System Settings, Privacy)"
        )
    if error.errno == errno.EBUSY:
        return "it is in use by another program: close that first"
    return error.strerror or str(error)
