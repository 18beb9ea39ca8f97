"""Log lines for people or for machines, without passwords.

The standard library's logging: what our libraries say goes through it anyway, and JSON takes one formatter.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TextIO

from cv2.utils import logging as opencv

from streampose.redaction import redact

__all__ = [
    "JsonFormatter",
    "LogFormat",
    "LogLevel",
    "StandardError",
    "TextFormatter",
    "clean_records",
    "in_one_line",
    "in_sight",
    "set_up",
]

_TEXT = "%(levelname)s %(message)s"
_OURS = ("stream", "event", "cause")
# What moves a terminal's cursor, begins a line for some, or turns the direction of writing.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class LogFormat(Enum):
    """How a log line looks."""

    TEXT = "text"
    JSON = "json"


class LogLevel(Enum):
    """The least that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def number(self) -> int:
        """The standard library's."""
        return logging.getLevelNamesMapping()[self.name]


class StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at that moment: a live display puts itself in its place, to be written above."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self.stream = sys.stderr
        super().emit(record)


def in_sight(text: str) -> str:
    """A text for a terminal, whoever has written it: all but line ends and tabs is seen and does nothing."""
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def in_one_line(text: str) -> str:
    """The same in one line: no part of it is taken for another message."""
    return in_sight(text).replace("\n", "\\n")


class TextFormatter(logging.Formatter):
    """``LEVEL message`` in one line, and a traceback below. What servers and strangers say may be in both."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines."""
        return in_sight(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """The first one."""
        return in_one_line(super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, and where there are such
    ``stream``, ``event``, ``cause``, ``exception``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **{key: _clean(getattr(record, key, None)) for key in _OURS},
            "message": redact(record.getMessage()),
            "exception": record.exc_text or (self.formatException(record.exc_info) if record.exc_info else None),
        }
        text = json.dumps({key: value for key, value in line.items() if value is not None}, ensure_ascii=False)
        return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the base class's name
        """Its traceback, without passwords."""
        return redact(super().formatException(ei))


def clean_records() -> None:
    """From now on no log record of this process, whoever makes and whoever handles it, has a URL's password in it.

    Records are cleaned where they are made: a filter on a logger or a handler of ours would not see what goes from a
    library's logger to a handler of its own. Message and traceback are written out for that.
    """
    if getattr(logging.getLogRecordFactory(), "cleans", False):
        return
    make = logging.getLogRecordFactory()

    def clean(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.msg, record.args = redact(_message(record)), ()
        if record.exc_info is not None and record.exc_info[1] is not None:
            record.exc_text = redact("".join(traceback.format_exception(record.exc_info[1])).rstrip())
            # Handlers that write an exception out themselves would find the password in it.
            record.exc_info = None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return record

    clean.cleans = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(clean)


def set_up(form: LogFormat = LogFormat.TEXT, level: int = logging.WARNING) -> None:
    """Log to standard error like this; what ends a thread unforeseen is logged, too."""
    clean_records()
    handler = StandardError()
    handler.setFormatter(JsonFormatter() if form is LogFormat.JSON else TextFormatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler])
    # Those of HTTP log whole URLs, and a webhook's path is a secret.
    for library in ("asyncio", "httpx", "httpcore"):
        logging.getLogger(library).setLevel(max(level, logging.WARNING))
    # OpenCV writes lines of its own; of an image that it cannot read ours tell.
    if level > logging.DEBUG:
        opencv.setLogLevel(opencv.LOG_LEVEL_SILENT)
    if form is LogFormat.JSON:
        logging.captureWarnings(True)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _thread_crashed


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # arguments that do not fit: logging would only complain
        return f"{record.msg} {record.args}"


def _clean(value: object) -> object:
    return redact(value) if isinstance(value, str) else value


def _thread_crashed(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        name = args.thread.name if args.thread else "a thread"
        logging.getLogger("streampose").critical("%s crashed", name, exc_info=args.exc_value, extra={"event": "crash"})
