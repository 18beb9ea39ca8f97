"""From what a user names to an estimator that is ready to run."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from streampose.cores import available_cores
from streampose.errors import ConfigError, EngineFailed, ProviderUnavailable
from streampose.inference.boxes import Limits
from streampose.inference.calibration import Calibration, Split, calibrate
from streampose.inference.card import Card, Kind
from streampose.inference.choice import ModelChoice
from streampose.inference.engine import PIECE, Engine, EngineOptions
from streampose.inference.estimator import Estimator
from streampose.inference.family import read_card
from streampose.inference.fitting import fitted
from streampose.inference.frame_model import FrameModel, OneStage
from streampose.inference.graphs import fuse_crops, fuse_pictures
from streampose.inference.options import checked
from streampose.inference.probe import seen
from streampose.inference.providers import gpu_usable
from streampose.inference.top_down import KeypointModel, TopDown, WholeFrame
from streampose.inference.zoo import NANO, Found, default_folder, find
from streampose.number import is_whole
from streampose.pose import Skeleton
from streampose.skeletons import SKELETONS

__all__ = [
    "ModelChoice",
    "PoseEstimator",
    "calibration_of",
    "default_cache",
    "describe_all",
    "load_estimator",
    "load_estimators",
    "model_files",
    "usual_batch",
]

log = logging.getLogger("streampose")

PoseEstimator = TopDown | OneStage | WholeFrame


def load_estimator(choice: ModelChoice | None = None, options: EngineOptions | None = None) -> PoseEstimator:
    """Load one estimator; it is closed by its ``close()``, by ``with``, or by the pipeline that it is given to.

    Args:
        choice: which models; `None` = `streampose-nano`.
        options: how they are run; `None` = the defaults.

    Raises:
        ConfigError: the choice contradicts itself.
        ModelError: of the kind that fits.
    """
    choice, options = choice or ModelChoice(), checked(options)
    files = _files(choice)
    if len(files) == 1:
        (found,) = files
        engine = Engine(found.path, options)
        card = _card(engine, found, choice.family, choice.skeleton, choice.detector_size_px)
        if card.kind is Kind.KEYPOINTS:
            return WholeFrame(_keypoints(engine, card), choice.limits.min_score)
        return OneStage(_frames(engine, card, choice.limits))
    detector, pose = files
    options = options or EngineOptions()
    detect = Engine(detector.path, options)
    people = _PEOPLE if detect.on_gpu else 1
    estimate = Engine(pose.path, replace(options, max_batch=people * options.max_batch))
    detector_card = _card(detect, detector, choice.detector_family, None, choice.detector_size_px)
    pose_card = _card(estimate, pose, choice.family, choice.skeleton, None)
    return TopDown(_frames(detect, detector_card, choice.limits), _keypoints(estimate, pose_card))


# Crops in a run for each picture in one: with 64 instead of 32 an H100 does 1179 instead of 840 pictures of two people
# a second (RTMDet-nano and PP-TinyPose, alone; benchmarks/gpu.py).
_PEOPLE = 2


def _frames(engine: Engine, card: Card, limits: Limits) -> FrameModel:
    model = FrameModel(engine, card, limits)
    model.engine = fitted(engine, card, lambda: fuse_pictures(engine.source(), card, limits, at_once=engine.on_gpu))
    return model


def _keypoints(engine: Engine, card: Card) -> KeypointModel:
    model = KeypointModel(engine, card)
    model.engine = fitted(engine, card, lambda: fuse_crops(engine.source(), card))
    return model


def _files(choice: ModelChoice) -> tuple[Found] | tuple[Found, Found]:
    """Of the one that does all, or of the detector and the key-point model."""
    if not isinstance(choice, ModelChoice):
        raise ConfigError(f"models are chosen by a ModelChoice, as ModelChoice(model={str(choice)!r})")
    if choice.model is not None and (choice.detector, choice.pose) != (None, None):
        raise ConfigError("give either one model, or a detector and a pose model, not both")
    if choice.model is not None and str(choice.model) != NANO:
        return (find(choice.model),)
    return find(choice.detector or NANO, kind="detector"), find(choice.pose or NANO, kind="keypoints")


def model_files(choice: ModelChoice) -> list[Path]:
    """Where the models are: one, or a detector and a key-point model.

    Raises:
        ConfigError: the choice contradicts itself.
        ModelNotFound: there is no such model on this machine.
    """
    return [found.path for found in _files(choice)]


def _card(
    engine: Engine, found: Found, family: str | None, skeleton: Skeleton | None, size_px: tuple[int, int] | None
) -> Card:
    """What was said explicitly wins over the zoo, the zoo over the graph."""
    if skeleton is None and found.skeleton is not None:
        skeleton = SKELETONS[found.skeleton]
    read = partial(read_card, name=engine.path.name, family=family or found.family, skeleton=skeleton, size_px=size_px)
    card = read(engine.signature)
    known = seen(engine.path, engine.signature, card)
    return card if known is engine.signature else read(known)


def load_estimators(
    choice: ModelChoice | None = None,
    options: EngineOptions | None = None,
    *,
    throughput: bool,
    streams: int = 1,
) -> list[PoseEstimator]:
    """As many estimators as suit the machine, warmed up: no real frame pays for a first time.

    A CPU's cores go to one session of many threads or to several of few, whichever `calibration_of` measured to be
    better for the purpose. A GPU gets one session, or as many as `EngineOptions.sessions` says, and so does each of
    several GPUs; for the most frames a second two, if the first is ready within 5 s (YOLOv8n-pose: 1.3 × as fast on an
    H100, 0.9 × on an H200).

    Args:
        choice: which models; `None` = `streampose-nano`.
        options: how they are run; `None` = the defaults, with what is measured kept in `default_cache()`.
        throughput: for the most frames a second; else for the least latency, as long as one session has time enough …
        streams: … for so many streams, as if all were live.

    Raises:
        ConfigError: the choice contradicts itself.
        ModelError: of the kind that fits.
    """
    choice = choice or ModelChoice()
    options = checked(options) or EngineOptions(cache_dir=default_cache())
    if not (is_whole(streams) and streams >= 1):
        raise ConfigError(f"streams are a whole number from 1 on, not {streams!r}")
    estimators: list[PoseEstimator] = []
    if options.device != "cpu" and (options.device != "auto" or gpu_usable()):
        estimators = _on_gpus(choice, options, throughput)
    if not estimators:
        sessions, threads = _split(choice, options, throughput, streams)
        on_cpu = replace(options, threads=threads)
        estimators = [load_estimator(choice, on_cpu) for _ in range(sessions)]
        for estimator in estimators:
            estimator.warm_up([1])
    return estimators


# What is ready as soon as this gets a second session where frames a second are what counts.
_SOON_S = 5.0


def _on_gpus(choice: ModelChoice, options: EngineOptions, throughput: bool) -> list[PoseEstimator]:
    """Ready for every batch size; none if what looked like a GPU is not used."""
    estimators: list[PoseEstimator] = []
    for place in options.each():
        begin = time.monotonic()
        first = load_estimator(choice, place)
        if not first.on_gpu:
            first.close()
            return estimators
        estimators.append(_ready(first))
        soon = throughput and time.monotonic() - begin < _SOON_S
        # Where the first one went: `auto` would take the CPU for one that finds no room.
        same = replace(place, device=first.device)
        if options.sessions is None and soon:
            estimators += _second(choice, same)
        else:
            estimators += [_ready(load_estimator(choice, same)) for _ in range((options.sessions or 1) - 1)]
    return estimators


def _ready(estimator: PoseEstimator) -> PoseEstimator:
    """For batches of all sizes: a GPU prepares every shape."""
    estimator.warm_up()
    return estimator


def _second(choice: ModelChoice, options: EngineOptions) -> list[PoseEstimator]:
    """Another one, if the GPU has room for it."""
    try:
        estimator = _ready(load_estimator(choice, options))
    except (ProviderUnavailable, EngineFailed) as error:
        log.info("no room for a second session: %s", error)
        return []
    if estimator.memory_refusals:
        estimator.close()
        return []
    return [estimator]


# From this share of what one session can do, frames wait for one another, and more sessions give lower latency, too.
_EASE = 0.6
# What a live source is taken to bring before it has been opened.
_USUAL_FPS = 30.0


def _split(choice: ModelChoice, options: EngineOptions, throughput: bool, streams: int) -> tuple[int, int]:
    """How many sessions of how many threads on this CPU."""
    cores = available_cores()
    if options.sessions is not None:
        return options.sessions, options.threads or max(1, cores // options.sessions)
    if options.threads is not None or cores == 1:
        return 1, options.threads or cores
    found = calibration_of(choice, options)
    busy = streams * _USUAL_FPS * found.quickest.frame_s > _EASE
    best = found.busiest(beside_much=throughput or streams > 1) if throughput or busy else found.quickest
    return best.sessions, best.threads


def calibration_of(choice: ModelChoice, options: EngineOptions) -> Calibration:
    """What sessions and threads give on this CPU: remembered in the options' cache folder, or measured now."""
    on_cpu = replace(options, device="cpu", sessions=None)
    return calibrate(
        lambda threads: load_estimator(choice, replace(on_cpu, threads=threads)),
        model_files(choice),
        available_cores(),
        None if options.cache_dir is None else options.cache_dir / "calibration",
        variant=f"size {choice.detector_size_px}, half {options.half}, in graph {options.in_graph}, pieces of {PIECE}",
        again=options.recalibrate,
    )


def default_cache() -> Path:
    """Where the commands keep what is made of models or measured of them."""
    return default_folder() / "engine"


def usual_batch(estimators: Sequence[Estimator], *, live: bool) -> int:
    """Frames of a batch where nobody says how many: exactly for recordings, at most for live streams.

    An H100 does most with 32 (`benchmarks/gpu.py`), and a CPU as much with 4 as with more.
    """
    if not estimators:
        raise ConfigError("there is no estimator: give one at least")
    first = estimators[0]
    if getattr(first, "on_gpu", False):  # those of users need not say so
        return int(getattr(first, "max_batch", 32))
    return 16 if live else 4


def describe_all(estimators: Sequence[PoseEstimator]) -> str:
    """One line: what runs where, in how many sessions of how many threads."""
    first = estimators[0]
    if first.on_gpu:
        times = f" × {len(estimators)} sessions" if len(estimators) > 1 else ""
        return first.describe() + times
    return f"{first.describe()}; {Split(sessions=len(estimators), threads=first.threads)}"
