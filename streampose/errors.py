"""Every exception that streampose raises on purpose, as one tree.

    StreamposeError
    ├── ConfigError (ValueError)              what was asked for makes no sense, or cannot be done together
    ├── SourceError
    │   ├── SourceNotFound (FileNotFoundError)    no such file, camera, host path or stream
    │   ├── SourceUnsupported (ValueError)        it is there, but it is not video that we can read
    │   ├── SourceUnauthorized (PermissionError)  the server or the system refuses us
    │   ├── SourceCorrupt (ValueError)            the media is truncated or damaged
    │   │   └── SourceTruncated                       a recording that is played live broke off
    │   └── Disconnected (ConnectionError)        a live source went away: the one kind worth retrying
    │       ├── HostNotFound                          no such host (permanent if it never was there)
    │       ├── SourceRefused (ConnectionRefusedError)  the host is there, but nobody listens
    │       ├── SourceEnded                           the server ended the stream
    │       ├── SourceGarbled (ValueError)            what it sends is not what it sent before, or not to be read
    │       └── SourceTimeout (TimeoutError)          no answer, or connected but silent
    │           └── SourceStalled                     bytes come, but no picture can be made of them
    ├── ModelError
    │   ├── ModelNotFound (FileNotFoundError)     no such model file or name
    │   ├── ModelUnreadable (ValueError)          the file is not an ONNX model
    │   ├── ModelUnknown (ValueError)             the graph fits no family that we know
    │   ├── ModelMismatch (ValueError)            a model of one kind was given in the place of another
    │   ├── ModelOutputError (ArithmeticError)    the model returned NaN or values that cannot be
    │   ├── ProviderUnavailable (RuntimeError)    the device that was asked for cannot be used
    │   └── EngineFailed (RuntimeError)           the runtime failed while running the model
    │       └── DeviceLost                            the GPU is gone, for this process for good
    ├── DownloadError (OSError)
    │   └── ChecksumMismatch (ValueError)         what came is not what was promised
    ├── SinkError
    │   ├── SinkUnavailable (OSError)             the output cannot be opened
    │   ├── SinkFailed (OSError)                  the output broke while writing: disk full, device gone
    │   ├── SinkAway (ConnectionError)            the server of an output is not there: it is tried again
    │   │   └── SinkLater                             it is there, and says that it takes nothing for now
    │   └── SinkRefused (PermissionError)         it is there, and does not want what it is sent
    ├── FormatUnreadable (ValueError)         a file of poses is not what its name or content says
    ├── PolicyError (RuntimeError)            a batch policy failed, or took what it was not offered
    ├── ChannelClosed                         no more items will come, or none is taken any more
    └── WorkerClosed (RuntimeError)           a call on a worker after its end
        └── WorkerStuck (TimeoutError)        a call did not return within its time

Each class also inherits the fitting builtin, so ``except FileNotFoundError`` works for those who do not know us.
The message is one line that says what is wrong and what to do; `redaction.py` takes secrets out of URLs first.
"""

from __future__ import annotations

import re
from typing import ClassVar

__all__ = [
    "ChannelClosed",
    "ChecksumMismatch",
    "ConfigError",
    "DeviceLost",
    "Disconnected",
    "DownloadError",
    "EngineFailed",
    "FormatUnreadable",
    "HostNotFound",
    "ModelError",
    "ModelMismatch",
    "ModelNotFound",
    "ModelOutputError",
    "ModelUnknown",
    "ModelUnreadable",
    "PolicyError",
    "ProviderUnavailable",
    "SinkAway",
    "SinkError",
    "SinkFailed",
    "SinkLater",
    "SinkRefused",
    "SinkUnavailable",
    "SourceCorrupt",
    "SourceEnded",
    "SourceError",
    "SourceGarbled",
    "SourceNotFound",
    "SourceRefused",
    "SourceStalled",
    "SourceTimeout",
    "SourceTruncated",
    "SourceUnauthorized",
    "SourceUnsupported",
    "StreamposeError",
    "WorkerClosed",
    "WorkerStuck",
    "cause_of",
]


class StreamposeError(Exception):
    """The root: catch this to catch everything that streampose raises on purpose."""


