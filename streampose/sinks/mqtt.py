"""Results to an MQTT broker."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any
from urllib.parse import unquote, urlsplit

from streampose.errors import ConfigError, SinkAway, SinkRefused
from streampose.redaction import server_of
from streampose.sinks.presence import find

try:
    from paho.mqtt import client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion
except ImportError as error:
    raise ConfigError("sending to MQTT needs its client: pip install 'streampose[mqtt]'") from error

__all__ = ["MqttCarrier"]

_NOT_IN_A_LEVEL = re.compile(r"[+#/\0]")
_PORTS = {"mqtt": 1883, "mqtts": 8883}
# Brokers wait for half as long again.
_SILENT_S = 60


class MqttCarrier:
    """Publishes each line to ``TOPIC/STREAM`` (quality of service 1: the broker says that it has it), MQTT 3.1.1.

    paho's client is driven from here, without a thread of its own: that one would not end while a broker is silent.

    Args:
        url: ``mqtt(s)://[user:password@]host[:port]/topic[?retain=1][&status=1]``: with the one the broker keeps the
            last line, for who subscribes later; with the other ``TOPIC/STREAM/status``, which is kept, is ``online``
            while there is a connection, and by the broker's doing (a last will) ``offline`` after it.
        timeout_s: for connecting, and for the broker to acknowledge a batch.

    Raises:
        ConfigError: there is no host or no topic in the URL.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[parts.scheme]
        except ValueError:
            # Not chained: what it says may be a piece of a password that was not escaped.
            raise ConfigError(f"this is no URL of a broker: {server_of(url)}") from None
        prefix = unquote(parts.path).strip("/")
        if not parts.hostname or not prefix or "#" in url or _NOT_IN_A_LEVEL.search(prefix.replace("/", "")):
            raise ConfigError("results are sent to mqtt://host/topic, a topic without +, # and %00")
        asked = parts.query.split("&") if parts.query else []
        if not set(asked) <= {"retain=1", "status=1"}:
            raise ConfigError(
                "a URL of MQTT has only retain=1 and status=1 after a ?; one in a password or a topic is written %3F"
            )
        self.url, self._timeout_s = url, timeout_s
        self._parts, self._prefix, self._topic = parts, prefix, prefix
        self._retain, self._status = "retain=1" in asked, "status=1" in asked
        self._address = (parts.hostname, port)
        # The same at each connection: a broker that has not seen the last one end ends it then, and not later, when it
        # would say "offline" of one that is back.
        self._client_id = f"streampose{token_hex(6)}"
        self._told_at = 0.0
        self._client: mqtt.Client | None = None
        self._unacknowledged = 0
        self._hung_up_on: Sequence[bytes] | None = None
        self._answer: Any = None

    def connect(self, stream: str) -> None:
        """Connect and log in.

        Raises:
            SinkAway: nobody answers.
            SinkRefused: the broker does not let us in.
        """
        find(*self._address, within_s=self._timeout_s)
        # One level, whatever the stream is called; those of a command line have no sign that is replaced.
        self._topic = f"{self._prefix}/{_NOT_IN_A_LEVEL.sub('_', stream)}"
        client = self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self._client_id, reconnect_on_failure=False
        )
        client.connect_timeout = self._timeout_s
        if self._parts.username is not None:
            client.username_pw_set(unquote(self._parts.username), unquote(self._parts.password or ""))
        if self._parts.scheme == "mqtts":
            client.tls_set_context(ssl.create_default_context())
        self._answer, self._unacknowledged = None, 0
        client.on_connect = self._connected
        client.on_publish = self._published
        if self._status:
            client.will_set(f"{self._topic}/status", b"offline", qos=1, retain=True)
        try:
            # There is a line for every frame, and a connection that died unseen is seen at the next one: by us. By the
            # broker, who has to tell of it, only where it is told how long no line may come.
            client.connect(*self._address, keepalive=_SILENT_S if self._status else 0)
        except OSError as error:
            raise SinkAway(f"no connection ({error.strerror or error})") from error
        self._until(lambda: self._answer is not None, "no answer")
        if self._answer.is_failure:
            raise SinkRefused(f"the broker refuses us: {self._answer}")
        if self._status:
            self._say_online()

    def send(self, lines: Sequence[bytes]) -> None:
        """Publish, and wait until all is acknowledged.

        Raises:
            SinkAway: not all was.
            SinkRefused: it is one line, and the broker has hung up on it twice: so brokers of 3.1.1 answer what is too
                long for them.
        """
        assert self._client is not None
        if self._status and time.monotonic() - self._told_at >= _SILENT_S:
            # By the last will of a program whose machine was gone, and that this one came after, it may say "offline".
            self._say_online()
        again, self._hung_up_on = self._hung_up_on == lines, None
        self._publish(self._topic, lines, retain=self._retain)
        try:
            self._until_acknowledged()
        except SinkAway as error:
            if len(lines) == 1 and not self._client.is_connected():
                if again:
                    raise SinkRefused(f"the broker hangs up on a line of {len(lines[0])} bytes") from error
                self._hung_up_on = lines
            raise

    def close(self) -> None:
        """Say goodbye, if that takes no time, and close the connection. Who said goodbye would have no last will."""
        client, self._client = self._client, None
        if client is not None:
            if not self._status:
                client.disconnect()
            if (connection := client.socket()) is not None:
                connection.close()

    def _say_online(self) -> None:
        self._publish(f"{self._topic}/status", [b"online"], retain=True)
        self._until_acknowledged()
        self._told_at = time.monotonic()

    def _publish(self, topic: str, messages: Sequence[bytes], *, retain: bool) -> None:
        assert self._client is not None
        self._unacknowledged = len(messages)
        for message in messages:
            sent = self._client.publish(topic, message, qos=1, retain=retain)
            if sent.rc != mqtt.MQTT_ERR_SUCCESS:
                raise SinkAway(mqtt.error_string(sent.rc).rstrip("."))

    def _until_acknowledged(self) -> None:
        self._until(lambda: not self._unacknowledged, "not acknowledged")

    def _until(self, done: Callable[[], bool], else_words: str) -> None:
        assert self._client is not None
        deadline = time.monotonic() + self._timeout_s
        while not done():
            if (left_s := deadline - time.monotonic()) <= 0:
                raise SinkAway(f"{else_words} within {self._timeout_s:g} s")
            if (code := self._client.loop(left_s)) != mqtt.MQTT_ERR_SUCCESS and not done():
                raise SinkAway(mqtt.error_string(code).rstrip("."))

    def _connected(self, client: Any, data: Any, flags: Any, answer: Any, properties: Any) -> None:
        self._answer = answer

    def _published(self, client: Any, data: Any, number: int, answer: Any, properties: Any) -> None:
        self._unacknowledged -= 1
