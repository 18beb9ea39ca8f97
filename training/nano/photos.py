"""Photos and what is known of the people in them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Person", "Photo", "find_photos", "read_labels", "write_labels"]

Floats = NDArray[np.float32]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass(slots=True)
class Person:
    """One person: where, and how sure we are."""

    box: Floats
    """(4,) x1 y1 x2 y2, pixels."""
    score: float = 1.0
    """Of the box: 1 by hand, below by a teacher."""
    points: Floats | None = None
    """(17, 3) x, y, target: how high the student's map shall be there; NaN = nobody knows, so it is not asked."""
    by_hand: bool = False
    by_many: bool = False
    """Whether the points were marked by a crowd, with its mistakes."""


_Marks = tuple[list[Person], list[Floats]]
"""The people of a photo, and its places to ignore."""


@dataclass(slots=True)
class Photo:
    """One photo, its people, and the places where somebody may or may not be."""

    path: Path
    width: int
    height: int
    people: list[Person] = field(default_factory=list)
    ignore: list[Floats] = field(default_factory=list)
    """(4,) boxes: crowds, and what teachers disagree about. A detector is neither praised nor blamed there."""
    complete: bool = False
    """Whether the boxes were drawn by hand, all of them."""

    def read(self, longest: int | None = None) -> tuple[NDArray[np.uint8], float]:
        """The pixels, (H, W, 3) uint8 BGR, and the scale they were brought to so that no side is above `longest`.

        Raises:
            ValueError: the file is no picture.
        """
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{self.path} is no picture that can be read")
        scale = 1.0 if longest is None else min(1.0, longest / max(image.shape[:2]))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return np.asarray(image, np.uint8), scale


def find_photos(folder: Path) -> Iterator[Photo]:
    """The photos of a folder, with the people that it says by hand.

    Three kinds are known: photos alone; `person_keypoints.json` beside `images/` (COCO); `joints.json` beside `images/`
    (Leeds Sports Pose: fourteen joints of the main person).

    Raises:
        ValueError: there is no photo, or what is said by hand is of other photos.
    """
    images = folder / "images" if (folder / "images").is_dir() else folder
    paths = sorted(p for p in images.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} has no photos ({', '.join(sorted(SUFFIXES))})")
    coco, joints = folder / "person_keypoints.json", folder / "joints.json"
    listed = _listed(_coco(json.loads(coco.read_text())), paths, images) if coco.exists() else {}
    if coco.exists() and not listed:
        raise ValueError(f"{coco} lists none of the {len(paths)} photos in {images}")
    rows = _rows(joints, len(paths)) if joints.exists() else None
    broken: list[str] = []
    for index, path in enumerate(paths):
        head = cv2.imread(str(path))
        if head is None:
            broken.append(str(path.relative_to(images)))
            continue
        photo = Photo(path=path, width=head.shape[1], height=head.shape[0])
        if path in listed:
            photo.people, photo.ignore = listed[path]
            photo.complete = True
        if rows is not None:
            photo.people = [_leeds(*rows[index])]
        yield photo
    if broken:
        print(f"{folder}: {len(broken)} files are no pictures that can be read: {', '.join(broken)}", file=sys.stderr)


def _listed(found: dict[str, _Marks], paths: Sequence[Path], images: Path) -> dict[Path, _Marks]:
    """Each photo's people: by its path below `images`, or by its name where only one photo and one entry have it."""
    names, entries = Counter(path.name for path in paths), Counter(PurePath(name).name for name in found)
    by_name = {PurePath(name).name: marks for name, marks in found.items() if entries[PurePath(name).name] == 1}
    listed = {}
    for path in paths:
        below = path.relative_to(images).as_posix()
        if below in found:
            listed[path] = found[below]
        elif names[path.name] == 1 and path.name in by_name:
            listed[path] = by_name[path.name]
    return listed


def _rows(file: Path, photos: int) -> list[tuple[list[str], list[list[float]]]]:
    """The joints' names, and the joints, of each photo."""
    document = json.loads(file.read_text())
    if not isinstance(document, dict) or not {"joints", "points"} <= document.keys():
        raise ValueError(f"{file} has no `joints` and `points`")
    if len(document["points"]) != photos:
        raise ValueError(f"{file} has joints of {len(document['points'])} photos, but there are {photos}")
    return [(document["joints"], row) for row in document["points"]]


