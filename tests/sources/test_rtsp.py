"""Our own client of RTSP: pictures that are there when their last packet is, and servers that do wrong."""

from __future__ import annotations

import base64
import gc
import hashlib
import itertools
import re
import socket
import struct
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from av.packet import Packet
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.rtsp import RtspServer, has_gstreamer

from streampose.errors import (
    Disconnected,
    SourceEnded,
    SourceError,
    SourceStalled,
    SourceTimeout,
    SourceUnauthorized,
)
from streampose.sources import Backoff, NetworkSource, Reconnecting
from streampose.sources.rtsp import RtspContainer
from streampose.sources.rtsp.connection import Answer, Connection
from streampose.sources.rtsp.credentials import Credentials
from streampose.sources.rtsp.description import first_video
from streampose.sources.rtsp.gaps import Gaps
from streampose.sources.rtsp.reports import SenderClock
from streampose.sources.rtsp.units import AccessUnit, AccessUnits

rtsp = pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")

PICTURE, KEY, SPS, PPS, SEI = 1, 5, 7, 8, 6


# What a sender does, written from the RFCs.


def rtp(payload: bytes, *, sequence: int, time: int, marker: bool = False, sender: int = 7, kind: int = 96) -> bytes:
    return struct.pack("!BBHII", 0x80, marker << 7 | kind, sequence & 0xFFFF, time & 0xFFFFFFFF, sender) + payload


def nal(kind: int, size: int = 20, *, hevc: bool = False) -> bytes:
    header = bytes([kind << 1, 1]) if hevc else bytes([0x60 | kind])
    return header + bytes(1 + i % 255 for i in range(size))


def payloads(unit: bytes, mtu: int, *, hevc: bool = False) -> list[bytes]:
    """A NAL unit as one payload, or as FU-A or FU parts."""
    if len(unit) <= mtu:
        return [unit]
    size = 2 if hevc else 1
    header, body = unit[:size], unit[size:]
    parts = [body[i : i + mtu] for i in range(0, len(body), mtu)]
    made = []
    for i, part in enumerate(parts):
        edge = (i == 0) << 7 | (i == len(parts) - 1) << 6
        if hevc:
            fragment = bytes([header[0] & 0x81 | 49 << 1, header[1], edge | header[0] >> 1 & 0x3F])
        else:
            fragment = bytes([header[0] & 0xE0 | 28, edge | header[0] & 0x1F])
        made.append(fragment + part)
    return made


def together(units: list[bytes], *, hevc: bool = False) -> bytes:
    """STAP-A, or AP."""
    header = bytes([48 << 1, 1]) if hevc else b"\x78"
    return header + b"".join(struct.pack("!H", len(unit)) + unit for unit in units)


def packets(pictures: list[list[bytes]], *, mtu: int = 50, hevc: bool = False, step: int = 3000) -> list[bytes]:
    """Pictures of NAL units as RTP, the marker bit on the last packet of each."""
    made: list[bytes] = []
    for i, picture in enumerate(pictures):
        parts = [part for unit in picture for part in payloads(unit, mtu, hevc=hevc)]
        for j, part in enumerate(parts):
            made.append(rtp(part, sequence=len(made), time=i * step, marker=j == len(parts) - 1))
    return made


def annexb(picture: list[bytes]) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in picture)


def run(units: AccessUnits, sent: list[bytes]) -> list[list[AccessUnit]]:
    """What each packet gave."""
    return [list(units.push(packet)) for packet in sent]


@pytest.mark.parametrize("hevc", [False, True])
@given(
    sizes=st.lists(st.lists(st.integers(2, 300), min_size=1, max_size=4), min_size=3, max_size=6),
    mtu=st.integers(20, 100),
)
def test_pictures_come_whole_with_their_last_packet(hevc: bool, sizes: list[list[int]], mtu: int):
    pictures = [[nal(PICTURE, size, hevc=hevc) for size in row] for row in sizes]
    sent = packets(pictures, mtu=mtu, hevc=hevc)
    given_ = run(AccessUnits("hevc" if hevc else "h264", 96), sent)
    assert [unit.data for units in given_ for unit in units] == [annexb(picture) for picture in pictures]
    # From the second picture on: of the first one it is not known yet that the marker tells its end.
    for packet, units in list(zip(sent, given_, strict=True))[
        len(sent) - len(packets(pictures[-1:], mtu=mtu, hevc=hevc)) :
    ]:
        assert bool(units) == bool(packet[1] & 0x80)


def test_times_go_on_where_32_bits_end_and_keys_are_known():
    pictures = [[nal(SPS), nal(PPS), nal(SEI), nal(KEY, 200)], [nal(PICTURE)], [nal(PICTURE)]]
    units, begin, sent = AccessUnits("h264", 96), 2**32 - 3000, []
    for i, picture in enumerate(pictures):
        sent += [
            rtp(together(picture), sequence=65535 + i, time=begin + 3000 * i, marker=True),
            rtp(nal(PICTURE), sequence=9, time=5, kind=97),  # another track's
        ]
    given_ = [unit for units in run(units, sent) for unit in units]
    assert [unit.data for unit in given_] == [annexb(picture) for picture in pictures]
    assert [unit.rtp_time - begin for unit in given_] == [0, 3000, 6000]
    assert [unit.is_keyframe for unit in given_] == [True, False, False]


@pytest.mark.parametrize("marks", ["every packet", "none", "the first of two"])
def test_of_a_sender_whose_markers_lie_pictures_end_where_the_next_begin(marks: str):
    pictures = [[nal(PICTURE, 10 + i), nal(PICTURE, 30)] for i in range(8)]
    sent = []
    for i, picture in enumerate(pictures):
        for j, unit in enumerate(picture):
            marker = {"every packet": True, "none": False, "the first of two": j == 0}[marks]
            sent.append(rtp(unit, sequence=len(sent), time=3000 * i, marker=marker))
    given_ = [unit.data for units in run(AccessUnits("h264", 96), sent) for unit in units]
    assert given_ == [annexb(picture) for picture in pictures[:-1]]


def test_a_sender_that_begins_to_lie_costs_one_picture():
    pictures = [[nal(PICTURE, 10 + i)] for i in range(3)] + [[nal(PICTURE, 40 + i), nal(PICTURE)] for i in range(5)]
    sent = []
    for i, picture in enumerate(pictures):
        sent += [rtp(unit, sequence=len(sent) + j, time=3000 * i, marker=True) for j, unit in enumerate(picture)]
    given_ = [unit.data for units in run(AccessUnits("h264", 96), sent) for unit in units]
    assert given_ == [annexb(p) for p in pictures[:3]] + [annexb([u]) for u in pictures[3]] + [
        annexb(p) for p in pictures[4:-1]
    ]


@pytest.mark.parametrize("hevc", [False, True])
def test_so_does_one_that_marks_every_packet_and_begins_to_send_larger_pictures(hevc: bool):
    pictures = [[nal(PICTURE, 30 + i, hevc=hevc)] for i in range(3)] + [[nal(PICTURE, 300, hevc=hevc)]] * 4
    sent = [packet[:1] + bytes([packet[1] | 0x80]) + packet[2:] for packet in packets(pictures, hevc=hevc)]
    given_ = [unit.data for units in run(AccessUnits("hevc" if hevc else "h264", 96), sent) for unit in units]
    assert given_[:3] == [annexb(picture) for picture in pictures[:3]]
    assert given_[4:] == [annexb(picture) for picture in pictures[4:-1]]


