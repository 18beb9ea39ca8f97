"""What a person looks like in numbers: skeletons (which points there are) and poses (where they are)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import index as whole

import numpy as np
from numpy.typing import NDArray

from streampose.errors import ConfigError
from streampose.frame import read_only
from streampose.number import is_whole

__all__ = ["Person", "Poses", "Skeleton", "mirrored"]

# Points that a skeleton may lack but that are defined by others: the mean of these.
_DERIVED = {
    "neck": ("left_shoulder", "right_shoulder"),
    "mid_hip": ("left_hip", "right_hip"),
    "left_toe": ("left_big_toe", "left_small_toe"),
    "right_toe": ("right_big_toe", "right_small_toe"),
}


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A named set of key points. Two skeletons are the same when their names and their points are.

    Points are matched across skeletons by name (``left_knee``; left and right are the person's own).

    Raises:
        ConfigError: it has no points, two of one name, edges of others, or not a sigma for each.
    """

    name: str = field(compare=True)
    points: tuple[str, ...] = field(hash=False, repr=False)
    """Names of the k points, in the model's order."""
    edges: tuple[tuple[int, int], ...] = field(compare=False, repr=False)
    """Pairs of point indices joined by a line."""
    sigmas: tuple[float, ...] | None = field(default=None, compare=False, repr=False)
    """Per-point spread for object key-point similarity (OKS), where its dataset publishes one."""

    def __post_init__(self) -> None:
        points, count = self.points, len(self.points)
        if not isinstance(points, tuple | list) or not count or not all(isinstance(p, str) for p in points):
            raise ConfigError(f"a skeleton has points with names; {self.name!r:.80} has {points!s:.200}")
        object.__setattr__(self, "points", tuple(points))
        if len(set(points)) < count:
            raise ConfigError(f"a skeleton has points of different names; {self.name!r:.80} has {points!s:.200}")
        if not all(
            isinstance(e, Sequence) and len(e) == 2 and all(is_whole(i) and 0 <= i < count for i in e)
            for e in self.edges
        ):
            raise ConfigError(
                f"edges join points by their numbers, 0 to {count - 1}; {self.name!r:.80} has {self.edges!s:.200}"
            )
        object.__setattr__(self, "edges", tuple((int(a), int(b)) for a, b in self.edges))
        if self.sigmas is not None and len(self.sigmas) != count:
            raise ConfigError(f"a skeleton has a sigma for each point; {self.name!r} has {len(self.sigmas)} of {count}")

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def flip(self) -> tuple[int, ...]:
        """For each point, the index of its mirror image; a point on the middle line, or without one, is its own."""
        index = {name: i for i, name in enumerate(self.points)}
        return tuple(index.get(mirrored(name), i) for i, name in enumerate(self.points))

    def map_to(self, other: Skeleton) -> tuple[tuple[int, ...], ...]:
        """For each point of `other`, the indices here whose mean is that point; empty = it is not known here."""
        index = {name: i for i, name in enumerate(self.points)}
        rows: list[tuple[int, ...]] = []
        for name in other.points:
            parts = (name,) if name in index else _DERIVED.get(name, ())
            rows.append(tuple(index[p] for p in parts) if all(p in index for p in parts) else ())
        return tuple(rows)


def mirrored(name: str) -> str:
    """The other side's name of a point, or its own."""
    side, _, rest = name.partition("_")
    other = {"left": "right", "right": "left"}.get(side)
    return name if other is None else f"{other}_{rest}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """One of them; ``person["left_wrist"]`` is a point's x, y and score. Its arrays are those of the `Poses`:

    ``points`` (k, 2) and ``box`` (4,), x1 y1 x2 y2, float32 pixels; ``scores`` (k,) float32 in [0, 1].
    """

    skeleton: Skeleton
    id: int | None
    """Within a stream's epoch; `None` = nobody is tracked."""
    score: float
    """In [0, 1]."""
    box: NDArray[np.float32]
    """(4,) x1 y1 x2 y2."""
    points: NDArray[np.float32]
    """(k, 2) x y."""
    scores: NDArray[np.float32]
    """(k,) in [0, 1]; 0 = not known."""

    def __getitem__(self, name: str) -> tuple[float, float, float]:
        try:
            i = self.skeleton.points.index(name)
        except ValueError:
            raise KeyError(f"{self.skeleton.name} has no {name!r}; it has {', '.join(self.skeleton.points)}") from None
        return float(self.points[i, 0]), float(self.points[i, 1]), float(self.scores[i])

    def __repr__(self) -> str:
        who = "a person" if self.id is None else f"person {self.id}"
        box = " ".join(f"{side:.0f}" for side in self.box)
        return f"<{who} of {self.score:.0%}, box {box}, {self.skeleton.name}>"


