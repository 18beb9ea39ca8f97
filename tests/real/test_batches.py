"""Batched or not, the poses are the same, on all of the shared footage."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from streampose import ModelChoice, load_estimator
from streampose.frame import Image

pytestmark = pytest.mark.assets


@pytest.fixture(scope="module")
def pictures(assets: Path) -> list[Image]:
    """32 frames of all six clips, mixed, since batches of several recordings are."""
    found: list[list[Image]] = []
    for video in sorted((assets / "videos").glob("*.mp4")):
        with av.open(str(video)) as container:
            wanted = 70 if "intel" in video.name else 15
            frames = (f.to_ndarray(format="bgr24") for i, f in enumerate(container.decode(video=0)) if i % wanted == 5)
            found.append([frame for frame, _ in zip(frames, range(6), strict=False)])
    return [frame for row in zip(*found, strict=False) for frame in row][:32]


# Small ones, and from there on those around powers of two, where padding begins and ends.
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 32)
# A picture takes the pair ten times as long as it takes streampose-nano.
FEW = (1, 2, 3, 4, 5, 8, 9, 17)


@pytest.mark.parametrize(("pair", "sizes"), [((), SIZES), (("rtmdet_nano_person", "pp_tinypose_256x192"), FEW)])
def test_every_batch_size_gives_the_same_points(
    assets: Path, pictures: list[Image], pair: tuple[str, ...], sizes: tuple[int, ...]
):
    pictures = pictures[: max(sizes)]
    files = [assets / "models" / f"{name}.onnx" for name in pair]
    estimator = load_estimator(ModelChoice(detector=files[0], pose=files[1]) if files else ModelChoice())
    alone = [estimator([picture])[0] for picture in pictures]
    assert sum(map(len, alone)) > len(pictures) / 2
    # On a CPU all sizes are the same to the last bit; a GPU may choose other kernels for them.
    for size in sizes:
        # Batches do not always begin with the same picture; the first is full.
        first = min(size % 5, len(pictures) - size)
        assert len(pictures[first : first + size]) == size
        rows = [estimator(pictures[i : i + size]) for i in range(first, len(pictures), size)][: 1 if size > 8 else 2]
        batched = [poses for row in rows for poses in row]
        for one, other in zip(alone[first:], batched, strict=False):
            assert len(one) == len(other), size
            assert np.abs(one.points - other.points).max(initial=0) < 0.5, size
    estimator.close()
