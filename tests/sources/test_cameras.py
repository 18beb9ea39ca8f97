"""Cameras: what they offer, what is asked of them, and everything that goes wrong with them.

There is no video driver here, and no camera: FFmpeg's real v4l2 demuxer and our real ioctls talk to
servers/fake_v4l2.c, which answers by the kernel's header. What FFmpeg says on macOS and Windows is written here after
its source (libavdevice/avfoundation.m and dshow.c), not recorded from a machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest

from streampose.cli.main import main
from streampose.errors import SourceUnsupported
from streampose.sources import CameraMode, CameraWish, format_name, in_words, is_camera, listing, open_source
from streampose.sources.listing import parse_avfoundation, parse_dshow
from streampose.sources.offer import completed

SERVERS = Path(__file__).parents[1] / "servers"
OFFER = "mjpeg 1280x720 (30, 15), 640x480 (30); yuyv422 640x480 (30), 1280x720 (10)"


def mode(pixel_format: str, width: int, height: int, *rates: float) -> CameraMode:
    return CameraMode(pixel_format=pixel_format, min_size_px=(width, height), max_size_px=(width, height), rates=rates)


WEBCAM = [
    mode("mjpeg", 1280, 720, 30, 15), mode("mjpeg", 640, 480, 30), mode("yuyv422", 640, 480, 30),
    mode("yuyv422", 1280, 720, 10),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "chosen"),
    [
        (CameraWish(), None),
        (CameraWish(size_px=(1280, 720)), "mjpeg"),  # 30 fps instead of 10
        (CameraWish(size_px=(640, 480)), "yuyv422"),  # the same rate without decoding
        (CameraWish(size_px=(1280, 720), rate=10), "yuyv422"),
        (CameraWish(size_px=(1280, 720), pixel_format="yuyv422"), "yuyv422"),
        (CameraWish(rate=15), None),
        (CameraWish(pixel_format="mjpeg"), "mjpeg"),
    ],
)
def test_the_fastest_format_of_a_size_is_chosen(wish: CameraWish, chosen: str | None):
    assert completed("camera 0", wish, WEBCAM).pixel_format == chosen


@pytest.mark.parametrize(
    ("wish", "size_px", "pixel_format"),
    [
        (CameraWish(rate=30), (640, 480), "yuyv422"),  # what it is set to has it
        (CameraWish(rate=30, pixel_format="mjpeg"), (640, 480), "mjpeg"),
        (CameraWish(rate=15), (1280, 720), "mjpeg"),  # nothing else has it
        (CameraWish(rate=10), (1280, 720), "yuyv422"),
        (CameraWish(pixel_format="mjpeg"), None, "mjpeg"),  # its own size, whatever it is
    ],
)
def test_a_rate_alone_gets_a_size_that_has_it(wish: CameraWish, size_px: tuple[int, int] | None, pixel_format: str):
    asked = completed("camera 0", wish, WEBCAM, (640, 480))
    assert (asked.size_px, asked.pixel_format, asked.rate) == (size_px, pixel_format, wish.rate)


def test_a_rate_that_the_present_size_has_not_gets_the_largest_that_has_it():
    modes = [mode("mjpeg", 320, 240, 60), mode("mjpeg", 1280, 720, 60), mode("mjpeg", 1920, 1080, 30)]
    assert completed("camera 0", CameraWish(rate=60), modes, (1920, 1080)).size_px == (1280, 720)


def test_where_the_system_finds_a_size_for_a_rate_it_is_left_to_it():
    assert completed("camera 0", CameraWish(rate=15), WEBCAM) == CameraWish(rate=15)


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        (CameraWish(size_px=(1920, 1080)), "1920x1080"),
        (CameraWish(rate=60), "60 fps"),
        (CameraWish(pixel_format="h264"), "h264"),
        (CameraWish(size_px=(1280, 720), pixel_format="yuyv422", rate=30), "1280x720, yuyv422, 30 fps"),
    ],
)
def test_what_is_not_offered_is_refused_with_the_offer(wish: CameraWish, text: str):
    with pytest.raises(SourceUnsupported) as caught:
        completed("camera 0", wish, WEBCAM)
    assert str(caught.value) == f"camera 0 does not offer {text}; it offers {OFFER}"


def test_a_camera_that_tells_nothing_is_asked_all_the_same():
    assert completed("camera 0", CameraWish(size_px=(9, 9), pixel_format="nv12"), []).pixel_format == "nv12"


def test_formats_have_one_name():
    assert [format_name(t) for t in ("MJPG", "mjpeg", "YUYV", "yuyv422", "Y16 ")] == [
        "mjpeg", "mjpeg", "yuyv422", "yuyv422", "y16",
    ]  # fmt: skip


def test_what_ffmpeg_says_on_windows_is_understood():
    modes = parse_dshow(
        textwrap.dedent("""
        DirectShow video device options (from video devices)
         Pin "Capture" (alternative pin name "0")
          vcodec=mjpeg  min s=1280x720 fps=5 max s=1280x720 fps=30
          vcodec=mjpeg  min s=1280x720 fps=5 max s=1280x720 fps=30 (pc, bt470bg/bt709/unknown, center)
          pixel_format=yuyv422  min s=640x480 fps=30 max s=640x480 fps=30
          unknown compression type 0x3032344D  min s=640x480 fps=30 max s=640x480 fps=30
    """)
    )
    assert in_words(modes) == "mjpeg 1280x720 (30 to 5); yuyv422 640x480 (30)"
    assert completed("c", CameraWish(size_px=(1280, 720), rate=12), modes).pixel_format == "mjpeg"


def test_what_ffmpeg_says_on_macos_is_understood():
    modes = parse_avfoundation(
        textwrap.dedent("""
        Selected video size (1x1) is not supported by the device.
        Supported modes:
          1280x720@[1.000000 30.000030]fps
          640x480@[30.000000 30.000000]fps
    """)
    )
    assert in_words(modes) == "1280x720 (30 to 1), 640x480 (30)"
    assert completed("c", CameraWish(size_px=(1280, 720), pixel_format="nv12"), modes).pixel_format == "nv12"
    with pytest.raises(SourceUnsupported):
        completed("c", CameraWish(size_px=(1280, 720), rate=60), modes)


def test_there_is_no_camera(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    if sys.platform != "linux":
        pytest.skip("only Linux has a folder of cameras")
    monkeypatch.setattr(listing, "_DEVICES", tmp_path)
    assert listing.cameras() == []


# --- the same, by FFmpeg and ioctl ---


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None or not Path("/usr/include/linux/videodev2.h").exists():
        pytest.skip("a C compiler with the kernel's headers on Linux is absent")
    library = tmp_path_factory.mktemp("driver") / "fake_v4l2.so"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, SERVERS / "fake_v4l2.c", "-ldl"]
    subprocess.run(command, check=True)
    return library


class Desk:
    """A folder with one fake camera."""

    def __init__(self, driver: Path, folder: Path) -> None:
        self.device = folder / "video0"
        self.device.touch()
        self.environment = os.environ | {
            "LD_PRELOAD": str(driver),
            "FAKE_V4L2": str(folder),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COLUMNS": "300",
        }
        cv2.imwrite(f"{self.device}.jpg", np.full((720, 1280, 3), (40, 200, 40), np.uint8))

    def mark(self, what: str) -> Path:
        mark = Path(f"{self.device}.{what}")
        mark.touch()
        return mark

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", textwrap.dedent(code)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.python(f"""
            import sys
            from pathlib import Path
            from streampose.sources import listing
            listing._DEVICES = Path({str(self.device.parent)!r})
            sys.argv = ["streampose", *{arguments!r}]
            from streampose.cli import main
            main()
        """)


@pytest.fixture
def desk(driver: Path, tmp_path: Path) -> Desk:
    return Desk(driver, tmp_path)


def test_the_command_lists_cameras(desk: Desk):
    done = desk.command("cameras", "--json")
    (camera,) = json.loads(done.stdout)
    assert (camera["device"], camera["name"], camera["error"]) == (str(desk.device), "Fake Camera", None)
    assert camera["modes"][0] == {
        "pixel_format": "mjpeg", "min_size_px": [1280, 720], "max_size_px": [1280, 720], "rates": [30, 15],
        "any_rate": False,
    }  # fmt: skip
    lines = [" ".join(line.split()) for line in desk.command("cameras").stdout.splitlines()]
    assert lines == [
        f"{desk.device} Fake Camera","mjpeg 1280x720 (30, 15), 640x480 (30)", "yuyv422 640x480 (30), 1280x720 (10)",
    ]  # fmt: skip


def test_pictures_come_in_the_size_and_format_asked_for(desk: Desk):
    done = desk.python(f"""
        from streampose.sources import CameraSource, CameraWish
        size = (1280, 720)
        for wish in (CameraWish(), CameraWish(size_px=size), CameraWish(size_px=size, rate=15), CameraWish(rate=10)):
            source = CameraSource("v4l2:{desk.device}", wish)
            info = source.open("s")
            image = source.read().image
            print(info.codec, info.width_px, info.height_px, info.rate, *image[100, 100])
            source.close()
    """)
    small, fast, slow, slowest = (line.split() for line in done.stdout.splitlines())
    assert small[:4] == ["rawvideo", "640", "480", "30"]
    assert fast[:4] == ["mjpeg", "1280", "720", "30"]
    assert np.abs(np.array(fast[4:], int) - (40, 200, 40)).max() < 8
    assert slow[:4] == ["mjpeg", "1280", "720", "15"]
    assert slowest[:4] == ["rawvideo", "1280", "720", "10"]  # 640 × 480, as it is set to, has no such rate


@pytest.mark.parametrize(
    ("mark", "words"),
    [("denied", "permission denied; on Linux add yourself to the video group"), ("busy", "in use by another program")],
)
def test_why_a_camera_cannot_be_had_is_one_line(desk: Desk, mark: str, words: str):
    desk.mark(mark)
    done = desk.command("run", f"v4l2:{desk.device}", "--json", "-", "--quiet")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: camera v4l2:{desk.device}: ")
    assert words in line


def test_a_format_that_ffmpeg_does_not_know_is_not_chosen():
    plain, depth, packed = mode("yuyv422", 640, 480, 30), mode("z16", 640, 480, 90, 30), mode("hevc", 640, 480, 60, 30)
    for modes, chosen in (([plain, depth, packed], "yuyv422"), ([packed, depth], None)):
        assert completed("c", CameraWish(rate=30), modes, (640, 480)).pixel_format == chosen


def test_a_mode_that_is_not_there_is_one_line_with_the_offer(desk: Desk):
    device = f"v4l2:{desk.device}"
    done = desk.command(
        "run", device, "--json", "-", "--quiet", "--camera-size", "1920x1080", "--camera-format", "MJPG"
    )
    assert (done.returncode, done.stderr) == (
        1, f"error: camera {device} does not offer 1920x1080, mjpeg; it offers {OFFER}\n",
    )  # fmt: skip


def test_only_webcams_are_mirrored_and_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    texts = ("0", "v4l2:/dev/video7", "rtsp://camera/1", "synthetic:")
    assert [is_camera(open_source(text)) for text in texts] == [True, True, False, False]
    monkeypatch.setattr(sys, "argv", ["streampose", "run", "synthetic:", "--camera-fps", "30"])
    with pytest.raises(SystemExit):
        main()
    assert "are for cameras of this machine" in capsys.readouterr().err


def test_a_camera_that_was_pulled_out_comes_back(desk: Desk):
    done = desk.python(f"""
        import threading, time
        from pathlib import Path
        from streampose.sources import Backoff, CameraSource, Reconnecting
        gone, device = Path("{desk.device}.gone"), Path("{desk.device}")
        source = Reconnecting(CameraSource("v4l2:{desk.device}"), backoff=Backoff(first_s=0.1, cap_s=0.2))
        source.open("s")
        first = [source.read() for _ in range(3)]
        gone.touch()
        device.unlink()
        threading.Timer(0.7, lambda: (gone.unlink(), device.touch())).start()
        while (frame := source.read()).epoch == 0:
            pass
        print(frame.epoch, frame.index > first[-1].index, dict(source.link.lost), source.link.reconnects)
        source.close()
    """)
    assert done.stdout == "1 True {'lost': 1} 1\n", done.stderr
