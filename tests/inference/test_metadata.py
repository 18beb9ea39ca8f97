"""What graphs and their metadata say beside the plain cases of test_family.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streampose.errors import ConfigError, ModelUnknown
from streampose.inference.boxes import DECODERS, Limits
from streampose.inference.card import Card
from streampose.inference.family import FAMILIES, read_card
from streampose.inference.signature import METADATA_KEY, Signature, Tensor
from streampose.skeletons import COCO_17, HALPE_26, SKELETONS, said_of


def signature(
    *outputs: tuple,
    called: tuple[str, ...] = (),
    size: tuple = (640, 640),
    path: Path = Path("m.onnx"),
    **metadata: str,
) -> Signature:
    """Of one picture input and outputs of these shapes."""
    called = called or tuple(f"output{i}" for i in range(len(outputs)))
    given = Tensor(name="images", dtype="tensor(float)", shape=(None, 3, *size))
    outs = (Tensor(name=n, dtype="tensor(float)", shape=s) for n, s in zip(called, outputs, strict=True))
    return Signature(path=path, inputs=(given,), outputs=tuple(outs), metadata=metadata)


def card(what: Signature, **words) -> Card:
    return read_card(what, what.path.name, **words)


def test_ultralytics_exports_of_any_picture_size_are_known_by_their_metadata():
    free = signature((None, 84, None), size=(None, None), task="detect", imgsz="[384, 640]")
    assert (card(free).family, card(free).size_px) == ("yolo", (640, 384))
    assert card(free, size_px=(320, 320)).size_px == (320, 320)
    with pytest.raises(ModelUnknown):
        card(signature((None, 84, None), size=(None, None)))


@pytest.mark.parametrize("task", ["segment", "obb", "classify"])
def test_other_tasks_are_not_taken_for_poses(task: str):
    for shape in ((1, 84, 8400), (1, 56, 8400), (1, 300, 6), (1, 300, 57)):
        with pytest.raises(ModelUnknown, match="no family that is known"):
            card(signature(shape, task=task))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((None, 25500, 57), (640, 640)),
        ((None, None, 57), (None, None)),
        ((1, 25200, 6), (640, 640)),
        ((None, None, 6), (None, None)),
        ((1, 6, 56), (256, 256)),
    ],
    ids=["YOLOv7-pose, raw", "dynamic", "YOLOv5 of one class, raw", "its dynamic one", "MoveNet MultiPose"],
)
def test_heads_that_only_look_alike_are_of_no_family(shape: tuple, size: tuple[int, int]):
    with pytest.raises(ModelUnknown, match="no family that is known"):
        card(signature(shape, size=size))


def test_heads_are_known_by_how_many_boxes_they_give():
    """Without Ultralytics' metadata; with it, any number is right, and so it is where the family is named."""
    for shape, family in (
        ((1, 300, 57), "yolo-pose-end2end"),
        ((1, 300, 6), "yolo-end2end"),
        ((1, 56, 189), "yolo-pose"),
    ):
        assert card(signature(shape)).family == family
    assert card(signature((1, 3000, 57), task="pose")).family == "yolo-pose-end2end"
    assert card(signature((1, None, 57), task="pose")).family == "yolo-pose-end2end"
    assert card(signature((1, None, 6), task="detect")).family == "yolo-end2end"
    assert card(signature((1, None, 6)), family="yolo-end2end").family == "yolo-end2end"
    assert card(signature((1, 56, 84), size=(64, 64), task="pose")).family == "yolo-pose"
    assert card(signature((1, 3000, 57)), family="yolo-pose-end2end").points == 17
    assert card(signature((None, 56, None), size=(None, None)), family="yolo-pose").points == 17


