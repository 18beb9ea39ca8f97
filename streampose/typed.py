"""Errors of code that is not ours, as typed ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from streampose.errors import StreamposeError
from streampose.redaction import redact

__all__ = ["Typed"]

P = ParamSpec("P")
R = TypeVar("R")


class Typed:
    """Around code that is not ours, or that may have a bug: an error that nobody foresaw leaves as a typed one.

    A context and a decorator of functions that do not wait. A `StreamposeError` goes through as it is, and so does the
    cancellation of who waits in the context; one that leaves a function is that of somebody else's task. A function
    that calls `sys.exit` has failed, too.

    Args:
        kind: what it becomes; the original is its cause.
        what: what failed, for the message.
        passing: goes through, too.
    """

    def __init__(self, kind: type[StreamposeError], what: str = "", passing: tuple[type[Exception], ...] = ()) -> None:
        self._kind, self._what = kind, what
        self._passing: tuple[type[Exception], ...] = (StreamposeError, *passing)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, self._passing):
            raise self._as_ours(error) from error

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, whose errors leave typed."""

        @wraps(function)
        def typed(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                with self:
                    return function(*args, **kwargs)
            except (asyncio.CancelledError, SystemExit, KeyboardInterrupt) as error:
                if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                    raise  # Ctrl-C
                raise self._as_ours(error) from error

        return typed

    def _as_ours(self, error: BaseException) -> StreamposeError:
        # Of others, who may say it in several lines, and with a password.
        words = redact(" ".join(str(error).split()))
        return self._kind(f"{self._what}{type(error).__name__}: {words}".removesuffix(": "))
