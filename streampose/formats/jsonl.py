"""Our own lines, version 1: one frame each, complete in itself. docs/formats.md describes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from streampose.clip import Moment
from streampose.errors import FormatUnreadable
from streampose.formats.validity import checked, floats, points_and_scores
from streampose.pose import Poses
from streampose.result import Result
from streampose.skeletons import said_of, skeleton_of

__all__ = ["SCHEMA_VERSION", "dump", "moment_of", "read_jsonl", "record_of", "write_jsonl"]

SCHEMA_VERSION = 1


def record_of(of: Result | Moment) -> dict[str, Any]:
    """One frame's line as plain data, as `json.dumps` takes it; pixels to two decimals, scores to four.

    Args:
        of: the frame's people; of a moment, `latency_ms` has no meaning, and is None.
    """
    moment, latency_s = (of.moment, of.timing.latency_s) if isinstance(of, Result) else (of, None)
    poses = moment.poses
    # One rounding for all people: per number in Python it takes ten times as long.
    points = np.dstack([poses.points.astype(float).round(2), poses.scores.astype(float).round(4)]).tolist()
    boxes = poses.boxes.astype(float).round(2).tolist()
    scores = poses.box_scores.astype(float).round(4).tolist()
    ids = [None] * len(poses) if poses.ids is None else poses.ids.tolist()
    return {
        "v": SCHEMA_VERSION,
        "stream": moment.stream,
        "frame": moment.index,
        "epoch": moment.epoch,
        "pts": moment.pts,
        "time_base": [moment.time_base.numerator, moment.time_base.denominator],
        "time_s": round(moment.time_s, 6),
        "wall_time_s": None if moment.wall_time_s is None else round(moment.wall_time_s, 3),
        "size_px": list(moment.size_px),
        **said_of(poses.skeleton),
        "latency_ms": None if latency_s is None else round(latency_s * 1000, 2),
        "people": [{"id": ids[i], "score": scores[i], "box": boxes[i], "points": points[i]} for i in range(len(poses))],
    }


def dump(record: Mapping[str, Any]) -> bytes:
    """The line of a record, with its end."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def moment_of(line: Mapping[str, Any] | str | bytes | bytearray | memoryview) -> Moment:
    """One frame's line, or its data, typed.

    Raises:
        FormatUnreadable: it is of another version, or not one of ours.
    """
    try:
        line = bytes(line) if isinstance(line, bytearray | memoryview) else line
        record = json.loads(line) if isinstance(line, str | bytes) else line
    except (ValueError, RecursionError) as error:
        raise FormatUnreadable(f"it is not JSON: {error}") from error
    if not isinstance(record, Mapping):
        raise FormatUnreadable(f"a line of poses is an object of JSON, not {type(record).__name__}")
    if (version := record.get("v")) != SCHEMA_VERSION:
        raise FormatUnreadable(
            f"version {version!r:.80} of the schema is not known; this streampose reads {SCHEMA_VERSION}"
        )
    try:
        skeleton = skeleton_of(record["skeleton"], record.get("names"), record.get("edges"))
        people = record["people"]
        ids = [person["id"] for person in people]
        table = floats([person["points"] for person in people]).reshape(len(people), len(skeleton), 3)
        points, scores = points_and_scores(table)
        poses = Poses(
            skeleton=skeleton,
            points=points,
            scores=scores,
            boxes=floats([person["box"] for person in people]).reshape(-1, 4),
            box_scores=floats([person["score"] for person in people]),
            ids=None if None in ids else np.array(ids, np.int64),
        )
        moment = Moment(
            stream=record["stream"],
            index=record["frame"],
            epoch=record["epoch"],
            pts=record["pts"],
            time_base=Fraction(*record["time_base"]),
            size_px=(record["size_px"][0], record["size_px"][1]),
            poses=poses,
            wall_time_s=record.get("wall_time_s"),
        )
        return checked(moment)
    except FormatUnreadable:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise FormatUnreadable(f"it is no line of poses: {type(error).__name__} {error}") from error


def read_jsonl(path: Path) -> Iterator[Moment]:
    """One moment after the other, blank lines left out; the file is never in memory as a whole.

    Raises:
        FormatUnreadable: a line is not one of ours; the message has its number.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield moment_of(line)
            except FormatUnreadable as error:
                raise FormatUnreadable(f"{path}:{number}: {error}") from error


def write_jsonl(path: Path, moments: Iterable[Moment]) -> None:
    """One line a moment."""
    with path.open("wb") as file:
        for moment in moments:
            file.write(dump(record_of(moment)))
