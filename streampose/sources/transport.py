"""Over what RTSP is asked for, in FFmpeg's words."""

from __future__ import annotations

from streampose.errors import ConfigError

__all__ = ["UDP_FIRST", "transport_options"]

_TRANSPORTS = {
    "tcp": {"rtsp_transport": "tcp"},
    "udp": {"rtsp_transport": "udp"},
    "auto": {"rtsp_transport": "udp+tcp", "rtsp_flags": "prefer_tcp"},  # where our own client is not understood
}
# Once TCP was refused: some servers close the connection then, or refuse in a way that FFmpeg gives up at.
UDP_FIRST = {"rtsp_transport": "udp+tcp", "rtsp_flags": "0"}


def transport_options(choice: str) -> dict[str, str]:
    """FFmpeg's options for a choice of `NetworkSource`'s.

    Raises:
        ConfigError: there is no such transport.
    """
    if choice not in _TRANSPORTS:
        raise ConfigError(f"no RTSP transport is called {choice!r}; there are: {', '.join(_TRANSPORTS)}")
    return _TRANSPORTS[choice]
