"""Names of recordings: each its own, and whatever others there are, the same again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streampose.naming import safe

__all__ = ["Called", "numbered", "states_in", "tell_apart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a recording is called by itself, and what else there is to tell it from others."""

    name: str
    folders: tuple[str, ...] = ()
    """In which it lies, from the nearest on."""
    suffix: str = ""
    """Of its files."""


def tell_apart(recordings: Sequence[Called]) -> list[str]:
    """Names that files can have; what even so has one name keeps it.

    Those of one name get as many folders in front as tell them apart and, of one folder, their suffix behind. There are
    file systems for which A and a are one name.
    """
    names = [safe(one.name, "recording") for one in recordings]
    for alike in _alike(names, range(len(names))):
        depth = _depth([recordings[i].folders for i in alike])
        for i in alike:
            names[i] = safe("_".join([*recordings[i].folders[:depth][::-1], names[i]]), names[i])
        for same in _alike(names, alike):
            if len({recordings[i].suffix for i in same}) > 1:
                for i in same:
                    names[i] = f"{names[i]}_{recordings[i].suffix}"
    return names


def _alike(names: Sequence[str], which: Sequence[int]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for i in which:
        groups.setdefault(names[i].casefold(), []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def _depth(folders: Sequence[tuple[str, ...]]) -> int:
    """How many folders tell apart what they can."""

    def different(depth: int | None) -> int:
        return len({tuple(name.casefold() for name in names[:depth]) for names in folders})

    depth, most = 0, different(None)
    while different(depth) < most:
        depth += 1
    return depth


def numbered(names: Sequence[str], certain: Sequence[str | None]) -> list[str]:
    """Unique names: those that are certain, and else these, with a number behind where they are taken."""
    taken = {name.casefold() for name in certain if name is not None}

    def free(name: str) -> str:
        wanted = next(
            w for i in range(1, len(names) + 2) if (w := name if i == 1 else f"{name}-{i}").casefold() not in taken
        )
        taken.add(wanted.casefold())
        return wanted

    return [free(name) if sure is None else sure for name, sure in zip(names, certain, strict=True)]


def states_in(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """What earlier runs remember in a folder (see job.py): the files, the newest first, and what is in them."""
    found = sorted(_states(folder), key=lambda one: one[0], reverse=True)
    return [(path, state) for _, path, state in found]


def _states(folder: Path) -> Iterator[tuple[int, Path, dict[str, Any]]]:
    for path in folder.glob(".streampose/*/state.json"):
        try:
            changed_ns = path.stat().st_mtime_ns
            state = json.loads(path.read_text(encoding="utf-8"))["state"]
        except (OSError, ValueError, KeyError, TypeError):  # gone meanwhile, of another version, or not ours
            continue
        if isinstance(state, dict):
            yield changed_ns, path, state
