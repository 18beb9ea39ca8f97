"""What aiohttp logs of requests: those that it cannot read are strangers', who must not fill the log with them."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

__all__ = ["Complaints"]


class Complaints(logging.LoggerAdapter[logging.Logger]):
    """For `aiohttp.web.AppRunner(logger=…)`. Of a request that cannot be read there is one line, for debugging.

    The exception is kept out before there is a record: it quotes what was sent, a token among it.
    """

    def __init__(self) -> None:
        super().__init__(logging.getLogger("aiohttp.server"))

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log it, or that line."""
        if isinstance(error := kwargs.get("exc_info"), HttpProcessingError | RequestPayloadError):
            super().log(logging.DEBUG, f"{msg}: %s", *args, type(error).__name__)
        else:
            super().log(level, msg, *args, **kwargs)
