"""One run at a time for one output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from streampose.errors import SinkUnavailable
from streampose.whole import writing

__all__ = ["locked"]

# Another run that ends may take file and folder away at the moment at which they are opened: then once more.
_AGAIN_S = 0.1
_TRIES = 20


@contextmanager
def locked(out: Path, path: Path) -> Iterator[None]:
    """While it lasts, no other run writes the output; afterwards nothing of it stays.

    Args:
        out: what is written.
        path: of the lock; its folder is made, and goes, too, once it is empty.

    Raises:
        SinkUnavailable: another run has it.
        SinkFailed: the disk is full, or read-only.
    """
    with writing(out):
        held = _acquired(FileLock(path), out, path.parent)
    with held:
        try:
            yield
        finally:
            # While it is held: whoever has opened it meanwhile sees that it is gone. Windows does so by itself.
            with suppress(OSError):
                path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()


def _acquired(lock: BaseFileLock, out: Path, folder: Path) -> AbstractContextManager[object]:
    for left in reversed(range(_TRIES)):
        try:
            folder.mkdir(exist_ok=True)
            return lock.acquire(timeout=_AGAIN_S, poll_interval=_AGAIN_S / 4)
        except Timeout as error:
            raise SinkUnavailable(f"{out} is being written by another streampose: wait, or name another") from error
        except (FileNotFoundError, FileExistsError):
            if not left:
                raise
    raise AssertionError
