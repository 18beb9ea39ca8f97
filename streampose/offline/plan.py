"""What is asked for of all recordings together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streampose.errors import ConfigError
from streampose.formats import FORMATS, format_named
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, model_files
from streampose.offline.drawing import Drawing
from streampose.offline.job import Job, State, fingerprint_of
from streampose.offline.refinement import REFINED, Refinement
from streampose.offline.videos import DRAWN
from streampose.pose import Skeleton
from streampose.sources import Cut
from streampose.sources.hwaccel import SOFTWARE, candidates

__all__ = ["Plan"]

# Goes up when the models find something else in the same input: all is done anew. Of one kind of input alone, of the
# second pass and of videos that are drawn, see Input.read_anew, REFINED and DRAWN.
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked for.

    Raises:
        ConfigError: there is no such format, model, or device that decodes; or nothing would be written.
    """

    choice: ModelChoice
    engine: EngineOptions
    cut: Cut = field(default_factory=Cut)
    refinement: Refinement = field(default_factory=Refinement)
    formats: Sequence[str] = ("jsonl",)
    drawings: Sequence[Drawing] = ()
    prompts: bool = False
    """Also ``NAME.prompts.json``, for segmenters."""
    hwaccel: str = SOFTWARE
    batch: int | None = None
    """Frames in a batch; `None` = as suits the machine."""
    at_once: int | None = None
    """Recordings that are read at a time; `None` = as suits the machine."""
    models: Mapping[Path, str] = field(init=False)
    """The model files and their SHA-256."""

    def __post_init__(self) -> None:
        for name in self.formats:
            format_named(name)
        candidates(self.hwaccel)
        if not (self.formats or self.drawings or self.prompts or self.refinement.looks_ahead):
            raise ConfigError("nothing would be written: name a --format, a style to --draw, --face-video or --prompts")
        digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in model_files(self.choice)}
        object.__setattr__(self, "models", digests)

    def check(self, skeleton: Skeleton) -> None:
        """See before any work whether the formats can hold what the models find.

        Raises:
            FormatUnreadable: one cannot.
        """
        for name in self.formats:
            FORMATS[name].check(skeleton)

    def found(self, job: Job) -> str:
        """The fingerprint of what the models find in a recording."""
        choice, engine = self.choice, self.engine
        read_as = (choice.family, choice.detector_family, choice.skeleton, choice.detector_size_px, choice.limits)
        arithmetic = (engine.device, engine.half, engine.tf32, engine.in_graph, engine.rect, self.hwaccel)
        models = list(self.models.values())
        return fingerprint_of(
            _VERSION, job.input.fingerprint(), models, read_as, arithmetic, self.cut, *job.input.read_anew
        )

    def poses(self, state: State) -> str:
        """… of the poses that go out."""
        return fingerprint_of(state.found, state.frames, self.refinement, REFINED)

    def names(self, job: Job) -> list[str]:
        """Of all that is written into the folder."""
        return list(self.outputs(job, State()))

    def outputs(self, job: Job, state: State) -> dict[str, str]:
        """… of each output, by the name of its file or folder."""
        wanted = {f"{job.name}{FORMATS[name].suffix}": fingerprint_of(state.poses, name) for name in self.formats}
        for drawing in self.drawings:
            looks = [drawing.suffix, drawing.painter, DRAWN, *["sound"] * drawing.sound]
            wanted[f"{job.name}{drawing.suffix}"] = fingerprint_of(state.poses, *looks)
        if self.prompts:
            wanted[f"{job.name}.prompts.json"] = fingerprint_of(state.poses, "prompts")
        if self.refinement.looks_ahead:
            wanted[f"{job.name}.report.json"] = fingerprint_of(state.poses, "report")
        if job.input.is_row:
            wanted[f"{job.name}.images.json"] = fingerprint_of(state.poses, "images")
        return wanted
