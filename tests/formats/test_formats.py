"""What is written is read back; what others read is as they describe it."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fakes import frame
from hypothesis import given
from hypothesis import strategies as st

from streampose import Poses, Skeleton, formats
from streampose.clip import Clip, Moment
from streampose.errors import ConfigError, FormatUnreadable
from streampose.formats import FORMATS, load, read, write
from streampose.formats.jsonl import dump, moment_of, record_of
from streampose.formats.table import columns, moments_of, rows_of
from streampose.result import Result, Timing
from streampose.skeletons import (
    COCO_17,
    COCO_WHOLEBODY_133,
    FACE,
    FEET,
    HALPE_26,
    LEFT_HAND,
    OPENPOSE_18,
    OPENPOSE_25,
    RIGHT_HAND,
    SKELETONS,
)


def poses(people: int, seed: int = 0, skeleton=COCO_17, *, ids: bool = True) -> Poses:
    """Numbers that survive being rounded to two and four decimals."""
    rng = np.random.default_rng(seed)
    k = len(skeleton)
    corners = np.sort(rng.integers(0, 64000, (people, 2, 2)), axis=1) / 100
    return Poses(
        skeleton=skeleton,
        points=(rng.integers(-100, 64000, (people, k, 2)) / 100).astype(np.float32),
        scores=(rng.integers(0, 10001, (people, k)) / 10000).astype(np.float32),
        boxes=corners.reshape(people, 4).astype(np.float32),
        box_scores=(rng.integers(0, 10001, people) / 10000).astype(np.float32),
        ids=np.arange(3, 3 + people, dtype=np.int64) if ids else None,
    )


def moments(counts: list[int], skeleton=COCO_17, *, ids: bool = True) -> list[Moment]:
    return [
        Moment(
            stream="door",
            index=2 * i,
            epoch=i // 5,
            pts=i * i * 7,
            time_base=Fraction(1, 600),
            size_px=(640, 480),
            poses=poses(n, i, skeleton, ids=ids),
        )
        for i, n in enumerate(counts)
    ]


def same(a: Moment, b: Moment) -> bool:
    facts = [(m.stream, m.index, m.epoch, m.pts * m.time_base, m.size_px, m.poses.skeleton) for m in (a, b)]
    arrays = ("points", "scores", "boxes", "box_scores")
    ids = [None if m.poses.ids is None or not len(m.poses) else m.poses.ids.tolist() for m in (a, b)]
    close = all(np.allclose(getattr(a.poses, n), getattr(b.poses, n), atol=1e-5) for n in arrays)
    return facts[0] == facts[1] and ids[0] == ids[1] and close


def test_two_decimals_are_kept_of_pixels_and_four_of_scores():
    fine = poses(1)
    for numbers, value in (
        (fine.points, 12.34567),
        (fine.boxes, 12.34567),
        (fine.scores, 0.123456),
        (fine.box_scores, 0.123456),
    ):
        numbers[:] = value
    (moment,) = (replace(m, poses=fine) for m in moments([1]))
    (person,) = record_of(moment)["people"]
    assert (person["score"], person["box"], person["points"]) == (0.1235, [12.35] * 4, [[12.35, 12.35, 0.1235]] * 17)
    (row,) = rows_of(moment)
    assert row[-4 - 1 - 17 * 3 :] == [0.1235, *[12.35] * 4, *[12.35, 12.35, 0.1235] * 17]


def written(path: Path) -> list[bytes]:
    return [file.read_bytes() for file in (path.iterdir() if path.is_dir() else [path])]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights, and FIFOs are not files there")
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".npz", ".parquet"])
def test_links_are_followed_and_fifos_are_written_to(suffix: str, tmp_path: Path):
    some, real = moments([1, 2]), tmp_path / f"real{suffix}"
    (tmp_path / f"link{suffix}").symlink_to(real)
    os.mkfifo(fifo := tmp_path / f"fifo{suffix}")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    for name in ("link", "fifo"):
        write(tmp_path / f"{name}{suffix}", some)
    through = tmp_path / f"through{suffix}"
    through.write_bytes(os.read(reader, 1 << 16))
    os.close(reader)
    with pytest.raises(RuntimeError, match="cut off"):
        write(real, cut_off(some))
    assert (tmp_path / f"link{suffix}").is_symlink()
    assert fifo.is_fifo()
    assert all(same(a, b) for path in (real, through) for a, b in zip(some, load(path), strict=True))
    assert len(list(tmp_path.iterdir())) == 4


def cut_off(some: list[Moment]) -> Iterator[Moment]:
    yield some[0]
    raise RuntimeError("cut off")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "npz"])
@pytest.mark.parametrize("skeleton", [COCO_17, HALPE_26, COCO_WHOLEBODY_133], ids=lambda s: s.name)
@pytest.mark.parametrize("ids", [True, False])
def test_what_is_written_is_read_back(tmp_path: Path, kind: str, skeleton, ids: bool):
    path = tmp_path / f"a{FORMATS[kind].suffix}"
    before = moments([2, 0, 1, 3, 0, 0, 1], skeleton, ids=ids)
    write(path, before)
    after = load(path)
    assert isinstance(after, Clip)
    assert after.skeleton == skeleton
    assert len(after) == len(before)
    assert all(map(same, before, after))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@given(counts=st.lists(st.integers(0, 3), max_size=4), ids=st.booleans())
def test_a_line_is_the_same_when_written_again(counts: list[int], ids: bool):
    for moment in moments(counts, ids=ids):
        line = dump(record_of(moment))
        assert dump(record_of(moment_of(json.loads(line)))) == line


def test_times_of_lines_are_seconds_to_the_microsecond_and_latencies_milliseconds():
    timing = Timing(captured_at=1.0, taken_at=1.001, inferred_at=1.002, delivered_at=1.0123, batch_size=1)
    of = replace(frame(1), pts=7, time_base=Fraction(1, 600))
    line = record_of(Result(frame=of, poses=poses(1), timing=timing))
    assert (line["time_s"], line["latency_ms"]) == (0.011667, 12.3)


def test_a_line_of_a_server_is_the_moment_of_its_result():
    (one,) = moments([2])
    line = json.dumps(formats.record_of(one))
    for said in (line, line.encode(), bytearray(line, "ascii"), memoryview(line.encode()), json.loads(line)):
        assert same(formats.moment_of(said), one)


@pytest.mark.parametrize("line", ["", b"\xff", "[" * 100_000, "[]", "3", [], None])
def test_what_is_no_line_of_poses_is_told(line):
    with pytest.raises(FormatUnreadable, match=r"^it is not JSON: |^a line of poses is an object of JSON, not "):
        formats.moment_of(line)


def test_a_frame_s_number_that_comes_again_after_a_reconnect_is_another_frame(tmp_path: Path):
    before = moments([2])[0]
    after = replace(before, epoch=1, pts=9)
    write(tmp_path / "a.csv", [before, after])
    assert all(map(same, load(tmp_path / "a.csv"), [before, after]))


@pytest.mark.parametrize("blank", [None, ""])
def test_where_one_person_of_a_table_has_no_id_nobody_of_the_frame_has(blank: str | None):
    whole = moments([2])[0]
    rows = [dict(zip(columns(COCO_17), row, strict=True)) for row in rows_of(whole)]
    rows[1]["id"] = blank
    (seen,) = moments_of(rows, "a table")
    assert same(seen, whole.having(replace(whole.poses, ids=None)))


def test_openpose_files_are_what_openpose_writes(tmp_path: Path):
    before = moments([2, 0, 1], COCO_WHOLEBODY_133)
    write(tmp_path / "a.openpose", before)
    files = sorted((tmp_path / "a.openpose").iterdir())
    assert [f.name for f in files] == [f"door_{i:012d}_keypoints.json" for i in (0, 2, 4)]
    person = json.loads(files[0].read_text())["people"][1]
    assert person["person_id"] == [4]
    lengths = {"pose": 25, "face": 70, "hand_left": 21, "hand_right": 21}
    assert {part: len(person[f"{part}_keypoints_2d"]) // 3 for part in lengths} == lengths
    body = before[0].poses.to(OPENPOSE_25)
    assert np.allclose(
        np.reshape(person["pose_keypoints_2d"], (25, 3))[:, :2][body.scores[1] > 0], body.points[1][body.scores[1] > 0]
    )
    hand = np.column_stack([before[0].poses.points[1, 91:112], before[0].poses.scores[1, 91:112]])
    assert np.allclose(np.reshape(person["hand_left_keypoints_2d"], (21, 3)), np.where(hand[:, 2:] > 0, hand, 0))
    back = load(tmp_path / "a.openpose")
    assert [m.poses.ids.tolist() if len(m.poses) else [] for m in back] == [[3, 4], [], [3]]


def test_openpose_has_no_place_for_a_point_that_is_not_known(tmp_path: Path):
    one = moments([1])[0]
    scores = one.poses.scores.copy()
    scores[0, 9] = 0
    write(tmp_path / "a", [one.having(replace(one.poses, scores=scores))], "openpose")
    (file,) = (tmp_path / "a").iterdir()
    body = np.reshape(json.loads(file.read_text())["people"][0]["pose_keypoints_2d"], (25, 3))
    assert body[7].tolist() == [0, 0, 0]  # BODY_25's left wrist


def test_openpose_s_scores_over_one_are_one(tmp_path: Path):
    write(tmp_path / "a", moments([1]), "openpose")
    (file,) = (tmp_path / "a").iterdir()
    data = json.loads(file.read_text())
    data["people"][0]["pose_keypoints_2d"][:3] = [10, 20, 1.03]
    file.write_text(json.dumps(data))
    (seen,) = read(tmp_path / "a")
    assert seen.poses.scores.max() == 1


def test_what_macos_leaves_beside_openpose_files_is_not_read(tmp_path: Path):
    write(tmp_path / "a.openpose", moments([1, 2]))
    for path in list((tmp_path / "a.openpose").iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7" + bytes(4092))
    assert [len(moment.poses) for moment in load(tmp_path / "a.openpose")] == [1, 2]


def test_people_of_openpose_may_have_no_number(tmp_path: Path):
    write(tmp_path / "a.openpose", moments([1, 2]))
    file = min((tmp_path / "a.openpose").iterdir())
    known = json.loads(file.read_text())
    for number in ([], [-1], -1):
        known["people"][0]["person_id"] = number
        file.write_text(json.dumps(known))
        assert [m.poses.ids is None for m in load(tmp_path / "a.openpose")] == [True, False]
    known["people"][0]["person_id"] = [10**30]
    file.write_text(json.dumps(known))
    with pytest.raises(FormatUnreadable, match="is not OpenPose's"):
        load(tmp_path / "a.openpose")


def bodies(folder: Path, *counts: int, k: int = 18) -> Path:
    """A folder as OpenPose writes it: of each count a file, of so many people of k points each."""
    folder.mkdir(exist_ok=True)
    for index, count in enumerate(counts):
        people = [{"person_id": [-1], "pose_keypoints_2d": [50.0, 60.0, 0.9] * k} for _ in range(count)]
        (folder / f"v_{index:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))
    return folder


@pytest.mark.parametrize(("k", "skeleton"), [(18, OPENPOSE_18), (25, OPENPOSE_25)])
@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv", ".jsonl"])
def test_a_frame_of_nobody_has_the_skeleton_of_its_folder(tmp_path: Path, suffix: str, k: int, skeleton):
    folder = bodies(tmp_path / "in", 0, 1, 0, 2, k=k)
    assert load(folder).skeleton == skeleton
    write(tmp_path / f"a{suffix}", read(folder))
    again = load(tmp_path / f"a{suffix}")
    assert again.skeleton == skeleton
    assert [len(moment.poses) for moment in again] == [0, 1, 0, 2]


def test_a_folder_of_nobody_is_body_25(tmp_path: Path):
    assert load(bodies(tmp_path / "in", 0, 0)).skeleton == OPENPOSE_25


def test_a_deep_file_of_openpose_is_told_by_its_name(tmp_path: Path):
    folder = bodies(tmp_path / "in", 1)
    next(folder.iterdir()).write_text('{"people":' + "[" * 100_000)
    with pytest.raises(FormatUnreadable, match=r"v_000000000000_keypoints\.json is not OpenPose's: RecursionError"):
        load(folder)


def test_pictures_without_a_number_are_read_by_name(tmp_path: Path):
    folder = bodies(tmp_path / "in", 2, 1)
    for before, after in ((0, "portrait"), (1, "face2face")):
        (folder / f"v_{before:012d}_keypoints.json").rename(folder / f"{after}_keypoints.json")
    assert [(m.stream, m.index, len(m.poses)) for m in load(folder)] == [("in", 0, 1), ("in", 1, 2)]
    (folder / "shot2_keypoints.json").write_text('{"people": []}')
    assert [(m.stream, m.index, len(m.poses)) for m in load(folder)] == [("in", 0, 1), ("in", 1, 2), ("in", 2, 0)]


@pytest.mark.parametrize("stray", ["notes", "take2", "v_1"])
def test_a_stray_file_leaves_the_frames_of_a_folder_their_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stray: str
):
    folder = bodies(tmp_path / "in", 1, 1, 2)
    (folder / "v_000000000000_keypoints.json").rename(folder / f"{stray}_keypoints.json")
    assert [(m.stream, m.index, len(m.poses)) for m in load(folder)] == [("v", 1, 1), ("v", 2, 2)]
    assert f"not read, for want of a frame's 12 digits: {stray}_keypoints.json" in caplog.text


def test_who_has_no_body_is_left_out(tmp_path: Path):
    folder = bodies(tmp_path / "in", 1, 2)
    for file in folder.iterdir():
        known = json.loads(file.read_text())
        known["people"][0]["pose_keypoints_2d"] = []
        file.write_text(json.dumps(known))
    assert [len(moment.poses) for moment in load(folder)] == [0, 1]


def test_bodies_of_other_models_are_told_by_their_size(tmp_path: Path):
    folder = bodies(tmp_path / "in", 1, k=15)
    with pytest.raises(FormatUnreadable, match=r"_keypoints\.json: it has bodies of 15 points; read are 25 and 18"):
        load(folder)


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv"])
def test_two_skeletons_are_refused_where_one_fits(tmp_path: Path, suffix: str):
    mixed = [moments([1, 1])[0], moments([1, 1], HALPE_26)[1]]
    with pytest.raises(FormatUnreadable, match=r"frame 2 has the points of halpe-26, .* coco-17.*\.jsonl"):
        write(tmp_path / f"a{suffix}", mixed)
    assert not list(tmp_path.iterdir())
    write(tmp_path / "a.jsonl", mixed)
    assert [m.poses.skeleton for m in read(tmp_path / "a.jsonl")] == [COCO_17, HALPE_26]


@pytest.mark.parametrize("kind", FORMATS)
def test_two_streams_are_refused_where_one_fits(tmp_path: Path, kind: str):
    some = [replace(one, stream=stream) for one in moments([1, 1]) for stream in ("door", "")]
    if kind in {"npz", "coco", "mot"}:
        with pytest.raises(FormatUnreadable, match=r"frame 0 is of stream '', .* of 'door'.*\.jsonl"):
            write(tmp_path / "a", some, kind)
        assert not list(tmp_path.iterdir())
    else:
        path = tmp_path / f"a{FORMATS[kind].suffix}"
        write(path, some)
        back = [(m.stream or "stream", m.index) for m in read(path)]
        assert sorted(back) == [("door", 0), ("door", 2), ("stream", 0), ("stream", 2)]


def test_coco_results_are_read_by_pycocotools(tmp_path: Path):
    from pycocotools.coco import COCO

    write(tmp_path / "a.coco.json", moments([2, 0, 1], COCO_WHOLEBODY_133))
    entries = json.loads((tmp_path / "a.coco.json").read_text())
    assert [e["image_id"] for e in entries] == [0, 0, 4]
    assert {k: len(entries[0][k]) // 3 for k in ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")} == {
        "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21,
    }  # fmt: skip
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i, "width": 640, "height": 480} for i in (0, 2, 4)],
        "categories": [{"id": 1}],
        "annotations": [],
    }
    truth.createIndex()
    assert len(truth.loadRes(str(tmp_path / "a.coco.json")).anns) == 3


def test_coco_s_parts_boxes_and_scores_are_the_person_s(tmp_path: Path):
    one = moments([2], COCO_WHOLEBODY_133)[0]
    write(tmp_path / "a.coco.json", [one])
    entry, poses = json.loads((tmp_path / "a.coco.json").read_text())[0], one.poses
    parts = {"foot_kpts": FEET, "face_kpts": FACE, "lefthand_kpts": LEFT_HAND, "righthand_kpts": RIGHT_HAND}
    for key, part in (parts | {"keypoints": slice(17)}).items():
        expected = np.column_stack([poses.points[0, part], poses.scores[0, part]])
        assert np.allclose(np.reshape(entry[key], (-1, 3)), expected, atol=1e-3), key
    x1, y1, x2, y2 = poses.boxes[0].tolist()
    assert entry["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=0.01)
    assert entry["score"] == pytest.approx(poses.box_scores[0] * poses.scores[0, :17].mean(), abs=1e-5)


def test_mot_counts_from_one(tmp_path: Path):
    one = moments([1])[0]
    one = one.having(replace(one.poses, boxes=np.array([[0, 0, 9, 19]], np.float32)))
    write(tmp_path / "a.mot.txt", [one])
    assert (tmp_path / "a.mot.txt").read_text().split(",")[:6] == ["1", "3", "1.00", "1.00", "9.00", "19.00"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", "not json\n", "a.jsonl:1: it is not JSON"),
        ("a.jsonl", '{"v": 2}\n', "version 2 of the schema"),
        pytest.param("a.jsonl", f'{{"v": "{"2" * 999}"}}\n', "version '2{79} of the schema", id="long version"),
        ("a.jsonl", '{"v": 1}\n', "a.jsonl:1: it is no line of poses"),
        ("a.jsonl", "[]\n", "a.jsonl:1: a line of poses is an object of JSON"),
        pytest.param("a.jsonl", "[" * 100_000, "a.jsonl:1: it is not JSON: .*recursion", id="deep lines"),
        ("a.csv", "a,b\n1,2\n", "a.csv: not a table of poses: it has no column 'stream'"),
        ("a.csv", "a,b", "a.csv: not a table of poses: it has no column 'stream'"),
        ("a.csv", ",".join(columns(COCO_17)[:12]), "a.csv: not a table of poses: it has no column 'y1'"),
        pytest.param(
            "a.csv",
            ",".join(columns(COCO_17)) + '\n"' + "a" * 200_000,
            "a.csv is not a table of poses: .*field limit",
            id="long fields",
        ),
        ("a.npz", "nothing", "no archive of poses"),
        ("a.npz", "", "no archive of poses"),
        ("a.parquet", "nothing", "not Parquet"),
        ("a.mot.txt", "1,1\n", "does not hold all"),
    ],
)
def test_what_is_no_file_of_poses_says_so(tmp_path: Path, name: str, content: str, words: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(FormatUnreadable, match=words):
        load(tmp_path / name)


def test_a_table_that_was_cut_off_says_in_which_row(tmp_path: Path):
    write(path := tmp_path / "a.csv", moments([1, 2, 1]))
    whole = path.read_bytes()
    assert whole.count(b"\n") == 5
    path.write_bytes(whole[: whole.rindex(b"coco-17") + 4])  # in the ninth column of the last row
    with pytest.raises(FormatUnreadable, match=r"a\.csv: line 5 breaks off: it has 9 of 66 columns$"):
        load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("frame", "x"), ("frame", True), ("epoch", 0.5), ("pts", 10**25), ("pts", 1.5), ("time_base", [10**25, 1]),
        ("size_px", [544.5, 960]), ("size_px", [-1, 960]), ("stream", 5), ("stream", "\ud800"), ("wall_time_s", "noon"),
        ("box", [0, 0, float("nan"), 9]), ("score", float("inf")),
    ],
)  # fmt: skip
def test_what_no_format_could_hold_is_told_by_its_line(tmp_path: Path, key: str, value: object):
    """It came up later as an error of Python's, or went out as JSON that is none."""
    lines = [record_of(moment) for moment in moments([1, 1])]
    (lines[1] if key in lines[1] else lines[1]["people"][0])[key] = value
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(FormatUnreadable, match=r"a\.jsonl:2: it is no line of poses: \w+ .+"):
        load(path)


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_no_other_format_believes_it_either(tmp_path: Path, suffix: str):
    some = moments([1, 1])
    some[1].poses.boxes[0, 2] = np.inf
    FORMATS[suffix[1:]].write(tmp_path / f"a{suffix}", some)
    with pytest.raises(FormatUnreadable, match="a box, or its score, is no number"):
        load(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"index": 0.5}, "frame 0.5 cannot be written: frame 0.5 is no whole number"),
        ({"pts": 2**70}, "frame 2 cannot be written: pts"),
        ({"time_base": 0.04}, "time_base is a Fraction, not 0.04"),
        ({"size_px": None}, "frame 2 cannot be written"),
        ({"wall_time_s": float("nan")}, "wall_time_s is a number, not nan"),
        ({"stream": "\ud800"}, "frame 2 cannot be written"),
        ({"boxes": np.full((1, 4), np.nan, np.float32)}, "a box, or its score, is no number"),
        ({"boxes": np.full((1, 4), 1e300)}, "a box, or its score, is no number"),
        ({"ids": np.array([2**63], np.uint64)}, "an id is at most 9223372036854775807, not 9223372036854775808"),
        ({"poses": None}, r"frame \d has no Poses, but None: of nobody, Poses\.empty"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, kind: str, changed: dict, words: str):
    good, bad = moments([1, 1])
    of_people = changed.keys() & {"boxes", "ids"}
    bad = bad.having(replace(bad.poses, **changed)) if of_people else replace(bad, **changed)
    with pytest.raises(FormatUnreadable, match=words):
        write(tmp_path / "a", [good, bad], kind)
    assert not list(tmp_path.iterdir())


