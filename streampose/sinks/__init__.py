"""Where results go."""

from streampose.sinks.alpha import PNG_NAMES, AlphaVideoSink, PngSink
from streampose.sinks.call import CallSink
from streampose.sinks.coco import CocoSink
from streampose.sinks.joined import join_videos
from streampose.sinks.jsonl import JsonlSink
from streampose.sinks.push import PushSink, is_push
from streampose.sinks.rotation import Rotation
from streampose.sinks.send import Carrier, SendSink
from streampose.sinks.servers import send_to
from streampose.sinks.sink import Sink, StopRequested
from streampose.sinks.snapshot import SnapshotSink
from streampose.sinks.video import VIDEO_SUFFIXES, VideoSink

__all__ = [
    "PNG_NAMES",
    "VIDEO_SUFFIXES",
    "AlphaVideoSink",
    "CallSink",
    "Carrier",
    "CocoSink",
    "JsonlSink",
    "PngSink",
    "PushSink",
    "Rotation",
    "SendSink",
    "Sink",
    "SnapshotSink",
    "StopRequested",
    "VideoSink",
    "is_push",
    "join_videos",
    "send_to",
]
