"""The keys of a window."""

from __future__ import annotations

from enum import Enum

__all__ = ["ESCAPE", "Action", "action_of"]

ESCAPE = 27


class Action(Enum):
    """What a key does: the key, how it is written, and what the help says."""

    HELP = "h", "h", "show or hide this help"
    PAUSE = " ", "space", "hold the picture; the run goes on"
    SNAPSHOT = "s", "s", "save the picture as a PNG file"
    FULL_SCREEN = "f", "f", "full screen"
    MIRROR = "r", "r", "mirror the view"
    BOXES = "b", "b", "boxes"
    IDS = "i", "i", "numbers of people"
    HUD = "d", "d", "figures"
    MODEL = "m", "m", "next model"
    QUIT = "q", "q, Esc", "stop (Esc leaves full screen first)"

    def __init__(self, key: str, written: str, meaning: str) -> None:
        self.key, self.written, self.meaning = key, written, meaning


_BY_KEY = {ord(action.key): action for action in Action} | {ord("?"): Action.HELP, ESCAPE: Action.QUIT}


def action_of(code: int) -> Action | None:
    """What a key code of OpenCV means, with or without shift; `None` = nothing."""
    code &= 0xFFFF  # above are shift and its like, on some systems
    return _BY_KEY.get(code + 32 if ord("A") <= code <= ord("Z") else code)
