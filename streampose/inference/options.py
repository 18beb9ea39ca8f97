"""How models are run: one place for all of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streampose.errors import ConfigError

__all__ = ["DEVICES", "EngineOptions"]

DEVICES = ("auto", "tensorrt", "cuda", "cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How models are run. One place for all of it.

    Raises:
        ConfigError: a value makes no sense.
    """

    device: str = "auto"
    """``auto`` (the best that works), ``tensorrt``, ``cuda`` or ``cpu``. A named one that cannot be had is an error."""
    device_id: int = 0
    """Which GPU."""
    threads: int | None = None
    """CPU threads of one session; `None` = one for each core that this process may use."""
    max_batch: int = 32
    """No run holds more; larger batches are cut."""
    half: bool = False
    """16-bit weights and arithmetic, for GPUs."""
    tf32: bool = True
    """Let a GPU round the factors of float products to 10 bits; only those of Ampere and later do."""
    cuda_graphs: bool = False
    """Record each batch size's kernels once and replay them. For graphs of fixed shapes only (`docs/engine.md`)."""
    memory_limit_bytes: int | None = None
    """Of GPU memory for one session's arena."""
    fallback_to_cpu: bool = False
    """Go on with the CPU, and say so, if a GPU is lost in the middle of a run."""
    cache_dir: Path | None = None
    """Where TensorRT's engines and 16-bit models are kept; `None` = they are made anew at each start, which
    takes TensorRT minutes."""

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ConfigError(f"no device is called {self.device!r}; there are: {', '.join(DEVICES)}")
        for name in ("threads", "max_batch", "memory_limit_bytes"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} is at least 1, not {value}")