@pytest.mark.parametrize("most", [300, 57, 56, 20, 6, 5, 1])
def test_of_ultralytics_heads_with_suppression_inside_any_number_of_boxes_is_right(most: int):
    """It is what `max_det` was at the export; of so few rows a raw head would be of no picture at all."""
    pose = card(signature((1, most, 57), task="pose", kpt_shape="[17, 3]"))
    assert (pose.family, pose.points) == ("yolo-pose-end2end", 17)
    assert card(signature((None, most, 6), task="detect", names="{0: 'person'}")).family == "yolo-end2end"
    # A raw head's anchors are of other numbers: 84 of 64 × 64 pixels.
    assert card(signature((1, 56, 84), size=(64, 64), task="pose", kpt_shape="[17, 3]")).family == "yolo-pose"
    assert card(signature((1, 5, 84), size=(64, 64), task="detect")).family == "yolo"


def test_the_class_of_people_is_the_one_with_that_name():
    names = "{0: 'helmet', 1: 'person', 2: 'vest'}"
    free = card(signature((1, 7, 8400), task="detect", names=names))
    end2end = card(signature((1, 300, 6), task="detect", names=names))
    assert (free.person, end2end.person) == (1, 1)
    columns = np.zeros((7, 2), np.float32)
    columns[:4] = [[50], [50], [10], [20]]
    columns[4:, 0], columns[4:, 1] = (0.9, 0.1, 0), (0.1, 0.8, 0)
    found = DECODERS["yolo"]([columns], free, Limits())
    np.testing.assert_allclose(found.scores, [0.8])
    assert len(DECODERS["yolo"]([columns], free, Limits(min_score=0.9)).scores) == 0
    rows = np.array([[0, 0, 9, 9, 0.9, 0], [5, 5, 9, 9, 0.7, 1]], np.float32)
    found = DECODERS["yolo-end2end"]([rows], end2end, Limits())
    np.testing.assert_allclose(found.boxes, [[5, 5, 9, 9]])
    # One class, whatever its name, is what the model is for.
    assert card(signature((1, 5, 8400), task="detect", names="{0: 'player'}")).person == 0


def test_the_class_of_people_may_be_in_capitals_or_said_by_its_number():
    assert card(signature((1, 6, 8400), task="detect", names="{0: 'Head', 1: 'Person'}")).person == 1
    walkers, said = "{0: 'cyclist', 1: 'pedestrian'}", {METADATA_KEY: '{"person": 1}'}
    assert card(signature((1, 6, 8400), task="detect", names=walkers, **said)).person == 1
    assert card(signature((1, 300, 6), task="detect", names=walkers, **said)).person == 1
    assert card(signature((1, 2, 2125), (1, 2125, 4), **said), family="picodet").person == 1
    with pytest.raises(ModelUnknown, match=r'as {"person": 1} under its metadata'):
        card(signature((1, 6, 8400), task="detect", names=walkers))
    for shape, family in (((1, 5, 8400), "yolo"), ((1, 8400, 6), "yolox-decoded")):
        with pytest.raises(ModelUnknown, match=r"m\.onnx has no class 1 as that of people"):
            card(signature(shape, **said), family=family)


@pytest.mark.parametrize("names", ['{"0": "car", "1": "person"}', "['car', 'person']", "('car', 'person')"])
def test_names_may_be_a_list_or_have_numbers_in_text(names: str):
    assert card(signature((1, 6, 8400), task="detect", names=names)).person == 1


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("names", '{"a": "person"}', "the number of a class, from 0 on, not 'a'"),
        ("names", '{-3: "person"}', "the number of a class, from 0 on, not -3"),
        ("names", '{0.5: "person"}', "the number of a class"),
        ("names", '{None: "person"}', "the number of a class"),
        ("names", '"person"', "names by their numbers, not 'person'"),
        ("imgsz", "[640.0, 640.0]", "two whole numbers"),
        ("imgsz", "['640', '640']", "two whole numbers"),
        ("imgsz", "[640]", "two whole numbers"),
        ("imgsz", "640", "two whole numbers"),
    ],
)
def test_what_ultralytics_metadata_cannot_mean_is_told_with_its_key(key: str, text: str, words: str):
    for columns, task in ((5, "detect"), (56, "pose")):
        with pytest.raises(ModelUnknown, match=rf"m\.onnx: its metadata '{key}' cannot be understood: .*{words}"):
            card(signature((None, columns, None), size=(None, None), task=task, **{key: text}))


