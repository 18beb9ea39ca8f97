"""Folders of photos of the three kinds, and labels that come back as they were written."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.nano.photos import Person, Photo, find_photos, read_labels, write_labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "set" / "images"
    images.mkdir(parents=True)
    for name in ("im00001.jpg", "im00002.jpg"):
        cv2.imwrite(str(images / name), np.full((60, 80, 3), 90, np.uint8))
    return tmp_path / "set"


def test_photos_alone(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "images" / "broken.jpg").write_bytes(b"no picture")
    photos = list(find_photos(folder))
    assert [(p.path.name, p.width, p.height, p.people, p.complete) for p in photos] == [
        ("im00001.jpg", 80, 60, [], False),
        ("im00002.jpg", 80, 60, [], False),
    ]
    assert "1 files are no pictures that can be read: broken.jpg" in capsys.readouterr().err


def test_a_folder_without_photos_says_so(tmp_path: Path):
    with pytest.raises(ValueError, match=r"has no photos \(\.bmp"):
        list(find_photos(tmp_path))


def test_coco(folder: Path):
    keypoints = [0.0] * 51
    keypoints[15:18] = [30.0, 20.0, 2.0]
    document = {
        "images": [{"id": 7, "file_name": "im00001.jpg"}, {"id": 8, "file_name": "im00002.jpg"}],
        "annotations": [
            {"image_id": 7, "bbox": [10, 10, 30, 40], "num_keypoints": 1, "keypoints": keypoints, "iscrowd": 0},
            {"image_id": 7, "bbox": [0, 0, 8, 8], "num_keypoints": 0, "iscrowd": 1},
        ],
    }
    (folder / "person_keypoints.json").write_text(json.dumps(document))
    one, two = find_photos(folder)
    assert one.complete
    assert two.complete
    assert two.people == []
    (person,) = one.people
    assert person.box.tolist() == [10, 10, 40, 50]
    assert person.points is not None
    assert person.points[5].tolist() == [30, 20, 1]
    assert np.isnan(person.points[[0, 16], 2]).all()  # not marked is not the same as not there
    assert one.ignore[0].tolist() == [0, 0, 8, 8]


def test_photos_that_coco_does_not_list_are_not_known_to_be_empty(folder: Path):
    for name in ("a", "b"):
        (folder / "images" / name).mkdir()
        cv2.imwrite(str(folder / "images" / name / "same.jpg"), np.zeros((60, 80, 3), np.uint8))
    document = {
        "categories": [{"id": 3, "name": "person"}, {"id": 1, "name": "dog"}],
        "images": [{"id": 1, "file_name": "b/same.jpg"}, {"id": 2, "file_name": "train/im00001.jpg"}],
        "annotations": [
            {"image_id": 1, "category_id": 3, "bbox": [1, 1, 20, 30]},
            {"image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 30]},
            {"image_id": 2, "category_id": 3, "bbox": [2, 2, 20, 30]},
        ],
    }
    (folder / "person_keypoints.json").write_text(json.dumps(document))
    found = {p.path.relative_to(folder / "images").as_posix(): p for p in find_photos(folder)}
    assert {name: (p.complete, len(p.people)) for name, p in found.items()} == {
        "a/same.jpg": (False, 0),
        "b/same.jpg": (True, 1),
        "im00001.jpg": (True, 1),
        "im00002.jpg": (False, 0),
    }
    document["categories"] = [{"id": 1, "name": "dog"}]
    (folder / "person_keypoints.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="none is named person"):
        list(find_photos(folder))
    del document["categories"]
    document["images"] = [{"id": 1, "file_name": "elsewhere.jpg"}]
    (folder / "person_keypoints.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="lists none of the 4 photos"):
        list(find_photos(folder))


def test_joints_of_other_photos_are_refused(folder: Path):
    (folder / "joints.json").write_text(json.dumps({"joints": ["neck"], "points": [[[1.0, 1.0, 1]]]}))
    with pytest.raises(ValueError, match="joints of 1 photos, but there are 2"):
        list(find_photos(folder))
    (folder / "joints.json").write_text("[]")
    with pytest.raises(ValueError, match="has no `joints`"):
        list(find_photos(folder))


def test_leeds(folder: Path):
    names = ["right_ankle", "left_wrist", "neck"]
    rows = [[[20.0, 50.0, 1], [40.0, 10.0, 1], [30.0, 20.0, 0]], [[0.0, 0.0, 0]] * 3]
    (folder / "joints.json").write_text(json.dumps({"joints": names, "points": rows}))
    one, two = find_photos(folder)
    points = one.people[0].points
    assert points is not None
    assert one.people[0].by_many
    assert points[16].tolist() == [20, 50, 1]
    assert points[9].tolist() == [40, 10, 1]
    assert np.isnan(points[:, 2]).sum() == 15
    assert one.people[0].box.tolist() == [16, 6, 44, 54]  # a tenth of the taller side around the joints
    assert two.people[0].points is not None
    assert np.isnan(two.people[0].points[:, 2]).all()


def test_labels_come_back(folder: Path, tmp_path: Path):
    points = np.arange(51, dtype=np.float32).reshape(17, 3)
    points[3] = np.nan
    photo = Photo(
        path=folder / "images" / "im00001.jpg",
        width=80,
        height=60,
        people=[Person(box=np.array([1, 2, 3, 4.5], np.float32), score=0.5, points=points, by_hand=True)],
        ignore=[np.array([5, 6, 7, 8], np.float32)],
        complete=True,
    )
    write_labels(tmp_path / "labels.jsonl", [photo])
    (back,) = read_labels(tmp_path / "labels.jsonl")
    assert (back.path, back.width, back.height, back.complete) == (photo.path, 80, 60, True)
    assert back.people[0].points is not None
    np.testing.assert_array_equal(back.people[0].points, points)
    np.testing.assert_array_equal(back.people[0].box, photo.people[0].box)
    np.testing.assert_array_equal(back.ignore[0], photo.ignore[0])
    image, scale = back.read(40)
    assert image.shape == (30, 40, 3)
    assert scale == 0.5


def test_labels_of_before_are_read(tmp_path: Path):
    person = {"box": [1, 2, 3, 4], "score": 1.0, "points": None, "by_hand": True}
    row = {"path": "a.jpg", "size": [8, 6], "complete": True, "people": [person], "ignore": []}
    (tmp_path / "labels.jsonl").write_text(json.dumps(row))
    (photo,) = read_labels(tmp_path / "labels.jsonl")
    assert not photo.people[0].by_many


def test_labelling_that_fails_leaves_no_half_file(tmp_path: Path):
    def broken():
        yield Photo(path=tmp_path / "a.jpg", width=1, height=1)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_labels(tmp_path / "labels.jsonl", broken())
    assert not (tmp_path / "labels.jsonl").exists()