def test_a_frame_is_no_moment(tmp_path: Path):
    with pytest.raises(FormatUnreadable, match=r"a result's is its `moment`\), not Frame"):
        write(tmp_path / "a.jsonl", [frame(0)])  # type: ignore[list-item]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("column", [0, 2], ids=["place", "score"])
def test_a_point_that_is_no_number_is_written_as_not_known(tmp_path: Path, kind: str, column: int):
    (one,) = moments([2])
    for name, place, score in (("a", 0, 0), ("b", np.nan if column == 0 else 5, 0.5 if column == 0 else np.inf)):
        one.poses.points[1, 3] = place
        one.poses.scores[1, 3] = score
        write(tmp_path / name, [one], kind)
    assert written(tmp_path / "a") == written(tmp_path / "b")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_point_that_is_too_far_for_32_bits_is_written_as_not_known(tmp_path: Path, kind: str):
    (one,) = moments([2])
    for name, place, score in (("a", 0.0, 0.0), ("b", 1e300, 0.5)):
        points, scores = one.poses.points.astype(float), one.poses.scores.copy()
        points[1, 3], scores[1, 3] = place, score
        write(tmp_path / name, [one.having(replace(one.poses, points=points, scores=scores))], kind)
    assert written(tmp_path / "a") == written(tmp_path / "b")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_point_that_is_too_far_for_32_bits_is_read_as_not_known(tmp_path: Path, suffix: str):
    (one,) = moments([1])
    one.poses.points[0, 3] = 123456.0
    write(path := tmp_path / f"a{suffix}", [one])
    path.write_text(path.read_text().replace("123456.0", "1e300"))
    assert load(path)[0].poses.scores[0, 3] == 0


