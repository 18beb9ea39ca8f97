"""Train streampose-nano, or a nano of your own photos.

    python -m training.nano label FOLDER... --detector FILE[:SIDE] ... --pose FILE
    python -m training.nano figures
    python -m training.nano train
    python -m training.nano export

Each step reads and writes under --work and can be stopped and started again: what is done is not done twice, and a
training goes on from its last checkpoint. See docs/training.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2

try:
    import onnxscript  # noqa: F401 - the exporter needs it
    import torch
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error.name} is missing: pip install '.[train]'") from None

from streampose import StreamposeError
from streampose.inference.zoo import built_in
from training.nano.album import Album
from training.nano.box_task import BoxTask
from training.nano.export import Exported, export_boxes, export_pose, interleaved_ms, quantise
from training.nano.figures import draw_figures
from training.nano.label import label
from training.nano.opening import open_size
from training.nano.pose_task import PoseTask, normal
from training.nano.restore import restore
from training.nano.trainer import Plan, Task, load_network, train


@dataclass(frozen=True, slots=True)
class Stage:
    """One training run; small pictures first, since they teach most for the time they take."""

    name: str
    pose: bool
    size: tuple[int, int]
    """Width and height of the network's input."""
    steps: int
    batch: int
    rate: float
    strength: float = 1.0
    """Of what is done to the examples."""
    start: str | None = None
    """The stage whose weights it begins with."""


RECIPE = (
    Stage("pose-small", True, (96, 128), 11_000, 64, 2e-3),
    Stage("pose", True, (144, 192), 1_900, 64, 1e-3, 0.6, "pose-small"),
    Stage("boxes-small", False, (224, 224), 3_000, 32, 2e-3, start="pose-small"),
    Stage("boxes", False, (320, 320), 700, 32, 1e-3, start="boxes-small"),
)
FINAL = ("pose", "boxes")
"""What is exported; the stages before them may begin with the nano that ships."""
MOST_LOST = 0.01
"""Of the held-out measure, for int8 to be kept."""
# A photo of COCO's kind is looked at as often as this many of athletes: there are few, and they are what users have.
RARE, OFTEN = 12.0, 1000


