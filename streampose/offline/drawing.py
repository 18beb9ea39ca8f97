"""Pictures of poses, as videos that may be cut off at any moment and gone on with."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

from streampose.clip import Moment
from streampose.errors import ConfigError, SinkFailed, SinkUnavailable, SourceCorrupt
from streampose.frame import Frame, Image, StreamInfo
from streampose.offline.ahead import ahead
from streampose.result import Result, Timing
from streampose.sinks import PNG_NAMES, AlphaVideoSink, PngSink, Sink, VideoSink, join_videos
from streampose.skeletons import COCO_WHOLEBODY_133
from streampose.sources import Source, sound_of
from streampose.whole import appear, appear_folder, of_nobody, part_of, remove_folder, replaceable, writing

__all__ = ["Drawing", "Painter", "draw", "pieces_in"]

log = logging.getLogger("streampose")

# Frames of a piece: what is drawn again, at most, after a kill.
_PIECE = 240
_AHEAD = 6
_NO_TIME = Timing(captured_at=0.0, taken_at=0.0, inferred_at=0.0, delivered_at=0.0, batch_size=0)


class Painter(Protocol):
    """Makes one picture of one moment. Its `repr` says all that decides how it looks."""

    @property
    def wants_image(self) -> bool:
        """Whether it draws upon the video's own picture."""

    @property
    def alpha(self) -> bool:
        """Whether its pictures have a fourth channel, (H, W, 4) BGRA."""

    def sized(self, size_px: tuple[int, int]) -> Painter:
        """The same for a clip whose first picture has this size: all that it makes have one size."""

    def __call__(self, moment: Moment, image: Image | None) -> Image:
        """A new picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One video to be made."""

    suffix: str
    """What comes after the recording's name: ``.mp4``, ``.face.mp4``; ``.png`` = a folder of PNG images."""
    painter: Painter
    prepare: Callable[[Callable[[], Iterator[Moment]]], Iterable[Moment]] = field(default=lambda again: again())
    """What is painted, from something that gives the clip's moments at each call."""
    whole_body: bool = False
    """Whether hands are what it is for: poses without any are told."""
    sound: bool = False
    """Whether it has its recording's sound."""

    @property
    def is_folder(self) -> bool:
        """Whether it is images in a folder."""
        return self.suffix.endswith(".png")

    @property
    def container(self) -> str:
        """The suffix of the container alone."""
        return Path(f"x{self.suffix}").suffix

    def piece(self, number: int) -> str:
        """What a piece of it is called while it is made."""
        return f"{number:06d}{'' if self.is_folder else self.container}"

    def sink(self, path: Path) -> Sink:
        """What encodes it."""
        if self.is_folder:
            return PngSink(path)
        return AlphaVideoSink(path) if self.painter.alpha else VideoSink(path)


