"""Which device a session runs on: what can be had, why not, and with which of the runtime's options."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import logging
import os
import platform
import re
import sys
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path

import onnxruntime as ort

from streampose.cores import available_cores
from streampose.errors import ModelUnreadable, ProviderUnavailable
from streampose.inference.options import EngineOptions
from streampose.inference.profiles import shape_profiles

__all__ = [
    "DEVICE_OF",
    "PROVIDERS",
    "cuda_runtime",
    "gist",
    "gpu_usable",
    "no_gpu_here",
    "open_session",
    "provider_report",
    "runtime_version",
]

log = logging.getLogger("streampose")

# Best first.
PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
DEVICE_OF = {provider: device for device, provider in PROVIDERS.items()}

if os.environ.get("ORT_DISABLE_TELEMETRY") != "0":
    ort.disable_telemetry_events()  # for Windows, whose runtime does not look at it
ort.set_default_logger_severity(4)  # fatal only: what matters reaches the user as our own errors


def runtime_version() -> str:
    """Of ONNX Runtime."""
    return str(ort.__version__)


def provider_report() -> dict[str, str | None]:
    """For each device, best first: `None` if it can be used, else why not, in words."""
    return {device: _why_not(device) for device in PROVIDERS}


def gpu_usable() -> bool:
    """Whether any device but the CPU looks as if it could be used."""
    return any(_why_not(device) is None for device in PROVIDERS if device != "cpu")


_NO_DRIVER = "no NVIDIA driver on this machine"
_NO_BUILD = "there is no CUDA build of ONNX Runtime for"


def no_gpu_here(why: str | None) -> bool:
    """Whether a device was passed over because there is none, which is no news."""
    return (why or _NO_DRIVER).startswith((_NO_DRIVER, _NO_BUILD))


@lru_cache
def _why_not(device: str) -> str | None:
    if device == "cpu":
        return None
    # Only where a GPU could be used is it worth to install anything. A build of somebody else may be for more systems.
    built = PROVIDERS[device] in ort.get_available_providers()
    if not built and not (sys.platform in {"linux", "win32"} and platform.machine() in {"x86_64", "AMD64"}):
        return f"{_NO_BUILD} {platform.system()} on {platform.machine()}"
    driver = _missing("nvcuda") if sys.platform == "win32" else _missing("cuda", 1)
    if driver is not None:
        return f"{_NO_DRIVER} ({driver})"
    if not built:
        return _not_built(PROVIDERS[device])
    # From here on the CUDA wheels' libraries are found by name. What is missing it prints; we say it ourselves.
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
    cuda = _cuda_major()
    # cuDNN is not linked but loaded at the first convolution: too late for a good message.
    for library, major in (("cublasLt", cuda), ("cublas", cuda), ("cudart", cuda), ("cudnn", 9)):
        if (missing := _missing(library, major)) is not None:
            return f"CUDA or cuDNN libraries are missing ({missing}): pip install 'streampose[cuda]'"
    if device == "tensorrt" and (missing := _missing("nvinfer", 10)) is not None:
        return f"no TensorRT libraries ({missing})"
    return None


def _not_built(provider: str) -> str:
    runtimes = {name for there in distributions() if (name := there.name) in {"onnxruntime", "onnxruntime-gpu"}}
    if len(runtimes) > 1:
        return (
            "onnxruntime lies over onnxruntime-gpu: pip uninstall onnxruntime onnxruntime-gpu, then install streampose "
            "again"
        )
    return f"this onnxruntime is built without {provider}: pip uninstall onnxruntime, then install onnxruntime-gpu"


def _missing(library: str, major: int | str = "") -> str | None:
    """What the loader says of a library that it cannot load."""
    try:
        _library(library, major)
    except OSError as error:
        return str(error)
    return None


def _library(library: str, major: int | str = "") -> ctypes.CDLL:
    infix = "" if library.startswith("nv") else "64"
    windows = f"{library}{infix}_{major}.dll" if major else f"{library}.dll"
    return ctypes.CDLL(windows if sys.platform == "win32" else f"lib{library}.so.{major}")


def cuda_runtime() -> ctypes.CDLL:
    """The CUDA runtime that this onnxruntime is built for.

    Raises:
        OSError: there is none.
    """
    return _library("cudart", _cuda_major())


def _cuda_major() -> str:
    return str(ort.cuda_version).partition(".")[0]


# What CUDA graphs do not take.
_NOT_RECORDED = "graph capture feature"
_TO_EXPORT = "it is one of PyTorch; export it first, Ultralytics' by `yolo export model={} format=onnx`"
# What is wrong with the file on any device.
_FILE_ERRORS = ("InvalidProtobuf", "InvalidGraph", "NoSuchFile", "NoModel", "NotImplemented")


def open_session(
    model: Path, options: EngineOptions, graph: bytes | None = None
) -> tuple[ort.InferenceSession, dict[str, str]]:
    """A session on the best device that works, and why each better one was passed over.

    Args:
        model: path of an ONNX file, also for messages.
        options: how it is run.
        graph: the model to load instead of the file's.

    Raises:
        ModelUnreadable: not an ONNX model, or not one that this runtime can load.
        ProviderUnavailable: the device that was asked for cannot be used.
    """
    passed_over: dict[str, str] = {}
    session_options = _session_options(options)
    for device in PROVIDERS if options.device == "auto" else [options.device]:
        if (why := _why_not(device)) is not None:
            passed_over[device] = why
            continue
        # What a GPU's provider cannot run goes to those after it.
        order = list(PROVIDERS)[list(PROVIDERS).index(device) :]
        try:
            chosen = {d: provider_options(d, options) for d in order if _why_not(d) is None}
            if device == "tensorrt":
                bytes_ = graph or model.read_bytes()
                # It keeps an engine by its graph's hash, which leaves out the weights: each file has its own folder.
                mark = hashlib.sha256(bytes_).hexdigest()[:16]
                chosen[device] = provider_options(device, options, mark) | shape_profiles(bytes_, options.max_batch)
            providers = [(PROVIDERS[d], chosen[d]) for d in chosen]
            # Its own fallback would print, and run on the CPU as if nothing else had been asked for.
            session = ort.InferenceSession(graph or str(model), session_options, providers, enable_fallback=0)
        except Exception as error:  # the runtime's exceptions share no useful base class
            if options.cuda_graphs and _NOT_RECORDED in str(error):
                return open_session(model, replace(options, cuda_graphs=False), graph)
            if device == "cpu" or type(error).__name__ in _FILE_ERRORS:
                why = _TO_EXPORT.format(model.name) if model.suffix.lower() in {".pt", ".pth"} else gist(error)
                raise ModelUnreadable(f"{model.name} is not an ONNX model that can be loaded: {why}") from error
            passed_over[device] = gist(error)
        else:
            if session.get_providers()[0] == PROVIDERS[device]:
                return session, passed_over
            passed_over[device] = "the runtime fell back without saying why"
    raise ProviderUnavailable(f"{options.device} was asked for and cannot be used: {passed_over[options.device]}")


_LIBRARY_SAYS = re.compile(r"\b[A-Z_]+ failure -?\d+: .*?(?= ; |$)")


def gist(error: Exception) -> str:
    """The gist of a runtime's message, which may be a page."""
    text = " ".join(str(error).split()) or type(error).__name__
    # CUDA's, cuBLAS's and cuDNN's own words come after a signature in C++.
    said = _LIBRARY_SAYS.search(text)
    return said[0] if said else text[:300]


def provider_options(device: str, options: EngineOptions, mark: str = "") -> dict[str, str]:
    """What the runtime is told about a device; its names are those of ONNX Runtime's documentation.

    Args:
        device: ``tensorrt``, ``cuda`` or ``cpu``.
        options: ours.
        mark: of the model, to keep its TensorRT engines apart from others'.
    """
    if device == "cuda":
        chosen = {
            "device_id": str(options.device_id),
            "cudnn_conv_algo_search": "HEURISTIC",
            # Doubling would claim up to twice what a batch needs, and a second session then finds nothing left.
            "arena_extend_strategy": "kSameAsRequested",
            "use_tf32": str(int(options.tf32)),
            "enable_cuda_graph": str(int(options.cuda_graphs)),
        }
        if options.memory_limit_bytes is not None:
            chosen["gpu_mem_limit"] = str(options.memory_limit_bytes)
        return chosen
    if device == "tensorrt":
        chosen = {"device_id": str(options.device_id), "trt_fp16_enable": str(int(options.half))}
        if options.cache_dir is not None:
            folder = str(options.cache_dir / "tensorrt" / mark)
            chosen |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": folder}
            chosen |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": folder}
        return chosen
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
