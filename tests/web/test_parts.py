"""The parts below the server, one by one."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from fakes import poses_of
from hypothesis import given
from hypothesis import strategies as st

from streampose.cli.references import resolve
from streampose.errors import ConfigError, Disconnected, SourceTimeout
from streampose.web.camera import PeerCamera
from streampose.web.effort import Effort
from streampose.web.finishing import draw
from streampose.web.ice import IceServer, Offered, bound_addresses, offer_only, parse_ice_server, usable
from streampose.web.limits import Limits
from streampose.web.messages import Inbox
from streampose.web.reception import Reception
from streampose.web.settings import Settings


def arrived(i: int, width: int = 64) -> tuple[av.VideoFrame, float]:
    picture = av.VideoFrame.from_ndarray(np.full((48, width, 3), i, np.uint8), format="bgr24")
    picture.pts = 3000 * i
    return picture, float(i)


def test_a_camera_gives_the_newest_picture_and_counts_the_others():
    camera = PeerCamera(wait_s=1)
    camera.put(*arrived(0))
    assert camera.open("me").width_px == 64
    for i in range(1, 5):
        camera.put(*arrived(i))
    frames = [camera.read(), camera.read()]
    assert [(f.index, f.pts, f.captured_at) for f in frames if f] == [(0, 0, 0.0), (4, 12000, 4.0)]
    assert camera.dropped == 3
    camera.put(*arrived(5, width=32))
    changed = camera.read()
    assert changed is not None
    assert (changed.epoch, changed.time_base) == (1, Fraction(1, 90000))  # of another size: nobody is where he was
    camera.end()
    assert camera.read() is None


def test_a_camera_that_gives_nothing():
    camera = PeerCamera(wait_s=0.05)
    with pytest.raises(SourceTimeout):
        camera.open("me")
    camera = PeerCamera(wait_s=60)
    threading.Timer(0.05, camera.interrupt).start()
    with pytest.raises(Disconnected):
        camera.open("me")
    camera.close()
    camera.close()


async def test_what_is_used_of_aiortc_that_is_not_public_is_there():
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = peer.addTransceiver("video")
    Reception(transceiver.receiver, Limits(), lambda _: None)
    gatherer = transceiver.receiver.transport.transport.iceGatherer
    offer_only(gatherer, [Offered(public="127.0.0.1"), Offered(public="203.0.113.7")])
    await gatherer.gather()
    # Both: one that this machine has, and the public one of a machine in front of it.
    assert [c.ip for c in gatherer.getLocalCandidates()] == ["127.0.0.1", "203.0.113.7"]
    await peer.close()


async def test_a_peer_is_looked_for_at_few_addresses():
    """Each that a check comes from had packets sent to it, and 1,500 of them held everybody up for two seconds."""
    peer, heard = RTCPeerConnection(RTCConfiguration(iceServers=[])), list[int]()
    gatherer = peer.addTransceiver("video").receiver.transport.transport.iceGatherer
    known = gatherer._connection._remote_candidates

    def hear(message: object, addr: tuple[str, int], protocol: object) -> None:
        if addr[1] not in heard:
            known.append(SimpleNamespace(host=addr[0], port=addr[1]))
        heard.append(addr[1])

    gatherer._connection.request_received = hear
    bound_addresses(gatherer)
    for port in [*range(1, 1500), 1]:
        gatherer._connection.request_received(None, ("203.0.113.7", port), None)
    assert heard == [*range(1, 201), 1]
    await peer.close()


async def test_what_was_held_up_is_not_decoded_and_what_comes_then_is():
    """A second's hold-up: a burst of old frames, then a key frame is asked for, and goes to the decoder."""
    peer, now = RTCPeerConnection(RTCConfiguration(iceServers=[])), [0.0]
    receiver = peer.addTransceiver("video").receiver
    reception = Reception(receiver, Limits(), lambda _: None, clock=lambda: now[0])
    decoder, asks = receiver._RTCRtpReceiver__decoder_queue, receiver._RTCRtpReceiver__decoder_error
    codec = SimpleNamespace(name="VP8")

    def come(i: int, *, key: bool = False) -> bool:
        """Whether frame i goes to the decoder."""
        decoder.put((codec, SimpleNamespace(timestamp=3000 * i, data=b"\0" if key else b"\1")))
        return decoder.qsize() > 0 and decoder.get()[1].timestamp == 3000 * i

    for i in range(30):
        now[0] = i / 30
        assert come(i, key=i == 0)
    now[0] = 2.0  # one second later than the next was due
    assert [come(i) for i in range(30, 51)] == [False] * 21
    assert not asks.is_set()
    assert [come(i) for i in range(52, 60)] == [False] * 8  # these are fresh, but cannot be decoded without the others
    assert asks.is_set()
    assert come(60, key=True)
    assert come(61)
    # A decoder that is behind.
    for i in range(62, 80):
        decoder.put((codec, SimpleNamespace(timestamp=3000 * i, data=b"\1")))
        assert decoder.qsize() <= 8
    assert reception.skipped > 30
    await peer.close()


