"""Who is shown where several are there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from motion.clips import moment, person, walk

from streampose.errors import ConfigError
from streampose.motion import Choice, Span, only, parse_choice, pick, survey


def shown(clip, choice: Choice) -> list[list[int]]:
    return [m.poses.ids.tolist() for m in only(clip, pick(survey(clip), choice))]


def test_the_one_in_the_centre_is_who_is_there_for_long():
    """And not who passes the very middle once."""
    clip = [
        moment(ms, {1: person(380, 240)} | ({2: person(320, 240)} if ms == 100 else {})) for ms in range(0, 1000, 100)
    ]
    assert shown(clip, Choice(by="centre")) == [[1]] * 10


def test_nobody_is_shown_before_their_span():
    clip = walk([0, 100, 200])
    assert [len(m.poses) for m in only(clip, [Span(id=1, first_s=0.1, last_s=0.15)])] == [0, 1, 0]


def test_who_is_away_where_a_better_one_comes_leaves_that_while_to_the_next():
    clip = []
    for ms in range(0, 3000, 100):
        there = {3: person(500, size=100)}
        if 1000 <= ms < 2000:
            there[1] = person(100, size=700)
        if ms <= 500 or ms >= 1500:
            there[2] = person(320, size=300)
        clip.append(moment(ms, there))
    assert shown(clip, Choice(by="largest")) == [[2]] * 6 + [[3]] * 4 + [[1]] * 10 + [[2]] * 10


def test_a_click_takes_whose_box_fits_it_best():
    """A box around all of them has as much in common with it."""
    clip = [moment(0, {1: person(300, 240, size=400), 2: person(300, 240, size=60)})]
    assert [span.id for span in pick(survey(clip), parse_choice("box:280,210,320,270"), clip)] == [2]


def test_a_click_on_nobody_does_not_take_who_comes_later():
    clip = [moment(0, {1: person(100)}), moment(1000, {1: person(100), 2: person(500)})]
    with pytest.raises(ConfigError, match="nobody is in the box"):
        pick(survey(clip), parse_choice("box:480,60,520,140@0"), clip)


def test_a_click_on_people_without_ids_is_on_nobody():
    clip = [m.having(replace(m.poses, ids=None)) for m in walk([0, 100])]
    with pytest.raises(ConfigError, match="nobody is in the box"):
        pick(survey(clip), parse_choice("box:0,0,640,480"), clip)