@pytest.mark.parametrize("kind", FORMATS)
def test_numbers_of_numpy_are_numbers(tmp_path: Path, kind: str):
    (one,) = moments([1])
    of_numpy = {
        "index": np.int64(0), "epoch": np.int16(0), "pts": np.int64(0), "size_px": (np.int32(640), np.uint16(480)),
    }  # fmt: skip
    write(tmp_path / "a", [replace(one, wall_time_s=12.5)], kind)
    write(tmp_path / "b", [replace(one, wall_time_s=np.float32(12.5), **of_numpy)], kind)
    assert written(tmp_path / "a") == written(tmp_path / "b")


@pytest.mark.parametrize("suffix", [".jsonl", ".npz", ".csv", ".parquet", ".openpose"])
@pytest.mark.parametrize("column", [0, 2], ids=["place", "score"])
def test_a_point_that_is_no_number_is_not_known(tmp_path: Path, suffix: str, column: int):
    path, (one,) = tmp_path / f"a{suffix}", moments([1], OPENPOSE_25)
    one.poses.scores[0, :2] = 0.5
    if suffix in {".jsonl", ".openpose"}:
        write(path, [one])
        file = next(path.iterdir()) if path.is_dir() else path
        data = json.loads(file.read_text())
        person = data["people"][0]
        numbers = person["pose_keypoints_2d"] if path.is_dir() else person["points"][0]
        numbers[column] = float("nan")
        file.write_text(json.dumps(data))
    else:
        (one.poses.points[0, 0] if column < 2 else one.poses.scores[0])[:1] = np.nan
        write(path, [one])
    (back,) = load(path)
    assert (back.poses.points[0, 0].tolist(), back.poses.scores[0, 0]) == ([0, 0], 0)
    assert np.allclose(back.poses.points[0, 1], one.poses.points[0, 1])
    write(tmp_path / "b.jsonl", [back])


