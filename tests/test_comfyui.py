"""The ComfyUI nodes, driven as ComfyUI drives them, on real footage; and the functions underneath."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest

from streampose import COCO_17, Image, ModelChoice, Poses, SyntheticSource, load_estimator
from streampose.clip import Clip, Moment
from streampose.errors import ConfigError
from streampose.images import cleaned, face_images, find_poses, pose_images
from streampose.motion import largest
from streampose.render import PALETTES, FigurePainter


@pytest.fixture(scope="module")
def nodes() -> ModuleType:
    path = Path(__file__).parents[1] / "examples" / "comfyui" / "__init__.py"
    spec = importlib.util.spec_from_file_location("comfyui_nodes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def images(assets: Path) -> np.ndarray:
    """(6, 960, 544, 3) RGB from 0 to 1, of one person."""
    with av.open(str(assets / "videos" / "pose2sim_single_cam03.mp4")) as container:
        frames = [f for i, f in enumerate(container.decode(video=0)) if i % 15 == 0][:6]
    return np.stack([f.to_ndarray(format="rgb24", width=544, height=960) for f in frames]).astype(np.float32) / 255


def call(node: type, **values: Any) -> Any:
    """As ComfyUI does: every input that it declares, by name."""
    declared = node.INPUT_TYPES()["required"]
    assert values.keys() == declared.keys()
    out = getattr(node(), node.FUNCTION)(**values)
    assert len(out) == len(node.RETURN_TYPES)
    return out


@pytest.mark.assets
def test_from_images_to_pose_images(nodes: ModuleType, images: np.ndarray):
    known = nodes.NODE_CLASS_MAPPINGS
    assert known.keys() == nodes.NODE_DISPLAY_NAME_MAPPINGS.keys()
    (model,) = call(known["StreamposeModel"], model="", detector="", pose="", device="cpu")
    assert call(known["StreamposeModel"], model="", detector="", pose="", device="cpu")[0] is model
    clip, faces, asked = call(
        known["StreamposeFind"], model=model, images=images, rate=4, person="largest", clean=False, face_padding=0.2
    )
    assert [len(m.poses) for m in clip] == [1] * 6
    assert np.asarray(faces).shape == (6, 512, 512, 3)
    assert [f["frame"] for f in json.loads(asked)["frames"]] == [0, 2, 3, 5]
    (drawn,) = call(
        known["StreamposeDraw"], poses=clip, style="animate", width=480, height=832, line_width=1.0, hand_width=1.0,
        head="full", face_dots="none",
    )  # fmt: skip
    drawn = np.asarray(drawn)
    assert (drawn.shape, drawn.dtype) == ((6, 832, 480, 3), np.float32)
    assert 0.001 < (drawn > 0).any(axis=3).mean() < 0.1
    moved, still, said = call(
        known["StreamposeRetarget"], model=model, poses=clip, reference=images[:1], align="reference", anchor="neck",
        scale="auto",
    )  # fmt: skip
    assert "in sight" in said.lower()
    assert np.allclose(moved[0].poses.points, clip[0].poses.points, atol=1.0)  # the reference is the first frame itself
    assert len(still) == 1
    model.close()


def test_the_largest_person_is_the_reference(nodes: ModuleType):
    """As on the command line: models give people by score, and whoever is surest may be far away."""
    source = SyntheticSource(people=2, width_px=320, height_px=240, seconds=1, seed=3, live=False)
    source.open("s")
    two = source.truth(0)
    sizes = (two.boxes[:, 2:] - two.boxes[:, :2]).prod(axis=1)
    two = replace(two.take(np.argsort(sizes)), ids=None)
    assert sizes.min() < sizes.max()
    one = Moment(
        stream="s", index=0, pts=0, time_base=Fraction(1, 30), size_px=(320, 240), poses=two.take(np.array([0]))
    )
    _, still, _ = call(
        nodes.NODE_CLASS_MAPPINGS["StreamposeRetarget"], model=lambda pictures: [two for _ in pictures],
        poses=Clip((one,)), reference=np.zeros((1, 240, 320, 3), np.float32), align="reference", anchor="auto",
        scale="auto",
    )  # fmt: skip
    assert len(still[0].poses) == 1
    assert np.array_equal(still[0].poses.points[0], two.points[1])
    assert len(largest(two.take(np.array([], int)))) == 0


@pytest.mark.parametrize(
    ("width", "height", "shape"), [(160, 0, (120, 160)), (0, 120, (120, 160)), (50, 90, (90, 50)), (0, 0, (240, 320))]
)
def test_a_side_that_is_not_named_is_as_the_clip_s_shape_wants(
    nodes: ModuleType, width: int, height: int, shape: tuple[int, int]
):
    one = Moment(stream="s", index=0, pts=0, time_base=Fraction(1, 30), size_px=(320, 240), poses=Poses.empty(COCO_17))
    (drawn,) = call(
        nodes.NODE_CLASS_MAPPINGS["StreamposeDraw"], poses=Clip((one,)), style="coco", width=width, height=height,
        line_width=1.0, hand_width=1.0, head="full", face_dots="full",
    )  # fmt: skip
    assert np.asarray(drawn).shape == (1, *shape, 3)


@pytest.mark.parametrize("height", [0, 90])
def test_a_clip_that_does_not_say_how_large_its_pictures_are_is_told(nodes: ModuleType, height: int):
    one = Moment(stream="s", index=0, pts=0, time_base=Fraction(1, 30), size_px=(0, 0), poses=Poses.empty(COCO_17))
    with pytest.raises(ConfigError, match="do not say how large"):
        call(
            nodes.NODE_CLASS_MAPPINGS["StreamposeDraw"], poses=Clip((one,)), style="coco", width=0, height=height,
            line_width=1.0, hand_width=1.0, head="full", face_dots="full",
        )  # fmt: skip


def test_batches_and_progress(images: np.ndarray):
    estimator = load_estimator(ModelChoice())
    told: list[tuple[int, int]] = []
    one = find_poses(images, estimator, batch=1)
    many = find_poses(images, estimator, batch=4, progress=lambda done, of: told.append((done, of)))
    assert told == [(4, 6), (6, 6)]
    assert all(np.allclose(a.poses.points, b.poses.points, atol=0.5) for a, b in zip(one, many, strict=True))
    estimator.close()


def test_drawing_upon_the_images_changes_only_where_somebody_is(images: np.ndarray):
    estimator = load_estimator(ModelChoice())
    clip = find_poses(images[:2], estimator)
    over = pose_images(clip, FigurePainter(look=PALETTES["coco"], background="video"), images[:2])
    figure = pose_images(clip, FigurePainter(look=PALETTES["coco"])).max(axis=3) > 0
    assert np.allclose(over[~figure], images[:2][~figure], atol=0.003)
    assert not np.allclose(over[figure], images[:2][figure], atol=0.1)
    estimator.close()
    with pytest.raises(ConfigError, match="give its images"):
        pose_images(clip, FigurePainter(look=PALETTES["coco"], background="video"))
    with pytest.raises(ConfigError, match="are \\(B, H, W, 3\\)"):
        find_poses(images[0], estimator)


def test_bytes_and_floats_are_the_same_pictures():
    """Bytes were cut to 0 and 1 as if they were floats: models saw pictures of two colours, and nobody in them."""
    colours = np.array([[[[255, 128, 0], [3, 2, 1]]]], np.uint8)
    clip = find_poses(colours, _Seeing([]), track=False)
    over = FigurePainter(look=PALETTES["coco"], background="video")
    for images in (colours, colours.astype(np.float32) / 255, colours.astype(np.float16) / 255, colours / 255 * 1.001):
        seen = _Seeing([])
        find_poses(images, seen, track=False)
        assert np.array_equal(seen.pictures[0], colours[0][..., ::-1])
        assert np.array_equal(pose_images(clip, over, images), colours.astype(np.float32) / 255)


@pytest.mark.parametrize("wrong", [255 * np.ones(1), np.nan * np.ones(1), -np.inf * np.ones(1), np.ones(1, np.int64)])
def test_other_values_are_told(wrong: np.ndarray):
    images = np.broadcast_to(wrong, (1, 8, 8, 3))
    clip = find_poses(np.zeros((1, 8, 8, 3), np.uint8), _Seeing([]), track=False)
    with pytest.raises(ConfigError, match="0 to 1"):
        find_poses(images, _Seeing([]))
    with pytest.raises(ConfigError, match="0 to 1"):
        pose_images(clip, FigurePainter(look=PALETTES["coco"], background="video"), images)
    with pytest.raises(ConfigError, match="not \\(8, 8, 3\\)"):
        face_images(clip, images[0])


@dataclass
class _Seeing:
    """An estimator that finds nobody, and keeps what it was shown."""

    pictures: list[Image]
    skeleton = COCO_17

    def __call__(self, images: Sequence[Image]) -> list[Poses]:
        self.pictures += images
        return [Poses.empty(COCO_17) for _ in images]

    def close(self) -> None:
        pass


def test_what_makes_no_sense_is_refused():
    def nobody(pictures: Sequence[Image]) -> list[Poses]:
        return [Poses.empty(COCO_17) for _ in pictures]

    black = np.zeros((3, 48, 64, 3), np.uint8)
    for wrong in ({"batch": -1}, {"batch": 1.5}, {"rate": 0}, {"rate": -1}, {"rate": float("nan")}):
        with pytest.raises(ConfigError):
            find_poses(black, nobody, **wrong)  # type: ignore[arg-type]
    clip = find_poses(black, nobody, rate=np.float32(25))  # type: ignore[arg-type]
    assert len(clip) == 3
    for wrong in ({"images": black[:2]}, {"size_px": 0}, {"padding": float("inf")}):
        with pytest.raises(ConfigError):
            face_images(clip, **{"images": black, **wrong})
    with pytest.raises(ConfigError, match="sigma_s"):
        cleaned(clip, sigma_s=float("nan"))
