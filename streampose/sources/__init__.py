"""Where frames come from."""

from streampose.backoff import Backoff
from streampose.sources.camera import CameraSource
from streampose.sources.excerpt import Cut, Excerpt
from streampose.sources.file import FileSource
from streampose.sources.images import ImagesSource
from streampose.sources.listing import camera_names, cameras
from streampose.sources.looped import Looped
from streampose.sources.network import NetworkSource
from streampose.sources.offer import CameraInfo, CameraMode, CameraWish, format_name, in_words
from streampose.sources.opening import is_camera, open_source
from streampose.sources.paced import Paced
from streampose.sources.pushed import PushSource
from streampose.sources.reconnect import Link, LinkState, Reconnecting
from streampose.sources.sound import sound_of
from streampose.sources.source import Source
from streampose.sources.synthetic import SyntheticSource

__all__ = [
    "Backoff",
    "CameraInfo",
    "CameraMode",
    "CameraSource",
    "CameraWish",
    "Cut",
    "Excerpt",
    "FileSource",
    "ImagesSource",
    "Link",
    "LinkState",
    "Looped",
    "NetworkSource",
    "Paced",
    "PushSource",
    "Reconnecting",
    "Source",
    "SyntheticSource",
    "camera_names",
    "cameras",
    "format_name",
    "in_words",
    "is_camera",
    "open_source",
    "sound_of",
]
