"""Standard input, output and error: they are there, and what cannot be printed is told."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from streampose.errors import SinkFailed

__all__ = ["all_there", "standard_output"]


def all_there() -> None:
    """Open what is closed of the three as nothing: else the next files would get their numbers.

    libuv aborts the process when it is to close one of these, and C libraries would write their words into a file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, so this one


@contextmanager
def standard_output() -> Iterator[None]:
    """While it lasts, what is printed is printed whole, or it is told; signs that are not in its encoding become "?".

    Raises:
        SinkFailed: it cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    before = sys.stdout
    if not isinstance(before, io.TextIOWrapper):  # closed, or somebody's own
        yield
        return
    before.flush()
    told = _Told(
        before.buffer,
        before.encoding,
        "replace",
        line_buffering=before.line_buffering,
        write_through=before.write_through,
    )
    sys.stdout = told
    try:
        yield
    finally:
        sys.stdout = before
        try:
            told.flush()
        except OSError:
            # What is left would be written, and fail, once more at the interpreter's end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), told.fileno())
            raise
        finally:
            told.detach()


class _Told(io.TextIOWrapper):
    def write(self, text: str, /) -> int:
        with _telling():
            return super().write(text)

    def flush(self) -> None:
        with _telling():
            super().flush()


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SinkFailed(f"standard output cannot be written: {error.strerror or error}") from error