def test_marks_before_the_first_slice_say_nothing():
    """Cameras send a unit of their own words before each picture, and mark it as if it were one."""
    pictures = [[nal(SEI, 10), nal(PICTURE, 30 + i)] for i in range(5)]
    sent = []
    for i, picture in enumerate(pictures):
        sent += [rtp(unit, sequence=2 * i + j, time=3000 * i, marker=True) for j, unit in enumerate(picture)]
    given_ = run(AccessUnits("h264", 96), sent)
    assert [unit.data for units in given_ for unit in units] == [annexb(picture) for picture in pictures]
    assert [i for i, units in enumerate(given_) if units][1:] == [3, 5, 7, 9]  # with their own last packets


def first(size: int, *, hevc: bool) -> bytes:
    """The first slice of a picture, as its first bit behind the header says."""
    unit = bytearray(nal(PICTURE, size, hevc=hevc))
    unit[2 if hevc else 1] = 0xFF
    return bytes(unit)


@pytest.mark.parametrize("hevc", [False, True])
def test_two_pictures_of_one_time_are_two(hevc: bool):
    """A server that was held up has sent a picture twice; its marks are as good as before."""
    pictures = [[first(30 + i, hevc=hevc), nal(PICTURE, 120, hevc=hevc)] for i in range(6)]
    sent = packets([*pictures[:3], pictures[2], *pictures[3:]], hevc=hevc)
    a_picture = len(sent) // 7
    for i, packet in enumerate(sent):
        if i >= 3 * a_picture:  # the times are one behind
            sent[i] = packet[:4] + struct.pack("!I", 3000 * (i // a_picture - 1)) + packet[8:]
    given_ = run(AccessUnits("hevc" if hevc else "h264", 96), sent)
    assert [unit.data for units in given_ for unit in units] == [
        annexb(picture) for picture in [*pictures[:3], pictures[2], *pictures[3:]]
    ]
    assert [i for i, units in enumerate(given_) if units][1:] == [a_picture * i - 1 for i in range(2, 8)]


def test_a_lost_part_takes_its_unit_alone():
    pictures = [[nal(PICTURE, 30)], [nal(PICTURE, 300), nal(PICTURE, 30)], [nal(PICTURE, 20)]]
    sent = packets(pictures)
    lost = run(AccessUnits("h264", 96), sent[:3] + sent[4:])
    given_ = [unit.data for units in lost for unit in units]
    assert given_[0] == annexb(pictures[0])
    assert given_[1].endswith(annexb([pictures[1][1]]))
    assert len(given_[1]) < len(annexb(pictures[1]))
    assert given_[2] == annexb(pictures[2])


@settings(max_examples=300)
@given(
    codec=st.sampled_from(["h264", "hevc"]),
    sent=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                lambda payload, sequence, time, marker: rtp(payload, sequence=sequence, time=time, marker=marker),
                st.binary(max_size=30),
                st.integers(0, 4),
                st.integers(0, 2),
                st.booleans(),
            ),
            st.builds(lambda tail: b"\xbf\xe0" + tail, st.binary(max_size=40)),  # extension, padding, senders
        ),
        max_size=30,
    ),
)
def test_nothing_that_comes_is_too_strange(codec: str, sent: list[bytes]):
    units = AccessUnits(codec, 96)
    for packet in sent:
        for unit in units.push(packet):
            assert unit.data.startswith(b"\0\0\0\1")
    clock = SenderClock(90_000)
    for packet in sent:
        clock.push(packet)


# What a server says.

SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=camera
a=control:*
m=video 0 RTP/AVP 96
a=rtpmap:96 {codec}/90000
a=fmtp:96 packetization-mode=1; sprop-parameter-sets={sets};profile-level-id=42C01E
a=framerate:{rate}
a=control:trackID=1
"""
SOUND = "m=audio 0 RTP/AVP 96\na=rtpmap:96 PCMA/8000\na=control:trackID=0\n"
WORDS = "m=application 0 RTP/AVP 98\na=rtpmap:98 vnd.onvif.metadata/90000\na=control:trackID=2\n"


def sdp(codec: str = "H264", sets: str = "Z0LAHtoCgPaEAAADAAQAAAMA8jxYuoA=,aM4PyA==", rate: str = "12.5") -> str:
    return SDP.format(codec=codec, sets=sets, rate=rate)


def test_the_first_video_of_a_description():
    twice = "m=video 0 RTP/AVPF 96\na=control:trackID=1\n"
    text = sdp().replace("m=video", f"{SOUND}m=video") + twice + WORDS + WORDS + "m=audio 0 RTP/AVP 0\n"
    address, track = first_video(text.replace("\n", "\r\n"))
    assert track is not None
    assert track.beside == ("trackID=0", "trackID=2")
    assert (address, track.control, track.codec, track.payload_type) == ("*", "trackID=1", "h264", 96)
    assert (track.clock_hz, track.rate) == (90_000, Fraction(25, 2))
    first, second = (base64.b64decode(word) for word in ("Z0LAHtoCgPaEAAADAAQAAAMA8jxYuoA=", "aM4PyA=="))
    assert track.parameter_sets == annexb([first, second])


@pytest.mark.parametrize(
    "text",
    [
        sdp(codec="JPEG"),
        sdp().replace("RTP/AVP 96", "RTP/SAVP 96"),
        sdp().replace("packetization-mode=1", "packetization-mode=2"),
        sdp().replace("m=video", "m=application"),
        sdp().replace("96", "ninety-six"),
        sdp().replace("/90000", "/fast"),
        sdp().replace("/90000", "/1"),
        "",
        "m=video",
    ],
)
def test_what_is_not_understood_is_left_to_another(text: str):
    assert first_video(text)[1] is None


@pytest.mark.parametrize("rate", ["0", "-1", "1/0", "many", "1e9", "1e999999999", "nan", "inf", "12345"])
def test_a_rate_that_cannot_be_is_none(rate: str):
    track = first_video(sdp(rate=rate, sets="!!,,=="))[1]
    assert track is not None
    assert track.rate is None


@given(st.text(max_size=300))
def test_no_description_is_too_strange(text: str):
    first_video("m=video 0 RTP/AVP 96\n" + text)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        # RFC 7616, 3.9.1, but for `nc` and `cnonce`, which are drawn: both are put into what a server reckons.
        ("MD5", "md5"),
        ("SHA-256", "sha256"),
    ],
)
def test_a_digest_is_what_the_server_reckons(algorithm: str, response: str):
    me, url = Credentials.of("rtsp://Mufasa:Circle%20of%20Life@camera/dir"), "rtsp://camera/dir"
    assert me == Credentials("Mufasa", "Circle of Life")
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    challenge = f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="{nonce}", '
    answer = me.answer(['Basic realm="x"', challenge + 'opaque="FQhe/qaU"'], "DESCRIBE", url)
    assert answer is not None
    said = dict(re.findall(r'(\w+)="?([^",]+)"?', answer))

    def hashed(text: str) -> str:
        return hashlib.new(response, text.encode()).hexdigest()

    mine, theirs = hashed("Mufasa:http-auth@example.org:Circle of Life"), hashed(f"DESCRIBE:{url}")
    assert said["response"] == hashed(f"{mine}:{nonce}:{said['nc']}:{said['cnonce']}:auth:{theirs}")
    assert (said["opaque"], said["uri"]) == ("FQhe/qaU", url)


def test_a_user_s_name_in_a_digest_is_nothing_else():
    """It is reckoned with as it is, and written as RFC 7616 has it: as a quoted string."""
    me = Credentials.of("rtsp://a%22,%20uri=%22x%5C:pass@h/")
    assert me is not None
    answer = me.answer(['Digest realm="r", nonce="n"'], "PLAY", "rtsp://h/")
    assert answer is not None
    assert answer.startswith(r'Digest username="a\", uri=\"x\\", realm="r", nonce="n", uri="rtsp://h/", ')
    mine, theirs = (hashlib.md5(text.encode()).hexdigest() for text in ('a", uri="x\\:r:pass', "PLAY:rtsp://h/"))
    assert f'response="{hashlib.md5(f"{mine}:n:{theirs}".encode()).hexdigest()}"' in answer


def test_the_old_digest_basic_and_what_nobody_knows():
    me = Credentials("user", "pass")
    answer = me.answer(['Digest realm="r", nonce="n"'], "PLAY", "rtsp://h/")
    mine, theirs = (hashlib.md5(text.encode()).hexdigest() for text in ("user:r:pass", "PLAY:rtsp://h/"))
    assert answer is not None
    assert f'response="{hashlib.md5(f"{mine}:n:{theirs}".encode()).hexdigest()}"' in answer
    assert me.answer(["basic"], "PLAY", "rtsp://h/") == "Basic " + base64.b64encode(b"user:pass").decode()
    assert me.answer(["Negotiate", 'Digest algorithm=MD5-sess, nonce="n"'], "PLAY", "rtsp://h/") is None


def test_the_camera_s_clock_by_its_reports():
    clock = SenderClock(90_000)
    assert clock.wall_time_s(0) is None
    report = struct.pack("!BBHIIIIII", 0x80, 200, 6, 7, 2_208_988_800 + 1000, 1 << 31, 2**32 - 45_000, 0, 0)
    assert clock.push(report)
    assert clock.wall_time_s(2**32 - 45_000) == 1000.5
    assert clock.wall_time_s(45_000) == 1001.5
    assert clock.wall_time_s(2**32 - 90_000) == 1000.0
    assert not clock.said_bye
    assert not clock.push(struct.pack("!BBHI", 0x81, 203, 1, 7))
    assert clock.said_bye
    answer = clock.answer(1, 7, Gaps().report())
    kinds, at = [], 0
    while at < len(answer):  # whole packets one after the other
        kinds.append(answer[at + 1])
        at += 4 * (int.from_bytes(answer[at + 2 : at + 4], "big") + 1)
    assert (kinds, at) == ([201, 202], len(answer))


# Servers.


@pytest.fixture(scope="module")
def coded() -> list[bytes]:
    """Ten pictures of H.264, each with all of its NAL units; the first is a key frame with parameter sets."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuv420p", Fraction(1, 30)
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast"}
    made = []
    for i in range(10):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * i, np.uint8), format="bgr24")
        frame.pts = i
        made += [bytes(packet) for packet in encoder.encode(frame.reformat(format="yuv420p"))]
    return made


