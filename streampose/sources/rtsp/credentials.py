"""Answers to a server that asks who we are (RFC 7616, RFC 7617)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

__all__ = ["Credentials"]

_PARAMETER = re.compile(r'\b(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
# Best first; cameras that name none mean MD5.
_HASHES = {"SHA-256": "sha256", "MD5": "md5"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password, as a URL carries them."""

    user: str
    password: str

    @classmethod
    def of(cls, url: str) -> Credentials | None:
        """Those in a URL; `None` = it has none."""
        parts = urlsplit(url)
        if parts.username is None:
            return None
        return cls(unquote(parts.username), unquote(parts.password or ""))

    def answer(self, challenges: Sequence[str], method: str, url: str) -> str | None:
        """The value of an `Authorization` header; `None` = none of the challenges is understood.

        Args:
            challenges: values of `WWW-Authenticate` headers.
            method: of the request that is to be sent.
            url: of the same.
        """
        asked = [challenge.strip().partition(" ") for challenge in challenges]
        digests = [_parameters(rest) for scheme, _, rest in asked if scheme.lower() == "digest"]
        for name, algorithm in _HASHES.items():
            for digest in digests:
                if digest.get("algorithm", "MD5").upper() == name:
                    return self._digest(digest, algorithm, method, url)
        if any(scheme.lower() == "basic" for scheme, _, _ in asked):
            return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return None

    def _digest(self, asked: dict[str, str], algorithm: str, method: str, url: str) -> str:
        def hashed(*words: str) -> str:
            return hashlib.new(algorithm, ":".join(words).encode(), usedforsecurity=False).hexdigest()

        realm, nonce = asked.get("realm", ""), asked.get("nonce", "")
        mine, theirs = hashed(self.user, realm, self.password), hashed(method, url)
        user = re.sub(r'(["\\])', r"\\\1", self.user)  # which would end it; what the server said comes back as it is
        words = {"username": user, "realm": realm, "nonce": nonce, "uri": url}
        quoted = ", ".join(f'{name}="{value}"' for name, value in words.items())
        if "auth" in re.split(r"[\s,]+", asked.get("qop", "")):
            once = secrets.token_hex(8)
            response = hashed(mine, nonce, "00000001", once, "auth", theirs)
            quoted += f', qop=auth, nc=00000001, cnonce="{once}"'
        else:
            response = hashed(mine, nonce, theirs)
        quoted += f', response="{response}"'
        for name in ("opaque", "algorithm"):
            if name in asked:
                quoted += f', {name}="{asked[name]}"' if name == "opaque" else f", {name}={asked[name]}"
        return f"Digest {quoted}"


def _parameters(text: str) -> dict[str, str]:
    return {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(text)}
