"""Pieces of a video to one, without encoding anything again."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from heapq import merge
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.stream import VideoStream

from streampose.errors import SinkFailed
from streampose.sinks.video import FRAGMENTED, VIDEO_SUFFIXES

__all__ = ["join_videos"]

log = logging.getLogger("streampose")


def join_videos(pieces: Sequence[Path], out: Path, suffix: str, sound: Iterable[Packet[AudioStream]] = ()) -> None:
    """Write the pieces one after the other; each packet keeps its time.

    Args:
        pieces: of one codec and size, in order of time; at least one.
        out: overwritten.
        suffix: of the container, as in `VIDEO_SUFFIXES`; `out` may have another.
        sound: goes beside the pictures for as long as they last; what is damaged, and a kind that the container does
            not take, is left out, and a warning says so.

    Raises:
        SinkFailed: a piece is damaged, or the disk is full.
        SourceError: the sound's file cannot be opened.
    """
    try:
        try:
            _join(pieces, out, suffix, _taken(sound, suffix))
        except av.error.FFmpegError as error:
            if not sound or isinstance(error, OSError):
                raise
            # Where it is the pieces that are damaged, they are so again.
            _join(pieces, out, suffix, iter(()))
            log.warning("%s: its sound does not go into it (%s), and is left out", out, error.strerror)
    except (av.error.FFmpegError, OSError) as error:
        raise SinkFailed(f"{out} could not be joined from its pieces: {error.strerror or error}") from error


def _join(pieces: Sequence[Path], out: Path, suffix: str, sound: Iterator[Packet[AudioStream]]) -> None:
    end = max((_span(packet)[1] for packet in _pictures(pieces[-1:])), default=Fraction(0))
    heard = takewhile(lambda packet: _span(packet)[0] < end, sound)
    beginning = next(heard, None)
    # "file:", since before a colon in a relative path FFmpeg sees a protocol.
    with av.open(f"file:{pieces[0]}") as first:
        template = first.streams.video[0]
        time_base = template.time_base or Fraction(1, 90_000)
        options = {} if suffix == ".mkv" else {**FRAGMENTED, "movie_timescale": str(time_base.denominator)}
        with av.open(f"file:{out}", "w", format=VIDEO_SUFFIXES[suffix], container_options=options) as target:
            stream = target.add_stream_from_template(template)
            assert isinstance(stream, VideoStream)
            stream.time_base = time_base
            packets: Iterator[Packet[Any]] = _pictures(pieces)
            if beginning is not None:
                track = target.add_stream_from_template(beginning.stream)
                packets = merge(packets, chain([beginning], heard), key=_span)
            for packet in packets:
                packet.stream = stream if isinstance(packet.stream, VideoStream) else track
                target.mux(packet)


def _pictures(pieces: Iterable[Path]) -> Iterator[Packet[VideoStream]]:
    for piece in pieces:
        with av.open(f"file:{piece}") as source:
            for packet in source.demux(video=0):
                if packet.size:
                    packet.dts = packet.pts  # of short MKVs FFmpeg knows none; sinks reorder nothing
                    yield packet


def _span(packet: Packet[Any]) -> tuple[Fraction, Fraction]:
    """When it begins and ends, in seconds."""
    assert packet.dts is not None
    return packet.dts * packet.time_base, (packet.dts + (packet.duration or 0)) * packet.time_base


def _taken(sound: Iterable[Packet[AudioStream]], suffix: str) -> Iterator[Packet[AudioStream]]:
    """What a container takes of it, and as it does: nothing, if it is not for such a codec."""
    packets = iter(sound)
    if (beginning := next(packets, None)) is None:
        return
    stream = beginning.stream
    name = stream.container.name.removeprefix("file:")
    codec = "unknown" if stream.codec_context is None else stream.codec_context.name
    if not _takes(suffix, stream):
        text = "%s: its sound (%s) does not go into %s as it is, and is left out; AAC does (FFmpeg: -c:v copy -c:a aac)"
        log.warning(text, name, codec, suffix)
        return
    # In MPEG-TS each packet has a header. FFmpeg takes it off itself, but not with `delay_moov`, and fails at damage.
    bare = BitStreamFilterContext("aac_adtstoasc" if codec == "aac" else "null", stream)
    damaged = False
    for packet in chain([beginning], packets):
        begins, unit = packet.dts or 0, packet.time_base  # the filter leaves it empty
        try:
            filtered = bare.filter(packet)
        except av.error.FFmpegError:
            if not damaged:
                text = "%s: its sound is damaged from %.3f s on; such packets are left out"
                log.warning(text, name, float(begins * unit))
            damaged = True
            continue
        for one in filtered:
            # Matroska has no times before 0, and the pictures would be moved.
            if suffix != ".mkv" or _span(one)[0] >= 0:
                one.stream = stream
                yield one


def _takes(suffix: str, sound: AudioStream) -> bool:
    """Whether a container begins with such sound; of some it says that it takes them, and then does not."""
    try:
        with av.open(io.BytesIO(), "w", format=VIDEO_SUFFIXES[suffix]) as trial:
            trial.add_stream_from_template(sound)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
