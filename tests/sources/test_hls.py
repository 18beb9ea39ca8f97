"""HLS and transport streams: recordings, what is live, and encoders that stop."""

from __future__ import annotations

import contextlib
from pathlib import Path

import av
import pytest
from servers.folder import RATE, SEGMENT, playlist, segment, served
from watching import watch

from streampose.errors import SourceTruncated, SourceUnsupported
from streampose.sources import Backoff, LinkState, NetworkSource, Reconnecting, open_source


def test_a_list_with_an_end_is_read_to_it_whatever_its_segments_are_called(tmp_path: Path):
    for i, name in enumerate(("one.ts", "two")):
        segment(tmp_path / name, i)
    playlist(tmp_path / "list.m3u8", ["one.ts", "two?id=2"], ends=True)
    with served(tmp_path) as url:
        source = Reconnecting(NetworkSource(f"{url}/list.m3u8"))
        for _ in range(2):
            source.open("s")
            assert len(list(iter(source.read, None))) == 2 * SEGMENT
            source.close()
    assert source.link.lost == {}


def test_an_encoder_that_stops_shows_nothing_again(tmp_path: Path):
    for i in range(3):
        segment(tmp_path / f"{i}.ts", i)
    names = ["0.ts", "1.ts"]
    playlist(tmp_path / "list.m3u8", names, ends=False)
    with served(tmp_path) as url, watch(f"{url}/list.m3u8") as seen:
        seen.source._backoff = Backoff(first_s=0.01, cap_s=0.05)
        seen.until(lambda: len(seen.frames) >= 2 * SEGMENT - 2)  # FFmpeg holds the last ones back
        seen.until(lambda: seen.source.link.tries >= 1)
        assert seen.source.link.state is LinkState.LOST
        assert len(seen.frames) <= 2 * SEGMENT
        playlist(tmp_path / "list.m3u8", [*names, "2.ts"], ends=False)
        seen.until(lambda: seen.epoch == 1)
        tries = seen.source.link.tries
        playlist(tmp_path / "list.m3u8", [*names, "2.ts"], ends=True)  # it may come back: no end
        seen.until(lambda: seen.source.link.state is LinkState.LOST and seen.source.link.tries >= tries + 1)
    assert len(seen.frames) <= 3 * SEGMENT
    assert seen.epoch == 1


def test_of_several_sizes_the_largest_is_taken(tmp_path: Path):
    lines = ["#EXTM3U"]
    for name, size in (("low", (160, 120)), ("high", (320, 240)), ("middle", (200, 160))):
        segment(tmp_path / f"{name}.ts", 0, size)
        playlist(tmp_path / f"{name}.m3u8", [f"{name}.ts"], ends=True)
        lines += [f"#EXT-X-STREAM-INF:BANDWIDTH=100000,RESOLUTION={size[0]}x{size[1]}", f"{name}.m3u8"]
    (tmp_path / "master.m3u8").write_text("\n".join(lines) + "\n")
    with served(tmp_path) as url:
        source = NetworkSource(f"{url}/master.m3u8")
        info = source.open("s")
        source.close()
    assert (info.width_px, info.height_px) == (320, 240)


@pytest.mark.parametrize("name", ["a.ts", "a.m2ts", "a.mpg"])
def test_mpeg_that_shall_be_live_is_so_unless_it_has_a_size(tmp_path: Path, name: str):
    segment(tmp_path / name, 0, container_format="mpeg" if name == "a.mpg" else "mpegts")
    with served(tmp_path) as url:
        assert open_source(f"{url}/{name}").live is False
        recording = open_source(f"{url}/{name}", live=True)
        recording.open("s")
        frames = list(iter(recording.read, None))
        recording.close()
        assert len(frames) == SEGMENT
        assert frames[-1].captured_at - frames[0].captured_at > 0.8 * (SEGMENT - 1) / RATE
        tv = open_source(f"{url}/{name}?live", live=True)
        assert isinstance(tv, Reconnecting)
        tv.open("s")
        assert {tv.read().epoch for _ in range(SEGMENT + 2)} == {0, 1}
        assert tv.link.lost.total() == 1
        tv.close()


@pytest.mark.parametrize("name", ["a.ts", "a.flv"])
def test_a_recording_that_breaks_off_is_not_begun_anew(tmp_path: Path, name: str):
    segment(tmp_path / name, 0, container_format="flv" if name == "a.flv" else "mpegts")
    with served(tmp_path) as url, contextlib.closing(open_source(f"{url}/{name}?cut", live=True)) as source:
        source.open("s")
        with pytest.raises(SourceTruncated, match="a recording broke off"):
            list(iter(source.read, None))
    assert source.link.lost == {"truncated": 1}
    assert source.link.reconnects == 0


@pytest.mark.parametrize("query", ["", "?endless"])
def test_flv_whose_size_is_false_or_that_tells_no_duration_is_live(tmp_path: Path, query: str):
    segment(tmp_path / "a.flv", 0, container_format="flv")
    if not query:
        (tmp_path / "a.flv").write_bytes((tmp_path / "a.flv").read_bytes().replace(b"duration", b"no_place"))
    with served(tmp_path) as url, contextlib.closing(open_source(f"{url}/a.flv{query}")) as camera:
        camera.open("s")
        assert {camera.read().epoch for _ in range(SEGMENT + 2)} == {0, 1}


def test_a_list_with_an_end_whose_server_goes_away_is_not_at_its_end(tmp_path: Path):
    for i in range(2):
        segment(tmp_path / f"{i}.ts", i)
    playlist(tmp_path / "list.m3u8", [f"{i}.ts" for i in range(5)], ends=True)
    with served(tmp_path) as url, contextlib.closing(open_source(f"{url}/list.m3u8")) as source:
        source.open("s")
        with pytest.raises(SourceTruncated, match=r"broke off: 0\.8 s of its list did not come"):
            list(iter(source.read, None))


def test_live_video_of_an_unknown_kind_is_told_and_passed_over_beside_another(tmp_path: Path):
    segment(tmp_path / "one.ts", 0)
    with av.open(str(tmp_path / "one.ts")) as one, av.open(str(tmp_path / "two.ts"), "w") as two:
        copies = [two.add_stream_from_template(one.streams.video[0]) for _ in range(2)]
        for packet in one.demux(video=0):
            for copy in copies if packet.size else ():
                packet.stream = copy
                two.mux(packet)
    for name in ("one.ts", "two.ts"):
        (tmp_path / name).write_bytes(first_is_unknown((tmp_path / name).read_bytes()))
    with served(tmp_path) as url:
        with pytest.raises(SourceUnsupported, match="cannot decode"):
            open_source(f"{url}/one.ts?live", live=True).open("s")
        beside = open_source(f"{url}/two.ts?live", live=True)
        assert beside.open("s").codec == "h264"
        beside.close()


def first_is_unknown(data: bytes) -> bytes:
    """The same transport stream, whose map of programmes says of its first video that it is AVS3."""
    packets = [bytearray(data[at : at + 188]) for at in range(0, len(data), 188)]
    for packet in packets:
        if packet[1:3] == b"\x50\x00":  # begins a section, on FFmpeg's number of the map
            end = 8 + (int.from_bytes(packet[6:8]) & 0xFFF)
            packet[17] = 0xD4
            packet[end - 4 : end] = checksum(packet[5 : end - 4])
    return b"".join(packets)


def checksum(section: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in section:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc.to_bytes(4)
