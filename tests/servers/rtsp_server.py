"""A real RTSP server on loopback, run by the system's Python (GStreamer's bindings are Debian packages).

/usr/bin/python3 rtsp_server.py [options]     serves /live, a moving test picture; prints its port
"""

import argparse

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
parser.add_argument("--udp-only", action="store_true")
parser.add_argument("--user")
parser.add_argument("--password")
parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="PEM files: serve rtsps")
arguments = parser.parse_args()

width, height = arguments.size.split("x")
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
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f"( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width={width},height={height},"
    f"framerate={arguments.rate}/1 ! {encoder} name=pay0 pt={payload} )"
)
# Not one picture for all: where two first clients PLAY at once, GStreamer 1.22 aborts (gst_rtsp_media_get_rates).
factory.set_shared(False)
if arguments.udp_only:
    factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
auth = GstRtspServer.RTSPAuth()
if arguments.tls:
    auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*arguments.tls))
if arguments.user is not None:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(arguments.user, arguments.password), token)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)
if arguments.tls or arguments.user is not None:
    server.set_auth(auth)
server.get_mount_points().add_factory("/live", factory)
if not server.attach(None):
    raise SystemExit(f"port {arguments.port} is taken")
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