def units_of(picture: bytes) -> list[bytes]:
    return [unit for unit in re.split(b"\0\0\0?\1", picture) if unit]


Talk = Callable[[socket.socket], None]


@contextmanager
def serving(talk: Talk) -> Iterator[str]:
    """A server of one connection after the other; gives its URL."""
    listening, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                if over.is_set():
                    return
                connection.settimeout(10)
                with suppress(OSError):
                    talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"rtsp://127.0.0.1:{listening.getsockname()[1]}/live"
    finally:
        over.set()
        socket.create_connection(listening.getsockname()).close()  # macOS shuts no socket down that listens
        thread.join(15)
        listening.close()
        assert not thread.is_alive(), "".join(traceback.format_stack(sys._current_frames()[thread.ident or 0]))


def request(connection: socket.socket) -> tuple[str, str]:
    """The next request and its number."""
    text = said(connection)
    number = re.search(r"CSeq: (\d+)", text)
    assert number is not None
    return text.split(" ", 1)[0], number[1]


def said(connection: socket.socket) -> str:
    """The whole of the next request; what is interleaved is passed over."""
    text = b""
    while not text.endswith(b"\r\n\r\n"):
        if not (byte := connection.recv(1)):
            raise ConnectionResetError
        if not text and byte == b"$":
            _, size = struct.unpack("!BH", connection.recv(3, socket.MSG_WAITALL))
            connection.recv(size, socket.MSG_WAITALL)
            continue
        text += byte
    return text.decode()


def answer(connection: socket.socket, number: str, *lines: str, body: str = "", status: str = "200 OK") -> None:
    head = [f"RTSP/1.0 {status}", f"CSeq: {number}", *lines, f"Content-Length: {len(body)}"]
    connection.sendall(("\r\n".join(head) + "\r\n\r\n" + body).encode())


