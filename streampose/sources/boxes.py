"""What an MP4 consists of: boxes, one behind the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["boxes", "has_index_in_front"]

# Of a file as a whole. What stands behind it for other programs, as an ID3 tag, is none.
_KINDS = frozenset(
    {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"emsg", b"prft", b"free", b"skip", b"uuid"}
)
# An hour and a half in which each frame is a fragment; so many are walked in 0.1 s.
_MOST = 1 << 18


def boxes(path: Path) -> Iterator[tuple[bytes, int]]:
    """The kind of each, and where it ends by its own words, which may be behind the end of the file."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(_MOST):
            file.seek(at)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:  # too large for 32 bits
                length = int.from_bytes(head[8:], "big")
            # The last may be cut off within its kind.
            if length < 8 or not kind or not any(one.startswith(kind) for one in _KINDS):
                return
            at += length
            yield kind, at
            if at >= size:
                return


def has_index_in_front(path: Path) -> bool:
    """Whether an MP4 says what it is before its pictures come."""
    media = (kind for kind, _ in boxes(path) if kind in {b"moov", b"moof", b"mdat"})
    return next(media, None) == b"moov"
