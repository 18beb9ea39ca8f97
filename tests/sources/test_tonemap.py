"""HDR pictures: what the standards' reference levels become."""

from __future__ import annotations

import av
import numpy as np
import pytest

from streampose.frame import Image
from streampose.sources.conversion import Conversion

PQ, HLG = 16, 18


def converted(levels: list[float], transfer: int, primaries: int = 9) -> Image:
    """Grey patches, 16 pixels each, of these signals (0 … 1), converted as those of a file; the last row of them."""
    patches = np.repeat(np.asarray(levels), 16)
    luma = np.broadcast_to((64 + 876 * patches).round().astype(np.uint16), (36, len(patches)))
    frame = av.VideoFrame(len(patches), 36, "yuv420p10le")
    for plane, values in zip(frame.planes, (luma, 512, 512), strict=True):
        raw = np.full((plane.height, plane.line_size // 2), 512, np.uint16)
        raw[:, : plane.width] = values
        plane.update(raw.tobytes())
    frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = 9, 1, primaries, transfer
    image = Conversion()(frame)
    assert isinstance(image, np.ndarray)
    return image[-1]


@pytest.mark.parametrize(
    ("transfer", "levels"),
    [
        # Black, 100 cd/m², paper's white of 203 and the peak of 1000, and beyond: ITU-R BT.2100 and BT.2408.
        (PQ, [0.0, 0.508, 0.581, 0.752, 1.0]),
        (HLG, [0.0, 0.630, 0.75, 1.0, 1.0]),
    ],
)
def test_reference_levels(transfer: int, levels: list[float]):
    image = converted(levels, transfer)
    black, middle, paper, peak, beyond = (image[8 + 16 * i].astype(int) for i in range(5))
    assert np.ptp([black, middle, paper, peak, beyond], axis=1).max() <= 2  # grey is grey
    assert black.max() <= 1
    assert np.abs(middle - 255 * (100 / 203) ** (1 / 2.4)).max() <= 3  # as SDR has it
    assert np.abs(paper - 226).max() <= 3  # and there is room above paper
    assert peak.min() >= 253
    assert beyond.min() >= 253


@pytest.mark.parametrize(("primaries", "red_light"), [(9, [0.6274, 0.0691, 0.0164]), (1, [1, 0, 0])])
def test_colours_come_out_as_saturated_as_they_are(primaries: int, red_light: list[float]):
    # BT.709's pure red at paper's white, in BT.2020's primaries by BT.2087 or in its own; as PQ signals, and in YCbCr.
    light = np.array(red_light) * 203 / 10_000
    root = light ** (2610 / 16384)
    red, green, blue = ((3424 + 2413 * 32 * root) / (4096 + 2392 * 32 * root)) ** (2523 / 32)
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    frame = av.VideoFrame(16, 16, "yuv444p10le")
    for plane, value in zip(
        frame.planes,
        (64 + 876 * luma, 512 + 896 * (blue - luma) / 1.8814, 512 + 896 * (red - luma) / 1.4746),
        strict=True,
    ):
        plane.update(np.full((16, plane.line_size // 2), round(value), np.uint16).tobytes())
    frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = 9, 1, primaries, PQ
    image = Conversion()(frame)
    assert isinstance(image, np.ndarray)
    assert np.abs(image[8, 8].astype(int) - (0, 0, 226)).max() <= 10, image[8, 8]


@pytest.mark.parametrize("transfer", [1, 2, 14])
@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 200, 0), (200, 150, 120), (30, 30, 30), (255, 255, 255)])
def test_sdr_of_more_colours_comes_out_as_saturated_as_it_is(colour: tuple[int, int, int], transfer: int):
    # BT.709's red, green and blue in BT.2020's primaries (BT.2087), by a screen's 2.4.
    light = (np.array(colour) / 255) ** 2.4
    red, green, blue = (
        np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]) @ light
    ) ** (1 / 2.4)
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    frame = av.VideoFrame(16, 16, "yuv444p10le")
    levels = 64 + 876 * luma, 512 + 896 * (blue - luma) / 1.8814, 512 + 896 * (red - luma) / 1.4746
    for plane, value in zip(frame.planes, levels, strict=True):
        plane.update(np.full((16, plane.line_size // 2), round(value), np.uint16).tobytes())
    frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = 9, 1, 9, transfer
    image = Conversion()(frame)
    assert isinstance(image, np.ndarray)
    # Of a red, what 10 bits leave of its green is next to nothing as light, and 14 of 255 as a signal.
    assert np.abs(image[8, 8, ::-1].astype(int) - colour).max() <= (15 if 0 in colour else 3), image[8, 8]


def test_sdr_is_left_alone():
    assert np.abs(converted([0.0, 0.5, 1.0], 1, primaries=1)[8::16, 0].astype(int) - (0, 127, 255)).max() <= 2
