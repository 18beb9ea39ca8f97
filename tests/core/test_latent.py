"""Pictures that are made when somebody looks at them."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from fakes import TIME_BASE, FakeEstimator, MemorySink, ScriptedSource, frame, picture

from streampose import Pipeline, Stream
from streampose.batching import LatencyBatch
from streampose.frame import Frame, Image, Images, Latent
from streampose.pose import Poses


def latent(made: list[int], index: int = 0, by: list[int] | None = None) -> Frame:
    def develop() -> Image:
        made.append(index)
        if by is not None:
            by.append(threading.get_ident())
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


class LatentSource(ScriptedSource):
    """Frames 0 to 59, 100 a second, latent."""

    def __init__(self, *, live: bool) -> None:
        super().__init__(range(60), live=live, period_s=0.01)
        self.made: list[int] = []
        self.by: list[int] = []

    def read(self) -> Frame | None:
        found = super().read()
        if found is None:
            return None
        image = vars(latent(self.made, found.index, self.by))["image"]
        return found.but(image=image)


class Slow(FakeEstimator):
    """So slow that most frames are dropped."""

    def __init__(self, *, single_threaded: bool) -> None:
        super().__init__(per_frame_s=0.03)
        self.single_threaded = single_threaded
        self.by: set[int] = set()

    def __call__(self, images: Sequence[Image]) -> list[Poses]:
        self.by.add(threading.get_ident())
        return super().__call__(images)


async def played(source: LatentSource, estimator: Slow) -> list[int]:
    sink = MemorySink()
    stream = Stream(name="s", source=source, sinks=[sink])
    async with asyncio.timeout(30), Pipeline([stream], estimator, policy=LatencyBatch(0.1)) as pipeline:
        await pipeline.run()
    return [result.frame.index for result in sink.results]


async def test_what_is_dropped_is_never_made_and_the_rest_on_the_engines_thread():
    source, estimator = LatentSource(live=True), Slow(single_threaded=True)
    delivered = await played(source, estimator)
    assert 3 <= len(delivered) < 45
    assert source.made == [index for batch in estimator.batches for index in batch]
    assert set(delivered) <= set(source.made)
    assert set(source.by) == estimator.by


@pytest.mark.parametrize(("live", "single_threaded"), [(True, False), (False, True), (False, False)])
async def test_elsewhere_they_are_made_on_the_sources_thread(live: bool, single_threaded: bool):
    source, estimator = LatentSource(live=live), Slow(single_threaded=single_threaded)
    delivered = await played(source, estimator)
    assert source.made == list(range(60))
    assert set(delivered) <= set(source.made)
    assert live or delivered == source.made
    assert set(source.by) <= source.threads
    assert not set(source.by) & estimator.by
