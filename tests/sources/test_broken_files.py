"""Recordings that were cut, damaged or joined: what is there is read, and what is missing is told."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import re
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest
from servers.fields import interlaced
from servers.folder import served
from servers.web import MjpegServer

from streampose.errors import SourceCorrupt, SourceError, SourceUnsupported
from streampose.sources import FileSource, conversion, open_source
from streampose.sources.boxes import boxes
from streampose.sources.conversion import Conversion
from streampose.sources.media import MediaSource


def clip(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 100,
    muxer: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    at: Callable[[int], int] = lambda i: i,
) -> Path:
    """At 25 frames a second, or `at` other moments; no picture is like another."""
    noise = np.random.default_rng(0)
    quick = {"libx264": {"preset": "ultrafast"}, "libvpx": {"deadline": "realtime", "cpu-used": "8"}}
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=25, options={"g": "5"} | quick.get(codec, {}) | (options or {}))
        stream.width, stream.height = 64, 48
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8", "apng": "rgb24"}.get(codec, "yuv420p")
        if codec == "mpeg2video":
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        for i in range(frames):
            coarse = noise.integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            frame = av.VideoFrame.from_ndarray(coarse, format="bgr24")
            frame.pts, frame.time_base = at(i), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path: Path) -> tuple[list[int], SourceError | None]:
    """The numbers of the frames that come, and why no more do, if not because this is the end."""
    numbers = []
    with contextlib.closing(FileSource(path)) as source:
        try:
            source.open("s")
            while (frame := source.read()) is not None:
                numbers.append(frame.index)
        except SourceError as error:
            return numbers, error
    return numbers, None


def test_a_sound_that_begins_within_does_not_end_the_video(tmp_path: Path):
    """PyAV fails at the end of a stream that was not there when the file was opened."""
    path = clip(tmp_path / "v.flv", frames=200)
    sound = bytes([8, 0, 0, 9, 0, 0x10, 0, 0, 0, 0, 0, 0x2F, *bytes(8)])
    path.write_bytes(path.read_bytes() + sound + len(sound).to_bytes(4, "big"))
    assert read(path) == (list(range(200)), None)


@pytest.mark.parametrize("which", [slice(0, 1), slice(2, 3), slice(None)], ids=["first", "third", "every"])
def test_a_header_that_names_colours_that_there_are_not_costs_no_picture(tmp_path: Path, which: slice):
    path = clip(tmp_path / "v.mpg", "mpeg2video")
    data = bytearray(path.read_bytes())
    for found in list(re.finditer(rb"\x00\x00\x01\xb5[\x20-\x2f]", data))[which]:
        data[found.start() + 7] = 0xF0  # its matrix
    (tmp_path / "damaged.mpg").write_bytes(data)
    assert read(tmp_path / "damaged.mpg") == (list(range(100)), None)
    for whole, damaged in zip(pictures(path), pictures(tmp_path / "damaged.mpg"), strict=True):
        # Until a header is whole those of small pictures are taken, which are a little off.
        off = np.abs(damaged.astype(int) - whole).mean()
        assert off < 16 if which != slice(2, 3) else off == 0


def pictures(path: Path) -> Iterator[np.ndarray]:
    with contextlib.closing(FileSource(path)) as source:
        source.open("s")
        while (frame := source.read()) is not None:
            yield frame.image


def test_only_the_first_picture_must_be_one_that_can_be_converted():
    convert, strange = Conversion(), av.VideoFrame(64, 48, "rgb96le")
    with pytest.raises(SourceUnsupported, match="has pictures that cannot be converted: Operation not supported"):
        convert.attempt(strange)
    assert convert.attempt(av.VideoFrame(64, 48, "bgr24")) is not None
    assert convert.attempt(strange) is None


def test_a_picture_that_cannot_be_converted_is_let_go_of_at_once():
    convert = Conversion()
    convert.attempt(av.VideoFrame(64, 48, "bgr24"))
    gc.collect()
    gc.disable()
    try:
        strange = av.VideoFrame(64, 48, "rgb96le")
        held = sys.getrefcount(strange)
        assert convert.attempt(strange) is None
        assert sys.getrefcount(strange) == held
    finally:
        gc.enable()


def test_colours_that_there_are_and_cannot_be_converted_are_told(caplog: pytest.LogCaptureFixture):
    picture = av.VideoFrame(64, 48, "yuv420p")
    for picture.colorspace in (8, 11, 16):  # YCgCo, YDzDx, YCgCo-Re
        with pytest.raises(SourceUnsupported, match="cannot be converted"):
            Conversion().attempt(picture)
    picture.colorspace = 0xF0
    assert Conversion().attempt(picture) is not None
    assert caplog.messages == ["video names colours that are not known here: its own may be seen otherwise"]


def test_a_picture_that_there_is_no_memory_for_is_not_left_out(monkeypatch: pytest.MonkeyPatch):
    convert, picture = Conversion(), av.VideoFrame(64, 48, "bgr24")
    convert.attempt(picture)
    monkeypatch.setattr(conversion, "_bgr", lambda *_: av.error.err_check(-errno.ENOMEM))
    with pytest.raises(MemoryError):
        convert.attempt(picture)


def short_of_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """For one picture; counts on."""
    convert, calls = conversion._bgr, count()

    def short(*given: object) -> np.ndarray:
        if next(calls) == 3:
            av.error.err_check(-errno.ENOMEM)
        return convert(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(conversion, "_bgr", short)
    return calls


def test_a_live_source_goes_on_where_there_is_memory_again(monkeypatch: pytest.MonkeyPatch):
    server, calls = MjpegServer(), short_of_memory(monkeypatch)
    with contextlib.closing(open_source(f"http://127.0.0.1:{server.port}/v", live=True)) as source:
        source.open("s")
        assert [source.read() is not None for _ in range(6)] == [True] * 6
    server.stop()
    assert next(calls) > 6


def test_a_recording_of_a_web_server_ends_where_there_is_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clip(tmp_path / "v.mp4", frames=10)
    short_of_memory(monkeypatch)
    with served(tmp_path) as url, contextlib.closing(open_source(f"{url}/v.mp4")) as source:
        source.open("s")
        assert [source.read() is not None for _ in range(3)] == [True] * 3
        with pytest.raises(MemoryError):
            source.read()


def test_a_picture_that_cannot_be_converted_is_left_out_with_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    attempt, calls = Conversion.attempt, count()
    monkeypatch.setattr(Conversion, "attempt", lambda *given: None if next(calls) == 7 else attempt(*given))
    assert read(clip(tmp_path / "v.mp4", frames=10)) == ([0, 1, 2, 3, 4, 5, 6, 8, 9], None)
    assert caplog.messages == [f"{tmp_path / 'v.mp4'}: 1 damaged packet was left out"]


CONTAINERS = {
    "v.mkv": ("libx264", {}),
    "v.webm": ("libvpx", {}),
    "fragmented.mp4": ("libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "faststart.mp4": ("libx264", {"movflags": "faststart"}),
    "v.flv": ("libx264", {}),
    "v.avi": ("mjpeg", {}),
    "v.mxf": ("mpeg2video", {}),
    "v.gif": ("gif", {}),
}


@pytest.mark.parametrize(("name", "codec", "muxer"), [(name, *how) for name, how in CONTAINERS.items()])
def test_a_file_that_was_cut_does_not_look_like_one_that_ends(
    tmp_path: Path, name: str, codec: str, muxer: dict[str, str]
):
    data = clip(path := tmp_path / name, codec, muxer=muxer).read_bytes()
    assert read(path) == (list(range(100)), None)
    with av.open(str(path)) as container:
        places = [(packet.pos or 0, packet.size) for packet in container.demux(video=0)]
    for whole in (50, 90):
        at, size = places[whole]
        path.write_bytes(data[: at + size // 2])
        numbers, error = read(path)
        assert type(error) is SourceCorrupt
        assert "breaks off" in str(error)
        assert numbers in (list(range(whole)), list(range(whole + 1)))  # some decoders show what there is of the last


@pytest.mark.parametrize("movflags", ["frag_keyframe+empty_moov", "frag_keyframe"])
def test_a_fragmented_mp4_that_was_cut_within_what_tells_of_a_fragment_gives_those_before(
    tmp_path: Path, movflags: str
):
    data = clip(path := tmp_path / "v.mp4", muxer={"movflags": movflags}).read_bytes()
    last = data.rindex(b"moof") - 4
    length = int.from_bytes(data[last:][:4], "big")
    for there, why in ((length // 2, f"its last {length - length // 2} bytes are missing"), (length - 3, "")):
        path.write_bytes(data[: last + there])
        numbers, error = read(path)
        assert numbers == list(range(95))
        assert f"{path} breaks off: {why}" in str(error)


def test_how_much_is_missing_is_told(tmp_path: Path):
    data = clip(path := tmp_path / "v.mkv").read_bytes()
    path.write_bytes(data[:-9])
    assert str(read(path)[1]) == f"{path} breaks off: its last 9 bytes are missing"
    path.write_bytes(data[: len(data) // 2])
    numbers, error = read(path)
    assert str(error) == f"{path} breaks off: its last {4 - len(numbers) / 25:.1f} s are missing"
    data = clip(path := tmp_path / "v.avi", "mjpeg").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    numbers, error = read(path)
    missing = re.fullmatch(r"its last (\d\.\d) s are missing", str(error).partition(" breaks off: ")[2])
    assert missing is not None
    assert float(missing[1]) == pytest.approx(4 - len(numbers) / 25, abs=0.1)  # the last may be half there


def test_what_was_written_live_names_no_end_and_has_one(tmp_path: Path):
    assert read(clip(tmp_path / "v.mkv", muxer={"live": "1"})) == (list(range(100)), None)


def test_sizes_and_times_that_cannot_be_are_not_believed(tmp_path: Path):
    data = clip(path := tmp_path / "v.mkv").read_bytes()
    at = data.index(b"\x18\x53\x80\x67") + 4
    for size in (b"\0" + b"\xff" * 7, b"\x01\x80" + bytes(6), b"\x01" + b"\xff" * 6 + b"\xfe"):
        path.write_bytes(data[:at] + size + data[at + 8 :])
        assert read(path) == (list(range(100)), None)
    path.write_bytes(data.replace(b"00:00:04.0", b"99:99:99.0"))
    assert read(path) == (list(range(100)), None)
    path.write_bytes(data.replace(b"00:00:04.0", b"00:00:09.0"))
    assert str(read(path)[1]) == f"{path} breaks off: its last 5.0 s are missing"


def test_a_file_of_nothing_but_boxes_is_not_walked_to_its_end(tmp_path: Path):
    (path := tmp_path / "v.mp4").write_bytes(b"\0\0\0\x08free" * 300_000)
    assert sum(1 for _ in boxes(path)) < 300_000


def test_what_stands_before_or_behind_the_end_of_a_whole_file_is_none_of_its_losses(tmp_path: Path):
    data = clip(path := tmp_path / "v.gif", "gif").read_bytes()
    path.write_bytes(data[:-1] + b"\x21\xfe\x01A\0\x3b")  # a comment
    assert read(path) == (list(range(100)), None)
    for name, muxer in (("v.mkv", {}), ("v.mp4", {"movflags": "frag_keyframe+empty_moov"})):
        data = clip(path := tmp_path / name, muxer=muxer).read_bytes()
        for behind in (bytes(1000), b"TAGTitle of the thing".ljust(128, b"\0")):  # ID3
            path.write_bytes(data + behind)
            assert read(path) == (list(range(100)), None)


def test_a_picture_that_stands_for_long_at_the_end_need_not_come_last(tmp_path: Path):
    plain = clip(tmp_path / "v.mp4", frames=59, options={"bf": "3", "b_adapt": "0", "g": "50"})
    with av.open(str(plain)) as source, av.open(str(path := tmp_path / "v.mkv"), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        end = max(packets, key=lambda packet: packet.pts or 0)
        assert end is not packets[-1]
        end.duration *= 250  # 10 s
        for packet in packets:
            packet.stream = stream
            container.mux(packet)
    assert read(path) == (list(range(59)), None)


def test_an_avi_whose_last_frames_are_empty_is_whole(tmp_path: Path):
    """Recorders of screens write them where nothing moves."""
    data = bytearray(clip(path := tmp_path / "v.avi", "mjpeg").read_bytes())
    index = data.rindex(b"idx1") + 8
    chunks = [found.start() for found in re.finditer(b"00dc", data[:index]) if found.start() > data.index(b"movi")]
    for i in range(70, 100):
        length = int.from_bytes(data[chunks[i] + 4 :][:4], "little")
        data[chunks[i] + 4 : chunks[i] + 16] = struct.pack("<I4sI", 0, b"JUNK", length - 8)
        data[index + 16 * i + 12 : index + 16 * i + 16] = bytes(4)
    path.write_bytes(data)
    assert read(path) == (list(range(70)), None)
    whole = clip(path, "mjpeg").read_bytes()
    for damaged in (data[: chunks[50]], data[: chunks[50]] + bytes(len(data) - chunks[50]), zeroed(whole, 50, 100)):
        path.write_bytes(damaged)
        numbers, error = read(path)
        assert (len(numbers), str(error)) == (50, f"{path} breaks off: its last 2.0 s are missing")


def zeroed(data: bytes, first: int, behind: int) -> bytes:
    """An AVI whose frames of these numbers a bad disk has lost; what its index says of them is there."""
    index = data.rindex(b"idx1") + 8
    base = data.index(b"movi")
    places = [base + int.from_bytes(data[index + 16 * i + 8 :][:4], "little") for i in range(behind)]
    end = index - 8 if behind == 100 else places[behind - 1]
    return data[: places[first]] + bytes(end - places[first]) + data[end:]


def lose(path: Path, *numbers: int) -> None:
    """Of an MP4, the packets with these numbers become zeros."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in (packets[number] for number in numbers):
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(data)