def main() -> None:
    """Read the command line, do the step; what goes wrong is one line."""
    try:
        _run()
    except (StreamposeError, ArithmeticError, ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


def _run() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.nano", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("nano"), help="folder for labels, checkpoints and models")
    steps = parser.add_subparsers(dest="step", required=True)
    one = steps.add_parser("label", help="let teachers label photos")
    one.add_argument("folders", nargs="+", type=Path)
    one.add_argument("--detector", action="append", required=True, metavar="FILE[:SIDE]", help="may be repeated")
    one.add_argument("--pose", type=Path, required=True, help="key-point model, COCO-17")
    one.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    two = steps.add_parser("figures", help="draw people with exact labels")
    two.add_argument("--count", type=int, default=1400)
    three = steps.add_parser("train", help="run the recipe")
    three.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    three.add_argument("--only", choices=[stage.name for stage in RECIPE], help="one stage")
    three.add_argument("--longer", type=float, default=1.0, help="times as many steps, for those who have a GPU")
    three.add_argument("--tune", action="store_true", help="go on from the nano that ships, not from nothing")
    three.add_argument("--loaders", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    steps.add_parser("export", help="write the ONNX files")
    arguments = parser.parse_args()
    work: Path = arguments.work
    if arguments.step == "label":
        detectors = [_detector(text) for text in arguments.detector]
        label(arguments.folders, detectors, arguments.pose, work / "labels", arguments.processes)
    elif arguments.step == "figures":
        draw_figures(work / "figures", work / "labels" / "figures.jsonl", arguments.count)
    elif arguments.step == "train":
        for stage in RECIPE:
            if arguments.only in {None, stage.name}:
                plan = Plan(
                    steps=round(stage.steps * arguments.longer), batch=stage.batch, rate=stage.rate,
                    device=arguments.device, loaders=arguments.loaders,
                )  # fmt: skip
                own, start = _checkpoint(work, stage.name), None
                task = _task(stage, work)
                if arguments.tune and stage.name not in FINAL:
                    start = _shipped(stage, task, work)
                elif stage.start is not None and not own.exists():
                    start = _trained(work, stage.start)
                print(f"stage {stage.name}: {plan.steps} steps of {plan.batch}", flush=True)
                train(task, plan, own, start=start)
    else:
        _export(work)


def _detector(text: str) -> tuple[Path, int | None]:
    file, _, side = text.rpartition(":")
    return (Path(file), int(side)) if file and side.isdigit() else (Path(text), None)


def _checkpoint(work: Path, stage: str) -> Path:
    return work / f"{stage}.pt"


def _trained(work: Path, stage: str) -> Path:
    file = _checkpoint(work, stage)
    if not file.exists():
        raise ValueError(f"{file} is missing: run `train --only {stage}` first")
    return file


def _shipped(stage: Stage, task: Task, work: Path) -> Path:
    """The weights of the nano that ships, as a checkpoint to begin with."""
    network, file = task.network(), work / f"{stage.name}-shipped.pt"
    pictures = normal(next(task.batches(64, seed=0))[0])
    restore(network, built_in("keypoints" if stage.pose else "detector"), pictures)
    torch.save({"average": network.state_dict()}, file)
    return file


def _task(stage: Stage, work: Path) -> Task:
    cv2.setNumThreads(1)
    labels = sorted((work / "labels").glob("*.jsonl"))
    if not labels:
        raise ValueError(f"{work / 'labels'} has no labels: run the step `label` first")
    sizes = [sum(1 for _ in file.open()) for file in labels]
    rare = [size < OFTEN and file.stem != "figures" for file, size in zip(labels, sizes, strict=True)]
    weights = [RARE if few else 1.0 for few in rare]
    photos = [file for file in labels if file.stem != "figures"]
    album = Album(labels, weights, held_out=False)
    check = Album(photos, [1.0] * len(photos), held_out=True)
    print(f"{len(album.pages)} photos to learn from, {len(check.pages)} to check with", flush=True)
    return PoseTask(album, check, stage.size, stage.strength) if stage.pose else BoxTask(album, check, stage.size[0])


def _int8_wins(checked: int, times: list[float], rights: list[float]) -> bool:
    """Of float and int8; what nobody was held out to judge does not ship."""
    return checked > 0 and times[1] < times[0] and rights[1] > rights[0] - MOST_LOST


def _export(work: Path) -> None:
    """The float model, the int8 one, and of the two the one that wins under the name that is shipped."""
    for stage in RECIPE:
        if stage.name not in FINAL:
            continue
        task = _task(stage, work)
        network = load_network(task, _trained(work, stage.name))
        name = "keypoints" if stage.pose else "detector"
        plain, small = work / f"nano-{name}-float32.onnx", work / f"nano-{name}-int8.onnx"
        if stage.pose:
            export_pose(network, stage.size, plain)
        else:
            export_boxes(network, stage.size[0], plain)
        quantise(plain, small, task.batches(32, seed=1))
        models = [Exported(plain), Exported(small)]
        times = interleaved_ms(models, torch.zeros(1, 3, *reversed(stage.size)))
        rights = [task.measure(model) for model in models]
        for file, time_ms, right in zip((plain, small), times, rights, strict=True):
            print(f"{file} {file.stat().st_size:,} bytes, {time_ms:.2f} ms on one thread, held out {right:.4f}")
        wins = _int8_wins(task.checked, times, rights)
        if not task.checked:
            print(f"nano-{name}: nothing was held out: int8 not judged", flush=True)
        shutil.copyfile(small if wins else plain, work / f"nano-{name}.onnx")
        if not stage.pose:
            open_size(work / f"nano-{name}.onnx")
        print(f"nano-{name}.onnx is the {'int8' if wins else 'float'} one", flush=True)
        if isinstance(task, BoxTask) and (best := task.threshold(models[wins])) is not None:
            print(f"nano-{name}.onnx: on what was held out the best F1, {best[1]:.2f}, is at a score of {best[0]:.2f}")


if __name__ == "__main__":
    main()
