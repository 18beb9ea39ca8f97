"""One recording on its way, and the folder that remembers how far it is.

OUTDIR/NAME.jsonl, NAME.mp4, …      what is done; each appears under its name when it is whole
OUTDIR/.streampose/.lock            held by the run that writes here
OUTDIR/.streampose/NAME/
    state.json                      which stages are done, of which input and options; replaced by rename
    found.spool                     who the models found, frame by frame; grows while they run
    poses.spool                     the same after tracking and everything that knows the whole clip
    video/000000.mp4 …              pieces of a video that is being drawn
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streampose.errors import ConfigError, SinkUnavailable
from streampose.offline.inputs import Input
from streampose.skeletons import skeleton_of
from streampose.whole import appear, part_of, writing

__all__ = ["Job", "State", "fingerprint_of", "put"]

_VERSION = 1


@dataclass(slots=True, kw_only=True)
class State:
    """How far a job is. A stage is done if its fingerprint is that of what is asked for now."""

    source: str | None = None
    """Where the recording is."""
    recording: str | None = None
    """Of the recording alone."""
    found: str | None = None
    """Of the input, the models and what they look at."""
    whole: bool = False
    """Whether the models have seen every frame."""
    frames: int = 0
    """That the models have seen, once they are through."""
    skeleton: str | None = None
    names: list[str] | None = None
    """Of its points, if it is none of ours."""
    edges: list[list[int]] | None = None
    """… and what joins them."""
    poses: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    """Of each file or folder that was written, by its name in OUTDIR."""
    written: list[str] = field(default_factory=list)
    """The names of all that ever was, so that it is not taken for an input."""

    def __post_init__(self) -> None:
        # Of a file that somebody has edited.
        if type(self.outputs) is not dict or type(self.written) is not list:
            raise TypeError("outputs or written")
        if self.skeleton is not None:
            skeleton_of(self.skeleton, self.names, self.edges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One recording, and where it is worked on."""

    input: Input
    folder: Path

    @property
    def name(self) -> str:
        """Of the recording."""
        return self.input.name

    @property
    def work(self) -> Path:
        """The folder of what is not done."""
        return self.folder / ".streampose" / self.name

    @property
    def found(self) -> Path:
        """Who the models found."""
        return self.work / "found.spool"

    @property
    def poses(self) -> Path:
        """Who goes out."""
        return self.work / "poses.spool"

    @property
    def pieces(self) -> Path:
        """The folder of those of videos that are being drawn."""
        return self.work / "video"

    def load(self, found: str) -> State:
        """How far it is; nothing, if the input, the models or what they look at are others than then.

        Raises:
            SinkUnavailable: the folder cannot be made.
            ConfigError: what is there was made of another recording, in another place.
        """
        try:
            self.work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkUnavailable(f"{self.work} cannot be made: {error.strerror}") from error
        try:
            data: dict[str, Any] = json.loads((self.work / "state.json").read_text(encoding="utf-8"))
            known = State(**data["state"]) if data["v"] == _VERSION else State()
        except (OSError, ValueError, TypeError, KeyError):
            known = State()
        source, recording = self.input.place, self.input.fingerprint()
        made = known.written or (self.found.exists() and self.found.stat().st_size)
        if made and known.source not in {None, source} and known.recording != recording:
            raise ConfigError(
                f"{self.folder} has what was made of {known.source} under the name of {self.name}: "
                f"name another folder with -o, or rename {source}"
            )
        known.source, known.recording = source, recording
        # Without its spool, a state is that of a run which was cut off just after the spool was thrown away, below.
        if known.found == found and (self.found.exists() or not known.whole):
            return known
        self.found.unlink(missing_ok=True)
        shutil.rmtree(self.pieces, ignore_errors=True)
        return State(source=source, recording=recording, found=found, written=known.written)

    def save(self, state: State) -> None:
        """Remember it, as a whole or not at all.

        Raises:
            SinkFailed: the disk is full.
        """
        data = {"v": _VERSION, "state": {key: getattr(state, key) for key in State.__slots__}}
        put(self.work / "state.json", json.dumps(data, indent=1).encode())


def put(path: Path, data: bytes) -> None:
    """Write a file so that there is, at any moment, the old one or the new one, also after a power cut.

    Raises:
        SinkFailed: the disk is full.
    """
    with writing(path):
        part = part_of(path)
        part.write_bytes(data)
    appear(part, path)


def fingerprint_of(*parts: object) -> str:
    """A short name for values: the same for the same ones, in this and any later process."""
    return hashlib.sha256(json.dumps([repr(part) for part in parts]).encode()).hexdigest()[:24]
