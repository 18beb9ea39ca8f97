"""Where a shot ends: at a cut, and not where people move fast."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from test_process import FAST, command  # noqa: F401 - a fixture

from streampose.formats import load
from streampose.frame import Image
from streampose.offline.cuts import Thumbnail, find_cuts, thumbnail


def pictures(path: Path, count: int) -> list[Image]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="bgr24") for f in islice(container.decode(video=0), count)]


def numbered(thumbnails: list[Thumbnail]) -> list[tuple[int, Thumbnail | None]]:
    return list(enumerate(thumbnails))


def shot(picture: Thumbnail, frames: int = 9) -> list[Thumbnail]:
    """It, with noise: no two are the same."""
    rng = np.random.default_rng(0)
    return [picture - np.minimum(picture, rng.integers(0, 5, 256).astype(np.uint8)) for _ in range(frames)]


@pytest.mark.assets
def test_cuts_are_found_and_nothing_else(assets: Path):
    names = ("pose2sim_multi_cam03", "pose2sim_multi_cam02", "intel_one_by_one_person")
    clips = [
        [thumbnail(picture) for picture in pictures(assets / "videos" / f"{name}.mp4", count)]
        for name, count in zip(names, (30, 30, 300), strict=True)
    ]
    joined = numbered([*clips[0], *clips[1], *clips[2], *clips[0]])
    assert find_cuts(joined) == {30, 60, 360}
    assert find_cuts(joined[::2]) == {30, 60, 360}
    nearly_still = clips[2][12:24]
    assert find_cuts(numbered([*clips[0], *nearly_still, *clips[1]])) == {30, 42}
    for clip in clips:
        for every in (1, 2, 3, 5, 10):  # as if they moved so many times as fast
            assert find_cuts(numbered(clip)[::every]) == set()
            assert find_cuts(numbered([picture for picture in clip[::every] for _ in range(every)])) == set()


def test_what_passes_and_what_is_not_known_is_no_cut():
    rng = np.random.default_rng(0)
    one, other, third = (rng.integers(0, 256, 256).astype(np.uint8) for _ in range(3))
    assert find_cuts(numbered([*shot(one), *shot(other)])) == {9}
    assert find_cuts(numbered([*shot(one), *shot(other, 2), *shot(one)])) == set()  # a flash
    assert find_cuts(numbered([*shot(one), *shot(one // 3)])) == set()  # the light goes out
    assert find_cuts(numbered([one, other, third] * 3)) == set()  # photos
    grey = np.full(256, 90, np.uint8)
    assert find_cuts(numbered([*shot(grey), *shot(grey)])) == set()
    assert find_cuts([*numbered(shot(one)), (9, None), *enumerate(shot(other), 10)]) == set()
    assert find_cuts([(0, None), *enumerate([*shot(one, 4), *shot(other, 4)], 1)]) == {5}


def test_shots_are_told_apart_by_what_lies_around_the_black_between_them():
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 200, 256).astype(np.uint8) for _ in range(2))
    black, white = np.zeros(256, np.uint8), np.full(256, 255, np.uint8)
    assert find_cuts(numbered([*shot(one), *[black] * 8, *shot(other)])) == {17}
    assert find_cuts(numbered([*shot(one), white, *shot(other)])) == {10}
    assert find_cuts(numbered([*shot(one), *[black] * 8, *shot(one)])) == set()
    light = [0.8, 0.6, 0.4, 0.2, 0.0]
    faded = [(one * part).astype(np.uint8) for part in light], [(other * part).astype(np.uint8) for part in light[::-1]]
    assert find_cuts(numbered([*shot(one), *faded[0], *faded[1], *shot(other)])) == {15}


def test_pictures_that_are_held_are_no_shots():
    """As of a camera of 5 frames a second in a file of 25; but a title that stays is one."""
    rng = np.random.default_rng(0)
    seen = [rng.integers(0, 256, 256).astype(np.uint8) for _ in range(9)]
    assert find_cuts(numbered([picture for picture in seen for _ in range(5)])) == set()
    for frames in (5, 10, 30):
        assert find_cuts(numbered([*shot(seen[0]), *[seen[1]] * frames, *shot(seen[2])])) == {9, 9 + frames}


def test_a_shot_in_which_little_changes_now_and_then_is_seen():
    rng = np.random.default_rng(0)
    one, other, third = (rng.integers(20, 230, 256).astype(np.uint8) for _ in range(3))
    slow = [np.concatenate([other[:8] + 3 * (i // 16), other[8:]]).astype(np.uint8) for i in range(48)]
    assert find_cuts(numbered([*shot(one), *slow, *shot(third)])) == {9, 57}


@pytest.mark.assets
def test_nobody_is_followed_or_smoothed_over_a_cut(
    command: Callable[..., tuple[int, str]],  # noqa: F811
    assets: Path,
    tmp_path: Path,
):
    """The second shot is as it is when there is no other before it."""
    a, b = (pictures(assets / "videos" / f"pose2sim_multi_{name}.mp4", 8) for name in ("cam03", "cam02"))
    for name, shots in {"both": [*a, *b], "alone": b}.items():
        (tmp_path / name).mkdir()
        for i, picture in enumerate(shots):
            (tmp_path / name / f"{i}.png").write_bytes(cv2.imencode(".png", picture[::4, ::4])[1].tobytes())
    options = ["-o", tmp_path / "out", *FAST, "--clean", "--calm", "200ms"]
    assert command("process", tmp_path / "both", tmp_path / "alone", *options)[0] == 0
    both, alone = (load(tmp_path / "out" / f"{name}.jsonl") for name in ("both", "alone"))
    assert [moment.epoch for moment in both] == [0] * 8 + [1] * 8
    assert len(alone.ids) > 0
    assert not set(both[:8].ids) & set(both[8:].ids)
    for cut, whole in zip(both[8:], alone, strict=True):
        np.testing.assert_allclose(cut.poses.points, whole.poses.points, atol=0.02)
