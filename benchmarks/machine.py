"""The machine that figures were taken on, with its GPU."""

from __future__ import annotations

import os
import subprocess

from streampose.gauges import machine as without_gpu


def machine() -> dict[str, str | int]:
    """Processor, cores, GPU, versions."""
    try:
        gpu = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        gpu = "none"
    return without_gpu() | {"gpu": gpu}


def conditions() -> dict[str, str | float]:
    """How much else the machine had to do, and what we had before it."""
    real_time = hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)
    priority = "real-time" if real_time else f"nice {os.nice(0)}"
    return {"load": round(os.getloadavg()[0], 1), "priority": priority}
