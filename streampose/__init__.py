"""Streaming real-time human pose estimation: many live streams, one engine, a latency budget.

To begin with, in a loop or in asyncio:

    for result in streampose.results("rtsp://camera/1"):
        print(result.frame.time_s, len(result.poses))

    async for result in streampose.stream("rtsp://camera/1"): ...

and `Pipeline` underneath, for many streams, sinks of your own, and control.
"""

import os as _os
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

# ONNX Runtime (from 1.29 on, not only on Windows) tells Microsoft what it runs and on what; no camera network asked for
# that. It reads this once, when it is loaded.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# OpenCV first: PyAV bundles a libxcb of its own, and when that one is loaded first, cv2.imshow on Linux hangs
# for ever (opencv/opencv#21952, PyAV-Org/PyAV#978).
import cv2 as _cv2  # noqa: F401

__version__ = "0.1.0"

if TYPE_CHECKING:
    from streampose.public import *  # noqa: F403
    from streampose.public import __all__ as __all__
else:
    # Not before somebody asks: a command can then be cut off, or say its version, while nothing else is loaded.

    def __getattr__(name: str) -> object:
        if name == "__all__" or not name.startswith("__"):
            public = _import_module("streampose.public")
            if name == "__all__" or name in public.__all__:
                globals()[name] = getattr(public, name)
            if name in globals():  # or it is a module that came with them
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_import_module("streampose.public").__all__})
