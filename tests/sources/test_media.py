"""Files, images, and what is typed: real media, made here."""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from servers.fields import interlaced
from servers.folder import served
from servers.web import MjpegServer

from streampose.errors import (
    ConfigError,
    SourceCorrupt,
    SourceError,
    SourceNotFound,
    SourceUnauthorized,
    SourceUnsupported,
)
from streampose.frame import Frame, Image, Latent, StreamInfo
from streampose.sources import (
    CameraSource,
    FileSource,
    ImagesSource,
    NetworkSource,
    Paced,
    Reconnecting,
    Source,
    SyntheticSource,
    open_source,
)
from streampose.sources.conversion import read_latent
from streampose.sources.images import images_in
from streampose.sources.probe import peculiarities, probe
from streampose.sources.seeking import read_table
from streampose.web.camera import PeerCamera

WIDTH, HEIGHT = 96, 64


def picture(i: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Red on the left, green on the right, and a brightness that says which one it is."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 2] = 250
    image[:, width // 2 :, 1] = 250
    image[-8:] = 5 * i % 256
    return image


def video(
    path: Path,
    codec: str = "libx264",
    *,
    pts: list[int] | None = None,
    rotation: int = 0,
    matrix: tuple[int, ...] | None = None,
    pixel_aspect: Fraction | None = None,
    **options,
) -> Path:
    """Twenty frames; `pts` in units of 1/1000 s."""
    pts = pts or [i * 40 for i in range(20)]
    with av.open(str(path), "w", options=options.pop("container", {})) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8", "ffv1": "bgr0"}.get(codec, "yuv420p")
        if codec not in {"gif", "mjpeg"}:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        for i, at in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(picture(i), format="bgr24")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            if codec in {"gif", "mjpeg"}:
                frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_all(source: Source, stream: str = "s") -> tuple[StreamInfo, list[Frame]]:
    info = source.open(stream)
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return info, frames


def images(folder: Path) -> Path:
    folder.mkdir()
    for i in range(12):
        cv2.imwrite(str(folder / f"img{i}.png"), picture(i))
    return folder


MAKERS = {
    "mp4": lambda p: FileSource(video(p / "v.mp4")),
    "mkv ffv1": lambda p: FileSource(video(p / "v.mkv", "ffv1")),
    "webm": lambda p: FileSource(video(p / "v.webm", "libvpx-vp9", deadline="realtime")),
    "avi mjpeg": lambda p: FileSource(video(p / "v.avi", "mjpeg")),
    "mpeg-ts": lambda p: FileSource(video(p / "v.ts")),
    "gif": lambda p: FileSource(video(p / "v.gif", "gif")),
    "folder": lambda p: ImagesSource(images(p / "images")),
    "glob": lambda p: ImagesSource(images(p / "images") / "*.png"),
    "paced": lambda p: Paced(ImagesSource(images(p / "images"), rate=200)),
    "synthetic": lambda _: SyntheticSource(width_px=WIDTH, height_px=HEIGHT, seconds=0.5, live=False),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_every_source_does(make, tmp_path: Path):
    source = make(tmp_path)
    source.close()  # before it was opened
    info, frames = read_all(source, "name")
    assert len(frames) >= 12
    assert (info.width_px, info.height_px) == (WIDTH, HEIGHT)
    assert [f.index for f in frames] == list(range(len(frames)))
    assert all(a.pts < b.pts for a, b in pairwise(frames))
    assert all(a.captured_at <= b.captured_at for a, b in pairwise(frames))
    for frame in frames:
        assert (frame.stream, frame.epoch, frame.time_base) == ("name", 0, info.time_base)
        assert frame.image.shape == (HEIGHT, WIDTH, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert not frame.image.flags.writeable
    assert source.read() is None
    source.close()
    source.close()


@pytest.mark.parametrize("name", ["mp4", "mkv ffv1", "webm", "avi mjpeg", "mpeg-ts", "folder"])
def test_colours_are_right(name: str, tmp_path: Path):
    source = MAKERS[name](tmp_path)
    _, frames = read_all(source)
    source.close()
    left, right = frames[5].image[20, 10], frames[5].image[20, -10]
    assert np.abs(left.astype(int) - (0, 0, 250)).max() < 16
    assert np.abs(right.astype(int) - (0, 250, 0)).max() < 16


def test_a_variable_rate_is_kept_exactly(tmp_path: Path):
    pts = [0, 40, 45, 120, 121, 500, 533, 1000, 1001, 2500]
    source = FileSource(video(tmp_path / "v.mkv", "ffv1", pts=pts))
    _, frames = read_all(source)
    source.close()
    assert [f.pts * f.time_base for f in frames] == [Fraction(p, 1000) for p in pts]


def test_pictures_of_two_fields_are_counted_as_pictures(tmp_path: Path):
    path = interlaced(tmp_path / "a.mp4", 12)
    _, frames = read_all(FileSource(path))
    assert [(f.index, round(f.time_s, 3)) for f in frames] == [(i, round(i / 25, 3)) for i in range(12)]
    assert read_table(f"file:{path}") is None, "its packets are no frames"


def test_frames_of_an_avi_have_times_as_they_come(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    # It does not say when pictures are shown: with those out of order, what FFmpeg guesses goes forth and back.
    _, frames = read_all(FileSource(video(tmp_path / "a.avi", bf="3")))
    assert [f.index for f in frames] == list(range(20))
    assert np.diff([f.time_s for f in frames[:-2]]) == pytest.approx(0.04)  # the last are held back to the end
    assert not caplog.records


@pytest.mark.parametrize(("rotation", "red"), [(90, "bottom"), (-90, "top"), (180, "right")])
def test_rotation_is_applied(tmp_path: Path, rotation: int, red: str):
    source = FileSource(video(tmp_path / "v.mp4", rotation=rotation))
    info, frames = read_all(source)
    source.close()
    image = frames[0].image
    assert (info.height_px, info.width_px) == image.shape[:2]
    height, width = image.shape[:2]
    assert (width, height) == ((WIDTH, HEIGHT) if rotation == 180 else (HEIGHT, WIDTH))
    # Display matrices turn counter-clockwise: red, on the left before, goes down at 90°.
    x, y = {"bottom": (width // 2, height - 12), "top": (width // 2, 12), "right": (width - 12, height // 2)}[red]
    assert image[y, x, 2] > 200


@pytest.mark.parametrize(
    ("first", "between", "colours"), [(0, 0, ""), (3, 0, ""), (0, 2, ""), (0, 2, ":matrix_coefficients=12")]
)
def test_what_an_encoder_says_of_rotation_at_key_frames_holds_for_those_behind_them(
    tmp_path: Path, first: int, between: int, colours: str
):
    plain = video(tmp_path / "v.h264", pts=[40 * i for i in range(12)], g="6", bf=str(between), b_strategy="0")
    with av.open(str(plain)) as container, (tmp_path / "turned.h264").open("wb") as file:
        stream = container.streams.video[0]
        turn = av.BitStreamFilterContext(f"h264_metadata=display_orientation=insert:rotate=90{colours}", stream)
        for packet in container.demux(stream):
            file.writelines(bytes(made) for made in turn.filter(packet))
        file.writelines(bytes(made) for made in turn.filter(None))
        plain_again = plain.read_bytes()
    with av.open(str(tmp_path / "turned.h264")) as container:  # as FFmpeg tells it
        assert {bool(one.rotation) for one in container.decode(video=0)} == {True, False}
    with (tmp_path / "turned.h264").open("ab") as file:
        file.write(plain_again)  # a key frame that says nothing, nor does what is sent behind it
    source = FileSource(tmp_path / "turned.h264")
    source.wanted = lambda index, _: index >= first
    turned = 13 - first + between
    sizes = [(HEIGHT, WIDTH)] * turned + [(WIDTH, HEIGHT)] * (24 - first - turned)
    for _ in range(2):
        _, frames = read_all(source)
        source.close()
        assert [frame.size_px for frame in frames] == sizes


@pytest.mark.parametrize("between", [0, 2])
def test_where_key_frames_say_no_more_that_they_are_turned_the_first_of_them_is_as_stored(tmp_path: Path, between: int):
    plain = video(tmp_path / "plain.h264", pts=[40 * i for i in range(24)], g="6", bf=str(between), b_strategy="0")
    turned = b"\0\0\0\1\x06\x2f\x03\x08\x00\x09\x80"  # display orientation, 90°
    keys = itertools.count()
    with av.open(str(plain)) as container, (tmp_path / "v.h264").open("wb") as file:
        for packet in container.demux(video=0):
            data = bytes(packet)
            if packet.is_keyframe and next(keys) < 2:
                parts = re.split(b"(?=\0\0\0?\1\x65)", data, maxsplit=1)
                data = turned.join(parts)
            file.write(data)
    source = FileSource(tmp_path / "v.h264")
    _, frames = read_all(source)
    source.close()
    assert [frame.size_px for frame in frames] == [(HEIGHT, WIDTH)] * 12 + [(WIDTH, HEIGHT)] * 12


def test_how_a_recording_ends_turned_says_nothing_of_its_beginning(tmp_path: Path):
    plain = video(tmp_path / "plain.h264", pts=[0, 40])
    with av.open(str(plain)) as container, (tmp_path / "v.h264").open("wb") as file:
        file.write(plain.read_bytes())
        stream = container.streams.video[0]
        turn = av.BitStreamFilterContext("h264_metadata=display_orientation=insert:rotate=90", stream)
        for packet in container.demux(stream):
            file.writelines(bytes(made) for made in turn.filter(packet))
    source = FileSource(tmp_path / "v.h264")
    for _ in range(2):
        _, frames = read_all(source)
        source.close()
        assert [frame.size_px for frame in frames] == [(WIDTH, HEIGHT)] * 2 + [(HEIGHT, WIDTH)] * 2


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    "matrix",
    [(a, b, -b * mirror, a * mirror) for a, b in ((1, 0), (0, 1), (-1, 0), (0, -1)) for mirror in (1, -1)],
    ids=str,
)
def test_each_pixel_goes_where_the_display_matrix_says(tmp_path: Path, matrix: tuple[int, ...], later: bool):
    a, b, c, d = matrix
    one = 1 << 16
    path = video(tmp_path / "v.mp4", matrix=(a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30))
    source = FileSource(path)
    info = source.open("s")
    images = [_image(source, later=later) for _ in range(2)]
    source.close()
    with av.open(str(path)) as container:
        stored = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    for image, before in zip(images, stored, strict=False):
        expected = np.zeros((info.height_px, info.width_px, 3), np.uint8)
        for y, x in np.ndindex(before.shape[:2]):
            # A negative place is counted from the other side.
            expected[b * x + d * y - (b + d < 0), a * x + c * y - (a + c < 0)] = before[y, x]
        np.testing.assert_array_equal(image, expected)


def test_a_jpeg_with_more_than_pyav_has_a_name_for_is_read_and_turned(tmp_path: Path):
    # EXIF of one entry: orientation 6, which is seen when it is turned to the right.
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x112, 3, 1, 6, 0)
    picture_file = cv2.imencode(".jpg", picture(1))[1].tobytes()
    with_exif = picture_file[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + picture_file[2:]
    (tmp_path / "v.mjpeg").write_bytes(with_exif * 3)
    info, frames = read_all(FileSource(tmp_path / "v.mjpeg"))
    assert (info.width_px, info.height_px, len(frames)) == (HEIGHT, WIDTH, 3)
    assert frames[0].image[12, HEIGHT // 2, 2] > 200  # red, on the left before, is at the top


@pytest.mark.parametrize("matrix", [None, (-(1 << 16), 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)])
def test_pictures_are_let_go_of_at_once(tmp_path: Path, matrix: tuple[int, ...] | None):
    source = FileSource(video(tmp_path / "v.mp4", matrix=matrix))
    source.open("s")
    gc.collect()
    gc.disable()
    try:
        before = pictures_alive()
        while source.read() is not None:
            pass
        assert pictures_alive() - before <= 2
    finally:
        gc.enable()
        source.close()


def pictures_alive() -> int:
    """Other tests' among them. Not `isinstance`, which asks whatever PyTorch has there, and it warns."""
    return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())


def _image(source: Source, *, later: bool) -> Image:
    frame = read_latent(source.read, lambda: later)
    assert frame is not None
    return frame.image


@pytest.mark.parametrize(
    ("pixel_aspect", "width"),
    [((4, 3), 128), ((16, 15), 102), ((8, 9), 86), ((10, 11), 88), ((100, 101), WIDTH), ((1, 50), WIDTH)],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_pixels_become_square(tmp_path: Path, suffix: str, pixel_aspect: tuple[int, int], width: int):
    info, frames = read_all(FileSource(video(tmp_path / f"v.{suffix}", pixel_aspect=Fraction(*pixel_aspect))))
    assert (info.width_px, info.height_px) == (width, HEIGHT)
    # Red up to the middle, and green from there on.
    image = frames[5].image
    assert image.shape[:2] == (HEIGHT, width)
    assert image[20, width // 2 - 8, 2] > 200 < image[20, width // 2 + 8, 1]


@pytest.mark.parametrize(
    ("rotation", "pixel_aspect"), [(0, None), (90, None), (0, Fraction(4, 3)), (90, Fraction(4, 3))]
)
def test_pictures_are_converted_when_somebody_looks_also_after_the_end(
    tmp_path: Path, rotation: int, pixel_aspect: Fraction | None
):
    """The first one at once, which shows that it can be done."""
    path = video(tmp_path / "v.mp4", rotation=rotation, pixel_aspect=pixel_aspect)
    _, looked = read_all(FileSource(path))
    expected = [frame.image for frame in looked]
    source = FileSource(path)
    info = source.open("s")
    frames = [read_latent(source.read, lambda: True) for _ in range(len(expected))]
    source.close()
    assert [isinstance(vars(frame)["image"], Latent) for frame in frames] == [False] + [True] * (len(frames) - 1)
    for frame, image in zip(frames, expected, strict=True):
        assert frame.size_px == (info.width_px, info.height_px) == image.shape[1::-1]
        assert max(frame.size_px) == (WIDTH if pixel_aspect is None else WIDTH * 4 // 3)
        assert not frame.image.flags.writeable
        np.testing.assert_array_equal(frame.image, image)


def test_a_file_that_breaks_off_gives_what_it_has_and_then_an_error(tmp_path: Path):
    whole = video(tmp_path / "v.mp4", pts=[i * 40 for i in range(200)], container={"movflags": "faststart"}, g="5")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    source = FileSource(cut)
    source.open("s")
    count = 0
    try:
        while source.read() is not None:
            count += 1
    except SourceCorrupt as error:
        assert "breaks off" in str(error)  # noqa: PT017 - the count matters, too
    else:
        pytest.fail("a file that breaks off looked like one that ends")
    source.close()
    assert 50 < count < 200


def test_damaged_packets_are_left_out_and_counted(tmp_path: Path):
    data = bytearray(video(tmp_path / "v.mkv", "ffv1", pts=[i * 40 for i in range(50)], g="1").read_bytes())
    for at in range(len(data) // 3, len(data) // 3 + 4000, 97):
        data[at] ^= 0xFF
    (tmp_path / "bad.mkv").write_bytes(data)
    source = FileSource(tmp_path / "bad.mkv")
    try:
        _, frames = read_all(source)
    except SourceCorrupt:
        frames = []  # the damage hit the container: told, too
    else:
        assert len(frames) + source.skipped_packets >= 45
    source.close()


def test_damaged_pictures_of_a_transport_stream_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Its decoder covers up what it lacks, so there is no damaged packet."""
    noise, path = np.random.default_rng(0), tmp_path / "v.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(8):
            one = noise.integers(0, 256, (240, 320, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="bgr24")))
        container.mux(stream.encode(None))
    (tmp_path / "cut.ts").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for name in ("v.ts", "cut.ts"):
        source = FileSource(tmp_path / name)
        read_all(source)
        source.close()
        assert (source.damaged_pictures, source.skipped_packets) == (name == "cut.ts", 0)
    assert caplog.messages == [f"{tmp_path / 'cut.ts'}: 1 damaged picture was kept"]


def test_files_that_are_no_video(tmp_path: Path):
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(SourceUnsupported, match="no video"):
        FileSource(sound).open("s")
    with pytest.raises(SourceNotFound):
        FileSource(tmp_path / "none.mp4").open("s")
    with pytest.raises(SourceUnsupported, match="folder"):
        FileSource(tmp_path).open("s")


def tracks(path: Path, *tracks: tuple[str, int, Disposition]) -> Path:
    """Codec, width and marks of each video."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        streams = []
        for codec, width, marks in tracks:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = marks
            streams.append(stream)
        for stream in streams:
            for i in range(1 if stream.disposition & Disposition.attached_pic else 5):
                frame = av.VideoFrame.from_ndarray(picture(i, stream.width, 48), format="bgr24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


PLAIN, DEFAULT, COVER = Disposition(0), Disposition.default, Disposition.attached_pic


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize(
    ("marks", "width"), [((PLAIN, DEFAULT), 96), ((DEFAULT, PLAIN), 64), ((DEFAULT, DEFAULT), 64), ((PLAIN, PLAIN), 64)]
)
def test_of_several_videos_the_one_that_players_show(
    tmp_path: Path, suffix: str, marks: tuple[Disposition, Disposition], width: int
):
    path = tracks(tmp_path / f"v.{suffix}", ("libx264", 64, marks[0]), ("libx264", 96, marks[1]))
    info, frames = read_all(source := FileSource(path))
    source.close()
    before = probe(path)
    assert before is not None
    assert (info.width_px, before.width_px, len(frames)) == (width, width, 5)


def test_the_cover_of_an_album_is_no_video(tmp_path: Path):
    path = tracks(tmp_path / "v.mp4", ("mjpeg", 96, COVER), ("libx264", 64, PLAIN))
    info, frames = read_all(source := FileSource(path))
    source.close()
    assert (info.width_px, len(frames)) == (64, 5)
    with served(tmp_path) as address, contextlib.closing(NetworkSource(f"{address}/v.mp4?live")) as live:
        assert live.open("s").width_px == 64
    album = tracks(tmp_path / "album.mp4", ("mjpeg", 96, COVER))
    with pytest.raises(SourceUnsupported, match="has no video in it"):
        FileSource(album).open("s")
    assert probe(album) is None


def test_video_that_nothing_here_decodes_is_unsupported(tmp_path: Path):
    drawing = tmp_path / "icon.svg"
    drawing.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="9" height="9"/></svg>'
    )
    with av.open(str(drawing)) as container:
        if container.streams.video[0].codec_context is not None:
            pytest.skip("this FFmpeg decodes SVG")
    source = FileSource(drawing)
    with pytest.raises(SourceUnsupported, match="cannot decode"):
        source.open("s")
    source.close()
    assert probe(drawing) is None
    assert peculiarities(drawing) == ()


def test_images_come_in_the_order_of_their_numbers(tmp_path: Path):
    source = ImagesSource(images(tmp_path / "images"))
    _, frames = read_all(source)
    assert [round(int(f.image[-1, 0, 0]) / 5) for f in frames] == list(range(12))


def test_digits_that_are_no_numbers_sort_as_letters(tmp_path: Path):
    for name in ("2².png", "10.png", "2.png", "٣.png"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", picture(0))[1].tobytes())
    assert len(read_all(ImagesSource(tmp_path))[1]) == 4
    assert [p.name for p in images_in(tmp_path)] == ["2.png", "2².png", "٣.png", "10.png"]


def test_hidden_files_are_no_images(tmp_path: Path):
    folder = images(tmp_path / "images")
    (folder / "._img3.png").write_bytes(bytes(4096))
    assert len(read_all(ImagesSource(folder))[1]) == len(read_all(ImagesSource(folder / "*.png"))[1]) == 12


def png(side: int, bits: int, colours: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def huge_png() -> bytes:
    """By its header 100,000 by 100,000 pixels, which OpenCV refuses with an error of its own."""
    return png(100_000, 8, 2, bytes(100))


def large_png() -> bytes:
    """Black and white, whole, and of 768 MB when it is read."""
    return png(16_000, 1, 0, bytes(16_000 * (1 + 16_000 // 8)))


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """32 MB more at most."""
    if sys.platform != "linux":
        pytest.skip("does not keep to a limit of memory")
    import resource

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + (32 << 20), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_damaged_image_is_left_out_with_its_number(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = images(tmp_path / "images")
    (folder / "img5.png").write_bytes(b"no png")
    (folder / "img7.png").write_bytes(huge := huge_png())
    (folder / "img11.png").write_bytes(b"")
    _, frames = read_all(source := ImagesSource(folder))
    source.close()
    assert [(f.index, f.pts) for f in frames] == [(i, i) for i in range(12) if i not in {5, 7, 11}]
    (said,) = caplog.messages
    assert said == f"{folder}: 3 damaged images were left out, the first is img5.png"
    for first in (b"no png", huge):  # which tells the size
        (folder / "img0.png").write_bytes(first)
        with pytest.raises(SourceCorrupt, match=r"img0\.png"):
            source.open("s")


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path):
    folder = images(tmp_path / "images")
    source = ImagesSource(folder)
    source.open("s")
    (folder / "img5.png").unlink()  # with all after it, when a disk is pulled out
    with pytest.raises(SourceCorrupt, match=r"img5\.png cannot be read: No such file"):
        [source.read() for _ in range(12)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceNotFound, match=r"no images at .*; for videos: streampose process"):
        ImagesSource(tmp_path / "empty").open("s")
    (tmp_path / "empty" / "clip.mp4").touch()
    with pytest.raises(SourceNotFound, match=r"no images at .*; for videos: streampose process"):
        ImagesSource(tmp_path / "empty" / "*.mp4").open("s")
    with pytest.raises(SourceNotFound, match=r"webp\)$"):
        ImagesSource(tmp_path / "empty" / "*.mov").open("s")


def test_an_image_that_there_is_no_memory_for_is_not_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = images(tmp_path / "images")
    (folder / "img1.png").write_bytes(large_png())
    source = ImagesSource(folder)
    source.open("s")
    with little_memory(), pytest.raises(SourceCorrupt, match=r"img1\.png cannot be read: Failed to allocate 768000000"):
        [source.read() for _ in range(12)]
    source.close()
    assert caplog.messages == []


def test_what_people_type(tmp_path: Path):
    clip = video(tmp_path / "clip.mp4")
    folder = images(tmp_path / "images")
    for text, kind in [
        (str(clip), FileSource),
        (f"file://{clip}", FileSource),
        (str(folder), ImagesSource),
        (f"{folder}/*.png", ImagesSource),
        (str(folder / "img1.png"), ImagesSource),
        ("0", CameraSource),
        ("/dev/video0", CameraSource),
        ("avfoundation:FaceTime HD Camera", CameraSource),
        ("dshow:video=Integrated Camera", CameraSource),
        ("rtsp://user:pw@10.0.0.5/a", NetworkSource),
        ("http://10.0.0.5/stream.mjpg", NetworkSource),
        ("rtmp://10.0.0.5/live/x", NetworkSource),
        ("synthetic:", SyntheticSource),
        ("synthetic:?people=2&size=320x240&fps=10&seconds=1&seed=3", SyntheticSource),
    ]:
        source = open_source(text)
        assert isinstance(source.source if isinstance(source, Reconnecting) else source, kind), text
        assert isinstance(open_source(text, reconnect=False), kind), text
    assert not open_source(clip).live
    camera = open_source(0)
    assert isinstance(camera, Reconnecting)
    assert isinstance(camera.source, CameraSource)
    with pytest.raises(ConfigError, match="a path or a camera's number, not None"):
        open_source(None)
    assert isinstance(open_source(str(clip), live=True), Paced)
    for name in ("clip.mp4", "CLIP.M4V", "a/clip.mpg", "clip.m2ts?x=1", "clip.wmv", "snap.jpg?u=me"):
        assert open_source(f"http://10.0.0.5/{name}").live is False, name
    for name in ("live.flv", "live.m3u8", "mp4", "stream.mjpg"):
        assert open_source(f"http://10.0.0.5/{name}").live is True, name
    assert open_source("rtsp://10.0.0.5/a").live
    assert "rtsp://10.0.0.5/A" in repr(open_source("RTSP://10.0.0.5/A")), (
        "FFmpeg and our client know small letters only"
    )


@pytest.mark.parametrize(
    ("text", "live", "error", "words"),
    [
        ("", None, ConfigError, "empty"),
        ("clp.mp4", None, SourceNotFound, r"did you mean .*clip\.mp4"),
        ("rstp://u:pw@h/x", None, ConfigError, "did you mean rtsp://"),
        ("rtsp:/10.0.0.5/a", None, SourceNotFound, "no file at rtsp:/10.0.0.5/a; a URL begins with rtsp://"),
        ("gopher://h/x", None, ConfigError, "known: rtsp://"),
        ("rtsp:///x", None, ConfigError, "no host"),
        ("rtsp://[abc/x", None, ConfigError, "no host or port that can be one"),
        ("rtsp://me:pw℀@h/x", None, ConfigError, "no host or port that can be one"),
        ("0", False, ConfigError, "live"),
        ("synthetic:?peple=2", None, ConfigError, "people"),
        ("10.0.0.5/a?x=1", None, SourceNotFound, r"did you mean rtsp://10\.0\.0\.5/a\?x=1\?"),
        ("clip@2x.mp4", None, SourceNotFound, r"no file at clip@2x\.mp4; did you mean clip\.mp4\?"),
        ("12.10.20.26.mp4", None, SourceNotFound, r"no file at 12\.10\.20\.26\.mp4"),
        ("10.0.0.5:554", None, SourceNotFound, r"did you mean rtsp://10\.0\.0\.5:554\?"),
        ("u:pw@camera/a?x=[1]", None, SourceNotFound, r"did you mean rtsp://\*\*\*@camera/a"),
        ("u:p pw@camera", None, SourceNotFound, r"did you mean rtsp://\*\*\*@camera\?"),
        ("rtsp://u:p pw@", None, ConfigError, r"^rtsp://\*\*\*@ names no host"),
        ("rstp://u:p pw@h/x", None, ConfigError, r"^rstp://\*\*\*@h/x: .*did you mean rtsp://"),
        ("rtsp://u:p pw@h/x", False, ConfigError, r"^rtsp://\*\*\*@h/x is live"),
        ("u:p/pw@camera", None, SourceNotFound, r"did you mean rtsp://\*\*\*@camera\?"),
        ("u:p@pw/x@camera/a", None, SourceNotFound, r"did you mean rtsp://\*\*\*@camera/a\?"),
        ("[::1]:8554/cam", None, SourceNotFound, r"did you mean rtsp://\[::1\]:8554/cam\?"),
        ("a" * 5000, None, SourceNotFound, r"no file at a{5000}$"),
        ("a" * 5000 + "/clip.mp4", None, SourceNotFound, r"no file at a{5000}/clip\.mp4$"),
        ("u:" + "pw" * 200 + "@camera", None, SourceNotFound, r"did you mean rtsp://\*\*\*@camera\?"),
        ("localhost:8554/cam", None, SourceNotFound, r"did you mean rtsp://localhost:8554/cam\?"),
    ],
)
def test_what_is_not_understood(here: Path, text: str, live: bool | None, error: type, words: str):
    (here / "clip.mp4").touch()
    with pytest.raises(error, match=words) as caught:
        open_source(text, live=live)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("text", ["rtsp://h/x", "synthetic:", "0"])
def test_a_transport_that_is_none_is_told_whatever_the_source_is(text: str):
    with pytest.raises(ConfigError, match="no RTSP transport is called 'tpc'; there are: tcp, udp, auto"):
        open_source(text, transport="tpc")


def test_a_folder_that_we_may_not_look_into_refuses_us(monkeypatch: pytest.MonkeyPatch):
    def refuse(_: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")  # as to others than root

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(SourceUnauthorized, match=r"a/clip\.mp4 may not be looked at: Permission denied"):
        open_source("a/clip.mp4")


@pytest.mark.parametrize("live", [None, True])
def test_a_picture_on_a_web_server_comes_once(tmp_path: Path, live: bool | None):
    cv2.imwrite(str(tmp_path / "snap.jpg"), picture(1))
    with served(tmp_path) as url, contextlib.closing(open_source(f"{url}/snap.jpg", live=live)) as source:
        _, frames = read_all(source)
    assert len(frames) == 1


def test_mjpeg_of_a_camera_that_calls_it_a_picture_is_live_or_told():
    server = MjpegServer()
    url = f"http://127.0.0.1:{server.port}/control/faststream.jpg?stream=full"
    try:
        with pytest.raises(SourceUnsupported, match="is live MJPEG, which has no end: give --live"):
            open_source(url).open("s")
        with contextlib.closing(open_source(url, live=True)) as camera:
            assert isinstance(camera, Reconnecting)
            camera.open("s")
            assert camera.read().pts < camera.read().pts
    finally:
        server.stop()


def test_a_name_may_hold_the_signs_of_a_glob(here: Path):
    cv2.imwrite("a[1].png", picture(1))
    _, frames = read_all(open_source("a[1].png"))
    assert len(frames) == 1


@pytest.mark.parametrize("folder", ["10.0.0.5", "cam:80"])
def test_a_folder_may_be_named_as_a_host(here: Path, folder: str):
    (here / folder).mkdir()
    cv2.imwrite(f"{folder}/a1.png", picture(1))
    assert len(read_all(open_source(f"{folder}/a?.png"))[1]) == 1


def test_errors_of_sources_are_source_errors():
    with pytest.raises(SourceError, match="no camera"):
        CameraSource("/dev/video99").open("s")


def test_an_animated_webp_is_told_and_a_still_one_is_read(tmp_path: Path):
    moving, still = tmp_path / "moving.webp", tmp_path / "still.webp"
    with av.open(str(moving), "w", format="webp") as container:
        stream = container.add_stream("libwebp_anim", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="bgr24")))
        container.mux(stream.encode(None))
    with pytest.raises(SourceUnsupported, match=r"moving\.webp is an animation.*make a GIF"):
        ImagesSource(moving).open("s")
    seen_through = np.dstack([picture(0), np.full((HEIGHT, WIDTH), 99, np.uint8)])  # its header is extended, too
    cv2.imwrite(str(still), seen_through, [cv2.IMWRITE_WEBP_QUALITY, 80])
    assert still.read_bytes()[12:16] == b"VP8X"
    assert len(read_all(ImagesSource(still))[1]) == 1


def test_a_tiff_of_pages_is_told_and_one_of_one_is_read(tmp_path: Path):
    pages = [np.full((48, 64, 3), 80 * i, np.uint8) for i in range(3)]
    assert cv2.imwritemulti(str(tmp_path / "pages.tif"), pages)
    with pytest.raises(SourceUnsupported, match=r"pages\.tif is a file of 3 pages.*save them as images of a folder"):
        ImagesSource(tmp_path / "pages.tif").open("s")
    cv2.imwrite(str(tmp_path / "page.tiff"), pages[0])
    assert ImagesSource(tmp_path / "page.tiff").open("s").frames == 1


@pytest.mark.parametrize(("size_px", "step"), [((64, 48), 4), ((65, 49), 2)])  # a half that is rounded up, too
def test_a_tiff_with_a_thumbnail_behind_its_picture_is_that_picture(
    tmp_path: Path, size_px: tuple[int, int], step: int
):
    shot = np.full((*size_px[::-1], 3), 80, np.uint8)
    assert cv2.imwritemulti(str(tmp_path / "shot.tif"), [shot, shot[::step, ::step]])
    info, frames = read_all(ImagesSource(tmp_path / "shot.tif"))
    assert (info.width_px, info.height_px) == size_px
    assert np.array_equal(frames[0].image, shot)


@pytest.mark.parametrize("sizes", [[(48, 64), (47, 64)], [(48, 64), (64, 48)], [(12, 16), (48, 64)]])
def test_pages_of_other_sizes_are_no_thumbnails(tmp_path: Path, sizes: list[tuple[int, int]]):
    assert cv2.imwritemulti(str(tmp_path / "a.tif"), [np.zeros((*size, 3), np.uint8) for size in sizes])
    with pytest.raises(SourceUnsupported, match=r"a\.tif is a file of 2 pages"):
        ImagesSource(tmp_path / "a.tif").open("s")


def test_an_animated_png_is_told_and_is_a_video_by_its_own_suffix(tmp_path: Path):
    moving, still = tmp_path / "moving.png", tmp_path / "still.png"
    for path, count in ((moving, 3), (still, 1)):
        with av.open(str(path), "w", format="apng") as container:
            stream = container.add_stream("apng", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
            for i in range(count):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="bgr24")))
            container.mux(stream.encode(None))
        assert (b"acTL" in path.read_bytes()) == (path == moving)
    with pytest.raises(SourceUnsupported, match=r"moving\.png is an animation.*rename it to moving\.apng"):
        open_source(moving).open("s")
    assert len(read_all(open_source(still))[1]) == 1
    assert len(read_all(open_source(moving.rename(tmp_path / "moving.apng")))[1]) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFOs in folders")
def test_what_comes_through_a_fifo_is_read_from_its_beginning_to_its_end(tmp_path: Path):
    os.mkfifo(fifo := tmp_path / "fifo")

    def through(path: Path) -> tuple[StreamInfo, list[Frame]]:
        writer = subprocess.Popen(["sh", "-c", f"exec cat '{path}' > '{fifo}'"], stderr=subprocess.DEVNULL)
        try:
            with contextlib.closing(FileSource(fifo)) as source:
                return read_all(source)
        finally:
            writer.kill()
            writer.wait()

    read = through(video(tmp_path / "v.ts"))[1]
    there = read_all(FileSource(tmp_path / "v.ts"))[1]
    assert [(f.time_s, f.image.tobytes()) for f in read] == [(f.time_s, f.image.tobytes()) for f in there]
    data, room = video(path := tmp_path / "v.mp4").read_bytes(), 1 << 20  # more than what is kept to go back in
    at = data.index(b"moov") - 4
    path.write_bytes(data[:at] + (8 + room).to_bytes(4, "big") + b"free" + bytes(room) + data[at:])
    assert len(read_all(FileSource(path))[1]) == 20
    with pytest.raises(SourceUnsupported, match="index at its end must be: download it first"):
        through(path)
    with pytest.raises(SourceUnsupported, match="cannot be opened as video"):
        through(Path(__file__))


def test_standard_input_has_another_name():
    with pytest.raises(SourceNotFound, match="standard input is /dev/stdin"):
        open_source("-")


@pytest.mark.parametrize(
    ("size", "untold_is", "source"),
    [
        ((1280, 534), 1, "file"),
        ((404, 720), 1, "file"),
        ((720, 576), 5, "file"),
        ((1280, 720), 5, "camera"),
        ((1280, 720), 5, "browser"),
    ],
)
def test_colours_that_are_not_told_are_those_that_players_take_them_for(
    size: tuple[int, int], untold_is: int, source: str
):
    sources = {"file": FileSource("a.mp4"), "camera": CameraSource("0"), "browser": PeerCamera(1)}
    convert = vars(sources[source])["_convert"]
    green = (60, 160, 30)
    pixels = np.full((size[1], size[0], 3), green, np.uint8)
    for told in (2, 1, 5):
        matrix = untold_is if told == 2 else told
        picture = av.VideoFrame.from_ndarray(pixels, format="bgr24").reformat(format="yuv444p", dst_colorspace=matrix)
        picture.colorspace = told
        image = convert(picture)
        assert isinstance(image, np.ndarray)
        assert np.abs(image[9, 9].astype(int) - green).max() <= 4


def test_work_on_hd_in_other_colours_is_not_gone_on_with(tmp_path: Path):
    path = tmp_path / "v.mkv"
    for told, kind, expected in ((2, "yuv420p", ("hd",)), (1, "yuv420p", ()), (2, "gray", ()), (2, "bgr0", ())):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 720, kind
            stream.codec_context.colorspace = told
            container.mux([*stream.encode(av.VideoFrame(64, 720, kind)), *stream.encode(None)])
        assert peculiarities(path) == expected
