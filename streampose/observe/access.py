"""Where a server of ours listens, and who may ask it."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from streampose.errors import ConfigError

__all__ = ["Address", "is_loopback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen, and who may ask.

    Raises:
        ConfigError: others than this machine could ask, and there is no token.
    """

    host: str = "127.0.0.1"
    port: int
    token: str | None = field(default=None, repr=False)
    """What a client must send as ``Authorization: Bearer …``; an empty one is none."""
    option: str = "--metrics-token"
    """What gives a token, for the message."""

    def __post_init__(self) -> None:
        if not self.token:
            object.__setattr__(self, "token", None)
        if self.token is None and not is_loopback(self.host):
            raise ConfigError(
                f"{self.host} can be reached from other machines: give a token ({self.option} env:NAME or file:PATH)"
            )

    def refusal(self, error: OSError | UnicodeError) -> ConfigError:
        """What to raise where nobody can listen there."""
        why = (error.strerror or error) if isinstance(error, OSError) else "this cannot be a host's name"
        return ConfigError(f"cannot listen on {self.host}:{self.port}: {why}")

    def is_called(self, host: str) -> bool:
        """Whether a ``Host`` header can be meant: without a token, a page of elsewhere could have its name point here
        (DNS rebinding), so that names are loopback's.
        """
        if self.token is not None:
            return True
        try:
            return is_loopback(urlsplit(f"//{host}").hostname or "")
        except ValueError:
            return False

    def knows(self, authorization: str) -> bool:
        """Whether an ``Authorization`` header has the token, as a bearer's or as a password of HTTP Basic.

        It is compared in constant time.
        """
        if self.token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        given = given.strip()
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except ValueError:  # no Base64, not even ASCII, or no UTF-8 in it
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.encode(errors="surrogateescape"), self.token.encode())


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
