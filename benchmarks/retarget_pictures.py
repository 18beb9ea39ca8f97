"""The pictures of docs/retarget.md: drawn figures, so that nothing but this code is needed.

python benchmarks/retarget_pictures.py [docs/images/retarget.png]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np

from streampose import Poses, SyntheticSource
from streampose.clip import Moment
from streampose.motion import Retargeting, retargeted
from streampose.render import PALETTES, FigurePainter, Parts

SIZE = (260, 300)
PAINTER = FigurePainter(look=PALETTES["openpose-18"], parts=Parts(width=1.5))
FONT = cv2.FONT_HERSHEY_SIMPLEX


def walker() -> list[Moment]:
    source = SyntheticSource(people=1, width_px=640, height_px=480, seconds=4, seed=3, live=False)
    source.open("walker")
    return [
        Moment(stream="walker", index=i, pts=i, time_base=Fraction(1, 30), size_px=(640, 480), poses=source.truth(i))
        for i in range(0, 100, 25)
    ]


def zoomed(moments: list[Moment]) -> list[Moment]:
    """So that the figure fills the picture."""
    low = np.min([m.poses.boxes[0, :2] for m in moments], axis=0)
    high = np.max([m.poses.boxes[0, 2:] for m in moments], axis=0)
    scale = 0.8 * min(SIZE[0] / (high - low)[0], SIZE[1] / (high - low)[1])
    shift = np.array(SIZE) / 2 - scale * (low + high) / 2

    def moved(poses: Poses) -> Poses:
        points = (poses.points * scale + shift).astype(np.float32)
        boxes = (poses.boxes * scale + np.tile(shift, 2)).astype(np.float32)
        return replace(poses, points=points, boxes=boxes, scores=np.ones_like(poses.scores))

    return [replace(m, poses=moved(m.poses), size_px=SIZE) for m in moments]


def reference() -> Poses:
    """Somebody with short legs and long arms, standing to the right."""
    places = {
        "nose": (160, 95), "left_eye": (166, 90), "right_eye": (154, 90), "left_ear": (174, 94), "right_ear": (146, 94),
        "left_shoulder": (188, 125), "right_shoulder": (132, 125), "left_elbow": (206, 170), "right_elbow": (114, 170),
        "left_wrist": (214, 218), "right_wrist": (106, 218), "left_hip": (176, 205), "right_hip": (144, 205),
        "left_knee": (178, 235), "right_knee": (142, 235), "left_ankle": (179, 265), "right_ankle": (141, 265),
    }  # fmt: skip
    skeleton = walker()[0].poses.skeleton
    points = np.array([[places[name] for name in skeleton.points]], np.float32)
    box = np.array([[100, 75, 220, 272]], np.float32)
    return Poses(
        skeleton=skeleton,
        points=points,
        scores=np.ones(points.shape[:2], np.float32),
        boxes=box,
        box_scores=np.ones(1, np.float32),
    )


def labelled(picture: np.ndarray, words: str) -> np.ndarray:
    framed = cv2.copyMakeBorder(picture, 26, 2, 0, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(framed, words, (6, 18), FONT, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    return framed


def main() -> int:
    out = sys.argv[1] if len(sys.argv) > 1 else "docs/images/retarget.png"
    driving, wanted = zoomed(walker()), reference()
    still = replace(driving[0], poses=wanted)
    ways = {
        "reference, into its place": Retargeting(),
        "driving's size and place": Retargeting(align="driving", anchor="ground"),
        "the same, hung from the neck": Retargeting(align="driving", anchor="neck"),
    }
    rows = {"driving, frame {}": driving}
    rows |= {words: list(retargeted(lambda: iter(driving), wanted, SIZE, how)) for words, how in ways.items()}
    pictures = []
    for words, clip in rows.items():
        cells = [labelled(PAINTER(m), words.format(m.index)) for m in clip]
        pictures.append(np.hstack([*cells, labelled(PAINTER(still), "the reference")]))
    return 0 if cv2.imwrite(out, np.vstack(pictures)) else 1


if __name__ == "__main__":
    sys.exit(main())
