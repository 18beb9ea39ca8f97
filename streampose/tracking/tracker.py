"""Who is who from frame to frame."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median_low

import numpy as np
from numpy.typing import NDArray

from streampose.errors import ConfigError
from streampose.number import within
from streampose.pose import Poses
from streampose.tracking.motion import Motion
from streampose.tracking.similarity import Looks, similarity

__all__ = ["Tracker", "TrackerOptions"]

# So many steps from frame to frame say which is usual: one long stall among them does not.
_RECENT = 9
# A little more than two, since times are rounded.
_STEPS = 2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerOptions:
    """What counts as the same person.

    Raises:
        ConfigError: a value makes no sense.
    """

    keep_lost_s: float = 1.0
    """How long somebody who is not seen keeps their id, in seconds of media time; at least two of the stream's usual
    steps from frame to frame (the first is usual until others come), so that below a frame a second, too, nobody is
    lost who was seen a frame ago."""
    strong_score: float = 0.5
    """From this box score on, a newcomer gets an id at once, and somebody lost is found again."""
    doubt_s: float = 0.2
    """A newcomer of a lower box score gets an id, and is let through, once seen without a gap for so long …"""
    doubt_pose: float = 0.4
    """… and with a pose as good as this: the mean score of the better half of the key points, so that half a person is
    enough. Of streampose-nano's doubtful boxes on held-out photos 61 of 90 people pass, and 6 of 35 false alarms."""
    pose_weight: float = 0.5
    """Share of the key points in the similarity, the rest being box overlap; in [0, 1]."""
    min_similarity: float = 0.1
    """Two sightings that are less alike are two people; in [0, 1]. Low, since somebody who enters the picture doubles
    in size from one frame to the next: a corridor clip of 6 people gives 6 ids, with twice these two limits 8."""
    min_weak_similarity: float = 0.2
    """The same for box scores below `strong_score`, which only carry on those who were seen a frame ago."""

    def __post_init__(self) -> None:
        for name in ("keep_lost_s", "strong_score", "doubt_s", "doubt_pose"):
            if not within(value := getattr(self, name), 0):
                raise ConfigError(f"{name} is at least 0, not {value}")
        for name in ("pose_weight", "min_similarity", "min_weak_similarity"):
            if not within(value := getattr(self, name), 0, 1):
                raise ConfigError(f"{name} is from 0 to 1, not {value}")


@dataclass(slots=True, eq=False)
class _Track:
    """One person."""

    id: int | None
    """`None` while in doubt."""
    first_s: float
    last_s: float
    looks: Looks
    """All people of the frame where it was last seen …"""
    row: int
    """… and which of them it is."""
    motion: Motion


