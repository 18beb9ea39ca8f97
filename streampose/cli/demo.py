"""`streampose demo`: drawn people through a model, judged against the truth."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from streampose.cli.outputs import Outputs
from streampose.cli.say import say
from streampose.cli.session import Session, start_session
from streampose.cli.values import at_least
from streampose.evaluation import Pck, pck
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, default_cache
from streampose.preview import Preview, why_no_screen
from streampose.result import Result
from streampose.sinks import CallSink
from streampose.sources import SyntheticSource
from streampose.streams import Stream
from streampose.tracking import Tracker

__all__ = ["Judge", "demo"]


def demo(
    model: Annotated[str | None, typer.Option(help="A model that does all; or …")] = None,
    detector: Annotated[str | None, typer.Option(help="… a person detector …")] = None,
    pose: Annotated[str | None, typer.Option(help="… and a key-point model.")] = None,
    people: Annotated[int, typer.Option(min=1, max=16, help="How many figures.")] = 1,
    seconds: Annotated[float, typer.Option(parser=at_least(0.1), metavar="TIME", help="How long: 10, 1m.")] = 10.0,
    out: Annotated[str | None, typer.Option(help="Write a video there instead of opening a window.")] = None,
    json: Annotated[str | None, typer.Option(help="JSON Lines: a file, or -.")] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, tensorrt or cpu.")] = "auto",
    seed: Annotated[int, typer.Option(help="Other figures, another room.")] = 0,
) -> None:
    """Watch a drawn person being followed: no camera, no download.

    With streampose-nano, which is part of the package, or a model of yours. With a window where there is a screen,
    otherwise to streampose-demo.mp4; in the end it says how many key points were right (PCK@0.1 of the person's
    height).
    """
    show = out is None and why_no_screen() is None
    if out is None and not show:
        out = "streampose-demo.mp4"
    source = SyntheticSource(people=people, seconds=seconds, seed=seed, live=show)
    outputs = Outputs(out=out, json=json)
    outputs.check({"demo": "synthetic:"})
    judge = Judge(source)
    choice = ModelChoice(model=model, detector=detector, pose=pose)
    sinks = [*outputs.sinks("demo", live=source.live), CallSink(judge)]
    stream = Stream(name="demo", source=source, sinks=sinks, tracker=Tracker())
    preview = Preview() if show else None
    session = Session(
        streams=[stream if preview is None else preview.watch(stream)],
        choice=choice,
        options=EngineOptions(device=device, cache_dir=default_cache()),
        budget_s=0.1,
        preview=preview,
    )
    code = start_session(session)
    if judge.score.share is not None:
        right = (
            f" of {judge.score.total} key points in sight right (PCK@0.1), "
            f"{judge.score.found} people found of {judge.score.people}"
        )
        say(Text.assemble((f"{judge.score.share:.1%}", "bold"), right))
    if out is not None and code == 0:
        say(f"written: {out}")
    raise typer.Exit(code)


class Judge:
    """Compares each result with what was drawn."""

    def __init__(self, source: SyntheticSource) -> None:
        self._source = source
        self.score = Pck()

    def __call__(self, result: Result) -> None:
        """Compare one."""
        self.score += pck(self._source.truth(result.frame.index), result.poses)
