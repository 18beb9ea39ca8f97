from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from fakes import frame, poses_of
from hypothesis import given
from hypothesis import strategies as st

from streampose.clip import Clip, Moment
from streampose.errors import ConfigError
from streampose.pose import Poses, Skeleton
from streampose.redaction import redact, spaced, unspaced
from streampose.result import Result, Timing
from streampose.skeletons import COCO_17, COCO_WHOLEBODY_133, HALPE_26, OPENPOSE_18, OPENPOSE_25, SKELETONS, said_of


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_skeletons_are_sound(skeleton):
    assert len(set(skeleton.points)) == len(skeleton)
    assert all(0 <= a < len(skeleton) and 0 <= b < len(skeleton) and a != b for a, b in skeleton.edges)
    assert [skeleton.flip[i] for i in skeleton.flip] == list(range(len(skeleton)))
    assert skeleton.sigmas is None or len(skeleton.sigmas) == len(skeleton)


def test_the_published_index_ranges():
    assert COCO_WHOLEBODY_133.points[17] == "left_big_toe"
    assert all("face" in p for p in COCO_WHOLEBODY_133.points[23:91])
    assert all(p.startswith("left_hand") for p in COCO_WHOLEBODY_133.points[91:112])
    assert all(p.startswith("right_hand") for p in COCO_WHOLEBODY_133.points[112:])
    # iBUG's mirror pairs: jaw ends, outer eye corners, mouth corners.
    flip = [f - 23 for f in COCO_WHOLEBODY_133.flip[23:91]]
    assert (flip[0], flip[36], flip[48], flip[33], flip[60]) == (16, 45, 54, 33, 64)


@pytest.mark.parametrize("target", [OPENPOSE_18, OPENPOSE_25])
@pytest.mark.parametrize("source", [COCO_17, HALPE_26, COCO_WHOLEBODY_133])
def test_maps_keep_what_both_know(source, target):
    points = np.random.default_rng(0).uniform(0, 100, (2, len(source), 2)).astype(np.float32)
    poses = Poses(
        skeleton=source,
        points=points,
        scores=np.full((2, len(source)), 0.5, np.float32),
        boxes=np.zeros((2, 4), np.float32),
        box_scores=np.ones(2, np.float32),
    )
    mapped = poses.to(target)
    for name in set(source.points) & set(target.points):
        i, j = source.points.index(name), target.points.index(name)
        np.testing.assert_array_equal(mapped.points[:, j], points[:, i])
    neck = target.points.index("neck")
    shoulders = [source.points.index(f"{side}_shoulder") for side in ("left", "right")]
    if "neck" not in source.points:
        np.testing.assert_allclose(mapped.points[:, neck], points[:, shoulders].mean(axis=1))
    unknown = [j for j, rows in enumerate(source.map_to(target)) if not rows]
    assert (mapped.scores[:, unknown] == 0).all()
    assert set(np.delete(mapped.scores, unknown, axis=1).ravel()) == {0.5}


@pytest.mark.parametrize(
    "nonsense",
    [
        {"points": ()},
        {"points": ("a", "a")},
        {"points": ("a",), "edges": ((0, 1),)},
        {"points": ("a", "b"), "edges": ((-1, 0),)},
        {"points": ("a", "b"), "edges": (0, 1)},
        {"points": ("a", "b"), "edges": ((0, 0.5),)},
        {"points": "ab"},
        {"points": (["a"], ["b"])},
        {"points": ("a",), "sigmas": (0.1, 0.1)},
    ],
)
def test_skeletons_that_make_no_sense_are_refused(nonsense):
    with pytest.raises(ConfigError):
        Skeleton(name="q", **{"edges": (), **nonsense})


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": [[[0, 0]] * 17]},
        {"points": np.float32(0)},
        {"points": np.full((1, 17, 2), "a")},
        {"scores": None},
        {"boxes": [[0] * 4]},
        {"ids": [1]},
        {"ids": np.array([1.5])},
        {"skeleton": "coco-17"},
    ],
    ids=str,
)
def test_poses_are_arrays_of_numbers_of_a_skeleton(wrong):
    with pytest.raises(ValueError, match=r"^(points, .*|ids) of poses are |^poses have a Skeleton, .* not 'coco-17'"):
        replace(poses_of(0), **wrong)