def test_no_json_of_openpose_s_has_what_json_has_not(tmp_path: Path):
    (one,) = moments([1], OPENPOSE_25)
    one.poses.points[0, 0] = np.nan
    one.poses.scores[0, 0] = 1
    with pytest.raises(ValueError, match="JSON compliant"):
        FORMATS["openpose"].write(tmp_path / "a.openpose", [one])


def test_blank_lines_are_no_lines_of_poses(tmp_path: Path):
    write(path := tmp_path / "a.jsonl", moments([1, 2]))
    path.write_bytes(b"\n" + path.read_bytes().replace(b"\n", b"\n\r\n \n"))
    assert [len(moment.poses) for moment in load(path)] == [1, 2]
    path.write_bytes(path.read_bytes() + b"{")
    with pytest.raises(FormatUnreadable, match=r"a\.jsonl:8: it is not JSON"):
        load(path)


def packed_wrongly(file: bytes) -> bytes:
    start = 30 + int.from_bytes(file[26:28], "little") + int.from_bytes(file[28:30], "little")
    return file[:start] + b"\xff" * 8 + file[start + 8 :]


def unknown_packing(file: bytes) -> bytes:
    entry = file.index(b"PK\1\2")
    return file[: entry + 10] + b"\x63\0" + file[entry + 12 :]


