"""The options of models and engines that several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from streampose.cli.values import parse_size
from streampose.errors import ConfigError
from streampose.inference.boxes import Limits
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, default_cache
from streampose.skeletons import SKELETONS

__all__ = ["Batch", "Budget", "Engines", "Models", "Track"]

_MODEL, _ENGINE, _FLOW = "Model", "Engine", "Flow"
_USUAL = Limits()
_FEWEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Which models, and how they are read."""

    model: Annotated[
        str | None,
        typer.Option(
            help="One model that does all: an ONNX file, or a name. Without any model streampose-nano is used, which "
            "is part of the package.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    detector: Annotated[str | None, typer.Option(help="A person detector …", rich_help_panel=_MODEL)] = None
    pose: Annotated[str | None, typer.Option(help="… and a key-point model.", rich_help_panel=_MODEL)] = None
    family: Annotated[
        str | None, typer.Option(help="What --model or --pose is, if it is not recognised.", rich_help_panel=_MODEL)
    ] = None
    detector_family: Annotated[
        str | None, typer.Option(help="What --detector is, if it is not recognised.", rich_help_panel=_MODEL)
    ] = None
    skeleton: Annotated[
        str | None,
        typer.Option(help=f"The key points of --model or --pose: {', '.join(SKELETONS)}.", rich_help_panel=_MODEL),
    ] = None
    detector_size: Annotated[
        str | None, typer.Option(help="For a detector of open size: 320, 640x384.", rich_help_panel=_MODEL)
    ] = None
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Boxes below are nobody.", rich_help_panel=_MODEL)] = (
        _USUAL.min_score
    )
    max_people: Annotated[int, typer.Option(min=1, help="In one frame, the best so many.", rich_help_panel=_MODEL)] = (
        _USUAL.max_people
    )

    def choice(self) -> ModelChoice:
        """What was said of them.

        Raises:
            ConfigError: a value makes no sense.
        """
        if self.skeleton is not None and self.skeleton not in SKELETONS:
            raise ConfigError(f"no skeleton is called {self.skeleton!r}; there are: {', '.join(SKELETONS)}")
        return ModelChoice(
            model=self.model,
            detector=self.detector,
            pose=self.pose,
            family=self.family,
            detector_family=self.detector_family,
            skeleton=None if self.skeleton is None else SKELETONS[self.skeleton],
            detector_size_px=None if self.detector_size is None else parse_size(self.detector_size),
            limits=Limits(min_score=self.min_score, max_people=self.max_people),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What runs them, and how."""

    device: Annotated[
        str, typer.Option(help="auto, cuda, tensorrt or cpu; several GPUs: cuda:0,cuda:1.", rich_help_panel=_ENGINE)
    ] = "auto"
    sessions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Batches in flight (on each GPU): on a CPU as measured; on a GPU 1, of recordings 2 if the first is "
            "ready within 5 s.",
            rich_help_panel=_ENGINE,
        ),
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of each session; by default as measured.", rich_help_panel=_ENGINE),
    ] = None
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Measure sessions and threads again.", rich_help_panel=_ENGINE)
    ] = False
    half: Annotated[bool, typer.Option("--fp16", help="16-bit models, for GPUs.", rich_help_panel=_ENGINE)] = False
    tf32: Annotated[bool, typer.Option(help="Let a GPU round products to 10 bits.", rich_help_panel=_ENGINE)] = True
    cuda_graphs: Annotated[
        bool, typer.Option("--cuda-graphs", help="Record and replay what a GPU does.", rich_help_panel=_ENGINE)
    ] = False
    in_graph: Annotated[
        bool | None,
        typer.Option(
            help="Resize, crop and decode in the model's graph; by default on CUDA.",
            show_default=False,
            rich_help_panel=_ENGINE,
        ),
    ] = None
    rect: Annotated[
        bool | None,
        typer.Option(
            help="Give a detector of open size no more than the picture, on a CPU; by default ours and Ultralytics'.",
            show_default=False,
            rich_help_panel=_ENGINE,
        ),
    ] = None
    fallback: Annotated[
        bool, typer.Option("--fallback", help="Go on with the CPU if a GPU fails.", rich_help_panel=_ENGINE)
    ] = False

    def options(self, batch: int | None) -> EngineOptions:
        """What was said of them; what is made and measured is kept in `default_cache()`.

        Args:
            batch: frames at most; `None` = nothing was said.

        Raises:
            ConfigError: a value makes no sense.
        """
        return EngineOptions(
            device=self.device,
            sessions=self.sessions,
            threads=self.threads,
            recalibrate=self.recalibrate,
            half=self.half,
            tf32=self.tf32,
            cuda_graphs=self.cuda_graphs,
            in_graph=self.in_graph,
            rect=self.rect,
            fallback_to_cpu=self.fallback,
            # Key points of several people are a batch, too.
            max_batch=EngineOptions().max_batch if batch is None else max(_FEWEST, batch),
            cache_dir=default_cache(),
        )


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
