"""How models are run: one place for all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from streampose.errors import ConfigError
from streampose.number import is_whole

__all__ = ["DEVICES", "EngineOptions", "checked"]

DEVICES = ("auto", "tensorrt", "cuda", "cpu")
_GPUS = ("tensorrt", "cuda")
# Of sessions, and of threads: more than the largest machines have cores, and no more than the runtime can count.
_MOST = 4096
_MAY_BE_NONE = ("in_graph", "rect", "sessions", "threads", "memory_limit_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How models are run. One place for all of it.

    Raises:
        ConfigError: a value makes no sense.
    """

    device: str = "auto"
    """``auto`` (the best that works), ``tensorrt``, ``cuda`` or ``cpu``. A named one that cannot be had is an error.
    ``cuda:1`` is the second GPU, ``cuda:0,cuda:1`` are two: each gets engines of its own, behind one batcher."""
    device_id: int = 0
    """Which GPU, where `device` does not say it."""
    sessions: int | None = None
    """So many batches compute at a time (on each GPU); `None` = as measured on a CPU; on a GPU one, or two
    (`load_estimators`)."""
    threads: int | None = None
    """CPU threads of one session; `None` = as measured, where sessions are chosen, else one for each core."""
    recalibrate: bool = False
    """Measure sessions and threads of a CPU again, whatever is remembered."""
    max_batch: int = 32
    """No run holds more, on a GPU twice as many crops of people; larger batches are cut. One thread of a CPU never runs
    more than two items at a time."""
    half: bool = False
    """16-bit weights and arithmetic, for GPUs."""
    tf32: bool = True
    """Let a GPU round the factors of float products to 10 bits; only those of Ampere and later do."""
    cuda_graphs: bool = False
    """Record each batch size's kernels once and replay them. For graphs of fixed shapes only (`docs/engine.md`)."""
    in_graph: bool | None = None
    """Resize, crop, normalise and decode in the model's graph: pictures go to the device as they are, people and points
    come back. `None` = on CUDA, where a model allows it; on a CPU OpenCV is faster (`benchmarks/engine.py`)."""
    rect: bool | None = None
    """Where a detector's graph leaves its size open, leave out of its input what would only be filled: of 1280×720 at
    320 it gets 320×192. `None` = of models that say so: ours and Ultralytics'. RTMDet-nano finds a little less by it
    (`docs/engine.md`). On a CPU only; graphs with `in_graph` always have one shape."""
    memory_limit_bytes: int | None = None
    """Of GPU memory for the arena of one session: on CUDA each batch size has one."""
    fallback_to_cpu: bool = False
    """Go on with the CPU, and say so, if a GPU fails in the middle of a run."""
    cache_dir: Path | None = None
    """Where TensorRT's engines, 16-bit models and what was measured of a CPU are kept; `None` = they are made anew at
    each start, which takes TensorRT minutes."""

    def __post_init__(self) -> None:
        if not isinstance(self.device, str):
            raise ConfigError(f"a device is a name, as cpu or cuda:0, not {self.device!r}")
        self._check_kinds()
        parts = [part.strip().partition(":") for part in self.device.split(",")]
        for name, colon, number in parts:
            if name not in DEVICES:
                raise ConfigError(f"no device is called {name!r}; there are: {', '.join(DEVICES)}")
            if colon and (name not in _GPUS or not number.isdecimal()):
                raise ConfigError(f"{name}:{number} is no device: cuda:0 and tensorrt:0 are the first GPU")
        if len(parts) > 1 and not all(name in _GPUS for name, _, _ in parts):
            raise ConfigError(f"{self.device}: only GPUs can be used together, as in cuda:0,cuda:1")
        if len(set(places := self._places())) < len(places):
            raise ConfigError(f"{self.device} names a device twice: sessions are what several on one GPU are asked by")
        if self.in_graph and any(name == "tensorrt" for name, _, _ in parts):
            raise ConfigError("TensorRT builds for fixed shapes, and in_graph has open ones: choose one of them")
        if self.cuda_graphs and self.in_graph:
            raise ConfigError("cuda_graphs replay fixed shapes, and in_graph has open ones: choose one of them")

    def _check_kinds(self) -> None:
        for name in ("recalibrate", "half", "tf32", "cuda_graphs", "fallback_to_cpu", "in_graph", "rect"):
            if not isinstance(value := getattr(self, name), bool) and (value is not None or name not in _MAY_BE_NONE):
                raise ConfigError(f"{name} is True or False, not {value!r}")
        for name in ("device_id", "sessions", "threads", "max_batch", "memory_limit_bytes"):
            value, least = getattr(self, name), int(name != "device_id")
            if value is None and name in _MAY_BE_NONE:
                continue
            if not is_whole(value):
                raise ConfigError(f"{name} is a whole number, not {value!r}")
            if value < least:
                raise ConfigError(f"{name} is at least {least}, not {value}")
            if name in ("sessions", "threads") and value > _MOST:
                raise ConfigError(f"{name} is at most {_MOST}, not {value}")
        if not isinstance(self.cache_dir, str | Path | None):
            raise ConfigError(f"cache_dir is a folder, not {self.cache_dir!r}")
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", Path(self.cache_dir))

    def each(self) -> tuple[EngineOptions, ...]:
        """These options for each device that is named, of one device each."""
        return tuple(replace(self, device=name, device_id=number) for name, number in self._places())

    def _places(self) -> list[tuple[str, int]]:
        """Name and number of each device."""
        parts = (part.strip().partition(":") for part in self.device.split(","))
        return [(name, int(number) if number else self.device_id) for name, _, number in parts]


def checked(options: EngineOptions | None) -> EngineOptions | None:
    """What was given as options, if it is that.

    Raises:
        ConfigError: it is something else.
    """
    if options is not None and not isinstance(options, EngineOptions):
        raise ConfigError(f'options are EngineOptions, as EngineOptions(device="cpu"), not {options!r}')
    return options
