"""The loop: AdamW, warm-up and cosine, an average of the weights, checkpoints that resume."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

__all__ = ["Plan", "Task", "load_network", "train"]


class Task(Protocol):
    """What is learned."""

    checked: int
    """People that `measure` looks for."""

    def network(self) -> nn.Module:
        """A new network."""

    def batches(self, batch: int, seed: int) -> Iterator[tuple[Tensor, ...]]:
        """Examples, without end."""

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """To be made small."""

    def measure(self, network: nn.Module) -> float:
        """How good it is on photos that were held out; more is better."""


class Plan:
    """How long and how fast.

    Args:
        steps: in all.
        batch: examples a step.
        rate: the highest learning rate.
        device: of torch.
        loaders: processes that make examples.
        every: steps between checkpoints.
    """

    def __init__(
        self,
        *,
        steps: int,
        batch: int = 64,
        rate: float = 2e-3,
        device: str = "cpu",
        loaders: int = 1,
        every: int = 500,
    ) -> None:
        self.steps, self.batch, self.rate = steps, batch, rate
        self.device, self.loaders, self.every = torch.device(device), loaders, every

    def rate_at(self, step: int) -> float:
        """Half a cosine after a warm-up (Loshchilov and Hutter, ICLR 2017)."""
        warm = min(300, self.steps // 10)
        if step < warm:
            return self.rate * (step + 1) / warm
        return self.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / (self.steps - warm))))


class _Stream(IterableDataset):
    """Each loader process makes examples of its own."""

    def __init__(self, task: Task, batch: int, seed: int) -> None:
        self._task, self._batch, self._seed = task, batch, seed

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        worker = torch.utils.data.get_worker_info()
        if worker is not None:
            torch.set_num_threads(1)
        return self._task.batches(self._batch, self._seed * 1000 + (worker.id if worker else 0))


def train(task: Task, plan: Plan, file: Path, *, start: Path | None = None) -> nn.Module:
    """Train, or go on where `file` stopped.

    Args:
        file: the checkpoint.
        start: weights to begin with, of this or the other network: what fits is taken.

    Returns:
        The averaged network (Polyak and Juditsky, 1992).

    Raises:
        ArithmeticError: the loss or the weights are no numbers any more; the checkpoint is the one before.
    """
    torch.manual_seed(0)
    network = task.network()
    if start is not None and not file.exists():
        _take(network, torch.load(start, weights_only=True)["average"])
    network = network.to(plan.device, memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval()
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=plan.rate)
    step = 0
    if file.exists():
        kept = torch.load(file, weights_only=True, map_location=plan.device)
        network.load_state_dict(kept["network"])
        average.load_state_dict(kept["average"])
        optimiser.load_state_dict(kept["optimiser"])
        step = kept["step"]
        print(f"{file}: going on from step {step}", flush=True)
    stream = _Stream(task, plan.batch, seed=step + 1)
    loader = DataLoader(stream, batch_size=None, num_workers=plan.loaders, prefetch_factor=6 if plan.loaders else None)
    began, first, losses = time.monotonic(), step, []
    for batch in loader:
        if step >= plan.steps:
            break
        for group in optimiser.param_groups:
            group["lr"] = plan.rate_at(step)
        network.train()
        with torch.autocast(plan.device.type, torch.bfloat16):
            loss = task.loss(network, tuple(t.to(plan.device) for t in batch))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        step += 1
        _follow(average, network, min(0.998, (1 + step) / (20 + step)))
        losses.append(loss.detach())
        if step % plan.every == 0 or step == plan.steps:
            mean = torch.stack(losses).mean().item()
            losses.clear()
            if not math.isfinite(mean) or not _is_finite(network):
                raise ArithmeticError(f"step {step}: astray, loss {mean}: a lower rate than {plan.rate} is needed")
            _keep(file, {"network": network, "average": average, "optimiser": optimiser}, step)
            speed = (step - first) * plan.batch / (time.monotonic() - began)
            with torch.autocast(plan.device.type, torch.bfloat16):
                good = task.measure(average)
            print(f"step {step}/{plan.steps} loss {mean:.4f} held out {good:.4f} {speed:.0f}/s", flush=True)
    return average


def _is_finite(network: nn.Module) -> bool:
    return all(bool(p.isfinite().all()) for p in network.parameters())


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _keep(file: Path, parts: dict[str, Any], step: int) -> None:
    """Whole or not at all: a training that is stopped while writing goes on from the one before."""
    part = file.with_suffix(".part")
    torch.save({name: p.state_dict() for name, p in parts.items()} | {"step": step}, part)
    part.replace(file)


def _take(network: nn.Module, weights: dict[str, Tensor]) -> None:
    own = network.state_dict()
    fits = {name: w for name, w in weights.items() if name in own and own[name].shape == w.shape}
    network.load_state_dict(own | fits)
    print(f"{len(fits)} of {len(own)} tensors taken over", flush=True)


def load_network(task: Task, file: Path) -> nn.Module:
    """The averaged network of a checkpoint."""
    network = task.network()
    network.load_state_dict(torch.load(file, weights_only=True, map_location="cpu")["average"])
    return network.eval()
