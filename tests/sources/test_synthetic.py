"""The synthetic source: what it draws, what it says of it, and when."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streampose.errors import ConfigError, SourceError
from streampose.sources import synthetic
from streampose.sources.markers import MARKER_RGB
from streampose.sources.synthetic import SyntheticSource

TIMES = range(0, 420, 35)  # a round is about 12 s


def test_a_frame_depends_only_on_the_parameters() -> None:
    one, other = (SyntheticSource(people=2, width_px=320, height_px=180, seed=3, live=False) for _ in range(2))
    later, first = one.render(50), one.render(0)
    np.testing.assert_array_equal(other.render(0), first)
    np.testing.assert_array_equal(other.render(50), later)
    np.testing.assert_array_equal(one.truth(50).points, other.truth(50).points)
    assert (first != later).any()
    different = SyntheticSource(people=2, width_px=320, height_px=180, seed=4, live=False)
    assert (different.truth(0).points != one.truth(0).points).all()


def test_the_same_moment_looks_the_same_at_any_rate() -> None:
    slow = SyntheticSource(rate=10, width_px=320, height_px=180)
    fast = SyntheticSource(rate=30, width_px=320, height_px=180)
    np.testing.assert_array_equal(slow.render(7), fast.render(21))


@pytest.mark.parametrize(("people", "width", "height"), [(1, 1280, 720), (3, 640, 480), (1, 540, 960)])
def test_markers_lie_on_the_true_points(people: int, width: int, height: int) -> None:
    source = SyntheticSource(people=people, width_px=width, height_px=height, seed=5, live=False, markers=True)
    exact = []
    for index in TIMES:
        image, truth = source.render(index), source.truth(index)
        for points, scores in zip(truth.points, truth.scores, strict=True):
            x, y = np.rint(points[scores == 1]).astype(int).T
            drawn, wanted = image[y, x, ::-1].astype(int), MARKER_RGB[scores == 1].astype(int)
            exact += (np.abs(drawn - wanted).max(axis=1) < 8).tolist()
    assert np.mean(exact) > 0.99  # the edge of a nearer person may just touch one


def test_boxes_are_tight_around_what_is_drawn() -> None:
    source, empty = (SyntheticSource(people=n, seed=1, live=False) for n in (1, 0))
    background = empty.render(0).astype(int)
    for index in TIMES:
        x1, y1, x2, y2 = source.truth(index).boxes[0]
        changed = np.abs(source.render(index).astype(int) - background).max(axis=2) > 12
        changed[int(y2) - 60 :] = False  # the shadow on the floor
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert abs(rows[0] - y1) <= 2
        assert columns[0] >= x1 - 2
        assert columns[-1] <= x2 + 2
        assert columns[-1] - columns[0] >= 0.75 * (x2 - x1)  # a foot below the cut may reach farther


def test_a_nearer_body_covers_and_a_turned_head_hides_its_face() -> None:
    source = SyntheticSource(people=4, seed=2, live=False)
    scores = np.concatenate([source.truth(i).scores for i in range(0, 420, 20)])
    assert set(np.unique(scores)) <= {0.0, 0.5, 1.0}
    assert 0.6 < (scores == 1).mean() < 0.97
    alone = SyntheticSource(live=False)
    nose, left_ear, right_ear = np.array([alone.truth(i).scores[0, [0, 3, 4]] for i in range(0, 420, 5)]).T
    assert 0.02 < (nose == 0.5).mean() < 0.4  # with the back to the camera
    assert ((left_ear == 1) | (right_ear == 1)).all()
    assert (left_ear == 0.5).any()
    assert (right_ear == 0.5).any()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    people=st.integers(1, 5),
    size=st.sampled_from([(640, 360), (320, 320), (360, 640), (640, 480), (1280, 320)]),
    index=st.integers(0, 100_000),
)
def test_everybody_stays_in_the_picture(seed: int, people: int, size: tuple[int, int], index: int) -> None:
    truth = SyntheticSource(people=people, width_px=size[0], height_px=size[1], seed=seed).truth(index)
    assert len(truth) == people
    assert ((truth.scores > 0).sum(axis=1) >= 14).all()  # an arm that points out of the picture may leave it
    x1, y1, x2, y2 = truth.boxes.T
    assert (x1 >= 0).all()
    assert (x2 <= size[0] - 1).all()
    assert (y1 > 0).all()
    assert (y2 < size[1] - 1).all()
    assert (y2 - y1 > 0.1 * size[1]).all()
    np.testing.assert_array_equal(truth.ids, np.arange(people))
    known = truth.scores > 0
    inside = (truth.points >= truth.boxes[:, None, :2] - 1) & (truth.points <= truth.boxes[:, None, 2:] + 1)
    assert inside.all(axis=2)[known].all()


def test_motion_is_smooth() -> None:
    source = SyntheticSource(seed=2, live=False)
    points = np.array([source.truth(i).points[0] for i in range(400)])
    speed = np.linalg.norm(np.diff(points, axis=0), axis=2)
    assert speed.max() < 45  # pixels a frame of 1/30 s, of a person 530 pixels tall: a hand that waves
    assert np.ptp(points[:, 0, 0]) > 300


def test_nobody_is_nobody() -> None:
    source = SyntheticSource(people=0, width_px=160, height_px=120, live=False)
    assert len(source.truth(0)) == 0
    np.testing.assert_array_equal(source.render(0), source.render(9))


def test_offline_reads_every_frame_and_ends() -> None:
    source = SyntheticSource(width_px=160, height_px=120, rate=Fraction(25), seconds=0.2, live=False)
    info = source.open("a")
    assert (info.width_px, info.height_px, info.rate, info.frames) == (160, 120, 25, 5)
    assert info.duration_s == pytest.approx(0.2)
    frames = [source.read() for _ in range(7)]
    assert frames[5:] == [None, None]
    for i, frame in enumerate(frames[:5]):
        assert frame is not None
        assert (frame.stream, frame.index, frame.pts, frame.time_base, frame.epoch) == ("a", i, i, Fraction(1, 25), 0)
        assert frame.image.shape == (120, 160, 3)
        assert not frame.image.flags.writeable
        np.testing.assert_array_equal(frame.image, source.render(i))
    source.close()
    source.close()
    with pytest.raises(SourceError, match="not open"):
        source.read()


def test_live_is_paced_and_a_late_reader_gets_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(synthetic.time, "monotonic", lambda: now)
    monkeypatch.setattr(synthetic.time, "sleep", sleep)
    source = SyntheticSource(width_px=64, height_px=64, rate=10, seconds=1)
    assert source.live
    source.open("a")
    seen = []
    for late_s in (0, 0, 0.35, 0, 0, 0.1, 9):
        now += late_s
        frame = source.read()
        seen.append(None if frame is None else (frame.index, round(frame.captured_at - 100, 3)))
    assert seen == [(0, 0.0), (1, 0.1), (4, 0.45), (5, 0.5), (6, 0.6), (7, 0.7), None]
    source.close()


@pytest.mark.parametrize("text", ["synthetic:", "synthetic:?"])
def test_parse_defaults(text: str) -> None:
    source = SyntheticSource.parse(text)
    info = source.open("a")
    assert (info.width_px, info.height_px, info.rate, info.frames, source.live) == (1280, 720, 30, None, True)


def test_parse_everything() -> None:
    text = "synthetic:?people=2&size=320x240&fps=29.97&seconds=10&seed=1&markers=1"
    source = SyntheticSource.parse(text, live=False)
    info = source.open("a")
    assert (info.width_px, info.height_px, info.rate, info.frames) == (320, 240, Fraction(2997, 100), 300)
    assert not source.live
    wanted = SyntheticSource(people=2, width_px=320, height_px=240, rate=Fraction("29.97"), seed=1, markers=True)
    np.testing.assert_array_equal(source.render(5), wanted.render(5))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?persons=2", "people, size, fps, seconds, seed, markers"),
        ("people=2", "people, size, fps, seconds, seed, markers"),
        ("?people=two", "people='two'"),
        ("?people=17", "0 to 16"),
        ("?people=", "people=''"),
        ("?size=1280", "size='1280'"),
        ("?size=8x8", "64x64"),
        ("?fps=0", "fps=0"),
        ("?fps=1/0", "fps='1/0'"),
        ("?seconds=nan", "seconds=nan"),
        ("?seconds=-1", "seconds=-1"),
        ("?seed=-1", "seed=-1"),
        ("?markers=maybe", "markers='maybe'"),
    ],
)
def test_parse_says_what_it_did_not_understand(query: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SyntheticSource.parse(f"synthetic:{query}")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.assets
def test_real_models_recognise_the_people(assets: Path) -> None:
    """RTMDet-nano finds them, and PP-TinyPose their joints: what works here is likely to work on people."""
    detector, pose = (
        ort.InferenceSession(assets / "models" / name, providers=["CPUExecutionProvider"])
        for name in ("rtmdet_nano_person.onnx", "pp_tinypose_256x192.onnx")
    )
    found, near = [], []
    for seed in (0, 1, 2):
        source = SyntheticSource(seed=seed, live=False)
        for index in (0, 90, 200, 300):
            image, truth = source.render(index), source.truth(index)
            found.append(_detected(detector, image, truth.boxes[0]))
            error = np.linalg.norm(_points(pose, image, truth.boxes[0]) - truth.points[0], axis=1)
            near += (error < 0.1 * (truth.boxes[0, 3] - truth.boxes[0, 1]))[truth.scores[0] > 0].tolist()
    assert all(found)
    assert np.mean(near) >= 0.9  # 0.97 when written


def _detected(session: ort.InferenceSession, image: np.ndarray, box: np.ndarray) -> bool:
    canvas = np.full((320, 320, 3), 114, np.float32)
    canvas[:180] = cv2.resize(image, (320, 180))
    blob = (canvas - (103.53, 116.28, 123.675)) / (57.375, 57.12, 58.395)
    dets, labels = session.run(None, {"input": blob.transpose(2, 0, 1)[None].astype(np.float32)})
    people = dets[0][(labels[0] == 0) & (dets[0, :, 4] > 0.3), :4] * 4
    low, high = np.maximum(people[:, :2], box[:2]), np.minimum(people[:, 2:], box[2:])
    common = np.maximum(high - low, 0).prod(axis=1)
    area = (people[:, 2:] - people[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - common
    return bool((common / area > 0.5).any())


def _points(session: ort.InferenceSession, image: np.ndarray, box: np.ndarray) -> np.ndarray:
    centre, (width, height) = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    scale = 192 / (max(width, height * 0.75) * 1.25)
    offset = np.array([96, 128]) - centre * scale
    crop = cv2.warpAffine(image, np.array([[scale, 0, offset[0]], [0, scale, offset[1]]]), (192, 256))[..., ::-1]
    blob = (crop / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    (maps,) = session.run(None, {"image": blob.transpose(2, 0, 1)[None].astype(np.float32)})
    y, x = np.divmod(maps[0].reshape(17, -1).argmax(axis=1), 48)
    return (np.stack([x, y], axis=1) * 4 + 2 - offset) / scale