def encrypted(file: bytes) -> bytes:
    entry = file.index(b"PK\1\2")
    return file[: entry + 8] + bytes([file[entry + 8] | 1]) + file[entry + 9 :]


def header_without_end(file: bytes) -> bytes:
    with zipfile.ZipFile(BytesIO(file)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    changed = BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(b"}", b"(", 1))
    return changed.getvalue()


def packed_as_lzma(file: bytes) -> bytes:
    changed = BytesIO()
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("version.npy", bytes(99))
    content = changed.getvalue()
    return content.replace(b"]\0\0", b"\xff\0\0", 1)  # what LZMA's properties begin with


@pytest.mark.parametrize("damaged", [packed_wrongly, packed_as_lzma, unknown_packing, encrypted, header_without_end])
def test_a_damaged_archive_is_told_in_a_line(tmp_path: Path, damaged: Callable[[bytes], bytes]):
    write(path := tmp_path / "a.npz", moments([1, 2]))
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(FormatUnreadable, match=r"a\.npz is no archive of poses: .+") as told:
        load(path)
    assert "\n" not in str(told.value)


def test_an_archive_that_claims_to_be_huge_is_told_in_a_line(tmp_path: Path):
    write(path := tmp_path / "a.npz", moments([1, 2]))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(b"(3,), }" + b" " * 16, b"(3999999999999999,), }" + b" ", 1))
    with pytest.raises(FormatUnreadable, match=r"a\.npz does not fit into memory: Unable to allocate .* PiB"):
        load(path)


