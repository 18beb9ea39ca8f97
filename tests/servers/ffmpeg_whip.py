"""Publishes grey pictures by FFmpeg's WHIP muxer, as it is in PyAV. A process of its own: it blocks where it waits."""

from __future__ import annotations

import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from aiortc.rtcdtlstransport import RTCCertificate
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def main(url: str, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # FFmpeg's own certificates are of a kind that aiortc's OpenSSL refuses (illegal parameter): it is given one.
        made = RTCCertificate.generateCertificate()
        cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
        cert.write_bytes(made._cert.public_bytes(Encoding.PEM))
        key.write_bytes(made._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        options = {"cert_file": str(cert), "key_file": str(key), "whip_flags": "dtls_active"}
        with av.open(url, "w", format="whip", options=options) as output:
            settings = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "g": "30", "bf": "0"}
            stream = output.add_stream("libx264", rate=Fraction(30), options=settings)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            began_at = time.monotonic()
            for i in range(round(30 * seconds)):
                picture = np.full((240, 320, 3), i % 200, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
                frame.pts, frame.time_base = i, Fraction(1, 30)
                output.mux(stream.encode(frame))
                time.sleep(max(0.0, began_at + i / 30 - time.monotonic()))


main(sys.argv[1], float(sys.argv[2]))
