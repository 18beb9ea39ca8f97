"""How pictures look: what cameras, codecs and light do to them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["degraded", "lit"]

Pixels = NDArray[np.uint8]


def lit(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Other light: gain, offset and gamma for each channel, now and then without colour."""
    if rng.random() < 0.06:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if rng.random() < 0.15:
        return image
    gain = rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, 3)
    offset = rng.uniform(-20, 20)
    gamma = np.exp(rng.uniform(-0.25, 0.25))
    values = (np.arange(256)[:, None] / 255) ** gamma * 255
    table = np.clip((values - 128) * gain + 128 + offset, 0, 255).astype(np.uint8)
    table[0] = 0  # outside of the picture it is black, whatever the light
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def degraded(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Worse pictures: blur, motion blur, few pixels, noise, JPEG."""
    height, width = image.shape[:2]
    if rng.random() < 0.12:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.8))
    elif rng.random() < 0.08:
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        cv2.line(kernel, (0, int(rng.integers(length))), (length - 1, int(rng.integers(length))), 1.0)
        image = cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1))
    if rng.random() < 0.2:
        share = rng.uniform(0.3, 0.8)
        size = (max(8, int(width * share)), max(8, int(height * share)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.1:
        noise = rng.normal(0, rng.uniform(3, 15), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.1:
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 70))])
        image = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return np.asarray(image, np.uint8)