@pytest.mark.parametrize(
    ("there", "damage"), [(b"nose_score", b"nose_\xffcore"), (b"\x15", b"\xff")], ids=["text", "structure"]
)
def test_a_damaged_table_is_told_in_a_line(tmp_path: Path, there: bytes, damage: bytes):
    write(path := tmp_path / "a.parquet", moments([1, 2]))
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[:footer] + content[footer:].replace(there, damage, 1))
    with pytest.raises(FormatUnreadable, match=r"a\.parquet (is not Parquet|cannot be read): .+") as told:
        load(path)
    assert "\n" not in str(told.value)


def test_times_in_a_table_are_as_fine_after_a_week(tmp_path: Path):
    (moment,) = moments([1])
    write(path := tmp_path / "a.parquet", [replace(moment, pts=7 * 86400 * 600 + 1)])
    parquet = pytest.importorskip("pyarrow.parquet")
    assert parquet.read_table(path)["time_s"].to_pylist() == [pytest.approx(604800 + 1 / 600, abs=1e-6)]


def test_names_that_say_nothing(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"known: \.jsonl") as caught:
        load(tmp_path / "a.xyz")
    assert not any(word in str(caught.value) for word in ("coco", "mot"))  # which are not read back
    with pytest.raises(FormatUnreadable, match="no file at"):
        load(tmp_path / "a.jsonl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FormatUnreadable, match="no files called"):
        load(tmp_path / "folder")


def test_several_streams_are_not_one_clip(tmp_path: Path):
    one, other = moments([1, 1])
    (tmp_path / "a.jsonl").write_bytes(dump(record_of(one)) + dump(record_of(replace(other, stream="yard"))))
    with pytest.raises(FormatUnreadable, match="several streams"):
        load(tmp_path / "a.jsonl")


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path: Path):
    for name in ("holiday", "holiday.openpose", "a.jsonl"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "picture.jpg").write_text("dear")
        with pytest.raises(ConfigError, match=r"known: \.jsonl|which is not ours|is a folder"):
            write(folder, moments([1]))
        assert (folder / "picture.jpg").read_text() == "dear"
    with pytest.raises(ConfigError, match="which is not ours"):
        write(tmp_path / "holiday", moments([1]), "openpose")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "holiday", "holiday.openpose"]


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "._a_000000000000_keypoints.json"])
def test_what_a_file_manager_left_in_a_folder_of_ours_is_no_hindrance(tmp_path: Path, name: str):
    out = tmp_path / "a.openpose"
    for _ in range(2):
        write(out, moments([1, 1]))
        assert [p.name for p in tmp_path.iterdir()] == ["a.openpose"]
        assert len(list(out.iterdir())) == 2
        (out / name).touch()
    (out / name).unlink()
    (out / name).mkdir()
    with pytest.raises(ConfigError, match="which is not ours"):
        write(out, moments([1, 1]))


