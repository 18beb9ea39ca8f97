"""Cameras of this machine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import av

from streampose.errors import Disconnected, SourceError, SourceNotFound, SourceUnauthorized, SourceUnsupported
from streampose.frame import StreamInfo
from streampose.sources.hwaccel import words
from streampose.sources.live_media import LiveMedia

__all__ = ["CameraSource", "camera_names"]

# FFmpeg's name of the system's camera interface.
_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
# A plain str: type checkers take sys.platform for a constant, and the other systems' code for dead.
_PLATFORM: str = sys.platform
_NAMED = re.compile(r"(?P<format>v4l2|avfoundation|dshow):(?P<device>.+)", re.DOTALL)


class CameraSource(LiveMedia):
    """A webcam, through FFmpeg's devices (PyAV): the same decoding, timestamps and errors as every other source.

    OpenCV's VideoCapture was the other choice: it has no timestamps worth the name, no reason when it fails, and a
    read of an unplugged camera that blocks for ever or returns the last picture.

    Args:
        device: a number (``0``), a path (``/dev/video0``), or ``v4l2:``, ``avfoundation:``, ``dshow:`` and a name.
        size_px: width and height to ask for; `None` = the camera's own.
        rate: frames per second to ask for.
    """

    def __init__(self, device: str, *, size_px: tuple[int, int] | None = None, rate: int | None = None) -> None:
        self._device = device
        options = {"fflags": "nobuffer"}  # every picture stands alone: none is missed
        if size_px is not None:
            options["video_size"] = f"{size_px[0]}x{size_px[1]}"
        if rate is not None:
            options["framerate"] = str(rate)
        elif _PLATFORM == "darwin":
            options["framerate"] = "30"  # avfoundation's default, 29.97, is refused by Apple's own cameras
        named = _NAMED.fullmatch(device)
        container_format = named["format"] if named else _FORMATS.get(_PLATFORM, "v4l2")
        url = named["device"] if named else f"/dev/video{device}" if device.isdigit() else device
        super().__init__(url, options=options, container_format=container_format, open_timeout_s=10.0, stall_s=5.0)
        self._worked = False

    def open(self, stream: str) -> StreamInfo:
        """Open the camera.

        Raises:
            SourceNotFound: no such camera.
            SourceUnauthorized: the system does not let us.
            SourceUnsupported: it has no such size or rate.
            Disconnected: one of these, of a camera that has worked: it is unplugged, or plugged in again and
                not yet ours.
        """
        try:
            info = self._open(stream)
        except (SourceNotFound, SourceUnauthorized, SourceUnsupported) as error:
            if not self._worked:
                raise
            raise Disconnected(str(error)) from error
        self._worked = True
        return info

    def _open(self, stream: str) -> StreamInfo:
        if self._format == "v4l2" and not Path(self._url).exists():
            there = sorted(str(path) for path in Path("/dev").glob("video*"))
            raise SourceNotFound(
                f"no camera at {self._url}: "
                + (f"there are {', '.join(there)}" if there else "none is connected; try synthetic: for a drawn one")
            )
        if self._format in {"avfoundation", "dshow"} and self._device.isdigit():
            names = camera_names()
            if int(self._device) >= len(names):
                raise SourceNotFound(f"no camera {self._device}: there are {len(names)} ({', '.join(names) or 'none'})")
            self._url = f"video={names[int(self._device)]}" if self._format == "dshow" else self._device
        return super().open(stream)

    @property
    def _name(self) -> str:
        return f"camera {self._device}"

    def _opening_error(self, error: Exception) -> SourceError:
        if isinstance(error, PermissionError):
            return SourceUnauthorized(
                f"{self._name}: permission denied; join the group 'video' (Linux), or allow the terminal "
                "to use it (macOS)"
            )
        if isinstance(error, FileNotFoundError | av.error.FileNotFoundError):
            return SourceNotFound(f"{self._name} does not exist")
        if getattr(error, "errno", None) == 16:
            return SourceUnauthorized(f"{self._name} is in use by another program")
        return SourceUnsupported(f"{self._name} cannot be opened: {words(error)}")

    def _reading_error(self, error: Exception) -> SourceError:
        return Disconnected(f"{self._name} was lost: {words(error)}")


def camera_names() -> list[str]:
    """The cameras that the system names, in its order; empty where it cannot tell."""
    if _PLATFORM == "linux":
        names = sorted(Path("/sys/class/video4linux").glob("video*/name"))
        return [f"/dev/{name.parent.name} ({name.read_text().strip()})" for name in names]
    try:
        devices = av.enumerate_input_devices(_FORMATS.get(_PLATFORM, "v4l2"))
    except (av.error.FFmpegError, ValueError, OSError):
        return []
    return [device.description for device in devices if "video" in device.media_types]