def begin(connection: socket.socket, body: str | None = None) -> None:
    """Everything up to PLAY, as a camera says it."""
    for _ in range(4):
        method, number = request(connection)
        if method == "OPTIONS":
            answer(connection, number, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif method == "DESCRIBE":
            answer(connection, number, body=body or sdp())
        else:
            answer(connection, number, "Session: 12;timeout=60", "Transport: RTP/AVP/TCP;interleaved=2-3")


def send(connection: socket.socket, picture: bytes, i: int, **options: bool) -> None:
    """One picture, interleaved; all of its units in packets of their own."""
    units = units_of(picture)
    for j, unit in enumerate(units):
        packet = rtp(unit, sequence=100 * i + j, time=3000 * i, marker=j == len(units) - 1)
        connection.sendall(b"$\x02" + struct.pack("!H", len(packet)) + packet)


def camera(url: str, **options: float) -> NetworkSource:
    return NetworkSource(url, **{"open_timeout_s": 5.0, "stall_s": 1.0, **options})


def test_a_picture_is_there_before_the_next_one_begins(coded: list[bytes]):
    """FFmpeg's client would wait for it."""
    go_on = threading.Event()

    def talk(connection: socket.socket) -> None:
        begin(connection)
        for i in range(3):
            send(connection, coded[i], i)
        go_on.wait(10)

    with serving(talk) as url:
        source = camera(url)
        info = source.open("cam")
        try:
            assert (info.width_px, info.height_px, info.codec, info.rate) == (64, 48, "h264", Fraction(25, 2))
            frames = [source.read() for _ in range(3)]
        finally:
            go_on.set()
            source.close()
    assert [frame.pts for frame in frames] == [0, 40_000, 80_000]  # of 1 200 000 a second
    assert frames[2].image.mean() == pytest.approx(40, abs=3)


def with_b_frames(count: int, *, rate: int, group: int = 250) -> list[Packet]:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuv420p", Fraction(1, rate)
    encoder.max_b_frames, encoder.gop_size = 3, group
    encoder.options = {"preset": "ultrafast", "x264-params": "b-adapt=0:scenecut=0"}
    made = []
    for i in range(count):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 240 * i // count, np.uint8), format="bgr24")
        frame.pts = i
        made += encoder.encode(frame.reformat(format="yuv420p"))
    made += encoder.encode(None)
    assert [packet.pts for packet in made] != sorted(packet.pts for packet in made)
    return made


def sends(made: list[Packet], *, rate: int, sent_at: dict[int, float] | None = None) -> Talk:
    """In their own time; notes when each picture went."""

    def talk(connection: socket.socket) -> None:
        begin(connection)
        began, sequence = time.monotonic(), 0
        for i, packet in enumerate(made):
            time.sleep(max(0.0, began + i / rate - time.monotonic()))
            if sent_at is not None:
                sent_at[packet.pts] = time.monotonic()
            units = units_of(bytes(packet))
            for j, unit in enumerate(units):
                one = rtp(unit, sequence=sequence, time=90_000 // rate * packet.pts, marker=j == len(units) - 1)
                connection.sendall(b"$\x02" + struct.pack("!H", len(one)) + one)
                sequence += 1

    return talk


def test_pictures_that_wait_for_others_in_the_decoder_are_not_late(caplog: pytest.LogCaptureFixture):
    """B-frames at 4 fps: a picture's own packet comes up to 0.75 s before the decoder may give it out."""
    with serving(sends(with_b_frames(10, rate=4), rate=4)) as url:
        source, frames, ages_s = camera(url), [], []
        source.open("cam")
        while len(frames) < 8:
            frames.append(source.read())
            ages_s.append(time.monotonic() - frames[-1].captured_at)
        source.close()
    assert [frame.index for frame in frames] == list(range(8))
    assert source.stale_frames == 0
    assert all(a.captured_at <= b.captured_at for a, b in pairwise(frames))
    assert sorted(ages_s)[4] < 0.2
    assert [record.event for record in caplog.records] == ["b-frames"]


def test_what_the_decoder_held_when_it_was_held_up_is_as_old_as_it_is():
    """Packets behind it are given up then, and the key frame that it comes out with has come much later."""
    sent_at: dict[int, float] = {}
    with serving(sends(with_b_frames(60, rate=20, group=6), rate=20, sent_at=sent_at)) as url:
        source, frames = camera(url), []
        source.open("cam")
        while len(frames) < 12:
            if len(frames) == 4:
                time.sleep(1.0)
            frames.append(source.read())
        source.close()
    assert all(a.captured_at <= b.captured_at for a, b in pairwise(frames))
    pictures = [round((frame.time_s - frames[0].time_s) * 20) for frame in frames]
    assert pictures[:4] == [0, 1, 2, 3]
    assert pictures[-1] > 20, "packets were given up"
    assert max(frame.captured_at - sent_at[i] for frame, i in zip(frames, pictures, strict=True)) < 0.6


def test_requests_of_the_server_and_answers_come_between_packets(coded: list[bytes]):
    asked: list[str] = []

    def talk(connection: socket.socket) -> None:
        for _ in range(4):
            method, number = request(connection)
            if method == "PLAY":  # pictures before the answer to it
                send(connection, coded[0], 0)
            more = ("Session: 12;timeout=2", "Transport: RTP/AVP/TCP;interleaved=2-3", "public: get_parameter")
            answer(connection, number, *more, body=sdp() if method == "DESCRIBE" else "")
        connection.sendall(b"OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 7\r\n\r\n")
        send(connection, coded[1], 1)
        send(connection, coded[2], 2)
        reply = b""
        while not reply.endswith(b"CSeq: 7\r\n\r\n"):
            reply += connection.recv(1)
        threading.Event().wait(1.1)  # half of its session's life
        send(connection, coded[3], 3)
        send(connection, coded[4], 4)
        method, number = request(connection)
        asked.append(method)
        answer(connection, number)
        send(connection, coded[5], 5)
        asked.append(request(connection)[0])

    with serving(talk) as url:
        source = camera(url, stall_s=3.0)
        source.open("cam")
        frames = [source.read() for _ in range(6)]
        source.close()
    assert [round(frame.image.mean() / 20) for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert asked == ["GET_PARAMETER", "TEARDOWN"]


def test_all_that_a_server_offers_is_asked_for_and_what_is_no_video_passed_over(coded: list[bytes]):
    """GStreamer's has an error where a track is left out, and sends every other client away."""
    asked: list[str] = []
    wishes: list[str] = []

    def talk(connection: socket.socket) -> None:
        for _ in range(6):
            text = said(connection)
            method, number = text.split(" ", 1)[0], re.findall(r"CSeq: (\d+)", text)[0]
            asked.append(method)
            wishes.extend(re.findall(r"interleaved=(\S+)", text))
            tracks = asked.count("SETUP")
            if method == "DESCRIBE":
                answer(connection, number, body=sdp().replace("m=video", f"{SOUND}m=video") + WORDS)
            elif tracks == 3 and method == "SETUP":
                answer(connection, number, status="451 Parameter Not Understood")
            else:
                channels = f"interleaved={2 * tracks}-{2 * tracks + 1}"
                answer(connection, number, "Session: 12", f"Transport: RTP/AVP/TCP;{channels}")
        bye = struct.pack("!BBHI", 0x81, 203, 1, 7)
        for i in range(4):
            send(connection, coded[i], i)
            sound = rtp(nal(PICTURE), sequence=i, time=i, marker=True)
            connection.sendall(b"$\x04" + struct.pack("!H", len(sound)) + sound + b"$\x05\x00\x08" + bye)

    with serving(talk) as url:
        source = camera(url)
        source.open("cam")
        frames = [source.read() for _ in range(4)]
        source.close()
    assert asked == ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "SETUP", "PLAY"]
    assert wishes == ["0-1", "4-5", "6-7"]  # the first was given 2-3
    assert [round(frame.image.mean() / 20) for frame in frames] == [0, 1, 2, 3]


def until_closed(connection: socket.socket) -> None:
    """By the client."""
    while connection.recv(1 << 16):
        pass


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


def endless(connection: socket.socket) -> None:
    request(connection)
    connection.sendall(b"RTSP/1.0 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n" * 1000)


def huge(connection: socket.socket) -> None:
    _, number = request(connection)
    connection.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nContent-Length: 99999999999\r\n\r\n".encode())


def silent(connection: socket.socket) -> None:
    connection.recv(1)
    until_closed(connection)


def closes(connection: socket.socket) -> None:
    request(connection)


def no_picture(connection: socket.socket) -> None:
    begin(connection)
    until_closed(connection)


@pytest.mark.parametrize("talk", [garbage, endless, huge, silent, closes, no_picture])
def test_a_server_that_does_wrong_is_a_typed_error_in_time(talk: Talk):
    with serving(talk) as url:
        source = camera(url, open_timeout_s=1.0)
        with pytest.raises(SourceError) as caught:
            source.open("cam")
        source.close()
    assert not isinstance(caught.value, SourceUnauthorized)


def test_what_went_wrong_is_a_sentence():
    with serving(closes) as url:
        source = camera(url)
        with pytest.raises(Disconnected, match="closed the connection without an answer, or does not speak RTSP"):
            source.open("cam")
        source.close()


def test_a_wrong_password_is_tried_once():
    """Cameras lock users out who try too often."""
    tries = []

    def talk(connection: socket.socket) -> None:
        while True:
            method, number = request(connection)
            tries.append(method)
            answer(connection, number, 'WWW-Authenticate: Digest realm="r", nonce="n"', status="401 Unauthorized")

    with serving(talk) as url:
        source = camera(url.replace("//", "//user:secret@"))
        with pytest.raises(SourceUnauthorized, match="check user and password") as caught:
            source.open("cam")
        source.close()
    assert "secret" not in str(caught.value)
    assert tries == ["OPTIONS", "DESCRIBE", "DESCRIBE"]


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("close", SourceEnded),
        ("bye", SourceEnded),
        ("silence", SourceTimeout),
        ("garbage", Disconnected),
    ],
)
def test_how_a_stream_ends(coded: list[bytes], end: str, error: type[SourceError]):
    def talk(connection: socket.socket) -> None:
        begin(connection)
        for i in range(4):
            send(connection, coded[i], i)
        if end == "bye":
            connection.sendall(b"$\x03\x00\x08" + struct.pack("!BBHI", 0x81, 203, 1, 7))
        if end == "garbage":
            connection.sendall(b"nonsense\r\n" * 20_000)
        if end != "close":
            until_closed(connection)

    with serving(talk) as url:
        source = camera(url)
        source.open("cam")
        assert all(source.read() is not None for _ in range(4))
        with pytest.raises(error):
            source.read()
        source.close()


