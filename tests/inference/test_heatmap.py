"""Decoding a whole batch at once against the textbook, map by map."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streampose.inference.card import Refine
from streampose.inference.heatmap import decode_heatmaps, decode_simcc


def textbook_dark(heatmap: np.ndarray, kernel: int, udp: bool) -> tuple[float, float]:
    """DARK as its paper writes it (Zhang et al., CVPR 2020, eq. 6–11), for one map; or with UDP's derivatives."""
    h, w = heatmap.shape
    y, x = divmod(int(heatmap.argmax()), w)
    border = (kernel - 1) // 2
    padded = np.zeros((h + 2 * border, w + 2 * border))
    padded[border : h + border, border : w + border] = heatmap
    blurred = cv2.GaussianBlur(padded, (kernel, kernel), 0)[border : h + border, border : w + border]
    log = np.log(np.maximum(blurred * heatmap.max() / blurred.max(), 1e-10))
    border = 0 if udp else 1
    if not (border < x < w - 1 - border and border < y < h - 1 - border):
        return x, y
    dx, dy = (log[y, x + 1] - log[y, x - 1]) / 2, (log[y + 1, x] - log[y - 1, x]) / 2
    if udp:
        dxx = log[y, x + 1] - 2 * log[y, x] + log[y, x - 1]
        dyy = log[y + 1, x] - 2 * log[y, x] + log[y - 1, x]
        forwards = log[y + 1, x + 1] - log[y, x + 1] - log[y + 1, x] + log[y, x]
        backwards = log[y - 1, x - 1] - log[y, x - 1] - log[y - 1, x] + log[y, x]
        dxy = (forwards + backwards) / 2
    else:
        dxx = (log[y, x + 2] - 2 * log[y, x] + log[y, x - 2]) / 4
        dyy = (log[y + 2, x] - 2 * log[y, x] + log[y - 2, x]) / 4
        dxy = (log[y + 1, x + 1] - log[y - 1, x + 1] - log[y + 1, x - 1] + log[y - 1, x - 1]) / 4
    step = -np.linalg.solve([[dxx, dxy], [dxy, dyy]], [dx, dy])
    return x + step[0], y + step[1]


