"""Models by name: where they come from, and where they are kept."""

from __future__ import annotations

import difflib
import json
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from streampose.errors import ChecksumMismatch, DownloadError, ModelNotFound, StreamposeError, redact
from streampose.inference.download import Progress, download, extract_onnx, sha256_of

__all__ = ["Entry", "Found", "cached", "default_folder", "entries", "entry", "find", "pull", "remove"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of the zoo."""

    name: str
    url: str
    """Of an ONNX file, or of a zip archive with one in it."""
    kind: str
    """``detector``, ``keypoints`` or ``one-stage``."""
    family: str
    size_px: tuple[int, int]
    licence: str
    listed_in: str
    """The public document that gives the address."""
    skeleton: str | None = None
    note: str = ""
    sha256: str | None = None
    """Of what the address gives; `None` = the first download is trusted, recorded, and enforced from then on."""
    verified: bool = False
    """Whether the maintainers have fetched it from there themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model file, and what its name says of it."""

    path: Path
    family: str | None = None
    skeleton: str | None = None


@cache
def entries() -> Mapping[str, Entry]:
    """Every model of the zoo, by name."""
    text = resources.files("streampose.inference").joinpath("data/zoo.toml").read_text(encoding="utf-8")
    return {
        name: Entry(name=name, **{**fields, "size_px": tuple(fields["size_px"])})
        for name, fields in tomllib.loads(text).items()
    }


def entry(name: str) -> Entry:
    """One model of the zoo.

    Raises:
        ModelNotFound: there is none of this name; the message has the nearest.
    """
    if name in entries():
        return entries()[name]
    near = difflib.get_close_matches(name, entries(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "see `streampose models list`"
    raise ModelNotFound(f"no model file and no model is called {name!r}; {hint}")


def default_folder() -> Path:
    """Where models are kept on this machine."""
    return platformdirs.user_cache_path("streampose") / "models"


def find(model: str | Path, folder: Path | None = None) -> Found:
    """The file of a model: a path, or a name from the zoo that has been pulled.

    Raises:
        ModelNotFound: neither, or not pulled yet.
        ChecksumMismatch: the kept file is not what was pulled.
    """
    path = Path(model)
    if path.is_file():
        return Found(path=path)
    if path.suffix == ".onnx" or len(path.parts) > 1:
        raise ModelNotFound(f"no model file at {path}")
    known = entry(str(model))
    kept = cached(known.name, folder)
    if kept is None:
        raise ModelNotFound(f"{known.name} is not on this machine yet: streampose models pull {known.name}")
    return Found(path=kept, family=known.family, skeleton=known.skeleton)


def cached(name: str, folder: Path | None = None) -> Path | None:
    """The kept file of a model, or `None`. Hashed again only if its size or time has changed since.

    Raises:
        ChecksumMismatch: it is not what was pulled.
    """
    path = (folder or default_folder()) / f"{name}.onnx"
    record = _read_record(path)
    if record is None or not path.is_file():
        return None
    state = path.stat()
    if [state.st_size, state.st_mtime_ns] != record["state"] and sha256_of(path) != record["sha256"]:
        raise ChecksumMismatch(
            f"{path} is not what was pulled (changed? damaged?): streampose models remove {name}, then pull it again"
        )
    return path


def pull(name: str, folder: Path | None = None, *, url: str | None = None, progress: Progress | None = None) -> Path:
    """Fetch a model of the zoo, unless it is there.

    What its address gives is recorded at the first time, and has to be the same at every later one.

    Args:
        name: of the model.
        folder: to keep it in.
        url: of a mirror; the recorded checksum holds for it, too.
        progress: is told how it goes.

    Raises:
        ModelNotFound: no such name.
        DownloadError: it could not be fetched.
        ChecksumMismatch: it is not what the zoo says, or not what came the first time.
    """
    known = entry(name)
    folder = folder or default_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Two processes that want the same model: the second waits, and then finds it there.
        with FileLock(folder / f"{name}.lock"):
            return _pull(known, folder, url or known.url, progress)
    except StreamposeError:
        raise
    except OSError as error:
        raise DownloadError(f"{folder} cannot be written: {error.strerror}") from error


def _pull(known: Entry, folder: Path, source: str, progress: Progress | None) -> Path:
    name, target = known.name, folder / f"{known.name}.onnx"
    if (kept := cached(name, folder)) is not None:
        return kept
    record = _read_record(target)
    expected = known.sha256 or (record or {}).get("download_sha256")
    packed = source.partition("?")[0].lower().endswith(".zip")
    fetched = folder / f"{name}.zip" if packed else target
    found = download(source, fetched, sha256=expected, progress=progress)
    if packed:
        try:
            extract_onnx(fetched, target)
        finally:
            fetched.unlink()
    state = target.stat()
    _record_path(target).write_text(
        json.dumps(
            {
                "url": redact(source),
                "download_sha256": found,
                "sha256": sha256_of(target),
                "state": [state.st_size, state.st_mtime_ns],
                "pulled_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
            indent=1,
        )
    )
    return target


def remove(name: str, folder: Path | None = None, *, forget: bool = False) -> bool:
    """Delete a kept model; whether there was one.

    Args:
        name: of the model.
        folder: that it is kept in.
        forget: also forget its checksum, so that the next download is trusted anew.
    """
    target = (folder or default_folder()) / f"{entry(name).name}.onnx"
    there = target.exists()
    target.unlink(missing_ok=True)
    if forget:
        _record_path(target).unlink(missing_ok=True)
    return there


def _record_path(target: Path) -> Path:
    return target.with_suffix(".json")


def _read_record(target: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(_record_path(target).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
