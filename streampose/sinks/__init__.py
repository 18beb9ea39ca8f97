"""Where results go."""

from streampose.sinks.alpha import PNG_NAMES, AlphaVideoSink, PngSink
from streampose.sinks.coco import CocoSink
from streampose.sinks.joined import join_videos
from streampose.sinks.jsonl import JsonlSink
from streampose.sinks.sink import Sink, StopRequested
from streampose.sinks.video import VIDEO_SUFFIXES, VideoSink

__all__ = [
    "PNG_NAMES",
    "VIDEO_SUFFIXES",
    "AlphaVideoSink",
    "CocoSink",
    "JsonlSink",
    "PngSink",
    "Sink",
    "StopRequested",
    "VideoSink",
    "join_videos",
]
