"""Windows: what is in them, and what drives them."""

from streampose.preview.display import why_no_screen
from streampose.preview.models import Models, choices_of
from streampose.preview.preview import Preview
from streampose.preview.screen import Screen, run_with_windows
from streampose.preview.view import View
from streampose.preview.window import Watched, WindowSink

__all__ = [
    "Models",
    "Preview",
    "Screen",
    "View",
    "Watched",
    "WindowSink",
    "choices_of",
    "run_with_windows",
    "why_no_screen",
]