def test_nobody_has_a_skeleton_too():
    with pytest.raises(ConfigError, match="not 'coco-17'"):
        Poses.empty("coco-17")  # type: ignore[arg-type]


def test_ids_of_nobody_may_be_what_numpy_makes_of_an_empty_list():
    assert not len(replace(Poses.empty(COCO_17), ids=np.array([])))


def test_a_point_without_a_mirror_image_is_its_own():
    assert Skeleton(name="q", points=("left_a", "nose"), edges=()).flip == (0, 1)


def test_edges_are_kept_as_json_has_numbers():
    for edges in ([[0, 1]], ((np.int64(0), np.int64(1)),)):
        skeleton = Skeleton(name="q", points=("a", "b"), edges=edges)  # type: ignore[arg-type]
        assert skeleton.edges == ((0, 1),)
        assert json.loads(json.dumps(said_of(skeleton)))["edges"] == [[0, 1]]


def test_shapes_that_disagree_are_refused():
    good = poses_of(1, people=2)
    with pytest.raises(ValueError, match="disagree"):
        Poses(
            skeleton=COCO_17,
            points=good.points,
            scores=good.scores[:1],
            boxes=good.boxes,
            box_scores=good.box_scores,
        )


def test_nobody_is_nobody():
    assert len(Poses.empty(COCO_17)) == 0
    assert len(Poses.empty(COCO_17).to(OPENPOSE_25)) == 0
    assert len(poses_of(1, people=3).take(np.array([True, False, True]))) == 2


_word = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=4, max_size=12)


@given(user=_word, password=_word, token=_word)
def test_no_secret_survives(user: str, password: str, token: str):
    secret = f"zz{password}zz"
    text = f"cannot open rtsp://{user}:{secret}@host:554/a?x=1&token={secret}&y=2 (or http://{secret}@h/p?password={secret})"
    clean = redact(text)
    assert secret not in clean
    assert "host:554/a?x=1" in clean
    assert "&y=2" in clean


def test_an_at_sign_in_a_password_is_hidden_too():
    assert redact("rtsp://me:p@ss@host/x") == "rtsp://***@host/x"


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("cam=RTSP://me:p \u3000@s@host/x y", "cam=RTSP://me:p%20%E3%80%80@s@host/x y"),
        ("front door=rtsp://me:p w@host", "front door=rtsp://me:p%20w@host"),
        ("a/b=rtsp://me:p w@host", "a/b=rtsp://me:p%20w@host"),
        ("rtsp:/me:p w@host", "rtsp:/me:p%20w@host"),
        ("rtsp:me:p w@host", "rtsp:me:p%20w@host"),
        ("rtsp//me:p w@host", "rtsp//me:p%20w@host"),
        ("me:p w@10.0.0.5/x y", "me:p%20w@10.0.0.5/x y"),
        ("me:p w@camera:554", "me:p%20w@camera:554"),
        ("http://h/x y?token=p w&n=1", "http://h/x y?token=p%20w&n=1"),
        ("http://h/x?mail=a@b&token=p w", "http://h/x?mail=a@b&token=p%20w"),
        ("srt://h:9?passphrase=p w", "srt://h:9?passphrase=p%20w"),
    ],
)
def test_spaces_are_written_with_percent_in_secrets_of_urls(typed: str, written: str):
    assert unspaced(typed) == written
    assert "p%20w" not in redact(written)


@pytest.mark.parametrize(
    "text",
    [
        "a b@c.mp4",
        "file:///a b@c.mp4",
        "me: you @ http://x",
        "http://host/a b",
        "C://Users/My Videos/a@b.mp4",
        "rtsp/my clip@home.mp4",
        "at 12:30 with me@10.0.0.5.mp4",
    ],
)
def test_spaces_of_other_texts_stay(text: str):
    assert unspaced(text) == text


