"""Which device decodes: what there is, what was asked for, and why one does not."""

from __future__ import annotations

from functools import lru_cache

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from streampose.errors import ConfigError

__all__ = ["SOFTWARE", "accelerator", "candidates", "why_not", "words"]

SOFTWARE = "none"

# In the order in which `auto` tries them. Those that FFmpeg also lists but whose decoders have names of their own
# (qsv, amf, drm) must be asked for: PyAV opens a codec's first decoder only, which knows nothing of them.
_AUTOMATIC = ("cuda", "videotoolbox", "d3d11va", "vaapi", "vdpau", "d3d12va", "dxva2", "vulkan")


def candidates(choice: str) -> tuple[str, ...]:
    """The devices to try for a choice, in order; none for software.

    Args:
        choice: ``none``, ``auto``, or a device's name.

    Raises:
        ConfigError: this PyAV has no such device. (FFmpeg itself takes an unknown name for "any".)
    """
    there = hwdevices_available()
    if choice == SOFTWARE:
        return ()
    if choice == "auto":
        return tuple(name for name in _AUTOMATIC if name in there)
    if choice not in there:
        raise ConfigError(
            f"no device called {choice!r} decodes here; there are: {', '.join((SOFTWARE, 'auto', *there))}"
        )
    return (choice,)


@lru_cache
def why_not(device: str) -> str | None:
    """Why the device cannot be opened on this machine, in words; `None` = it can, or only a stream will show.

    Asked before a stream is opened, because PyAV's own `allow_software_fallback` is for streams that a device cannot
    decode: a device that is not there makes `av.open` fail, with the error of a file that may not be read.
    """
    try:
        HWAccel(device).create(av.Codec("h264", "r"))
    except NotImplementedError:
        return None  # it does not decode H.264, but maybe the stream's codec
    except (av.error.FFmpegError, OSError) as error:
        return f"the device cannot be opened ({words(error)})"
    return None


def accelerator(device: str) -> HWAccel:
    """What `av.open` wants. Frames are brought to this machine's memory as they come (not `is_hw_owned`)."""
    return HWAccel(device, allow_software_fallback=True)


def words(error: BaseException) -> str:
    """What FFmpeg says, without the URL (which may hold a password) and the error number."""
    return getattr(error, "strerror", None) or type(error).__name__
