"""`streampose render`: poses to video, without a model."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress

from streampose.cli import pictures
from streampose.cli.command import flat
from streampose.cli.convert import moments_in, writable
from streampose.cli.say import console, has_watcher, say
from streampose.cli.values import parse_size
from streampose.clip import Moment
from streampose.cores import share_cores
from streampose.errors import ConfigError, FormatUnreadable, SourceError
from streampose.offline.drawing import Drawing, draw, pieces_in
from streampose.offline.job import fingerprint_of
from streampose.offline.lock import locked
from streampose.offline.videos import DRAWN, STYLES
from streampose.render import Background
from streampose.sinks import VIDEO_SUFFIXES
from streampose.sources import Cut, Excerpt, ImagesSource, Source, open_source
from streampose.sources.images import images_in
from streampose.sources.seeking import Seeking

__all__ = ["render"]

# What a row of images stands for where nothing says otherwise.
_IMAGES_RATE = Fraction(30)


@flat
def render(
    *,
    poses: Annotated[
        Path, typer.Argument(help="A .jsonl, .csv, .parquet or .npz file of ours; a folder of OpenPose's.")
    ],
    video: Annotated[
        Path | None, typer.Argument(help="The video, or folder of images, that they are of; to draw upon it.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help=f"{', '.join(VIDEO_SUFFIXES)}; with --png a folder.")] = Path(
        "drawn.mp4"
    ),
    style: Annotated[str, typer.Option("--draw", help=f"One of {', '.join(STYLES)}.")] = "streampose",
    size: pictures.Size = None,
    background: Annotated[
        Background | None,
        typer.Option(help="black, video, or alpha; video where there is one.", rich_help_panel="Drawing"),
    ] = None,
    looks: pictures.Looks,
    stream: Annotated[str | None, typer.Option(help="Which one, of a file of several.")] = None,
    poses_size: Annotated[
        str | None,
        typer.Option(help="Of the picture that the poses are of, 1920x1080, where neither they nor a video know it."),
    ] = None,
) -> None:
    """Draw poses that were kept: upon their video, on black, or see-through.

    Examples:

      streampose render dance.jsonl dance.mp4 -o drawn.mp4

      streampose render dance.jsonl --draw animate --size 832x480 -o animate.mp4

      streampose render dance.jsonl --draw openpose-18 --background alpha -o figures.mov

      streampose render dance.openpose --poses-size 1280x720 -o black.mp4
    """
    writable(out, poses, video)
    if len([name for name in style.split(",") if name.strip()]) != 1:
        raise ConfigError(f"--draw is one style here, of {', '.join(STYLES)}")
    backdrop: Background = background or ("black" if video is None else "video")
    if backdrop == "video" and video is None:
        raise ConfigError("to draw upon the video, name it after the poses")
    if looks.sound and (video is None or not video.is_file()):
        raise ConfigError("--sound is that of the video: name its file after the poses")
    found = looks.drawings(style, size=size, background=backdrop)
    if not looks.png and backdrop == "alpha" and out.suffix.lower() != ".mov":
        raise ConfigError(f"-o {out}: see-through video is .mov (ProRes 4444); or take --png")
    if not looks.png and out.suffix.lower() not in VIDEO_SUFFIXES:
        raise ConfigError(
            f"-o {out}: video is written as {', '.join(VIDEO_SUFFIXES)}; or take --png for a folder of images"
        )
    share_cores()
    drawing = replace(found[0], suffix=".png" if looks.png else out.suffix.lower())
    draw_file(drawing, poses, video, out, stream, size_px=None if poses_size is None else parse_size(poses_size))
    say(f"written: {out}")


def draw_file(
    drawing: Drawing,
    poses: Path,
    video: Path | None,
    out: Path,
    stream: str | None = None,
    *,
    size_px: tuple[int, int] | None = None,
) -> None:
    """Draw a file of poses, with a bar of progress; `size_px` is of their picture, if neither they nor a video know."""

    def kept() -> Iterator[Moment]:
        return moments_in(poses, stream)

    def source(first: Moment) -> Source:
        assert video is not None
        opened = ImagesSource(video, rate=pace) if video.is_dir() else open_source(str(video), live=False)
        return Excerpt(opened, Cut(), resume_at=first.index, known=(first.index, first.pts))

    if (beginning := next(kept(), None)) is None:
        raise ConfigError(f"{poses} has no frames in it: there is nothing to draw")
    again = kept
    if min(beginning.size_px) < 1:
        if video is not None:
            again = _as_in(video, kept)
        elif size_px is not None:
            again = _sized(size_px, kept)
        else:
            raise ConfigError(
                f"{poses} does not say how large the picture is: name the video, or say --poses-size 1280x720"
            )
    total, rate, pace = _length(again())
    folder = out.parent / ".streampose"
    # Pieces of another clip, drawing or video are of no use, or of another version.
    recordings = [_known(path) for path in (poses, video) if path is not None]
    looks = (DRAWN, drawing.suffix, repr(drawing.painter), size_px, out.name)
    work = folder / fingerprint_of("render", *recordings, stream, *looks)
    lock = folder / f"{fingerprint_of(out.name)}.lock"
    with locked(out, lock), Progress(console=console, transient=True, disable=not has_watcher()) as progress:
        task = progress.add_task(escape(out.name), total=total)
        try:
            draw(
                drawing,
                again,
                source,
                out,
                work,
                rate=rate,
                recording=video,
                tick=lambda done: progress.update(task, completed=done),
            )
        except BaseException as error:
            # With what cannot be read nobody can go on; when it changes, so does the name of the folder.
            if isinstance(error, SourceError | FormatUnreadable) or not pieces_in(work):
                shutil.rmtree(work, ignore_errors=True)
            raise


def _sized(size_px: tuple[int, int], kept: Callable[[], Iterator[Moment]]) -> Callable[[], Iterator[Moment]]:
    return lambda: (replace(moment, size_px=size_px) for moment in kept())


def _as_in(video: Path, kept: Callable[[], Iterator[Moment]]) -> Callable[[], Iterator[Moment]]:
    """Moments with the times of a video's frames, and its size: OpenPose's files have numbers of frames alone."""
    size_px, times = _frames_of(video)
    places = {_number(path, i): i for i, path in enumerate(images_in(video))} if video.is_dir() else None
    if places is None:
        numbers = {moment.index for moment in kept()}
        first = 1 if 0 not in numbers and max(numbers) == len(times) else 0  # some count from 1
        places = {i + first: i for i in range(len(times))}

    def again() -> Iterator[Moment]:
        for moment in kept():
            if (place := places.get(moment.index)) is None:
                raise ConfigError(f"{video} has {len(times)} frames, and none for frame {moment.index} of the poses")
            pts, time_base = times[place]
            yield replace(moment, index=place, pts=pts, time_base=time_base, size_px=size_px)

    return again


def _frames_of(video: Path) -> tuple[tuple[int, int], list[tuple[int, Fraction]]]:
    """The size of a video's frames, and when each is shown; without decoding them where that can be known."""
    source = open_source(str(video), live=False)
    table = source.table() if isinstance(source, Seeking) else None
    try:
        info = source.open(video.name)
        if table is not None:
            times = [(pts, table.time_base) for pts in table.pts.tolist()]
        elif video.is_dir() and info.frames is not None:
            times = [(i, info.time_base) for i in range(info.frames)]
        else:
            times = [(frame.pts, frame.time_base) for frame in iter(source.read, None)]
    finally:
        source.close()
    return (info.width_px, info.height_px), times


def _number(path: Path, place: int) -> int:
    """What an image is called by, as OpenPose calls its own file; without a number, its place."""
    found = re.search(r"\d+$", path.stem)
    return int(found[0]) if found else place


def _known(path: Path) -> list[object]:
    """What changes when a file does, or one of a folder of images."""
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    stats = [(file.name, file.stat()) for file in files]
    return [os.path.realpath(path), *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)]


def _length(moments: Iterator[Moment]) -> tuple[int, Fraction | None, Fraction]:
    """How many frames, how many a second in the mean, and at what rate images in a row would have their times."""
    first = last = next(moments, None)
    count = 0 if first is None else 1
    for moment in moments:
        count, last = count + 1, moment
    if first is None or last is None:
        return count, None, _IMAGES_RATE
    # A row begins at 0, and its poses may begin later, or leave frames out.
    end = last.pts * last.time_base
    pace = Fraction(last.index / end) if last.index > 0 and end > 0 else _IMAGES_RATE
    seconds = end - first.pts * first.time_base
    rate = Fraction((count - 1) / seconds).limit_denominator(1001) if count > 1 and seconds > 0 else None
    return count, rate, pace
