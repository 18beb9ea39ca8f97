"""What a user types, to a source."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from streampose.errors import ConfigError, SourceNotFound, SourceUnauthorized
from streampose.number import is_positive
from streampose.redaction import redact, unspaced
from streampose.sources.camera import CameraSource
from streampose.sources.file import FileSource
from streampose.sources.hwaccel import SOFTWARE, candidates
from streampose.sources.images import IMAGE_SUFFIXES, ImagesSource
from streampose.sources.live_media import LiveMedia
from streampose.sources.network import NetworkSource
from streampose.sources.offer import CameraWish
from streampose.sources.paced import Paced
from streampose.sources.reconnect import Reconnecting
from streampose.sources.source import Source
from streampose.sources.synthetic import SyntheticSource
from streampose.sources.transport import transport_options

__all__ = ["is_camera", "open_source"]

# No system waits for as long as a number may be.
_LONGEST_S = 86_400
_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "srt", "udp", "rtp", "tcp")
_CAMERA = re.compile(r"\d{1,2}|/dev/video.*|(v4l2|avfoundation|dshow):.+", re.DOTALL)
# An address whose scheme was forgotten: 10.0.0.5/a?x=1, user:password@camera/a, localhost:8554/a, [::1]/a.
_HOST = re.compile(
    r"([^/@:]+:.*@[\w.-]+|\d{1,3}(\.\d{1,3}){3}|\[[\da-f]*:[\da-f:.]*\]|[\w.-]+:\d{2,5}(?=/))([:/].*)?",
    re.DOTALL | re.IGNORECASE,
)
# Not .flv and .m3u8, which may be live.
_RECORDINGS = re.compile(r"\.(mp4|m4v|mov|3gp|mkv|webm|avi|wmv|ogv|mpe?g|ts|m2ts|mts)")
# MPEG of television, and MJPEG of cameras that call it image.jpg.
_EITHER = IMAGE_SUFFIXES | {".ts", ".m2ts", ".mts", ".mpg", ".mpeg"}


def open_source(
    text: str | Path | int,
    *,
    live: bool | None = None,
    reconnect: bool = True,
    hwaccel: str = SOFTWARE,
    camera: CameraWish | None = None,
    transport: str = "auto",
    patient: bool = False,
    timeout_s: float | None = None,
) -> Source:
    """The source that a text, a path or a camera's number means; it is not opened yet.

    ====================================  ==========================================================
    ``clip.mp4``, ``file:///a/clip.mp4``  a video file
    ``frames/``, ``frames/*.png``         images
    ``0``, ``/dev/video0``                a camera; also ``avfoundation:NAME``, ``dshow:video=NAME``
    ``rtsp://…``, ``http://…``, …         a network stream
    ``camera.sdp``                        what a camera sends by RTP, described
    ``synthetic:?people=2``               drawn figures
    ====================================  ==========================================================

    Args:
        text: as above.
        live: `True` plays a recording at its own speed, dropping what is not taken in time; `False` asks for every
            frame, which a camera cannot give; `None` = as the source is by nature.
        reconnect: open cameras and network streams again when they go away.
        hwaccel: what decodes files and network streams: ``none`` (software), ``auto``, or a device (``cuda``, …).
        camera: what to ask of a camera of this machine.
        transport: of RTSP, as `NetworkSource` takes it.
        patient: of what is opened again: wait also for hosts and streams that there are not, as `Reconnecting` can.
        timeout_s: of a network stream alone: until it must be open, and the longest time without a picture; `None` =
            5 s.

    Raises:
        ConfigError: it is not understood, or cannot be had this way; no such device decodes here; no such transport.
        SourceNotFound: it looks like a file, and there is none.
    """
    candidates(hwaccel)  # a wrong name is told, whatever the source is
    transport_options(transport)
    if not isinstance(text, str | Path | int):
        raise ConfigError(f"a source is a text, a path or a camera's number, not {text!r}")
    text = unspaced(str(text).strip())
    within_s = 5.0 if timeout_s is None else timeout_s
    if not (is_positive(within_s) and within_s <= _LONGEST_S):
        raise ConfigError(f"a timeout is positive, and a day at most, not {timeout_s!r} s")
    network = partial(NetworkSource, hwaccel=hwaccel, transport=transport, open_timeout_s=within_s, stall_s=within_s)
    source = _recognise(text, live, hwaccel, camera, network)
    if timeout_s is not None and not isinstance(source, NetworkSource):
        raise ConfigError(f"{redact(text)} comes over no network: there is no timeout for it")
    if live is False and source.live:
        raise ConfigError(
            f"{redact(text)} is live: it cannot wait until every frame is processed (leave out --offline or live=False)"
        )
    if reconnect and isinstance(source, LiveMedia) and source.live:
        return Reconnecting(source, patient=patient)
    return Paced(source) if live and not source.live else source


def is_camera(source: Source) -> bool:
    """Whether it is a camera of this machine, which mostly looks at whoever sits there."""
    return isinstance(source.source if isinstance(source, Reconnecting) else source, CameraSource)


def _recognise(
    text: str, live: bool | None, hwaccel: str, camera: CameraWish | None, network: Callable[[str], NetworkSource]
) -> Source:
    if not text:
        raise ConfigError("the source is empty: give a file, a folder, a URL, a camera number, or synthetic:")
    if text.startswith("synthetic:"):
        return SyntheticSource.parse(text, live=live is not False)
    if text.startswith("file://"):
        return FileSource(unquote(urlsplit(text).path), hwaccel=hwaccel)
    if _CAMERA.fullmatch(text):
        return CameraSource(text, camera)
    scheme, colon, _ = text.partition("://")
    if colon:
        return _network(text, scheme.lower(), live, network)
    path = Path(text)
    is_there = _is_there(path)
    if is_there and (path.is_dir() or (path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())):
        return ImagesSource(text)
    if path.suffix.lower() == ".sdp" and is_there:
        return network(f"file:{path}")
    if is_there:
        return FileSource(path, hwaccel=hwaccel)
    if _HOST.fullmatch(text) and not _is_there(Path(path.parts[0])):
        raise SourceNotFound(f"no file of this name, and no scheme: did you mean {redact(unspaced(f'rtsp://{text}'))}?")
    if any(sign in text for sign in "*?["):
        return ImagesSource(text)
    if text == "-":
        raise SourceNotFound("no file at -; standard input is /dev/stdin, on Linux and macOS")
    if (start := text.partition(":")[0].lower()) in _SCHEMES and ":" in text:
        raise SourceNotFound(f"no file at {redact(text)}; a URL begins with {start}://")
    near = difflib.get_close_matches(path.name, _neighbours(path), n=1)
    raise SourceNotFound(f"no file at {text}" + (f"; did you mean {path.with_name(near[0])}?" if near else ""))


def _network(text: str, scheme: str, live: bool | None, network: Callable[[str], NetworkSource]) -> Source:
    if scheme not in _SCHEMES:
        # Letters in a wrong order (rstp) first: by its own measure difflib finds rtp nearer.
        near = [s for s in _SCHEMES if sorted(s) == sorted(scheme)] or difflib.get_close_matches(scheme, _SCHEMES, n=1)
        hint = f"did you mean {near[0]}://?" if near else f"known: {', '.join(f'{s}://' for s in _SCHEMES)}"
        raise ConfigError(f"{redact(text)}: the protocol {scheme}:// is not known; {hint}")
    source = network(text)
    parts = urlsplit(text)
    if not parts.hostname and not (scheme in {"udp", "rtp"} and parts.port):
        raise ConfigError(f"{redact(text)} names no host")
    # A recording on a web server, or a picture, is no camera: it has an end, and can wait.
    suffix = Path(parts.path).suffix.lower()
    # Some may be either, which the opening shows, if they shall be live.
    ended = not (live and suffix in _EITHER) and (suffix in IMAGE_SUFFIXES or _RECORDINGS.fullmatch(suffix))
    if scheme in {"http", "https"} and ended:
        source.live = False
    return source


def _neighbours(path: Path) -> list[str]:
    there = _is_there(path.parent) and path.parent.is_dir()
    return [p.name for p in path.parent.iterdir()] if there else []


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError as error:
        raise SourceUnauthorized(f"{path} may not be looked at: {error.strerror}") from error
    except OSError:  # no file system takes such a name
        return False
