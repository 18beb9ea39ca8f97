from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dots import build

from streampose.errors import ConfigError, ModelNotFound, ModelUnknown, ModelUnreadable, ProviderUnavailable
from streampose.inference import heads
from streampose.inference.card import Kind, Refine
from streampose.inference.engine import Engine, EngineOptions, provider_report
from streampose.inference.family import FAMILIES, read_card
from streampose.inference.heatmap import decode_heatmaps
from streampose.inference.signature import METADATA_KEY, Signature, Tensor
from streampose.skeletons import COCO_17, COCO_WHOLEBODY_133, HALPE_26


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "family", "kind"),
    [
        ("rtmdet_nano_person", "rtmdet", Kind.DETECTOR),
        ("yolox_nano_416", "yolox", Kind.DETECTOR),
        ("picodet_s_320_pedestrian", "picodet", Kind.DETECTOR),
        ("pp_tinypose_256x192", "heatmap", Kind.KEYPOINTS),
        ("pp_tinypose_128x96", "heatmap", Kind.KEYPOINTS),
        ("movenet_lightning_192_from_int8", "movenet", Kind.KEYPOINTS),
        ("yolov8n-pose_640_from_int8", "yolo-pose", Kind.ONE_STAGE),
    ],
)
def test_real_models_are_recognised(assets: Path, name: str, family: str, kind: Kind):
    card = read_card(Engine(assets / "models" / f"{name}.onnx").signature, name)
    assert (card.family, card.kind) == (family, kind)
    assert kind is Kind.DETECTOR or card.skeleton == COCO_17


@pytest.mark.assets
def test_a_real_model_is_taken_for_no_family_whose_outputs_are_others(assets: Path):
    signature = Engine(assets / "models" / "picodet_s_320_pedestrian.onnx").signature
    # SimCC's are of as many dimensions; that one is told by its number of key points.
    for family in FAMILIES.keys() - {"picodet", "simcc"}:
        with pytest.raises(ModelUnknown, match=f"picodet.onnx does not look like {family}: .image tensor"):
            read_card(signature, "picodet.onnx", family=family)


@pytest.mark.parametrize(
    ("kind", "k", "family", "skeleton"),
    [
        ("simcc", 26, "simcc", HALPE_26),
        ("simcc", 133, "simcc", COCO_WHOLEBODY_133),
        ("heatmap", 133, "heatmap", COCO_WHOLEBODY_133),
        ("rtmo", 17, "rtmo", COCO_17),
        ("rtmdet", 3, "rtmdet", None),
        ("yolo", 3, "yolo", None),
        ("yolo-end2end", 3, "yolo-end2end", None),
        ("yolo-pose", 17, "yolo-pose", COCO_17),
        ("yolo-pose-end2end", 17, "yolo-pose-end2end", COCO_17),
    ],
)
def test_signatures_are_recognised(tmp_path: Path, kind: str, k: int, family: str, skeleton):
    engine = Engine(build(tmp_path / "m.onnx", kind, k=k, size=(192, 256)))
    card = read_card(engine.signature, "m.onnx")
    assert (card.family, card.skeleton, card.size_px) == (family, skeleton, (192, 256))


def graph(*outputs: tuple[int | None, ...], **metadata: str) -> Signature:
    """Of a model of 192 × 256 pixels."""
    tensors = [
        Tensor(name=name, dtype="tensor(float)", shape=shape)
        for name, shape in zip("xyz", [(1, 3, 256, 192), *outputs], strict=False)
    ]
    return Signature(path=Path("m.onnx"), inputs=tuple(tensors[:1]), outputs=tuple(tensors[1:]), metadata=metadata)


@pytest.mark.parametrize(
    ("looks", "outputs", "metadata", "so"),
    [
        (heads.is_yolo_end2end, [(1, 300, 6)], {}, True),
        (heads.is_yolo_end2end, [(1, 3, 6)], {"task": "detect"}, True),  # suppression inside, of max_det=3
        (heads.is_yolo_end2end, [(1, None, 6)], {"task": "detect"}, True),
        (heads.is_yolo_end2end, [(1, None, 6)], {}, False),  # may be a raw head's
        (heads.is_yolo_end2end, [(1, 25200, 6)], {}, False),
        (heads.is_yolo_end2end, [(1, 300, None)], {}, False),
        (heads.is_yolo_pose_end2end, [(1, 3, 57)], {"task": "pose", "kpt_shape": "[17, 3]"}, True),
        (heads.is_yolo_pose_end2end, [(1, 3, 21)], {"task": "pose", "kpt_shape": "[5, 3]"}, True),  # nobody's skeleton
        (heads.is_yolo_pose_end2end, [(1, 300, 21)], {}, False),
        (heads.is_yolo, [(1, 4, 1000)], {"task": "detect"}, False),  # no class
        (heads.is_heatmap, [(1, 17, 64, 48)], {}, True),
        (heads.is_heatmap, [(1, 17, 32, 24)], {}, False),
        (heads.is_picodet, [(1, 1, 50), (1, 50, 4)], {}, True),
        (heads.is_picodet, [(1, 1, 50), (1, 50, 32)], {}, False),
    ],
)
def test_what_heads_look_like(looks, outputs, metadata, so):
    assert looks(graph(*outputs, **metadata)) is so