@pytest.mark.parametrize("lost", [0, 1, 7])
def test_the_numbers_of_an_mp4_are_those_of_its_packets_whichever_is_damaged(tmp_path: Path, lost: int):
    path = clip(tmp_path / "v.mp4", "mjpeg", frames=10)
    lose(path, lost)
    assert read(path) == ([i for i in range(10) if i != lost], None)


@pytest.mark.parametrize("lost", [(0, 3), (0, 2), (1,), (1, 2), (0, 2, 4, 6)])
def test_an_interlaced_mp4_whose_packets_are_pictures_is_numbered_by_them(tmp_path: Path, lost: tuple[int, ...]):
    path = clip(tmp_path / "v.mp4", frames=10, options={"x264-params": "interlaced=1", "g": "1"})
    lose(path, *lost)
    assert read(path) == ([i for i in range(10) if i not in lost], None)


@pytest.mark.parametrize("threads", [0, 2, 4])
def test_it_is_numbered_by_them_also_where_several_threads_tell_of_damage_later(tmp_path: Path, threads: int):
    path = clip(tmp_path / "v.mp4", frames=12, options={"x264-params": "interlaced=1", "g": "1"})
    data = path.read_bytes()
    for lost in [(1,), (0, 2), (1, 4), (2, 5)]:
        path.write_bytes(data)
        lose(path, *lost)
        source = FileSource(path, threads=threads)
        source.open("s")
        assert [frame.index for frame in iter(source.read, None)] == [i for i in range(12) if i not in lost]
        source.close()


