"""Examples that are still true after all that was done to them, and losses that want what they should."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install '.[train]'")

from training.nano.album import Album, body_mask  # noqa: E402
from training.nano.box_task import MOST, BoxTask, assign, giou  # noqa: E402
from training.nano.figures import draw_figures  # noqa: E402
from training.nano.network import BoxNet, PoseNet, centres  # noqa: E402
from training.nano.photos import Person, Photo, write_labels  # noqa: E402
from training.nano.pose_task import PoseTask, heatmaps, normal  # noqa: E402
from training.nano.precision import average_precision, best_threshold  # noqa: E402
from training.nano.trainer import Plan, train  # noqa: E402


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    draw_figures(folder / "pictures", folder / "figures.jsonl", 12)
    return folder / "figures.jsonl"


@pytest.fixture
def dots(tmp_path: Path) -> Path:
    """A person whose joints are white dots on black, and who is a green box's worth of picture."""
    rng = np.random.default_rng(1)
    points = np.column_stack([rng.uniform(70, 250, 17), rng.uniform(50, 190, 17), np.ones(17)]).astype(np.float32)
    points = np.round(points)
    image = np.zeros((240, 320, 3), np.uint8)
    cv2.rectangle(image, (60, 40), (259, 199), (0, 60, 0), -1)
    for x, y, _ in points:
        cv2.circle(image, (int(x), int(y)), 3, (255, 255, 255), -1)
    cv2.imwrite(str(tmp_path / "dots.png"), image)
    person = Person(box=np.array([60, 40, 260, 200], np.float32), points=points, by_hand=True)
    photo = Photo(path=tmp_path / "dots.png", width=320, height=240, people=[person], complete=True)
    write_labels(tmp_path / "dots.jsonl", [photo])
    return tmp_path / "dots.jsonl"


def test_key_points_stay_on_their_dots_through_every_turn(dots: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("training.nano.pose_task.lit", lambda image, rng: image)
    monkeypatch.setattr("training.nano.pose_task.degraded", lambda image, rng: image)
    monkeypatch.setattr(PoseTask, "_hide", lambda self, crop, rng: None)
    monkeypatch.setattr("training.nano.pose_task.body_mask", lambda points, shape: None)
    album = Album([dots], [1.0], held_out=False)
    task = PoseTask(album, album, (96, 128))
    on = asked = 0
    batches = task.batches(16, seed=0)
    for _ in range(4):
        images, points = next(batches)
        assert images.shape == (16, 128, 96, 3)
        for image, crop in zip(images.numpy(), points.numpy(), strict=True):
            for x, y, level in crop:
                column, row = round(float(x) * 96), round(float(y) * 128)
                if level > 0.5 and 1 <= column < 95 and 1 <= row < 127:
                    asked += 1
                    on += image[row, column].min() > 100
    assert asked > 400
    assert on / asked > 0.97


def apart(image: np.ndarray, points: np.ndarray, reach: int) -> np.ndarray:
    """From each point to the middle of the blob around it, the mean of all."""
    found = []
    for column, row in np.round(points).astype(int):
        y, x = np.mgrid[row - reach : row + reach + 1, column - reach : column + reach + 1]
        found.append(np.average(np.stack([x, y]), axis=(1, 2), weights=image[y, x, 0].astype(float)))
    return np.mean(np.array(found) - points, axis=0)


def test_blobs_are_where_their_points_say_after_shrinking(tmp_path: Path):
    points = np.array([[x, y, 1] for y in (200, 400, 600, 800) for x in (300, 500, 700, 900)], np.float32)
    points = np.concatenate([points, [[600, 500, 1]]]).astype(np.float32)
    y, x = np.mgrid[:1000, :1200].astype(np.float32)
    image = sum(255 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 12**2)) for px, py, _ in points)
    cv2.imwrite(str(tmp_path / "blobs.png"), np.repeat(image[..., None].clip(0, 255), 3, 2).astype(np.uint8))
    person = Person(box=np.array([100, 50, 1100, 950], np.float32), points=points, by_hand=True)
    write_labels(tmp_path / "blobs.jsonl", [Photo(tmp_path / "blobs.png", 1200, 1000, [person], complete=True)])
    album = Album([tmp_path / "blobs.jsonl"], [1.0], held_out=False)
    task = PoseTask(album, album, (96, 128))
    page = album.pages[0]
    person = page.photo.people[0]
    assert person.points is not None
    # In memory, and in the crop.
    assert np.abs(apart(page.image, person.points[:16, :2], 20)).max() < 0.05
    crop = task._plain(page, person)
    assert np.abs(apart(crop.image, crop.points[:16, :2] * (96, 128), 5)).max() < 0.05


