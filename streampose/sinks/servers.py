"""Where results can be sent, by URL."""

from __future__ import annotations

from streampose.errors import ConfigError
from streampose.redaction import server_of
from streampose.sinks.send import Carrier, SendSink

__all__ = ["send_to"]


def send_to(url: str) -> SendSink:
    """A sink that sends lines of JSON to this server.

    Args:
        url: ``http(s)://…[#token=…]`` (a POST for each batch), ``mqtt(s)://host/topic[?retain=1][&status=1]``,
            ``redis(s)://host/0?stream=key&maxlen=n``; docs/outputs.md. Scheme and host are all of it that a
            message shows.

    Raises:
        ConfigError: it is of no kind that we know, it makes no sense, or the client library is not installed.
    """
    return SendSink(_carrier(url))


def _carrier(url: str) -> Carrier:
    # Clients are extras: one that is not asked for need not be there.
    match url.partition("://")[0].lower():
        case "http" | "https":
            from streampose.sinks.webhook import WebhookCarrier  # noqa: PLC0415

            return WebhookCarrier(url)
        case "mqtt" | "mqtts":
            from streampose.sinks.mqtt import MqttCarrier  # noqa: PLC0415

            return MqttCarrier(url)
        case "redis" | "rediss":
            from streampose.sinks.redis_stream import RedisCarrier  # noqa: PLC0415

            return RedisCarrier(url)
    raise ConfigError(f"results cannot be sent to {server_of(url)}: only to http(s)://, mqtt(s)://, redis(s)://")