def test_pictures_that_wait_for_their_numbers_come_also_where_the_file_breaks_off(tmp_path: Path):
    path = clip(
        tmp_path / "v.mp4",
        frames=10,
        options={"x264-params": "interlaced=1", "g": "1"},
        muxer={"movflags": "faststart"},
    )
    lose(path, 1)
    with av.open(str(path)) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][3]
    path.write_bytes(path.read_bytes()[: last.pos + last.size // 2])
    numbers, error = read(path)
    assert numbers == [0, 2]
    assert isinstance(error, SourceCorrupt)


@pytest.mark.parametrize(
    ("lost", "pictures"), [((0,), 9), ((0, 1), 9), ((1,), 9), ((2,), 9), ((3,), 9), ((2, 3), 9), ((0, 2, 4), 8)]
)
def test_pictures_of_two_fields_are_counted_as_they_come_whichever_is_damaged(
    tmp_path: Path, lost: tuple[int, ...], pictures: int
):
    path = interlaced(tmp_path / "v.mp4", 10)
    lose(path, *lost)
    assert read(path) == (list(range(pictures)), None)


def test_one_time_that_is_astray_costs_no_other_pictures_beside_damage(tmp_path: Path):
    path = clip(tmp_path / "v.mp4", "mjpeg", at=lambda i: i)
    lose(path, 25)
    source = FileSource(path)
    kept = MediaSource._pictures

    def astray(*given: object) -> Iterator[av.VideoFrame]:
        for i, picture in enumerate(kept(*given)):  # type: ignore[arg-type]
            picture.pts += 60 * 512 if i == 40 else 0
            yield picture

    with pytest.MonkeyPatch.context() as patch, contextlib.closing(source):
        patch.setattr(MediaSource, "_pictures", astray)
        source.open("s")
        assert sum(1 for _ in iter(source.read, None)) == 99


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFOs in folders")
def test_what_breaks_off_in_a_fifo_is_told_by_its_length(tmp_path: Path):
    data = clip(tmp_path / "v.mkv").read_bytes()
    os.mkfifo(fifo := tmp_path / "fifo")
    for part, why in ((data, None), (data[: len(data) // 2], SourceCorrupt)):
        writer = threading.Thread(target=fifo.write_bytes, args=(part,))
        writer.start()
        numbers, error = read(fifo)
        writer.join()
        assert (len(numbers) == 100, error and type(error)) == (why is None, why)


def test_a_part_that_is_lost_within_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """FFmpeg finds its way again in Matroska, and says nothing."""
    data = bytearray(clip(path := tmp_path / "v.mkv", "ffv1").read_bytes())
    middle, hole = len(data) // 2, len(data) // 5
    data[middle : middle + hole] = bytes(hole)
    path.write_bytes(data)
    numbers, error = read(path)
    assert (error, 60 < len(numbers) < 85) == (None, True)
    (said,) = caplog.messages
    found = re.search(r"no frame comes between (\d\.\d+) and (\d\.\d+) s", said)
    assert found is not None
    assert 25 * (float(found[2]) - float(found[1])) == pytest.approx(101 - len(numbers))


@pytest.mark.parametrize("at", [lambda i: i + i // 10 * 50, lambda i: i * i], ids=["pauses from the start", "slower"])
def test_frames_that_come_unevenly_lack_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, at: Callable[[int], int]
):
    assert read(clip(tmp_path / "v.mkv", at=at)) == (list(range(100)), None)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [("v.mkv", "libx264", "an MKV or WebM"), ("v.avi", "mjpeg", "an AVI"), ("v.mxf", "mpeg2video", "an MXF")],
)
def test_a_file_of_which_only_a_part_of_its_headers_is_there_was_cut(tmp_path: Path, name: str, codec: str, kind: str):
    path = clip(tmp_path / name, codec)
    path.write_bytes(path.read_bytes()[:400])
    numbers, error = read(path)
    assert (numbers, type(error)) == ([], SourceCorrupt)
    assert f"{path} is {kind} whose headers cannot be read: it was cut off, or is damaged (" in str(error)


@pytest.mark.parametrize("why", [errno.ENOMEM, errno.EMFILE, errno.ESTALE])
def test_what_is_not_the_files_own_fault_is_told_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: int
):
    path = clip(tmp_path / "v.mkv", frames=1)

    def fails(*given: object, **more: object) -> None:
        av.error.err_check(-why)

    monkeypatch.setattr(av, "open", fails)
    assert str(read(path)[1]) == f"{path} cannot be opened as video: {os.strerror(why)}"


def test_pictures_that_come_too_late_behind_a_lost_key_frame_move_no_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = clip(tmp_path / "v.mp4", options={"preset": "medium", "x264-params": "keyint=12:bframes=3:scenecut=0"})
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    lost = next(i for i, packet in enumerate(packets) if packet.is_keyframe and i > 20)
    for packet in packets[lost - 2 : lost + 1]:
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    with contextlib.closing(FileSource(path)) as source:
        source.open("s")
        frames = list(iter(source.read, None))
    assert [float(frame.pts * frame.time_base) * 25 for frame in frames] == pytest.approx([f.index for f in frames])
    assert (len(frames) > 85, frames[-1].index) == (True, 99)
    assert [record.event for record in caplog.records] == ["damaged"]


@pytest.mark.parametrize("name", ["v.avi", "v.mkv", "v.mov"])
def test_damage_that_asks_for_what_ffmpeg_lacks_costs_one_picture(tmp_path: Path, name: str):
    data = bytearray(clip(path := tmp_path / name, "mjpeg").read_bytes())
    heads = [found.start() for found in re.finditer(rb"\xff\xc0\x00\x11\x08", data)]
    data[heads[50] + 11] = 0x44  # how its first component is sampled
    path.write_bytes(data)
    numbers, error = read(path)
    assert (len(numbers), error) == (99, None)


def test_what_ffmpeg_lacks_for_a_whole_file_is_told_in_its_words(tmp_path: Path):
    path = tmp_path / "v.sun"
    path.write_bytes(struct.pack(">8I", 0x59A66A95, 64, 48, 24, 64 * 48 * 3, 4, 0, 0) + bytes(64 * 48 * 3))
    numbers, error = read(path)
    assert numbers == []
    assert "Not yet implemented in FFmpeg" in str(error)


def test_what_breaks_off_is_told_in_words_that_fit(tmp_path: Path):
    """FFmpeg says that a resource is unavailable, and that patches are welcome."""
    data = clip(stream := tmp_path / "v.ts").read_bytes()
    stream.write_bytes(data[: len(data) // 2] + bytes(1 << 17))
    data = clip(animation := tmp_path / "v.apng", "apng").read_bytes()
    animation.write_bytes(data[: len(data) // 2])
    for path in (stream, animation):
        numbers, error = read(path)
        assert 40 < len(numbers) < 60
        assert str(error) == f"{path} breaks off: what follows is damaged or missing"