@pytest.mark.parametrize("sends", ["what cannot be decoded", "nothing"])
def test_a_server_that_our_client_gets_no_picture_of_is_ffmpeg_s_from_then_on(
    sends: str, coded: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    """One that is silent has a second try: some hang at times."""
    opened = []

    def open_(*args: object, **options: object) -> RtspContainer:
        opened.append(args)
        return real(*args, **options)

    real = RtspContainer.open
    monkeypatch.setattr(RtspContainer, "open", open_)

    def talk(connection: socket.socket) -> None:
        if sends == "nothing":
            no_picture(connection)
        begin(connection)
        broken = [units_of(coded[0])[0], *(unit[:1] + b"\xff" * 20 for unit in units_of(coded[1]))]
        for i in itertools.count():
            send(connection, annexb(broken), i)
            time.sleep(0.05)

    with serving(talk) as url:
        source = camera(url, open_timeout_s=1.0, stall_s=0.4)
        for _ in range(3):
            with pytest.raises(SourceError):
                source.open("cam")
            source.close()
    assert len(opened) == (2 if sends == "nothing" else 1)


@pytest.mark.parametrize(("sets", "error"), [("", SourceTimeout), ("of a key frame", SourceStalled)])
def test_a_camera_that_sends_no_key_frame_is_told_in_time_and_stays_ours(
    coded: list[bytes], sets: str, error: type[SourceError]
):
    if sets:
        parameters = (unit for unit in units_of(coded[0]) if unit[0] & 31 in {SPS, PPS})
        sets = ",".join(base64.b64encode(unit).decode() for unit in parameters)

    connections = itertools.count()

    def talk(connection: socket.socket) -> None:
        begin(connection, sdp(sets=sets))
        for i in range(next(connections), 1000):
            send(connection, coded[1 + (i - 1) % 9 if i else 0], i)
            time.sleep(0.02)

    with serving(talk) as url:
        source = camera(url, stall_s=0.6)
        source.open("cam")  # the first time it sends one
        source.close()
        began = time.monotonic()
        with pytest.raises(error, match=r"no key frame .*: have the camera send"):
            source.open("cam")
        assert time.monotonic() - began < 3
        source.close()
    assert source._own_client


@pytest.mark.parametrize("together_", [False, True])
@pytest.mark.parametrize("announced", ["H264", "H265"])
def test_a_codec_that_is_not_the_announced_one_is_read_all_the_same(
    coded: list[bytes], announced: str, together_: bool, caplog: pytest.LogCaptureFixture
):
    hevc = announced == "H264"
    both = [[units_of(picture) for picture in pictures] for pictures in (coded, coded_hevc(4))]
    old, pictures = both if hevc else both[::-1]
    sets = ",".join(base64.b64encode(unit).decode() for unit in old[0][:3])

    def talk(connection: socket.socket) -> None:
        begin(connection, sdp(announced, sets=sets))
        for i, units in enumerate(pictures):
            for j, payload in enumerate([together(units, hevc=hevc)] if together_ else units):
                packet = rtp(payload, sequence=10 * i + j, time=3000 * i, marker=together_ or j == len(units) - 1)
                connection.sendall(b"$\x02" + struct.pack("!H", len(packet)) + packet)
        until_closed(connection)

    with serving(talk) as url:
        source = camera(url)
        for _ in range(2):
            info = source.open("cam")
            sizes = [source.read().size_px for _ in range(3)]
            source.close()
            assert (info.codec, sizes) == ("hevc" if hevc else "h264", [(64, 48)] * 3)
    says, sends = ("H.264", "H.265") if hevc else ("H.265", "H.264")
    assert caplog.text.count(f"announces {says}, but sends {sends}, and is read as that") == 1


@pytest.mark.parametrize("first", ["H264", "H265"])
def test_a_codec_that_changes_in_mid_stream_is_had_by_the_next_connection_without_a_wait(
    coded: list[bytes], first: str
):
    before, after = (coded, coded_hevc(2))[:: 1 if first == "H264" else -1]
    after = [after[0]] * 3  # a key frame, with its parameters
    connections = itertools.count()

    def talk(connection: socket.socket) -> None:
        again = next(connections)
        begin(connection, sdp(first))
        for i, picture in enumerate(after if again else [*before[:2], *after]):
            send(connection, picture, i)
        until_closed(connection)

    with serving(talk) as url:
        source = camera(url, stall_s=5.0)
        began = time.monotonic()
        source.open("cam")
        old, new = ("H.264", "H.265") if first == "H264" else ("H.265", "H.264")
        with pytest.raises(Disconnected, match=f"changed its codec from {old} to {new}"):
            list(iter(source.read, None))
        source.close()
        assert source.open("cam").codec == ("hevc" if first == "H264" else "h264")
        assert source.read().size_px == (64, 48)
        source.close()
        assert time.monotonic() - began < 4


def test_a_single_packet_that_looks_like_another_codec_s_ends_nothing(coded: list[bytes]):
    def talk(connection: socket.socket) -> None:
        begin(connection)
        for i, picture in enumerate([*coded[:2], coded[0], annexb([b"\x42\x01damage"]), coded[0]] * 2):
            send(connection, picture, i)

    with serving(talk) as url:
        source = camera(url)
        source.open("cam")
        with pytest.raises(SourceEnded):  # as the server closes it, after the last picture
            list(iter(source.read, None))
        source.close()


def coded_hevc(count: int) -> list[bytes]:
    encoder = av.CodecContext.create("libx265", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuv420p", Fraction(1, 30)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none:pools=none"}
    frames = [av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * i, np.uint8), format="bgr24") for i in range(count)]
    for i, frame in enumerate(frames):
        frame.pts = i
    packets = [packet for frame in [*frames, None] for packet in encoder.encode(frame)]
    return [bytes(packet) for packet in packets]


