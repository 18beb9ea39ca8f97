"""Whether windows can be shown here."""

from __future__ import annotations

import os
import sys

import cv2

from streampose.errors import SinkUnavailable

__all__ = ["check_screen", "why_no_screen"]

_PLATFORM: str = sys.platform


def check_screen() -> None:
    """See whether windows can be shown.

    Raises:
        SinkUnavailable: there is no screen, or this OpenCV has no windows.
    """
    if (why := why_no_screen()) is not None:
        raise SinkUnavailable(f"{why}; or leave out --show (WindowSink), and write to a file with --out (VideoSink)")


def why_no_screen() -> str | None:
    """Why no window can be shown here, and what to do about it; `None` = nothing is known against it."""
    # Asked beforehand, because Qt does not raise an error: it ends the process.
    if _PLATFORM == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "no screen here (DISPLAY is not set): run it in a desktop session"
    if not cv2.currentUIFramework():
        # Both are one folder: without either, the other has lost files.
        return (
            "this OpenCV has no windows: pip uninstall opencv-python opencv-python-headless, then pip install "
            "opencv-python"
        )
    return None
