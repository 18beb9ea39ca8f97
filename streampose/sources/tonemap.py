"""Pictures of HDR, or of more colours, as screens and models without them know them."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image

__all__ = ["TRANSFERS", "is_wide", "tone_mapped"]

# Transfer characteristics of ITU-T H.273.
_PQ, _HLG = 16, 18
TRANSFERS = {_PQ: "PQ", _HLG: "HLG"}
"""Those that are HDR, with what people call them."""

_BT709, _BT2020 = 1, 9
# BT.2020's primaries to BT.709's, for B, G, R (ITU-R BT.2087).
_TO_BT709 = np.array([[1.1187, -0.1006, -0.0182], [-0.0083, 1.1329, -0.1246], [-0.0728, -0.5876, 1.6605]], np.float32)
# cd/m²: what is brighter becomes white; and that of paper (ITU-R BT.2408), which SDR shows as white.
_PEAK, _PAPER = 1000.0, 203.0
_KNEE = 0.5
# Rows at a time: what is between the steps stays in the cache. 1080p takes 12 ms instead of 35, by hand.
_STRIP = 16


def is_wide(transfer: int, primaries: int) -> bool:
    """Whether a picture is HDR or of BT.2020's colours; numbers of ITU-T H.273."""
    return transfer in TRANSFERS or primaries == _BT2020


def tone_mapped(signal: NDArray[np.uint16], transfer: int, primaries: int) -> Image:
    """A picture as SDR of BT.709's colours: of HDR, light up to half of paper's white as it is, what is brighter ever
    more compressed.

    Args:
        signal: (H, W, 3) BGR of full range, 65535 = the largest signal.
        transfer: number of ITU-T H.273; all but `TRANSFERS` are SDR.
        primaries: the same; all but BT.709's are taken for BT.2020's.

    Returns:
        (H, W, 3) BGR, new.
    """
    hdr = transfer if transfer in TRANSFERS else None
    light_of, shown_as = _lights(hdr), _shades(hdr is not None)
    made = np.empty(signal.shape, np.uint8)
    for top in range(0, len(signal), _STRIP):
        rows = slice(top, top + _STRIP)
        light = np.take(light_of, signal[rows])
        if primaries != _BT709:
            light = np.asarray(cv2.transform(light, _TO_BT709), np.uint16)  # which cuts off what is out of range
        np.take(shown_as, light, out=made[rows], mode="clip")
    return made


@cache
def _lights(hdr: int | None) -> NDArray[np.uint16]:
    """The light of each signal; 65535 = the peak (ITU-R BT.2100), of SDR white (BT.1886)."""
    signal = np.linspace(0, 1, 65536)
    if hdr is None:
        return np.asarray(np.round(65535 * signal**2.4), np.uint16)
    if hdr == _PQ:
        root = signal ** (32 / 2523)
        light = (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305) * 10_000
    else:
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = scene**1.2 * _PEAK  # of each colour; the standard's own, of their sum, differs in saturation only
    return np.asarray(np.round(65535 * np.minimum(light / _PEAK, 1)), np.uint16)


@cache
def _shades(is_hdr: bool) -> NDArray[np.uint8]:
    """What each light becomes; the way back of a screen's 2.4 (ITU-R BT.1886)."""
    if not is_hdr:
        return np.asarray(np.round(255 * np.linspace(0, 1, 65536) ** (1 / 2.4)), np.uint8)
    light = np.linspace(0, _PEAK / _PAPER, 65536)
    over, most = (np.maximum(np.array([light, np.full_like(light, light[-1])]) - _KNEE, 0)) / (1 - _KNEE)
    bent = over * (1 + over / most**2) / (1 + over)  # Reinhard's: slope 1 at the knee, and 1 at the peak
    shown = np.minimum(light, _KNEE) + (1 - _KNEE) * bent
    return np.asarray(np.round(255 * shown ** (1 / 2.4)), np.uint8)
