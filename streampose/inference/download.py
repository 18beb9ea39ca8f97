"""Fetching one file over HTTP: resumable, checked, and never half there."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streampose.errors import ChecksumMismatch, ConfigError, DownloadError
from streampose.redaction import redact

if TYPE_CHECKING:
    import httpx

__all__ = ["Progress", "download", "extract_onnx", "is_archive", "sha256_of"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes there so far and the bytes in all, where the server says so."""

_ATTEMPTS = 5
_LARGEST = 8 << 30


@dataclass(frozen=True, slots=True)
class _Part:
    """What is there of a file from an earlier attempt, and of which version."""

    path: Path

    @property
    def _notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def size(self, url: str) -> int:
        """How many bytes are there, of this very URL."""
        known = self.path.exists() and self.validator(url) is not None
        return self.path.stat().st_size if known else 0

    def validator(self, url: str) -> str | None:
        """What tells this version from others: an entity tag, or the time of its last change."""
        try:
            notes = json.loads(self._notes.read_text())
        except (OSError, ValueError):
            return None
        known = isinstance(notes, dict) and notes.get("url") == redact(url)
        return str(notes["validator"]) if known and notes.get("validator") else None

    def begin(self, url: str, response: httpx.Response) -> None:
        """Note the version that is about to be written."""
        self._notes.write_text(json.dumps({"url": redact(url), "validator": _validator(response)}))

    def continued_by(self, response: httpx.Response, url: str) -> bool:
        """Whether an answer holds the rest of the same version."""
        starts = response.headers.get("content-range", "").startswith(f"bytes {self.size(url)}-")
        return starts and _validator(response) in {None, self.validator(url)}

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        self.path.replace(target)
        self._notes.unlink(missing_ok=True)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
    timeout_s: float = 30.0,
    pause_s: float = 1.0,
) -> str:
    """Fetch a file; the target appears when it is complete and checked.

    An interrupted download goes on where it stopped, if the server can and still has the same version (``Range`` with
    ``If-Range``); else it starts again. A lost connection or a server error (5xx, 429) is tried again, after pauses
    that double, until five attempts in a row bring not a byte.

    Args:
        url: http or https.
        target: of the file; ``TARGET.part`` holds what is there so far.
        sha256: that it must have.
        progress: is told how it goes.
        timeout_s: of the longest silence.
        pause_s: before the second attempt.

    Returns:
        The file's SHA-256 in hexadecimal.

    Raises:
        ConfigError: not http or https.
        DownloadError: it could not be fetched, or not be stored.
        ChecksumMismatch: it is not what it must be; nothing is kept.
    """
    if not url.lower().startswith(("https://", "http://")):
        raise ConfigError(f"{redact(url)}: models are fetched over http or https only")
    import httpx  # noqa: PLC0415 - slow to import, and few fetch anything

    part = _Part(target.with_name(target.name + ".part"))
    failures = 0
    with httpx.Client(follow_redirects=True, timeout=timeout_s, headers={"accept-encoding": "identity"}) as client:
        while True:
            before = part.size(url)
            try:
                _fetch(client, url, part, progress)
                break
            except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
                raise DownloadError(f"{redact(url)} cannot be fetched: {redact(str(error))}") from error
            except (httpx.HTTPError, _Passing) as error:
                failures = 0 if part.size(url) > before else failures + 1
                if failures >= _ATTEMPTS:
                    why = redact(str(error)) or type(error).__name__
                    ask = "" if isinstance(error, _Passing) else "is there a network here? "
                    raise DownloadError(f"{redact(url)} cannot be fetched: {why}; {ask}--url names a mirror") from error
                time.sleep(pause_s * 2 ** max(0, failures - 1))
            except DownloadError:
                raise
            except OSError as error:
                raise DownloadError(f"{part.path} cannot be written: {error.strerror}") from error
    found = sha256_of(part.path)
    if sha256 is not None and found != sha256:
        part.drop()
        raise ChecksumMismatch(
            f"{redact(url)} has SHA-256 {found[:12]}…, not {sha256[:12]}…: it was changed or damaged, and was not kept"
        )
    part.finish(target)
    return found


