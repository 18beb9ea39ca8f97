"""The sound of a recording as it lies in the file, not decoded."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard

from streampose.errors import SourceUnsupported
from streampose.sources.boxes import has_index_in_front
from streampose.sources.hwaccel import words
from streampose.sources.track import packets_of, played

__all__ = ["sound_of"]

log = logging.getLogger("streampose")

# More than rounding: recordings were put one behind the other.
_BACK_S = 1.0


def sound_of(path: Path, start_s: float = 0.0) -> Iterator[Packet[AudioStream]]:
    """The packets of what players play, the default one of several, at their own times; none where there is no sound.

    It ends where it cannot be read on, and where its times begin anew, since those of the pictures go on there; a
    warning says so.

    Args:
        path: of a video file.
        start_s: media time of the first picture; packets that end before it are left out.

    Raises:
        SourceUnsupported: the file cannot be opened.
    """
    try:
        container = _opened(path)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceUnsupported(f"{path} cannot be opened for its sound: {words(error)}") from error
    with container:
        sound = played(container.streams.audio)
        if sound is None or sound.time_base is None:
            return
        for other in container.streams:
            if other is not sound:
                other.discard = Discard.all  # pictures are not even read
        unit, last, ended = sound.time_base, -(1 << 62), ""
        # Two packets in one sample are refused by MP4; Matroska's times are rounded.
        known = sound.codec_context  # `None`: FFmpeg has no such codec
        step = math.ceil(1 / ((known and known.sample_rate) or 8000) / unit)
        try:
            for packet in packets_of(container, sound):
                # Edit lists take some out: those at the very beginning are a codec's run-up, which it needs.
                if packet.dts is None or packet.is_corrupt or (packet.is_discard and packet.dts > 0):
                    continue
                if (last - packet.dts) * unit > _BACK_S:
                    ended = "its times begin anew"
                    break
                last = packet.pts = packet.dts = max(packet.dts, last + step)
                if (last + (packet.duration or 0)) * unit > start_s or last < 0 >= start_s:
                    yield packet
            else:
                return
        except (av.error.FFmpegError, OSError) as error:
            ended = words(error)
        log.warning("%s: its sound ends at %.3f s: %s", path, max(0.0, last * unit), ended)


def _opened(path: Path) -> InputContainer:
    url = f"file:{path}"
    try:
        return av.open(url, metadata_errors="replace")
    except (av.error.InvalidDataError, av.error.EOFError):
        if not has_index_in_front(path):
            raise
    # As `FileSource` opens what was cut off within a fragment.
    return av.open(url, metadata_errors="replace", options={"seekable": "0"})
