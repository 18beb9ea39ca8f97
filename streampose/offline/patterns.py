"""Globs, and numbered names as ``frame_%04d.png``."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from itertools import takewhile
from pathlib import Path

__all__ = ["Pattern"]

_NUMBER = re.compile(r"%0?(\d*)d")
_SIGNS = re.compile(r"[*?\[]")
# What a part with a number is split into: numbers, signs (a set is never across a number), and text.
_TOKENS = re.compile(r"(%0?\d*d|[*?]|\[[^]%]+\])")
_LONGEST = 255  # of all names


class Pattern:
    """A path with signs in it.

    The folders in front that are there as they are written are meant so, whatever signs they hold, and so are brackets
    in a part with a number, unless nothing is there like that.

    Args:
        text: as it was typed.
    """

    def __init__(self, text: str) -> None:
        path = Path(text)
        self.root = next((folder for folder in path.parents if folder.is_dir()), Path())
        """The last of those folders."""
        self._parts = path.relative_to(self.root).parts
        self._sets = False
        """Whether brackets beside numbers are signs."""
        self.files = self._matching()
        """All that it matches, in no order."""
        if not self.files:
            self._sets = True
            self.files = self._matching()

    @staticmethod
    def means(text: str) -> bool:
        """Whether a text is one."""
        return bool(_SIGNS.search(text) or _NUMBER.search(text))

    @property
    def prefix(self) -> str:
        """What the names of its files begin with, as far as that is certain."""
        last = self._parts[-1]
        return "".join(takewhile(self._is_text, _TOKENS.split(last))) if _NUMBER.search(last) else _SIGNS.split(last)[0]

    @property
    def one_folder(self) -> bool:
        """Whether all its files lie in one folder."""
        return len(self._parts) == 1

    def _matching(self) -> list[Path]:
        pattern = "/".join(map(self._as_glob, self._parts))
        names = glob.glob(pattern, root_dir=self.root, recursive=True)  # noqa: PTH207 - takes .. and ** at the end, too
        return [path for name in names if self._fits(Path(name)) and (path := self.root / name).is_file()]

    def _fits(self, name: Path) -> bool:
        """Whether numbers are nothing but numbers; before a ``**`` the places are not certain."""
        parts = takewhile(lambda part: part != "**", reversed(self._parts))
        flags = re.IGNORECASE if os.name == "nt" else 0
        return all(
            re.fullmatch(self._as_regex(part), found, flags)
            for part, found in zip(parts, reversed(name.parts), strict=False)
            if _NUMBER.search(part)
        )

    def _as_glob(self, part: str) -> str:
        if not _NUMBER.search(part):
            return part
        tokens = (glob.escape(token) if self._is_text(token) else token for token in _TOKENS.split(part))
        return "".join("[0-9]*" if _NUMBER.fullmatch(token) else token for token in tokens)

    def _as_regex(self, part: str) -> str:
        def one(token: str) -> str:
            if self._is_text(token):
                return re.escape(token)
            if number := _NUMBER.fullmatch(token):
                return f"[0-9]{{{min(_LONGEST, max(1, int(number[1] or 1)))},}}"
            return fnmatch.translate(token)[:-2]  # without the end

        return "".join(map(one, _TOKENS.split(part)))

    def _is_text(self, token: str) -> bool:
        """Whether a token of a part with a number means itself."""
        return not _TOKENS.fullmatch(token) or (token[0] == "[" and not self._sets)
