"""One run of a session: tensors in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from streampose.inference.pinned import send
from streampose.inference.signature import TENSOR_TYPES, Signature

__all__ = ["BoundRunner", "Runner", "Uploads"]

Feeds = Mapping[str, Any]
"""By input: an array, or what `Uploads` gave."""


class Uploads:
    """Pictures on a device, for several sessions: buffers for each number of pixels, written over.

    The pictures of the next batch are sent while this one computes, so what was given last is left alone.

    Args:
        device: ``cuda`` or, for tests, ``cpu``.
        device_id: which.
    """

    _MOST = 8

    def __init__(self, device: str, device_id: int = 0) -> None:
        self._device, self._device_id = device, device_id
        self._buffers: dict[tuple[int, ...], list[Any]] = {}
        self._last: Any = None

    def __call__(self, array: NDArray[Any]) -> Any:
        """What stands for the array there, until the next call but one."""
        buffers = self._buffers.pop(array.shape, [])
        free = [value for value in buffers if value is not self._last]
        if free:
            value = free[0]
            if self._device != "cuda" or not send(array, value.data_ptr(), self._device_id):
                value.update_inplace(array)
        else:
            if len(self._buffers) >= self._MOST:
                del self._buffers[next(iter(self._buffers))]
            value = _on(self._device, self._device_id, array)
            buffers.append(value)
        self._buffers[array.shape] = buffers
        self._last = value
        return value


class Runner:
    """Runs on memory of the CPU."""

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session, self._signature = session, signature

    def run(self, feeds: Feeds, size: int, *, shrink: bool = False) -> list[NDArray[Any]]:
        """Run once.

        Args:
            feeds: all inputs, C-contiguous, of the graph's dtypes.
            size: the batch.
            shrink: give memory that the device keeps for later back first; the CPU keeps little.
        """
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for tensor in self._signature.outputs:
            binding.bind_output(tensor.name)
        self._session.run_with_iobinding(binding)
        outputs: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bound:
    """The buffers of one set of shapes, bound once."""

    binding: Any
    inputs: dict[str, Any]
    outputs: list[Any] | None
    """Buffers of our own, where every shape is known beforehand."""
    graph_id: int
    """Of the CUDA graph that is recorded for these addresses; -1 = none."""


class BoundRunner:
    """Runs on buffers of the device that are made once for each set of shapes and then written over.

    A CUDA graph replays fixed addresses and shapes, so each set of shapes has its own, as have the buffers.

    Args:
        session: of a GPU; tests give one of the CPU, whose buffers behave the same.
        signature: its inputs and outputs.
        device: ``cuda`` (also for TensorRT) or, for tests, ``cpu``.
        device_id: which.
        cuda_graphs: record and replay.
    """

    # A captured graph lives as long as its session, so there may not be many; plain buffers go, oldest first.
    _GRAPHS = 16
    _BINDINGS = 32

    def __init__(
        self, session: Any, signature: Signature, device: str, device_id: int = 0, *, cuda_graphs: bool = False
    ) -> None:
        self._session, self._signature = session, signature
        self._device, self._device_id, self._cuda_graphs = device, device_id, cuda_graphs
        self._bound: dict[tuple[object, ...], _Bound] = {}
        self._graphs = 0

    def run(self, feeds: Feeds, size: int, *, shrink: bool = False) -> list[NDArray[Any]]:
        """Run once; see `Runner.run`."""
        key = tuple(a.shape for a in feeds.values() if isinstance(a, np.ndarray))
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = self._bind(feeds, size)
            if len(self._bound) > self._BINDINGS:
                oldest = next((k for k, b in self._bound.items() if b.graph_id < 0 and k != key), None)
                if oldest is not None:
                    del self._bound[oldest]
        else:
            for name, array in feeds.items():
                if isinstance(array, np.ndarray):
                    bound.inputs[name].update_inplace(array)
                elif bound.inputs[name] is not array:  # uploaded, and in another place for each number of pixels
                    bound.binding.bind_ortvalue_input(name, array)
                    bound.inputs[name] = array
            if bound.outputs is None:
                # What came last time is bound, and takes nothing of another size.
                self._bind_open_outputs(bound.binding)
        self._session.run_with_iobinding(bound.binding, self.run_options(bound.graph_id, shrink=shrink))
        if bound.outputs is not None:
            return [value.numpy() for value in bound.outputs]
        outputs: list[NDArray[Any]] = bound.binding.copy_outputs_to_cpu()
        return outputs

    def run_options(self, graph_id: int, *, shrink: bool) -> ort.RunOptions:
        """What one run is told: its CUDA graph, and whether to give unused memory back after it."""
        options = ort.RunOptions()
        if self._cuda_graphs:
            options.add_run_config_entry("gpu_graph_id", str(graph_id))
        if shrink and self._device == "cuda":
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", f"gpu:{self._device_id}")
        return options

    def _bind(self, feeds: Feeds, size: int) -> _Bound:
        binding = self._session.io_binding()
        inputs = {
            name: _on(self._device, self._device_id, a) if isinstance(a, np.ndarray) else a for name, a in feeds.items()
        }
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        outputs = None
        if self._signature.outputs_known:
            outputs = []
            for tensor in self._signature.outputs:
                dtype, shape = TENSOR_TYPES[tensor.dtype], [size, *tensor.shape[1:]]
                value = ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self._device, self._device_id)
                binding.bind_ortvalue_output(tensor.name, value)
                outputs.append(value)
        else:
            self._bind_open_outputs(binding)
        graph_id = -1
        if self._cuda_graphs and outputs is not None and self._graphs < self._GRAPHS:
            # 0 is the runtime's own.
            self._graphs += 1
            graph_id = self._graphs
        return _Bound(binding=binding, inputs=inputs, outputs=outputs, graph_id=graph_id)

    def _bind_open_outputs(self, binding: Any) -> None:
        binding.clear_binding_outputs()
        for tensor in self._signature.outputs:
            binding.bind_output(tensor.name)


def _on(device: str, device_id: int, array: NDArray[Any]) -> Any:
    """The array there."""
    # On the CPU `ortvalue_from_numpy` shares the array's memory, which is not ours to write over.
    return ort.OrtValue.ortvalue_from_numpy(array if device != "cpu" else array.copy(), device, device_id)
