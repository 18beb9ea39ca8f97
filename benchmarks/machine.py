"""The machine that figures were taken on, with its GPU."""

from __future__ import annotations

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
