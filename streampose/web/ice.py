"""Which addresses a connection offers to its peer, and which of the peer's it takes."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aioice import Candidate
from aioice.ice import StunProtocol, get_host_addresses
from aioice.stun import Message
from aiortc import RTCIceServer
from aiortc.rtcicetransport import RTCIceGatherer

from streampose.errors import ConfigError
from streampose.observe.access import is_loopback

__all__ = ["IceServer", "Offered", "bound_addresses", "offer_only", "parse_ice_server", "usable"]

_GATHER_S = 2
# That a peer is looked for at: what it names (20 for each of six sections), and some that it sends from.
_ADDRESSES = 200
_SERVER = re.compile(
    r"(?P<kind>stun|turn|turns):(?:(?P<user>[^:@/]+):(?P<secret>[^:@/]+)@)?(?P<where>[^@?:\s\[\]]+(:\d{1,5})?)(?P<query>\?transport=(udp|tcp))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """One address that ICE offers.

    Raises:
        ConfigError: it is not an IP address.
    """

    public: str
    """What peers are told."""

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.public)
        except ValueError:
            raise ConfigError(f"--ice-address {self.public}: write an IP address, say 127.0.0.1") from None

    @property
    def bound(self) -> str:
        """What its sockets are bound to: itself, or, if another machine (NAT) has it, every address of this one."""
        return self.public if _is_ours(self.public) else "0.0.0.0" if "." in self.public else "::"

    @classmethod
    def for_host(cls, host: str) -> list[Offered]:
        """What a server that listens at a host offers: that address; of "all", every one but loopback.

        Raises:
            ConfigError: no such host.
        """
        if host in {"0.0.0.0", "::", ""}:
            found = get_host_addresses(use_ipv4=True, use_ipv6=host != "0.0.0.0")
        elif is_loopback(host):
            found = ["::1" if host == "::1" else "127.0.0.1"]
        else:
            try:
                found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)]
            except (OSError, UnicodeError) as error:
                raise ConfigError(f"there is no host {host} to listen at: {error}") from error
        return [cls(public=address) for address in dict.fromkeys(found)]


def offer_only(gatherer: RTCIceGatherer, offered: Sequence[Offered]) -> None:
    """Let a gatherer offer these addresses, loopback too; before it gathers.

    aioice takes all addresses of the machine but loopback, and has no option for it. Its list is one argument of its
    own `get_component_candidates`: here this one connection gets another list.
    """
    connection = gatherer._connection
    gather = connection.get_component_candidates

    async def only(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:  # noqa: ASYNC109 - aioice's
        found: list[Candidate] = []
        # All at once, and not for aioice's 5 s each: a STUN server that does not answer holds nobody up for long.
        ways = await asyncio.gather(*(gather(component, [place.bound], _GATHER_S) for place in offered))
        for place, made in zip(offered, ways, strict=True):
            for candidate in made:
                if candidate.type == "host" and candidate.host == place.bound:
                    candidate.host = place.public
            found += made
        return found

    connection.get_component_candidates = only  # type: ignore[method-assign]


def bound_addresses(gatherer: RTCIceGatherer) -> None:
    """Let a connection know few addresses of its peer, before there are any.

    aioice remembers each that a check comes from, and sends packets to it until an answer comes: 1,500 of them took it
    two seconds, and whose addresses they are only the peer knows. Checks from another one are not looked at.
    """
    connection = gatherer._connection
    receive = connection.request_received

    def few(message: Message, addr: tuple[str, int], protocol: StunProtocol) -> None:
        known = connection._remote_candidates
        full = len(known) + len(connection._early_checks) >= _ADDRESSES
        if not full or any((one.host, one.port) == addr for one in known):
            receive(message, addr, protocol)

    connection.request_received = few  # type: ignore[method-assign]


def usable(line: str, *, loopback_only: bool) -> bool:
    """Whether a peer's candidate (``candidate:…``) is one to send packets to: UDP, an IP address, and one in reach.

    Names are not looked up: a stranger's SDP must not make this machine ask its network for them. A browser that hides
    its addresses behind such names is found by the packets that it sends.
    """
    parts = line.removeprefix("a=").removeprefix("candidate:").split()
    if len(parts) < 8 or parts[2].lower() != "udp" or parts[6] != "typ":
        return False
    try:
        address = ipaddress.ip_address(parts[4])
    except ValueError:
        return False
    if "%" in parts[4]:  # a zone is a name of an interface of the peer's machine
        return False
    if address.is_multicast or address.is_unspecified or not 0 < _port(parts[5]) < 65536:
        return False
    return address.is_loopback or not loopback_only or _is_ours(parts[4])


def _port(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) <= 5 else 0


def _is_ours(address: str) -> bool:
    """Whether this machine has the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno in {errno.EADDRNOTAVAIL, errno.EINVAL, errno.EACCES, errno.EAFNOSUPPORT}:
                return False
            raise
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServer:
    """A STUN or TURN server, for both sides."""

    url: str
    user: str | None = None
    secret: str | None = None

    def ours(self) -> RTCIceServer:
        """For aiortc."""
        return RTCIceServer(urls=self.url, username=self.user, credential=self.secret)

    def for_page(self) -> dict[str, Any]:
        """For a browser's `RTCPeerConnection`."""
        known = {"urls": self.url, "username": self.user, "credential": self.secret}
        return {key: value for key, value in known.items() if value is not None}

    def link(self) -> str:
        """A ``Link`` header as WHIP has it."""
        text = f'<{self.url}>; rel="ice-server"'
        if self.user is not None and self.secret is not None:
            text += f"; username={_quoted(self.user)}; credential={_quoted(self.secret)}"
            text += '; credential-type="password"'
        return text


def _quoted(text: str) -> str:
    """A quoted-string (RFC 9110)."""
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def parse_ice_server(text: str) -> IceServer:
    """``stun:host:3478``, ``turn:USER:SECRET@host:3478?transport=udp``.

    In user and secret a ``:``, ``@``, ``/`` or ``%`` is percent-encoded, as in any URL.

    Raises:
        ConfigError: something else; the message does not repeat it.
    """
    match = _SERVER.fullmatch(text)
    if match is None or (match["kind"] != "stun" and match["user"] is None):
        raise ConfigError(
            "--ice-server: write stun:HOST:PORT, or turn:HOST:PORT (turns: for TLS) with USER:SECRET@ before HOST; "
            "in USER and SECRET write %3A for a colon, %40 for @, %2F for a slash, %25 for %; an IPv6 address by a name"
        )
    if match["kind"] == "turns" and (match["query"] or "").endswith("udp"):
        raise ConfigError("--ice-server: turns: is TLS over TCP; leave ?transport=udp out")
    user, secret = (None if part is None else unquote(part) for part in (match["user"], match["secret"]))
    if any(not char.isprintable() for char in (user or "") + (secret or "")):
        raise ConfigError("--ice-server: user and secret have printable characters only")
    url = f"{match['kind']}:{match['where']}{match['query'] or ''}"
    return IceServer(url=url, user=user, secret=secret)
