"""ONNX Runtime, and nothing else: the only file that imports it."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from streampose.errors import (
    ConfigError,
    EngineFailed,
    ModelNotFound,
    ModelOutputError,
    ModelUnreadable,
    ProviderUnavailable,
)
from streampose.inference.signature import Signature

__all__ = ["Engine", "EngineOptions", "available_cores", "provider_report"]

# Best first.
_PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
DEVICES = ("auto", *_PROVIDERS)

_TYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}

ort.set_default_logger_severity(4)  # fatal only: what matters reaches the user as our own errors


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How models are run. One place for all of it."""

    device: str = "auto"
    """``auto`` (the best that works), ``tensorrt``, ``cuda`` or ``cpu``. A named one that cannot be had is an error."""
    device_id: int = 0
    """Which GPU."""
    threads: int | None = None
    """CPU threads of one session; `None` = one for each core that this process may use."""
    max_batch: int = 32
    """No run holds more; larger batches are cut."""
    cache_dir: Path | None = None
    """Where TensorRT keeps its built engines; `None` = it builds them anew at each start, which takes minutes."""


class Engine:
    """One model in one ONNX Runtime session. Not thread-safe: it belongs to one thread.

    Args:
        model: path of an ONNX file.
        options: how to run it.

    Raises:
        ModelNotFound: no such file.
        ModelUnreadable: not an ONNX model, or not one that this runtime can load.
        ModelUnknown: it takes several inputs, or none.
        ProviderUnavailable: the device that was asked for cannot be used.
        ConfigError: no such device.
    """

    def __init__(self, model: Path, options: EngineOptions | None = None) -> None:
        self.path = model
        self.options = options or EngineOptions()
        if not model.is_file():
            raise ModelNotFound(f"no model file at {model}")
        self._session, self.passed_over = _open(model, self.options)
        self.provider: str = self._session.get_providers()[0]
        self.signature = Signature.of(self._session, model)
        self.input_dtype = np.dtype(_TYPES.get(self.signature.inputs[0].dtype, np.float32))
        self._static_batch = self.signature.inputs[0].shape[0]

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self.provider != _PROVIDERS["cpu"]

    @property
    def note(self) -> str:
        """Why a GPU that this machine has is not used, to end `describe()` with; else empty."""
        why = self.passed_over.get("cuda", _NO_DRIVER)
        return "" if self.on_gpu or why.startswith((_NO_DRIVER, _NOT_BUILT)) else f"; the GPU is not used: {why}"

    def run(self, blob: NDArray[np.generic]) -> list[NDArray[Any]]:
        """Run the model on a batch of any size.

        A model of a fixed batch is run in pieces of that size; on a GPU, batches are padded to a power of two, so that
        few shapes are ever seen. Neither shows in what comes back.

        Args:
            blob: (n, …), C-contiguous, of the input's dtype; n ≥ 1.

        Returns:
            One array (n, …) for each output.

        Raises:
            ModelOutputError: NaN or infinity came back.
            EngineFailed: the runtime failed.
        """
        step = self._static_batch or self.options.max_batch
        pieces = [self._run_piece(blob[i : i + step]) for i in range(0, len(blob), step)]
        if len(pieces) == 1:
            return pieces[0]
        return [_join(arrays) for arrays in zip(*pieces, strict=True)]

    def warm_up(self, shape: tuple[int, ...], sizes: Sequence[int] = (1,)) -> None:
        """Run once for each batch size, so that no real frame pays for a first time.

        Args:
            shape: of one item, without the batch.
            sizes: the batch sizes.
        """
        for size in sorted({self._bucket(min(n, self.options.max_batch)) for n in sizes}):
            self.run(np.zeros((size, *shape), self.input_dtype))

    def close(self) -> None:
        """Let go of the session and its memory."""
        with contextlib.suppress(AttributeError):
            del self._session

    def _bucket(self, n: int) -> int:
        if self._static_batch:
            return self._static_batch
        return 1 << (n - 1).bit_length() if self.on_gpu else n

    def _run_piece(self, piece: NDArray[np.generic]) -> list[NDArray[Any]]:
        n, size = len(piece), self._bucket(len(piece))
        if size != n:
            piece = np.concatenate([piece, np.repeat(piece[-1:], size - n, axis=0)])
        try:
            binding = self._session.io_binding()
            binding.bind_cpu_input(self.signature.inputs[0].name, piece)
            for tensor in self.signature.outputs:
                binding.bind_output(tensor.name)
            self._session.run_with_iobinding(binding)
            outputs = binding.copy_outputs_to_cpu()
        except Exception as error:  # the runtime's exceptions share no useful base class
            raise EngineFailed(f"{self.path.name} failed on {self.provider} at batch {size}: {_line(error)}") from error
        for tensor, array in zip(self.signature.outputs, outputs, strict=True):
            if not _finite(array):
                raise ModelOutputError(f"{self.path.name} returned NaN or infinity in {tensor.name!r}: broken weights?")
        return [array[:n] for array in outputs] if size != n else list(outputs)


