"""A process that brings encoded video to a media server. It is run by `Relay`, and imports nothing of streampose.

Why a process: PyAV holds the interpreter's lock while an output connects and while it ends, for as long as the server
is silent. Measured with PyAV 18.1 and a server that accepts and says nothing: RTSP 3.1 s with a timeout of 3 s, RTMP
until the process was killed, and no other thread ran meanwhile. This one holds up nobody, and can be killed.

Standard input: a line of JSON, then for each packet `HEADER` and its bytes. Standard output: a line for each packet
that was sent, ``+``; or what went wrong, in words. It ends with its input.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import struct
import sys
from fractions import Fraction
from typing import BinaryIO

import av

HEADER = struct.Struct(">q?I")
"""Of a packet: pts, whether it is a key frame, and how many bytes follow."""


def main() -> None:
    """Serve one connection."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the end is the end of the input, whoever ends our parent
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    try:
        _relay(incoming, outgoing)
    except (av.error.FFmpegError, OSError) as error:
        outgoing.write((error.strerror or type(error).__name__).encode() + b"\n")
        outgoing.flush()


def _relay(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    asked = json.loads(incoming.readline())
    # A native thread that needs no lock ends this process, should nobody be there to kill it: later than the parent,
    # which says why, gives it up.
    patience_s = 2 * asked["timeout_s"]
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - kept open for faulthandler
        container = av.open(asked["url"], "w", format=asked["format"], container_options=asked["options"])
        time_base = Fraction(*asked["time_base"])
        stream = container.add_mux_stream(
            "h264", rate=Fraction(*asked["rate"]), width=asked["width"], height=asked["height"], time_base=time_base
        )
        while header := incoming.read(HEADER.size):
            pts, is_key, size = HEADER.unpack(header)
            packet = av.Packet(incoming.read(size))
            packet.stream, packet.time_base = stream, time_base
            packet.pts = packet.dts = pts
            packet.is_keyframe = is_key
            faulthandler.dump_traceback_later(patience_s, file=nowhere, exit=True)
            container.mux(packet)
            faulthandler.cancel_dump_traceback_later()
            outgoing.write(b"+\n")
            outgoing.flush()
        faulthandler.dump_traceback_later(patience_s, file=nowhere, exit=True)
        container.close()
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