def test_a_server_that_hangs_at_times_stays_ours(coded: list[bytes], monkeypatch: pytest.MonkeyPatch):
    calls = itertools.count()

    def talk(connection: socket.socket) -> None:
        begin(connection)
        if next(calls) % 2 == 0:
            until_closed(connection)
        for i in range(4):
            send(connection, coded[i], i)
        until_closed(connection)

    with serving(talk) as url:
        source = camera(url, open_timeout_s=1.0, stall_s=0.4)
        for _ in range(2):
            with pytest.raises(SourceTimeout, match="connected, but it sends no video"):
                source.open("cam")
            source.close()
            source.open("cam")
            assert source.read() is not None
            assert source._ours is not None
            source.close()


S, G = "is silent", "gives pictures"


@pytest.mark.parametrize(
    ("does", "clients"),
    [
        ([S, S, G, G, G], "our our FFmpeg our our"),
        ([S, S, S, S, G], "our our FFmpeg our our"),
        ([S, S, G, S, G, G], "our our FFmpeg our FFmpeg FFmpeg"),
    ],
    ids=["it has awoken", "to FFmpeg's, too", "to ours alone"],
)
def test_a_camera_that_was_silent_as_it_booted_is_not_ffmpeg_s_for_good(
    coded: list[bytes], does: list[str], clients: str
):
    sessions, asking = iter(does), list[str]()

    def talk(connection: socket.socket) -> None:
        text = said(connection)  # or nothing: whether it is there at all
        what = next(sessions)
        asking.append("our" if "User-Agent: streampose" in text else "FFmpeg")
        answer(connection, re.findall(r"CSeq: (\d+)", text)[0])
        while text.split()[0] != "PLAY":
            text = said(connection)
            more = ("Session: 12", "Transport: RTP/AVP/TCP;interleaved=2-3")
            number = re.findall(r"CSeq: (\d+)", text)[0]
            answer(connection, number, *more, body=sdp() if text.startswith("DESCRIBE") else "")
        if what == S:
            until_closed(connection)
        for i, picture in enumerate(coded):
            send(connection, picture, i)

    with serving(talk) as url:
        source = camera(url, open_timeout_s=1.0, stall_s=0.4)
        for what in does:
            with pytest.raises(SourceTimeout) if what == S else nullcontext():
                source.open("cam")
            source.close()
    assert asking == clients.split()


@rtsp
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_both_codecs_of_a_real_server_are_spoken(codec: str, monkeypatch: pytest.MonkeyPatch):
    """With a password by digest, and sound beside the pictures."""
    spoken = []
    real = RtspContainer.open
    monkeypatch.setattr(RtspContainer, "open", lambda *a, **o: spoken.append(real(*a, **o)) or spoken[-1])
    server = RtspServer("--codec", codec, "--sound", "--user", "user", "--password", "secret", "--digest")
    try:
        source = NetworkSource(server.url(userinfo="user:secret@"))
        info = source.open("cam")
        assert (info.codec, info.width_px, info.height_px) == ({"h264": "h264", "h265": "hevc"}[codec], 160, 120)
        frames = [source.read() for _ in range(20)]
        assert all(b.pts > a.pts for a, b in pairwise(frames))
        source.close()
    finally:
        server.kill()
    assert len(spoken) == 1


# What a reviewer found.


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("streampose-feed")]


def test_a_camera_whose_reports_alone_go_on_keeps_no_thread(coded: list[bytes]):
    """Nor a socket, and a session of the camera's."""

    def talk(connection: socket.socket) -> None:
        begin(connection)
        for i in range(3):
            send(connection, coded[i], i)
        report = struct.pack("!BBHIIIIII", 0x80, 200, 6, 7, 1, 0, 0, 0, 0)
        while True:
            connection.sendall(b"$\x03" + struct.pack("!H", len(report)) + report)
            time.sleep(0.05)

    with serving(talk) as url:
        source = camera(url, stall_s=0.4)
        source.open("cam")
        assert all(source.read() is not None for _ in range(3))
        with pytest.raises(SourceTimeout):
            source.read()
        source.close()
        until = time.monotonic() + 3
        while threads() and time.monotonic() < until:
            time.sleep(0.02)
    assert not threads()


def test_a_camera_slower_than_the_opening_has_its_patience(coded: list[bytes]):
    def talk(connection: socket.socket) -> None:
        begin(connection)
        for i in range(4):
            send(connection, coded[i], i)
            time.sleep(0.5)

    with serving(talk) as url:
        source = camera(url, open_timeout_s=0.4, stall_s=2.0)
        source.open("cam")
        assert all(source.read() is not None for _ in range(3))
        source.close()


def test_a_session_ends_at_once_when_it_is_closed(coded: list[bytes]):
    """A camera has few, and removing it while it is silent does not wait for its silence to end."""
    ended: list[str] = []

    def talk(connection: socket.socket) -> None:
        begin(connection)
        for i in range(3):
            send(connection, coded[i], i)
        ended.append(request(connection)[0])

    with serving(talk) as url:
        source = camera(url, stall_s=30.0)
        source.open("cam")
        assert source.read() is not None
        source.close()
        until = time.monotonic() + 5
        while (threads() or not ended) and time.monotonic() < until:
            time.sleep(0.01)
    assert ended == ["TEARDOWN"]
    assert not threads()


def test_a_session_that_is_closed_amid_pictures_is_let_go_of_at_once(coded: list[bytes]):
    def talk(connection: socket.socket) -> None:
        begin(connection)
        for i in range(3):
            send(connection, coded[i], i)
        until_closed(connection)

    with serving(talk) as url:
        gc.disable()
        try:
            container = RtspContainer.open(url, open_timeout_s=5, stall_s=5, hwaccel=None)
            held = weakref.ref(container)
            assert next(container.demux(container.streams.video[0])).is_keyframe
            container.close()
            del container
            assert held() is None
        finally:
            gc.enable()


def test_packets_that_a_server_leaves_out_are_counted_over_all_connections(coded: list[bytes]):
    connections = itertools.count()

    def talk(connection: socket.socket) -> None:
        begin(connection)
        for i, number in enumerate([*range(65_530, 65_536), *range(2, 6)]):
            packet = rtp(together(units_of(coded[i])), sequence=number, time=3000 * i, marker=True)
            connection.sendall(b"$\x02" + struct.pack("!H", len(packet)) + packet)
        if next(connections) == 2:
            until_closed(connection)

    with serving(talk) as url:
        source = Reconnecting(camera(url), backoff=Backoff(first_s=0.001, cap_s=0.001))
        source.open("cam")
        assert source.link.lost_packets is None
        while source.link.reconnects < 2:
            assert source.read() is not None
        source.close()
    assert source.link.lost_packets == 2 + 2


@pytest.mark.parametrize("between", [b"\r\n", b"the rest of one"])
def test_what_comes_between_packets_is_passed_over(coded: list[bytes], between: bytes):
    def talk(connection: socket.socket) -> None:
        begin(connection)
        for i in range(6):
            send(connection, coded[i], i)
            connection.sendall(between)

    with serving(talk) as url:
        source = camera(url)
        source.open("cam")
        assert all(source.read() is not None for _ in range(6))
        source.close()