def test_what_a_cut_off_run_left_does_not_leak_into_a_folder(tmp_path: Path):
    out = tmp_path / "a.openpose"
    for name in (".part", ".old"):
        folder = tmp_path / f"a.openpose{name}"
        folder.mkdir()
        (folder / "door_000000000099_keypoints.json").touch()
    for _ in range(2):
        write(out, moments([1, 1]))
        assert [p.name for p in tmp_path.iterdir()] == ["a.openpose"]
        assert len(list(out.iterdir())) == 2


@pytest.mark.parametrize("stream", ["cam/1", "../../up", "..", "a\\b"])
def test_no_name_leaves_the_folder(tmp_path: Path, stream: str):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.openpose", [replace(moments([1])[0], stream=stream)])
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert len(load(tmp_path / "in" / "a.openpose")) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_of_a_write_that_failed_nothing_stays(tmp_path: Path, kind: str):
    def broken():
        yield from moments([1])
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        write(tmp_path / f"a{FORMATS[kind].suffix}", broken())
    assert not list(tmp_path.iterdir())


def test_times_without_a_unit_are_told(tmp_path: Path):
    record = record_of(moments([1])[0]) | {"time_base": [1, 0]}
    (tmp_path / "a.jsonl").write_bytes(dump(record))
    with pytest.raises(FormatUnreadable, match="it is no line of poses"):
        load(tmp_path / "a.jsonl")
    write(tmp_path / "a.csv", moments([1]))
    (tmp_path / "a.csv").write_text((tmp_path / "a.csv").read_text().replace("1/600", "1/0"))
    with pytest.raises(FormatUnreadable, match="not a table of poses"):
        load(tmp_path / "a.csv")
    write(tmp_path / "a.npz", moments([1]))
    with np.load(tmp_path / "a.npz") as archive:
        data = dict(archive) | {"time_base": np.array([[1, 0]])}
    np.savez(tmp_path / "a.npz", **data)
    with pytest.raises(FormatUnreadable, match="no archive of poses"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize(("of_points", "of_scores"), [(3, ()), (1, (2,))])
def test_points_of_an_archive_that_are_no_pairs_are_told(tmp_path: Path, of_points: int, of_scores: tuple[int, ...]):
    write(path := tmp_path / "a.npz", moments([1]))
    with np.load(path) as archive:
        data = dict(archive)
    people, points = data["scores"].shape
    data["points"] = np.ones((people, points, of_points), np.float32)
    data["scores"] = np.ones((people, points, *of_scores), np.float32)
    np.savez(path, **data)
    with pytest.raises(FormatUnreadable, match=r"a\.npz is no archive of poses: ValueError points are pairs"):
        load(path)


FOUR = Skeleton(name="four", points=("head", "tail", "left_paw", "right_paw"), edges=((0, 1),))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "a.npz"])
def test_skeletons_of_one_s_own_are_read_back_where_nobody_knows_them(name: str, tmp_path: Path):
    whole = moments([1, 0, 2], FOUR)
    write(tmp_path / name, whole)
    clip = load(tmp_path / name)
    assert all(map(same, clip, whole))
    joined = FOUR.edges if name in {"a.jsonl", "a.npz"} else ()  # a table has no place for them
    assert [m.poses.skeleton.edges for m in clip] == [joined] * 3
    SKELETONS["four"] = FOUR
    assert load(tmp_path / name)[0].poses.skeleton is FOUR


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "a.npz"])
@pytest.mark.parametrize("points", [("nose",), (*FOUR.points, "nose"), FOUR.points[:2]], ids=len)
def test_a_file_of_another_skeleton_of_a_known_name_keeps_its_own(name: str, points: tuple[str, ...], tmp_path: Path):
    write(tmp_path / name, whole := moments([1, 0, 2], FOUR))
    SKELETONS["four"] = Skeleton(name="four", points=points, edges=())
    assert all(map(same, load(tmp_path / name), whole))


