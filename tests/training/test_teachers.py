"""What several looks at a photo say together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from streampose import StreamposeError
from streampose.sources import SyntheticSource
from training.nano.label import label
from training.nano.photos import Person, Photo, find_photos, write_labels
from training.nano.teachers import MIRROR, SURE, Teachers, completed, fused, iou, joined

BOX = np.array([0, 0, 100, 100], np.float32)


def points(seed: int = 0, score: float = 0.9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(0, 100, (17, 2)), np.full(17, score)]).astype(np.float32)


def test_a_mirror_twice_is_none():
    assert MIRROR[MIRROR].tolist() == list(range(17))
    assert MIRROR[[0, 1, 5, 16]].tolist() == [0, 2, 6, 15]


def test_overlap():
    a = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10]], np.float32)
    np.testing.assert_allclose(iou(a, b), [[1, 1 / 3], [0, 0]], atol=1e-6)


def test_looks_that_agree_are_one_person_and_a_lonely_one_scores_less():
    here = np.array([[10, 10, 50, 90]], np.float32)
    also = np.concatenate([here + 2, [[200, 10, 240, 90]]]).astype(np.float32)
    boxes, scores = fused([(here, np.array([0.8])), (also, np.array([0.8, 0.8]))])
    np.testing.assert_allclose(boxes, [here[0] + 1, also[1]], atol=1e-4)
    np.testing.assert_allclose(scores, [0.8, 0.4], atol=1e-6)
    assert len(fused([(np.zeros((0, 4), np.float32), np.zeros(0))])[0]) == 0


class TestJoined:
    """Marks by hand, and a teacher."""

    def test_where_both_agree_it_is_the_middle_and_sure(self):
        said = points()
        out = joined(np.column_stack([said[:, :2] + 2, np.ones(17)]).astype(np.float32), said, BOX)
        np.testing.assert_allclose(out[:, :2], said[:, :2] + 1, atol=1e-4)
        assert (out[:, 2] == 1).all()

    def test_a_hand_wins_over_an_unsure_teacher(self):
        hand, said = points(1, 1.0), points(2, 0.2)
        np.testing.assert_array_equal(joined(hand, said, BOX), hand)

    def test_what_is_not_marked_is_the_teachers(self):
        hand, said = np.full((17, 3), np.nan, np.float32), points(3)
        np.testing.assert_array_equal(joined(hand, said, BOX), said)

    def test_careful_marks_are_kept_and_the_others_are_the_teachers(self):
        hand, said = points(6, 1.0), points(7)
        hand[3] = np.nan
        out = completed(hand, said)
        np.testing.assert_array_equal(np.delete(out, 3, 0), np.delete(hand, 3, 0))
        np.testing.assert_array_equal(out[3], said[3])

    def test_two_sure_ones_that_differ_are_not_asked(self):
        said = points(4)
        hand = said.copy()
        hand[9, :2] += 60
        out = joined(hand, said, BOX)
        assert np.isnan(out[9, 2])
        assert not np.isnan(np.delete(out[:, 2], 9)).any()

    def test_left_and_right_by_mistake_are_exchanged(self):
        said = points(5)
        out = joined(said[MIRROR], said, BOX)
        np.testing.assert_allclose(out[:, :2], said[:, :2], atol=1e-4)


def test_a_teacher_that_is_not_there_says_so_at_once(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises((StreamposeError, OSError), match="missing"):
        label([tmp_path], [(tmp_path / "missing.onnx", None)], tmp_path / "missing.onnx", tmp_path / "labels", 2)
    assert not list((tmp_path / "labels").glob("*.jsonl"))


def test_folders_of_one_name_are_not_mixed_up(tmp_path: Path):
    one, two = tmp_path / "one" / "set", tmp_path / "two" / "set"
    nobody = tmp_path / "none.onnx"
    with pytest.raises(ValueError, match="another folder"):
        label([one, two], [(nobody, None)], nobody, tmp_path / "labels", 1)
    write_labels(tmp_path / "labels" / "set.jsonl", [Photo(path=one / "a.jpg", width=8, height=8)])
    label([one], [(nobody, None)], nobody, tmp_path / "labels", 1)
    with pytest.raises(ValueError, match="another folder"):
        label([two], [(nobody, None)], nobody, tmp_path / "labels", 1)


def test_small_boxes_by_hand_are_not_asked(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((40, 40, 3), np.uint8))
    small, found = np.array([2, 2, 8, 20], np.float32), np.array([20, 2, 24, 20], np.float32)
    (photo,) = find_photos(tmp_path)
    photo.people, photo.complete = [Person(box=small, by_hand=True), Person(box=found, score=0.5)], True
    Teachers.__new__(Teachers).label(photo)
    assert photo.people == []
    assert [box.tolist() for box in photo.ignore] == [small.tolist()]


@pytest.mark.assets
def test_real_teachers_see_a_drawn_person(assets: Path, tmp_path: Path):
    source = SyntheticSource(live=False, width_px=640, height_px=360)
    cv2.imwrite(str(tmp_path / "figure.png"), source.render(30))
    models = assets / "models"
    detectors = [(models / "rtmdet_nano_person.onnx", 320), (models / "yolox_nano_416.onnx", None)]
    teachers = Teachers(detectors, models / "pp_tinypose_256x192.onnx")
    (photo,) = find_photos(tmp_path)
    # A mark by hand in an empty corner: no detector confirms that somebody is there.
    photo.people = [Person(box=np.array([2, 2, 40, 40], np.float32), points=points(), score=0.0, by_hand=True)]
    teachers.label(photo)
    teachers.close()
    truth = source.truth(30)
    alone, person = photo.people
    assert alone.score == 0
    assert [box.tolist() for box in photo.ignore].count([2, 2, 40, 40]) == 1
    assert person.score >= SURE
    assert iou(person.box[None], truth.boxes)[0, 0] > 0.7
    assert person.points is not None
    height = truth.boxes[0, 3] - truth.boxes[0, 1]
    away = np.linalg.norm(person.points[:, :2] - truth.points[0], axis=1)[truth.scores[0] == 1]
    assert np.median(away) < 0.03 * height
    assert np.median(person.points[:, 2]) > 0.5
