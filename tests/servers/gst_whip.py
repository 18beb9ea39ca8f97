"""Publishes a test picture by GStreamer's webrtcbin and WHIP. Run by the system's Python, which has GStreamer."""

import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 - their versions come first

PIPELINE = (
    "webrtcbin name=peer bundle-policy=max-bundle videotestsrc is-live=true pattern=ball"
    " ! video/x-raw,width=320,height=240,framerate=30/1 ! vp8enc deadline=1 keyframe-max-dist=30"
    " ! rtpvp8pay ! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! peer."
)


def main(url: str, seconds: float) -> None:
    Gst.init(None)
    loop, pipeline = GLib.MainLoop(), Gst.parse_launch(PIPELINE)
    peer = pipeline.get_by_name("peer")
    session = []

    def offered(promise, *_):
        reply = promise.get_reply()  # has to live as long as what is taken out of it
        offer = reply.get_value("offer")
        peer.emit("set-local-description", offer, Gst.Promise.new())

    def gathered(*_):
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(publish)

    def publish():
        if not session:
            text = peer.get_property("local-description").sdp.as_text()
            request = urllib.request.Request(url, text.encode(), {"Content-Type": "application/sdp"}, method="POST")
            with urllib.request.urlopen(request, timeout=10) as response:
                session.append(response.headers["Location"])
                text = response.read().decode()
            _, answer = GstSdp.SDPMessage.new()
            GstSdp.sdp_message_parse_buffer(text.encode(), answer)
            described = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, answer)
            peer.emit("set-remote-description", described, Gst.Promise.new())
        return False

    peer.connect(
        "on-negotiation-needed", lambda p: p.emit("create-offer", None, Gst.Promise.new_with_change_func(offered))
    )
    peer.connect("notify::ice-gathering-state", gathered)
    pipeline.set_state(Gst.State.PLAYING)
    GLib.timeout_add(int(1000 * seconds), loop.quit)
    loop.run()
    base = url.partition("/whip")[0]
    with urllib.request.urlopen(urllib.request.Request(base + session[0], method="DELETE"), timeout=10):
        pass
    pipeline.set_state(Gst.State.NULL)


main(sys.argv[1], float(sys.argv[2]))