def test_the_size_of_pictures_is_not_asked_where_the_graph_fixes_it():
    for said in ("['640', '640']", "[640.0, 640.0]"):
        assert card(signature((1, 84, 8400), size=(416, 416), task="detect", imgsz=said)).size_px == (416, 416)


def test_how_many_key_points_is_said_in_whole_numbers():
    for said in ("[17.0, 3]", "(17, 3)"):
        read = card(signature((1, 56, 8400), task="pose", kpt_shape=said))
        assert (read.points, type(read.points), read.classes, type(read.classes)) == (17, int, 1, int)
    for said in ("[17.5, 3]", "[-1, 3]", "[17, 3, 1]", "17", "['17', 3]"):
        with pytest.raises(
            ModelUnknown, match=r"m\.onnx: its metadata 'kpt_shape' cannot be understood: two whole numb"
        ):
            card(signature((1, 56, 8400), task="pose", kpt_shape=said))


def test_a_detector_of_other_things_is_refused():
    with pytest.raises(ModelUnknown, match="finds cat, dog, but no person"):
        card(signature((1, 6, 8400), task="detect", names="{0: 'cat', 1: 'dog'}"))


def test_key_points_without_scores_are_refused():
    with pytest.raises(ModelUnknown, match="17 key points of 2 numbers"):
        card(signature((1, 39, 8400), task="pose", kpt_shape="[17, 2]"))


def test_of_pose_heads_of_several_classes_each_has_to_have_a_name():
    said = {"task": "pose", "kpt_shape": "[17, 3]"}
    read = card(signature((1, 57, 8400), names="{0: 'dog', 1: 'person'}", **said))
    assert (read.points, read.classes, read.person) == (17, 2, 1)
    # Of one that scores people alone others' names say nothing.
    assert card(signature((1, 56, 8400), names="{0: 'person', 1: 'dog'}", **said)).classes == 1
    for names in ("{0: 'person'}", "{0: 'person', 1: 'dog', 2: 'cat'}"):
        with pytest.raises(ModelUnknown, match=r"57 numbers, not \d and 3 for each of 17 key points"):
            card(signature((1, 57, 8400), names=names, **said))
    with pytest.raises(ModelUnknown, match=r"m\.onnx has no class 1 as that of people"):
        card(signature((1, 56, 8400), names="{0: 'dog', 1: 'person'}", **said))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("kpt_shape", "[17,"),
        ("names", "os.system()"),
        pytest.param("names", "-" * 100_000 + "1", id="deep names"),
        (METADATA_KEY, "{"),
        (METADATA_KEY, "[1]"),
        pytest.param(METADATA_KEY, "[" * 100_000, id="deep card"),
    ],
)
def test_broken_metadata_is_named(key: str, text: str):
    with pytest.raises(ModelUnknown, match=rf"m\.onnx: its metadata '{key}'"):
        card(signature((1, 56, 8400), task="pose", **{key: text}))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        *(("mean", value, "three numbers, one for each colour") for value in ([1, 2], "abc", 3, {})),
        ("mean", [None, 1, 2], "three numbers"),
        *(("std", [1, value, 1], "a number above 0") for value in (0, -1, 1e-320)),
        *((key, 10**400, "not 1000") for key in ("padding", "fill", "person", "blur_px")),
        ("mean", [10**400, 0, 0], "three numbers"),
        ("padding", 1e300, "at most 10, not 1e.300"),
        ("blur_px", 100_000_001, "at most 101"),
        ("rgb", "false", "true or false, not 'false'"),
        ("udp", 1, "true or false"),
        *(("blur_px", value, "an odd number") for value in (10, 0, -3, 5.0, True)),
        *(("padding", value, "a number") for value in (0, -1, float("nan"), float("inf"), "1.25", None)),
        *(("person", value, "a class, from 0 on") for value in (-1, 1.0, True, "1")),
        *(("fill", value, "0 to 255") for value in (300, -1, 114.5)),
        *(
            ("size_px", value, "width and height")
            for value in (192, [192], [192, 0], [1.5, 2], ["a", "b"], [True, 2], [10**9, 320])
        ),
        ("skeleton", "octopus", "one of coco-17, .*, not 'octopus'"),
        ("skeleton", ["a"], "one of coco-17"),
        ("skeleton", {}, "a skeleton's name"),
        ("skeleton", {"name": "coco-17", "points": ["nose"]}, "a name that no other skeleton has, not 'coco-17'"),
        ("skeleton", {"name": "a\nb", "points": ["nose"]}, "a skeleton's name"),
        ("skeleton", {"name": "leg"}, "has points with names"),
        ("skeleton", {"name": "leg", "points": [3]}, "the names of at most 1000 points"),
        ("skeleton", {"name": "leg", "points": [str(i) for i in range(1001)]}, "the names of at most 1000 points"),
        ("skeleton", {"name": "leg", "points": ["hip", "hip"]}, "points of different names"),
        ("skeleton", {"name": "leg", "points": ["hip", "knee"], "edges": [[0, 2]]}, "0 to 1"),
        ("skeleton", {"name": "leg", "points": ["hip", "knee"], "edges": [0, 1]}, "pairs of points' numbers"),
        ("skeleton", {"name": "leg", "points": ["hip", "knee"], "links": [[0, 1]]}, "an object of name, points, edges"),
        ("skeleton", {"name": "leg", "points": ["hip"], "edges": [[0] * 9999]}, r"(?=.{99,400}$)edges join points"),
        ("family", 3, "a name, not 3"),
        ("fit", "crop", "top-left, center, stretch"),
        ("refine", "zz", "none, quarter, dark"),
    ],
)
def test_values_that_cannot_be_are_told_with_their_key(key: str, value: object, words: str):
    said = json.dumps({key: value})
    with pytest.raises(
        ModelUnknown, match=rf"m\.onnx: its metadata '{METADATA_KEY}' cannot be understood: {key}: .*{words}"
    ):
        card(signature((1, 56, 8400), **{METADATA_KEY: said}))