def draw(
    drawing: Drawing,
    again: Callable[[], Iterator[Moment]],
    source: Callable[[Moment], Source],
    out: Path,
    work: Path,
    *,
    rate: Fraction | None,
    recording: Path | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> None:
    """Draw a video, or what is missing of it; the file appears when it is whole.

    Reading, painting and encoding go on beside one another, on a thread each.

    Args:
        drawing: how it looks.
        again: gives the poses, from the first frame, at each call.
        source: gives the video, from the frame of this moment on; is asked if the painter wants its pictures.
        out: the file, or folder.
        work: folder for the pieces; what is in it is gone on with, so it is for one drawing of one clip alone.
        rate: frames a second, as a hint to the encoder.
        recording: the video file whose sound it gets, if the drawing is to have any.
        tick: called at each frame, with how many there are; raises to break off.

    Raises:
        SourceError: the video cannot be read, or is not the one that the poses are of.
        SinkError: the disk is full.
        ConfigError: there is nothing to draw, or a folder is there that is not ours.
    """
    with writing(out):
        if drawing.is_folder:
            replaceable(out, PNG_NAMES)
        elif out.is_dir() or part_of(out) == out:
            kind = "a folder" if out.is_dir() else "not a file"
            raise ConfigError(f"{out} is {kind}, and a video would be written there: name another")
        work.mkdir(parents=True, exist_ok=True)
        pieces = _done(work, drawing)
        done = len(pieces) * _PIECE
        beginning = next(again(), None)
        heard = None if beginning is None or recording is None or not drawing.sound else (recording, beginning.time_s)
        if heard is not None:
            next(sound_of(heard[0], 0.0), None)  # what cannot be opened is told before anything is drawn
        painter = drawing.painter if beginning is None else drawing.painter.sized(beginning.size_px)
        if drawing.whole_body and beginning is not None and beginning.poses.skeleton != COCO_WHOLEBODY_133:
            log.warning(
                "the body alone is drawn: %s has no hands and no 68 points of the face; whole-body models have them "
                "(--pose rtmw-l-384)",
                beginning.poses.skeleton.name,
            )
        moments = iter(drawing.prepare(again))
        for i, _ in enumerate(islice(moments, done), 1):
            tick(i)
        with ExitStack() as stack:
            frames: Iterator[tuple[Moment, Image | None]] = ((moment, None) for moment in moments)
            if painter.wants_image and (first := next(moments, None)) is not None:
                moments = chain([first], moments)
                video = source(first)
                frames = stack.enter_context(ahead(_matched(moments, video, first.stream), _AHEAD, video.close))
            painted = stack.enter_context(ahead(_painted(frames, painter), _AHEAD))
            for piece in _pieces(painted):
                name = drawing.piece(len(pieces))
                part = work / f"part-{name}"
                try:
                    for _ in _encoded(piece, drawing.sink(part), rate):
                        tick(done := done + 1)
                except (SinkFailed, SinkUnavailable) as error:
                    _remove(part)  # a full disk needs the room
                    if not isinstance(error.__cause__, OSError):
                        raise
                    raise _broken_off(out, error.__cause__) from error
                appear(part, work / name)
                pieces.append(work / name)
        if not pieces:
            raise ConfigError(f"{out}: there are no frames to draw")
        _assemble(pieces, drawing, out, work, done, heard=heard)
        shutil.rmtree(work)


def pieces_in(work: Path) -> list[Path]:
    """What a drawing that was broken off can go on with."""
    return [path for path in work.glob("*") if not path.name.startswith("part-")]


def _done(work: Path, drawing: Drawing) -> list[Path]:
    """The pieces that are whole: 0, 1, 2 … All but the last have `_PIECE` frames, and that one is made again."""
    for part in work.glob("part-*"):
        _remove(part)
    pieces: list[Path] = []
    while (path := work / drawing.piece(len(pieces))).exists():
        pieces.append(path)
    if pieces:
        _remove(pieces.pop())
    return pieces


def _broken_off(out: Path, error: OSError) -> SinkFailed:
    """The system's fault, told of what was asked for and not of a piece of it."""
    return SinkFailed(f"{out} broke off: {error.strerror or error}; the same command goes on")


def _remove(piece: Path) -> None:
    shutil.rmtree(piece) if piece.is_dir() else piece.unlink(missing_ok=True)


def _matched(moments: Iterable[Moment], video: Source, stream: str) -> Iterator[tuple[Moment, Image | None]]:
    """Each moment with its own frame."""
    video.open(stream)
    for moment in moments:
        while (frame := video.read()) is not None and frame.index < moment.index:
            pass
        if frame is None or frame.index != moment.index or frame.pts * frame.time_base != moment.pts * moment.time_base:
            raise SourceCorrupt(
                f"{moment.stream}: frame {moment.index} of the poses is not in the video: is it the same?"
            )
        yield moment, frame.image


def _painted(frames: Iterable[tuple[Moment, Image | None]], painter: Painter) -> Iterator[Result]:
    for moment, image in frames:
        picture = painter(moment, image)
        frame = Frame(
            stream=moment.stream,
            index=moment.index,
            epoch=0,  # its time is as it is, and not that of a stream that was away
            pts=moment.pts,
            time_base=moment.time_base,
            captured_at=0.0,
            image=picture,
        )
        yield Result(frame=frame, poses=moment.poses, timing=_NO_TIME, picture=picture)


def _pieces(results: Iterator[Result]) -> Iterator[Iterator[Result]]:
    """Piece after piece; each must be used up before the next is asked for."""
    while (first := next(results, None)) is not None:
        yield chain([first], islice(results, _PIECE - 1))


def _encoded(piece: Iterator[Result], sink: Sink, rate: Fraction | None) -> Iterator[Result]:
    """Each result once it is written; the piece is whole at the end."""
    opened = False
    try:
        for result in piece:
            if not opened:
                assert result.picture is not None
                height, width = result.picture.shape[:2]
                info = StreamInfo(width_px=width, height_px=height, time_base=result.frame.time_base, rate=rate)
                sink.open(result.frame.stream, info)
                opened = True
            sink.write(result)
            yield result
    except BaseException:
        with suppress(SinkFailed):  # the first error is the one that says why
            sink.close()
        raise
    sink.close()


def _assemble(
    pieces: Sequence[Path], drawing: Drawing, out: Path, work: Path, frames: int, *, heard: tuple[Path, float] | None
) -> None:
    """From pieces, which stay, to what is asked for, with the sound of a recording from a time on."""
    if not drawing.is_folder:
        part = part_of(out)
        try:
            join_videos(pieces, part, drawing.container, () if heard is None else sound_of(*heard))
            appear(part, out)
        except SinkFailed as error:
            if not isinstance(error.__cause__, OSError):
                raise SinkFailed(f"{error}; without the folder {work} the same command makes them anew") from error
            raise _broken_off(out, error.__cause__) from error
        finally:
            part.unlink(missing_ok=True)
        return
    part = out.with_name(f"{out.name}.part")
    remove_folder(part, PNG_NAMES)
    part.mkdir()
    for image in (path for piece in pieces for path in piece.iterdir() if not of_nobody(path)):
        try:
            (part / image.name).hardlink_to(image)
        except OSError:  # there are file systems without
            shutil.copyfile(image, part / image.name)
    if (count := sum(not of_nobody(path) for path in part.iterdir())) != frames:
        remove_folder(part, PNG_NAMES)
        shutil.rmtree(work)
        raise SinkFailed(f"{out}: {count} of {frames} images were in {work}; the next run makes them anew")
    appear_folder(part, out, PNG_NAMES)
