"""A file of lines that is begun anew when it is too long or too old; what was written before gets a number."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from streampose.errors import ConfigError
from streampose.number import is_positive, is_whole, within
from streampose.whole import check_link

__all__ = ["Rotation", "create", "original", "rotate"]

# As we write them: a date (20251128) is none.
_NUMBER = r"(?:\d{6}|[1-9]\d{6})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """When a file is begun anew, and how many of the old ones stay.

    The file that is written keeps its name, ``NAME.jsonl``. An old one becomes ``NAME.000001.jsonl``, the next one
    ``NAME.000002.jsonl`` and so on, also over restarts: in the order of their numbers, the one without a number last,
    they are what would have been one file.

    Raises:
        ConfigError: a value makes no sense.
    """

    max_bytes: int | None = None
    """No file is longer, unless one line alone is; ≥ 1."""
    max_age_s: float | None = None
    """Since its first line, > 0; looked at when the next line comes."""
    keep: int | None = None
    """How many old files stay, ≥ 1; `None` = all."""

    def __post_init__(self) -> None:
        for name in ("max_bytes", "keep"):
            if (value := getattr(self, name)) is not None and not within(value, 1):
                raise ConfigError(f"{name} is at least 1, not {value}")
        if self.keep is not None and not is_whole(self.keep):
            raise ConfigError(f"keep is a whole number of files, not {self.keep}")
        if self.max_age_s is not None and not is_positive(self.max_age_s):
            raise ConfigError(f"max_age_s is more than 0, not {self.max_age_s}")

    def is_due(self, size_bytes: int, begun_at: float, line_bytes: int) -> bool:
        """Whether another file is begun before this line.

        Args:
            size_bytes: of the file so far; an empty one is never left behind.
            begun_at: monotonic seconds of its first line.
            line_bytes: of what comes.
        """
        if not size_bytes:
            return False
        if self.max_bytes is not None and size_bytes + line_bytes > self.max_bytes:
            return True
        return self.max_age_s is not None and time.monotonic() - begun_at >= self.max_age_s


def create(path: Path) -> int:
    """Begin an empty file, and return its descriptor; whoever empties it once more makes no hole in it.

    Raises:
        OSError: it cannot be; a link is a stranger's.
    """
    check_link(path)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)


def original(path: Path) -> Path | None:
    """The file of which this is an old one, by its name."""
    match = re.fullmatch(rf"(.+)\.{_NUMBER}(\.[^.]+)?", path.name)
    return None if match is None else path.parent / (match[1] + (match[2] or ""))


def rotate(path: Path, keep: int | None) -> None:
    """Give the file, which is closed, the next number, and remove old ones beyond `keep`.

    Where there is no file, or an empty one, nothing is done.

    Args:
        path: of a file, and not of a link, which would be renamed: see `followed`.
        keep: how many; `None` = all.

    Raises:
        OSError: the folder cannot be written.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    pattern = re.compile(rf"{re.escape(path.stem)}\.({_NUMBER}){re.escape(path.suffix)}")
    numbers = {int(match[1]): one for one in path.parent.iterdir() if (match := pattern.fullmatch(one.name))}
    number = max(numbers, default=0) + 1
    # Eight digits may be a date and so are no number of ours; what is there is never written over.
    while os.path.lexists(old := path.with_name(f"{path.stem}.{number:06}{path.suffix}")):
        number += 1
    # One rename, so that at every moment each line is in exactly one file.
    path.rename(numbers.setdefault(number, old))
    for one in sorted(numbers)[:-keep] if keep is not None else ():
        numbers[one].unlink(missing_ok=True)