class ConfigError(StreamposeError, ValueError):
    """What was asked for makes no sense, or cannot be done together."""


class SourceError(StreamposeError):
    """A source cannot be opened or read."""

    cause: ClassVar[str] = "failed"
    """In a word, for counts and displays."""


class SourceNotFound(SourceError, FileNotFoundError):
    """No such file, camera, host path or stream."""

    cause = "not found"


class SourceUnsupported(SourceError, ValueError):
    """It is there, but it is not video that we can read."""

    cause = "unsupported"


class SourceUnauthorized(SourceError, PermissionError):
    """The server or the operating system refuses us."""

    cause = "unauthorized"


class SourceCorrupt(SourceError, ValueError):
    """The media is truncated or damaged."""

    cause = "corrupt"


class SourceTruncated(SourceCorrupt):
    """A recording that is played live broke off. It is not tried again: it would begin anew."""

    cause = "truncated"


class Disconnected(SourceError, ConnectionError):
    """A live source went away: the one kind of failure that is worth retrying."""

    cause = "lost"


class SourceTimeout(Disconnected, TimeoutError):
    """A live source is connected, or connecting, but silent."""

    cause = "timed out"


class SourceStalled(SourceTimeout):
    """Bytes come from a live source, but no picture can be made of them."""

    cause = "stalled"


class HostNotFound(Disconnected):
    """No such host."""

    cause = "no host"


class SourceRefused(Disconnected, ConnectionRefusedError):
    """The host of a live source is there, but nobody listens."""

    cause = "refused"


class SourceEnded(Disconnected):
    """The server ended a live stream."""

    cause = "ended"


class SourceGarbled(Disconnected, ValueError):
    """A live source sends what cannot be read."""

    cause = "decode failed"


class ModelError(StreamposeError):
    """A model cannot be loaded or run."""


class ModelNotFound(ModelError, FileNotFoundError):
    """No such model file or name."""


class ModelUnreadable(ModelError, ValueError):
    """The file is not an ONNX model."""


class ModelUnknown(ModelError, ValueError):
    """The graph fits no family that we know; the message lists its signature."""


class ModelMismatch(ModelError, ValueError):
    """A model of one kind was given in the place of another."""


class ModelOutputError(ModelError, ArithmeticError):
    """The model returned NaN, infinities or values that cannot be."""


class ProviderUnavailable(ModelError, RuntimeError):
    """The device that was asked for cannot be used."""


class EngineFailed(ModelError, RuntimeError):
    """The runtime failed while running the model."""


class DeviceLost(EngineFailed):
    """The GPU is gone: after such an error it refuses every later call of this process."""


class DownloadError(StreamposeError, OSError):
    """A model could not be fetched."""


class ChecksumMismatch(DownloadError, ValueError):
    """What was fetched is not what was promised, or not what was fetched the first time."""


class SinkError(StreamposeError):
    """An output cannot be opened or written."""


class SinkUnavailable(SinkError, OSError):
    """The output cannot be opened."""


class SinkFailed(SinkError, OSError):
    """The output broke while it was written: disk full, device gone."""


class SinkAway(SinkError, ConnectionError):
    """The server of an output cannot be reached, or does not answer. It is tried again, and ends no stream."""


class SinkLater(SinkAway):
    """The server of an output answers that it takes nothing for now, however little. It is tried again later."""


class SinkRefused(SinkError, PermissionError):
    """The server of an output answers, and does not want what it is sent. What it refused is dropped and counted."""


class FormatUnreadable(StreamposeError, ValueError):
    """A file of poses is not what its name or content says."""


class PolicyError(StreamposeError, RuntimeError):
    """A batch policy failed, took what it was not offered, or broke the order of a stream."""


class ChannelClosed(StreamposeError):
    """No more items will come (`get`), or none is taken any more (`put`)."""


class WorkerClosed(StreamposeError, RuntimeError):
    """A call on a worker after its end."""


class WorkerStuck(WorkerClosed, TimeoutError):
    """A call on a worker did not return within its time."""


def cause_of(error: Exception) -> str:
    """What happened, in a word or two, for counts and log lines: a source's own, else the class's (``sink failed``)."""
    if isinstance(error, SourceError):
        return error.cause
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
