"""What the second pass reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streampose.clip import Moment
from streampose.errors import ConfigError
from streampose.motion import Choice
from streampose.offline.refinement import Refinement, Report, refine
from streampose.offline.spool import read_spool
from streampose.pose import Poses
from streampose.skeletons import COCO_17


def moments(rows: Sequence[Sequence[int]]) -> Iterator[Moment]:
    """Ten frames a second, with people of these ids."""
    for i, ids in enumerate(rows):
        n = len(ids)
        poses = Poses(
            skeleton=COCO_17,
            points=np.full((n, 17, 2), 20, np.float32),
            scores=np.ones((n, 17), np.float32),
            boxes=np.array([[10 + 200 * p, 10, 60 + 200 * p, 60] for p in ids], np.float32).reshape(n, 4),
            box_scores=np.ones(n, np.float32),
            ids=np.array(ids, np.int64),
        )
        yield Moment(stream="s", index=i, pts=i, time_base=Fraction(1, 10), size_px=(640, 480), poses=poses)


def reported(rows: Sequence[Sequence[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options) -> Report:
    monkeypatch.setattr("streampose.offline.refinement._tracked", lambda found: found)
    return refine(moments(rows), tmp_path / "a.spool", Refinement(**options), stream="s", skeleton=COCO_17)


def test_of_one_person_both_ends_are_missing_and_a_switch_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [[]] * 5 + [[1]] * 6 + [[2]] * 4 + [[]] * 3 + [[2]] * 2 + [[]] * 5
    report = reported(rows, tmp_path, monkeypatch, person=Choice(by="largest"))
    assert [(b, c) for _, b, c in report.switches] == [(1, 2)]
    assert report.missing == ((1, 0.0, 0.5), (2, 1.4, 1.8), (2, 1.9, 2.4))


def test_who_stands_in_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [[3]] * 3 + [[1]] * 9 + [[2]] * 3
    report = reported(rows, tmp_path, monkeypatch, person=Choice(by="largest"))
    assert [span.id for span in report.spans] == [3, 1, 2]
    assert report.missing == ()


def test_who_stands_in_before_and_after_is_not_put_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [[2]] * 2 + [[2, 1]] + [[1]] * 7 + [[2, 1]] + [[2]] * 2
    report = reported(rows, tmp_path, monkeypatch, person=Choice(by="largest"), fill_s=2.0)
    assert [span.id for span in report.spans] == [2, 1, 2]
    assert (report.filled, report.missing) == (0, ())
    made = read_spool(tmp_path / "a.spool", "s", COCO_17)
    assert [m.poses.ids.tolist() for m in made if m.poses.ids is not None] == [[2]] * 2 + [[1]] * 9 + [[2]] * 2


def test_nobody_stands_in_between_two_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streampose.offline.refinement._tracked", lambda found: found)
    clip = list(moments([[3, 1]] * 4 + [[3, 2]] * 4 + [[3]] * 2))
    for moment in clip:
        moment.poses.boxes[0, 2:] -= 40  # number 3 is small
    options = Refinement(person=Choice(by="largest"))
    report = refine(clip, tmp_path / "a.spool", options, stream="s", skeleton=COCO_17)
    assert [(old, new) for _, old, new in report.switches] == [(1, 2), (2, 3)]


def test_of_everybody_only_breaks_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [[]] + [[1]] * 3 + [[]] * 3 + [[1]] * 3 + [[]]
    report = reported(rows, tmp_path, monkeypatch, sigma_s=0.1)
    assert report.missing == ((1, 0.3, 0.7),)


@pytest.mark.parametrize("start_s", [0, 60])
def test_a_click_is_counted_from_the_recording_s_beginning(
    start_s: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As players show it, also where a file's times begin late."""
    monkeypatch.setattr("streampose.offline.refinement._tracked", lambda found: found)
    clip = [replace(m, pts=m.pts + 10 * (36000 + start_s)) for m in moments([[1]] * 10 + [[2]] * 10)]
    for at_s in (0.5, 1.5):
        chosen = Refinement(person=Choice(by="box", box=(0, 0, 640, 480), at_s=start_s + at_s))
        out = tmp_path / "a.spool"
        report = refine(clip, out, chosen, stream="s", skeleton=COCO_17, start_s=start_s)
        assert [span.id for span in report.spans] == [1 + (at_s > 1)]
    before = Refinement(person=Choice(by="box", box=(0, 0, 640, 480), at_s=start_s - 2))
    with pytest.raises(ConfigError, match=f"the first frame is at {start_s} s"):
        refine(clip, tmp_path / "b.spool", before, stream="s", skeleton=COCO_17, start_s=start_s)


def test_a_picture_of_another_size_is_a_shot_of_its_own(tmp_path: Path):
    """Who stands in the same place before and after it is somebody else, and nobody is put into it or moved by it."""
    clip = list(moments([[0]] * 4 + [[]] + [[0]] * 4))
    clip[4] = replace(clip[4], size_px=(320, 240))
    options = Refinement(link_s=2, fill_s=0.5, sigma_s=0.1)
    report = refine(clip, tmp_path / "a.spool", options, stream="s", skeleton=COCO_17)
    made = list(read_spool(tmp_path / "a.spool", "s", COCO_17))
    assert [m.poses.ids.tolist() for m in made if m.poses.ids is not None] == [[1]] * 4 + [[]] + [[2]] * 4
    assert [m.epoch for m in made] == [0] * 4 + [1] + [2] * 4
    assert (report.filled, report.missing) == (0, ())


@pytest.mark.parametrize("step_s", [Fraction(1, 30), Fraction(3, 2), Fraction(20)])
def test_people_keep_their_ids_however_far_apart_frames_are(tmp_path: Path, step_s: Fraction):
    """Also over a frame in which they were not found."""
    rows = [[1, 2]] * 4 + [[1]] + [[1, 2]] * 4
    apart = (replace(moment, time_base=step_s) for moment in moments(rows))
    refine(apart, tmp_path / "a.spool", Refinement(), stream="s", skeleton=COCO_17)
    found = [m.poses.ids for m in read_spool(tmp_path / "a.spool", "s", COCO_17)]
    assert [ids.tolist() for ids in found if ids is not None] == rows