def received(data: bytes) -> list[tuple[int, bytes] | Answer]:
    """What comes out of all that a camera sends whose video has the channels 2 and 3."""
    ours, theirs = socket.socketpair()
    connection = Connection("", 0, tls=False)
    connection._socket, connection.deadline = ours, time.monotonic() + 5
    connection.expect([2, 3])
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        return list(iter(connection.receive, None))


def framed(packets: list[bytes]) -> list[bytes]:
    return [b"$\2" + struct.pack("!H", len(packet)) + packet for packet in packets]


@pytest.mark.parametrize(
    "stray", [b"\0\1$ lost\n" * 40, b"UUUU" * 9, b"$\x02\x01\xf4\x80\xe0" + b"$" * 60, b"$\x09\x04\0" + b"\x80" * 99]
)
def test_after_what_is_no_packet_the_next_one_is_found(stray: bytes):
    """Cameras leave out the rest of a packet where their network is too slow: here of the second and the third."""
    packets_ = [rtp(nal(PICTURE, 87), sequence=i, time=1) for i in range(40)]
    sent = framed(packets_)
    came = received(b"".join([*sent[:12], stray, *sent[12:30], stray, b"RTSP/1.0 200 OK\r\n\r\n", *sent[30:]]))
    kept = [each[1] for each in came if isinstance(each, tuple) and each[1] in packets_]
    assert kept[:12] == packets_[:12]
    assert len(kept) >= 20  # a head that is none takes what follows it with it
    if stray[:1] != b"$":
        assert [each.status for each in came if isinstance(each, Answer)] == [200]


def test_what_looked_like_a_packet_of_another_channel_is_not_looked_for():
    """After 30 000 losses 72 channels had been seen so, and a third of all packets was passed over."""
    packets_ = [rtp(nal(PICTURE, 87), sequence=i, time=1) for i in range(20)]
    sent = framed(packets_)
    came = received(b"".join([b"$\x09\0\4lost", *sent[:10], b"lost$\x09\x03\0\x80", *sent[10:]]))
    assert came == [(9, b"lost"), *((2, packet) for packet in packets_)]


def with_words(coded: list[bytes], does: Iterator[str], sessions: list[list[str]]) -> Talk:
    """A camera with words beside its video: what it does in each session, and was asked for in each."""

    def talk(connection: socket.socket) -> None:
        what, asked = next(does), list[str]()
        sessions.append(asked)
        while "PLAY" not in asked or what == "refuses to play":
            method, number = request(connection)
            asked.append(method)
            both = asked.count("SETUP") == 2
            if method == "DESCRIBE":
                answer(connection, number, body=sdp() + WORDS)
            elif what == "closes" and both:
                return
            elif what == "resets" and both:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            elif what == "refuses and closes" and both:
                answer(connection, number, status="461 Unsupported Transport")
                return
            elif what == "says nothing" and both:
                until_closed(connection)
            elif what == "refuses to play" and method == "PLAY":
                answer(connection, number, status="455 Method Not Valid in This State")
            elif what == "hangs up at play" and method == "PLAY":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            elif what == "is busy" and method == "PLAY":
                answer(connection, number, status="503 Service Unavailable")
                return
            else:
                answer(connection, number, "Session: 12", "Transport: RTP/AVP/TCP;interleaved=2-3")
        for i in range(4):
            send(connection, coded[i], i)
        until_closed(connection)

    return talk


@pytest.mark.parametrize("does", ["closes", "resets", "refuses and closes", "says nothing", "refuses to play"])
def test_a_camera_that_cannot_give_more_than_its_video_gives_that(coded: list[bytes], does: str):
    sessions: list[list[str]] = []
    with serving(with_words(coded, iter([does, "gives it"]), sessions)) as url:
        source = camera(url, open_timeout_s=1.5 if does == "says nothing" else 5.0)
        source.open("cam")
        assert source._ours is not None
        assert [round(source.read().image.mean() / 20) for _ in range(4)] == [0, 1, 2, 3]
        source.close()
    assert sessions[1] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]


def test_only_one_that_twice_in_a_row_could_not_is_asked_for_its_video_alone_from_then_on(coded: list[bytes]):
    """And until it refuses that: then somebody else may have the rest of it."""
    sessions: list[list[str]] = []
    does = ["closes", "gives it", "gives it"]  # once is a server's restart
    does += ["closes", "gives it", "closes", "gives it", "gives it"]
    does += ["refuses to play", "closes", "gives it"]  # by FFmpeg's client in vain, too
    with serving(with_words(coded, iter(does), sessions)) as url:
        source = camera(url)
        for i in range(7):
            with pytest.raises(Disconnected) if i == 5 else nullcontext():
                source.open("cam")
            source.close()
    assert [asked.count("SETUP") for asked in sessions] == [2, 1, 2, 2, 1, 2, 1, 1, 1, 2, 2]


def test_one_that_gives_its_video_alone_no_more_is_asked_for_all(coded: list[bytes]):
    sessions: list[list[str]] = []
    does = ["closes", "gives it", "closes", "gives it", "hangs up at play", "gives it"]
    with serving(with_words(coded, iter(does), sessions)) as url:
        source = camera(url)
        for i in range(4):
            with pytest.raises(Disconnected) if i == 2 else nullcontext():
                source.open("cam")
            source.close()
    assert [asked.count("SETUP") for asked in sessions] == [2, 1, 2, 1, 1, 2]


def test_one_that_is_busy_is_not_asked_for_less(coded: list[bytes]):
    """Its sessions are few, and FFmpeg's client takes another one."""
    sessions: list[list[str]] = []
    with serving(with_words(coded, iter(["is busy", "is busy", "gives it"]), sessions)) as url:
        source = camera(url)
        with pytest.raises(Disconnected):
            source.open("cam")
        source.close()
        source.open("cam")
        source.close()
    assert [asked.count("SETUP") for asked in sessions] == [2, 2, 2]


@pytest.mark.parametrize(
    ("status", "header", "words"),
    [
        ("401 Unauthorized", 'WWW-Authenticate: Digest realm="r", nonce="new"', ["GET_PARAMETER", "GET_PARAMETER"]),
        ("501 Not Implemented", "X: y", ["GET_PARAMETER", "OPTIONS"]),
        ("200 OK", "X: y", ["OPTIONS"]),
    ],
)
def test_a_session_is_kept_as_its_server_wants_it(coded: list[bytes], status: str, header: str, words: list[str]):
    asked: list[str] = []

    def talk(connection: socket.socket) -> None:
        for i in range(5):
            method, number = request(connection)
            if i == 1:
                answer(connection, number, 'WWW-Authenticate: Digest realm="r", nonce="old"', status="401 Unauthorized")
            else:
                more = ("Session: 12 ;timeout=2", "Transport: RTP/AVP/TCP;interleaved=2-3", f"Public: PLAY, {words[0]}")
                answer(connection, number, *more, body=sdp() if method == "DESCRIBE" else "")
        for i in range(6):
            send(connection, coded[i], i)
            time.sleep(0.25)
        asked.append(request(connection)[0])
        answer(connection, "9", header, status=status)
        send(connection, coded[6], 6)
        if len(words) > 1:
            asked.append(request(connection)[0])
            answer(connection, "10")
        send(connection, coded[7], 7)
        until_closed(connection)

    with serving(talk) as url:
        source = camera(url.replace("//", "//user:secret@"), stall_s=3.0)
        source.open("cam")
        assert all(source.read() is not None for _ in range(8))
        source.close()
    assert asked == words


