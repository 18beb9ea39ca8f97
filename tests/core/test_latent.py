"""Pictures that are made when somebody looks at them."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from av import VideoFrame
from fakes import TIME_BASE, FakeEstimator, MemorySink, ScriptedSource, frame, picture

from streampose import Pipeline, Stream
from streampose import pipeline as pipelines
from streampose.batching import LatencyBatch
from streampose.frame import Frame, Image, Images, Latent
from streampose.inference.estimator import Estimator
from streampose.inference.switch import Switch
from streampose.pose import Poses
from streampose.sources import Paced, conversion
from streampose.sources.conversion import Conversion, read_latent


def latent(made: list[int], index: int = 0) -> Frame:
    def develop() -> Image:
        made.append(index)
        return picture(index)

    return frame(index).but(image=Latent(develop, (64, 48)))


def test_it_is_made_once_and_only_if_somebody_looks():
    made: list[int] = []
    one = latent(made)
    assert (one.size_px, one.index, one.time_s) == ((64, 48), 0, 0.0)
    moved = one.but(index=3, epoch=1)
    images = Images([one, moved])
    assert (len(images), len(images[:1]), made) == (2, 1, [])
    assert moved.develop() is moved
    assert moved.image is one.image is images[0]
    assert (moved.index, moved.epoch, one.index, made) == (3, 1, 0, [0])


def test_a_frame_is_what_it_was():
    one = frame(7)
    assert one.size_px == (64, 48)
    assert one.but(epoch=2).epoch == 2
    made: list[int] = []
    replaced = dataclasses.replace(latent(made, 5), index=6)
    assert (replaced.index, made) == (6, [5])
    np.testing.assert_array_equal(replaced.image, picture(5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.image = picture(1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="image"):
        Frame(stream="s", index=0, epoch=0, pts=0, time_base=TIME_BASE, captured_at=0.0)  # type: ignore[call-arg]


def test_of_many_who_look_one_makes_it():
    made: list[int] = []

    def develop() -> Image:
        time.sleep(0.02)
        made.append(1)
        return picture(1)

    one = frame(0).but(image=Latent(develop, (64, 48)))
    seen: list[Image] = []
    threads = [threading.Thread(target=lambda: seen.append(one.image)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len({id(image) for image in seen}) == 1
    assert made == [1]


def test_one_that_cannot_be_made_says_so_each_time():
    def broken() -> Image:
        raise ValueError("no such format")

    one = frame(0).but(image=Latent(broken, (64, 48)))
    for _ in range(2):
        with pytest.raises(ValueError, match="no such format"):
            _ = one.image


def test_it_is_seen_without_looking_and_sent_with_its_picture():
    made: list[int] = []
    one = latent(made, 3)
    assert repr(one) == "<frame 3 of 's', epoch 0, 0.120 s, 64×48>"
    assert one != latent(made, 3)
    assert made == []
    other = pickle.loads(pickle.dumps(one))
    assert (other.index, made) == (3, [3])
    np.testing.assert_array_equal(other.image, picture(3))


def test_a_kind_that_cannot_be_converted_is_never_left_latent(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> Image:
        raise ValueError("no such format")

    convert, shown = Conversion(), VideoFrame.from_ndarray(picture(1), format="bgr24")

    def read() -> Frame:
        return frame(0).but(image=convert(shown))

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "_bgr", broken)
        for _ in range(2):
            with pytest.raises(ValueError, match="no such format"):
                read_latent(read, lambda: True)
    for expected in (False, True):
        given = read_latent(read, lambda: True)
        assert given is not None
        assert isinstance(vars(given)["image"], Latent) is expected
        np.testing.assert_array_equal(given.image, picture(1))
    assert not isinstance(convert(shown), Latent)


class Decoder(ScriptedSource):
    """Frames 0 to 59, 100 a second, as a decoder gives them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, live: bool) -> None:
        super().__init__(range(60), live=live, period_s=0.01)
        self.made: list[int] = []
        self.by: list[int] = []
        self._convert = Conversion()
        bgr = conversion._bgr

        def noting(shown: VideoFrame, *how: Any) -> Image:
            image = bgr(shown, *how)
            self.made.append(int(image[0, 0, 0]))
            self.by.append(threading.get_ident())
            return image

        monkeypatch.setattr(conversion, "_bgr", noting)

    def read(self) -> Frame | None:
        found = super().read()
        return found and found.but(image=self._convert(VideoFrame.from_ndarray(found.image, format="bgr24")))


class Slow(FakeEstimator):
    """So slow that most frames are dropped."""

    def __init__(self, *, single_threaded: bool) -> None:
        super().__init__(per_frame_s=0.08)
        self.single_threaded = single_threaded
        self.by: set[int] = set()

    def __call__(self, images: Sequence[Image]) -> list[Poses]:
        self.by.add(threading.get_ident())
        return super().__call__(images)


async def played(source: Decoder, estimator: Estimator) -> list[int]:
    sink = MemorySink()
    stream = Stream(name="s", source=Paced(source) if not source.live else source, sinks=[sink])
    async with asyncio.timeout(30), Pipeline([stream], estimator, policy=LatencyBatch(0.25)) as pipeline:
        await pipeline.run()
    return sink.indices


@pytest.mark.parametrize("switched", [False, True])
@pytest.mark.parametrize("live", [False, True])
async def test_what_is_dropped_is_never_made_and_the_rest_on_the_engines_thread(
    monkeypatch: pytest.MonkeyPatch, live: bool, switched: bool
):
    monkeypatch.setattr(pipelines, "available_cores", lambda: 1)
    source, estimator = Decoder(monkeypatch, live=live), Slow(single_threaded=True)
    delivered = await played(source, Switch(estimator) if switched else estimator)
    taken = [index for batch in estimator.batches for index in batch]
    assert 3 <= len(taken) < 60
    assert set(delivered) <= set(taken)
    # The first of a kind shows that it can be made.
    assert source.made == [0] + [index for index in taken if index]
    assert set(source.by[:1]) <= source.threads
    assert set(source.by[1:]) == estimator.by


@pytest.mark.parametrize(("cores", "single_threaded"), [(1, False), (2, True)])
async def test_where_others_could_make_them_meanwhile_the_sources_thread_does(
    monkeypatch: pytest.MonkeyPatch, cores: int, single_threaded: bool
):
    monkeypatch.setattr(pipelines, "available_cores", lambda: cores)
    source, estimator = Decoder(monkeypatch, live=True), Slow(single_threaded=single_threaded)
    await played(source, estimator)
    assert source.made == list(range(60))
    assert set(source.by) <= source.threads


async def test_of_a_recording_the_sources_thread_makes_them_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipelines, "available_cores", lambda: 1)
    source, sink = Decoder(monkeypatch, live=False), MemorySink()
    async with (
        asyncio.timeout(30),
        Pipeline([Stream(name="s", source=source, sinks=[sink])], Slow(single_threaded=True)) as one,
    ):
        await one.run()
    assert source.made == sink.indices == list(range(60))
    assert set(source.by) <= source.threads
