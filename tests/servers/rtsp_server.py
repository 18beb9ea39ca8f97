"""A real RTSP server on loopback, run by the system's Python (GStreamer's bindings are Debian packages).

/usr/bin/python3 rtsp_server.py [options]     serves /live, a moving test picture or a clip (`clip.py`); prints its port

With --streams N a clip is served as /live0, /live1, …: N cameras, a part of a period apart, that send picture i of the
clip at second (i + stream / N) / rate of the monotonic clock, or a whole number of clips later, to everybody.

SIGUSR1 makes the pictures of every session half as wide and high, and the next one as they were.
"""

import argparse
import itertools
import math
import signal
import struct
import time
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--address", default="127.0.0.1")
parser.add_argument("--port", default="0")
parser.add_argument("--codec", choices=["h264", "h265", "mjpeg"], default="h264")
parser.add_argument("--size", default="160x120")
parser.add_argument("--rate", type=int, default=30)
parser.add_argument("--gop", type=int, default=15)
parser.add_argument("--clip", type=Path, help="H.264 that is sent as it is, again and again; nothing is encoded")
parser.add_argument("--streams", type=int, help="so many cameras that send the clip by the clock")
parser.add_argument("--sound", action="store_true")
parser.add_argument("--udp-only", action="store_true")
parser.add_argument("--user")
parser.add_argument("--password")
parser.add_argument("--digest", action="store_true", help="ask for the password so, not by Basic")
parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="PEM files: serve rtsps")
arguments = parser.parse_args()

width, height = map(int, arguments.size.split("x"))
encoder = {
    "h264": f"x264enc tune=zerolatency speed-preset=ultrafast key-int-max={arguments.gop} "
    "! rtph264pay config-interval=1",
    "h265": f"x265enc tune=zerolatency speed-preset=ultrafast key-int-max={arguments.gop} option-string=log-level=none "
    "! h265parse ! rtph265pay config-interval=1",
    "mjpeg": "jpegenc ! rtpjpegpay",
}[arguments.codec]
payload = 26 if arguments.codec == "mjpeg" else 96

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address(arguments.address)
server.set_service(arguments.port)


def caps(part: int) -> str:
    return f"video/x-raw,format=I420,width={width // part},height={height // part},framerate={arguments.rate}/1"


drawn = f"videotestsrc is-live=true pattern=ball ! capsfilter name=size caps={caps(1)} ! {encoder}"
sent = (
    "appsrc name=clip is-live=true format=time do-timestamp=true "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au ! h264parse ! rtph264pay config-interval=1"
)
sound = "audiotestsrc is-live=true wave=silence ! alawenc ! rtppcmapay name=pay1 pt=8" if arguments.sound else ""
auth = GstRtspServer.RTSPAuth()
if arguments.tls:
    auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*arguments.tls))
if arguments.user is not None:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if arguments.digest:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(arguments.user, arguments.password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(arguments.user, arguments.password), token)
if arguments.tls or arguments.user is not None:
    server.set_auth(auth)


def read_clip(path: Path) -> list[bytes]:
    data, frames = path.read_bytes(), []
    while data:
        (size,) = struct.unpack_from(">I", data)
        frames.append(data[4 : 4 + size])
        data = data[4 + size :]
    return frames


frames = read_clip(arguments.clip) if arguments.clip else []
medias = []
parts = itertools.cycle([2, 1])


def configured(_: object, media: GstRtspServer.RTSPMedia, phase: float | None) -> None:
    """A session begins; of a camera that sends by the clock, with the next key frame."""
    medias.append(media)
    media.connect("unprepared", medias.remove)
    if not frames:
        return
    source, rate = media.get_element().get_child_by_name("clip"), arguments.rate
    began, first = time.monotonic(), 0
    if phase is not None:
        first = (math.floor(began * rate - phase) // arguments.gop + 1) * arguments.gop
        began = phase / rate
    coming = itertools.count(first)

    def push() -> bool:
        i = next(coming)
        if source.emit("push-buffer", Gst.Buffer.new_wrapped(frames[i % len(frames)])) == Gst.FlowReturn.OK:
            wait_for(i + 1)
        return False

    def wait_for(i: int) -> None:
        GLib.timeout_add(max(0, round(1000 * (began + i / rate - time.monotonic()))), push)

    wait_for(first)


def factory(phase: float | None = None) -> GstRtspServer.RTSPMediaFactory:
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(f"( {sent if arguments.clip else drawn} name=pay0 pt={payload} {sound} )")
    # Not one picture for all: where two first clients PLAY at once, GStreamer 1.22 aborts (gst_rtsp_media_get_rates).
    made.set_shared(False)
    if arguments.udp_only:
        made.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    if arguments.user is not None:
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        made.set_permissions(permissions)
    made.connect("media-configure", configured, phase)
    return made


def switch() -> bool:
    part = next(parts)
    for media in medias:
        media.get_element().get_child_by_name("size").set_property("caps", Gst.Caps.from_string(caps(part)))
    return True


GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR1, switch)
mounts = server.get_mount_points()
mounts.add_factory("/live", factory())
for i in range(arguments.streams or 0):
    mounts.add_factory(f"/live{i}", factory(phase=i / arguments.streams))
if not server.attach(None):
    raise SystemExit(f"port {arguments.port} is taken")
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