@pytest.mark.parametrize(
    "header",
    [
        "Session: 12;timeout=" + "9" * 400,
        "Session: 12;timeout=0",
        "Transport: RTP/AVP/TCP;interleaved=" + "2" * 5000 + "-3",
        "WWW-Authenticate: " + "x" * 8000,
    ],
    ids=["life", "no life", "channels", "challenge"],
)
def test_strange_numbers_cost_nothing(coded: list[bytes], header: str):
    def talk(connection: socket.socket) -> None:
        for _ in range(4):
            method, number = request(connection)
            more = (header, "Session: 12", "Transport: RTP/AVP/TCP;interleaved=2-3")
            answer(connection, number, *more, body=sdp() if method == "DESCRIBE" else "")
        for i in range(3):
            send(connection, coded[i], i)
        until_closed(connection)

    with serving(talk) as url:
        source = camera(url)
        with suppress(SourceError):  # two headers of one name: the first one counts
            source.open("cam")
            assert source.read() is not None
        source.close()


def test_a_challenge_is_read_in_time_that_grows_with_its_length():
    me, texts = Credentials("a", "b"), ["Digest " + "x" * n for n in (100_000, 400_000)]
    took = []
    for text in texts:
        began = time.process_time()
        me.answer([text], "PLAY", "rtsp://h/")
        took.append(time.process_time() - began)
    assert took[1] < 1.0, took  # by squares it takes minutes


def test_a_host_s_second_address_is_tried(coded: list[bytes], monkeypatch: pytest.MonkeyPatch):
    def talk(connection: socket.socket) -> None:
        begin(connection)
        for i in range(3):
            send(connection, coded[i], i)
        until_closed(connection)

    with serving(talk) as url, socket.create_server(("127.0.0.1", 0)) as other:
        dead = other.getsockname()[1]
        other.close()
        real = socket.getaddrinfo

        def two(host: str, port: int, *args: object, **options: object) -> list[object]:
            good = real(host, port, type=socket.SOCK_STREAM)
            return [(*good[0][:4], ("127.0.0.1", dead)), *good]

        monkeypatch.setattr("streampose.sources.rtsp.connection.socket.getaddrinfo", two)
        source = camera(url)
        source.open("cam")
        assert source.read() is not None
        source.close()


@pytest.mark.skipif(sys.platform != "linux", reason="others give no say in it")
def test_a_large_first_picture_finds_room():
    """live555 leaves out what a connection does not take at once, and Linux begins with 64 kB."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = Connection("127.0.0.1", listening.getsockname()[1], tls=False)
        connection.deadline = time.monotonic() + 5
        connection.open()
        assert connection._socket is not None
        room = connection._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        connection.close()
    assert room >= 1 << 20


def test_a_picture_without_end_is_given_up():
    units = AccessUnits("h264", 96)
    sent = [rtp(b"\x7c\x85" + b"\1" * 60_000, sequence=0, time=0)]
    sent += [rtp(b"\x7c\x05" + b"\1" * 60_000, sequence=i, time=0) for i in range(1, 600)]
    sent += [rtp(nal(PICTURE), sequence=600 + i, time=3000 * (1 + i), marker=True) for i in range(3)]
    given_ = [unit.data for units_ in run(units, sent) for unit in units_]
    assert given_
    assert all(given_)


def test_what_follows_on_a_picture_that_was_given_up_begins_with_a_start_code():
    """Also where the start code was too much: 558 units and a short one leave 60 bytes."""
    large = b"\x61" + b"\1" * 60_000
    sent = [rtp(unit, sequence=i, time=0) for i, unit in enumerate([*[large] * 558, nal(PICTURE, 25), large])]
    sent += [rtp(nal(PICTURE), sequence=len(sent) + i, time=3000 * (1 + i), marker=True) for i in range(3)]
    given_ = [unit.data for units in run(AccessUnits("h264", 96), sent) for unit in units]
    assert given_[-1] == annexb([nal(PICTURE)])
    assert all(data.startswith(b"\0\0\0\1") for data in given_)


@pytest.mark.parametrize(
    ("says", "opened"), [("another codec", 1), ("461 Unsupported Transport", 1), ("453 Not Enough Bandwidth", 3)]
)
def test_a_server_of_another_kind_is_ffmpeg_s_from_then_on(monkeypatch: pytest.MonkeyPatch, says: str, opened: int):
    """One that is only busy is asked again by our client."""
    tries = []

    def open_(*args: object, **options: object) -> RtspContainer:
        tries.append(args)
        return real(*args, **options)

    real = RtspContainer.open
    monkeypatch.setattr(RtspContainer, "open", open_)

    def talk(connection: socket.socket) -> None:
        answer(connection, request(connection)[1])
        answer(connection, request(connection)[1], body=sdp(codec="JPEG" if says == "another codec" else "H264"))
        answer(connection, request(connection)[1], status=says)

    with serving(talk) as url:
        source = camera(url, open_timeout_s=1.0)
        for _ in range(3):
            with pytest.raises(SourceError):
                source.open("cam")
            source.close()
    assert len(tries) == opened


@pytest.mark.parametrize("refusal", ["461 Unsupported Transport", "400 Bad Request", "200 OK"])
def test_a_server_that_knows_udp_alone_and_closes_when_it_is_asked_for_tcp_is_asked_for_udp(refusal: str):
    """FFmpeg's client would ask for TCP again, and be left; the last one says that it sends by UDP all the same."""
    transports: list[str] = []

    def talk(connection: socket.socket) -> None:
        answer(connection, request(connection)[1])
        answer(connection, request(connection)[1], body=sdp())
        text = said(connection)
        transports.append(text[text.index("Transport: RTP/AVP/") :].split(";")[0].removeprefix("Transport: "))
        number = text[text.index("CSeq: ") + 6 :].split()[0]
        answer(connection, number, "Session: 1", "Transport: RTP/AVP;unicast;client_port=2-3", status=refusal)

    with serving(talk) as url:
        source = camera(url, open_timeout_s=1.0)
        with pytest.raises(SourceError):
            source.open("cam")
        source.close()
    assert transports == ["RTP/AVP/TCP", "RTP/AVP/UDP"]


def test_a_server_that_closes_on_what_it_does_not_know_is_asked_by_options_only(coded: list[bytes]):
    """First of all, and to keep its session, as FFmpeg does."""

    def talk(connection: socket.socket) -> None:
        if request(connection) != ("OPTIONS", "1"):
            return
        answer(connection, "1", "Public: DESCRIBE, SETUP, PLAY, TEARDOWN")
        for _ in range(3):
            method, number = request(connection)
            more = ("Session: 12;timeout=2", "Transport: RTP/AVP/TCP;interleaved=2-3")
            answer(connection, number, *more, body=sdp() if method == "DESCRIBE" else "")
        for i in range(6):
            send(connection, coded[i], i)
            time.sleep(0.25)
        if request(connection)[0] == "OPTIONS":
            answer(connection, "5")
            send(connection, coded[6], 6)
            until_closed(connection)

    with serving(talk) as url:
        source = camera(url, stall_s=3.0)
        source.open("cam")
        assert all(source.read() is not None for _ in range(7))
        source.close()
