"""A screen of one's own: Xvfb, with a window manager, as desktops have one."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = "Xvfb", "openbox"

_COUNT = itertools.count()
# Windows have no frame, and the corner is theirs.
_CONFIG = """<openbox_config xmlns="http://openbox.org/3.4/rc"><theme><keepBorder>no</keepBorder></theme><applications>
<application class="*"><decor>no</decor><position force="yes"><x>0</x><y>0</y></position></application></applications>
</openbox_config>"""


class XServer:
    """Both programs, or without the manager; `display` is the name of the screen."""

    def __init__(self, width: int, height: int, *, managed: bool = True) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._server = subprocess.Popen(
            # A number of its own: servers that look for a free one at the same time take the same. And no reset when
            # one program leaves before the next comes: who comes meanwhile is refused.
            [
                "Xvfb", f":{10_000 + (97 * os.getpid() + next(_COUNT)) % 20_000}", "-displayfd", "1",
                "-screen", "0", f"{width}x{height}x24", "-noreset", "-nolisten", "tcp",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._server.stdout is not None
        self.display = f":{self._server.stdout.readline().strip()}"
        self._manager = self._manage() if managed else None

    def _manage(self) -> subprocess.Popen[bytes]:
        (config := self._folder / "rc.xml").write_text(_CONFIG)
        ready = self._folder / "ready"
        manager = subprocess.Popen(
            ["openbox", "--sm-disable", "--config-file", config, "--startup", f"touch {ready}"],
            env=os.environ | {"DISPLAY": self.display},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 20
        while not ready.exists():
            assert time.monotonic() < until, "openbox does not start"
            time.sleep(0.01)
        return manager

    def die(self) -> None:
        """End at once, under the windows that are open."""
        self._server.kill()
        self._server.wait()

    def close(self) -> None:
        for process in filter(None, (self._manager, self._server)):
            process.terminate()
            process.wait()
        assert self._server.stdout is not None
        self._server.stdout.close()
        shutil.rmtree(self._folder)
