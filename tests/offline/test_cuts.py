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
    for clip in clips:
        for every in (1, 2, 3, 5, 10):  # as if they moved so many times as fast
            assert find_cuts(numbered(clip)[::every]) == set()


def test_what_passes_and_what_is_not_known_is_no_cut():
    rng = np.random.default_rng(0)
    one, other, third = (rng.integers(0, 256, 256).astype(np.uint8) for _ in range(3))
    assert find_cuts(numbered([one] * 9 + [other] * 9)) == {9}
    assert find_cuts(numbered([one] * 9 + [other] * 2 + [one] * 9)) == set()  # a flash
    assert find_cuts(numbered([one] * 9 + [one // 3] * 9)) == set()  # the light goes out
    assert find_cuts(numbered([one, other, third] * 3)) == set()  # photos
    grey = np.full(256, 90, np.uint8)
    assert find_cuts(numbered([grey] * 9 + [grey + rng.integers(0, 3, 256).astype(np.uint8)] * 9)) == set()
    assert find_cuts([*numbered([one] * 9), (9, None), *enumerate([other] * 9, 10)]) == set()
    assert find_cuts([(0, None), *enumerate([one] * 4 + [other] * 4, 1)]) == {5}


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
