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
    wanted = os.environ.get("QT_QPA_PLATFORM") or "xcb"
    named = {each.partition(":")[0].lower() for each in wanted.split(";")}
    plugins = _plugins()
    if plugins and not any(f"{plugin}-".startswith(f"{name}-") for plugin in plugins for name in named):
        return f"QT_QPA_PLATFORM={wanted}, and this OpenCV has only {', '.join(plugins)}: unset it"
    if "xcb" not in named or (wayland and (not plugins or any("wayland" in plugin for plugin in plugins))):
        return None
    if not display:
        return "DISPLAY is not set, and this OpenCV has no windows on Wayland without X"
    return None if reaches_server() else f"DISPLAY={display} cannot be reached"


def _plugins() -> list[str]:
    """Qt's, by their names. Of OpenCV's builds, only the wheels have them beside them: theirs is the one for X."""
    folder = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms"
    return sorted(path.stem.removeprefix("libq") for path in folder.glob("libq*"))
