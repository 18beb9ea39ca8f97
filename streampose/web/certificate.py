"""Our certificate in DTLS, for peers whose own is of either kind."""

from __future__ import annotations

from typing import Any

from aiortc import RTCCertificate, RTCPeerConnection

__all__ = ["certify"]

_CIPHERS = b":".join(
    b"ECDHE-%s-%s" % (kind, cipher)
    for kind in (b"ECDSA", b"RSA")
    for cipher in (b"AES128-GCM-SHA256", b"CHACHA20-POLY1305", b"AES256-GCM-SHA384")
)


class _Certificate(RTCCertificate):
    """aiortc's takes peers with elliptic keys only; GStreamer's are RSA."""

    def _create_ssl_context(self, srtp_profiles: Any) -> Any:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(_CIPHERS)
        return context


def certify(connection: RTCPeerConnection) -> None:
    """Give a connection a certificate of its own; before it has an offer."""
    connection._RTCPeerConnection__certificates = [_Certificate.generateCertificate()]  # type: ignore[attr-defined]
