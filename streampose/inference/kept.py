"""What is made once and kept in a file: whole or not at all, and never a reason to fail."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path

__all__ = ["keep", "sealed", "unsealed"]

log = logging.getLogger("streampose")


def keep(path: Path, data: bytes) -> None:
    """Write a file and its folder; two processes or threads may do it at once. A warning says if it cannot be."""
    partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s cannot be written, so the next start makes it again: %s", path, error)


def sealed(data: bytes) -> bytes:
    """With a digest behind it."""
    return data + hashlib.sha256(data).digest()


def unsealed(path: Path) -> bytes | None:
    """What was sealed in a file; `None` = there is none, or, with a warning, it is damaged."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        log.warning("%s cannot be read, so it is made again: %s", path, error)
        return None
    data = content[: -hashlib.sha256().digest_size]
    if sealed(data) == content:
        return data
    log.warning("%s is damaged, so it is made again", path)
    return None
