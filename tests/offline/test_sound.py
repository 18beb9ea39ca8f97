"""Drawn videos with the sound of their recording: a click stays with its flash."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Disposition
from fakes import FakeEstimator

from streampose.cli.render import draw_file
from streampose.clip import Moment
from streampose.errors import SourceCorrupt, SourceUnsupported
from streampose.formats import write
from streampose.frame import Image
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice
from streampose.offline.drawing import Drawing, draw
from streampose.offline.inputs import find_inputs
from streampose.offline.plan import Plan
from streampose.offline.process import Stage, process
from streampose.offline.videos import figure_video
from streampose.pose import Poses
from streampose.render import Parts
from streampose.skeletons import COCO_17
from streampose.sources import Cut, Excerpt, FileSource, sound_of

SECONDS, FLASH, RATE, PACKET = 2, 1.0, 48_000, 1152 / 48_000


class AsItIs:
    """Paints the picture itself."""

    alpha, wants_image = False, True

    def sized(self, size_px: tuple[int, int]) -> AsItIs:
        return self

    def __call__(self, moment: Moment, image: Image | None) -> Image:
        assert image is not None
        return image


def film(
    path: Path,
    *,
    codec: str | None = "aac",
    samples: str = "fltp",
    tracks: int = 1,
    late_s: float = 0,
    sound_late_s: float = 0,
    reordered: bool = False,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Black pictures and a hum, but for a flash, and a click of 5 ms as it begins; only the last track has it."""
    packets: list[Any] = []
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        video = container.add_stream("libx264", rate=30, options={"bf": "2"} if reordered else {"tune": "zerolatency"})
        video.width = video.height = 32
        video.time_base = video.codec_context.time_base = Fraction(1, 30 if path.suffix == ".avi" else 90_000)
        sounds = [container.add_stream(codec, rate=RATE, layout="mono") for _ in range(tracks)] if codec else []
        for i in range(SECONDS * 30):
            shade = 255 if i == round((FLASH - late_s) * 30) else 0
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), format="bgr24")
            frame.pts, frame.time_base = round((i / 30 + late_s) * 90_000), Fraction(1, 90_000)
            packets += video.encode(frame)
        packets += video.encode(None)
        for sound in sounds:
            sound.codec_context.format = samples
            wave = np.sin(np.arange(SECONDS * RATE, dtype=np.float32) / 9) * 0.05
            begins = round((FLASH - sound_late_s) * RATE)
            wave[begins : begins + 240] = np.sin(np.arange(240) / 3) * (sound is sounds[-1])
            if samples == "s16":
                wave = (wave * 32767).astype(np.int16)
            size = sound.codec_context.frame_size or 1024
            for at in range(0, len(wave), size):
                part = av.AudioFrame.from_ndarray(wave[None, at : at + size], format=samples, layout="mono")
                part.sample_rate, part.pts, part.time_base = RATE, at + round(sound_late_s * RATE), Fraction(1, RATE)
                packets += sound.encode(part)
            packets += sound.encode(None)
            sound.disposition = Disposition.default if sound is sounds[-1] else Disposition(0)
        container.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return path


def moments_of(recording: Path, cut: Cut | None = None) -> list[Moment]:
    """Those of its frames, with nobody in them."""
    source = Excerpt(FileSource(recording), cut or Cut())
    info, moments = source.open("s"), []
    try:
        for frame in iter(source.read, None):
            at = {"index": frame.index, "pts": frame.pts, "time_base": frame.time_base}
            size_px = info.width_px, info.height_px
            moments.append(Moment(stream="s", size_px=size_px, poses=Poses.empty(COCO_17), **at))
    except SourceCorrupt:
        pass  # it was cut off
    source.close()
    return moments


def drawn(recording: Path, out: Path, cut: Cut | None = None) -> tuple[Path, list[float]]:
    """The recording's own pictures as a video with sound, and their times."""
    moments = moments_of(recording, cut)

    def video(first: Moment) -> Excerpt:
        return Excerpt(FileSource(recording), Cut(), resume_at=first.index)

    drawing = Drawing(suffix=out.suffix, painter=AsItIs(), sound=True)
    draw(drawing, lambda: iter(moments), video, out, out.with_name("w"), rate=Fraction(30), recording=recording)
    return out, [moment.time_s for moment in moments]


def pictures(path: Path) -> tuple[list[float], list[float]]:
    """When they are shown, and when there is a flash."""
    with av.open(str(path)) as container:
        shown = [(frame.time, frame.to_ndarray(format="gray").mean() > 128) for frame in container.decode(video=0)]
    return [time for time, _ in shown], [time for time, is_lit in shown if is_lit]


