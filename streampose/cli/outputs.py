"""Where the results of each stream go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streampose.errors import ConfigError, SinkUnavailable
from streampose.sinks import CocoSink, JsonlSink, Sink, VideoSink

__all__ = ["Outputs"]


@dataclass(slots=True, kw_only=True)
class Outputs:
    """What was asked for on the command line. A text that is a folder gets one file for each stream."""

    out: str | None
    json: str | None
    coco: str | None
    _takes: Counter[str] = field(default_factory=Counter, init=False)

    def check(self, sources: Mapping[str, str]) -> None:
        """See before anything is opened whether the outputs can be.

        Raises:
            ConfigError: one file for several streams, or an input that would be overwritten.
            SinkUnavailable: a folder is missing.
        """
        inputs = {Path(text).resolve() for text in sources.values() if Path(text).is_file()}
        written: set[Path] = set()
        for option, text in (("--out", self.out), ("--json", self.json), ("--coco", self.coco)):
            if text is None or (text == "-" and option == "--json"):
                continue
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

    def sinks(self, name: str) -> list[Sink]:
        """The sinks of one stream. Asked again for the same name, they write to ``NAME.2.…``, then ``NAME.3.…``."""
        self._takes[name] += 1
        take = self._takes[name]
        sinks: list[Sink] = []
        if self.json is not None:
            sinks.append(JsonlSink("-" if self.json == "-" else _file(self.json, name, _SUFFIXES["--json"], take)))
        if self.coco is not None:
            sinks.append(CocoSink(_file(self.coco, name, _SUFFIXES["--coco"], take)))
        if self.out is not None:
            sinks.append(VideoSink(_file(self.out, name, _SUFFIXES["--out"], take)))
        return sinks


_SUFFIXES = {"--out": ".mp4", "--json": ".jsonl", "--coco": ".coco.json"}


def _is_folder(text: str) -> bool:
    return text.endswith(("/", "\\")) or Path(text).is_dir()


def _file(text: str, name: str, suffix: str, take: int = 1) -> Path:
    again = "" if take == 1 else f".{take}"
    if _is_folder(text):
        return Path(text) / f"{name}{again}{suffix}"
    return Path(text).with_stem(Path(text).stem + again)