def test_spaces_are_spaces_again_in_users_and_passwords_of_rtmp_and_srt_alone():
    assert spaced("RTMPS://m%20e:p%E3%80%80w%2F%40%e9@h/a%20b") == "RTMPS://m e:p\u3000w%2F%40%e9@h/a%20b"
    assert spaced("srt://h:9?passphrase=p%20w%26&n=1") == "srt://h:9?passphrase=p w%26&n=1"
    for other in ("rtsp://me:p%20w@h/x", "rtmp://h/a%20b@c", "rtmp://h?k=a%20b@c", "file:a%20b@c"):
        assert spaced(other) == other


def test_people_one_by_one():
    poses = Poses(
        skeleton=COCO_17,
        points=np.arange(2 * 17 * 2, dtype=np.float32).reshape(2, 17, 2),
        scores=np.full((2, 17), 0.5, np.float32),
        boxes=np.array([[0, 1, 2, 3], [4, 5, 6, 7]], np.float32),
        box_scores=np.array([0.25, 0.75], np.float32),
        ids=np.array([7, 9]),
    )
    first, second = poses
    assert (first.id, second.id, second.score, second.box.tolist()) == (7, 9, 0.75, [4, 5, 6, 7])
    assert first["nose"] == (0.0, 1.0, 0.5)
    assert second["right_ankle"] == (66.0, 67.0, 0.5)
    with pytest.raises(KeyError, match="coco-17 has no 'tail'; it has nose, left_eye"):
        first["tail"]
    assert next(iter(replace(poses, ids=None))).id is None
    assert list(Poses.empty(COCO_17)) == []


def test_people_by_their_row():
    poses = replace(poses_of(3, people=2), ids=np.array([7, 9]))
    assert (poses[0].id, poses[-1].id) == (7, 9)
    with pytest.raises(IndexError):
        poses[2]
    with pytest.raises(TypeError):
        poses[np.array([True, False])]


def test_what_is_printed_is_one_line():
    poses = replace(poses_of(3, people=2), ids=np.array([7, 9]))
    assert repr(poses) == "<poses of 2 people, coco-17, ids [7, 9]>"
    assert repr(poses_of(3)) == "<poses of 1 person, coco-17>"
    assert repr(poses[1]).startswith("<person 9 of ")
    timing = Timing(captured_at=1.0, taken_at=1.1, inferred_at=1.2, delivered_at=1.25, batch_size=1)
    result = Result(frame=frame(4), poses=poses, timing=timing, picture=frame(4).image)
    assert repr(result) == f"<result of {frame(4)!r}: {poses!r}, 250 ms, with its picture>"
    assert repr(Clip(())) == "<clip of no moments>"


def test_a_clip_is_a_sequence_of_moments_of_one_skeleton():
    def moment(i: int, poses: Poses) -> Moment:
        return Moment(stream="s", index=i, pts=i, time_base=Fraction(1, 25), size_px=(64, 48), poses=poses)

    both, others = (replace(poses_of(0, people=2), ids=np.array(ids)) for ids in ([7, 2], [2, 9]))
    clip = Clip((moment(0, both), moment(1, poses_of(0)), moment(2, others)))
    assert (clip.ids, clip[1:2].ids, clip.skeleton, Clip(()).skeleton) == ((2, 7, 9), (), COCO_17, None)
    assert (list(clip[1:]), clip[-1]) == ([*clip.moments[1:]], clip.moments[2])
    assert repr(clip) == "<clip of 's': 3 moments, 0.000 to 0.080 s>"
    with pytest.raises(ValueError, match="have one skeleton"):
        Clip((moment(0, both), moment(1, Poses.empty(HALPE_26))))


def test_a_skeleton_s_name_is_no_skeleton():
    with pytest.raises(ConfigError, match="as OPENPOSE_18, not 'openpose-18'"):
        poses_of(3).to("openpose-18")