def test_a_key_that_is_not_known_is_told_with_those_that_are(caplog: pytest.LogCaptureFixture):
    read = card(signature((1, 56, 8400), **{METADATA_KEY: '{"men": [1, 2, 3], "fill": 0, "rect": false}'}))
    assert (read.mean, read.fill, read.rect) == ((0, 0, 0), 0, False)
    assert "['men'], which says nothing here: family, skeleton, size_px, rgb, mean, " in caplog.text


def test_how_many_key_points_a_head_leaves_open_ultralytics_metadata_says():
    for family, shape in (("yolo-pose-end2end", (1, 300, None)), ("yolo-pose", (1, None, 8400))):
        read = card(signature(shape, task="pose", kpt_shape="[17, 3]"), family=family)
        assert (read.points, read.skeleton) == (17, COCO_17)
        for skeleton in (None, COCO_17):
            with pytest.raises(ModelUnknown, match=rf"not look like {family}: .* \(how many key points is left open\)"):
                card(signature(shape), family=family, skeleton=skeleton)


def test_a_skeleton_of_its_own_is_under_its_metadata():
    said = {"name": "leg", "points": ["hip", "knee", "ankle"], "edges": [[0, 1], [1, 2]]}
    read = card(signature((1, 3, 96, 72), size=(384, 288), **{METADATA_KEY: json.dumps({"skeleton": said})})).skeleton
    assert read is not None
    assert (read.name, read.points, read.edges) == ("leg", ("hip", "knee", "ankle"), ((0, 1), (1, 2)))
    others = [said | {key: other} for key, other in (("points", ["hip", "knee", "toe"]), ("edges", [[0, 1]]))]
    for other in others:  # of another model, or of the same one that was mended
        again = card(signature((1, 3, 96, 72), size=(384, 288), **{METADATA_KEY: json.dumps({"skeleton": other})}))
        assert said_of(again.skeleton) == {"skeleton": "leg", "names": other["points"], "edges": other["edges"]}
    SKELETONS["leg"] = read  # one's own
    for nonsense in (*others, said | {"name": "coco-17"}):
        another = {METADATA_KEY: json.dumps({"skeleton": nonsense})}
        with pytest.raises(ModelUnknown, match=r"skeleton: a name that no other skeleton has, not '(leg|coco-17)'"):
            card(signature((1, 3, 96, 72), size=(384, 288), **another))
    with pytest.raises(ModelUnknown, match=r"points that no default skeleton has: .*under its metadata"):
        card(signature((1, 3, 96, 72), size=(384, 288)))
    with pytest.raises(ConfigError, match=r"m\.onnx has 17 key points, and the skeleton leg 3"):
        card(signature((1, 56, 8400), **{METADATA_KEY: json.dumps({"skeleton": said})}))


