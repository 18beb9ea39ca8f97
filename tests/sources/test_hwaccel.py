"""Decoding on a device: this machine may have none, and then software takes over, with the reason."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available
from test_media import read_all, video

from streampose.errors import ConfigError, SourceCorrupt, SourceNotFound, SourceUnsupported
from streampose.sources import FileSource, NetworkSource, open_source
from streampose.sources import hwaccel as hwaccel_module

DEVICES = [name for name in hwdevices_available() if hwaccel_module.why_not(name) is not None]
"""Those that this FFmpeg knows and this machine has not."""


@pytest.fixture
def gone() -> str:
    if "cuda" not in DEVICES:
        pytest.skip("this machine can open a CUDA device, or its FFmpeg knows none")
    return "cuda"


def same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(
        x.pts == y.pts and np.array_equal(x.image, y.image) for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("choice", ["auto", *hwdevices_available()])
def test_whatever_is_asked_for_the_frames_are_those_of_software(tmp_path: Path, choice: str):
    path = video(tmp_path / "v.mp4", rotation=90)
    info, plain = read_all(FileSource(path))
    assert (info.hwaccel, info.hwaccel_note, info.decoder) == (None, None, "software")
    info, frames = read_all(FileSource(path, hwaccel=choice))
    if info.hwaccel is None:
        assert same(frames, plain)
        assert info.hwaccel_note
        assert info.decoder == f"software ({info.hwaccel_note})"
    else:  # a device is here: the same pictures, but for the rounding of chroma on its way
        assert [f.pts for f in frames] == [f.pts for f in plain]
        errors = [np.abs(f.image.astype(int) - p.image).mean() for f, p in zip(frames, plain, strict=True)]
        assert max(errors) < 2


def test_a_device_that_is_not_there_is_passed_over_with_the_reason(tmp_path: Path, gone: str, caplog):
    with caplog.at_level(logging.WARNING, "streampose"):
        info, frames = read_all(FileSource(video(tmp_path / "v.mp4"), hwaccel=gone))
    assert len(frames) == 20
    assert info.hwaccel is None
    assert info.decoder == "software (cuda: the device cannot be opened (Operation not permitted))"
    assert "decoded in software" in caplog.text


def test_a_device_that_fails_only_when_the_stream_is_opened(tmp_path: Path, gone: str, monkeypatch):
    # As when the GPU's memory has run out since the device was tried.
    monkeypatch.setattr("streampose.sources.media.why_not", lambda device: None)
    info, frames = read_all(FileSource(video(tmp_path / "v.mp4"), hwaccel=gone))
    assert [f.index for f in frames] == list(range(20))
    assert info.decoder == "software (cuda: Operation not permitted)"


def test_a_device_that_knows_nothing_of_the_codec(tmp_path: Path):
    other = next((name for name in ("qsv", "drm", "amf") if name in hwdevices_available()), None)
    if other is None:
        pytest.skip("this FFmpeg has no device whose decoders are apart")
    info, frames = read_all(FileSource(video(tmp_path / "v.mp4"), hwaccel=other))
    assert len(frames) == 20
    assert info.decoder == f"software ({other}: it does not decode this h264)"


def test_a_file_that_is_wrong_is_wrong_with_a_device_too(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("streampose.sources.media.why_not", lambda device: None)
    text = tmp_path / "text.mp4"
    text.write_text("this is not a video\n" * 100)
    for path, error in [(text, SourceUnsupported), (tmp_path / "none.mp4", SourceNotFound)]:
        source = FileSource(path, hwaccel="auto")
        with pytest.raises(error) as plain:
            FileSource(path).open("s")
        with pytest.raises(error) as caught:
            source.open("s")
        source.close()
        assert str(caught.value) == str(plain.value)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video(tmp_path / "v.mp4").read_bytes()[:900])
    with pytest.raises(SourceCorrupt, match="cut off"):
        FileSource(cut, hwaccel="auto").open("s")


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFOs in folders")
def test_what_is_read_once_is_decoded_in_software_from_its_first_picture(tmp_path: Path, gone: str, monkeypatch):
    monkeypatch.setattr("streampose.sources.media.why_not", lambda device: None)
    path, fifo = video(tmp_path / "v.ts"), tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(path.read_bytes()), daemon=True)
    writer.start()
    info, frames = read_all(FileSource(fifo, hwaccel=gone))
    writer.join()
    assert same(frames, read_all(FileSource(path))[1])
    assert (info.hwaccel, info.hwaccel_note) == (None, f"{gone}: what is read once cannot be begun anew in software")


def test_no_such_device(tmp_path: Path):
    path = video(tmp_path / "v.mp4")
    for make in (
        lambda: FileSource(path, hwaccel="cudaa"),
        lambda: NetworkSource("rtsp://h/x", hwaccel="cudaa"),
        lambda: open_source(str(path), hwaccel="cudaa"),
        lambda: open_source("synthetic:", hwaccel="cudaa"),
    ):
        with pytest.raises(ConfigError, match="'cudaa' decodes here; there are: none, auto") as caught:
            make()
        assert all(name in str(caught.value) for name in hwdevices_available())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", ["nv12", "p010le"])
def test_the_layouts_that_devices_give_become_the_same_picture(layout: str):
    """Devices give NV12 or P010 where software gives planes: the way to BGR must not shift colours.

    At hard edges FFmpeg interpolates chroma for one layout and repeats it for the other; that much may differ.
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (8, 12, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    planes = av.VideoFrame.from_ndarray(np.ascontiguousarray(coarse), format="bgr24").reformat(format="yuv420p")
    expected = planes.to_ndarray(format="bgr24").astype(int)
    got = planes.reformat(format=layout).to_ndarray(format="bgr24").astype(int)
    inside = np.s_[4:12]
    errors = np.abs(got - expected).reshape(8, 16, 12, 16, 3)[:, inside, :, inside]
    assert errors.max() <= 3


@pytest.mark.gpu
def test_cuda_decodes_where_there_is_a_gpu(tmp_path: Path):
    if hwaccel_module.why_not("cuda") is not None:
        pytest.skip("no CUDA device here")
    # NVDEC takes nothing below 145 pixels: a larger clip than the other tests'.
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for i in range(10):
            image = np.full((360, 640, 3), 20 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    info, frames = read_all(FileSource(path, hwaccel="cuda"))
    assert info.hwaccel == info.decoder == "cuda"
    assert len(frames) == 10
