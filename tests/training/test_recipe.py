"""The recipe from photos to models that the package loads, on drawn figures and a few steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install '.[train]'")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript: pip install '.[train]'")

from streampose.inference.loading import ModelChoice, load_estimator  # noqa: E402
from streampose.sources import SyntheticSource  # noqa: E402
from training.nano import __main__ as nano  # noqa: E402
from training.nano.album import Album  # noqa: E402
from training.nano.opening import open_size  # noqa: E402
from training.nano.pose_task import PoseTask  # noqa: E402
from training.nano.trainer import Plan, load_network, train  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of PyTorch's exporter and of the quantiser


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["nano", *map(str, arguments)])
    nano.main()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with labels: drawn figures, under a name of their own so that some are held out."""
    work = tmp_path_factory.mktemp("nano")
    (work / "labels").mkdir()
    nano.draw_figures(work / "photos", work / "labels" / "photos.jsonl", 60)
    return work


def task(work: Path) -> PoseTask:
    labels = [work / "labels" / "photos.jsonl"]
    return PoseTask(Album(labels, [1.0], held_out=False), Album(labels, [1.0], held_out=True), (48, 64))


def test_training_learns_and_goes_on_where_it_stopped(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "pose.pt"
    plan = Plan(steps=16, batch=16, every=8, loaders=0)
    assert plan.rate_at(0) == plan.rate
    assert plan.rate_at(15) < 0.1 * plan.rate
    train(task(work), plan, file)
    losses = [float(line.split("loss ")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert losses[1] < losses[0]
    network = train(task(work), Plan(steps=20, batch=16, every=8, loaders=0), file)
    out = capsys.readouterr().out
    assert "going on from step 16" in out
    assert "step 20/20" in out
    for one, two in zip(network.parameters(), load_network(task(work), file).parameters(), strict=True):
        assert torch.equal(one, two)
    # The other network takes over what fits.
    train(task(work), Plan(steps=1, batch=4, every=1, loaders=0), tmp_path / "other.pt", start=file)
    assert "tensors taken over" in capsys.readouterr().out


def test_the_nano_that_ships_is_a_beginning(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    (tmp_path / "labels").symlink_to(work / "labels")
    monkeypatch.setattr(nano, "RECIPE", tuple(nano.Stage(s.name, s.pose, s.size, 1, 8, 1e-5) for s in nano.RECIPE[::2]))
    call(monkeypatch, "--work", tmp_path, "train", "--tune", "--loaders", 0, "--device", "cpu")
    lines = capsys.readouterr().out.splitlines()
    rights = [float(line.split("held out ")[1].split()[0]) for line in lines if "held out" in line]
    # The figures are of a kind that it has learned from: from nothing, one step would give next to nothing right.
    assert len(rights) == 2
    assert min(rights) > 0.3


def test_from_labels_to_models_that_load(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    small = tuple(
        nano.Stage(s.name, s.pose, (48, 64) if s.pose else (64, 64), 2, 8, 1e-3, start=s.start) for s in nano.RECIPE
    )
    monkeypatch.setattr(nano, "RECIPE", small)
    call(monkeypatch, "--work", work, "train", "--loaders", 0, "--device", "cpu")
    call(monkeypatch, "--work", work, "export")
    out = capsys.readouterr().out
    files = {name: work / f"nano-{name}.onnx" for name in ("detector", "keypoints")}
    for file in files.values():
        int8 = file.with_stem(f"{file.stem}-int8")
        assert int8.stat().st_size < 4_000_000
        assert any(node.op_type == "QuantizeLinear" for node in onnx.load(int8).graph.node)
        # What ships is the one that the export says has won, the detector with its size left open.
        winner = "int8" if f"{file.name} is the int8 one" in out else "float32"
        expected = tmp_path / file.name
        expected.write_bytes(file.with_stem(f"{file.stem}-{winner}").read_bytes())
        if "detector" in file.name:
            open_size(expected)
        assert file.read_bytes() == expected.read_bytes()
        measured = [line.rpartition("held out ")[2] for line in out.splitlines() if f"{file.stem}-" in line]
        assert len(measured) == 2
    picture = SyntheticSource(live=False, width_px=320, height_px=240).render(0)
    for suffix in ("", "-float32"):
        chosen = {name: work / f"nano-{name}{suffix}.onnx" for name in files}
        estimator = load_estimator(ModelChoice(detector=chosen["detector"], pose=chosen["keypoints"]))
        one, two = estimator([picture, np.zeros((64, 64, 3), np.uint8)])
        assert one.points.shape[1:] == two.points.shape[1:] == (17, 2)
        estimator.close()


def test_a_stage_that_comes_before_is_named(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "labels").symlink_to(work / "labels")
    with pytest.raises(SystemExit, match=r"^error: .*pose-small.pt is missing: run `train --only pose-small` first"):
        call(monkeypatch, "--work", tmp_path, "train", "--only", "pose", "--device", "cpu")


def test_a_loss_that_is_no_number_does_not_reach_the_checkpoint(work: Path, tmp_path: Path):
    broken = task(work)
    broken.loss = lambda network, batch: sum(p.sum() for p in network.parameters()) * float("nan")  # type: ignore[method-assign]
    with pytest.raises(ArithmeticError, match="a lower rate"):
        train(broken, Plan(steps=2, batch=4, every=1, loaders=0), tmp_path / "pose.pt")
    assert not (tmp_path / "pose.pt").exists()


def test_int8_ships_if_it_is_faster_and_was_judged():
    assert nano._int8_wins(9, [2.0, 1.0], [0.9, 0.895])
    assert not nano._int8_wins(9, [1.0, 2.0], [0.9, 0.9])
    assert not nano._int8_wins(9, [2.0, 1.0], [0.9, 0.8])
    assert not nano._int8_wins(0, [2.0, 1.0], [0.0, 0.0])


def test_without_pytorch_it_says_what_to_install():
    code = "import sys, runpy; sys.modules['torch'] = None; runpy.run_module('training.nano', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: torch is missing: pip install '.[train]'\n"


def test_without_labels_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match="run the step `label` first"):
        call(monkeypatch, "--work", tmp_path, "train")