def test_a_skeleton_of_another_size_is_refused():
    with pytest.raises(ConfigError, match=r"m\.onnx has 17 key points, and the skeleton halpe-26 26"):
        card(signature((1, 56, 8400)), skeleton=HALPE_26)
    # RTMO leaves the number open; 17 is what is published, and can be overridden.
    rtmo = signature((1, None, 5), (1, None, None, 3), called=("dets", "keypoints"))
    assert card(rtmo).skeleton == COCO_17
    assert card(rtmo, skeleton=HALPE_26).skeleton == HALPE_26


def test_rtmdet_and_yolox_of_one_signature_are_told_apart_by_their_weights(tmp_path: Path):
    for weights, family in (
        ("bbox_head.rtm_cls.0.weight", "rtmdet"),
        ("bbox_head.multi_level_conv_cls.0", "yolox-nms"),
    ):
        path = tmp_path / f"{family}.onnx"
        path.write_bytes(b"\x08\x09" + weights.encode())
        assert card(signature((1, None, 5), (1, None), called=("dets", "labels"), path=path)).family == family


def test_an_unknown_graph_is_shown_with_what_is_known():
    with pytest.raises(ModelUnknown) as caught:
        card(signature((1, 1000)))
    message = str(caught.value)
    assert "(images tensor(float)[?, 3, 640, 640]) → (output0 tensor(float)[1, 1000])" in message
    assert all(family in message for family in FAMILIES)


@pytest.mark.parametrize(
    ("family", "outputs"),
    [
        ("simcc", [(1, 17, 64, 48)]),
        ("heatmap", [(1, 17, 384), (1, 17, 512)]),
        ("movenet", [(1, 17, 64, 48)]),
        ("picodet", [(1, 3549, 85)]),
        ("picodet", [(1, None, 5), (1, None)]),
        ("rtmdet", [(1, 1, 2125), (1, 2125, 4)]),
        ("rtmo", [(1, None, 5), (1, None)]),
        ("yolox", [(1, 56, 8400)]),
        ("yolox-decoded", [(1, 8400, 85), (1, 8400, 4)]),
        ("yolo", [(1, 1, 2125), (1, 2125, 4)]),
        ("yolo-end2end", [(None, None, None), (None, None)]),
    ],
)
def test_a_family_of_other_outputs_is_refused_before_any_picture(family: str, outputs: list[tuple]):
    with pytest.raises(ModelUnknown, match=rf"m\.onnx does not look like {family}: .* → \(output0"):
        card(signature(*outputs), family=family)


def test_a_named_family_is_believed_where_the_graph_leaves_shapes_open():
    assert card(signature((), ()), family="rtmo").family == "rtmo"
    assert card(signature((None, None, None), (None, None)), family="rtmdet").family == "rtmdet"
    assert card(signature((None, None, None)), family="yolox").family == "yolox"
    # Ultralytics' segmentation models find people, too; what they draw them with is not looked at.
    assert card(signature((1, 116, 8400), (1, 32, 160, 160), task="segment"), family="yolo").family == "yolo"


