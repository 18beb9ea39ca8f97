"""The options of models and engines that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from streampose.cli.values import parse_size
from streampose.errors import ConfigError
from streampose.inference.boxes import Limits
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, default_cache
from streampose.skeletons import SKELETONS

__all__ = [
    "USUAL",
    "Batch",
    "Budget",
    "CudaGraphs",
    "Detector",
    "DetectorFamily",
    "DetectorSize",
    "Device",
    "Fallback",
    "Family",
    "Half",
    "InGraph",
    "MaxPeople",
    "MinScore",
    "Model",
    "Pose",
    "Recalibrate",
    "Sessions",
    "Skeleton",
    "Tf32",
    "Threads",
    "Track",
    "choice",
    "options",
]

_MODEL, _ENGINE, _FLOW = "Model", "Engine", "Flow"

Model = Annotated[
    str | None,
    typer.Option(
        help="One model that does all: an ONNX file, or a name. Without any model streampose-nano is used, which "
        "is part of the package.",
        rich_help_panel=_MODEL,
    ),
]
Detector = Annotated[str | None, typer.Option(help="A person detector …", rich_help_panel=_MODEL)]
Pose = Annotated[str | None, typer.Option(help="… and a key-point model.", rich_help_panel=_MODEL)]
Family = Annotated[
    str | None, typer.Option(help="What --model or --pose is, if it is not recognised.", rich_help_panel=_MODEL)
]
DetectorFamily = Annotated[
    str | None, typer.Option(help="What --detector is, if it is not recognised.", rich_help_panel=_MODEL)
]
Skeleton = Annotated[
    str | None,
    typer.Option(help=f"The key points of --model or --pose: {', '.join(SKELETONS)}.", rich_help_panel=_MODEL),
]
DetectorSize = Annotated[
    str | None, typer.Option(help="For a detector of open size: 320, 640x384.", rich_help_panel=_MODEL)
]
USUAL = Limits()
"""What counts as a person, unless somebody says otherwise."""
MinScore = Annotated[float, typer.Option(min=0, max=1, help="Boxes below are nobody.", rich_help_panel=_MODEL)]
MaxPeople = Annotated[int, typer.Option(min=1, help="In one frame, the best so many.", rich_help_panel=_MODEL)]
Device = Annotated[
    str, typer.Option(help="auto, cuda, tensorrt or cpu; several GPUs: cuda:0,cuda:1.", rich_help_panel=_ENGINE)
]
Sessions = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Batches in flight (on each GPU): on a CPU as measured; on a GPU 1, of recordings 2 if the first is "
        "ready within 5 s.",
        rich_help_panel=_ENGINE,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads of each session; by default as measured.", rich_help_panel=_ENGINE),
]
Recalibrate = Annotated[
    bool, typer.Option("--recalibrate", help="Measure sessions and threads again.", rich_help_panel=_ENGINE)
]
Half = Annotated[bool, typer.Option("--fp16", help="16-bit models, for GPUs.", rich_help_panel=_ENGINE)]
Tf32 = Annotated[bool, typer.Option(help="Let a GPU round products to 10 bits.", rich_help_panel=_ENGINE)]
CudaGraphs = Annotated[
    bool, typer.Option("--cuda-graphs", help="Record and replay what a GPU does.", rich_help_panel=_ENGINE)
]
InGraph = Annotated[
    bool | None,
    typer.Option(
        help="Resize, crop and decode in the model's graph; by default on CUDA.",
        show_default=False,
        rich_help_panel=_ENGINE,
    ),
]
Rect = Annotated[
    bool | None,
    typer.Option(
        help="Give a detector of open size no more than the picture, on a CPU; by default ours and Ultralytics'.",
        show_default=False,
        rich_help_panel=_ENGINE,
    ),
]
Fallback = Annotated[
    bool, typer.Option("--fallback", help="Go on with the CPU if a GPU fails.", rich_help_panel=_ENGINE)
]
Budget = Annotated[
    str,
    typer.Option(
        help="Latency that live streams aim at: 100ms, 0.2s; a bare number is seconds, up to 10.", rich_help_panel=_FLOW
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Frames in a batch: so many of files, at most so many live; by default 4 and 16, on a GPU 32 (serve: 16).",
        rich_help_panel=_FLOW,
    ),
]
Track = Annotated[bool, typer.Option(help="Give people stable numbers.", rich_help_panel=_FLOW)]


def choice(
    *,
    model: str | None,
    detector: str | None,
    pose: str | None,
    family: str | None,
    detector_family: str | None,
    skeleton: str | None,
    detector_size: str | None,
    min_score: float,
    max_people: int,
) -> ModelChoice:
    """Which models, and how they are read.

    Raises:
        ConfigError: a value makes no sense.
    """
    if skeleton is not None and skeleton not in SKELETONS:
        raise ConfigError(f"no skeleton is called {skeleton!r}; there are: {', '.join(SKELETONS)}")
    return ModelChoice(
        model=model,
        detector=detector,
        pose=pose,
        family=family,
        detector_family=detector_family,
        skeleton=None if skeleton is None else SKELETONS[skeleton],
        detector_size_px=None if detector_size is None else parse_size(detector_size),
        limits=Limits(min_score=min_score, max_people=max_people),
    )


_FEWEST = 8


def options(
    *,
    device: str,
    sessions: int | None,
    threads: int | None,
    recalibrate: bool,
    half: bool,
    tf32: bool,
    cuda_graphs: bool,
    in_graph: bool | None,
    rect: bool | None,
    fallback: bool,
    batch: int | None,
) -> EngineOptions:
    """What was asked for; what is made and measured is kept in `default_cache()`.

    Raises:
        ConfigError: a value makes no sense.
    """
    return EngineOptions(
        device=device,
        sessions=sessions,
        threads=threads,
        recalibrate=recalibrate,
        half=half,
        tf32=tf32,
        cuda_graphs=cuda_graphs,
        in_graph=in_graph,
        rect=rect,
        fallback_to_cpu=fallback,
        # Key points of several people are a batch, too.
        max_batch=EngineOptions().max_batch if batch is None else max(_FEWEST, batch),
        cache_dir=default_cache(),
    )
