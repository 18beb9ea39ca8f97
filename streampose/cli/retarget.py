"""`streampose retarget`: one person's movement in another's proportions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import typer

from streampose import formats
from streampose.cli import engine
from streampose.cli.command import flat
from streampose.cli.convert import moments_in, writable
from streampose.cli.say import dim, say
from streampose.clip import Moment
from streampose.errors import ConfigError, FormatUnreadable
from streampose.inference.loading import ModelChoice, load_estimator
from streampose.motion import Choice, Retargeting, largest, only, parse_choice, pick, retargeted, survey, words
from streampose.sinks import VIDEO_SUFFIXES
from streampose.sources.images import IMAGE_SUFFIXES, read_image
from streampose.tracking import Tracker, TrackerOptions

__all__ = ["retarget"]

_HOW = "How"
_STILL = Fraction(1, 30)


@flat
def retarget(
    *,
    poses: Annotated[Path, typer.Argument(help="Whose movement: a file of poses.")],
    reference: Annotated[
        Path,
        typer.Argument(
            help="Whose proportions: a picture (a model looks at it), or a file of poses (its first frame with "
            "somebody in it)."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A file of poses: .jsonl, .csv, …")],
    align: Annotated[
        Literal["reference", "driving"],
        typer.Option(help="reference (into its picture), or driving (size and place are kept).", rich_help_panel=_HOW),
    ] = "reference",
    anchor: Annotated[
        Literal["auto", "neck", "hip", "ground"], typer.Option(help="auto, neck, hip or ground.", rich_help_panel=_HOW)
    ] = "auto",
    scale: Annotated[
        Literal["auto", "height", "torso", "shoulders"],
        typer.Option(help="auto, height, torso or shoulders.", rich_help_panel=_HOW),
    ] = "auto",
    pairs: Annotated[
        Literal["larger", "own"],
        typer.Option(help="Left and right take the larger ratio, or each its own.", rich_help_panel=_HOW),
    ] = "larger",
    hands: Annotated[bool, typer.Option(help="Keep hands.", rich_help_panel=_HOW)] = True,
    face: Annotated[bool, typer.Option(help="Keep the face's points.", rich_help_panel=_HOW)] = True,
    drop_unseen: Annotated[
        bool, typer.Option("--drop-unseen", help="Leave out what the reference does not show.", rich_help_panel=_HOW)
    ] = False,
    person: Annotated[
        str, typer.Option(help="Who moves: largest, centre, id:3, box:…", rich_help_panel=_HOW)
    ] = "largest",
    keep_reference: Annotated[
        Path | None, typer.Option(help="Also write the reference's poses, to be drawn with `render`.")
    ] = None,
    stream: Annotated[str | None, typer.Option(help="Which one, of a file of several.")] = None,
    chosen: engine.Models,
) -> None:
    """Give one person's movement to somebody of other proportions (docs/retarget.md has pictures).

    Examples:

      streampose retarget dance.jsonl anna.png -o anna.jsonl

      streampose retarget dance.jsonl anna.jsonl -o anna-dances.jsonl --align driving --anchor hip
    """
    options = Retargeting(
        align=align,
        anchor=anchor,
        scale=scale,
        pairs=pairs,
        hands=hands,
        face=face,
        drop_unseen=drop_unseen,
    )
    choice = parse_choice(person)
    models = chosen.choice()
    for path, other in ((out, keep_reference), (keep_reference, out)):
        if path is not None:
            writable(path, poses, reference, other)
            if path.suffix.lower() in VIDEO_SUFFIXES:
                raise ConfigError(f"{path} is a video: write poses (.jsonl), and draw them with `streampose render`")
            formats.format_for(path)
    found = _reference(reference, models)

    one = _one(lambda: moments_in(poses, stream), choice)
    if keep_reference is not None:
        formats.write(keep_reference, [found])
    formats.write(out, retargeted(one, found.poses, found.size_px, options))
    first = next((moment for moment in one() if len(moment.poses)), None)
    if first is not None:
        say(dim(f"driving: {words(first.poses)} reference: {words(found.poses)}"))
    say(f"written: {out}")


def _one(again: Callable[[], Iterator[Moment]], choice: Choice) -> Callable[[], Iterator[Moment]]:
    """The person who moves, at each call; people without ids are followed first, if there is anything to choose.

    Raises:
        ConfigError: nobody is who is asked for.
    """

    def followed() -> Iterator[Moment]:
        tracker = Tracker(TrackerOptions(strong_score=0.0))  # everybody who is there is meant to be
        return (moment.having(tracker.update(moment.poses, moment.time_s)) for moment in again())

    people, known = survey(again()), again
    if not people and choice.by != "id":  # which nobody can know before
        if choice.by != "box" and all(len(moment.poses) < 2 for moment in again()):
            return again
        people, known = survey(followed()), followed
    spans = pick(people, choice, known())
    return lambda: only(known(), spans)


def _reference(path: Path, choice: ModelChoice) -> Moment:
    """The largest person of a picture, or of the first frame of a file that has somebody in it."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        known = [f.suffix for f in formats.FORMATS.values() if f.read is not None]
        if path.is_file() and not path.name.lower().endswith(tuple(known)):
            raise ConfigError(
                f"{path}: a reference is a picture ({', '.join(sorted(IMAGE_SUFFIXES))}) or a file of poses "
                f"({', '.join(known)}); of a video take a frame, or `streampose process` it first"
            )
        for moment in formats.read(path):
            if len(moment.poses):
                return moment.having(largest(moment.poses))
        raise ConfigError(f"nobody is in {path}")
    if (image := read_image(path)) is None:
        raise FormatUnreadable(f"{path} is not an image that can be read")
    estimator = load_estimator(choice)
    try:
        (poses,) = estimator([image])
    finally:
        estimator.close()
    if not len(poses):
        raise ConfigError(
            f"nobody was found in {path}: take a picture that shows the whole person, a lower --min-score, "
            "or --pose another model"
        )
    height, width = image.shape[:2]
    return Moment(stream=path.stem, index=0, pts=0, time_base=_STILL, size_px=(width, height), poses=largest(poses))
