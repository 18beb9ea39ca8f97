"""RTSP over TCP, spoken by ourselves, so that a picture of H.264 or H.265 is there when its last packet is.

FFmpeg's demuxer does not look at RTP's marker bit: its parser ends a picture where the next one begins, one frame
interval later. What is not spoken here (other codecs, UDP, encryption of the media) is left to FFmpeg.
"""

from __future__ import annotations

from streampose.sources.rtsp.connection import NotSpoken
from streampose.sources.rtsp.container import NoPicture, RtspContainer

__all__ = ["NoPicture", "NotSpoken", "RtspContainer"]