def test_what_a_head_of_yolox_could_be_and_how_many_classes_it_tells_apart():
    cells = 24 * 32 + 12 * 16 + 6 * 8
    assert heads.could_be(graph((1, cells, 85)), "yolox")
    assert not heads.could_be(graph((1, 100, 85)), "yolox")
    assert heads.could_be(graph((1, 100, 85)), "yolox-decoded")
    assert heads.classes(graph((1, cells, 85)), "yolox") == heads.classes(graph((1, 84, 999)), "yolo") == 80


def test_metadata_wins_over_the_graph_and_words_over_metadata(tmp_path: Path):
    said = {"family": "vitpose", "padding": 1.5, "refine": "quarter", "mean": [1, 2, 3], "unknown": "ignored"}
    engine = Engine(build(tmp_path / "m.onnx", "heatmap", metadata={METADATA_KEY: json.dumps(said)}))
    card = read_card(engine.signature, "m.onnx")
    assert (card.family, card.udp, card.padding, card.refine, card.mean) == (
        "vitpose",
        True,
        1.5,
        Refine.QUARTER,
        (1, 2, 3),
    )
    assert not read_card(engine.signature, "m.onnx", family="heatmap").udp


def test_ultralytics_metadata_is_read(tmp_path: Path):
    metadata = {"task": "pose", "kpt_shape": "[17, 3]"}
    engine = Engine(build(tmp_path / "m.onnx", "yolo-pose", size=(64, 64), metadata=metadata))
    assert read_card(engine.signature, "m.onnx").skeleton == COCO_17


def test_a_skeleton_that_cannot_be_known_must_be_named(tmp_path: Path):
    engine = Engine(build(tmp_path / "m.onnx", "simcc", k=21))
    with pytest.raises(ModelUnknown, match="Name its skeleton: coco-17"):
        read_card(engine.signature, "m.onnx")


def test_unknown_words(tmp_path: Path):
    engine = Engine(build(tmp_path / "m.onnx", "simcc"))
    with pytest.raises(ConfigError, match="no family is called 'simc'"):
        read_card(engine.signature, "m.onnx", family="simc")
    bad = {METADATA_KEY: json.dumps({"skeleton": "octopus"})}
    engine = Engine(build(tmp_path / "b.onnx", "simcc", metadata=bad))
    with pytest.raises(ModelUnknown, match=METADATA_KEY):
        read_card(engine.signature, "b.onnx")


def test_files_that_are_no_models(tmp_path: Path):
    with pytest.raises(ModelNotFound):
        Engine(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no")
    with pytest.raises(ModelUnreadable, match=r"text\.onnx is not an ONNX model"):
        Engine(tmp_path / "text.onnx")


def test_devices_are_reported_and_never_swapped_in_silence(tmp_path: Path):
    report = provider_report()
    assert list(report) == ["tensorrt", "cuda", "cpu"]
    assert report["cpu"] is None
    model = build(tmp_path / "m.onnx", "simcc")
    assert Engine(model, EngineOptions(device="cpu")).provider == "CPUExecutionProvider"
    with pytest.raises(ConfigError, match="no device is called 'tpu'"):
        Engine(model, EngineOptions(device="tpu"))
    if report["cuda"] is not None:
        with pytest.raises(ProviderUnavailable, match="cuda was asked for"):
            Engine(model, EngineOptions(device="cuda"))


@pytest.mark.parametrize("refine", [Refine.DARK, Refine.QUARTER, Refine.NONE])
@pytest.mark.parametrize("udp", [False, True])
def test_refinement_finds_the_middle_of_a_gaussian(refine: Refine, udp: bool):
    rng = np.random.default_rng(1)
    truth = rng.uniform(6, 40, (5, 17, 2))
    y, x = np.mgrid[:64, :48]
    maps = np.exp(-((x - truth[..., :1, None]) ** 2 + (y - truth[..., 1:, None]) ** 2) / (2 * 2.0**2)).astype(
        np.float32
    )
    points, scores = decode_heatmaps(maps, refine, udp=udp)
    worst = {Refine.DARK: 0.02, Refine.QUARTER: 0.26, Refine.NONE: 0.51}[refine]
    assert np.abs(points - truth).max() < worst
    assert scores.min() > 0.8


def test_empty_and_flat_maps_are_harmless():
    points, scores = decode_heatmaps(np.zeros((0, 17, 8, 8), np.float32), Refine.DARK)
    assert points.shape == (0, 17, 2)
    points, scores = decode_heatmaps(np.zeros((2, 3, 8, 8), np.float32), Refine.DARK)
    assert np.isfinite(points).all()
    assert (scores == 0).all()
