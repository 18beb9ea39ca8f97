"""Names of files, from what people call things."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["safe"]

# What Windows takes in no name (others take all but the slash and zero), control characters, line separators, and
# what stands for bytes that are no UTF-8.
_NOWHERE = re.compile('[<>:"/\\\\|?*\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+')
# Devices of Windows, whatever comes behind a dot.
_DEVICE = re.compile(r"^(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])(?=\.| +\.|$)", re.IGNORECASE)
# Bytes of the 255 that file systems take; endings are short.
_LONGEST = 200


def safe(name: str, otherwise: str) -> str:
    """A name that every file system takes: letters of all scripts with their marks, composed (NFC), spaces, brackets.

    Args:
        name: any text.
        otherwise: if nothing is left of it.
    """
    kept = _NOWHERE.sub("_", unicodedata.normalize("NFC", name)).encode()[:_LONGEST].decode(errors="ignore")
    # In front, dots hide a file; behind, Windows drops them, and spaces.
    return _DEVICE.sub(r"\1_", kept.strip(". ")) or otherwise
