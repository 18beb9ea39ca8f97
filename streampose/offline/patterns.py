"""Globs, and numbered names as ``frame_%04d.png``."""

from __future__ import annotations

import glob
import os
import re
from itertools import takewhile
from pathlib import Path

__all__ = ["Pattern"]

_NUMBER = re.compile(r"%0?(\d*)d")
_SIGNS = re.compile(r"[*?\[]")


class Pattern:
    """A path with signs in it.

    The folders in front that are there as they are written are meant so, whatever signs they hold, and so are signs in
    a part with a number.

    Args:
        text: as it was typed.
    """

    def __init__(self, text: str) -> None:
        path = Path(text)
        self.root = next((folder for folder in path.parents if folder.is_dir()), Path())
        """The last of those folders."""
        self._parts = path.relative_to(self.root).parts

    @staticmethod
    def means(text: str) -> bool:
        """Whether a text is one."""
        return bool(_SIGNS.search(text) or _NUMBER.search(text))

    @property
    def prefix(self) -> str:
        """What the names of its files begin with, as far as that is certain."""
        last = self._parts[-1]
        return _NUMBER.split(last)[0] if _NUMBER.search(last) else _SIGNS.split(last)[0]

    @property
    def one_folder(self) -> bool:
        """Whether all its files lie in one folder."""
        return len(self._parts) == 1

    def files(self) -> list[Path]:
        """All that it matches, in no order."""
        pattern = "/".join(map(_as_glob, self._parts))
        names = glob.glob(pattern, root_dir=self.root, recursive=True)  # noqa: PTH207 - takes .. and ** at the end, too
        return [path for name in names if self._fits(Path(name)) and (path := self.root / name).is_file()]

    def _fits(self, name: Path) -> bool:
        """Whether numbers are nothing but numbers; before a ``**`` the places are not certain."""
        parts = takewhile(lambda part: part != "**", reversed(self._parts))
        flags = re.IGNORECASE if os.name == "nt" else 0
        return all(
            re.fullmatch(_as_regex(part), found, flags)
            for part, found in zip(parts, reversed(name.parts), strict=False)
            if _NUMBER.search(part)
        )


def _as_glob(part: str) -> str:
    if not _NUMBER.search(part):
        return part
    return "[0-9]*".join(glob.escape(piece) for piece in _NUMBER.split(part)[::2])


def _as_regex(part: str) -> str:
    pieces = _NUMBER.split(part)
    widths = [f"[0-9]{{{max(1, int(width or 1))},}}" for width in pieces[1::2]]
    return "".join(re.escape(text) + width for text, width in zip(pieces[::2], [*widths, ""], strict=True))
