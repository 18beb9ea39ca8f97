"""What strangers may not do: frames that claim to be huge, messages without end, more than there is memory for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from fractions import Fraction
from struct import pack
from types import SimpleNamespace

import aiohttp
import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtcsctptransport import SCTP_DATA_FIRST_FRAG, SCTP_DATA_LAST_FRAG, SCTP_DATA_UNORDERED, DataChunk, SackChunk
from aiortc.rtp import RtcpRtpfbPacket, RtpPacket
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st
from servers.rtc_client import Pictures, RtcClient, grey
from servers.serving import gone, serving

from streampose.web.coded import coded_size
from streampose.web.limits import Limits
from streampose.web.reception import Reception, _Missing
from streampose.web.resending import bound_resending


def encoded(codec: str, width: int, height: int, pixels: str = "yuv420p", **options: str) -> bytes:
    """The first frame of a video."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = width, height, pixels
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
    context.options = options
    picture = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="bgr24")
    return b"".join(
        bytes(packet) for frame in (picture.reformat(format=pixels), None) for packet in context.encode(frame)
    )


@pytest.mark.parametrize("size", [(64, 48), (644, 364), (1920, 1080), (3840, 2160)])
def test_the_size_of_vp8_is_read(size: tuple[int, int]):
    assert coded_size("VP8", encoded("libvpx", *size)) == size


