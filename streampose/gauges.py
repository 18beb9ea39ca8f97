"""What the machine says of itself while something runs: memory, CPU time, the GPU (through NVML)."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from streampose.cores import available_cores
from streampose.figures import Gpu

__all__ = ["Gauges", "machine", "rss_mb"]

_MB = 1e6


class Gauges:
    """Sampled now and then during a run; no thread of its own.

    Figures of a GPU come from NVIDIA's management library, through the package nvidia-ml-py
    (``pip install 'streampose[nvml]'``); `gpu_unknown` says why there are none.
    """

    def __init__(self) -> None:
        self._nvml, self._handle, self.gpu_unknown = _nvml()
        self.start()

    def start(self) -> None:
        """Forget what was sampled."""
        self._began, self._cpu_began = time.monotonic(), time.process_time()
        self._rss: list[float] = []
        self._utilisation: list[float] = []
        self._memory: list[float] = []
        self._stopped: tuple[float, float | None] | None = None

    def stop(self) -> None:
        """What comes from now on is no part of the run; again, until `start`, changes nothing."""
        self._stopped = self.cores_used, self.rss_peak_mb

    def sample(self) -> None:
        """Look once."""
        if self._stopped is not None:
            return
        if (rss := rss_mb()) is not None:
            self._rss.append(rss)
        if self._nvml is not None:
            self._utilisation.append(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100)
            self._memory.append(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used / _MB)

    @property
    def cores_used(self) -> float:
        """CPU seconds of this process for each second."""
        if self._stopped is not None:
            return self._stopped[0]
        elapsed_s = time.monotonic() - self._began
        return (time.process_time() - self._cpu_began) / elapsed_s if elapsed_s > 0 else 0.0

    @property
    def rss_growth_mb(self) -> float | None:
        """Resident memory, the last fifth of the samples less the middle one; `None` = too few, or not known here.

        Not less the first one: buffers fill up then.
        """
        fifth = len(self._rss) // 5
        if not fifth:
            return None
        return statistics.median(self._rss[-fifth:]) - statistics.median(self._rss[2 * fifth : -2 * fifth])

    @property
    def gpu(self) -> Gpu | None:
        """The GPU, if it was seen."""
        if self._nvml is None or not self._utilisation:
            return None
        name = self._nvml.nvmlDeviceGetName(self._handle)
        return Gpu(
            name=name if isinstance(name, str) else name.decode(),
            utilisation=statistics.fmean(self._utilisation),
            memory_peak_mb=max(self._memory),
            memory_mb=self._nvml.nvmlDeviceGetMemoryInfo(self._handle).total / _MB,
        )

    @property
    def rss_peak_mb(self) -> float | None:
        """The most resident memory that this process ever had, until it was stopped; `None` = not known here."""
        if self._stopped is not None:
            return self._stopped[1]
        if sys.platform == "win32":
            return None
        import resource  # noqa: PLC0415 - Windows has none

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / _MB if sys.platform == "darwin" else peak * 1024 / _MB


def _nvml() -> tuple[Any, Any, str]:
    """NVML and the first device's handle, or why not."""
    try:
        import pynvml  # noqa: PLC0415 - optional
    except ImportError:
        return None, None, "nvidia-ml-py is not installed (pip install 'streampose[nvml]')"
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByIndex(0), ""
    except pynvml.NVMLError as error:
        return None, None, f"NVML: {error}"


def rss_mb() -> float | None:
    """Memory of this process now, in MB, where the system tells."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MB


def machine() -> dict[str, str | int]:
    """The machine that figures are taken on: processor, cores, system, versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu)
    return {
        "cpu": cpu,
        "cores": available_cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "onnxruntime": _version("onnxruntime-gpu") or _version("onnxruntime") or "unknown",
        "streampose": _version("streampose") or "unknown",
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
