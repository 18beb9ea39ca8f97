"""Where frames come from."""

from streampose.sources.backoff import Backoff
from streampose.sources.camera import CameraSource, camera_names
from streampose.sources.file import FileSource
from streampose.sources.images import ImagesSource
from streampose.sources.looped import Looped
from streampose.sources.network import NetworkSource
from streampose.sources.opening import open_source
from streampose.sources.paced import Paced
from streampose.sources.reconnect import Link, LinkState, Reconnecting
from streampose.sources.source import Source
from streampose.sources.synthetic import SyntheticSource

__all__ = [
    "Backoff",
    "CameraSource",
    "FileSource",
    "ImagesSource",
    "Link",
    "LinkState",
    "Looped",
    "NetworkSource",
    "Paced",
    "Reconnecting",
    "Source",
    "SyntheticSource",
    "camera_names",
    "open_source",
]
