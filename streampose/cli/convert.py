"""`streampose convert`: poses from one kind of file to another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from streampose import formats
from streampose.cli.say import say
from streampose.clip import Moment
from streampose.errors import ConfigError
from streampose.whole import check_folder, real

__all__ = ["convert", "moments_in", "writable"]


def convert(
    poses: Annotated[
        Path, typer.Argument(help="A .jsonl, .csv, .parquet or .npz file of ours; a folder of OpenPose's.")
    ],
    out: Annotated[
        Path, typer.Argument(help=f"What to write: {', '.join(f.suffix for f in formats.FORMATS.values())}.")
    ],
    form: Annotated[str | None, typer.Option("--format", help="If the name of OUT does not say it.")] = None,
    stream: Annotated[str | None, typer.Option(help="Which one, of a file of several.")] = None,
) -> None:
    """Write poses in another format.

    Examples:

      streampose convert dance.jsonl dance.csv

      streampose convert dance.jsonl dance.openpose
    """
    writable(out, poses)
    formats.write(out, moments_in(poses, stream), form)
    say(f"written: {out}")


def moments_in(path: Path, stream: str | None = None) -> Iterator[Moment]:
    """The moments of one stream of a file.

    Raises:
        ConfigError: it holds several streams and none is named, or the one that is named is not there.
        FormatUnreadable: it is no file of poses.
    """
    only: str | None = stream
    found = False
    for moment in formats.read(path):
        if stream is None and only is None:
            only = moment.stream
        if stream is None and moment.stream != only:
            raise ConfigError(f"{path} holds several streams, {only} and {moment.stream}: name one with --stream")
        if moment.stream == only:
            found = True
            yield moment
    if stream is not None and not found:
        raise ConfigError(f"{path} has no stream {stream!r} in it")


def writable(out: Path, *others: Path | None) -> None:
    """See before any work whether there is a folder for an output, and that it would replace none of the others.

    Args:
        out: a file, or a folder.
        others: what is read, and what else is written.

    Raises:
        SinkUnavailable: there is no folder.
        ConfigError: one of the others is there, or in there; or it is meant to be standard output.
    """
    if str(out) == "-":
        raise ConfigError("- is not standard output here: name a file (Linux and macOS have /dev/stdout)")
    check_folder(out)
    for path in others:
        if path is not None and real(out) in {there := real(path), *there.parents}:
            raise ConfigError(f"{out} would overwrite {path}: name another")