def _numbers(array: object, kinds: str) -> bool:
    # Of nobody's, NumPy makes floats whatever they would be.
    return isinstance(array, np.ndarray) and array.ndim > 0 and (array.dtype.kind in kinds or not array.size)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Poses:
    """The n people of one picture, as a structure of arrays; going through it gives each `Person`, as does its row,
    ``poses[0]``. n may be 0. Equal to itself only.

    Float32 are ``points`` (n, k, 2), ``scores`` (n, k), ``boxes`` (n, 4) and ``box_scores`` (n,); ``ids`` are (n,)
    int64, or `None`. Coordinates are pixels of the source image, origin at its top-left corner, where the centre of the
    first pixel is (0, 0).

    Raises:
        ValueError: something is no array of numbers (ids: of whole ones), or the arrays disagree in shape.
        ConfigError: the skeleton is none.
    """

    skeleton: Skeleton
    points: NDArray[np.float32]
    """(n, k, 2) x y. A point may lie outside the picture."""
    scores: NDArray[np.float32]
    """(n, k) confidence in [0, 1]; 0 = not known, its coordinates mean nothing."""
    boxes: NDArray[np.float32]
    """(n, 4) x1 y1 x2 y2."""
    box_scores: NDArray[np.float32]
    """(n,) in [0, 1]."""
    ids: NDArray[np.int64] | None = None
    """(n,) identity within a stream's epoch, set by tracking."""

    def __post_init__(self) -> None:
        if not isinstance(self.skeleton, Skeleton):
            raise ConfigError(f"poses have a Skeleton, as COCO_17, not {self.skeleton!r:.40}")
        arrays = (self.points, self.scores, self.boxes, self.box_scores)
        if not all(_numbers(array, "fiub") for array in arrays):
            raise ValueError("points, scores, boxes and box_scores of poses are arrays of numbers")
        if self.ids is not None and not _numbers(self.ids, "iu"):
            raise ValueError("ids of poses are None, or an array of whole numbers")
        n, k = len(self.points), len(self.skeleton)
        ok = (
            self.points.shape == (n, k, 2)
            and self.scores.shape == (n, k)
            and self.boxes.shape == (n, 4)
            and self.box_scores.shape == (n,)
            and (self.ids is None or self.ids.shape == (n,))
        )
        if not ok:
            shapes = [array.shape for array in arrays]
            raise ValueError(f"arrays of {n} poses of {self.skeleton.name} ({k} points) disagree: {shapes}")

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, row: int) -> Person:
        i = whole(row)  # several are `take`'s
        return Person(
            skeleton=self.skeleton,
            id=None if self.ids is None else int(self.ids[i]),
            score=float(self.box_scores[i]),
            box=self.boxes[i],
            points=self.points[i],
            scores=self.scores[i],
        )

    def __iter__(self) -> Iterator[Person]:
        return map(self.__getitem__, range(len(self)))

    def __repr__(self) -> str:
        ids = "" if self.ids is None else f", ids {self.ids.tolist()}"
        people = "1 person" if len(self) == 1 else f"{len(self)} people"
        return f"<poses of {people}, {self.skeleton.name}{ids}>"

    def is_finite(self) -> bool:
        """Whether no number is NaN or infinite. 5 µs."""
        arrays = (self.points, self.scores, self.boxes, self.box_scores)
        return all(bool(np.isfinite(array).all()) for array in arrays)

    def fixed(self) -> Poses:
        """The same people in arrays that can only be read; whoever made these ones may write to his."""
        return Poses(
            skeleton=self.skeleton,
            points=read_only(self.points),
            scores=read_only(self.scores),
            boxes=read_only(self.boxes),
            box_scores=read_only(self.box_scores),
            ids=None if self.ids is None else read_only(self.ids),
        )

    @classmethod
    def empty(cls, skeleton: Skeleton) -> Poses:
        """Nobody."""
        k = len(skeleton)
        return cls(
            skeleton=skeleton,
            points=np.zeros((0, k, 2), np.float32),
            scores=np.zeros((0, k), np.float32),
            boxes=np.zeros((0, 4), np.float32),
            box_scores=np.zeros((0,), np.float32),
        )

    def seen(self, min_score: float) -> NDArray[np.bool_]:
        """(n, k) which points are known, with at least this score: of score 0 none is, wherever it says that it is."""
        return np.asarray((self.scores >= min_score) & (self.scores > 0))

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Poses:
        """Some of the people: a mask (n,) or an index array."""
        return replace(
            self,
            points=self.points[rows],
            scores=self.scores[rows],
            boxes=self.boxes[rows],
            box_scores=self.box_scores[rows],
            ids=None if self.ids is None else self.ids[rows],
        )

    def to(self, skeleton: Skeleton) -> Poses:
        """The same people in another skeleton's points.

        A derived point (neck, middle of the hips) is the mean of its parts and scores as its weakest part; a
        point that cannot be known is (0, 0) with score 0.

        Raises:
            ConfigError: it is no skeleton.
        """
        if not isinstance(skeleton, Skeleton):
            raise ConfigError(f"poses are put into the points of a Skeleton, as OPENPOSE_18, not {skeleton!r:.40}")
        if skeleton == self.skeleton:
            return self
        points = np.zeros((len(self), len(skeleton), 2), np.float32)
        scores = np.zeros((len(self), len(skeleton)), np.float32)
        for j, parts in enumerate(self.skeleton.map_to(skeleton)):
            if parts:
                points[:, j] = self.points[:, parts].mean(axis=1)
                scores[:, j] = self.scores[:, parts].min(axis=1)
        return replace(self, skeleton=skeleton, points=points, scores=scores)