def available_cores() -> int:
    """How many cores this process may use: its affinity, which containers and `taskset` narrow."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def provider_report() -> dict[str, str | None]:
    """For each device, best first: `None` if it can be used, else why not, in words."""
    return {device: _why_not(device) for device in _PROVIDERS}


_NO_DRIVER = "no NVIDIA driver on this machine"
_NOT_BUILT = "this onnxruntime is built without"


@lru_cache
def _why_not(device: str) -> str | None:
    name = _PROVIDERS[device]
    if name not in ort.get_available_providers():
        return f"{_NOT_BUILT} {name}: pip install onnxruntime-gpu"
    if device == "cpu":
        return None
    driver = _missing("nvcuda") if sys.platform == "win32" else _missing("cuda", 1)
    if driver is not None:
        return f"{_NO_DRIVER} ({driver})"
    # From here on the CUDA wheels' libraries are found by name. What is missing it prints; we say it ourselves.
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
    cuda = str(ort.cuda_version).partition(".")[0]
    # cuDNN is not linked but loaded at the first convolution: too late for a good message.
    for library, major in (("cublasLt", cuda), ("cublas", cuda), ("cudart", cuda), ("cudnn", 9)):
        if (missing := _missing(library, major)) is not None:
            return f"CUDA or cuDNN libraries are missing ({missing}): pip install 'streampose[cuda]'"
    if device == "tensorrt" and (missing := _missing("nvinfer", 10)) is not None:
        return f"no TensorRT libraries ({missing})"
    return None


def _missing(library: str, major: int | str = "") -> str | None:
    """What the loader says of a library that it cannot load."""
    infix = "" if library.startswith("nv") else "64"
    windows = f"{library}{infix}_{major}.dll" if major else f"{library}.dll"
    try:
        ctypes.CDLL(windows if sys.platform == "win32" else f"lib{library}.so.{major}")
    except OSError as error:
        return str(error)
    return None


# What is wrong with the file on any device.
_FILE_ERRORS = ("InvalidProtobuf", "InvalidGraph", "NoSuchFile", "NoModel", "NotImplemented")


def _open(model: Path, options: EngineOptions) -> tuple[ort.InferenceSession, dict[str, str]]:
    """A session on the best device that works, and why each better one was passed over."""
    if options.device not in DEVICES:
        raise ConfigError(f"no device is called {options.device!r}; there are: {', '.join(DEVICES)}")
    passed_over: dict[str, str] = {}
    for device in _PROVIDERS if options.device == "auto" else [options.device]:
        if (why := _why_not(device)) is not None:
            passed_over[device] = why
            continue
        # What a GPU's provider cannot run goes to those after it.
        order = list(_PROVIDERS)[list(_PROVIDERS).index(device) :]
        providers = [(_PROVIDERS[d], _provider_options(d, options)) for d in order if _why_not(d) is None]
        try:
            # Its own fallback would print, and run on the CPU as if nothing else had been asked for.
            session = ort.InferenceSession(str(model), _session_options(options), providers, enable_fallback=0)
        except Exception as error:  # the runtime's exceptions share no useful base class
            if device == "cpu" or type(error).__name__ in _FILE_ERRORS:
                raise ModelUnreadable(
                    f"{model.name} is not an ONNX model that can be loaded: {_line(error)}"
                ) from error
            passed_over[device] = _line(error)
        else:
            if session.get_providers()[0] == _PROVIDERS[device]:
                return session, passed_over
            passed_over[device] = "the runtime fell back without saying why"
    raise ProviderUnavailable(f"{options.device} was asked for and cannot be used: {passed_over[options.device]}")


def _line(error: Exception) -> str:
    """The gist of a runtime's message, which may be a page."""
    text = " ".join(str(error).split()) or type(error).__name__
    _, cuda, why = text.partition("CUDA failure")
    return cuda + why.partition(" ; ")[0] if cuda else text[:300]


def _provider_options(device: str, options: EngineOptions) -> dict[str, object]:
    if device == "cuda":
        return {"device_id": options.device_id, "cudnn_conv_algo_search": "HEURISTIC"}
    if device == "tensorrt":
        cache = options.cache_dir
        return {"device_id": options.device_id, "trt_engine_cache_enable": cache is not None} | (
            {"trt_engine_cache_path": str(cache)} if cache else {}
        )
    return {}


def _session_options(options: EngineOptions) -> ort.SessionOptions:
    session = ort.SessionOptions()
    session.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    session.intra_op_num_threads = options.threads or available_cores()
    session.inter_op_num_threads = 1
    # Spinning threads take the core from decoding and drawing while they wait.
    session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session.log_severity_level = 4
    return session


def _finite(array: NDArray[Any]) -> bool:
    if not np.issubdtype(array.dtype, np.floating) or not array.size:
        return True
    # One NaN or infinity shows in the sum; the sum of huge finite values may overflow, so look again.
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def _join(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate pieces; where the number of boxes differs between them, fill with zeros (score 0: nobody)."""
    if arrays[0].ndim > 1 and len({a.shape[1] for a in arrays}) > 1:
        most = max(a.shape[1] for a in arrays)
        arrays = [np.pad(a, [(0, 0), (0, most - a.shape[1])] + [(0, 0)] * (a.ndim - 2)) for a in arrays]
    return np.concatenate(arrays)
