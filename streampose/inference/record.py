"""What is recorded of a model that was pulled, beside it: where it came from, and its checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streampose.errors import ChecksumMismatch, DownloadError

__all__ = ["read_record", "record_path", "write_record"]


def record_path(target: Path) -> Path:
    """The file that a model's record is in."""
    return target.with_suffix(".json")


def write_record(target: Path, record: Mapping[str, Any]) -> None:
    """Record a model, in place of what was there."""
    path = record_path(target)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(record, indent=1))
    part.replace(path)


def read_record(target: Path) -> dict[str, Any] | None:
    """What is recorded of a model; `None` = nothing.

    Raises:
        ChecksumMismatch: it is damaged.
        DownloadError: it cannot be read.
    """
    path = record_path(target)
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DownloadError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:
        record = None
    # A damaged record is no reason to trust anew.
    if not isinstance(record, dict) or not {"sha256", "state"} <= record.keys():
        raise ChecksumMismatch(
            f"{path} is damaged: streampose models remove --forget {target.stem}, then pull it again"
        )
    return record
