"""Real footage through real models, from the file to the answer."""

from __future__ import annotations

import importlib
import json
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streampose import (
    FixedBatch,
    JsonlSink,
    Limits,
    ModelChoice,
    Pipeline,
    Stream,
    load_estimator,
    load_estimators,
    open_source,
)
from streampose.evaluation import Pck, pck
from streampose.inference.zoo import built_in
from streampose.sources import SyntheticSource

pytestmark = pytest.mark.assets


@pytest.fixture
def pair(assets: Path) -> ModelChoice:
    models = assets / "models"
    return ModelChoice(
        detector=models / "rtmdet_nano_person.onnx",
        pose=models / "pp_tinypose_256x192.onnx",
        limits=Limits(min_score=0.4),
    )


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class First:
    """The first frames of a source."""

    live = False

    def __init__(self, path: Path, frames: int) -> None:
        self._source, self._left = open_source(str(path)), frames
        self.open, self.close = self._source.open, self._source.close

    def read(self):
        self._left -= 1
        return self._source.read() if self._left >= 0 else None


async def run(pair: ModelChoice, clips: dict[str, Path], folder: Path, frames: int) -> dict[str, list[dict]]:
    folder.mkdir()
    streams = [
        Stream(name=name, source=First(path, frames), sinks=[JsonlSink(folder / name)]) for name, path in clips.items()
    ]
    async with Pipeline(streams, load_estimators(pair, throughput=True), policy=FixedBatch(4)) as pipeline:
        reports = await pipeline.run()
    assert all(report.error is None for report in reports.values())
    return {name: lines(folder / name) for name in clips}


async def test_four_cameras_at_once_are_four_cameras_alone(assets: Path, pair: ModelChoice, tmp_path: Path):
    clips = {f"cam{i}": assets / "videos" / f"pose2sim_multi_cam0{i}.mp4" for i in range(1, 5)}
    together = await run(pair, clips, tmp_path / "all", 10)
    for name, path in clips.items():
        alone = (await run(pair, {name: path}, tmp_path / name, 10))[name]
        assert len(alone) == 10
        for a, b in zip(alone, together[name], strict=True):
            assert (a["frame"], a["pts"], len(a["people"])) == (b["frame"], b["pts"], len(b["people"]))
            assert len(a["people"]) >= 2
            for one, other in zip(a["people"], b["people"], strict=True):
                assert np.abs(np.array(one["points"])[:, :2] - np.array(other["points"])[:, :2]).max() < 0.5


async def test_the_corridor(assets: Path, pair: ModelChoice, tmp_path: Path):
    clip = assets / "videos" / "intel_one_by_one_person.mp4"
    found = (await run(pair, {"corridor": clip}, tmp_path / "out", 120))["corridor"]
    with av.open(str(clip)) as container:
        pts = [frame.pts for frame, _ in zip(container.decode(video=0), range(120), strict=False)]
    assert [line["pts"] for line in found] == pts
    counts = [len(line["people"]) for line in found]
    assert max(counts) == 1
    assert counts[:20] == [0] * 20, "somebody in an empty corridor"
    assert sum(counts) > 40
    # The points of one person move smoothly: no frame has another frame's people.
    for a, b in pairwise(line for line in found if line["people"]):
        if b["frame"] - a["frame"] == 1:
            one, two = (np.array(line["people"][0]["box"]) for line in (a, b))
            assert np.abs(one - two).max() < 150


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_batch_gives_what_single_pictures_give(assets: Path, pair: ModelChoice, size: int):
    photos = sorted((assets / "photos" / "coco_mini_val" / "images").glob("*.jpg"))[:8]
    images = [cv2.imread(str(path)) for path in photos]
    estimator = load_estimator(pair)
    alone = [estimator([image])[0] for image in images]
    for start in range(0, len(images), size):
        for one, other in zip(alone[start:], estimator(images[start : start + size]), strict=False):
            assert len(one) == len(other)
            if len(one):
                assert np.abs(one.points - other.points).max() < 0.5
                np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)


@pytest.mark.parametrize(
    ("choice", "least"),
    [
        ({"detector": "rtmdet_nano_person", "pose": "pp_tinypose_256x192"}, 0.9),
        ({"detector": "yolox_nano_416", "pose": "pp_tinypose_128x96"}, 0.85),
        ({"detector": "picodet_s_320_pedestrian", "pose": "movenet_lightning_192_from_int8"}, 0.7),
        ({"model": "yolov8n-pose_640_from_int8"}, 0.9),
        ({}, 0.95),
    ],
    ids=["rtmdet+tinypose", "yolox+tinypose", "picodet+movenet", "yolov8-pose", "nano"],
)
def test_every_model_finds_the_drawn_person(assets: Path, choice: dict[str, str], least: float):
    estimator = load_estimator(ModelChoice(**{k: assets / "models" / f"{v}.onnx" for k, v in choice.items()}))
    source = SyntheticSource(people=1)
    score = Pck()
    for index in range(0, 240, 20):
        (found,) = estimator([source.render(index)])
        score += pck(source.truth(index), found)
    assert score.share > least


def test_nano_is_as_good_as_its_card_says(assets: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    accuracy = importlib.import_module("accuracy")
    photos = accuracy.Photos(assets / "photos" / "coco_mini_val")
    keypoints = accuracy.keypoints(built_in("keypoints"), reference=False)
    assert accuracy.with_true_boxes(photos, keypoints) > 0.26
    detector = accuracy.detector(built_in("detector"), None, accuracy.LOW, reference=False)
    assert accuracy.boxes_only(photos, detector) > 0.15


def test_nano_finds_the_person_in_the_corridor(assets: Path, pair: ModelChoice):
    nano, other = load_estimator(ModelChoice()), load_estimator(pair)
    with av.open(str(assets / "videos" / "intel_one_by_one_person.mp4")) as clip:
        images = [
            frame.to_ndarray(format="bgr24")
            for i, frame in enumerate(clip.decode(video=0))
            if i in {120, 300, 420, 780, 1140, 1320}
        ]
    for ours, theirs in zip(nano(images), other(images), strict=True):
        assert len(ours) == len(theirs) == 1
        assert np.abs(ours.boxes - theirs.boxes).max() < 0.15 * images[0].shape[0]
