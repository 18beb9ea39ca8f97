"""Where streampose-nano fails on the annotated photos: the AP of kinds of people, and pictures of the worst.

    python benchmarks/failures.py [--assets DIR] [--picture FILE]

Key points are found in true boxes, so that each person is judged, also those that the detector misses. The pictures
show no photo (they are under their owners' terms): the true skeleton in grey, the one that was found in colour.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from accuracy import LOW, Photos, detector, keypoints

from streampose.inference.zoo import built_in
from streampose.pose import Poses
from streampose.render import Renderer, Style
from streampose.skeletons import COCO_17

TILE = 240
GREY = (120, 120, 120)
# Standard deviations of COCO's annotators, by point (cocodataset.org, keypoints evaluation).
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000


def oks(person: dict[str, Any], points: np.ndarray) -> float:
    """Object key-point similarity, 1 = right."""
    truth = np.array(person["keypoints"], float).reshape(17, 3)
    apart = ((points - truth[:, :2]) ** 2).sum(axis=1)
    close = np.exp(-apart / (2 * (2 * SIGMAS) ** 2 * person["area"]))
    return float(close[truth[:, 2] > 0].mean())


def overlap(person: dict[str, Any], boxes: np.ndarray) -> float:
    """The best intersection over union with one of the boxes."""
    x, y, w, h = person["bbox"]
    low, high = np.maximum(boxes[:, :2], (x, y)), np.minimum(boxes[:, 2:], (x + w, y + h))
    shared = np.clip(high - low, 0, None).prod(axis=1)
    return float((shared / ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + w * h - shared)).max(initial=0.0))


def tile(person: dict[str, Any], points: np.ndarray, scores: np.ndarray, found: float) -> np.ndarray:
    """Both skeletons, fitted into a square."""
    truth = np.array(person["keypoints"], np.float32).reshape(17, 3)
    x, y, w, h = person["bbox"]
    zoom = 0.72 * TILE / max(w, h)
    picture = np.full((TILE, TILE, 3), 24, np.uint8)
    both = ((truth[:, :2], (truth[:, 2] > 0).astype(np.float32), True), (points, scores, False))
    for places, sure, is_truth in both:
        at = ((places - (x + w / 2, y + h / 2)) * zoom + TILE / 2).astype(np.float32)
        poses = Poses(
            skeleton=COCO_17, points=at[None], scores=sure[None].astype(np.float32),
            boxes=np.array([[x, y, x + w, y + h]], np.float32), box_scores=np.ones(1, np.float32), ids=None,
        )  # fmt: skip
        colours = {"left": GREY, "right": GREY, "middle": GREY} if is_truth else {}
        style = Style(boxes=False, line_px=4.0 if is_truth else 2.0, **colours)
        picture = Renderer(style, hud=False)(picture, poses)
    text = f"OKS {found:.2f}, {max(w, h):.0f} px"
    cv2.putText(picture, text, (8, TILE - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1, cv2.LINE_AA)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).parents[2] / "shared" / "assets"
    parser.add_argument("--assets", type=Path, default=default, help="folder with photos/")
    parser.add_argument("--picture", type=Path, help="draw the worst people into this file")
    arguments = parser.parse_args()
    photos = Photos(arguments.assets / "photos" / "coco_mini_val")
    model = keypoints(built_in("keypoints"), reference=False)
    people_of = detector(built_in("detector"), None, LOW, reference=False)
    judged = []
    for image_id, image in photos:
        (boxes,) = people_of([image])
        sure = boxes.boxes[boxes.scores >= 0.4]
        for person in (p for p in photos.people(image_id) if p["num_keypoints"]):
            x, y, w, h = person["bbox"]
            points, scores = model([image], np.array([[x, y, x + w, y + h]], np.float32))
            judged.append((person, points[0], scores[0], oks(person, points[0]), overlap(person, sure) >= 0.5))
    kinds = {
        "all": lambda p: True,
        "below 64 px": lambda p: max(p["bbox"][2:]) < 64,
        "64 to 160 px": lambda p: 64 <= max(p["bbox"][2:]) < 160,
        "160 px and more": lambda p: max(p["bbox"][2:]) >= 160,
        "up to 8 marked points (half people)": lambda p: p["num_keypoints"] <= 8,
        "9 marked points and more": lambda p: p["num_keypoints"] > 8,
    }
    print(f"{'people':<38}{'number':>7}{'mean OKS':>10}{'OKS > 0.5':>11}{'detected':>10}")
    for name, is_kind in kinds.items():
        chosen = [row for row in judged if is_kind(row[0])]
        close = np.array([row[3] for row in chosen])
        seen = np.mean([row[4] for row in chosen])
        print(f"{name:<38}{len(chosen):>7}{close.mean():>10.2f}{(close > 0.5).mean():>11.2f}{seen:>10.2f}")
    if arguments.picture:
        worst = sorted((row for row in judged if row[0]["num_keypoints"] > 4), key=lambda row: row[3])[:10]
        tiles = [tile(*row[:4]) for row in worst]
        sheet = np.vstack([np.hstack(tiles[:5]), np.hstack(tiles[5:])])
        if not cv2.imwrite(str(arguments.picture), sheet):
            raise SystemExit(f"{arguments.picture} cannot be written")


if __name__ == "__main__":
    main()
