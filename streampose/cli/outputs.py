"""Where the results of each stream go."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import quote

from streampose.cli.references import resolve
from streampose.cli.values import check_path
from streampose.errors import ConfigError
from streampose.redaction import redact
from streampose.sinks import CocoSink, JsonlSink, PushSink, Rotation, Sink, SnapshotSink, VideoSink, is_push, send_to
from streampose.sinks.encoder import check_encoder
from streampose.sinks.rotation import original
from streampose.whole import check_folder, is_device, real, writing

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
    _taken: set[Path] = field(default_factory=set, init=False)
    """What a stream writes or wrote to."""
    _inputs: set[Path] = field(default_factory=set, init=False)
    _named: dict[str, set[Path]] = field(default_factory=dict, init=False)
    """What is called like each stream, by its name."""

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
        """See before anything is opened whether the outputs can be; then make the folders that are asked for by a /.

        Raises:
            ConfigError: one file for several streams, or an input that would be overwritten; a stream that is called
                like another's old file; options that do not fit.
            SinkUnavailable: a folder is missing.
            SinkFailed: one cannot be made.
        """
        self._check_options(len(sources))
        inputs = {real(Path(text)) for text in sources.values() if Path(text).is_file()}
        named: dict[str, set[Path]] = {name: set() for name in sources}
        new: set[Path] = set()
        for option, text in self._files.items():
            if text == "-":
                raise ConfigError(f"{option} -: only --json goes to standard output by -; name a file")
            if len(sources) > 1 and not _is_folder(text):
                raise ConfigError(
                    f"{option} {text} is one file for {len(sources)} streams: give a folder (end it with /)"
                )
            for name in sources:
                path = _file(text, name, _SUFFIXES[option])
                if _is_made(text, path.parent):
                    new.add(path.parent)
                else:
                    check_folder(path)
                if real(path) in inputs:
                    raise ConfigError(f"{option} {path} would overwrite an input")
                if any(real(path) in paths for paths in named.values()):
                    raise ConfigError(f"two outputs would be written to {path}")
                named[name].add(real(path))
        if self.rotation is not None:
            written = [_file(str(self.json), name, _SUFFIXES["--json"]) for name in sources]
            if devices := [path for path in written if is_device(path)]:
                raise ConfigError(f"--json-rotate is for files, and {devices[0]} is a device or a pipe: leave it out")
            rotating = {real(path) for path in written}
            if old := [path for paths in named.values() for path in paths if original(path) in rotating]:
                raise ConfigError(f"{old[0]} is what an old file of --json-rotate is called: name its stream otherwise")
        for folder in new:
            with writing(folder):
                folder.mkdir(exist_ok=True)  # two spellings may mean one
        self._inputs, self._named = inputs, named

    def _check_options(self, streams: int) -> None:
        # A shell's variable that is not set; as a path it would be the current folder.
        if empty := [option for option, text in self._files.items() if not text]:
            raise ConfigError(f"{empty[0]} names nothing: write a file, or a folder (./ for this one)")
        if "" in self.send:
            raise ConfigError("--send names nothing: write a URL")
        for option, text in self._files.items():
            if "://" in text[2:]:  # C:// is a drive of Windows
                also = "video goes to rtsp:// and rtmp://" if option == "--out" else "lines go to servers by --send"
                raise ConfigError(f"{option} {redact(text)} is a URL, and not one for it: name a file ({also})")
            check_path(option, text)
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

    @contextlib.contextmanager
    def all_or_none(self) -> Iterator[None]:
        """An error within gives back the names of files that streams got within."""
        before = set(self._taken)
        try:
            yield
        except BaseException:
            self._taken = before
            raise

    def sinks(self, name: str, *, live: bool) -> list[Sink]:
        """The sinks of one stream.

        Where its files are, or were, another stream's or its own of before, they are ``NAME.2.…``, or the next number
        that is free; but for those that rotate, which lose nothing.

        Raises:
            ConfigError: a URL makes no sense, its secret is not there, or a client library is missing.
        """
        take = next(number for number in count(1) if self._is_free(name, number))
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
        self._taken |= self._numbered(name, take)
        return sinks

    def _is_free(self, name: str, take: int) -> bool:
        others = (paths for other, paths in self._named.items() if other != name)
        return self._numbered(name, take).isdisjoint(self._taken.union(self._inputs, *others))

    def _numbered(self, name: str, take: int) -> set[Path]:
        """The files that a stream begins, by the number of its take."""
        once = {"--snapshot"} if self.rotation is None else {"--snapshot", "--json"}
        files = {option: text for option, text in self._files.items() if option not in once}
        return {real(_file(text, name, _SUFFIXES[option], take)) for option, text in files.items()}


_SUFFIXES = {"--out": ".mp4", "--json": ".jsonl", "--coco": ".coco.json", "--snapshot": ".jpg"}
_PLACEHOLDER = re.compile(r"\{\w*\}")


def _url(text: str, name: str) -> str:
    named = text.replace("{name}", quote(name, safe=""))
    if _PLACEHOLDER.search(named.rpartition("@")[2]):  # not shown: it may be a secret's all the same
        raise ConfigError(
            "a URL of --send or --out has another {…} than {name}, {env:NAME} and {file:PATH}: write one of these, "
            "or %7B for a brace"
        )
    return resolve(named)


def _is_folder(text: str) -> bool:
    return text.endswith(("/", "\\")) or Path(text).is_dir()


def _is_made(text: str, folder: Path) -> bool:
    """Whether a folder that is not there is asked for as one, in one that is."""
    return text.endswith(("/", os.sep)) and not folder.is_dir() and folder.parent.is_dir()


def _file(text: str, name: str, suffix: str, take: int = 1) -> Path:
    again = "" if take == 1 else f".{take}"
    if _is_folder(text):
        return Path(text) / f"{name}{again}{suffix}"
    return Path(text).with_stem(Path(text).stem + again)
