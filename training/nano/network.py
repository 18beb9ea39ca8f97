"""The two networks: plain residual convolutions, which every CPU runs fast and an int8 runtime faster."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

__all__ = ["STRIDES", "BoxNet", "PoseNet"]

WIDTHS = (24, 48, 96, 192)
STRIDES = (8, 16, 32)


class Conv(nn.Sequential):
    """Convolution, batch norm and, if asked, ReLU."""

    def __init__(self, inside: int, out: int, kernel: int = 3, stride: int = 1, *, relu: bool = True) -> None:
        conv = nn.Conv2d(inside, out, kernel, stride, kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out), *([nn.ReLU(inplace=True)] if relu else []))


class Block(nn.Module):
    """A basic residual block (He et al., CVPR 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Conv(width, width), Conv(width, width, relu=False)
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return F.relu(x + self.second(self.first(x)))


class Backbone(nn.Module):
    """Features at strides 4, 8, 16 and 32.

    Args:
        depths: how many blocks each stride has.
    """

    def __init__(self, depths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 16, stride=2), Conv(16, WIDTHS[0], stride=2))
        stages, before = [], WIDTHS[0]
        for place, (width, depth) in enumerate(zip(WIDTHS, depths, strict=True)):
            down = [Conv(before, width, stride=2)] if place else []
            stages.append(nn.Sequential(*down, *[Block(width) for _ in range(depth)]))
            before = width
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(b, 3, H, W) → four maps, the finest first."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class Neck(nn.Module):
    """Coarse features brought to the finer ones (Lin et al., CVPR 2017: FPN)."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.ModuleList([Conv(WIDTHS[3], WIDTHS[2], 1), Conv(WIDTHS[2], WIDTHS[1], 1)])
        self.blocks = nn.ModuleList([Block(WIDTHS[2]), Block(WIDTHS[1])])

    def forward(self, eighth: Tensor, sixteenth: Tensor, thirtysecond: Tensor) -> tuple[Tensor, Tensor]:
        """The maps at strides 8 and 16."""
        middle = self.blocks[0](sixteenth + _twice(self.narrow[0](thirtysecond), sixteenth))
        return self.blocks[1](eighth + _twice(self.narrow[1](middle), eighth)), middle


def _twice(x: Tensor, like: Tensor) -> Tensor:
    """Twice the size; a row or column less where the finer map has an odd number."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")[..., : like.shape[2], : like.shape[3]]


class PoseNet(nn.Module):
    """Crop of one person → 17 heatmaps at stride 4, as logits."""

    def __init__(self, points: int = 17) -> None:
        super().__init__()
        self.backbone, self.neck = Backbone((1, 2, 3, 2)), Neck()
        self.out = nn.Conv2d(WIDTHS[1], 4 * points, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.constant_(self.out.bias, -4.0)

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, H, W) → (b, points, H/4, W/4)."""
        _, *maps = self.backbone(x)
        fine, _ = self.neck(*maps)
        return F.pixel_shuffle(self.out(fine), 2)


class BoxNet(nn.Module):
    """Picture → for each cell of three grids how surely it is a person's, and the person's box; no anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.neck = Backbone((0, 1, 2, 1)), Neck()
        self.heads = nn.ModuleList([Conv(w, w) for w in WIDTHS[1:3]] + [Conv(WIDTHS[3], WIDTHS[2])])
        self.score = nn.ModuleList([nn.Conv2d(w, 1, 1) for w in (*WIDTHS[1:3], WIDTHS[2])])
        self.edges = nn.ModuleList([nn.Conv2d(w, 4, 1) for w in (*WIDTHS[1:3], WIDTHS[2])])
        for score, edges in zip(self.score, self.edges, strict=True):
            nn.init.normal_(score.weight, std=0.01)
            nn.init.constant_(score.bias, -4.6)
            nn.init.normal_(edges.weight, std=0.01)
            nn.init.constant_(edges.bias, 1.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 3, H, W) → logits (b, n) and distances to the left, top, right and bottom edge (b, n, 4) in pixels."""
        _, eighth, sixteenth, thirtysecond = self.backbone(x)
        fine, middle = self.neck(eighth, sixteenth, thirtysecond)
        logits, edges = [], []
        for stride, feature, head, score, edge in zip(
            STRIDES, (fine, middle, thirtysecond), self.heads, self.score, self.edges, strict=True
        ):
            found = head(feature)
            logits.append(score(found).flatten(1))
            edges.append(F.softplus(edge(found)).flatten(2).transpose(1, 2) * stride)
        return torch.cat(logits, 1), torch.cat(edges, 1)


def centres(height: int, width: int) -> Tensor:
    """(n, 3): x, y and stride of each cell of `BoxNet`'s grids, in its order."""
    grids = []
    for stride in STRIDES:
        rows, columns = -(-height // stride), -(-width // stride)
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        cells = torch.stack([x.flatten(), y.flatten()], 1).float()
        grids.append(torch.cat([(cells + 0.5) * stride, torch.full((len(cells), 1), float(stride))], 1))
    return torch.cat(grids)
