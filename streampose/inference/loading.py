"""From what a user names to an estimator that is ready to run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from streampose.errors import ConfigError
from streampose.inference.boxes import Limits
from streampose.inference.card import Card, Kind
from streampose.inference.engine import Engine, EngineOptions, available_cores
from streampose.inference.family import read_card
from streampose.inference.frame_model import FrameModel, OneStage
from streampose.inference.top_down import KeypointModel, TopDown, WholeFrame
from streampose.inference.zoo import NANO, Found, find
from streampose.pose import Skeleton
from streampose.skeletons import SKELETONS

__all__ = ["ModelChoice", "PoseEstimator", "load_estimator", "load_estimators"]

_EITHER = "give either one model, or a detector and a pose model, not both"

PoseEstimator = TopDown | OneStage | WholeFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which models, and how they are read. Each is a path of an ONNX file or a name from the zoo.

    Nothing at all is `streampose-nano`, the pair that is part of the package; it also stands in for the missing half of
    a detector or key-point model that is named alone.
    """

    model: str | Path | None = None
    """One that does all: one-stage, or a key-point model for one person who fills the picture."""
    detector: str | Path | None = None
    """Finds the people …"""
    pose: str | Path | None = None
    """… for this one to find their key points."""
    family: str | None = None
    """Overrides what `model` or `pose` says of itself."""
    detector_family: str | None = None
    """Overrides what `detector` says of itself."""
    skeleton: Skeleton | None = None
    """Overrides the key-point model's skeleton."""
    detector_size_px: tuple[int, int] | None = None
    """Width and height for a detector whose graph leaves them open."""
    limits: Limits = field(default_factory=Limits)
    """What counts as a person."""


def load_estimator(choice: ModelChoice, options: EngineOptions | None = None) -> PoseEstimator:
    """Load one estimator.

    Raises:
        ConfigError: the choice contradicts itself.
        ModelError: of the kind that fits.
    """
    if choice.model is not None and str(choice.model) != NANO:
        if choice.detector is not None or choice.pose is not None:
            raise ConfigError(_EITHER)
        found = find(choice.model)
        engine = Engine(found.path, options)
        card = _card(engine, found, choice.family, choice.skeleton, choice.detector_size_px)
        if card.kind is Kind.KEYPOINTS:
            return WholeFrame(KeypointModel(engine, card), choice.limits.min_score)
        return OneStage(FrameModel(engine, card, choice.limits))
    if choice.model is not None and (choice.detector, choice.pose) != (None, None):
        raise ConfigError(_EITHER)
    detector, pose = (
        find(choice.detector or NANO, kind="detector"),
        find(choice.pose or NANO, kind="keypoints"),
    )
    detect, estimate = Engine(detector.path, options), Engine(pose.path, options)
    detector_card = _card(detect, detector, choice.detector_family, None, choice.detector_size_px)
    pose_card = _card(estimate, pose, choice.family, choice.skeleton, None)
    return TopDown(FrameModel(detect, detector_card, choice.limits), KeypointModel(estimate, pose_card))


def _card(
    engine: Engine, found: Found, family: str | None, skeleton: Skeleton | None, size_px: tuple[int, int] | None
) -> Card:
    """What was said explicitly wins over the zoo, the zoo over the graph."""
    if skeleton is None and found.skeleton is not None:
        skeleton = SKELETONS[found.skeleton]
    return read_card(
        engine.signature, engine.path.name, family=family or found.family, skeleton=skeleton, size_px=size_px
    )


def load_estimators(
    choice: ModelChoice, options: EngineOptions | None = None, *, throughput: bool
) -> list[PoseEstimator]:
    """As many estimators as suit the machine, warmed up: no real frame pays for a first time.

    Args:
        choice: which models.
        options: how they are run.
        throughput: for the most frames a second, one for each core, of one thread each (on 2 cores 1.4 × one of two
            threads, see `benchmarks/offline.py`); else, for the least latency, one of all threads. A GPU gets one.

    Raises:
        ConfigError: the choice contradicts itself.
        ModelError: of the kind that fits.
    """
    options = options or EngineOptions()
    cores = available_cores()
    # More than 8 sessions hold 8 copies of the weights for little gain; the rest of the cores go into threads.
    sessions = min(cores, 8) if throughput and options.threads is None else 1
    if sessions > 1:
        options = replace(options, threads=cores // sessions)
    estimators = [load_estimator(choice, options)]
    if not estimators[0].on_gpu:
        estimators += [load_estimator(choice, options) for _ in range(sessions - 1)]
    for estimator in estimators:
        # On a CPU the first run alone is slow; a GPU prepares every shape, and the engine has few (powers of two).
        estimator.warm_up(range(1, options.max_batch + 1) if estimator.on_gpu else [1])
    return estimators