def test_a_table_whose_columns_were_put_in_another_order_has_the_skeleton_that_it_names(tmp_path: Path):
    (before,) = whole = moments([2], COCO_17)
    write(tmp_path / "a.csv", whole)
    rows = [line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines()]
    moved = [row[:15] + row[18:] + row[15:18] for row in rows]  # the nose comes last
    (tmp_path / "a.csv").write_text("\n".join(map(",".join, moved)))
    assert same(load(tmp_path / "a.csv")[0], before)


def test_a_skeleton_without_its_points_is_refused_where_it_is_not_known(tmp_path: Path):
    line = {key: value for key, value in record_of(moments([1], FOUR)[0]).items() if key not in {"names", "edges"}}
    (tmp_path / "a.jsonl").write_bytes(dump(line))
    with pytest.raises(FormatUnreadable, match=r"a\.jsonl.*the skeleton 'four' is not known: .*SKELETONS"):
        load(tmp_path / "a.jsonl")
    for nonsense in (
        {"names": 4},
        {"names": ["head"] * 4},
        {"names": [[1]] * 4},
        {"names": list("abcd"), "edges": [[0, 9]] * 9999},
        {"names": ["head"] * 9999},
    ):
        (tmp_path / "a.jsonl").write_bytes(dump(line | nonsense))
        with pytest.raises(FormatUnreadable, match="it is no line of poses") as told:
            load(tmp_path / "a.jsonl")
        assert len(str(told.value)) < 600


def test_people_without_one_of_coco_s_points_are_no_coco_results(tmp_path: Path):
    for people in (0, 1):  # with the first frame, whoever is in it
        with pytest.raises(FormatUnreadable, match="four has none of COCO's 17 points"):
            write(tmp_path / "a.coco.json", moments([people], FOUR))
        with pytest.raises(FormatUnreadable, match="four has none of OpenPose's 25 points"):
            write(tmp_path / "a.openpose", moments([people], FOUR))
    assert not list(tmp_path.iterdir())
