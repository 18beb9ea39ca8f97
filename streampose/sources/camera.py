"""Cameras of this machine."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from streampose.errors import Disconnected, SourceError, SourceNotFound, SourceUnauthorized, SourceUnsupported
from streampose.frame import StreamInfo
from streampose.sources.hwaccel import words
from streampose.sources.listing import CAMERA_FORMAT, camera_modes, camera_names, camera_size, why_not
from streampose.sources.live_media import LiveMedia
from streampose.sources.offer import CameraWish, completed, in_words

__all__ = ["CameraSource"]

_NAMED = re.compile(r"(?P<format>v4l2|avfoundation|dshow):(?P<device>.+)", re.DOTALL)


class CameraSource(LiveMedia):
    """A webcam, through FFmpeg's devices (PyAV): the same decoding, timestamps and errors as every other source.

    OpenCV's VideoCapture was the other choice: it has no timestamps worth the name, no reason when it fails, and a
    read of an unplugged camera that blocks for ever or returns the last picture.

    Args:
        device: a number (``0``), a path (``/dev/video0``), or ``v4l2:``, ``avfoundation:``, ``dshow:`` and a name.
        wish: the size, rate and pixel format to ask for; `streampose cameras` lists what there is.
    """

    def __init__(self, device: str, wish: CameraWish | None = None) -> None:
        self._device = device
        self._wish = wish or CameraWish()
        named = _NAMED.fullmatch(device)
        container_format = named["format"] if named else CAMERA_FORMAT
        url = named["device"] if named else f"/dev/video{device}" if device.isdigit() else device
        options = {"fflags": "nobuffer"}  # every picture stands alone: none is missed
        if self._wish.rate is not None:
            options["framerate"] = str(self._wish.rate)
        elif container_format == "avfoundation":
            options["framerate"] = "30"  # its default, 29.97, is refused by Apple's own cameras
        super().__init__(url, options=options, container_format=container_format, open_timeout_s=10.0, stall_s=5.0)
        self._convert.hd_is_bt709 = False  # UVC's default is BT.601's matrix, whatever the size
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
        asked = self._asked()
        if asked.size_px is not None:
            self._options["video_size"] = "{}x{}".format(*asked.size_px)
        if (pixel_format := asked.pixel_format) is not None:
            compressed = pixel_format in {"mjpeg", "h264", "hevc"}
            key = {"v4l2": "input_format", "dshow": "vcodec" if compressed else "pixel_format"}
            self._options[key.get(self._format or "", "pixel_format")] = pixel_format
        return super().open(stream)

    def _asked(self) -> CameraWish:
        """What to ask for; a driver of Linux that is asked for what it has not gives something else, silently."""
        if self._wish == CameraWish():
            return self._wish
        where = self._format or "", self._url
        return completed(self._name, self._wish, camera_modes(*where), camera_size(*where))

    @property
    def _name(self) -> str:
        return f"camera {self._device}"

    def _opening_error(self, error: Exception) -> SourceError:
        if isinstance(error, FileNotFoundError):
            return SourceNotFound(f"{self._name} does not exist")
        if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EBUSY):
            return SourceUnauthorized(f"{self._name}: {why_not(error)}")
        offer = in_words(camera_modes(self._format or "", self._url))
        return SourceUnsupported(
            f"{self._name} cannot be opened: {words(error)}" + (f"; it offers {offer}" if offer else "")
        )

    def _reading_error(self, error: Exception) -> SourceError:
        return Disconnected(f"{self._name} was lost: {words(error)}")
