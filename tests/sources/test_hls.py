"""HLS and transport streams: recordings, what is live, and encoders that stop."""

from __future__ import annotations

from pathlib import Path

from servers.folder import RATE, SEGMENT, playlist, segment, served
from watching import watch

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


def test_a_transport_stream_that_shall_be_live_is_so_unless_it_has_a_size(tmp_path: Path):
    segment(tmp_path / "a.ts", 0)
    with served(tmp_path) as url:
        assert open_source(f"{url}/a.ts").live is False
        recording = open_source(f"{url}/a.ts", live=True)
        recording.open("s")
        frames = list(iter(recording.read, None))
        recording.close()
        assert len(frames) == SEGMENT
        assert frames[-1].captured_at - frames[0].captured_at > 0.8 * (SEGMENT - 1) / RATE
        tv = open_source(f"{url}/a.ts?live", live=True)
        assert isinstance(tv, Reconnecting)
        tv.open("s")
        assert {tv.read().epoch for _ in range(SEGMENT + 2)} == {0, 1}
        assert tv.link.lost.total() == 1
        tv.close()
