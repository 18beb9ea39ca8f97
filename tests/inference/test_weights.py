"""Weights that lie in a file of their own beside a model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from streampose.inference import calibration
from streampose.inference.calibration import calibrate


class Idle:
    def warm_up(self, sizes: Sequence[int]) -> None:
        time.sleep(0.0005)

    def close(self) -> None: ...


def test_other_weights_beside_a_model_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibration, "_TRY_S", 0.002)
    given, gives = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 8]) for name in ("x", "y"))
    weights = numpy_helper.from_array(np.ones(8, np.float32), "w")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "m", [given], [gives], [weights])
    path, apart = tmp_path / "m.onnx", tmp_path / "w.data"
    onnx.save(helper.make_model(graph), path, save_as_external_data=True, location=apart.name, size_threshold=0)
    loaded = []

    def measured() -> bool:
        loaded.clear()
        calibrate(lambda threads: loaded.append(threads) or Idle(), [path], 1, tmp_path / "kept")
        return bool(loaded)

    assert [measured(), measured()] == [True, False]
    apart.write_bytes(np.zeros(9, np.float32).tobytes())
    assert [measured(), measured()] == [True, False]
