"""Where the results of each stream go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from streampose.cli.references import resolve
from streampose.errors import ConfigError, SinkUnavailable
from streampose.redaction import redact
from streampose.sinks import (
    CocoSink,
    JsonlSink,
    PushSink,
    Rotation,
    Sink,
    SnapshotSink,
    VideoSink,
    is_push,
    send_to,
)
from streampose.sinks.encoder import check_encoder

__all__ = ["Outputs"]


@dataclass(slots=True, kw_only=True)
class Outputs:
    """What was asked for on the command line.

    A text that is a folder gets one file for each stream; in a URL, ``{name}`` is the stream's name, and secrets are
    references.
    """

    out: str | None = None
    encoder: str | None = None
    json: str | None = None
    rotation: Rotation | None = None
    coco: str | None = None
    send: Sequence[str] = ()
    snapshot: str | None = None
    snapshot_every_s: float = 10.0
    _takes: Counter[str] = field(default_factory=Counter, init=False)

    @property
    def _pushed(self) -> bool:
        if self.out is None:
            return False
        return is_push(resolve(self.out) if self.out.startswith("{") else self.out)

    @property
    def _files(self) -> dict[str, str]:
        """What goes to files, by option."""
        asked = {"--out": self.out, "--json": self.json, "--coco": self.coco, "--snapshot": self.snapshot}
        if self._pushed:
            del asked["--out"]
        if self.json == "-":
            del asked["--json"]
        return {option: text for option, text in asked.items() if text is not None}

    def check(self, sources: Mapping[str, str]) -> None:
        """See before anything is opened whether the outputs can be.

        Raises:
            ConfigError: one file for several streams, or an input that would be overwritten; options that do not fit.
            SinkUnavailable: a folder is missing.
        """
        self._check_options(len(sources))
        inputs = {Path(text).resolve() for text in sources.values() if Path(text).is_file()}
        written: set[Path] = set()
        for option, text in self._files.items():
            if len(sources) > 1 and not _is_folder(text):
                raise ConfigError(
                    f"{option} {text} is one file for {len(sources)} streams: give a folder (end it with /)"
                )
            for name in sources:
                path = _file(text, name, _SUFFIXES[option])
                if not path.parent.is_dir():
                    raise SinkUnavailable(f"no folder {path.parent} for {path}: create it first")
                if path.resolve() in inputs:
                    raise ConfigError(f"{option} {path} would overwrite an input")
                if path.resolve() in written:
                    raise ConfigError(f"two outputs would be written to {path}")
                written.add(path.resolve())

    def _check_options(self, streams: int) -> None:
        if self.rotation is not None and "--json" not in self._files:
            raise ConfigError("--json-rotate is for files: name one, or a folder, by --json")
        if self._pushed and streams > 1 and "{name}" not in str(self.out):
            raise ConfigError(
                f"--out {redact(str(self.out))} is one place for {streams} streams: put {{name}} into its path"
            )
        if self.encoder is not None:
            check_encoder(self.encoder)
            if not self._pushed:
                raise ConfigError("--encoder is for video that goes to a media server: --out rtsp://… or rtmp://…")

    def sinks(self, name: str, *, live: bool) -> list[Sink]:
        """The sinks of one stream.

        Asked again for the same name, they write to files ``NAME.2.…``, then ``NAME.3.…``, but for those that rotate,
        which lose nothing.

        Raises:
            ConfigError: a URL makes no sense, its secret is not there, or a client library is missing.
        """
        self._takes[name] += 1
        take = self._takes[name]
        sinks: list[Sink] = []
        if self.json == "-":
            sinks.append(JsonlSink("-"))
        elif self.json is not None:
            number = take if self.rotation is None else 1
            sinks.append(JsonlSink(_file(self.json, name, _SUFFIXES["--json"], number), self.rotation))
        if self.coco is not None:
            sinks.append(CocoSink(_file(self.coco, name, _SUFFIXES["--coco"], take)))
        sinks += [send_to(_url(url, name)) for url in self.send]
        if self.snapshot is not None:
            path = _file(self.snapshot, name, _SUFFIXES["--snapshot"])
            sinks.append(SnapshotSink(path, every_s=self.snapshot_every_s))
        if self._pushed:
            if not live:
                raise ConfigError(f"{name} is a recording, and a media server plays what comes as it comes: add --live")
            sinks.append(PushSink(_url(str(self.out), name), encoder=self.encoder or "auto"))
        elif self.out is not None:
            sinks.append(VideoSink(_file(self.out, name, _SUFFIXES["--out"], take)))
        return sinks


_SUFFIXES = {"--out": ".mp4", "--json": ".jsonl", "--coco": ".coco.json", "--snapshot": ".jpg"}


def _url(text: str, name: str) -> str:
    return resolve(text.replace("{name}", quote(name, safe="")))


def _is_folder(text: str) -> bool:
    return text.endswith(("/", "\\")) or Path(text).is_dir()


def _file(text: str, name: str, suffix: str, take: int = 1) -> Path:
    again = "" if take == 1 else f".{take}"
    if _is_folder(text):
        return Path(text) / f"{name}{again}{suffix}"
    return Path(text).with_stem(Path(text).stem + again)