def test_what_a_graph_leaves_open_its_metadata_may_say():
    said = {METADATA_KEY: '{"family": "heatmap", "size_px": [288, 384]}'}
    shape = (None, 17, None, None)
    assert card(signature(shape, size=(None, None), **said)).size_px == (288, 384)
    assert card(signature(shape, size=(256, 192), **said)).size_px == (192, 256)  # the graph knows better
    free = signature((None, 84, None), size=(None, None), task="detect", **{METADATA_KEY: '{"size_px": [320, 320]}'})
    assert card(free).size_px == (320, 320)
    assert card(free, size_px=(640, 384)).size_px == (640, 384)


def test_sizes_that_the_graph_cannot_take_are_refused():
    with pytest.raises(ConfigError, match="takes 640×640 only, not 320×320"):
        card(signature((1, 56, 8400)), size_px=(320, 320))
    free = signature((None, 84, None), size=(None, None), task="detect")
    with pytest.raises(ConfigError, match="multiple of 32"):
        card(free, size_px=(300, 300))
    with pytest.raises(ConfigError, match="at most 8192"):
        card(free, size_px=(32 << 20, 32))


@pytest.mark.parametrize("side", [300, 31, 1])
def test_sizes_that_metadata_says_are_held_to_the_same(side: int):
    said = {METADATA_KEY: json.dumps({"size_px": [side, side]})}
    for columns, task in ((84, "detect"), (56, "pose")):
        with pytest.raises(ConfigError, match=rf"m\.onnx: a detector's size is a multiple of 32 .* not {side}×{side}"):
            card(signature((None, columns, None), size=(None, None), task=task, **said))
    free = signature((None, 84, None), size=(None, None), task="detect", imgsz=f"[{side}, {side}]")
    with pytest.raises(ConfigError, match="multiple of 32"):
        card(free)
    # Crops have no such cells, and a graph that fixes its size has it.
    heatmap = signature((None, 17, None, None), size=(None, None), **said)
    assert card(heatmap, family="heatmap").size_px == (side, side)
    assert card(signature((1, 84, 8400), **said)).size_px == (640, 640)


def test_a_size_that_contradicts_the_side_which_a_graph_fixes_is_refused():
    shape, said = (None, 17, None, None), {METADATA_KEY: '{"family": "heatmap", "size_px": [288, 384]}'}
    assert card(signature(shape, size=(None, 288), **said)).size_px == (288, 384)
    for size, takes in (((None, 192), "192×any"), ((256, None), "any×256")):
        with pytest.raises(ConfigError, match=rf"m\.onnx takes {takes} only, not 288×384"):
            card(signature(shape, size=size, **said))


def test_rows_without_a_score_are_nobody_even_at_no_limit():
    for family, outputs in {
        "rtmdet": [np.zeros((5, 5), np.float32), np.zeros(5, np.int64)],
        "yolo-end2end": [np.zeros((300, 6), np.float32)],
    }.items():
        card_of_it = FAMILIES[family][1](signature((1, 1)), family)
        assert len(DECODERS[family](outputs, card_of_it, Limits(min_score=0)).boxes) == 0


def test_yolox_grids_and_decoded_boxes_agree():
    rng = np.random.default_rng(0)
    size, n = 64, 8 * 8 + 4 * 4 + 2 * 2
    raw = rng.normal(size=(n, 85)).astype(np.float32)
    raw[:, 4:] = rng.uniform(size=(n, 81))
    plain, row = raw.copy(), 0
    for stride in (8, 16, 32):
        for y in range(size // stride):
            for x in range(size // stride):
                plain[row, :2] = (raw[row, :2] + (x, y)) * stride
                plain[row, 2:4] = np.exp(raw[row, 2:4]) * stride
                row += 1
    grid = card(signature((1, n, 85), size=(size, size)))
    assert grid.family == "yolox"
    a = DECODERS["yolox"]([raw], grid, Limits())
    b = DECODERS["yolox-decoded"]([plain], grid, Limits())
    assert len(a.boxes) > 3
    np.testing.assert_allclose(a.boxes, b.boxes, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(a.scores, b.scores)
