"""A real RTSP server that takes what is pushed to it, run by the system's Python.

/usr/bin/python3 media_server.py [options] FOLDER     prints its port

What is pushed to /live (or each --name) goes as it is into FOLDER/live.0.ts, the next session into live.1.ts.
"""

import argparse
import pathlib

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--address", default="127.0.0.1")
parser.add_argument("--port", default="0")
parser.add_argument("--name", action="append", default=[])
parser.add_argument("--user")
parser.add_argument("--password")
arguments = parser.parse_args()

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address(arguments.address)
server.set_service(arguments.port)


class Factory(GstRtspServer.RTSPMediaFactory):
    """Each session has a file of its own."""

    def __init__(self, name):
        super().__init__()
        self.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
        self.set_latency(0)
        self._name = name

    def do_create_element(self, url):
        count = len(list(arguments.folder.glob(f"{self._name}.*.ts")))
        file = arguments.folder / f"{self._name}.{count}.ts"
        return Gst.parse_launch(
            f"( rtph264depay name=depay0 ! h264parse config-interval=-1 ! mpegtsmux alignment=1 "
            f"! filesink buffer-mode=unbuffered sync=false async=false location={file} )"
        )


if arguments.user is not None:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(arguments.user, arguments.password), token)
    server.set_auth(auth)
for name in arguments.name or ["live"]:
    factory = Factory(name)
    if arguments.user is not None:
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory(f"/{name}", factory)
if not server.attach(None):
    raise SystemExit(f"port {arguments.port} is taken")
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
