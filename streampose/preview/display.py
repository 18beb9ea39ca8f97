"""Whether windows can be shown here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2

from streampose.errors import SinkUnavailable
from streampose.preview.x11 import reaches_server

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
    if _PLATFORM == "linux" and (why := _why_no_desktop()) is not None:
        return f"no screen here ({why}): run it in a desktop session"
    if not cv2.currentUIFramework():
        # Both are one folder: without either, the other has lost files.
        return (
            "this OpenCV has no windows: pip uninstall opencv-python opencv-python-headless, then pip install "
            "opencv-python"
        )
    return None


def _why_no_desktop() -> str | None:
    """Asked beforehand, because Qt does not raise an error: it ends the process."""
    display, wayland = os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY")
    if not display and not wayland:
        return "DISPLAY is not set"
    if "xcb" not in os.environ.get("QT_QPA_PLATFORM", "xcb") or (wayland and _has_wayland()):
        return None
    if not display:
        return "DISPLAY is not set, and this OpenCV has no windows on Wayland without X"
    return None if reaches_server() else f"DISPLAY={display} cannot be reached"


def _has_wayland() -> bool:
    """Of OpenCV's builds, only the wheels have Qt's plugins beside them: theirs is the one for X."""
    plugins = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms"
    return not plugins.is_dir() or any(plugins.glob("*wayland*"))
