"""Standard input, output and error: they are there, and what cannot be printed is told, or lost where nobody can be."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from streampose.errors import SinkFailed

__all__ = ["all_there", "standard_error", "standard_output", "to_nowhere"]

F = TypeVar("F", bound=io.TextIOWrapper)


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
    sys.stdout = told = _like(before, _Told, "replace")
    try:
        yield
    finally:
        sys.stdout = before
        try:
            told.flush()
        except OSError:
            # What is left would be written, and fail, once more at the interpreter's end.
            to_nowhere(told.fileno())
            raise
        finally:
            told.detach()


@contextmanager
def standard_error() -> Iterator[None]:
    """While it lasts, words that cannot be written are lost and end no work: nobody reads them, the terminal is gone.

    Each is tried anew, for a disk that was full may have room again.
    """
    before = sys.stderr
    if not isinstance(before, io.TextIOWrapper):  # closed, or somebody's own
        yield
        return
    sys.stderr = lossy = _like(before, _Lossy, before.errors)
    try:
        yield
    finally:
        sys.stderr = before
        lossy.detach()
        try:
            before.flush()
        except OSError:
            to_nowhere(before.fileno())  # likewise


def to_nowhere(number: int) -> None:
    """From now on nothing comes of what is written to this descriptor, not even an error.

    Raises:
        OSError: no file can be opened any more.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _like(file: io.TextIOWrapper, kind: type[F], errors: str | None) -> F:
    """Another one around the same bytes."""
    return kind(
        file.buffer, file.encoding, errors, line_buffering=file.line_buffering, write_through=file.write_through
    )


class _Lossy(io.TextIOWrapper):
    def write(self, text: str, /) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


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