@pytest.mark.parametrize("size", [(64, 48), (644, 364), (1920, 1080), (3840, 2160)])
@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        ("yuv420p", {"profile": "baseline"}),
        ("yuv420p", {"profile": "high", "preset": "ultrafast"}),
        ("yuv444p", {"preset": "ultrafast"}),
        ("yuv420p10le", {"preset": "ultrafast"}),
        ("yuv420p", {"preset": "ultrafast", "x264-params": "interlaced=1"}),
        ("yuv420p", {"preset": "ultrafast", "x264-params": "cqm=jvt"}),
    ],
)
def test_the_size_of_h264_is_read(size: tuple[int, int], pixels: str, options: dict[str, str]):
    width, height = size
    rows = 32 if "interlaced" in str(options) else 16
    found = coded_size("H264", encoded("libx264", width, height, pixels, **options))
    assert found == (-(-width // 16) * 16, -(-height // rows) * rows)


@given(st.binary(max_size=200), st.sampled_from(["VP8", "H264"]))
def test_any_bytes_have_a_size_or_none(data: bytes, codec: str):
    for start in (b"", b"\0\0\x01\x67", b"\x10\0\0\x9d\x01\x2a"):
        found = coded_size(codec, start + data)
        assert found is None or min(found) >= 0


async def test_a_frame_that_claims_to_be_huge_never_reaches_a_decoder():
    """38 bytes that say 16383×16383 cost libvpx a gigabyte, and no picture comes of them that could be measured."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver, reasons = peer.addTransceiver("video").receiver, list[str]()
    Reception(receiver, Limits(), reasons.append)
    decoder = receiver._RTCRtpReceiver__decoder_queue
    good = encoded("libvpx", 640, 480)
    huge = good[:6] + b"\xff\x3f\xff\x3f" + good[10:38]
    for i, data in enumerate((good, huge, good[:0])):
        decoder.put((SimpleNamespace(name="VP8"), SimpleNamespace(timestamp=3000 * i, data=data)))
    assert reasons == ["pictures of 16383x16383 are too large"]
    taken = [decoder.get()[1].data for _ in range(decoder.qsize())]
    assert huge not in taken
    assert good in taken
    await peer.close()


WHOLE = SCTP_DATA_UNORDERED | SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG


async def ended_with(client: RtcClient) -> str:
    """Why the server ended the session, as it says."""
    await client.until(lambda: client.said[-1]["type"] == "bye")
    return str(client.said[-1]["reason"])


@pytest.mark.parametrize(
    ("flags", "streams", "missing", "reason"),
    [
        (SCTP_DATA_FIRST_FRAG, 1, 0, "a message without end"),
        (SCTP_DATA_FIRST_FRAG, 12, 0, "a message without end"),
        # aiortc sorts all of these again for each one that comes: 18,000 held everybody up for ten seconds.
        (WHOLE, 1, 1, "messages behind a gap without end"),
        (WHOLE, 30, 0, "messages on more streams than there are uses for"),
        # Each is looked for among the others, and nobody listens on that stream.
        (WHOLE, 1, 0, "more than 80 packets of messages a second"),
    ],
    ids=["one", "on several streams", "behind a gap", "streams", "too many"],
)
async def test_messages_without_end_end_that_session_at_once(flags: int, streams: int, missing: int, reason: str):
    async with serving() as served, RtcClient(served.url, Pictures(grey())) as client:
        await client.until(lambda: client.said)
        sctp, (peer,) = client.pc.sctp, served.server._sessions._peers.values()
        there = peer._pc.sctp
        sctp._local_tsn += missing
        with contextlib.suppress(ConnectionError):  # it is ended meanwhile
            for i in range(1200):
                chunk = DataChunk(flags=flags if i < streams or flags == WHOLE else 0)
                chunk.tsn, sctp._local_tsn = sctp._local_tsn, sctp._local_tsn + 1
                chunk.stream_id, chunk.stream_seq, chunk.protocol, chunk.user_data = 99 + i % streams, 0, 51, b"x" * 8
                await sctp._send_chunk(chunk)
                await asyncio.sleep(0)  # a loopback socket holds some hundreds
        assert await ended_with(client) == reason
        await gone(served)
        kept = [len(stream.reassembly) for stream in there._inbound_streams.values()]
        assert max(sum(kept), len(there._sack_misordered), 32 * len(kept)) <= 512


def acknowledging_everything() -> bytes:
    chunk = SackChunk()
    chunk.gaps = [(0, 65535)] * 290
    return bytes(chunk)


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        # aiortc counted up to all of these: 1.4 s for each such packet.
        (acknowledging_everything(), "acknowledgements of what was never sent"),
        # It never came to the end of this one, and nor did anybody else.
        (pack("!BBH4x", 4, 0, 8), "a packet with more in it than there are uses for"),
        (pack("!BBH", 4, 0, 4) * 290, "a packet with more in it than there are uses for"),
        (pack("!BBHL", 192, 0, 1188, 0) + bytes(1180), "a packet with more in it than there are uses for"),
    ],
    ids=["acknowledgements", "a parameter without length", "heartbeats", "streams to go on in"],
)
async def test_one_packet_that_would_hold_everybody_up_ends_its_session_instead(chunks: bytes, reason: str):
    async with serving() as served, RtcClient(served.url, Pictures(grey())) as client:
        await client.until(lambda: client.said)
        sctp, (peer,) = client.pc.sctp, served.server._sessions._peers.values()
        if chunks[0] == SackChunk.type:  # of what is acknowledged so far: an older one would be looked at no further
            chunks = chunks[:4] + pack("!L", peer._pc.sctp._last_sacked_tsn) + chunks[8:]
        header = pack("!HHL", sctp._local_port, sctp._remote_port, sctp._remote_verification_tag)
        await sctp.transport._send_data(header + pack("<L", crc32c(header + bytes(4) + chunks)) + chunks)
        assert await ended_with(client) == reason
        await gone(served)


async def test_what_is_said_to_be_lost_is_sent_again_once_and_not_for_ever():
    """One report of 1.2 kB that names the same packets again and again made 4.2 MB."""
    peer, now = RTCPeerConnection(RTCConfiguration(iceServers=[])), [0.0]
    sender, sent = peer.addTransceiver("video").sender, list[int]()

    async def send(number: int) -> None:
        sent.append(number)

    sender._retransmit = send
    bound_resending(sender, clock=lambda: now[0])
    report = RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=sender._ssrc, lost=[3, 4, 5] * 1600)
    await sender._handle_rtcp_packet(report)
    assert sent == [3, 4, 5]
    for first in range(0, 4096, 64):
        await sender._handle_rtcp_packet(
            RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=sender._ssrc, lost=[*range(first, first + 64)])
        )
    assert len(sent) == 256
    now[0] += 1
    await sender._handle_rtcp_packet(report)
    assert sent[256:] == [3, 4, 5]
    await peer.close()


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=40))
def test_which_packets_are_missing_is_what_aiortc_says(numbers: list[int]):
    """But a packet that is far ahead takes it no time: a loop of 32,767 at each made 12 ms."""
    quick, slow = _Missing(), NackGenerator()
    for number in numbers:
        packet = RtpPacket(sequence_number=number)
        assert quick.add(packet) == slow.add(packet)
        assert (quick.missing, quick.max_seq) == (slow.missing, slow.max_seq)


async def test_a_packet_that_is_far_ahead_takes_no_time_and_a_video_has_few_senders():
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver, reasons = peer.addTransceiver("video").receiver, list[str]()
    Reception(receiver, Limits(), reasons.append)
    missing = receiver._RTCRtpReceiver__nack_generator
    began_s = time.thread_time()
    for i in range(100):
        missing.add(RtpPacket(sequence_number=32_767 * i % 65536))
    assert time.thread_time() - began_s < 0.3  # of 1.2
    assert len(missing.missing) == 128
    for ssrc in range(400):  # aiortc cannot report on 256 of them, and its receiver then never ends
        await receiver._handle_rtp_packet(RtpPacket(ssrc=ssrc), arrival_time_ms=0)
    assert set(reasons) == {"video of more senders than there are uses for"}
    assert len(receiver._RTCRtpReceiver__active_ssrc) == 16
    await peer.close()


async def test_without_memory_nobody_new_is_let_in():
    async with serving(limits=Limits(memory_mb=1)) as served, aiohttp.ClientSession() as http:
        offer = {"Content-Type": "application/sdp"}
        answers = [
            http.post(f"{served.url}/whip", data="v=0\r\n", headers=offer),
            http.post(f"{served.url}/api/streams", json={"id": "a", "source": "synthetic:"}),
        ]
        for coming in answers:
            async with coming as answer:
                assert (answer.status, "nobody new" in await answer.text()) == (503, True)
        assert not served.pipeline.reports
