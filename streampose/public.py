"""The public names; `streampose` has them, too, from when one of them is asked for."""

from streampose.api import results, stream
from streampose.batching import BatchPolicy, FixedBatch, LatencyBatch
from streampose.clip import Clip, Moment
from streampose.errors import StreamposeError
from streampose.formats import load
from streampose.frame import Frame, Image, StreamInfo
from streampose.inference.boxes import Limits
from streampose.inference.engine import EngineOptions
from streampose.inference.estimator import Estimator
from streampose.inference.loading import ModelChoice, load_estimator, load_estimators
from streampose.metrics import Snapshot
from streampose.pipeline import Pipeline
from streampose.pose import Person, Poses, Skeleton
from streampose.preview import WindowSink, run_with_windows
from streampose.render import Renderer, Style
from streampose.result import Result, Timing
from streampose.sinks import (
    CallSink,
    Carrier,
    CocoSink,
    JsonlSink,
    PushSink,
    Rotation,
    SendSink,
    Sink,
    SnapshotSink,
    StopRequested,
    VideoSink,
    send_to,
)
from streampose.skeletons import COCO_17, COCO_WHOLEBODY_133, HALPE_26, OPENPOSE_18, OPENPOSE_25
from streampose.sources import PushSource, Source, SyntheticSource, open_source
from streampose.streams import Outcome, Stream, StreamReport
from streampose.tracking import OneEuro, Tracker

__all__ = [
    "COCO_17",
    "COCO_WHOLEBODY_133",
    "HALPE_26",
    "OPENPOSE_18",
    "OPENPOSE_25",
    "BatchPolicy",
    "CallSink",
    "Carrier",
    "Clip",
    "CocoSink",
    "EngineOptions",
    "Estimator",
    "FixedBatch",
    "Frame",
    "Image",
    "JsonlSink",
    "LatencyBatch",
    "Limits",
    "ModelChoice",
    "Moment",
    "OneEuro",
    "Outcome",
    "Person",
    "Pipeline",
    "Poses",
    "PushSink",
    "PushSource",
    "Renderer",
    "Result",
    "Rotation",
    "SendSink",
    "Sink",
    "Skeleton",
    "Snapshot",
    "SnapshotSink",
    "Source",
    "StopRequested",
    "Stream",
    "StreamInfo",
    "StreamReport",
    "StreamposeError",
    "Style",
    "SyntheticSource",
    "Timing",
    "Tracker",
    "VideoSink",
    "WindowSink",
    "load",
    "load_estimator",
    "load_estimators",
    "open_source",
    "results",
    "run_with_windows",
    "send_to",
    "stream",
]