@pytest.mark.parametrize(
    ("line", "here", "anywhere"),
    [
        ("candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host", True, True),
        ("a=candidate:1 1 UDP 2130706431 ::1 5000 typ host", True, True),
        ("candidate:1 1 udp 2130706431 203.0.113.7 5000 typ host", False, True),
        ("candidate:1 1 udp 2130706431 a.local 5000 typ host", False, False),
        ("candidate:1 1 tcp 2130706431 127.0.0.1 9 typ host tcptype active", False, False),
        ("candidate:1 1 udp 2130706431 239.1.1.1 5000 typ host", False, False),
        ("candidate:1 1 udp 2130706431 0.0.0.0 5000 typ host", False, False),
        ("candidate:1 1 udp 2130706431 127.0.0.1 70000 typ host", False, False),
        ("candidate:1 1 udp 2130706431 fe80::1%nonexist 5000 typ host", False, False),
        ("candidate:", False, False),
    ],
)
def test_which_candidates_packets_are_sent_to(line: str, here: bool, anywhere: bool):
    assert usable(line, loopback_only=True) is here
    assert usable(line, loopback_only=False) is anywhere


@given(st.text())
def test_any_text_is_a_candidate_or_none(text: str):
    assert usable(text, loopback_only=True) in {True, False}


@pytest.mark.parametrize("host", ["nosuch.invalid", "no..name", "fe80::1%nosuch"])
def test_a_host_that_is_not_there_is_told(host: str):
    with pytest.raises(ConfigError, match="there is no host"):
        Offered.for_host(host)


def test_ice_servers(monkeypatch):
    monkeypatch.setenv("STREAMPOSE_TEST_SECRET", "a/b:c@d")
    assert parse_ice_server("stun:stun.example:3478") == IceServer(url="stun:stun.example:3478")
    turn = parse_ice_server("turn:me:sec ret@turn.example:3478?transport=tcp")
    assert turn.for_page() == {
        "urls": "turn:turn.example:3478?transport=tcp",
        "username": "me",
        "credential": "sec ret",
    }
    assert 'username="me"; credential="sec ret"; credential-type="password"' in turn.link()
    # As coturn's REST interface makes them: a time and a user, and Base64.
    rest = parse_ice_server("turn:1735689600%3Ame:a%2Fb+c%3D%3D@turn.example:3478")
    assert (rest.user, rest.secret) == ("1735689600:me", "a/b+c==")
    assert 'username="1735689600:me"; credential="a/b+c=="' in rest.link()
    assert parse_ice_server(resolve("turn:me:{env:STREAMPOSE_TEST_SECRET}@x")).secret == "a/b:c@d"
    odd = IceServer(url="turn:x", user='a"b', secret="c\\d%")
    assert r'username="a\"b"; credential="c\\d%"' in odd.link()
    for wrong in (
        "turn:turn.example",
        "http://x",
        "turn:me:secret@",
        "turn:a:b:secret@x",
        "turn:a:secret%0a@x",
        "stun:[::1]:3478",
        "stun:host:port",
        "turns:a:secret@x?transport=udp",
    ):
        with pytest.raises(ConfigError) as caught:
            parse_ice_server(wrong)
        assert "secret@" not in str(caught.value)
    with pytest.raises(ConfigError):
        Offered(public="example.org")
    assert [one.public for one in Offered.for_host("localhost")] == ["127.0.0.1"]


def test_encoding_takes_its_share_and_no_more():
    effort, now = Effort(cores=2), 0.0
    shares = [effort.join() for _ in range(4)]
    encoded = 0
    for _ in range(3000):  # 100 s at 30 fps, 50 ms of a core for each picture
        now += 1 / 30
        for share in shares:
            if share.admits(now):
                encoded += 1
                share.spent(0.05, now)
    assert 0.7 < encoded * 0.05 / now <= 1.05  # of two cores, half
    assert shares[0].scale < 1  # 5 fps each are too few: smaller pictures instead
    for share in shares[1:]:
        share.leave()
    for _ in range(3000):
        now += 1 / 30
        if shares[0].admits(now):
            shares[0].spent(0.005, now)
    assert shares[0].scale == 1


def test_messages_are_few_and_short():
    now = [0.0]
    inbox = Inbox(Limits(), clock=lambda: now[0])
    for _ in range(40):
        assert inbox.read('{"type": "ping"}') == {"type": "ping"}
    with pytest.raises(ConfigError, match="20 messages a second"):
        inbox.read('{"type": "ping"}')
    now[0] += 10
    for bad in (b"x", "x" * 5000, "no json", "[1]", "{}", '{"type": 3}', "[" * 4000):
        with pytest.raises(ConfigError):
            inbox.read(bad)


@given(st.dictionaries(st.sampled_from(list(Settings().as_dict())), st.one_of(st.none(), st.integers(), st.text())))
def test_settings_that_are_taken_make_sense(wishes: dict[str, object]):
    try:
        settings = Settings().changed(wishes)
    except ConfigError:
        return
    assert settings.mode in {"overlay", "rendered"}
    assert settings.budget_ms is None or 10 <= settings.budget_ms <= 5000
    assert 0 <= settings.confidence <= 1


def test_a_mirrored_picture_has_everybody_in_it():
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, :50] = 255
    plain = draw(image, poses_of(20), Settings(confidence=1.0))
    mirrored = draw(image, poses_of(20), Settings(mirror=True, confidence=1.0))
    assert mirrored[50, 190].tolist() == [255, 255, 255]
    assert plain[50, 190].tolist() == [0, 0, 0]
    # What is drawn of the person (at 20, 20) is now on the other side.
    changed = np.any(mirrored != image[:, ::-1], axis=2)
    assert changed[15:45, 165:185].any()
    assert not changed[:, :150].any()


def test_time_is_not_lost_in_a_slot():
    camera = PeerCamera(wait_s=30)
    camera.put(*arrived(0))
    camera.open("me")
    camera.read()
    threading.Timer(0.05, camera.put, arrived(1)).start()
    began_at = time.monotonic()
    assert camera.read() is not None
    assert time.monotonic() - began_at < 10
