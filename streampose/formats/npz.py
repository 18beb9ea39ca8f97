"""NumPy's archive: few large arrays, for who works with them at once."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from streampose.clip import Moment, of_one_skeleton, of_one_stream
from streampose.errors import FormatUnreadable
from streampose.formats.validity import checked, points_and_scores
from streampose.pose import Poses
from streampose.skeletons import skeleton_of

__all__ = ["read_npz", "write_npz"]

_VERSION = 1
# Others' errors are others' (lzma.LZMAError), and not every Python has the modules that they are in.
_PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
# A RuntimeError is what zipfile says of an archive that claims to be encrypted; a TokenError what NumPy lets through of
# a damaged header.
_DAMAGED = (
    LookupError, ValueError, TypeError, ArithmeticError, EOFError, RuntimeError,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip
_PERSON = ("frame_row", "ids", "boxes", "box_scores", "points", "scores")


def write_npz(path: Path, moments: Iterable[Moment]) -> None:
    """All of a clip, exactly; of F frames, P people in all of them together, and K points:

    ``frame, epoch, pts (F,) int64``, ``time_base (F, 2)``, ``time_s (F,) float64``, ``size_px (F, 2)``,
    ``frame_row (P,)`` (in which of the F rows), ``ids (P,)`` (-1 = none), ``boxes (P, 4)``, ``box_scores (P,)``,
    ``points (P, K, 2)``, ``scores (P, K)`` float32, ``names (K,)``, ``edges (E, 2)``, ``skeleton``,
    ``stream``, ``version``.

    The arrays are in memory as a whole while they are written.

    Raises:
        FormatUnreadable: the moments have several skeletons, or are of several streams.
    """
    clip = list(of_one_stream(of_one_skeleton(moments)))
    every = [m.poses for m in clip]
    k = len(every[0].skeleton) if every else 0
    counts = [len(poses) for poses in every]
    ids = [np.full(len(p), -1, np.int64) if p.ids is None else p.ids for p in every]
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            version=_VERSION,
            stream=clip[0].stream if clip else "",
            skeleton=every[0].skeleton.name if every else "",
            names=np.array(every[0].skeleton.points if every else (), np.str_),
            edges=np.array(every[0].skeleton.edges if every else (), np.int64).reshape(-1, 2),
            frame=np.array([m.index for m in clip], np.int64),
            epoch=np.array([m.epoch for m in clip], np.int64),
            pts=np.array([m.pts for m in clip], np.int64),
            time_base=np.array([m.time_base.as_integer_ratio() for m in clip], np.int64).reshape(-1, 2),
            time_s=np.array([m.time_s for m in clip], np.float64),
            size_px=np.array([m.size_px for m in clip], np.int64).reshape(-1, 2),
            frame_row=np.repeat(np.arange(len(clip)), counts),
            # Behind nobody's, so that there is something to join.
            ids=np.concatenate([np.zeros(0, np.int64), *ids]),
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *(p.boxes for p in every)]),
            box_scores=np.concatenate([np.zeros(0, np.float32), *(p.box_scores for p in every)]),
            points=np.concatenate([np.zeros((0, k, 2), np.float32), *(p.points for p in every)]),
            scores=np.concatenate([np.zeros((0, k), np.float32), *(p.scores for p in every)]),
        )


def read_npz(path: Path) -> Iterator[Moment]:
    """Moments of a file that `write_npz` has written.

    Raises:
        FormatUnreadable: it is another archive.
    """
    try:
        # Our own file: NumPy leaves it open where it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if any(member.compress_type not in _PACKED for member in archive.zip.infolist()):
                raise ValueError("it is packed as NumPy packs nothing")
            data = {name: archive[name] for name in archive.files}
        if int(data["version"]) != _VERSION:
            raise FormatUnreadable(f"version {data['version']} is not known; this streampose reads {_VERSION}")
        if not len(data["frame"]):
            return
        skeleton = skeleton_of(
            str(data["skeleton"]), data["names"].tolist(), data["edges"].tolist() if "edges" in data else None
        )
        bounds = np.searchsorted(data["frame_row"], np.arange(len(data["frame"]) + 1))
        people = {name: data[name] for name in _PERSON}
        if people["points"].shape != (*people["scores"].shape, 2):
            raise ValueError("points are pairs, each with a score")
        people["points"], people["scores"] = points_and_scores(np.dstack([people["points"], people["scores"]]))
        numbers = zip(*(data[name].tolist() for name in ("frame", "epoch", "pts", "time_base", "size_px")), strict=True)
        for row, (index, epoch, pts, time_base, size) in enumerate(numbers):
            part = {name: array[bounds[row] : bounds[row + 1]] for name, array in people.items()}
            moment = Moment(
                stream=str(data["stream"]),
                index=index,
                epoch=epoch,
                pts=pts,
                time_base=Fraction(*time_base),
                size_px=(size[0], size[1]),
                poses=Poses(
                    skeleton=skeleton,
                    points=part["points"],
                    scores=part["scores"],
                    boxes=part["boxes"],
                    box_scores=part["box_scores"],
                    ids=None if (part["ids"] < 0).any() else part["ids"],
                ),
            )
            yield checked(moment)
    except MemoryError as error:  # which a damaged header may ask for as well
        raise FormatUnreadable(f"{path} does not fit into memory: {error}") from error
    except _DAMAGED as error:
        if isinstance(error, FormatUnreadable):
            raise FormatUnreadable(f"{path}: {error}") from error
        raise FormatUnreadable(f"{path} is no archive of poses: {type(error).__name__} {error}") from error
