"""How a stream is, in a word, and what is wrong with it, in another. Both words are few: they are labels of metrics."""

from __future__ import annotations

from enum import Enum

from streampose.errors import cause_of
from streampose.sources.reconnect import LinkState
from streampose.streams import StreamReport

__all__ = ["StreamState", "fault_of", "state_of"]


class StreamState(Enum):
    """How a stream is."""

    OPENING = "opening"
    """Its source has not been there yet."""
    RUNNING = "running"
    LOST = "lost"
    """Its source was there, and is tried again."""
    ENDED = "ended"
    STOPPED = "stopped"
    FAILED = "failed"
    CANCELLED = "cancelled"


def state_of(report: StreamReport) -> StreamState:
    """The state of a stream."""
    if report.outcome is not None:
        return StreamState(report.outcome.value)
    if report.info is None:
        return StreamState.OPENING
    lost = report.link is not None and report.link.state is LinkState.LOST
    return StreamState.LOST if lost else StreamState.RUNNING


def fault_of(report: StreamReport) -> str | None:
    """Why a stream is not well: the cause of its link, or the kind of error that it ended by; `None` = it is well."""
    if report.error is not None:
        return cause_of(report.error)
    return None if report.link is None or report.outcome is not None else report.link.cause