def _validator(response: httpx.Response) -> str | None:
    tag: str = response.headers.get("etag", "")
    changed: str | None = response.headers.get("last-modified")
    return tag if tag and not tag.startswith("W/") else changed


class _Passing(Exception):
    """The server's trouble, which may pass."""


def _fetch(client: httpx.Client, url: str, part: _Part, progress: Progress | None) -> None:
    """One attempt: get what is missing."""
    have = part.size(url)
    headers = {"range": f"bytes={have}-", "if-range": part.validator(url) or ""} if have else {}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416:
            if response.headers.get("content-range") == f"bytes */{have}":
                return  # all of it is there: only the last step was missed
            part.drop()
            raise _Passing("the file changed on the server")
        if response.status_code in {429, 500, 502, 503, 504}:
            raise _Passing(f"the server answered {response.status_code}")
        if response.status_code not in {200, 206}:
            raise DownloadError(f"{redact(url)} answered {response.status_code} {response.reason_phrase}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise DownloadError(f"{redact(url)} comes compressed, though it was asked not to: try a mirror with --url")
        if response.status_code == 200:
            have = 0
            part.begin(url, response)
        elif not part.continued_by(response, url):
            # Some servers ignore If-Range: what follows would be the rest of another file.
            part.drop()
            raise _Passing("the file changed on the server")
        length = response.headers.get("content-length")
        total = have + int(length) if length else None
        if (total or 0) > _LARGEST:
            raise DownloadError(f"{redact(url)} is {total} bytes: too large for a model")
        with part.path.open("ab" if have else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                have += len(chunk)
                if have > _LARGEST:
                    raise DownloadError(f"{redact(url)} is too large for a model")
                if progress is not None:
                    progress(have, total)
        if total is not None and have < total:
            raise _Passing(f"the connection ended after {have} of {total} bytes")


def sha256_of(path: Path) -> str:
    """A file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def extract_onnx(archive: Path, target: Path) -> None:
    """Take the one ONNX model out of a zip archive, and nothing else.

    No name in the archive is used as a path, and no more is written than the archive states.

    Raises:
        DownloadError: not a zip archive, none or several models in it, or one too large.
    """
    part = target.with_name(target.name + ".part")
    try:
        with zipfile.ZipFile(archive) as opened:
            model = _one_model(opened, archive.name)
            with opened.open(model) as source, part.open("wb") as file:
                shutil.copyfileobj(source, file)
    # All that its reading raises of damaged ones, names that are no UTF-8 with it.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        part.unlink(missing_ok=True)
        raise DownloadError(f"{archive.name} is not a zip archive that can be read: {error}") from error
    except DownloadError:
        raise
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DownloadError(f"{target} cannot be written: {error.strerror}") from error
    part.replace(target)


def is_archive(path: Path) -> bool:
    """Whether a file begins as zip archives do, or is one, and does not begin as a model does.

    One that was cut short begins so alone; self-extracting ones begin as programs.
    """
    with path.open("rb") as file:
        head = file.read(4)
        return head == b"PK\x03\x04" or (head[:1] != b"\x08" and zipfile.is_zipfile(file))


def _one_model(opened: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    files = (m for m in opened.infolist() if m.filename.lower().endswith(".onnx"))
    models = [m for m in files if not m.filename.rpartition("/")[2].startswith("._")]  # macOS's, of attributes
    if len(models) != 1:
        raise DownloadError(f"{name} holds {len(models)} ONNX models, not one")
    # The others fail in ways of their own, and MMDeploy uses none of them.
    if models[0].compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise DownloadError(f"{name} is packed in a way that is not read here: unpack it, and give the ONNX file")
    # Weights hardly compress: a model 100 times its packed size is a bomb.
    if models[0].file_size > min(_LARGEST, 100 * max(models[0].compress_size, 1 << 20)):
        raise DownloadError(f"{name} would unpack to {models[0].file_size} bytes")
    return models[0]