def _coco(document: dict[str, Any]) -> dict[str, _Marks]:
    names = {image["id"]: image["file_name"] for image in document["images"]}
    categories = document.get("categories") or [{"id": 1, "name": "person"}]
    persons = {c["id"] for c in categories if c.get("name") == "person"}
    if not persons:
        raise ValueError("person_keypoints.json has categories, but none is named person")
    found: dict[str, _Marks] = {name: ([], []) for name in names.values()}
    for annotation in document["annotations"]:
        if annotation.get("category_id", 1) not in persons or annotation["image_id"] not in names:
            continue
        x, y, w, h = annotation["bbox"]
        box = np.array([x, y, x + w, y + h], np.float32)
        people, ignore = found[names[annotation["image_id"]]]
        if annotation.get("iscrowd"):
            ignore.append(box)
            continue
        points = None
        if annotation.get("num_keypoints"):
            raw = np.array(annotation["keypoints"], np.float32).reshape(17, 3)
            points = np.column_stack([raw[:, :2], np.where(raw[:, 2] > 0, 1.0, np.nan)]).astype(np.float32)
        people.append(Person(box=box, points=points, by_hand=True))
    return found


# Where Leeds' joints are in COCO's order; neck and top of the head have no counterpart.
_LEEDS = {
    "left_shoulder": 5, "right_shoulder": 6, "left_elbow": 7, "right_elbow": 8, "left_wrist": 9, "right_wrist": 10,
    "left_hip": 11, "right_hip": 12, "left_knee": 13, "right_knee": 14, "left_ankle": 15, "right_ankle": 16,
}  # fmt: skip


def _leeds(names: list[str], rows: list[list[float]]) -> Person:
    points = np.full((17, 3), np.nan, np.float32)
    marked = np.array([row[:2] for row in rows if row[2]], np.float32).reshape(-1, 2)
    for name, (x, y, flag) in zip(names, rows, strict=True):
        if flag and name in _LEEDS:
            points[_LEEDS[name]] = x, y, 1.0
    low, high = (marked.min(axis=0), marked.max(axis=0)) if len(marked) else (np.zeros(2), np.zeros(2))
    margin = 0.1 * float((high - low).max())
    box = np.concatenate([low - margin, high + margin]).astype(np.float32)
    return Person(box=box, score=0.0, points=points, by_hand=True, by_many=True)


def write_labels(file: Path, photos: Iterable[Photo]) -> None:
    """Write one JSON object a photo; complete or not at all."""
    part = file.with_suffix(".part")
    with part.open("w") as out:
        for photo in photos:
            people = [
                {
                    "box": _rounded(p.box),
                    "score": round(float(p.score), 3),
                    "points": None if p.points is None else [_rounded(row) for row in p.points],
                    "by_hand": p.by_hand,
                    "by_many": p.by_many,
                }
                for p in photo.people
            ]
            row = {
                "path": str(photo.path),
                "size": [photo.width, photo.height],
                "complete": photo.complete,
                "people": people,
                "ignore": [_rounded(b) for b in photo.ignore],
            }
            out.write(json.dumps(row) + "\n")
    part.replace(file)


def read_labels(file: Path) -> list[Photo]:
    """What `write_labels` wrote."""
    photos = []
    for line in file.read_text().splitlines():
        row = json.loads(line)
        people = [
            Person(
                box=np.array(p["box"], np.float32),
                score=p["score"],
                points=None if p["points"] is None else np.array(p["points"], np.float32),
                by_hand=p["by_hand"],
                by_many=p.get("by_many", False),
            )
            for p in row["people"]
        ]
        photos.append(
            Photo(
                path=Path(row["path"]),
                width=row["size"][0],
                height=row["size"][1],
                people=people,
                ignore=[np.array(b, np.float32) for b in row["ignore"]],
                complete=row["complete"],
            )
        )
    return photos


def _rounded(values: Floats) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), 3) for v in values]
