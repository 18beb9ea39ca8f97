"""Results to a stream of Redis."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl, urlsplit

from streampose.errors import ConfigError, SinkAway, SinkLater, SinkRefused
from streampose.redaction import server_of
from streampose.sinks.presence import find

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise ConfigError("sending to Redis needs its client: pip install 'streampose[redis]'") from error

__all__ = ["RedisCarrier"]

_MOST = 10_000
# Errors that end by themselves: a failover, a full memory or disk, a cluster that is being changed. redis-py cuts the
# code off from those that it has classes for.
_LATER = (
    redis.BusyLoadingError,
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
)
_LATER_CODE = re.compile(r"(?:^|caused error: )(?:MISCONF|NOREPLICAS|OOM) ")  # a pipeline puts words before it

_DATABASE = re.compile(r"/?[0-9]*/?")


class RedisCarrier:
    """Adds each line to a stream (``XADD``) as the field ``json``; old entries make room for new ones.

    Args:
        url: ``redis(s)://[user:password@]host[:port]/[database][?stream=KEY&maxlen=N]``. By default the key is
            ``streampose:STREAM``, and 10 000 entries are kept, or a few more (``MAXLEN ~``); 0 = all.
        timeout_s: for connecting, and for each answer.

    Raises:
        ConfigError: the URL makes no sense.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        try:
            parts = urlsplit(url)
            query = dict(parse_qsl(parts.query))
            key, maxlen = query.pop("stream", ""), int(query.pop("maxlen", _MOST))
            self._client = redis.Redis.from_url(
                parts._replace(query="").geturl(),
                protocol=2,  # Redis before 6, and many proxies, know no other
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),  # ours is elsewhere
            )
        except ValueError:
            # Not chained: what it says may be a piece of a password that was not escaped.
            raise ConfigError(f"this is no URL of Redis: {server_of(url)}") from None
        if query:
            # A password that was not escaped may reach into what looks like the query.
            what = "" if "@" in parts.query else f", not {', '.join(query)}"
            raise ConfigError(f"a URL of Redis has stream and maxlen after the ?{what}")
        if maxlen < 0:
            raise ConfigError(f"a URL of Redis has maxlen=0 (all) or more, not {maxlen}")
        if not _DATABASE.fullmatch(parts.path):  # it would be 0 without a word
            raise ConfigError("a URL of Redis has the number of a database after its host: redis://host/0")
        server = self._client.connection_pool.connection_kwargs
        self._address, self._timeout_s = (server.get("host", "localhost"), server.get("port", 6379)), timeout_s
        self.url, self._key, self._maxlen, self._stream = url, key, maxlen or None, ""

    def connect(self, stream: str) -> None:
        """Connect and log in.

        Raises:
            SinkAway: nobody answers.
            SinkRefused: it does not let us in.
        """
        self._stream = stream
        find(*self._address, within_s=self._timeout_s)
        with _typed():
            self._client.ping()

    def send(self, lines: Sequence[bytes]) -> None:
        """All in one round trip.

        Raises:
            SinkAway: no connection, or no answer.
            SinkLater: it answers with an error that ends by itself (READONLY, OOM, …).
            SinkRefused: it answers with another error.
        """
        key = self._key or f"streampose:{self._stream}"
        with _typed(), self._client.pipeline(transaction=False) as pipeline:
            for line in lines:
                pipeline.xadd(key, {"json": line}, maxlen=self._maxlen, approximate=True)
            pipeline.execute()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


@contextlib.contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except redis.AuthenticationError as error:
        raise SinkRefused(f"it refuses us ({error})") from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise SinkAway(f"no answer ({error})") from error
    except (ValueError, AttributeError, TypeError, RecursionError) as error:  # what redis-py makes of another protocol
        raise SinkAway("what answers does not speak Redis") from error
    except redis.RedisError as error:
        if isinstance(error, _LATER) or _LATER_CODE.search(str(error)):
            raise SinkLater(f"it answered: {error}") from error
        raise SinkRefused(f"it answered: {error}") from error
