"""What a kill or a power cut may do to a spool, and what is read of it then."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streampose.clip import Moment
from streampose.errors import SinkUnavailable
from streampose.offline.ahead import ahead
from streampose.offline.inputs import Input
from streampose.offline.job import Job, State, fingerprint_of
from streampose.offline.spool import Spool, SpoolWriter, read_spool, read_thumbnails
from streampose.pose import Poses
from streampose.skeletons import COCO_17


def moments(counts: list[int], *, ids: bool) -> list[Moment]:
    rng = np.random.default_rng(1)
    return [
        Moment(
            stream="s",
            index=3 * i,
            pts=7 * i,
            time_base=Fraction(1001, 30000),
            size_px=(640, 480),
            wall_time_s=None if i % 2 else 1.5e9,
            poses=Poses(
                skeleton=COCO_17,
                points=rng.normal(size=(n, 17, 2)).astype(np.float32),
                scores=rng.random((n, 17)).astype(np.float32),
                boxes=rng.normal(size=(n, 4)).astype(np.float32),
                box_scores=rng.random(n).astype(np.float32),
                ids=np.arange(n) if ids else None,
            ),
        )
        for i, n in enumerate(counts)
    ]


def same(a: Moment, b: Moment) -> bool:
    arrays = all(
        np.array_equal(getattr(a.poses, n), getattr(b.poses, n)) for n in ("points", "scores", "boxes", "box_scores")
    )
    ids = (a.poses.ids is None) == (b.poses.ids is None) and (
        a.poses.ids is None or np.array_equal(a.poses.ids, b.poses.ids)
    )
    return arrays and ids and replace(a, poses=b.poses) == b


def spool(path: Path, clip: list[Moment]) -> Path:
    writer = SpoolWriter(Spool.new(path))
    for moment in clip:
        writer.write(moment)
    writer.close()
    return path


@given(counts=st.lists(st.integers(0, 3), max_size=5), ids=st.booleans())
def test_numbers_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, counts: list[int], ids: bool):
    clip = moments(counts, ids=ids)
    path = tmp_path_factory.mktemp("s") / "a.spool"
    pictures = [None if i == 1 else np.arange(i, i + 256).astype(np.uint8) for i in range(len(clip))]
    writer = SpoolWriter(Spool.new(path))
    for moment, picture in zip(clip, pictures, strict=True):
        writer.write(moment, picture)
    writer.close()
    kept = list(read_thumbnails(path, COCO_17))
    assert [index for index, _ in kept] == [moment.index for moment in clip]
    assert all(np.array_equal(a, b) if b is not None else a is None for (_, a), b in zip(kept, pictures, strict=True))
    back = list(read_spool(path, "s", COCO_17))
    assert len(back) == len(clip)
    assert all(map(same, clip, back))


@given(cut=st.integers(0, 1500), junk=st.binary(max_size=40))
def test_whatever_is_torn_off_the_rest_is_whole_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
):
    clip = moments([2, 0, 1, 2], ids=False)
    path = spool(tmp_path_factory.mktemp("s") / "a.spool", clip)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] + junk)
    found = Spool.look(path)
    assert found.size <= cut
    assert found.last == (None if not found.frames else (clip[found.frames - 1].index, clip[found.frames - 1].pts))
    writer = SpoolWriter(found)
    for moment in clip[found.frames :]:
        writer.write(moment)
    writer.close()
    assert path.read_bytes() == whole


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_seen(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int):
    clip = moments([1, 2, 1], ids=True)
    path = spool(tmp_path_factory.mktemp("s") / "a.spool", clip)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    back = list(read_spool(path, "s", COCO_17))
    assert len(back) < 3
    assert all(same(a, b) for a, b in zip(clip, back, strict=False))


def test_what_a_disk_takes_in_parts_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write = os.write
    monkeypatch.setattr("streampose.offline.spool.os.write", lambda file, data: write(file, data[:100]))
    clip = moments([2, 3], ids=True)
    back = list(read_spool(spool(tmp_path / "s.spool", clip), "s", COCO_17))
    assert all(same(a, b) for a, b in zip(back, clip, strict=True))


def test_where_nothing_can_be_written(tmp_path: Path):
    with pytest.raises(SinkUnavailable):
        SpoolWriter(Spool.new(tmp_path / "none" / "a.spool"))


def test_a_state_that_is_torn_or_of_something_else_is_none(tmp_path: Path):
    job = Job(input=Input(name="a", synthetic="synthetic:"), folder=tmp_path)
    state = job.load("one")
    own = {"source": state.source, "recording": state.recording}
    state.whole, state.frames = True, 5
    job.save(state)
    job.found.write_bytes(b"x")
    assert job.load("one") == State(**own, found="one", whole=True, frames=5)
    assert job.found.exists()
    assert job.load("two") == State(**own, found="two")
    assert not job.found.exists()
    assert job.load("one") == State(**own, found="one")  # cut off before the new state was saved
    for text in ("", "{", "[]", '{"v": 99, "state": {}}', '{"v": 1, "state": {"new": 1}}'):
        (job.work / "state.json").write_text(text)
        assert job.load("one") == State(**own, found="one")
    assert fingerprint_of(1, "a") != fingerprint_of(1, "b")


def test_what_is_run_ahead_comes_in_order_and_breaks_where_it_breaks():
    closed: list[str] = []

    def items():
        yield from range(5)
        raise KeyError("six")

    taken = []
    with pytest.raises(KeyError), ahead(items(), 2, lambda: closed.append(threading.current_thread().name)) as made:
        taken.extend(made)
    assert closed == ["streampose-ahead"]
    assert taken == list(range(5))
    with ahead(items(), 2) as made:
        assert [next(made) for _ in range(5)] == list(range(5))


def test_who_stops_early_leaves_nothing_running():
    made_up = []

    def items():
        for i in count():
            made_up.append(i)
            yield i

    with ahead(items(), 3) as made:
        assert next(made) == 0
    size = len(made_up)
    assert size <= 6
    assert not any(thread.name == "streampose-ahead" for thread in threading.enumerate())
    assert len(made_up) == size


def test_a_close_that_fails_is_told_to_whoever_takes():
    def broken() -> None:
        raise OSError("it cannot be closed")

    with pytest.raises(OSError, match="it cannot be closed"), ahead([1], 2, broken) as made:
        assert list(made) == [1]
