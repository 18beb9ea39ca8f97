"""Looking at the page, in whichever browser it is open."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import cv2
import numpy as np

from streampose.pose import Poses


async def until(page: Any, expression: str, within_s: float = 30.0) -> None:
    """Playwright's own `wait_for_function` makes code of strings, which the page's policy forbids."""
    async with asyncio.timeout(within_s):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.03)


async def live(page: Any, poses: int = 5) -> None:
    await until(page, "document.getElementById('status').dataset.state === 'live'")
    await page.evaluate("shown.length = 0")
    # How many a second they are is for the machine to say; that they come is asked for.
    for more in range(5, poses + 5, 5):
        await until(page, f"shown.length >= {min(more, poses)}")


async def last_shown(page: Any) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """The last record, the frame that it was drawn on, and the drawing as it stands on the page."""
    record, *pictures = await page.evaluate(
        """() => new Promise((resolve) => document.addEventListener('streampose:shown', ({detail}) => {
          const bare = document.createElement('canvas');
          [bare.width, bare.height] = [detail.image.width, detail.image.height];
          bare.getContext('2d').drawImage(detail.image, 0, 0);
          resolve([detail.record, bare.toDataURL(), document.getElementById('canvas').toDataURL()]);
        }, {once: true}))"""
    )
    decoded = [
        cv2.imdecode(np.frombuffer(base64.b64decode(p.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR) for p in pictures
    ]
    return record, decoded[0], decoded[1]


def distance_px(record: dict[str, Any], want: Poses) -> float | None:
    """The median distance of sure points of the best person, or `None` where one side has nobody."""
    if not record["people"] or not len(want):
        return None
    points = np.array(record["people"][0]["points"])
    points[:, :2] *= 640 / record["size_px"][0]  # browsers send smaller pictures where they have little time
    sure = (points[:, 2] > 0.5) & (want.scores[0] > 0.5)
    return float(np.median(np.linalg.norm(points[sure, :2] - want.points[0][sure], axis=1))) if sure.any() else None
