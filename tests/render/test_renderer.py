"""The finished picture, and the display on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streampose.errors import ConfigError
from streampose.pose import Poses
from streampose.render import Hud, Renderer, Style
from streampose.render.hud import _AMBER, _GREY, _OPACITY, _PANEL, _WHITE, _duration
from streampose.skeletons import COCO_17

HUD = Hud(
    stream="door",
    fps=29.8,
    latency_p50_s=0.0412,
    latency_p95_s=0.063,
    batch_size=4,
    dropped=3,
    people=2,
    engine="CUDA",
)
NOBODY = Poses.empty(COCO_17)


def noise(width: int, height: int) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image.flags.writeable = False
    return image


def rectangle(changed: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(changed.any(axis=2))
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@pytest.mark.parametrize("picture", [None, np.zeros((9, 9), np.uint8), "a.png"], ids=["none", "grey", "text"])
def test_what_is_no_picture_is_told(picture: object):
    """OpenCV reads None of a file that is not there."""
    with pytest.raises(ConfigError, match=r"a picture is an array \(height, width, 3\) of uint8, BGR, not "):
        Renderer()(picture, NOBODY)


def test_what_is_no_style_is_told():
    with pytest.raises(ConfigError, match=r"a Style\(…\), not 'coco'"):
        Renderer("coco")


def test_gives_a_new_picture_and_leaves_the_frame_alone():
    image = noise(320, 240)
    before = image.copy()
    picture = Renderer()(image, NOBODY)
    assert picture.flags.writeable
    assert picture.flags.c_contiguous
    np.testing.assert_array_equal(picture, image)
    Renderer()(image, NOBODY, HUD)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("size", [(320, 240), (768, 432), (1080, 1920), (3840, 2160)])
def test_the_display_keeps_to_a_corner(size):
    width, height = size
    image = noise(width, height)
    x1, y1, x2, y2 = rectangle(Renderer()(image, NOBODY, HUD) != image)
    assert x1 < 0.03 * width + 4
    assert y2 > 0.96 * height
    assert x2 < width
    assert height - y1 < 0.2 * height


@pytest.mark.parametrize("size", [(1, 1), (16, 9), (60, 400)])
def test_a_picture_too_small_for_it_shows_a_part(size):
    image = noise(*size)
    assert Renderer()(image, NOBODY, HUD).shape == image.shape


def test_the_display_does_not_tremble_with_its_figures():
    image = np.full((432, 768, 3), 200, np.uint8)
    boxes = {
        rectangle(Renderer()(image, NOBODY, replace(HUD, fps=fps, latency_p50_s=p50, people=people)) != image)
        for fps, p50, people in ((29.8, 0.041, 2), (11.1, 0.011, 7), (30.0, 0.099, 4))
    }
    assert len(boxes) == 1


def test_what_is_not_known_is_left_out():
    image = np.full((432, 768, 3), 200, np.uint8)
    short = rectangle(Renderer()(image, NOBODY, Hud(stream="door")) != image)
    long = rectangle(Renderer()(image, NOBODY, HUD) != image)
    assert short[2] < long[2] / 3


def test_every_figure_has_its_place():
    image = np.full((432, 768, 3), 200, np.uint8)
    figures = [name for name in Hud.__dataclass_fields__ if name != "stream"]
    ends = [rectangle(Renderer()(image, NOBODY, replace(HUD, **{name: None})) != image)[2] for name in figures]
    assert max(ends) < rectangle(Renderer()(image, NOBODY, HUD) != image)[2]


@pytest.mark.parametrize("width", [200, 260, 320])
def test_the_display_takes_as_many_lines_as_it_needs(width: int):
    image = np.full((240, width, 3), 200, np.uint8)
    assert rectangle(Renderer()(image, NOBODY, HUD) != image)[2] <= width - 4


def test_times_are_as_fine_as_anybody_needs():
    assert [_duration(s) for s in (0.0042, 0.0412, 9.8, 12.3)] == ["4.2 ms", "41 ms", "9800 ms", "12 s"]


def test_the_display_can_be_switched_off():
    image = noise(320, 240)
    np.testing.assert_array_equal(Renderer(Style(), hud=False)(image, NOBODY, HUD), image)


@pytest.mark.parametrize("colour", [_WHITE, _GREY, _AMBER])
@pytest.mark.parametrize("wall", [0, 255])
def test_can_be_read_on_any_background(colour, wall):
    """WCAG 2's contrast ratio of at least 4.5."""

    def luminance(bgr):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.array(bgr) / 255]
        return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]

    panel = [_OPACITY * v + (1 - _OPACITY) * wall for v in _PANEL]
    assert (luminance(colour) + 0.05) / (luminance(panel) + 0.05) >= 4.5
