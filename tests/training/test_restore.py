"""An exported model is a beginning again: the same function, able to learn on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install '.[train]'")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript: pip install '.[train]'")

from streampose.inference.engine import Engine, EngineOptions  # noqa: E402
from streampose.inference.zoo import built_in  # noqa: E402
from training.nano.export import export_pose  # noqa: E402
from training.nano.network import BoxNet, Conv, PoseNet  # noqa: E402
from training.nano.restore import restore  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of PyTorch's exporter


def pictures(width: int, height: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(6, 3, height, width, generator=generator)


def test_a_float_model_comes_back_as_it_was(tmp_path: Path):
    torch.manual_seed(3)
    network = PoseNet()
    for module in network.modules():
        if isinstance(module, Conv):
            torch.nn.init.uniform_(module[1].weight, 0.5, 1.5)
            torch.nn.init.normal_(module[1].bias)
            torch.nn.init.normal_(module[1].running_mean)
            torch.nn.init.uniform_(module[1].running_var, 0.5, 2.0)
    export_pose(network, (48, 64), tmp_path / "pose.onnx")
    again, x = PoseNet(), pictures(48, 64)
    restore(again, tmp_path / "pose.onnx", x)
    with torch.no_grad():
        before, after = network.eval()(x), again(x)
        torch.testing.assert_close(after, before, atol=1e-3 * float(before.abs().max()), rtol=0)
        # While training, batch norm takes the batch's own statistics: on the pictures they were taken from, the same.
        learning = again.train()(x)
    assert float((learning - before).abs().mean()) < 0.05 * float(before.abs().mean())


@pytest.mark.parametrize(
    ("network", "kind", "size"), [(PoseNet(), "keypoints", (144, 192)), (BoxNet(), "detector", (320, 320))]
)
def test_what_ships_comes_back_within_its_int8_steps(network: torch.nn.Module, kind: str, size: tuple[int, int]):
    x = pictures(*size)
    restore(network, built_in(kind), x)
    engine = Engine(built_in(kind), EngineOptions(device="cpu", threads=1))
    shipped = engine.run(x.numpy())[0].ravel()
    engine.close()
    with torch.no_grad():
        found = network(x)
    found = (found[0] if isinstance(found, tuple) else found).sigmoid().numpy().ravel()
    assert np.abs(found - shipped).mean() < 0.01
    assert shipped.max() - shipped.min() > 0.05


def test_the_file_of_another_network_is_refused():
    with pytest.raises(KeyError, match="network"):
        restore(PoseNet(), built_in("detector"), pictures(48, 64))