def test_backgrounds_are_of_photos_with_nobody(dots: Path, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((20, 30, 3), 7, np.uint8))
    write_labels(tmp_path / "empty.jsonl", [Photo(path=tmp_path / "empty.png", width=30, height=20)])
    rng = np.random.default_rng(0)
    album = Album([dots, tmp_path / "empty.jsonl"], [1.0, 1.0], held_out=False)
    assert {album.background(rng).shape for _ in range(9)} == {(20, 30, 3)}
    assert Album([dots], [1.0], held_out=False).background(rng).shape == (240, 320, 3)


def test_nobody_to_learn_from_says_so(dots: Path, tmp_path: Path):
    (tmp_path / "nobody.jsonl").write_text("")
    nobody, album = (Album([file], [1.0], held_out=False) for file in (tmp_path / "nobody.jsonl", dots))
    with pytest.raises(ValueError, match="nobody is large enough"):
        PoseTask(nobody, album, (48, 64))
    with pytest.raises(ValueError, match="no photos"):
        BoxTask(nobody, album, 64)
    assert PoseTask(album, nobody, (48, 64)).checked == BoxTask(album, nobody, 64).checked == 0


def test_a_map_is_highest_where_the_estimator_reads_the_point():
    points = torch.tensor([[[0.5, 0.25, 1.0], [0.5, 0.25, 0.4], [0.1, 0.1, float("nan")], [-0.5, 0.5, 1.0]]])
    target, asked = heatmaps(points, 24, 32)
    assert asked.tolist() == [[1, 1, 0, 1]]
    # Cell i is pixel 4i: the middle of 96 pixels is cell 12.
    assert divmod(int(target[0, 0].argmax()), 24) == (8, 12)
    assert target[0, 0].max() == pytest.approx(0.995)
    assert target[0, 1].max() == pytest.approx(0.4)
    assert target[0, 2:].max() < 1e-6  # not asked, and outside of the picture


def test_the_pose_loss_is_nothing_when_the_maps_are_right():
    class Right(torch.nn.Module):
        def forward(self, _):
            return torch.logit(heatmaps(points, 24, 32)[0].clamp(1e-6))

    points = torch.rand(2, 17, 3)
    points[0, 0, 2] = float("nan")
    batch = (torch.zeros(2, 128, 96, 3, dtype=torch.uint8), points)
    task = PoseTask.__new__(PoseTask)
    assert task.loss(Right(), batch).item() < 1e-3
    assert task.loss(PoseNet(), batch).item() > 1