class Tracker:
    """Gives every person an id that stays, in one stream. Call it once for each frame, in capture order.

    ByteTrack's two rounds (Zhang et al., ECCV 2022: sure detections first, then doubtful ones for those still
    missing) on box overlap and key points together. Nobody is hidden to be confirmed: who scores `strong_score` has an
    id in the first frame. A doubtful newcomer is held back until seen for `doubt_s`, and with a clear pose, so that
    flickering false alarms and furniture neither show nor use up ids. An id is never given twice, not even after
    `reset`.

    Args:
        options: who counts, and how long somebody is looked for.
    """

    def __init__(self, options: TrackerOptions | None = None) -> None:
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - 0.3 s, half of what `import streampose` took

        self._assign = linear_sum_assignment
        self._options = options or TrackerOptions()
        self._tracks: list[_Track] = []
        self._time_s = -math.inf
        self._steps_s: deque[float] = deque(maxlen=_RECENT)
        self._last_id = 0

    def reset(self) -> None:
        """Forget everybody, at a new epoch; ids go on counting."""
        self._tracks = []
        self._time_s = -math.inf

    def update(self, poses: Poses, time_s: float) -> Poses:
        """The next frame.

        Args:
            poses: the people found in it; an order of people has no meaning.
            time_s: media time. If it goes backwards, that is a new epoch: everybody is forgotten.

        Returns:
            Those who have an id, in the order given, with `Poses.ids` set (1, 2, … in order of coming; those who come
            in one frame are numbered from left to right).

        Raises:
            ValueError: the time is not a finite number.
        """
        if not math.isfinite(time_s):
            raise ValueError(f"a frame's time is {time_s} s: it must be finite")
        if time_s < self._time_s:
            self.reset()
        before_s, self._time_s = self._time_s, time_s
        if math.isfinite(before_s):
            self._steps_s.append(time_s - before_s)
        usual_s = median_low(self._steps_s) if self._steps_s else 0.0
        keep_s = max(self._options.keep_lost_s, _STEPS * usual_s)
        self._tracks = [track for track in self._tracks if self._lasts(track, before_s, keep_s)]
        for track in self._tracks:
            track.motion.predict(time_s - before_s)

        # Everything below goes from left to right, so that no tie depends on the order given.
        order = _left_to_right(poses)
        looks = Looks.of(poses)
        if order != sorted(order):
            looks = looks[order]
        scores = poses.box_scores.tolist()
        strong = [scores[i] >= self._options.strong_score for i in order]
        tracks = self._recognise(looks, strong, before_s)
        ids = np.zeros(len(poses), np.int64)
        for row, (i, centre) in enumerate(zip(order, looks.centres.tolist(), strict=True)):
            track = self._see(tracks.get(row), looks, row, complex(*centre))
            if track.id is None and (strong[row] or self._is_believed(track, poses.scores[i])):
                self._last_id += 1
                track.id = self._last_id
            ids[i] = track.id or 0
        poses = replace(poses, ids=ids)
        return poses if ids.all() else poses.take(ids > 0)

    def _recognise(self, looks: Looks, strong: Sequence[bool], before_s: float) -> dict[int, _Track]:
        """Those of the frame who were seen before, by row."""
        options = self._options
        known = [track for track in self._tracks if track.id is not None]
        everyone = range(len(strong))
        rounds = (
            (known, [row for row in everyone if strong[row]], options.min_similarity),
            (
                [track for track in known if track.last_s == before_s],
                [row for row in everyone if not strong[row]],
                options.min_weak_similarity,
            ),
            ([track for track in self._tracks if track.id is None], everyone, options.min_similarity),
        )
        found: dict[int, _Track] = {}
        for candidates, wanted, least in rounds:
            rows = [row for row in wanted if row not in found]
            missing = [track for track in candidates if track not in found.values()]
            if not rows or not missing:
                continue
            here = looks if len(rows) == len(strong) else looks[rows]
            alike = similarity(_expected(missing), here, options.pose_weight)
            # Below the least, nothing is gained by a pair: then the others decide who gets whom.
            alike[alike < least] = 0
            for i, j in zip(*self._assign(alike, maximize=True), strict=True):
                if alike[i, j] > 0:
                    found[rows[j]] = missing[i]
        return found

    def _see(self, track: _Track | None, looks: Looks, row: int, centre: complex) -> _Track:
        """Bring a person's track up to date, or start one."""
        if track is None:
            track = _Track(None, self._time_s, self._time_s, looks, row, Motion(centre))
            self._tracks.append(track)
        else:
            track.motion.correct(centre)
            track.last_s, track.looks, track.row = self._time_s, looks, row
        return track

    def _is_believed(self, track: _Track, scores: NDArray[np.float32]) -> bool:
        """Whether somebody of a low box score has been seen long enough, and well enough."""
        if self._time_s - track.first_s < self._options.doubt_s:
            return False
        better_half = np.sort(scores)[-((len(scores) + 1) // 2) :]
        return bool(better_half.mean() >= self._options.doubt_pose)

    def _lasts(self, track: _Track, before_s: float, keep_s: float) -> bool:
        """Whether somebody may still be seen again; who is in doubt must not miss a frame."""
        if track.id is None and track.last_s < before_s:
            return False
        return self._time_s - track.last_s <= keep_s


def _expected(tracks: Sequence[_Track]) -> Looks:
    """What the people of some tracks should look like now: as when last seen, where they should be by now."""
    frame = tracks[0].looks
    if all(track.looks is frame for track in tracks):
        rows = [track.row for track in tracks]
        looks = frame if rows == list(range(len(frame.boxes))) else frame[rows]
    else:
        looks = Looks.join([track.looks[track.row : track.row + 1] for track in tracks])
    return looks.moved_to(np.array([(track.motion.centre.real, track.motion.centre.imag) for track in tracks]))


def _left_to_right(poses: Poses) -> list[int]:
    """The order of people by the middle of their boxes; ties by everything else that is there."""
    middles = (poses.boxes[:, 0] + poses.boxes[:, 2]).tolist()
    if len(set(middles)) == len(middles):
        return sorted(range(len(middles)), key=middles.__getitem__)
    keys = np.column_stack([middles, poses.boxes, poses.box_scores, poses.points.mean(axis=1), poses.scores])
    order: list[int] = np.lexsort(keys.T[::-1]).tolist()
    return order
