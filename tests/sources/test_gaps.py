"""RTP packets that are lost are counted, and what only looks like it is not."""

from __future__ import annotations

import itertools
import random
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streampose.sources.rtsp.gaps import Gaps


def packet(sequence: int, *, sender: int = 7, kind: int = 96) -> bytes:
    return struct.pack("!BBHII", 0x80, kind, sequence & 0xFFFF, 0, sender) + b"picture"


def lost(*packets: bytes) -> int:
    gaps = Gaps()
    for one in packets:
        gaps.push(one)
    gaps.close()
    return gaps.lost


@settings(max_examples=30)
@given(
    first=st.integers(0, 65535),
    lacks=st.sets(st.integers(1, 398), max_size=200),
    overtaken=st.integers(1, 90),
    seed=st.integers(0, 2**32),
)
def test_those_that_never_come_are_counted_whatever_the_order(first: int, lacks: set[int], overtaken: int, seed: int):
    dice = random.Random(seed)
    come = [0, *sorted(set(range(1, 400)) - lacks, key=lambda i: i + dice.uniform(0, overtaken))]
    come += dice.choices(come[-50:], k=20)  # some twice
    assert lost(*(packet(first + i) for i in come if i < 399), packet(first + 399)) == len(lacks)


def test_what_is_gone_is_told_before_the_end_and_what_is_late_is_not():
    gaps = Gaps()
    for i in [0, 2, *range(4, 90), 1, *range(90, 200)]:
        gaps.push(packet(i))
    assert gaps.lost == 1  # 3; 1 was only late


@pytest.mark.parametrize("again", [0, 20_000, 40_000, 65_535])
def test_a_sender_that_begins_anew_has_lost_nothing(again: int):
    before = [packet(10_000 + i) for i in range(50)]
    assert lost(*before, *(packet(again + i) for i in range(50))) == 0
    assert lost(*before, *(packet(again + i, sender=8) for i in range(50))) == 0
    assert lost(*before, packet(again), packet(10_050)) == 0  # a stray one


def test_what_is_no_packet_of_the_stream_counts_for_nothing():
    strange = [b"", b"\x80", packet(500, kind=72), b"\x00" + packet(600)[1:]]
    assert lost(packet(1), *strange, packet(2, kind=97), packet(3)) == 0
    assert lost(*(packet(i // 2, sender=7 + i % 2) for i in range(10, 32)), packet(17)) == 1


def test_a_server_is_told():
    gaps = Gaps()
    for i in itertools.chain(range(65_500, 65_600), range(65_625, 65_800)):
        gaps.push(packet(i))
    share, highest = struct.unpack("!II", gaps.report())
    assert (share >> 24, share & 0xFFFFFF, highest) == (256 * 25 // 300, 25, 65_799)
    gaps.push(packet(65_800))
    assert struct.unpack("!II", gaps.report()) == (25, 65_800)


def test_of_each_sender_a_server_is_told_alone():
    gaps = Gaps()
    for i, sender in [(1, 7), (41, 7), (5, 8), (6, 8), (8, 8), *((i, 8) for i in range(9, 115))]:
        gaps.push(packet(i, sender=sender))
    assert gaps.lost == 39 + 1
    assert struct.unpack("!II", gaps.report()) == (256 // 110 << 24 | 1, 114)


def test_late_and_twice_is_not_anew():
    gaps = Gaps()
    for i in (1, 3, 6, 5, 6, 4, 2, 7):
        gaps.push(packet(i))
    assert gaps.lost == 0
    gaps.close()
    assert gaps.lost == 0


def test_a_hole_before_each_packet_costs_no_time():
    gaps, began = Gaps(), time.thread_time()
    for i in range(1000):
        gaps.push(packet(2999 * i))
    assert gaps.lost == 999 * 2998 - 99
    assert time.thread_time() - began < 0.5