def test_mosaics_have_their_boxes_where_the_people_are(dots: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("training.nano.box_task.lit", lambda image, rng: image)
    monkeypatch.setattr("training.nano.box_task.degraded", lambda image, rng: image)
    monkeypatch.setattr(BoxTask, "_add_body", lambda self, canvas, rows, rng: None)
    album = Album([dots], [1.0], held_out=False)
    task = BoxTask(album, album, 128)
    images, rows = next(task.batches(16, seed=0))
    assert rows.shape == (16, MOST, 5)
    for image, people in zip(images.numpy(), rows.numpy(), strict=True):
        cover = np.zeros((128, 128), bool)
        for x1, y1, x2, y2, weight in people[people[:, 4] != 0]:
            assert weight in {1, -1}
            cover[max(0, round(y1)) : round(y2), max(0, round(x1)) : round(x2)] = True
        green = image[..., 1].astype(int) - image[..., 0]
        inside = (green > 40) | (image.min(axis=2) > 180)
        # Edges are blended, and people who are cut to a sliver are left out.
        assert (inside & ~cover).sum() < 0.03 * 128 * 128
        assert (cover & ~inside).sum() < 0.03 * 128 * 128


def test_a_right_answer_is_taught_as_right():
    cells = centres(64, 64)
    people = torch.zeros(1, MOST, 5)
    people[0, 0] = torch.tensor([8.0, 8, 40, 56, 1])
    people[0, 1] = torch.tensor([44.0, 0, 64, 64, -1])
    boxes = people[:, :1, :4].expand(-1, len(cells), -1)
    quality, target, asked = assign(cells, torch.full((1, len(cells)), 0.5), boxes, people)
    taught = quality[0] > 0
    assert 1 <= taught.sum() <= 84
    assert quality[0, taught].min() == pytest.approx(1, abs=1e-3)
    assert (target[0, taught] == people[0, 0, :4]).all()
    inside = (cells[taught, :2] > people[0, 0, :2]).all() and (cells[taught, :2] < people[0, 0, 2:4]).all()
    assert inside
    ignored = (cells[:, 0] > 44) & ~taught
    assert (asked[0, ignored] == 0).all()
    assert (asked[0, ~ignored] == 1).all()


def test_nobody_teaches_nothing():
    cells = centres(64, 64)
    quality, _, asked = assign(
        cells, torch.rand(2, len(cells)), torch.rand(2, len(cells), 4) * 64, torch.zeros(2, MOST, 5)
    )
    assert quality.sum() == 0
    assert asked.min() == 1


def test_everything_stays_on_the_device_of_its_input():
    assert normal(torch.zeros(2, 16, 12, 3, dtype=torch.uint8, device="meta")).device.type == "meta"
    found = heatmaps(torch.zeros(2, 17, 3, device="meta"), 24, 32)
    assert [t.device.type for t in found] == ["meta", "meta"]
    cells = centres(64, 64).to("meta")
    n = len(cells)
    rows = torch.zeros(2, MOST, 5, device="meta")
    found = assign(cells, torch.zeros(2, n, device="meta"), torch.zeros(2, n, 4, device="meta"), rows)
    assert [t.device.type for t in found] == ["meta"] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("pose", [True, False])
def test_a_step_on_the_gpu(figures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], pose: bool):
    album = Album([figures], [1.0], held_out=False)
    task = PoseTask(album, album, (48, 64)) if pose else BoxTask(album, album, 64)
    train(task, Plan(steps=2, batch=4, every=1, loaders=0, device="cuda"), tmp_path / "stage.pt")
    assert "step 2/2" in capsys.readouterr().out


def test_giou():
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    b = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    np.testing.assert_allclose(giou(a, b).numpy(), [1, -1 / 3], atol=1e-5)


def test_networks_have_their_shapes():
    assert PoseNet()(torch.zeros(2, 3, 192, 144)).shape == (2, 17, 48, 36)
    logits, edges = BoxNet()(torch.zeros(1, 3, 64, 96))
    assert logits.shape == (1, len(centres(64, 96)))
    assert edges.shape == (1, len(centres(64, 96)), 4)
    assert edges.min() > 0


def test_average_precision(figures: Path):
    album = Album([figures], [1.0], held_out=False)
    truth = [np.array([p.box for p in page.photo.people], np.float32).reshape(-1, 4) for page in album.pages]
    sure = [(boxes, np.full(len(boxes), 0.9, np.float32)) for boxes in truth]
    assert average_precision(album, sure) == pytest.approx(1)
    assert average_precision(album, [(b[:0], s[:0]) for b, s in sure]) == 0
    wrong = [(np.concatenate([b + 1000, b]), np.concatenate([s, s / 2])) for b, s in sure]
    assert average_precision(album, wrong) < 0.7
    mixed = [(np.concatenate([b, b + 1000]), np.concatenate([s, s / 2])) for b, s in sure]
    assert best_threshold(album, mixed) == pytest.approx((0.9, 1))
    assert best_threshold(album, [(b + 1000, s) for b, s in sure]) is None


def test_boxes_of_one_score_have_no_order(figures: Path):
    album = Album([figures], [1.0], held_out=False)
    truth = [np.array([p.box for p in page.photo.people], np.float32).reshape(-1, 4) for page in album.pages]
    tied = [(np.concatenate([b, *[b + 1000] * 9]), np.full(10 * len(b), 0.5, np.float32)) for b in truth]
    assert average_precision(album, tied) == pytest.approx(0.1)
    assert best_threshold(album, tied) == pytest.approx((0.5, 2 / 11))


def test_a_body_is_covered_and_the_room_is_not(figures: Path):
    album = Album([figures], [1.0], held_out=False)
    masks = 0
    for page in album.pages:
        for person in page.photo.people:
            assert person.points is not None
            mask = body_mask(np.nan_to_num(person.points), page.image.shape[:2])
            if mask is None:
                continue
            masks += 1
            x1, y1, x2, y2 = person.box
            assert mask.shape == (*page.image.shape[:2], 1)
            assert 0.1 < mask.sum() / ((x2 - x1) * (y2 - y1)) < 1.2
    assert masks >= 5
