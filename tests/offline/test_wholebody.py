"""COCO-WholeBody end to end: from pixels to groups, files and figures, on models whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from dots import build, paint
from test_process import FAST, clip, command  # noqa: F401 - a fixture

from streampose import load
from streampose.motion import groups
from streampose.render.palette import HAND_COLOURS, HAND_EDGES
from streampose.skeletons import COCO_WHOLEBODY_133

SIZE = (288, 384)


def layout(seed: int) -> np.ndarray:
    """(133, 2): each point in a cell of its own, shuffled, so that no two dots touch."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(12 * 12)[:133]
    return np.column_stack([16 + cells % 12 * 23, 30 + cells // 12 * 29]) + rng.uniform(-2, 2, (133, 2))


@pytest.mark.parametrize("kind", ["simcc", "heatmap-udp"])
def test_from_pixels_to_groups(command, tmp_path: Path, kind: str):  # noqa: F811
    (tmp_path / "row").mkdir()
    true = np.stack([layout(seed) for seed in range(2)])
    for i, points in enumerate(true):
        cv2.imwrite(str(tmp_path / "row" / f"{i}.png"), paint(points, SIZE[1], SIZE[0], radius=6))
    model = build(tmp_path / "model.onnx", kind, k=133, size=SIZE)
    arguments = ["--model", model, *FAST, "--sessions", "1", "--format", "jsonl,openpose,coco", "--draw", "whole-body"]
    if kind == "heatmap-udp":
        arguments += ["--family", "vitpose"]
    assert command("process", tmp_path / "row", "-o", tmp_path / "out", *arguments)[0] == 0
    poses = load(tmp_path / "out" / "row.jsonl")
    assert poses.skeleton == COCO_WHOLEBODY_133
    found = np.stack([moment.poses.points[0] for moment in poses])
    away = np.linalg.norm(found - true, axis=2)
    assert np.median(away) < 0.6
    # Of 133 colours some are near to others' shades.
    assert (away < 1.5).mean() > 0.95
    parts = groups(poses[0].poses)
    assert np.array_equal(parts.left_hand[0, :, :2], poses[0].poses.points[0, 91:112])
    assert np.array_equal(parts.right_hand[0, :, :2], poses[0].poses.points[0, 112:133])
    assert np.array_equal(parts.face[0, :, :2], poses[0].poses.points[0, 23:91])
    assert np.allclose(parts.body[0, 1, :2], poses[0].poses.points[0, 5:7].mean(axis=0))
    assert np.allclose(parts.body[0, 18, :2], poses[0].poses.points[0, 17:19].mean(axis=0))
    person = json.loads((tmp_path / "out" / "row.openpose" / "row_000000000001_keypoints.json").read_text())["people"][
        0
    ]
    hand = np.reshape(person["hand_left_keypoints_2d"], (21, 3))
    assert np.allclose(hand[:, :2][hand[:, 2] > 0], poses[1].poses.points[0, 91:112][hand[:, 2] > 0], atol=0.01)
    with av.open(str(tmp_path / "out" / "row.whole-body.mp4")) as container:
        assert (next(container.decode(video=0)).to_ndarray(format="bgr24") > 60).any()


def test_poses_without_hands_are_told_once_where_hands_are_drawn(command, tmp_path: Path, caplog):  # noqa: F811
    for name in ("a", "b"):
        clip(tmp_path / f"{name}.mp4", 3)
    process = ["process", tmp_path / "a.mp4", tmp_path / "b.mp4", "-o", tmp_path / "out", *FAST, "--draw"]
    assert command(*process, "coco")[0] == 0
    assert "hands" not in caplog.text
    assert command(*process, "animate,whole-body")[0] == 0
    assert caplog.text.count("the body alone is drawn: coco-17 has no hands") == 1


def test_each_finger_has_its_own_colours():
    assert len(set(HAND_COLOURS)) == len(HAND_EDGES) == 20
    roots = [edge for edge in HAND_EDGES if edge[0] == 0]
    assert [b for _, b in roots] == [1, 5, 9, 13, 17]
