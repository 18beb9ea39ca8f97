"""OpenPose's JSON files, one a frame: BODY_25, and hands and face where there are some."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streampose.clip import Moment
from streampose.errors import FormatUnreadable
from streampose.formats.validity import floats, points_and_scores, shares_points
from streampose.naming import safe
from streampose.pose import Poses, Skeleton
from streampose.skeletons import COCO_WHOLEBODY_133, FACE, LEFT_HAND, OPENPOSE_18, OPENPOSE_25, RIGHT_HAND

__all__ = ["OPENPOSE_NAMES", "check_openpose", "read_openpose", "write_openpose"]

log = logging.getLogger("streampose")

OPENPOSE_NAMES = re.compile(r".*_keypoints\.json", re.DOTALL)
"""Of the files in such a folder."""

_FRAME = re.compile(r"(?!\._)(?:(?P<stream>.*?)_?(?P<index>\d+)|.*)_keypoints\.json", re.DOTALL)
_BY_SIZE = {25: OPENPOSE_25, 18: OPENPOSE_18}
# What OpenPose has beyond the 68 points of a face: the pupils, which no model of ours gives.
_PUPILS = 2
_NO_SIZE = (0, 0)
# Of a frame's number in its file's name: as OpenPose writes it, of video.
_DIGITS = 12


def check_openpose(skeleton: Skeleton) -> None:
    """See whether people of a skeleton can be written.

    Raises:
        FormatUnreadable: it has none of BODY_25's points.
    """
    shares_points(skeleton, OPENPOSE_25, "OpenPose's")


def write_openpose(path: Path, moments: Iterable[Moment]) -> None:
    """A folder of ``STREAM_000000000012_keypoints.json``; ids are `person_id`, -1 without tracking.

    Coordinates are pixels, and a point that is not known is 0, 0, 0, as OpenPose writes it.

    Raises:
        FormatUnreadable: a skeleton has none of BODY_25's points.
    """
    path.mkdir(exist_ok=True)
    for moment in moments:
        poses = moment.poses
        check_openpose(poses.skeleton)
        body = poses.to(OPENPOSE_25)
        whole = poses.skeleton == COCO_WHOLEBODY_133
        people = [
            {
                "person_id": [-1 if poses.ids is None else int(poses.ids[row])],
                "pose_keypoints_2d": _flat(body.points[row], body.scores[row]),
                "face_keypoints_2d": _part(poses, row, FACE) + [0.0] * (3 * _PUPILS) if whole else [],
                "hand_left_keypoints_2d": _part(poses, row, LEFT_HAND) if whole else [],
                "hand_right_keypoints_2d": _part(poses, row, RIGHT_HAND) if whole else [],
                "pose_keypoints_3d": [],
                "face_keypoints_3d": [],
                "hand_left_keypoints_3d": [],
                "hand_right_keypoints_3d": [],
            }
            for row in range(len(poses))
        ]
        # A stream is called as its user likes, and a file is not: nothing leaves the folder.
        name = f"{safe(moment.stream, 'stream')}_{moment.index:0{_DIGITS}d}_keypoints.json"
        (path / name).write_text(json.dumps({"version": 1.3, "people": people}, separators=(",", ":"), allow_nan=False))


def _part(poses: Poses, row: int, part: slice) -> list[float]:
    return _flat(poses.points[row, part], poses.scores[row, part])


def _flat(points: NDArray[np.float32], scores: NDArray[np.float32]) -> list[float]:
    rows = np.column_stack([points, scores]).astype(float).round(4)
    rows[rows[:, 2] <= 0] = 0
    values: list[float] = rows.reshape(-1).tolist()
    return values


def read_openpose(path: Path) -> Iterator[Moment]:
    """The body points of each frame; a person's box is that of their points.

    A frame of nobody has the skeleton of the first that has somebody. Who has no body points is left out.

    These files know neither times nor the size of the picture: the number of a frame stands for its time, at 30 a
    second, and `size_px` is (0, 0). Beside files that are numbered as frames are (12 digits) no others are read. Where
    there are none, and a file has no number, all are counted in the order of their names.

    Raises:
        FormatUnreadable: there are no such files, or one is damaged or has other bodies than BODY_25 and COCO's 18.
    """
    files = _files(path)
    if not files:
        raise FormatUnreadable(f"{path} has no files called …_keypoints.json in it")
    # A file of nobody does not say how many points they would have: the first one of somebody does.
    known = (poses.skeleton for *_, file in files if len(poses := _read(file, OPENPOSE_25)))
    skeleton = next(known, OPENPOSE_25)
    for index, stream, file in files:
        yield Moment(
            stream=stream or path.name,
            index=index,
            pts=index,
            time_base=Fraction(1, 30),
            size_px=_NO_SIZE,
            poses=_read(file, skeleton),
        )


def _files(path: Path) -> list[tuple[int, str, Path]]:
    """Number, stream and place of each, in order: by number, or by name where one has no number, as pictures may."""
    found = [(m, p) for p in sorted(path.iterdir()) if (m := _FRAME.fullmatch(p.name))]
    if frames := [(m, p) for m, p in found if len(m["index"] or "") == _DIGITS]:
        if others := [p.name for m, p in found if len(m["index"] or "") != _DIGITS]:
            log.warning("%s: not read, for want of a frame's %d digits: %s", path, _DIGITS, ", ".join(others)[:80])
        found = frames
    if all(m["index"] for m, _ in found):
        return sorted((int(m["index"]), m["stream"], p) for m, p in found)
    return [(place, "", p) for place, (_, p) in enumerate(found)]


def _read(file: Path, nobodys: Skeleton) -> Poses:
    """The people of one file; nobody is of the skeleton that is given."""
    try:
        return _poses(json.loads(file.read_text())["people"], nobodys)
    except FormatUnreadable as error:
        raise FormatUnreadable(f"{file}: {error}") from error
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise FormatUnreadable(f"{file} is not OpenPose's: {type(error).__name__} {error}") from error


def _poses(people: list[dict[str, Any]], nobodys: Skeleton) -> Poses:
    # Of who is seen only by hands or face, there is no body.
    people = [person for person in people if person["pose_keypoints_2d"]]
    if not people:
        return Poses.empty(nobodys)
    table = np.stack([floats(person["pose_keypoints_2d"]).reshape(-1, 3) for person in people])
    if (skeleton := _BY_SIZE.get(table.shape[1])) is None:
        raise FormatUnreadable(f"it has bodies of {table.shape[1]} points; read are {' and '.join(map(str, _BY_SIZE))}")
    points, scores = points_and_scores(table)
    known = scores > 0
    low = np.where(known[..., None], points, np.inf).min(axis=1)
    high = np.where(known[..., None], points, -np.inf).max(axis=1)
    ids = [int(np.append(person.get("person_id", []), -1)[0]) for person in people]
    return Poses(
        skeleton=skeleton,
        points=points,
        scores=np.clip(scores, 0, 1),
        boxes=np.where(np.any(known, axis=1)[:, None], np.concatenate([low, high], axis=1), 0).astype(np.float32),
        box_scores=np.clip(scores.mean(axis=1), 0, 1),
        ids=np.array(ids, np.int64) if all(i >= 0 for i in ids) else None,
    )
