"""From an exported ONNX file back to a network that can learn on: to fit the nano that ships to photos of yours."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from training.nano.network import Conv

__all__ = ["restore"]


def restore(network: nn.Module, file: Path, pictures: Tensor) -> None:
    """Give `network` the weights of `file`, float or int8, so that it computes the same.

    The export has folded batch norm into the convolutions. It is unfolded with the statistics that each convolution's
    output has on `pictures`, so that training goes on from there.

    Args:
        network: as new; afterwards in evaluation mode.
        file: from `training.nano export`.
        pictures: (b, 3, H, W), as the network takes them; a few dozen examples.

    Raises:
        KeyError: the file is of another network.
    """
    tensors = _tensors(file)
    convolutions = {name: module for name, module in network.named_modules() if isinstance(module, Conv)}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not any(name.startswith(f"{conv}.") for conv in convolutions):
                parameter.copy_(tensors[f"network.{name}"])
        for name, module in convolutions.items():
            weight = f"network.{name}.0.weight"
            module[0].weight.copy_(tensors[weight])
            norm = module[1]
            nn.init.ones_(norm.weight)
            norm.bias.copy_(tensors[f"{weight}_bias"])
            nn.init.zeros_(norm.running_mean)
            nn.init.constant_(norm.running_var, 1 - norm.eps)
        network.eval()
        found: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        hooks = [
            module[1].register_forward_pre_hook(
                lambda norm, given: found.__setitem__(
                    norm, (given[0].mean(dim=(0, 2, 3)), given[0].var(dim=(0, 2, 3)).clamp(min=1e-4))
                )
            )
            for module in convolutions.values()
        ]
        network(pictures)
        for hook in hooks:
            hook.remove()
        for norm, (mean, var) in found.items():
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
            norm.weight.copy_((var + norm.eps).sqrt())
            norm.bias.add_(mean)


def _tensors(file: Path) -> dict[str, Tensor]:
    """Every weight of the file as float, also those kept as whole numbers and a scale."""
    raw = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(file).graph.initializer
    }
    out = dict(raw)
    for name, whole in raw.items():
        plain = name.removesuffix("_quantized")
        if plain == name:
            continue
        scale = raw.get(f"{plain}_scale", raw.get(f"{name}_scale"))
        if scale is None:
            raise KeyError(f"{file.name}: {name} has no scale")
        out[plain] = whole.float() * scale.reshape(-1, *[1] * (whole.ndim - 1))
    return out
