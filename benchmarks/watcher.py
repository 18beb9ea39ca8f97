"""Pictures that say when they were sent, and who looks at them: what a result's age is, whoever made it.

Needs NumPy alone, since it runs in the peers' environments, too.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict

import numpy as np

RATE, GOP, FRAMES = 30, 15, 900
# A square in the upper left corner for each bit of the picture's number.
_SIDE, _BITS = 16, 10


def stamp(image: np.ndarray, number: int) -> None:
    """Draw the number, 0 … 899, into a picture (height, width, 3) u8."""
    for bit in range(_BITS):
        image[:_SIDE, bit * _SIDE : (bit + 1) * _SIDE] = 235 if number >> bit & 1 else 20


def number_of(image: np.ndarray) -> int:
    """What `stamp` has drawn, also after H.264."""
    middle = image[_SIDE // 2, _SIDE // 2 : _BITS * _SIDE : _SIDE].mean(axis=-1)
    return int((middle > 128) @ (1 << np.arange(_BITS)))


class Watcher:
    """Sees results as they come to the user.

    Args:
        streams: how many cameras; camera k sends picture i at second (i + k / streams) / RATE of the monotonic clock,
            or clips later.
        seconds: how long it counts, after the warm-up.
        warm_up_s: from the first result of any stream.
    """

    def __init__(self, streams: int, seconds: float, warm_up_s: float = 4.0) -> None:
        self._streams, self._seconds, self._warm_up_s = streams, seconds, warm_up_s
        self._began_at = self._cpu_s = 0.0
        self._ages_s: dict[int, list[float]] = defaultdict(list)
        self._people = 0

    def saw(self, stream: int, image: np.ndarray, people: int) -> bool:
        """A result is there; whether to go on."""
        now = time.monotonic()
        if not self._began_at:
            self._began_at = now + self._warm_up_s
        if now < self._began_at:
            return True
        self._cpu_s = self._cpu_s or time.process_time()
        if now > self._began_at + self._seconds:
            return False
        sent_at, clip_s = (number_of(image) + stream / self._streams) / RATE, FRAMES / RATE
        self._ages_s[stream].append((now - sent_at) % clip_s)
        self._people += people
        return True

    def report(self) -> str:
        """One line of JSON: each stream's ages in seconds, the people, and the processor time."""
        ages = [[round(age, 4) for age in self._ages_s[i]] for i in range(self._streams)]
        cpu_s = round(time.process_time() - self._cpu_s, 2)
        return json.dumps({"ages_s": ages, "people": self._people, "cpu_s": cpu_s})