def sound(path: Path) -> tuple[float, float, float | None]:
    """When it begins and ends, and when there is a click."""
    first = last = click = None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            first = frame.time if first is None else first
            last = frame.time + frame.samples / RATE
            wave = np.abs(frame.to_ndarray()[0] / (32767 if "s16" in frame.format.name else 1))
            if click is None and wave.max() > 0.3:
                click = frame.time + int(np.argmax(wave > 0.3)) / RATE
    return first, last, click


def has_sound(path: Path) -> bool:
    with av.open(str(path)) as container:
        return bool(container.streams.audio)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streampose.offline.drawing._PIECE", 16)


@pytest.mark.parametrize(
    ("name", "options", "suffix", "start_s"),
    [
        pytest.param("a.mp4", {}, ".mp4", 0, id="run-up"),
        pytest.param("a.mp4", {}, ".mkv", 0, id="run-up, MKV"),
        pytest.param("a.mp4", {"reordered": True}, ".mp4", 0.5, id="reordered"),
        pytest.param("a.mp4", {"late_s": 0.4}, ".mp4", 0, id="late pictures"),
        pytest.param("a.mp4", {"sound_late_s": 0.4123}, ".mov", 0, id="late sound"),
        pytest.param("a.ts", {"reordered": True}, ".mp4", 0, id="packets with headers"),
        pytest.param("a.ts", {"reordered": True}, ".mkv", 0.5, id="packets with headers, MKV"),
        pytest.param("a.mkv", {}, ".mp4", 0, id="rounded times"),
        pytest.param("a.mov", {"codec": "pcm_s16le", "samples": "s16"}, ".mov", 0.5, id="PCM"),
        pytest.param("a.avi", {"codec": "pcm_s16le", "samples": "s16"}, ".mp4", 0.5, id="coarse times"),
        pytest.param("a.mp4", {"tracks": 2}, ".mp4", 0.5, id="the default one"),
        pytest.param("a.mp4", {"codec": "libmp3lame"}, ".mkv", 0, id="MP3"),
    ],
)
def test_a_click_stays_with_its_flash(tmp_path: Path, name: str, options: dict[str, Any], suffix: str, start_s: float):
    recording = film(tmp_path / name, **options)
    made, times = drawn(recording, tmp_path / f"o{suffix}", Cut(start_s=start_s, end_s=1.3))
    shown, (flash,) = pictures(made)
    assert shown == pytest.approx(times, abs=1e-3)  # sound moves no picture
    begins, ends, click = sound(made)
    assert click == pytest.approx(flash, abs=2e-3)
    if "sound_late_s" not in options:
        assert begins == pytest.approx(times[0], abs=PACKET + 2e-3)
    assert ends == pytest.approx(times[-1] + 1 / 30, abs=PACKET + 2e-3)


def test_the_first_samples_are_those_of_the_recording(tmp_path: Path):
    """A decoder needs the packet before them."""
    recording, waves = film(tmp_path / "a.mp4"), []
    for path in (recording, drawn(recording, tmp_path / "o.mp4")[0]):
        with av.open(str(path)) as container:
            waves.append(next(container.decode(audio=0)).to_ndarray())
    assert np.abs(waves[0]).max() > 0.02
    assert np.array_equal(*waves)


def test_a_kill_while_sound_is_put_in_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recording = film(tmp_path / "a.mp4")
    whole, _ = drawn(recording, tmp_path / "whole.mp4")

    def killed(path: Path, start_s: float) -> Iterator[Packet[AudioStream]]:
        yield from islice(sound_of(path, start_s), 20)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("streampose.offline.drawing.sound_of", killed)
        with pytest.raises(KeyboardInterrupt):
            drawn(recording, tmp_path / "o.mp4")
    assert not (tmp_path / "o.mp4").exists()
    assert drawn(recording, tmp_path / "o.mp4")[0].read_bytes() == whole.read_bytes()


def test_sound_that_the_container_does_not_take_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    recording = film(tmp_path / "a.mkv", codec="libopus", samples="flt")
    made, times = drawn(recording, tmp_path / "o.mov")
    assert (has_sound(made), len(pictures(made)[0])) == (False, len(times))
    assert caplog.messages == [
        f"{recording}: its sound (opus) does not go into .mov as it is, and is left out; "
        "AAC does (FFmpeg: -c:v copy -c:a aac)"
    ]


