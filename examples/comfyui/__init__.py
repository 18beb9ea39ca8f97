"""Nodes for ComfyUI: put this folder into ComfyUI/custom_nodes/streampose, and install streampose beside ComfyUI.

Each node is a thin coat over `streampose.images` and `streampose.motion`; it can be imported, and tested, without
ComfyUI. Models are loaded once and kept between runs.
"""

from __future__ import annotations

import importlib
import json
from functools import lru_cache
from typing import Any

import numpy as np

from streampose import EngineOptions, ModelChoice, load_estimator
from streampose.clip import Clip
from streampose.images import Progress, cleaned, face_images, find_poses, pose_images
from streampose.motion import Retargeting, largest, parse_choice, prompts, retargeted, words
from streampose.render import PALETTES, FigurePainter, Parts

CATEGORY = "streampose"


def _tensor(array: np.ndarray) -> Any:
    """What ComfyUI hands on: a tensor, where PyTorch is."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return array
    return torch.from_numpy(array)


def _progress(total: int) -> Progress | None:
    """ComfyUI's bar."""
    try:
        bar = importlib.import_module("comfy.utils").ProgressBar(total)
    except ImportError:
        return None
    update: Progress = bar.update_absolute
    return update


@lru_cache(maxsize=2)
def _estimator(model: str, detector: str, pose: str, device: str) -> Any:
    choice = ModelChoice(model=model or None, detector=detector or None, pose=pose or None)
    return load_estimator(choice, EngineOptions(device=device))


class LoadModel:
    """Names as in `streampose models list`, or paths; nothing at all is streampose-nano."""

    CATEGORY, FUNCTION = CATEGORY, "load"
    RETURN_TYPES = ("STREAMPOSE_MODEL",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        text = ("STRING", {"default": ""})
        return {
            "required": {
                "model": text,
                "detector": text,
                "pose": text,
                "device": (["auto", "cuda", "tensorrt", "cpu"],),
            }
        }

    def load(self, model: str, detector: str, pose: str, device: str) -> tuple[Any]:
        return (_estimator(model, detector, pose, device),)


class FindPoses:
    """People and their key points; with `clean`, linked, filled and smoothed over the whole clip."""

    CATEGORY, FUNCTION = CATEGORY, "find"
    RETURN_TYPES = ("STREAMPOSE_CLIP", "IMAGE", "STRING")
    RETURN_NAMES = ("poses", "faces", "prompts")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {
                "model": ("STREAMPOSE_MODEL",),
                "images": ("IMAGE",),
                "rate": ("INT", {"default": 16, "min": 1, "max": 240}),
                "person": ("STRING", {"default": "largest"}),
                "clean": ("BOOLEAN", {"default": True}),
                "face_padding": ("FLOAT", {"default": 0.0, "min": 0.0, "max": 2.0, "step": 0.05}),
            }
        }

    def find(
        self, *, model: Any, images: Any, rate: int, person: str, clean: bool, face_padding: float
    ) -> tuple[Clip, Any, str]:
        clip = find_poses(images, model, rate=rate, progress=_progress(len(images)))
        if clip.ids:
            choice = parse_choice(person) if person else None
            clip = cleaned(clip, choice) if clean else cleaned(clip, choice, link_s=0, fill_s=0, sigma_s=0)
        faces = face_images(clip, images, padding=face_padding)
        return clip, _tensor(faces), json.dumps(prompts(lambda: iter(clip)))


class DrawPoses:
    """Pictures of poses in the styles that models are trained on; a side of 0 is as the clip's shape wants."""

    CATEGORY, FUNCTION = CATEGORY, "draw"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        width = ("FLOAT", {"default": 1.0, "min": 0.0, "max": 10.0, "step": 0.1})
        side = ("INT", {"default": 0, "min": 0, "max": 8192})
        shown = (["full", "weak", "none"],)
        return {
            "required": {
                "poses": ("STREAMPOSE_CLIP",),
                "style": (list(PALETTES),),
                "width": side,
                "height": side,
                "line_width": width,
                "hand_width": width,
                "head": shown,
                "face_dots": shown,
            }
        }

    def draw(
        self,
        *,
        poses: Clip,
        style: str,
        width: int,
        height: int,
        line_width: float,
        hand_width: float,
        head: Any,
        face_dots: Any,
    ) -> tuple[Any]:
        parts = Parts(head=head, face=face_dots, width=line_width, hand_width=hand_width)
        if len(poses) and (width or height) and 0 not in poses[0].size_px:
            across, down = poses[0].size_px
            width, height = (
                width or max(1, round(height * across / down)),
                height or max(1, round(width * down / across)),
            )
        size = (width, height) if width and height else None
        painter = FigurePainter(look=PALETTES[style], parts=parts, size_px=size)
        return (_tensor(pose_images(poses, painter, progress=_progress(len(poses)))),)


class Retarget:
    """One person's movement in the proportions of the largest person in the first of the reference images."""

    CATEGORY, FUNCTION = CATEGORY, "retarget"
    RETURN_TYPES = ("STREAMPOSE_CLIP", "STREAMPOSE_CLIP", "STRING")
    RETURN_NAMES = ("poses", "reference", "words")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {
                "model": ("STREAMPOSE_MODEL",),
                "poses": ("STREAMPOSE_CLIP",),
                "reference": ("IMAGE",),
                "align": (["reference", "driving"],),
                "anchor": (["auto", "neck", "hip", "ground"],),
                "scale": (["auto", "height", "torso", "shoulders"],),
            }
        }

    def retarget(
        self, *, model: Any, poses: Clip, reference: Any, align: Any, anchor: Any, scale: Any
    ) -> tuple[Clip, Clip, str]:
        found = find_poses(reference[:1], model, track=False)[0]
        still = found.having(largest(found.poses))
        options = Retargeting(align=align, anchor=anchor, scale=scale)
        moved = retargeted(lambda: iter(poses), still.poses, still.size_px, options)
        return Clip(tuple(moved)), Clip((still,)), words(still.poses)


NODE_CLASS_MAPPINGS = {
    "StreamposeModel": LoadModel,
    "StreamposeFind": FindPoses,
    "StreamposeDraw": DrawPoses,
    "StreamposeRetarget": Retarget,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "StreamposeModel": "Pose model (streampose)",
    "StreamposeFind": "Find poses (streampose)",
    "StreamposeDraw": "Draw poses (streampose)",
    "StreamposeRetarget": "Retarget poses (streampose)",
}
