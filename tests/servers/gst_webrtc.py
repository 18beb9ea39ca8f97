"""GStreamer's webrtcbin publishes a test picture by WHIP, or plays by WHEP. Run by the system's Python, which has it.

    gst_webrtc.py URL SECONDS

At the end a player prints how many pictures came, and the caps of the last one.
"""

import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 - their versions come first

PEER = "webrtcbin name=peer bundle-policy=max-bundle"
PUBLISHES = (
    PEER + " videotestsrc is-live=true pattern=ball"
    " ! video/x-raw,width=320,height=240,framerate=30/1 ! vp8enc deadline=1 keyframe-max-dist=30"
    " ! rtpvp8pay ! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! peer."
)
VP8 = "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=96"
SHOWS = "rtpvp8depay ! vp8dec ! fakesink name=screen signal-handoffs=true sync=false"


def main(url: str, seconds: float) -> None:
    Gst.init(None)
    plays = "/whep/" in url
    loop, pipeline = GLib.MainLoop(), Gst.parse_launch(PEER if plays else PUBLISHES)
    peer = pipeline.get_by_name("peer") or pipeline
    session, shown = [], []

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

    def comes(_, stream):
        screen = Gst.parse_bin_from_description(SHOWS, True)
        screen.get_by_name("screen").connect(
            "handoff", lambda _, __, pad: shown.append(pad.get_current_caps().to_string())
        )
        top.add(screen)
        screen.sync_state_with_parent()
        stream.link(screen.get_static_pad("sink"))

    top = Gst.Pipeline() if plays else pipeline
    if plays:
        top.add(peer)
        peer.connect("pad-added", comes)
        peer.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(VP8))
    peer.connect(
        "on-negotiation-needed", lambda p: p.emit("create-offer", None, Gst.Promise.new_with_change_func(offered))
    )
    peer.connect("notify::ice-gathering-state", gathered)
    top.set_state(Gst.State.PLAYING)
    GLib.timeout_add(int(1000 * seconds), loop.quit)
    loop.run()
    if not session:
        raise SystemExit("the offer was not answered")
    base = url.partition("/whep" if plays else "/whip")[0]
    with urllib.request.urlopen(urllib.request.Request(base + session[0], method="DELETE"), timeout=10):
        pass
    top.set_state(Gst.State.NULL)
    if plays:
        print(len(shown), shown[-1] if shown else "")


main(sys.argv[1], float(sys.argv[2]))