def test_without_sound_nothing_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    made, _ = drawn(film(tmp_path / "a.mp4", codec=None), tmp_path / "o.mp4")
    assert not has_sound(made)
    late, _ = drawn(film(tmp_path / "b.mp4", sound_late_s=1.5), tmp_path / "late.mp4", Cut(end_s=1))
    assert not has_sound(late)
    assert [record for record in caplog.records if record.name == "streampose"] == []


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_of_a_recording_that_was_cut_off_there_is_the_sound_that_is_there(tmp_path: Path, name: str):
    fragments = {"movflags": "frag_keyframe+delay_moov", "min_frag_duration": "200000"}
    recording = film(tmp_path / name, container_options=fragments if name == "a.mp4" else None)
    content = recording.read_bytes()
    recording.write_bytes(content[: len(content) * 3 // 4])
    made, times = drawn(recording, tmp_path / "o.mp4")
    _, ends, click = sound(made)  # which also decodes all of it
    assert click == pytest.approx(FLASH, abs=2e-3)
    assert 1.2 < ends < times[-1] + 0.1


def test_where_times_begin_anew_the_sound_ends_and_that_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    one = film(tmp_path / "a.mpg.ts").read_bytes()
    (tmp_path / "a.ts").write_bytes(one + one)
    made, times = drawn(tmp_path / "a.ts", tmp_path / "o.mp4")
    assert times[-1] > SECONDS * 1.9
    assert sound(made)[1] == pytest.approx(SECONDS, abs=0.1)
    assert [text for text in caplog.messages if "its sound ends at" in text and "begin anew" in text]


async def test_of_several_recordings_each_gets_its_own_if_it_has_any(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4", codec=None)
    (tmp_path / "row").mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "row" / f"{i}.png"), np.zeros((32, 32, 3), np.uint8))
    inputs = find_inputs([str(tmp_path / name) for name in ("a.mp4", "b.mp4", "row")])
    drawing = figure_video("coco", background="black", images=False, size_px=None, parts=Parts())
    plan = Plan(choice=ModelChoice(), engine=EngineOptions(device="cpu"), drawings=[drawing])
    found = []
    for wanted in (False, True):
        plan = replace(plan, drawings=[replace(drawing, sound=wanted)])
        ended = await process(inputs, tmp_path / "o", plan, lambda: [FakeEstimator()], stop=asyncio.Event())
        assert [one.stage for one in ended] == [Stage.DONE] * 3
        found.append([has_sound(tmp_path / "o" / f"{one.name}.coco.mp4") for one in inputs])
    assert found == [[False] * 3, [True, False, False]]
    assert [record for record in caplog.records if record.name == "streampose"] == []


def test_render_takes_it_from_the_video_that_is_named(tmp_path: Path):
    recording = film(tmp_path / "a.mp4")
    write(tmp_path / "a.jsonl", moments_of(recording)[::2])
    drawing = figure_video("coco", background="black", images=False, size_px=None, parts=Parts())
    for wanted in (False, True):
        draw_file(replace(drawing, sound=wanted), tmp_path / "a.jsonl", recording, tmp_path / "o.mp4")
        assert has_sound(tmp_path / "o.mp4") == wanted
    assert sound(tmp_path / "o.mp4")[2] == pytest.approx(FLASH, abs=2e-3)


@pytest.mark.parametrize(
    ("name", "codec", "old", "words"),
    [
        pytest.param("a.ts", "aac", b"\xff\xf1", "its sound is damaged from", id="headers"),
        pytest.param("a.mkv", "aac", b"A_AAC", "(unknown) does not go", id="no such codec"),
        pytest.param("a.mkv", "eac3", b"\x0b\x77", "its sound does not go into it", id="frames"),
    ],
)
def test_damaged_sound_costs_no_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, name: str, codec: str, old: bytes, words: str
):
    recording = film(tmp_path / name, codec=codec)
    parts = recording.read_bytes().split(old)
    # The first and the last stay, if there are several.
    whole = parts[0] + old + bytes(len(old)).join(parts[1:-1]) + old + parts[-1]
    recording.write_bytes(whole if len(parts) > 2 else b"A_XYZ".join(parts))
    made, times = drawn(recording, tmp_path / "o.mp4")
    assert pictures(made)[0] == pytest.approx(times, abs=1e-3)
    assert has_sound(made) == (name == "a.ts")
    assert words in caplog.text


def test_what_is_no_recording_is_told_before_anything_is_drawn(tmp_path: Path):
    moments = moments_of(film(tmp_path / "a.mp4", codec=None))
    (tmp_path / "a.txt").write_text("not a video")
    drawing = figure_video("coco", background="black", images=False, size_px=None, parts=Parts())
    told: list[int] = []
    with pytest.raises(SourceUnsupported, match=r"a\.txt cannot be opened for its sound"):
        draw(
            replace(drawing, sound=True),
            lambda: iter(moments),
            lambda _: None,
            tmp_path / "o.mp4",
            tmp_path / "w",
            rate=None,
            recording=tmp_path / "a.txt",
            tick=told.append,
        )
    assert told == []