def blobs(seed: int, n: int, k: int, h: int, w: int) -> np.ndarray:
    """Maps of a peak, a lesser one, and noise; peaks also near and at the border."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    maps = rng.uniform(0, 0.02, (n, k, h, w))
    for height in (0.9, 0.3):
        centre = rng.uniform((0, 0), (w - 1, h - 1), (n, k, 2))[..., None, None]
        maps += height * np.exp(-((x - centre[:, :, 0]) ** 2 + (y - centre[:, :, 1]) ** 2) / (2 * 2.0**2))
    return maps.astype(np.float32)


@given(
    seed=st.integers(0, 10**6),
    kernel=st.sampled_from([3, 7, 11]),
    shape=st.sampled_from([(64, 48), (32, 24)]),
    udp=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_dark_is_the_papers(seed: int, kernel: int, shape: tuple[int, int], udp: bool):
    maps = blobs(seed, 2, 5, *shape)
    points, scores = decode_heatmaps(maps, Refine.DARK, blur_px=kernel, udp=udp)
    for row, column in np.ndindex(2, 5):
        truth = textbook_dark(maps[row, column].astype(np.float64), kernel, udp)
        peak = divmod(int(maps[row, column].argmax()), shape[1])[::-1]
        if udp and not (0 < peak[0] < shape[1] - 1 and 0 < peak[1] < shape[0] - 1):
            continue  # see below
        if np.abs(np.subtract(truth, peak)).max() <= 2:  # a larger step is refused: the map is broken there
            np.testing.assert_allclose(points[row, column], truth, atol=1e-3)
        else:
            np.testing.assert_array_equal(points[row, column], peak)
        assert scores[row, column] == min(maps[row, column].max(), 1)


@given(seed=st.integers(0, 10**6), refine=st.sampled_from(Refine), udp=st.booleans())
@settings(deadline=None, max_examples=30)
def test_a_batch_is_what_each_is_alone_and_stays_near_the_peak(seed: int, refine: Refine, udp: bool):
    maps = blobs(seed, 3, 4, 32, 24)
    points, scores = decode_heatmaps(maps, refine, udp=udp)
    for i in range(3):
        alone, alone_scores = decode_heatmaps(maps[i : i + 1], refine, udp=udp)
        np.testing.assert_array_equal(alone[0], points[i])
        np.testing.assert_array_equal(alone_scores[0], scores[i])
    y, x = np.divmod(maps.reshape(3, 4, -1).argmax(axis=2), 24)
    assert np.abs(points - np.stack([x, y], axis=2)).max() <= 2


@pytest.mark.parametrize("at", [(0, 0), (23, 31), (0, 15), (12, 31), (1, 1)])
@pytest.mark.parametrize("refine", list(Refine))
@pytest.mark.parametrize("udp", [False, True])
def test_peaks_at_the_border(at: tuple[int, int], refine: Refine, udp: bool):
    y, x = np.mgrid[:32, :24]
    maps = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 2.0**2)).astype(np.float32)[None, None]
    points, _ = decode_heatmaps(maps, refine, udp=udp)
    assert np.abs(points[0, 0] - at).max() < 1.1


@pytest.mark.parametrize("at", [(-0.4, 20.3), (46.7, 20.3), (20.3, 0.4), (20.3, 63.3), (0.2, 63.3)])
def test_udp_leaves_a_peak_in_the_outermost_cells_there(at: tuple[float, float]):
    """It was drawn inwards by a whole cell; along the other axis it is refined as elsewhere."""
    y, x = np.mgrid[:64, :48]
    maps = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 2.0**2)).astype(np.float32)[None, None]
    points, _ = decode_heatmaps(maps, Refine.DARK, udp=True)
    for found, truth, cells in zip(points[0, 0], at, (48, 64), strict=True):
        cell = round(truth)
        assert found == cell if cell in (0, cells - 1) else found == pytest.approx(truth, abs=0.01)


@pytest.mark.parametrize("at", [(0, 0), (0, 5), (5, 0), (11, 5), (5, 15), (11, 15)])
def test_a_peak_at_the_border_is_not_moved_by_a_quarter(at: tuple[int, int]):
    maps = np.random.default_rng(0).uniform(0, 0.1, (1, 1, 16, 12)).astype(np.float32)
    maps[0, 0, at[1], at[0]] = 1
    points, _ = decode_heatmaps(maps, Refine.QUARTER)
    assert tuple(points[0, 0]) == at


def test_a_quarter_goes_to_the_higher_neighbour_and_nothing_without_refinement():
    maps = np.random.default_rng(0).uniform(0, 0.1, (4, 5, 16, 12)).astype(np.float32)
    maps[:, :, 8, 6] = 1
    sides = [np.sign(maps[:, :, 8, 7] - maps[:, :, 8, 5]), np.sign(maps[:, :, 9, 6] - maps[:, :, 7, 6])]
    np.testing.assert_array_equal(decode_heatmaps(maps, Refine.QUARTER)[0], (6, 8) + np.stack(sides, axis=2) / 4)
    np.testing.assert_array_equal(decode_heatmaps(maps, Refine.NONE)[0], np.broadcast_to((6, 8), (4, 5, 2)))


def test_mirrored_maps_give_mirrored_points():
    maps = blobs(7, 4, 17, 64, 48)
    for refine in Refine:
        points, _ = decode_heatmaps(maps, refine)
        mirrored, _ = decode_heatmaps(np.ascontiguousarray(maps[..., ::-1]), refine)
        np.testing.assert_allclose(mirrored[..., 0], 47 - points[..., 0], atol=1e-3)
        np.testing.assert_allclose(mirrored[..., 1], points[..., 1], atol=1e-3)


@given(x=st.integers(0, 383), y=st.integers(0, 511), a=st.floats(0, 2, width=32), b=st.floats(0, 2, width=32))
def test_simcc_is_two_arg_maxima_and_the_weaker_peak(x: int, y: int, a: float, b: float):
    x_bins, y_bins = np.full((1, 1, 384), -1, np.float32), np.full((1, 1, 512), -1, np.float32)
    x_bins[0, 0, x], y_bins[0, 0, y] = a, b
    points, scores = decode_simcc(x_bins, y_bins)
    assert points[0, 0].tolist() == [x / 2, y / 2]
    assert scores[0, 0] == min(a, b, 1)
