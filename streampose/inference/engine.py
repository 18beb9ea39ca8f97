"""One model, ready to run on batches of any size."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streampose.cores import available_cores
from streampose.errors import ConfigError, DeviceLost, EngineFailed, ModelNotFound, ModelOutputError
from streampose.inference.arrays import finite, joined
from streampose.inference.half import half_graph
from streampose.inference.limit import BatchLimit, is_lost, is_out_of_memory
from streampose.inference.options import EngineOptions
from streampose.inference.pixels import Pixels
from streampose.inference.providers import PROVIDERS, gist, no_gpu_here, provider_report
from streampose.inference.sessions import Sessions
from streampose.inference.signature import TENSOR_TYPES

__all__ = ["PIECE", "Engine", "EngineOptions", "provider_report"]

log = logging.getLogger("streampose")

# So long a model may take to get ready for batches of more sizes than the largest and one. With cuDNN 9 some take
# seconds for each, as 16-bit models of many depthwise convolutions do on an H100.
_PATIENCE_S = 10.0
PIECE = 2
"""Items of a run on one thread of a CPU: what is between layers stays in its caches (`benchmarks/pieces.py`). Several
threads share out a batch, and mostly do best with 3 to 8."""


class Engine:
    """One model in ONNX Runtime. Not thread-safe: it belongs to one thread, but for `send`.

    Args:
        model: path of an ONNX file.
        options: how to run it.
        graph: run this, made of `source`, instead of what the file holds.
        fused: its first input is shared by the whole batch, the others have one row for each item.

    Raises:
        ModelNotFound: no such file.
        ModelUnreadable: not an ONNX model, or not one that this runtime can load.
        ModelUnknown: it takes several inputs, or none.
        ProviderUnavailable: the device that was asked for cannot be used.
        ConfigError: no such device, or several.
    """

    def __init__(
        self, model: Path, options: EngineOptions | None = None, graph: bytes | None = None, *, fused: bool = False
    ) -> None:
        self.path = model
        self.options, *more = (options or EngineOptions()).each()
        if more:
            raise ConfigError("one engine runs on one device: `load_estimators` makes one for each")
        if not model.is_file():
            raise ModelNotFound(f"no model file at {model}")
        self.fused = fused
        """Whether it takes pictures as they are (`graphs`)."""
        self._graph = graph or (half_graph(model, self.options.cache_dir) if self.options.half else None)
        self._gave_up = ""
        self._open(self.options)
        self._items = self.signature.inputs[self.fused :]
        self.input_dtype = np.dtype(TENSOR_TYPES.get(self._items[0].dtype, np.float32))
        self._static_batch = next(iter(self._items[0].shape), None)
        self._limit = BatchLimit(self._static_batch or self.options.max_batch)
        self._warned = self._shrink = self._tried_again = False
        self._prepared: list[int] = []

    def _open(self, options: EngineOptions) -> None:
        self._sessions = Sessions(self.path, options, self._graph, several=self.fused)
        self.provider, self.signature = self._sessions.provider, self._sessions.signature
        self.passed_over, self._apart = self._sessions.passed_over, self._sessions.apart

    def source(self) -> bytes:
        """The model that is run, in 16 bits if it is."""
        return self._graph or self.path.read_bytes()

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self.provider != PROVIDERS["cpu"]

    @property
    def where(self) -> str:
        """What runs it, and whether that prepares pictures, too."""
        return f"{self.provider}, in-graph pre- and post-processing" if self.fused else self.provider

    @property
    def threads(self) -> int:
        """CPU threads of its session."""
        return self.options.threads or available_cores()

    @property
    def note(self) -> str:
        """Why a GPU that this machine has is not used, to end `describe()` with; else empty."""
        if self._gave_up:
            return f"; the GPU failed, the CPU goes on: {self._gave_up}"
        why = self.passed_over.get("cuda")
        return "" if no_gpu_here(why) else f"; the GPU is not used: {why}"

    @property
    def batch_limit(self) -> int:
        """The largest batch of one run: as asked for, or as far as the device's memory goes."""
        return self._limit.now

    @property
    def memory_refusals(self) -> int:
        """How often the device had no memory for a batch."""
        return self._limit.refusals

    def run(self, *items: NDArray[Any], shared: Pixels | None = None) -> list[NDArray[Any]]:
        """Run the model on a batch of any size.

        A model of a fixed batch is run in pieces of that size, others in pieces of 2 on one thread of a CPU; on a GPU,
        batches are padded to a power of two, so that few shapes are ever seen; where the device's memory does not do, a
        batch is cut in two. None of it shows in what comes back.

        Args:
            items: (n, …) for each input, C-contiguous, of its dtype; n ≥ 1.
            shared: for a fused graph, its first input. Engines of one device may share it: it goes there once.

        Returns:
            One array (n, …) for each output.

        Raises:
            ModelOutputError: NaN or infinity came back, or not a row for each item.
            DeviceLost: the device is gone, for this process for good.
            EngineFailed: the runtime failed otherwise, or has no memory for even one item; or this was closed.
        """
        self._check_open()
        pieces, start, total = [], 0, len(items[0])
        while start < total:
            n = min(self._piece, total - start)
            outputs = self._attempt([item[start : start + n] for item in items], shared)
            if outputs is not None:
                pieces.append(outputs)
                start += n
        if len(pieces) == 1:
            return pieces[0]
        return [joined(arrays) for arrays in zip(*pieces, strict=True)]

    def send(self, shared: Pixels) -> None:
        """Send pictures to the GPU before they are run; from any one other thread. Nothing, if a CPU runs the model."""
        self._check_open()
        sessions = self._sessions
        if sessions.provider != PROVIDERS["cpu"]:
            self._there(sessions, shared)

    def _there(self, sessions: Sessions, shared: Pixels) -> Any:
        """Pictures on the device of these sessions, where they are sent once."""
        gpu = None if sessions.provider == PROVIDERS["cpu"] else self.options.device_id
        return shared.on(sessions.provider, gpu, sessions.upload)

    def warm_up(self, shape: tuple[int, ...], sizes: Sequence[int] = (1,)) -> None:
        """Run once for each batch size, so that no real frame pays for a first time.

        Args:
            shape: of one item, without the batch.
            sizes: the batch sizes; see `prepare`.
        """
        self.prepare(sizes, lambda size: self.run(np.zeros((size, *shape), self.input_dtype)))

    def prepare(self, sizes: Sequence[int], run: Callable[[int], object]) -> None:
        """Run once for each batch size; on CUDA, if that takes long, for fewer, which other batches are filled up to.

        Args:
            sizes: the batch sizes.
            run: runs a batch of a size.
        """
        begin = time.monotonic()
        for count, size in enumerate(_outside_in(self.buckets(sizes))):
            if count > 1 and self._apart and time.monotonic() - begin > _PATIENCE_S:
                break
            run(min(size, self._limit.now))
        self._prepared = self._sessions.ready

    def buckets(self, sizes: Sequence[int]) -> list[int]:
        """The batch sizes that are really run for these, unless `prepare` has chosen fewer."""
        return sorted({self._power(min(n, self.options.max_batch)) for n in sizes})

    def close(self) -> None:
        """Let go of the session and its memory."""
        with contextlib.suppress(AttributeError):
            del self._sessions

    def _check_open(self) -> None:
        if not hasattr(self, "_sessions"):
            why = "a Pipeline closes its estimators, unless it is told close_estimators=False"
            raise EngineFailed(f"{self.path.name} was closed: {why}")

    @property
    def _piece(self) -> int:
        """Items of a run: as many as there is room for, but few on one thread of a CPU."""
        alone = not (self._static_batch or self.on_gpu) and self.threads == 1
        return min(self._limit.now, PIECE) if alone else self._limit.now

    def _bucket(self, n: int) -> int:
        """The batch that is run for n items."""
        power = self._power(n)
        if not self._apart:
            return power
        most = self._power(self._limit.now)
        return min((size for size in self._prepared if power <= size <= most), default=power)

    def _power(self, n: int) -> int:
        if self._static_batch:
            return self._static_batch
        return 1 << (n - 1).bit_length() if self.on_gpu else n

    def _attempt(self, piece: list[NDArray[Any]], shared: Pixels | None) -> list[NDArray[Any]] | None:
        """Run a piece; `None` = it has to be tried again, smaller or on the CPU."""
        n, size = len(piece[0]), self._bucket(len(piece[0]))
        try:
            outputs = self._run_piece(piece, shared, size)
        except Exception as error:  # noqa: BLE001 - tried again, or `_failed` raises; the runtime's share no useful base class
            made_do = is_out_of_memory(error) and not self._static_batch and self._makes_do(size, error)
            if not made_do and not self._tries_again(size, error):
                self._failed(size, error)
            return None
        self._shrink = self._tried_again = False
        self._limit.passed(n)
        for tensor, array in zip(self.signature.outputs, outputs, strict=True):
            if not finite(array):
                raise ModelOutputError(f"{self.path.name} returned NaN or infinity in {tensor.name!r}: broken weights?")
            if array.shape[:1] != (size,):
                what = f"{self.path.name} returned {tensor.name!r} of shape {array.shape} for a batch of {size}"
                raise ModelOutputError(f"{what}: export it anew, with a batch that is fixed or free throughout")
        return [array[:n] for array in outputs] if size != n else list(outputs)

    def _run_piece(self, piece: list[NDArray[Any]], shared: Pixels | None, size: int) -> list[NDArray[Any]]:
        short = size - len(piece[0])
        if short:
            piece = [np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) for a in piece]
        feeds: Mapping[str, Any] = {tensor.name: a for tensor, a in zip(self._items, piece, strict=True)}
        if shared is not None:
            feeds = {self.signature.inputs[0].name: self._there(self._sessions, shared), **feeds}
        return self._sessions.runner(size).run(feeds, size, shrink=self._shrink)

    def _makes_do(self, size: int, error: Exception) -> bool:
        """Whether a batch that found no room can be run in another size: a larger one that has its memory, or half."""
        self._sessions.forget(size)
        self._prepared = self._sessions.ready
        if any(size < ready <= self._power(self._limit.now) for ready in self._prepared):
            log.info("%s: no memory for batches of %d; they are filled up (%s)", self.path.name, size, gist(error))
            return True
        if size > 1:
            self._halve(size, error)
        return size > 1

    def _halve(self, size: int, error: Exception) -> None:
        self._limit.failed(size)
        # What the refused batch had already been given stays in a shared arena, cut up for its shapes.
        self._shrink = True
        level = logging.INFO if self._warned else logging.WARNING
        message = "%s: no memory on %s for a batch of %d; at most %d from now on (%s)"
        log.log(level, message, self.path.name, self.provider, size, self._limit.now, gist(error))
        self._warned = True

    def _tries_again(self, size: int, error: Exception) -> bool:
        """Whether a run that failed on a GPU for no known reason is run once more, in a new session."""
        if not self.on_gpu or self._tried_again or is_lost(error) or is_out_of_memory(error):
            return False
        self._tried_again = True
        self._sessions.forget(size)
        message = "%s failed on %s at batch %d, and is run once more in a new session: %s"
        log.warning(message, self.path.name, self.provider, size, gist(error))
        return True

    def _failed(self, size: int, error: Exception) -> None:
        """Raise, or let the CPU take over."""
        self._tried_again = False
        message = f"{self.path.name} failed on {self.provider} at batch {size}: {gist(error)}"
        if not (self.on_gpu and self.options.fallback_to_cpu):
            raise (DeviceLost if is_lost(error) else EngineFailed)(message) from error
        log.warning("%s. The CPU goes on, slower", message)
        self._gave_up = gist(error)
        self._open(replace(self.options, device="cpu"))


def _outside_in(sizes: list[int]) -> list[int]:
    """The largest, the smallest, then what is between, from the middle on."""
    between = sizes[1:-1]
    middle_out = sorted(range(len(between)), key=lambda i: abs(i - len(between) / 2))
    return [*sizes[:-2:-1], *sizes[:1][: len(sizes) - 1], *(between[i] for i in middle_out)]
