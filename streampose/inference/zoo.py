"""Models by name: where they come from, and where they are kept."""

from __future__ import annotations

import difflib
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import onnx
import platformdirs
from filelock import FileLock
from google.protobuf.message import DecodeError

from streampose.errors import (
    ChecksumMismatch,
    ConfigError,
    DownloadError,
    ModelNotFound,
    ModelUnreadable,
    StreamposeError,
)
from streampose.inference.download import Progress, download, extract_onnx, is_archive, sha256_of
from streampose.inference.record import read_record, record_path, write_record
from streampose.redaction import redact

__all__ = [
    "NANO",
    "Entry",
    "Found",
    "built_in",
    "cached",
    "default_folder",
    "entries",
    "entry",
    "find",
    "pull",
    "remove",
]

NANO = "streampose-nano"
"""Our own pair, part of the package: a person detector and a key-point model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of the zoo."""

    name: str
    url: str
    """Of an ONNX file, or of a zip archive with one in it; empty = part of the package."""
    kind: str
    """``detector``, ``keypoints``, ``one-stage``, or ``pair`` for a detector with a key-point model."""
    family: str
    size_px: tuple[int, int]
    licence: str
    listed_in: str
    """The public document that gives the address."""
    skeleton: str | None = None
    note: str = ""
    sha256: str | None = None
    """Of what the address gives; `None` = the first model that comes is trusted, and enforced from then on."""
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
    small = name.lower()
    near = difflib.get_close_matches(small, entries(), n=3) or [known for known in entries() if small in known][:3]
    hint = f"did you mean {', '.join(near)}?" if near else "see `streampose models list`"
    raise ModelNotFound(f"no model file and no model is called {name!r}; {hint}")


def default_folder() -> Path:
    """Where models are kept on this machine."""
    return platformdirs.user_cache_path("streampose") / "models"


def built_in(kind: str) -> Path:
    """The file of `NANO`'s ``detector`` or ``keypoints`` model.

    Raises:
        ConfigError: another kind.
    """
    if kind not in {"detector", "keypoints"}:
        raise ConfigError(f"{NANO} is a detector and a key-point model, not a {kind} model: name no model to use both")
    return Path(str(resources.files("streampose.inference").joinpath("data", f"nano-{kind}.onnx")))


def find(model: str | Path, folder: Path | None = None, *, kind: str = "one-stage") -> Found:
    """The file of a model: a path, or a name from the zoo that has been pulled.

    Args:
        model: the path or the name.
        folder: that models are kept in.
        kind: what it is wanted for, as in `Entry.kind`: which of `NANO`'s two files is meant.

    Raises:
        ModelNotFound: neither, or not pulled yet.
        ModelUnreadable: nobody may look into its folder.
        ChecksumMismatch: the kept file is not what was pulled.
        ConfigError: `NANO` as what it is not.
    """
    path = Path(model)
    try:
        there = path.is_file()
    except PermissionError as error:  # its folder lets nobody look
        raise ModelUnreadable(f"{path} cannot be read: {error.strerror}") from error
    if there:
        return Found(path=path)
    if path.suffix == ".onnx" or len(path.parts) > 1:
        raise ModelNotFound(f"no model file at {path}")
    known = entry(str(model))
    if known.name == NANO:
        return Found(path=built_in(kind))
    kept = cached(known.name, folder)
    if kept is None:
        raise ModelNotFound(f"{known.name} is not on this machine yet: streampose models pull {known.name}")
    return Found(path=kept, family=known.family, skeleton=known.skeleton)


def cached(name: str, folder: Path | None = None) -> Path | None:
    """The kept file of a model, or `None`; of `NANO` the folder of its two.

    It is hashed again only if its size or time has changed since.

    Raises:
        ChecksumMismatch: it is not what was pulled.
        DownloadError: it, or what is recorded of it, cannot be read.
    """
    if name == NANO:
        return built_in("detector").parent
    path = (folder or default_folder()) / f"{name}.onnx"
    record = read_record(path)
    try:
        if record is None or not path.is_file():
            return None
        state = path.stat()
        same = [state.st_size, state.st_mtime_ns] == record["state"] or sha256_of(path) == record["sha256"]
    except OSError as error:
        raise DownloadError(f"{path} cannot be read: {error.strerror}") from error
    if not same:
        raise ChecksumMismatch(
            f"{path} is not what was pulled (changed? damaged?): streampose models remove {name}, then pull it again"
        )
    return path


def pull(name: str, folder: Path | None = None, *, url: str | None = None, progress: Progress | None = None) -> Path:
    """Fetch a model of the zoo, unless it is there.

    The model that comes the first time is recorded, and has to be the same at every later one.

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
    if name == NANO:
        return built_in("detector").parent
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
    record = read_record(target)
    fresh = folder / f"{name}.new"
    found = download(source, fresh, sha256=known.sha256, progress=progress)
    if is_archive(fresh):  # its address need not say so
        archive = fresh.replace(folder / f"{name}.zip")
        try:
            extract_onnx(archive, fresh)
        finally:
            archive.unlink()
        found = sha256_of(fresh)
    try:
        _check(fresh, found, name, redact(source), record)
    except StreamposeError:
        fresh.unlink()
        raise
    state = fresh.stat()
    write_record(
        target,
        {
            "url": redact(source),
            "sha256": found,
            "state": [state.st_size, state.st_mtime_ns],
            "pulled_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )
    return fresh.replace(target)


def _check(fresh: Path, found: str, name: str, source: str, record: Mapping[str, Any] | None) -> None:
    """Whether what came may be kept: never trust a login page or half a model, which would then be enforced."""
    with fresh.open("rb") as file:
        head = file.read(1)
    # ONNX starts with the tag of its first field, ir_version; a page, an error text or an LFS pointer does not.
    if head != b"\x08":
        raise DownloadError(f"{source} gives no ONNX model (a web page? an error text?), and it was not kept")
    if not _is_whole(fresh):
        raise DownloadError(f"{source} gives no whole ONNX model (cut short?), and it was not kept: pull it again")
    if record is not None and found != record["sha256"]:
        raise ChecksumMismatch(
            f"{source} gives another {name} than the first time (SHA-256 {found[:12]}…, not {record['sha256'][:12]}…): "
            f"not kept; if you expect that, streampose models remove --forget {name}, then pull it again"
        )


def _is_whole(model: Path) -> bool:
    """Whether all of it came: a server that says no length may stop anywhere. What it runs on is behind its graph."""
    try:
        loaded = onnx.load(model, format="protobuf", load_external_data=False)
    except DecodeError:
        return False
    return bool(loaded.graph.node and loaded.opset_import)


def remove(name: str, folder: Path | None = None, *, forget: bool = False) -> bool:
    """Delete a kept model; whether there was one.

    Args:
        name: of the model.
        folder: that it is kept in.
        forget: also forget its checksum, so that the next download is trusted anew.

    Raises:
        ConfigError: it is part of the package.
        DownloadError: it cannot be deleted.
    """
    if name == NANO:
        raise ConfigError(f"{NANO} is part of the package, and goes with it")
    target = (folder or default_folder()) / f"{entry(name).name}.onnx"
    try:
        there = target.exists()
        target.unlink(missing_ok=True)
        if forget:
            record_path(target).unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(f"{error.filename} cannot be deleted: {error.strerror}") from error
    return there
