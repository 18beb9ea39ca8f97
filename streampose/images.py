"""Poses of pictures that are in memory as one array, as node editors hand them around: (B, H, W, 3) RGB, floats from 0
to 1 or bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from numbers import Rational
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streampose.clip import Clip, Moment
from streampose.errors import ConfigError
from streampose.frame import Image
from streampose.inference.estimator import Estimator
from streampose.motion import Choice, calm, face_squares, fill, held, largest, link, only, pick, renamed, survey
from streampose.number import is_whole, within
from streampose.render import CloseUp, FigurePainter
from streampose.tracking import Tracker

__all__ = ["cleaned", "face_images", "find_poses", "pose_images"]

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many frames are done, and of how many."""

# Pictures that are converted at a time: their bytes, and no more than an engine runs at once.
_BATCH_BYTES = 128 << 20
_MOST = 32
_SLOWEST_HZ, _FASTEST_HZ = 1e-6, 1e6
_WIDEST = 100


def find_poses(
    images: Any,
    estimator: Estimator,
    *,
    rate: Fraction | float = 30,
    batch: int | None = None,
    track: bool = True,
    progress: Progress | None = None,
) -> Clip:
    """The people in each picture.

    Args:
        images: (B, H, W, 3) RGB, floats from 0 to 1 or uint8: an array, or a tensor of PyTorch on any device.
        estimator: from `load_estimator`; keep it, loading takes longer than a few pictures.
        rate: pictures a second that they stand for.
        batch: pictures at a time; `None` = as many as make good use of the engine without taking much memory.
        track: give people ids, in the order of the pictures.
        progress: called after each batch.

    Raises:
        ConfigError: the array has another shape, or holds other values; or a rate or batch makes no sense.
        ModelError: of the kind that fits.
    """
    count, height, width = _shape(images)
    if not within(rate, _SLOWEST_HZ, _FASTEST_HZ):
        raise ConfigError(f"a rate is pictures a second, from 0.000001 to 1000000, not {rate!r}")
    if batch is not None:
        _check_count("a batch", batch)
    step = batch or max(1, min(_MOST, _BATCH_BYTES // (height * width * 3)))
    time_base = 1 / (Fraction(rate) if isinstance(rate, Rational) else Fraction(float(rate)))
    tracker = Tracker() if track else None
    moments: list[Moment] = []
    for first in range(0, count, step):
        for poses in estimator(_pictures(images[first : first + step])):
            index = len(moments)
            found = poses if tracker is None else tracker.update(poses, float(index * time_base))
            moments.append(
                Moment(
                    stream="images",
                    index=index,
                    pts=index,
                    time_base=time_base,
                    size_px=(width, height),
                    poses=found,
                )
            )
        if progress is not None:
            progress(len(moments), count)
    return Clip(tuple(moments))


def cleaned(
    clip: Clip, person: Choice | None = None, *, link_s: float = 2.0, fill_s: float = 0.5, sigma_s: float = 0.04
) -> Clip:
    """What `streampose process --clean` does: linked, filled, smoothed without lag, and one person only if asked for.

    Args:
        clip: with ids.
        person: who is wanted; `None` = everybody.
        link_s: who is found again within it is the same person; 0 = not.
        fill_s: who is missing for at most so long is put in; 0 = not.
        sigma_s: smoothed over so long; 0 = not.

    Raises:
        ConfigError: the person who was asked for is not there, or seconds make no sense.
    """
    for name, seconds in (("link_s", link_s), ("fill_s", fill_s), ("sigma_s", sigma_s)):
        if not within(seconds, 0):
            raise ConfigError(f"{name} is at least 0 seconds, not {seconds!r}")
    linked = list(renamed(clip, link(survey(clip), max_gap_s=link_s)))
    filled = fill(linked, max_gap_s=fill_s) if fill_s > 0 else linked
    one = filled if person is None else only(filled, pick(survey(linked), person, linked))
    return Clip(tuple(calm(one, sigma_s=sigma_s)))


def pose_images(
    clip: Sequence[Moment], painter: FigurePainter, images: Any = None, *, progress: Progress | None = None
) -> NDArray[np.float32]:
    """A picture of each moment.

    Args:
        clip: the poses.
        painter: how they look.
        images: as for `find_poses`; drawn upon, where the painter's background is the video.
        progress: called after each picture.

    Returns:
        (B, H, W, 3) RGB, or (B, H, W, 4) where it is see-through; floats from 0 to 1.

    Raises:
        ConfigError: there are no pictures to draw upon, too few, or they are not as for `find_poses`.
    """
    if painter.wants_image:
        if images is None:
            raise ConfigError("to draw upon the video, give its images")
        _check_pictures(images, clip)
    return _painted(
        clip, lambda m, i: painter(m, _pictures(images[i : i + 1])[0] if painter.wants_image else None), progress
    )


def face_images(
    clip: Sequence[Moment],
    images: Any,
    *,
    size_px: int = 512,
    padding: float = 0.0,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """A close-up of the largest person's face in each picture: calm, square, of one size.

    Args:
        clip: the poses; without ids, it is the largest of each.
        images: they are of; as for `find_poses`.
        size_px: of what comes out.
        padding: around the face, as a share of it.
        progress: called after each picture.

    Returns:
        (B, size, size, 3) RGB floats from 0 to 1.

    Raises:
        ConfigError: the images are not as for `find_poses`, or fewer than the moments; or a size makes no sense.
    """
    _check_pictures(images, clip)
    _check_count("a close-up's side in pixels", size_px)
    if not within(padding, 0, _WIDEST):
        raise ConfigError(f"padding is from 0 to {_WIDEST}, not {padding!r}")
    found = survey(clip)
    spans = pick(found, Choice(by="largest"))
    one = only(clip, spans) if found else (moment.having(largest(moment.poses)) for moment in clip)
    faces = face_squares(one, padding=padding)
    # Who stands in before and after is filled in between as well.
    squares = list(only(faces, spans) if found else faces)
    first = next((moment.poses for moment in squares if len(moment.poses)), None)
    painter = CloseUp(size_px=size_px, padding=padding)
    moments = list(held(squares, first))
    return _painted(moments, lambda m, i: painter(m, _pictures(images[i : i + 1])[0]), progress)


def _painted(
    clip: Sequence[Moment], paint: Callable[[Moment, int], Image], progress: Progress | None
) -> NDArray[np.float32]:
    rows: list[NDArray[np.float32]] = []
    for i, moment in enumerate(clip):
        picture = paint(moment, i)
        order = [2, 1, 0, 3][: picture.shape[2]]
        rows.append(picture[..., order].astype(np.float32) / np.float32(255))
        if progress is not None:
            progress(i + 1, len(clip))
    return np.stack(rows) if rows else np.zeros((0, 1, 1, 3), np.float32)


# Floats a little above 1 are what sharpening and enlarging leave, and are cut; those of 0 to 255 are a mistake.
_BRIGHTEST = 1.5


def _shape(images: Any) -> tuple[int, int, int]:
    shape = tuple(int(side) for side in getattr(images, "shape", ()))
    if len(shape) != 4 or shape[3] not in {3, 4} or 0 in shape[1:]:
        raise ConfigError(f"images are (B, H, W, 3), floats from 0 to 1 or uint8, not {shape}")
    return shape[0], shape[1], shape[2]


def _check_pictures(images: Any, clip: Sequence[Moment]) -> None:
    if (count := _shape(images)[0]) < len(clip):
        raise ConfigError(f"there are {len(clip)} moments, and images of {count}")


def _check_count(what: str, value: Any) -> None:
    if not is_whole(value) or value < 1:
        raise ConfigError(f"{what} is a whole number from 1 on, not {value!r}")


def _pictures(images: Any) -> list[Image]:
    """(b, H, W, 3+) RGB to BGR bytes; a tensor of a GPU is brought here."""
    if hasattr(images, "detach"):
        images = images.detach().cpu().numpy()
    return [_bgr(row) for row in np.asarray(images)[..., 2::-1]]


def _bgr(picture: NDArray[Any]) -> Image:
    if picture.dtype == np.uint8:
        return np.ascontiguousarray(picture)
    if not np.issubdtype(picture.dtype, np.floating):
        raise ConfigError(f"images are floats from 0 to 1 or uint8, not {picture.dtype}")
    if not np.isfinite(picture).all():
        raise ConfigError("images are floats from 0 to 1, and here are some that are not finite")
    if picture.max() > _BRIGHTEST:
        raise ConfigError(
            f"images are floats from 0 to 1, not up to {picture.max():g}: divide those of 0 to 255 by 255"
        )
    return np.ascontiguousarray(np.rint(np.clip(picture, 0, 1) * 255), np.uint8)
