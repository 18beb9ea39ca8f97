"""First step: teachers label the photos of folders."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

from training.nano.photos import Photo, find_photos, read_labels, write_labels
from training.nano.teachers import Teachers

__all__ = ["label"]

_teachers: Teachers | None = None


def label(
    folders: Sequence[Path], detectors: Sequence[tuple[Path, int | None]], pose: Path, out: Path, processes: int
) -> None:
    """Label all photos of each folder to `out`/FOLDER.jsonl; a folder that is done is left as it is.

    Raises:
        ValueError: two folders have the same name, or a folder has no photos.
    """
    out.mkdir(parents=True, exist_ok=True)
    files: dict[Path, Path] = {}
    for folder in folders:
        file = out / f"{folder.resolve().name}.jsonl"
        if files.setdefault(file, folder.resolve()) != folder.resolve() or not _is_of(file, folder):
            raise ValueError(f"{file} is of another folder than {folder}: give one of them another name")
    for file, folder in files.items():
        if not file.exists():
            write_labels(file, _labelled(folder, detectors, pose, processes))
        photos = read_labels(file)
        people = sum(len(p.people) for p in photos)
        print(f"{file}: {len(photos)} photos, {people} people, {sum(not p.people for p in photos)} photos with nobody")


def _is_of(file: Path, folder: Path) -> bool:
    """Whether a file of labels is of this folder, or not there yet."""
    first = next(iter(read_labels(file)), None) if file.exists() else None
    if first is None:
        return True
    path = first.path.absolute()
    return path.is_relative_to(folder.resolve()) or path.is_relative_to(folder.absolute())


def _labelled(
    folder: Path, detectors: Sequence[tuple[Path, int | None]], pose: Path, processes: int
) -> Iterator[Photo]:
    # A process that fails to start would be started again for ever: what is wrong with the files shows here.
    Teachers(detectors, pose).close()
    photos = list(find_photos(folder))
    with get_context("spawn").Pool(processes, _start, (detectors, pose)) as pool:
        for done, photo in enumerate(pool.imap(_one, photos, chunksize=8), 1):
            if done % 100 == 0 or done == len(photos):
                print(f"\r{folder.name}: {done} of {len(photos)}", end="", file=sys.stderr, flush=True)
            yield photo
    print(file=sys.stderr)


def _start(detectors: Sequence[tuple[Path, int | None]], pose: Path) -> None:
    global _teachers  # noqa: PLW0603 - one set of sessions a process
    _teachers = Teachers(detectors, pose)


def _one(photo: Photo) -> Photo:
    assert _teachers is not None
    _teachers.label(photo)
    return photo
