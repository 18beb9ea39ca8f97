"""Streams from real servers on loopback, and servers that do wrong."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import socket
import struct
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO

import av
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from servers.rtmp import Asking, Publisher, RtmpServer, has_rtmp_server
from servers.rtsp import RtspServer, has_gstreamer

from streampose.errors import (
    ConfigError,
    Disconnected,
    HostNotFound,
    SourceEnded,
    SourceError,
    SourceNotFound,
    SourceRefused,
    SourceTimeout,
    SourceUnauthorized,
    SourceUnsupported,
)
from streampose.redaction import redact
from streampose.sources import Backoff, NetworkSource, Reconnecting, Source, open_source

rtsp = pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")


@pytest.fixture(scope="module")
def open_server() -> Iterator[RtspServer]:
    server = RtspServer()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def locked_server() -> Iterator[RtspServer]:
    server = RtspServer("--user", "user", "--password", "secret")
    yield server
    server.kill()


def source(url: str, **options) -> NetworkSource:
    return NetworkSource(url, open_timeout_s=5, stall_s=1, **options)


def read_on(camera: NetworkSource) -> None:
    for _ in range(1000):
        assert camera.read() is not None, "a lost camera looked like the end"


@rtsp
def test_rtsp_over_tls(tmp_path: Path):
    """With a certificate that the camera signed itself, as cameras do."""
    certificate, key = self_signed(tmp_path)
    server = RtspServer("--tls", str(certificate), str(key), "--user", "user", "--password", "secret")
    try:
        camera = source(server.url(userinfo="user:secret@").replace("rtsp:", "rtsps:"))
        assert camera.open("cam").codec == "h264"
        assert camera.read() is not None
        camera.close()
        wrong = source(server.url(userinfo="user:wrong@").replace("rtsp:", "rtsps:"))
        with pytest.raises(SourceUnauthorized, match="check user and password") as caught:
            wrong.open("cam")
        assert "wrong" not in str(caught.value)
    finally:
        server.kill()


def self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "camera")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    return folder / "certificate.pem", folder / "key.pem"


@pytest.mark.skipif(not has_rtmp_server(), reason="an RTMP server is absent (nginx, libnginx-mod-rtmp)")
def test_an_rtmp_stream_and_its_server_that_is_killed(tmp_path: Path):
    server = RtmpServer(tmp_path)
    publisher = Publisher(server.url())
    camera = Reconnecting(source(server.url()))
    try:
        info = camera.open("cam")
        assert (info.width_px, info.height_px, info.codec) == (160, 120, "h264")
        frames = [camera.read() for _ in range(20)]
        for before, after in pairwise(frames):
            assert (after.time_s - before.time_s) == pytest.approx(1 / 30, abs=0.002)  # FLV counts milliseconds
        server.kill()
        publisher.stop()
        server.start()
        publisher = Publisher(server.url())
        until = time.monotonic() + 20
        while (frame := camera.read()).epoch == 0:
            assert time.monotonic() < until
        assert frame.time_s > frames[-1].time_s
        assert camera.link.reconnects == 1
    finally:
        camera.interrupt()
        camera.close()
        publisher.stop()
        server.kill()


@rtsp
@pytest.mark.parametrize("transport", ["tcp", "udp", "auto"])
def test_an_rtsp_camera(open_server: RtspServer, transport: str):
    camera = source(open_server.url(), transport=transport)
    info = camera.open("cam")
    assert (info.width_px, info.height_px, info.codec) == (160, 120, "h264")
    frames = [camera.read() for _ in range(30)]
    camera.close()
    camera.close()
    assert all(f is not None for f in frames)
    assert all(a.pts < b.pts for a, b in pairwise(frames))
    # The clock of the stream and ours go alike: 29 frames of 1/30 s.
    assert 0.5 < frames[-1].time_s - frames[0].time_s < 2


@rtsp
def test_a_camera_that_has_udp_only():
    server = RtspServer("--udp-only")
    camera = source(server.url(), transport="auto")
    camera.open("cam")
    assert all(camera.read() is not None for _ in range(10))
    camera.close()
    server.kill()


@rtsp
def test_passwords(locked_server: RtspServer):
    camera = source(f"rtsp://user:secret@127.0.0.1:{locked_server.port}/live")
    camera.open("cam")
    assert camera.read() is not None
    camera.close()
    for userinfo in ("user:wrong@", ""):
        with pytest.raises(SourceUnauthorized, match="check user and password") as caught:
            source(f"rtsp://{userinfo}127.0.0.1:{locked_server.port}/live").open("cam")
        assert "wrong" not in str(caught.value)


@rtsp
def test_a_wrong_path(open_server: RtspServer):
    with pytest.raises(SourceNotFound, match="404"):
        source(f"rtsp://127.0.0.1:{open_server.port}/none").open("cam")


@rtsp
def test_a_camera_that_goes_away():
    server = RtspServer()
    camera = source(f"rtsp://127.0.0.1:{server.port}/live")
    camera.open("cam")
    assert camera.read() is not None
    server.kill()
    with pytest.raises(SourceEnded):
        read_on(camera)
    camera.close()


@pytest.mark.parametrize(
    "rest",
    [
        "sec/ret@h/x",
        "sec?ret@h/x",
        "sec#ret@h/x",
        "sec[ret@h/x",
        "sec/ret \u3000sec@h/x",
        "12#sec@h/x",
        "12?sec@h/x",
        "12/sec#@h/x",
    ],
)
def test_a_password_that_was_not_escaped_is_told_and_not_shown(rest: str):
    with pytest.raises(ConfigError, match=r"rtsp://\*\*\*@.*%2F") as caught:
        source(f"rtsp://me:{rest}").open("cam")
    assert "sec" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_what_only_looks_like_a_password_is_none():
    for rest in ("h:80/@me", "me:secret@h/x?mail=a@b", "h/x?mail=a@b", "h?mail=a@b", "h/x.jpg#a@b"):
        source(f"http://{rest}")
    with pytest.raises(ConfigError, match=r"rtsp://h:99999/x has .*a port is a number up to 65535"):
        source("rtsp://h:99999/x")


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_user_brings_no_line_end_into_a_request(scheme: str):
    for userinfo in ("a%0d%0aX%3a%201:pw", "a:pw%00", "a\x1b2J:pw", "a:p\u00a0w", "a:\x1cpw", "a\x85:pw"):
        with pytest.raises(ConfigError, match=rf"^{scheme}://\*\*\*@h/x: .*only printable characters"):
            source(f"{scheme}://{userinfo}@h/x")
    source(f"{scheme}://a%20b:%E9%C3%A9@h/x")


def test_a_password_with_a_space_is_not_shown():
    assert repr(source("rtsp://me:sec ret@h/x y")) == "NetworkSource('rtsp://***@h/x y')"


def test_a_password_with_a_space_arrives_over_rtmp_and_no_traceback_shows_it():
    with Asking() as server, pytest.raises(Disconnected, match=r"^rtmp://\*\*\*@127\.0\.0\.1:") as caught:
        source(f"rtmp://me:sec ret@{server.address}/app/x").open("cam")
    assert server.knows("sec ret")
    assert "sec ret" in str(caught.value.__cause__)
    assert "ret" not in redact(str(caught.value.__cause__))


@contextlib.contextmanager
def sent(url: str, container_format: str) -> Iterator[None]:
    """H.264 to a port of this machine, a key frame in ten."""
    over = threading.Event()

    def send() -> None:
        with av.open(url, "w", format=container_format) as container:
            stream = container.add_stream("libx264", rate=50, options={"preset": "ultrafast", "tune": "zerolatency"})
            stream.width, stream.height, stream.pix_fmt, stream.codec_context.gop_size = 160, 120, "yuv420p", 10
            while not over.wait(0.02):
                picture = np.full((120, 160, 3), 90, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def closed(camera: Source) -> None:
    """As long as something comes its thread ends at once; it waits for seconds if nothing does."""
    camera.close()
    for thread in threading.enumerate():
        if thread.name == "streampose-feed-cam":
            thread.join(5)


def free_port() -> int:
    """An even one, as RTP wants it, and the next is free, too."""
    while True:
        with socket.socket(type=socket.SOCK_DGRAM) as free, socket.socket(type=socket.SOCK_DGRAM) as following:
            free.bind(("127.0.0.1", 0))
            if (port := free.getsockname()[1]) % 2 == 0:
                with contextlib.suppress(OSError):
                    following.bind(("127.0.0.1", port + 1))
                    return port


def test_what_a_camera_sends_by_rtp_is_told_by_an_sdp_file(tmp_path: Path):
    port, described = free_port(), tmp_path / "a#b@c.sdp"
    lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=x", "c=IN IP4 127.0.0.1", "t=0 0", f"m=video {port} RTP/AVP 96"]
    described.write_text("\n".join([*lines, "a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1", ""]))
    with sent(f"rtp://127.0.0.1:{port}", "rtp"):
        camera = open_source(str(described))
        assert camera.live
        assert camera.open("cam").width_px == 160
        assert camera.read() is not None
        closed(camera)
        # One of the web opens no ports here.
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Folder, directory=tmp_path)) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                with pytest.raises(SourceUnsupported, match="is not video"):
                    source(f"http://127.0.0.1:{server.server_address[1]}/a%23b@c.sdp").open("cam")
            finally:
                server.shutdown()
                thread.join()
        with pytest.raises(SourceUnsupported, match=r"give an \.sdp file"):
            open_source(f"rtp://127.0.0.1:{port}").open("cam")


@pytest.mark.parametrize("url", ["udp://@:{}", "udp://:{}", "rtp://:{}"])
def test_a_port_without_a_host_is_this_machine_s(url: str):
    port = free_port()
    with sent(f"{url[:3]}://127.0.0.1:{port}", "mpegts" if url.startswith("udp") else "rtp_mpegts"):
        camera = open_source(url.format(port))
        assert camera.open("cam").width_px == 160
        closed(camera)


def test_no_such_host(monkeypatch: pytest.MonkeyPatch):
    def getaddrinfo(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(HostNotFound, match=r"no host nowhere\.invalid"):
        source("rtsp://nowhere.invalid/x").open("cam")


def test_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(SourceRefused, match="refused"):
            source(f"rtsp://u:secret@127.0.0.1:{free.getsockname()[1]}/x").open("cam")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    ("scheme", "transport"), [("rtsp", "auto"), ("rtsp", "tcp"), ("tcp", "auto"), ("http", "auto")]
)
def test_a_camera_that_still_starts_and_closes_every_connection_is_waited_for(scheme: str, transport: str, reset: bool):
    over = threading.Event()

    def closing() -> None:
        while not over.is_set():
            connection, _ = server.accept()
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=closing)
        thread.start()
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x"
        camera = Reconnecting(source(url, transport=transport), backoff=Backoff(first_s=0.01, cap_s=0.01))
        waited_for = threading.Thread(target=interrupt_after_tries, args=(camera, 3))
        waited_for.start()
        with pytest.raises(Disconnected, match="closed"):
            camera.open("cam")
        assert camera.link.tries >= 3
        camera.close()
        waited_for.join()
        over.set()
        socket.create_connection(server.getsockname()).close()  # macOS shuts no socket down that listens
        thread.join()


def interrupt_after_tries(camera: Reconnecting, tries: int) -> None:
    until = time.monotonic() + 10
    while camera.link.tries < tries and time.monotonic() < until:
        time.sleep(0.005)
    camera.interrupt()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_says_nothing(scheme: str):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        quiet = NetworkSource(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x", open_timeout_s=0.5, stall_s=0.5)
        with pytest.raises(SourceTimeout, match="gave no picture within 0"):
            quiet.open("cam")
        quiet.close()


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path.strip("/").split(".")[0])
        if status != 200:
            self.send_error(status)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"this is not video, whatever you hope for. " * 5000)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("401", SourceUnauthorized),
        ("403", SourceUnauthorized),
        ("404", SourceNotFound),
        ("500", Disconnected),
        ("200", SourceError),
    ],
)
def test_answers_over_http(path: str, error: type):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with pytest.raises(error):
                source(f"http://127.0.0.1:{server.server_address[1]}/{path}").open("cam")
        finally:
            server.shutdown()
            thread.join()


class _Folder(http.server.SimpleHTTPRequestHandler):
    """Knows no ranges, and breaks off after as many bytes as are asked for."""

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:
        asked = self.path.partition("?")[2]
        outputfile.write(source.read(int(asked) if asked else -1))

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("movflags", "asked", "error"),
    [
        ("", "", (SourceUnsupported, "index at its end must be: download it first")),
        ("faststart", "", None),
        ("faststart", "?20000", (Disconnected, "was lost")),
        ("frag_keyframe+empty_moov", "?20000", (Disconnected, "was lost")),
    ],
)
def test_a_server_without_ranges_and_an_index_at_the_end(tmp_path: Path, movflags: str, asked: str, error):
    noise = np.random.default_rng(0)
    with av.open(str(tmp_path / "v.mp4"), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(8):  # of 100 kB: more than what is kept to go back in
            picture = noise.integers(0, 256, (240, 320, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Folder, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        recording = open_source(f"http://127.0.0.1:{server.server_address[1]}/v.mp4{asked}")
        try:
            if error is None:
                recording.open("s")
                assert len(list(iter(recording.read, None))) == 8
            else:
                with pytest.raises(error[0], match=error[1]):
                    recording.open("s")
        finally:
            recording.close()
            server.shutdown()
            thread.join()
