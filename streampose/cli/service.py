"""What people type about a service: options, and what they say as values."""

from __future__ import annotations

from typing import Annotated

import typer

from streampose.cli.references import look_up
from streampose.errors import ConfigError
from streampose.observe.access import Address
from streampose.observe.health import Need

__all__ = ["Metrics", "MetricsToken", "parse_address", "parse_metrics", "parse_need", "parse_secret"]

_SERVICE = "Service"

Metrics = Annotated[
    str | None,
    typer.Option(
        metavar="[HOST:]PORT",
        help="Answer there for /metrics (Prometheus), /healthz and /readyz; see `streampose top`.",
        rich_help_panel=_SERVICE,
    ),
]
MetricsToken = Annotated[
    str | None,
    typer.Option(
        metavar="env:NAME|file:PATH",
        help="Where the token is that clients must send; needed where other machines can ask.",
        rich_help_panel=_SERVICE,
    ),
]


def parse_address(text: str, token: str | None) -> Address:
    """``9464`` (this machine only), ``0.0.0.0:9464``, ``[::]:9464``.

    Raises:
        ConfigError: something else, or an address for all without a token.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{text!r} is no address to listen at: write PORT or HOST:PORT, say 9464")
    return Address(host=host.strip("[]") or "127.0.0.1", port=int(port), token=token)


def parse_metrics(text: str | None, token: str | None, ready: str = "1") -> Address | None:
    """Where to answer, if anywhere; a token and what is ready are said of nothing else.

    Raises:
        ConfigError: see `parse_address` and `parse_secret`; or they are said without it.
    """
    if text is not None:
        return parse_address(text, parse_secret(token))
    if token is not None or ready != "1":
        option = "--ready" if token is None else "--metrics-token"
        raise ConfigError(f"{option} is for --metrics: say at which port, 9464")
    return None


def parse_secret(reference: str | None) -> str | None:
    """``env:NAME`` or ``file:PATH``: a token by where it is.

    Raises:
        ConfigError: something else (which is not repeated), or nothing is there.
    """
    if reference is None:
        return None
    kind, _, where = reference.partition(":")
    if kind not in {"env", "file"} or not where:
        raise ConfigError("a token is given by where it is: env:NAME or file:PATH")
    if not (secret := look_up(kind, where).strip()):
        raise ConfigError(f"there is no token in {reference}")
    return secret


def parse_need(text: str) -> Need:
    """``all``, or a number of streams.

    Raises:
        ConfigError: something else.
    """
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--ready {text}: write a number of streams, or all")
    return int(text)
